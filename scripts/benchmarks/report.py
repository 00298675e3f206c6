"""The benchmark's table, figure and record."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from her2bayes.files import csv_text, publish
from her2bayes.page.section_view import standalone
from her2bayes.reproduce.provenance import environment


def machine() -> dict[str, Any]:
    """Size, versions and load of the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = [round(value, 1) for value in os.getloadavg()]
    found = {**environment(), "memory_gb": round(memory), "cores": os.cpu_count(), "load": load}
    program = shutil.which("Rscript")
    if program:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        found["R"] = (done.stdout + done.stderr).strip()
    return {**found, "platform": platform.platform()}


def write(table: pd.DataFrame, machine: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write benchmark.csv, benchmark.json and benchmark.svg; the paths."""
    rows = json.loads(table.to_json(orient="records"))
    record = {"machine": dict(machine), "measurements": rows}
    files = {
        "benchmark.csv": csv_text(table),
        "benchmark.json": json.dumps(record, indent=1) + "\n",
        "benchmark.svg": figure(table),
    }
    publish(folder, files)
    return [folder / name for name in files]


def lines(table: pd.DataFrame) -> list[str]:
    """Each measurement in words."""
    return [_line(row) for row in table.to_dict("records")]


def _line(row: Mapping[Any, Any]) -> str:
    size = f", {int(row['patients']):,} patients" if pd.notna(row["patients"]) else ""
    start = f"{row['part']}, {row['subject']}{size}: {row['engine']}: "
    parts = []
    for name, text in (
        ("ess_per_second", "{:,.0f} effective draws/s"),
        ("seconds_to_400", "{:.1f} s to 400"),
        ("seconds", "{:.2f} s"),
        ("cpu_seconds", "{:.1f} CPU s"),
        ("peak_mb", "{:,.0f} MB"),
        ("ratio", "ratio {:.2f}"),
        ("ratio_cpu", "of CPU seconds {:.2f}"),
    ):
        if pd.notna(row[name]):
            parts.append(text.format(row[name]))
    if isinstance(row["note"], str) and row["note"]:
        parts.append(row["note"])
    return start + ", ".join(parts)


def figure(table: pd.DataFrame) -> str:
    """Seconds to 400 effective draws by sampler, and seconds against patients, as an SVG file."""
    from her2bayes.page.style import PALETTE, drawing, new_figure, svg

    with drawing():
        canvas, (left, right) = new_figure(860, 320, ncols=2)
        sampling = table[(table["part"] == "sampling") & table["seconds_to_400"].notna()]
        _samplers(left, sampling, PALETTE)
        survival = table[(table["part"] == "survival") & table["seconds"].notna()]
        for colour, (engine, rows) in zip(PALETTE, survival.groupby("engine"), strict=False):
            right.loglog(rows["patients"], rows["seconds"], "o-", label=engine, color=colour)
        right.set_xlabel("Patients")
        right.set_ylabel("Seconds, aggregation and fit")
        if len(survival):
            right.legend(frameon=False)
        return standalone(svg(canvas))


def _samplers(axes: Any, table: pd.DataFrame, palette: tuple[str, ...]) -> None:
    subjects, engines = list(dict.fromkeys(table["subject"])), list(dict.fromkeys(table["engine"]))
    width = 0.8 / max(len(engines), 1)
    for place, (engine, colour) in enumerate(zip(engines, palette, strict=False)):
        rows = table[table["engine"] == engine]
        at = [subjects.index(name) + place * width for name in rows["subject"]]
        axes.barh(at, rows["seconds_to_400"], height=width, label=engine, color=colour)
    axes.set_yticks([k + 0.4 - width / 2 for k in range(len(subjects))], subjects)
    axes.set_xscale("log")
    axes.set_xlabel("Seconds to 400 effective draws, compilation included")
    if engines:
        axes.legend(frameon=False)

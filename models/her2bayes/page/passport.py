"""Calibration passports: JSON and figure of a model at a design, and their line on the page."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from her2bayes import __version__
from her2bayes.bayes.named import module_of
from her2bayes.evidence.printed.study import published_folder
from her2bayes.files import publish
from her2bayes.page.section import Figure
from her2bayes.page.section_view import figure_files

if TYPE_CHECKING:
    from her2bayes.calibration import run

SCHEMA = 1
COLUMNS = 4


def passport(
    plan: run.Plan, command: str, runs: Sequence[tuple[int, Sequence[Mapping[str, Any]]]]
) -> dict[str, Any]:
    """Record of one or two runs (seed, simulations) of a plan; the last one decides."""
    from her2bayes.calibration import run as calibration

    found = []
    for seed, rows in runs:
        table = calibration.summary(rows)
        found.append(
            {
                "seed": seed,
                "simulations": len(rows),
                "failed_fits": sum(bool(row["failed"]) for row in rows),
                "uniform": bool(table["uniform"].all()),
                "covers": bool(table["covers"].all()),
                "coverage_lowest": float(table["coverage"].min()),
                "coverage_highest": float(table["coverage"].max()),
                "answers": json.loads(table.to_json(orient="records", double_precision=4)),
            }
        )
    last = found[-1]
    return {
        "schema": SCHEMA,
        **{k: v for k, v in plan.identity.items() if k != "seed"},
        "package_version": __version__,
        "command": command,
        "passed": last["uniform"] and last["covers"],
        "runs": found,
    }


def sentence(record: Mapping[str, Any]) -> str:
    """What a passport says, for the terminal and the page."""
    from her2bayes.calibration import run as calibration

    last = record["runs"][-1]
    low, high = (100 * last[f"coverage_{end}"] for end in ("lowest", "highest"))
    level = 100 * calibration.LEVEL / len(last["answers"])
    ranks = "all ranks within" if last["uniform"] else "ranks of some answers outside"
    text = (
        f"{'calibrated' if record['passed'] else 'NOT calibrated'} at {record['design']} "
        f"({_patients(record)} patients): {last['simulations']} simulated studies, "
        f"{ranks} their band (level {level:.2g} % each), 95 % intervals cover {low:.1f} to "
        f"{high:.1f} %, {last['failed_fits']} fits with warnings"
    )
    return text + ("" if len(record["runs"]) == 1 else "; second run, a first one failed")


@cache
def passports() -> tuple[Mapping[str, Any], ...]:
    """Passports that come with the package."""
    folder = published_folder().parent / "passports"
    return tuple(json.loads(p.read_text("utf-8")) for p in sorted(folder.glob("*.json")))


def passport_line(model: str, made: Mapping[str, Any]) -> str:
    """Sentence on the record of a fit's own model, computation, priors and design, or "none".

    ``made`` is what the fit was made from (its provenance). A record of another design, of other
    priors or of another way to compute the posterior says nothing on this fit.
    """
    known = [record for record in passports() if record["model"] == model]
    if not known:
        return "none: this model has not been calibrated by simulation"
    misses = {record["design"]: _differs(record, made) for record in known}
    own = [sentence(record) for record in known if not misses[record["design"]]]
    if own:
        return ". ".join(own)
    said = "; ".join(f"{design} has {', '.join(what)}" for design, what in misses.items())
    return f"none for this fit: the record of {said}"


def _differs(record: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """In what a fit is not what a record is of."""
    found = []
    if "method" in made:  # tables behind printed facts have samplers of their own
        found.append("another computation")
    elif record["source"] != made.get("source"):
        found.append("an earlier text of the model")
    if dict(record["patients"]) != dict(made.get("patients") or {}):
        found.append("another design")
    if made.get("priors", {}) != _default_priors(str(record["model"])):
        found.append("other priors")
    return found


def _default_priors(model: str) -> dict[str, str]:
    module = importlib.import_module(str(module_of(model)))
    return {name: str(value) for name, value in sorted(module.DEFAULT_PRIORS.items())}


def figure(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Distribution of ranks minus the uniform one, an answer a panel, with its band."""
    from her2bayes.calibration import run as calibration
    from her2bayes.page import style

    table = calibration.summary(rows)
    grid, lower, upper = calibration.band(len(rows), calibration.LEVEL / len(table))
    lines = -(-len(table) // COLUMNS)
    with style.drawing():
        canvas, panels = style.new_figure(
            900, 84 * lines + 30, nrows=lines, ncols=COLUMNS, sharex=True, sharey=True,
            squeeze=False,
        )  # fmt: skip
        for panel in panels.flat[len(table) :]:
            panel.set_visible(False)
        for panel, row in zip(panels.flat, table.to_dict("records"), strict=False):
            ranks = np.sort([r["answers"][row["answer"]]["rank"] for r in rows])
            below = np.searchsorted(ranks, grid, side="right") / len(ranks)
            panel.fill_between(grid, lower - grid, upper - grid, color=style.FAINT, linewidth=0)
            good = style.BLUE if row["uniform"] else style.VERMILLION
            panel.plot(grid, below - grid, color=good, linewidth=1)
            panel.set_title(row["answer"], fontsize=8, loc="left", fontweight="normal")
            panel.set_xticks([0, 0.5, 1])
        drawing = style.svg(canvas)
    caption = (
        "Empirical distribution of the rank of the truth among the draws, minus the uniform one, "
        f"in {len(rows)} simulated studies. The grey band holds all points at once with "
        f"probability {100 * (1 - calibration.LEVEL / len(table)):.2f} %, 95 % over all answers."
    )
    return Figure("calibration", title, drawing, caption)


def write(folder: Path, record: Mapping[str, Any], drawing: Figure) -> Path:
    """Write ``<model>-<design>.json`` and ``.svg``; return the path of the first."""
    name = f"{record['model']}-{record['design']}"
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (drawn,) = figure_files([drawing]).values()
    publish(folder, {f"{name}.json": text, f"{name}.svg": drawn})
    return folder / f"{name}.json"


def _patients(record: Mapping[str, Any]) -> int:
    """Patients of a design: those of its groups together, but every event has the same patients."""
    numbers = record["patients"].values()
    return max(numbers) if record["model"].startswith("adverse_events") else sum(numbers)

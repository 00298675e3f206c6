"""Make the reference numbers again where R is present, and compare them with the stored ones.

python tests/reference/regenerate.py [--write] [NAME ...]

NAME is a file of this folder without its ending (all by default: minutes, most of them Stan).
Without --write nothing changes and the exit code is 1 where a number differs. The R scripts run in
a copy of the repository's tests; survival.R reads MSK 2018 from the folder HER2_REALDATA.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCRIPTS = {
    "survival_r": "survival.R",
    "few_events": "few_events.R",
    "survival_stan": "survival_stan.R",
    "her2_distribution": "her2_distribution.R",
    "her2_transition": "her2_transition.R",
    "response_stan": "response_stan.R",
    "synthesis": "synthesis.R",
}
"""Stored file and the script that makes it; square_tables.R prints numbers quoted in its test."""


def made(name: str) -> dict[str, Any]:
    """Run the R script of a stored file; a script writes the file or prints it."""
    with tempfile.TemporaryDirectory() as space:
        copy = Path(space) / "tests" / "reference"
        shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("*.json", "__pycache__"))
        folder = [os.environ["HER2_REALDATA"]] if "HER2_REALDATA" in os.environ else []
        call = ["Rscript", f"tests/reference/{SCRIPTS[name]}", *folder]
        run = subprocess.run(call, cwd=space, capture_output=True, text=True, check=True)
        file = copy / f"{name}.json"
        found: dict[str, Any] = json.loads(file.read_text("utf-8") if file.exists() else run.stdout)
        return found


def numbers(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a JSON value with its place."""
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from numbers(inside, f"{place}/{key}")
    elif isinstance(value, list):
        for number, inside in enumerate(value):
            yield from numbers(inside, f"{place}/{number}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place, float(value)


def differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, float]:
    """Relative difference at every place that both or only one of them has (then infinite)."""
    before, after = dict(numbers(old)), dict(numbers(new))
    found = dict.fromkeys(before.keys() ^ after.keys(), float("inf"))
    for place in before.keys() & after.keys():
        apart = abs(before[place] - after[place])
        found[place] = apart / abs(before[place]) if before[place] else apart
    return found


def main(arguments: list[str]) -> int:
    """Compare or replace; return the exit code."""
    write = "--write" in arguments
    names = [a for a in arguments if a != "--write"] or list(SCRIPTS)
    unknown = [name for name in names if name not in SCRIPTS]
    if unknown or shutil.which("Rscript") is None:
        sys.stdout.write(
            f"no {unknown[0]} among {', '.join(SCRIPTS)}"
            if unknown
            else "there is no Rscript" + "\n"
        )
        return 2
    worst = 0.0
    for name in names:
        new = made(name)
        found = differences(json.loads((HERE / f"{name}.json").read_text("utf-8")), new)
        place, largest = max(found.items(), key=lambda item: item[1])
        worst = max(worst, largest)
        sys.stdout.write(
            f"{name}: {len(found)} numbers, largest relative difference {largest:.2g} at {place}\n"
        )
        if write:
            (HERE / f"{name}.json").write_text(json.dumps(new, indent=1) + "\n", "utf-8")
    return 0 if write or worst <= 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

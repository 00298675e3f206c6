"""A report computed again from what it records, and every number of the two compared.

On the machine and versions of the report numbers must be identical. Elsewhere a summary of draws
may be off by |d| <= 4 sqrt(m1^2 + m2^2), m1 and m2 the Monte-Carlo standard errors that the two
reports carry (monte_carlo.csv), on the scale of the kind of estimand (the log for ratios); where
none is known, those of 400 independent draws, the least that counts as converged, stand in. All
other numbers agree to six digits.
"""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import KINDS, is_percent
from her2bayes.inference.convergence import AGREE_TIMES, ESS_MIN
from her2bayes.inference.estimates import on_scale
from her2bayes.page.report import MONTE_CARLO
from her2bayes.reproduce import provenance

COLUMNS = ("script", "file", "row", "column", "recorded", "replayed", "allowed", "agreement")
IDENTICAL, WITHIN, DIFFERS = "identical", "within Monte-Carlo error", "differs"
_KEYS = ("claim_id", "estimand", "reading")

Row = dict[str, str]


@dataclass(frozen=True)
class Comparison:
    """What came of one script's replay: rows in ``COLUMNS``, numbers compared, words of notice."""

    script: str
    same_environment: bool
    rows: tuple[Mapping[str, str], ...]
    compared: int
    notices: tuple[str, ...]

    def count(self, agreement: str) -> int:
        """Numbers of one agreement."""
        listed = sum(row["agreement"] == agreement for row in self.rows)
        return self.compared - len(self.rows) if agreement == IDENTICAL else listed


def entries(report: Path) -> tuple[Path, dict[str, dict[str, Any]]]:
    """Folder of a report (or of one of its files) and the records of the scripts asked for."""
    folder = report if report.is_dir() else report.parent
    runs = provenance.read(folder)
    if not runs:
        remedy = "name a folder that a script wrote, or its report.html; older reports have none"
        problem = f"no {provenance.FILE} that can be read"
        raise BadInput(Fault(problem, file=folder, remedy=remedy))
    if report.is_file() and report.name != provenance.FILE:
        runs = {name: entry for name, entry in runs.items() if report.name in entry["files"]}
        if not runs:
            raise BadInput(Fault(f"{provenance.FILE} does not speak of this file", file=report))
    return folder, runs


def check(folder: Path, runs: Mapping[str, Mapping[str, Any]], given: Mapping[str, str]) -> None:
    """Refuse inputs that are gone or changed and files that are gone; all faults together."""
    faults = []
    for entry in runs.values():
        for name, digest in entry["inputs"].items():
            path = provenance.named_input(given.get(name, name))
            if path is None:
                remedy = f"call from the folder of the first run, or give --input {name}=PATH"
                faults.append(
                    Fault("an input of the report is not here", value=name, remedy=remedy)
                )
            elif provenance.input_digest(path) != digest:
                remedy = "a report can only be replayed from the data it was made from"
                problem = "the data changed since the report was written (SHA-256 differs)"
                faults.append(Fault(problem, file=path, remedy=remedy))
        faults += [
            Fault("a file of the report is gone", file=folder / name)
            for name in entry["files"]
            if not (folder / name).is_file()
        ]
    raise_if(list(dict.fromkeys(faults)))


def run(
    script: Path, entry: Mapping[str, Any], given: Mapping[str, str], space: Path
) -> Path:  # fmt: skip
    """Call the script again with empty folders of results in ``space``; where its files are."""
    arguments = [given.get(part, part) for part in entry["arguments"]]
    results = space / "out"
    for option, place in entry["outputs"].items():
        file = option == "--out" and place.endswith(".json")
        target = results / Path(place).name if file else results
        target = target if option == "--out" else space / option.strip("-")
        arguments += [option, str(target)]
    done = subprocess.run(
        [sys.executable, "-P", str(script), *arguments], stdout=subprocess.DEVNULL, check=False
    )
    if done.returncode not in (0, 3):
        remedy = "read its messages above"
        raise BadInput(
            Fault(f"{script.stem} ended with exit code {done.returncode}", remedy=remedy)
        )
    return results / entry["place"]


def compare(folder: Path, again: Path, script: str, entry: Mapping[str, Any]) -> Comparison:
    """Compare every number of the recorded files with those of the replay."""
    same = entry["environment"] == provenance.environment()
    notices = [
        f"Look again: {name} is not what {script} wrote"
        for name, digest in entry["files"].items()
        if provenance.input_digest(folder / name) != digest
    ]
    if not same:
        notices.append(f"Not the same environment: {_changed(entry['environment'])}")
    rows: list[Mapping[str, str]] = []
    compared = 0
    for name in _tables(list(entry["files"])):
        errors = _errors(folder), _errors(again)
        for place, old, new in _pairs(_read(folder / name), _read(again / name)):
            for column in dict.fromkeys([*old, *new]):
                one, two = old.get(column, ""), new.get(column, "")
                number = _number(one) is not None or _number(two) is not None
                compared += number
                if one == two or not (number or same):
                    continue
                allowed = 0.0 if same else _allowed(column, old, new, errors)
                close = not same and _close(column, old, new, allowed)
                row = (script, name, place, column, one, two, f"{allowed:.3g}")
                agreement = WITHIN if close else DIFFERS
                rows.append(dict(zip(COLUMNS, (*row, agreement), strict=True)))
                compared += not number
    return Comparison(script, same, tuple(rows), compared, tuple(notices))


def _changed(recorded: Mapping[str, str]) -> str:
    now = provenance.environment()
    return ", ".join(
        f"{name} differs" if name == "code" else f"{name} {recorded.get(name)} -> {now.get(name)}"
        for name in sorted({*recorded, *now})
        if recorded.get(name) != now.get(name)
    )


def _tables(files: Sequence[str]) -> list[str]:
    tables = [name for name in files if name.endswith(".csv") and name != MONTE_CARLO]
    return tables or [name for name in files if name.endswith(".json")]


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    if path.suffix == ".json":
        return [dict(_leaves("", json.loads(path.read_text("utf-8"))))]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _leaves(place: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for name, part in parts:
            yield from _leaves(f"{place}.{name}".strip("."), part)
    else:
        yield place, str(value)


def _pairs(old: list[Row], new: list[Row]) -> Iterator[tuple[str, Row, Row]]:
    """Rows of the same estimand and reading, else of the same place; an absent row is empty."""
    left, right = _indexed(old), _indexed(new)
    if left is None or right is None:
        left = {str(n): row for n, row in enumerate(old, 2)}
        right = {str(n): row for n, row in enumerate(new, 2)}
    for key in dict.fromkeys([*left, *right]):
        yield key, left.get(key, {}), right.get(key, {})


def _indexed(rows: list[Row]) -> dict[str, Row] | None:
    if not rows or "estimand" not in rows[0]:
        return None
    found = {" ".join(filter(None, (row.get(k, "") for k in _KEYS))): row for row in rows}
    return found if len(found) == len(rows) else None


def _errors(folder: Path) -> dict[tuple[str, str], Row]:
    table = _read(folder / MONTE_CARLO)
    return {(row["estimand"], row["reading"]): row for row in table}


def _allowed(
    column: str, old: Row, new: Row, errors: tuple[Mapping[tuple[str, str], Row], ...]
) -> float:  # fmt: skip
    """Largest difference on the scale of the column that two runs of finite length explain."""
    keys = [(row.get("estimand", ""), row.get("reading", "")) for row in (old, new)]
    known = [table.get(key, {}) for key, table in zip(keys, errors, strict=True)]
    found = [_number(row.get(f"mcse_{column}", "")) for row in known]
    # reports from before scales were declared carry errors in the unit that is printed
    scaled = all(row.get("scale", "identity") == _scale(column, old) for row in known)
    if None not in found and (scaled or column.endswith("_probability")):
        least = 1e-6 * abs(_on_scale(column, old) or 0)
        return max(AGREE_TIMES * math.hypot(*found), least)  # type: ignore[arg-type]
    return max(_of_fewest_draws(column, row) for row in (old, new)) * AGREE_TIMES * math.sqrt(2)


def _scale(column: str, row: Row) -> str:
    """Scale on which two runs are compared in a column: that of the kind, for its summaries."""
    source, _, part = column.rpartition("_")
    kind = row.get("estimand", "").partition("[")[0]
    summary = source in ("posterior", "prior") and part in ("median", "lower", "upper")
    return KINDS[kind].scale if summary and kind in KINDS else "identity"


def _on_scale(column: str, row: Row) -> float | None:
    """Give a cell on the scale of its column; ``None`` where it has no finite place there."""
    value = _number(row.get(column, ""))
    if value is None or _scale(column, row) == "identity":
        return value
    kind = row["estimand"].partition("[")[0]
    placed = float(on_scale(value / 100 if is_percent(kind) else value, kind))
    return placed if math.isfinite(placed) else None


def _of_fewest_draws(column: str, row: Row) -> float:
    """Monte-Carlo error with 400 independent draws; of a number that is no summary, rounding."""
    source, _, part = column.rpartition("_")
    value = _number(row.get(column, "")) or 0.0
    if part == "probability" or column == "probability":
        return math.sqrt(max(value * (1 - value), 1 / ESS_MIN) / ESS_MIN)
    if column == "contraction":
        return (abs(1 - value) + 0.01) * math.sqrt(4 / ESS_MIN)
    low, high = (_on_scale(f"{source}_{end}", row) for end in ("lower", "upper"))
    if source in ("posterior", "prior") and low is not None and high is not None:
        factor = 1.2533 if part == "median" else 2.674  # sqrt(p (1 - p)) / normal density there
        return factor * (high - low) / (2 * 1.96) / math.sqrt(ESS_MIN)
    return 2e-7 * max(abs(value), 1e-9)


def _close(column: str, old: Row, new: Row, allowed: float) -> bool:
    """Tell whether two cells lie close enough on the scale of the column."""
    first, second = _on_scale(column, old), _on_scale(column, new)
    return first is not None and second is not None and abs(first - second) <= allowed


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None

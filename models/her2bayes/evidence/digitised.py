"""Digitised survival curves and at-risk tables, checked: points and numbers at risk by arm.

Accepted as digitisers write them: one file an arm (time, survival); one file with a column ``arm``;
one file with a column of survival for each arm; WebPlotDigitizer's export of several data sets (arm
names over pairs of X and Y columns). Survival as a fraction or in percent. At-risk tables: columns
``arm``, ``time``, ``n_at_risk``, or ``time`` and a column for each arm.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.nearest import suggestion
from her2bayes.evidence.read_table import TextTable, read_table

# A curve that rises by more than this above an earlier point is no survival curve.
LARGEST_RISE = 0.1
MOST_PATIENTS = 1_000_000
ARM, TIME, SURVIVAL, AT_RISK = "arm", "time", "survival", "n_at_risk"


@dataclass(frozen=True)
class DigitisedArm:
    """What was read of one arm: the curve's points, the numbers at risk, the total of events."""

    name: str
    time: np.ndarray
    survival: np.ndarray
    risk_time: np.ndarray
    at_risk: np.ndarray
    events: int | None = None


def read_digitised(
    curves: Mapping[str, Path], at_risk: Path, events: Mapping[str, int] | None = None
) -> dict[str, DigitisedArm]:
    """Read and check everything about a figure; raises ``BadInput`` with all faults together.

    ``curves`` maps an arm to its file; the name "" stands for a file that names its own arms.
    """
    faults: list[Fault] = []
    points: dict[str, pd.DataFrame] = {}
    for arm, path in curves.items():
        for name, frame in _curve_file(path, arm, faults).items():
            if name in points:
                faults.append(Fault(f"arm '{name}' is given twice", file=path))
            points[name] = frame
    risk = _risk_file(at_risk, faults)
    faults += _unmatched(points, risk, events or {}, at_risk)
    raise_if(faults)
    for name, rows in risk.items():
        faults += _risk_faults(name, rows, (events or {}).get(name), at_risk)
    for name, frame in points.items():
        faults += _curve_faults(name, frame)
    raise_if(faults)
    return {
        name: DigitisedArm(
            name,
            frame[TIME].to_numpy(),
            frame[SURVIVAL].to_numpy(),
            risk[name][TIME].to_numpy(),
            risk[name][AT_RISK].to_numpy(int),
            (events or {}).get(name),
        )
        for name, frame in points.items()
    }


def _curve_file(path: Path, arm: str, faults: list[Fault]) -> dict[str, pd.DataFrame]:
    wide = _webplotdigitizer(path, faults)
    if wide is not None:
        return wide
    table = read_table(path)
    names = [str(name) for name in table.frame.columns]
    if ARM in names:
        return _long(table, SURVIVAL, faults)
    if len(names) < 2:
        faults.append(Fault("a curve needs a column of times and one of survival", file=path))
        return {}
    time = _numbers(table, names[0], faults)
    if len(names) == 2:
        named = arm or (path.stem if names[1].casefold() in (SURVIVAL, "s", "y") else names[1])
        columns = {named: names[1]}
    else:
        columns = {name: name for name in names[1:]}
    return {
        name: _pairs(time, _numbers(table, column, faults, empty=len(names) > 2), path)
        for name, column in columns.items()
    }


def _pairs(time: np.ndarray, value: np.ndarray, path: Path) -> pd.DataFrame:
    kept = ~np.isnan(value)
    frame = pd.DataFrame({TIME: time[kept], SURVIVAL: value[kept]})
    frame.attrs["file"] = path
    return frame


def _long(table: TextTable, column: str, faults: list[Fault]) -> dict[str, pd.DataFrame]:
    names = list(table.frame.columns)
    missing = [name for name in (TIME, column) if name not in names]
    if missing:
        faults.extend(
            Fault(
                f"column '{name}' is missing",
                file=table.path,
                row=1,
                allowed=", ".join((ARM, TIME, column)),
                remedy=f"rename the column ({suggestion(name, names)})",
            )
            for name in missing
        )
        return {}
    time, value = (_numbers(table, name, faults) for name in (TIME, column))
    arms = table.frame[ARM].str.strip().to_numpy()
    result = {}
    for arm in dict.fromkeys(arms):
        frame = pd.DataFrame({TIME: time[arms == arm], column: value[arms == arm]})
        frame.attrs["file"] = table.path
        result[str(arm)] = frame
    return result


def _numbers(table: TextTable, column: str, faults: list[Fault], empty: bool = False) -> np.ndarray:
    text = table.frame[column].str.strip()
    values = pd.to_numeric(text, errors="coerce")
    wrong = values.isna() | ~np.isfinite(values)
    wrong &= (text != "") if empty else True
    positions = np.flatnonzero(wrong)
    comma = any("," in text.iloc[p] for p in positions)
    faults += [
        Fault(
            "not a number",
            file=table.path,
            row=table.row(int(p)),
            column=column,
            value=text.iloc[p],
            allowed="numbers with a decimal point",
            remedy="export with a decimal point instead of a comma" if comma else None,
        )
        for p in positions[:5]
    ]
    if positions.size > 5:
        faults.append(Fault(f"{positions.size - 5} more cells are not numbers", file=table.path))
    return values.to_numpy(float)


def _webplotdigitizer(path: Path, faults: list[Fault]) -> dict[str, pd.DataFrame] | None:
    """Data sets of a WebPlotDigitizer export: names over every second column, then X, Y, X, Y."""
    if not path.is_file():
        return None  # `read_table` says what is wrong
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            rows = list(csv.reader(file))
    except csv.Error:
        return None  # `read_table` says what is wrong here too
    head = rows[:2]
    if len(head) < 2 or [c.strip().upper() for c in head[1][:2]] != ["X", "Y"]:
        return None
    result: dict[str, pd.DataFrame] = {}
    for place in range(0, len(head[1]) - 1, 2):
        name = head[0][place].strip() if place < len(head[0]) else ""
        pairs = []
        for line, row in enumerate(rows[2:], 3):
            cells = [cell.strip() for cell in row[place : place + 2]]
            if not any(cells):
                continue
            values = [_float(cell) for cell in cells]
            if len(values) == 2 and np.isfinite(values).all():
                pairs.append(values)
            else:
                faults.append(Fault("not two numbers", file=path, row=line, value=cells))
        frame = pd.DataFrame(pairs, columns=[TIME, SURVIVAL])
        frame.attrs["file"] = path
        arm = name or f"arm {place // 2 + 1}"
        if arm in result:
            faults.append(Fault(f"arm '{arm}' is given twice", file=path, row=1))
        result[arm] = frame
    return result


def _float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _risk_file(path: Path, faults: list[Fault]) -> dict[str, pd.DataFrame]:
    table = read_table(path)
    names = [str(name) for name in table.frame.columns]
    if ARM in names:
        return _long(table, AT_RISK, faults)
    time = _numbers(table, names[0], faults)
    result = {}
    for name in names[1:]:
        value = _numbers(table, name, faults, empty=True)
        kept = ~np.isnan(value)
        result[name] = pd.DataFrame({TIME: time[kept], AT_RISK: value[kept]})
    return result


def _unmatched(
    points: Mapping[str, pd.DataFrame],
    risk: Mapping[str, pd.DataFrame],
    events: Mapping[str, int],
    path: Path,
) -> list[Fault]:
    faults = [
        Fault(
            f"no numbers at risk for arm '{arm}'",
            file=path,
            allowed=f"arms there: {', '.join(risk)}",
            remedy="name the arms alike; without a table give its first row, time 0 and patients",
        )
        for arm in points
        if arm not in risk
    ]
    faults += [
        Fault(f"events of an unknown arm '{arm}'", allowed=", ".join(points))
        for arm in events
        if arm not in points
    ]
    if not points and not faults:
        faults.append(Fault("no curve was given", remedy="give one with --coords"))
    return faults


def _risk_faults(name: str, rows: pd.DataFrame, events: int | None, path: Path) -> list[Fault]:
    time, number = rows[TIME].to_numpy(), rows[AT_RISK].to_numpy()
    where = f"arm '{name}'"
    faults = []
    if not time.size or time[0] != 0:
        faults.append(Fault(f"{where}: the first row must be time 0 with all patients", file=path))
    if np.any(np.diff(time) <= 0):
        faults.append(Fault(f"{where}: times must increase", file=path, value=time.tolist()))
    if np.any(number != np.round(number)) or np.any(number < 0) or np.any(number > MOST_PATIENTS):
        faults.append(
            Fault(f"{where}: numbers at risk are whole numbers", file=path,
                  value=number.tolist(), allowed=f"0 to {MOST_PATIENTS}")
        )  # fmt: skip
    for row in np.flatnonzero(np.diff(number) > 0):
        faults.append(
            Fault(
                f"{where}: the number at risk rises from time {time[row]:g} to {time[row + 1]:g}",
                file=path,
                value=f"{number[row]:g} then {number[row + 1]:g}",
                remedy="correct the misread number, or leave the row out",
            )
        )
    if events is not None and number.size and not 0 <= events <= number[0]:
        faults.append(
            Fault(
                f"{where}: events beyond its patients", value=events, allowed=f"0 to {number[0]:g}"
            )
        )
    return faults


def _curve_faults(name: str, frame: pd.DataFrame) -> list[Fault]:
    path, where = frame.attrs.get("file"), f"arm '{name}'"
    time, value = frame[TIME].to_numpy(), frame[SURVIVAL].to_numpy()
    if time.size < 2:
        return [Fault(f"{where}: fewer than two points", file=path)]
    faults = []
    scale = 100.0 if value.max() > 1.5 else 1.0
    if value.min() < -0.02 * scale or value.max() > 1.02 * scale:
        faults.append(
            Fault(f"{where}: survival outside its range", file=path,
                  value=f"{value.min():g} to {value.max():g}", allowed="0 to 1 or 0 to 100")
        )  # fmt: skip
    if time.min() < 0:
        faults.append(
            Fault(f"{where}: times before 0", file=path, value=f"{time.min():g}",
                  remedy="calibrate the time axis so that the curve starts at 0")
        )  # fmt: skip
    ordered = value[np.argsort(time, kind="stable")] / scale
    rise = float(np.max(ordered - np.minimum.accumulate(ordered)))
    if rise > LARGEST_RISE:
        faults.append(
            Fault(
                f"{where}: the curve rises by {rise:.2f}",
                file=path,
                remedy="is it a cumulative incidence (give 1 - value), or do two arms mix?",
            )
        )
    return faults

"""Digitised survival curves and at-risk tables, checked: points and numbers at risk by arm.

Files are read as digitisers write them (`digitised_files`), survival as a fraction or in percent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.patients.digitised_files import (
    AT_RISK,
    CENSORED,
    SURVIVAL,
    TIME,
    curve_file,
    risk_file,
)
from her2bayes.evidence.read_table import TextTable, text_table

# Below this two drops of a curve are numerically the same; far below 1/n^2 of any real study.
FINEST = 1e-9
EXACT = "steps of the curve"
# A curve that rises by more than this above an earlier point is no survival curve.
LARGEST_RISE = 0.1
MOST_PATIENTS = 1_000_000
# Clicks before time 0 that are taken as clicks at 0: up to this share of the curve's length.
BEFORE_ZERO = 0.02
# How often one unit of time goes into another, and their names
UNITS = {
    30.4375: ("days", "months"), 12.0: ("months", "years"), 365.25: ("days", "years"),
    7.0: ("days", "weeks"), 4.348: ("weeks", "months"), 52.18: ("weeks", "years"),
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class DigitisedArm:
    """What was read of one arm: the curve's points, the numbers at risk, the total of events.

    ``censored`` are the patients censored before each row of the table, where it prints them;
    ``notes`` say how the files were read.
    """

    name: str
    time: np.ndarray
    survival: np.ndarray
    risk_time: np.ndarray
    at_risk: np.ndarray
    events: int | None = None
    censored: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """One line."""
        events = "" if self.events is None else f", {self.events} events"
        points = f"{len(self.time)} points to {self.time.max():g}, " if len(self.time) else ""
        size = f"{points}{self.at_risk[0]} patients"
        return f"<DigitisedArm {self.name}: {size}{events}>"


def read_curve(
    curve: Any, at_risk: Any, *, events: Mapping[str, int] | None = None, arm: str = ""
) -> dict[str, DigitisedArm]:
    """Read digitised survival curves and the numbers at risk below them, checked.

    ``curve`` is a file as digitisers write it, or a data frame: columns ``time`` and ``survival``
    (a fraction or per cent), with a column ``arm`` or one column an arm where there are several;
    or a mapping of arms to such. ``at_risk`` has ``arm, time, n_at_risk``, times in the unit of the
    curve, its first row time 0 with all patients. ``events`` are totals by arm where the paper
    prints them; ``arm`` names the one curve of a file that does not.

    Returns what was read by arm. Raises ``BadInput`` with all faults together.

    >>> import pandas as pd
    >>> points = pd.DataFrame({"time": [0, 6, 12, 24], "survival": [1.0, 0.9, 0.75, 0.5]})
    >>> numbers = pd.DataFrame({"time": [0, 12, 24], "n_at_risk": [40, 28, 15]})
    >>> read_curve(points, numbers, arm="low", events={"low": 18})["low"]
    <DigitisedArm low: 4 points to 24, 40 patients, 18 events>
    """
    curves = curve if isinstance(curve, Mapping) else {arm: curve}
    return read_digitised(
        {name: _file_or_table(one) for name, one in curves.items()}, _file_or_table(at_risk), events
    )


def _file_or_table(source: Any) -> Path | TextTable:
    return Path(source) if isinstance(source, str | Path) else text_table(source)


def read_digitised(
    curves: Mapping[str, Path | TextTable],
    at_risk: Path | TextTable,
    events: Mapping[str, int] | None = None,
) -> dict[str, DigitisedArm]:
    """Read and check everything about a figure; raises ``BadInput`` with all faults together.

    ``curves`` maps an arm to its file; the name "" stands for a file that names its own arms.
    """
    place = at_risk.path if isinstance(at_risk, TextTable) else at_risk
    faults: list[Fault] = []
    notes: list[str] = []
    points: dict[str, pd.DataFrame] = {}
    for arm, path in curves.items():
        for name, frame in curve_file(path, arm, faults, notes).items():
            if name in points:
                faults.append(Fault(f"arm '{name}' is given twice", file=frame.attrs["file"]))
            points[name] = frame
    risk = risk_file(at_risk, faults, notes)
    if list(risk) == [""] and len(points) == 1:
        risk = dict.fromkeys(points, risk[""])
    faults += _unmatched(points, risk, events or {}, place)
    raise_if(faults)
    for name in points:
        faults += _risk_faults(name, risk[name], (events or {}).get(name), place)
    for name, frame in points.items():
        faults += _curve_faults(name, frame)
    raise_if(faults)
    for name, frame in points.items():
        faults += _unit_faults(name, frame[TIME].to_numpy(), risk[name], place)
        notes += _at_zero(name, frame)
    raise_if(faults)
    notes += [f"{place.name}: not used: arm {name}" for name in risk if name not in points]
    return {
        name: DigitisedArm(
            name,
            frame[TIME].to_numpy(),
            frame[SURVIVAL].to_numpy(),
            risk[name][TIME].to_numpy(),
            risk[name][AT_RISK].to_numpy(int),
            (events or {}).get(name),
            risk[name][CENSORED].to_numpy(int) if CENSORED in risk[name] else None,
            tuple(notes),
        )
        for name, frame in points.items()
    }


def read_numbers(at_risk: Path | TextTable) -> dict[str, DigitisedArm]:
    """Read and check numbers at risk without curves: arms that have no points.

    Raises ``BadInput`` with all faults together.
    """
    place = at_risk.path if isinstance(at_risk, TextTable) else at_risk
    faults: list[Fault] = []
    notes: list[str] = []
    risk = risk_file(at_risk, faults, notes)
    raise_if(faults)
    for name, rows in risk.items():
        faults += _risk_faults(name, rows, None, place)
    raise_if(faults)
    none = np.zeros(0)
    return {
        name: DigitisedArm(
            name, none, none, rows[TIME].to_numpy(), rows[AT_RISK].to_numpy(int), None,
            rows[CENSORED].to_numpy(int) if CENSORED in rows else None, tuple(notes),
        )
        for name, rows in risk.items()
    }  # fmt: skip


def _at_zero(name: str, frame: pd.DataFrame) -> list[str]:
    """Move clicks a little before time 0 to 0, and say so."""
    early = frame[TIME] < 0
    if not early.any():
        return []
    first = frame[TIME].min()
    frame.loc[early, TIME] = 0.0
    return [f"arm {name}: {int(early.sum())} clicks before time 0 (from {first:g}) are taken at 0"]


def _unit_faults(name: str, time: np.ndarray, rows: pd.DataFrame, path: Path) -> list[Fault]:
    """Curve and table that reach so differently far that they must be in different units.

    A table far beyond its curve always is; a curve far beyond its table may also have a table that
    is given in part, unless hardly anyone is left at its end or no table would be that short.
    """
    curve_end, table_end = float(time.max()), float(rows[TIME].iloc[-1])
    if len(rows) < 3 or min(curve_end, table_end) <= 0:
        return []
    ratio = max(curve_end, table_end) / min(curve_end, table_end)
    factor = min(UNITS, key=lambda unit: abs(np.log(ratio / unit)))
    left = rows[AT_RISK].iloc[-1] / rows[AT_RISK].iloc[0]
    apart = ratio > 3 and (table_end > curve_end or left < 0.25 or ratio > 9)
    if not apart:
        return []
    small, large = UNITS[factor]
    mine, other = (small, large) if curve_end > table_end else (large, small)
    return [
        Fault(
            f"arm '{name}': the curve and its table at risk are in different units of time",
            file=path,
            value=f"the curve ends at {curve_end:g}, the table at {table_end:g}",
            allowed="one unit for both",
            remedy=f"{ratio:.3g} times as far looks like a curve in {mine} and a table in {other}: "
            f"write both in {other} ({'divide' if mine == small else 'multiply'} the curve's times "
            f"by {factor:.5g})",
        )
    ]


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
    if CENSORED in rows:
        faults += _censored_faults(where, rows, path)
    if events is not None and number.size and not 0 <= events <= number[0]:
        faults.append(
            Fault(
                f"{where}: events beyond its patients", value=events, allowed=f"0 to {number[0]:g}"
            )
        )
    return faults


def _censored_faults(where: str, rows: pd.DataFrame, path: Path) -> list[Fault]:
    time, censored = rows[TIME].to_numpy(), rows[CENSORED].to_numpy()
    gone = rows[AT_RISK].iloc[0] - rows[AT_RISK].to_numpy()
    if np.isnan(censored).any() or np.any(censored != np.round(censored)) or censored.min() < 0:
        return [Fault(f"{where}: patients censored so far are whole numbers", file=path,
                      value=censored.tolist(), remedy="fill every row of the column")]  # fmt: skip
    faults = [
        Fault(
            f"{where}: patients censored so far fall from time {time[k]:g} to {time[k + 1]:g}",
            file=path,
            value=f"{censored[k]:g} then {censored[k + 1]:g}",
            remedy="give all patients censored before each time, not those since the last one",
        )
        for k in np.flatnonzero(np.diff(censored) < 0)
    ]
    faults += [
        Fault(
            f"{where}: more patients censored before time {time[k]:g} than have left by then",
            file=path,
            value=f"{censored[k]:g} censored, {gone[k]:g} left",
            remedy="correct one of the two numbers",
        )
        for k in np.flatnonzero(censored > gone)
    ]
    events = np.diff(gone - censored)
    faults += [
        Fault(
            f"{where}: fewer events before time {time[k + 1]:g} than before time {time[k]:g}",
            file=path,
            value=f"at risk and censored so far leave {events[k]:g} events between",
            remedy="correct one of the numbers of these rows",
        )
        for k in np.flatnonzero(events < 0)
        if not faults
    ]
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
    if time.min() < -BEFORE_ZERO * time.max():
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


@dataclass(frozen=True)
class Curve:
    """One digitised arm, cleaned: ``survival`` at ``time``, read with error ``sigma``.

    ``steps`` says that each time is a drop of the curve, not just a point on it. ``error_from``
    says in words what ``sigma`` was estimated from.
    """

    time: np.ndarray
    survival: np.ndarray
    sigma: float
    steps: bool
    error_from: str = ""

    @property
    def exact(self) -> bool:
        """Whether survival is what the file says but for the rounding of its decimals."""
        return self.error_from.startswith(EXACT)


@dataclass(frozen=True)
class AtRisk:
    """What is printed below one arm's curve: patients at risk ``number`` at each ``time``.

    The first time is 0, with all patients; ``number`` counts those whose time is not before it,
    ``censored`` those censored before it; ``events`` is their printed total.
    """

    time: np.ndarray
    number: np.ndarray
    censored: np.ndarray | None = None
    events: int | None = None

    @property
    def patients(self) -> int:
        """All patients."""
        return int(self.number[0])


def clean_curve(time: np.ndarray, survival: np.ndarray) -> Curve:
    """Clean the points of one arm (shape (points,) each; any order, percent or fractions).

    Vertical pieces (two values at one time) mean that the steps themselves were read. The reading
    error (a standard deviation, in units of survival) comes from the points: their scatter about
    the best non-increasing curve. Steps that never rise have the error of their decimals alone;
    single points at least that of the resolution (spacing of the values read, uniform).
    """
    time, survival = np.asarray(time, float), np.asarray(survival, float)
    percent = survival.max() > 1.5
    rounding = _rounding(survival) / (100 if percent else 1)
    survival = survival / 100 if percent else survival
    order = np.lexsort((-survival, time))
    time, survival = time[order], survival[order]
    steps = bool(np.mean(np.diff(time) == 0) > 0.25)
    fitted = isotonic_regression(survival, increasing=False).x
    free = survival.size - np.unique(np.round(fitted, 9)).size  # the fit spends one value a level
    scatter = float(np.sqrt(np.sum((survival - fitted) ** 2) / max(free, 1)))
    sigma, error_from = _error(survival, scatter, rounding, steps)
    last = np.append(time[1:] > time[:-1], True)  # the value after the drop at each time
    time, survival = time[last], np.clip(fitted[last] if steps else survival[last], 0, 1)
    if steps:
        falls = np.append(True, np.diff(survival) < -FINEST)
        falls[-1] = True  # the end of follow-up
        time, survival = time[falls], survival[falls]
    if time[0] > 0:
        time, survival = np.append(0.0, time), np.append(1.0, survival)
    return Curve(time, survival, sigma, steps, error_from)


def _rounding(values: np.ndarray) -> float:
    """Standard deviation of rounding to the decimals that the values are written with."""
    for decimals in range(9):
        scaled = values * 10**decimals
        if np.all(np.abs(scaled - np.round(scaled)) < 1e-6):
            return 10.0**-decimals / np.sqrt(12)
    return FINEST


def _error(survival: np.ndarray, scatter: float, rounding: float, steps: bool) -> tuple[float, str]:
    """Standard deviation of a height as read, and what it was estimated from."""
    if steps and scatter < max(FINEST, rounding):
        decimals = round(-np.log10(rounding * np.sqrt(12)))
        return max(FINEST, rounding), (
            EXACT if rounding <= FINEST else f"{EXACT} rounded to {decimals} decimals of survival"
        )
    gaps = np.diff(np.unique(survival))
    resolution = gaps[gaps > FINEST].min(initial=0.01) / np.sqrt(12)
    if not steps and resolution > scatter:
        return float(resolution), "the spacing of the heights read"
    return max(scatter, rounding), "the scatter of the points about a curve that never rises"


def telling_times(curve: Curve, number: int) -> np.ndarray:
    """Times along a curve, evenly over its length and its fall together; to tenths, distinct."""
    survival = _never_rising(curve)
    fall = max(survival[0] - survival[-1], FINEST)
    passed = curve.time / curve.time[-1] / 2 + (survival[0] - survival) / fall / 2
    wanted = (np.arange(number) + 0.5) / number * passed[-1]
    found = np.interp(wanted, passed, curve.time)
    return np.unique(np.round(found, 1).clip(max(0.1, curve.time[0]), curve.time[-1]))


def corridor(curve: Curve, times: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest survival that the points allow at times, but for their reading error.

    A time is as far off as half the distance between points, at least ``least``. Between points
    survival lies between both; a curve read as steps stays where it fell to last.
    """
    survival = _never_rising(curve)
    spacing = float(np.median(np.diff(curve.time))) / 2 if not curve.steps else 0.0
    off = max(least, spacing)
    before = np.searchsorted(curve.time, times - off, side="right") - 1
    if curve.steps:
        after = np.searchsorted(curve.time, times + off, side="right") - 1
    else:
        after = np.searchsorted(curve.time, times + off, side="left")
    last = curve.time.size - 1
    return survival[after.clip(0, last)], survival[before.clip(0, last)]


def _never_rising(curve: Curve) -> np.ndarray:
    return np.asarray(isotonic_regression(curve.survival, increasing=False).x)

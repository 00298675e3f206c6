"""Times in one unit, so that 2.5 years stands beside 30.2 months; a median not reached is far off.

A paper's month has 28 to 31 days and its year 365 or 365.25: a number converted stands for all that
these give.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from her2bayes.audit import rounding
from her2bayes.audit.rounding import Interval
from her2bayes.estimand import Estimand

MONTHS = {
    "months": Interval(1, 1),
    "years": Interval(12, 12),
    "weeks": Interval(7 / 30.5, 7 / 28),
    "days": Interval(1 / 30.5, 1 / 30),
}
"""Months in one unit of time."""

NAMES = {
    name: unit
    for unit, names in {
        "months": "m mo mos month",
        "years": "y yr yrs year",
        "weeks": "w wk wks week",
        "days": "d day",
    }.items()
    for name in names.split()
}

FAR = 1e6
"""Months that no follow-up has: where a median lies that is not reached."""


def unit_of(name: str) -> str:
    """Unit of time by one name."""
    plain = name.strip().lower()
    return NAMES.get(plain, plain)


def in_months(cell: Interval, unit: str) -> Interval | None:
    """Interval of times, not negative, in months; None where the unit is no unit of time."""
    one = MONTHS.get(unit_of(unit))
    if one is None:
        return None
    low, high = max(0.0, cell.lower), max(0.0, cell.upper)
    return Interval(min(FAR, low * one.lower), min(FAR, high * one.upper))


def stands_for(printed: Decimal, relation: str) -> Interval:
    """Times, or other numbers that are not negative, that a printed one stands for."""
    if relation == "<":
        return Interval(0.0, float(printed))
    if relation == ">":
        return Interval(float(printed), FAR)
    return rounding.cell(printed)


def one_unit(estimand: Estimand) -> Estimand:
    """Time of an estimand in months, where that is exact: ``@ 12 months`` for one year."""
    unit = unit_of(estimand.time_unit)
    if estimand.time is None or unit not in ("years", "months"):
        return estimand
    factor = MONTHS[unit].lower
    return replace(estimand, time=round(estimand.time * factor, 6), time_unit="months")

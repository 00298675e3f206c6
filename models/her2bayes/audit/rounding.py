"""Printed decimals as intervals: which exact values a printed number can stand for.

A number printed with d decimals stands for every value within half a unit of its last decimal, both
ends included, because half up and half even differ only there. Truncation is a variant of its own.

Times are brought to one unit, so that 2.5 years stands beside 30.2 months. A paper's month has 28
to 31 days and its year 365 or 365.25: a number converted stands for all that these give. A median
not reached is far off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cache

from her2bayes.estimand import Estimand

# Relative slack when floating-point results meet decimal bounds, far below any printed digit
SLACK = 1e-9

EXACT = "exact"
HALF_UP = "half up"
HALF_EVEN = "half even"
EITHER_HALF = "half up and half even"
TRUNCATED = "truncated"


@dataclass(frozen=True)
class Interval:
    """A closed interval of real numbers."""

    lower: float
    upper: float

    def meets(self, other: Interval, least: float = 1e-3) -> bool:
        """Tell whether the two have a point in common, up to floating-point slack.

        The slack is relative to ``other``, for numbers below ``least`` to that.
        """
        slack = SLACK * max(least, abs(other.lower), abs(other.upper))
        return self.lower <= other.upper + slack and other.lower <= self.upper + slack

    def holds(self, value: float) -> bool:
        """Tell whether a value lies inside, up to floating-point slack."""
        return self.meets(Interval(value, value))

    @property
    def width(self) -> float:
        """Length."""
        return self.upper - self.lower


def decimal(text: str, decimals: int | None = None) -> Decimal | None:
    """Printed digits as an exact decimal with its trailing zeros; None where there is none.

    ``decimals`` says how many digits were printed, where the text lost its zeros; below 0 that a
    whole number was rounded to tens (-1), hundreds (-2) ...
    """
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    if not number.is_finite():
        return None
    if decimals is None or 0 <= decimals < decimals_of(number):
        return number
    return number.quantize(Decimal(1).scaleb(-decimals))


def unit(printed: Decimal) -> Decimal:
    """One unit of the last printed decimal."""
    return Decimal(1).scaleb(int(printed.as_tuple().exponent))


def decimals_of(printed: Decimal) -> int:
    """Count the printed decimals; -1 means rounded to tens."""
    return -int(printed.as_tuple().exponent)


def cell(printed: Decimal) -> Interval:
    """Return every value that rounds to the printed one under half up or half even."""
    half = unit(printed) / 2
    return Interval(float(printed - half), float(printed + half))


def p_cell(printed: Decimal, relation: str) -> Interval:
    """Return the P values that a printed P stands for; ``<0.001`` is everything below 0.001."""
    if relation == "<":
        return Interval(0.0, float(printed))
    if relation == ">":
        return Interval(float(printed), 1.0)
    both = cell(printed)
    return Interval(max(0.0, both.lower), min(1.0, both.upper))


def rounded(exact: Fraction, decimals: int, rule: str) -> Decimal:
    """Round an exact value, not negative, to the given decimals under one of the three rules."""
    scaled = exact * Fraction(10) ** decimals
    floor = scaled.numerator // scaled.denominator
    rest = scaled - floor
    half = Fraction(1, 2)
    at_tie = {HALF_UP: 1, HALF_EVEN: floor % 2, TRUNCATED: 0}[rule]
    whole = floor + (at_tie if rest == half else int(rest > half and rule != TRUNCATED))
    return Decimal(whole).scaleb(-decimals)


def rule_that_prints(exact: Fraction, printed: Decimal) -> str | None:
    """Name how an exact value becomes the printed one: exact, half up or even, truncated, None.

    ``exact`` means that the usual rules agree; the two half rules are named only at a tie.
    """
    decimals = decimals_of(printed)
    up, even = (rounded(exact, decimals, rule) for rule in (HALF_UP, HALF_EVEN))
    if printed == up == even:
        at_tie = abs(exact - Fraction(printed)) * 2 == Fraction(unit(printed))
        return EITHER_HALF if at_tie else EXACT
    if printed == up:
        return HALF_UP
    if printed == even:
        return HALF_EVEN
    return TRUNCATED if printed == rounded(exact, decimals, TRUNCATED) else None


def counts_that_fit(printed: Decimal, denominator: int) -> tuple[int, ...]:
    """Return the whole numerators whose percentage of ``denominator`` prints as ``printed``."""
    inside = cell(printed)
    first = max(0, int(inside.lower * denominator / 100) - 1)
    last = min(denominator, int(inside.upper * denominator / 100) + 1)
    return tuple(
        k
        for k in range(first, last + 1)
        if abs(Fraction(100 * k, denominator) - Fraction(printed)) * 2 <= Fraction(unit(printed))
    )


@cache
def chance_of_fit(denominator: int, decimals: int) -> float:
    """Share of the percentages 0 to 100 on the printed grid that some whole numerator prints."""
    grid = Fraction(10) ** decimals
    if denominator >= 100 * grid:
        return 1.0
    printable = {
        rounded(Fraction(100 * k, denominator), decimals, HALF_UP) for k in range(denominator + 1)
    }
    return float(len(printable) / (100 * grid + 1))


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
    return cell(printed)


def one_unit(estimand: Estimand) -> Estimand:
    """Time of an estimand in months, where that is exact: ``@ 12 months`` for one year."""
    unit = unit_of(estimand.time_unit)
    if estimand.time is None or unit not in ("years", "months"):
        return estimand
    factor = MONTHS[unit].lower
    return replace(estimand, time=round(estimand.time * factor, 6), time_unit="months")

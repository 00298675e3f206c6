"""Printed decimals as intervals: which exact values a printed number can stand for.

A number printed with d decimals stands for every value within half a unit of its last decimal, both
ends included, because half up and half even differ only there. Truncation is a variant of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cache

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

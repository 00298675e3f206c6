"""Numbers as text, one way for all tables, figures and sentences: 51.4 (45.2–57.5)."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal
from numbers import Real

SPACE = "\N{NO-BREAK SPACE}"
MINUS = "−"  # the sign, not the hyphen, which a line may break after


def number(value: object, decimals: int | None = None) -> str:
    """Text of a number with ``decimals``, or three significant digits; empty where missing.

    What is infinite is called so by its sign: ∞ or −∞.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or math.isnan(float(value)):
        return ""
    amount = float(value)
    if math.isinf(amount):
        return MINUS + "∞" if amount < 0 else "∞"
    text = _rounded(abs(amount), _decimals(amount) if decimals is None else decimals)
    negative = amount < 0 and any(digit in text for digit in "123456789")
    return (MINUS if negative else "") + text


def interval(
    value: object,
    lower: object,
    upper: object,
    decimals: int | None = None,
    unit: str = "",
    unreached: str = "",
) -> str:
    """Text of an estimate with its interval; ``to`` where a bound is negative, a dash otherwise.

    All three numbers get the same decimals: one for percentages, else enough for three
    significant digits of the estimate. ``unreached`` stands for a bound beyond follow-up.
    """
    if decimals is None:
        decimals = 1 if unit in {"%", "months", "years"} else _significant(value, lower, upper)
    middle, low, high = (number(n, decimals) for n in (value, lower, upper))
    if middle:
        low, high = low or unreached, high or unreached
    if not low or not high:
        return middle
    joiner = " to " if MINUS in low + high else "–"
    return f"{middle} ({low}{joiner}{high})".strip()


NOT_REACHED = "not reached"


def survival_time(value: object, lower: object, upper: object, unit: str = "months") -> str:
    """Text of a median time of which a part may lie beyond follow-up (missing).

    The lower limit is said where the median itself is not reached: it is all that is known.
    """
    text = interval(value, lower, upper, unit=unit, unreached=NOT_REACHED)
    if text or not number(lower):
        return text or NOT_REACHED
    return f"{NOT_REACHED} (95{SPACE}% from {number(lower, 1)})"


def probability(value: object) -> str:
    """Text of a probability in [0, 1] as a percentage that never rounds to certainty."""
    text = number(value)
    if not text:
        return ""
    percent = 100 * float(value)  # type: ignore[arg-type]
    if percent > 99.9:
        return f">99.9{SPACE}%"
    if percent < 0.1:
        return f"<0.1{SPACE}%"
    return f"{number(percent, 1)}{SPACE}%"


def p_value(value: object) -> str:
    """Text of a P value: two significant digits, ``<0.0001`` below that."""
    if not number(value):
        return ""
    amount = float(value)  # type: ignore[arg-type]
    if amount < 0.0001:
        return "<0.0001"
    return f"{amount:.{4 if amount < 0.01 else 3}f}"


def count(amount: int, singular: str, plural: str = "") -> str:
    """Text of a counted thing: 1 row, 2 rows."""
    return f"{amount:,} {singular if amount == 1 else plural or singular + 's'}"


def _rounded(amount: float, decimals: int) -> str:
    """Round halves up, as papers do and as the binary fraction of a float would not."""
    step = Decimal(1).scaleb(-decimals)
    exact = Decimal(f"{amount:.12g}")
    return f"{exact.quantize(step, ROUND_HALF_UP):,.{decimals}f}"


def _decimals(amount: float) -> int:
    return 0 if amount.is_integer() else _significant(amount)


def _significant(*values: object) -> int:
    known = [float(n) for n in values if isinstance(n, Real) and math.isfinite(float(n))]
    if all(n.is_integer() for n in known):
        return 0
    leading = next((n for n in known if n), 1.0)
    return max(0, 2 - math.floor(math.log10(abs(leading))))

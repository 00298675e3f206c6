"""A share, rate or difference in percent, with its interval, as a classical row of the table."""

from __future__ import annotations

from typing import Any

from her2bayes.classical.proportions import interval
from her2bayes.estimand import Estimand


def percent_row(
    asked: Estimand | str, statistic: str, value: float, low: float, high: float, method: str
) -> dict[str, Any]:
    """Row of the named estimand, in percent, from the shares ``value``, ``low`` and ``high``."""
    return {
        "estimand": str(asked),
        "statistic": statistic,
        "reproduced": 100 * value,
        "reproduced_lower": 100 * low,
        "reproduced_upper": 100 * high,
        "method": method,
        "unit": "%",
        "note": "",
    }


def wilson_row(asked: Estimand | str, count: int, patients: int) -> dict[str, Any]:
    """Row of ``count`` among ``patients`` with Wilson's interval."""
    low, high = interval(count, patients, "Wilson")
    row = percent_row(asked, "percentage", count / patients, low, high, "95 % interval: Wilson")
    return {**row, "reproduced": 100 * count / patients}  # one rounding, not two

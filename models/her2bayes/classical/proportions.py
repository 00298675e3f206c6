"""Confidence intervals for proportions, their differences and multinomial shares, each by name.

Shares are fractions in [0, 1]. Wilson 1927; Clopper & Pearson 1934; Lancaster 1961 (mid-P); Goodman
1965; Agresti & Coull 1998; Newcombe 1998 (methods 4 and 10); Brown, Cai & DasGupta 2001 (Jeffreys).

A share, rate or difference in percent, with its interval, as a classical row of the table.

P values adjusted for the number of tests, each method by name, as R's ``p.adjust`` gives them.

Bonferroni; Holm 1979; Hochberg 1988 (family-wise error rate); Benjamini & Hochberg 1995; Benjamini
& Yekutieli 2001 (false discovery rate).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Estimand


def _bonferroni(p: np.ndarray) -> np.ndarray:
    return p * p.size


def _holm(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    return _back(stepped, order)


def _hochberg(p: np.ndarray) -> np.ndarray:
    return _step_up(p, 1.0 * np.arange(1, p.size + 1))


def _benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    return _step_up(p, p.size / np.arange(p.size, 0, -1))


def _benjamini_yekutieli(p: np.ndarray) -> np.ndarray:
    harmonic = (1 / np.arange(1, p.size + 1)).sum()
    return _step_up(p, harmonic * p.size / np.arange(p.size, 0, -1))


def _step_up(p: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Largest P first; ``factor`` in that order."""
    order = np.argsort(p)[::-1]
    return _back(np.minimum.accumulate(p[order] * factor), order)


def _back(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    result = np.empty_like(values)
    result[order] = values
    return result


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Bonferroni": _bonferroni,
    "Holm": _holm,
    "Hochberg": _hochberg,
    "Benjamini-Hochberg": _benjamini_hochberg,
    "Benjamini-Yekutieli": _benjamini_yekutieli,
}


def adjusted(p_values: Sequence[float] | np.ndarray, method: str) -> np.ndarray:
    """Adjusted P values in the order given; ``BadInput`` for another method or no P values.

    A missing P stays missing and is no test of the family, as in R.
    """
    if method not in METHODS:
        raise BadInput(Fault("unknown adjustment", value=method, allowed=", ".join(METHODS)))
    p = np.asarray(p_values, dtype=float)
    known = ~np.isnan(p)
    if p.ndim != 1 or not ((p[known] >= 0) & (p[known] <= 1)).all():
        raise BadInput(Fault("P values", value=p.tolist(), allowed="a list of numbers, 0 to 1"))
    found = p.copy()
    if known.any():
        found[known] = np.minimum(METHODS[method](p[known]), 1.0)
    return found


Interval = tuple[float, float]


def _check(count: int, total: int, level: float) -> None:
    if not (0 <= count <= total and total > 0):
        raise BadInput(
            Fault(
                "a count must lie within its total",
                value=(count, total),
                allowed="0 <= count <= total, total > 0",
            )
        )
    if not 0 < level < 1:
        raise BadInput(
            Fault("confidence level", value=level, allowed="between 0 and 1", remedy="use 0.95")
        )


def _z(level: float) -> float:
    return float(stats.norm.ppf((1 + level) / 2))


def _clip(low: float, high: float) -> Interval:
    return max(0.0, low), min(1.0, high)


def _wilson(count: int, total: int, level: float) -> Interval:
    low, high = stats.binomtest(count, total).proportion_ci(level, method="wilson")
    return float(low), float(high)


def _wilson_corrected(count: int, total: int, level: float) -> Interval:
    low, high = stats.binomtest(count, total).proportion_ci(level, method="wilsoncc")
    return float(low), float(high)


def _clopper_pearson(count: int, total: int, level: float) -> Interval:
    low, high = stats.binomtest(count, total).proportion_ci(level, method="exact")
    return float(low), float(high)


def _jeffreys(count: int, total: int, level: float) -> Interval:
    low, high = stats.beta(count + 0.5, total - count + 0.5).interval(level)
    return (0.0 if count == 0 else float(low)), (1.0 if count == total else float(high))


def _wald(count: int, total: int, level: float) -> Interval:
    share = count / total
    half = _z(level) * sqrt(share * (1 - share) / total)
    return _clip(share - half, share + half)


def _wald_corrected(count: int, total: int, level: float) -> Interval:
    share = count / total
    half = _z(level) * sqrt(share * (1 - share) / total) + 1 / (2 * total)
    return _clip(share - half, share + half)


def _agresti_coull(count: int, total: int, level: float) -> Interval:
    z2 = _z(level) ** 2
    share = (count + z2 / 2) / (total + z2)
    half = sqrt(z2 * share * (1 - share) / (total + z2))
    return _clip(share - half, share + half)


def _mid_p(count: int, total: int, level: float) -> Interval:
    tail = (1 - level) / 2

    def above(p: float) -> float:
        return float(stats.binom.sf(count, total, p) + stats.binom.pmf(count, total, p) / 2) - tail

    def below(p: float) -> float:
        return float(stats.binom.cdf(count, total, p) - stats.binom.pmf(count, total, p) / 2) - tail

    low = 0.0 if count == 0 else brentq(above, 0.0, count / total, xtol=1e-14)
    high = 1.0 if count == total else brentq(below, count / total, 1.0, xtol=1e-14)
    return float(low), float(high)


INTERVALS: dict[str, Callable[[int, int, float], Interval]] = {
    "Wilson": _wilson,
    "Clopper-Pearson": _clopper_pearson,
    "Wilson, continuity-corrected": _wilson_corrected,
    "Wald": _wald,
    "Wald, continuity-corrected": _wald_corrected,
    "Agresti-Coull": _agresti_coull,
    "Jeffreys": _jeffreys,
    "mid-P": _mid_p,
}


def interval(count: int, total: int, method: str = "Wilson", level: float = 0.95) -> Interval:
    """Interval for a proportion by one of ``INTERVALS``; ``BadInput`` for impossible counts."""
    if method not in INTERVALS:
        raise BadInput(Fault("unknown interval method", value=method, allowed=", ".join(INTERVALS)))
    _check(count, total, level)
    return INTERVALS[method](int(count), int(total), level)


def goodman(counts: Sequence[int] | np.ndarray, level: float = 0.95) -> np.ndarray:
    """Simultaneous intervals for all shares of a multinomial, shape (categories, 2) (Goodman 1965).

    Each share's Wilson interval at level 1 - (1 - level) / k, so that all k hold together.
    """
    counts = np.asarray(counts, dtype=float)
    total = counts.sum()
    if counts.ndim != 1 or np.any(counts < 0) or total <= 0:
        raise BadInput(
            Fault(
                "counts of a multinomial",
                value=counts.tolist(),
                allowed="one list of counts, none negative, not all zero",
            )
        )
    if counts.size == 1:
        return np.array([[1.0, 1.0]])
    chi2 = stats.chi2.ppf(1 - (1 - level) / counts.size, 1)
    half = np.sqrt(chi2 * (chi2 + 4 * counts * (total - counts) / total))
    bounds = np.stack([chi2 + 2 * counts - half, chi2 + 2 * counts + half], axis=1)
    return np.clip(bounds / (2 * (total + chi2)), 0.0, 1.0)


def newcombe(
    count_a: int, total_a: int, count_b: int, total_b: int, level: float = 0.95
) -> Interval:
    """Interval for the difference of two independent proportions, a - b (Newcombe's method 10)."""
    low_a, high_a = interval(count_a, total_a, "Wilson", level)
    low_b, high_b = interval(count_b, total_b, "Wilson", level)
    a, b = count_a / total_a, count_b / total_b
    difference = a - b
    return (
        difference - sqrt((a - low_a) ** 2 + (high_b - b) ** 2),
        difference + sqrt((high_a - a) ** 2 + (b - low_b) ** 2),
    )


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
    row = percent_row(asked, "percentage", count / patients, low, high, "95 % CI: Wilson")
    return {**row, "reproduced": 100 * count / patients}  # one rounding, not two

"""Classical answers on response rates: named intervals by level, named tests between two levels.

Two independent binomial rates: unconditional exact tests and the interval of their ratio.

Barnard 1945 (score statistic); Boschloo 1970 (Fisher's P as statistic); Koopman 1984 (score
interval of a ratio); Katz et al. 1978 (log ratio). Differences: ``proportions.newcombe``; Fisher's
test: ``association``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from math import exp, inf, log, nan, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from her2bayes.classical.association import variants
from her2bayes.classical.proportions import Interval, adjusted, interval, newcombe, percent_row
from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Contrast, Estimand

if TYPE_CHECKING:
    import xarray as xr


MOST_TABLES = 100_000
"""Tables with both totals up to which unconditional tests are computed: more take minutes."""

RATIO_METHODS = ("Koopman", "Katz")


def barnard(count_a: int, total_a: int, count_b: int, total_b: int) -> float:
    """Two-sided P of Barnard's test, pooled score statistic (R: ``Barnard::barnard.test``).

    NaN beyond ``MOST_TABLES``, where Fisher's P is close.
    """
    table = _table(count_a, total_a, count_b, total_b)
    if total_a * total_b > MOST_TABLES:
        return nan
    if not table.sum(axis=1).all():
        return 1.0  # nobody or everybody responds: both rates are estimated as equal
    return min(1.0, float(stats.barnard_exact(table, pooled=True, n=64).pvalue))


def boschloo(count_a: int, total_a: int, count_b: int, total_b: int) -> float:
    """Two-sided P of Boschloo's test, uniformly at least as powerful as Fisher's.

    NaN beyond ``MOST_TABLES``.
    """
    table = _table(count_a, total_a, count_b, total_b)
    if total_a * total_b > MOST_TABLES:
        return nan
    if not table.sum(axis=1).all():
        return 1.0
    return min(1.0, float(stats.boschloo_exact(table, n=64).pvalue))


def ratio(
    count_a: int,
    total_a: int,
    count_b: int,
    total_b: int,
    method: str = "Koopman",
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Ratio a / b with its interval; infinite or not a number where b has none.

    Koopman's interval inverts the score test and needs no correction for zeros; Katz's is that of
    the log ratio and is (0, infinity) where a count is zero.
    """
    if method not in RATIO_METHODS:
        raise BadInput(Fault("unknown method", value=method, allowed=", ".join(RATIO_METHODS)))
    _table(count_a, total_a, count_b, total_b)
    interval(count_a, total_a, "Wilson", level)  # refuses an impossible level
    a, b = count_a / total_a, count_b / total_b
    value = a / b if b else (inf if a else float("nan"))
    bounds = _koopman if method == "Koopman" else _katz
    low, high = bounds(count_a, total_a, count_b, total_b, level)
    return value, low, high


def _katz(count_a: int, total_a: int, count_b: int, total_b: int, level: float) -> Interval:
    if not (count_a and count_b):
        return 0.0, inf
    half = stats.norm.ppf((1 + level) / 2) * sqrt(
        1 / count_a - 1 / total_a + 1 / count_b - 1 / total_b
    )
    middle = log(count_a / total_a) - log(count_b / total_b)
    return exp(middle - half), exp(middle + half)


def _koopman(count_a: int, total_a: int, count_b: int, total_b: int, level: float) -> Interval:
    limit = float(stats.chi2.ppf(level, 1))

    def excess(log_ratio: float) -> float:
        return _score(count_a, total_a, count_b, total_b, exp(log_ratio)) - limit

    far = 25.0  # log ratios beyond this are 0 or infinity
    if not count_a and not count_b:
        return 0.0, inf
    if not count_a:
        middle = -far
    elif not count_b:
        middle = far
    else:
        middle = log(count_a / total_a) - log(count_b / total_b)
    low = 0.0 if excess(-far) <= 0 or middle == -far else exp(brentq(excess, -far, middle))
    high = inf if excess(far) <= 0 or middle == far else exp(brentq(excess, middle, far))
    return low, high


def _score(a: int, m: int, b: int, n: int, ratio_: float) -> float:
    """Score statistic of rate_a = ratio * rate_b (Koopman 1984, restricted maximum likelihood)."""
    total = m + n
    linear = ratio_ * (m + b) + a + n
    root = sqrt(max(linear**2 - 4 * ratio_ * total * (a + b), 0.0))
    rate_a = 2 * ratio_ * (a + b) / (linear + root)  # restricted rate of a, the smaller root
    rate_a = min(rate_a, 1.0, ratio_)
    parts = ((a, m, rate_a), (b, n, rate_a / ratio_))
    return sum(_squared(*part) for part in parts)


def _squared(count: int, patients: int, rate: float) -> float:
    """Squared residual in standard deviations; a rate of 0 or 1 has no residual or is excluded."""
    residual, variance = count - patients * rate, patients * rate * (1 - rate)
    if variance < 1e-9:
        return 0.0 if abs(residual) < 1e-6 else inf
    return residual**2 / variance


def _table(count_a: int, total_a: int, count_b: int, total_b: int) -> np.ndarray:
    for count, total in ((count_a, total_a), (count_b, total_b)):
        if not 0 <= count <= total or total < 1:
            raise BadInput(
                Fault(
                    "a count must lie within its total",
                    value=(count, total),
                    allowed="0 <= count <= total, total > 0",
                )
            )
    return np.array([[count_a, count_b], [total_a - count_a, total_b - count_b]])


MOST_COMPARED = 12
"""Levels of a factor up to which every pair is compared: beyond, pairs are no longer read."""

Counts = Mapping[tuple[str, str], "xr.Dataset"]


def classical_rows(counts: Counts) -> Iterator[dict[str, Any]]:
    """Wilson interval of each rate; Newcombe's of each difference, with Fisher's P."""
    for (group, factor), table in counts.items():
        cells = _cells(table)
        for level, (count, patients) in cells.items():
            low, high = interval(count, patients, "Wilson")
            given = ((factor, level),) if factor else ()
            asked = Estimand("response_rate", group, given)
            yield percent_row(asked, "percentage", count / patients, low, high, "95 % CI: Wilson")
        for a, b in _pairs(factor, cells):
            low, high = newcombe(*cells[a], *cells[b])
            contrast = Contrast(factor, a, b)
            asked = Estimand("response_rate_difference", group, contrast=contrast)
            value = cells[a][0] / cells[a][1] - cells[b][0] / cells[b][1]
            method = "95 % CI: Newcombe, method 10; P: Fisher's exact test"
            row = percent_row(asked, "response_rate_difference", value, low, high, method)
            yield {**row, "reproduced_p": _fisher(cells[a], cells[b])}


def tests(counts: Counts, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every comparison of two levels: difference, ratio, exact tests, P adjusted over all rows."""
    rows: list[dict[str, Any]] = []
    for (group, factor), table in counts.items():
        cells = _cells(table)
        for a, b in _pairs(factor, cells):
            one, other = cells[a], cells[b]
            rows.append(
                {
                    "group": group,
                    "factor": labels.get(factor, factor),
                    "a": a,
                    "b": b,
                    "cells": (one, other),
                    "difference": (one[0] / one[1] - other[0] / other[1], *newcombe(*one, *other)),
                    "ratio": ratio(*one, *other),
                    "fisher": _fisher(one, other),
                    "barnard": barnard(*one, *other),
                    "boschloo": boschloo(*one, *other),
                }
            )
    for row, p in zip(rows, adjusted([r["fisher"] for r in rows], "Holm"), strict=True):
        row["holm"] = float(p)
    return rows


def _pairs(factor: str, cells: Mapping[str, tuple[int, int]]) -> list[tuple[str, str]]:
    return list(combinations(cells, 2)) if factor and len(cells) <= MOST_COMPARED else []


def _fisher(one: tuple[int, int], other: tuple[int, int]) -> float:
    table = np.array([[one[0], one[1] - one[0]], [other[0], other[1] - other[0]]])
    if not table.sum(axis=0).all():
        return 1.0  # nobody or everybody responds
    return variants(table, ["Fisher exact"])[0].p_value


def _cells(table: xr.Dataset) -> dict[str, tuple[int, int]]:
    return {
        str(level): (int(count), int(patients))
        for level, count, patients in zip(
            table["level"].values, table["responders"].values, table["patients"].values, strict=True
        )
        if patients
    }

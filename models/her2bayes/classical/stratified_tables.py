"""Tests over strata: common odds ratio, its homogeneity, and agreement across strata, by name.

Mantel & Haenszel 1959; Robins, Breslow & Greenland 1986 (interval); Breslow & Day 1980; Tarone
1985; Landis, Heyman & Koch 1978 (general association); Fleiss 1981 (equality of kappas).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, sqrt
from typing import Any

import numpy as np
from scipy import stats

from her2bayes.classical.association import TestResult, undefined
from her2bayes.classical.square_tables import Agreement, Table, kappa, kappa_name
from her2bayes.errors import Fault, raise_if

NOTHING = "the margins of no stratum, or of one only, leave anything to test"


@dataclass(frozen=True)
class CommonOddsRatio:
    """Odds ratio common to the strata with its interval; the test of no association beside it."""

    method: str
    value: float
    lower: float
    upper: float
    test: TestResult


def _stack(tables: Sequence[Table], shape: tuple[int, int] | None = None) -> np.ndarray:
    stack = np.asarray([np.asarray(table, dtype=float) for table in tables])
    expected = f"(strata, {shape[0]}, {shape[1]})" if shape else "(strata, rows, columns)"
    good = stack.ndim == 3 and (shape is None or stack.shape[1:] == shape)
    raise_if(
        []
        if good
        else [Fault("tables of one shape are needed", value=stack.shape, allowed=expected)]
    )
    whole = bool((stack >= 0).all() and (stack % 1 == 0).all())
    raise_if([] if whole else [Fault("counts are whole numbers from 0", value=stack.tolist())])
    return stack[stack.sum((1, 2)) > 1]  # a stratum of one patient has no variance


def mantel_haenszel(
    tables: Sequence[Table], *, correct: bool = False, level: float = 0.95
) -> CommonOddsRatio:
    """Mantel-Haenszel odds ratio of 2 x 2 tables, Robins-Breslow-Greenland interval, CMH test."""
    stack = _stack(tables, (2, 2))
    n = stack.sum((1, 2))
    a, b, c, d = stack[:, 0, 0], stack[:, 0, 1], stack[:, 1, 0], stack[:, 1, 1]
    r, s = a * d / n, b * c / n
    test = _cmh(stack, correct)
    method = "Mantel-Haenszel odds ratio, Robins-Breslow-Greenland interval"
    if not r.sum() or not s.sum():
        value = float("nan") if not r.sum() + s.sum() else (0.0 if not r.sum() else float("inf"))
        return CommonOddsRatio(method, value, float("nan"), float("nan"), test)
    p, q = (a + d) / n, (b + c) / n
    value = float(r.sum() / s.sum())
    variance = (
        (p * r).sum() / (2 * r.sum() ** 2)
        + (p * s + q * r).sum() / (2 * r.sum() * s.sum())
        + (q * s).sum() / (2 * s.sum() ** 2)
    )
    half = float(stats.norm.ppf((1 + level) / 2)) * sqrt(variance)
    return CommonOddsRatio(method, value, value * exp(-half), value * exp(half), test)


def _cmh(stack: np.ndarray, correct: bool) -> TestResult:
    n = stack.sum((1, 2))
    row, column = stack.sum(2), stack.sum(1)
    expected = row[:, 0] * column[:, 0] / n
    variance = float((row.prod(1) * column.prod(1) / (n**2 * (n - 1))).sum())
    name = "Cochran-Mantel-Haenszel" + (", continuity correction" if correct else "")
    if not variance:
        return undefined(name, NOTHING)
    distance = abs(float((stack[:, 0, 0] - expected).sum()))
    distance -= min(0.5, distance) if correct else 0.0
    statistic = distance**2 / variance
    return TestResult(name, statistic, 1, float(stats.chi2.sf(statistic, 1)))


def breslow_day(tables: Sequence[Table], *, tarone: bool = True) -> TestResult:
    """Equality of the odds ratios of 2 x 2 tables; strata that fix a margin at 0 carry no df."""
    stack = _stack(tables, (2, 2))
    common = mantel_haenszel(tables).value
    name = "Breslow-Day, Tarone correction" if tarone else "Breslow-Day"
    informative = (stack.sum(1) > 0).all(1) & (stack.sum(2) > 0).all(1)
    stack = stack[informative]
    if len(stack) < 2 or not 0 < common < float("inf"):
        return undefined(name, NOTHING)
    row, column, other = stack[:, 0].sum(1), stack[:, :, 0].sum(1), stack[:, 1].sum(1)
    expected = np.array([_expected(common, *m) for m in zip(row, column, other, strict=True)])
    cells = [expected, row - expected, column - expected, other - column + expected]
    variance = 1 / np.sum([1 / cell for cell in cells], axis=0)
    away = stack[:, 0, 0] - expected
    statistic = float((away**2 / variance).sum())
    if tarone:
        statistic -= float(away.sum() ** 2 / variance.sum())
    df = len(stack) - 1
    return TestResult(name, statistic, df, float(stats.chi2.sf(statistic, df)))


def _expected(ratio: float, row: float, column: float, other: float) -> float:
    """First cell of a 2 x 2 table with these margins and this odds ratio."""
    low, high = max(0.0, column - other), min(row, column)
    linear = other - column + ratio * (row + column)
    if abs(ratio - 1) < 1e-12:
        return row * column / (row + other)
    root = sqrt(linear**2 - 4 * (1 - ratio) * -row * column * ratio)
    both = [(-linear + sign * root) / (2 * (1 - ratio)) for sign in (1, -1)]
    return next(x for x in both if low <= x <= high)


def general_association(tables: Sequence[Table]) -> TestResult:
    """Generalised Cochran-Mantel-Haenszel test of general association for r x c tables."""
    stack = _stack(tables)
    rows, columns = stack.shape[1] - 1, stack.shape[2] - 1
    away, covariance = np.zeros(rows * columns), np.zeros((rows * columns,) * 2)
    for table in stack:
        n = table.sum()
        row, column = table.sum(1)[:-1], table.sum(0)[:-1]
        away += (table[:-1, :-1] - np.outer(row, column) / n).ravel()
        first = np.diag(row) * n - np.outer(row, row)
        second = np.diag(column) * n - np.outer(column, column)
        covariance += np.kron(first, second) / (n**2 * (n - 1))
    rank = int(np.linalg.matrix_rank(covariance))
    name = "Cochran-Mantel-Haenszel, general association"
    if not rank:
        return undefined(name, NOTHING)
    statistic = float(away @ np.linalg.pinv(covariance) @ away)
    return TestResult(name, statistic, rank, float(stats.chi2.sf(statistic, rank)))


def common_kappa(tables: Sequence[Table], kind: str = "unweighted") -> tuple[Agreement, TestResult]:
    """Kappa pooled over strata with inverse-variance weights, and the test that all are equal."""
    each = [kappa(table, kind) for table in tables if np.asarray(table).sum()]
    used = [k for k in each if k.standard_error > 0]
    name = "equality of kappas (Fleiss 1981)"
    if not used:
        why = "kappa has no standard error in any stratum"
        none = Agreement(f"{kappa_name(kind)}, pooled by inverse variance", *[float("nan")] * 6)
        return none, undefined(name, why)
    weight = np.array([k.standard_error**-2 for k in used])
    values = np.array([k.value for k in used])
    value, error = float(weight @ values / weight.sum()), float(weight.sum() ** -0.5)
    statistic, df = float(weight @ (values - value) ** 2), len(used) - 1
    half = float(stats.norm.ppf(0.975)) * error
    nan: Any = float("nan")
    pooled = Agreement(
        f"{used[0].method}, pooled by inverse variance",
        value,
        error,
        nan,
        value - half,
        value + half,
        nan,
    )
    if not df:
        return pooled, undefined(name, "one stratum only")
    return pooled, TestResult(name, statistic, df, float(stats.chi2.sf(statistic, df)))


def stratified_mcnemar(there: Sequence[int], back: Sequence[int]) -> TestResult:
    """Whether the direction of change (i -> j against j -> i) is the same in all strata.

    Chi-square of the strata x direction table; strata without a change carry no df.
    """
    table = np.array([[a, b] for a, b in zip(there, back, strict=True) if a + b > 0], dtype=float)
    name = "equality of directions, Pearson chi-square"
    if len(table) < 2 or not (table.sum(0) > 0).all():
        return undefined(name, NOTHING)
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    statistic, df = float(((table - expected) ** 2 / expected).sum()), len(table) - 1
    return TestResult(name, statistic, df, float(stats.chi2.sf(statistic, df)))

"""Tests and agreement for a table of classes, paired (primary by recurrence) or in strata, by name.

McNemar 1947; Bowker 1948; Stuart 1955 and Maxwell 1970; Bhapkar 1966; Cohen 1960, 1968; Fleiss,
Cohen & Everitt 1969 (standard errors of kappa); Fagerland, Lydersen & Laake 2013 (McNemar mid-P).

Over strata, common odds ratio, its homogeneity, and agreement: Mantel & Haenszel 1959; Robins,
Breslow & Greenland 1986 (interval); Breslow & Day 1980; Tarone 1985; Landis, Heyman & Koch 1978
(general association); Fleiss 1981 (equality of kappas).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from typing import Any

import numpy as np
from scipy import stats

from her2bayes.classical.association import TestResult, undefined
from her2bayes.classical.proportions import interval
from her2bayes.errors import Fault, raise_if

SAME = "no patient changed class"
Table = np.ndarray | Iterable[Iterable[int]]


@dataclass(frozen=True)
class Agreement:
    """Cohen's kappa with its standard error and normal interval; ``null_error`` tests kappa = 0."""

    method: str
    value: float
    standard_error: float
    null_error: float
    lower: float
    upper: float
    p_value: float


def checked_square(table: Table) -> np.ndarray:
    """Return counts as float array (k, k); ``BadInput`` for anything but whole counts, square."""
    counts = np.asarray(table, dtype=float)
    square = counts.ndim == 2 and counts.shape[0] == counts.shape[1] and len(counts) > 1
    whole = bool(np.isfinite(counts).all() and (counts >= 0).all() and (counts % 1 == 0).all())
    checks = [
        (square, "a table of pairs has as many rows as columns", counts.shape),
        (whole, "counts are whole numbers from 0", counts.tolist()),
        (bool(counts.sum() > 0), "a table without pairs has no test", counts.tolist()),
    ]
    raise_if([Fault(problem, value=value) for good, problem, value in checks if not good])
    return counts


def bowker(table: Table) -> TestResult:
    """Symmetry of all pairs of cells; pairs with no patients in both cells carry no df."""
    counts = checked_square(table)
    upper = np.triu_indices(len(counts), 1)
    a, b = counts[upper], counts.T[upper]
    seen = a + b > 0
    statistic = float(((a - b)[seen] ** 2 / (a + b)[seen]).sum())
    return _chi2("Bowker", statistic, int(seen.sum()))


def stuart_maxwell(table: Table) -> TestResult:
    """Equality of the margins, covariance under homogeneity (Stuart 1955, Maxwell 1970)."""
    difference, null_covariance, _ = _margins(checked_square(table))
    return _quadratic("Stuart-Maxwell", difference, null_covariance)


def bhapkar(table: Table) -> TestResult:
    """Equality of the margins, covariance without the hypothesis (Bhapkar 1966)."""
    difference, _, covariance = _margins(checked_square(table))
    return _quadratic("Bhapkar", difference, covariance)


def _margins(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Differences of the margins (last class left out) and both covariances; empty classes go."""
    counts = counts[np.ix_(*[counts.sum(0) + counts.sum(1) > 0] * 2)]
    difference = counts.sum(1) - counts.sum(0)
    null = np.diag(counts.sum(1) + counts.sum(0)) - counts - counts.T
    covariance = null - np.outer(difference, difference) / counts.sum()
    return difference[:-1], null[:-1, :-1], covariance[:-1, :-1]


def _quadratic(method: str, difference: np.ndarray, covariance: np.ndarray) -> TestResult:
    rank = int(np.linalg.matrix_rank(covariance)) if len(difference) else 0
    if not rank:
        return undefined(method, SAME)
    statistic = float(difference @ np.linalg.pinv(covariance) @ difference)
    return _chi2(method, statistic, rank)


def _chi2(method: str, statistic: float, df: int) -> TestResult:
    if not df:
        return undefined(method, SAME)
    return TestResult(method, statistic, df, float(stats.chi2.sf(statistic, df)))


def _mcnemar(b: int, c: int) -> TestResult:
    return _chi2("McNemar", (b - c) ** 2 / (b + c), 1)


def _mcnemar_corrected(b: int, c: int) -> TestResult:
    statistic = max(0.0, abs(b - c) - 1) ** 2 / (b + c)
    return _chi2("McNemar, continuity correction", statistic, 1)


def _mcnemar_exact(b: int, c: int) -> TestResult:
    p_value = float(stats.binomtest(b, b + c).pvalue)
    return TestResult("McNemar exact", float(min(b, c)), 0, p_value)


def _mcnemar_mid_p(b: int, c: int) -> TestResult:
    low = min(b, c)
    below = float(2 * stats.binom.cdf(low - 1, b + c, 0.5) + stats.binom.pmf(low, b + c, 0.5))
    p_value = 1.0 if b == c else min(1.0, below)
    return TestResult("McNemar mid-P", float(low), 0, p_value)


MCNEMAR: dict[str, Callable[[int, int], TestResult]] = {
    "McNemar": _mcnemar,
    "McNemar, continuity correction": _mcnemar_corrected,
    "McNemar exact": _mcnemar_exact,
    "McNemar mid-P": _mcnemar_mid_p,
}


def mcnemar(there: int, back: int, method: str = "McNemar mid-P") -> TestResult:
    """Flow i -> j against flow j -> i, by one of ``MCNEMAR``.

    Without patients the exact variants have P 1, and the others none.
    """
    known = method in MCNEMAR
    good = min(there, back) >= 0 and there % 1 == back % 1 == 0
    raise_if(
        ([] if known else [Fault("unknown variant", value=method, allowed=", ".join(MCNEMAR))])
        + ([] if good else [Fault("counts are whole numbers from 0", value=(there, back))])
    )
    if there + back == 0:
        exact = method in ("McNemar exact", "McNemar mid-P")
        return TestResult(method, 0.0, 0, 1.0) if exact else undefined(method, SAME)
    return MCNEMAR[method](int(there), int(back))


def weights(size: int, kind: str) -> np.ndarray:
    """Weights of agreement (size, size): ``unweighted``, ``linear`` or ``quadratic``."""
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size))) / (size - 1)
    known = {
        "unweighted": np.eye(size),
        "linear": 1 - distance,
        "quadratic": 1 - distance**2,
    }
    raise_if(
        [] if kind in known else [Fault("unknown weights", value=kind, allowed=", ".join(known))]
    )
    return known[kind]


def kappa(table: Table, kind: str = "unweighted", level: float = 0.95) -> Agreement:
    """Cohen's kappa with the large-sample standard error of Fleiss, Cohen & Everitt (1969).

    ``kind`` names the weights. Where all patients are in one class kappa is not defined (NaN).
    """
    counts = checked_square(table)
    n, weight = counts.sum(), weights(len(counts), kind)
    share = counts / n
    row, column = share.sum(1), share.sum(0)
    observed, expected = float((weight * share).sum()), float(row @ weight @ column)
    method = kappa_name(kind)
    if expected > 1 - 1e-12:
        return Agreement(method, *[float("nan")] * 6)
    value = (observed - expected) / (1 - expected)
    mean = (weight @ column)[:, None] + (row @ weight)[None, :]
    inner = weight - mean * (1 - value)
    variance = (share * inner**2).sum() - (value - expected * (1 - value)) ** 2
    null = (np.outer(row, column) * (weight - mean) ** 2).sum() - expected**2
    error, null_error = (float(np.sqrt(max(v, 0.0) / n)) / (1 - expected) for v in (variance, null))
    half = float(stats.norm.ppf((1 + level) / 2)) * error
    p_value = float(2 * stats.norm.sf(abs(value) / null_error)) if null_error else float("nan")
    return Agreement(method, value, error, null_error, value - half, value + half, p_value)


def kappa_name(kind: str) -> str:
    """What a kappa with these weights is called."""
    name = "Cohen's kappa" if kind == "unweighted" else f"Cohen's kappa, {kind} weights"
    return f"{name}, Fleiss-Cohen-Everitt standard error, normal interval"


def transition_intervals(
    table: Table, method: str = "Clopper-Pearson", level: float = 0.95
) -> dict[str, Any]:
    """Row shares of a table with a binomial interval each: ``share``, ``lower``, ``upper`` (k, k).

    Rows without patients are NaN. ``method`` is one of ``proportions.INTERVALS``.
    """
    counts = checked_square(table)
    total = counts.sum(1)
    result = {name: np.full(counts.shape, np.nan) for name in ("share", "lower", "upper")}
    for i in np.flatnonzero(total):
        result["share"][i] = counts[i] / total[i]
        for j in range(len(counts)):
            low, high = interval(int(counts[i, j]), int(total[i]), method, level)
            result["lower"][i, j], result["upper"][i, j] = low, high
    return {"method": method, **result}


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

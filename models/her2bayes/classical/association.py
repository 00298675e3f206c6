"""Tests of independence in a table of counts, every common variant by name, and Cramér's V.

Pearson 1900; Yates 1934; Fisher 1922; Freeman & Halton 1951; Campbell 2007 (N - 1); Agresti 2013,
ch. 3 (likelihood ratio, linear-by-linear); Smithson 2003 (interval of V); Bergsma 2013 (bias of V).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import comb, prod, sqrt
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import gammaln

from her2bayes.errors import BadInput, Fault

# Above this many tables the exact sum gives way to sampling tables with the same margins.
EXACT_TABLES = 3_000_000
SAMPLED_TABLES = 100_000


@dataclass(frozen=True)
class TestResult:
    """One variant of a test; ``mcse`` is the Monte-Carlo error of ``p_value``, 0 where exact.

    Where the data give no test, its numbers are NA and ``note`` has the reason.
    """

    __test__ = False  # not a test for pytest to collect

    method: str
    statistic: float
    df: int
    p_value: float
    mcse: float = 0.0
    note: str = ""


def undefined(method: str, why: str) -> TestResult:
    """A test that the data do not give."""
    return TestResult(method, float("nan"), 0, float("nan"), note=f"not available: {why}")


def _expected(table: np.ndarray) -> np.ndarray:
    return np.outer(table.sum(1), table.sum(0)) / table.sum()


def _df(table: np.ndarray) -> int:
    return (table.shape[0] - 1) * (table.shape[1] - 1)


def _from_chi2(method: str, statistic: float, df: int) -> TestResult:
    return TestResult(method, statistic, df, float(stats.chi2.sf(statistic, df)))


def _chi2(table: np.ndarray) -> float:
    expected = _expected(table)
    return float(((table - expected) ** 2 / expected).sum())


def _pearson(table: np.ndarray) -> TestResult:
    return _from_chi2("Pearson chi-square", _chi2(table), _df(table))


def _yates(table: np.ndarray) -> TestResult:
    # R's chisq.test takes off min(0.5, |O - E|), scipy and SAS do the same
    expected = _expected(table)
    gap = np.abs(table - expected)
    statistic = ((gap - min(0.5, gap.min())) ** 2 / expected).sum()
    return _from_chi2("Pearson chi-square, Yates correction", float(statistic), 1)


def _n_minus_1(table: np.ndarray) -> TestResult:
    total = table.sum()
    return _from_chi2("N-1 chi-square", _chi2(table) * (total - 1) / total, _df(table))


def _likelihood_ratio(table: np.ndarray) -> TestResult:
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(table > 0, table * np.log(table / _expected(table)), 0.0)
    return _from_chi2("likelihood-ratio G", float(2 * terms.sum()), _df(table))


def _linear_trend(table: np.ndarray) -> TestResult:
    rows, columns = np.indices(table.shape)
    total = table.sum()
    weights = table / total
    row_mean, column_mean = (weights * rows).sum(), (weights * columns).sum()
    covariance = (weights * (rows - row_mean) * (columns - column_mean)).sum()
    spread = (weights * (rows - row_mean) ** 2).sum() * (
        weights * (columns - column_mean) ** 2
    ).sum()
    return _from_chi2("linear-by-linear trend", float((total - 1) * covariance**2 / spread), 1)


def _fisher_probabilities(table: np.ndarray) -> tuple[np.ndarray, float]:
    (a, b), (c, _) = table
    support = np.arange(max(0, a + c - (table.sum() - a - b)), min(a + b, a + c) + 1)
    distribution = stats.hypergeom(table.sum(), a + b, a + c)
    return distribution.pmf(support), float(distribution.pmf(a))


def _fisher(table: np.ndarray) -> TestResult:
    probabilities, observed = _fisher_probabilities(table)
    # 1 + 1e-7 is the tie tolerance of R's fisher.test
    p_value = probabilities[probabilities <= observed * (1 + 1e-7)].sum()
    return TestResult("Fisher exact", float("nan"), 0, min(1.0, float(p_value)))


def _fisher_mid_p(table: np.ndarray) -> TestResult:
    probabilities, observed = _fisher_probabilities(table)
    equal = np.isclose(probabilities, observed, rtol=1e-7)
    below = probabilities[(probabilities < observed) & ~equal].sum()
    p_value = below + probabilities[equal].sum() / 2
    return TestResult("Fisher exact, mid-P", float("nan"), 0, float(p_value))


def _log_weight(tables: np.ndarray) -> np.ndarray:
    return -gammaln(tables + 1.0).sum(axis=(-2, -1))


@cache
def _rows_of(total: int, limits: tuple[int, ...]) -> np.ndarray:
    free = [range(min(total, limit) + 1) for limit in limits[:-1]]
    grid = np.array(list(product(*free)), dtype=np.int64).reshape(-1, len(limits) - 1)
    last = total - grid.sum(axis=1)
    kept = (last >= 0) & (last <= limits[-1])
    return np.column_stack([grid[kept], last[kept]])


def _all_tables_weight(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Log weight (up to the margins' constant) of every table with these margins, row by row."""
    remaining, weight = columns[None, :], np.zeros(1)
    for total in rows[:-1]:
        row = _rows_of(int(total), tuple(int(c) for c in columns))
        left = remaining[:, None, :] - row[None, :, :]
        possible = (left >= 0).all(axis=2)
        weight = (weight[:, None] - gammaln(row + 1.0).sum(axis=1)[None, :])[possible]
        remaining = left[possible]
    return weight - gammaln(remaining + 1.0).sum(axis=1)


def _tables_at_most(rows: np.ndarray, width: int) -> int:
    return prod(comb(int(total) + width - 1, width - 1) for total in np.sort(rows)[:-1])


def _freeman_halton(table: np.ndarray) -> TestResult:
    table = min(table, table.T, key=lambda t: _tables_at_most(t.sum(axis=1), t.shape[1]))
    table = table[np.argsort(table.sum(axis=1))]
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed = float(_log_weight(table)) + 1e-7
    if _tables_at_most(rows, columns.size) <= EXACT_TABLES:
        weight = _all_tables_weight(rows, columns)
        probability = np.exp(weight - weight.max())
        p_value = probability[weight <= observed].sum() / probability.sum()
        return TestResult("Fisher-Freeman-Halton", float("nan"), 0, float(p_value))
    sampled = stats.random_table.rvs(rows, columns, size=SAMPLED_TABLES, random_state=20230221)
    p_value = (1 + int((_log_weight(sampled) <= observed).sum())) / (SAMPLED_TABLES + 1)
    mcse = sqrt(p_value * (1 - p_value) / SAMPLED_TABLES)
    return TestResult(
        f"Fisher-Freeman-Halton, {SAMPLED_TABLES} sampled tables", float("nan"), 0, p_value, mcse
    )


# variant -> (function, applies to 2 x 2, applies to larger tables); the common ones first
METHODS: dict[str, tuple[Callable[[np.ndarray], TestResult], bool, bool]] = {
    "Pearson chi-square": (_pearson, True, True),
    "Pearson chi-square, Yates correction": (_yates, True, False),
    "likelihood-ratio G": (_likelihood_ratio, True, True),
    "Fisher exact": (_fisher, True, False),
    "Fisher exact, mid-P": (_fisher_mid_p, True, False),
    "N-1 chi-square": (_n_minus_1, True, True),
    "linear-by-linear trend": (_linear_trend, True, True),
    "Fisher-Freeman-Halton": (_freeman_halton, False, True),
}


DEGENERATE = "a test of independence needs two rows and two columns that are not empty"


def checked(table: np.ndarray | Iterable[Iterable[int]]) -> np.ndarray:
    """Counts as int64 without empty rows and columns; ``BadInput`` where no test is defined."""
    counts = _filled(table)
    if min(counts.shape) < 2:
        raise BadInput(Fault(DEGENERATE, value=counts.tolist()))
    return counts


def _filled(table: np.ndarray | Iterable[Iterable[int]]) -> np.ndarray:
    """Counts as int64 without empty rows and columns; ``BadInput`` for what is no count."""
    counts = np.asarray(table)
    if counts.ndim != 2 or np.any(counts < 0) or np.any(counts != np.round(counts)):
        raise BadInput(
            Fault(
                "a table of counts",
                value=counts.tolist(),
                allowed="whole numbers, none negative, two dimensions",
            )
        )
    counts = counts.astype(np.int64)
    return counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]


def applicable(table: np.ndarray) -> tuple[str, ...]:
    """Names of the variants defined for a table of this shape."""
    square = table.shape == (2, 2)
    return tuple(
        name for name, (_, small, large) in METHODS.items() if (small if square else large)
    )


def variants(
    table: np.ndarray | Iterable[Iterable[int]], methods: Iterable[str] | None = None
) -> tuple[TestResult, ...]:
    """Run every variant (or those named) on a table of counts (rows, columns).

    Only the Fisher-Freeman-Halton test of a large table is sampled; its result carries ``mcse``.
    A table with one row or one column that is not empty has no test: NA with the reason.
    """
    counts = _filled(table)
    if min(counts.shape) < 2:
        names = methods or applicable(np.asarray(table))
        return tuple(undefined(name, DEGENERATE) for name in names)
    return tuple(METHODS[name][0](counts) for name in (methods or applicable(counts)))


class CramersV(NamedTuple):
    """Cramér's V: as usually printed, corrected for its upward bias, and the interval.

    The corrected value is the one that goes with the interval; all are NA where there is no test.
    """

    value: float
    corrected: float
    lower: float
    upper: float


def cramers_v(table: np.ndarray | Iterable[Iterable[int]], level: float = 0.95) -> CramersV:
    """Cramér's V = sqrt(chi2 / (n m)), m = min(rows, columns) - 1, with its interval.

    Each bound is sqrt(ncp / (n m)) with the noncentrality under which the observed chi-square sits
    at the tail (Smithson 2003; DescTools::CramerV, method "ncchisq"). V is biased upwards and may
    lie above its own interval; ``corrected`` (Bergsma 2013) does not.
    """
    counts = _filled(table)
    if min(counts.shape) < 2:
        return CramersV(*[float("nan")] * 4)
    total, df, smaller = int(counts.sum()), _df(counts), min(counts.shape) - 1
    statistic = _chi2(counts)

    def bound(probability: float) -> float:
        if stats.chi2.cdf(statistic, df) <= probability:
            return 0.0
        ncp = brentq(
            lambda x: stats.ncx2.cdf(statistic, df, x) - probability, 1e-9, 4 * statistic + 20 * df
        )
        return min(1.0, sqrt(ncp / (total * smaller)))

    shrunk = [size - (size - 1) ** 2 / (total - 1) for size in counts.shape]
    excess = max(0.0, statistic / total - df / (total - 1))
    # as many patients as rows or columns leave nothing to correct with
    corrected = sqrt(excess / (min(shrunk) - 1)) if min(shrunk) > 1 else float("nan")
    tail = (1 - level) / 2
    value = sqrt(statistic / (total * smaller))
    return CramersV(value, corrected, bound(1 - tail), bound(tail))

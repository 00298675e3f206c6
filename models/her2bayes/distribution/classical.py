"""The classical side of the HER2 shares: named intervals and tests, keyed by estimand.

Association of HER2 status with each factor: named tests, Cramér's V, posterior differences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

from her2bayes.classical.association import (
    DEGENERATE,
    TestResult,
    applicable,
    cramers_v,
    undefined,
    variants,
)
from her2bayes.classical.proportions import interval, newcombe, percent_row
from her2bayes.classical.square_tables import general_association
from her2bayes.distribution.cells import split
from her2bayes.estimand import Contrast, Estimand, parse
from her2bayes.page.numbers import interval as proportion_interval
from her2bayes.page.numbers import number, p_value, probability
from her2bayes.page.section import Table

if TYPE_CHECKING:
    import xarray as xr

    from her2bayes.distribution.draws import Crossed


MOST_EXACT = 20_000
"""The exact test of larger tables is left out: chi-square is as good, and it takes their number."""
BIASED = (
    "counted from readings of one class; {partial} readings of several classes are left out, so "
    "that classes which those may be are counted too low and the others too high"
)
"""What is wrong with counted shares: a reading 'negative' without a score is never positive."""
V_METHOD = (
    "Cramér's V, bias-corrected (Bergsma 2013); 95 % CI: noncentral chi-square (Smithson 2003)"
)
_COLUMNS = (
    "estimand",
    "statistic",
    "reproduced",
    "reproduced_lower",
    "reproduced_upper",
    "method",
    "unit",
    "note",
)


def classical_rows(counts: Mapping[str, xr.DataArray], wanted: Iterable[str]) -> pd.DataFrame:
    """Compute what the counts give for each wanted estimand, and Cramér's V for each factor.

    ``counts`` as from ``Study.status_counts``. A share gets its Wilson interval, a difference of
    shares Newcombe's (method 10), in percent; V lies between 0 and 1. Estimands that the counts
    do not determine are left out.
    """
    rows = [row for text in dict.fromkeys(wanted) if (row := _row(counts, parse(text)))]
    rows += list(_association(counts))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _row(counts: Mapping[str, xr.DataArray], asked: Estimand) -> dict[str, Any] | None:
    if not asked.outcome.startswith("her2="):
        return None
    if asked.kind == "share" and not asked.contrast:
        return _share(counts, asked)
    if asked.kind == "share_difference" and asked.contrast and not asked.given:
        return _difference(counts, asked, asked.contrast)
    return None


def _share(counts: Mapping[str, xr.DataArray], asked: Estimand) -> dict[str, Any] | None:
    conditions = list(asked.given)
    if len(conditions) > 1:
        return None
    factor, level = conditions[0] if conditions else ("", "")
    cell = _cell(counts, factor, level, asked.outcome)
    if cell is None:
        return None
    low, high = interval(*cell, "Wilson")
    return percent_row(asked, "percentage", cell[0] / cell[1], low, high, "95 % CI: Wilson")


def _difference(
    counts: Mapping[str, xr.DataArray], asked: Estimand, contrast: Contrast
) -> dict[str, Any] | None:
    a = _cell(counts, contrast.factor, contrast.a, asked.outcome)
    b = _cell(counts, contrast.factor, contrast.b, asked.outcome)
    if a is None or b is None:
        return None
    low, high = newcombe(*a, *b)
    method = "difference of observed proportions; 95 % CI: Newcombe, method 10"
    return percent_row(asked, "share_difference", a[0] / a[1] - b[0] / b[1], low, high, method)


def _cell(
    counts: Mapping[str, xr.DataArray], factor: str, level: str, outcome: str
) -> tuple[int, int] | None:
    table = counts.get(factor)
    if table is None:
        return None
    levels, classes = (list(table[name].to_numpy()) for name in ("level", "her2"))
    her2 = outcome.removeprefix("her2=")
    if level not in levels or her2 not in classes:
        return None
    row = table.to_numpy()[levels.index(level)]
    return (int(row[classes.index(her2)]), int(row.sum())) if row.sum() else None


def _association(counts: Mapping[str, xr.DataArray]) -> Iterator[dict[str, Any]]:
    for factor, table in counts.items():
        if factor and table.sizes["subgroup"] > 1:
            v = cramers_v(table.to_numpy())
            yield {
                "estimand": str(Estimand("association", "her2", contrast=Contrast(factor))),
                "statistic": "cramers_v",
                "reproduced": v.corrected,
                "reproduced_lower": v.lower,
                "reproduced_upper": v.upper,
                "method": V_METHOD,
                "unit": "",
                "note": f"without correction, which is biased upwards, V is {number(v.value, 3)}"
                if v.corrected == v.corrected  # NaN is no number
                else f"not available: {DEGENERATE}, and more patients than either",
            }


def table(
    counts: Mapping[str, xr.DataArray],
    wanted: Iterable[str],
    crossed: Sequence[Crossed] = (),
    *,
    every: bool = False,
) -> pd.DataFrame:
    """``classical_rows`` and, of crossed cells, directly standardised shares; with ``every`` more.

    ``every`` adds Clopper-Pearson and Jeffreys intervals, tests by factor and, of crossed cells,
    the generalised Cochran-Mantel-Haenszel test of each factor given the others.
    """
    wanted = list(wanted)
    found = [classical_rows(counts, wanted)]
    asked = [parse(text) for text in dict.fromkeys(wanted)]
    rows = [row for one in crossed for e in asked if (row := _standardised(one, e))]
    if every:
        rows += [row for e in asked for row in _other_intervals(counts, e)]
        rows += [row for name, one in counts.items() if name for row in _tests(name, one)]
        rows += [row for one in crossed for row in _stratified(one)]
    more = pd.DataFrame(rows, columns=_COLUMNS)
    whole = pd.concat([*found, more], ignore_index=True) if len(more) else found[0]
    partial = max((t.attrs.get("partial", 0) for t in counts.values()), default=0)
    if partial:
        said = BIASED.format(partial=partial)
        whole["note"] = ["; ".join(filter(None, (note, said))) for note in whole["note"]]
    return whole


def _other_intervals(
    counts: Mapping[str, xr.DataArray], asked: Estimand
) -> Iterator[dict[str, Any]]:
    if asked.kind != "share" or asked.contrast or len(asked.given) > 1:
        return
    factor, level = asked.given[0] if asked.given else ("", "")
    cell = _cell(counts, factor, level, asked.outcome)
    if cell is None:
        return
    for name in ("Clopper-Pearson", "Jeffreys"):
        method = f"95 % CI: {name}"
        ends = interval(*cell, name)
        yield percent_row(asked, "percentage", cell[0] / cell[1], *ends, method)


def _standardised(one: Crossed, asked: Estimand) -> dict[str, Any] | None:
    """Directly standardised share: cell shares at the level, weighted as in the population.

    Variance: sum of weight^2 share (1 - share) / n (Fleiss, Levin and Paik 2003, ch. 19); nothing
    where a cell that has weight has no patients.
    """
    if asked.kind != "standardised_share" or len(asked.given) != 1:
        return None
    ((factor, level),) = asked.given
    shares = split(one.cells)["exact"].to_numpy()
    her2 = one.classes.index(asked.outcome.removeprefix("her2="))
    place = {cell: k for k, cell in enumerate(zip(*one.level_of.values(), strict=True))}
    rows, weights = one.population
    total = float(sum(weights))
    mixed: dict[int, float] = {}
    for place_of, weight in enumerate(weights):
        cell = tuple(level if f == factor else rows[f][place_of] for f in one.levels)
        if not weight:
            continue
        if cell not in place or not shares[place[cell]].sum():
            return None
        mixed[place[cell]] = mixed.get(place[cell], 0.0) + weight / total
    share = variance = 0.0
    for k, weight in mixed.items():
        n = shares[k].sum()
        p = shares[k, her2] / n
        share, variance = share + weight * p, variance + weight**2 * p * (1 - p) / n
    half = 1.959963984540054 * variance**0.5
    method = "direct standardisation of observed proportions; 95 % CI: Wald"
    ends = max(0.0, share - half), min(1.0, share + half)
    return percent_row(asked, "percentage", share, *ends, method)


def _tests(factor: str, table: xr.DataArray) -> Iterator[dict[str, Any]]:
    values = table.to_numpy()
    values = values[values.sum(axis=1) > 0]
    if len(values) < 2:
        return
    ordered = len(values) == 2 or table.attrs.get("ordered", False)
    for test in (*_variants(values), kruskal_wallis(values)):
        if ordered or test.method != "linear-by-linear trend":
            yield _test(Estimand("association", "her2", contrast=Contrast(factor)), test)
    if not ordered:
        return
    for k, her2 in enumerate(table["her2"].to_numpy()):
        two = np.stack([values[:, k], values.sum(axis=1) - values[:, k]], axis=1)
        asked = Estimand("association", f"her2={her2}", contrast=Contrast(factor))
        yield _test(asked, cochran_armitage(two))


def _variants(table: np.ndarray) -> tuple[TestResult, ...]:
    """Every test of association, without the exact one where patients are too many to permute."""
    names = applicable(table)
    if table.sum() > MOST_EXACT:
        names = tuple(name for name in names if not name.startswith(_EXACT))
    return variants(table, names)


def _stratified(one: Crossed) -> Iterator[dict[str, Any]]:
    exact = split(one.cells)["exact"].to_numpy()
    for factor, levels in one.levels.items():
        others = [f for f in one.levels if f != factor]
        if not others or len(levels) < 2:
            continue
        tables: dict[tuple[str, ...], np.ndarray] = {}
        for k, row in enumerate(exact):
            key = tuple(one.level_of[f][k] for f in others)
            tables.setdefault(key, np.zeros((len(levels), exact.shape[1]), dtype=np.int64))
            tables[key][levels.index(one.level_of[factor][k])] += row
        several = [one for one in tables.values() if one.sum() > 1]
        test = general_association(several) if several else undefined("Mantel-Haenszel", DEGENERATE)
        note = f"given {', '.join(others)}"
        asked = Estimand("association", "her2", contrast=Contrast(factor))
        yield _test(asked, test) | {"note": note}


def _test(asked: Estimand, test: TestResult) -> dict[str, Any]:
    chance = f"P = {number(test.p_value, 3)}" if test.p_value >= 0.0005 else "P < 0.001"
    return {
        "estimand": str(asked), "statistic": "p_value", "reproduced": test.p_value,
        "reproduced_lower": float("nan"), "reproduced_upper": float("nan"), "unit": "",
        "method": test.method, "note": test.note or chance,
    }  # fmt: skip


def kruskal_wallis(table: np.ndarray) -> TestResult:
    """Kruskal-Wallis test of ordered classes by level (row), ties corrected, from counts."""
    total = table.sum(axis=0)
    n = total.sum()
    rank = np.cumsum(total) - (total - 1) / 2
    size = table.sum(axis=1)
    mean = (table * rank).sum(axis=1) / size
    ties = 1 - (total.astype(float) ** 3 - total).sum() / (float(n) ** 3 - n)
    if ties <= 0:
        return undefined("Kruskal-Wallis", "all patients are of one class")
    statistic = 12 / (n * (n + 1)) * (size * (mean - (n + 1) / 2) ** 2).sum() / ties
    df = len(table) - 1
    return TestResult("Kruskal-Wallis", float(statistic), df, float(chi2.sf(statistic, df)))


def cochran_armitage(table: np.ndarray) -> TestResult:
    """Cochran-Armitage trend of a share over ordered levels (row), scores 1, 2, ..."""
    yes, size = table[:, 0].astype(float), table.sum(axis=1).astype(float)
    share, score = yes.sum() / size.sum(), np.arange(1, len(table) + 1)
    name = "Cochran-Armitage trend"
    if share in (0.0, 1.0):
        return undefined(name, "the share is 0 or 1 in every level")
    centre = (score * size).sum() / size.sum()
    spread = share * (1 - share) * (size * (score - centre) ** 2).sum()
    statistic = float((((score - centre) * yes).sum()) ** 2 / spread)
    return TestResult(name, statistic, 1, float(chi2.sf(statistic, 1)))


_EXACT = ("Fisher exact", "Fisher-Freeman-Halton")


def association_table(
    counts: Mapping[str, xr.DataArray], labels: Mapping[str, str], estimates: pd.DataFrame
) -> Table:
    """Put the tests of every factor beside its largest posterior difference of shares."""
    largest = _largest(estimates)
    rows = [
        _test_row(labels[name], table, largest.get(name))
        for name, table in counts.items()
        if name and table.sizes["subgroup"] > 1
    ]
    caption = (
        "Tests of no association, Cramér's V corrected for its upward bias (Bergsma 2013) with its "
        "95 % CI (noncentral chi-square), and the largest posterior difference between two levels, "
        "in percentage points with 95 % CrI, with the probability of its sign. The largest of "
        "several differences is biased upwards; all of them are in the evidence table."
    )
    return Table("Association of HER2 status with each factor", pd.DataFrame(rows), caption)


def _test_row(label: str, table: xr.DataArray, answer: Mapping[str, Any] | None) -> dict[str, str]:
    v = cramers_v(table.to_numpy())
    tests = {test.method: test for test in _variants(table.to_numpy())}
    exact = next((t for name, t in tests.items() if name.startswith(_EXACT)), None)
    return {
        "Factor": label,
        "Patients": str(int(table.sum())),
        "Pearson P": p_value(tests["Pearson chi-square"].p_value),
        "Exact P": f"{p_value(exact.p_value)} ({exact.method})" if exact else "",
        "Cramér's V": proportion_interval(v.corrected, v.lower, v.upper, 2),
        **_answer(answer),
    }


def _answer(row: Mapping[str, Any] | None) -> dict[str, str]:
    if row is None:
        return {"Largest difference": "", "Posterior": "", "Probability": ""}
    asked = parse(str(row["estimand"]))
    compared = f"{asked.contrast.a} vs {asked.contrast.b}" if asked.contrast else ""
    middle, low, high = (row[f"posterior_{part}"] for part in ("median", "lower", "upper"))
    chance = float(row["posterior_probability"])
    return {
        "Largest difference": f"HER2-{asked.outcome.removeprefix('her2=')}, {compared}",
        "Posterior": proportion_interval(middle, low, high, unit="%"),
        "Probability": probability(max(chance, 1 - chance)),
    }


def _largest(estimates: pd.DataFrame) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in estimates.to_dict("records"):
        asked = parse(str(row["estimand"]))
        if asked.kind != "share_difference" or not asked.contrast or asked.given:
            continue
        known = found.get(asked.contrast.factor)
        if known is None or abs(row["posterior_median"]) > abs(known["posterior_median"]):
            found[asked.contrast.factor] = {str(k): v for k, v in row.items()}
    return found

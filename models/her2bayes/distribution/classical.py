"""The classical side of the HER2 shares: named intervals and tests, keyed by estimand.

Association of HER2 status with each factor: named tests, Cramér's V, posterior differences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.classical.association import DEGENERATE, cramers_v, variants
from her2bayes.classical.proportions import interval, newcombe, percent_row
from her2bayes.estimand import Contrast, Estimand, parse
from her2bayes.page.numbers import interval as proportion_interval
from her2bayes.page.numbers import number, p_value, probability
from her2bayes.page.section import Table

if TYPE_CHECKING:
    import xarray as xr


V_METHOD = (
    "Cramér's V, bias-corrected (Bergsma 2013); "
    "95 % interval: noncentral chi-square (Smithson 2003)"
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
    return percent_row(asked, "percentage", cell[0] / cell[1], low, high, "95 % interval: Wilson")


def _difference(
    counts: Mapping[str, xr.DataArray], asked: Estimand, contrast: Contrast
) -> dict[str, Any] | None:
    a = _cell(counts, contrast.factor, contrast.a, asked.outcome)
    b = _cell(counts, contrast.factor, contrast.b, asked.outcome)
    if a is None or b is None:
        return None
    low, high = newcombe(*a, *b)
    method = "difference of the counts' shares; 95 % interval: Newcombe, method 10"
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
        "95 % interval (noncentral chi-square), and the largest posterior difference between two "
        "levels, in percentage points, with the probability of its sign. Picking the largest of "
        "several favours large differences; all of them are in the evidence table."
    )
    return Table("Association of HER2 status with each factor", pd.DataFrame(rows), caption)


def _test_row(label: str, table: xr.DataArray, answer: Mapping[str, Any] | None) -> dict[str, str]:
    v = cramers_v(table.to_numpy())
    tests = {test.method: test for test in variants(table.to_numpy())}
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

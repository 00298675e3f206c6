"""Association of HER2 status with each factor: named tests, Cramér's V, posterior differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.classical.association import cramers_v, variants
from her2bayes.estimand import parse
from her2bayes.reports.numbers import interval, p_value, probability
from her2bayes.reports.section import Table

if TYPE_CHECKING:
    import xarray as xr

_EXACT = ("Fisher exact", "Fisher-Freeman-Halton")


def association_table(
    counts: Mapping[str, xr.DataArray], labels: Mapping[str, str], estimates: pd.DataFrame
) -> Table:
    """Put the tests of every factor beside its largest posterior difference of shares."""
    largest = _largest(estimates)
    rows = [
        _row(labels[name], table, largest.get(name))
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


def _row(label: str, table: xr.DataArray, answer: Mapping[str, Any] | None) -> dict[str, str]:
    v = cramers_v(table.to_numpy())
    tests = {test.method: test for test in variants(table.to_numpy())}
    exact = next((t for name, t in tests.items() if name.startswith(_EXACT)), None)
    return {
        "Factor": label,
        "Patients": str(int(table.sum())),
        "Pearson P": p_value(tests["Pearson chi-square"].p_value),
        "Exact P": f"{p_value(exact.p_value)} ({exact.method})" if exact else "",
        "Cramér's V": interval(v.corrected, v.lower, v.upper, 2),
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
        "Posterior": interval(middle, low, high, unit="%"),
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

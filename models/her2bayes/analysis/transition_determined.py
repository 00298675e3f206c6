"""Finite counts that are the same in every table consistent with the printed facts.

Judged on the draws of the tables, which are all of them where they are listed; what differs between
admissible tables is reported as its range, never as one number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.analysis.transition_classical import EXACT, classical_row
from her2bayes.classical import square_tables as sq
from her2bayes.classical.association import variants
from her2bayes.classical.proportions import interval
from her2bayes.estimand import Contrast, Estimand
from her2bayes.reconstruction.table_facts import TableSet

Given = tuple[tuple[str, str], ...]


def determined_rows(table: xr.DataArray, tables: TableSet) -> Iterator[dict[str, Any]]:
    """Rows with named intervals for each stratum: cells, discordance, gain, loss, kappa, tests.

    ``table`` (chain, draw, stratum, her2_primary, her2) are drawn tables.
    """
    drawn = table.transpose("chain", "draw", "stratum", "her2_primary", "her2").to_numpy()
    drawn = drawn.reshape(-1, *drawn.shape[2:])
    for place, given in enumerate(tables.strata):
        distinct = np.unique(drawn[:, place], axis=0)
        yield from _shares(distinct, tables.her2, given)
        if not given:
            yield from _tests(distinct, tables.her2, given)


def _shares(distinct: np.ndarray, classes: tuple[str, ...], given: Given) -> Iterator[Any]:
    total = distinct.sum((1, 2))
    row, column = distinct.sum(2), distinct.sum(1)
    diagonal = np.diagonal(distinct, axis1=1, axis2=2)
    asked: list[tuple[Estimand, np.ndarray, np.ndarray]] = [
        (Estimand("transition", f"{start} -> {end}", given), distinct[:, i, j], row[:, i])
        for i, start in enumerate(classes)
        for j, end in enumerate(classes)
    ]
    asked.append((Estimand("discordance", "", given), total - diagonal.sum(1), total))
    for c, name in enumerate(classes[1:], 1):
        asked.append((Estimand("gain", name, given), column[:, c] - diagonal[:, c], total))
        asked.append((Estimand("loss", name, given), row[:, c] - diagonal[:, c], total))
    for what, count, of in asked:
        if np.ptp(count) == 0 and np.ptp(of) == 0 and of[0]:
            low, high = interval(int(count[0]), int(of[0]), EXACT)
            share = 100 * count[0] / of[0]
            yield classical_row(
                what, "percentage", (share, 100 * low, 100 * high), unit="%",
                method=f"{count[0]}/{of[0]} in every admissible table; 95 % interval: {EXACT}",
            )  # fmt: skip


def _tests(distinct: np.ndarray, classes: tuple[str, ...], given: Given) -> Iterator[Any]:
    agreement = [sq.kappa(table) for table in distinct]
    values = np.array([k.value for k in agreement])
    if np.ptp(values) < 1e-12:
        widest = min(k.lower for k in agreement), max(k.upper for k in agreement)
        yield classical_row(
            Estimand("agreement", "her2", given), "kappa", (values[0], *widest),
            method=f"{agreement[0].method}; widest interval over the admissible tables",
        )  # fmt: skip
    tests: dict[Estimand, Callable[[np.ndarray], Any]] = {
        Estimand("symmetry", "her2", given): sq.bowker,
        Estimand("marginal_homogeneity", "her2", given): sq.stuart_maxwell,
    }
    for what, test in tests.items():
        yield _range(what, [test(table) for table in distinct])
    for i, j in combinations(range(len(classes)), 2):
        found = [sq.mcnemar(int(t[i, j]), int(t[j, i]), "McNemar exact") for t in distinct]
        yield _range(Estimand("flow_difference", f"{classes[i]} -> {classes[j]}", given), found)


def _range(what: Estimand, tests: list[Any]) -> dict[str, Any]:
    p = np.array([test.p_value for test in tests if test.p_value == test.p_value])
    if len(p) < len(tests):  # NaN: some admissible table has no test
        return classical_row(
            what, "p_value", (np.nan, np.nan, np.nan), method=tests[0].method,
            note=next(test.note for test in tests if test.note),
        )  # fmt: skip
    same = float(np.ptp(p)) < 1e-12
    text = "" if same else f"P from {p.min():.2g} to {p.max():.2g} over the admissible tables"
    return classical_row(
        what, "p_value", (np.nan, np.nan, np.nan), method=tests[0].method,
        p=float(p[0]) if same else float("nan"), note=text,
    )  # fmt: skip


def discordance_tests(table: xr.DataArray, tables: TableSet) -> Iterator[dict[str, Any]]:
    """Tests of discordance by one factor, where the discordant patients of all levels are known."""
    factors = [name for name, _ in tables.strata[0]]
    if len(factors) != 1 or len(tables.strata) < 2:
        return
    total = table.sum(("her2_primary", "her2"))
    stayed = table.where(table["her2_primary"] == table["her2"], 0).sum(("her2_primary", "her2"))
    changed = total - stayed
    if any(
        bool((x.max(("chain", "draw")) > x.min(("chain", "draw"))).any()) for x in (total, changed)
    ):
        return
    counts = np.column_stack([x.isel(chain=0, draw=0).to_numpy() for x in (changed, stayed)])
    asked = Estimand("association", "discordance", contrast=Contrast(factors[0]))
    names = ["Pearson chi-square"]
    if len(counts) == 2:
        names += ["Pearson chi-square, Yates correction", "Fisher exact"]
    for test in variants(counts.astype(int), names):
        note = f"chi-square {test.statistic:.3f} on {test.df} df" if test.df else ""
        yield classical_row(
            asked,
            "p_value",
            (np.nan, np.nan, np.nan),
            method=test.method,
            p=test.p_value,
            note=note,
        )

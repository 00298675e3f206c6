"""The classical side of paired classes: finite counts with named intervals and tests.

Of a table of pairs, of strata, and of printed facts: counts that are the same in every admissible
table. These are judged on drawn tables, which are all of them where they are listed; what differs
between admissible tables is reported as its range, never as one number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.classical import square_tables as sq
from her2bayes.classical.association import TestResult, variants
from her2bayes.classical.proportions import interval, newcombe
from her2bayes.estimand import Contrast, Estimand
from her2bayes.transition.facts import TableSet

COLUMNS = (
    "estimand", "statistic", "reproduced", "reproduced_lower", "reproduced_upper", "reproduced_p",
    "method", "unit", "note", "reading",
)  # fmt: skip
EXACT = "Clopper-Pearson"
Given = tuple[tuple[str, str], ...]
CONSISTENT = "table consistent with the report"


def table_rows(
    table: np.ndarray, classes: Sequence[str], given: Given = (), reading: str = ""
) -> Iterator[dict[str, Any]]:
    """Rows of one k x k table of counts: cells, discordance, gain, loss, kappa, symmetry."""
    counts = sq.checked_square(table).astype(int)
    total = int(counts.sum())

    def share(kind: str, outcome: str, count: int, of: int) -> dict[str, Any]:
        low, high = interval(count, of, EXACT)
        return classical_row(
            Estimand(kind, outcome, given), "percentage", (100 * count / of, 100 * low, 100 * high),
            method=f"{count}/{of}; 95 % CI: {EXACT}", unit="%", reading=reading,
        )  # fmt: skip

    for i, start in enumerate(classes):
        for j, end in enumerate(classes):
            if counts[i].sum():
                count, of = int(counts[i, j]), int(counts[i].sum())
                yield share("transition", f"{start} -> {end}", count, of)
    yield share("discordance", "", total - int(np.trace(counts)), total)
    for j, name in enumerate(classes[1:], 1):
        yield share("gain", name, int(counts[:, j].sum() - counts[j, j]), total)
        yield share("loss", name, int(counts[j].sum() - counts[j, j]), total)
    yield from _agreement(counts, given, reading)
    for i, j in combinations(range(len(classes)), 2):
        yield _direction(counts, i, j, classes, given, reading)


def _agreement(counts: np.ndarray, given: Given, reading: str) -> Iterator[dict[str, Any]]:
    k = sq.kappa(counts)
    yield classical_row(
        Estimand("agreement", "her2", given), "kappa", (k.value, k.lower, k.upper),
        method=k.method, reading=reading, p=k.p_value,
        note="" if np.isfinite(k.value) else "not available: all pairs are in one class",
    )  # fmt: skip
    for kind, test in (
        ("symmetry", sq.bowker(counts)),
        ("marginal_homogeneity", sq.stuart_maxwell(counts)),
    ):
        yield _test(Estimand(kind, "her2", given), test, reading)


def _direction(
    counts: np.ndarray, i: int, j: int, classes: Sequence[str], given: Given, reading: str
) -> dict[str, Any]:
    there, back, total = int(counts[i, j]), int(counts[j, i]), int(counts.sum())
    test = sq.mcnemar(there, back, "McNemar mid-P")
    exact = sq.mcnemar(there, back, "McNemar exact").p_value
    return classical_row(
        Estimand("flow_difference", f"{classes[i]} -> {classes[j]}", given), "flow_difference",
        (100 * (there - back) / total, np.nan, np.nan),
        method=f"{there} vs {back} of {total}; {test.method}", unit="%", reading=reading,
        p=test.p_value, note=f"exact McNemar P = {exact:.3g}",
    )  # fmt: skip


def stratified_rows(
    tables: Mapping[str, np.ndarray], factor: str, reading: str = ""
) -> Iterator[dict[str, Any]]:
    """Rows that compare the levels of one factor: discordance, kappa, direction of change.

    ``tables`` maps level to the table of counts.
    """
    filled = {level: t for level, t in tables.items() if t.sum()}
    if len(filled) < 2:
        return
    counts = np.stack(list(filled.values()))
    total = counts.sum((1, 2))
    changed = total - np.trace(counts, axis1=1, axis2=2)
    table = np.column_stack([changed, total - changed])
    asked = Estimand("association", "discordance", contrast=Contrast(factor))
    if table.sum(0).all():
        name = "Pearson chi-square" if len(filled) > 2 else "Pearson chi-square, Yates correction"
        yield _test(asked, variants(table, [name])[0], reading)
    for a, b in combinations(range(len(filled)), 2) if len(filled) <= 4 else ():
        yield _difference(list(filled), changed, total, a, b, factor, reading)
    pooled, equal = sq.common_kappa(list(counts))
    yield classical_row(
        Estimand("agreement", "her2", contrast=Contrast(factor)), "kappa",
        (pooled.value, pooled.lower, pooled.upper), method=f"{pooled.method}; {equal.method}",
        p=equal.p_value, reading=reading, note=said(equal),
    )  # fmt: skip
    yield from _within_classes(counts, factor, reading)


def _within_classes(counts: np.ndarray, factor: str, reading: str) -> Iterator[dict[str, Any]]:
    """Discordance by a two-level factor, stratified by the class of the primary."""
    if len(counts) != 2:
        return
    row = counts.sum(2)
    stayed = np.diagonal(counts, axis1=1, axis2=2)
    tables = np.stack([row - stayed, stayed], axis=-1).transpose(1, 0, 2)
    common, equal = sq.mantel_haenszel(list(tables)), sq.breslow_day(list(tables))
    yield classical_row(
        Estimand("association", "discordance within primary classes", contrast=Contrast(factor)),
        "odds_ratio", (common.value, common.lower, common.upper),
        method=f"{common.method}; {common.test.method}", p=common.test.p_value, reading=reading,
        note=f"{equal.method}: chi-square {equal.statistic:.2f} on {equal.df} df, "
        f"P = {equal.p_value:.3g}",
    )  # fmt: skip


def _difference(
    levels: list[str], changed: np.ndarray, total: np.ndarray, a: int, b: int, factor: str,
    reading: str,
) -> dict[str, Any]:  # fmt: skip
    low, high = newcombe(int(changed[a]), int(total[a]), int(changed[b]), int(total[b]))
    value = changed[a] / total[a] - changed[b] / total[b]
    return classical_row(
        Estimand("discordance_difference", "", contrast=Contrast(factor, levels[a], levels[b])),
        "discordance_difference", (100 * value, 100 * low, 100 * high),
        method="difference of observed proportions; 95 % CI: Newcombe, method 10", unit="%",
        reading=reading,
    )  # fmt: skip


def _test(asked: Estimand, test: TestResult, reading: str) -> dict[str, Any]:
    return classical_row(
        asked, "p_value", (np.nan, np.nan, np.nan), method=test.method, p=test.p_value,
        reading=reading, note=said(test),
    )  # fmt: skip


def said(test: TestResult) -> str:
    """Chi-square of a test with its degrees of freedom, or why there is none."""
    return test.note or (f"chi-square {test.statistic:.2f} on {test.df} df" if test.df else "")


def classical_row(
    asked: Estimand, statistic: str, values: tuple[float, float, float], *, method: str,
    unit: str = "", p: float = np.nan, note: str = "", reading: str = "",
) -> dict[str, Any]:  # fmt: skip
    """One row with the names of ``COLUMNS``; ``values`` are value, lower and upper end."""
    value, lower, upper = values
    return {
        "estimand": str(asked), "statistic": statistic, "reproduced": value,
        "reproduced_lower": lower, "reproduced_upper": upper, "reproduced_p": p, "method": method,
        "unit": unit, "note": note, "reading": reading,
    }  # fmt: skip


def classical_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a table."""
    return pd.DataFrame([dict(row) for row in rows], columns=list(COLUMNS))


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
                method=f"{count[0]}/{of[0]} in every {CONSISTENT}; 95 % CI: {EXACT}",
            )  # fmt: skip


def _tests(distinct: np.ndarray, classes: tuple[str, ...], given: Given) -> Iterator[Any]:
    agreement = [sq.kappa(table) for table in distinct]
    values = np.array([k.value for k in agreement])
    if np.ptp(values) < 1e-12:
        widest = min(k.lower for k in agreement), max(k.upper for k in agreement)
        yield classical_row(
            Estimand("agreement", "her2", given), "kappa", (values[0], *widest),
            method=f"{agreement[0].method}; widest 95 % CI of any {CONSISTENT}",
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
    text = (
        ""
        if same
        else f"P from {p.min():.2g} to {p.max():.2g} over the tables consistent with the report"
    )
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

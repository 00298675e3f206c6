"""Transitions from a paper's printed facts: what ``reproduce`` and ``fit_transitions`` both call.

Latent tables of all patients and of every printed partition (``latent_transition``), their
estimates keyed by estimand, and the finite counts that are the same in every admissible table.

Finite counts that are the same in every table consistent with the printed facts.

Judged on the draws of the tables, which are all of them where they are listed; what differs between
admissible tables is reported as its range, never as one number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.classical import square_tables as sq
from her2bayes.classical.association import variants
from her2bayes.classical.proportions import interval
from her2bayes.estimand import Contrast, Estimand, parse
from her2bayes.inference.estimates import estimate, estimates_table
from her2bayes.transition import classical
from her2bayes.transition import draws as tr
from her2bayes.transition.assay_error import has_prior, known_fit, tipping, true_row
from her2bayes.transition.classical import EXACT, classical_row
from her2bayes.transition.draws import Matrix, contrast_rows, derived_rows
from her2bayes.transition.pair_facts import pair_facts
from her2bayes.transition.tables.estimates import LatentTransitions, TableAnalysis, analyse
from her2bayes.transition.tables.facts import TableSet

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.fit import Fit
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store


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


IMPLIED, RECOMPUTED = "implied", "recomputed"
CHANGE = "her2_change"  # condition of a flow: among patients whose class changed (discordant)


@dataclass(frozen=True)
class Result:
    """What a paper's facts give. ``main`` lists the analyses reported first, one a partition."""

    study: str
    labels: Mapping[str, str]
    facts: pd.DataFrame
    notes: tuple[str, ...]
    classes: tuple[str, ...]
    latent: LatentTransitions
    main: tuple[TableAnalysis, ...]
    matrices: tuple[Matrix, ...]
    estimates: pd.DataFrame
    classical: pd.DataFrame
    tests: pd.DataFrame
    fits: Mapping[str, Fit]
    tipping: pd.DataFrame | None


def applies(study: Study) -> bool:
    """Whether the paper prints facts on pairs of primary and recurrence."""
    return not study.transition_facts.empty


def run(
    study: Study,
    store: Store | None,
    sampling: Sampling,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Analyse the facts of a study under every reading and row prior."""
    classes = tuple(study.factors["her2"].names)
    known = pair_facts(study)
    for note in known.notes:
        say(note)
    latent = analyse(known.facts, classes, sampling=sampling, store=store, say=say)
    main = _main(latent)
    rows: list[dict[str, Any]] = []
    matrices: list[Matrix] = []
    counts: list[dict[str, Any]] = []
    for analysis in latent.analyses:
        reading = _reading(analysis, main, latent)
        named = [replace(matrix, reading=reading) for matrix in analysis.matrices]
        matrices += named
        rows += _rows(analysis, named, reading, analysis in main)
    for analysis in main:
        counts += determined_rows(analysis.fit.posterior["table"], analysis.tables)
    overall = [m for m in matrices if not m.given and not m.reading]
    if overall:
        rows += list(_asked_flows(list(study.ledger["estimand"]), overall[0]))
    curve, true_fits = None, {}
    whole = next((analysis for analysis in main if not analysis.factors), None)
    if whole is not None and has_prior(classes):
        say("true classes behind the readings of all patients")
        fitted = known_fit(whole, sampling, store)
        true_fits["true classes of all patients, assay known"] = fitted
        rows.append({**true_row(fitted), "evidence_kind": IMPLIED})
        curve = tipping(whole, sampling, store)
    return Result(
        study=study.id,
        labels={name: factor.label for name, factor in study.factors.items()},
        facts=known.facts,
        notes=known.notes,
        classes=classes,
        latent=latent,
        main=main,
        matrices=tuple(matrices),
        estimates=estimates_table(_unique(rows)),
        classical=classical.classical_frame(counts),
        tests=classical.classical_frame(
            [row for a in main for row in discordance_tests(a.fit.posterior["table"], a.tables)]
        ),
        fits={_title(a): a.fit for a in latent.analyses} | true_fits,
        tipping=curve,
    )


def _main(latent: LatentTransitions) -> tuple[TableAnalysis, ...]:
    """The first row prior under the first possible reading, for each partition."""
    first: dict[tuple[str, ...], TableAnalysis] = {}
    for analysis in latent.analyses:
        first.setdefault(analysis.factors, analysis)
    return tuple(first.values())


def _reading(
    analysis: TableAnalysis, main: Sequence[TableAnalysis], latent: LatentTransitions
) -> str:
    """Name of the scenario: empty for the main analysis, else reading of facts and row prior."""
    first = next(a for a in main if a.factors == analysis.factors)
    parts = []
    if analysis.reading != first.reading:
        parts.append(analysis.reading)
    if analysis.row_prior != first.row_prior:
        parts.append(f"rows {analysis.row_prior}")
    return "; ".join(parts)


def _title(analysis: TableAnalysis) -> str:
    where = " and ".join(analysis.factors) or "all patients"
    return f"tables of {where}, {analysis.reading or 'printed facts'}, rows {analysis.row_prior}"


def _rows(
    analysis: TableAnalysis, matrices: Sequence[Matrix], reading: str, main: bool
) -> Iterator[dict[str, Any]]:
    from her2bayes.transition.tables.estimates import transition_rows

    for row in transition_rows(analysis):
        kind = RECOMPUTED if row["label"] == "determined" else IMPLIED
        yield {**row, "reading": reading, "evidence_kind": kind}
    for matrix in matrices:
        for row in derived_rows(matrix, new_cohort=main)[: None if main else 1]:
            kind = parse(row["estimand"]).kind
            printed = RECOMPUTED if kind in ("discordance", "agreement") else IMPLIED
            yield {**row, "evidence_kind": printed}
    if main and len(analysis.factors) == 1:
        for row in contrast_rows(list(matrices), analysis.factors[0]):
            yield {**row, "evidence_kind": RECOMPUTED}


def _asked_flows(estimands: Sequence[str], matrix: Matrix) -> Iterator[dict[str, Any]]:
    """Sums of flows that the paper prints: of all patients, or of those whose class changed."""
    for text in dict.fromkeys(estimands):
        asked = parse(text)
        conditions = asked.conditions
        if asked.kind != "flow" or not set(conditions) <= {CHANGE}:
            continue
        cells = [tuple(p.strip() for p in part.split("->")) for part in asked.outcome.split("+")]
        if not all(len(c) == 2 and set(c) <= set(matrix.classes) for c in cells):
            continue
        draws, before = (
            _flow_sum(tr.flows(part, matrix.observed), cells, bool(conditions))
            for part in (matrix.transition, matrix.prior)
        )
        yield {
            **estimate(Estimand("flow", asked.outcome, asked.given), draws, before, matrix.fit,
                       note="primary shares as in this cohort"),
            "evidence_kind": IMPLIED,
        }  # fmt: skip


def _flow_sum(
    flow: xr.DataArray, cells: Sequence[tuple[str, ...]], among_changed: bool
) -> xr.DataArray:
    total = sum(
        (flow.sel(her2_primary=start, her2=end, drop=True) for start, end in cells),
        xr.zeros_like(flow.isel(her2_primary=0, her2=0, drop=True)),
    )
    return total / tr.discordance(flow) if among_changed else total


def _unique(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows without repetitions of an estimand under one reading (partitions share all patients)."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in rows:
        found.setdefault((row["estimand"], row["reading"]), row)
    return list(found.values())


def patients(analysis: TableAnalysis) -> int:
    """Patients behind an analysis."""
    return int(np.sum(analysis.patients))

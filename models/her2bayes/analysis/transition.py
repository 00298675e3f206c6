"""Transitions from a paper's printed facts: what ``reproduce`` and ``fit_transitions`` both call.

Latent tables of all patients and of every printed partition (``latent_transition``), their
estimates keyed by estimand, and the finite counts that are the same in every admissible table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.analysis import transition_classical as classical
from her2bayes.analysis.latent_transition import LatentTransitions, TableAnalysis, analyse
from her2bayes.analysis.pair_facts import pair_facts
from her2bayes.analysis.transition_assay import has_prior, known_fit, tipping, true_row
from her2bayes.analysis.transition_determined import determined_rows, discordance_tests
from her2bayes.analysis.transition_matrix import Matrix, contrast_rows, derived_rows
from her2bayes.estimand import Estimand, parse
from her2bayes.posterior import transitions as tr
from her2bayes.posterior.estimates import estimate, estimates_table

if TYPE_CHECKING:
    from her2bayes.evidence.study import Study
    from her2bayes.inference.fit import Fit
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store

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
    from her2bayes.analysis.latent_transition import transition_rows

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

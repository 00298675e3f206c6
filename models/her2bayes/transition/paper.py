"""Transitions from a paper's printed facts: what ``reproduce`` and ``fit_transitions`` both call.

For all patients and for each printed partition, under each reading of a contradictory number and
under every row prior: latent tables, bounds, draws, and a label for each transition. Partitions of
the same patients are analysed one at a time, or jointly over their unknown cross-table; the product
of two partitions' likelihoods would count every patient twice.

What the facts say of the share ``T_ij / T_i.`` of the cohort itself (not of the probability behind
it): determined, bounded, or left to the prior. Contraction within the logical bounds compares its
posterior with its prior cut to these bounds, so that knowing the bounds counts for nothing:

    contraction = 1 - Var(share | all facts) / Var(share | share within its bounds)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior
from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import Estimand, cells_of, parse
from her2bayes.evidence.printed.design import PAIRS
from her2bayes.inference.estimates import estimates_table
from her2bayes.inference.sampling import Sampling
from her2bayes.transition import classical
from her2bayes.transition.assay_error import fit_known, has_prior, tipping, true_row
from her2bayes.transition.draws import (
    ANSWERED,
    CHANGE,
    THIS_COHORT,
    Line,
    Matrix,
    cells,
    contrast_rows,
    derived_rows,
    rows_of,
    summarise,
)
from her2bayes.transition.facts import TableSet, pair_facts, readings, table_set
from her2bayes.transition.polytope import conflict, row_bounds, share_bounds
from her2bayes.transition.table_fit import RowPrior, TableFit, fit_tables, row_priors

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.fit import Fit
    from her2bayes.inference.store import Store

Say = Callable[[str], None]
IMPLIED, RECOMPUTED = "implied", "recomputed"
TRUE_FIT = "true classes of all patients, assay known"

DETERMINED, BOUNDED, PRIOR_DRIVEN = "determined", "bounded", "prior_driven"
IDENTIFIED = ("point-identified", "partially identified", "weakly identified", "not identified")
PRIOR_DRIVEN_BELOW = 0.1
_REPLICATES = 20
_FEWEST = 200


def cohort_share(table: xr.DataArray) -> xr.DataArray:
    """Share of each class at recurrence by class at the primary; NaN for a row without patients."""
    row = table.sum("her2")
    return table / row.where(row > 0)


def prior_share(
    prior: xr.Dataset,
    patients: np.ndarray,
    rows: np.ndarray | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Prior draws of the cohort's shares (draw, stratum, her2_primary, her2), NaN for empty rows.

    Tables are drawn with ``patients`` (stratum) in each stratum, split over the primary classes by
    ``primary_share``, or with the row totals ``rows`` (stratum, her2_primary) where not negative.
    """
    dims = ("chain", "draw", "stratum", "her2_primary")
    share = prior["primary_share"].transpose(*dims).values
    transition = prior["transition"].transpose(*dims, "her2").values
    share = share.reshape(-1, *share.shape[2:]).repeat(_REPLICATES, axis=0)
    transition = transition.reshape(-1, *transition.shape[2:]).repeat(_REPLICATES, axis=0)
    total = rng.multinomial(patients, share / share.sum(-1, keepdims=True))
    if rows is not None:
        total = np.where(rows >= 0, rows, total)
    table = rng.multinomial(total, transition / transition.sum(-1, keepdims=True))
    return np.asarray(np.divide(table, total[..., None], where=total[..., None] > 0,
                                out=np.full(table.shape, np.nan)))  # fmt: skip


def contraction_within(
    posterior: np.ndarray, prior: np.ndarray, lower: float, upper: float
) -> float:
    """Contraction of one share within its bounds; NaN where they leave nothing to learn.

    Where fewer than 200 prior draws fall within the bounds, these are narrow against the prior,
    which is flat there: the variance of a uniform takes its place.
    """
    if not upper > lower:
        return float("nan")
    inside = prior[(prior >= lower - 1e-12) & (prior <= upper + 1e-12)]
    before = inside.var() if len(inside) >= _FEWEST else (upper - lower) ** 2 / 12
    return float(1 - np.nanvar(posterior) / before)


def label(lower: float, upper: float, contraction: float) -> str:
    """Name what the facts do to a share: width 0, bounds with information inside, bounds alone."""
    if upper == lower:
        return DETERMINED
    return PRIOR_DRIVEN if contraction < PRIOR_DRIVEN_BELOW else BOUNDED


DESCRIPTIVE = (
    "descriptive: strata are read at recurrence, so this does not predict from the primary"
)


@dataclass(frozen=True)
class Impossible:
    """A reading under which no table exists, with the facts that cannot all hold."""

    factors: tuple[str, ...]
    reading: str
    facts: tuple[str, ...]

    def __str__(self) -> str:
        """Say so in one sentence."""
        return (
            f"under the reading '{self.reading}' no table exists: "
            f"{', '.join(self.facts)} cannot all hold"
        )


@dataclass(frozen=True)
class TableAnalysis:
    """One set of tables under one row prior: draws, bounds and labels of its transitions."""

    factors: tuple[str, ...]
    row_prior: str
    tables: TableSet
    fit: TableFit
    choice: RowPrior

    @property
    def reading(self) -> str:
        """Reading the facts were taken under."""
        return self.tables.reading

    @cached_property
    def patients(self) -> np.ndarray:
        """Patients of each stratum; the posterior median where their number is not printed."""
        drawn = self.fit.posterior["table"].sum(("her2_primary", "her2"))
        return np.rint(drawn.median(("chain", "draw")).values).astype(int)

    @cached_property
    def labels(self) -> pd.DataFrame:
        """One row a transition: bounds, posterior of the cohort's share, contraction, label."""
        lower, upper = share_bounds(self.tables)
        least, most = row_bounds(self.tables)
        shares = cohort_share(self.fit.posterior["table"]).transpose(
            "stratum", "her2_primary", "her2", "chain", "draw"
        )
        rng = np.random.default_rng(0)
        rows = np.where(least == most, least, -1)
        before = prior_share(self.fit.prior, self.patients, rows, rng)
        return pd.DataFrame(
            [
                self._row(
                    place,
                    float(lower[place]),
                    float(upper[place]),
                    shares.to_numpy()[place].ravel(),
                    before[(slice(None), *place)],
                )
                for place in np.ndindex(*self.tables.shape)
            ]
        )

    def _row(
        self, place: tuple[int, ...], lower: float, upper: float, draws: np.ndarray,
        before: np.ndarray,
    ) -> dict[str, Any]:  # fmt: skip
        s, i, j = place
        low, high = (0.0, 1.0) if np.isnan(lower) else (float(lower), float(upper))
        known = draws[~np.isnan(draws)]
        share, gained = np.full(3, np.nan), 0.0
        if known.size:  # no primary of the class in any table: nothing is learnt of its row
            gained = contraction_within(draws, before, low, high)
            share = np.quantile(known, [0.5, 0.025, 0.975])
        return {
            "stratum": self.tables.names[s],
            "her2_primary": self.tables.her2[i],
            "her2": self.tables.her2[j],
            "reading": self.reading,
            "row_prior": self.row_prior,
            "lower_bound": low,
            "upper_bound": high,
            "cohort_median": share[0],
            "cohort_lower": share[1],
            "cohort_upper": share[2],
            "contraction_within": gained,
            "label": label(low, high, gained),
        }

    @property
    def matrices(self) -> list[Matrix]:
        """A matrix for each stratum, for figures and derived quantities."""
        table = self.fit.posterior["table"].sum("her2")
        total = table.sum("her2_primary")
        return [self._matrix(name, table, total) for name in self.tables.names]

    def _matrix(self, name: str, table: xr.DataArray, total: xr.DataArray) -> Matrix:
        at = {"stratum": name}
        rows, size = table.sel(at, drop=True), total.sel(at, drop=True)
        cohort = (rows / size.where(size > 0)).fillna(1 / len(self.tables.her2))
        place = self.tables.names.index(name)
        return Matrix(
            given=self.tables.strata[place],
            posterior=rows_of(self.fit.posterior, name, cohort),
            prior=rows_of(self.fit.prior, name, cohort),
            pairs=int(self.patients[place]),
            fit=self.fit,
            reading=self.reading,
        )


@dataclass(frozen=True)
class LatentTransitions:
    """All analyses of one paper's facts, and the readings that cannot be."""

    analyses: tuple[TableAnalysis, ...]
    impossible: tuple[Impossible, ...]


@dataclass(frozen=True)
class Specification:
    """How facts are analysed.

    ``rows``: priors of the rows by name, the reported one first; None for ``row_priors``. ``by``
    lists the factors whose partitions are fitted beside all patients; None for all that are
    printed. ``assay`` adds true classes of all patients behind the readings.
    """

    rows: Mapping[str, RowPrior] | None = None
    by: tuple[str, ...] | None = None
    assay: bool = True
    sampling: Sampling = Sampling()  # noqa: RUF009 (frozen)
    store: Store | None = None


def with_priors(k: int, priors: Mapping[str, Prior]) -> dict[str, RowPrior]:
    """Row priors for ``k`` classes with some replaced; ``BadInput`` for a name no model has."""
    choices = row_priors(k)
    known = dict.fromkeys(name for choice in choices.values() for name in choice.defaults)
    raise_if(
        [
            Fault(f"the model has no prior named '{name}'", value=str(value),
                  allowed=", ".join(known))
            for name, value in priors.items() if name not in known
        ]
    )  # fmt: skip
    return {name: choice.replacing(priors) for name, choice in choices.items()}


def partitions(facts: pd.DataFrame) -> list[tuple[str, ...]]:
    """All patients first, then each printed factor alone."""
    named = dict.fromkeys(name for name in facts["factor"].fillna("") if name)
    return [(), *((name,) for name in named)]


def analyse(
    facts: pd.DataFrame,
    her2: Sequence[str],
    how: Specification,
    say: Say = lambda _: None,
    cores: int | None = None,
) -> LatentTransitions:
    """Fit the printed facts (``transition_facts.csv``) for each partition, reading and row prior.

    Raises ``BadInput`` for faulty facts, or a factor they do not speak of.
    """
    rows = row_priors(len(her2)) if how.rows is None else how.rows
    chosen = partitions(facts)
    if how.by is not None:
        known = [names[0] for names in chosen[1:]]
        raise_if(
            [
                Fault("no facts on this factor", column="--by", value=name,
                      allowed=", ".join(sorted(known)))
                for name in how.by if name not in known
            ]
        )  # fmt: skip
        chosen = [(), *((name,) for name in how.by)]
    sets = {
        (names, reading): table_set(facts, her2, names, reading)
        for names in chosen
        for reading in readings(facts)
    }
    impossible, done = [], []
    for (names, reading), tables in sets.items():
        contradicting = conflict(tables)
        if contradicting:
            impossible.append(Impossible(names, reading, contradicting))
            continue
        for title, choice in rows.items():
            say(_named(names, reading, title))
            fitted = fit_tables(
                tables, dict(choice.priors), rows=choice.rows, sampling=how.sampling,
                store=how.store, cores=cores,
            )  # fmt: skip
            done.append(TableAnalysis(names, title, tables, fitted, choice))
    return LatentTransitions(tuple(done), tuple(impossible))


def transition_rows(analysis: TableAnalysis, matrices: Sequence[Matrix]) -> list[dict[str, Any]]:
    """Rows of ``estimate`` for every transition, with bounds, label and row prior beside them."""
    labels = analysis.labels.set_index(["stratum", "her2_primary", "her2"])
    extra = ("label", "lower_bound", "upper_bound", "contraction_within")
    found = []
    for name, matrix in zip(analysis.tables.names, matrices, strict=True):
        said = [
            pd.Series(labels.xs((name, start, end)))
            for start in matrix.classes
            for end in matrix.classes
        ]
        lines = [
            Line(cell, _note(words, bool(matrix.given)))
            for cell, words in zip(cells(matrix), said, strict=True)
        ]
        for row, words in zip(summarise([matrix], lines), said, strict=True):
            labelled = {column: words[column] for column in extra}
            found.append({**row, "row_prior": analysis.row_prior, **labelled})
    return found


def identified(said: Mapping[Any, Any] | pd.Series) -> str:
    """Whether the reported counts identify an in-sample proportion, in words.

    ``said`` has label, lower_bound and upper_bound (0 to 1).
    """
    if said["lower_bound"] <= 0.0 and said["upper_bound"] >= 1.0:
        return IDENTIFIED[3]
    return IDENTIFIED[(DETERMINED, BOUNDED, PRIOR_DRIVEN).index(said["label"])]


def _note(said: pd.Series, stratified: bool) -> str:
    low, high = 100 * said["lower_bound"], 100 * said["upper_bound"]
    bounds = f"{low:.1f} %" if low == high else f"{low:.1f} to {high:.1f} %"
    text = (
        f"{identified(said)}: in-sample proportion {bounds}; prior of the rows {said['row_prior']}"
    )
    return f"{text}; {DESCRIPTIVE}" if stratified else text


@dataclass(frozen=True)
class Result:
    """What a paper's facts give. ``main`` lists the analyses reported first, one a partition.

    ``true`` is the fit of true classes under the assay as it is believed to be, where there is one.
    ``pairs`` says which two readings are meant, where these are not primary and recurrence.
    """

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
    true: TableFit | None = None
    pairs: str = ""


def applies(study: Study) -> bool:
    """Whether the paper prints facts on pairs of primary and recurrence."""
    return not study.transition_facts.empty


def check_applies(study: Study) -> None:
    """Raise ``BadInput`` where a study prints no facts on pairs."""
    if not applies(study):
        remedy = "add transition_facts.csv (data/README.md), or give patients with --cohort"
        raise BadInput(Fault("the study prints no facts on pairs", value=study.id, remedy=remedy))


def run(study: Study, store: Store | None, sampling: Sampling, say: Say = lambda _: None) -> Result:
    """Analyse the facts of a study under every reading and row prior."""
    return run_facts(study, Specification(sampling=sampling, store=store), say)


def run_facts(study: Study, how: Specification, say: Say = lambda _: None) -> Result:
    """Analyse the facts of a study. Raises ``BadInput`` where it prints none on pairs."""
    check_applies(study)
    classes = study.factors["her2"].levels
    known = pair_facts(study)
    for note in known.notes:
        say(note)
    latent = analyse(known.facts, classes, how, say)
    main = main_of(latent)
    rows: list[dict[str, Any]] = []
    matrices = named_matrices(latent, main)
    for analysis in latent.analyses:
        own = [matrix for matrix in matrices if matrix.fit is analysis.fit]
        rows += _rows(analysis, own, analysis in main)
    overall = [m for m in matrices if not m.given and not m.reading]
    if overall:
        rows += _asked_flows(list(study.ledger["estimand"]), overall[0])
    whole = next((analysis for analysis in main if not analysis.factors), None)
    true, curve = None, None
    if how.assay and whole is not None and has_prior(classes):
        say("true classes behind the readings of all patients")
        behind = (how.sampling, how.store)
        true = fit_known(whole.tables, whole.choice, 1.0, *behind)
        rows.append({**true_row(true), "evidence_kind": IMPLIED})
        curve = tipping(whole.tables, whole.choice, *behind)
    drawn = [(a.fit.posterior["table"], a.tables) for a in main]
    pairs = str(study.meta.get("pairs", ""))
    return Result(
        study=study.id,
        pairs="" if pairs == PAIRS[0] else pairs,
        labels={name: factor.label for name, factor in study.factors.items()},
        facts=known.facts,
        notes=known.notes,
        classes=classes,
        latent=latent,
        main=main,
        matrices=tuple(matrices),
        estimates=estimates_table(_unique(rows)),
        classical=classical.classical_frame(
            [row for pair in drawn for row in classical.determined_rows(*pair)]
        ),
        tests=classical.classical_frame(
            [row for pair in drawn for row in classical.discordance_tests(*pair)]
        ),
        fits={_title(a): a.fit for a in latent.analyses} | ({TRUE_FIT: true} if true else {}),
        tipping=curve,
        true=true,
    )


def main_of(latent: LatentTransitions) -> tuple[TableAnalysis, ...]:
    """The first row prior under the first possible reading, for each partition."""
    first: dict[tuple[str, ...], TableAnalysis] = {}
    for analysis in latent.analyses:
        first.setdefault(analysis.factors, analysis)
    return tuple(first.values())


def named_matrices(latent: LatentTransitions, main: Sequence[TableAnalysis]) -> list[Matrix]:
    """Matrices of every analysis, their reading named against that of the main ones."""
    return [
        replace(matrix, reading=_reading(analysis, main))
        for analysis in latent.analyses
        for matrix in analysis.matrices
    ]


def _reading(analysis: TableAnalysis, main: Sequence[TableAnalysis]) -> str:
    """Name of the scenario: empty for the main analysis, else reading of facts and row prior."""
    first = next(a for a in main if a.factors == analysis.factors)
    parts = []
    if analysis.reading != first.reading:
        parts.append(analysis.reading)
    if analysis.row_prior != first.row_prior:
        parts.append(f"rows {analysis.row_prior}")
    return "; ".join(parts)


def _named(factors: Sequence[str], reading: str, row_prior: str) -> str:
    """An analysis of tables in words; the interpretation of the counts where it has a name."""
    where = " x ".join(factors) or "all patients"
    return ", ".join(filter(None, (f"tables of {where}", reading, f"{row_prior} rows")))


def _title(analysis: TableAnalysis) -> str:
    return _named(analysis.factors, analysis.reading, analysis.row_prior)


def with_patients(analysis: TableAnalysis) -> pd.DataFrame:
    """Labels of the rows that have patients: a class that no primary has sends none."""
    return analysis.labels.dropna(subset="cohort_median")


def is_fixed(analysis: TableAnalysis) -> bool:
    """Whether the reported counts fix every row that has patients."""
    return bool((with_patients(analysis)["label"] == DETERMINED).all())


def _rows(
    analysis: TableAnalysis, matrices: Sequence[Matrix], main: bool
) -> Iterator[dict[str, Any]]:
    for row in transition_rows(analysis, matrices):
        kind = RECOMPUTED if row["label"] == "determined" else IMPLIED
        yield {**row, "evidence_kind": kind}
    whole = is_fixed(analysis)  # then all that follows is determined too
    for matrix in matrices:
        for row in derived_rows(matrix, new_cohort=main, most=None if main else 1):
            known = whole or parse(row["estimand"]).kind in ("discordance", "agreement")
            printed = RECOMPUTED if known else IMPLIED
            yield {**row, "evidence_kind": printed}
    if main and len(analysis.factors) == 1:
        for row in contrast_rows(matrices, analysis.factors[0]):
            yield {**row, "evidence_kind": RECOMPUTED}


def _asked_flows(estimands: Sequence[str], matrix: Matrix) -> Iterator[dict[str, Any]]:
    """Sums of flows that the paper prints: of all patients, or of those whose class changed."""
    lines = []
    for text in dict.fromkeys(estimands):
        asked = parse(text)
        if asked.kind != "flow" or not set(asked.conditions) <= {CHANGE}:
            continue
        ends = {end.strip() for part in cells_of(asked.outcome) for end in part.split("->")}
        if ends <= set(matrix.classes):
            lines.append(Line(asked, THIS_COHORT))
    for row in summarise([matrix], lines) if lines else ():
        yield {**row, "evidence_kind": IMPLIED}


def _unique(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows without repetitions of an estimand under one reading (partitions share all patients)."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in rows:
        found.setdefault((row["estimand"], row["reading"]), row)
    return list(found.values())


def evidence(study: Study, result: Result) -> pd.DataFrame:
    """Evidence table of the study's claims on transitions, audited, and of what is not printed."""
    from her2bayes.audit.audit import audit, evidence_rows
    from her2bayes.page.evidence_table import join

    audited = evidence_rows(study, audit(study))
    wanted = [
        row["claim_id"]
        for row in study.ledger.to_dict("records")
        if _of_transitions(parse(str(row["estimand"])))
    ]
    printed = audited[audited["claim_id"].isin(wanted)]
    return join(study.only(wanted), printed, result.estimates, result.classical)


def _of_transitions(asked: Estimand) -> bool:
    return asked.kind in ANSWERED or (
        asked.kind == "association" and asked.outcome == "discordance"
    )


def facts_flow(result: Result) -> pd.DataFrame:
    """Every printed fact and whether it could be used: the flow table of a paper."""
    barred: dict[str, str] = {}
    for item in result.latent.impossible:
        for fact in item.facts:
            barred.setdefault(fact, f"contradicts others under the reading '{item.reading}'")
    used = {fact for a in result.latent.analyses for fact in a.tables.fact_id}
    facts = result.facts
    outcome = ["kept" if fact in used else "set aside" for fact in facts["fact_id"]]
    notes = [barred.get(fact, "") for fact in facts["fact_id"]]
    return facts.assign(outcome=outcome, note=notes)

"""Transitions from printed facts: which tables are possible, what each probability rests on.

For all patients and for each printed partition, under each reading of a contradictory number and
under every row prior: bounds, draws, and a label for each transition. Partitions of the same
patients are analysed one at a time, or jointly over their unknown cross-table (``jointly``); the
product of two partitions' likelihoods would count every patient twice.

What printed facts say of each transition share: determined, bounded or left to the prior.

The share ``T_ij / T_i.`` of the cohort itself (not the probability behind it) has logical bounds.
Contraction within the bounds compares its posterior with its prior cut to these bounds:

    contraction = 1 - Var(share | all facts) / Var(share | share within its bounds)

so that knowing the bounds counts for nothing, and what remains is what the facts add to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior, prior
from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Estimand
from her2bayes.inference.estimates import estimate
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.transition import her2_transition_dirichlet
from her2bayes.transition.draws import Matrix
from her2bayes.transition.tables.facts import TableSet, readings, table_set
from her2bayes.transition.tables.fit import DIRICHLET, LOGISTIC, TableFit, fit_tables
from her2bayes.transition.tables.polytope import conflict, row_bounds, share_bounds

DETERMINED, BOUNDED, PRIOR_DRIVEN = "determined", "bounded", "prior_driven"
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
_UNIFORM = "Dirichlet(1, ..., 1)"


@dataclass(frozen=True)
class RowPrior:
    """A prior of the rows: its family and what differs from the family's defaults."""

    rows: str
    priors: tuple[tuple[str, Prior], ...] = ()


def row_priors(k: int) -> dict[str, RowPrior]:
    """Row priors shown side by side, for ``k`` classes; the first is the one reported first."""
    usual = her2_transition_dirichlet.DEFAULT_PRIORS["transition"]
    worth = f"{usual['total']:g} patients, {100 * usual['stays']:.0f} % unchanged"
    uniform = prior("Dirichlet", total=float(k), stays=1.0 / k)
    half = prior("Dirichlet", total=k / 2.0, stays=1.0 / k)
    return {
        "logistic-normal": RowPrior(LOGISTIC),
        f"Dirichlet, {worth}": RowPrior(DIRICHLET),
        _UNIFORM: RowPrior(DIRICHLET, (("transition", uniform),)),
        "Dirichlet(1/2, ..., 1/2)": RowPrior(DIRICHLET, (("transition", half),)),
    }


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
        gained = contraction_within(draws, before, low, high)
        known = draws[~np.isnan(draws)]
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
        after, before = self.fit.posterior.sel(at, drop=True), self.fit.prior.sel(at, drop=True)
        place = self.tables.names.index(name)
        return Matrix(
            given=self.tables.strata[place],
            transition=after["transition"],
            prior=before["transition"],
            share=after["primary_share"],
            prior_share=before["primary_share"],
            observed=(rows / size.where(size > 0)).fillna(1 / len(self.tables.her2)),
            pairs=int(self.patients[place]),
            fit=self.fit,
            reading=self.reading,
        )


@dataclass(frozen=True)
class LatentTransitions:
    """All analyses of one paper's facts, and the readings that cannot be."""

    analyses: tuple[TableAnalysis, ...]
    impossible: tuple[Impossible, ...]

    @property
    def labels(self) -> pd.DataFrame:
        """Labels of every transition, under all row priors."""
        frames = [a.labels.assign(factors="+".join(a.factors)) for a in self.analyses]
        return pd.concat(frames, ignore_index=True)


def partitions(facts: pd.DataFrame) -> list[tuple[str, ...]]:
    """All patients first, then each printed factor alone."""
    named = dict.fromkeys(name for name in facts["factor"].fillna("") if name)
    return [(), *((name,) for name in named)]


def analyse(
    facts: pd.DataFrame,
    her2: Sequence[str],
    *,
    factors: Sequence[Sequence[str]] | None = None,
    rows: Mapping[str, RowPrior] | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
    store: Store | None = None,
    cores: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> LatentTransitions:
    """Fit the printed facts (``transition_facts.csv``) for each partition, reading and row prior.

    ``factors`` lists partitions to fit; default: all patients and each factor alone. A partition
    of two factors sums jointly over their cross-table. Raises ``BadInput`` for faulty facts.
    """
    rows = row_priors(len(her2)) if rows is None else rows
    chosen = partitions(facts) if factors is None else [tuple(names) for names in factors]
    known = {name for names in partitions(facts) for name in names}
    raise_if(
        [
            Fault("no facts on this factor", value=name, allowed=", ".join(sorted(known)))
            for names in chosen for name in names if name not in known
        ]
    )  # fmt: skip
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
            say(f"tables of {' x '.join(names) or 'all patients'}, {reading}, {title}")
            fitted = fit_tables(
                tables, dict(choice.priors), rows=choice.rows, sampling=sampling, store=store,
                cores=cores,
            )  # fmt: skip
            done.append(TableAnalysis(names, title, tables, fitted))
    return LatentTransitions(tuple(done), tuple(impossible))


def transition_rows(analysis: TableAnalysis) -> list[dict[str, Any]]:
    """Rows of ``estimate`` for every transition, with bounds, label and row prior beside them."""
    labels = analysis.labels.set_index(["stratum", "her2_primary", "her2"])
    found = []
    for name, matrix in zip(analysis.tables.names, analysis.matrices, strict=True):
        for start in matrix.classes:
            for end in matrix.classes:
                said = pd.Series(labels.xs((name, start, end)))
                at = {"her2_primary": start, "her2": end}
                row = estimate(
                    Estimand("transition", f"{start} -> {end}", matrix.given),
                    matrix.transition.sel(at, drop=True),
                    matrix.prior.sel(at, drop=True),
                    matrix.fit,
                    note=_note(said, bool(matrix.given)),
                    reading=matrix.reading,
                )
                extra = ("label", "lower_bound", "upper_bound", "contraction_within")
                labelled = {column: said[column] for column in extra}
                found.append({**row, "row_prior": analysis.row_prior, **labelled})
    return found


def _note(said: pd.Series, stratified: bool) -> str:
    low, high = 100 * said["lower_bound"], 100 * said["upper_bound"]
    bounds = f"{low:.1f} %" if low == high else f"{low:.1f} to {high:.1f} %"
    text = f"{said['label']}: share of this cohort {bounds}; rows {said['row_prior']}"
    return f"{text}; {DESCRIPTIVE}" if stratified else text

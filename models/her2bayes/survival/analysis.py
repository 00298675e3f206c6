"""Survival across subgroups from patients: checked, counted, fitted, with the classical side.

Each factor is reported by level (the mean survival of its patients, comparable with their
Kaplan–Meier curve) and by contrasts of its levels. All estimands carry their prior's value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from her2bayes.bayes.prior import complete
from her2bayes.evidence.patients.external_survival import landmark_counts
from her2bayes.evidence.patients.survival_cells import (
    cut_points,
    exit_counts,
    horizon,
    survival_cells,
    time_counts,
)
from her2bayes.inference import fit as refit
from her2bayes.inference.estimates import estimates_table
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.survival.classical import classical_rows, variants
from her2bayes.survival.doors import Specification, landmark_times
from her2bayes.survival.estimates import Answers
from her2bayes.survival.parts import parts
from her2bayes.survival.survival import build

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.evidence.patients.follow_up import FollowUp
    from her2bayes.inference.fit import Fit

Say = Callable[[str], None]


@dataclass(frozen=True)
class Analysis(Answers):
    """A fit with its patients: ``counts`` are their TimeCounts, ``model`` what was fitted."""

    follow_up: FollowUp = field(repr=False)
    counts: pd.DataFrame = field(repr=False)
    model: refit.Specification = field(repr=False)

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """Posterior and prior of every estimand that the report holds."""
        return estimates_table(list(self.rows()))

    @cached_property
    def classical(self) -> pd.DataFrame:
        """The classical side, one variant each, keyed by estimand."""
        return classical_rows(
            self.counts, self.follow_up, self.factors, self.reference, self.horizon, self.times
        )

    @cached_property
    def variants(self) -> pd.DataFrame:
        """Every classical variant."""
        return variants(self.counts, self.follow_up, self.factors, self.reference, self.times)

    @property
    def factors(self) -> list[str]:
        """Factors that are reported."""
        return [name for name in self.levels if name]

    @cached_property
    def exits(self) -> pd.DataFrame:
        """ExitCounts of the cohort, for the patient-level predictive density."""
        start, end = (self.cells[f"interval_{side}"].to_numpy() for side in ("start", "end"))
        return exit_counts(self.follow_up, np.append(start, end[-1]))


@dataclass(frozen=True)
class Prepared:
    """Everything of an analysis but its fit: made and checked before the first draw.

    ``horizon`` is that of the RMST: the smallest over groups of the last time with 5 at risk.
    """

    specification: Specification
    follow_up: FollowUp
    reference: dict[str, str]
    cells: xr.Dataset
    counts: pd.DataFrame
    horizon: float
    times: tuple[float, ...]
    model: refit.Specification

    def with_fit(self, fitted: Fit) -> Analysis:
        """The analysis with its fit."""
        return Analysis(
            specification=self.specification,
            cells=self.cells,
            fit=fitted,
            horizon=self.horizon,
            times=self.times,
            reference=self.reference,
            follow_up=self.follow_up,
            counts=self.counts,
            model=self.model,
        )


def prepare(follow_up: FollowUp, asked: Specification) -> Prepared:
    """Aggregate the patients and check what is asked; ``BadInput`` with everything wrong."""
    reference = asked.references(follow_up)
    priors = complete(asked.priors, asked.defaults)
    known = asked.landmarks
    reach, since = 0.0, np.inf
    if known is not None:
        reach, since = (float(known[n].agg(f)) for n, f in (("stop", "max"), ("start", "min")))
    cuts = cut_points(follow_up, asked.cuts, asked.intervals, reach, since)
    times = landmark_times(asked.times, float(cuts[0]), follow_up.last_time)
    cells = survival_cells(follow_up, cuts, asked.nested)
    data: Any = cells
    if known is not None:
        data = {"cells": cells, "landmarks": landmark_counts(known, cells, asked.study)}
    options = asked.options(follow_up)
    if asked.own is None:
        parts(cells, **options)  # names that do not exist are told here
    counts = time_counts(follow_up)
    reported = [name for name in follow_up.factors if name not in asked.frailty]
    return Prepared(
        asked,
        follow_up,
        reference,
        cells,
        counts,
        horizon(counts, reported[:1]),
        times,
        refit.Specification(asked.own.build if asked.own else build, data, priors, options),
    )


def run(
    follow_up: FollowUp,
    asked: Specification,
    store: Store | None,
    sampling: Sampling,
    say: Say = lambda _: None,
    cores: int | None = None,
) -> Analysis:
    """Aggregate and fit; ``BadInput`` with everything wrong before the first draw."""
    say("aggregating")
    prepared = prepare(follow_up, asked)
    say(f"fitting {follow_up.patients} patients, {follow_up.events} events")
    return prepared.with_fit(prepared.model.fit(sampling, store, cores))

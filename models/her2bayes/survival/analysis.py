"""Survival across subgroups from patients: cells and counts in, one fit, estimates out.

Each factor is reported by level (the mean survival of its patients, comparable with their
Kaplan–Meier curve) and by contrasts of its levels. All estimands carry their prior's value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.errors import BadInput, Fault
from her2bayes.evidence.patients.landmarks import landmark_counts
from her2bayes.evidence.patients.survival_cells import DEFAULT_INTERVALS, cut_points, survival_cells
from her2bayes.evidence.patients.time_counts import exit_counts, horizon, time_counts
from her2bayes.inference.estimates import estimates_table
from her2bayes.inference.fit import Fit, fit
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.survival.classical import classical_rows
from her2bayes.survival.estimates import Levels, estimate_rows, levels_of
from her2bayes.survival.survival import DEFAULT_PRIORS, build
from her2bayes.survival.survival_parts import parts
from her2bayes.survival.variants import variants

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.evidence.patients.follow_up import FollowUp

TIMES = (6.0, 12.0, 24.0, 36.0, 60.0, 120.0)
DECADE = 120.0  # landmarks where the first entry is later than all of these, as on the scale of age
CAREFUL = 0.99  # target acceptance of the second attempt, where the first one had divergences

Say = Callable[[str], None]


@dataclass(frozen=True)
class Question:
    """What is asked of the patients.

    ``model``: "ph" (hazard ratios constant in time) or "nonph" (they walk over time, for the first
    factor). ``interactions``: whether effects of the first factor may differ between levels of the
    others. ``nested``: factor -> coarser factor. ``frailty``: exchangeable groups such as centres.
    ``cuts`` as in ``cut_points``. ``reference``: factor -> level that others are compared with.
    ``times``: landmarks in months. ``study`` names the cohort, ``landmarks`` survival known from
    elsewhere.
    """

    study: str = "cohort"
    title: str = "Patient cohort"
    model: str = "ph"
    interactions: bool = True
    nested: Mapping[str, str] = field(default_factory=dict)
    frailty: tuple[str, ...] = ()
    cuts: str | Sequence[float] = "quantile"
    intervals: int = DEFAULT_INTERVALS
    reference: Mapping[str, str] = field(default_factory=dict)
    times: tuple[float, ...] = ()
    priors: Mapping[str, Prior] = field(default_factory=dict)
    landmarks: pd.DataFrame | None = None


@dataclass(frozen=True)
class Result:
    """What the patients give.

    ``estimates`` (posterior) and ``classical`` (one variant each) are keyed by estimand;
    ``variants`` lists every classical variant. ``levels`` holds the draws the figures show.
    ``horizon`` is that of the RMST: the smallest over groups of the last time with 5 at risk.
    """

    question: Question
    follow_up: FollowUp
    cells: xr.Dataset
    counts: pd.DataFrame
    fit: Fit
    horizon: float
    times: tuple[float, ...]
    reference: Mapping[str, str]
    levels: Mapping[str, Levels]
    estimates: pd.DataFrame
    classical: pd.DataFrame
    variants: pd.DataFrame


def run(
    follow_up: FollowUp,
    question: Question,
    store: Store | None,
    sampling: Sampling,
    say: Say = lambda _: None,
    cores: int | None = None,
) -> Result:
    """Aggregate, fit and estimate; ``BadInput`` with everything wrong before the first draw."""
    reference = _references(follow_up, question)
    priors = complete(question.priors, DEFAULT_PRIORS)
    say("aggregating")
    reach, since = 0.0, np.inf
    if question.landmarks is not None:
        reach, since = (
            float(question.landmarks[n].agg(f)) for n, f in (("stop", "max"), ("start", "min"))
        )
    cuts = cut_points(follow_up, question.cuts, question.intervals, reach, since)
    times = landmark_times(question.times, float(cuts[0]), follow_up.last_time)
    cells = survival_cells(follow_up, cuts, question.nested)
    data: Any = cells
    if question.landmarks is not None:
        data = {
            "cells": cells,
            "landmarks": landmark_counts(question.landmarks, cells, question.study),
        }
    options = model_options(follow_up, question)
    parts(cells, **options)  # names that do not exist are told here
    counts = time_counts(follow_up)
    reported = [name for name in follow_up.factors if name not in question.frailty]
    until = horizon(counts, reported[:1])
    say(f"fitting {follow_up.patients} patients, {follow_up.events} events")
    fitted = careful_fit(data, options, priors, sampling, store, cores)
    say("estimating")
    levels = {
        name: levels_of(fitted, cells, name, until, times, question.frailty)
        for name in ("", *reported)
    }
    rows = estimate_rows(fitted, cells, levels, reference, question, until, times)
    return Result(
        question=question,
        follow_up=follow_up,
        cells=cells,
        counts=counts,
        fit=fitted,
        horizon=until,
        times=times,
        reference=reference,
        levels=levels,
        estimates=estimates_table(list(rows)),
        classical=classical_rows(counts, follow_up, reported, reference, until, times),
        variants=variants(counts, follow_up, reported, reference, times),
    )


def landmark_times(asked: Sequence[float], first: float, last: float) -> tuple[float, ...]:
    """Landmarks in months; ``BadInput`` where one is not after the first entry.

    Whoever is observed has had no event by the first entry, so survival to before it is no
    question to these patients.
    """
    early = [time for time in asked if time <= first]
    if early:
        problem = "landmark times that are not after the first entry"
        remedy = "survival is conditional on no event by then; ask for a later time"
        raise BadInput(
            Fault(problem, value=early, allowed=f"above {first:g} months", remedy=remedy)
        )
    usual = [t for t in TIMES if first < t <= last]
    decades = np.arange(DECADE, last + 1e-9, DECADE)
    return tuple(asked) or tuple(usual) or tuple(float(t) for t in decades if t > first)


def model_options(follow_up: FollowUp, question: Question) -> dict[str, Any]:
    """Options of the model that answer the question, without those left at their default."""
    fixed = [name for name in follow_up.factors if name not in question.frailty]
    first = [name for name in fixed[:1] if len(follow_up.factors[name]) > 1]
    related = {*question.nested.items(), *((b, a) for a, b in question.nested.items())}
    crossed = [
        (first[0], name)
        for name in fixed[1:]
        if first and len(follow_up.factors[name]) > 1 and (first[0], name) not in related
    ]
    # a factor's interaction already covers the one it is nested in
    crossed = [pair for pair in crossed if pair[1] not in question.nested.values()]
    options: dict[str, Any] = {}
    if question.interactions and crossed:
        options["interactions"] = tuple(crossed)
    if question.model == "nonph" and first:
        options["nonproportional"] = tuple(first)
    if question.frailty:
        options["frailty"] = question.frailty
    return options


def careful_fit(
    data: Any,
    options: Mapping[str, Any],
    priors: Mapping[str, Prior],
    sampling: Sampling,
    store: Store | None,
    cores: int | None = None,
) -> Fit:
    """Fit, and once more in smaller steps where there were divergences; the better one counts."""
    found = fit(
        build, data, priors=priors, options=options, sampling=sampling, store=store, cores=cores
    )
    if not found.diagnostics.divergences or sampling.target_accept >= CAREFUL:
        return found
    smaller = replace(sampling, target_accept=CAREFUL)
    again = fit(
        build, data, priors=priors, options=options, sampling=smaller, store=store, cores=cores
    )
    better = again.diagnostics.divergences < found.diagnostics.divergences
    return again if better else found


def elicited(median: Sequence[float]) -> dict[str, Prior]:
    """Prior of the reference log hazard from a median survival and its 95 % limits, in months.

    A median m under a constant hazard is a hazard of log 2 / m. No numbers, no change.
    """
    if not median:
        return {}
    middle, low, high = (*median, 0.0, 0.0, 0.0)[:3]
    if not (len(median) == 3 and 0 < low < middle < high):
        allowed = "median, lower, upper in months, e.g. 24,6,96"
        raise BadInput(Fault("prior median survival", value=list(median), allowed=allowed))
    sigma = np.log(high / low) / (2 * 1.959963984540054)
    return {
        "reference_log_hazard": prior(
            "Normal", mu=float(np.log(np.log(2) / middle)), sigma=float(sigma)
        )
    }


def _references(follow_up: FollowUp, question: Question) -> dict[str, str]:
    """Reference level of each factor: as asked, or the first; all wrong names together."""
    faults = []
    for name, level in question.reference.items():
        known = follow_up.factors.get(name, ())
        if level not in known:
            allowed = ", ".join(known) or f"a factor: {', '.join(follow_up.factors)}"
            faults.append(
                Fault("no such reference level", value=f"{name}={level}", allowed=allowed)
            )
    if question.model not in ("ph", "nonph"):
        faults.append(Fault("no such model", value=question.model, allowed="ph, nonph"))
    for name in question.frailty:
        if name not in follow_up.factors:
            faults.append(Fault("the frailty names no factor", value=name))
    wrong = [t for t in question.times if not (np.isfinite(t) and t > 0)]
    if wrong:
        faults.append(Fault("landmark times must be months above 0", value=wrong))
    if faults:
        raise BadInput(faults)
    return {
        name: question.reference.get(name, levels[0]) for name, levels in follow_up.factors.items()
    }


def exits(result: Result) -> pd.DataFrame:
    """ExitCounts of the cohort for the patient-level predictive density."""
    edges = np.append(result.cells["interval_start"].to_numpy(), result.cells["interval_end"][-1])
    return exit_counts(result.follow_up, edges)

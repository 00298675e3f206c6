"""Comparing survival models by how well they predict a patient, on counts instead of patients.

The score of a patient who entered at e and left at t with event d (of cause k) is the log density

    d log h_k(t) - (H(t) - H(e)),          H over all causes,

never the Poisson probability of a cell, whose constants depend on the cuts: splitting a cell under
an equal hazard leaves it unchanged. ExitCounts (``time_counts``) say how many patients
have each (group, entry, exit, event); rows of one ``history`` are summed first. Leave-one-patient-
out by Pareto-smoothed importance sampling (Vehtari, Gelman & Gabry 2017); stacking weights by Yao
et al. 2018.

Predictive Kaplan–Meier curves: would patients drawn from the model look like these?

Replicates of the patients at one draw of the posterior (see ``densities.replicates`` for why one):
same groups and entries, event times from the draw's hazard given no event by entry, censoring from
the cohort's own reverse Kaplan–Meier curve (given follow-up beyond entry). The curve of each
replicate is computed like that of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import logsumexp

from her2bayes.bayes.prior import complete
from her2bayes.classical.survival import survival_at
from her2bayes.errors import BadInput, Fault
from her2bayes.evidence.patients.survival_cells import cut_points, exit_counts, survival_cells
from her2bayes.evidence.simulate import event_times
from her2bayes.inference import fit
from her2bayes.inference.predictive import (
    INFORMATIVE,
    PatientElpd,
    commonest,
    compare,
    leave_one_out,
    tail,
    total,
)
from her2bayes.survival.analysis import Analysis
from her2bayes.survival.doors import Specification
from her2bayes.survival.piecewise import OWN, log_hazard
from her2bayes.survival.piecewise import log_hazard as log_hazard_of
from her2bayes.survival.survival import build

if TYPE_CHECKING:
    from her2bayes.evidence.patients.follow_up import FollowUp
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store


REPLICATES = 400
MOST_PATIENTS = 4000


def predictive_curves(
    log_hazard: xr.DataArray,
    counts: pd.DataFrame,
    by: str,
    times: Sequence[float],
    seed: int,
    replicates: int = REPLICATES,
) -> xr.DataArray:
    """Kaplan–Meier survival of replicated cohorts at months ``times``: (replicate, by, time).

    ``counts`` are TimeCounts with every group dim of ``log_hazard``; above 4,000 patients as many
    are drawn from them, and the replicates vary accordingly more.
    """
    rng = np.random.default_rng(seed)
    groups = [str(d) for d in log_hazard.dims if d not in ("chain", "draw", "interval")]
    draws = log_hazard.transpose("chain", "draw", *groups, "interval").to_numpy()
    draws = draws.reshape(-1, *draws.shape[2:])
    edges = np.append(log_hazard["interval_start"].to_numpy(), log_hazard["interval_end"][-1])
    rates = np.exp(draws[-1]).reshape(-1, log_hazard.sizes["interval"])
    rows = _rows(counts, rng)
    sizes = [log_hazard.sizes[g] for g in groups]
    codes = [
        pd.Index(log_hazard[g].to_numpy()).get_indexer(pd.Index(rows[g].astype(str)))
        for g in groups
    ]
    place = np.ravel_multi_index(codes, sizes) if groups else np.zeros(len(rows), int)
    levels = [str(level) for level in pd.unique(counts[by].astype(str))]
    member = [np.flatnonzero(rows[by].astype(str) == level) for level in levels]
    censoring = [_steps(counts[counts[by].astype(str) == level]) for level in levels]
    entry = rows["entry"].to_numpy(float)
    values = np.full((replicates, len(levels), len(times)), np.nan)
    for number in range(replicates):
        time = event_times(rng, edges, rates[place], entry)
        for k, (inside, steps) in enumerate(zip(member, censoring, strict=True)):
            last = _censoring(rng, entry[inside], *steps)
            seen = np.minimum(time[inside], last)
            happened = time[inside] <= last
            values[number, k] = _kaplan_meier(entry[inside], seen, happened, np.asarray(times))
    return xr.DataArray(
        values,
        dims=("replicate", by, "time"),
        coords={by: levels, "time": np.asarray(times, float)},
    )


def _rows(counts: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    number = counts["patients"].to_numpy(float)
    if number.sum() > MOST_PATIENTS:
        number = rng.multinomial(MOST_PATIENTS, number / number.sum())
    repeated = np.repeat(np.arange(len(counts)), number.astype(int))
    return counts.iloc[repeated].reset_index(drop=True)


def _steps(counts: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Reverse Kaplan–Meier: times of censoring and the probability of follow-up beyond each."""
    time = np.unique(counts.loc[counts["event"] == 0, "time"].to_numpy())
    if not len(time):
        return np.array([np.inf]), np.array([0.0])
    number, exits = counts["patients"].to_numpy(float), counts["time"].to_numpy()
    entries, happened = counts["entry"].to_numpy(), counts["event"].to_numpy() == 1
    # an event and a censoring at one time: the event comes first
    at_risk = np.array(
        [number[(entries < t) & ((exits > t) | ((exits == t) & ~happened))].sum() for t in time]
    )
    censored = np.array([number[(exits == t) & ~happened].sum() for t in time])
    return time, np.cumprod(1 - censored / at_risk)


def _censoring(
    rng: np.random.Generator, entry: np.ndarray, time: np.ndarray, beyond: np.ndarray
) -> np.ndarray:
    """Draw times of censoring given that they lie beyond entry (never, where none is known)."""
    before = np.append(1.0, beyond)[np.searchsorted(time, entry, side="right")]
    level = rng.uniform(size=len(entry)) * before
    place = np.searchsorted(-beyond, -level, side="left")
    return np.append(time, np.inf)[place]


def _kaplan_meier(
    entry: np.ndarray, time: np.ndarray, happened: np.ndarray, times: np.ndarray
) -> np.ndarray:
    steps, events = np.unique(time[happened], return_counts=True)
    exits, entries = np.sort(time), np.sort(entry)
    at_risk = np.searchsorted(entries, steps, side="left") - np.searchsorted(exits, steps, "left")
    curve = np.append(1.0, np.cumprod(1 - events / np.maximum(at_risk, 1)))
    found = curve[np.searchsorted(steps, times, side="right")]
    return np.where(times <= time.max(), found, np.nan)


def predictive_check(result: Analysis, factor: str, seed: int) -> pd.DataFrame:
    """Kaplan–Meier survival of each level beside that of replicated cohorts, at the landmarks.

    ``tail`` is the two-sided probability of a replicate as far out, at one draw of the posterior:
    uniform where the model holds. Times at which most replicates are alike (nobody has had the
    event) are left out. Empty with competing causes or a frailty, which replicates do not draw.
    """
    if result.follow_up.causes or result.specification.frailty or result.follow_up.has_patient:
        return pd.DataFrame()
    hazard = log_hazard(result.fit.posterior, result.cells)
    times = [t for t in result.times if t <= result.follow_up.last_time]
    counts = result.counts
    by = [factor] if factor else []
    if not factor:
        counts = counts.assign(everyone="all")
        factor, by = "everyone", ["everyone"]
    curves = predictive_curves(hazard, counts, factor, times, seed)
    rows = []
    observed = survival_at(counts, times, by).set_index(["group", "time"])["estimate"]
    for k, level in enumerate(curves[factor].to_numpy()):
        for j, time in enumerate(times):
            seen = float(observed.loc[(level, time)])
            replicates = curves.to_numpy()[:, k, j]
            replicates = replicates[np.isfinite(replicates)]
            if not (np.isfinite(seen) and len(replicates)) or commonest(replicates) >= INFORMATIVE:
                continue
            low, middle, high = np.quantile(replicates, [0.025, 0.5, 0.975])
            rows.append(
                {
                    "factor": "" if factor == "everyone" else factor,
                    "level": str(level),
                    "months": time,
                    "observed": 100 * seen,
                    "replicated": 100 * middle,
                    "lower": 100 * low,
                    "upper": 100 * high,
                    "tail": tail(seen, replicates),
                }
            )
    return pd.DataFrame(rows)


Say = Callable[[str], None]


def log_density(log_hazard: xr.DataArray, exits: pd.DataFrame) -> np.ndarray:
    """Log density of each row of ExitCounts in each draw, (draw, row).

    ``log_hazard``: draws (chain, draw, groups…, interval) as from ``piecewise.log_hazard``.
    """
    groups = [str(d) for d in log_hazard.dims if d not in ("chain", "draw", "cause", "interval")]
    stacked = log_hazard.transpose("chain", "draw", ..., *groups, "interval")
    causes = [str(c) for c in log_hazard["cause"].to_numpy()] if "cause" in log_hazard.dims else []
    sizes = [log_hazard.sizes[g] for g in groups]
    values = stacked.to_numpy().reshape(
        -1, max(len(causes), 1), int(np.prod(sizes)), log_hazard.sizes["interval"]
    )
    group = _group_index(log_hazard, groups, sizes, exits)
    start, end = log_hazard["interval_start"].to_numpy(), log_hazard["interval_end"].to_numpy()
    total = np.exp(values).sum(axis=1)
    reached = np.concatenate(
        [np.zeros((*total.shape[:2], 1)), np.cumsum(total * (end - start), axis=2)], axis=2
    )

    def cumulative(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = np.minimum(np.searchsorted(end, times, side="left"), len(end) - 1)
        within = times - start[place]
        return reached[:, group, place] + total[:, group, place] * within, place

    at_exit, place = cumulative(exits["time"].to_numpy(float))
    density = -at_exit
    if (exits["entry"] > 0).any():
        density += cumulative(exits["entry"].to_numpy(float))[0]
    happened = exits["event"].to_numpy() == 1
    cause = pd.Index(causes or [""]).get_indexer(pd.Index(exits["cause"]))
    cause = cause if causes else np.zeros(len(exits), int)
    density[:, happened] += values[:, cause[happened], group[happened], place[happened]]
    return density


def _group_index(
    log_hazard: xr.DataArray, groups: list[str], sizes: list[int], exits: pd.DataFrame
) -> np.ndarray:
    missing = [name for name in groups if name not in exits.columns]
    if missing:
        raise BadInput(Fault("the exits lack factors of the model", value=missing))
    if not groups:
        return np.zeros(len(exits), int)
    codes = [
        pd.Index(log_hazard[name].to_numpy()).get_indexer(pd.Index(exits[name].astype(str)))
        for name in groups
    ]
    return np.asarray(np.ravel_multi_index(codes, sizes))


def patient_elpd(log_hazard: xr.DataArray, exits: pd.DataFrame) -> PatientElpd:
    """Leave-one-patient-out elpd of one model from its draws and the ExitCounts."""
    return leave_one_out(*by_patient(log_density(log_hazard, exits), exits))


def by_patient(density: np.ndarray, exits: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Sum rows of one history; return log density (draw, patient class) and patients of each."""
    patients = exits["patients"].to_numpy(float)
    if "history" not in exits:
        return density, patients
    _, first, number = np.unique(exits["history"], return_index=True, return_inverse=True)
    summed = np.zeros((len(density), len(first)))
    for row, history in enumerate(number):
        summed[:, history] += density[:, row]
    return summed, patients[first]


def without_group(cells: xr.Dataset, factor: str, level: str) -> xr.Dataset:
    """Cells with one level emptied: its patients are left out, its effect comes from the prior.

    The shapes stay, so that a compiled model is used again. Fit it and score the level's patients
    with ``log_predictive``.
    """
    if factor not in cells.dims or level not in cells[factor].to_numpy():
        raise BadInput(Fault("no such group in the cells", value=f"{factor}={level}"))
    empty = cells[factor] == level
    return cells.assign(
        {name: cells[name].where(~empty, 0).astype(cells[name].dtype) for name in cells.data_vars}
    ).assign_attrs(cells.attrs)


def log_predictive(log_hazard: xr.DataArray, exits: pd.DataFrame) -> tuple[float, float]:
    """Sum over patients of the log mean density over draws, with its standard error.

    For patients who were not in the fit (leave-one-group-out): no importance sampling is needed.
    """
    density, patients = by_patient(log_density(log_hazard, exits), exits)
    return total(logsumexp(density, axis=0) - np.log(len(density)), patients)


def compare_models(
    result: Analysis, store: Store | None, sampling: Sampling, say: Say = lambda _: None
) -> pd.DataFrame:
    """Proportional against drifting ratios and cut schemes against each other, by patient elpd.

    All models are scored on one set of ExitCounts; see above.
    """
    asked = result.specification
    if not result.piecewise:
        remedy = f"give it a variable {OWN}: log hazard per month by group and interval"
        raise BadInput(Fault("the model gives no density of a patient", value=asked.model,
                             remedy=remedy))  # fmt: skip
    wanted: dict[str, Specification] = {}
    if asked.own is not None:
        wanted[asked.model] = asked
        asked = replace(asked, model="ph", own=None, priors={})
    for model in ("ph", "nonph"):
        if model == "ph" or _can_drift(result.follow_up):
            wanted[f"{model}, {_cuts(asked)}"] = replace(asked, model=model)
    if isinstance(asked.cuts, str):
        for number in (10, 20):
            if number != asked.intervals:
                other = replace(asked, intervals=number, model="ph")
                wanted[f"ph, {_cuts(other)}"] = other
        scheme = "equal" if asked.cuts == "quantile" else "quantile"
        wanted[f"ph, {scheme} {asked.intervals}"] = replace(asked, cuts=scheme, model="ph")
    edges = {name: cut_points(result.follow_up, q.cuts, q.intervals) for name, q in wanted.items()}
    exits = exit_counts(result.follow_up, np.unique(np.concatenate(list(edges.values()))))
    scores = {}
    for name, other in wanted.items():
        say(f"comparing: {name}")
        cells = survival_cells(result.follow_up, edges[name], other.nested)
        changed = fit.Specification(
            other.own.build if other.own else build,
            cells,
            complete(other.priors, other.defaults),
            other.options(result.follow_up),
        )
        found = changed.fit(sampling, store)
        scores[name] = patient_elpd(log_hazard_of(found.posterior, cells), exits)
    return compare(scores)


def leave_one_group_out(
    result: Analysis,
    factor: str,
    store: Store | None,
    sampling: Sampling,
    say: Say = lambda _: None,
) -> pd.DataFrame:
    """How well each level of a factor is predicted by a fit without its patients.

    ``elpd`` is the sum over the level's patients of their log predictive density, ``with_them``
    that of the fit which saw them. One compiled model serves all levels.
    """
    exits, rows = result.exits, []
    for level in result.cells[factor].to_numpy():
        say(f"leaving out {factor}={level}")
        cells = without_group(result.cells, factor, str(level))
        found = replace(result.model, data=cells).fit(sampling, store)
        inside = exits[exits[factor].astype(str) == str(level)]
        values: Mapping[str, xr.Dataset] = {"": found.posterior, "with_": result.fit.posterior}
        row: dict[str, Any] = {"factor": factor, "level": str(level)}
        for prefix, draws in values.items():
            elpd, error = log_predictive(log_hazard_of(draws, result.cells), inside)
            row |= {f"{prefix}elpd": elpd, f"{prefix}std_error": error}
        rows.append({**row, "patients": float(inside["patients"].sum())})
    return pd.DataFrame(rows)


def _can_drift(follow_up: FollowUp) -> bool:
    return any(len(levels) > 1 for levels in follow_up.factors.values())


def _cuts(asked: Specification) -> str:
    if isinstance(asked.cuts, str):
        return f"{asked.cuts} {asked.intervals}"
    return "cuts " + " ".join(f"{cut:g}" for cut in asked.cuts)

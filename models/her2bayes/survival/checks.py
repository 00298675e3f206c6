"""Predictive Kaplan–Meier curves: would patients drawn from the model look like these?

Replicates of the patients at one draw of the posterior (see ``densities.replicates`` for why one):
same groups and entries, event times from the draw's hazard given no event by entry, censoring from
the cohort's own reverse Kaplan–Meier curve (given follow-up beyond entry). The curve of each
replicate is computed like that of the data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.classical.survival import survival_at
from her2bayes.evidence.simulate import event_times
from her2bayes.inference.predictive import INFORMATIVE, commonest, tail
from her2bayes.survival.analysis import Analysis
from her2bayes.survival.piecewise import log_hazard

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

"""Is the survival model good enough: predictive checks, models compared, groups left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from her2bayes.analysis.survival import Question, Result, careful_fit, model_options
from her2bayes.classical.survival import survival_at
from her2bayes.evidence.survival_cells import cut_points, survival_cells
from her2bayes.evidence.time_counts import exit_counts
from her2bayes.inference import comparison
from her2bayes.posterior.predictive import INFORMATIVE, commonest, tail
from her2bayes.posterior.predictive_survival import predictive_curves
from her2bayes.posterior.survival import log_hazard

if TYPE_CHECKING:
    import xarray as xr

    from her2bayes.evidence.follow_up import FollowUp
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store

Say = Callable[[str], None]


def predictive_check(result: Result, factor: str, seed: int) -> pd.DataFrame:
    """Kaplan–Meier survival of each level beside that of replicated cohorts, at the landmarks.

    ``tail`` is the two-sided probability of a replicate as far out, at one draw of the posterior:
    uniform where the model holds. Times at which most replicates are alike (nobody has had the
    event) are left out. Empty with competing causes or a frailty, which replicates do not draw.
    """
    if result.follow_up.causes or result.question.frailty or result.follow_up.has_patient:
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


def compare_models(
    result: Result, store: Store | None, sampling: Sampling, say: Say = lambda _: None
) -> pd.DataFrame:
    """Proportional against drifting ratios and cut schemes against each other, by patient elpd.

    All models are scored on one set of ExitCounts; see ``inference.comparison``.
    """
    asked = result.question
    wanted: dict[str, Question] = {}
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
    for name, question in wanted.items():
        say(f"comparing: {name}")
        cells = survival_cells(result.follow_up, edges[name], question.nested)
        options = model_options(result.follow_up, question)
        found = careful_fit(cells, options, question.priors, sampling, store)
        scores[name] = comparison.patient_elpd(log_hazard(found.posterior, cells), exits)
    return comparison.compare(scores)


def leave_one_group_out(
    result: Result,
    factor: str,
    store: Store | None,
    sampling: Sampling,
    say: Say = lambda _: None,
) -> pd.DataFrame:
    """How well each level of a factor is predicted by a fit without its patients.

    ``elpd`` is the sum over the level's patients of their log predictive density, ``with_them``
    that of the fit which saw them. One compiled model serves all levels.
    """
    edges = np.append(result.cells["interval_start"].to_numpy(), result.cells["interval_end"][-1])
    exits = exit_counts(result.follow_up, edges)
    options = model_options(result.follow_up, result.question)
    rows = []
    for level in result.cells[factor].to_numpy():
        say(f"leaving out {factor}={level}")
        cells = comparison.without_group(result.cells, factor, str(level))
        found = careful_fit(cells, options, result.question.priors, sampling, store)
        inside = exits[exits[factor].astype(str) == str(level)]
        values: Mapping[str, xr.Dataset] = {"": found.posterior, "with_": result.fit.posterior}
        row: dict[str, Any] = {"factor": factor, "level": str(level)}
        for prefix, draws in values.items():
            elpd, error = comparison.log_predictive(log_hazard(draws, result.cells), inside)
            row |= {f"{prefix}elpd": elpd, f"{prefix}std_error": error}
        rows.append({**row, "patients": float(inside["patients"].sum())})
    return pd.DataFrame(rows)


def _can_drift(follow_up: FollowUp) -> bool:
    return any(len(levels) > 1 for levels in follow_up.factors.values())


def _cuts(question: Question) -> str:
    if isinstance(question.cuts, str):
        return f"{question.cuts} {question.intervals}"
    return _listed(question.cuts)


def _listed(cuts: Sequence[float]) -> str:
    return "cuts " + " ".join(f"{cut:g}" for cut in cuts)

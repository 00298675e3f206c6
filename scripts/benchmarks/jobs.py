"""One measurement in a process of its own: ``python jobs.py JSON``.

Prints a JSON object: seconds, effective draws, and the most memory the process held.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from her2bayes.inference.convergence import ESS_MIN


def main(text: str) -> dict[str, Any]:
    """Do the job that a JSON object describes: its ``job`` and the arguments of that function."""
    arguments = json.loads(text)
    found = _JOBS[arguments.pop("job")](**arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**found, "peak_mb": round(peak / 1024)}


def sample_model(design: str, sampler: str, draws: int, tune: int) -> dict[str, Any]:
    """Fit a design with a sampler: seconds to compile and to sample, least bulk ESS."""
    from benchmarks.designs import design as made

    return _sampled(made(design), sampler, draws, tune)


def first_posterior(design: str, sampler: str, draws: int, tune: int) -> dict[str, Any]:
    """Draw one posterior on one core, PyMC and NumPyro under PyMC's own flags.

    ``whole`` is a fit as this package keeps it: prior, predictive draws and densities too.
    """
    from benchmarks.designs import design as made
    from her2bayes.inference.fit import fit
    from her2bayes.inference.sampling import Sampling

    one = made(design)
    settings = Sampling(draws, tune, seed=20230221, target_accept=one.target_accept)
    if sampler == "whole":
        found = fit(one.build, one.data, options=dict(one.options), sampling=settings, cores=1)
        least, means = _effective(one.watched(found.posterior).values())
        return {"ess": least, "means": means}
    return _sampled(one, sampler, draws, tune, cores=1, ours=sampler == "nutpie")


def _sampled(
    one: Any, sampler: str, draws: int, tune: int, *, cores: int = 2, ours: bool = True
) -> dict[str, Any]:
    """``ours``: under this package's compiler flags."""
    from her2bayes.inference import engine
    from her2bayes.inference.sampling import Sampling

    if sampler != "nutpie" and find_spec({"pymc": "pymc"}.get(sampler, sampler)) is None:
        return {"note": f"{sampler} is not installed"}
    settings = Sampling(draws, tune, seed=20230221, target_accept=one.target_accept)
    with engine.compiler_flags() if ours else contextlib.nullcontext():
        model = one.model()
        if sampler == "nutpie":
            posterior, stats, seconds = engine.sample(model, settings, cores=cores)
            divergent = int(stats["diverging"].sum())
        else:
            posterior, divergent, seconds = _other(model, sampler, settings, cores)
    watched = one.watched(posterior)
    least, means = _effective(watched.values())
    return {
        "seconds_compile": seconds["compile"], "seconds_sample": seconds["sample"],
        "ess": least, "divergences": divergent, "means": means, **_rates(seconds, least),
    }  # fmt: skip


def _other(
    model: Any, sampler: str, settings: Any, cores: int = 2
) -> tuple[Any, int, dict[str, float]]:
    import pymc as pm

    start = perf_counter()
    tree = pm.sample(
        model=model, draws=settings.draws, tune=settings.tune, chains=settings.chains, cores=cores,
        random_seed=settings.seed, nuts_sampler=sampler, progressbar=False,
        nuts={"target_accept": settings.target_accept}, compute_convergence_checks=False,
    )  # fmt: skip
    whole = perf_counter() - start
    posterior = tree["posterior"].to_dataset()
    spent = float(posterior.attrs.get("sampling_time", whole))
    labels = {d: list(v) for d, v in model.coords.items() if d in posterior.dims and v is not None}
    divergent = int(tree["sample_stats"]["diverging"].sum())
    return posterior.assign_coords(labels), divergent, {"compile": whole - spent, "sample": spent}


def _effective(arrays: Any) -> tuple[float, list[float]]:
    """Least bulk ESS of all quantities watched, and the means of the first few."""
    from arviz_stats.base import array_stats

    least, means = np.inf, []
    for array in arrays:
        draws = array.transpose("chain", "draw", ...).to_numpy()
        flat = draws.reshape(*draws.shape[:2], -1)
        moving = flat[..., np.ptp(flat, axis=(0, 1)) > 0]
        ess = array_stats.ess(moving, chain_axis=0, draw_axis=1, method="bulk")
        least = min(least, float(np.min(ess)))
        means += [float(v) for v in flat.mean(axis=(0, 1))[:3]]
    return least, means


def _rates(seconds: dict[str, float], least: float) -> dict[str, float]:
    """ESS a second of sampling (tuning included), and seconds to 400 with compilation."""
    rate = least / seconds["sample"]
    return {"ess_per_second": rate, "seconds_to_400": seconds["compile"] + ESS_MIN / rate}


def fit_rows(file: str, draws: int, tune: int) -> dict[str, Any]:
    """Aggregate a file of patients to cells and fit the hierarchical model."""
    from benchmarks.designs import cells_of, survival_design

    start = perf_counter()
    cells = cells_of(file)
    aggregated = perf_counter() - start
    found = _sampled(survival_design(cells), "nutpie", draws, tune)
    found["seconds_aggregate"] = aggregated
    found["seconds"] = aggregated + found["seconds_compile"] + found["seconds_sample"]
    return found


def cox_greenwood(file: str) -> dict[str, Any]:
    """Cox regression on the rows."""
    import greenwood as gw
    import pandas as pd

    rows = pd.read_parquet(file)
    start = perf_counter()
    dummies = pd.DataFrame({n: (rows["her2"] == n) * 1.0 for n in ("zero", "positive")})
    gw.CoxPH(ties="efron").fit(gw.Surv(rows["months"], event=rows["event"]), dummies)
    return {"seconds": perf_counter() - start}


def fit_row_by_row(file: str, draws: int, tune: int) -> dict[str, Any]:
    """The same likelihood without aggregation: a Poisson term for each patient and interval."""
    import pandas as pd
    import pymc as pm

    from benchmarks.designs import HAZARD_RATIO, cells_of, survival_design
    from her2bayes.inference import engine
    from her2bayes.inference.sampling import Sampling

    rows = pd.read_parquet(file)
    cells = cells_of(file)
    edges = np.append(cells["interval_start"].to_numpy(), cells["interval_end"].to_numpy()[-1])
    time, event = rows["months"].to_numpy(), rows["event"].to_numpy()
    spent = np.clip(np.minimum(time[:, None], edges[1:]) - edges[:-1], 0, None)
    person, interval = np.nonzero(spent)
    group = rows["her2"].map({name: k for k, name in enumerate(HAZARD_RATIO)}).to_numpy()[person]
    last = np.append(person[1:] != person[:-1], True)
    plain = survival_design(cells).plain
    start = perf_counter()
    with engine.compiler_flags(), pm.Model() as model:
        spread, smoothing = pm.HalfNormal("spread", 0.5), pm.HalfNormal("smoothing", 1.0)
        steps = pm.Normal("z", shape=plain["J"] - 1) * np.array(plain["gap"]) * smoothing
        walk = pm.math.concatenate([[0.0], pm.math.cumsum(steps)])
        baseline = walk - pm.math.sum(np.array(plain["weight"]) * walk)
        effect = spread * pm.ZeroSumNormal("u", shape=plain["L"])
        level = pm.Normal("reference_log_hazard", -4.0, 1.0)
        log_hazard = pm.Deterministic("log_hazard", level + baseline[None, :] + effect[:, None])
        mean = spent[person, interval] * pm.math.exp(log_hazard[group, interval])
        pm.Poisson("events", mean, observed=last * event[person])
        posterior, divergent, seconds = _other(
            model, "pymc", Sampling(draws, tune, seed=20230221, target_accept=0.95)
        )
    least, means = _effective([posterior["log_hazard"]])
    return {
        "seconds": perf_counter() - start, "seconds_compile": seconds["compile"],
        "seconds_sample": seconds["sample"], "ess": least, "divergences": divergent,
        "means": means, **_rates(seconds, least),
    }  # fmt: skip


def sweep(scenarios: int, draws: int, tune: int) -> dict[str, Any]:
    """Seconds a scenario with the compiled model re-used, and with the model compiled again."""
    from benchmarks.designs import design as made
    from her2bayes.bayes.prior import prior
    from her2bayes.distribution.her2_distribution import DEFAULT_PRIORS
    from her2bayes.inference import engine, structure
    from her2bayes.inference.sampling import Sampling

    one = made("her2_distribution")
    settings = Sampling(draws, tune)

    def run(number: int) -> float:
        start = perf_counter()
        priors = {**DEFAULT_PRIORS, "alpha": prior("ZeroSumNormal", sigma=0.5 + 0.25 * number)}
        with engine.compiler_flags():
            engine.sample(one.build(one.data, priors), settings, cores=2)
        return perf_counter() - start

    first = run(0)
    reused = [run(number) for number in range(1, scenarios + 1)]
    again = []
    for number in range(1, 3):
        structure._KNOWN.clear()
        again.append(run(number))
    return {
        "seconds_first": first, "seconds": float(np.median(reused)),
        "seconds_recompiled": float(np.median(again)),
    }  # fmt: skip


_JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "sample_model": sample_model,
    "first_posterior": first_posterior,
    "fit_rows": fit_rows,
    "cox_greenwood": cox_greenwood,
    "fit_row_by_row": fit_row_by_row,
    "sweep": sweep,
}

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    with contextlib.redirect_stdout(sys.stderr):
        answer = main(sys.argv[1])
    print(json.dumps(answer))

"""One scenario of one target, from store or model: what a worker process does.

A finished scenario is stored at once under what it depends on: conclusions' estimands, data,
scenario, sampling, meaning of the code it uses, versions. A restarted run finds it there. A model
that does not make data like these (predictive checks) answers nothing.

Many scenarios at once: worker processes of one thread each, here or on a cluster's scheduler.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import BadInput
from her2bayes.inference.convergence import Diagnostics, failed, verdict
from her2bayes.inference.fit import Specification, drawn_prior, refit, without_padding
from her2bayes.inference.meaning import meaning
from her2bayes.inference.predictive import RARE, predictive_checks
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store, data_digest, fit_key
from her2bayes.sensitivity.target import (
    BASE,
    FAMILIES,
    REFIT,
    REWEIGHTED,
    STRUCTURE,
    Drawn,
    Scenario,
    Target,
    read_drawn,
)
from her2bayes.version import __version__, versions

if TYPE_CHECKING:
    from her2bayes.inference.fit import Fit


_RESAMPLED = 1000  # draws that a predictive check of re-weighted ones uses


def resampled(draws: xr.Dataset, weight: xr.DataArray, seed: int) -> xr.Dataset:
    """Draws in proportion to their weights, as one chain."""
    chances = weight.transpose("chain", "draw").to_numpy().ravel()
    rng = np.random.default_rng([seed, 9])
    picks = rng.choice(chances.size, _RESAMPLED, p=chances / chances.sum())
    chain, draw = (
        xr.DataArray(place, dims="draw")
        for place in np.unravel_index(picks, (draws.sizes["chain"], draws.sizes["draw"]))
    )
    found = draws.isel(chain=chain, draw=draw)
    return found.drop_vars(["chain", "draw"], errors="ignore").expand_dims("chain")


def failed_checks(tree: xr.DataTree) -> str:
    """Predictive checks that a fit fails at one of its draws, in words; empty where it passes."""
    checks = predictive_checks(tree)
    failed = [
        f"{row['statistic']} {row['posterior_observed']:.4g}, replicates "
        f"{row['posterior_lower']:.4g} to {row['posterior_upper']:.4g}"
        for row in checks.to_dict("records")
        if row["posterior_tail"] < RARE
    ]
    return f"fails its predictive check: {'; '.join(failed)}" if failed else ""


def checked(model: Any, raw: xr.Dataset, seed: int) -> str:
    """Check draws of a scenario's model against its own data."""
    from her2bayes.inference import densities, engine

    with engine.compiler_flags():
        replicates = without_padding(densities.replicates(model, raw, seed))
        seen = without_padding(densities.observed_data(model))
    groups = {"replicates": replicates, "prior_predictive": replicates}
    return failed_checks(xr.DataTree.from_dict({**groups, "observed_data": seen}))


ENTRIES = ("specification", "drawn", "quantities", "baseline", "sampling_of")
"""Functions that a family of targets may have: what its results depend on."""


@dataclass(frozen=True)
class Job:
    """A scenario of a target and the name under which its result is stored.

    ``wide`` names the draws under the widest prior, empty where nothing can be re-weighted.
    """

    target: int
    scenario: Scenario
    key: str
    wide: str = ""


def family(target: Target) -> Any:
    """Module that knows a target's model."""
    return import_module(FAMILIES[target.family])


def identity(target: Target, sampling: Sampling) -> dict[str, Any]:
    """What every scenario of a target depends on, besides the scenario itself."""
    module = family(target)
    entries = [getattr(module, name, None) for name in ENTRIES]
    return {
        "package": __version__,
        "family": target.family,
        "estimands": target.estimands,
        "data": data_digest(_digestible(target.data)),
        "source": meaning(work, *filter(None, entries)),
        "sampling": asdict(sampling),
        "versions": versions(),
    }


def key(about: Mapping[str, Any], of: Scenario, part: str) -> str:
    """Name of a stored result."""
    return fit_key({**about, "scenario": of.canonical, "part": part})


def _digestible(data: Any) -> Any:
    if isinstance(data, pd.DataFrame):
        return data.to_csv(index=False)
    if isinstance(data, Mapping) and not isinstance(data, xr.Dataset):
        return {str(name): _digestible(part) for name, part in data.items()}
    if isinstance(data, tuple):
        return list(data)
    return data


def specification(target: Target, of: Scenario) -> Specification | None:
    """Model of a scenario as PyMC has it; None where the family draws in its own way."""
    make = getattr(family(target), "specification", None)
    spec: Specification | None = make(target, of) if make else None
    return spec


def stored(store: Store, target: Target, name: str) -> Drawn | None:
    """Read a finished scenario; None where there is none or its file is damaged."""
    with _plain_locks():
        tree = store.load(f"scenario_{target.family}", name)
    return None if tree is None else read_drawn(tree)


def is_stored(store: Store, target: Target, name: str) -> bool:
    """Whether a finished scenario is there, whole."""
    return any(
        path.stem.rsplit("-", 1)[1] == store.checksum(path)
        for path in store.folder.glob(f"scenario_{target.family}-{name}-*.nc")
    )


def _plain_locks() -> Any:
    """Keep xarray from asking a cluster for a lock on every file it writes."""
    import dask

    return dask.config.set(scheduler="threads")


def remote(
    job: Job, target: Target, sampling: Sampling, store: Store, fits: Store | None = None
) -> tuple[str, Any]:
    """Run in a worker; faults travel as plain values, since not every exception can be pickled."""
    logging.getLogger("pymc").setLevel(logging.WARNING)
    logging.getLogger("pymc.sampling.forward").setLevel(logging.WARNING)
    try:
        with _plain_locks():
            return "done", work(job, target, sampling, store, fits)
    except BadInput as fault:
        return "bad input", fault.faults
    except Exception:  # the caller raises it again with this text
        return "fault", traceback.format_exc()


def work(
    job: Job, target: Target, sampling: Sampling, store: Store, fits: Store | None = None
) -> dict[str, float]:
    """Compute a scenario, store it, and return the seconds spent."""
    start, busy = perf_counter(), process_time()
    found = compute(job, target, sampling, store, fits)
    seconds = {"compile": 0.0, "sample": 0.0, **found.seconds, "all": perf_counter() - start}
    seconds["cpu"] = process_time() - busy
    store.save(f"scenario_{target.family}", job.key, replace(found, seconds=seconds).tree())
    return seconds


def compute(
    job: Job, target: Target, sampling: Sampling, store: Store, fits: Store | None = None
) -> Drawn:
    """Draws of a scenario: re-weighted where that is allowed and good enough, else refitted.

    The reported analysis is that of the page, with its own fits in ``fits``.
    """
    module = family(target)
    if not job.scenario.changes:
        return baseline(target, sampling, fits)
    if specification(target, job.scenario) is None:
        drawn: Drawn = module.drawn(target, job.scenario, sampling)
        return drawn
    refused = None
    if job.wide:
        found = reweighted(job, target, sampling, store)
        if found.method == REWEIGHTED:
            return found
        refused = found
    fresh = refitted(target, job.scenario, sampling)
    if refused is None:
        return fresh
    return replace(fresh, k_hat=refused.k_hat, ess=refused.ess)


def settings(target: Target, sampling: Sampling) -> Sampling:
    """Settings of the sampler for a target's model, those of the page."""
    change = getattr(family(target), "sampling_of", None)
    found: Sampling = change(target, sampling) if change else sampling
    return found


def baseline(target: Target, sampling: Sampling, fits: Store | None) -> Drawn:
    """Analysis as the page reports it: the same fit, by its name, and the same draws of it."""
    made = getattr(family(target), "baseline", None)
    if made is not None:
        found: Drawn = made(target, sampling, fits)
        return found
    spec = specification(target, BASE)
    assert spec is not None  # a family without a baseline of its own has a model
    return of_fit(target, spec, spec.fit(settings(target, sampling), fits, 1))


def of_fit(target: Target, spec: Specification, fitted: Fit) -> Drawn:
    """Quantities of the reported analysis from a fit of the page."""
    from her2bayes.inference.reweight import power_scaling

    module = family(target)
    posterior, prior = (
        module.quantities(target, BASE, group) for group in (fitted.posterior, fitted.prior)
    )
    likelihood, log_prior = (
        fitted.tree[name].to_dataset() for name in ("log_likelihood", "log_prior")
    )
    return Drawn(
        fitted.model,
        REFIT,
        {name: (posterior[name], prior[name]) for name in posterior},
        fitted.diagnostics,
        fitted.provenance["seconds"],
        power=power_scaling(posterior, likelihood, log_prior, spec.top_level),
        fit_id=fitted.fit_id,
        unfit=failed_checks(fitted.tree),
    )


def refitted(target: Target, of: Scenario, sampling: Sampling) -> Drawn:
    """Full refit; once more, twice as long, if it fails its verdict."""
    spec = specification(target, of)
    assert spec is not None  # asked by the caller
    first = settings(target, sampling)
    found = _refitted(target, of, spec, first)
    if not any(failed(str(verdict(x, found.diagnostics))) for x, _ in found.draws.values()):
        return found
    longer = replace(first, draws=2 * first.draws, tune=2 * first.tune)
    return _refitted(target, of, spec, longer)


def _refitted(target: Target, of: Scenario, spec: Specification, sampling: Sampling) -> Drawn:
    module = family(target)
    result = refit(spec, sampling)
    posterior = module.quantities(target, of, result.posterior)
    prior = module.quantities(target, of, result.prior)
    return Drawn(
        spec.name,
        REFIT,
        {name: (posterior[name], prior[name]) for name in posterior},
        result.diagnostics,
        result.seconds,
        unfit=checked(result.model, result.raw, sampling.seed),
    )


@dataclass(frozen=True)
class _Wide:
    """Draws under the widest prior, as sampled, and the log joint density at each of them."""

    draws: xr.Dataset
    diagnostics: Diagnostics
    model: str
    log_density: xr.DataArray


_WIDE: dict[str, _Wide] = {}  # of this process, by key


def reweighted(job: Job, target: Target, sampling: Sampling, store: Store) -> Drawn:
    """Weighted draws of a scenario from those under the widest prior.

    ``method`` is "refit" where the weights are refused: there are no draws then.
    """
    from her2bayes.inference.reweight import joint, relative_ess, smoothed
    from her2bayes.inference.structure import compiler_flags

    module = family(target)
    start = perf_counter()
    wide = _wide(job, target, sampling, store)
    raw, diagnostics, model, before = wide.draws, wide.diagnostics, wide.model, wide.log_density
    other: Specification = module.specification(target, target.widest)
    spec: Specification = module.specification(target, job.scenario)
    moved = spec.transport(raw, other) if spec.transport else raw
    with compiler_flags():
        built = spec.model()  # which takes as long as its draws
    after, derived = joint(spec, moved, built)
    posterior = module.quantities(target, job.scenario, derived.assign(_named(moved, derived)))
    weights = smoothed(after - before, relative_ess(posterior.values()))
    seconds = {"all": perf_counter() - start}
    if not weights.accepted:
        return Drawn(model, REFIT, {}, diagnostics, seconds, None, weights.k_hat, weights.ess)
    with compiler_flags():
        prior = drawn_prior(spec, built, sampling.seed)
    before_data = module.quantities(target, job.scenario, prior)
    draws = {name: (posterior[name], before_data[name]) for name in posterior}
    return Drawn(
        model, REWEIGHTED, draws, diagnostics, {"all": perf_counter() - start},
        weights.weight, weights.k_hat, weights.ess,
        unfit=checked(built, resampled(moved, weights.weight, sampling.seed), sampling.seed),
    )  # fmt: skip


def _named(moved: xr.Dataset, derived: xr.Dataset) -> dict[str, xr.DataArray]:
    kept = without_padding(moved)
    return {str(name): kept[name] for name in kept.data_vars if name not in derived}


def _wide(job: Job, target: Target, sampling: Sampling, store: Store) -> _Wide:
    """Draws under the widest prior: from this process, the store, or the sampler."""
    import json

    from her2bayes.inference.reweight import joint

    if job.wide not in _WIDE:
        name = f"wide_{target.family}"
        spec: Specification = family(target).specification(target, target.widest)
        with store.lock(job.wide):
            tree = store.load(name, job.wide)
            if tree is None:
                result = refit(spec, settings(target, sampling))
                tree = xr.DataTree.from_dict({"posterior": result.raw})
                about = {"diagnostics": asdict(result.diagnostics), "model": spec.name}
                tree.attrs["wide"] = json.dumps(about)
                store.save(name, job.wide, tree)
        said = json.loads(tree.attrs["wide"])
        raw = tree["posterior"].to_dataset()
        run = Diagnostics(**said["diagnostics"])
        _WIDE[job.wide] = _Wide(raw, run, said["model"], joint(spec, raw)[0])
    return _WIDE[job.wide]


Progress = Callable[[int, int, str], None]
"""Told of scenarios done, of all, and of what was done last."""


def jobs(
    targets: Sequence[Target],
    scenarios: Sequence[Sequence[Scenario]],
    sampling: Sampling,
    *,
    reweight: bool = True,
) -> list[Job]:
    """Jobs of every target, the reported analyses first."""
    found = []
    for place, (target, planned) in enumerate(zip(targets, scenarios, strict=True)):
        about = identity(target, sampling)
        again = reweight and specification(target, target.widest) is not None
        wide = key(about, target.widest, "wide") if again else ""
        part = "reweight" if again else "refit"
        for of in dict.fromkeys(planned):
            here = wide if of.changes and target.scales_only(of) else ""
            found.append(Job(place, of, key(about, of, part if here else "refit"), here))
    return sorted(found, key=lambda job: bool(job.scenario.changes))


def run(
    targets: Sequence[Target],
    planned: Sequence[Job],
    sampling: Sampling,
    folder: Path,
    client: Callable[[], Any],
    progress: Progress = lambda *_: None,
    fits: Store | None = None,
) -> Mapping[str, float]:
    """Do what is not stored yet; return seconds summed over workers (compile, sample, all).

    Closed forms are left to the caller. ``fits`` holds the fits of the page. ``client`` is asked
    for only where something is to do.
    Raises ``BadInput`` where a scenario's input is bad, ``RuntimeError`` with the worker's
    traceback for an internal fault.
    """
    store = Store(folder.resolve())
    with store.lock("run"):  # makes the folder, or says why it cannot be
        pass
    planned = [job for job in planned if not targets[job.target].closed_form]
    todo = [job for job in planned if not is_stored(store, targets[job.target], job.key)]
    done = len(planned) - len(todo)
    seconds = dict.fromkeys(("compile", "sample", "all", "cpu", "scenarios"), 0.0)
    progress(done, len(planned), f"{done} found in the store" if done else "starting")
    if todo:
        for job, result in _remote(targets, todo, sampling, store, client(), fits):
            _told(result, seconds)
            done += 1
            progress(done, len(planned), f"{targets[job.target].name}: {job.scenario}")
    return seconds


def _remote(
    targets: Sequence[Target],
    todo: Sequence[Job],
    sampling: Sampling,
    store: Store,
    client: Any,
    fits: Store | None = None,
) -> Iterator[tuple[Job, tuple[str, Any]]]:
    from distributed import as_completed

    data = {place: client.scatter(targets[place], broadcast=True, hash=False)
            for place in dict.fromkeys(job.target for job in todo)}  # fmt: skip
    addresses = sorted(client.scheduler_info(n_workers=-1)["workers"])
    futures = {
        client.submit(
            remote, job, data[job.target], sampling, store, fits, pure=False, retries=1,
            priority=-place, workers=_workers(targets[job.target], job.scenario, addresses),
        ): job
        for place, job in enumerate(todo)
    }  # fmt: skip
    for future in as_completed(list(futures)):
        yield futures[future], future.result()
        future.release()


def _workers(target: Target, of: Scenario, addresses: Sequence[str]) -> list[str] | None:
    """One worker for all scenarios of another model, so that it is compiled once; any, else."""
    kind = {axis.name: axis.kind for axis in target.axes}
    changed = [f"{name}={value}" for name, value in of.changes if kind[name] == STRUCTURE]
    if not changed or not addresses:
        return None
    return [addresses[int(sha256(repr(changed).encode()).hexdigest(), 16) % len(addresses)]]


def _told(result: tuple[str, Any], seconds: dict[str, float]) -> None:
    kind, content = result
    if kind == "bad input":
        raise BadInput(content)
    if kind == "fault":
        raise RuntimeError(f"in a worker process: {content}")
    for name in ("compile", "sample", "all", "cpu"):
        seconds[name] += float(content[name])
    seconds["scenarios"] += 1

"""Draws from a PyMC model, compiled once per structure: the same graph with other data is re-used.

Compiling takes 10 to 60 s where the compile cache does not know the model, 1 to 3 s where it does
(``compiled_model``), sampling well under one. Two models that differ only in the values of their
data variables and in the labels of their dimensions share a compiled one; the labels are attached
afterwards. What "the same graph" means is decided by walking it (``structure``), so a model that
bakes a value into its graph is compiled anew and never answered with another's.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import xarray as xr

from her2bayes.inference.compiled_model import compiled_model
from her2bayes.inference.sampling import Sampling

# fastmath off: draws then do not depend on whether numba's cache was warm. No C compiler and no
# BLAS search: nothing here needs them, and a machine without a compiler gives the same numbers.
FLAGS: dict[str, Any] = {"numba__fastmath": False, "cxx": ""}

_SAMPLE_STATS = ("diverging", "energy", "logp", "lp", "n_steps", "depth", "tree_depth", "step_size")


@dataclass
class _Compiled:
    model: Any
    sampler: Any


_CACHE: dict[str, _Compiled] = {}


@contextmanager
def compiler_flags() -> Iterator[None]:
    """Set the compiler flags every model of this package is built, compiled and run under.

    PyMC tells of each variable it samples; that is kept from the user's terminal.
    """
    import pymc  # noqa: F401 (its import sets the level of its own logger)
    import pytensor

    speaker = logging.getLogger("pymc")
    level = speaker.level
    speaker.setLevel(logging.WARNING)
    try:
        with pytensor.config.change_flags(**FLAGS):
            yield
    finally:
        speaker.setLevel(level)


def structure(model: Any) -> str:
    """Hash a model's graph: operations, constants, names, sizes, but no value of a data variable.

    Two models with equal structure differ at most in data values and in coordinate labels.
    """
    lines = [f"{dim} {length.eval()}" for dim, length in sorted(model.dim_lengths.items())]
    for rv in [*model.basic_RVs, *model.deterministics, *model.potentials]:
        value = model.rvs_to_values.get(rv)
        lines.append(f"{rv.name} {model.named_vars_to_dims.get(rv.name)} {rv.type}")
        lines.append(f"{type(model.rvs_to_transforms.get(rv)).__name__} {rv in model.observed_RVs}")
        lines += _graph([rv, value] if rv in model.observed_RVs else [rv])
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _graph(outputs: list[Any]) -> list[str]:
    """Describe a graph in topological order; every variable is referred to by its position."""
    from pytensor.compile.sharedvalue import SharedVariable
    from pytensor.graph.basic import Constant
    from pytensor.graph.traversal import toposort

    seen: dict[Any, str] = {}

    def describe(variable: Any) -> str:
        if variable in seen:
            return seen[variable]
        if isinstance(variable, Constant):
            data = getattr(variable.data, "tobytes", lambda: repr(variable.data).encode())()
            return f"constant {variable.type} {hashlib.sha256(data).hexdigest()}"
        if isinstance(variable, SharedVariable):
            shape = getattr(variable.get_value(borrow=True), "shape", "")
            return f"shared {variable.name} {variable.type} {shape}"
        return f"input {variable.name} {variable.type}"

    lines = []
    for position, node in enumerate(toposort(outputs)):
        op = node.op
        inner = _graph(list(op.fgraph.outputs)) if hasattr(op, "fgraph") else []
        props = op._props() if hasattr(op, "_props") else ""
        lines.append(f"{type(op).__qualname__} {op} {props} {[describe(i) for i in node.inputs]}")
        lines += inner
        seen |= {out: f"{position}.{index}" for index, out in enumerate(node.outputs)}
    return lines + [describe(out) for out in outputs]


def sample(
    model: Any, sampling: Sampling, *, cores: int | None = None, progress: bool = False
) -> tuple[xr.Dataset, xr.Dataset, dict[str, float]]:
    """Draw from the posterior; return draws, sampler statistics and the seconds spent.

    Draws do not depend on ``cores``, on what was compiled before, nor on a warm or cold cache.
    """
    run = _nutpie if sampling.sampler == "nutpie" else _pymc
    tree, seconds = run(model, sampling, cores, progress)
    stats = tree["sample_stats"].to_dataset()
    stats = stats[[name for name in _SAMPLE_STATS if name in stats]]
    draws = tree["posterior"].to_dataset()
    return _labelled(draws, model), stats, seconds


def _labelled(draws: xr.Dataset, model: Any) -> xr.Dataset:
    labels = {
        dim: list(values)
        for dim, values in model.coords.items()
        if dim in draws.dims and values is not None
    }
    return draws.assign_coords(labels).drop_attrs(deep=True)


def _nutpie(
    model: Any, sampling: Sampling, cores: int | None, progress: bool
) -> tuple[Any, dict[str, float]]:
    import nutpie

    start = perf_counter()
    sampler = _compiled(model)
    ready = perf_counter()
    tree = nutpie.sample(
        sampler,
        draws=sampling.draws,
        tune=sampling.tune,
        chains=sampling.chains,
        cores=cores,
        seed=sampling.seed,
        target_accept=sampling.target_accept,
        adaptation=sampling.adaptation,
        save_warmup=False,
        progress_bar=progress,
    )
    return tree, {"compile": ready - start, "sample": perf_counter() - ready}


def _compiled(model: Any) -> Any:
    name = structure(model)
    if name not in _CACHE:
        with warnings.catch_warnings():
            # PyTensor then runs two loops in place of one: slower, not wrong
            warnings.filterwarnings("ignore", "Loop fusion failed", UserWarning)
            # a model that calls LAPACK by address is compiled in each process: slower, not wrong
            warnings.filterwarnings("ignore", "Cannot cache compiled function")
            _CACHE[name] = _Compiled(model, compiled_model(model))
    known = _CACHE[name]
    if known.model is model:
        return known.sampler
    values = {data.name: data.get_value() for data in model.data_vars}
    for data in known.model.data_vars:
        # the initial point is computed from the first model's own variables, which `with_data`
        # leaves alone: without this, draws would depend on what was fitted before
        data.set_value(values[data.name])
    used = {variable.name for variable in known.sampler.shared_var_keys}
    return known.sampler.with_data(**{k: v for k, v in values.items() if k in used})


def _pymc(
    model: Any, sampling: Sampling, cores: int | None, progress: bool
) -> tuple[Any, dict[str, float]]:
    import pymc as pm

    start = perf_counter()
    tree = pm.sample(
        model=model,
        draws=sampling.draws,
        tune=sampling.tune,
        chains=sampling.chains,
        cores=cores or 1,
        random_seed=sampling.seed,
        nuts_sampler="pymc",
        nuts={"target_accept": sampling.target_accept},
        progressbar=progress,
        compute_convergence_checks=False,
    )
    return tree, {"compile": 0.0, "sample": perf_counter() - start}

"""Draws from a PyMC model, compiled once per structure: the same graph with other data is re-used.

Two models that differ only in the values of their data variables and in the labels of their
dimensions share a compiled density; the labels are attached afterwards. PyTensor makes the log
density and its gradient, ``lowering`` writes them as loops, LLVM compiles these in half a second,
nutpie samples the unconstrained parameters; all else is computed from these in one batch
(``densities.constrained``).

The machine code is kept in the compile cache under the model's structure, beside a few facts on it
(``_Plan``), so the next process makes no graph. A model with an operation that ``lowering`` does
not know is compiled by nutpie, which takes half a minute more in each process.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import sys
import warnings
from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.inference.densities import constrained
from her2bayes.inference.lowering import Lowered, lowered
from her2bayes.inference.meaning import meaning
from her2bayes.inference.progress import waiting
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.scalars import NotLoweredError, address
from her2bayes.inference.structure import (
    ALONE,
    FLAGS,
    Shared,
    compiler_flags,
    inline,
    shared,
    value_of,
)
from her2bayes.version import versions

__all__ = ["compiled_model", "compiler_flags", "sample"]

PACKAGE = __name__.partition(".")[0]
_SAMPLE_STATS = ("diverging", "energy", "logp", "lp", "n_steps", "depth", "tree_depth", "step_size")
SMALLER_STEPS = (0.98, 0.998)
"""Target acceptance of a second and a third run, where transitions of the run before diverged."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Plan:
    """What the sampler must know of a compiled density, by values that a file can keep.

    ``names`` and ``shapes`` of the unconstrained parameters; ``data`` names the shared variables in
    the order in which nutpie lays out their addresses; ``code`` is an object file, in base 64;
    ``calls`` are the functions it calls.
    """

    names: list[str]
    shapes: list[list[int]]
    data: list[str]
    code: str
    calls: list[str]

    @property
    def n_dim(self) -> int:
        """Number of unconstrained parameters."""
        return _places(self.shapes)[-1].stop


@dataclass(frozen=True)
class _Function:
    """A compiled function: its address, and what must live as long as it is called."""

    address: int
    owner: Any


def _places(shapes: Sequence[Sequence[int]]) -> list[slice]:
    """Where arrays of these shapes stand when they are laid end to end."""
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)]).tolist()
    return [slice(first, end) for first, end in pairwise(ends)]


def sample(
    model: Any,
    sampling: Sampling,
    *,
    cores: int | None = None,
    progress: bool = False,
    name: str = "a model",
) -> tuple[xr.Dataset, xr.Dataset, dict[str, float]]:
    """Draw from the posterior; return draws, sampler statistics and the seconds spent.

    Where transitions diverged, the model is sampled again with smaller steps, up to twice; the run
    with fewest counts, and the statistics' attribute ``repeated`` has the number in each.
    ``name`` is what the user is told that is compiled and sampled.

    Draws do not depend on ``cores``, on what was compiled before, nor on a warm or cold cache.
    """
    run = _nutpie if sampling.sampler == "nutpie" else _pymc
    smaller = [target for target in SMALLER_STEPS if target > sampling.target_accept]
    runs, diverged = {}, {}
    for target in (sampling.target_accept, *smaller):
        runs[target] = run(model, replace(sampling, target_accept=target), cores, progress, name)
        diverged[target] = int(runs[target][1]["diverging"].sum())
        if not diverged[target]:
            break
    draws, stats, _ = runs[min(diverged, key=diverged.__getitem__)]
    stats = stats[[name for name in _SAMPLE_STATS if name in stats]]
    if len(runs) > 1:
        counts = ", ".join(f"{number} at {target:g}" for target, number in diverged.items())
        stats.attrs["repeated"] = f"best of {len(runs)} runs; by target acceptance: {counts}"
    seconds = {part: sum(one[2][part] for one in runs.values()) for part in ("compile", "sample")}
    return _labelled(draws, model), stats, seconds


def _labelled(draws: xr.Dataset, model: Any) -> xr.Dataset:
    labels = {
        dim: list(values)
        for dim, values in model.coords.items()
        if dim in draws.dims and values is not None
    }
    return draws.assign_coords(labels).drop_attrs(deep=True)


def _nutpie(
    model: Any, sampling: Sampling, cores: int | None, progress: bool, name: str
) -> tuple[xr.Dataset, xr.Dataset, dict[str, float]]:
    import nutpie

    start = perf_counter()
    sampler = compiled_model(model, name)
    ready = perf_counter()
    with waiting("sampling", name):
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
    draws = tree["posterior"].to_dataset()
    if isinstance(sampler.compiled_logp_func, _Function):  # nutpie's own hands on all variables
        points = {
            str(one): array.to_numpy().reshape(-1, *array.shape[2:]) for one, array in draws.items()
        }
        draws = constrained(model, points, draws)
    seconds = {"compile": ready - start, "sample": perf_counter() - ready}
    return draws, tree["sample_stats"].to_dataset(), seconds


def compiled_model(model: Any, name: str = "a model") -> Any:
    """Return nutpie's sampler of a model, compiled at most once a structure; data as in ``model``.

    The structure's plan is read from the compile cache where it is there; a file that cannot be
    read, or of other versions or another processor, is never trusted: the model is compiled anew.
    """
    known = shared(model)
    variables = _variables(known.model)
    try:
        plan, functions, start = known.once("sampler", partial(_compiled, name=name))
    except NotLoweredError as what:
        log.info("compiled by nutpie: %s", what)
        compiled = known.once("nutpie", partial(_by_nutpie, name=name))
        return compiled.with_data(
            **{var.name: variables[var.name].get_value() for var in compiled.shared_var_keys}
        )
    return _sampler(plan, functions, start, [variables[name] for name in plan.data])


def _by_nutpie(known: Shared, name: str) -> Any:
    import nutpie

    with waiting("compiling", name), warnings.catch_warnings():
        # what numba cannot keep, fuse or compile is slower, not wrong
        slow = "Loop fusion failed|Cannot cache compiled function|Numba will use object mode"
        warnings.filterwarnings("ignore", slow)
        return nutpie.compile_pymc_model(known.model)


def _variables(model: Any) -> dict[str, Any]:
    """Shared variables by name: data and lengths of dimensions."""
    return {v.name: v for v in [*model.dim_lengths.values(), *model.data_vars]}


def _compiled(known: Shared, name: str) -> tuple[_Plan, dict[str, _Function], Any]:
    structure, model = known.name, known.model
    start = _start(model)
    file = _folder() / f"{sha256(_identity(structure).encode()).hexdigest()[:40]}.json"
    plan = _read(file, model)
    if plan is not None:
        return plan, _functions(plan), start
    with waiting("compiling", name):
        plan = _planned(model, start)
        functions = _functions(plan)
    if ALONE not in structure:
        _keep(file, plan)
    return plan, functions, start


def _folder() -> Path:
    import pytensor

    return Path(pytensor.config.base_compiledir) / PACKAGE


def _identity(structure: str) -> str:
    return json.dumps([structure, versions(), FLAGS, sys.version, _processor(), _meaning()])


@cache
def _meaning() -> str:
    return meaning(_planned)


@cache
def _processor() -> tuple[str, str]:
    """Name and features of the processor that code is made for."""
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def _read(file: Path, model: Any) -> _Plan | None:
    """Plan in a file, None where it is missing, damaged or of another model."""
    try:
        digest, text = file.read_text("utf-8").split("\n")
        if digest != sha256(text.encode()).hexdigest():
            return None
        plan = _Plan(**json.loads(text))
        names = [model.rvs_to_values[rv].name for rv in model.free_RVs]
        return plan if plan.names == names and set(plan.data) <= set(_variables(model)) else None
    except (OSError, ValueError, TypeError):
        return None


def _keep(file: Path, plan: _Plan) -> None:
    aside = file.with_name(f".{os.getpid()}-{file.name}")
    with suppress(OSError):  # a cache that cannot be written: the next process compiles anew
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(plan))
        aside.write_text(f"{sha256(text.encode()).hexdigest()}\n{text}", "utf-8")
        aside.replace(file)


def _start(model: Any) -> Any:
    """Function of a seed: initial values by name of the unconstrained parameters."""
    from pymc.initial_point import make_initial_point_fn

    return make_initial_point_fn(
        model=model,
        default_strategy="support_point",
        jitter_rvs=set(model.free_RVs),
        return_transformed=True,
    )


def _planned(model: Any, start: Any) -> _Plan:
    """Plan of a model's log density with gradient, compiled, and checked at the start."""
    values = [model.rvs_to_values[rv] for rv in model.free_RVs]
    initial = start(0)
    shapes = [[int(n) for n in np.shape(initial[value.name])] for value in values]
    point, outputs = _density(model, values, shapes)
    graph = _simplified(outputs)
    lengths = {length: value_of(length) for length in model.dim_lengths.values()}
    data = {var.name: var for var in model.data_vars if var in graph.variables}
    try:
        text = lowered(graph, point, list(data.values()), lengths)
        code = b64encode(_object(text)).decode()
    except Exception as problem:
        raise NotLoweredError(str(problem)) from problem
    names = [value.name for value in values]
    plan = _Plan(names, shapes, list(data), code, list(text.calls))
    at = np.concatenate([np.ravel(initial[name]).astype(float) for name in names])
    _check(plan, at, list(data.values()), point, outputs)
    return plan


def _check(plan: _Plan, at: np.ndarray, data: Sequence[Any], point: Any, outputs: Any) -> None:
    """Compare what was compiled with PyTensor's Python mode, once, at a point.

    Raises ``NotLoweredError`` where they differ: nutpie then compiles the model.
    """
    from pytensor import function

    reference = function([point], outputs, mode="FAST_COMPILE")
    try:
        value, gradient = reference(at)
    except NotImplementedError:  # PyTensor's Python mode adds at most 32 numbers
        log.info("not compared with PyTensor's Python mode, which cannot run this model")
        return
    except Exception:  # a parameter outside its range
        value, gradient = np.nan, np.full(plan.n_dim, np.nan)
    ours, slope = np.empty(1), np.empty(plan.n_dim)
    kept = [np.ascontiguousarray(var.get_value()) for var in data]
    user = np.array([array.ctypes.data for array in kept], np.uint64)
    density, number = _functions(plan)["density"], ctypes.POINTER(ctypes.c_double)
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_uint64, *[number] * 3, ctypes.c_void_p)
    pointers = [array.ctypes.data_as(number) for array in (at, slope, ours)]
    failed = kind(density.address)(plan.n_dim, *pointers, user.ctypes.data)
    expected, found = np.array([value, *gradient]), np.array([*ours, *slope])
    if failed:
        found[:] = np.nan
    if not np.isfinite(expected).all():
        expected[:] = np.nan
    if not np.allclose(found, expected, rtol=1e-6, atol=1e-6, equal_nan=True):
        raise NotLoweredError("a density that differs from PyTensor's")


def _density(model: Any, values: list[Any], shapes: list[list[int]]) -> tuple[Any, list[Any]]:
    """Unconstrained point, and log density and gradient as graphs of it."""
    import pytensor.tensor as pt
    from pytensor.graph import clone_replace, rewrite_graph

    rewrites = ["canonicalize", "stabilize"]
    if model.potentials:  # of labelled arrays, whose sums have no gradient
        rewrites.insert(0, "lower_xtensor")
    if not model.check_bounds:
        rewrites.append("local_remove_check_parameter")
    logp = rewrite_graph(model.logp(), include=rewrites)
    gradient = pt.concatenate(
        [
            pt.as_tensor(part, allow_xtensor_conversion=True).ravel()
            for part in pt.grad(logp, values)
        ]
    )
    places = _places(shapes)
    point = pt.TensorType("float64", shape=(places[-1].stop,))(name="_unconstrained_point")
    # one number by its place: PyTensor cannot merge [first:last] and [0] beyond place 127
    parts = {
        value: point[place.start if place.stop - place.start == 1 else place]
        .reshape(shape)
        .astype(value.dtype)
        for value, place, shape in zip(values, places, shapes, strict=True)
    }
    return point, clone_replace([logp, gradient], parts)


def _simplified(outputs: list[Any]) -> Any:
    """Graph of outputs after PyTensor's rewrites, nothing left that stands for another graph."""
    from pytensor.graph.fg import FunctionGraph

    graph = FunctionGraph(outputs=outputs, clone=True, copy_inputs=False)
    inline(graph)
    _simplifier().rewrite(graph)
    return graph


@cache
def _simplifier() -> Any:
    """PyTensor's rewrites, but for those that name what one of its backends does."""
    from pytensor.compile.mode import optdb
    from pytensor.graph.rewriting.db import RewriteDatabaseQuery

    out = ["fusion", "inplace", "BlasOpt", "py_only"]
    return optdb.query(RewriteDatabaseQuery(include=["fast_run"], exclude=out))


def _machine() -> Any:
    """This processor, as LLVM compiles for it: one for each use, which ends with it."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = _processor()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=name, features=features, opt=2, codemodel="jitdefault", jit=True
    )


def _object(text: Lowered) -> bytes:
    """Object file of functions written as text."""
    import llvmlite.binding as llvm

    machine = _machine()
    module = llvm.parse_assembly(text.text)
    module.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    builder.getModulePassManager().run(module, builder)
    made: bytes = machine.emit_object(module)
    return made


def _functions(plan: _Plan) -> dict[str, _Function]:
    """Functions of a plan's code in memory, by name."""
    import llvmlite.binding as llvm

    for name in plan.calls:
        llvm.add_symbol(name, address(name))
    loaded = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    loaded.add_object_file(llvm.ObjectFileRef.from_data(b64decode(plan.code)))
    loaded.finalize_object()
    return {
        name: _Function(loaded.get_function_address(name), loaded)
        for name in ("density", "expansion")
    }


def _sampler(plan: _Plan, functions: dict[str, _Function], start: Any, data: Sequence[Any]) -> Any:
    from nutpie import compile_pymc

    keys = {variable: f"data_{place}" for place, variable in enumerate(data)}
    values = {keys[var]: np.array(var.get_value(), order="C", copy=True) for var in data}
    for value in values.values():
        value.flags.writeable = False
    shapes = [tuple(shape) for shape in plan.shapes]
    return compile_pymc.CompiledPyMCModel(
        _n_dim=plan.n_dim,
        dims={},
        _coords={},
        _shapes=dict(zip(plan.names, shapes, strict=True)),
        compiled_logp_func=functions["density"],
        compiled_expand_func=functions["expansion"],
        initial_point_func=compile_pymc._rv_dict_to_flat_array_wrapper(
            compile_pymc._wrap_with_lock(start), names=plan.names, shapes=shapes
        ),
        shared_data=values,
        shared_var_keys=keys,
        user_data=compile_pymc.make_user_data(keys, values),
        n_expanded=plan.n_dim,
        shape_info=(plan.names, _places(shapes), shapes),
        logp_func=None,
        expand_func=None,
    )


def _pymc(
    model: Any, sampling: Sampling, cores: int | None, progress: bool, name: str
) -> tuple[xr.Dataset, xr.Dataset, dict[str, float]]:
    import pymc as pm

    start = perf_counter()
    with waiting("compiling and sampling", name):
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
    found = tree["posterior"].to_dataset(), tree["sample_stats"].to_dataset()
    return *found, {"compile": 0.0, "sample": perf_counter() - start}

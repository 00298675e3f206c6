"""Draws from a PyMC model, compiled once per structure: the same graph with other data is re-used.

Compiling takes 10 to 60 s where the compile cache does not know the model, 1 to 3 s where it does
(``compiled_model``), sampling well under one. Two models that differ only in the values of their
data variables and in the labels of their dimensions share a compiled one; the labels are attached
afterwards. What "the same graph" means is decided by walking it (``structure``), so a model that
bakes a value into its graph is compiled anew and never answered with another's.

nutpie's compiled model with functions that the next process reads from the compile cache.

nutpie wraps the log density and the expansion of a draw in two C functions that close over arrays
under random names, so numba compiles them, with all that they call, in every process. The wrappers
here are source text without such globals: they find the data behind the pointer that the sampler
hands on, in the order in which nutpie lays it out, and are kept under the key of the function that
they call. The arithmetic is that function's, and so are the draws, to the bit.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from time import perf_counter
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.inference.sampling import Sampling

_HEAD = """
def {name}({arguments}, user_):
    if {refused}:
        return -1
    try:
        x = carray(x_, ({n_dim},))
        out = carray(out_, ({n_out},))
        user = carray(user_, ({words},), uint64)
        {call}
    except Exception:
        return {failed}
    return 0
"""

_DENSITY = """logp = carray(logp_, ())
        value, gradient = inner(x{data})
        logp[()] = value
        out[...] = gradient
        if not np.all(np.isfinite(out)):
            return 3
        if not np.isfinite(value):
            return 4"""

_EXPANSION = """(values,) = inner(x{data})
        out[...] = values"""


def compiled_model(model: Any) -> Any:
    """Compile a PyMC model for nutpie's sampler, as ``nutpie.compile_pymc_model`` does.

    A model with an operation that PyTensor cannot keep is compiled anew in each process.
    """
    from nutpie import compile_pymc
    from pymc.initial_point import make_initial_point_fn

    start = make_initial_point_fn(
        model=model,
        default_strategy="support_point",
        jitter_rvs=set(model.free_RVs),
        return_transformed=True,
    )
    n_dim, n_expanded, density, expand, initial, shapes, transformed = compile_pymc._make_functions(
        model,
        mode="NUMBA",
        compute_grad=True,
        join_expanded=True,
        pymc_initial_point_fn=compile_pymc._wrap_with_lock(start),
    )
    shared = list(dict.fromkeys([*density.get_shared(), *expand.get_shared()]))
    keys = {variable: f"data_{place}" for place, variable in enumerate(shared)}
    values = {keys[var]: np.array(var.get_value(), order="C", copy=True) for var in shared}
    for value in values.values():
        value.flags.writeable = False
    dims, coords = compile_pymc._prepare_dims_and_coords(model, shapes, transformed)
    layout = _Layout(shared)
    return compile_pymc.CompiledPyMCModel(
        _n_dim=n_dim,
        dims=dims,
        _coords=coords,
        _shapes={name: tuple(shape) for name, _, shape in zip(*shapes, strict=True)},
        compiled_logp_func=layout.density(density, n_dim),
        compiled_expand_func=layout.expansion(expand, n_dim, n_expanded),
        initial_point_func=initial,
        shared_data=values,
        shared_var_keys=keys,
        user_data=compile_pymc.make_user_data(keys, values),
        n_expanded=n_expanded,
        shape_info=shapes,
        logp_func=density,
        expand_func=expand,
        reparameterized_names=transformed,
    )


PACKAGE = __name__.partition(".")[0]

log = logging.getLogger(__name__)


class _Layout:
    """Where nutpie's record keeps each array: all addresses, then all sizes, then all shapes."""

    def __init__(self, shared: list[Any]) -> None:
        self.places: dict[Any, tuple[int, tuple[int, ...]]] = {}
        self.words = 2 * len(shared)
        for place, variable in enumerate(shared):
            ndim = variable.get_value(borrow=True).ndim
            self.places[variable] = place, tuple(range(self.words, self.words + ndim))
            self.words += ndim

    def density(self, function: Any, n_dim: int) -> Any:
        """C function of the log density and its gradient."""
        from numba import types

        number = types.CPointer(types.double)
        text = _HEAD.format(
            name="density", arguments="dim, x_, out_, logp_", refused=f"dim != {n_dim}",
            n_dim=n_dim, n_out=n_dim, words=self.words, failed=1,
            call=_DENSITY.format(data=self._arrays(function)),
        )  # fmt: skip
        signature = types.int64(types.uint64, number, number, number, types.voidptr)
        return self._compiled("density", text, signature, function)

    def expansion(self, function: Any, n_dim: int, n_expanded: int) -> Any:
        """C function from an unconstrained point to all variables that are kept."""
        from numba import types

        number = types.CPointer(types.double)
        text = _HEAD.format(
            name="expansion", arguments="dim, expanded, x_, out_",
            refused=f"dim != {n_dim} or expanded != {n_expanded}",
            n_dim=n_dim, n_out=n_expanded, words=self.words, failed=-2,
            call=_EXPANSION.format(data=self._arrays(function)),
        )  # fmt: skip
        signature = types.int64(types.uint64, types.uint64, number, number, types.voidptr)
        return self._compiled("expansion", text, signature, function)

    def _arrays(self, function: Any) -> str:
        text = ""
        for variable in function.get_shared():
            place, shape = self.places[variable]
            lengths = "".join(f"int64(user[{word}]), " for word in shape)
            kind = variable.get_value(borrow=True).dtype.name
            text += f", carray(pointer(user[{place}]), ({lengths}), {kind})"
        return text

    @staticmethod
    def _compiled(name: str, text: str, signature: Any, function: Any) -> Any:
        import numba
        import pytensor
        from nutpie.compile_pymc import address_as_void_pointer
        from pytensor.link.numba.cache import CACHED_SRC_FUNCTIONS, compile_numba_function_src

        inner = function.vm.jit_fn
        known = CACHED_SRC_FUNCTIONS.get(inner.py_func)
        kinds = ("float64", "float32", "int64", "int32", "int16", "int8", "uint64", "bool_")
        names = {
            # the cache imports this module to read an entry: one that no later version moves
            "__name__": PACKAGE, "inner": inner, "np": np, "carray": numba.carray,
            "pointer": address_as_void_pointer,
            **{kind: getattr(np, kind) for kind in kinds}, "bool": np.bool_,
        }  # fmt: skip
        key = (
            known
            and f"{PACKAGE} {known} {text} {signature} {pytensor.__version__} {numba.__version__}"
        )
        key = key and sha256(key.encode()).hexdigest()
        wrapper = compile_numba_function_src(text, name, names, cache_key=key)
        try:
            return numba.cfunc(signature, cache=key is not None)(wrapper)
        except Exception:  # an entry that cannot be read is not trusted: compiled anew
            log.warning("the compile cache of this model cannot be read: compiled anew")
            return numba.cfunc(signature)(wrapper)


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

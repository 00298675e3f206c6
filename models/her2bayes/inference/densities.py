"""Prior draws, predictive draws and log densities of a model, from its own graph, in one batch.

The points enter the graph as one batch ("sample" is one more dimension of every variable), so that
each function is evaluated once and not once per draw, and the graph runs in PyTensor's Python mode,
which needs no compilation: a quarter of a second in place of ten, and none for the next model of
the same structure.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.inference.structure import Shared, inline, shared, value_of

_PRIOR_DRAWS = 2000
_REPLICATES = 1000
_CELLS_AT_ONCE = 20_000_000  # bounds memory at a few hundred MB for tables with very many cells


def prior_draws(model: Any, seed: int) -> tuple[xr.Dataset, xr.Dataset]:
    """Draw parameters and data from the prior: two datasets with dims ``chain`` (1), ``draw``."""
    batch = shared(model).once("prior", _prior)
    if batch is None:
        return _prior_one_by_one(model, seed)
    values = batch.at({"zero": np.zeros(_PRIOR_DRAWS)}, _step(model, _PRIOR_DRAWS), seed)
    draws = xr.Dataset(coords={"chain": [0], "draw": np.arange(_PRIOR_DRAWS)})
    data, parameters = _split(model, _labelled(model, batch, values, draws))
    return parameters, data


def constrained(model: Any, points: Mapping[str, np.ndarray], draws: xr.Dataset) -> xr.Dataset:
    """Parameters on their own scale and what derives from them, at unconstrained ``points``.

    ``points`` holds an array by the name of a value variable, the draw first; ``draws`` the
    coordinates ``chain`` and ``draw`` of the result.
    """
    batch = shared(model).once("constrained", _constrained)
    first = next(iter(points.values()))
    size = max(array[0].size for array in points.values())
    return _labelled(model, batch, batch.at(points, _step(model, len(first), size)), draws)


def derived(model: Any, posterior: xr.Dataset) -> xr.Dataset:
    """Compute what derives from the parameters at every draw of them."""
    return _at(model, "derived", _derived, posterior) if model.deterministics else xr.Dataset()


def log_densities(model: Any, posterior: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Compute log likelihood by observation and log prior by parameter for every draw.

    The log prior is on the natural scale of each parameter, without Jacobian terms, as
    ``pymc.stats.compute_log_prior`` gives it. A Potential is not a density of data: it is left out.
    """
    return _split(model, _at(model, "densities", _log_densities, posterior))


def posterior_predictive(model: Any, posterior: xr.Dataset, seed: int) -> xr.Dataset:
    """Draw one replicate of the observed data for every posterior draw."""
    if not model.observed_RVs:
        return xr.Dataset()
    return _at(model, "predictive", _predictive, posterior, seed)


def _at(
    model: Any,
    what: str,
    make: Callable[[Shared], Batch],
    posterior: xr.Dataset,
    seed: int | None = None,
) -> xr.Dataset:
    batch = shared(model).once(what, make)
    draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    size = max((array.size // draws for array in posterior.values()), default=1)
    points = {name: _flat(posterior[name]) for name in batch.inputs}
    values = batch.at(points, _step(model, draws, size), seed)
    return _labelled(model, batch, values, posterior)


def _split(model: Any, found: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """What is of the data, and all else."""
    data = [rv.name for rv in model.observed_RVs]
    return found[data], found.drop_vars(data)


def replicates(model: Any, posterior: xr.Dataset, seed: int) -> xr.Dataset:
    """Draw many replicates of the observed data at one draw of the posterior, the last one.

    Dims ``chain`` (1), ``draw`` (the replicate). If the model holds, one draw of the posterior and
    the data have the joint distribution of the parameters and the data, so that a tail probability
    at that draw is uniform (Johnson 2007, Bayesian Analysis 2:719), which one averaged over the
    posterior is not.
    """
    cells = sum(_size(model, rv) for rv in model.observed_RVs)
    number = int(np.clip(_CELLS_AT_ONCE // max(1, cells), 100, _REPLICATES))
    last = posterior.isel(chain=[-1], draw=np.full(number, -1))
    return posterior_predictive(model, last.assign_coords(draw=np.arange(number)), seed)


def observed_data(model: Any) -> xr.Dataset:
    """Return the data the likelihood was evaluated at, labelled."""
    arrays = {}
    for rv in model.observed_RVs:
        value = np.array(value_of(model.rvs_to_values[rv]))
        dims = model.named_vars_to_dims.get(rv.name) or _unnamed(rv.name, value.ndim)
        arrays[rv.name] = xr.DataArray(value, dims=dims, coords=_coords(model, dims))
    return xr.Dataset(arrays)


@dataclass(frozen=True)
class Batch:
    """A graph compiled for many points at once.

    ``inputs`` are the types by name, in the order of ``function``; ``outputs`` those of one point;
    ``batched`` tells which of them lead with the points: the others are the same at all.
    """

    function: Callable[..., list[np.ndarray]]
    generators: tuple[Any, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, Any]
    batched: tuple[bool, ...]

    def at(
        self, points: Mapping[str, np.ndarray], step: int, seed: int | None = None
    ) -> list[np.ndarray]:
        """Evaluate at ``points`` (arrays by name, the point first), ``step`` of them at a time."""
        from pymc.pytensorf import reseed_rngs

        if self.generators:
            reseed_rngs(self.generators, seed)
        given = [points[name].astype(dtype) for name, dtype in self.inputs.items()]
        number = len(next(iter(points.values())))
        pieces = []
        for start in range(0, number, step):
            size = min(step, number - start)
            values = self.function(*(array[start : start + step] for array in given))
            pieces.append(
                [
                    value if batched else np.broadcast_to(value, (size, *np.shape(value)))
                    for value, batched in zip(values, self.batched, strict=True)
                ]
            )
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]


def _batch(names: Sequence[str], outputs: Sequence[Any], inputs: Mapping[Any, str]) -> Batch:
    """Compile ``outputs`` for batches of ``inputs`` (names by variable)."""
    from pymc.pytensorf import compile as compile_function
    from pytensor.graph.traversal import ancestors
    from pytensor.xtensor.vectorization import vectorize_graph

    batch = {variable: _batched(variable) for variable in inputs}
    plain = any(not hasattr(variable.type, "dims") for variable in inputs)
    # what no input reaches has the same value at all points and cannot be batched
    batched = [not batch.keys().isdisjoint(ancestors([output])) for output in outputs]
    graph = list(outputs)
    moving = [place for place, moves in enumerate(batched) if moves]
    dims = ("sample",) if plain else ()
    many = vectorize_graph([graph[place] for place in moving], batch, new_tensor_dims=dims)
    for place, output in zip(moving, many, strict=True):
        graph[place] = output
    function, updates = compile_function(
        list(batch.values()),
        graph,
        mode="FAST_COMPILE",
        random_seed=False,
        on_unused_input="ignore",
        return_updates=True,
    )
    return Batch(
        function,
        tuple(updates),
        {name: variable.type.dtype for variable, name in inputs.items()},
        dict(zip(names, outputs, strict=True)),
        tuple(batched),
    )


def _log_densities(known: Shared) -> Batch:
    from pymc.model.transform.conditioning import remove_value_transforms

    plain = known.copy(remove_value_transforms(known.model))
    variables = [*plain.observed_RVs, *plain.free_RVs]
    inputs = {plain.rvs_to_values[rv]: rv.name for rv in plain.free_RVs}
    logp = _inlined(plain.logp(vars=variables, sum=False))
    return _batch(_names(variables), logp, inputs)


def _inlined(outputs: list[Any]) -> list[Any]:
    """Outputs without operations that stand for a graph: a batch runs those point by point."""
    from pytensor.graph.fg import FunctionGraph

    graph = FunctionGraph(outputs=outputs, clone=True, copy_inputs=False)
    inline(graph)
    return list(graph.outputs)


def _constrained(known: Shared) -> Batch:
    model = known.model
    variables = [*model.free_RVs, *model.deterministics]
    values = [model.rvs_to_values[rv] for rv in model.free_RVs]
    outputs = _plain(model.replace_rvs_by_values(variables), values)
    return _batch(_names(variables), outputs, {value: value.name for value in values})


def _derived(known: Shared) -> Batch:
    return _of_parameters(known.model, list(known.model.deterministics))


def _predictive(known: Shared) -> Batch:
    return _of_parameters(known.model, list(known.model.observed_RVs))


def _of_parameters(model: Any, variables: list[Any]) -> Batch:
    inputs = {rv: rv.name for rv in model.free_RVs}
    return _batch(_names(variables), _plain(variables, list(inputs)), inputs)


def _names(variables: Sequence[Any]) -> list[str]:
    return [str(variable.name) for variable in variables]


def _prior(known: Shared) -> Batch | None:
    """All variables of a model, drawn in a batch: each distribution's first parameter plus zeros.

    None where a distribution is drawn by a loop, which knows no batch: it would give all draws the
    same value.
    """
    import pytensor.tensor as pt
    from pytensor.graph.traversal import ancestors
    from pytensor.scan.op import Scan

    zero = pt.dscalar("zero")
    drawn = list(known.model.basic_RVs)
    outputs = [*drawn, *known.model.deterministics]
    graph = _apart(_inlined(outputs))
    if any(v.owner and isinstance(v.owner.op, Scan) for v in ancestors(graph)):
        return None
    batch = _batch(_names(outputs), _with_batch(_plain(graph, [zero]), zero), {zero: "zero"})
    return batch if all(batch.batched[: len(drawn)]) else None


def _apart(outputs: list[Any]) -> list[Any]:
    """Outputs in whose graph every random variable has a generator of its own.

    The graph of a truncated distribution draws a second time for the shape alone, with the same.
    """
    import pytensor.tensor as pt
    from pytensor.graph.fg import FunctionGraph
    from pytensor.tensor.random.op import RandomVariable

    graph, used = FunctionGraph(outputs=outputs, clone=True, copy_inputs=False), set[Any]()
    for node in graph.toposort():
        if isinstance(node.op, RandomVariable):
            rng = node.op.rng_param(node)
            if rng in used:
                place = node.inputs.index(rng)
                fresh = pt.random.shared_rng(seed=None)
                graph.change_node_input(node, place, fresh, import_missing=True)
            used.add(rng)
    return list(graph.outputs)


def _prior_one_by_one(model: Any, seed: int) -> tuple[xr.Dataset, xr.Dataset]:
    import pymc as pm

    with warnings.catch_warnings():
        # a Potential here is a likelihood, hence no part of the prior
        warnings.filterwarnings("ignore", "The effect of Potentials")
        tree = pm.sample_prior_predictive(
            _PRIOR_DRAWS,
            model=model,
            random_seed=seed,
            var_names=[v.name for v in [*model.basic_RVs, *model.deterministics]],
            compile_kwargs={"mode": "FAST_COMPILE"},
        )
    groups = [
        tree[name].to_dataset() if name in tree.children else xr.Dataset()
        for name in ("prior", "prior_predictive")
    ]
    return groups[0].drop_attrs(deep=True), groups[1].drop_attrs(deep=True)


def _with_batch(outputs: list[Any], zero: Any) -> list[Any]:
    """Add ``zero`` to a parameter of every distribution, so that a batch of it makes a batch."""
    from pytensor.graph.fg import FunctionGraph
    from pytensor.tensor.random.op import RandomVariable
    from pytensor.xtensor import as_xtensor
    from pytensor.xtensor.vectorization import XRV

    graph = FunctionGraph(outputs=outputs, clone=True, copy_inputs=False)
    for node in graph.toposort():
        if not isinstance(node.op, RandomVariable | XRV):
            continue
        first = node.op.dist_params(node)[0]
        place = node.inputs.index(first)
        nothing = as_xtensor(zero, dims=()) if isinstance(node.op, XRV) else zero
        more = first + nothing.astype(first.type.dtype)
        inputs = [*node.inputs[:place], more, *node.inputs[place + 1 :]]
        graph.replace_all(
            list(zip(node.outputs, node.op.make_node(*inputs).outputs, strict=True)),
            import_missing=True,
        )
    return list(graph.outputs)


def _plain(outputs: list[Any], known: list[Any]) -> list[Any]:
    """Rewrite the graph between ``known`` variables and ``outputs`` so that it can be batched.

    ``Deterministic`` is an identity without a vectorised form. A random variable of fixed size is
    extended only if its first parameter has the new dimension; without a size it always is.
    """
    from pytensor.graph.replace import graph_replace
    from pytensor.graph.traversal import ancestors

    while True:
        between = (v for v in ancestors(outputs, blockers=known) if v.owner and v not in known)
        found = next(((v, new) for v in between if (new := _batchable(v)) is not None), None)
        if found is None:
            return outputs
        outputs = graph_replace(outputs, dict([found]), strict=False)


def _batchable(variable: Any) -> Any:
    """Return what to put in place of a variable that cannot be batched, None where it can."""
    import pytensor.tensor as pt
    from pytensor.compile.ops import ViewOp
    from pytensor.tensor.random.op import RandomVariable
    from pytensor.tensor.type_other import NoneTypeT

    node, op = variable.owner, variable.owner.op
    if isinstance(op, ViewOp):
        return node.inputs[0]
    if not isinstance(op, RandomVariable) or variable is not node.outputs[1]:
        return None
    size = op.size_param(node)
    if isinstance(size.type, NoneTypeT):
        return None
    first, *others = op.dist_params(node)
    core = [first.shape[axis] for axis in range(first.ndim - op.ndims_params[0], first.ndim)]
    first = pt.broadcast_to(first, [*(size[i] for i in range(op.batch_ndim(node))), *core])
    return op.make_node(op.rng_param(node), None, first, *others).outputs[1]


def _step(model: Any, draws: int, size: int = 1) -> int:
    """Return how many draws to evaluate at once: all of them unless the table is very large."""
    observed = [_size(model, rv) for rv in model.observed_RVs]
    return int(np.clip(_CELLS_AT_ONCE // max(1, size, *observed), 1, draws))


def _size(model: Any, rv: Any) -> int:
    return int(np.size(value_of(model.rvs_to_values[rv])))


def _batched(variable: Any) -> Any:
    import pytensor.tensor as pt
    from pytensor.xtensor import xtensor

    kind = variable.type
    shape = (None, *kind.shape)
    if hasattr(kind, "dims"):
        return xtensor(variable.name, dims=("sample", *kind.dims), shape=shape, dtype=kind.dtype)
    return pt.tensor(variable.name, shape=shape, dtype=kind.dtype)


def _flat(draws: xr.DataArray) -> np.ndarray:
    values = draws.transpose("chain", "draw", ...).values
    return values.reshape(-1, *values.shape[2:])


def _labelled(
    model: Any, batch: Batch, values: Sequence[np.ndarray], draws: xr.Dataset
) -> xr.Dataset:
    found = zip(batch.outputs.items(), values, strict=True)
    return xr.Dataset(
        {name: _as_array(model, name, value, output, draws) for (name, output), value in found}
    )


def _as_array(
    model: Any, name: str, value: np.ndarray, output: Any, draws: xr.Dataset
) -> xr.DataArray:
    value = value.reshape(draws.sizes["chain"], draws.sizes["draw"], *value.shape[1:])
    known = getattr(output.type, "dims", None) or model.named_vars_to_dims.get(name) or ()
    extra = value.ndim - 2
    # a multivariate variable has one density per event, so its trailing dims are gone
    dims = tuple(known[:extra]) if len(known) >= extra else _unnamed(name, extra)
    coords = {dim: draws[dim] for dim in ("chain", "draw")} | _coords(model, dims)
    return xr.DataArray(value, dims=("chain", "draw", *dims), coords=coords)


def _unnamed(name: str, number: int) -> tuple[str, ...]:
    return tuple(f"{name}_dim_{axis}" for axis in range(number))


def _coords(model: Any, dims: Sequence[str]) -> dict[str, list[Any]]:
    return {dim: list(model.coords[dim]) for dim in dims if model.coords.get(dim) is not None}

"""Prior draws, predictive draws and log densities of a model, from its own graph, in one batch.

The posterior draws enter the graph as one batch ("sample" is one more dimension of every variable),
so that each function is evaluated once and not once per draw, and the graph runs in PyTensor's
Python mode, which needs no compilation: a quarter of a second in place of ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

_PRIOR_DRAWS = 2000
_REPLICATES = 1000
_CELLS_AT_ONCE = 20_000_000  # bounds memory at a few hundred MB for tables with very many cells


def prior_draws(model: Any, seed: int) -> tuple[xr.Dataset, xr.Dataset]:
    """Draw parameters and data from the prior: two datasets with dims ``chain`` (1), ``draw``."""
    import pymc as pm

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


def log_densities(model: Any, posterior: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Compute log likelihood by observation and log prior by parameter for every draw.

    The log prior is on the natural scale of each parameter, without Jacobian terms, as
    ``pymc.stats.compute_log_prior`` gives it. A Potential is not a density of data: it is left out.
    """
    from pymc.model.transform.conditioning import remove_value_transforms

    plain = remove_value_transforms(model)
    observed, free = list(plain.observed_RVs), list(plain.free_RVs)
    outputs = plain.logp(vars=[*observed, *free], sum=False)
    inputs = {plain.rvs_to_values[rv]: rv.name for rv in free}
    values = _evaluate(outputs, inputs, posterior, _step(model, posterior))
    arrays = [
        _as_array(model, rv.name, value, output, posterior)
        for rv, value, output in zip([*observed, *free], values, outputs, strict=True)
    ]
    likelihood = xr.Dataset({rv.name: a for rv, a in zip(observed, arrays, strict=False)})
    prior = xr.Dataset({rv.name: a for rv, a in zip(free, arrays[len(observed) :], strict=True)})
    return likelihood, prior


def posterior_predictive(model: Any, posterior: xr.Dataset, seed: int) -> xr.Dataset:
    """Draw one replicate of the observed data for every posterior draw."""
    observed = list(model.observed_RVs)
    if not observed:
        return xr.Dataset()
    inputs = {rv: rv.name for rv in model.free_RVs}
    values = _evaluate(
        _plain(observed, list(inputs)), inputs, posterior, _step(model, posterior), seed
    )
    return xr.Dataset(
        {
            rv.name: _as_array(model, rv.name, value, rv, posterior)
            for rv, value in zip(observed, values, strict=True)
        }
    )


def replicates(model: Any, posterior: xr.Dataset, seed: int) -> xr.Dataset:
    """Draw many replicates of the observed data at one draw of the posterior, the last one.

    Dims ``chain`` (1), ``draw`` (the replicate). If the model holds, one draw of the posterior and
    the data have the joint distribution of the parameters and the data, so that a tail probability
    at that draw is uniform (Johnson 2007, Bayesian Analysis 2:719), which one averaged over the
    posterior is not.
    """
    cells = sum(model.rvs_to_values[rv].eval().size for rv in model.observed_RVs)
    number = int(np.clip(_CELLS_AT_ONCE // max(1, cells), 100, _REPLICATES))
    last = posterior.isel(chain=[-1], draw=np.full(number, -1))
    return posterior_predictive(model, last.assign_coords(draw=np.arange(number)), seed)


def observed_data(model: Any) -> xr.Dataset:
    """Return the data the likelihood was evaluated at, labelled."""
    arrays = {}
    for rv in model.observed_RVs:
        value = np.asarray(model.rvs_to_values[rv].eval())
        dims = model.named_vars_to_dims.get(rv.name) or _unnamed(rv.name, value.ndim)
        arrays[rv.name] = xr.DataArray(value, dims=dims, coords=_coords(model, dims))
    return xr.Dataset(arrays)


def _evaluate(
    outputs: Sequence[Any],
    inputs: dict[Any, str],
    posterior: xr.Dataset,
    step: int,
    seed: int | None = None,
) -> list[np.ndarray]:
    """Evaluate ``outputs`` for every draw of ``inputs``; arrays lead with chain x draw."""
    from pymc.pytensorf import compile as compile_function
    from pytensor.xtensor.vectorization import vectorize_graph

    batch = {variable: _batched(variable) for variable in inputs}
    plain = any(not hasattr(variable.type, "dims") for variable in inputs)
    graph = vectorize_graph(list(outputs), batch, new_tensor_dims=("sample",) if plain else ())
    function = compile_function(
        list(batch.values()),
        graph,
        mode="FAST_COMPILE",
        random_seed=seed,
        on_unused_input="ignore",
    )
    flat = {
        variable: _flat(posterior[name], variable.type.dtype) for variable, name in inputs.items()
    }
    draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    pieces = []
    for start in range(0, draws, step):
        values = function(*(flat[variable][start : start + step] for variable in batch))
        size = min(step, draws - start)
        pieces.append(
            [
                # an output that depends on no parameter stays one value: the same for every draw
                value if new.ndim > old.ndim else np.broadcast_to(value, (size, *np.shape(value)))
                for value, new, old in zip(values, graph, outputs, strict=True)
            ]
        )
    return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]


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


def _step(model: Any, posterior: xr.Dataset) -> int:
    """Return how many draws to evaluate at once: all of them unless the table is very large."""
    observed = [model.rvs_to_values[rv].eval().size for rv in model.observed_RVs]
    draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    parameters = [array.size // draws for array in posterior.values()]
    return max(1, _CELLS_AT_ONCE // max(1, *observed, *parameters))


def _batched(variable: Any) -> Any:
    import pytensor.tensor as pt
    from pytensor.xtensor import xtensor

    kind = variable.type
    shape = (None, *kind.shape)
    if hasattr(kind, "dims"):
        return xtensor(variable.name, dims=("sample", *kind.dims), shape=shape, dtype=kind.dtype)
    return pt.tensor(variable.name, shape=shape, dtype=kind.dtype)


def _flat(draws: xr.DataArray, dtype: str) -> np.ndarray:
    values = draws.transpose("chain", "draw", ...).values
    return values.reshape(-1, *values.shape[2:]).astype(dtype)


def _as_array(
    model: Any, name: str, value: np.ndarray, output: Any, posterior: xr.Dataset
) -> xr.DataArray:
    value = value.reshape(posterior.sizes["chain"], posterior.sizes["draw"], *value.shape[1:])
    known = getattr(output.type, "dims", None) or model.named_vars_to_dims.get(name) or ()
    extra = value.ndim - 2
    # a multivariate variable has one density per event, so its trailing dims are gone
    dims = tuple(known[:extra]) if len(known) >= extra else _unnamed(name, extra)
    coords = {dim: posterior[dim] for dim in ("chain", "draw")} | _coords(model, dims)
    return xr.DataArray(value, dims=("chain", "draw", *dims), coords=coords)


def _unnamed(name: str, number: int) -> tuple[str, ...]:
    return tuple(f"{name}_dim_{axis}" for axis in range(number))


def _coords(model: Any, dims: Sequence[str]) -> dict[str, list[Any]]:
    return {dim: list(model.coords[dim]) for dim in dims if model.coords.get(dim) is not None}

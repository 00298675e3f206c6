"""Parts of a log hazard: baseline walk, group effects, interactions, drifts, frailties.

Every part is ``basis @ coefficient`` with independent coefficients of sd ``scale``. The basis fixes
what the part means; it is rotated along the information in the events, which changes no prior
(any orthonormal mixture of equal independent normals is the same) but leaves coefficients nearly
independent a posteriori.

``information`` is a coefficient's Fisher information. With stretch = sqrt(1 + information scale^2),

    free        ~ Normal(0, stretch)
    coefficient = free * scale / stretch

which is Normal(0, scale^2) for any stretch: the non-centred form where the data say little, the
centred one where they say much (partially non-centred forms: Papaspiliopoulos, Roberts & Skold
2007), so that ten patients and ten million are sampled equally well at any scale. A wrong
information costs sampling efficiency only.

``term`` makes a part a PyMC variable. Parameters of priors and bases are data variables, so that
models which differ in them alone share one compiled graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.bayes.prior import Prior
from her2bayes.errors import BadInput, Fault


@dataclass(frozen=True)
class Part:
    """One part: ``basis`` has dims (cell dims..., coefficient); ``prior`` names its prior.

    ``name`` is that of its term, ``scale`` that of its scale or, where the scale is not
    ``learned``, of its coefficients, whose prior is then shrunk by ``factor``.
    """

    name: str
    prior: str
    scale: str
    basis: xr.DataArray
    learned: bool = True
    factor: float = 1.0
    information: np.ndarray = field(default_factory=lambda: np.zeros(0))


def parts(
    cells: xr.Dataset,
    *,
    baseline: str = "walk",
    walk_order: int = 1,
    nonproportional: Sequence[str] = (),
    interactions: Sequence[Sequence[str]] = (),
    frailty: Sequence[str] = (),
    pooling: str = "partial",
) -> list[Part]:
    """List the parts of the log hazard of SurvivalCells, in the order of the model's docstring.

    Every dim and nesting coordinate of the cells except ``interval`` and ``cause`` is a factor;
    ``frailty`` factors are exchangeable groups (centres, studies) instead. ``nonproportional``
    factors have effects that walk over time. Raises ``BadInput`` for names that do not exist.
    """
    paired = [name for pair in interactions for name in pair]
    _check(cells, baseline, walk_order, pooling, [*nonproportional, *frailty, *paired])
    total = cells["events"].sum("cause") if "cause" in cells["events"].dims else cells["events"]
    events = expected(total, cells["person_months"])
    walk = walk_basis(cells, events, walk_order)
    has_walk = baseline == "walk" and walk.sizes["coefficient"] > 0
    found = [_part("baseline", "smoothing", walk, events)] if has_walk else []
    fixed = [name for name in factors(cells) if name not in frailty]
    for name in fixed:
        found += _effect(cells, name, events, pooling)
    for first, second in interactions:
        both = _product(contrast(cells, first), contrast(cells, second))
        found.append(_part(f"{first}_{second}", "interaction", both, events))
    for name in nonproportional if walk.sizes["coefficient"] else ():
        drift = _product(contrast(cells, name) * _pair_scale(cells, name), walk)
        found.append(_part(f"{name}_drift", "drift", drift, events))
    for name in frailty:
        size = cells.sizes[name]
        identity = xr.DataArray(np.eye(size), dims=(name, "coefficient"))
        found.append(_part(name, "frailty", identity, events))
    return found


def factors(cells: xr.Dataset) -> list[str]:
    """Names of the factors, parents before what is nested in them."""
    dims = [str(dim) for dim in cells["person_months"].dims if dim != "interval"]
    return [name for dim in dims for name in (*_parents_of(cells, dim), dim)]


def _parents_of(cells: xr.Dataset, dim: str) -> list[str]:
    return [str(n) for n, c in cells.coords.items() if c.dims == (dim,) and n != dim]


def levels(cells: xr.Dataset, name: str) -> list[str]:
    """Levels of a factor in their order (of first appearance for a parent)."""
    return list(dict.fromkeys(str(value) for value in cells[name].values))


def expected(events: xr.DataArray, months: xr.DataArray) -> xr.DataArray:
    """Events expected by cell: half those seen, half those under one hazard (never 0 in all)."""
    return 0.5 * (events + months * ((float(events.sum()) + 0.5) / float(months.sum())))


def informed(cells: xr.Dataset, parts: Sequence[Part]) -> list[Part]:
    """Set the information of each part: that of the events expected, cause by cause.

    Dims (coefficient), with a leading ``cause`` where the cells have causes.
    """
    events = cells["events"].transpose(..., *cells["person_months"].dims)
    by_cause = list(events) if "cause" in events.dims else [events]
    weights = [expected(one, cells["person_months"]) for one in by_cause]
    found = []
    for part in parts:
        square = (part.basis * part.factor) ** 2
        dims = [dim for dim in part.basis.dims if dim != "coefficient"]
        known = [
            (square * weight.sum([d for d in weight.dims if d not in dims])).sum(dims).to_numpy()
            for weight in weights
        ]
        found.append(
            replace(part, information=np.stack(known) if "cause" in events.dims else known[0])
        )
    return found


def event_weights(cells: xr.Dataset) -> xr.DataArray:
    """Weight of each interval in the walk's average: share of the events, or ``baseline_weight``.

    Without events it is the share of the person-months. ``baseline_weight`` (interval), where the
    cells hold it, keeps the prior from looking at the data.
    """
    if "baseline_weight" in cells:
        return cells["baseline_weight"]
    source = cells["events"] if int(cells["events"].sum()) else cells["person_months"]
    weight = source.sum([dim for dim in source.dims if dim != "interval"])
    return weight / float(weight.sum())


def walk_basis(cells: xr.Dataset, events: xr.DataArray, order: int = 1) -> xr.DataArray:
    """Walk over the intervals with unit scale, its average over the events being zero.

    First order: increments N(0, delta_j / t_max), delta_j the distance of interval midpoints, so
    that the sd gained over the whole follow-up is 1 whatever the number of intervals. Second
    order: the slope walks, scaled to the same average variance (Sorbye & Rue 2014); its straight
    line is a coefficient like the others.
    """
    start, end = cells["interval_start"].values, cells["interval_end"].values
    middle = (start + end) / 2
    step = np.sqrt(np.diff(middle) / end[-1])
    basis = np.concatenate([np.zeros((1, len(step))), np.tril(np.ones((len(step),) * 2)) * step])
    weight = event_weights(cells).values
    basis = basis - weight @ basis
    if order == 2:
        basis = _second_order(basis, middle, end[-1], weight)
    return xr.DataArray(basis, dims=("interval", "coefficient"))


def _second_order(
    first: np.ndarray, middle: np.ndarray, last: float, weight: np.ndarray
) -> np.ndarray:
    """Integrated walk of slopes on an irregular grid, with the average variance of the first."""
    gap = np.diff(middle) / last
    slopes = np.sqrt(np.concatenate([[1.0], gap[:-1]]))  # the first slope is free, the others walk
    slope = np.tril(np.ones((len(gap),) * 2)) * slopes
    basis = np.concatenate([np.zeros((1, len(gap))), np.cumsum(gap[:, None] * slope, axis=0)])
    basis = basis - weight @ basis
    variance = weight @ np.square(basis).sum(axis=1)
    return basis * np.sqrt((weight @ np.square(first).sum(axis=1)) / max(variance, 1e-300))


def contrast(cells: xr.Dataset, name: str) -> xr.DataArray:
    """Zero-sum contrasts of a factor's levels, spread over its dim; sd of a level effect ~ scale.

    Two levels have the one contrast -1/2, 1/2, whose coefficient is the log hazard ratio of the
    second against the first. Levels nested in a parent sum to zero within each of its levels.
    """
    dim = str(cells[name].dims[0])
    known = levels(cells, name)
    if dim != name:  # a parent: its contrasts, seen from the dim of its child
        member = (cells[name].values[:, None] == np.asarray(known)[None, :]).astype(float)
        return xr.DataArray(member @ _zero_sum(len(known)), dims=(dim, "coefficient"))
    parents = _parents_of(cells, name)
    if not parents:
        return xr.DataArray(_zero_sum(len(known)), dims=(name, "coefficient"))
    blocks = []
    for parent in dict.fromkeys(cells[parents[-1]].values):
        inside = np.flatnonzero(cells[parents[-1]].values == parent)
        block = np.zeros((len(known), max(len(inside) - 1, 0)))
        block[inside] = _zero_sum(len(inside)) * (np.sqrt(2) if len(inside) == 2 else 1)
        blocks.append(block)
    return xr.DataArray(np.concatenate(blocks, axis=1), dims=(name, "coefficient"))


def _zero_sum(size: int) -> np.ndarray:
    if size == 2:
        return np.array([[-0.5], [0.5]])
    full = np.linalg.qr(np.column_stack([np.ones(size), np.eye(size)[:, : size - 1]]))[0]
    return full[:, 1:size]


def _effect(cells: xr.Dataset, name: str, events: xr.DataArray, pooling: str) -> list[Part]:
    """Effect of a factor: spread learned from three levels on, else a prior on the log ratio."""
    basis = contrast(cells, name)
    nested = name in cells.dims and bool(_parents_of(cells, name))
    count = basis.sizes["coefficient"]
    if count == 0:
        return []
    if pooling == "partial" and (count > 1 or nested):
        return [_part(name, "spread", basis, events)]
    # two levels differ by the coefficient, others by sqrt(2) of it
    factor = 1.0 if len(levels(cells, name)) == 2 else float(np.sqrt(0.5))
    return [_part(name, "log_hazard_ratio", basis, events, learned=False, factor=factor)]


def _pair_scale(cells: xr.Dataset, name: str) -> float:
    """Makes the log ratio of any two levels drift with the scale itself."""
    return 1.0 if len(levels(cells, name)) == 2 else float(np.sqrt(0.5))


def _product(first: xr.DataArray, second: xr.DataArray) -> xr.DataArray:
    if set(first.dims) & set(second.dims) - {"coefficient"}:
        shared = sorted(set(map(str, first.dims)) & set(map(str, second.dims)) - {"coefficient"})
        raise BadInput(
            Fault(
                "a factor cannot interact with one it is nested in",
                value=shared,
                remedy="the finer factor already holds that difference",
            )
        )
    both = first.rename(coefficient="a") * second.rename(coefficient="b")
    return both.stack(coefficient=("a", "b"), create_index=False)


def _part(
    name: str,
    prior: str,
    basis: xr.DataArray,
    events: xr.DataArray,
    learned: bool = True,
    factor: float = 1.0,
) -> Part:
    """Rotate the basis along the information of the events."""
    dims = [str(dim) for dim in basis.dims if dim != "coefficient"]
    weight = events.sum([dim for dim in events.dims if dim not in dims]).transpose(*dims)
    flat = basis.transpose(*dims, "coefficient").values.reshape(weight.size, -1)
    value, vector = np.linalg.eigh(flat.T @ (flat * weight.values.reshape(-1, 1)))
    if learned:
        sign = np.sign(vector[np.argmax(np.abs(vector), axis=0), np.arange(len(value))])
        flat = flat @ (vector * sign)
    rotated = xr.DataArray(flat.reshape(*weight.shape, -1), dims=(*dims, "coefficient"))
    scale = prior if name == "baseline" else f"{prior}_{name.removesuffix('_drift')}"
    return Part(name, prior, scale, rotated, learned, factor)


def _check(
    cells: xr.Dataset, baseline: str, order: int, pooling: str, named: Sequence[str]
) -> None:
    known = factors(cells)
    wrong: Mapping[str, tuple[Any, bool, str]] = {
        "baseline": (baseline, baseline in ("walk", "independent"), "walk, independent"),
        "walk_order": (order, order in (1, 2), "1, 2"),
        "pooling": (pooling, pooling in ("partial", "fixed"), "partial, fixed"),
    }
    faults = [
        Fault(f"option '{name}' of the survival model", value=value, allowed=allowed)
        for name, (value, good, allowed) in wrong.items()
        if not good
    ]
    faults += [
        Fault("the cells have no such factor", value=name, allowed=", ".join(known) or "none")
        for name in named
        if name not in known
    ]
    if faults:
        raise BadInput(faults)


def term(part: Part, priors: Mapping[str, Prior], lead: tuple[str, ...]) -> Any:
    """Term of one part: basis . coefficient, its scale learned where there is enough to learn."""
    import pymc.dims as pmd

    dim = f"{part.name}_coefficient"
    _add_dim(dim, part.basis.sizes["coefficient"])
    basis = pmd.Data(
        f"{part.name}_basis",
        part.basis.values * part.factor,
        dims=(*part.basis.dims[:-1], dim),
    )
    if part.learned:
        scale = variable(part.scale, priors, part.prior, dims=lead)
        information = pmd.Data(f"{part.name}_information", part.information, dims=(*lead, dim))
        stretch = pmd.math.sqrt(1 + information * scale**2)
        free = pmd.Normal(f"{part.name}_free", mu=0, sigma=stretch, dims=(*lead, dim))
        coefficient = free * scale / stretch
    else:
        coefficient = variable(part.scale, priors, part.prior, dims=(*lead, dim))
    term = (basis * coefficient).sum(dim)
    dims = (*lead, *part.basis.dims[:-1])
    return pmd.Deterministic(f"term_{part.name}", term.transpose(*dims))


def variable(
    name: str, priors: Mapping[str, Prior], key: str | None = None, dims: tuple[str, ...] = ()
) -> Any:
    """Random variable with the prior ``key``; its parameters are data, so a sweep compiles once."""
    import pymc.dims as pmd

    given = priors[key or name]
    parameters = {k: pmd.Data(f"{name}_{k}", float(v)) for k, v in given.parameters}  # type: ignore[arg-type]
    return getattr(pmd, given.distribution)(name, **parameters, dims=dims)


def _add_dim(dim: str, size: int) -> None:
    import pymc as pm

    pm.modelcontext(None).add_coord(dim, list(range(size)))

"""Survival of own patients and of patients elsewhere in one model: how far the latter count.

In cell (groups g, interval j) with d events in T person-months here, and those of each study s
elsewhere, the log hazard of the own patients has the terms of ``survival`` and

    log hazard_external[s,g,j] = log hazard[g,j] + offset_basis[g] . offset[s]
    offset[s,k]                = (fixed + learned tau) offset_free[s,k],  offset_free ~ Normal(0, 1)
    tau                        ~ HalfNormal(0.5)
    log L                      = own   * sum of d log hazard - T hazard               (here)
                               + power * sum of d log hazard_external - T hazard_external

The first offset is that of the level of the hazard, the others those of the factors' log hazard
ratios; the shape of the hazard over time is common. Four numbers make the choices:

    none 0, power prior a, full 1    power = a,  fixed = learned = 0
    commensurate                     power = 1,  learned = 1          (Hobbs et al. 2011)
    vague part of the robust prior   power = 1,  fixed = 1            (worth one event)
    own = 0                          what a choice says before the own patients

They are data, so that one compiled model gives every choice. A Poisson likelihood to the power a
has the kernel of a Poisson with a d events in a T months; PyMC's Poisson cuts counts to whole ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.bayes.levels import number
from her2bayes.bayes.prior import Prior, prior
from her2bayes.survival.parts import (
    contrast,
    event_weights,
    factors,
    informed,
    levels,
    parts,
    term,
    variable,
)

DEFAULT_PRIORS = {
    "tau": prior(
        "HalfNormal",
        sigma=0.5,
        means="distance of the studies on the log hazard: median 0.34, 95 % below 0.98 (hazard "
        "ratio 2.7)",
    ),
}

LEAST = 1e-6  # share of the cells that chooses the parametrisation where no data count


def build(
    data: Mapping[str, xr.Dataset],
    priors: Mapping[str, Prior],
    *,
    own: float = 1.0,
    power: float = 0.0,
    fixed: float = 0.0,
    learned: float = 0.0,
    **options: Any,
) -> Any:
    """Model of SurvivalCells ``data["own"]`` and ``data["external"]`` (leading dim ``study``).

    ``priors`` are those of ``survival``, and ``tau``; ``options`` those of ``parts``.
    Raises ``BadInput``.
    """
    import pymc as pm
    import pymc.dims as pmd

    priors = {**DEFAULT_PRIORS, **priors}
    cells, external = data["own"], data["external"]
    groups = tuple(str(dim) for dim in cells["person_months"].dims)
    basis = offset_basis(cells)
    coords = {dim: cells[dim].values.tolist() for dim in groups}
    coords |= {"study": external["study"].values.tolist()}
    coords |= {"offset_of": basis["offset_of"].values.tolist()}
    with pm.Model(coords=coords) as model:
        log_hazard = variable("reference_log_hazard", priors)
        found = parts(pooled(cells, external), **options)
        for part in informed(pooled(cells, external, max(own, LEAST), power), found):
            log_hazard = log_hazard + term(part, priors, ())
        tau = variable("tau", priors)
        free = pmd.Normal("offset_free", mu=0, sigma=1, dims=("study", "offset_of"))
        size = number("fixed", fixed) + number("learned", learned) * tau
        offset = pmd.Deterministic("offset", size * free)
        shift = pmd.Data("offset_basis", basis.values, dims=(*groups[:-1], "offset_of"))
        elsewhere = log_hazard + (shift * offset).sum("offset_of")
        _observe("own", cells, log_hazard, own)
        _observe("external", external, elsewhere, power)
    return model


def _observe(name: str, cells: xr.Dataset, log_hazard: Any, power: float) -> None:
    """Poisson likelihood of the events, to a power, without its constant."""
    import pymc as pm
    import pymc.dims as pmd

    dims = tuple(str(dim) for dim in cells["person_months"].dims)
    events = pmd.Data(f"{name}_event_counts", cells["events"].values.astype(float), dims=dims)
    months = pmd.Data(f"{name}_person_months", cells["person_months"].values, dims=dims)
    weight = number(f"{name}_weight", power)
    pm.CustomDist(
        f"{name}_events",
        (log_hazard + 0.0 * months).transpose(*dims).values,  # in every cell
        months.values,
        weight.values,
        logp=_log_likelihood,
        random=_replicate,
        observed=events.values,
        dims=dims,
    )


def _log_likelihood(events: Any, log_hazard: Any, months: Any, weight: Any) -> Any:
    import pytensor.tensor as pt

    return weight * (events * log_hazard - months * pt.exp(log_hazard))


def _replicate(log_hazard: Any, months: Any, weight: Any, rng: Any = None, size: Any = None) -> Any:
    """Events of a replicate; the power is no part of how events come about."""
    return rng.poisson(months * np.exp(log_hazard), size=size).astype(float)


def pooled(
    cells: xr.Dataset, external: xr.Dataset, own: float = 1.0, power: float = 1.0
) -> xr.Dataset:
    """Cells of all patients, each study times its weight; the baseline is averaged as for own ones.

    With the own patients' average the prior means the same whatever is borrowed.
    """
    totals = {
        name: (own * cells[name] + power * external[name].sum("study")).transpose(*cells[name].dims)
        for name in ("events", "person_months")
    }
    return cells.assign(totals).assign(baseline_weight=event_weights(cells))


def offset_basis(cells: xr.Dataset) -> xr.DataArray:
    """How an external study may differ: level, then the log hazard ratios of each factor.

    Dims (groups…, offset_of). Offsets of sd tau change the log ratio of any two levels by sd tau.
    """
    groups = [str(dim) for dim in cells["person_months"].dims if dim != "interval"]
    shape = tuple(cells.sizes[dim] for dim in groups)
    ones = xr.DataArray(np.ones(shape), dims=groups)
    columns, names = [ones], ["level"]
    for name in factors(cells):
        found = contrast(cells, name)
        scale = 1.0 if len(levels(cells, name)) == 2 else float(np.sqrt(0.5))
        for k in range(found.sizes["coefficient"]):
            columns.append(scale * found.isel(coefficient=k, drop=True) * ones)
            names.append(f"{name} {k + 1}")
    stacked = xr.concat([column.drop_vars(list(column.coords)) for column in columns], "offset_of")
    return stacked.assign_coords(offset_of=names).transpose(*groups, "offset_of")

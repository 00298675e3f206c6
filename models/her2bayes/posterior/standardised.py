"""Means over patients of a quantity by group, one group at a time, so that memory stays small.

Survival of a subgroup is the mean of S_i(t) over its patients, never S at their mean hazard. Each
*target* is a set of patients: its share of each group of the cells (summing to 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr
from xarray.ufuncs import log

from her2bayes.posterior.survival import log_hazard

Quantity = Callable[[xr.DataArray], xr.DataArray]


def standardised(
    draws: xr.Dataset,
    cells: xr.Dataset,
    targets: Mapping[str, xr.DataArray],
    quantities: Mapping[str, Quantity],
    without: Sequence[str] = (),
) -> dict[str, dict[str, xr.DataArray]]:
    """Draws of each quantity for each target: ``result[target][quantity]``.

    ``targets`` give shares over the groups of the cells; a quantity maps the log hazard of one
    group (chain, draw, interval) to draws. Quantities must be means over patients (survival, RMST,
    cumulative incidence), not medians: those follow from the survival curve (``crossing``).
    """
    dims = [str(dim) for dim in cells["rows"].dims]
    found: dict[str, dict[str, xr.DataArray]] = {name: {} for name in targets}
    for place in np.ndindex(*(cells.sizes[dim] for dim in dims)):
        where = {dim: cells[dim].values[k] for dim, k in zip(dims, place, strict=True)}
        weights = {
            name: float(share.sel({d: v for d, v in where.items() if d in share.dims}))
            for name, share in targets.items()
        }
        if not any(weights.values()):
            continue
        hazard = log_hazard(draws, cells, where, without)
        for quantity, function in quantities.items():
            value = function(hazard).drop_vars(dims, errors="ignore")
            for name, weight in weights.items():
                if weight:
                    known = found[name].get(quantity)
                    part = weight * value
                    found[name][quantity] = part if known is None else known + part
    return found


def crossing(survival: xr.DataArray, share: float = 0.5) -> xr.DataArray:
    """Months at which survival (dim ``time``, falling) has dropped by ``share``; infinite if never.

    Between the times given the cumulative hazard is taken as linear.
    """
    fallen = survival <= 1 - share
    first = fallen.argmax("time").clip(min=1)
    time = survival["time"]
    cumulative = -log(survival.clip(min=1e-300))
    before, after = cumulative.isel(time=first - 1), cumulative.isel(time=first)
    start, end = time.isel(time=first - 1), time.isel(time=first)
    needed = -np.log1p(-share)
    width = xr.where(after > before, after - before, 1.0)
    found = start + (end - start) * (needed - before) / width
    return found.where(fallen.any("time"), np.inf).drop_vars("time", errors="ignore")

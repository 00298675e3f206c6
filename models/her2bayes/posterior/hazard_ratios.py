"""Hazard ratios of a survival model as draws, from the terms of its log hazard."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr
from xarray.ufuncs import exp

from her2bayes.posterior.survival import TERM, hazard


def effect(draws: xr.Dataset, cells: xr.Dataset, factor: str) -> xr.DataArray:
    """Log hazard of each level of a factor (dim ``level``) up to a constant.

    Averaged over the events where it changes with time, and evenly over the levels of factors it
    interacts with. A nested level also carries the effect of the level it refines.
    """
    dim = str(cells[factor].dims[0])
    names = [str(v) for v in cells[factor].to_numpy()]
    found = [factor] + (parents(cells, dim) if dim == factor else [])
    terms = [draws[TERM + name] for name in found if TERM + name in draws]
    zero = xr.zeros_like(draws["reference_log_hazard"]).expand_dims({dim: len(names)}, axis=-1)
    total = sum(terms, start=zero)
    first = [names.index(name) for name in dict.fromkeys(names)]
    levels = total.isel({dim: first}).rename({dim: "level"})
    return levels.drop_vars("level", errors="ignore").assign_coords(
        level=list(dict.fromkeys(names))
    )


def parents(cells: xr.Dataset, dim: str) -> list[str]:
    """Factors that the factor of a dim is nested in."""
    return [str(name) for name, c in cells.coords.items() if c.dims == (dim,) and name != dim]


def ratio(draws: xr.Dataset, cells: xr.Dataset, factor: str, a: str, b: str) -> xr.DataArray:
    """Hazard ratio of level ``a`` against ``b``."""
    levels = effect(draws, cells, factor)
    return exp(levels.sel(level=a, drop=True) - levels.sel(level=b, drop=True))


def partners(draws: xr.Dataset, factor: str) -> dict[str, str]:
    """Factors a factor interacts with, and the term that says how."""
    found = {}
    for name, term in draws.data_vars.items():
        others = [str(d) for d in term.dims if d not in ("chain", "draw", "cause", factor)]
        if str(name).startswith(TERM) and factor in term.dims and others not in ([], ["interval"]):
            found[others[0]] = str(name)
    return found


def ratio_within(
    draws: xr.Dataset, cells: xr.Dataset, factor: str, a: str, b: str, other: str
) -> xr.DataArray:
    """Hazard ratio within each level of a factor it interacts with (dim ``other``)."""
    term = draws[partners(draws, factor)[other]]
    change = term.sel({factor: a}, drop=True) - term.sel({factor: b}, drop=True)
    levels = effect(draws, cells, factor)
    return exp(levels.sel(level=a, drop=True) - levels.sel(level=b, drop=True) + change)


def ratio_at(
    draws: xr.Dataset, cells: xr.Dataset, factor: str, a: str, b: str, times: Sequence[float]
) -> xr.DataArray:
    """Hazard ratio at given months (dim ``time``); constant where the factor has no drift."""
    levels = effect(draws, cells, factor)
    log_ratio = levels.sel(level=a, drop=True) - levels.sel(level=b, drop=True)
    drift = draws.get(f"{TERM}{factor}_drift")
    if drift is None:
        drift = xr.DataArray(0.0).expand_dims(interval=cells["interval"].to_numpy())
    else:
        drift = drift.sel({factor: a}, drop=True) - drift.sel({factor: b}, drop=True)
    edges = {n: ("interval", cells[n].to_numpy()) for n in ("interval_start", "interval_end")}
    return hazard((log_ratio + drift).assign_coords(edges), times)

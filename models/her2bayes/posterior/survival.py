"""Survival, hazards and their contrasts as draws: pure xarray on a piecewise-constant log hazard.

Every function takes ``log_hazard`` with a dim ``interval`` (coordinates ``interval_start`` and
``interval_end``, months) and returns draws with the other dims kept. With h_j the hazard and w_j(t)
the months spent in interval j by time t:

    H(t) = sum_j h_j w_j(t)        S(t) = exp(-H(t))        RMST(t*) = integral of S from 0 to t*
    F_k(t) = sum_j (h_jk / h_j) (S(start_j) - S(min(end_j, t)))     (cause k; h_j over causes)

Time runs from the start of the first interval, which is the first entry: with delayed entry S, F
and quantiles are conditional on no event by then, and RMST is the mean of min(T, t*) given that.
Beyond the last interval its hazard goes on: such values are extrapolations (``extrapolated``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from xarray.ufuncs import exp, expm1

from her2bayes.errors import BadInput, Fault

TERM = "term_"


def log_hazard(
    draws: xr.Dataset,
    cells: xr.Dataset,
    where: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
) -> xr.DataArray:
    """Log hazard per month: the sum of the model's terms, at the levels of ``where``.

    ``without`` leaves terms out: a frailty left out is that of the typical group (a conditional
    result); averaging survival over its levels gives the marginal one. Dims (chain, draw, groups…,
    interval).
    """
    start = "interval_log_hazard" if "interval_log_hazard" in draws else "reference_log_hazard"
    known = {str(dim) for dim in cells["events"].dims}
    chosen = {dim: level for dim, level in (where or {}).items() if dim in known}
    total = draws[start].sel({d: v for d, v in chosen.items() if d in draws[start].dims})
    for name in draws.data_vars:
        if str(name).startswith(TERM) and str(name).removeprefix(TERM) not in without:
            term = draws[name]
            total = total + term.sel({d: v for d, v in chosen.items() if d in term.dims})
    if "interval" not in total.dims:
        total = total.expand_dims(interval=cells["interval"].values, axis=-1)
    edges = {
        name: ("interval", cells[name].sel(interval=total["interval"]).values)
        for name in ("interval_start", "interval_end")
    }
    return total.assign_coords(edges)


def months_in(intervals: xr.DataArray, times: Sequence[float] | np.ndarray) -> xr.DataArray:
    """Months spent in each interval by each time, (time, interval); the last one has no end."""
    start, end = intervals["interval_start"].values, intervals["interval_end"].values.copy()
    end[-1] = np.inf
    at = np.asarray(times, float)[:, None]
    spent = np.clip(np.minimum(at, end) - start, 0.0, None)
    return xr.DataArray(
        spent,
        dims=("time", "interval"),
        coords={"time": at[:, 0], "interval": intervals["interval"]},
    )


def cumulative_hazard(
    log_hazard: xr.DataArray, times: Sequence[float] | np.ndarray
) -> xr.DataArray:
    """Cumulative hazard at months ``times`` (dim ``time``)."""
    return xr.dot(exp(log_hazard), months_in(log_hazard, times), dim="interval")


def survival(log_hazard: xr.DataArray, times: Sequence[float] | np.ndarray) -> xr.DataArray:
    """Probability of no event (of any cause) by months ``times``."""
    total = cumulative_hazard(log_hazard, times)
    return exp(-(total.sum("cause") if "cause" in total.dims else total))


def hazard(log_hazard: xr.DataArray, times: Sequence[float] | np.ndarray) -> xr.DataArray:
    """Events per patient-month at months ``times``; intervals are closed on the right."""
    end = log_hazard["interval_end"].values
    place = np.minimum(np.searchsorted(end, times, side="left"), len(end) - 1)
    found = exp(log_hazard).isel(interval=xr.DataArray(place, dims="time"))
    dropped = found.drop_vars(["interval", "interval_start", "interval_end"], errors="ignore")
    return dropped.assign_coords(time=np.asarray(times, float))


def cumulative_incidence(
    log_hazard: xr.DataArray, times: Sequence[float] | np.ndarray
) -> xr.DataArray:
    """Probability of an event of each cause (dim ``cause``) by months ``times``."""
    rate = exp(log_hazard)
    total = rate.sum("cause")
    spent = months_in(log_hazard, times)
    width = log_hazard["interval_end"] - log_hazard["interval_start"]
    before = (total * width).cumsum("interval") - total * width
    gone = exp(-before) * -expm1(-total * spent)
    return xr.dot(rate / total, gone, dim="interval")


def rmst(log_hazard: xr.DataArray, horizon: float) -> xr.DataArray:
    """Mean of the smaller of event time and ``horizon`` months, exact for a piecewise hazard.

    The months before the first interval count as lived, as under a Kaplan–Meier curve that starts
    at 1 there.
    """
    rate = exp(log_hazard)
    rate = rate.sum("cause") if "cause" in rate.dims else rate
    spent = months_in(log_hazard, [horizon]).isel(time=0, drop=True)
    in_interval = rate * spent
    before = in_interval.cumsum("interval") - in_interval
    # (1 - exp(-h w)) / h -> w as h -> 0
    area = xr.where(in_interval > 1e-12, -expm1(-in_interval) / rate, spent)
    return (exp(-before) * area).sum("interval") + float(log_hazard["interval_start"][0])


def quantile(log_hazard: xr.DataArray, share: float = 0.5) -> xr.DataArray:
    """Months by which ``share`` have had the event; infinite where that lies beyond the cells."""
    rate = exp(log_hazard)
    rate = rate.sum("cause") if "cause" in rate.dims else rate
    start, end = log_hazard["interval_start"], log_hazard["interval_end"]
    in_interval = rate * (end - start)
    after = in_interval.cumsum("interval")
    needed = -np.log1p(-share)
    reached = after >= needed
    first = reached.argmax("interval")
    at = first.rename("at")
    left = needed - (after - in_interval).isel(interval=at)
    time = start.isel(interval=at) + left / rate.isel(interval=at)
    names = ["interval", "interval_start", "interval_end"]
    return time.where(reached.any("interval"), np.inf).drop_vars(names, errors="ignore")


def not_reached(log_hazard: xr.DataArray, horizon: float, share: float = 0.5) -> xr.DataArray:
    """Whether fewer than ``share`` have had the event by ``horizon`` (1 or 0 in each draw)."""
    at = survival(log_hazard, [horizon]).isel(time=0, drop=True)
    return (at > 1 - share).astype(float)


def log_hazard_ratio(log_hazard: xr.DataArray, factor: str, a: str, b: str) -> xr.DataArray:
    """Log hazard of level ``a`` minus that of ``b``; keeps ``interval`` and other groups."""
    return log_hazard.sel({factor: a}, drop=True) - log_hazard.sel({factor: b}, drop=True)


def event_average(values: xr.DataArray, cells: xr.Dataset) -> xr.DataArray:
    """Average over the intervals, each weighted by its events (person-months without events)."""
    source = cells["events"] if int(cells["events"].sum()) else cells["person_months"]
    weight = source.sum([dim for dim in source.dims if dim != "interval"])
    return xr.dot(values, weight / float(weight.sum()), dim="interval")


def averaged(values: xr.DataArray, share: xr.DataArray) -> xr.DataArray:
    """Mean over patients of a value by group: sum of group values by their share of patients.

    ``share`` sums to 1 over the dims averaged away; of survival this is standardised survival,
    the mean of S_i(t), never the survival at the mean log hazard.
    """
    dims = [dim for dim in share.dims if dim in values.dims]
    return xr.dot(values, share, dim=dims)


def shares(cells: xr.Dataset, keep: Sequence[str] = (), common: bool = False) -> xr.DataArray:
    """Share of patients in each group of the dims not kept, within each level kept.

    ``common`` gives every level of the kept factors the mix of the whole cohort (standardised to
    it), otherwise each has its own (comparable with its Kaplan–Meier curve).
    """
    rows = cells["rows"].astype(float)
    if common:
        rows = rows.sum([dim for dim in keep if dim in rows.dims])
    others = [dim for dim in rows.dims if dim not in keep]
    return rows / rows.sum(others)


def ordered(values: Sequence[xr.DataArray]) -> xr.DataArray:
    """Whether the values fall strictly from first to last (1 or 0 in each draw)."""
    falls = [before > after for before, after in pairwise(values)]
    if not falls:
        raise BadInput(Fault("an ordering needs two values at least", value=len(values)))
    return xr.concat(falls, dim="pair").all("pair").astype(float)


def extrapolated(
    times: Sequence[float] | np.ndarray, cells: xr.Dataset, where: Mapping[str, str] | None = None
) -> np.ndarray:
    """Whether each time lies beyond the last time observed in the groups asked for."""
    last = cells["last_time"].sel(
        {d: v for d, v in (where or {}).items() if d in cells["rows"].dims}
    )
    return np.asarray(times, float) > float(last.max())

"""A piecewise-constant hazard over draws: survival, incidence, restricted mean, crossing times.

Every function takes ``log_hazard`` with a dim ``interval`` (coordinates ``interval_start`` and
``interval_end``, months) and returns draws with the other dims kept. With h_j the hazard and w_j(t)
the months spent in interval j by time t:

    H(t) = sum_j h_j w_j(t)        S(t) = exp(-H(t))        RMST(t*) = integral of S from 0 to t*
    F_k(t) = sum_j (h_jk / h_j) (S(start_j) - S(min(end_j, t)))     (cause k; h_j over causes)

Time runs from the start of the first interval. Beyond the last interval its hazard goes on: such
values are extrapolations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from xarray.ufuncs import exp, expm1, log

TERM = "term_"
OWN = "log_hazard"  # variable by which a model of the user's may give its log hazard as a whole


def log_hazard(
    draws: xr.Dataset,
    cells: xr.Dataset,
    where: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
) -> xr.DataArray:
    """Log hazard per month: the sum of the model's terms, at the levels of ``where``.

    A model that gives its log hazard as one variable ``log_hazard`` is read as it is.

    ``without`` leaves terms out: a frailty left out is that of the typical group (a conditional
    result); averaging survival over its levels gives the marginal one. Dims (chain, draw, groups…,
    interval).
    """
    names = (OWN, "interval_log_hazard", "reference_log_hazard")
    start = next(name for name in names if name in draws)
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


def ordered(values: Sequence[xr.DataArray]) -> xr.DataArray:
    """Whether the values fall strictly from first to last (1 or 0 in each draw)."""
    falls = [before > after for before, after in pairwise(values)]
    return xr.concat(falls, dim="pair").all("pair").astype(float)

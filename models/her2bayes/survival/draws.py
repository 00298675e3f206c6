"""Survival, hazards and their contrasts as draws: pure xarray on a piecewise-constant log hazard.

Every function takes ``log_hazard`` with a dim ``interval`` (coordinates ``interval_start`` and
``interval_end``, months) and returns draws with the other dims kept. With h_j the hazard and w_j(t)
the months spent in interval j by time t:

    H(t) = sum_j h_j w_j(t)        S(t) = exp(-H(t))        RMST(t*) = integral of S from 0 to t*
    F_k(t) = sum_j (h_jk / h_j) (S(start_j) - S(min(end_j, t)))     (cause k; h_j over causes)

Time runs from the start of the first interval, which is the first entry: with delayed entry S, F
and quantiles are conditional on no event by then, and RMST is the mean of min(T, t*) given that.
Beyond the last interval its hazard goes on: such values are extrapolations (``extrapolated``).

Hazard ratios of a survival model as draws, from the terms of its log hazard.

Means over patients of a quantity by group, one group at a time, so that memory stays small.

Survival of a subgroup is the mean of S_i(t) over its patients, never S at their mean hazard. Each
*target* is a set of patients: its share of each group of the cells (summing to 1).

Draws of one estimand of a survival model, from draws of the terms of its log hazard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from xarray.ufuncs import exp, expm1, log

from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Estimand

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


CURVE_POINTS = 241


def quantity(estimand: Estimand, draws: xr.Dataset, cells: xr.Dataset) -> xr.DataArray:
    """Hazard ratio, survival, RMST, median or a contrast of these, as dims (chain, draw).

    A median that is not reached within the cells is infinite. With delayed entry all but hazard
    ratios are conditional on no event by the first entry, where the cells begin.
    """
    contrast = estimand.contrast
    if estimand.kind == "hazard_ratio" and contrast is not None:
        return _ratio(estimand, draws, cells)
    months = float(estimand.time or 0.0)
    if contrast is None:
        factor, level = estimand.given[0] if estimand.given else ("", "")
        return _mean(estimand.kind, draws, cells, factor, level, months)
    kind = estimand.kind.partition("_")[0]
    a, b = (
        _mean(kind, draws, cells, contrast.factor, level, months)
        for level in (contrast.a, contrast.b)
    )
    return a / b if estimand.kind.endswith("ratio") else a - b


def _ratio(estimand: Estimand, draws: xr.Dataset, cells: xr.Dataset) -> xr.DataArray:
    contrast = estimand.contrast
    assert contrast is not None  # checked when the target was made
    names = (contrast.factor, contrast.a, contrast.b)
    for other, level in estimand.given:
        if other in partners(draws, contrast.factor):
            within = ratio_within(draws, cells, *names, other)
            return within.sel({other: level}, drop=True)
    if estimand.time is not None:
        return ratio_at(draws, cells, *names, [estimand.time]).isel(time=0, drop=True)
    return ratio(draws, cells, *names)


def _mean(
    kind: str, draws: xr.Dataset, cells: xr.Dataset, factor: str, level: str, months: float
) -> xr.DataArray:
    """Survival, restricted mean or median of the patients at a level, of all where empty."""
    rows = cells["rows"].astype(float)
    inside = rows.where(cells[factor].astype(str) == level, 0.0) if factor else rows
    share = inside / float(inside.sum())
    if kind == "median":
        first, last = float(cells["interval_start"][0]), float(cells["interval_end"][-1])
        grid = np.linspace(first, last, CURVE_POINTS)
        curve = {kind: lambda hazard: survival(hazard, grid)}
        return crossing(standardised(draws, cells, {"all": share}, curve)["all"][kind])
    if kind == "survival":
        at = np.array([months])
        functions = {kind: lambda hazard: survival(hazard, at).isel(time=0, drop=True)}
    else:
        functions = {kind: lambda hazard: rmst(hazard, months)}
    return standardised(draws, cells, {"all": share}, functions)["all"][kind]

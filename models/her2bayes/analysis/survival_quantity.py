"""Draws of one estimand of a survival model, from draws of the terms of its log hazard."""

from __future__ import annotations

import numpy as np
import xarray as xr

from her2bayes.estimand import Estimand
from her2bayes.posterior import hazard_ratios
from her2bayes.posterior import survival as post
from her2bayes.posterior.standardised import crossing, standardised

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
        if other in hazard_ratios.partners(draws, contrast.factor):
            within = hazard_ratios.ratio_within(draws, cells, *names, other)
            return within.sel({other: level}, drop=True)
    if estimand.time is not None:
        return hazard_ratios.ratio_at(draws, cells, *names, [estimand.time]).isel(time=0, drop=True)
    return hazard_ratios.ratio(draws, cells, *names)


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
        curve = {kind: lambda hazard: post.survival(hazard, grid)}
        return crossing(standardised(draws, cells, {"all": share}, curve)["all"][kind])
    if kind == "survival":
        at = np.array([months])
        functions = {kind: lambda hazard: post.survival(hazard, at).isel(time=0, drop=True)}
    else:
        functions = {kind: lambda hazard: post.rmst(hazard, months)}
    return standardised(draws, cells, {"all": share}, functions)["all"][kind]

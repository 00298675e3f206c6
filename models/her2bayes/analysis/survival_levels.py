"""Draws of survival curves and mean survival times by level of a factor, posterior and prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

from her2bayes.inference.fit import Fit
from her2bayes.posterior import survival as post
from her2bayes.posterior.standardised import Quantity, standardised

CURVE_POINTS = 121
NAMES = ("posterior", "prior")


@dataclass(frozen=True)
class Levels:
    """Draws by level of one factor (or of all patients, factor ""): ``draws[level][name]``.

    Names: ``survival`` (time on the grid of ``grid``), ``rmst``, ``incidence`` (cause, time);
    the first index is posterior or prior. ``last_time`` is the longest time of a level,
    ``first_time`` the start of the first interval in which one of its patients is observed.
    """

    factor: str
    levels: tuple[str, ...]
    grid: np.ndarray
    draws: Mapping[str, Mapping[str, Mapping[str, xr.DataArray]]]
    last_time: Mapping[str, float]
    first_time: Mapping[str, float]


def levels_of(
    fit: Fit,
    cells: xr.Dataset,
    factor: str,
    horizon: float,
    times: Sequence[float],
    frailty: Sequence[str] = (),
) -> Levels:
    """Survival and RMST of the patients at each level, on a grid that holds the landmarks."""
    last, first = float(cells["last_time"].max()), float(cells["interval_start"][0])
    grid = np.unique(np.concatenate([np.linspace(first, last, CURVE_POINTS), times, [horizon]]))
    targets = _targets(cells, factor)
    quantities: dict[str, Quantity] = {
        "survival": partial(post.survival, times=grid),
        "rmst": partial(post.rmst, horizon=horizon),
    }
    if "cause" in cells["events"].dims:
        quantities["incidence"] = partial(post.cumulative_incidence, times=grid)
    draws = {
        name: standardised(data, cells, targets, quantities)
        for name, data in zip(NAMES, (fit.posterior, fit.prior), strict=True)
    }
    return Levels(
        factor,
        tuple(targets),
        grid,
        draws,
        {name: float(cells["last_time"].where(share > 0).max()) for name, share in targets.items()},
        {name: _first(cells, share) for name, share in targets.items()},
    )


def _first(cells: xr.Dataset, share: xr.DataArray) -> float:
    spent = cells["person_months"].where(share > 0, 0.0)
    months = spent.sum([dim for dim in spent.dims if dim != "interval"])
    return float(cells["interval_start"][int((months > 0).argmax("interval"))])


def _targets(cells: xr.Dataset, factor: str) -> dict[str, xr.DataArray]:
    rows = cells["rows"].astype(float)
    if not factor:
        return {"all": rows / float(rows.sum())}
    targets = {}
    for level in dict.fromkeys(str(v) for v in cells[factor].to_numpy()):
        inside = rows.where(cells[factor].astype(str) == level, 0.0)
        if float(inside.sum()):
            targets[level] = inside / float(inside.sum())
    return targets

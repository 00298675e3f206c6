"""Comparisons of levels from draws: differences by pair, the largest of them, Cramer's V."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import xarray as xr


def pairs(draws: xr.DataArray, dim: str) -> list[tuple[str, str]]:
    """Return every pair of levels along ``dim``, in their order: the first against a later one."""
    return list(combinations(map(str, draws[dim].to_numpy()), 2))


def difference(draws: xr.DataArray, dim: str, a: str, b: str) -> xr.DataArray:
    """Return level ``a`` minus level ``b``."""
    return draws.sel({dim: a}, drop=True) - draws.sel({dim: b}, drop=True)


def largest_difference(share: xr.DataArray, dim: str) -> xr.DataArray:
    """Return the largest absolute difference of any category's share between any two levels.

    It cannot be zero, so that its posterior means something only beside its prior.
    """
    return (share.max(dim) - share.min(dim)).max("her2")


def cramers_v(share: xr.DataArray, patients: xr.DataArray, dim: str) -> xr.DataArray:
    """Return Cramer's V of the shares; levels along ``dim`` weigh as their ``patients``.

    V = sqrt(phi^2 / min(levels - 1, categories - 1)) with phi^2 = sum over levels and categories of
    weight * (share - average)^2 / average (Cramer 1946, ch. 21). It cannot be zero, so that its
    posterior means something only beside its prior. NaN for a single level.
    """
    size = min(share.sizes[dim], share.sizes["her2"]) - 1
    if size < 1:
        return share.isel({dim: 0, "her2": 0}, drop=True) * np.nan
    weight = xr.DataArray(
        patients.to_numpy() / patients.to_numpy().sum(), {dim: share[dim].to_numpy()}, dim
    )
    average = share.dot(weight, dim=dim)
    squared = (weight * (share - average) ** 2 / average).sum([dim, "her2"]) / size
    return squared**0.5

"""Shares of categories: those of several subgroups together, from draws, and the raw ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr


def combined(share: xr.DataArray, patients: xr.DataArray, of: Sequence[str]) -> xr.DataArray:
    """Return the shares among the patients of all subgroups that carry the same label.

    ``share`` (..., subgroup, her2) are draws, ``patients`` (subgroup) observed numbers, ``of`` one
    label a subgroup; the result has ``group`` in place of ``subgroup``. The mix of subgroups within
    a group is taken as observed. A group without patients weighs its subgroups equally.
    """
    labels = list(dict.fromkeys(of))
    member = np.array([[float(own == label) for own in of] for label in labels])
    weight = member * patients.to_numpy()
    empty = weight.sum(axis=1) == 0
    weight[empty] = member[empty]
    weight /= weight.sum(axis=1, keepdims=True)
    mix = xr.DataArray(
        weight,
        dims=("group", "subgroup"),
        coords={"group": labels, "subgroup": share["subgroup"].to_numpy()},
    )
    return share.dot(mix, dim="subgroup").transpose(..., "group", "her2")


def raw(counts: xr.DataArray) -> xr.DataArray:
    """Return observed shares of StatusCounts (subgroup, her2); NaN where there is no patient."""
    patients = counts.sum("her2")
    return (counts / patients.where(patients > 0)).rename("raw_share")

"""Shares of several subgroups together: weighted by patients, equal to the pooled counts."""

from __future__ import annotations

import numpy as np
import xarray as xr

from her2bayes.distribution.draws import combined

COUNTS = xr.DataArray(
    np.array([[8, 17, 9], [3, 11, 6], [12, 37, 17], [0, 0, 0]]),
    dims=("subgroup", "her2"),
    coords={"subgroup": ["breast", "node", "other side", "unseen"], "her2": ["z", "l", "p"]},
)


def test_shares_weighted_by_patients_are_those_of_the_summed_counts() -> None:
    patients = COUNTS.sum("her2")
    share = (COUNTS / patients.where(patients > 0)).fillna(1 / 3).expand_dims(chain=2, draw=5)
    found = combined(share, patients, ["LRR", "LRR", "CBC", "none"])
    assert found.dims == ("chain", "draw", "group", "her2")
    assert list(found["group"].values) == ["LRR", "CBC", "none"]
    np.testing.assert_allclose(found.sel(group="LRR")[0, 0], np.array([11, 28, 15]) / 54)
    np.testing.assert_allclose(found.sel(group="CBC")[1, 4], np.array([12, 37, 17]) / 66)
    np.testing.assert_allclose(found.sel(group="none")[0, 0], 1 / 3)
    np.testing.assert_allclose(found.sum("her2"), 1)

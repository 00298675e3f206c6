"""Replicated data beside the observed: one row a cell, tails that name what a model cannot make."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from her2bayes.posterior.predictive import predictive_table


def tree(observed: list[int]) -> xr.DataTree:
    rng = np.random.default_rng(1)
    coords = {"level": ["a", "b"]}
    dims = ("chain", "draw", "level")
    replicates = {
        group: xr.Dataset({"n": (dims, rng.poisson(10, size=(2, 2000, 2)))}, coords)
        for group in ("prior_predictive", "posterior_predictive")
    }
    seen = xr.Dataset({"n": ("level", observed)}, coords)
    return xr.DataTree.from_dict({**replicates, "observed_data": seen})


def test_one_row_a_cell_with_both_intervals_and_the_tail() -> None:
    table = predictive_table(tree([10, 30])).set_index("level")
    assert list(table["observed"]) == [10, 30]
    assert table.loc["a", "posterior_lower"] == 4
    assert table.loc["a", "prior_upper"] == 17
    assert table.loc["a", "tail"] > 0.4
    assert table.loc["b", "tail"] == 0


def test_no_observed_data_gives_an_empty_table() -> None:
    groups = ("prior_predictive", "posterior_predictive", "observed_data")
    assert predictive_table(xr.DataTree.from_dict(dict.fromkeys(groups, xr.Dataset()))).empty


def test_lower_tail() -> None:
    table = predictive_table(tree([4, 10]))
    # P(X <= 4) of a Poisson with mean 10: ppois(4, 10) = 0.0293 (R 4.2)
    assert table["tail"][0] == pytest.approx(0.0293, abs=0.008)

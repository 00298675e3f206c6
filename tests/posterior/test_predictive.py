"""Replicated data beside the observed: tails that name what a model cannot make."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from her2bayes.posterior.predictive import RARE, predictive_checks


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


def test_statistics_tell_a_planted_cell_from_a_fair_table() -> None:
    fair = predictive_checks(tree([10, 11])).set_index("statistic")
    assert (fair["posterior_tail"] > 0.2).all()
    assert fair.loc["total", "posterior_observed"] == 21
    planted = predictive_checks(tree([10, 40])).set_index("statistic")
    assert planted.loc["farthest cell", "cell"] == "b"
    assert planted.loc["farthest cell", "posterior_tail"] < RARE
    assert planted.loc["distance", "prior_tail"] < RARE
    # 2000 + 2000 replicates and the data as one more
    assert planted.loc["total", "posterior_tail"] == pytest.approx(1 / 4001)


def test_tail_of_the_distance_is_uniform_for_data_from_the_same_distribution() -> None:
    """400 tables of the replicates' own distribution: the farthest cell's tail is a P value."""
    rng = np.random.default_rng(3)
    tails = []
    for _ in range(400):
        checks = predictive_checks(tree(list(rng.poisson(10, 2)))).set_index("statistic")
        tails.append(checks.loc["distance", "posterior_tail"])
    # P(tail <= 0.1) is 0.1 up to ties; binomial standard error 0.015
    assert np.mean(np.array(tails) <= 0.1) == pytest.approx(0.1, abs=0.05)
    assert np.mean(np.array(tails) <= 0.5) == pytest.approx(0.5, abs=0.1)


def test_a_single_indicator_is_no_table() -> None:
    one = tree([10, 10]).isel(level=slice(0, 1))
    assert predictive_checks(one).empty
    assert predictive_checks(xr.DataTree.from_dict({"posterior": xr.Dataset()})).empty

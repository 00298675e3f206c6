"""Replicated cohorts of a known hazard."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from her2bayes.survival.comparison import predictive_curves

END = [2.0, 5.0, 9.0, 20.0]


def test_replicates_of_the_truth_look_like_the_data():
    """Patients drawn from a known hazard: their own curve lies inside the replicates."""
    rng = np.random.default_rng(8)
    number = 800
    time, last = rng.exponential(10, number), rng.uniform(4, 18, number)
    table = pd.DataFrame(
        {
            "entry": 0.0,
            "time": np.minimum(time, last),
            "event": (time <= last).astype(int),
            "g": pd.Categorical(["a"] * number),
            "patients": 1,
        }
    )
    log_rate = xr.DataArray(
        np.full((1, 200, 1, 4), np.log(0.1)),
        dims=("chain", "draw", "g", "interval"),
        coords={
            "g": ["a"],
            "interval": range(4),
            "interval_start": ("interval", [0.0, *END[:-1]]),
            "interval_end": ("interval", END),
        },
    )
    curves = predictive_curves(log_rate, table, "g", [2, 5, 10], seed=1, replicates=150)
    np.testing.assert_allclose(
        curves.mean("replicate").isel(g=0), np.exp(-0.1 * np.array([2, 5, 10])), atol=0.01
    )
    # spread of Kaplan-Meier over cohorts: Greenwood at 5 months about sqrt(S (1 - S) / n)
    s = np.exp(-0.5)
    assert float(curves.sel(time=5).std()) == pytest.approx(np.sqrt(s * (1 - s) / number), rel=0.25)

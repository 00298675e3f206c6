"""Rows of a new stratum: the prior's own distribution, and the limit without spread."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from her2bayes.synthesis.study_transitions import new_stratum
from her2bayes.transition.rows import ROW_PRIORS, changes

HER2 = ["zero", "low", "positive"]


def prior_draws(rng: np.random.Generator, number: int, share: float) -> xr.Dataset:
    """Centre and spread as the graph draws them before data."""
    sd = np.abs(rng.normal(0, 0.5, (1, number, 1)))
    spread = np.sqrt(1 + share * sd**2)
    return xr.Dataset(
        {
            "centre": (("chain", "draw", "change"), rng.normal(-1.5, spread, (1, number, 6))),
            "deviation_sd": (("chain", "draw", "factor"), sd),
        },
        coords={"change": changes(HER2)["change"].to_numpy(), "factor": ["study"], "her2": HER2},
    )


def test_before_data_a_new_stratum_has_mean_plus_spread(rng: np.random.Generator) -> None:
    """Log odds of the new stratum are N(-1.5, 1 + sd^2): variance 1 + E sd^2 = 1.25."""
    draws = prior_draws(rng, 200_000, 0.25)
    rows = new_stratum(draws, xr.DataArray([0.25], coords={"factor": ["study"]}), ROW_PRIORS)
    np.testing.assert_allclose(rows.sum("her2"), 1.0)
    stay = rows.sel(her2_primary="low", her2="low", drop=True)
    log_odds = np.log(rows.sel(her2_primary="low", her2="zero", drop=True) / stay)
    assert float(log_odds.mean()) == pytest.approx(-1.5, abs=0.015)
    assert float(log_odds.var()) == pytest.approx(1.25, abs=0.02)


def test_factors_that_are_known_add_nothing(rng: np.random.Generator) -> None:
    draws = prior_draws(rng, 1000, 0.0).assign(
        deviation_sd=(("chain", "draw", "factor"), np.full((1, 1000, 1), 0.7))
    )
    share = xr.DataArray([0.0], coords={"factor": ["study"]})
    rows = new_stratum(draws, share, ROW_PRIORS, known=["study"])
    odds = np.log(rows.sel(her2_primary="low", her2="zero", drop=True)) - np.log(
        rows.sel(her2_primary="low", her2="low", drop=True)
    )
    np.testing.assert_allclose(odds, draws["centre"].sel(change="low->zero"), atol=1e-12)

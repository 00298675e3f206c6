"""Labels of transition shares: determined, bounded, or left to the prior."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from her2bayes.transition.paper import (
    BOUNDED,
    DETERMINED,
    PRIOR_DRIVEN,
    cohort_share,
    contraction_within,
    label,
    prior_share,
)

HER2 = ["zero", "low", "positive"]


def prior_draws(rng: np.random.Generator, number: int) -> xr.Dataset:
    return xr.Dataset(
        {
            "transition": (
                ("chain", "draw", "stratum", "her2_primary", "her2"),
                rng.dirichlet(np.ones(3), (1, number, 1, 3)),
            ),
            "primary_share": (
                ("chain", "draw", "stratum", "her2_primary"),
                rng.dirichlet(np.ones(3), (1, number, 1)),
            ),
        },
        coords={"her2_primary": HER2, "her2": HER2},
    )


def test_shares_of_an_empty_row_are_not_known() -> None:
    table = xr.DataArray([[[2, 2], [0, 0]]], dims=("stratum", "her2_primary", "her2"))
    share = cohort_share(table).to_numpy()
    np.testing.assert_array_equal(share[0, 0], [0.5, 0.5])
    assert np.isnan(share[0, 1]).all()


def test_prior_shares_of_a_uniform_row_are_uniform(rng: np.random.Generator) -> None:
    """Uniform Dirichlet rows: T_ij given n is 2 (n - t + 1) / ((n + 1) (n + 2))."""
    draws = prior_share(prior_draws(rng, 4000), np.array([90]), np.array([[40, 30, 20]]), rng)
    count = np.rint(draws[:, 0, 1, 0] * 30).astype(int)
    found = np.bincount(count, minlength=31) / len(count)
    expected = 2 * (31 - np.arange(31)) / (31 * 32)
    assert np.abs(found - expected).max() < 0.01


def test_unknown_row_totals_are_drawn(rng: np.random.Generator) -> None:
    draws = prior_share(prior_draws(rng, 200), np.array([2]), np.full((1, 3), -1), rng)
    assert np.isnan(draws).any()
    assert set(np.unique(draws[~np.isnan(draws)])) == {0.0, 0.5, 1.0}


def test_nine_equally_likely_tables_are_prior_driven(rng: np.random.Generator) -> None:
    """Shi's zero -> zero under uniform rows: nothing is learned beyond the bounds."""
    before = prior_share(prior_draws(rng, 4000), np.array([247]), np.array([[51, 125, 71]]), rng)
    after = rng.integers(18, 27, 4000) / 51
    low, high = 18 / 51, 26 / 51
    gained = contraction_within(after, before[:, 0, 0, 0], low, high)
    assert abs(gained) < 0.06
    assert label(low, high, gained) == PRIOR_DRIVEN
    narrow = rng.choice([21, 22, 23], 4000) / 51
    gained = contraction_within(narrow, before[:, 0, 0, 0], low, high)
    assert gained == pytest.approx(0.9, abs=0.03)
    assert label(low, high, gained) == BOUNDED


def test_a_share_without_width_is_determined(rng: np.random.Generator) -> None:
    gained = contraction_within(np.full(10, 0.5), rng.random(100), 0.5, 0.5)
    assert np.isnan(gained)
    assert label(0.5, 0.5, gained) == DETERMINED


def test_few_prior_draws_within_the_bounds_give_way_to_a_uniform(rng: np.random.Generator) -> None:
    after = rng.uniform(0.40, 0.41, 100_000)
    assert contraction_within(after, rng.random(500), 0.40, 0.41) == pytest.approx(0, abs=0.02)

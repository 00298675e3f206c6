"""A piecewise-constant hazard against numerical integration and exact identities."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad

from her2bayes.survival import piecewise as post
from her2bayes.survival.piecewise import crossing

END = [2.0, 5.0, 9.0, 20.0]
TIMES = [0.0, 1, 2, 4, 8.5, 20, 25]


@pytest.fixture
def log_hazard(rng: np.random.Generator) -> xr.DataArray:
    """Log hazards of five groups and two causes."""
    return xr.DataArray(
        np.log(rng.gamma(2, 0.02, (2, 3, 5, 2, 4))),
        dims=("chain", "draw", "g", "cause", "interval"),
        coords={
            "g": list("abcde"),
            "cause": ["x", "y"],
            "interval": range(4),
            "interval_start": ("interval", [0.0, *END[:-1]]),
            "interval_end": ("interval", END),
        },
    )


def one(log_hazard: xr.DataArray) -> xr.DataArray:
    return log_hazard.isel(chain=0, draw=0, g=0)


def test_survival_and_incidences_sum_to_one(log_hazard):
    survival = post.survival(log_hazard, TIMES)
    incidence = post.cumulative_incidence(log_hazard, TIMES)
    np.testing.assert_allclose(survival + incidence.sum("cause"), 1, atol=1e-14)
    assert (survival.sel(time=0) == 1).all()
    assert (survival.diff("time") <= 0).all()


def test_rmst_incidence_and_hazard_by_integration(log_hazard):
    single = one(log_hazard)

    def survival(t: float) -> float:
        return float(post.survival(single, [t])[0])

    area = quad(survival, 0, 12, points=[2, 5, 9])[0]
    assert float(post.rmst(single, 12)) == pytest.approx(area, rel=1e-9)

    def rate(t: float) -> float:
        return survival(t) * float(post.hazard(single, [t]).sel(cause="x")[0])

    mass = quad(rate, 0, 8.5, points=[2, 5])[0]
    found = post.cumulative_incidence(single, [8.5]).sel(cause="x")
    assert float(found[0]) == pytest.approx(mass, rel=1e-9)


def test_tiny_hazards_give_the_whole_horizon(log_hazard):
    assert float(post.rmst(one(log_hazard) - 60, 20)) == pytest.approx(20)


def test_intervals_are_closed_on_the_right(log_hazard):
    single = one(log_hazard).isel(cause=0)
    at = post.hazard(single, [2.0, 2.0001, 30])
    np.testing.assert_allclose(np.log(at), single[[0, 1, 3]])


def test_crossing_of_a_mixture_is_between_its_parts(log_hazard):
    grid = np.linspace(0, 20, 2001)
    total = log_hazard.isel(cause=0, drop=True)
    mixture = post.survival(total, grid).mean("g")
    found = crossing(mixture, 0.2)
    for chain in range(2):
        curve = mixture.isel(chain=chain, draw=1).to_numpy()
        known = np.interp(0.8, curve[::-1], grid[::-1]) if curve[-1] <= 0.8 else np.inf
        assert float(found.isel(chain=chain, draw=1)) == pytest.approx(known, rel=1e-4)


def test_values_that_fall_are_ordered():
    low, high = (xr.DataArray([[1.0, 2.0]], dims=("chain", "draw")) * k for k in (1, 2))
    assert list(post.ordered([high, low]).values[0]) == [1, 1]
    assert list(post.ordered([low, high]).values[0]) == [0, 0]

"""Survival estimands over draws against numerical integration and exact identities."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.optimize import brentq

from her2bayes.errors import BadInput
from her2bayes.evidence.patients.follow_up import read_follow_up
from her2bayes.evidence.patients.survival_cells import survival_cells
from her2bayes.survival import draws as hazard_ratios
from her2bayes.survival import draws as post
from her2bayes.survival.checks import predictive_curves
from her2bayes.survival.draws import crossing, standardised

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


def test_quantile_inverts_survival_and_is_infinite_where_not_reached(log_hazard):
    single = one(log_hazard)
    found = float(post.quantile(single, 0.3))
    known = brentq(lambda t: float(post.survival(single, [t])[0]) - 0.7, 0, 20)
    assert found == pytest.approx(known)
    assert np.isinf(float(post.quantile(single - 10)))
    assert float(post.not_reached(single - 10, 20)) == 1
    assert float(post.not_reached(single + 5, 20)) == 0


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


def test_ordering_and_extrapolation():
    low, high = (xr.DataArray([[1.0, 2.0]], dims=("chain", "draw")) * k for k in (1, 2))
    assert list(post.ordered([high, low]).values[0]) == [1, 1]
    assert list(post.ordered([low, high]).values[0]) == [0, 0]
    with pytest.raises(BadInput, match="two values at least"):
        post.ordered([low])


def cells_of() -> xr.Dataset:
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "t": rng.uniform(1, 18, 300),
            "e": 1,
            "g": rng.choice(list("ab"), 300, p=[0.8, 0.2]),
            "h": rng.choice(list("xyz"), 300),
        }
    )
    found = read_follow_up(table, time="t", event="e", by=["g", "h"])
    return survival_cells(found, [0, *END])


def draws_of(cells: xr.Dataset) -> xr.Dataset:
    """Draws of a model with an interaction and a drift."""
    rng = np.random.default_rng(4)
    shape, dims = (2, 50), ("chain", "draw")
    sizes = {"g": 2, "h": 3, "interval": 4}

    def term(*names: str) -> tuple:
        values = rng.normal(0, 0.3, (*shape, *(sizes[n] for n in names)))
        return (*dims, *names), values

    return xr.Dataset(
        {
            "reference_log_hazard": (dims, rng.normal(-3, 0.1, shape)),
            "term_baseline": term("interval"),
            "term_g": term("g"),
            "term_h": term("h"),
            "term_g_h": term("g", "h"),
            "term_g_drift": term("g", "interval"),
        },
        coords={n: cells[n] for n in ("g", "h", "interval")},
    )


def test_log_hazard_is_the_sum_of_the_terms():
    cells = cells_of()
    draws = draws_of(cells)
    total = post.log_hazard(draws, cells, {"g": "b"})
    by_hand = (
        draws["reference_log_hazard"]
        + draws["term_baseline"]
        + draws["term_g"].sel(g="b")
        + draws["term_h"]
        + draws["term_g_h"].sel(g="b")
        + draws["term_g_drift"].sel(g="b")
    )
    xr.testing.assert_allclose(total.transpose(*by_hand.dims), by_hand)
    without = post.log_hazard(draws, cells, {"g": "b"}, without=("h", "g_h"))
    assert "h" not in without.dims


def test_hazard_ratios_are_differences_of_log_hazards():
    cells = cells_of()
    draws = draws_of(cells)
    total = post.log_hazard(draws, cells)
    within = hazard_ratios.ratio_within(draws, cells, "g", "b", "a", "h")
    direct = total.sel(g="b") - total.sel(g="a")
    drift = draws["term_g_drift"].sel(g="b") - draws["term_g_drift"].sel(g="a")
    np.testing.assert_allclose(np.log(within), (direct - drift).isel(interval=0), rtol=1e-9)
    over_time = hazard_ratios.ratio_at(draws, cells, "g", "b", "a", [1.0, 19.0])
    average = np.log(hazard_ratios.ratio(draws, cells, "g", "b", "a"))
    np.testing.assert_allclose(
        np.log(over_time.isel(time=1)), average + drift.isel(interval=3), rtol=1e-9
    )
    assert hazard_ratios.partners(draws, "g") == {"h": "term_g_h"}


def test_standardised_survival_is_the_mean_over_patients():
    cells = cells_of()
    draws = draws_of(cells)
    share = post.shares(cells, ["g"])
    target = {
        "b": share.sel(g="b", drop=True).expand_dims(g=["b"]).reindex(g=["a", "b"], fill_value=0.0)
    }
    found = standardised(draws, cells, target, {"s": lambda h: post.survival(h, [6.0])})["b"]["s"]
    every = post.survival(post.log_hazard(draws, cells), [6.0]).sel(g="b")
    rows = cells["rows"].sel(g="b")
    known = (every * rows).sum("h") / rows.sum("h")
    np.testing.assert_allclose(found.transpose(*known.dims), known, rtol=1e-12)
    # never the survival at the mean log hazard
    at_mean = post.survival(post.log_hazard(draws, cells).sel(g="b").mean("h"), [6.0])
    assert float(abs(found - at_mean).max()) > 1e-3
    common = post.shares(cells, ["g"], common=True)
    np.testing.assert_allclose(common.sum("h"), 1)
    assert common.dims == ("h",)


def test_extrapolation_is_flagged_by_group():
    cells = cells_of()
    last = float(cells["last_time"].sel(g="b").max())
    assert list(post.extrapolated([1.0, last + 0.1], cells, {"g": "b"})) == [False, True]


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

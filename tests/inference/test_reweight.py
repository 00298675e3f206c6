"""Re-weighting agrees with refits and refuses where it cannot; power-scaling flags a conflict."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from her2bayes.bayes.prior import prior
from her2bayes.inference.convergence import AGREE_TIMES
from her2bayes.inference.fit import Specification, refit
from her2bayes.inference.reweight import (
    CLEAN,
    CONFLICT,
    diagnosis,
    joint,
    k_limit,
    power_scaling,
    smoothed,
    weighted_mean,
    weighted_quantiles,
)
from her2bayes.inference.sampling import Sampling

SAMPLING = Sampling(draws=500, tune=500, chains=4)


@pytest.fixture(scope="module")
def spec(toy, make_centres):
    data = make_centres([2, 30, 7], "abc")

    def of(sigma: float) -> Specification:
        priors = {"log_rate": prior("Normal", mu=0.0, sigma=sigma)}
        return Specification(toy, data, priors, top_level=("log_rate",))

    return of


@pytest.fixture(scope="module")
def wide(spec):
    return refit(spec(4.0), SAMPLING)


def test_limit_of_k_hat():
    # Vehtari et al. 2024, section 3.2.4: min(1 - 1/log10(S), 0.7)
    assert k_limit(4000) == pytest.approx(0.7)
    assert k_limit(100) == pytest.approx(0.5)


def test_equal_and_hopeless_ratios():
    flat = xr.DataArray(np.zeros((4, 500)), dims=("chain", "draw"))
    equal = smoothed(flat, 0.5)
    assert equal.accepted
    assert equal.ess == 1000
    assert float(equal.weight.sum()) == pytest.approx(1)
    assert not smoothed(flat * np.nan).accepted
    steep = smoothed(flat + np.random.default_rng(1).standard_cauchy(flat.shape) * 10)
    assert not steep.accepted


@pytest.mark.slow
def test_the_joint_density_is_that_of_the_model(spec, wide):
    log_joint, derived = joint(spec(4.0), wide.raw)
    assert float(np.abs(derived["rate"] - wide.posterior["rate"]).max()) < 1e-10
    # by hand: Normal(0, 4) priors, one padded centre, Poisson counts with exposure 1 (1e-6 padded)
    theta = wide.raw["log_rate"].to_numpy()
    expected = stats.norm(0, 4).logpdf(theta).sum(-1) + stats.poisson.logpmf(
        np.array([2, 30, 7, 0]), np.exp(theta) * np.array([1, 1, 1, 1e-6])
    ).sum(-1)
    np.testing.assert_allclose(log_joint.to_numpy(), expected, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [2.0, 1.5])
def test_reweighted_and_refitted_agree(spec, wide, sigma):
    before, _ = joint(spec(4.0), wide.raw)
    after, derived = joint(spec(sigma), wide.raw)
    weights = smoothed(after - before)
    assert weights.accepted
    fresh = refit(spec(sigma), SAMPLING)
    for centre in "abc":
        one = derived["rate"].sel(centre=centre)
        other = fresh.posterior["rate"].sel(centre=centre)
        error = float(other.std()) * np.hypot(weights.ess**-0.5, 800**-0.5)
        assert abs(weighted_mean(one, weights.weight) - float(other.mean())) < AGREE_TIMES * error
        level = float(other.median())
        chance = weighted_mean((one > level).astype(float), weights.weight)
        assert abs(chance - 0.5) < AGREE_TIMES * 0.5 * np.hypot(weights.ess**-0.5, 800**-0.5)


@pytest.mark.slow
def test_a_prior_far_from_the_draws_is_refused(spec, wide):
    before, _ = joint(spec(4.0), wide.raw)
    after, _ = joint(spec(0.05), wide.raw)
    assert not smoothed(after - before).accepted


def test_weighted_quantiles_are_those_of_repeated_values(rng):
    values = rng.normal(size=2000)
    times = rng.integers(1, 5, size=2000)
    found = weighted_quantiles(values, times / times.sum(), (0.025, 0.5, 0.975))
    repeated = np.quantile(np.repeat(values, times), [0.025, 0.5, 0.975])
    np.testing.assert_allclose(found, repeated, atol=0.02)


@pytest.mark.slow
def test_a_planted_conflict_is_flagged(spec):
    flags = {}
    for sigma in (0.4, 4.0):  # 30 events of a rate that the first prior holds near 1
        result = refit(spec(sigma), SAMPLING, densities=True)
        rate = {"rate": result.posterior["rate"].sel(centre="b", drop=True)}
        flags[sigma] = diagnosis(*power_scaling(rate, *result.densities, ("log_rate",))["rate"])
    assert flags == {0.4: CONFLICT, 4.0: CLEAN}

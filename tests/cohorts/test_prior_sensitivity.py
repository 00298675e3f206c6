"""Hazard ratios under other priors: weights against quadrature and against chains of that prior."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import integrate, stats

from her2bayes.cohorts.draws import Draws, _log_effects
from her2bayes.inference.reweight import smoothed, weighted_quantiles


@pytest.mark.parametrize("times", [0.5, 2.0, 4.0])
def test_density_of_effects_is_that_of_quadrature(times: float) -> None:
    """Two effects b ~ N(0, spread), spread ~ half-N(0, 0.5 times): the ratio to times = 1."""

    def density(b: np.ndarray, sd: float) -> float:
        def inside(spread: float) -> float:
            return float(stats.norm.pdf(b, 0, spread).prod() * stats.halfnorm.pdf(spread, scale=sd))

        return integrate.quad(inside, 0, 20 * sd, points=[0.01, 0.1, 1], limit=500)[0]

    for b in ([0.02, -0.1], [0.5, 0.4], [-2.0, 1.0]):
        square = np.array([np.sum(np.square(b))])
        ours = _log_effects(square, 2, 0.5 * times) - _log_effects(square, 2, 0.5)
        known = np.log(density(np.array(b), 0.5 * times) / density(np.array(b), 0.5))
        assert ours[0] == pytest.approx(known, abs=2e-3)


def made(theta: np.ndarray, block: list[int]) -> Draws:
    """Draws of a model with one interval: log hazard, log sigma, effects, log scales, ..."""
    model = SimpleNamespace(
        baseline=np.zeros((1, 0)), block=np.array(block), scale_sd=np.array([0.5])
    )
    posed = SimpleNamespace(model=model, columns=tuple("a" for _ in block))
    chains = [SimpleNamespace(theta=t, months=t) for t in theta]
    return Draws(posed, chains, 1)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("block", [[-1], [0, 0]])
def test_weighted_draws_are_those_of_the_other_prior(block: list[int]) -> None:
    """Normal estimates of the effects: posterior under twice the prior, weighted and exact.

    The estimates are -0.6 (SE 0.3); medians agree within four Monte Carlo errors.
    """
    rng, n = np.random.default_rng(3), 40_000
    grid = np.linspace(-4, 3, 2001)
    size, sds = len(block), {1.0: None, 2.0: None}
    for times in sds:
        if size == 1:
            log = stats.norm.logpdf(grid, 0, 0.75 * times)
        else:  # the other effect is known to be 0.4
            log = _log_effects(np.square(grid) + 0.16, 2, 0.5 * times)
        log = log + stats.norm.logpdf(grid, -0.6, 0.3)
        sds[times] = np.exp(log - log.max()) / np.exp(log - log.max()).sum()
    effects = rng.choice(grid, (4, n // 4), p=sds[1.0])
    theta = np.zeros((4, n // 4, 2 + size + (size > 1)))
    if size == 1:
        theta[..., 2] = effects / 0.75
    else:
        theta[..., 2], theta[..., 3] = effects, 0.4  # the scale is 1, its logarithm 0
    found = made(theta, block)
    found.__dict__["kept"] = tuple(np.arange(n // 4) for _ in range(4))
    weights = smoothed(found.log_prior_ratio("a", 2.0))
    assert weights.k_hat < 0.5
    ours = weighted_quantiles(effects.ravel(), weights.weight.to_numpy().ravel(), (0.5,))[0]
    exact = np.interp(0.5, np.cumsum(sds[2.0]), grid)
    plain = np.interp(0.5, np.cumsum(sds[1.0]), grid)
    error = 1.25 * 0.3 / np.sqrt(weights.ess)
    assert abs(ours - exact) < 4 * error
    assert abs(plain - exact) > 8 * error  # the prior matters here

"""Borrowing for one hazard: closed forms of the gamma distribution, limits, the learned weight."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.special import digamma, gammaln, logsumexp, polygamma

from her2bayes.errors import BadInput
from her2bayes.survival.borrowing_exact import Choices, Hazard, effective_events, kernel, places
from her2bayes.survival.borrowing_sweep import bridge, nodes, weight_posterior

ALPHA, BETA = 1.5, 80.0
OWN, ELSEWHERE = (29.0, 557.0), (74.0, 1877.0)


@pytest.fixture(scope="module")
def gamma() -> Choices:
    """Choices under a gamma prior of the hazard, the conjugate one."""
    prior = stats.loggamma(ALPHA, loc=-np.log(BETA))
    x = np.arange(-30.0, 2.0, 0.005)
    return Choices(prior, *ELSEWHERE, x)


def moments(hazard: Hazard, events: float = OWN[0], months: float = OWN[1]) -> tuple[float, float]:
    mass = hazard.updated(np.array([events]), np.array([months]))[0]
    mean = float(mass @ hazard.x)
    return mean, float(np.sqrt(mass @ (hazard.x - mean) ** 2))


@pytest.mark.parametrize("weight", [0.0, 0.25, 0.5, 1.0])
def test_power_prior_is_the_gamma_closed_form(gamma: Choices, weight: float) -> None:
    shape = ALPHA + weight * ELSEWHERE[0] + OWN[0]
    rate = BETA + weight * ELSEWHERE[1] + OWN[1]
    found = moments(gamma.power(weight))
    assert found == pytest.approx((digamma(shape) - np.log(rate), polygamma(1, shape) ** 0.5), 1e-4)


def log_weight(a: float) -> float:
    """Log M(a) - log C(a) of the normalised power prior: ratios of gamma integrals."""
    d, t = ALPHA + a * ELSEWHERE[0], BETA + a * ELSEWHERE[1]
    with_own = gammaln(d + OWN[0]) - (d + OWN[0]) * np.log(t + OWN[1])
    return float(with_own - (gammaln(d) - d * np.log(t)))


def test_learned_weight_is_the_quadrature_of_the_closed_form(gamma: Choices) -> None:
    at = np.array([0.02, 0.2, 0.5, 0.9])
    top = log_weight(0.5)
    total = quad(lambda a: np.exp(log_weight(a) - top), 0, 1)[0]
    expected = [np.exp(log_weight(a) - top) / total for a in at]
    assert gamma.weight_after(*OWN, at) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("elsewhere", [ELSEWHERE, (740.0, 18770.0), (140.0, 1877.0), (3.0, 100.0)])
def test_thermodynamic_integration_finds_the_constants(elsewhere: tuple[float, float]) -> None:
    prior = stats.norm(-4, 1)
    x = np.linspace(-11, 2, 20001)
    (k0,), (own,) = (kernel(x, *(np.array([v]) for v in pair)) for pair in (elsewhere, OWN))
    found = nodes(12)

    def log_constant(a: float, own: np.ndarray) -> float:
        return float(logsumexp(prior.logpdf(x) + a * k0 + own))

    def expected(own: np.ndarray) -> np.ndarray:
        logs = prior.logpdf(x) + found.power[:, None] * k0 + own
        return np.exp(logs - logsumexp(logs, axis=1, keepdims=True)) @ k0

    nothing = np.zeros_like(own)
    weight = weight_posterior(found, expected(own), expected(nothing), np.zeros(12))
    at = np.array([0.01, 0.1, 0.5, 1.0])
    exact = [log_constant(a, own) - log_constant(a, nothing) for a in (0.0, *at)]
    assert weight.log_at(at) == pytest.approx(np.array(exact[1:]) - exact[0], abs=0.02)


def test_limits(gamma: Choices) -> None:
    full, none = moments(gamma.full()), moments(gamma.none())
    assert moments(gamma.power(1.0)) == full
    assert moments(gamma.commensurate(0.0)) == pytest.approx(full, rel=1e-6)
    assert moments(gamma.commensurate(1e-3)) == pytest.approx(full, rel=1e-3)
    assert moments(gamma.robust(1.0)) == pytest.approx(moments(gamma.commensurate()), rel=1e-6)
    assert moments(gamma.robust(0.0)) == pytest.approx(moments(gamma.vague()), rel=1e-6)
    assert none[0] > moments(gamma.commensurate())[0] > full[0]
    with pytest.raises(BadInput, match="weight of a robust prior"):
        gamma.robust(1.5)


def test_worth_in_events() -> None:
    prior = stats.norm(-4, 1)
    x = places(prior, *ELSEWHERE)
    every = Choices(prior, *ELSEWHERE, x)
    worth = {a: effective_events(x, every.power(a).mass) for a in (0.0, 0.5, 1.0)}
    assert worth[0.0] == pytest.approx(1.0, abs=1e-3)  # a normal of sd 1
    assert worth[0.5] == pytest.approx(37 + 1, rel=0.02)
    assert worth[1.0] == pytest.approx(74 + 1, rel=0.02)
    assert effective_events(x, every.vague().mass) == pytest.approx(2, abs=0.1)


def test_bridge_of_two_normals() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(0, 1, 20000), rng.normal(0.5, 2, 20000)

    def log_ratio(v: np.ndarray) -> np.ndarray:
        return -(v**2) / 2 + (v - 0.5) ** 2 / 8

    assert bridge(log_ratio(first), log_ratio(second)) == pytest.approx(np.log(0.5), abs=0.03)

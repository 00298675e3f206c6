"""Distributions on the lattice against beta distributions of scipy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from her2bayes.errors import BadInput
from her2bayes.rates import rate_exact

SHAPES = [(1, 1), (0.5, 0.5), (24, 42), (1, 11), (300, 2), (2000.5, 6000.5)]


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_beta_is_that_of_scipy(a: float, b: float) -> None:
    rate, law = rate_exact.beta(a, b), stats.beta(a, b)
    assert rate.mean() == pytest.approx(law.mean(), abs=1e-9)
    assert rate.std() == pytest.approx(law.std(), rel=1e-6)
    points = np.array([0.025, 0.5, 0.975])
    assert rate.ppf(points) == pytest.approx(law.ppf(points), rel=1e-6, abs=1e-8)
    assert rate.cdf(0.3) == pytest.approx(law.cdf(0.3), abs=1e-6)


def test_updating_is_conjugate_and_zero_responders_are_no_special_case() -> None:
    for responders, patients in ((23, 64), (0, 10), (10, 10), (0, 0)):
        after = rate_exact.beta(1, 1).updated(responders, patients)
        law = stats.beta(1 + responders, 1 + patients - responders)
        assert after.mean() == pytest.approx(law.mean(), abs=1e-9)


def test_predictive_is_beta_binomial() -> None:
    found = rate_exact.beta(21, 21).predictive(64)
    assert found == pytest.approx(stats.betabinom(64, 21, 21).pmf(np.arange(65)), abs=1e-12)
    assert found.sum() == pytest.approx(1)


def test_probability_greater_of_equal_distributions_is_one_half() -> None:
    one = rate_exact.beta(3, 5)
    assert rate_exact.probability_greater(one, one) == pytest.approx(0.5)
    # P(Beta(1, 1) > Beta(1, 2)) = 2/3: integral of 2 (1 - x) (1 - x) dx
    found = rate_exact.probability_greater(rate_exact.beta(1, 1), rate_exact.beta(1, 2))
    assert found == pytest.approx(2 / 3, abs=1e-4)


@pytest.mark.parametrize(("a", "b"), [(2, 3), (11, 32), (24, 42), (200, 300)])
def test_elir_of_a_beta_is_a_plus_b(a: float, b: float) -> None:
    """Neuenschwander et al. 2020: RBesT ``ess(mixbeta(c(1, a, b)), "elir")`` is a + b."""
    assert rate_exact.effective_sample_size(rate_exact.beta(a, b)) == pytest.approx(a + b, rel=1e-3)


def test_elir_is_predictively_consistent() -> None:
    """The expected worth of the posterior after n patients is that of the prior plus n."""
    places = rate_exact.lattice()
    prior = rate_exact.mixture(
        (0.6, 0.4), (rate_exact.beta(20, 30, places), rate_exact.beta(4, 9, places))
    )
    chance = prior.predictive(20)
    after = [rate_exact.effective_sample_size(prior.updated(y, 20)) for y in range(21)]
    expected = rate_exact.effective_sample_size(prior) + 20
    assert float(chance @ after) == pytest.approx(expected, rel=1e-3)


def test_elir_of_the_published_mixtures() -> None:
    """RBesT 1.9-0, vignette "introduction", mixture of AS: ess(map) 38, robustified (0.2) 27."""
    parts = [(33.9513487, 103.0146367), (19.4400089, 41.5205219),
             (12.2692310, 55.9202833), (2.2521243, 5.4812202)]  # fmt: skip
    weights = (0.4612914, 0.1917812, 0.1893896, 0.1575378)
    places = rate_exact.lattice()
    prior = rate_exact.mixture(weights, [rate_exact.beta(a, b, places) for a, b in parts])
    assert round(rate_exact.effective_sample_size(prior)) == 38
    robust = rate_exact.mixture((0.8, 0.2), (prior, rate_exact.beta(1, 1, places)))
    assert round(rate_exact.effective_sample_size(robust)) == 27
    # same page: summary(map), and the posterior probability 0.9917197 of the trial's analysis
    assert prior.mean() == pytest.approx(0.25545885, abs=1e-7)
    assert prior.std() == pytest.approx(0.08662045, abs=1e-7)
    points = prior.ppf(np.array([0.025, 0.5, 0.975]))
    assert points == pytest.approx([0.10730400, 0.24758768, 0.46276759], abs=5e-5)
    treated = rate_exact.beta(0.5, 1, places).updated(14, 24)
    found = rate_exact.probability_greater(treated, robust.updated(1, 6))
    assert found == pytest.approx(0.9917197, abs=1e-6)


def test_parameters_that_are_none_are_refused() -> None:
    with pytest.raises(BadInput, match="above 0"):
        rate_exact.beta(0, 1)
    with pytest.raises(ValueError, match="different lattices"):
        rate_exact.mixture((0.5, 0.5), (rate_exact.beta(1, 1), rate_exact.beta(1e6, 1e6)))

"""Choices of borrowing: limits, conjugacy, closed forms, operating characteristics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import betaln, expit

from her2bayes.errors import BadInput
from her2bayes.rates import borrowing as b
from her2bayes.rates.borrowing import performance
from her2bayes.rates.rate_exact import Rate

OUTSIDE = b.Outside((20,), (40,))  # DESTINY-Breast04, hormone-receptor negative: 50 % of 40
HERE = (23, 64)  # Ni 2025
PLACES = b.places(64, 40)
NONE = b.none(PLACES)
MAP = b.predictive(OUTSIDE, PLACES)


def same(one: Rate, other: Rate) -> bool:
    return bool(np.abs(np.cumsum(one.mass) - np.cumsum(other.mass)).max() < 1e-9)


def test_power_is_conjugate_and_its_ends_are_none_and_full() -> None:
    for discount in (0.0, 0.3, 1.0):
        prior = b.power(OUTSIDE, discount, PLACES)
        law = stats.beta(1 + 20 * discount + 23, 1 + 20 * discount + 41)
        assert prior.updated(*HERE).mean() == pytest.approx(law.mean(), abs=1e-9)
    assert same(b.power(OUTSIDE, 0, PLACES), NONE)
    assert same(b.power(OUTSIDE, 1, PLACES), b.full(OUTSIDE, PLACES))
    pooled = b.full(OUTSIDE, PLACES).updated(*HERE)
    assert pooled.mean() == pytest.approx(stats.beta(44, 62).mean(), abs=1e-9)


def test_robust_ends_are_the_vague_and_the_informative_part() -> None:
    assert same(b.robust(MAP, 0, NONE), NONE)
    assert same(b.robust(MAP, 1, NONE), MAP)
    assert b.weight_after(MAP, 1, NONE, *HERE) == pytest.approx(1)
    assert b.weight_after(MAP, 0, NONE, *HERE) == pytest.approx(0)


def test_the_weight_has_no_default() -> None:
    with pytest.raises(TypeError):
        b.robust(MAP, vague=NONE)  # type: ignore[call-arg]
    with pytest.raises(BadInput, match="must be given"):
        b.robust(MAP, 1.2, NONE)


def test_commensurate_without_spread_is_pooling_and_with_a_wide_one_forgets() -> None:
    full = b.full(OUTSIDE, PLACES)
    assert same(b.commensurate(OUTSIDE, PLACES, spread=0), full)
    assert np.abs(b.commensurate(OUTSIDE, PLACES, spread=1e-5).mass - full.mass).max() < 1e-8
    spreads = [b.commensurate(OUTSIDE, PLACES, spread=s).std() for s in (0.1, 0.5, 2.0)]
    assert spreads == sorted(spreads)


def test_commensurate_against_gaussian_quadrature() -> None:
    """Density of the log odds of 0.4: Gauss-Hermite over the distance, midpoints over tau."""
    z, weight = np.polynomial.hermite_e.hermegauss(60)
    tau = (np.arange(4000) + 0.5) / 1000
    outside = expit(np.log(0.4 / 0.6) + tau[:, None] * z)
    density = stats.beta.pdf(outside, 21, 21) * outside * (1 - outside)
    given = density @ weight / weight.sum()
    expected = float(given @ stats.halfnorm.pdf(tau, scale=0.5)) / 1000
    prior = b.commensurate(OUTSIDE, PLACES)
    found = np.interp(np.log(0.4 / 0.6), PLACES, prior.mass / (PLACES[1] - PLACES[0]))
    assert found == pytest.approx(expected, rel=1e-4)


def test_normalised_power_against_its_joint_density() -> None:
    """p(rate, d) on a grid: likelihood^d Beta(1, 1) / C(d), C(d) = B(1 + d y, 1 + d (n - y))."""
    learned = b.normalised_power(OUTSIDE, PLACES)
    d = (np.arange(400) + 0.5) / 400
    rate = (np.arange(4000) + 0.5) / 4000
    log = d[:, None] * (20 * np.log(rate) + 20 * np.log1p(-rate))
    joint = np.exp(log - betaln(1 + 20 * d, 1 + 20 * d)[:, None])
    after = joint * stats.binom.pmf(23, 64, rate)
    after /= after.sum()
    posterior = learned.prior.updated(*HERE)
    assert posterior.mean() == pytest.approx(float(after.sum(0) @ rate), abs=1e-5)
    assert learned.discount_mean(*HERE) == pytest.approx(float(after.sum(1) @ d), abs=1e-4)
    agreeing, conflicting = (learned.discount_mean(y, 64) for y in (32, 5))
    assert conflicting < 0.35 < 0.5 < agreeing


def test_map_of_one_study_lies_between_none_and_full() -> None:
    means = [p.updated(*HERE).mean() for p in (NONE, MAP, b.full(OUTSIDE, PLACES))]
    assert means == sorted(means)


def test_conflict_is_small_where_the_prior_did_not_expect_the_data() -> None:
    full = b.full(OUTSIDE, PLACES)
    assert b.conflict(full, 32, 64) == pytest.approx(1.0, abs=1e-9)
    assert b.conflict(full, 10, 64) < 0.001
    assert b.conflict(NONE, 10, 64) == pytest.approx(1.0)
    law = stats.betabinom(64, 21, 21).pmf(np.arange(65))
    assert b.conflict(full, 23, 64) == pytest.approx(law[law <= law[23] * (1 + 1e-9)].sum())


def test_tipping_starts_and_ends_at_its_parts_and_finds_the_crossing() -> None:
    table = b.tipping(MAP, NONE, *HERE, 0.4, np.linspace(0, 1, 21))
    assert table["mean"][0] == pytest.approx(NONE.updated(*HERE).mean())
    assert table["mean"][-1] == pytest.approx(MAP.updated(*HERE).mean())
    assert (np.diff(table["above"]) > 0).all()
    (crossing,) = b.tips_at(table, 0.33)
    posterior = b.robust(MAP, crossing, NONE).updated(*HERE)
    assert float(1 - posterior.cdf(0.4)) == pytest.approx(0.33, abs=1e-3)
    assert b.tips_at(table, 0.9) == ()


def test_outside_counts_that_are_none_are_refused() -> None:
    for responders, patients in (((), ()), ((3,), (2,)), ((0,), (0,)), ((1, 2), (3,))):
        with pytest.raises(BadInput, match="external counts"):
            b.Outside(responders, patients)


def test_performance_without_borrowing_is_that_of_the_beta_binomial() -> None:
    found = performance(NONE, 20, [0.3], threshold=0.3)
    counts = np.arange(21)
    chance = stats.binom.pmf(counts, 20, 0.3)
    law = stats.beta(1 + counts, 21 - counts)
    assert found["claims"][0] == pytest.approx(chance @ (law.sf(0.3) > 0.975))
    assert found["bias"][0] == pytest.approx(chance @ (law.mean() - 0.3), abs=1e-9)
    covered = (law.ppf(0.025) <= 0.3) & (law.ppf(0.975) >= 0.3)
    assert found["coverage"][0] == pytest.approx(chance @ covered)


def test_borrowing_pays_in_agreement_and_costs_in_conflict() -> None:
    rates = [0.3, 0.5]
    by = {
        name: performance(prior, 64, rates)
        for name, prior in {
            "none": NONE,
            "robust": b.robust(MAP, 0.5, NONE),
            "commensurate": b.commensurate(OUTSIDE, PLACES),
            "full": b.full(OUTSIDE, PLACES),
        }.items()
    }
    order = ["none", "robust", "commensurate", "full"]
    error = [by[name]["claims"][0] for name in order]
    assert error == sorted(error)
    assert error[-1] > 0.3  # pooling claims a third of the time what is not there
    assert [by[n]["bias"][0] for n in order] == sorted(by[n]["bias"][0] for n in order)
    assert by["full"]["rmse"][1] < by["robust"]["rmse"][1] < by["none"]["rmse"][1]

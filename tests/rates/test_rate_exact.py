"""Quadrature against published answers (RBesT, bhmbasket), conjugate limits and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from her2bayes.errors import BadInput
from her2bayes.rates.rate_exact import Hyper, hierarchical, own_sd

# RBesT data set AS, 8 studies in ankylosing spondylitis (Baeten et al. 2013): responders, patients
AS = ([23, 12, 19, 9, 39, 6, 9, 10], [107, 44, 51, 39, 139, 20, 78, 35])
# Chugh et al. 2009, imatinib in ten sarcomas
CHUGH = ([2, 0, 1, 6, 7, 3, 5, 1, 0, 3], [15, 13, 12, 28, 29, 29, 26, 5, 2, 20])
POINTS = np.array([0.025, 0.5, 0.975])


@pytest.mark.parametrize(
    ("spread", "tau", "published"),
    [
        (1.0, (0.3870, 0.2150), (0.2550, 0.0864, 0.1060, 0.2470, 0.4610)),
        (0.5, (0.3350, 0.1720), (0.2590, 0.0776, 0.1290, 0.2500, 0.4420)),
    ],
)
def test_map_prior_of_rbest(
    spread: float, tau: tuple[float, float], published: tuple[float, ...]
) -> None:
    """RBesT 1.9-0, vignette "Getting started with RBesT (binary)", printed by gMAP(cbind(r, n - r)
    ~ 1 | study, data = AS, tau.dist = "HalfNormal", tau.prior = spread, beta.prior = 2, family =
    binomial): mean, sd, 2.5, 50, 97.5 %. Those come from 4000 draws: the bounds are its MCSE.
    """
    found = hierarchical(*AS, Hyper(spread=spread))
    assert found.tau_summary()["mean"] == pytest.approx(tau[0], abs=4 * 0.22 / np.sqrt(2000))
    assert found.tau_summary()["sd"] == pytest.approx(tau[1], abs=0.015)
    new = found.new
    exact = (new.mean(), new.std(), *new.ppf(POINTS))
    assert exact[0] == pytest.approx(published[0], abs=4 * 0.088 / np.sqrt(3000))
    assert exact[1:] == pytest.approx(published[1:], abs=0.013)


def test_exnex_of_bhmbasket() -> None:
    """bhmbasket 0.9.5.999, article "Reproducing Parts of Neuenschwander et al. (2016)",
    getEstimates(performAnalyses(..., "exnex", mu_mean = -1.735, mu_sd = 0.146^-0.5, tau_scale = 1,
    mu_j = -1.734, tau_j = 0.128^-0.5, w_j = c(0.5, 0, 0.5), n_mcmc_iterations = 5e4)); equal to
    the paper's appendix to two decimals.
    """
    published = np.array([
        [0.15077467, 0.06293024, 0.0392848259, 0.14745358, 0.2915622],
        [0.05287414, 0.05895604, 0.0002959401, 0.02684776, 0.1941751],
        [0.12699904, 0.06781268, 0.0123062080, 0.12706481, 0.2672502],
        [0.18849350, 0.06009882, 0.0930300121, 0.18020901, 0.3305355],
        [0.20512931, 0.06550208, 0.1060958755, 0.19408070, 0.3631065],
        [0.13140558, 0.05094556, 0.0383863302, 0.13079420, 0.2355352],
        [0.17669509, 0.05732098, 0.0821657158, 0.17034967, 0.3101239],
        [0.17857554, 0.10398925, 0.0271685311, 0.16135326, 0.4669779],
        [0.13019866, 0.11375943, 0.0010129288, 0.12100970, 0.4291611],
        [0.15732452, 0.05807734, 0.0552504578, 0.15348422, 0.2879676],
    ])  # fmt: skip
    hyper = Hyper(-1.735, 0.146**-0.5, 1.0, 0.5, -1.734, 0.128**-0.5)
    found = hierarchical(*CHUGH, hyper)
    exact = np.array([[r.mean(), r.std(), *r.ppf(POINTS)] for r in found.arms])
    assert np.abs(exact[:, :2] - published[:, :2]).max() < 0.0015
    assert np.abs(exact[:, 2:] - published[:, 2:]).max() < 0.008


def test_against_brute_force_sums() -> None:
    """Two arms and a plain grid over mu, tau and both log odds: no transforms, no recursion."""
    y, n, weight = (2, 21), (11, 53), 0.5
    mu = np.linspace(-7, 7, 141)
    tau = np.linspace(0.005, 5, 200)
    theta = np.linspace(-9, 7, 321)
    likelihood = [stats.binom.pmf(a, b, expit(theta)) for a, b in zip(y, n, strict=True)]
    own = stats.norm.pdf(theta, 0, 2)
    joint = np.zeros(theta.size)
    for t in tau:
        # the kernel is averaged over each cell of theta, so that a narrow one loses no mass
        edges = np.append(theta - 0.025, theta[-1] + 0.025)
        kernel = np.diff(stats.norm.cdf(edges, mu[:, None], t), axis=1) / 0.05
        density = weight * kernel + (1 - weight) * own
        other = density @ likelihood[1] * stats.norm.pdf(mu, 0, 2)
        joint += stats.halfnorm.pdf(t) * (other @ density) * likelihood[0]
    joint /= joint.sum()
    found = hierarchical(y, n, Hyper(weight=weight)).arms[0]
    mean = joint @ expit(theta)
    assert found.mean() == pytest.approx(mean, abs=3e-4)
    assert found.std() == pytest.approx(np.sqrt(joint @ (expit(theta) - mean) ** 2), abs=3e-4)


def test_weight_zero_leaves_every_arm_alone() -> None:
    found = hierarchical(*CHUGH, Hyper(weight=0.0))
    for arm, responders, patients in zip(found.arms, *CHUGH, strict=True):
        alone = hierarchical([responders], [patients], Hyper(weight=0.0)).arms[0]
        assert arm.mean() == pytest.approx(alone.mean(), abs=1e-10)
    assert found.exchangeable == pytest.approx(np.zeros(10))


def test_without_spread_all_arms_share_one_rate() -> None:
    pooled = hierarchical([sum(CHUGH[0])], [sum(CHUGH[1])], Hyper(spread=1e-4)).arms[0]
    for arm in hierarchical(*CHUGH, Hyper(spread=1e-4)).arms:
        assert arm.mean() == pytest.approx(pooled.mean(), abs=1e-6)
        assert arm.std() == pytest.approx(pooled.std(), abs=1e-6)


def test_an_arm_without_patients_is_a_new_one() -> None:
    """What is predicted for a new study is the posterior of a study with nobody in it."""
    with_empty = hierarchical([*AS[0], 0], [*AS[1], 0])
    assert with_empty.arms[-1].mean() == pytest.approx(with_empty.new.mean(), abs=1e-9)
    assert hierarchical(*AS).new.mean() == pytest.approx(with_empty.new.mean(), abs=1e-9)


def test_exchangeable_probability_is_the_weight_where_nothing_is_seen() -> None:
    found = hierarchical([0, 5], [0, 20], Hyper(weight=0.3))
    assert found.exchangeable[0] == pytest.approx(0.3, abs=1e-9)


def test_one_patient_is_worth_four_on_the_log_odds_at_one_half() -> None:
    assert own_sd(0.5) == pytest.approx(2.0)
    assert own_sd(0.1) ** 2 == pytest.approx(1 / 0.1 + 1 / 0.9)


def test_impossible_inputs_are_refused() -> None:
    with pytest.raises(BadInput, match="responders of patients"):
        hierarchical([3], [2])
    with pytest.raises(BadInput, match="responders of patients"):
        hierarchical([0.5], [2])
    with pytest.raises(BadInput, match="weight"):
        hierarchical([1], [2], Hyper(weight=1.5))
    with pytest.raises(BadInput, match="spread"):
        hierarchical([1], [2], Hyper(spread=0))

"""The computed posterior of several studies against quadrature in R, limits, and calibration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from her2bayes.bayes.prior import Prior, prior
from her2bayes.errors import BadInput
from her2bayes.synthesis.random_effects import RandomEffects

REFERENCE: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "reference" / "synthesis.json").read_text("utf-8")
)
NUMBER = 40_000


def rows(
    y: list[float], se: list[float], study: list[str], x: np.ndarray | None = None
) -> xr.Dataset:
    """Estimates of studies, with the terms ``x`` beside the centre."""
    design = np.column_stack([np.ones(len(y)), *([] if x is None else [x])])
    names = [f"{name} {k}" for k, name in enumerate(study)]
    return xr.Dataset(
        {"estimate": ("row", y), "error": ("row", se), "design": (("row", "term"), design)},
        {"row": names, "study": ("row", study), "term": [f"t{k}" for k in range(design.shape[1])]},
    )


def priors(centre: float, spread: float, **more: Prior) -> dict[str, Prior]:
    """Priors of the scales that the reference was computed with."""
    return {"centre": prior("Normal", mu=0.0, sigma=centre),
            "study": prior("HalfNormal", sigma=spread), **more}  # fmt: skip


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize(("key", "scales"), [("bayes", (4.0, 0.5)), ("bayes_wide", (1.0, 1.0))])
def test_as_quadrature_in_r(name: str, key: str, scales: tuple[float, float]) -> None:
    """Quantiles of centre, spread, new study and means of studies: R's integrate(), synthesis.R."""
    if key not in REFERENCE[name]:
        assert name == "peto"
        return
    known, right = REFERENCE[name], REFERENCE[name][key]
    data = rows(known["y"], known["se"], list("abcdef"))
    made = RandomEffects.of(data, priors(*scales)).draws(NUMBER, 1)
    new = made["beta"][:, 0] + made["new"][:, 0]
    found = {"mu": made["beta"][:, 0], "new": new, "tau": made["tau"][:, 0]}
    for what, values in found.items():
        for p, answer in zip((0.025, 0.5, 0.975), right[what], strict=True):
            below = float((values < answer).mean())  # a probability: its error is known
            assert below == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / NUMBER)), (what, p)
    error = 4 * made["effect"].std(0) / np.sqrt(NUMBER)
    np.testing.assert_array_less(np.abs(made["effect"].mean(0) - right["theta_mean"]), error)


def test_without_spread_it_is_the_common_effect() -> None:
    """Spread to 0, flat centre: inverse variance weights, all effects equal."""
    y, se = np.array([0.1, 0.5, -0.2]), np.array([0.2, 0.1, 0.3])
    made = RandomEffects.of(rows(y, se, list("abc")), priors(100.0, 1e-6)).draws(NUMBER, 2)
    w = 1 / se**2
    assert made["beta"].mean() == pytest.approx(w @ y / w.sum(), abs=4 * w.sum() ** -0.5 / 200)
    assert made["beta"].std() == pytest.approx(w.sum() ** -0.5, rel=0.02)
    np.testing.assert_allclose(made["effect"], made["beta"] + np.zeros(3), atol=1e-4)


def test_a_wide_spread_pools_nothing() -> None:
    """Studies thousands of standard errors apart leave no small spread: each stays as it is."""
    y, se = np.array([100.0, 500.0, -200.0]), np.array([0.2, 0.1, 0.3])
    data = rows(y, se, list("abc"))
    made = RandomEffects.of(data, priors(1e4, 1e4)).draws(NUMBER, 3)
    np.testing.assert_allclose(made["effect"].mean(0), y, atol=4 * 0.3 / 200)
    np.testing.assert_allclose(made["effect"].std(0), se, rtol=0.02)


def test_prior_is_that_of_the_model() -> None:
    data = rows([0.0], [1.0], ["a"])
    made = RandomEffects.of(data).draws(NUMBER, 4, prior=True)
    assert stats.kstest(made["beta"][:, 0], stats.norm.cdf).pvalue > 1e-4
    assert stats.kstest(made["tau"][:, 0], stats.halfnorm(scale=0.5).cdf).pvalue > 1e-4
    both = made["effect"][:, 0]
    assert both.var() == pytest.approx(1 + 0.25, rel=0.05)  # E tau^2 = 0.5^2


def test_a_moderator_and_two_spreads_by_brute_force() -> None:
    """Two rows a study: weights of prior draws (importance sampling) are an independent judge."""
    rng = np.random.default_rng(5)
    study, x = ["a", "a", "b", "b", "c"], np.array([-0.5, 0.5, -0.5, 0.5, -0.5])
    y, se = [0.1, -0.6, 0.4, 0.2, -0.3], [0.3, 0.25, 0.4, 0.3, 0.5]
    model = RandomEffects.of(rows(y, se, study, x))
    made = model.draws(NUMBER, 6)
    size = 400_000
    tau = np.abs(rng.normal(0, [0.5, 0.25], (size, 2)))
    u = tau[:, :1] * rng.standard_normal((size, 3))
    theta = (rng.normal(0, 1, (size, 1)) + x * (slope := rng.normal(0, 0.5, (size, 1)))
             + u[:, [0, 0, 1, 1, 2]] + tau[:, 1:] * rng.standard_normal((size, 5)))  # fmt: skip
    weight = np.exp(stats.norm.logpdf(y, theta, se).sum(1))
    weight /= weight.sum()
    effective = 1 / (weight**2).sum()
    assert effective > 2000
    for found, judge in ((made["beta"][:, 1], slope[:, 0]), (made["tau"][:, 1], tau[:, 1]),
                         (made["effect"][:, 0], theta[:, 0])):  # fmt: skip
        mean = weight @ judge
        sd = np.sqrt(weight @ (judge - mean) ** 2)
        assert found.mean() == pytest.approx(mean, abs=4 * sd * np.hypot(effective**-0.5, 1 / 200))
        assert found.std() == pytest.approx(sd, rel=4 / np.sqrt(effective))


def test_left_out_rows_are_predicted() -> None:
    """A study left out has the effect of a new one."""
    known = REFERENCE["crins"]
    data = rows(known["y"], known["se"], list("abcdef"))
    model = RandomEffects.of(data)
    made = model.draws(NUMBER, 7, np.arange(1, 6))
    new = made["beta"][:, 0] + made["new"][:, 0]
    assert stats.ks_2samp(made["effect"][:, 0], new).pvalue > 1e-4


def test_ranks_of_the_truth_are_uniform() -> None:
    """Simulation-based calibration with one and two rows a study, 400 sets of studies."""
    rng = np.random.default_rng(8)
    study, x = [*"aabbcdef"], np.array([-0.5, 0.5, -0.5, 0.5, 0.5, -0.5, 0.5, -0.5])
    se = [0.2, 0.3, 0.1, 0.2, 0.4, 0.3, 0.2, 0.6]
    of = np.array([0, 0, 1, 1, 2, 3, 4, 5])
    ranks = []
    for seed in range(400):
        tau = np.abs(rng.normal(0, [0.5, 0.25]))
        beta = rng.normal(0, [1.0, 0.5])
        theta = (beta[0] + beta[1] * x + (tau[0] * rng.standard_normal(6))[of]
                 + tau[1] * rng.standard_normal(8))  # fmt: skip
        y = rng.normal(theta, se)
        made = RandomEffects.of(rows(y.tolist(), se, study, x)).draws(200, seed)
        values = [*zip(made["beta"].T, beta, strict=True), *zip(made["tau"].T, tau, strict=True),
                  (made["effect"][:, 0], theta[0])]  # fmt: skip
        ranks.append([(drawn < truth).mean() for drawn, truth in values])
    for rank in np.array(ranks).T:
        jittered = rank * 200 / 201 + rng.uniform(size=len(rank)) / 201
        assert stats.kstest(jittered, "uniform").pvalue > 1e-3


def test_a_prior_of_another_family_is_refused() -> None:
    with pytest.raises(BadInput, match="of another family"):
        RandomEffects.of(rows([0.0], [1.0], ["a"]), {"study": prior("Uniform", lower=0, upper=1)})

"""Cohorts of patients among printed ratios: their likelihood, the posterior with it, the doors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import special, stats

import her2bayes as hb
from her2bayes.errors import BadInput
from her2bayes.inference.sampling import Sampling
from her2bayes.synthesis.effects import EffectsFit, with_cohorts
from her2bayes.synthesis.random_effects import Cohort, RandomEffects

NUMBER = 40_000
ASKED = "hazard_ratio[os ; her2: low vs zero]"
AML = Cohort(np.array([[1, 4], [2, 1], [3, 4], [1, 2]]),
             np.array([[109, 106], [84, 68], [81, 63], [149, 18]]))  # fmt: skip
"""Maintained and not, of survival::aml in R, by (0, 10], (10, 20], (20, 35], (35, inf)."""


def rows(y: list[float], se: list[float], cohorts: list[Cohort | None]) -> xr.Dataset:
    names = [f"s{k}" for k in range(len(y))]
    data = xr.Dataset(
        {"estimate": ("row", y), "error": ("row", se),
         "design": (("row", "term"), np.ones((len(y), 1)))},
        {"row": names, "study": ("row", names), "term": ["centre"],
         "how": ("row", ["printed"] * len(y))},
    )  # fmt: skip
    return with_cohorts(data, cohorts)


def test_estimate_is_that_of_poisson_regression_in_r() -> None:
    """R 4.2: glm(status ~ g + factor(j) + offset(log(pt)), poisson) of survSplit(aml)."""
    estimate = AML.estimate()
    assert estimate is not None
    assert estimate == pytest.approx((-0.950849272, 0.515013149), rel=1e-7)


@pytest.mark.parametrize(("d1", "d0"), [(3, 2), (40, 7), (1, 1), (500, 600)])
def test_one_interval_is_a_beta(d1: int, d0: int) -> None:
    """Equal person-months: flat in the log ratio, its logit has a Beta(d1, d0)."""
    at, weight, width = Cohort(np.array([[d1, d0]]), np.array([[50.0, 50.0]])).normals()
    share = special.softmax(weight)
    mean = share @ at
    assert mean == pytest.approx(special.psi(d1) - special.psi(d0), abs=0.02 * width + 1e-3)
    variance = share @ (at - mean) ** 2 + width**2
    right = special.polygamma(1, d1) + special.polygamma(1, d0)
    if min(d1, d0) > 1:  # with one event the tail reaches beyond what is followed
        assert variance == pytest.approx(right, rel=2e-3)
    grid = np.linspace(mean - 2 * right**0.5, mean + 2 * right**0.5, 9)
    found = special.logsumexp(weight + stats.norm.logpdf(grid[:, None], at, width), axis=1)
    exact = d1 * grid - (d1 + d0) * np.logaddexp(grid, 0)
    np.testing.assert_allclose(found - found[4], exact - exact[4], atol=5e-4)


@pytest.mark.parametrize("small", [AML, Cohort(np.array([[0, 5]]), np.array([[80.0, 60.0]]))])
def test_posterior_by_brute_force(small: Cohort) -> None:
    """Weights of prior draws, binomials by scipy, are an independent judge; two cohorts."""
    other = Cohort(np.array([[2, 3]]), np.array([[40.0, 30.0]]))
    y, se = [-0.2, 0.1, 0.0, 0.0], [0.3, 0.2, 1.0, 1.0]
    data = rows(y, se, [None, None, small, other])
    made = RandomEffects.of(data).draws(NUMBER, 1)
    rng = np.random.default_rng(2)
    size = 400_000
    tau, mu = np.abs(rng.normal(0, 0.5, size)), rng.normal(0, 1, size)
    theta = mu + tau * rng.standard_normal((4, size))
    log = stats.norm.logpdf(theta[0], y[0], se[0]) + stats.norm.logpdf(theta[1], y[1], se[1])
    for drawn, cohort in ((theta[2], small), (theta[3], other)):
        for (a, b), (t, u) in zip(cohort.events, cohort.months, strict=True):
            chance = special.expit(drawn + np.log(t / u))
            log += stats.binom.logpmf(a, a + b, chance)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    effective = 1 / (weight**2).sum()
    assert effective > 2000
    pairs = ((made["beta"][:, 0], mu), (made["tau"][:, 0], tau), (made["effect"][:, 2], theta[2]),
             (made["effect"][:, 3], theta[3]), (made["effect"][:, 0], theta[0]))  # fmt: skip
    for found, judge in pairs:
        order = np.argsort(judge)
        below = np.cumsum(weight[order])
        for p in (0.025, 0.25, 0.5, 0.75, 0.975):
            at = judge[order][np.searchsorted(below, p)]
            inside = (judge < at) - p
            error = np.sqrt((weight * inside) @ (weight * inside) + p * (1 - p) / NUMBER)
            assert float((found < at).mean()) == pytest.approx(p, abs=4 * error), p


def test_large_cohorts_are_normal_and_small_ones_are_not() -> None:
    large = Cohort(AML.events * 100, AML.months * 100)
    for cohort, alike in ((large, True), (AML, False)):
        estimate = cohort.estimate()
        assert estimate is not None
        y, se = [-0.2, estimate[0]], [0.1, estimate[1]]
        exact = RandomEffects.of(rows(y, se, [None, cohort])).draws(NUMBER, 3)
        normal = RandomEffects.of(rows(y, se, [None, None])).draws(NUMBER, 3)
        low, other = (np.quantile(made["effect"][:, 1], 0.025) for made in (exact, normal))
        assert (abs(low - other) < 0.15 * estimate[1]) == alike or not alike
    small = Cohort(np.array([[0, 6]]), np.array([[60.0, 60.0]]))  # no maximum: half an event each
    shown = Cohort(np.array([[0.5, 6.5]]), np.array([[60.0, 60.0]])).estimate()
    assert shown is not None
    y, se = [-0.2, shown[0]], [0.1, shown[1]]
    exact = RandomEffects.of(rows(y, se, [None, small])).draws(NUMBER, 3)
    normal = RandomEffects.of(rows(y, se, [None, None])).draws(NUMBER, 3)
    assert exact["effect"][:, 1].mean() < normal["effect"][:, 1].mean()


def test_without_cohorts_both_lattices_agree() -> None:
    """A cohort of thousands beside a printed ratio: as two printed ratios, quantile by quantile."""
    large = Cohort(AML.events * 1000, AML.months * 1000)
    estimate = large.estimate()
    assert estimate is not None
    y, se = [-0.2, 0.3, estimate[0]], [0.1, 0.2, estimate[1]]
    exact = RandomEffects.of(rows(y, se, [None, None, large])).draws(NUMBER, 4)
    normal = RandomEffects.of(rows(y, se, [None, None, None])).draws(NUMBER, 5)
    for name in ("beta", "tau", "effect"):
        for k in range(exact[name].shape[1]):
            assert stats.ks_2samp(exact[name][:, k], normal[name][:, k]).pvalue > 1e-4, (name, k)


@pytest.fixture(scope="module")
def own():
    """Patients whose receptor status confounds: fit with both factors."""
    rng = np.random.default_rng(3)
    hr = rng.choice(["positive", "negative"], 400)
    low = rng.random(400) < np.where(hr == "positive", 0.8, 0.3)
    her2 = np.where(low, "low", "zero")
    time = rng.exponential(np.where(hr == "positive", 40.0, 12.0))
    frame = pd.DataFrame({"her2": her2, "hr_status": hr, "os_months": np.minimum(time, 60.0),
                          "os_event": time < 60})  # fmt: skip
    return hb.fit_survival(frame, time="os_months", event="os_event", quick=True,
                           by={"her2": ["zero", "low"], "hr_status": None})  # fmt: skip


def test_a_cohort_is_unadjusted_unless_asked(own) -> None:
    """Confounded: the ratio of all is far below 1, that within receptor status about 1."""
    plain = hb.synthesise({"tan2022": "tan2022", "mine": own}, ASKED)
    assert isinstance(plain, EffectsFit)
    all_ = float(plain.data["estimate"].sel(row="mine"))
    events = own.cells["events"].sum("hr_status")
    months = own.cells["person_months"].sum("hr_status")
    crude = np.log(float(events.sel(her2="low").sum() / months.sel(her2="low").sum()))
    crude -= np.log(float(events.sel(her2="zero").sum() / months.sel(her2="zero").sum()))
    assert all_ < -0.3
    assert all_ == pytest.approx(crude, abs=0.15)
    assert "likelihood of its" in str(plain.data["how"].sel(row="mine").item())
    bare = own.cells[["events", "person_months"]].sum("hr_status").assign_attrs(endpoint="os")
    with pytest.raises(BadInput, match="fewer than two studies"):  # nothing to adjust for
        hb.synthesise({"tan2022": "tan2022", "mine": bare}, ASKED, reading="multivariable")
    adjusted = hb.synthesise({"a": own, "b": own}, ASKED, reading="multivariable")
    assert isinstance(adjusted, EffectsFit)
    within = float(adjusted.data["estimate"][0])
    assert abs(within) < abs(all_) - 0.2


def test_cells_alone_and_a_level_of_a_moderator(own, tmp_path) -> None:
    fit = hb.synthesise({"tan2022": "tan2022", "cells": own.cells}, ASKED,
                        sampling=Sampling(chains=4, draws=500, tune=10))  # fmt: skip
    assert isinstance(fit, EffectsFit)
    assert fit.model.exact
    again = hb.load_fit(fit.save(tmp_path / "fit.nc"))
    asked = "hazard_ratio[os | study=new ; her2: low vs zero]"
    np.testing.assert_array_equal(again.draws(asked), fit.draws(asked))
    assert again.fit_id == fit.fit_id
    turned = hb.synthesise({"tan2022": "tan2022", "cells": own.cells},
                           "hazard_ratio[os ; her2: zero vs low]",
                           sampling=Sampling(chains=4, draws=500, tune=10))  # fmt: skip
    there = float(fit.draws(asked).median())
    back = float(turned.draws("hazard_ratio[os | study=new ; her2: zero vs low]").median())
    assert there * back == pytest.approx(1.0, abs=0.05)
    levels = hb.synthesise({"a": own, "b": own}, ASKED, moderators="hr_status")
    assert isinstance(levels, EffectsFit)
    assert not levels.model.exact
    assert all(str(how).endswith("as a normal") for how in levels.data["how"].values)

"""Batched densities and predictive draws: plain and labelled variables, fixed sizes, pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from her2bayes.inference import densities
from her2bayes.inference.structure import compiler_flags


@pytest.fixture(scope="module")
def mixed() -> Any:
    """Plain PyMC and labelled variables, a vector distribution, an observation without dims."""
    import pymc as pm
    import pymc.dims as pmd

    with pm.Model(coords={"group": ["a", "b"], "part": ["x", "y", "z"]}) as model:
        level = pm.Normal("level", 0.0, 2.0)
        effect = pmd.Normal("effect", 0.0, 1.0, dims="group")
        share = pm.Dirichlet("share", np.ones(3), dims="part")
        mean = pm.Deterministic("mean", level + effect.values, dims="group")
        pm.Normal("y", mean, 0.5, observed=np.array([0.3, -0.4]), dims="group")
        pm.Multinomial("n", n=10, p=share, observed=np.array([2, 3, 5]))
    return model


@pytest.fixture(scope="module")
def draws() -> xr.Dataset:
    rng = np.random.default_rng(3)
    share = rng.dirichlet([2, 3, 5], size=(2, 50))
    return xr.Dataset(
        {
            "level": (("chain", "draw"), rng.normal(size=(2, 50))),
            "effect": (("chain", "draw", "group"), rng.normal(size=(2, 50, 2))),
            "share": (("chain", "draw", "part"), share),
        },
        coords={"chain": [0, 1], "draw": np.arange(50)},
    )


def test_log_densities_of_plain_and_labelled_variables(mixed: Any, draws: xr.Dataset) -> None:
    with compiler_flags():
        likelihood, prior = densities.log_densities(mixed, draws)
    mean = draws["level"] + draws["effect"]
    np.testing.assert_allclose(
        likelihood["y"].transpose("chain", "draw", "group"),
        stats.norm.logpdf([0.3, -0.4], mean.transpose("chain", "draw", "group"), 0.5),
        rtol=1e-7,
    )
    expected = stats.multinomial.logpmf([2, 3, 5], 10, draws["share"].values)
    np.testing.assert_allclose(likelihood["n"], expected, rtol=1e-6)
    np.testing.assert_allclose(prior["level"], stats.norm.logpdf(draws["level"], 0, 2), rtol=1e-7)
    np.testing.assert_allclose(prior["share"], np.log(2.0))
    assert list(likelihood["y"]["group"].values) == ["a", "b"]


def test_predictive_draws_are_batched_and_reproducible(mixed: Any, draws: xr.Dataset) -> None:
    with compiler_flags():
        one, two, other = (densities.posterior_predictive(mixed, draws, s) for s in (1, 1, 2))
    xr.testing.assert_identical(one, two)
    assert not one.equals(other)
    assert one["y"].sizes == {"chain": 2, "draw": 50, "group": 2}
    assert (one["n"].sum(one["n"].dims[-1]) == 10).all()
    residual = one["y"] - (draws["level"] + draws["effect"])
    assert float(residual.std()) == pytest.approx(0.5, rel=0.2)


def test_pieces_give_the_same_as_the_whole(
    mixed: Any, draws: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with compiler_flags():
        whole = densities.log_densities(mixed, draws)
        monkeypatch.setattr(densities, "_CELLS_AT_ONCE", 7)
        pieces = densities.log_densities(mixed, draws)
    for one, other in zip(whole, pieces, strict=True):
        xr.testing.assert_identical(one, other)


def test_a_variable_that_no_parameter_moves_is_the_same_in_every_draw() -> None:
    import pymc as pm

    with pm.Model() as model:
        pm.Normal("x")
        pm.Normal("y", 0.0, 1.0, observed=np.zeros(3))
    draws = xr.Dataset({"x": (("chain", "draw"), np.zeros((2, 5)))})
    draws = draws.assign_coords(chain=[0, 1], draw=np.arange(5))
    with compiler_flags():
        likelihood, _ = densities.log_densities(model, draws)
    np.testing.assert_allclose(likelihood["y"], stats.norm.logpdf(0.0))
    assert likelihood["y"].shape == (2, 5, 3)


def test_observed_data_is_what_the_likelihood_saw(mixed: Any) -> None:
    with compiler_flags():
        observed = densities.observed_data(mixed)
    np.testing.assert_array_equal(observed["y"].sel(group="b"), -0.4)
    np.testing.assert_array_equal(observed["n"], [2, 3, 5])


def test_what_no_parameter_reaches_is_the_same_at_every_draw() -> None:
    """A labelled constant cannot be batched; prior and derived values hold it all the same."""
    import pymc as pm
    import pymc.dims as pmd

    with compiler_flags(), pm.Model(coords={"group": ["a", "b"]}) as model:
        level = pmd.Normal("level")
        known = pmd.Data("known", np.array([1.0, 2.0]), dims="group")
        pmd.Deterministic("fixed", known)
        pmd.Deterministic("moved", known + level)
    with compiler_flags():
        prior, _ = densities.prior_draws(model, 1)
        derived = densities.derived(model, prior[["level"]])
    for found in (prior, derived):
        assert (found["fixed"] == [1.0, 2.0]).all()
        np.testing.assert_allclose(found["moved"] - prior["level"], found["fixed"])
    assert prior["fixed"].sizes == {"chain": 1, "draw": 2000, "group": 2}


def test_a_truncated_prior_is_drawn_in_one_batch() -> None:
    """Against SciPy; one draw at a time took the sensitivity to an assay most of its time."""
    import pymc as pm

    with compiler_flags(), pm.Model(coords={"group": ["a", "b"]}) as model:
        wide = pm.HalfNormal("wide", sigma=1.0)
        bare = pm.Beta.dist(np.array([6.0, 9.0]), np.array([1.0, 4.0]))
        right = pm.Truncated("right", bare, lower=0.5, upper=1.0, dims="group")
        pm.Deterministic("product", wide * right, dims="group")
    with compiler_flags():
        assert densities.shared(model).once("prior", densities._prior) is not None
        prior, _ = densities.prior_draws(model, 1)
    drawn = prior["right"].values[0]
    for column, beta in zip(drawn.T, (stats.beta(6, 1), stats.beta(9, 4)), strict=True):
        uniform = (beta.cdf(column) - beta.cdf(0.5)) / beta.sf(0.5)
        assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    together = np.corrcoef(np.column_stack([drawn, prior["wide"].values[0]]).T)
    assert np.abs(together[np.triu_indices(3, 1)]).max() < 4 / np.sqrt(len(drawn))
    np.testing.assert_allclose(prior["product"], prior["wide"] * prior["right"])


def test_a_prior_drawn_by_a_loop_is_drawn_one_by_one() -> None:
    """A truncated distribution without an inverse: its loop knows no batch."""
    import pymc as pm

    with compiler_flags(), pm.Model() as model:
        pm.Truncated("x", pm.VonMises.dist(0.0, 2.0), lower=0.0, upper=1.0, size=2)
    with compiler_flags():
        assert densities.shared(model).once("prior", densities._prior) is None

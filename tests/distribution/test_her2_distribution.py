"""The distribution model's graph: density against SciPy, prior in shares, one structure for all."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from her2bayes.bayes.prior import prior
from her2bayes.distribution import her2_distribution, her2_distribution_ordered
from her2bayes.inference.densities import prior_draws
from her2bayes.inference.structure import compiler_flags, structure

HER2 = ["zero", "low", "positive"]


def counts(values: list[list[int]], her2: list[str] | None = None) -> xr.DataArray:
    return xr.DataArray(
        np.array(values),
        dims=("subgroup", "her2"),
        coords={"subgroup": [f"level {n}" for n in range(len(values))], "her2": her2 or HER2},
    )


RELAPSE = counts([[19, 48, 22], [22, 42, 28], [12, 37, 17]])


def test_log_likelihood_is_the_multinomial_of_scipy() -> None:
    with compiler_flags():
        model = her2_distribution.build(RELAPSE)
        point = model.initial_point()
        rng = np.random.default_rng(1)
        point = {name: value + 0.3 * rng.normal(size=value.shape) for name, value in point.items()}
        outputs = [model["share"].values, *model.logp(vars=model.observed_RVs, sum=False)]
        evaluate = model.compile_fn(
            model.replace_rvs_by_values(outputs), mode="FAST_COMPILE", point_fn=True
        )
        share, density = evaluate(point)
    expected = [
        stats.multinomial.logpmf(row, row.sum(), p / p.sum())
        for row, p in zip(RELAPSE.values, share[:3], strict=True)
    ]
    np.testing.assert_allclose(density[:3], expected, rtol=1e-9)
    np.testing.assert_allclose(density[3:], 0, atol=1e-12)
    assert np.ptp(share[3:], axis=0).max() < 1e-12, "padding has no effect of its own"


def test_ordered_shares_move_all_odds_by_one_ratio() -> None:
    with compiler_flags():
        model = her2_distribution_ordered.build(RELAPSE)
        draws, _ = prior_draws(model, 1)
    above = 1 - draws["share"].cumsum("her2").isel(her2=[0, 1])
    odds = above / (1 - above)
    ratio = np.log(odds.isel(subgroup=0) / odds.isel(subgroup=1))
    shift = draws["beta"].isel(subgroup=0) - draws["beta"].isel(subgroup=1)
    np.testing.assert_allclose(ratio.isel(her2=0), shift, atol=1e-6)
    np.testing.assert_allclose(ratio.isel(her2=1), shift, atol=1e-6)


def test_prior_scales_are_those_of_zero_sum_normals() -> None:
    wide = {"tau": prior("HalfNormal", sigma=1e-9), "fixed_tau": prior("Constant", value=0.75)}
    with compiler_flags():
        draws, _ = prior_draws(her2_distribution.build(RELAPSE, wide, pooling="fixed"), 1)
    draws = draws.isel(subgroup=slice(3))
    # 2000 draws: the standard error of an sd is 1.6 %, of all cells together below 1 %
    assert float(draws["alpha"].std()) == pytest.approx(1.5 * np.sqrt(2 / 3), rel=0.04)
    assert float(draws["beta"].std()) == pytest.approx(0.75 * np.sqrt(2 / 3 * 2 / 3), rel=0.03)
    between = draws["beta"].isel(subgroup=0) - draws["beta"].isel(subgroup=1)
    assert float(between.std()) == pytest.approx(0.75 * np.sqrt(2 * 2 / 3), rel=0.03)
    for dim in ("subgroup", "her2"):
        np.testing.assert_allclose(draws["beta"].sum(dim), 0, atol=1e-9)


def test_prior_reads_back_as_the_shares_stated_on_the_page() -> None:
    with compiler_flags():
        draws, _ = prior_draws(her2_distribution.build(RELAPSE), 1)
    first = draws["share"].isel(subgroup=0).values
    lower, median, upper = np.quantile(first, [0.025, 0.5, 0.975])
    assert 0.003 < lower < 0.012
    assert 0.21 < median < 0.28
    assert 0.90 < upper < 0.95
    np.testing.assert_allclose(first.mean(axis=(0, 1)), 1 / 3, atol=0.03)


def test_any_order_of_categories_is_the_same_prior() -> None:
    """No category is a baseline: the prior of each share is the same."""
    with compiler_flags():
        draws, _ = prior_draws(her2_distribution.build(RELAPSE), 2)
    spread = draws["share"].std(("chain", "draw", "subgroup")).values
    np.testing.assert_allclose(spread, spread.mean(), rtol=0.06)


def test_tables_of_any_size_nested_or_not_and_any_priors_are_one_structure() -> None:
    nested = RELAPSE.assign_coords(parent=("subgroup", ["P", "P", "Q"]))
    narrow = {"alpha": prior("ZeroSumNormal", sigma=0.5)}
    with compiler_flags():
        same = {
            structure(her2_distribution.build(RELAPSE)),
            structure(her2_distribution.build(RELAPSE.isel(subgroup=[0]), narrow)),
            structure(her2_distribution.build(nested * 1000, pooling="complete")),
        }
        other = structure(her2_distribution.build(counts([[1, 2, 3, 4]], [*HER2, "ultralow"])))
    assert len(same) == 1
    assert other not in same

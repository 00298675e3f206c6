"""Comparisons of levels: signs, symmetry, Cramér's V against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.stats.contingency import association

from her2bayes.inference import estimates

COUNTS = np.array([[23, 92, 20], [30, 35, 47], [5, 14, 12]])


def shares(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(
        values / values.sum(axis=1, keepdims=True),
        dims=("level", "her2"),
        coords={"level": ["a", "b", "c"][: len(values)], "her2": ["zero", "low", "positive"]},
    ).expand_dims(chain=2, draw=3)


def test_pairs_are_all_pairs_once_in_order() -> None:
    assert estimates.pairs(shares(COUNTS), "level") == [("a", "b"), ("a", "c"), ("b", "c")]
    assert estimates.pairs(shares(COUNTS[:1]), "level") == []


def test_difference_is_first_minus_second() -> None:
    found = estimates.difference(shares(COUNTS), "level", "a", "b").sel(her2="low")
    np.testing.assert_allclose(found, 92 / 135 - 35 / 112)
    reverse = estimates.difference(shares(COUNTS), "level", "b", "a").sel(her2="low")
    np.testing.assert_allclose(found, -reverse)


def test_largest_difference_is_the_largest_over_pairs_and_categories() -> None:
    share = shares(COUNTS)
    each = [
        np.abs(estimates.difference(share, "level", a, b)).max("her2")
        for a, b in estimates.pairs(share, "level")
    ]
    expected = np.max(each, axis=0)
    np.testing.assert_allclose(estimates.largest_difference(share, "level"), expected)


@pytest.mark.parametrize("rows", [2, 3])
def test_cramers_v_of_observed_shares_is_that_of_the_table(rows: int) -> None:
    table = COUNTS[:rows]
    patients = xr.DataArray(table.sum(axis=1), dims="level")
    found = estimates.cramers_v(shares(table), patients, "level")
    np.testing.assert_allclose(found, association(table, method="cramer"))
    assert found.dims == ("chain", "draw")


def test_equal_shares_have_no_association_and_a_single_level_has_none_to_have() -> None:
    same = shares(np.array([[2, 3, 5], [20, 30, 50]]))
    patients = xr.DataArray([10, 100], dims="level")
    np.testing.assert_allclose(estimates.cramers_v(same, patients, "level"), 0, atol=1e-9)
    one = estimates.cramers_v(shares(COUNTS[:1]), xr.DataArray([135], dims="level"), "level")
    assert one.isnull().all()

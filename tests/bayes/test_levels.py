"""Contrasts of levels: zero-sum, orthonormal, nested within parents; padding changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from her2bayes.bayes.levels import design, information, is_padding, padded, parent_rows, places
from her2bayes.errors import BadInput

SITES = ["a", "b", "c", "d", "e", "f"]
PARENTS = ["P", "P", "P", "Q", "R", "R"]


def counts(values: np.ndarray, parents: list[str] | None = None) -> xr.DataArray:
    array = xr.DataArray(
        values,
        dims=("subgroup", "her2"),
        coords={"subgroup": SITES[: len(values)], "her2": ["zero", "low", "positive"]},
    )
    return array if parents is None else array.assign_coords(parent=("subgroup", parents))


def used(data: xr.Dataset, family: str) -> np.ndarray:
    effects = [str(e).startswith(f"{family} ") for e in data["effect"].values]
    return data["contrast"].values[:, effects]


@pytest.mark.parametrize("levels", [2, 3, 6])
def test_flat_effects_have_the_covariance_of_a_zero_sum_normal(levels: int) -> None:
    data = design(counts(np.ones((levels, 3), dtype=int)))
    contrast = used(data, "level")[:levels]
    # projection of independent normals on the vectors that sum to zero: sd sqrt(1 - 1/L) each
    np.testing.assert_allclose(contrast @ contrast.T, np.eye(levels) - 1 / levels, atol=1e-12)
    assert contrast.shape == (levels, levels - 1)


def test_nested_effects_sum_to_zero_within_each_parent() -> None:
    data = design(counts(np.ones((6, 3), dtype=int), PARENTS))
    between, within = used(data, "parent")[:6], used(data, "level")[:6]
    assert between.shape == (6, 2)
    assert within.shape == (6, 2 + 0 + 1)
    for parent in "PQR":
        rows = np.array(PARENTS) == parent
        np.testing.assert_allclose(within[rows].sum(axis=0), 0, atol=1e-12)
        assert np.ptp(between[rows], axis=0).max() == 0
    one_each = between[[0, 3, 4]]
    np.testing.assert_allclose(one_each @ one_each.T, np.eye(3) - 1 / 3, atol=1e-12)


@pytest.mark.parametrize(
    ("levels", "pooling", "learned"),
    [(1, "partial", 0), (2, "partial", 0), (3, "partial", 2), (3, "fixed", 0), (3, "complete", 0)],
)
def test_spread_is_learned_from_two_effects_on(levels: int, pooling: str, learned: int) -> None:
    assert design(counts(np.ones((levels, 3), dtype=int)), pooling)["learned"].sum() == learned


def test_complete_pooling_has_no_effects() -> None:
    data = design(counts(np.ones((4, 3), dtype=int)), "complete")
    assert not data["contrast"].values.any()
    assert all(is_padding(label) for label in data["effect"].values)


def test_tables_of_different_size_have_one_shape_and_padding_no_effect_or_patient() -> None:
    small, large = (design(counts(np.ones((n, 3), dtype=int))) for n in (1, 6))
    assert small.sizes == large.sizes
    empty = [is_padding(label) for label in large["subgroup"].values]
    assert not large["counts"].values[empty].any()
    assert not large["contrast"].values[empty].any()


def test_places_double_until_the_table_fits() -> None:
    assert [places(n) for n in (1, 8, 9, 33)] == [8, 8, 16, 64]
    labels = padded(["a"], 3)
    assert [is_padding(label) for label in labels] == [False, True, True]
    assert len(set(labels)) == 3


def test_information_grows_with_patients_and_ignores_an_empty_category() -> None:
    contrast = design(counts(np.ones((3, 3), dtype=int)))["contrast"].values[:3, :2]
    some = np.array([[20, 50, 30]] * 3)
    np.testing.assert_allclose(
        information(1000 * some, contrast) / information(some, contrast), 1000, rtol=0.01
    )
    # 100 patients a level, shares 0.2, 0.5, 0.3: 100 * (1 - 0.38) / 2 = 31
    np.testing.assert_allclose(information(some, contrast), 31, rtol=0.01)
    sparse = information(np.array([[0, 10, 0]] * 3), contrast)
    assert (sparse > 0).all()
    assert (sparse < information(some, contrast) / 5).all()


def test_parent_rows_name_the_parent_of_each_subgroup() -> None:
    data = parent_rows(counts(np.ones((6, 3), dtype=int), PARENTS))
    names = data["parent"].values[data["member"].values[:6].argmax(axis=1)]
    assert list(names) == PARENTS
    assert "member" not in parent_rows(counts(np.ones((6, 3), dtype=int)))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (counts(np.array([[1, -1, 2]])), "not whole numbers"),
        (counts(np.array([[1, 0.5, 2]])), "not whole numbers"),
        (counts(np.array([[1, np.nan, 2]])), "not whole numbers"),
        (counts(np.ones((2, 3), dtype=int)).assign_coords(subgroup=["a", "a"]), "appears twice"),
        (counts(np.ones((2, 3), dtype=int)).isel(her2=[0]), "too few"),
        (counts(np.ones((2, 3), dtype=int)).rename(subgroup="row"), "not StatusCounts"),
    ],
)
def test_counts_that_are_none_are_refused(array: xr.DataArray, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        design(array)


def test_unknown_pooling_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"unknown pooling.*partial, fixed, complete"):
        design(counts(np.ones((2, 3), dtype=int)), "some")

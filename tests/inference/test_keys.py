"""Hashes: equal for equal content, different for any difference that matters."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import xarray as xr

from her2bayes.inference.store import data_digest, fit_key
from her2bayes.version import versions


def array() -> xr.DataArray:
    return xr.DataArray(np.arange(4).reshape(2, 2), dims=("a", "b"), coords={"a": ["x", "y"]})


def test_equal_data_have_equal_digests_whatever_the_order_of_variables() -> None:
    assert data_digest(array()) == data_digest(array().copy(deep=True))
    one = xr.Dataset({"u": array(), "v": array() + 1})
    other = xr.Dataset({"v": array() + 1, "u": array()})
    assert data_digest(one) == data_digest(other)
    assert data_digest({"k": array(), "n": 3}) == data_digest({"n": 3, "k": array()})


@pytest.mark.parametrize(
    "other",
    [
        array() + 1,
        array().astype(float),
        array().T,
        array().rename(a="c"),
        array().assign_coords(a=["x", "z"]),
        array().assign_coords(b=[0, 1]),
        array().assign_attrs(time_unit="months"),
        array().to_dataset(name="n"),
        {"n": array()},
        "text",
        None,
    ],
)
def test_any_difference_changes_the_digest(other: Any) -> None:
    assert data_digest(other) != data_digest(array())


def test_versions_are_read_without_importing() -> None:
    found = versions()
    assert found["pymc"][0].isdigit()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))


def test_key_is_twelve_hexadecimal_digits_of_the_content() -> None:
    assert fit_key({"a": 1, "b": 2}) == fit_key({"b": 2, "a": 1})
    assert fit_key({"a": 1}) != fit_key({"a": 2})
    assert len(fit_key({})) == 12
    assert int(fit_key({}), 16) >= 0

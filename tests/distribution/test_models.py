"""Every model of the table: builds, has a finite gradient where sampling starts, refuses priors."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest
import xarray as xr

from her2bayes.bayes.prior import prior
from her2bayes.distribution import estimates
from her2bayes.errors import BadInput
from her2bayes.inference.structure import compiler_flags

MODELS = {name: f"her2bayes.distribution.{name}" for name in estimates.MODELS}

NESTED = xr.DataArray(
    np.array([[8, 17, 9], [8, 20, 0], [12, 37, 17], [6, 11, 4]]),
    dims=("subgroup", "her2"),
    coords={
        "subgroup": ["breast", "chest wall", "contralateral", "lung"],
        "her2": ["zero", "low", "positive"],
        "parent": ("subgroup", ["LRR", "LRR", "CBC", "DM"]),
    },
)
STATUS = {
    "flat": NESTED.drop_vars("parent"),
    "nested": NESTED,
    "two levels": NESTED.drop_vars("parent").isel(subgroup=[0, 1]),
    "one level": NESTED.drop_vars("parent").isel(subgroup=[1]),
    "nine levels": xr.concat([NESTED.drop_vars("parent")] * 3, "subgroup")
    .isel(subgroup=slice(9))
    .assign_coords(subgroup=list("abcdefghi")),
    "four categories": NESTED.drop_vars("parent").T.rename(subgroup="her2", her2="subgroup"),
    "no patients at all": NESTED.drop_vars("parent") * 0,
}
EXAMPLES: dict[str, dict[str, Any]] = {
    name: STATUS for name in MODELS if name.startswith("her2_distribution")
}
CASES = [
    pytest.param(name, case, marks=() if case == "nested" else pytest.mark.slow)
    for name in MODELS
    for case in EXAMPLES[name]
]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_finite_gradient_at_the_initial_point(name: str, case: str) -> None:
    build = import_module(MODELS[name]).build
    with compiler_flags():
        model = build(EXAMPLES[name][case])
        gradient = model.compile_dlogp(mode="FAST_COMPILE")(model.initial_point())
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", MODELS)
def test_unknown_prior_is_refused_with_the_known_ones(name: str) -> None:
    module = import_module(MODELS[name])
    example = next(iter(EXAMPLES[name].values()))
    known = next(iter(module.DEFAULT_PRIORS))
    with pytest.raises(BadInput, match=f"no prior named 'nonsense'.*{known}"):
        module.build(example, {"nonsense": prior("Normal", mu=0.0, sigma=1.0)})

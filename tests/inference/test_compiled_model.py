"""Compiled densities: PyMC's own numbers, and a second process compiles nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from her2bayes.calibration.designs import chosen, kinds
from her2bayes.inference import engine, structure
from her2bayes.inference.engine import compiled_model
from her2bayes.inference.structure import compiler_flags


def model_of_many_kinds(scale: float = 0.5) -> Any:
    """Data of no, one and two dimensions, as floats, whole numbers and flags."""
    import pymc as pm

    with pm.Model(coords={"row": [0, 1, 2], "column": [0, 1]}) as model:
        matrix = pm.Data("matrix", np.arange(6.0).reshape(3, 2), dims=("row", "column"))
        counts = pm.Data("counts", np.array([3, 0, 8]), dims="row")
        kept = pm.Data("kept", np.array([True, False, True]), dims="row")
        spread = pm.Data("scale", np.array(scale))
        slope = pm.Normal("slope", 0, spread, dims="column")
        tau = pm.HalfNormal("tau", 1.0)
        level = pm.Deterministic("level", (matrix * slope).sum(axis=1) * kept * tau, dims="row")
        pm.Poisson("events", pm.math.exp(level), observed=counts, dims="row")
    return model


def made(name: str) -> Any:
    """A model of the package at the design and data of a calibration."""
    design, kind = chosen(name), kinds()[name]
    drawn = kind.draw(np.random.default_rng([1, 1]), design)
    return design.build(drawn.data, **kind.options)


def values_of(model: Any, point: np.ndarray) -> tuple[float, np.ndarray]:
    """Log density and gradient of the compiled function that the sampler calls."""
    import ctypes

    sampler = compiled_model(model)
    gradient, value = np.empty(len(point)), np.empty(1)
    number = ctypes.POINTER(ctypes.c_double)
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_uint64, *[number] * 3, ctypes.c_void_p)
    pointers = [array.ctypes.data_as(number) for array in (point, gradient, value)]
    function = kind(sampler.compiled_logp_func.address)
    code = function(len(point), *pointers, sampler.user_data.ctypes.data)
    assert code == 0
    return float(value[0]), gradient


# PyMC's own takes seconds to compile for each
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "response" else pytest.mark.slow)
        for name in sorted(kinds())
    ],
)
def test_density_and_gradient_are_pymcs(name: str) -> None:
    """Against PyMC's functions in PyTensor's Python mode; each model of the package is lowered.

    PyMC has no gradient of labelled potentials: there it is that of differences of its density.
    """
    with compiler_flags():
        model = made(name)
        if model.potentials:
            _compare_differences(model)
            return
        reference = model.logp_dlogp_function(mode="FAST_COMPILE", ravel_inputs=True)
        reference.set_extra_values({})
        n = compiled_model(model).n_dim
        rng = np.random.default_rng(4)
        for point in rng.normal(0, 0.7, (5, n)):
            value, gradient = reference(point)
            ours, ours_gradient = values_of(model, point)
            assert ours == pytest.approx(float(value), rel=1e-10)
            np.testing.assert_allclose(ours_gradient, gradient, rtol=1e-8, atol=1e-8)


def _compare_differences(model: Any) -> None:
    density, start = model.compile_logp(mode="FAST_COMPILE"), model.initial_point()
    names = [value.name for value in model.continuous_value_vars]
    sizes = [np.size(start[name]) for name in names]
    n, rng, step = compiled_model(model).n_dim, np.random.default_rng(4), 1e-5
    assert sum(sizes) == n

    def at(point: np.ndarray) -> float:
        parts = np.split(point, np.cumsum(sizes)[:-1])
        shaped = zip(names, parts, strict=True)
        return float(density({name: part.reshape(np.shape(start[name])) for name, part in shaped}))

    for point in rng.normal(0, 0.5, (2, n)):
        ours, gradient = values_of(model, point)
        assert ours == pytest.approx(at(point), rel=1e-10)
        sides = (at(point + side * step * row) for row in np.eye(n) for side in (1, -1))
        slopes = np.array(list(sides)).reshape(n, 2) @ [1, -1] / (2 * step)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-3)


_CODE = """
import hashlib, json, sys
import numpy as np
import test_compiled_model as t
from her2bayes.inference import engine
from her2bayes.inference.sampling import Sampling
made = []
kept = engine._planned
engine._planned = lambda *a: made.append(1) or kept(*a)
with engine.compiler_flags():
    settings = Sampling(draws=100, tune=100, chains=2, seed=5)
    draws = engine.sample(t.model_of_many_kinds(), settings, cores=int(sys.argv[1]))[0]
values = b"".join(draws[v].to_numpy().tobytes() for v in sorted(draws))
digest = hashlib.sha256(values).hexdigest()
print(json.dumps([digest, len(made)]))
"""


@pytest.fixture
def in_process(tmp_path: Path) -> Callable[..., tuple[str, int]]:
    """Draws of a fresh process as a digest, and how many densities it made, for a cache folder."""

    def run(cache: Path, cores: int = 1) -> tuple[str, int]:
        paths = [str(Path(__file__).parent), *filter(None, sys.path)]
        environment = os.environ | {
            "PYTENSOR_FLAGS": f"{os.environ['PYTENSOR_FLAGS']},base_compiledir={cache}",
            "PYTHONPATH": os.pathsep.join(paths),
        }  # fmt: skip
        command = [sys.executable, "-c", _CODE, str(cores)]
        done = subprocess.run(command, env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        digest, number = json.loads(done.stdout.splitlines()[-1])
        return digest, number

    return run


@pytest.mark.slow
def test_cold_warm_moved_and_damaged_caches_give_the_same_draws(
    in_process: Callable[..., tuple[str, int]], tmp_path: Path
) -> None:
    """A second process makes no graph and compiles nothing; what was cut off is not trusted."""
    cache, moved = tmp_path / "cache", tmp_path / "moved"
    draws, number = in_process(cache)
    assert number == 1
    assert in_process(cache, cores=2) == (draws, 0)
    shutil.copytree(cache, moved)
    shutil.rmtree(cache)
    assert in_process(moved) == (draws, 0)
    (plan,) = (moved / "her2bayes").glob("*.json")
    whole = plan.read_text()
    for damaged in (whole[:40], whole[:-40], whole.replace('"code": "', '"code": "AAAA'), ""):
        assert damaged != whole
        plan.write_text(damaged)
        assert in_process(moved) == (draws, 1)
        assert plan.read_text() == whole
    assert in_process(moved) == (draws, 0)


@pytest.mark.slow
def test_two_processes_at_once_and_a_cache_that_cannot_be_written(
    in_process: Callable[..., tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        both = [*pool.map(in_process, [tmp_path, tmp_path])]
    assert both[0][0] == both[1][0]

    monkeypatch.setattr(engine, "_folder", lambda: tmp_path / "file" / "below")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(structure, "_KNOWN", {})
    with compiler_flags():
        assert compiled_model(model_of_many_kinds()).n_dim == 3


def test_a_density_made_on_the_spot_is_told_from_another_of_its_name() -> None:
    """``CustomDist`` makes a class from a name: two densities of one name are two structures."""
    import pymc as pm

    def upon(logp: Any) -> str:
        with pm.Model() as model:
            pm.CustomDist("x", 0.0, logp=logp, observed=np.ones(2))
        return structure.structure(model)

    def closed(power: Any) -> Any:
        return lambda value, mu: -((value - mu) ** power)

    assert upon(_square) == upon(_square)
    assert upon(_square) != upon(_fourth)
    assert upon(closed(2)) != upon(closed(4))
    assert upon(closed(2)).startswith(structure.ALONE)


def test_nothing_is_kept_of_a_model_that_no_other_equals() -> None:
    import pymc as pm

    with pm.Model() as model:
        pm.CustomDist("x", 0.0, logp=lambda value, mu: -((value - mu) ** 2), observed=np.ones(2))
    before = dict(structure._KNOWN)
    assert structure.shared(model).model is model
    assert before == structure._KNOWN


def _square(value: Any, mu: Any) -> Any:
    return -((value - mu) ** 2)


def _fourth(value: Any, mu: Any) -> Any:
    return -((value - mu) ** 4)


def test_data_that_are_a_variable_of_their_own_are_those_of_the_model_at_hand() -> None:
    """A copy calls them by the variable's name, as a matrix of errors taken as known."""
    import pymc as pm
    from pymc.model.transform.conditioning import remove_value_transforms

    def model_with(value: float) -> Any:
        with pm.Model() as model:
            known = pm.Deterministic("known", pm.Data("given", np.array([value, 1.0])))
            pm.HalfNormal("x", known.sum())
        return model

    with compiler_flags():
        first = structure.shared(model_with(2.0))
        copy = first.copy(remove_value_transforms(first.model))
        second = structure.shared(model_with(5.0))
    assert second is first
    values = [data.get_value().tolist() for one in (first.model, copy) for data in one.data_vars]
    assert values == [[5.0, 1.0]] * 2

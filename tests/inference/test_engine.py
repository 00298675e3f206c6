"""One compiled model for equal graphs: draws never depend on what was compiled or run before."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from her2bayes.bayes.prior import prior
from her2bayes.inference import engine
from her2bayes.inference import structure as graphs
from her2bayes.inference.convergence import diagnostics, verdict
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.structure import compiler_flags, structure

SHORT = Sampling(draws=200, tune=200, chains=2)


def test_structure_sees_the_graph_and_not_the_data(
    toy: Callable[..., Any], make_centres: Any
) -> None:
    data = make_centres([1, 2, 3], "abc")
    with compiler_flags():
        base = structure(toy(data))
        assert structure(toy(make_centres([7, 8], "xy"))) == base
        assert structure(toy(data, {"log_rate": prior("Normal", mu=0.0, sigma=9.0)})) == base
        assert structure(toy(data, twice=True)) != base


def test_a_constant_baked_into_the_graph_is_part_of_the_structure() -> None:
    import pymc as pm

    def baked(value: float) -> Any:
        with pm.Model() as model:
            pm.Normal("x", value, 1)
        return model

    with compiler_flags():
        assert structure(baked(1.0)) == structure(baked(1.0))
        assert structure(baked(1.0)) != structure(baked(2.0))


def test_observed_constants_are_part_of_the_structure() -> None:
    import pymc as pm

    def observing(value: list[float]) -> Any:
        with pm.Model() as model:
            pm.Normal("y", pm.Normal("x"), 1, observed=value)
        return model

    with compiler_flags():
        assert structure(observing([1.0, 2.0])) != structure(observing([1.0, 3.0]))


def test_a_single_number_far_along_the_point_is_compiled_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """PyTensor's merge of [200:201] and [0] overflows and prints a traceback."""
    import pymc as pm
    import pymc.dims as pmd

    with compiler_flags():
        with pm.Model(coords={"many": range(200), "one": [0]}) as model:
            many = pmd.Normal("many_of", dims="many")
            one = pmd.Normal("one_of", dims="one")
            pmd.Normal("y", many.sum("many") + one.isel(one=0), 1.0, observed=xr.DataArray(1.0))
        engine.sample(model, SHORT, cores=1)
    assert not caplog.records


@pytest.mark.slow
def test_draws_do_not_depend_on_what_was_compiled_before(
    toy: Callable[..., Any], make_centres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = {"log_rate": prior("Normal", mu=0.0, sigma=0.1)}

    def draws(events: list[int], labels: str, priors: Any = None, cores: int = 2) -> xr.Dataset:
        with compiler_flags():
            model = toy(make_centres(events, labels), priors)
            return engine.sample(model, SHORT, cores=cores)[0]

    monkeypatch.setattr(graphs, "_KNOWN", {})
    alone = draws([5, 50], "xy")
    assert len(graphs._KNOWN) == 1
    monkeypatch.setattr(graphs, "_KNOWN", {})
    first = draws([9, 0, 1], "abc", narrow)
    after = draws([5, 50], "xy", cores=1)
    assert len(graphs._KNOWN) == 1
    xr.testing.assert_identical(alone, after)
    xr.testing.assert_identical(first, draws([9, 0, 1], "abc", narrow))
    assert list(after["centre"].values[:2]) == ["x", "y"]
    np.testing.assert_allclose(first["log_rate"].std(), 0.1, rtol=0.1)


@pytest.mark.slow
def test_a_model_that_diverges_is_sampled_again_with_smaller_steps() -> None:
    """Neal's funnel: the run with fewest divergences counts, and the other checks still fail it."""
    import pymc as pm

    with compiler_flags():
        with pm.Model() as funnel:
            spread = pm.Normal("spread", 0, 3)
            pm.Normal("x", 0, pm.math.exp(spread / 2), shape=9)
        large = replace(SHORT, draws=1000, target_accept=0.6)
        draws, stats, _ = engine.sample(funnel, large)
        with pm.Model() as normal:
            pm.Normal("x", 0, 1)
        once = engine.sample(normal, SHORT)[1]
    found = diagnostics(stats)
    by_target = {
        float(target): int(number)
        for number, target in re.findall(r"(\d+) at ([0-9.]+)", found.repeated)
    }
    assert len(by_target) > 1
    assert list(by_target) == [0.6, *engine.SMALLER_STEPS][: len(by_target)]
    assert found.divergences == min(by_target.values()) < by_target[0.6]
    assert not verdict(draws["spread"], found).passed
    assert not diagnostics(once).repeated

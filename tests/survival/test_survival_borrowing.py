"""The borrowing graph: pooling and nothing as the survival model itself, one hazard as computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from her2bayes.bayes.prior import prior
from her2bayes.evidence.patients.external_survival import External, external_cells
from her2bayes.evidence.patients.follow_up import FollowUp, read_follow_up
from her2bayes.evidence.patients.survival_cells import survival_cells
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.structure import compiler_flags, structure
from her2bayes.survival import survival, survival_borrowing
from her2bayes.survival.borrowing import learned_weight
from her2bayes.survival.borrowing_exact import Choices, Hazard, effective_events, places
from her2bayes.survival.borrowing_sweep import (
    Model,
    Run,
    Setting,
    Worth,
    after_odds,
    commensurate_odds,
    nodes,
    sweep,
)

PRIORS = {**survival_borrowing.DEFAULT_PRIORS, **survival.DEFAULT_PRIORS}


def patients(seed: int, number: int, hazard: float, levels: str = "ab") -> pd.DataFrame:
    """Patients of one constant hazard, censored at 24 months."""
    rng = np.random.default_rng(seed)
    time = rng.exponential(1 / hazard, number)
    return pd.DataFrame(
        {
            "t": np.minimum(time, 24.0),
            "e": (time <= 24).astype(int),
            "arm": rng.choice(list(levels), number),
        }
    )


def read(table: pd.DataFrame, by: list[str]) -> FollowUp:
    return read_follow_up(table, time="t", event="e", by=by)


def both(by: list[str], edges: list[float], levels: str = "ab") -> tuple[xr.Dataset, External]:
    own = read(patients(1, 40, 0.06, levels), by)
    cells = survival_cells(own, edges)
    return cells, external_cells({"x": read(patients(2, 120, 0.04, levels), by)}, cells)


def densities(model: Any, points: list[dict[str, np.ndarray]]) -> np.ndarray:
    """Log densities at points that may hold more variables than the model has."""
    function = model.compile_logp(mode="FAST_COMPILE")
    names = {v.name for v in model.value_vars}
    return np.array([float(function({k: v for k, v in p.items() if k in names})) for p in points])


def points(model: Any) -> list[dict[str, np.ndarray]]:
    """Points that differ in everything but tau and the offsets, whose prior is a constant then."""
    start, rng, found = model.initial_point(), np.random.default_rng(3), []
    for _ in range(3):
        moved = {k: np.asarray(v + 0.3 * rng.normal(size=np.shape(v))) for k, v in start.items()}
        still = {k: start[k] for k in start if k.startswith(("tau", "offset_free"))}
        found.append({**moved, **still})
    return found


@pytest.mark.parametrize(
    ("power", "by", "edges"),
    [(1.0, ["arm"], [0, 4, 9, 15, 24]), (0.0, ["arm"], [0, 24])],
    ids=["full is the fit of all patients", "none is the own fit"],
)
def test_the_ends_of_the_power_prior(power: float, by: list[str], edges: list[float]) -> None:
    cells, external = both(by, edges)
    with compiler_flags():
        data = {"own": cells, "external": external.cells}
        borrowed = survival_borrowing.build(data, PRIORS, power=power)
        alike = survival_borrowing.pooled(cells, external.cells, 1.0, power)
        plain = survival.build(alike, {})
        at = points(borrowed)
        gap = densities(borrowed, at) - densities(plain, at)
    assert gap - gap[0] == pytest.approx(np.zeros(3), abs=1e-8)


def test_all_choices_share_one_structure() -> None:
    cells, external = both(["arm"], [0, 6, 24], "abc")
    data = {"own": cells, "external": external.cells}
    with compiler_flags():
        found = {
            structure(survival_borrowing.build(data, PRIORS, **numbers))
            for numbers in ({}, {"power": 0.3}, {"power": 1.0, "learned": 1.0}, {"own": 0.0})
        }
    assert len(found) == 1


def test_an_offset_changes_any_two_levels_alike() -> None:
    cells, _ = both(["arm"], [0, 24], "abcd")
    basis = survival_borrowing.offset_basis(cells).isel(offset_of=slice(1, None)).to_numpy()
    gaps = [np.square(basis[i] - basis[j]).sum() for i in range(4) for j in range(i)]
    assert gaps == pytest.approx([1.0] * 6)


ONE = Sampling(draws=1000, tune=400, chains=2, target_accept=0.95)


@pytest.fixture(scope="module")
def one_hazard() -> tuple[Model, dict[Setting, Run], Choices, tuple[float, float]]:
    """One interval, no factor: everything sampled, and everything computed."""
    cells, external = both([], [0.0, 24.0])
    model = Model(cells, external, PRIORS, {})
    ways = [(float(a), 0.0, 0.0) for a in (0.0, 0.5, 1.0, *nodes(12).power)]
    ways += [(1.0, 0.0, 1.0), (1.0, 1.0, 0.0)]
    settings = [Setting(own, *way) for own in (1.0, 0.0) for way in ways]
    runs = sweep(model, settings, [], ONE, None)
    normal = stats.norm(-4, 1)
    every = Choices(normal, external.events, external.months,
                    places(normal, external.events, external.months))  # fmt: skip
    seen = float(cells["events"].sum()), float(cells["person_months"].sum())
    return model, runs, every, seen


@pytest.mark.slow
def test_one_hazard_agrees_with_quadrature(one_hazard: Any) -> None:
    _, runs, every, (events, months) = one_hazard
    cases: list[tuple[Setting, Hazard]] = [
        (Setting(1.0, 0.0), every.none()),
        (Setting(1.0, 0.5), every.power(0.5)),
        (Setting(1.0, 1.0), every.full()),
        (Setting(1.0, 1.0, learned=1.0), every.commensurate()),
        (Setting(1.0, 1.0, fixed=1.0), every.vague()),
    ]
    for setting, hazard in cases:
        mass = hazard.updated(np.array([events]), np.array([months]))[0]
        mean = float(mass @ hazard.x)
        sd = float(np.sqrt(mass @ (hazard.x - mean) ** 2))
        draws = runs[setting].level
        assert float(draws.mean()) == pytest.approx(mean, abs=0.15 * sd), setting
        assert float(draws.std()) == pytest.approx(sd, rel=0.12), setting


@pytest.mark.slow
def test_learned_weights_agree_with_quadrature(one_hazard: Any) -> None:
    model, runs, every, seen = one_hazard
    weight = learned_weight(nodes(12), runs)
    x = np.linspace(0, 1, 2001)
    density = every.weight_after(*seen, x)
    exact = float((density * x).sum() / density.sum())
    assert weight.error < 0.3
    assert weight.mean == pytest.approx(exact, abs=0.03)
    # shares of the commensurate part: from the evidence of both parts, by quadrature
    parts = [every.commensurate(), every.vague()]
    own = seen[0] * every.x - seen[1] * np.exp(every.x)
    logs = [np.logaddexp.reduce(part.log_density + own) for part in parts]
    exact = after_odds(0.5, logs[0] - logs[1])
    assert after_odds(0.5, commensurate_odds(model, runs, 1.0)) == pytest.approx(exact, abs=0.03)


@pytest.mark.slow
def test_worth_agrees_with_quadrature(one_hazard: Any) -> None:
    model, runs, every, _ = one_hazard
    worth = Worth(model, runs)
    for way, hazard in (
        (Setting(0.0, 0.5), every.power(0.5)),
        (Setting(0.0, 1.0), every.full()),
        (Setting(0.0, 1.0, learned=1.0), every.commensurate()),
        (Setting(0.0, 1.0, fixed=1.0), every.vague()),
    ):
        exact = effective_events(every.x, hazard.mass) - 1.0
        assert worth.events({way: 1.0}) == pytest.approx(exact, rel=0.2, abs=0.4), way


@pytest.mark.slow
def test_offsets_of_no_size_are_pooling(one_hazard: Any) -> None:
    model, runs, _, _ = one_hazard
    tiny = {**PRIORS, "tau": prior("HalfNormal", sigma=2.0**-20)}
    setting = Setting(1.0, 1.0, learned=1.0)
    found = sweep(Model(model.cells, model.external, tiny, {}), [setting], [], ONE, None)[setting]
    full = runs[Setting(1.0, 1.0)].level
    assert float(found.level.mean()) == pytest.approx(
        float(full.mean()), abs=0.15 * float(full.std())
    )
    assert float(found.level.std()) == pytest.approx(float(full.std()), rel=0.12)

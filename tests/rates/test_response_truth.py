"""Models of responses and adverse events against quadrature, Stan, conjugate limits and truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from agreement import disagreements, exact, summary
from her2bayes.bayes.prior import prior
from her2bayes.inference import engine
from her2bayes.inference.convergence import Diagnostics, diagnostics
from her2bayes.inference.sampling import Sampling
from her2bayes.rates import adverse_events, adverse_events_two_arms, best_response, response
from her2bayes.rates.draws import group_rate, rates
from her2bayes.rates.rate_exact import Hyper, hierarchical

pytestmark = pytest.mark.slow

LONG = Sampling(draws=10_000, target_accept=0.98)
CHUGH = ([2, 0, 1, 6, 7, 3, 5, 1, 0, 3], [15, 13, 12, 28, 29, 29, 26, 5, 2, 20])
REFERENCE = Path(__file__).parents[1] / "reference" / "response_stan.json"


def counts(responders: list[int], patients: list[int]) -> xr.Dataset:
    return xr.Dataset(
        {"responders": ("subgroup", responders), "patients": ("subgroup", patients)},
        coords={"subgroup": [f"level {n}" for n in range(len(patients))]},
    )


def draw(
    build: Any, data: Any, sampling: Sampling = LONG, **arguments: Any
) -> tuple[xr.Dataset, Diagnostics]:
    with engine.compiler_flags():
        posterior, stats_, _ = engine.sample(build(data, **arguments), sampling)
    return posterior, diagnostics(stats_)


def apart(rate: xr.DataArray, known: Any, label: str) -> list[str]:
    return disagreements(summary(rate.drop_vars("subgroup", errors="ignore")), known, label)


@pytest.mark.parametrize(
    ("pooling", "responders", "patients"),
    [
        ("exnex", [2, 21], [11, 53]),
        ("exnex", [0, 23], [10, 54]),
        ("exnex", [1, 22, 0], [6, 58, 0]),
        ("exchangeable", [13, 10], [32, 32]),
        ("none", [0, 23], [10, 54]),
    ],
)
def test_sampled_rates_are_those_of_quadrature(
    pooling: str, responders: list[int], patients: list[int]
) -> None:
    many = replace(LONG, draws=20_000)  # a rate near 0 has a tail that few draws reach
    posterior, run = draw(response.build, counts(responders, patients), many, pooling=pooling)
    assert not run.reasons
    weight = {"exnex": 0.5, "exchangeable": 1.0, "none": 0.0}[pooling]
    known = hierarchical(responders, patients, Hyper(weight=weight))
    drawn = rates(posterior, seed=1)
    for level, arm in enumerate(known.arms):
        if patients[level]:
            assert apart(drawn.isel(subgroup=level), exact(arm), f"{pooling} {level}") == []
    together = posterior["together"].mean(("chain", "draw")).values[: len(patients)]
    assert together == pytest.approx(known.exchangeable, abs=0.02)


def test_ten_strata_are_those_of_quadrature() -> None:
    posterior, run = draw(response.build, counts(*CHUGH))
    assert not run.reasons
    known = hierarchical(*CHUGH, Hyper(weight=0.5))
    drawn = rates(posterior, seed=1)
    found = [
        text
        for level, arm in enumerate(known.arms)
        for text in apart(drawn.isel(subgroup=level), exact(arm), str(level))
        if "MCSE" not in text.split(":")[1][:5]  # loose only where a tail is flat
    ]
    assert found == []


@pytest.mark.parametrize("name", ["brain_exnex", "trop2_exnex"])
def test_quadrature_agrees_with_stan(name: str) -> None:
    """tests/reference/response_stan.R: rstan 2.21.7, the mixture's part drawn afterwards."""
    reference = json.loads(REFERENCE.read_text("utf-8"))[name]
    data = reference["data"]
    known = hierarchical(data["y"], data["n"], Hyper(weight=data["weight"]))
    rows = {row["name"]: row for row in reference["posterior"]}
    for level, arm in enumerate(known.arms):
        assert disagreements(exact(arm), rows[f"rate[{level + 1}]"], name) == []


def test_best_response_of_all_patients_is_the_dirichlet() -> None:
    """Ni 2025, Table 2: CR 0, PR 23, SD 25, PD 16; flat prior, hence Beta margins."""
    table = xr.DataArray(
        [[0, 23, 25, 16]],
        dims=("subgroup", "category"),
        coords={"subgroup": ["all"], "category": ["CR", "PR", "SD", "PD"]},
    )
    posterior, run = draw(best_response.build, table, Sampling(draws=25_000))
    assert not run.reasons
    share = posterior["share"].isel(subgroup=0, drop=True)
    margins = {
        "CR": stats.beta(1, 67), "PR": stats.beta(24, 44), "SD": stats.beta(26, 42)
    }  # fmt: skip
    for category, law in margins.items():
        one = share.sel(category=category, drop=True)
        assert disagreements(summary(one), exact(law), category) == []
    for members, law in {
        ("CR", "PR"): stats.beta(25, 43),
        ("CR", "PR", "SD"): stats.beta(51, 17),
    }.items():
        assert disagreements(summary(group_rate(share, members)), exact(law), str(members)) == []


def events(any_: list[int], severe: list[int], systems: list[str], patients: int) -> xr.Dataset:
    return xr.Dataset(
        {
            "any": ("event", any_),
            "severe": ("event", severe),
            "patients": ("event", [patients] * len(any_)),
        },
        coords={
            "event": [f"event {n}" for n in range(len(any_))],
            "body_system": ("event", systems),
        },
    )


NI = (
    [46, 25, 20, 20, 19, 17, 11, 8, 8, 6, 4, 3, 2, 1, 1],
    [2, 0, 2, 6, 2, 2, 5, 0, 0, 0, 0, 1, 0, 1, 0],
    ["1", "2", "3", "4", "4", "1", "4", "1", "1", "5", "6", "7", "8", "4", "9"],
)


def test_adverse_events_without_systems_are_those_of_quadrature() -> None:
    """Where systems do not differ each stage is one hierarchical binomial."""
    flat = {"tau_system": prior("HalfNormal", sigma=1e-6)}
    sampling = Sampling(draws=6000, target_accept=0.995)
    posterior, run = draw(adverse_events.build, events(*NI, 64), sampling, priors=flat)
    assert not run.reasons
    hyper = Hyper(mean=-2.0, mean_sd=1.5, spread=1.0)
    for stage, known in enumerate(
        (hierarchical(NI[0], [64] * 15, hyper), hierarchical(NI[1], NI[0], hyper))
    ):
        for place, arm in enumerate(known.arms):
            one = posterior["rate"].isel(stage=stage, event=place, drop=True)
            found = summary(one)
            for name in ("mean", "sd", "lower", "upper"):
                gap = abs(found[name] - exact(arm)[name])
                assert gap <= 4.5 * found[f"mcse_{name}"] + 1e-6, (stage, place, name)


def test_adverse_events_agree_with_stan() -> None:
    """tests/reference/response_stan.R, Ni 2025, Table 3; means within four standard errors."""
    reference = json.loads(REFERENCE.read_text("utf-8"))["ni_events"]
    rows = {row["name"]: row for row in reference["posterior"]}
    sampling = Sampling(draws=6000, target_accept=0.995)
    posterior, run = draw(adverse_events.build, events(*NI, 64), sampling)
    assert not run.reasons
    both = {
        "rate_any": posterior["rate"].isel(stage=0, drop=True),
        "rate_severe": posterior["rate_severe"],
    }
    for name, drawn in both.items():
        for place in range(15):
            found = summary(drawn.isel(event=place, drop=True))
            known = rows[f"{name}[{place + 1}]"]
            for what in ("mean", "sd"):
                error = np.hypot(found[f"mcse_{what}"], known[f"mcse_{what}"])
                assert abs(found[what] - known[what]) <= 4.5 * error, (name, place, what)


def test_two_arms_find_the_events_that_differ() -> None:
    """Twenty events in five systems; those of one system are three times as frequent."""
    rng = np.random.default_rng(4)
    control = rng.uniform(0.05, 0.2, 20)
    treated = np.where(np.arange(20) % 5 == 0, 3 * control, control)
    data = xr.Dataset(
        {
            "count": (("arm", "event"), [rng.binomial(300, control), rng.binomial(300, treated)]),
            "patients": (("arm", "event"), np.full((2, 20), 300)),
        },
        coords={
            "event": [f"event {n}" for n in range(20)],
            "body_system": ("event", [f"system {n % 5}" for n in range(20)]),
        },
    )
    sampling = Sampling(draws=500, tune=700, chains=2, target_accept=0.99)
    posterior, run = draw(adverse_events_two_arms.build, data, sampling)
    assert run.divergences <= 2
    same = posterior["same"].mean(("chain", "draw")).values[:20]
    differs = np.arange(20) % 5 == 0
    assert (same[differs] < 0.1).all()
    assert same[~differs].mean() > 0.6

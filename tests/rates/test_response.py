"""The graphs of responses and adverse events: densities by hand, padding, refusals."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.special import expit

from her2bayes.bayes.prior import prior
from her2bayes.errors import BadInput
from her2bayes.inference.structure import compiler_flags, structure
from her2bayes.rates import (
    adverse_events,
    adverse_events_two_arms,
    best_response,
    binomial_mixture,
    response,
)


def counts(responders: list[float], patients: list[float], labels: str = "abc") -> xr.Dataset:
    return xr.Dataset(
        {"responders": ("subgroup", responders), "patients": ("subgroup", patients)},
        coords={"subgroup": list(labels[: len(patients)])},
    )


EVENTS = xr.Dataset(
    {"any": ("event", [5, 0, 7]), "severe": ("event", [5, 0, 1]), "patients": ("event", [9, 9, 9])},
    coords={"event": list("abc"), "body_system": ("event", ["x", "x", "y"])},
)
ARMS = xr.Dataset(
    {
        "count": (("arm", "event"), [[1, 0, 9], [2, 0, 9]]),
        "patients": (("arm", "event"), [[9] * 3] * 2),
    },
    coords={"event": list("abc"), "body_system": ("event", ["x", "x", "y"])},
)
BEST = xr.DataArray(
    [[0, 2, 3, 1], [0, 0, 0, 4]],
    dims=("subgroup", "category"),
    coords={"subgroup": ["yes", "no"], "category": ["CR", "PR", "SD", "PD"]},
)
MODELS: list[tuple[ModuleType, Any]] = [
    (response, counts([0, 4], [4, 4])),
    (adverse_events, EVENTS),
    (adverse_events_two_arms, ARMS),
    (best_response, BEST),
]


@pytest.mark.parametrize(("module", "data"), MODELS, ids=lambda v: getattr(v, "__name__", ""))
def test_finite_gradient_at_the_initial_point(module: ModuleType, data: Any) -> None:
    with compiler_flags():
        model = module.build(data)
        gradient = model.compile_dlogp(mode="FAST_COMPILE")(model.initial_point())
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("module", "data"), MODELS, ids=lambda v: getattr(v, "__name__", ""))
def test_unknown_prior_is_refused(module: ModuleType, data: Any) -> None:
    with pytest.raises(BadInput, match="no prior named 'nonsense'"):
        module.build(data, {"nonsense": prior("Normal", mu=0.0, sigma=1.0)})


@pytest.mark.parametrize("pooling", response.POOLING)
def test_log_likelihood_is_the_mixture_written_by_hand(pooling: str) -> None:
    y, n = np.array([0, 4, 21]), np.array([10, 11, 53])
    weight = {"exnex": 0.5, "exchangeable": 1.0, "none": 0.0}[pooling]
    with compiler_flags():
        model = response.build(counts(list(y), list(n)), pooling=pooling)
        raw, alone = np.array([0.3, -1.0, 0.4]), np.array([-2.0, 0.5, 1.0])
        point = {
            "mu": np.array(-0.7),
            "tau_log__": np.log(0.8),
            "raw": np.pad(raw, (0, 5)),
            "alone": np.pad(alone, (0, 5)),
        }
        found = model.compile_logp(
            vars=[model["observed_responders"]], sum=False, mode="FAST_COMPILE"
        )(point)[0]
    rate = (y + 0.5) / (n + 1)
    stretch = np.sqrt(1 + weight * n * rate * (1 - rate) * 0.64)
    parts = [
        stats.binom.pmf(y, n, expit(-0.7 + raw * 0.8 / stretch)),
        stats.binom.pmf(y, n, expit(alone)),
    ]
    assert found[:3] == pytest.approx(np.log(weight * parts[0] + (1 - weight) * parts[1]), abs=1e-9)
    assert found[3:] == pytest.approx(np.zeros(5), abs=1e-12)  # places without patients


@pytest.mark.parametrize("turned", [False, True])
def test_log_likelihood_of_two_arms_by_hand(turned: bool) -> None:
    """One indicator for both counts of an event; exchanged arms with the sign of theta turned."""
    y, n = np.array([[1, 0, 9], [2, 0, 3]]), np.array([[9, 8, 9], [7, 9, 9]])
    gamma, theta = np.array([-0.4, -2.0, 1.3]), np.array([0.8, -1.5, -2.5])
    table = xr.Dataset(
        {"count": (("arm", "event"), y), "patients": (("arm", "event"), n)},
        coords={"event": list("abc"), "body_system": ("event", ["x", "x", "y"])},
    )
    sign = -1.0 if turned else 1.0
    with compiler_flags():
        model = adverse_events_two_arms.build(table.isel(arm=[1, 0]) if turned else table)
        point = model.initial_point()
        point["z_gamma"] = np.pad(gamma + 2.0, (0, 13))  # all other effects are 0
        point["z_theta"] = np.pad(sign * theta, (0, 13))
        for part in ("gamma", "theta"):
            point |= {f"tau_{part}_log__": np.array(-40.0), f"sigma_{part}_log__": np.array(0.0)}
        point |= {"mu_gamma": np.array(-2.0), "mu_theta": np.array(0.0)}
        share = np.pad([0.3, 0.9], (0, 14), constant_values=0.5)
        point["same_prior_logodds__"] = np.log(share / (1 - share))
        found = model.compile_logp(vars=[model["observed_events"]], sum=False, mode="FAST_COMPILE")(
            point
        )[0]
    same = stats.binom.pmf(y, n, expit(gamma)).prod(axis=0)
    apart = stats.binom.pmf(y, n, expit(gamma + np.array([[-0.5], [0.5]]) * theta)).prod(axis=0)
    weight = np.array([0.3, 0.3, 0.9])
    assert found[:3] == pytest.approx(np.log(weight * same + (1 - weight) * apart), abs=1e-9)
    assert found[3:] == pytest.approx(np.zeros(13), abs=1e-12)


def test_every_pooling_and_table_is_one_compiled_model() -> None:
    with compiler_flags():
        models = [
            response.build(counts([1, 2, 3], [4, 5, 6])),
            response.build(counts([0], [9], "z"), pooling="none"),
            response.build(counts([5, 5], [5, 9]), {"tau": prior("HalfNormal", sigma=0.3)}),
        ]
        assert len({structure(model) for model in models}) == 1


def test_counts_that_exclude_each_other_are_refused_by_name() -> None:
    with pytest.raises(BadInput, match="b: more responders than patients"):
        response.build(counts([1, 9], [4, 5]))
    with pytest.raises(BadInput, match="not whole"):
        response.build(counts([0.5], [4]))
    with pytest.raises(BadInput, match="appears twice"):
        response.build(counts([1, 1], [4, 5], "aa"))
    with pytest.raises(BadInput, match="unknown pooling"):
        response.build(counts([1], [4]), pooling="some")
    with pytest.raises(BadInput, match="exchangeable weight"):
        response.build(counts([1], [4]), {"weight": prior("Constant", value=2.0)})
    worse = EVENTS.assign(severe=("event", [6, 0, 1]))
    with pytest.raises(BadInput, match="a: counts exclude each other"):
        adverse_events.build(worse)
    with pytest.raises(BadInput, match="counts by arm"):
        adverse_events_two_arms.build(ARMS.assign(count=ARMS["count"] + 1))
    with pytest.raises(BadInput, match=r"arms \(found 1\); allowed: two"):
        adverse_events_two_arms.build(ARMS.isel(arm=[0]))


def test_each_replicate_of_a_mixture_draws_its_own_indicator() -> None:
    """Half of the draws of a batch have either log odds, not all the same one."""
    rng = np.random.default_rng(2)
    low, high = np.full((4000, 3), -3.0), np.full((4000, 3), 3.0)
    drawn = binomial_mixture._random(np.full(3, 20), low, high, 0.5, rng=rng)
    # 20 patients at 5 or 95 %: below 10 with probability 1/2, binomial standard error 0.008
    assert (drawn < 10).mean(axis=0) == pytest.approx(0.5, abs=0.032)
    assert np.mean((drawn[:, 0] < 10) == (drawn[:, 1] < 10)) == pytest.approx(0.5, abs=0.032)
    together = binomial_mixture._random_together(np.full(3, 20), low, high, 0.5, rng=rng)
    assert (together < 10).mean(axis=0) == pytest.approx(0.5, abs=0.032)
    assert np.mean((together[:, 0] < 10) == (together[:, 1] < 10)) > 0.999

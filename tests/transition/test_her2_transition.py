"""The transition model against SciPy, Stan, conjugate algebra and simulated truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from agreement import dirichlet_margin, disagreements, exact, summary
from her2bayes.bayes.prior import prior
from her2bayes.errors import BadInput
from her2bayes.inference import densities, engine
from her2bayes.inference.convergence import diagnostics, verdict
from her2bayes.inference.sampling import Sampling
from her2bayes.transition import her2_transition, her2_transition_dirichlet
from her2bayes.transition.rows import factors_of, split_readings, strata_design

HER2 = ["zero", "low", "positive"]
MSK = np.array([[[103, 43, 3], [100, 149, 12], [6, 16, 50]], [[21, 5, 0], [16, 13, 1], [1, 3, 29]]])


def pairs(tables: np.ndarray, **factors: list[str]) -> xr.Dataset:
    """TransitionCounts of complete tables (stratum, primary, recurrence)."""
    k = tables.shape[1]
    classes = HER2 if k == 3 else [f"class {n}" for n in range(k)]
    names = [" ".join(levels) for levels in zip(*factors.values(), strict=True)] or ["all"]
    return xr.Dataset(
        {
            "counts": (("stratum", "primary_reading", "recurrence_reading"), tables),
            "incidence": (("reading", "her2"), np.eye(k, dtype=bool)),
        },
        coords={
            "stratum": names,
            "primary_reading": classes,
            "recurrence_reading": classes,
            "reading": classes,
            "her2": classes,
            **{name: ("stratum", levels) for name, levels in factors.items()},
        },
        attrs={"factors": list(factors)},
    )


def with_sets(data: xr.Dataset, counts: dict[tuple[str, str], int]) -> xr.Dataset:
    """Add pairs of readings that are sets, to the first stratum."""
    readings = [*HER2, "zero/low", "low/positive", "zero/low/positive"]
    wider = data["counts"].reindex(
        primary_reading=readings, recurrence_reading=readings, fill_value=0
    )
    for (first, second), number in counts.items():
        wider.loc[{"primary_reading": first, "recurrence_reading": second}] = number
    inside = [[name in reading.split("/") for name in HER2] for reading in readings]
    return xr.Dataset(
        {"counts": wider, "incidence": (("reading", "her2"), inside)},
        coords={"reading": readings, "her2": HER2},
        attrs=data.attrs,
    )


def draw(build: Callable[..., Any], data: Any, sampling: Sampling) -> tuple[xr.Dataset, Any]:
    """Posterior draws without padding, and the run's diagnostics."""
    with engine.compiler_flags():
        posterior, run, _ = engine.sample(build(data), sampling)
    return posterior.sel(stratum=data["stratum"].to_numpy()), diagnostics(run)


def log_density(model: Any, which: list[str]) -> float:
    """Log likelihood of some observed variables at the initial point."""
    terms = [model.logp(model[name], sum=True) for name in which]
    function = model.compile_fn(terms, mode="FAST_COMPILE", on_unused_input="ignore")
    return float(sum(function(model.initial_point())))


def at_start(model: Any, name: str) -> np.ndarray:
    """Value of a deterministic or free variable at the initial point."""
    value = model.replace_rvs_by_values([model[name]])
    start = model.initial_point()
    function = model.compile_fn(value, inputs=model.value_vars, mode="FAST_COMPILE",
                                on_unused_input="ignore")  # fmt: skip
    return np.asarray(function(start)[0])


DATA = {
    "one stratum": pairs(MSK[:1]),
    "two strata": pairs(MSK, hr_status=["positive", "negative"]),
    "crossed": pairs(
        np.concatenate([MSK, MSK]), hr_status=["+", "-", "+", "-"], site=["a", "a", "b", "b"]
    ),
    "nested": pairs(
        np.concatenate([MSK, MSK]), type=["LRR", "LRR", "DM", "DM"], site=["a", "b", "c", "d"]
    ),
    "nine strata": pairs(np.tile(MSK[:1], (9, 1, 1)), site=list("abcdefghi")),
    "empty": pairs(MSK * 0, hr_status=["positive", "negative"]),
    "four classes": pairs(np.arange(16).reshape(1, 4, 4)),
    "sets": with_sets(pairs(MSK[:1]), {("zero/low", "low"): 7, ("zero/low", "zero/low"): 4}),
}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *(
            pytest.param(her2_transition, name, marks=() if name == "sets" else pytest.mark.slow)
            for name in DATA
            if name != "two strata"
        ),
        *((her2_transition_dirichlet, name) for name in ("two strata", "sets")),
    ],
)
def test_finite_gradient_at_the_initial_point(module: Any, name: str) -> None:
    with engine.compiler_flags():
        model = module.build(DATA[name])
        gradient = model.compile_dlogp(mode="FAST_COMPILE")(model.initial_point())
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["two strata", "sets"])
def test_likelihood_equals_scipy(name: str) -> None:
    """Row multinomials given primary totals, times the multinomial of these, times sets."""
    with engine.compiler_flags():
        model = her2_transition.build(DATA[name])
        found = log_density(model, ["pairs", "partial"])
        transition, share = at_start(model, "transition"), at_start(model, "primary_share")
    exact_part = split_readings(DATA[name])["exact"].to_numpy()
    expected = 0.0
    for s, table in enumerate(exact_part):
        expected += stats.multinomial.logpmf(table.sum(1), table.sum(), share[s])
        for i, row in enumerate(table):
            expected += stats.multinomial.logpmf(row, row.sum(), transition[s, i])
    if name == "sets":
        flow = share[0][:, None] * transition[0]
        expected += 7 * np.log(flow[:2, 1].sum()) + 4 * np.log(flow[:2, :2].sum())
    assert found == pytest.approx(expected, rel=1e-9)


def test_sets_are_merged_and_unknown_pairs_left_out() -> None:
    data = with_sets(
        pairs(MSK[:1]),
        {("zero/low", "low"): 7, ("zero/low/positive",) * 2: 50, ("zero", "zero/low/positive"): 2},
    )
    split = split_readings(data)
    labels, number = split["pair"].to_numpy(), split["patients"].to_numpy()
    known = {str(n): int(p) for n, p in zip(labels, number, strict=True) if p}
    assert known == {"all: zero/low -> low": 7, "all: zero -> zero/low/positive": 2}
    assert split["pairs"].item() == MSK[0].sum() + 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": -1}, "negative"),
        ({"incidence": False}, "holds no class"),
    ],
)
def test_bad_counts_are_refused(change: dict[str, Any], message: str) -> None:
    data = DATA["one stratum"].copy(deep=True)
    for name, value in change.items():
        data[name][dict.fromkeys(data[name].dims, 0)] = value
    with pytest.raises(BadInput, match=message):
        her2_transition.build(data)


def test_unknown_prior_and_family_are_refused() -> None:
    with pytest.raises(BadInput, match="no prior named 'nonsense'"):
        her2_transition.build(DATA["one stratum"], {"nonsense": prior("Normal", mu=0.0, sigma=1.0)})
    with pytest.raises(BadInput, match="another family"):
        her2_transition.build(DATA["one stratum"], {"log_odds": prior("HalfNormal", sigma=1.0)})


def test_factors_with_one_level_are_left_out() -> None:
    data = pairs(MSK, hr_status=["positive", "negative"], study=["one", "one"])
    assert list(factors_of(data)) == ["hr_status"]
    assert list(factors_of(data.drop_attrs().drop_vars(["hr_status", "study"]))) == ["stratum"]


def test_contrasts_and_mean_have_the_prior_of_independent_deviations() -> None:
    """Covariance of the strata: sum over factors of (mean part + contrasts) = shared levels."""
    data = DATA["crossed"]
    found = strata_design(data, np.array([300.0, 40.0, 10.0, 5.0]))
    contrast, member = found["contrast"].to_numpy(), found["member"].to_numpy()
    variance = np.array([0.3, 0.7])
    scale = np.diag(member[:, :2] @ variance)
    covariance = contrast @ scale @ contrast.T + found["mean_share"].to_numpy()[:2] @ variance
    same = [np.equal.outer(data[f].values, data[f].values) for f in ("hr_status", "site")]
    expected = variance[0] * same[0] + variance[1] * same[1]
    np.testing.assert_allclose(covariance[:4, :4], expected, atol=1e-12)


def test_implied_prior_discordance() -> None:
    """A row changes class with median 35 %, 95 % from 11 to 71 % (two log odds N(-1.5, 1)).

    numpy 2.5: o = exp(default_rng(0).normal(-1.5, 1, (10**6, 2))).sum(1);
    quantile(o / (1 + o), [.025, .5, .975]) = 0.1145, 0.3530, 0.7133
    """
    with engine.compiler_flags():
        draws, _ = densities.prior_draws(her2_transition.build(DATA["one stratum"]), 1)
    stays = draws["transition"].sel(stratum="all", her2_primary="zero", her2="zero").to_numpy()
    low, median, high = np.quantile(1 - stays, [0.025, 0.5, 0.975])
    assert median == pytest.approx(0.353, abs=0.02)
    assert low == pytest.approx(0.1145, abs=0.02)
    assert high == pytest.approx(0.7133, abs=0.025)


def test_prior_mean_falls_with_the_number_of_classes() -> None:
    """With four classes three changes compete: each has log odds lower by log(3 / 2)."""
    with engine.compiler_flags():
        draws, _ = densities.prior_draws(her2_transition.build(DATA["four classes"]), 1)
    centre = draws["centre"].mean(("chain", "draw"))
    np.testing.assert_allclose(centre, -1.5 - np.log(1.5), atol=0.1)


REFERENCE = Path(__file__).parents[1] / "reference" / "her2_transition.json"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hr_status", "crossed"])
def test_agrees_with_stan(name: str) -> None:
    """Same posterior as tests/reference/her2_transition.R (rstan 2.21.7)."""
    reference = json.loads(REFERENCE.read_text("utf-8"))[name]
    tables = np.array(reference["tables"])
    data = pairs(tables, **reference["levels"])
    posterior, run = draw(her2_transition.build, data, Sampling(draws=40_000, tune=1000))
    assert not run.reasons
    known = {row["name"]: row for row in reference["posterior"]}
    found = {
        f"transition[{s + 1},{i + 1},{j + 1}]": posterior["transition"][..., s, i, j]
        for s, i, j in np.ndindex(*tables.shape)
    }
    found |= {
        f"spread[{n + 1}]": posterior["deviation_sd"].sel(factor=factor)
        for n, factor in enumerate(reference["levels"])
    }
    assert set(found) == set(known)
    assert [
        text
        for key, draws in found.items()
        for text in disagreements(summary(draws), known[key], key)
    ] == []


@pytest.mark.slow
def test_a_million_pairs_sample_as_well_as_a_few_hundred() -> None:
    """Eight strata, 10^6 pairs: passing verdicts, and rows at the observed frequencies."""
    rng = np.random.default_rng(3)
    base = MSK[0] / MSK[0].sum(1, keepdims=True)
    rows = np.stack([base ** rng.uniform(0.8, 1.2) for _ in range(8)])
    rows /= rows.sum(-1, keepdims=True)
    tables = np.stack([[rng.multinomial(41_667, p) for p in stratum] for stratum in rows])
    data = pairs(tables, site=list("abcdefgh"))
    posterior, run = draw(her2_transition.build, data, Sampling())
    assert not run.reasons
    for place in np.ndindex(8, 3, 3):
        assert verdict(posterior["transition"][(..., *place)], run).passed
    share = tables / tables.sum(-1, keepdims=True)
    mean = posterior["transition"].mean(("chain", "draw")).to_numpy()
    np.testing.assert_allclose(mean, share, atol=4 * 0.0025 / np.sqrt(1000) + 5e-4)


@pytest.mark.slow
def test_recovers_simulated_rows_and_sets_add_information() -> None:
    """Half of the readings coarsened at random: intervals cover, and are shorter with the sets."""
    rng = np.random.default_rng(11)
    share, truth = np.array([0.4, 0.4, 0.2]), MSK[0] / MSK[0].sum(1, keepdims=True)
    table = rng.multinomial(1200, (share[:, None] * truth).ravel()).reshape(3, 3)
    blurred = rng.binomial(table[:2], 0.5)
    counts = {("zero/low", name): int(blurred[:, n].sum()) for n, name in enumerate(HER2)}
    table[:2] -= blurred
    spans = {}
    for name, data in {
        "exact": with_sets(pairs(table[None]), {}),
        "all": with_sets(pairs(table[None]), counts),
    }.items():
        posterior, run = draw(her2_transition.build, data, Sampling())
        assert not run.reasons
        low, high = posterior["transition"].quantile([0.025, 0.975], ("chain", "draw")).to_numpy()
        assert ((low < truth) & (truth < high)).mean() >= 7 / 9
        spans[name] = (high - low)[0, :2].mean()
    assert spans["all"] < 0.97 * spans["exact"]


@pytest.mark.slow
def test_dirichlet_rows_are_conjugate() -> None:
    data = pairs(MSK, hr_status=["positive", "negative"])
    posterior, run = draw(her2_transition_dirichlet.build, data, Sampling(draws=20_000))
    assert not run.reasons
    prior_rows = np.full((3, 3), 0.6) + 1.2 * np.eye(3)
    assert [
        text
        for s, i, j in np.ndindex(2, 3, 3)
        for text in disagreements(
            summary(posterior["transition"][..., s, i, j]),
            exact(dirichlet_margin(prior_rows[i] + MSK[s, i], j)),
            f"P[{s},{i},{j}]",
        )
    ] == []

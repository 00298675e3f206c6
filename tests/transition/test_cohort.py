"""Cohort transitions: what is fitted, what is reported, against exact conjugate draws."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from her2bayes.errors import BadInput
from her2bayes.evidence.classify import PAPERS
from her2bayes.evidence.patients.aggregate import transition_counts
from her2bayes.evidence.patients.cohort import Cohort
from her2bayes.evidence.simulate import coarsened_sets, known_truth, simulate_pairs
from her2bayes.inference.convergence import Diagnostics
from her2bayes.transition import cohort as tc
from her2bayes.transition.draws import Matrix, Rows, contrast_rows, matrix_rows

CLASSES = ["zero", "low", "positive"]


def exact_fit(data: xr.Dataset, *_: Any) -> Any:
    """Dirichlet(1, 1, 1) rows and shares on the single-class pairs: draws without a sampler."""
    rng = np.random.default_rng(5)
    counts = tc.single(data)["counts"].to_numpy()
    dims = ("chain", "draw", "stratum", "her2_primary", "her2")
    coords = {"stratum": data["stratum"].to_numpy(), "her2_primary": CLASSES, "her2": CLASSES}

    def draws(table: np.ndarray) -> xr.Dataset:
        gamma = rng.standard_gamma(np.broadcast_to(table + 1.0, (4, 250, *table.shape)))
        share = rng.standard_gamma(np.broadcast_to(table.sum(-1) + 1.0, (4, 250, *table.shape[:2])))
        return xr.Dataset(
            {
                "transition": (dims, gamma / gamma.sum(-1, keepdims=True)),
                "primary_share": (dims[:-1], share / share.sum(-1, keepdims=True)),
            },
            coords=coords,
        )

    return SimpleNamespace(
        tree=xr.DataTree(),
        posterior=draws(counts), prior=draws(0 * counts), fit_id="0123456789ab",
        model="her2_transition", diagnostics=Diagnostics(4, 250, 0, 1.0),
    )  # fmt: skip


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return make_cohort()


def make_cohort() -> Cohort:
    """550 simulated patients, two factors, sets as often as in MSK 2018."""
    rng = np.random.default_rng(11)
    pairs = simulate_pairs(
        rng, {"positive": 400, "negative": 150}, **known_truth(), factor="hr_status",
        coarsening=coarsened_sets(),
    )  # fmt: skip
    pairs["site"] = np.where(np.arange(len(pairs)) % 3 == 0, "liver", "bone")
    for end in ("primary", "recurrence"):
        scores = {"zero": "0", "low": "1", "positive": "3", "zero/low": "0 1", "low/positive": "2"}
        pairs[f"{end}_score"] = pairs[f"{end}_reading"].map(scores).fillna("")
        pairs[[f"{end}_ish", f"{end}_overall"]] = ""
        pairs[f"{end}_sampled"] = True
        pairs[f"{end}_rule"] = ""
    pairs["pair"] = True
    return Cohort(
        id="simulated", title="Simulated pairs", patients=pairs,
        flow=pd.DataFrame({"stage": ["rows"], "unit": ["rows"], "rule": ["one row a patient"],
                           "result": [""], "outcome": ["kept"], "count": [550], "of": [550]}),
        factors={"hr_status": ("positive", "negative"), "site": ("bone", "liver")},
        endpoints=(), scheme=PAPERS, source={"citation": "none"}, digest="x",
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(cohort: Cohort) -> Iterator[tc.CohortTransitions]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tc, "_fit", exact_fit)
        how = tc.Specification(assay=False)
        yield tc.run_pairs(tc.pairs_of(cohort, ["hr_status", "site"]), how)


def test_scenarios_settle_only_the_ambiguous_score(cohort: Cohort) -> None:
    data = tc.pairs_of(cohort).scenarios
    assert list(data) == [tc.ALL, tc.SINGLE, "IHC 0-1+ read as zero", "IHC 0-1+ read as low"]
    totals = {name: int(part["counts"].sum()) for name, part in data.items()}
    assert totals[tc.ALL] == totals["IHC 0-1+ read as zero"] == 550
    assert totals[tc.SINGLE] < 550
    zero = data["IHC 0-1+ read as zero"]["counts"].sel(stratum="all").sum("recurrence_reading")
    full = data[tc.ALL]["counts"].sel(stratum="all").sum("recurrence_reading")
    assert int(zero.sel(primary_reading="zero")) == int(
        full.sel(primary_reading=["zero", "zero/low"]).sum()
    )


def test_rows_are_unique_and_complete(result: tc.CohortTransitions) -> None:
    keys = result.estimates[["estimand", "reading"]]
    assert not keys.duplicated().any()
    assert not result.classical[["estimand", "reading"]].duplicated().any()
    for reading in (tc.ALL, tc.SINGLE, "IHC 0-1+ read as low", "new cohort"):
        assert ("discordance[]", reading) in set(keys.itertuples(index=False, name=None))
    assert "discordance_difference[; hr_status: positive vs negative]" in set(keys["estimand"])
    assert "transition[low -> zero | hr_status=positive, site=bone]" in set(keys["estimand"])
    assert "transition[low -> zero | site=bone]" in set(keys["estimand"])


def test_posterior_is_the_conjugate_one(result: tc.CohortTransitions, cohort: Cohort) -> None:
    counts = tc.single(transition_counts(cohort))["counts"].to_numpy()[0]
    row = result.estimates.set_index(["estimand", "reading"]).loc[
        ("transition[low -> zero]", tc.SINGLE)
    ]
    mean = 100 * (counts[1, 0] + 1) / (counts[1].sum() + 3)
    assert row["posterior_median"] == pytest.approx(mean, abs=0.9)
    assert row["unit"] == "%"
    finite = result.classical.set_index(["estimand", "reading"]).loc[("discordance[]", tc.SINGLE)]
    changed = counts.sum() - np.trace(counts)
    assert finite["reproduced"] == pytest.approx(100 * changed / counts.sum())


def test_levels_of_crossed_factors_are_standardised_to_the_cohort(
    result: tc.CohortTransitions, cohort: Cohort
) -> None:
    data = transition_counts(cohort, ["hr_status", "site"])
    cells = [m for m in result.matrices if len(m.given) == 2 and m.reading == tc.ALL]
    level = next(
        m for m in result.matrices
        if m.given == (("hr_status", "positive"),) and m.reading == tc.ALL
    )  # fmt: skip
    inside = [m for m in cells if ("hr_status", "positive") in m.given]
    names = ["hr_status=positive, site=bone", "hr_status=positive, site=liver"]
    weight = tc.exact_counts(data).sel(stratum=names, her2_primary="low").to_numpy()
    mean = sum(
        w * m.posterior.transition.sel(her2_primary="low")
        for w, m in zip(weight, inside, strict=True)
    )
    xr.testing.assert_allclose(
        level.posterior.transition.sel(her2_primary="low"), mean / weight.sum(), atol=1e-12
    )
    assert level.pairs == sum(m.pairs for m in inside)
    np.testing.assert_allclose(level.posterior.transition.sum("her2"), 1)


def test_finite_counts_by_level(result: tc.CohortTransitions) -> None:
    tests = result.classical.set_index("estimand")
    assert tests.loc["association[discordance ; hr_status]", "method"].startswith("Pearson")
    common = tests.loc["association[discordance within primary classes ; hr_status]"]
    assert "Breslow-Day" in common["note"]
    assert 0 < common["reproduced"] < 10
    equal = tests.loc["agreement[her2 ; hr_status]"]
    assert "equality of kappas" in equal["method"]


def test_checks_come_before_any_fit(cohort: Cohort) -> None:
    with pytest.raises(BadInput, match=r"no such factor.*did you mean 'hr_status'"):
        tc.check(cohort, ["hr_statsu"])
    alone = cohort.patients.assign(pair=False)
    with pytest.raises(BadInput, match="no patient has both"):
        tc.check(SimpleNamespace(patients=alone, factors={}, id="x"), [])  # type: ignore[arg-type]


def test_pooled_cohorts_become_strata(cohort: Cohort) -> None:
    from dataclasses import replace

    other = replace(cohort, id="second", patients=cohort.patients.head(100))
    both = tc.pool([cohort, other])
    assert both.factors["study"] == ("simulated", "second")
    data = transition_counts(both, ["study"])
    assert data["counts"].sum(("primary_reading", "recurrence_reading")).to_numpy().tolist() == [
        550,
        100,
    ]
    with pytest.raises(BadInput, match="same id"):
        tc.pool([cohort, cohort])
    two = replace(PAPERS, categories=("zero", "positive"))
    with pytest.raises(BadInput, match="different HER2 classes"):
        tc.pool([cohort, replace(cohort, id="third", scheme=two)])


def matrix(level: str, seed: int) -> Matrix:
    rng = np.random.default_rng(seed)
    dims = ("chain", "draw", "her2_primary", "her2")
    coords = {"her2_primary": CLASSES, "her2": CLASSES}
    draws = xr.DataArray(rng.dirichlet(np.ones(3), (4, 300, 3)), dims=dims, coords=coords)
    share = xr.DataArray(
        rng.dirichlet(np.ones(3), (4, 300)), dims=dims[:3], coords={"her2_primary": CLASSES}
    )
    fit = SimpleNamespace(fit_id="a" * 12, model="m", diagnostics=Diagnostics(4, 300, 0, 1.0))
    observed = xr.DataArray([0.2, 0.5, 0.3], dims="her2_primary", coords={"her2_primary": CLASSES})
    rows = Rows(draws, share, observed)
    return Matrix((("site", level),), rows, rows, 10 * seed, fit)


def test_this_cohort_and_a_new_one_are_different_rows() -> None:
    rows = pd.DataFrame(matrix_rows(matrix("liver", 1)))
    both = rows[rows["estimand"] == "discordance[| site=liver]"]  # this cohort, then a new one
    assert list(both["reading"]) == ["", "new cohort"]
    assert list(both["note"]) == ["primary shares as in this cohort", "primary shares drawn"]
    flows = rows[rows["estimand"] == "flow_difference[zero -> low | site=liver]"]
    assert flows["note"].iloc[0].startswith("P(flow zero -> low > flow low -> zero)")
    assert 0 <= flows["posterior_probability"].iloc[0] <= 1


def test_contrasts_of_many_levels_are_with_the_largest() -> None:
    levels = [matrix(name, k) for k, name in enumerate("abcdef", 1)]
    names = [row["estimand"] for row in contrast_rows(levels, "site")]
    assert names == [f"discordance_difference[; site: {name} vs f]" for name in "abcde"]
    assert len(contrast_rows(levels[:3], "site")) == 3

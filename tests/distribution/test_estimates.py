"""The distribution analysis: which tables are fitted, what is estimated, what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from her2bayes.bayes.levels import design
from her2bayes.bayes.prior import prior
from her2bayes.distribution import estimates
from her2bayes.errors import BadInput
from her2bayes.estimand import parse
from her2bayes.evidence.printed.study import load_study, published_folder
from her2bayes.inference.convergence import Diagnostics
from her2bayes.inference.sampling import Sampling

RUN = Diagnostics(4, 500, 0, 1.0)
SHI = load_study(published_folder() / "shi2023")


@dataclass(frozen=True)
class ConjugateFit:
    """Draws of Dirichlet(counts + 1) in place of a fit: the arithmetic around them is tested."""

    counts: xr.DataArray
    fit_id: str = "0123456789ab"
    model: str = "her2_distribution"
    diagnostics: Diagnostics = RUN
    provenance: dict[str, Any] = field(default_factory=lambda: {"options": {}})

    def draws(self, counts: np.ndarray, chains: int) -> xr.Dataset:
        rng = np.random.default_rng(1)
        share = np.stack([rng.dirichlet(row + 1, size=(chains, 500)) for row in counts], axis=2)
        effects = [str(e) for e in design(self.counts)["effect"].values if "no data" not in str(e)]
        return xr.Dataset(
            {
                "share": (("chain", "draw", "subgroup", "her2"), share),
                "tau": (("chain", "draw", "family"), rng.random((chains, 500, 2))),
            },
            coords={
                "subgroup": self.counts["subgroup"].values,
                "her2": self.counts["her2"].values,
                "family": ["parent", "level"],
                "effect": effects,
            },
        )

    @property
    def posterior(self) -> xr.Dataset:
        return self.draws(self.counts.values, 4)

    @property
    def prior(self) -> xr.Dataset:
        return self.draws(0 * self.counts.values, 1)


@pytest.fixture(scope="module")
def result() -> estimates.Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimates, "fit", lambda build, counts, **_: ConjugateFit(counts))
        return estimates.run(SHI, None, Sampling())


def row(result: estimates.Result, estimand: str) -> Any:
    (found,) = result.estimates[result.estimates["estimand"] == str(parse(estimand))].to_dict(
        "records"
    )
    return SimpleNamespace(**found)


def test_each_partition_is_fitted_once_and_nested_ones_together(
    result: estimates.Result,
) -> None:
    assert list(result.fits) == ["", "age", "bcfi", "site", "hr_status", "ki67"]
    assert result.analyses[3].parent == "relapse_type"
    assert set(result.counts) == {*result.fits, "relapse_type"}
    assert result.labels["age"] == SHI.factors["age"].label


def test_every_printed_share_of_her2_is_answered(result: estimates.Result) -> None:
    printed = {
        str(parse(text))
        for text in SHI.ledger["estimand"]
        if text.startswith("share[her2=") and "her2_primary" not in text
    }
    assert printed <= set(result.estimates["estimand"])
    assert not result.estimates["estimand"].duplicated().any()
    assert (result.estimates["convergence"] == "converged").all()


def test_shares_are_those_of_the_draws(result: estimates.Result) -> None:
    low = row(result, "share[her2=low | hr_status=positive]")
    assert low.posterior_median == pytest.approx(100 * 93 / 138, abs=1.5)
    assert low.prior_median == pytest.approx(29.3, abs=4)  # median of Beta(1, 2)
    assert low.unit == "%"
    assert row(result, "share[her2=low]").posterior_median == pytest.approx(51.2, abs=1)


def test_the_parent_is_answered_from_the_levels_nested_in_it(result: estimates.Result) -> None:
    sites = SHI.status_counts()["site"]
    inside = sites[np.array(sites["parent"].values) == "DM"].values
    weight = inside.sum(axis=1) / inside.sum()
    expected = weight @ ((inside + 1) / (inside.sum(axis=1, keepdims=True) + 3))
    found = row(result, "share[her2=zero | relapse_type=DM]")
    assert found.posterior_median == pytest.approx(100 * expected[0], abs=1)


def test_differences_name_their_event(result: estimates.Result) -> None:
    low = row(result, "share_difference[her2=low ; hr_status: positive vs negative]")
    assert low.posterior_median == pytest.approx(100 * (93 / 138 - 36 / 115), abs=2)
    assert low.posterior_probability > 0.999
    assert low.prior_probability == pytest.approx(0.5, abs=0.1)
    assert low.note.startswith("P(difference > 0)")
    pairs = result.estimates["estimand"].str.contains("share_difference.* ; site: ")
    assert pairs.sum() == 3 * 28


def test_an_association_is_answered_in_shares_beside_its_prior(result: estimates.Result) -> None:
    largest = row(result, "heterogeneity[her2 share ; hr_status]")
    assert largest.posterior_median == pytest.approx(36, abs=3)
    assert largest.unit == "%"
    assert "10 percentage points" in largest.note
    v = row(result, "association[her2 ; hr_status]")
    assert v.posterior_median == pytest.approx(0.39, abs=0.05)
    assert 0 < v.prior_lower < v.prior_median < v.prior_upper < 1
    assert "beside its prior" in v.note


def test_spread_is_reported_where_it_is_learned(result: estimates.Result) -> None:
    found = set(result.estimates["estimand"])
    learned = {
        f"heterogeneity[her2 logit ; {factor}]" for factor in ("bcfi", "site", "relapse_type")
    }
    assert {e for e in found if e.startswith("heterogeneity[her2 logit")} == learned
    note = row(result, "heterogeneity[her2 logit ; site]").note
    assert "within a level of relapse_type" in note


def test_notes_say_which_patients(result: estimates.Result) -> None:
    assert "same 247 patients" in row(result, "share[her2=low | age=>50]").note
    assert "218 of the 247 patients" in row(result, "share[her2=low | ki67=>30]").note


def test_a_study_without_her2_counts_has_nothing_to_fit() -> None:
    assert not estimates.applies(load_study(published_folder() / "ni2025"))
    assert estimates.applies(SHI)


def test_bad_input_is_refused_before_the_first_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a fit was started")

    monkeypatch.setattr(estimates, "fit", never)
    with pytest.raises(BadInput, match="no such model"):
        estimates.run(SHI, None, Sampling(), how=estimates.How(model="her2"))
    nonsense = {"nonsense": prior("Normal", mu=0.0, sigma=1.0)}
    how = estimates.How(priors=nonsense, options={"pooling": "some"})
    with pytest.raises(BadInput) as raised:
        estimates.run(SHI, None, Sampling(), how=how)
    assert len(raised.value.faults) == 2

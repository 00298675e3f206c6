"""One summary for all draws: numbers against NumPy, percent where papers print it, no silence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import special

from her2bayes.estimand import KINDS, parse
from her2bayes.inference.convergence import Diagnostics
from her2bayes.inference.estimates import ESTIMATE_COLUMNS, contraction, estimate, estimates_table

RUN = Diagnostics(4, 1000, 0, 1.0)


@dataclass(frozen=True)
class Named:
    fit_id: str = "0123456789ab"
    model: str = "model"
    diagnostics: Diagnostics = RUN


def draws(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("chain", "draw"))


@pytest.fixture
def posterior(rng: np.random.Generator) -> xr.DataArray:
    return draws(rng.beta(20, 80, size=(4, 1000)))


@pytest.fixture
def prior(rng: np.random.Generator) -> xr.DataArray:
    return draws(rng.beta(1, 1, size=(1, 2000)))


SHARE = parse("share[her2=low]")


def test_a_share_is_summarised_in_percent(posterior: xr.DataArray, prior: xr.DataArray) -> None:
    row = estimate(SHARE, posterior, prior, Named())
    expected = 100 * np.quantile(posterior, [0.025, 0.5, 0.975])
    found = [row[f"posterior_{part}"] for part in ("lower", "median", "upper")]
    np.testing.assert_allclose(found, expected)
    assert row["prior_median"] == pytest.approx(50, abs=4)
    assert row["unit"] == "%"
    logit = special.logit(posterior), special.logit(prior)
    assert row["contraction"] == pytest.approx(1 - float(logit[0].var() / logit[1].var()))
    assert row["convergence"] == "converged"
    assert set(row) == set(ESTIMATE_COLUMNS)
    assert np.isnan(row["posterior_probability"])


def test_other_kinds_and_given_units_are_not_scaled(
    posterior: xr.DataArray, prior: xr.DataArray
) -> None:
    ratio = estimate(parse("hazard_ratio[bcss ; her2: low vs zero]"), posterior, prior, Named())
    assert ratio["unit"] == ""
    assert ratio["posterior_median"] == pytest.approx(float(posterior.median()))
    months = estimate(parse("median[bcss]"), posterior, prior, Named(), unit="months")
    assert months["unit"] == "months"


def test_the_probability_is_of_the_event_the_note_names(
    posterior: xr.DataArray, prior: xr.DataArray
) -> None:
    row = estimate(
        SHARE, posterior, prior, Named(), event=lambda share: share > 0.2, note="P(share > 20 %)"
    )
    assert row["posterior_probability"] == pytest.approx(float((posterior > 0.2).mean()))
    assert row["prior_probability"] == pytest.approx(0.8, abs=0.04)
    with pytest.raises(ValueError, match="must name the event"):
        estimate(SHARE, posterior, prior, Named(), event=lambda share: share > 0.2)


def test_more_than_one_number_a_draw_is_refused(
    posterior: xr.DataArray, prior: xr.DataArray
) -> None:
    with pytest.raises(ValueError, match="not chain and draw"):
        estimate(SHARE, posterior.expand_dims("her2"), prior, Named())


def test_constants_are_reported_as_they_are(prior: xr.DataArray) -> None:
    fixed = draws(np.full((4, 100), 0.75))
    row = estimate(SHARE, fixed, draws(np.full((1, 10), 0.75)), Named())
    assert (row["posterior_lower"], row["posterior_upper"]) == (75, 75)
    assert np.isnan(row["contraction"])
    assert contraction("share", fixed, prior) == 1
    assert row["convergence"] == "converged"


def test_a_failed_verdict_travels_with_the_number(
    posterior: xr.DataArray, prior: xr.DataArray
) -> None:
    bad = Named(diagnostics=Diagnostics(4, 1000, 7, 1.0))
    assert estimate(SHARE, posterior, prior, bad)["convergence"] == "not converged: 7 divergences"


def test_table_has_fixed_columns_first_and_keeps_others(
    posterior: xr.DataArray, prior: xr.DataArray
) -> None:
    row = estimate(SHARE, posterior, prior, Named())
    table = estimates_table([row, {**row, "evidence_kind": "implied"}])
    assert list(table.columns) == [*ESTIMATE_COLUMNS, "evidence_kind"]
    assert pd.isna(table["evidence_kind"][0])
    assert list(estimates_table([]).columns) == list(ESTIMATE_COLUMNS)


def test_a_ratio_and_its_inverse_contract_alike(rng: np.random.Generator) -> None:
    """Normal(0, 1) before and Normal(0.5, 0.5) after on the log: 1 - 0.25 / 1."""
    before, after = rng.normal(0, 1, (1, 4000)), rng.normal(0.5, 0.5, (4, 1000))
    for kind in ("hazard_ratio", "hazard_ratio_ratio", "share_ratio", "rmst_ratio"):
        one = contraction(kind, np.exp(after), np.exp(before))
        assert one == pytest.approx(0.75, abs=0.02)
        assert contraction(kind, np.exp(-after), np.exp(-before)) == pytest.approx(one)
    on_ratios = 1 - np.exp(after).var() / np.exp(before).var()
    assert abs(on_ratios - 0.75) > 0.05  # what the ratio's own scale would give


def test_a_share_and_its_complement_contract_alike(
    posterior: xr.DataArray, prior: xr.DataArray
) -> None:
    one = contraction("share", posterior, prior)
    assert contraction("share", 1 - posterior, 1 - prior) == pytest.approx(one)
    assert np.isnan(contraction("share", xr.where(posterior > 0.3, 0.0, posterior), prior))


def test_errors_are_on_the_scale_of_the_kind(rng: np.random.Generator) -> None:
    """Of the median of 4000 draws of Normal(0, 1): sqrt(pi / 2 / 4000) = 0.0198."""
    log = rng.normal(0, 1, (4, 1000))
    for values in (np.exp(log), np.exp(-log), 100 * np.exp(log)):
        row = estimate(
            parse("hazard_ratio[os ; her2: low vs zero]"), draws(values), draws(values), Named()
        )
        assert row["mcse_posterior_median"] == pytest.approx(0.0198, rel=0.3)
    some = draws(rng.beta(20, 80, size=(4, 1000)))
    row = estimate(parse("share_difference[her2=low ; a: x vs y]"), some, some, Named())
    assert row["mcse_posterior_median"] == pytest.approx(
        100 * 1.2533 * float(some.std()) / 4000**0.5, rel=0.3
    )


def test_a_unit_that_is_not_the_kinds_is_refused(
    posterior: xr.DataArray, prior: xr.DataArray
) -> None:
    with pytest.raises(ValueError, match="share is in '%'"):
        estimate(SHARE, posterior, prior, Named(), unit="")
    ratio = parse("hazard_ratio[os ; her2: low vs zero]")
    with pytest.raises(ValueError, match="hazard_ratio is in ''"):
        estimate(ratio, posterior, prior, Named(), unit="%")


def test_every_kind_is_declared_whole() -> None:
    for name, kind in KINDS.items():
        assert kind.words, name
        assert kind.scale in ("identity", "log", "logit"), name
        assert kind.unit in ("%", "", None), name
        bounded = kind.limits == (0.0, 1.0)
        assert kind.scale != "logit" or (bounded and kind.unit == "%"), name
        assert kind.scale != "log" or kind.unit != "%", name
        assert name.endswith("_difference") <= (kind.scale == "identity"), name
        assert ("_ratio" in name) <= (kind.scale == "log" and kind.unit == ""), name

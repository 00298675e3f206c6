"""One summary for all draws: numbers against NumPy, percent where papers print it, no silence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from her2bayes.estimand import KINDS, parse
from her2bayes.inference.convergence import Diagnostics
from her2bayes.posterior.estimates import (
    ESTIMATE_COLUMNS,
    PERCENT_KINDS,
    contraction,
    estimate,
    estimates_table,
)

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
    assert row["contraction"] == pytest.approx(1 - float(posterior.var() / prior.var()))
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
    assert contraction(fixed, prior) == 1
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


def test_kinds_in_percent_are_known_kinds() -> None:
    assert set(KINDS) >= PERCENT_KINDS

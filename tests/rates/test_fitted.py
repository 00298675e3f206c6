"""Rates asked for through the interface: frames, closed forms, draws beside rows, files, faults."""

from __future__ import annotations

from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from her2bayes.bayes.prior import prior
from her2bayes.errors import BadInput
from her2bayes.inference.sampling import Sampling
from her2bayes.rates.fitted import ResponseFit, TwoArmFit, fit_adverse_events, fit_response
from her2bayes.results.fitted import load_fit

ALL = pd.DataFrame({"factor": [""], "level": [""], "responders": [23], "patients": [64]})
ELSEWHERE = pd.DataFrame({"study": ["DB04"], "responders": [20], "patients": [40]})
RATE = "response_rate[response]"
POINTS = [0.5, 0.025, 0.975]


def centres(number: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    patients = rng.integers(5, 30, number)
    return pd.DataFrame(
        {
            "factor": "centre",
            "level": [f"c{k}" for k in range(number)],
            "responders": rng.binomial(patients, 0.4),
            "patients": patients,
        }
    )


def numbers(row: pd.Series) -> list[float]:
    return [float(row[f"posterior_{name}"]) for name in ("median", "lower", "upper")]


def test_a_rate_alone_is_the_beta_of_its_counts() -> None:
    """scipy.stats.beta(24, 42).ppf of median and 95 % interval; Wilson's interval by R's prop.test.

    R 4.2: prop.test(23, 64, correct = FALSE)$conf.int 0.2528840 0.4817915
    """
    fit = fit_response(ALL)
    law = stats.beta(24, 42)
    (row,) = fit.estimates().iloc
    assert numbers(row) == pytest.approx(100 * law.ppf(POINTS), rel=1e-6)
    drawn = fit.draws(RATE)
    assert drawn.dims == ("chain", "draw")
    # an even grid of 4000 quantiles: within half a step of the distribution function
    assert law.cdf(np.quantile(drawn, POINTS)) == pytest.approx(POINTS, abs=2.5e-4)
    assert float(drawn.mean()) == pytest.approx(law.mean(), abs=1e-5)
    counted = fit.classical().iloc[0]
    assert counted["reproduced_lower"] == pytest.approx(25.28840, abs=1e-4)
    assert counted["reproduced_upper"] == pytest.approx(48.17915, abs=1e-4)


@pytest.fixture(scope="module")
def borrowed() -> ResponseFit:
    return fit_response(ALL, external=ELSEWHERE, weight=0.5)


def test_borrowed_rates_are_readings(borrowed: ResponseFit) -> None:
    fit = borrowed
    full = fit.draws(RATE, reading="borrowing_full")
    assert float(full.mean()) == pytest.approx(44 / 106, abs=1e-5)  # Beta(1 + 43, 1 + 61)
    table = fit.estimates([RATE]).set_index("reading")
    assert numbers(table.loc["borrowing_power_0.5"]) == pytest.approx(
        100 * stats.beta(34, 52).ppf(POINTS), rel=1e-6
    )
    assert list(fit.figures) == ["borrowing", "tipping", "tipping_probability"]
    assert fit.figures.borrowing("response").axes


def test_a_file_and_every_kind_of_frame_give_the_same(tmp_path: Path) -> None:
    import pyarrow as pa

    file = tmp_path / "counts.csv"
    ALL.to_csv(file, index=False)
    known = fit_response(ALL).estimates()
    floats = ALL.assign(responders=23.0, factor=None, level=np.nan)
    for table in (file, str(file), pa.Table.from_pandas(ALL), floats):
        pd.testing.assert_frame_equal(fit_response(table).estimates(), known)


def test_every_fault_is_told_before_the_first_draw() -> None:
    bad = ALL.assign(responders=[70])
    with pytest.raises(BadInput) as caught:
        fit_response(bad, external=ELSEWHERE, threshold=0.0,
                     priors={"nonsense": prior("Normal", mu=0.0, sigma=1.0)})  # fmt: skip
    said = str(caught.value)
    for text in ("--threshold is no rate", "--external needs --weight", "no prior named 'nonsense'",
                 "data frame, row 2", "more responders than patients"):  # fmt: skip
        assert text in said
    with pytest.raises(BadInput, match="centre"):
        fit_response(centres(), by="center")
    with pytest.raises(BadInput, match="did you mean"):
        fit_response(ALL).draws("response_rate[respons]")


def test_factors_and_levels_are_chosen_in_order() -> None:
    fit = fit_response(pd.concat([ALL, centres().head(2)]), by={"centre": ["c1"]})
    asked = list(fit.estimates()["estimand"])
    assert asked == [RATE, "response_rate[response | centre=c1]"]


# a level is one count: leaving it out moves its rate far
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")
def test_many_levels_are_computed_and_drawn_together(tmp_path: Path) -> None:
    """Draws have the computed quantiles; ArviZ takes the tree; a file gives it back."""
    fit = fit_response(centres())
    table = fit.estimates().set_index("estimand")
    drawn = fit.draws(list(table.index))
    for text, values in drawn.items():
        exact = fit.parts["RESPONSE by centre"].exact
        law = next(pair[0] for asked, pair in exact.items() if str(asked) == text)
        # 4000 independent draws: four standard errors of the distribution function
        error = 4 * np.sqrt(np.array(POINTS) * (1 - np.array(POINTS)) / 4000)
        assert (np.abs(law.cdf(np.quantile(values, POINTS)) - POINTS) < error).all(), text
    spread = fit.draws("heterogeneity[response ; centre]")
    assert float(spread.min()) > 0
    assert az.loo(fit.tree).n_data_points == 30
    fit.save(tmp_path / "fit.nc")
    again = load_fit(tmp_path / "fit.nc")
    pd.testing.assert_frame_equal(again.estimates(), fit.estimates())
    assert again.draws("heterogeneity[response ; centre]").equals(spread)


def test_any_event_in_two_arms_has_computed_differences() -> None:
    """P(Beta(1, 18) > Beta(1, 19)) = 19 / 37; draws of the difference are those of the rates."""
    rows = [("a", "any", "any", 0, 18), ("b", "any", "any", 0, 17)]
    fit = fit_adverse_events(
        pd.DataFrame(rows, columns=["arm", "event", "severity", "count", "patients"])
    )
    assert isinstance(fit, TwoArmFit)
    gap = fit.draws("event_rate_difference[any | severity=any ; arm: b vs a]")
    # the standard error of 4000 independent draws is 0.008
    assert float((gap > 0).mean()) == pytest.approx(19 / 37, abs=0.032)
    assert fit.differences["more_in_treated"].iloc[0] == pytest.approx(19 / 37, abs=1e-6)


@pytest.mark.slow
def test_two_arms_with_own_priors_are_saved_and_read(tmp_path: Path) -> None:
    rows = [("a", "ild", "any", 2, 13), ("a", "nausea", "any", 5, 13),
            ("b", "ild", "any", 0, 15), ("b", "nausea", "any", 6, 15)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["arm", "event", "severity", "count", "patients"])
    narrow = {"mu_theta": prior("Normal", mu=0.0, sigma=0.1)}
    fit = fit_adverse_events(table, priors=narrow, sampling=Sampling(300, 400, 2))
    assert isinstance(fit, TwoArmFit)
    assert fit.priors()["mu_theta"][0] == "Normal(mu=0.0, sigma=0.1)"
    fit.save(tmp_path / "fit.nc")
    again = load_fit(tmp_path / "fit.nc")
    assert isinstance(again, TwoArmFit)
    pd.testing.assert_frame_equal(again.estimates(), fit.estimates())
    pd.testing.assert_frame_equal(again.differences, fit.differences)
    gap = fit.draws("event_rate_difference[ild | severity=any ; arm: b vs a]")
    known = fit.estimates(["event_rate_difference[ild | severity=any ; arm: b vs a]"]).iloc[0]
    assert numbers(known) == pytest.approx(100 * np.quantile(gap, POINTS), abs=1e-9)


def test_a_section_tells_the_equations_of_computed_rates(borrowed: ResponseFit) -> None:
    fit = borrowed
    cards = {card["model"]: card for card in fit.section().fits}
    assert "commensurate" in cards["borrowing"]["equations"]
    assert "Beta(1, 1)" in cards["cohort_shares"]["equations"]
    assert set(fit.estimates()["fit_id"]) == {card["fit_id"] for card in cards.values()}

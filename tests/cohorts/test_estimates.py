"""Hazard ratios over reconstructed cohorts: Cox's covariance, Rubin's rules, printed intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from her2bayes.cohorts import analysis, kept
from her2bayes.cohorts.constraints import summary as read_summary
from her2bayes.cohorts.diagnostics import log_hazards
from her2bayes.cohorts.ensemble import ensemble_of
from her2bayes.cohorts.estimates import COHORTS, covariance, joined, over_cohorts
from her2bayes.cohorts.interpretations import settings_of
from her2bayes.evidence.printed.study import load_study, study_folder
from her2bayes.survival.figures import MISSING, ForestRow, forest

MONTHS = np.array([1.0, 2, 2, 3, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9, 10, 11])
EVENT = np.array([1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0], bool)
R_COVARIANCE = [[0.6065135990, 0.2509945945], [0.2509945945, 0.5047025854]]
GROUP = np.array([0, 1, 2, 0, 1, 1, 2, 0, 0, 2, 1, 0, 2, 1, 0, 2])


@pytest.mark.slow
def test_covariance_is_that_of_coxph() -> None:
    """R 4.2.2, survival 3.5-3: with t, e, g as above,

    f <- coxph(Surv(t, e) ~ factor(g), ties = "efron"); coef(f); vcov(f)
    """
    logs = log_hazards(np.arange(3), 3, MONTHS, EVENT, GROUP)
    found = covariance(logs, MONTHS, EVENT, GROUP)
    assert logs[1:] - logs[0] == pytest.approx([0.144334646660, 0.001668484255], abs=1e-6)
    assert found[1:, 1:] == pytest.approx(np.array(R_COVARIANCE), abs=1e-6)
    assert (found[0] == 0).all()


def test_a_group_without_deaths_has_no_error() -> None:
    event = EVENT & (GROUP != 1)
    logs = log_hazards(np.arange(3), 3, MONTHS, event, GROUP)
    found = covariance(logs, MONTHS, event, GROUP)
    assert np.isnan(found[1]).all()
    assert found[2, 2] > 0


def test_rubins_rules_by_hand() -> None:
    """Estimates 0.1, 0.3, 0.2, errors 0.04, 0.05, 0.06: 0.05 + (1 + 1/3) * 0.01 = 0.063333."""
    row = joined(np.array([0.1, 0.3, 0.2]), np.array([0.04, 0.05, 0.06]))
    half = 1.959964 * np.sqrt(0.05 + 4 / 3 * 0.01)
    assert row["reproduced"] == pytest.approx(np.exp(0.2))
    assert row["reproduced_lower"] == pytest.approx(np.exp(0.2 - half))
    assert row["reproduced_upper"] == pytest.approx(np.exp(0.2 + half))
    assert "standard error 0.22 within, 0.10 between cohorts" in row["method"]
    some = joined(np.array([20.0, *[0.1] * 39]), np.full(40, 0.04))
    assert "no finite ratio in 1, where a group has no deaths" in some["method"]
    assert some["reproduced"] == pytest.approx(np.exp(0.1))


def test_cohorts_with_a_finite_ratio_are_not_selected() -> None:
    few = joined(np.array([20.0, 0.1, 0.3]), np.array([np.nan, 0.04, 0.04]))
    assert np.isnan(few["reproduced"])
    assert few["method"] == "no Cox ratio: in 1 of 3 reconstructed cohorts a group has no deaths"


@pytest.mark.slow
def test_interval_of_a_printed_ratio_is_the_printed_one() -> None:
    """Shi 2023 prints 1.797 (0.997-3.239) and 0.422 (0.199-0.892) of Cox; R would print the same.

    Cohorts agree in these ratios to rounding: all of the width is sampling error.
    """
    study = load_study(study_folder("shi2023"))
    item = read_summary(study, "bcss")
    chains = kept.shipped(kept.Specification(item, settings_of(study)))
    assert chains is not None
    table = over_cohorts(ensemble_of(item, chains, 1)).set_index("estimand")
    for level, printed in (("zero", (1.797, 0.997, 3.239)), ("positive", (0.422, 0.199, 0.892))):
        row = table.loc[f"hazard_ratio[bcss ; her2: {level} vs low]"]
        found = [row[f"reproduced{end}"] for end in ("", "_lower", "_upper")]
        assert found == pytest.approx(printed, rel=2e-3)
        assert f"{COHORTS} reconstructed cohorts, combined by Rubin's rules" in row["method"]
    made = table[table["reproduced"].notna()]
    assert len(made) > len(table) / 2
    assert (made["reproduced_lower"] < 0.5 * made["reproduced_upper"]).all()
    known = analysis.published_ratios(study)
    assert known["hazard_ratio[bcss ; her2: zero vs low]"] == (1.797, 0.997, 3.239)
    turned = known["hazard_ratio[bcss ; her2: low vs zero]"]
    assert turned == pytest.approx((1 / 1.797, 1 / 3.239, 1 / 0.997))


def test_forest_draws_the_published_interval_where_there_is_one() -> None:
    raw, pooled = (1.8, 1.0, 3.2), (1.5, 0.9, 2.5)
    without = forest([ForestRow("all", "", raw, pooled)], "a against b")
    assert "published" not in without
    with_ = forest(
        [ForestRow("all", "", raw, pooled, False, (1.79, 0.99, 3.24)),
         ForestRow("some", "", raw, MISSING)], "a against b",
    )  # fmt: skip
    assert "published" in with_
    assert "1.79 (0.99–3.24)" in with_


def test_adjusted_ratios_are_not_taken_for_the_unadjusted(tmp_path: Path) -> None:
    """Ni 2025 prints 2.57 (0.97-6.82), and 2.46 (1.15-5.29) of a multivariable model."""
    known = analysis.published_ratios(load_study(study_folder("ni2025")))
    asked = "hazard_ratio[rwpfs ; brain_metastases: yes vs no]"
    assert known[asked] == (2.57, 0.97, 6.82)
    assert pd.Series([len(v) for v in known.values()]).eq(3).all()

"""Classical survival of 2 to 14 patients with 0 to 5 events against R, and never an error.

Expected numbers: tests/reference/few_events.json, made by ``Rscript tests/reference/few_events.R``
(R 4.2.2, survival 3.5-3, cmprsk 2.2-11): ties, groups without events or patients, delayed entry.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from her2bayes.classical import competing, survival
from her2bayes.classical import hazard_regression as regression
from her2bayes.classical import survival as km
from her2bayes.classical.competing import fine_gray
from her2bayes.survival.classical import classical_rows, variants

STORED = json.loads((Path(__file__).parents[1] / "reference" / "few_events.json").read_text())
CASES = STORED["cases"]
INCIDENCE = competing.cumulative_incidence


def counts_of(case: dict[str, Any]) -> pd.DataFrame:
    d = pd.DataFrame(case["data"])
    cause = d["cause"].map({0: "", 1: "one", 2: "two"})
    return d.assign(cause=cause, patients=1, g=pd.Categorical(d["g"], sorted(set(d["g"]))))


def numbers(values: Any) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in np.ravel(values)], float)


def test_the_reference_has_all_kinds_of_case() -> None:
    events = [sum(case["data"]["event"]) for case in CASES]
    assert {0, 1, 2, 3, 4, 5} <= set(events)
    kinds = ("logrank", "cox", "gray", "incidence")
    assert all(sum(bool(case.get(kind)) for case in CASES) >= 50 for kind in kinds)


@pytest.mark.parametrize("case", CASES)
def test_medians_and_log_rank_equal_r(case: dict[str, Any]) -> None:
    counts, expected = counts_of(case), case["median"]
    found = km.quantile(counts, ["g"]).set_index("group").loc[expected["group"]]
    for name in ("estimate", "lower", "upper"):
        np.testing.assert_allclose(found[name], numbers(expected[name]), rtol=1e-9)
    if case.get("logrank"):
        test = km.logrank(counts, ["g"])
        assert list(test["expected"].values()) == pytest.approx(case["logrank"]["expected"])
        if test["df"]:
            assert test["statistic"] == pytest.approx(case["logrank"]["chisq"][0], abs=1e-9)


@pytest.mark.parametrize("case", [c for c in CASES if c.get("cox")])
def test_cox_equals_r_where_r_has_an_answer(case: dict[str, Any]) -> None:
    expected, counts = case["cox"], counts_of(case)
    levels = list(counts["g"].cat.categories)
    found = regression.cox(counts, {"g": levels[0]})
    null, best = numbers(expected["loglik"])
    infinite = not np.isfinite(found.table["log_hazard_ratio"]).all()
    # R stops before the limit where a ratio is infinite
    assert found.loglik == pytest.approx((null, best), abs=1e-4 if infinite else 1e-7)
    if np.isfinite(found.tests["score"]):
        assert found.tests["score"] == pytest.approx(expected["score"][0], abs=1e-6)
    rows = zip(
        found.table.to_dict("records"), numbers(expected["coef"]), numbers(expected["std_error"]),
        strict=True,
    )  # fmt: skip
    for row, coefficient, error in rows:
        if np.isfinite(row["log_hazard_ratio"]):
            assert row["log_hazard_ratio"] == pytest.approx(coefficient, abs=1e-5)
            assert row["std_error"] == pytest.approx(error, rel=1e-4)
        elif np.isinf(row["log_hazard_ratio"]):  # R stops somewhere far on that side
            assert np.sign(coefficient) == np.sign(row["log_hazard_ratio"])
            assert abs(coefficient) > 10
            assert "profile-likelihood" in row["note"]
            assert row["lower"] <= row["hazard_ratio"] <= row["upper"]
        else:
            assert row["note"].startswith("not available")


@pytest.mark.parametrize("case", [c for c in CASES if c.get("cox")])
def test_limits_of_an_infinite_ratio_are_those_of_r_s_profile_likelihood(
    case: dict[str, Any],
) -> None:
    """R's profile log likelihood at log ratio 1 lies on the side of the bound that it should."""
    counts = counts_of(case)
    row = regression.cox(counts, {"g": counts["g"].cat.categories[0]}).table.iloc[0]
    value = row["log_hazard_ratio"]
    if not np.isinf(value):
        return
    fall = 2 * (case["cox"]["loglik"][1] - case["cox"]["at_one"][0])
    inside = fall <= 3.841458820694124
    assert inside == (row["lower"] <= np.e <= row["upper"])


@pytest.mark.parametrize("case", [c for c in CASES if c.get("incidence")])
def test_competing_causes_equal_r(case: dict[str, Any]) -> None:
    counts, expected = counts_of(case), case["incidence"]
    found = competing.cumulative_incidence(counts, case["at"])
    found = found[found["cause"] == "one"]
    known = found["estimate"].notna().to_numpy()  # R carries the last value on
    happened = known & (found["estimate"] > 0).to_numpy()  # before it R has 0 or no limits
    # with delayed entry R has the infinitesimal jackknife; the identity below stands for it
    names = ("estimate",) if (counts["entry"] > 0).any() else tuple(expected)
    for name in names:
        chosen = happened if name in ("lower", "upper") else known
        mine, theirs = found[name].to_numpy()[chosen], numbers(expected[name])[chosen]
        np.testing.assert_allclose(mine, theirs, rtol=1e-7, atol=1e-9, err_msg=name)
    if case.get("gray"):
        test = competing.gray(counts, "g", "one")
        # cmprsk gives -1 where it cannot invert the variance of a group of one or two
        if np.isfinite(test["statistic"]) and case["gray"][0] >= 0:
            assert test["statistic"] == pytest.approx(case["gray"][0], rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("case", [c for c in CASES if sum(c["data"]["event"])])
def test_incidence_of_one_cause_is_what_kaplan_meier_leaves(case: dict[str, Any]) -> None:
    counts = counts_of(case)
    counts["cause"] = np.where(counts["event"] == 1, "one", "")
    found, kaplan_meier = (f(counts, case["at"]) for f in (INCIDENCE, km.survival_at))
    np.testing.assert_allclose(found["estimate"], 1 - kaplan_meier["estimate"], atol=1e-12)
    alive = (kaplan_meier["estimate"] > 0).to_numpy()  # Greenwood's error ends with the curve
    np.testing.assert_allclose(
        found["std_error"][alive], kaplan_meier["std_error"][alive], rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("case", CASES[::10])
def test_no_method_raises_and_what_is_missing_has_a_reason(case: dict[str, Any]) -> None:
    counts = counts_of(case)
    counts["h"] = pd.Categorical(np.where(np.arange(len(counts)) % 2, "u", "v"), ["u", "v", "w"])
    levels = list(counts["g"].cat.categories)
    about: Any = SimpleNamespace(
        endpoint="os", factors={"g": tuple(levels), "h": ("u", "v", "w")},
        causes=tuple(competing.causes_of(counts)),
    )  # fmt: skip
    reference = {"g": levels[-1], "h": "w"}
    rows = classical_rows(counts, about, ["g", "h"], reference, 3.0, (1.0, 4.0))
    empty = rows["reproduced"].isna() & rows["reproduced_p"].isna()
    assert (rows.loc[empty, "note"] != "").all()
    table = variants(counts, about, ["g", "h"], reference, (1.0, 4.0))
    assert (table.loc[table["estimate"].isna(), "note"] != "").all()
    assert not table["p_value"].lt(0).any()
    trend = survival.trend(counts, "g")
    assert np.isfinite(trend["p_value"]) or trend["note"]
    for cause in about.causes:
        ratios = fine_gray(counts, {"g": levels[-1]}, cause)
        assert (ratios.loc[ratios["hazard_ratio"].isna(), "note"] != "").all()


def test_trend_over_three_groups_equals_r() -> None:
    """R: x <- survdiff(Surv(t, e) ~ g); s <- 0:2.

    sum(s * (x$obs - x$exp))^2 / drop(s %*% x$var %*% s)
    """
    table = pd.DataFrame(
        {
            "time": [2.0, 3, 4, 5, 6, 7, 8, 9, 10],
            "event": [1, 1, 0, 1, 1, 0, 1, 0, 1],
            "g": pd.Categorical(list("cbacbacba")),
        }
    ).assign(entry=0.0, cause="", patients=1)
    assert survival.trend(table, "g")["statistic"] == pytest.approx(3.488266614080, rel=1e-9)

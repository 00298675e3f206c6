"""Kaplan–Meier, log-rank, Cox, RMST, Fine–Gray against R's survival package.

Expected numbers: tests/reference/survival_r.json, made by
``Rscript tests/reference/survival.R FOLDER`` (R 4.2.2, survival 3.5-3).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import greenwood as gw
import numpy as np
import pandas as pd
import pytest

from her2bayes.classical import competing
from her2bayes.classical import hazard_regression as regression
from her2bayes.classical import survival as km
from her2bayes.classical.competing import fine_gray
from her2bayes.classical.hazard_regression import piecewise_exponential
from her2bayes.errors import BadInput
from her2bayes.evidence.patients.cohort import read_cohort
from her2bayes.evidence.patients.follow_up import FollowUp, read_follow_up
from her2bayes.evidence.patients.maps import packaged_maps
from her2bayes.evidence.patients.patients import single_classes
from her2bayes.evidence.patients.survival_cells import cut_points, survival_cells, time_counts

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "survival_r.json").read_text())
BUNDLED = ("lung", "veteran", "truncated")
REAL = ("gbsg", "rotterdam", "msk")


def msk(folder: Path) -> pd.DataFrame:
    """Patients of MSK 2018 through the map of the package, each in one class."""
    cohort = read_cohort(packaged_maps() / "msk2018.toml", folder / "breast_msk_2018")
    return single_classes(cohort)


def frame(name: str, folder: Path | None) -> pd.DataFrame:
    """Columns t, e, g, s (and en) of one data set, times in days (MSK: months)."""
    if name == "lung":
        d = gw.load_dataset("lung", backend="pandas")
        ecog = d["ph_ecog" if "ph_ecog" in d else "ph.ecog"]
        stratum = np.where(ecog.fillna(0) < 1, "a", "b")
        return pd.DataFrame({"t": d["time"], "e": d["status"] - 1, "g": d["sex"], "s": stratum})
    if name in ("veteran", "truncated"):
        d = gw.load_dataset("veteran", backend="pandas")
        d = pd.DataFrame({"t": d["time"], "e": d["status"], "g": d["celltype"], "s": d["trt"]})
        if name == "truncated":
            d["en"] = np.resize([0, 5, 20], len(d))
            d = d[d["t"] > d["en"]]
        return d
    assert folder is not None
    if name == "gbsg":
        d = pd.read_csv(folder / "r_survival_breast" / "survival_gbsg.csv")
        return pd.DataFrame(
            {"t": d["rfstime"], "e": d["status"], "g": d["hormon"], "s": d["grade"]}
        )
    if name == "rotterdam":
        d = pd.read_csv(folder / "r_survival_breast" / "survival_rotterdam.csv")
        return pd.DataFrame({"t": d["dtime"], "e": d["death"], "g": d["grade"], "s": d["meno"]})
    d = msk(folder)
    d = d[d["os_biopsy_months"] > 0]
    return pd.DataFrame(
        {"t": d["os_biopsy_months"], "e": d["os_biopsy_event"], "g": d["her2"], "s": "a"}
    )


@cache
def follow_up(name: str, folder: Path | None) -> FollowUp:
    groups = REFERENCE[name]["curves"]["groups"]
    return read_follow_up(
        frame(name, folder),
        time="t",
        event="e",
        by={"g": groups, "s": None},
        time_unit="months" if name == "msk" else "days",
        entry="en" if name == "truncated" else None,
    )


@cache
def time_counts_of(name: str, folder: Path | None) -> pd.DataFrame:
    return time_counts(follow_up(name, folder))


Case = tuple[dict[str, Any], FollowUp, pd.DataFrame]


@pytest.fixture(params=[*BUNDLED, *REAL])
def case(request: pytest.FixtureRequest) -> Case:
    folder = request.getfixturevalue("realdata") if request.param in REAL else None
    name = request.param
    return REFERENCE[name], follow_up(name, folder), time_counts_of(name, folder)


@pytest.fixture(params=["lung", "veteran", *REAL])
def prompt(request: pytest.FixtureRequest) -> Case:
    """A case without delayed entry, which R's survdiff and means do not take."""
    folder = request.getfixturevalue("realdata") if request.param in REAL else None
    name = request.param
    return REFERENCE[name], follow_up(name, folder), time_counts_of(name, folder)


def same(mine: Any, r: Any, rtol: float = 1e-9) -> None:
    given = np.asarray(mine, float).ravel()
    expected = np.array(
        [np.nan if v is None else v for v in np.ravel(np.asarray(r, object))], float
    )
    np.testing.assert_allclose(given, expected, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("kind", ["log", "log-log", "plain"])
def test_kaplan_meier_and_quantiles_equal_r(case, kind):
    reference, _, counts = case
    expected = pd.DataFrame(reference["curves"][kind]["km"])
    groups = reference["curves"]["groups"]
    mine = km.survival_at(counts, sorted(set(expected["time"])), ["g"], kind)
    for group in groups:
        last = counts.loc[counts["g"] == group, "time"].max()
        of_r = expected[(expected["group"] == group) & (expected["time"] <= last)]
        of_us = mine[(mine["group"] == group) & (mine["time"] <= last)]
        for column in ("estimate", "std_error", "lower", "upper"):
            same(of_us[column], of_r[column].astype(object).where(of_r[column].notna(), None))
    for k, p in enumerate((0.25, 0.5, 0.75)):
        found = km.quantile(counts, ["g"], p, kind).set_index("group").loc[groups]
        for mine_name, r_name in (
            ("estimate", "quantile"),
            ("lower", "lower"),
            ("upper", "upper"),
        ):
            same(
                found[mine_name], [row[k] for row in reference["curves"][kind]["quantiles"][r_name]]
            )


def test_restricted_mean_and_follow_up_equal_r(prompt):
    reference, _, counts = prompt
    groups, expected = reference["curves"]["groups"], reference["curves"]["rmst"]
    found = km.rmst(counts, expected["tau"], ["g"]).set_index("group").loc[groups]
    same(found["estimate"], expected["estimate"])
    same(found["std_error"], expected["std_error"])
    follow = km.quantile(counts, ["g"], reverse=True).set_index("group").loc[groups]
    same(follow["estimate"], reference["curves"]["follow_up"])


def test_log_rank_family_equals_r(prompt):
    reference, found, counts = prompt
    expected = reference["tests"]
    same(km.logrank(counts, ["g"])["statistic"], expected["logrank"])
    same(km.logrank(counts, ["g"], rho=1)["statistic"], expected["peto"])
    if found.factors["s"] != ("a",):
        same(km.logrank(counts, ["g"], ["s"])["statistic"], expected["stratified"])


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_equals_r(case, ties):
    reference, _, counts = case
    expected = reference[ties]
    found = regression.cox(counts, {"g": reference["curves"]["groups"][0]}, ties=ties)
    same(found.table["log_hazard_ratio"], expected["coef"])
    same(found.table["std_error"], expected["std_error"])
    same(found.loglik, expected["loglik"], 1e-9)
    same(found.tests["score"], expected["score"], 1e-9)
    same(found.tests["wald"], expected["wald"], 1e-8)
    same(found.tests["likelihood_ratio"], expected["lr"], 1e-8)


def test_stratified_cox_and_proportional_hazards_equal_r(case):
    reference, found, counts = case
    base = {"g": reference["curves"]["groups"][0]}
    if found.factors["s"] != ("a",):
        fit = regression.cox(counts, base, ["s"])
        same(fit.table["log_hazard_ratio"], reference["stratified"]["coef"])
        same(fit.table["std_error"], reference["stratified"]["std_error"])
    # greenwood's residuals, at its own iterate
    same(
        regression.proportional_hazards(counts, base)["statistic"],
        reference["efron"]["zph"],
        1e-6,
    )


def test_piecewise_exponential_equals_poisson_regression(case):
    reference, found, _ = case
    expected = reference["pexp"]
    cells = survival_cells(found, cut_points(found, expected["cuts"]))
    table, _ = piecewise_exponential(cells, {"g": reference["curves"]["groups"][0]})
    same(table["estimate"], expected["coef"], 1e-8)
    # R's standard errors come from the weights of the step before the last
    same(table["std_error"], expected["std_error"], 1e-6)


def test_hazard_ratios_of_msk_as_published_with_the_data(realdata):
    counts = time_counts(follow_up("msk", realdata))
    assert counts["patients"].sum() == 775
    assert counts.loc[counts["event"] == 1, "patients"].sum() == 221
    table = regression.cox(counts, {"g": "low"}).table.set_index("level")
    rounded = table[["hazard_ratio", "lower", "upper"]].round(2)
    assert list(rounded.loc["zero"]) == [1.33, 1.00, 1.76]
    assert list(rounded.loc["positive"]) == [0.54, 0.35, 0.83]


def test_disease_free_medians_of_msk(realdata):
    frame_ = msk(realdata)
    found = read_follow_up(
        frame_,
        time="dfs_months",
        event="dfs_event",
        by={"her2_primary": ["zero", "low", "positive"]},
        nonpositive="drop",
    )
    medians = km.quantile(time_counts(found), ["her2_primary"])["estimate"]
    assert list(medians.round(1)) == [41.5, 36.8, 30.7]


def test_competing_causes_equal_r():
    d = gw.load_dataset("mgus2", backend="pandas")
    d["t"] = np.where(d["pstat"] == 1, d["ptime"], d["futime"])
    d["e"] = ((d["pstat"] == 1) | (d["death"] == 1)).astype(int)
    d["c"] = np.where(d["pstat"] == 1, "pcm", "death")
    found = read_follow_up(
        d, time="t", event="e", cause="c", by={"sex": ["F", "M"]}, nonpositive="drop"
    )
    counts, expected = time_counts(found), REFERENCE["mgus2"]
    ratio = fine_gray(counts, {"sex": "F"}, "pcm")["hazard_ratio"]
    same(np.log(ratio), expected["finegray"])
    incidence = competing.cumulative_incidence(counts, expected["times"], ["sex"])
    same(incidence.loc[incidence["cause"] == "pcm", "estimate"], expected["cif"])
    same(incidence.loc[incidence["cause"] == "pcm", "std_error"], expected["std_error"])
    same(incidence.loc[incidence["cause"] == "death", "estimate"], expected["cif_death"])


def counts_of(**columns: Any) -> pd.DataFrame:
    """TimeCounts of a few patients, by group g."""
    table = pd.DataFrame({"entry": 0.0, "cause": "", "patients": 1, **columns})
    return table.assign(g=pd.Categorical(table["g"]))


def test_a_group_without_events_has_ratio_zero_and_says_why():
    counts = counts_of(time=[1.0, 2, 3, 4, 5, 6], event=[1, 1, 1, 0, 0, 0], g=list("abaabc"))
    counts.loc[counts["g"] == "c", "event"] = 0
    table = regression.cox(counts, {"g": "a"}).table.set_index("level")
    assert table.loc["c", "hazard_ratio"] == 0
    assert "infinite downwards" in table.loc["c", "note"]
    assert "profile-likelihood" in table.loc["c", "note"]
    # the limit of the likelihood is the model without those patients
    without = counts[counts["g"] != "c"].assign(g=pd.Categorical(list("abaab")))
    kept = regression.cox(without, {"g": "a"}).table.set_index("level")
    assert table.loc["b", "log_hazard_ratio"] == pytest.approx(kept.loc["b", "log_hazard_ratio"])


def test_a_reference_without_events_stays_the_reference():
    counts = counts_of(time=[1.0, 2, 3], event=[0, 1, 1], g=list("abb"))
    row = regression.cox(counts, {"g": "a"}).table.iloc[0]
    assert (row["level"], row["reference"]) == ("b", "a")
    # the only patient of a has left before the first event: nothing is known of the ratio
    assert np.isnan(row["hazard_ratio"])
    assert row["note"].startswith("not available: the events do not determine it")
    stays = counts_of(time=[9.0, 2, 3], event=[0, 1, 1], g=list("abb"))
    row = regression.cox(stays, {"g": "a"}).table.iloc[0]
    assert row["hazard_ratio"] == np.inf
    assert "infinite upwards" in row["note"]


def test_a_reference_that_is_no_level_is_refused():
    counts = counts_of(time=[1.0, 2, 3], event=[0, 1, 1], g=list("abb"))
    with pytest.raises(BadInput, match="'g' has no such reference level"):
        regression.cox(counts, {"g": "z"})


def test_one_group_has_no_ratio_and_no_tests():
    counts = counts_of(time=[1.0, 2], event=[1, 1], g=list("aa"))
    found = regression.cox(counts, {"g": "a"})
    assert found.table.empty
    assert found.note == "one level only"
    assert np.isnan(found.tests["score"])


def test_all_censored_has_survival_one_and_no_median():
    counts = counts_of(time=[1.0, 2], event=[0, 0], g=list("aa"))
    assert list(km.survival_at(counts, [1.5], ["g"])["estimate"]) == [1.0]
    assert km.quantile(counts, ["g"])["estimate"].isna().all()


def test_counts_give_what_single_patients_give():
    rng = np.random.default_rng(1)
    rows = counts_of(
        time=rng.integers(1, 8, 200).astype(float),
        event=rng.integers(0, 2, 200),
        g=rng.choice(list("abc"), 200),
    )
    counts = rows.groupby(["g", "entry", "time", "event", "cause"], observed=True, as_index=False)
    counts = counts["patients"].sum()
    one, many = (regression.cox(t, {"g": "a"}) for t in (counts, rows))
    np.testing.assert_allclose(one.table["std_error"], many.table["std_error"], rtol=1e-12)
    assert km.logrank(counts, ["g"])["statistic"] == pytest.approx(
        km.logrank(rows, ["g"])["statistic"]
    )

"""Exercises with known patients: what they measure, print and conclude."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from distributed import Client

from her2bayes.calibration.run import finish
from her2bayes.classical import hazard_regression, survival
from her2bayes.cohorts import validation, validation_exercise
from her2bayes.cohorts import validation_exercise as validation_truths
from her2bayes.cohorts.chain.replica import Settings
from her2bayes.cohorts.curve import reconstruct
from her2bayes.cohorts.validation_exercise import QUANTITIES
from her2bayes.errors import BadInput
from her2bayes.evidence.patients.digitised import AtRisk, clean_curve


@pytest.fixture(scope="module")
def cohort() -> validation_truths.Cohort:
    return validation_truths.drawn(validation_truths.sampler(None, 80), np.random.default_rng(1))


def framed(tenths: np.ndarray, event: np.ndarray, cell: np.ndarray) -> pd.DataFrame:
    her2 = np.array(validation_truths.CELLS.factors["her2"])[cell // 2]
    return pd.DataFrame(
        {
            "time": tenths / 10,
            "event": event,
            "her2": pd.Categorical(her2),
            "entry": 0.0,
            "patients": 1,
        }
    )


def measured(tenths: np.ndarray, event: np.ndarray, cell: np.ndarray) -> np.ndarray:
    parts = (part[None, :] for part in (tenths, event, cell))
    return validation_exercise.measure(*parts, int(tenths.max()))[0]


def test_quantities_are_those_of_other_code(cohort: validation_truths.Cohort) -> None:
    named = dict(zip(QUANTITIES, measured(*cohort), strict=True))
    frame, cell = framed(*cohort), cohort[2]
    at = survival.survival_at(frame, [24.0, 60.0])["estimate"].to_numpy()
    assert [named[name] for name in validation_exercise.CURVE[:2]] == pytest.approx(at)
    mean = survival.rmst(frame, 60.0)["estimate"].iloc[0]
    assert named["restricted mean to 60 months"] == pytest.approx(mean)
    for given, inside in (("", cell >= 0), (" | HR positive", cell % 2 == 0)):
        ratios = hazard_regression.cox(frame[inside], {"her2": "low"}).table
        for level in ("zero", "positive"):
            one = ratios.loc[ratios["level"] == level, "log_hazard_ratio"].iloc[0]
            name = f"log hazard ratio {level} vs low{given}"
            assert named[name] == pytest.approx(one, abs=1e-6)


def test_a_class_without_deaths_leaves_the_ratio_of_the_others(
    cohort: validation_truths.Cohort,
) -> None:
    tenths, event, cell = cohort
    event = np.where(
        cell // 2 == validation_truths.CELLS.factors["her2"].index("positive"), 0, event
    )
    named = dict(zip(QUANTITIES, measured(tenths, event, cell), strict=True))
    frame = framed(tenths, event, cell)
    others = frame[frame["her2"] != "positive"]
    others = others.assign(her2=others["her2"].cat.remove_unused_categories())
    ratios = hazard_regression.cox(others, {"her2": "low"}).table.set_index("level")
    expected = ratios.loc["zero", "log_hazard_ratio"]
    assert named["log hazard ratio zero vs low"] == pytest.approx(expected, abs=1e-6)
    assert named["log hazard ratio positive vs low"] < -5
    nobody = measured(tenths, np.zeros_like(event), cell)
    assert nobody[2:].tolist() == [min(60.0, tenths.max() / 10), *(0.0,) * 6]


def test_only_cohorts_whose_numbers_can_all_be_printed(cohort: validation_truths.Cohort) -> None:
    tenths, event, cell = cohort
    assert validation_truths.is_told(cohort)
    assert len(validation_truths.printed(cohort).statistics) == 1 + validation_truths.TESTS
    assert len(validation_truths.printed(cohort, validation_truths.NO_TESTS).statistics) == 1
    assert validation_truths.printed(cohort, validation_truths.COUNTS).statistics == ()
    assert not validation_truths.is_told((tenths, np.zeros_like(event), cell))
    assert not validation_truths.is_told((tenths + 1200, event, cell))


def test_an_exercise_ranks_the_truth_and_both_controls(
    cohort: validation_truths.Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation_exercise, "ENOUGH", 0.0)
    monkeypatch.setattr(validation_exercise, "MEMBERS", 7)
    few = Settings(chains=1, replicas=12, warm=100, sweeps=60, moves=120, soft_moves=120)
    row = json.loads(json.dumps(validation_exercise.exercise(lambda _: cohort, 3, few, 0)))
    assert (row["failed"], row["chains"]) == ("", 1)
    assert row["restarts"] >= 1
    for one in row["quantities"]:
        assert one["lower"] <= one["upper"]
        assert 0 <= one["rank"] <= validation_exercise.MEMBERS
    printed = {q["quantity"]: q for q in row["quantities"]}[validation_exercise.PRINTED[0]]
    assert printed["upper"] - printed["lower"] < 0.1 * (
        printed["counts_upper"] - printed["counts_lower"]
    )
    assert abs(printed["annealed"] - printed["truth"]) < 0.05  # it meets the printed ratio as well


def made(source: str, number: int, rng: np.random.Generator) -> pd.DataFrame:
    """Exercises of a perfect ensemble and of one cohort that is off."""
    rows = []
    for k in range(number):
        quantities = []
        for name in QUANTITIES:
            draws = rng.normal(size=21)
            low, high = np.quantile(draws[:19], [0.05, 0.95])
            quantities.append({
                "quantity": name, "truth": draws[20], "rank": int((draws[:19] < draws[20]).sum()),
                "lower": low, "upper": high, "covered": abs(draws[20]) < 1.645, "ess": 100.0,
                "counts_lower": -4.0, "counts_upper": 4.0, "annealed": draws[19],
                "annealed_covered": False, "restarts_lower": -0.1, "restarts_upper": 0.1,
                "restarts_covered": abs(draws[20]) < 0.1,
            })  # fmt: skip
        head = {"number": k, "failed": "", "seconds": 1.0}
        rows.append({**head, "quantities": quantities})
    return validation.table(rows, source)


def test_verdict_of_ranks_that_are_uniform_and_of_ranks_that_are_not() -> None:
    rng = np.random.default_rng(5)
    parts = [made("prior", 100, rng), *(made(name, 70, rng) for name in ("gbsg", "msk"))]
    exercises = pd.concat(parts, ignore_index=True)
    judged = validation.verdict(exercises)
    assert all(validation.conclusions(judged).values())
    assert set(judged["origin"]) == {"prior", "real", "gbsg", "msk"}
    # R: prop.test(126, 140, correct = FALSE)$conf.int
    share, low, high = validation.wilson(pd.Series([True] * 126 + [False] * 14))
    assert (share, round(low, 4), round(high, 4)) == (0.9, 0.8391, 0.9395)
    bent = exercises.assign(rank=exercises["rank"] // 2)
    assert not validation.conclusions(validation.verdict(bent))["ranks are uniform"]
    files = validation.files(exercises, judged)
    assert "truth from the prior" in files["validation.svg"]
    plan = validation.Plan("prior", 100, 80, 1, Path())
    told = validation.record(exercises, judged, plan, "call")
    assert json.loads(json.dumps(told))["exercises"] == {"prior": 100, "gbsg": 70, "msk": 70}


def test_the_record_is_large_enough_for_what_readme_concludes() -> None:
    """The figures themselves are compared in ``tests/test_readme_numbers.py``."""
    root = Path(__file__).resolve().parents[2]
    found = json.loads((root / "tests/reference/reconstruction_validation.json").read_text("utf-8"))
    prior = found["exercises"].pop("prior")
    assert (prior >= 100, sum(found["exercises"].values()) >= 200) == (True, True)
    assert found["conclusions"]["ranks are uniform"]
    least = found["msk"]["survival at 24 months"]["covered"]
    assert least == min(q["covered"] for name in found["exercises"] for q in found[name].values())
    judged = [one for origin in ("prior", "real") for one in found[origin].values()]
    fewest = min(one["ess_median"] for one in judged), min(one["ess_lowest"] for one in judged)
    assert (fewest[0] > 50, fewest[1] < 10) == (True, True)


def test_an_exercise_without_a_cohort_is_not_covered() -> None:
    exercises = made("prior", 10, np.random.default_rng(5))
    exercises.loc[exercises["number"] == 3, ["rank", "lower", "upper"]] = np.nan
    exercises.loc[exercises["number"] == 3, "covered"] = False
    judged = validation.verdict(exercises)
    assert (judged["failed"] == 1).all()
    assert (judged["exercises"] == 10).all()


def test_finished_exercises_are_found_again(tmp_path: Path) -> None:
    (plan,) = validation.plans(2, 0, 60, 1, tmp_path)
    both = [{"number": 0}, {"number": 1}]

    def job(number: int) -> dict[str, int]:
        return {"number": number}

    with Client(processes=False, n_workers=1, dashboard_address=None) as client:
        assert finish(plan, job, lambda: client) == both
    assert finish(plan, job, lambda: pytest.fail("exercises are done twice")) == both


def test_plans_share_the_real_cohorts() -> None:
    found = validation.plans(5, 7, 80, 1, Path("x"))
    assert [(p.source, p.simulations) for p in found] == [
        ("prior", 5), ("gbsg", 3), ("rotterdam", 2), ("msk", 2),
    ]  # fmt: skip


def test_files_of_patients_are_read_or_refused() -> None:
    frame = pd.DataFrame(
        {"time": [1.01, 0.0], "event": [1, 0], "her2": ["low", "zero"],
         "hr_status": ["negative", "positive"]}
    )  # fmt: skip
    tenths, event, cell = validation_truths.real_patients(frame)
    assert (tenths.tolist(), event.tolist(), cell.tolist()) == ([11, 1], [1, 0], [3, 0])
    with pytest.raises(BadInput, match="missing"):
        validation_truths.real_patients(frame.drop(columns="her2"))
    with pytest.raises(BadInput, match="unknown levels"):
        validation_truths.real_patients(frame.assign(her2="high"))


# Patients and events by pandas on the raw files (SOURCE.md beside them), times over 120 cut there.
@pytest.mark.parametrize(
    ("name", "patients", "events"),
    [("gbsg", 686, 299), ("rotterdam", 2982, 1171), ("msk", 750, 210)],
)
def test_real_cohorts(realdata: Path, name: str, patients: int, events: int) -> None:
    tenths, event, cell = validation_truths.real_patients(validation_truths.REAL[name](realdata))
    assert (tenths.size, int(event.sum()), int(tenths.max()) <= 1200) == (patients, events, True)
    assert np.bincount(cell, event, 6).min() > 0


@pytest.mark.slow
def test_the_table_of_curves_comes_out_again(realdata: Path) -> None:
    """Rows of docs/validation.md, to the last digit; IPDfromKM's columns are its record's."""
    table = validation.of_curves(realdata / "km_truth", ["exact"], ["gbsg_rfs_hormon"])
    arms = validation.of_real_arms(realdata, ["gbsg"])
    text = (Path(__file__).resolve().parents[2] / "docs/validation.md").read_text("utf-8")
    for found, number in ((table, 2), (arms, 3)):
        _, _, *rows = validation.curves_text(found).splitlines()
        assert len(rows) == number
        assert all(row in text for row in rows)
    assert (table["held"] == 1.0).all()
    assert table["hazard_ratio_true"].iloc[1] == pytest.approx(1.43909, abs=1e-4)  # R, survival
    # 20 members: where each is one of the truth's equals, 95 % of them hold it nine times in ten
    assert (arms["held"] > 0.8).all()
    assert (arms["rmse"] < 0.005).all()


def test_members_behind_pixels_are_no_surer_than_they_may_be(rng: np.random.Generator) -> None:
    """Many patients, a death a third of a pixel: a filter with the total imposed held 6 to 52 %."""
    death, left = 120.0 * rng.weibull(1.2, 1500), rng.uniform(20.0, 150.0, 1500)
    known = np.minimum(death, left), death <= left
    points = validation.pixels_of(known, rng)
    rows = np.arange(0.0, 120.0, 12.0)
    table = AtRisk(rows, (known[0] >= rows[:, None]).sum(axis=1), events=int(known[1].sum()))
    members = reconstruct(clean_curve(*points), table, members=20)
    found = validation._against(members, known)
    assert found["held"] > 0.8
    assert found["rmse"] < 0.003

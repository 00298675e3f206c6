"""Survival with patients elsewhere from files to tables, and what choices do in repeated trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from her2bayes.evidence.patients.external_survival import read_external
from her2bayes.evidence.patients.follow_up import FollowUp, read_follow_up
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.survival import analysis, borrowing
from her2bayes.survival import borrowing_section as report
from her2bayes.survival.borrowing import Borrowing
from her2bayes.survival.borrowing_exact import Design, operating_characteristics
from her2bayes.survival.doors import Specification

COLUMNS: dict[str, Any] = {"time": "os_months", "event": "e"}


class Here:
    """A client whose workers are this process."""

    def submit(self, function: Callable[..., Any], *arguments: Any, pure: bool) -> Any:
        assert not pure
        return function(*arguments)

    def gather(self, results: list[Any]) -> list[Any]:
        return results


@pytest.fixture(scope="module")
def trials() -> pd.DataFrame:
    design = Design(60, 24.0, 120.0, 3000.0, -4.0, 1.0, robust_weight=0.5)
    return operating_characteristics(design, 500, Here(), 7)


def test_without_conflict_every_choice_keeps_its_error(trials: pd.DataFrame) -> None:
    alike = trials[trials["ratio"] == 1.0].set_index("choice")
    assert alike.loc["none", "type_1_error"] == pytest.approx(0.025, abs=0.025)
    assert alike.loc["none", "coverage"] == pytest.approx(0.95, abs=0.025)
    assert (alike["type_1_error"] < 0.06).all()
    assert alike.loc["full (pooled)", "rmse"] < 0.6 * alike.loc["none", "rmse"]


def test_conflict_shows_as_error_and_bias(trials: pd.DataFrame) -> None:
    worse = trials[trials["ratio"] == 2.0].set_index("choice")
    assert worse.loc["full (pooled)", "type_1_error"] > 0.9
    assert worse.loc["full (pooled)", "bias"] < -0.3
    # nearly half of a true log ratio of 0.69 is hidden by pooling; choices that learn lose less
    order = ["full (pooled)", "power, weight 0.5", "normalised power", "commensurate", "none"]
    assert (np.diff(worse.loc[order, "bias"]) > 0).all()
    robust = worse.loc["robust, weight 0.5", "bias"]
    assert worse.loc["commensurate", "bias"] < robust < worse.loc["none", "bias"]


def test_trials_of_one_seed_are_the_same() -> None:
    design = Design(20, 24.0, 120.0, 3000.0, -4.0, 1.0)
    first, second = (operating_characteristics(design, 5, Here(), 7) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    assert set(first["trials"]) == {5}


def patients(folder: Path, name: str, seed: int, number: int, scale: float) -> Path:
    rng = np.random.default_rng(seed)
    time = rng.exponential(scale, number)
    levels = ["zero", "low"] if name == "own" else ["zero", "low", "positive"]
    table = pd.DataFrame({"os_months": np.minimum(time, 30.0), "e": (time < 30).astype(int),
                          "her2": rng.choice(levels, number)})  # fmt: skip
    table.to_csv(folder / f"{name}.csv", index=False)
    return folder / f"{name}.csv"


@pytest.fixture(scope="module")
def borrowed(tmp_path_factory: pytest.TempPathFactory) -> borrowing.Borrowed:
    folder = tmp_path_factory.mktemp("borrowing")
    own = read_follow_up(patients(folder, "own", 1, 50, 15.0), by=["her2"], **COLUMNS)
    files = [patients(folder, f"study {k}", 1 + k, 90, 20.0) for k in (1, 2)]
    elsewhere = read_external(files, own, {"her2": None}, **COLUMNS)
    short = Sampling(draws=200, tune=250, chains=2, target_accept=0.95)
    asked = Specification(intervals=3, times=(12.0, 24.0), reference={"her2": "low"})
    result = analysis.run(own, asked, None, short)
    store = Store(folder / "fits")
    how = Borrowing(robust_weight=0.5, number=4)
    found = borrowing.borrow(result, elsewhere, how, store, short)
    said: list[str] = []
    again = borrowing.borrow(result, elsewhere, how, store, short, said.append)
    assert said == []  # every run is read back
    pd.testing.assert_frame_equal(found.table, again.table)
    return found


@pytest.mark.slow
def test_choices_side_by_side(borrowed: borrowing.Borrowed) -> None:
    table = borrowed.table.set_index(["estimand", "choice"])
    names = ["none", "robust_0.5", "commensurate", "normalised_power", "power_0.25", "power_0.5",
             "full"]  # fmt: skip
    assert [choice.name for choice in borrowed.choices] == names
    asked = "survival[os | her2=low @ 12 months]"
    rows = table.loc[asked]
    own = borrowed.result.estimates.set_index("estimand").loc[asked]
    # the own fit and "none" are the same model, sampled twice
    assert rows.loc["none", "posterior_median"] == pytest.approx(own["posterior_median"], abs=3)
    width = rows["posterior_upper"] - rows["posterior_lower"]
    assert width["full"] < width["power_0.25"] < width["none"]
    worth = {choice.name: choice.worth for choice in borrowed.choices}
    events = borrowed.external.events
    assert worth["full"] == pytest.approx(events, rel=0.4)
    assert worth["none"] == 0 < worth["robust_0.5"] < worth["commensurate"] < worth["full"]
    assert all(0 < choice.conflict <= 1 for choice in borrowed.choices)


@pytest.mark.slow
def test_the_section_shows_every_choice(borrowed: borrowing.Borrowed) -> None:
    section = report.section(borrowed)
    assert [figure.id for figure in section.figures] == [
        "figure-borrowing-survival", "figure-tipping-survival",
    ]  # fmt: skip
    choices, estimates, studies = section.tables
    assert len(choices.frame) == 7
    assert set(studies.frame["Study"]) == {"study 1", "study 2"}
    assert studies.frame["Left out"].str.contains("level").any()
    assert len(estimates.frame) == 7 * len(borrowed.asked)
    text = " ".join(section.paragraphs)
    assert "none is recommended" in text
    assert "P(HR < 1) goes from" in text


def test_without_a_weight_the_robust_prior_is_left_out() -> None:
    assert "no weight was given" in borrowing.NO_WEIGHT


def test_external_levels_that_no_own_patient_has_are_left_out(tmp_path: Path) -> None:
    own: FollowUp = read_follow_up(patients(tmp_path, "own", 1, 50, 15.0), by=["her2"], **COLUMNS)
    file = patients(tmp_path, "other", 2, 90, 20.0)
    (found,) = read_external([file], own, {"her2": None}, **COLUMNS).values()
    assert found.factors["her2"] == ("zero", "low")
    assert sum(found.left_out.values()) + found.patients == 90

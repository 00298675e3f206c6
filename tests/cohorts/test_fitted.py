"""``reconstruct``: kept chains asked through the interface, own priors, curves with both errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import her2bayes as hb
from her2bayes.bayes.prior import prior
from her2bayes.cohorts import kept
from her2bayes.cohorts.curve_fitted import ReconstructedCurves
from her2bayes.cohorts.diagnostics import kaplan_meier
from her2bayes.cohorts.draws import Draws
from her2bayes.cohorts.fitted import ReconstructedStudy
from her2bayes.errors import BadInput
from her2bayes.evidence.printed.study import load_study

RATIO = "hazard_ratio[bcss ; her2: positive vs low]"
LOW = "survival[bcss | her2=low @ 24 months]"


@pytest.fixture(scope="module")
def fit() -> ReconstructedStudy:
    return hb.reconstruct(load_study("shi2023"), ensemble=4)


@pytest.mark.slow
def test_kept_chains_answer_without_sampling(fit: ReconstructedStudy) -> None:
    assert fit.endpoint().shipped
    assert fit.converged
    draws = fit.draws([RATIO, LOW])
    assert dict(draws.sizes) == {"chain": 4, "draw": 250}
    assert 0.26 < float(draws[RATIO].median()) < 1.06  # of the report, 95 %
    assert ((draws[LOW] > 0) & (draws[LOW] < 1)).all()
    assert set(fit.cohorts()["member"]) == {1, 2, 3, 4}
    assert fit.match()["met"].all()


@pytest.mark.slow
def test_rows_are_summaries_of_the_draws(fit: ReconstructedStudy) -> None:
    gain = "rmst_difference[bcss ; her2: positive vs low @ 60 months]"
    table = fit.estimates([gain, RATIO]).set_index("estimand")
    assert table.loc[RATIO, "posterior_median"] == float(fit.draws(RATIO).median())
    assert table.loc[RATIO, "prior_median"] == float(fit.draws(RATIO, group="prior").median())
    by_arm = fit.draws([f"rmst[bcss | her2={level} @ 60 months]" for level in ("positive", "low")])
    first, second = (by_arm[name] for name in by_arm.data_vars)
    assert table.loc[gain, "posterior_median"] == pytest.approx(float((first - second).median()))
    assert set(table["evidence_kind"]) == {"by_construction", "implied"}


def test_what_cohorts_do_not_answer_is_said_with_what_they_do(fit: ReconstructedStudy) -> None:
    asked = ["median[bcss]", "survival[bcss | her2=high @ 24 months]",
             "survival[bcss @ 2 years]", "hazard_ratio[os ; her2: positive vs low]", "rmst[bcss]",
             "survival[bcss ; her2: positive vs low @ 24 months]"]  # fmt: skip
    with pytest.raises(BadInput) as caught:
        fit.draws(asked)
    assert len(caught.value.faults) == len(asked)
    text = str(caught.value)
    for allowed in ("rmst_difference", "her2: zero, low, positive", "up to 97.9 months", "bcss"):
        assert allowed in text
    with pytest.raises(BadInput, match="posterior, prior, given"):
        fit.draws(RATIO, group="likelihood")


@pytest.mark.slow
def test_print_says_that_they_are_not_the_papers_patients(fit: ReconstructedStudy) -> None:
    text = str(fit)
    assert "not its data" in text
    assert "4 of 4 cohorts meet all" in text
    assert "reconstruction uncertainty" in text
    assert "Chains agree" in text
    assert len(text.splitlines()) <= 10
    assert all(len(line) < 130 for line in text.splitlines())


@pytest.mark.slow
def test_files_and_page_are_written(fit: ReconstructedStudy, tmp_path: Path) -> None:
    written = fit.write(tmp_path)
    names = {path.name for path in written}
    assert {"bcss_patients.parquet", "bcss_match.csv", "estimates.csv", "report.html"} <= names
    assert all(path.stat().st_size for path in written)
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "bcss_patients.parquet"), fit.cohorts()
    )
    assert "No cohort is the paper" in (tmp_path / "report.html").read_text()
    figure = fit.figures.survival("her2")
    assert figure.axes[0].get_ylabel().startswith("BCSS")
    with pytest.raises(BadInput, match="her2: positive vs low"):
        fit.figures.forest("her2: high vs low")


@pytest.mark.slow
def test_saved_and_read_again(fit: ReconstructedStudy, tmp_path: Path) -> None:
    again = hb.load_fit(fit.save(tmp_path / "fit.nc"))
    assert isinstance(again, ReconstructedStudy)
    assert again.fit_id == fit.fit_id
    assert (again.draws(RATIO) == fit.draws(RATIO)).all()
    pd.testing.assert_frame_equal(again.cohorts(), fit.cohorts())
    assert again.result.published == fit.result.published


def test_priors_are_those_of_the_reference_model_or_ones_own(fit: ReconstructedStudy) -> None:
    spec = fit.endpoint().spec
    narrow = kept.priors_of({"spread": prior("HalfNormal", sigma=0.01),
                             "interaction": prior("HalfNormal", sigma=0.01)})  # fmt: skip
    other = kept.Specification(spec.summary, spec.settings, narrow)
    assert other.fit_id != spec.fit_id
    assert other.identity["priors"] == {"spread": "HalfNormal(sigma=0.01)",
                                        "interaction": "HalfNormal(sigma=0.01)"}  # fmt: skip
    chains = fit.endpoint().ensemble.chains
    for these, narrower in ((spec, False), (other, True)):
        drawn = Draws(these.posed, chains, 1)
        spread = drawn.prior.log_hazard.std("cell").median()
        assert (float(spread) < 0.05) == narrower or "her2_change" in drawn.levels
    assert set(other.posed.model.scale_sd) == {0.01}
    assert set(spec.posed.model.scale_sd) == {0.5, 0.25}
    assert "95 % between 0.23 and 4.35" in fit.priors()["log_hazard_ratio"][1]


def test_priors_that_the_model_cannot_take_are_refused_together() -> None:
    with pytest.raises(BadInput) as caught:
        kept.priors_of({"drift": prior("HalfNormal", sigma=1.0), "spread": prior("Gamma", a=1.0)})
    assert len(caught.value.faults) == 2
    with pytest.raises(BadInput) as caught:
        kept.priors_of({"log_hazard_ratio": prior("Normal", mu=0.5, sigma=0.0)})
    assert len(caught.value.faults) == 2


@pytest.fixture(scope="module")
def patients() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    arm = np.repeat(["control", "treated"], 120)
    death = rng.exponential(np.where(arm == "control", 20.0, 32.0))
    left = rng.uniform(6.0, 48.0, arm.size)
    time = np.round(np.minimum(death, left), 2)
    return pd.DataFrame({"arm": arm, "time": time, "event": death < left})


@pytest.fixture(scope="module")
def curves(patients: pd.DataFrame) -> ReconstructedCurves:
    """Steps of the Kaplan-Meier curves and numbers at risk, as data frames."""
    read, risk = {}, []
    for arm, rows in patients.groupby("arm"):
        time, survival = kaplan_meier(rows["time"].to_numpy(), rows["event"].to_numpy())
        before = np.append(1.0, survival[:-1])
        read[str(arm)] = pd.DataFrame(
            {"time": np.repeat(time, 2), "survival": np.column_stack([before, survival]).ravel()}
        )
        risk += [(arm, t, int((rows["time"] >= t).sum())) for t in (0, 12, 24, 36)]
    table = pd.DataFrame(risk, columns=["arm", "time", "n_at_risk"])
    return hb.reconstruct(read, at_risk=table, ensemble=10, endpoint="pfs")


@pytest.mark.slow
def test_draws_behind_a_curve_have_the_sampling_error(
    curves: ReconstructedCurves, patients: pd.DataFrame
) -> None:
    """Standard error by Greenwood's formula; the sd of 1000 draws is off by 2 %."""
    for arm, rows in patients.groupby("arm"):
        draws = curves.draws(f"survival[pfs | arm={arm} @ 24 months]")
        time, event = rows["time"].to_numpy(), rows["event"].to_numpy()
        at = np.sort(time[event & (time <= 24)])
        risk = (time[None, :] >= at[:, None]).sum(axis=1)
        alive = np.prod(1 - 1 / risk)
        error = alive * np.sqrt(np.sum(1 / (risk * (risk - 1.0))))
        assert float(draws.mean()) == pytest.approx(alive, abs=0.15 * error)
        assert float(draws.std()) == pytest.approx(error, rel=0.12)


def test_ratio_behind_curves_agrees_with_rubins_rules(curves: ReconstructedCurves) -> None:
    name = "hazard_ratio[pfs ; arm: treated vs control]"
    draws = np.log(curves.draws(name))
    row = curves.classical().set_index("estimand").loc[name]
    width = np.log(row["reproduced_upper"] / row["reproduced_lower"]) / (2 * 1.96)
    assert float(draws.mean()) == pytest.approx(np.log(row["reproduced"]), abs=0.15 * width)
    assert float(draws.std()) == pytest.approx(width, rel=0.12)
    table = curves.estimates().set_index("estimand")
    assert table.loc[name, "posterior_probability"] > 0.9
    assert table["prior_median"].isna().all()
    assert set(table["convergence"]) == {"converged"}
    assert dict(draws.sizes) == {"chain": 4, "draw": 250}


def test_curves_say_what_they_do_not_answer(curves: ReconstructedCurves) -> None:
    with pytest.raises(BadInput) as caught:
        curves.draws(["survival[pfs | arm=placebo @ 24 months]", "survival[pfs | arm=treated]",
                      "survival[pfs | arm=treated @ 200 months]", "share[her2=low]"])  # fmt: skip
    assert len(caught.value.faults) == 4
    with pytest.raises(BadInput, match="no model"):
        curves.draws("survival[pfs | arm=treated @ 24 months]", group="prior")
    with pytest.raises(BadInput, match="numbers at risk"):
        hb.reconstruct(pd.DataFrame({"time": [0.0, 1], "survival": [1.0, 0.5]}))
    with pytest.raises(BadInput, match="take no 'priors'"):
        hb.reconstruct("curve.csv", priors={}, at_risk="risk.csv")  # type: ignore[call-overload]


@pytest.mark.slow
def test_curves_are_saved_drawn_and_told(curves: ReconstructedCurves, tmp_path: Path) -> None:
    again = hb.load_fit(curves.save(tmp_path / "curves.nc"))
    assert isinstance(again, ReconstructedCurves)
    pd.testing.assert_frame_equal(again.cohorts(), curves.cohorts())
    assert "not the trial's patients" in str(curves)
    assert curves.figures.survival().axes[0].get_xlabel() == "months"
    section = curves.section()
    assert len(section.tables) == 2
    assert curves.tree["posterior"]["survival"].dims == ("chain", "draw", "arm", "time")

"""``fit_joint``: what it answers, what it refuses, that it can be saved, reported and varied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import her2bayes as hb
from her2bayes.errors import BadInput
from her2bayes.estimand import parse
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.evidence.simulate import HER2
from her2bayes.inference.fit import refit
from her2bayes.inference.sampling import Sampling
from her2bayes.joint.calibration import RECOVERED, patients_of
from her2bayes.joint.counts import read_agreement
from her2bayes.joint.fitted import JointFit
from her2bayes.joint.sensitivity import quantities, specification
from her2bayes.sensitivity.target import BASE, one_at_a_time

TWO = {"primary": "primary", "recurrence": "recurrence"}
SAMPLING = Sampling(draws=400, tune=400, chains=2)
TWICE = [[43, 7, 0], [6, 52, 1], [0, 1, 20]]


def patients(size: int = 300) -> pd.DataFrame:
    return patients_of(np.random.default_rng(4), RECOVERED, {"all": size})


def fitted(frame: pd.DataFrame, **more: Any) -> JointFit:
    return hb.fit_joint(
        frame, time="months", event="event", her2=TWO, cuts=4, sampling=SAMPLING, **more
    )


@pytest.fixture(scope="module")
def fit() -> JointFit:
    return fitted(patients(), agreement={"second reader": TWICE})


def test_answers_agree_with_each_other(fit: JointFit) -> None:
    given = "read_primary=zero, read=low"
    classes = [fit.draws(f"true_class[her2={name} | {given}]") for name in HER2]
    assert float(np.abs(sum(classes) - 1).max()) < 1e-12
    table = fit.true_class("zero", "low")
    assert table["probability"].sum() == pytest.approx(1.0)
    assert table.set_index("her2")["probability"].idxmax() == "low"
    read, true, same = fit.draws(
        ["read_discordance[]", "true_discordance[her2]", "unchanged_given_observed_change[her2]"]
    ).to_dataarray().to_numpy()  # fmt: skip
    observed = (fit_frame := patients())["primary"] != fit_frame["recurrence"]
    assert abs(read.mean() - observed.mean()) < 4 * np.sqrt(0.25 / len(observed))
    assert (same * read).mean() > 0
    assert (true < 1).all()


def test_readings_dilute_and_a_perfect_assay_does_not(fit: JointFit) -> None:
    dilution = "dilution[months ; her2: positive vs zero]"
    assert 0.3 < float(fit.draws(dilution).median()) < 1
    ratio = "hazard_ratio[months ; {}: positive vs zero]"
    read, true = (np.log(fit.draws(ratio.format(by))) for by in ("read", "her2"))
    assert fit.draws(dilution).to_numpy() == pytest.approx((read / true).to_numpy())
    perfect = fitted(patients(), misclassification=np.eye(3))
    assert perfect.section().fits[0]["power"]  # the likelihood is that of the patients
    assert perfect.draws(dilution).to_numpy() == pytest.approx(1.0, abs=0.02)
    assert float(perfect.draws("read_as[zero -> zero]").min()) == 1.0
    again = perfect.draws(["read_discordance[]", "discordance[]"]).to_dataarray()
    assert np.ptp(again.to_numpy(), axis=0).max() < 1e-12


def test_survival_by_reading_is_the_mean_over_classes_behind_it(fit: JointFit) -> None:
    at = "@ 24 months]"
    parts = [
        fit.draws(f"true_class[her2={name} | read=low]")
        * fit.draws(f"survival[months | her2={name} {at}")
        for name in HER2
    ]
    whole = fit.draws(f"survival[months | read=low {at}")
    assert whole.to_numpy() == pytest.approx(sum(parts).to_numpy(), rel=1e-9)
    change = fit.draws(f"survival_difference[months ; read_change: changed vs same {at}")
    each = [fit.draws(f"survival[months | read_change={x} {at}") for x in ("changed", "same")]
    assert change.to_numpy() == pytest.approx((each[0] - each[1]).to_numpy())


def test_estimates_stand_beside_the_classical_side(fit: JointFit) -> None:
    table = fit.estimates().set_index("estimand")
    assert {"read_as[zero -> zero]", "true_discordance[her2]", "transition[zero -> low]",
            "hazard_ratio[months ; her2: low vs zero]",
            "dilution[months ; her2: low vs zero]"} <= set(table.index)  # fmt: skip
    assert table["posterior_median"].notna().sum() > 60
    assert table.loc[["discordance[]"], "note"].str.startswith("true classes").all()
    assert table["contraction"].isna()[table.index.str.startswith("dilution")].all()
    classical = fit.classical().set_index("estimand")["reproduced"]
    name = "hazard_ratio[months ; read: positive vs zero]"
    row = table.loc[name]
    assert row["posterior_lower"] < classical[name] < row["posterior_upper"]
    said = fit.section().paragraphs
    assert "Cox" in said[2]
    differ = int((patients()["primary"] != patients()["recurrence"]).sum())
    assert f"({differ} of 300 counted)" in said[0]
    assert any("rests on the prior" in line or "The data say" in line for line in fit.told())


def test_it_is_saved_and_read_again(fit: JointFit, tmp_path: Path) -> None:
    again = hb.load_fit(fit.save(tmp_path / "joint.nc"))
    asked = ["true_discordance[]", "dilution[months ; her2: low vs zero]"]
    for name in asked:
        assert again.draws(name).to_numpy() == pytest.approx(fit.draws(name).to_numpy())
    pd.testing.assert_frame_equal(again.classical(), fit.classical())
    assert again.title == fit.title
    tree = fit.tree
    assert tree["log_likelihood"]["patients"].dims == ("chain", "draw")


def test_a_report_has_its_figures_and_says_what_is_believed(fit: JointFit, tmp_path: Path) -> None:
    hb.report([fit], out=tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    for text in ("True HER2 status", "How true classes are read", "True class given both readings"):
        assert text in page
    assert (tmp_path / "estimates.csv").exists()
    first = pd.read_csv(tmp_path / "key_results.csv")["quantity"]
    assert list(first[:3]) == ["read discordance", "true discordance",
                               "hazard ratio, months, low vs zero (true class)"]  # fmt: skip
    for name in fit.figures:
        assert getattr(fit.figures, name)().get_axes()


@pytest.mark.slow
def test_other_assays_and_other_evidence(fit: JointFit) -> None:
    over = fit.over_assays(scales=(0.0, 2.0))
    assert over["accuracy"].is_monotonic_decreasing
    assert over["true_discordance"].is_monotonic_decreasing
    seen = float(fit.draws("read_discordance[]").median())
    assert over["true_discordance"].iloc[0] == pytest.approx(seen, abs=0.03)
    known = fit.identified().set_index("evidence")["contraction"]
    assert known["prior"] == pytest.approx(0.0, abs=1e-12)
    assert known["readings and survival"] > 0.3


def test_conclusions_are_asked_under_other_beliefs(fit: JointFit) -> None:
    (target,) = fit.targets([conclusion("true_discordance[her2] < 0.5")])
    asked = {str(of): of for of in one_at_a_time(target.axes)}
    assert len(asked) == 8
    less = specification(target, asked["knowledge of the assay 0.25"])
    row = np.asarray(less.priors["reads_low"]["a"]) / np.asarray(fit.used["reads_low"]["a"])
    assert row == pytest.approx(0.25)
    together = specification(target, asked["errors made together 0.5"])
    assert float(together.data["assay"]["error_correlation"]) == 0.5
    wide = specification(target, asked["prior scale of log hazard ratios 2"])
    assert wide.priors["spread"]["sigma"] == 2 * fit.used["spread"]["sigma"]
    values = [
        quantities(target, of, refit(specification(target, of), SAMPLING).posterior)
        for of in (BASE, asked["errors made together 0.5"])
    ]
    name = "true_discordance[her2]"
    apart, joined = (float(one[name].mean()) for one in values)
    assert apart == pytest.approx(float(fit.draws(name).mean()), abs=0.03)
    assert joined > apart + 0.01  # errors made together look like no change
    assert len(fit.targets([conclusion("dilution[months ; her2: low vs zero] < 1")])) == 1
    with pytest.raises(BadInput, match="needs a time"):
        fit.targets([conclusion("survival[months | read=low] > 0.5")])


def conclusion(text: str) -> Conclusion:
    estimand, sign, value = text.rsplit(" ", 2)
    return Conclusion(text, parse(estimand), sign, float(value))


def test_laboratories_have_errors_of_their_own() -> None:
    frame = patients()
    frame["lab"] = np.where(np.arange(len(frame)) % 2, "a", "b")
    two = fitted(frame, assay="lab", by="lab")
    first, second = (two.draws(f"read_as[zero -> zero | assay={lab}]") for lab in "ab")
    assert float(np.abs(first - second).max()) > 0.01
    assert "read_as[low -> zero | assay=b]" in set(two.estimates()["estimand"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"agreement": {"one": [[1, 2], [3, 4]]}}, "table 'one' does not fit"),
        ({"agreement": {"one": TWICE}, "misclassification": np.eye(3)}, "never seen together"),
        ({"misclassification": np.eye(3)[[0, 0, 2]]}, "no true class is read as"),
        ({"error_correlation": 1.5}, "errors made together"),
        ({"her2": {"primary": "primary"}}, "no readings of the recurrence"),
        ({"by": "nobody"}, "nobody"),
        ({"sampling": Sampling(sampler="pymc")}, "no gradient"),
        ({"priors": {"nothing": hb.prior("Normal", mu=0.0, sigma=1.0)}}, "nothing"),
    ],
)
def test_what_cannot_be_used_is_said_before_the_first_draw(change: Any, problem: str) -> None:
    asked = {"her2": TWO, "sampling": SAMPLING, **change}
    with pytest.raises(BadInput, match=problem):
        hb.fit_joint(patients(40), time="months", event="event", **asked)


def test_a_reading_that_is_none_is_named_with_its_row() -> None:
    frame = patients(40)
    frame.loc[3, "recurrence"] = "lwo"
    with pytest.raises(BadInput, match=r"row 5.*recurrence.*lwo.*low"):
        hb.fit_joint(frame, time="months", event="event", her2=TWO)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("true_class[her2=lwo]", "no her2 'lwo'"),
        ("survival[months | read=low]", "needs a time"),
        ("dilution[months ; read: low vs zero]", "between true classes"),
        ("hazard_ratio[months ; read: low]", "vs"),
        ("share[her2=low]", "asked of fit_joint|does not answer"),
        ("read_discordance[| site=liver]", "site"),
    ],
)
def test_what_it_does_not_answer_is_refused(fit: JointFit, asked: str, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        fit.draws(asked)


def test_a_table_of_two_readings_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "readers.csv"
    file.write_text("first,low,zero,positive\nzero,6,43,0\nlow,52,7,1\npositive,1,0,20\n")
    table = read_agreement(file)
    assert table.loc["zero", "zero"] == 43
    file.write_text("first,zero,low\nzero,1.5,2\nlow,x,2\n")
    with pytest.raises(BadInput, match="not a number of tumours") as told:
        read_agreement(file)
    assert len(told.value.faults) == 2

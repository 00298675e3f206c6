"""Curves, numbers at risk and survival at a time beside a paper's other printed numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import her2bayes as hb
from her2bayes.classical.hazard_regression import cox
from her2bayes.classical.survival import survival_at
from her2bayes.cohorts import diagnostics
from her2bayes.cohorts.chain import problem as model
from her2bayes.cohorts.chain import statistics as kernel
from her2bayes.cohorts.chain.reference_model import counts_of_exits, log_posterior
from her2bayes.cohorts.chain.replica import hazards, prior_theta
from her2bayes.cohorts.chain.summary import Cells, Statistic, Summary, Target
from her2bayes.cohorts.constraints import read_summary
from her2bayes.cohorts.ensemble import predict_numbers
from her2bayes.cohorts.printed_curves import LEAST, POINTS, READ, curves_of
from her2bayes.cohorts.validation_exercise import PIXELS, drawn, printed, sampler
from her2bayes.errors import BadInput
from her2bayes.evidence.patients.digitised import clean_curve, corridor, telling_times

STUDY = """schema = 1
id = "figures"
title = "A study with a figure"
citation = "invented"
patients = 40
[factors.her2]
label = "HER2"
levels = ["low", "positive"]
[factors.hr_status]
label = "Hormone receptors"
levels = ["positive", "negative"]
[endpoints.os]
label = "Overall survival"
unit = "{unit}"
origin = "start"
"""
HEADER = (
    "claim_id,locator,estimand,statistic,text,value,lower,upper,relation,p_value,unit,decimals,"
    "numerator,denominator,reading,note"
)


def written(folder: Path, rows: str, unit: str = "months") -> hb.Study:
    """A study folder with the rows of its ledger."""
    folder.mkdir(exist_ok=True)
    (folder / "study.toml").write_text(STUDY.format(unit=unit), "utf-8")
    (folder / "estimates.csv").write_text(f"{HEADER}\n{rows}\n", "utf-8")
    return hb.load_study(folder)


ARMS = (
    "gbsg_rfs_hormon__hormone", "gbsg_rfs_hormon__no_hormone", "rotterdam_os_grade__grade2",
    "rotterdam_os_grade__grade3",
)  # fmt: skip
MEDIAN = "median,Results,median[os],median,20.0,20.0,,,,,months,1,,,,"
LANDMARKS = """n,Results,count[| her2=low],count,25,25,,,,,patients,0,,,,
late,Results,survival[os @ 2 years],percentage,41.5%,41.5,,,,,%,1,,,,
early,Results,survival[os @ 12 months],percentage,71%,71,60,80,,,%,0,,,,
low,Results,survival[os | her2=low @ 12 months],percentage,66%,66,,,,,%,0,,,,"""


def cohort(rng: np.random.Generator, patients: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Months on the grid of tenths, events."""
    death, left = 25 * rng.weibull(1.3, patients), rng.uniform(4, 50, patients)
    months = np.ceil(10 * np.minimum(death, left)) / 10
    return months, (death <= left).astype(int)


def read_off(months: np.ndarray, event: np.ndarray, every: float = 0.25) -> pd.DataFrame:
    """Pixels of a Kaplan-Meier curve in a figure 450 pixels high."""
    time = np.arange(0, months.max(), every)
    height = np.round(450 * diagnostics.survival_at((months, event), time)) / 450
    return pd.DataFrame({"time": time, "survival": height.round(5)})


def table_of(months: np.ndarray, arm: str = "all") -> pd.DataFrame:
    rows = [0.0, 6.0, 12.0, 24.0]
    number = [months.size if t == 0 else int((months > t).sum()) for t in rows]
    return pd.DataFrame({"arm": arm, "time": rows, "n_at_risk": number})


def asked(study: hb.Study, curves: dict[str, object] | None, at_risk: object = None) -> Summary:
    return read_summary(study, "os", curves=curves_of(study, "os", curves, at_risk))


def test_numbers_at_times_are_those_of_other_code(rng: np.random.Generator) -> None:
    tenths, event = rng.integers(1, 60, 80), rng.integers(0, 2, 80)
    group = rng.integers(0, 2, 80)
    order, at = np.argsort(tenths, kind="stable"), np.array([0.5, 3.0, 3.4, 5.0])
    group_of = np.array([0, -1])
    mine = group == 0
    rows = pd.DataFrame({"time": tenths / 10, "event": event, "entry": 0.0, "patients": 1})[mine]
    found = {}
    for kind in (kernel.SURVIVAL, kernel.AT_RISK, kernel.CENSORED):
        out = np.zeros(kernel.VALUES)
        assert kernel.values_at(kind, tenths[order], event[order], group[order], group_of, 80,
                                10 * at + model.ON_TIME, at.size, out)  # fmt: skip
        found[kind] = out[: at.size]
    expected = survival_at(rows, at.tolist())["estimate"]
    np.testing.assert_allclose(found[kernel.SURVIVAL], expected, rtol=1e-12)
    left, gone = rows["time"].to_numpy(), (rows["event"] == 0).to_numpy()
    assert found[kernel.AT_RISK].tolist() == [(left > t).sum() for t in at]
    assert found[kernel.CENSORED].tolist() == [(gone & (left <= t)).sum() for t in at]
    out = np.zeros(kernel.VALUES)
    assert not kernel.values_at(kernel.SURVIVAL, tenths, event, group, np.array([-1, -1]), 80,
                                10 * at, at.size, out)  # fmt: skip
    kernel.values_at(kernel.SURVIVAL, tenths[order], event[order], group[order], group_of, 80,
                     np.array([9999.0]), 1, out)  # fmt: skip
    assert out[0] == kernel.UNKNOWN  # nobody is followed so long


@pytest.mark.parametrize("every", [0.0, 0.25, 1.0])
def test_the_corridor_holds_the_curve_that_was_read(rng: np.random.Generator, every: float) -> None:
    """Read as exact steps, and as pixels a quarter of a month and a month apart."""
    for _ in range(20):
        months, event = cohort(rng)
        if every:
            points = read_off(months, event, every)
        else:
            time, height = diagnostics.kaplan_meier(months, event)
            corners = np.repeat(time, 2)[1:], np.repeat(height, 2)[:-1]
            points = pd.DataFrame({"time": corners[0], "survival": corners[1]})
        curve = clean_curve(points["time"].to_numpy(), points["survival"].to_numpy())
        times = telling_times(curve, POINTS)
        low, high = corridor(curve, times, 0.1)
        reach = max(READ * curve.sigma, LEAST)
        true = diagnostics.survival_at((months, event), times)
        assert (np.diff(times) > 0).all()
        assert (low - reach <= true + 1e-9).all()
        assert (true <= high + reach + 1e-9).all()
        assert (high - low).mean() < (0.05 if every < 1 else 0.12)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("version", ["exact", "pixel"])
def test_the_corridor_holds_real_curves(realdata: Path, arm: str, version: str) -> None:
    study, _, name = arm.partition("__")
    folder = realdata / "km_truth"
    points = pd.read_csv(folder / f"{arm}_coords_{version}.csv")
    truth = pd.read_csv(folder / f"{study}_true_ipd.csv")
    truth = truth[truth["arm"] == name]
    curve = clean_curve(points["time"].to_numpy(), points["survival"].to_numpy())
    times = telling_times(curve, POINTS)
    low, high = corridor(curve, times, 0.1)
    reach = max(READ * curve.sigma, LEAST)
    patients = truth["time"].to_numpy(), truth["event"].to_numpy()
    true = diagnostics.survival_at(patients, times)
    assert ((low - reach <= true) & (true <= high + reach)).all()
    assert (high - low).mean() + 2 * reach < 0.04


def test_survival_at_a_time_and_counts_of_the_ledger_are_used(tmp_path: Path) -> None:
    item = read_summary(written(tmp_path, LANDMARKS))
    everyone, low = item.statistics
    assert (everyone.estimand, low.given) == ("survival[os]", {"her2": "low"})
    assert [(t.claim_id, t.at, t.position) for t in everyone.targets] == [
        ("early", 12.0, 0), ("late", 24.0, 1)
    ]  # fmt: skip
    assert [t.low for t in everyone.targets] == pytest.approx([0.705, 0.4145])
    assert [t.high for t in everyone.targets] == pytest.approx([0.715, 0.4155])
    assert {(f.claim_id, f.low, f.high) for f in item.facts} == {("n", 25, 25)}
    assert ("early", "interval of the survival: method not stated") in item.left_out
    assert item.last == 48.0  # twice the latest time printed
    assert model.problem(item).printed.stretch.tolist() == [[0, 120], [120, 240], [240, 480]]


def test_curves_of_the_study_folder_and_of_the_call(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    study = written(tmp_path, f"{MEDIAN}\n{LANDMARKS.splitlines()[0]}")
    months, event = cohort(rng)
    (tmp_path / "curves").mkdir()
    read_off(months, event).to_csv(tmp_path / "curves" / "os.csv", index=False)
    table_of(months).to_csv(tmp_path / "curves" / "os at risk.csv", index=False)
    low = cohort(rng, 25)
    read_off(*low).to_csv(tmp_path / "curves" / "os her2=low.csv", index=False)
    item = read_summary(study)
    kinds = [(one.kind, dict(one.given)) for one in item.statistics]
    assert kinds == [
        (kernel.MEDIAN, {}),
        (kernel.SURVIVAL, {}), (kernel.AT_RISK, {}), (kernel.SURVIVAL, {"her2": "low"}),
    ]  # fmt: skip
    assert len(item.statistics[1].targets) <= POINTS
    assert [t.at for t in item.statistics[2].targets] == [6.0, 12.0, 24.0]
    assert item.model_factors == ("her2",)
    assert {f.low for f in item.facts} == {25, 40}  # n of the curve is the printed one
    assert item.last >= months.max() - 0.25
    by_name = asked(study, {"low": read_off(*low)})
    assert [dict(one.given) for one in by_name.statistics] == [{}, {"her2": "low"}]


def test_numbers_at_risk_alone_with_events_and_censored(tmp_path: Path) -> None:
    study = written(tmp_path, MEDIAN)
    table = pd.DataFrame({"arm": ["low"] * 3 + ["all"] * 2, "time": [0, 12, 24, 0, 12],
                          "n_at_risk": [25, 15, 6, 40, 22],
                          "n_censored": [0, 3, 7, 0, 6]})  # fmt: skip
    figure = curves_of(study, "os", None, table, {"low": 14})
    item = read_summary(study, "os", curves=figure)
    shown = {(s.kind, *s.given.values()): [(t.at, t.text) for t in s.targets]
             for s in item.statistics[1:]}  # fmt: skip
    assert shown == {
        (kernel.AT_RISK, "low"): [(12.0, "15"), (24.0, "6")],
        (kernel.CENSORED, "low"): [(12.0, "3"), (24.0, "7")],
        (kernel.AT_RISK,): [(12.0, "22")],
        (kernel.CENSORED,): [(12.0, "6")],
    }
    assert {(f.event, f.low) for f in item.facts} == {(False, 25), (False, 40), (True, 14)}


def test_times_in_another_unit(tmp_path: Path, rng: np.random.Generator) -> None:
    study = written(tmp_path, "median,Results,median[os],median,1.7,1.7,,,,,years,1,,,,", "years")
    months, event = cohort(rng)
    points, table = read_off(months, event), table_of(months)
    curves = {"all": points.assign(time=points["time"] / 12)}
    years = asked(study, curves, table.assign(time=table["time"] / 12))
    assert [t.at for t in years.statistics[-1].targets] == pytest.approx([6.0, 12.0, 24.0])


def test_what_a_figure_cannot_be_of_is_said_together(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    study = written(tmp_path, MEDIAN)
    points = read_off(*cohort(rng))
    with pytest.raises(BadInput) as caught:
        asked(study, {"her2=hihg": points, "grade=3": points, "positive": points})
    said = [fault.value for fault in caught.value.faults]
    assert said == ["her2=hihg", "grade=3", "positive"]  # of which factor is open
    assert "her2=low" in str(caught.value)
    with pytest.raises(BadInput, match="how many patients curve 'her2=low' is of is not printed"):
        asked(study, {"low": points})
    with pytest.raises(BadInput, match="events of a group without curve"):
        hb.reconstruct(study, curves={"all": points}, events={"low": 3})
    both = points.rename(columns={"survival": "low"}).assign(positive=points["survival"])
    with pytest.raises(BadInput, match="no numbers at risk for arm 'positive'"):
        asked(study, {"all": both})
    (tmp_path / "curves").mkdir()
    (tmp_path / "curves" / "oss.csv").write_text("time,survival\n0,1\n9,0.5\n", "utf-8")
    with pytest.raises(BadInput, match="a curve of no endpoint of the study"):
        read_summary(study)
    with pytest.raises(BadInput, match="take no 'events'"):
        hb.reconstruct(study, events={"low": 3})
    with pytest.raises(BadInput, match="take no 'curves'"):
        hb.reconstruct(points, at_risk=table_of(*cohort(rng)[:1]), curves={"low": points})
    with pytest.raises(BadInput, match="several endpoints"):
        hb.reconstruct(hb.load_study("ni2025"), curves={"all": points})
    with pytest.raises(BadInput, match="a parabola in log time"):
        hb.reconstruct(study, baseline="weibull")


def test_a_median_that_the_curve_contradicts_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A curve at 40 % after a year, and a median of 20 months."""
    monkeypatch.setattr("her2bayes.cohorts.chain.tempering.SECONDS", 4.0)
    monkeypatch.setattr("her2bayes.cohorts.chain.tempering.ATTEMPTS", 1)
    points = pd.DataFrame({"time": [0.0, 6, 12, 18, 24], "survival": [1, 0.7, 0.4, 0.3, 0.2]})
    with pytest.raises(BadInput, match="smallest conflicting set") as caught:
        hb.reconstruct(written(tmp_path, MEDIAN), curves={"all": points}, quick=True)
    assert "median (median[os]" in str(caught.value)
    assert "curve all survival @" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("baseline", [None, "log_time"])
def test_cohorts_meet_curve_and_numbers(
    tmp_path: Path, rng: np.random.Generator, baseline: str | None
) -> None:
    """With a figure of everybody, survival is as narrow as it; without, it is what is left open."""
    months, event = cohort(rng)
    study = written(tmp_path, LANDMARKS.splitlines()[0])
    seen = hb.reconstruct(study, curves={"": read_off(months, event)}, at_risk=table_of(months),
                          events={"": int(event.sum())}, baseline=baseline, quick=True,
                          ensemble=10)  # fmt: skip
    assert seen.match()["met"].all()
    assert len(seen.match()) / 10 >= 20
    at = [12.0, 24.0]
    true = diagnostics.survival_at((months, event), np.array(at))
    two = 2 * true / [(months > time).sum() for time in at]  # patients of those at risk
    for _, one in seen.cohorts().groupby("member"):
        patients = one["time"].to_numpy(), one["event"].to_numpy()
        assert (np.abs(diagnostics.survival_at(patients, np.array(at)) - true) <= two).all()
        assert patients[1].sum() == event.sum()
        assert (patients[0] > 12).sum() == (months > 12).sum()
    shares = seen.determined().set_index("estimand")["share"]
    assert shares["survival[os @ 12 months]"] < 0.1
    again = hb.load_fit(seen.save(tmp_path / "fit.nc"))
    assert again.fit_id == seen.fit_id
    assert again.endpoint().spec.baseline == (baseline or "equal_intervals")
    assert ("log time" in str(seen)) == (baseline == "log_time")
    page = seen.section()
    assert "read from a figure" in " ".join(page.paragraphs)
    assert "all patients" in page.figures[0].title


@pytest.mark.parametrize("baseline", list(model.BASELINES))
def test_density_of_parameters_and_its_gradient(rng: np.random.Generator, baseline: str) -> None:
    """Against the equations of the docstring by NumPy, and against differences."""
    cells = Cells({"her2": ("zero", "low", "positive")})
    target = Target("m", "median", "", 0, 100.0, 101.0, "months")
    middle = Statistic("f", kernel.MEDIAN, {}, "", (), (target,))
    item = Summary("toy", "os", 9, cells, (), (middle,), 60.0, ("her2",), {})
    posed = model.problem(item, 6, baseline=baseline)
    one = posed.model
    counts, (log_death, log_leave) = counts_of_exits(one)
    for part, scale in zip(counts, (3, 90.0, 4, 200.0), strict=True):
        part[:] = rng.integers(0, scale, part.shape)
    theta = prior_theta(one, 1, rng)[0]
    gradient = np.zeros(theta.size)

    def compiled(at: np.ndarray) -> float:
        return float(log_posterior(one, at, counts, log_death, log_leave, gradient))

    def equations(at: np.ndarray) -> float:
        terms, leaving = one.baseline.shape[1], one.leaving.shape[1]
        level, z, sigma = at[0], at[1 : 1 + terms], np.exp(at[1 + terms])
        beta, spread = at[2 + terms : 4 + terms], np.exp(at[4 + terms])
        rest, z_c, sigma_c = at[5 + terms], at[6 + terms : 6 + terms + leaving], np.exp(at[-1])
        mean, sd, mean_c, sd_c = one.location
        death = mean + sd * level + sigma * one.baseline @ z
        death = death[None] + (one.columns @ (spread * beta))[:, None]
        leave = mean_c + sd_c * rest + sigma_c * one.leaving @ z_c
        deaths, months, left, follow = counts
        total = (deaths * death - months * np.exp(death)).sum()
        total += (left * leave - follow * np.exp(leave)).sum()
        normal = [level, *z, *beta, rest, *z_c]
        total -= 0.5 * np.square(normal).sum()
        for value, scale in ((sigma, 1.0), (sigma_c, 1.0), (spread, model.SPREAD_SD)):
            total += np.log(value) - 0.5 * (value / scale) ** 2
        return float(total)

    other = theta + 0.1 * rng.normal(size=theta.size)
    assert compiled(other) - compiled(theta) == pytest.approx(equations(other) - equations(theta))
    compiled(theta)
    step = 1e-5 * np.eye(theta.size)
    slopes = [(equations(theta + s) - equations(theta - s)) / 2e-5 for s in step]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-4)
    assert hazards(one).log_death.shape == (3, 6)


def test_intervals_hold_equally_many_expected_exits() -> None:
    rate = np.log(2) / 10.0
    start = model.cuts(40.0, 5, rate) / model.TENTHS
    gone = -np.expm1(-rate * np.append(start, 40.0))
    np.testing.assert_allclose(np.diff(gone), gone[-1] / 5)
    columns = model.parabola(start, 40.0)
    np.testing.assert_allclose(columns.T @ columns / 5, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(columns.sum(axis=0), 0, atol=1e-12)
    middle = (start + np.append(start[1:], 40.0)) / 2
    assert np.corrcoef(columns[:, 0], np.log(middle))[0, 1] == pytest.approx(1)


def test_exits_are_expected_at_the_rate_of_printed_medians() -> None:
    cells = Cells({"her2": ("low", "positive")})

    def made(*kinds: int) -> Summary:
        target = Target("m", "median", "", 0, 99.0, 101.0, "months")
        found = tuple(Statistic("f", kind, {}, "", (), (target,)) for kind in kinds)
        return Summary("toy", "os", 9, cells, (), found, 60.0, (), {})

    half = np.log(2) / 10
    assert model.exit_rate(made(kernel.FOLLOW_UP)) == pytest.approx(half)
    assert model.exit_rate(made(kernel.MEDIAN)) == pytest.approx(half)
    assert model.exit_rate(made(kernel.MEDIAN, kernel.FOLLOW_UP_REVERSE)) == pytest.approx(2 * half)
    assert model.exit_rate(made()) == pytest.approx(3.0 / 60)
    long = replace(made(kernel.MEDIAN), last=1e-3)
    assert model.exit_rate(long) == pytest.approx(0.5 / 1e-3)  # nobody would leave


def test_exercises_can_show_a_figure(rng: np.random.Generator) -> None:
    known = drawn(sampler(None, 60), rng)
    item = printed(known, PIXELS)
    kinds = {one.kind for one in item.statistics}
    assert {kernel.SURVIVAL, kernel.AT_RISK} <= kinds
    shown = next(one for one in item.statistics if one.kind == kernel.SURVIVAL)
    true = diagnostics.survival_at(
        (known[0] / 10, known[1]), np.array([t.at for t in shown.targets])
    )
    assert all(t.low <= s <= t.high for t, s in zip(shown.targets, true, strict=True))


def test_numbers_that_are_not_used_are_predicted(tmp_path: Path) -> None:
    """Models of several factors, and claims held out, from cohorts by Cox of other code."""
    study = hb.load_study("ni2025")
    item = read_summary(study, "rwpfs")
    several = {s.targets[0].claim_id: s for s in item.held_out}
    assert several["ni.mv.hr.bm"].adjusted == ("ihc", "prior_trop2")
    assert several["ni.mv.sig.uni_ihc"].adjusted == ()
    assert "ni.mv.sig.uni_pdl1" not in several  # of no factor of the cohorts
    without = read_summary(study, "rwpfs", held_out=["ni.eff.hr.pfs.bm"])
    used = {t.claim_id for s in without.statistics for t in s.targets}
    assert "ni.eff.hr.pfs.bm" not in used
    assert without.held_out[-1].targets[0].text == "2.57"
    assert ("ni.eff.hr.pfs.bm", "held out, to be predicted") in without.left_out
    with pytest.raises(BadInput, match="that is used") as caught:
        read_summary(study, "rwpfs", held_out=["ni.eff.hr.pfs.bmm"])
    assert "ni.eff.hr.pfs.bm'" in str(caught.value)


def test_predictions_are_cox_regressions_of_the_cohorts(rng: np.random.Generator) -> None:
    cells = Cells({"her2": ("low", "positive"), "hr_status": ("positive", "negative")})
    months, event = cohort(rng, 300)
    frame = pd.DataFrame({
        "her2": rng.choice(["low", "positive"], 300),
        "hr_status": rng.choice(["positive", "negative"], 300), "time": months, "event": event,
    })  # fmt: skip
    table = cox(
        frame.assign(entry=0.0, patients=1, **{n: pd.Categorical(frame[n]) for n in cells.factors}),
        {"her2": "low", "hr_status": "negative"},
    ).table
    row = table[table["factor"] == "her2"].iloc[0]
    log = np.log(row["hazard_ratio"])
    ratio = Target("mv", "hazard ratio", "x", 0, log - 0.01, log + 0.01, "exp")
    significant = Target("mv", "P", "significant", 3, stats.chi2.isf(0.05, 1), np.inf, "p1")
    one = Statistic("hr", kernel.COX, {}, "her2", ("low", "positive"), (ratio, significant),
                    ("hr_status",))  # fmt: skip
    item = Summary("toy", "os", 300, cells, (), (), 60.0, ("her2",), {}, held_out=(one,))
    found = predict_numbers(item, [frame, frame]).set_index("printed")
    assert found.loc["x", "median"] == pytest.approx(row["hazard_ratio"])
    assert (found.loc["x", "agree"], found.loc["x", "p_value"]) == (1.0, 1.0)
    assert found.loc["significant", "median"] == pytest.approx(row["p_value"])
    assert found.loc["significant", "p_value"] == float(row["p_value"] < 0.05)
    far = replace(one, targets=(replace(ratio, low=log + 1, high=log + 1.1),))
    missed = predict_numbers(replace(item, held_out=(far,)), [frame, frame])
    assert missed["p_value"].tolist() == [0.0]
    assert predict_numbers(replace(item, held_out=()), [frame]).empty


@pytest.mark.slow
def test_what_readme_says_of_a_number_that_was_not_used() -> None:
    table = hb.reconstruct(hb.load_study("ni2025"), endpoint="rwpfs").predicted()
    mine = table[(table["claim_id"] == "ni.mv.hr.bm") & (table["printed"] == "2.46")]
    (row,) = mine.to_dict("records")
    text = " ".join((Path(__file__).parents[2] / "README.md").read_text("utf-8").split())
    said = (
        f"printed as 2.46, at {row['median']:.2f} ({row['lower']:.2f} to {row['upper']:.2f} in 95 %"
    )
    assert said in text

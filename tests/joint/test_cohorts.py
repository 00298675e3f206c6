"""The joint model over cohorts reconstructed from a paper: multiple imputation that says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import her2bayes as hb
from her2bayes.cohorts.fitted import ReconstructedStudy
from her2bayes.errors import BadInput
from her2bayes.inference.sampling import Sampling
from her2bayes.joint.fitted import JointCohorts, imputed_share
from her2bayes.joint.section import _over_curves

SHORT = Sampling(draws=300, tune=300, chains=2)


@pytest.fixture(scope="module")
def cohorts() -> ReconstructedStudy:
    return hb.reconstruct(hb.load_study("shi2023"), ensemble=4)


@pytest.fixture(scope="module")
def fit(cohorts: ReconstructedStudy) -> JointCohorts:
    return hb.fit_joint(cohorts, time="bcss", sampling=SHORT)


def by_cohort(seed: int, between: float, cohorts: int = 60) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    means = rng.normal(0.0, np.sqrt(between), cohorts)
    return [mean + rng.normal(0.0, 1.0, (2, 400)) for mean in means]


@pytest.mark.parametrize("between", [0.0, 0.25, 1.0])
def test_the_share_of_a_variance_and_its_error_are_right(between: float) -> None:
    """Over simulated imputations: the mean is the truth, the spread is the error that is told."""
    found = np.array([imputed_share(by_cohort(seed, between)) for seed in range(40)])
    share, error = found.T
    truth = between / (1 + between)
    if between == 0:
        assert share.max() < 0.01  # cut at 0
        return
    assert share.mean() == pytest.approx(truth, abs=4 * share.std() / np.sqrt(40) + 0.01)
    # the spread of 40 has a standard error of 11 %
    assert error.mean() == pytest.approx(share.std(), rel=0.45)


def test_what_never_changes_or_is_not_reached_has_no_share() -> None:
    assert np.isnan(imputed_share([np.ones((2, 50))] * 6)).all()
    assert np.isnan(imputed_share([np.full((2, 50), np.inf)] * 6)).all()


@pytest.mark.slow
def test_draws_are_those_of_all_cohorts(fit: JointCohorts) -> None:
    name = "true_discordance[her2]"
    drawn = fit.draws(name)
    assert dict(drawn.sizes) == {"chain": 8, "draw": 300}
    each = [member.draws(name) for member in fit.members]
    assert float(drawn.mean()) == pytest.approx(np.mean([float(one.mean()) for one in each]))
    row = fit.estimates([name]).iloc[0]
    assert row["posterior_median"] == pytest.approx(100 * float(drawn.median()))
    assert row["evidence_kind"] == "implied"
    table = fit.estimates().set_index("estimand")
    assert table.loc[name, "posterior_median"] == row["posterior_median"]


@pytest.mark.slow
def test_one_cohort_alone_has_the_rows_of_its_fit(fit: JointCohorts) -> None:
    """Three times the same cohort: median, limits and probability are those of its own table."""
    one = fit.members[0]
    same = replace(fit, members=(one,) * 3)
    own, table = (of.set_index("estimand") for of in (one.estimates(), same.estimates()))
    names = [f"posterior_{part}" for part in ("median", "lower", "upper", "probability")]
    own = own[own["reading"] == ""].loc[table.index]
    assert own["posterior_probability"].notna().sum() > 20
    # limits are read between other draws where each stands three times
    pd.testing.assert_frame_equal(table[names], own[names], rtol=0.02, atol=0.02)
    fine = own["convergence"] == "converged"
    assert (table.loc[fine.to_numpy(), "convergence"] == "converged").all()
    assert same.determined()["share"].fillna(0).max() < 1e-12


@pytest.mark.slow
def test_printed_counts_and_ratios_stand_in_every_cohort(
    fit: JointCohorts, cohorts: ReconstructedStudy
) -> None:
    """Of 247 patients 94 have readings that differ; Cox's ratios are those of the paper."""
    for member in fit.members:
        assert member.counted.patients == 247
        assert member.counted.followed.events == 57
    read = fit.draws("read_discordance[]")
    assert float(read.mean()) == pytest.approx(94 / 247, abs=2 * float(read.std()))
    joined = fit.classical().set_index("estimand")["reproduced"]
    own = cohorts.classical().set_index("estimand")["reproduced"]
    for a in ("zero", "positive"):
        name = f"hazard_ratio[bcss ; {{}}: {a} vs low]"
        ratio = (1 / joined["hazard_ratio[bcss ; read: low vs zero]"] if a == "zero"
                 else joined[name.format("read")])  # fmt: skip
        assert ratio == pytest.approx(own[name.format("her2")], rel=0.02)  # tenths of months


@pytest.mark.slow
def test_what_is_printed_is_known_and_what_is_not_is_not(fit: JointCohorts) -> None:
    """Differing readings are counted in the paper, survival at 60 months is not printed."""
    names = ["read_discordance[]", "survival[bcss @ 60 months]"]
    change, alive = fit.determined(names)["share"]
    assert change < 0.1
    assert alive > 0.2


@pytest.mark.slow
def test_it_says_what_it_is(fit: JointCohorts) -> None:
    assert "not its data" in fit.title
    table = fit.estimates()
    assert table["note"].str.contains("uncongenial").all()
    row = table.set_index("estimand").loc["true_discordance[her2]"]
    share = fit.determined(["true_discordance[her2]"]).iloc[0]
    assert f"{100 * share['share']:.0f} % (Monte-Carlo SE" in row["note"]
    known = fit.determined().set_index("estimand")
    assert known["share"].dropna().between(0, 1).all()
    assert known["share"].isna().sum() == known.index.str.contains("dilution").sum()
    section = fit.section()
    first = section.paragraphs[0]
    for text in ("Multiple imputation", "uncongenial", "No cohort is the paper's data"):
        assert text in first
    shown = section.tables[0].frame.set_index("Estimand").iloc[:, -1]
    assert shown["true_discordance[her2]"].startswith(f"{100 * share['share']:.0f} (SE ")
    assert fit.part().evidence_kind == "implied"
    assert set(fit.tables["determined"]) == {"estimand", "share", "error"}
    assert fit.figures.survival().get_axes()
    assert "(94 of 247 counted)" in section.paragraphs[2]
    for curve in _over_curves(fit):
        assert curve.band
        last = float(curve.band.months[-1])
        alive = fit.draws(f"survival[bcss | her2={curve.label} @ {last!r} months]")
        ends = [one[-1] for one in (curve.band.lower, curve.band.median, curve.band.upper)]
        assert ends == pytest.approx(np.quantile(alive, [0.025, 0.5, 0.975]))


@pytest.mark.slow
def test_it_is_saved_and_read_again(fit: JointCohorts, tmp_path: Path) -> None:
    fit = replace(fit, members=fit.members[:2])
    again = hb.load_fit(fit.save(tmp_path / "cohorts.nc"))
    assert isinstance(again, JointCohorts)
    name = "hazard_ratio[bcss ; her2: low vs zero]"
    assert (again.draws(name).to_numpy() == fit.draws(name).to_numpy()).all()
    assert again.title == fit.title
    pd.testing.assert_frame_equal(again.classical(), fit.classical())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"time": "os"}, "no such endpoint"),
        ({"event": "dead"}, "take no 'event'"),
        ({"assay": "lab"}, "take no 'assay'"),
        ({"by": "nobody"}, "nobody"),
        ({"misclassification": np.eye(2)}, "does not fit"),
    ],
)
def test_what_cohorts_do_not_take_is_said(
    cohorts: ReconstructedStudy, change: dict[str, Any], problem: str
) -> None:
    asked: dict[str, Any] = {"time": "bcss", "sampling": SHORT, **change}
    with pytest.raises(BadInput, match=problem):
        hb.fit_joint(cohorts, **asked)


def test_few_cohorts_and_other_fits_are_refused() -> None:
    few = hb.reconstruct(hb.load_study("shi2023"), ensemble=3)
    with pytest.raises(BadInput, match="too few cohorts"):
        hb.fit_joint(few, time="bcss")
    curve = hb.reconstruct(
        pd.DataFrame({"time": [0.0, 5.0, 5.0, 9.0], "survival": [1.0, 1.0, 0.5, 0.5]}),
        at_risk=pd.DataFrame({"time": [0.0], "n_at_risk": [10]}), ensemble=2,
    )  # fmt: skip
    with pytest.raises(BadInput, match="no source of patients"):
        hb.fit_joint(curve, time="os")

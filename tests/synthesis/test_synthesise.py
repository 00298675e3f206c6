"""The door: effects of printed studies and fits, reasons, report, planning, script."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

import her2bayes as hb
from her2bayes.cli import app
from her2bayes.errors import BadInput
from her2bayes.inference.sampling import Sampling
from her2bayes.synthesis.base import covered, needed
from her2bayes.synthesis.effects import EffectsFit

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "synthesise.py"
ASKED = "hazard_ratio[os ; her2: low vs zero]"


@pytest.fixture(scope="module")
def effects() -> EffectsFit:
    found = hb.synthesise(["tan2022", "mtnbc127", "shi2023"], ASKED)
    assert isinstance(found, EffectsFit)
    return found


def test_printed_ratios_enter_with_their_intervals(effects: EffectsFit) -> None:
    """Tan 2022 prints 0.82 (0.76-0.89)."""
    row = effects.data.sel(row="tan2022")
    assert float(row["estimate"]) == pytest.approx(np.log(0.82))
    assert float(row["error"]) == pytest.approx(
        (np.log(0.89) - np.log(0.76)) / (2 * 1.959964), rel=1e-6
    )
    assert effects.about.left_out == {"shi2023": f"{ASKED} is not printed"}


def test_settings_are_not_pooled_in_silence(effects: EffectsFit) -> None:
    assert "Pooled over settings (early, metastatic)" in effects.pooled_settings
    assert effects.pooled_settings in next(effects.told())
    cohort = effects.part().cohort
    assert cohort is not None
    assert effects.pooled_settings in cohort.paragraphs
    apart = hb.synthesise(["tan2022", "mtnbc127"], ASKED, moderators="setting")
    assert isinstance(apart, EffectsFit)
    assert apart.pooled_settings == ""
    text = "hazard_ratio[os | setting={}, study=average ; her2: low vs zero]"
    early, late = (apart.draws(text.format(one)) for one in ("early", "metastatic"))
    assert float(early.median()) < float(late.median())


def test_adjusted_ratios_are_kept_apart() -> None:
    with pytest.raises(BadInput, match=r"mtnbc127: .* is not printed"):
        hb.synthesise(["tan2022", "mtnbc127"], ASKED, reading="multivariable")


def test_a_ratio_is_answered_both_ways_round(effects: EffectsFit) -> None:
    there = effects.draws("hazard_ratio[os | study=new ; her2: low vs zero]")
    back = effects.draws("hazard_ratio[os | study=new ; her2: zero vs low]")
    np.testing.assert_allclose(there * back, 1.0)
    with pytest.raises(BadInput, match="does not answer"):
        effects.draws("hazard_ratio[os | study=nobody ; her2: low vs zero]")


def test_medians_enter_with_intervals_or_events(tmp_path: Path) -> None:
    found = hb.synthesise(["tdxd_portugal2025", "tdxd_greece", "ni2025"], "median[os]")
    assert isinstance(found, EffectsFit)
    how = dict(zip(map(str, found.data["study"].values), map(str, found.data["how"].values),
                   strict=True))  # fmt: skip
    assert how["tdxd_portugal2025"].startswith("from its 95 % CI")
    table = found.estimates()
    months = table["estimand"].str.startswith("median")
    assert set(table.loc[months, "unit"]) == {"months"}
    new = table.set_index("estimand").loc["median[os | study=new]"]
    assert 5 < new["posterior_lower"] < new["posterior_median"] < new["posterior_upper"] < 60


def test_a_fit_of_ones_own_patients_is_a_study_too() -> None:
    rng = np.random.default_rng(3)
    her2 = np.repeat(["zero", "low"], 150)
    time = rng.exponential(np.where(her2 == "low", 30.0, 24.0))
    frame = pd.DataFrame({"her2": her2, "os_months": np.minimum(time, 60.0), "os_event": time < 60})
    fit = hb.fit_survival(frame, time="os_months", event="os_event", by={"her2": ["zero", "low"]},
                          quick=True)  # fmt: skip
    table = fit.classical().set_index("estimand")
    ratio = float(table.loc["hazard_ratio[os ; her2: low vs zero]", "reproduced"])
    found = hb.synthesise({"tan2022": "tan2022", "mine": fit}, ASKED)
    assert isinstance(found, EffectsFit)
    assert float(found.data["estimate"].sel(row="mine")) == pytest.approx(
        np.log(ratio),
        abs=0.01,  # Cox's, of which 40 intervals are an approximation
    )


def test_influence_is_the_others_predictive(effects: EffectsFit) -> None:
    """With one study left, its centre and a new study follow from the normal model by hand."""
    found = effects.influence().set_index("study")
    alone = effects.model.draws(200_000, 1, np.array([1]))
    seen = alone["effect"][:, 0] + 0.04027 * np.random.default_rng(0).standard_normal(200_000)
    for limit, p in (("lower", 0.025), ("predicted", 0.5), ("upper", 0.975)):
        below = float((np.exp(seen) < found.loc["tan2022", limit]).mean())
        assert below == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 4000)), limit


def test_a_wider_prior_of_the_spread_widens_a_new_study(effects: EffectsFit) -> None:
    table = effects.prior_sensitivity()
    new = table[table["estimand"].str.contains("study=new")].set_index("factor")
    width = np.log(new["upper"] / new["lower"])
    assert width.sort_index().is_monotonic_increasing
    assert list(width.index) == [0.5, 1, 2, 4]


def test_report_of_effects(effects: EffectsFit, tmp_path: Path) -> None:
    written = hb.report(effects, out=tmp_path / "out")
    names = {path.name for path in written.folder.iterdir()}
    assert {"estimates.csv", "studies.csv", "pooling.csv", "influence.csv", "report.html",
            "prior_sensitivity.csv", "report.docx", "key_results.csv"} <= names  # fmt: skip
    key = pd.read_csv(written.folder / "key_results.csv")
    assert any("in a new study" in text for text in key["quantity"])
    again = hb.load_fit(next((written.folder / "fits").glob("*.nc")))
    assert again.fit_id == effects.fit_id
    for name, table in effects.refitted.items():
        pd.testing.assert_frame_equal(again.refitted[name], table)


def test_assurance_of_a_share_is_that_of_simulated_cohorts(shares) -> None:
    """Draw a new study's share, a cohort of 100, its posterior: count how often it says so."""
    statement = "share[her2=low | level=positive] > 0.3"
    table = shares.assurance(statement, (50, 100, 10_000))
    truth = shares.draws("share[her2=low | level=positive, study=new]").values.ravel()
    rng = np.random.default_rng(4)
    y = rng.binomial(100, truth)
    said = stats.beta(1 + y, 101 - y).sf(0.3) >= 0.975
    found = table.set_index("size")["assurance"]
    assert found[100] == pytest.approx(said.mean(), abs=4 * said.std() / np.sqrt(len(said)) + 0.01)
    assert found.is_monotonic_increasing
    assert found[10_000] <= table["most"].iloc[0] + 1e-9
    assert found[10_000] == pytest.approx(table["most"].iloc[0], abs=0.03)
    assert needed(table, 0.999) is None


def test_assurance_of_a_ratio_by_events(effects: EffectsFit) -> None:
    table = effects.assurance(f"{ASKED} < 1", (100, 400, 1_000_000))
    truth = effects.draws("hazard_ratio[os | study=new ; her2: low vs zero]").values.ravel()
    error = 2 / np.sqrt(400)  # equal groups
    right = stats.norm.cdf(-np.log(truth) / error - 1.959964).mean()
    assert table["assurance"].iloc[1] == pytest.approx(right, rel=1e-6)
    assert table["assurance"].iloc[2] == pytest.approx((truth < 1).mean(), abs=0.01)
    with pytest.raises(BadInput, match="not a statement"):
        effects.assurance("hazard_ratio[os ; her2: low vs zero]")


@pytest.mark.parametrize(
    ("studies", "estimand", "said"),
    [(["shi2023"], "share", "fewer than two studies"), (["shi2023", "shi2023"], "share", "twice"),
     (["shi2023", "ni2025"], "transition", "fewer than two studies say something"),
     (["shi2023", "agmt2021"], "discordance[]", "no synthesis of this kind"),
     ({"a": 3, "b": "shi2023"}, ASKED, "no effect yet")],
)  # fmt: skip
def test_bad_input_is_named(studies, estimand: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        hb.synthesise(studies, estimand)


def test_script_of_effects(tmp_path: Path) -> None:
    script = app(runpy.run_path(str(SCRIPT))["main"])
    words = [
        "--study",
        "tan2022",
        "--study",
        "mtnbc127",
        "--estimand",
        ASKED,
        "--out",
        str(tmp_path / "o"),
    ]
    done = CliRunner().invoke(script, words)
    assert done.exit_code == 0, done.output
    assert "study=new" in done.stdout
    assert (tmp_path / "o" / "report.html").exists()
    done = CliRunner().invoke(script, [*words[:4], "--estimand", "share", "--by", "site"])
    assert done.exit_code == 2
    assert "fewer than two studies" in done.stderr


def test_coverage_counts_the_predictive_p(effects: EffectsFit) -> None:
    found = effects.coverage().set_index("interval")
    rows = effects.refitted["influence"]
    inside = (rows["lower"] <= rows["observed"]) & (rows["observed"] <= rows["upper"])
    assert found.loc[95, "covered"] == inside.sum()
    assert found.loc[50, "covered"] == (rows["p"] >= 0.5).sum()
    assert found.loc[95, "predictions"] == len(rows)
    table = pd.DataFrame({"study": list("aabc"), "p": [0.04, 0.3, 0.5, 0.9]})
    assert covered(table)["covered"].tolist() == [2, 3]
    assert covered(table)["studies"].tolist() == [3, 3]
    assert any("Each of 2 studies predicted by the others" in line for line in effects.told())


def test_sensitivity_over_studies_settings_and_priors() -> None:
    ids = ["tan2022", "mtnbc127", "pooled_cdk46"]
    fit = hb.synthesise(ids, ASKED, sampling=Sampling(chains=4, draws=500, tune=10))
    kept = sorted(fit.about.studies)
    assert len(kept) == 3
    new = "hazard_ratio[os | study=new ; her2: low vs zero]"
    found = fit.sensitivity([f"{new} < 1"])
    table = found.table.set_index("changed")
    assert {f"left out {name}" for name in kept} <= set(table.index)
    spread = "prior scale of the spread between studies"
    p = float((fit.draws(new) < 1).mean())
    assert table.loc["as reported", "probability"] == pytest.approx(p)
    wide = table.loc[f"{spread} 4"]
    base = table.loc["as reported"]
    assert np.log(wide["upper"] / wide["lower"]) > np.log(base["upper"] / base["lower"])
    less = fit.omitting(["tan2022"]).draws(new)
    assert table.loc["left out tan2022", "median"] == pytest.approx(float(less.median()))
    with pytest.raises(BadInput, match="does not answer"):
        fit.sensitivity(["hazard_ratio[pfs ; her2: low vs zero] < 1"])


def test_sensitivity_of_a_sampled_synthesis(shares) -> None:
    fit = replace(shares, sampling=Sampling(chains=2, draws=300, tune=300))
    asked = "share[her2=low | level=positive, study=new]"
    table = fit.sensitivity([f"{asked} > 0.3"]).table.set_index("changed")
    assert set(table.index) >= {"as reported", "left out a", "left out d"}
    assert not table["convergence"].str.contains("internal").any()
    gone = table.loc["left out b"]
    assert gone["upper"] - gone["lower"] > 0.1

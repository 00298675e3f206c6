"""Transitions over studies: the doors, closed limits, decisions."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import her2bayes as hb
from her2bayes.bayes.prior import prior
from her2bayes.errors import BadInput
from her2bayes.evidence.printed.study import published_folder
from her2bayes.inference.fit import Specification, refit
from her2bayes.inference.sampling import Sampling
from her2bayes.synthesis import study_transitions
from her2bayes.synthesis.pairs import study_pairs
from her2bayes.synthesis.studies import sources
from her2bayes.synthesis.transitions import StudyTransitionsFit, _margins

MA_WHOLE = np.array([[46, 56, 1], [41, 348, 16], [0, 0, 0]])
"""Ma 2025 as zero, low, positive: 3 x 5 table of 508 patients, primary HER2-negative."""


def test_a_table_in_own_classes_is_added_up() -> None:
    found = study_pairs(sources(["ma2025", "nac744"]))
    pairs = found.data["pairs"]
    of = pairs["at"].values == 0
    counts = {tuple(np.flatnonzero(inside)): int(y) for inside, y in
              zip(pairs["inside"].values[of], pairs["y"].values[of], strict=True)}  # fmt: skip
    flat = MA_WHOLE.ravel()
    for cells, y in counts.items():
        assert y == sum(flat[list(cells)])
    assert found.patients == {"ma2025": 508, "nac744": 744}
    assert int(pairs["n"].values[0]) == 508


def test_a_class_left_out_by_design_is_in_no_denominator() -> None:
    """nac744 holds no HER2-positive: its rows are zero and low among these two."""
    pairs = study_pairs(sources(["ma2025", "nac744"])).data["pairs"]
    rest = pairs["rest"].values[pairs["at"].values == 1]
    positive = np.zeros((3, 3), dtype=bool)
    positive[2], positive[:, 2] = True, True
    assert not rest[:, positive.ravel()].any()


def test_different_pairs_are_never_pooled() -> None:
    with pytest.raises(BadInput, match="different pairs are not pooled"):
        study_pairs(sources(["ma2025", "shi2023"]))
    found = study_pairs(sources(["ma2025", "shi2023", "hr2x2_137"]), pairs="primary to recurrence")
    assert "before to after neoadjuvant" in found.left_out["ma2025"]


def test_more_pairs_than_patients_are_refused() -> None:
    one, two = sources(["ma2025", "nac744"])
    one.study.meta["patients"] = 400
    with pytest.raises(BadInput, match="not independent"):
        study_pairs((one, two))


def test_margins_of_the_table_of_status_bound_the_pairs(tmp_path: Path) -> None:
    """They need not be repeated as facts on pairs: the same tables are left."""
    own = Path(shutil.copytree(published_folder() / "shi2023", tmp_path / "shi2023"))
    file = own / "transition_facts.csv"
    lines = file.read_text("utf-8").splitlines(keepends=True)
    left = [line for line in lines if not line.startswith("all.recurrence.")]
    assert len(left) == len(lines) - 3
    file.write_text("".join(left), encoding="utf-8")
    whole, found = (
        study_pairs(sources([str(one), "hr2x2_137"])).data["tables"] for one in ("shi2023", own)
    )
    assert whole.sizes["candidate"] == found.sizes["candidate"] == 9
    np.testing.assert_array_equal(
        np.sort(whole["coefficient"].values), np.sort(found["coefficient"].values)
    )


def test_fit_converges_and_answers(transitions: StudyTransitionsFit) -> None:
    assert transitions.converged
    rows = [transitions.draws(f"transition[zero -> {end} | study=new]") for end in
            transitions.classes]  # fmt: skip
    np.testing.assert_allclose(sum(rows), 1.0)
    needed = transitions.draws("number_to_rebiopsy[zero | study=new]")
    np.testing.assert_allclose(needed, 1 / (rows[1] + rows[2]))
    spread = [float(transitions.draws(f"transition[zero -> low | study={one}]").std())
              for one in ("average", "new")]  # fmt: skip
    assert spread[0] < spread[1]
    with pytest.raises(BadInput, match="no class is higher"):
        transitions.draws("number_to_rebiopsy[positive]")
    with pytest.raises(BadInput, match="no such stratum"):
        transitions.draws("transition[zero -> low | study=nobody]")


def test_what_a_study_prints_is_met(transitions: StudyTransitionsFit) -> None:
    """Negative to positive of the coarse study: 12 of 112, whatever zero and low do."""
    flow = {(a, b): transitions.draws(f"flow[{a} -> {b} | study=hr2x2_137]")
            for a in transitions.classes for b in transitions.classes}  # fmt: skip
    negative = ("zero", "low")
    stays = sum(flow[a, b] for a in negative for b in negative)
    gains = sum(flow[a, "positive"] for a in negative)
    share = float((gains / (stays + gains)).mean())
    assert share == pytest.approx(12 / 112, abs=0.04)


def test_far_apart_studies_are_left_as_they_are() -> None:
    """A wide spread: a row of 405 stays where it was counted, within its own error."""
    found = study_pairs(sources(["ma2025", "nac744"]))
    wide = {**study_transitions.DEFAULT_PRIORS, "study_sd": prior("HalfNormal", sigma=20.0)}
    one = refit(
        Specification(study_transitions.build, dict(found.data), wide),
        Sampling(chains=4, draws=500, tune=1000),
    )
    row = one.posterior["transition"].sel(stratum="ma2025", her2_primary="low")
    for end, count in zip(("zero", "low", "positive"), (41, 348, 16), strict=True):
        law = stats.beta(count + 0.5, 405 - count + 0.5)
        assert float(row.sel(her2=end).mean()) == pytest.approx(count / 405, abs=2 * law.std())


def test_a_study_left_out_is_predicted(transitions: StudyTransitionsFit) -> None:
    found = hb.synthesise(
        ["ma2025", "nac744"], "transition", sampling=Sampling(chains=4, draws=500, tune=500)
    )
    assert isinstance(found, StudyTransitionsFit)
    found = found.checked()
    rows = found.refitted["influence"]
    assert set(rows["study"]) == {"ma2025", "nac744"}
    nac = rows[rows["study"] == "nac744"].set_index("transition")  # holds no HER2-positive
    assert nac.loc["zero -> low", "observed"] == pytest.approx(100 * 97 / 207)
    assert list(nac.index) == ["zero -> low", "low -> zero"]
    assert rows["p"].between(0, 1).all()
    assert (rows["lower"] <= rows["predicted"]).all()
    varied = found.refitted["prior_sensitivity"]
    new = varied[varied["estimand"] == "transition[zero -> low | study=new]"].set_index("factor")
    width = (new["upper"] - new["lower"]).sort_index()
    assert width.iloc[0] < width.iloc[-1]


def test_what_is_printed_of_a_table_is_predicted_without_it(
    transitions: StudyTransitionsFit,
) -> None:
    """Sums of a latent table against pairs drawn one row at a time, margins as printed."""
    rows = transitions.influence()
    assert rows["p"].between(0, 1).all()
    shi = rows[rows["study"] == "shi2023"].set_index("transition")
    assert list(shi.index) == ["any -> zero", "any -> low", "any -> positive", "low -> low",
                               "positive -> low", "discordance"]  # fmt: skip
    assert shi.loc["low -> low", "observed"] == pytest.approx(100 * 83 / 125)
    assert shi.loc["discordance", "observed"] == pytest.approx(100 * 94 / 247)
    rng, primary = np.random.default_rng(5), np.array([51, 125, 71])
    less = transitions.omitting(["shi2023"]).fit.posterior["transition"].sel(stratum="shi2023")
    less = less.transpose("chain", "draw", "her2_primary", "her2").values.reshape(-1, 3, 3)
    table = np.stack([[rng.multinomial(n, p) for n, p in zip(primary, one, strict=True)]
                      for one in less])  # fmt: skip
    changed = table.sum((1, 2)) - np.trace(table, axis1=1, axis2=2)
    for name, seen, of in (("discordance", changed, 247), ("low -> low", table[:, 1, 1], 125)):
        ends = 100 * np.quantile(seen, [0.025, 0.5, 0.975]) / of
        found = shi.loc[name, ["lower", "predicted", "upper"]].to_numpy(float)
        np.testing.assert_allclose(found, ends, atol=2.5)
    least = 2 * min((changed < 94).mean() + 0.5 * (changed == 94).mean(),
                    (changed > 94).mean() + 0.5 * (changed == 94).mean())  # fmt: skip
    assert shi.loc["discordance", "p"] == pytest.approx(least, abs=0.05)
    printed = transitions.classical().set_index("estimand")
    assert printed.loc["transition[low -> low | study=shi2023]", "reproduced"] == pytest.approx(
        100 * 83 / 125
    )
    other = rows[rows["study"] == "almstedt2023"].set_index("transition")
    assert other.loc["zero -> low of all pairs", "observed"] == pytest.approx(100 * 34 / 127)
    coarse = rows[rows["study"] == "hr2x2_137"].set_index("transition")
    assert coarse.loc["zero/low -> positive", "observed"] == pytest.approx(100 * 12 / 112)


def test_margins_that_are_not_printed_are_all_alike() -> None:
    """Of 10 pairs 4 are low: zero and positive share six, in seven ways."""
    form = np.zeros((2, 3, 3), dtype=np.int64)
    form[0], form[1, 1] = 1, 1
    facts = xr.Dataset({"form": (("fact", "her2_primary", "her2"), form),
                        "least": ("fact", [10, 4]), "most": ("fact", [10, 4])},
                       {"her2": ["zero", "low", "positive"]})  # fmt: skip
    np.testing.assert_array_equal(_margins(facts), [[i, 4, 6 - i] for i in range(7)])


def test_a_least_and_a_most_count_are_one_number() -> None:
    tables = study_pairs(sources(["miglietta2021", "shi2023"])).data["tables"]
    own = tables.sel(fact=tables["of"].values == "miglietta2021")
    ends = set(zip(own["least"].values.tolist(), own["most"].values.tolist(), strict=True))
    assert {(80, 84), (74, 79), (208, 208)} <= ends
    assert own.sizes["fact"] == 6


def test_patients_read_as_sets_keep_every_single_cell(transitions: StudyTransitionsFit) -> None:
    """Readings of sets follow the single cells: the last of these is what is left of all."""
    rng = np.random.default_rng(2)
    classes = np.array(["zero", "low", "positive"])
    first, second = rng.choice(classes, 300), rng.choice(classes, 300).astype(object)
    second[:20] = "low/positive"
    frame = pd.DataFrame({"first": first, "second": second})
    single = frame[~frame["second"].str.contains("/")]
    known = {pair: len(one) for pair, one in single.groupby(["first", "second"])}
    ends = {"primary": "first", "recurrence": "second"}
    two = {"mine": hb.read_patients(frame, her2=ends), "shi2023": "shi2023"}
    data = study_pairs(sources(two))
    found = replace(transitions, data=data.data)._cells("mine")
    counted = {(str(classes[i]), str(classes[j])): n
               for cell, n in found for i, j in np.argwhere(cell)}  # fmt: skip
    assert counted == known


def test_rows_with_sets_have_no_share_as_printed(transitions: StudyTransitionsFit) -> None:
    """Of ten read zero four are low or positive: none of its single cells is a share of the ten."""
    frame = pd.DataFrame({
        "first": ["zero"] * 10 + ["low"] * 8 + ["positive"] * 6,
        "second": ["zero"] * 6 + ["low/positive"] * 4 + ["zero"] * 2 + ["low"] * 6
        + ["positive"] * 5 + ["low"],
    })  # fmt: skip
    ends = {"primary": "first", "recurrence": "second"}
    two = {"mine": hb.read_patients(frame, her2=ends), "shi2023": "shi2023"}
    found = replace(transitions, data=study_pairs(sources(two)).data)
    np.testing.assert_array_equal(found._open("mine"), [True, False, False])
    mine = found._counted[found._counted["stratum"] == "mine"].set_index(["start", "end"])
    assert set(mine.index.get_level_values("start")) == {"low", "positive"}
    assert mine.loc[("low", "zero"), ["count", "patients"]].tolist() == [2, 8]


def test_decisions_are_the_arithmetic_of_a_row(transitions: StudyTransitionsFit) -> None:
    table = transitions.decisions(tilts=(1.0, 2.0), thresholds=(0.2,))
    row = table[(table["primary"] == "zero") & (table["tilt"] == 1)].iloc[0]
    p = sum(transitions.draws(f"transition[zero -> {end} | study=new]").values.ravel()
            for end in ("low", "positive"))  # fmt: skip
    assert row["per_100"] == pytest.approx(100 * np.median(p))
    assert row["needed"] == pytest.approx(1 / np.median(p))
    assert row["net_benefit"] == pytest.approx(100 * np.median(p - (1 - p) * 0.25))
    assert row["p_worth_it"] == pytest.approx((p > 0.2).mean())
    tilted = table[(table["primary"] == "zero") & (table["tilt"] == 2)].iloc[0]
    assert tilted["per_100"] == pytest.approx(100 * np.median(p / (p + 2 * (1 - p))))
    at = transitions.decisions(tilts=(row["tipping_tilt"],), thresholds=(0.2,)).iloc[0]
    assert at["net_benefit"] == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(BadInput, match="not a probability"):
        transitions.decisions(thresholds=(20,))


def test_ultralow_splits_zero(transitions: StudyTransitionsFit) -> None:
    """Of those read zero again 30 % are eligible: zero gains them, low does not lose them."""
    row = {(a, b): transitions.draws(f"transition[{a} -> {b} | study=new]").values.ravel()
           for a in ("zero", "low") for b in transitions.classes}  # fmt: skip
    table = transitions.decisions(tilts=(1.0,), thresholds=(0.2,), ultralow=(0.0, 0.3))
    found = table.set_index(["primary", "ultralow"])
    gained = 1 - row["zero", "zero"] + 0.3 * row["zero", "zero"]
    assert found.loc[("zero", 0.3), "per_100"] == pytest.approx(100 * np.median(gained))
    assert found.loc[("low", 0.3), "lost_per_100"] == pytest.approx(
        70 * np.median(row["low", "zero"])
    )
    whole = transitions.decisions(tilts=(1.0,), thresholds=(0.2,)).set_index("primary")
    for name in ("zero", "low", "positive"):
        assert found.loc[(name, 0.0), "per_100"] == whole.loc[name, "per_100"]
        assert found.loc[(name, 0.0), "lost_per_100"] == whole.loc[name, "lost_per_100"]
    with pytest.raises(BadInput, match="not a share of those read as zero"):
        transitions.decisions(ultralow=(30,))


def test_decisions_of_true_classes(transitions: StudyTransitionsFit) -> None:
    """A nearly perfect assay changes nothing; the prior's takes changes away, some of them all."""
    sure = {f"reads_{h}": prior("Dirichlet", a=tuple(1e7 if h == o else 1.0 for o in
            transitions.classes)) for h in transitions.classes}  # fmt: skip
    options = {"tilts": (1.0,), "thresholds": (0.2,)}
    read = transitions.decisions(**options).set_index("primary")
    perfect = transitions.decisions(true=True, reads=sure, **options).set_index("primary")
    assert perfect.loc["zero", "per_100"] == pytest.approx(read.loc["zero", "per_100"], abs=0.2)
    assert perfect["possible"].iloc[0] > 99
    true = transitions.decisions(true=True, **options).set_index("primary")
    assert 10 < true["possible"].iloc[0] < 90
    assert (true.loc[["low", "positive"], "lost_per_100"]
            < read.loc[["low", "positive"], "lost_per_100"]).all()  # fmt: skip
    bad = {name: prior("Dirichlet", a=(1.0, 1.0, 1.0)) for name in sure}
    with pytest.raises(BadInput, match="hardly any draw"):
        transitions.decisions(true=True, reads=bad, **options)
    with pytest.raises(BadInput, match="no such stratum"):
        transitions.decisions("nobody", true=True)


def test_next_patient_is_one_of_the_classes(transitions: StudyTransitionsFit) -> None:
    table = transitions.next_patient("zero")
    assert table["probability"].sum() == pytest.approx(1.0)
    assert (table["lower"] < table["probability"]).all()


def test_it_is_saved_and_read(transitions: StudyTransitionsFit, tmp_path) -> None:
    again = hb.load_fit(transitions.save(tmp_path / "fit.nc"))
    asked = "transition[zero -> low | study=new]"
    np.testing.assert_array_equal(again.draws(asked), transitions.draws(asked))
    pd.testing.assert_frame_equal(again.studies, transitions.studies)


def test_missing_not_at_random_tilts_the_missing_only(transitions: StudyTransitionsFit) -> None:
    """29 of 247 without a second reading: a mixture of two groups, by hand."""
    m, limit = 29 / 247, 0.2
    p = sum(transitions.draws(f"transition[zero -> {end} | study=new]").values.ravel()
            for end in ("low", "positive"))  # fmt: skip
    table = transitions.decisions(thresholds=(limit,), tilts=(1.0, 2.0), missing=m,
                                  missing_tilts=(1.0, 3.0))  # fmt: skip
    zero = table[table["primary"] == "zero"].set_index(["tilt", "missing_tilt"])
    alone = transitions.decisions(thresholds=(limit,), tilts=(1.0, 2.0)).set_index("primary")
    assert zero.loc[(2.0, 1.0), "per_100"] == pytest.approx(alone.loc["zero", "per_100"].iloc[1])
    odds = 3 * p / (1 - p)
    mixed = (1 - m) * p + m * odds / (1 + odds)
    assert zero.loc[(1.0, 3.0), "per_100"] == pytest.approx(100 * np.median(mixed))
    assert zero.loc[(1.0, 3.0), "p_worth_it"] == pytest.approx((mixed > limit).mean())
    assert np.isnan(zero.loc[(1.0, 1.0), "tipping_missing_tilt"])  # 12 % cannot undo 40 %
    seen = float(np.median(p))
    half = transitions.decisions(thresholds=(0.8 * seen,), tilts=(1.0,), missing=0.5)
    at = half["tipping_missing_tilt"].iloc[0]
    again = transitions.decisions(thresholds=(0.8 * seen,), tilts=(1.0,), missing=0.5,
                                  missing_tilts=(at,))  # fmt: skip
    assert again["net_benefit"].iloc[0] == pytest.approx(0.0, abs=0.02)
    with pytest.raises(BadInput, match="not a share of patients"):
        transitions.decisions(missing=29)


def test_a_conclusion_where_patients_are_missing(transitions: StudyTransitionsFit) -> None:
    asked = "transition[zero -> low | study=new]"
    p = transitions.draws(asked).values.ravel()
    limit = round(float(np.median(p)) * 0.9, 3)
    table = transitions.if_missing(f"{asked} > {limit}", 50, 200).set_index("tilt")
    assert table.loc[1.0, "probability"] == pytest.approx((p > limit).mean())
    assert table.loc[0.0, "median"] == pytest.approx(0.75 * np.median(p))
    assert table.loc[np.inf, "median"] == pytest.approx(0.25 + 0.75 * np.median(p))
    at = table["tipping_tilt"].iloc[0]
    there = transitions.if_missing(f"{asked} > {limit}", 50, 200, tilts=(at,))
    assert there["median"].iloc[0] == pytest.approx(limit, abs=1e-6)
    with pytest.raises(BadInput, match="number of missing patients"):
        transitions.if_missing(f"{asked} > 0.2", 300, 200)


def test_without_a_study_its_facts_say_nothing(transitions: StudyTransitionsFit) -> None:
    """Shi prints sums of its table: left out, its rows are those of a new study."""
    short = replace(transitions, sampling=Sampling(chains=4, draws=500, tune=500))
    less = short.omitting(["shi2023"])
    asked = "transition[low -> low | study={}]"
    before, after = (float(one.draws(asked.format("shi2023")).std()) for one in (short, less))
    new = float(less.draws(asked.format("new")).std())
    assert before < 0.6 * after
    assert after == pytest.approx(new, rel=0.15)

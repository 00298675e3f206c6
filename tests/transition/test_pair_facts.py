"""Counts of status_counts.csv bound the tables behind transition_facts.csv."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from her2bayes.evidence.printed.study import Study, load_study, skeleton_folder, study_folder
from her2bayes.inference.sampling import Sampling
from her2bayes.transition import paper as estimates
from her2bayes.transition.draws import derived_rows
from her2bayes.transition.facts import pair_facts, table_set
from her2bayes.transition.polytope import cell_bounds, conflict, extreme_table

HER2 = ("zero", "low", "positive")
FACTS = """fact_id,factor,level,cells,relation,value,reading,locator,claim_id
n,,,*->*,=,200,,Results,
primary.zero,,,zero->*,=,60,,Results,
primary.low,,,low->*,=,80,,Results,
primary.positive,,,positive->*,=,60,,Results,
zero_low,,,zero->low,=,20,,Results,
discordant,,,off_diagonal,=,57,,Results,
hr_positive.discordant,hr_status,positive,off_diagonal,=,19,,Results,
"""
COUNTS = """factor,level,her2,count,locator
,,zero,50,Table 1
,,low,90,Table 1
,,positive,60,Table 1
hr_status,positive,zero,13,Table 1
hr_status,positive,low,35,Table 1
hr_status,positive,positive,15,Table 1
hr_status,negative,zero,37,Table 1
hr_status,negative,low,55,Table 1
hr_status,negative,positive,45,Table 1
"""


def study(folder: Path, counts: str = COUNTS, facts: str = FACTS, toml: str = "") -> Study:
    """Write a study of 200 pairs, 63 of them HR positive, 19 of which (30.2 %) are discordant."""
    target = folder / "paper"
    shutil.copytree(skeleton_folder(), target)
    for name in ("conclusions", "adverse_events", "responses", "survival", "external"):
        (target / f"{name}.csv").unlink()
    ledger = (target / "estimates.csv").read_text("utf-8").splitlines()
    (target / "estimates.csv").write_text("\n".join(ledger[:4]) + "\n")
    design = (target / "study.toml").read_text("utf-8")
    headless = re.sub(r"(?m)^\[headline\](?:\n|.)*?(?=^\[)", "", design)  # its rows are cut off
    assert headless != design
    (target / "study.toml").write_text(headless, "utf-8")
    (target / "transition_facts.csv").write_text(facts)
    (target / "status_counts.csv").write_text(counts)
    if toml:
        old, new = toml.split(" => ")
        text = (target / "study.toml").read_text("utf-8")
        assert old in text
        (target / "study.toml").write_text(text.replace(old, new), "utf-8")
    return load_study(target)


def test_a_group_has_the_size_that_its_counts_print(tmp_path: Path) -> None:
    known = pair_facts(study(tmp_path))
    tables = table_set(known.facts, HER2, ("hr_status",))
    assert tables.names == ["positive", "negative"]
    for seed in range(5):
        group = extreme_table(tables, np.random.default_rng(seed))[0]
        assert group.sum() == 63
        np.testing.assert_array_equal(group.sum(axis=0), [13, 35, 15])
    text = "the counts by hr_status in status_counts.csv bound the tables too"
    assert any(note.startswith(text) and "hold exactly" in note for note in known.notes)


def test_without_counts_the_levels_of_study_toml_are_strata(tmp_path: Path) -> None:
    """One level alone would have to be all 200 patients, and 19 is not 57."""
    known = pair_facts(study(tmp_path, COUNTS[: COUNTS.index("hr_status")]))
    tables = table_set(known.facts, HER2, ("hr_status",))
    assert tables.names == ["positive", "negative"]
    assert conflict(tables) == ()


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["Dirichlet(1/2, ..., 1/2)", "logistic-normal"])
def test_the_printed_share_of_a_group_comes_out(tmp_path: Path, rows: str) -> None:
    """19 of 63 is 30.2 %; without the 63 it came out as 36.3 %, and as 35.0 (15.5-92.1)."""
    known = pair_facts(study(tmp_path))
    found = estimates.analyse(
        known.facts,
        HER2,
        estimates.Specification(
            by=("hr_status",),
            rows={rows: estimates.row_priors(3)[rows]},
            sampling=Sampling(draws=400, tune=400, chains=2),
        ),
    )
    _, analysis = found.analyses
    table = analysis.fit.posterior["table"].sel(stratum="positive", drop=True)
    size = table.sum(("her2_primary", "her2"))
    assert set(np.unique(size)) == {63}
    same = sum(table.sel(her2_primary=k, her2=k, drop=True) for k in HER2)
    assert set(np.unique(size - same)) == {19}
    row = derived_rows(analysis.matrices[0])[0]
    assert row["estimand"] == "discordance[| hr_status=positive]"
    assert row["posterior_lower"] < 100 * 19 / 63 < row["posterior_upper"]
    assert row["posterior_median"] == pytest.approx(100 * 19 / 63, abs=4)


def test_more_patients_with_a_status_than_pairs_are_upper_limits(tmp_path: Path) -> None:
    known = pair_facts(study(tmp_path, COUNTS.replace("low,55", "low,75")))
    added = known.facts[known.facts["factor"] == "hr_status"].iloc[1:]
    assert set(added["relation"]) == {"<="}
    assert any("upper limits" in note for note in known.notes)
    assert conflict(table_set(known.facts, HER2, ("hr_status",))) == ()


def test_counts_of_fewer_patients_than_pairs_are_named_not_used(tmp_path: Path) -> None:
    known = pair_facts(study(tmp_path, COUNTS.replace("low,55", "low,45")))
    assert any("cover 190 of 200 pairs and are not used" in note for note in known.notes)
    assert not known.facts["fact_id"].str.startswith("status_counts.hr_status").any()


def test_patients_of_unknown_level_are_a_group_of_their_own(tmp_path: Path) -> None:
    levels = 'levels = ["positive", "negative"]'
    known = pair_facts(
        study(tmp_path, COUNTS.replace("low,55", "low,45"),
              toml=f'{levels} => {levels}\nunknown = ["not stated"]')
    )  # fmt: skip
    tables = table_set(known.facts, HER2, ("hr_status",))
    assert tables.names == ["positive", "negative", "not stated"]
    assert conflict(tables) == ()


def test_counts_that_contradict_the_facts_are_named_not_used(tmp_path: Path) -> None:
    facts = FACTS + "hr_positive.n,hr_status,positive,*->*,=,70,,Results,\n"
    known = pair_facts(study(tmp_path, facts=facts))
    assert any("contradict the printed facts and are not used" in note for note in known.notes)
    assert conflict(table_set(known.facts, HER2, ("hr_status",))) == ()


def test_counts_by_the_primary_class_are_cells_of_the_table(tmp_path: Path) -> None:
    more = "".join(
        f"her2_primary,{start},{end},{n},Table 2\n"
        for start, row in zip(HER2, ((30, 20, 10), (15, 63, 2), (5, 7, 48)), strict=True)
        for end, n in zip(HER2, row, strict=True)
    )
    facts = FACTS.replace("off_diagonal,=,57", "off_diagonal,=,59")
    known = pair_facts(study(tmp_path, COUNTS + more, facts))
    low, high = cell_bounds(table_set(known.facts, HER2))
    np.testing.assert_array_equal(low, high)
    np.testing.assert_array_equal(low[0], [[30, 20, 10], [15, 63, 2], [5, 7, 48]])


def test_shi_prints_its_counts_among_the_facts_already() -> None:
    shi = load_study(study_folder("shi2023"))
    known = pair_facts(shi)
    assert known.notes == ()
    assert list(known.facts["fact_id"]) == list(shi.transition_facts["fact_id"])


SUBGROUPS = """n,,,*->*,=,200,,Results,
hr_positive.n,hr_status,positive,*->*,=,120,,Results,
hr_negative.n,hr_status,negative,*->*,=,80,,Results,
a,hr_status,positive,zero->low,=,12,,Results,
b,hr_status,negative,zero->low,=,8,,Results,
c,hr_status,positive,low->low,=,50,,Results,
"""


def test_tables_of_subgroups_that_are_all_pairs_add_up(tmp_path):
    facts = FACTS.splitlines()[0] + "\n" + SUBGROUPS
    known = pair_facts(study(tmp_path / "a", COUNTS.splitlines()[0] + "\n,,zero,50,T\n,,low,90,T\n"
                             ",,positive,60,T\n", facts))  # fmt: skip
    sums = known.facts[known.facts["fact_id"].str.startswith("sum.")]
    assert sums[["factor", "cells", "value"]].to_numpy().tolist() == [["", "zero->low", 20]]
    assert "add up to all 200 pairs" in " ".join(known.notes)
    # part of the pairs, or a level whose size is not printed: no sum
    fewer = facts.replace("negative,*->*,=,80", "negative,*->*,=,79")
    for name, text in (("b", fewer), ("c", facts.replace("hr_negative.n", "#hr_negative.n"))):
        rows = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
        found = pair_facts(study(tmp_path / name, COUNTS.splitlines()[0] + "\n", rows + "\n")).facts
        assert not found["fact_id"].str.startswith("sum.").any()


def test_complete_tables_of_subgroups_fix_that_of_all_patients():
    paper = load_study("hr2x2_137")
    known = pair_facts(paper)
    tables = table_set(known.facts, ("negative", "positive"))
    low, high = cell_bounds(tables)
    assert low.tolist() == high.tolist() == [[[100, 12], [2, 23]]]

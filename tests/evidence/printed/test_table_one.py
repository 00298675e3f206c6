"""A Table 1 as printed becomes a study: levels, counts, what percentages are of, P values."""

from __future__ import annotations

from pathlib import Path

import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence.printed.count_tables import NOT_GIVEN, TableOne
from her2bayes.evidence.printed.study import Study, load_study, published_folder, write_skeleton

COLUMNS = "factor,level,all,zero,low,positive,p\n"
ALL = ",,200,50 (25.0),90 (45.0),60 (30.0),\n"


def study_of(text: str, folder: Path, name: str = "smith2024") -> Study:
    file = folder / "table1.csv"
    file.write_text(text, encoding="utf-8")
    return load_study(write_skeleton(name, folder, TableOne.read(file, "Table 1").files(name)))


def test_percentages_of_columns(tmp_path):
    found = study_of(
        COLUMNS + ALL + "hr_status: Receptors,positive,120,24 (48.0),66 (73.3),30 (50.0),0.002\n"
        ",negative,80,26 (52.0),24 (26.7),30 (50.0),\n",
        tmp_path,
    )
    rows = found.ledger.set_index("estimand")
    row = rows.loc["share[hr_status=positive | her2=low]"]
    assert (row["value"], row["numerator"], row["denominator"]) == ("73.3", 66, 90)
    assert rows.loc["share[her2=low]", "denominator"] == 200
    assert rows.loc["count[| hr_status=positive]", "value_number"] == 120
    assert rows.loc["association[her2 ; hr_status]", "p_number"] == 0.002
    assert found.factors["hr_status"].label == "Receptors"
    assert found.meta["patients"] == 200
    assert found.status_counts()["hr_status"].sel(subgroup="negative").values.tolist() == [
        26, 24, 30,
    ]  # fmt: skip


def test_percentages_of_rows(tmp_path):
    found = study_of(
        "factor,level,zero,low,positive\n,,50,90,60\n"
        "Hormone receptors,positive,24 (20.0),66 (55.0),30 (25.0)\n"
        "Hormone receptors,negative,26 (32.5),24 (30.0),30 (37.5)\n",
        tmp_path,
    )
    row = found.ledger.set_index("estimand").loc["share[her2=low | hormone_receptors=positive]"]
    assert (row["value"], row["denominator"]) == ("55.0", 120)


def test_levels_outside_the_table(tmp_path):
    found = study_of(
        "factor,level,zero,low\n,,50,90\nAge,<=60,20,40\n,>60,20,40\n,missing,10,10\n"
        "Grade,1-2,20,\n,3,20,50\n2nd site,>=1,50,80\n",
        tmp_path,
    )
    assert found.factors["age"].levels == ("≤60", ">60")
    assert found.factors["age"].unknown == ("missing",)
    assert found.factors["grade"].unknown == (NOT_GIVEN,)
    counts = found.status_counts()
    assert list(counts["age"]["level"].values) == ["≤60", ">60"]
    # a level with a cell that is not printed has only its other cells, in the ledger
    assert list(counts["grade"]["level"].values) == ["3"]
    asked = list(found.ledger["estimand"])
    assert "count[her2=zero | grade=1-2]" in asked
    assert "count[her2=zero | age=missing]" in asked
    assert found.factors["f_2nd_site"].levels == ("≥1",)


def test_pairs_that_changed_and_where_each_row_is_printed(tmp_path):
    found = study_of(
        "factor,level,zero,low,all,locator\n,,,,127,Abstract\n"
        "her2_primary,zero,,34 (61.8),55,\n,low,,,72,\n,off_diagonal,,,63 (49.6),Results\n"
        ",diagonal,,,64,Results\n",
        tmp_path,
    )
    facts = found.tables["transition_facts.csv"].set_index("cells")
    assert facts.loc[["off_diagonal", "diagonal"], "value"].tolist() == [63, 64]
    assert facts.loc["off_diagonal", "locator"] == "Results"
    assert facts.loc["zero->low", "locator"] == "Table 1"
    row = found.ledger.set_index("estimand").loc["discordance[]"]
    assert (row["value"], row["numerator"], row["denominator"]) == ("49.6", 63, 127)
    assert found.factors["her2_primary"].levels == ("zero", "low")
    assert found.meta["patients"] == 127


def test_a_total_that_is_not_printed_and_a_missing_citation_are_said(tmp_path):
    found = study_of("factor,level,zero,low\nAge,old,20,40\n,young,20,40\n", tmp_path)
    design = (found.folder / "study.toml").read_text(encoding="utf-8")
    assert "patients = 120  # the sum over Age: not printed" in design
    assert "no citation" in str(found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("factor,level,zero\n,,50\n", "no table of HER2 classes"),
        ("factor,zero,low\n,5,6\n", "column is missing"),
        ("factor,level,zero,low\nher2_primary,diagonal,5,\n", "have no one class"),
        ("factor,level,zero,low\n,,41 7042,<11\n", "not a count"),
        ('factor,level,zero,low\n,,5,6\nA,"a,b",5,6\n', "a level cannot be named so"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, told):
    with pytest.raises(BadInput, match=told):
        study_of(text, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["table1.csv"]


def test_the_table_of_a_shipped_study_comes_back(tmp_path):
    """Counts of a paper's Table 1, written out and read again."""
    shipped = load_study(published_folder() / "lacruz2025_women")
    lines = ["factor,level,zero,low,positive"]
    for factor, table in shipped.status_counts().items():
        name = factor and f"{factor}: {shipped.factors[factor].label}"
        for i, level in enumerate(table["level"].values):
            lines.append(",".join([name, level, *map(str, table[i].values)]))
    found = study_of("\n".join(lines), tmp_path)
    for factor, table in shipped.status_counts().items():
        assert found.status_counts()[factor].equals(table)


def test_a_table_of_pairs(tmp_path):
    """Cells that are not printed stay open: arithmetic fills them from the margins."""
    found = study_of(
        "factor,level,all,0,1+,2+\nher2_primary: Before,0,103,,47 (45.6),9 (8.7)\n"
        ",1+,256,36 (14.1),,58 (22.7)\n",
        tmp_path,
    )
    facts = found.transition_facts.set_index("cells")["value"]
    assert facts.to_dict() == {
        "0->*": 103, "0->1+": 47, "0->2+": 9, "1+->*": 256, "1+->0": 36, "1+->2+": 58,
    }  # fmt: skip
    assert "status_counts.csv" not in {path.name for path in found.folder.iterdir()}
    row = found.ledger.set_index("estimand").loc["transition[0 -> 1+]"]
    assert (row["value"], row["numerator"], row["denominator"]) == ("45.6", 47, 103)
    assert found.factors["her2_primary"].levels == ("0", "1+")
    assert found.meta["patients"] == 359

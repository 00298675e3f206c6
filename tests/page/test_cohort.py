"""The cohort section and the classical side, from the counts of a paper."""

from __future__ import annotations

import pytest

from her2bayes.distribution.classical import classical_rows
from her2bayes.evidence.printed.study import load_study, published_folder
from her2bayes.page.cohort import cohort_section


@pytest.fixture(scope="module")
def shi():
    return load_study(published_folder() / "shi2023")


def test_tables_of_the_same_patients_are_named_as_such(shi) -> None:
    section = cohort_section(shi)
    assert "never multiplied into one likelihood" in section.paragraphs[0]
    table = section.tables[0].frame.set_index("Table")
    assert table.loc["All patients", "HER2-low"] == 127
    ki67 = next(label for label in table.index if label.startswith("Ki-67"))
    assert table.loc[ki67, "Outside the table"] == "29 of 247"


def test_a_paper_without_tables_of_her2_status_has_a_cohort_section() -> None:
    section = cohort_section(load_study(published_folder() / "ni2025"))
    assert "64 patients" in section.paragraphs[0]
    assert "Responses as printed" in [table.title for table in section.tables]


def test_follow_up_shows_medians_as_printed_and_no_empty_column(shi) -> None:
    def follow_up(study):
        tables = {table.title: table.frame for table in cohort_section(study).tables}
        return tables["Follow-up as printed"]

    assert list(follow_up(shi)) == ["Endpoint", "Group", "Patients", "Events"]
    ni = follow_up(load_study(published_folder() / "ni2025"))
    assert list(ni["Median, months (95 % CI)"])[:3] == ["5.0 (3.6–6.4)", "14.9 (12.5–17.3)", "6.0"]
    assert not ni.map(lambda cell: "nan" in cell.lower()).any(axis=None)


def test_named_intervals_of_shares_and_differences(shi) -> None:
    counts = shi.status_counts()
    difference = "share_difference[her2=low ; hr_status: positive vs negative]"
    rows = classical_rows(counts, ["share[her2=low]", difference]).set_index("estimand")
    # R 4.2.2: 100 * prop.test(127, 247, correct = FALSE)$conf.int
    assert rows.loc["share[her2=low]", "reproduced_lower"] == pytest.approx(45.21020, abs=1e-4)
    assert rows.loc["share[her2=low]", "reproduced_upper"] == pytest.approx(57.58040, abs=1e-4)
    # R 4.2.2: 100 * (92/135 - 35/112)
    assert rows.loc[difference, "reproduced"] == pytest.approx(36.89815, abs=1e-4)
    assert "Newcombe" in rows.loc[difference, "method"]


def test_cramers_v_for_each_factor_with_its_caveat(shi) -> None:
    rows = classical_rows(shi.status_counts(), [])
    assert len(rows) == 6
    assert set(rows["statistic"]) == {"cramers_v"}
    assert rows["note"].str.contains("biased upwards").all()
    inside = rows["reproduced"].between(rows["reproduced_lower"], rows["reproduced_upper"])
    assert inside.all()  # V without correction was 0.11 with the interval 0.00 to 0.02
    assert rows["method"].str.startswith("Cramér's V, bias-corrected (Bergsma 2013)").all()


@pytest.mark.parametrize(
    "estimand",
    [
        "share[her2=low | hr_status=unknown]",
        "share[her2=low | her2_primary=low]",
        "share[her2=low | hr_status=positive, age=≤50]",
        "share[ki67=≤30]",
        "share_difference[her2=low | age=≤50 ; hr_status: positive vs negative]",
        "hazard_ratio[bcss ; her2: positive vs low]",
    ],
)
def test_what_the_counts_do_not_determine_is_left_out(shi, estimand: str) -> None:
    counts = {"": shi.status_counts()[""], "hr_status": shi.status_counts()["hr_status"]}
    assert estimand not in set(classical_rows(counts, [estimand])["estimand"])

"""The cohort section and the classical side, from the counts of a paper."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from her2bayes.distribution.classical import classical_rows
from her2bayes.evidence.printed.study import load_study, published_folder
from her2bayes.page.cohort import (
    cohort_section,
    flow_figure,
    largest_difference,
    left_out_flow,
    table_one,
)
from her2bayes.page.numbers import SPACE


@pytest.fixture(scope="module")
def shi():
    return load_study(published_folder() / "shi2023")


def test_tables_of_the_same_patients_are_named_as_such(shi) -> None:
    section = cohort_section(shi)
    assert "never multiplied into one likelihood" in section.paragraphs[0]
    table = section.tables[1].frame.set_index("Table")
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


def test_table_one_by_hand(shi) -> None:
    """n, %, missing of the paper; P of scipy's test; standardised difference of two levels.

    That of p and q is |p - q| / sqrt((p (1 - p) + q (1 - q)) / 2), the largest over three pairs.
    """
    counts = shi.status_counts()
    table = table_one(counts, {"hr_status": "Hormone receptors"}).frame
    named = table["Characteristic"].replace("", None).ffill()
    mine = table[named == "Hormone receptors"].set_index("Level")
    hr = counts["hr_status"].to_numpy().astype(int)
    assert stats.chi2_contingency(hr, correction=False).pvalue < 0.0001
    assert mine["P"].iloc[0] == "<0.0001"
    assert mine["Test"].iloc[0] == "Pearson chi-square"
    assert mine.loc["positive", f"HER2-low, n{SPACE}={SPACE}127"] == "92 (72.4 %)"
    shares = hr[0] / hr.sum(axis=0)
    pairs = [(p, q) for k, p in enumerate(shares) for q in shares[k + 1 :]]
    expected = max(abs(p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / 2) for p, q in pairs)
    assert float(mine["Std. difference"].iloc[0]) == pytest.approx(expected, abs=0.005)
    ki67 = table[named == "ki67"].set_index("Level")
    assert ki67.loc["missing", f"All, n{SPACE}={SPACE}247"].startswith("29 ")


def test_small_expected_counts_are_tested_exactly() -> None:
    """R 4.2.2: fisher.test(matrix(c(3, 1, 1, 3), 2))$p.value -> 0.4857143"""
    table = xr.DataArray(
        [[3, 1], [1, 3]], dims=("subgroup", "her2"),
        coords={"her2": ["low", "positive"], "level": ("subgroup", ["a", "b"])},
    )  # fmt: skip
    frame = table_one({"x": table}, {}).frame
    assert frame["Test"].iloc[0] == "Fisher exact"
    assert frame["P"].iloc[0] == "0.486"


def test_factors_of_different_patients_have_no_common_number() -> None:
    def table(counts: list[list[int]]) -> xr.DataArray:
        coords = {"her2": ["low", "positive"], "level": ("subgroup", ["a", "b"])}
        return xr.DataArray(counts, dims=("subgroup", "her2"), coords=coords)

    some, more = table([[30, 10], [10, 30]]), table([[40, 20], [20, 40]])
    assert f"All, n{SPACE}={SPACE}80" in table_one({"x": some, "y": some}, {}).frame
    assert {"HER2-low", "All"} <= set(table_one({"x": some, "y": more}, {}).frame)


def test_standardised_difference_of_three_levels_is_a_mahalanobis_distance() -> None:
    """Any level may be left out: the distance is the same; equal columns are 0 apart."""
    counts = np.array([[10, 30], [25, 20], [15, 10]])
    first = largest_difference(counts)
    assert first == pytest.approx(largest_difference(counts[::-1]), rel=1e-9)
    assert first > 0.5
    assert largest_difference(np.array([[5, 10], [5, 10]])) == pytest.approx(0.0, abs=1e-12)


def test_flow_says_who_was_set_aside_and_why() -> None:
    flow = pd.DataFrame(
        [
            ("rows", "primary sample", "kept", 1756, 1918),
            ("rows", "another sample <of> the patient", "set aside", 162, 1918),
            ("patients", "primary and recurrence", "kept", 905, 1756),
            ("patients", "primary only", "set aside", 851, 1756),
            ("factor age", ">50", "kept", 953, 1756),
            ("pairs", "one class at both ends", "kept", 763, 905),
            ("pairs", "unknown at one end", "kept", 134, 905),
            ("pairs", "unknown at both ends", "set aside", 8, 905),
        ],
        columns=["stage", "rule", "outcome", "count", "of"],
    )
    figure = flow_figure(flow)
    assert figure.alt == (
        "Rows: 1,918 (set aside: 162: another sample <of> the patient); Patients: 1,756 (set "
        "aside: 851: primary only); Pairs of tissues: 905 (set aside: 8: unknown at both ends); "
        "Analysed: 897."
    )
    for text in ("Rows: 1,918", "851: primary only", "Analysed: 897", "&lt;of&gt;"):
        assert text in figure.svg


def test_flow_of_rows_left_out_adds_up() -> None:
    flow = left_out_flow(90, {"time is 0": 7, "no event": 3})
    assert set(flow["of"]) == {100}
    assert "Analysed: 90" in flow_figure(flow).alt


def test_numbers_of_patients_are_described_by_class() -> None:
    import her2bayes as hb
    from her2bayes.distribution.cells import contracts, one_level

    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "her2": np.repeat(["zero", "low", "positive"], [40, 50, 30]),
            "age": rng.normal(55, 12, 120).round(),
            "ki67": rng.integers(1, 90, 120).astype(float),
        }
    )
    frame.loc[:3, "ki67"] = np.nan
    cells, who = contracts(
        hb.read_patients(frame, her2="her2"), (), classes=None, end="", describe=("age", "ki67")
    )
    table = table_one({"": one_level(cells, "")}, {}, described=who.described)
    rows = table.frame
    assert list(rows["Level"]) == ["median (IQR)", "range", "median (IQR)", "range", "missing"]
    of_class = dict(iter(frame.groupby("her2")["age"]))
    zero = f"HER2-zero, n{SPACE}={SPACE}40"
    quartiles = np.quantile(of_class["zero"], [0.25, 0.5, 0.75])
    assert rows[zero][0] == "{1:.3g} ({0:.3g} to {2:.3g})".format(*quartiles)
    assert rows[f"All, n{SPACE}={SPACE}120"][1] == f"{frame.age.min():.0f} to {frame.age.max():.0f}"
    assert rows[zero][4] == "4 (10.0 %)"
    p = stats.kruskal(*of_class.values()).pvalue
    assert float(rows["P"][0]) == pytest.approx(p, abs=5e-4)
    means, spreads = ([getattr(one, what)() for one in of_class.values()] for what in
                      ("mean", "var"))  # fmt: skip
    gaps = [
        abs(means[i] - means[j]) / np.sqrt((spreads[i] + spreads[j]) / 2)
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    assert float(rows["Std. difference"][0]) == pytest.approx(max(gaps), abs=5e-3)
    assert "Kruskal-Wallis" in table.caption


def test_what_is_no_number_and_what_are_no_patients_is_not_described() -> None:
    import her2bayes as hb

    frame = pd.DataFrame({"her2": ["zero", "low", "positive"], "age": ["50", "old", ""]})
    with pytest.raises(hb.BadInput, match=r"row 3, column 'age'.*found 'old'"):
        hb.fit_distribution(hb.read_patients(frame, her2="her2"), describe="age")
    with pytest.raises(hb.BadInput, match="only patients"):
        hb.fit_distribution(hb.load_study("shi2023"), describe="age")

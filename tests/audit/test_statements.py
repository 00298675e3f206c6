"""P values, hazard-ratio rows, medians, repeats and words of small invented papers."""

import pytest

from her2bayes.audit.audit import audit


def rows_of(study):
    return audit(study).rows.set_index("claim_id")


@pytest.fixture
def two_by_two(printed):
    """12 of 20 women and 5 of 20 men answered."""
    return [
        printed.share("w", "response_rate[orr | sex=women]", 12, 20, "60.0"),
        printed.share("m", "response_rate[orr | sex=men]", 5, 20, "25.0"),
    ]


def compared(printed, p):
    estimand = "response_rate_difference[orr ; sex: women vs men]"
    return printed.row("p", estimand, "p_value", p_value=p)


@pytest.mark.parametrize(
    ("p", "verdict", "method"),
    [
        ("0.025", "reproduces", "Pearson chi-square"),  # chisq.test(m, correct = FALSE): 0.0252
        ("0.0546", "differs", "Pearson chi-square"),
    ],
)
def test_stated_test(make, printed, two_by_two, p, verdict, method):
    found = rows_of(make([*two_by_two, compared(printed, p)])).loc["p"]
    assert (found["verdict"], found["method"]) == (verdict, method)


def test_other_variant_is_named(make, printed, two_by_two):
    # chisq.test(matrix(c(12, 5, 8, 15), 2))$p.value = 0.05497 (Yates); fisher.test: 0.05355
    found = rows_of(make([*two_by_two, compared(printed, "0.055")])).loc["p"]
    assert found["verdict"] == "method"
    assert "Yates" in found["method"]
    found = rows_of(make([*two_by_two, compared(printed, "0.0536")])).loc["p"]
    assert (found["verdict"], found["method"]) == ("method", "Fisher exact")


def test_missing_counts_are_named(make, printed, two_by_two):
    found = rows_of(make([two_by_two[0], compared(printed, "0.03")])).loc["p"]
    assert found["verdict"] == "not_checkable"
    assert "'Sex: men'" in found["note"]


def test_continuous_measure_needs_patients(make, printed):
    found = rows_of(make([printed.row("p", "association[age ; her2]", "p_value", p_value="0.27")]))
    assert found.loc["p", "verdict"] == "not_checkable"


HR = "hazard_ratio[os ; sex: women vs men]"


def ratio(printed, claim_id="hr", **columns):
    known = {"value": "0.59", "lower": "0.42", "upper": "0.82", "p_value": "0.0018"}
    return printed.row(claim_id, HR, "hazard_ratio", **(known | columns))


def test_consistent_triplet(make, printed):
    found = rows_of(make([ratio(printed)])).loc["hr"]
    assert found["verdict"] == "reproduces"
    assert found["reproduced"] == pytest.approx((0.42 * 0.82) ** 0.5)


def test_interval_that_denies_its_p_is_a_finding(make, printed):
    # lung by histology: SE from 1/E makes such triplets; without patients nothing else explains it
    rows = [
        ratio(printed, value="2.57", lower="0.97", upper="6.82", p_value="0.004"),
        printed.row("w", HR, "significant", value="1", text="shorter"),
    ]
    result = audit(make(rows))
    found = result.rows.set_index("claim_id")
    assert found.loc["hr", "verdict"] in {"method", "inconsistent"}
    assert found.loc["w", "verdict"] == "inconsistent"
    assert found.loc["w", "contradicts"] == "hr"
    finding = result.findings[result.findings["kind"] == "CI–P inconsistency"].iloc[0]
    assert finding["claim_ids"].split() == ["hr", "w"]
    assert "includes 1" in finding["sentence"]


def test_asymmetric_interval_differs(make, printed):
    found = rows_of(make([ratio(printed, upper="0.92")])).loc["hr"]
    assert found["verdict"] == "differs"
    assert "without the upper bound" in found["note"]


def test_p_printed_apart_is_checked_by_the_interval(make, printed):
    apart = printed.row("p", HR, "p_value", p_value="0.002", locator="Abstract")
    assert rows_of(make([ratio(printed), apart])).loc["p", "verdict"] == "reproduces"
    wrong = printed.row("p", HR, "p_value", p_value="0.020", locator="Abstract")
    found = rows_of(make([ratio(printed), wrong]))
    assert found.loc["p", "verdict"] == "inconsistent"
    assert found.loc["hr", "verdict"] == "reproduces"


def test_same_p_printed_twice(make, printed):
    estimand = "survival_difference[os ; her2]"
    rows = [
        printed.row("a", estimand, "p_value", p_value="0.0037", locator="Abstract"),
        printed.row("b", estimand, "p_value", p_value="0.0039", locator="Results"),
    ]
    result = audit(make(rows))
    assert set(result.rows["verdict"]) == {"inconsistent"}
    assert result.findings["sentence"].iloc[0].startswith("Abstract prints P = 0.0037 but Results")
    rows[1]["p_value"] = "0.004"  # fewer digits, no contradiction
    assert set(audit(make(rows)).rows["verdict"]) == {"not_checkable"}


def test_words_break_a_tie_of_p_values(make, printed):
    estimand = "survival_difference[os ; her2]"
    rows = [
        printed.row("a", estimand, "p_value", p_value="0.0037", locator="Abstract"),
        printed.row("b", estimand, "p_value", p_value="0.37", locator="Results"),
        printed.row("w", estimand, "significant", value="1", text="significant"),
    ]
    found = rows_of(make(rows))["verdict"]
    assert found["b"] == "inconsistent"
    assert found["w"] == "reproduces"


def test_words_against_counts(make, printed, two_by_two):
    rows = [
        printed.share("w", "response_rate[orr | sex=women]", 13, 32, "40.6"),
        printed.share("m", "response_rate[orr | sex=men]", 10, 32, "31.2"),
        printed.row(
            "said",
            "response_rate_difference[orr ; sex: women vs men]",
            "significant",
            value="1",
            text="higher",
        ),
    ]
    found = rows_of(make(rows)).loc["said"]
    assert found["verdict"] == "inconsistent"
    assert found["reproduced_p"] == pytest.approx(0.434, abs=1e-3)  # chisq.test(correct = FALSE)


def test_a_lone_p_against_several_statements(make, printed):
    estimand = "survival_difference[os ; her2]"
    words = [
        printed.row(f"w{k}", estimand, "significant", value="0", text="no difference")
        for k in range(3)
    ]
    found = rows_of(make([printed.row("p", estimand, "p_value", p_value="0.03"), *words]))
    assert found.loc["p", "verdict"] == "inconsistent"
    assert set(found.loc[["w0", "w1", "w2"], "verdict"]) == {"not_checkable"}


def test_median_in_the_wrong_bin(make, printed):
    rows = [
        printed.count("young", "count[| age=≤50]", 30),
        printed.count("old", "count[| age=>50]", 70),
        printed.row("good", "median[age | sex=men]", "median", value="57", unit="years"),
        printed.row("bad", "median[age]", "median", value="47", unit="years"),
    ]
    found = rows_of(make(rows))
    assert found.loc["bad", "verdict"] == "inconsistent"
    assert found.loc["bad", "contradicts"].split() == ["young", "old"]


def test_ranges_of_groups_make_the_range_of_all(make, printed):
    def ages(claim_id, given, value, lower, upper):
        return printed.row(
            claim_id, f"median[age{given}]", "median_range", value=value, lower=lower, upper=upper
        )

    rows = [
        ages("all", "", "54", "26", "93"),
        ages("again", "", "54", "26", "93"),
        ages("w", " | sex=women", "54", "26", "99"),
        ages("m", " | sex=men", "54", "30", "93"),
    ]
    found = rows_of(make(rows))
    assert found.loc["w", "verdict"] == "inconsistent"
    assert found.loc["all", "verdict"] == "not_checkable"


def test_median_outside_its_interval(make, printed):
    row = printed.row("a", "median[os]", "median_ci", value="9.0", lower="3.6", upper="6.4")
    assert rows_of(make([row])).loc["a", "verdict"] == "inconsistent"


def test_hazard_ratio_against_medians(make, printed):
    rows = [
        ratio(printed),
        printed.row("a", "median[os | sex=women]", "median", value="10.0", unit="months"),
        printed.row("b", "median[os | sex=men]", "median", value="12.0", unit="months"),
    ]
    assert "direction" in set(audit(make(rows)).findings["kind"])


@pytest.mark.parametrize(
    ("p", "verdict"),
    [("0.0021", "not_checkable"), ("0.0012", "not_checkable"), ("0.21", "inconsistent")],
)
def test_log_rank_p_beside_the_hazard_ratio_of_the_same_groups(make, printed, p, verdict):
    curves = printed.row("c", "survival_difference[os ; sex: women vs men]", "p_value", p_value=p)
    assert rows_of(make([ratio(printed), curves])).loc["c", "verdict"] == verdict


BY_SEX = "survival_difference[os | sex={} ; her2]"


def subgroups(printed, text="only in", men="0"):
    return [
        printed.row("w", BY_SEX.format("women"), "significant", value="1", text=text),
        printed.row("m", BY_SEX.format("men"), "significant", value=men, text=text),
    ]


def test_a_difference_in_some_subgroups_only_is_a_finding_without_a_test_between_them(
    make, printed
):
    found = audit(make(subgroups(printed))).findings
    (row,) = found[found["kind"] == "subgroup"].to_dict("records")
    assert row["claim_ids"].split() == ["w", "m"]
    assert "no test that does is printed" in row["sentence"]
    between = printed.row(
        "i",
        "hazard_ratio_ratio[os, her2: zero vs low ; sex: women vs men]",
        "p_value",
        p_value="0.30",
    )
    for rows in (
        subgroups(printed, text="seen in"),
        subgroups(printed, men="1"),
        [*subgroups(printed), between],
    ):
        assert "subgroup" not in set(audit(make(rows)).findings["kind"])

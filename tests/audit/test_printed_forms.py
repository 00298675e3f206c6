"""Numbers as papers print them, from the cell to the audit, the evidence table and the page."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scipy import stats

from her2bayes.audit.audit import audit, evidence_rows
from her2bayes.audit.claims import counted, quantities
from her2bayes.errors import BadInput
from her2bayes.page import section_view as evidence_view
from her2bayes.page.cohort import cohort_section

COUNTS = "factor,level,her2,count,locator\n,,zero,15,T1\n,,low,400,T1\n,,positive,5,T1\n"


def verdicts(study):
    result = audit(study)
    return dict(result.rows.set_index("claim_id")["verdict"]), result


def shown(study):
    """Published column of the page by claim."""
    table = evidence_rows(study, audit(study))
    return {row["claim_id"]: row["published"] for row in evidence_view.rows(table)}


@pytest.mark.parametrize(
    "p",
    ["5.81e-48", "5.81 × 10−48", "5.81 x 10-48", "≪0.0001", "<<0.0001", "0,04", "p<0.001", "0.04*",
     ".04", "P=0.04", "0·04", "<10⁻⁵", "≤0.05"],
)  # fmt: skip
def test_p_as_printed_is_compared_with_the_counts(make, printed, p):
    # R 4.5: chisq.test(matrix(c(5, 10, 100, 305), 2), correct = FALSE)$p.value = 0.448...
    assert round(stats.chi2_contingency([[5, 100], [10, 305]], correction=False).pvalue, 3) == 0.448
    text = f"P {p}"
    # the column of relations holds its default although P carries its own
    row = printed.row("p", "association[death ; sex]", "p_value", p_value=p, text=text)
    study = make([*deaths(printed, 5, 10), {**row, "relation": "="}], patients=420)
    found, result = verdicts(study)
    assert found["p"] == "differs"
    assert "P 0.448" in result.findings["sentence"].iloc[0]
    assert shown(study)["p"] == text


def deaths(printed, women, men):
    return [
        printed.share("w", "share[death=yes | sex=women]", women, 105, f"{women / 1.05:.1f}"),
        printed.share("m", "share[death=yes | sex=men]", men, 315, f"{men / 3.15:.1f}"),
    ]


def test_a_tiny_p_is_not_another_tiny_p(make, printed):
    row = printed.row("p", "association[death ; sex]", "p_value", p_value="5.81e-90")
    assert verdicts(make([*deaths(printed, 100, 10), row], patients=420))[0]["p"] == "differs"


def test_a_statement_of_no_significance_is_asked_about(make, printed):
    rows = [printed.row("p", "association[her2 ; sex]", "p_value", p_value="ns")]
    with pytest.raises(BadInput, match="statistic = significant and value = 0"):
        make(rows)


MEDIANS = [  # value, lower, upper, text, shown
    ("NR", "12.3", "NE", "NR (12.3–NE)", "NR (12.3–NE)"),
    ("", "12.3", "", "NR (12.3–NE)", "NR (12.3–NE)"),
    ("not reached", "12.3", "–", "", "not reached (12.3––)"),
    ("n.r.", "", "", "n.r.", "n.r."),
    ("NE", "NE", "NE", "NE (NE–NE)", "NE (NE–NE)"),
    ("-", "12.3", "-", "- (12.3 to -)", "- (12.3 to -)"),
    (">36", "12.3", ">36", ">36 (12.3–>36)", ">36 (12.3–>36)"),
    ("18.2", "12.3", "NE", "18.2 (12.3–NE)", "18.2 (12.3–NE)"),
    ("18.2", "12.3", "", "18.2 (12.3–)", "18.2 (12.3–)"),
    ("18·2", "12·3", "NR", "18·2 (12·3–NR)", "18·2 (12·3–NR)"),
]


@pytest.mark.parametrize(("value", "lower", "upper", "text", "page"), MEDIANS)
def test_medians_that_are_open_are_entered_as_printed(
    make, printed, value, lower, upper, text, page
):
    row = printed.row("m", "median[os]", "median_ci", value=value, lower=lower, upper=upper,
                      text=text, unit="months")  # fmt: skip
    study = make([row])
    assert study.remarks == ()
    assert verdicts(study)[0] == {"m": "not_checkable"}
    assert shown(study) == {"m": page}
    ledger = study.ledger.iloc[0]
    assert ledger["lower_number"] == 12.3 or lower in ("", "NE")
    assert ledger["upper_number"] != ledger["upper_number"]  # NaN: no number


@pytest.mark.parametrize(
    ("cells", "more"),
    [
        ({"value": "-"}, "not reached, or not printed"),
        ({"value": "NA"}, "not reached, or not printed"),
        ({"value": "", "text": "–"}, "not reached, or not printed"),
        ({"value": ""}, "NR where it is not reached"),
        ({"value": "18.2", "lower": "12.3", "text": "18.2 (12.3–25.1)"}, "the text prints two"),
        ({"value": "18.2", "upper": "25.1", "text": "18.2 (12.3 to 25.1)"}, "the text prints two"),
        ({"value": "1,234"}, "1234 or 1.234"),
    ],
)
def test_two_readings_are_asked_about(make, printed, cells, more):
    row = printed.row("m", "median[os]", "median_ci", unit="months", **cells)
    with pytest.raises(BadInput) as bad:
        make([row])
    (fault,) = bad.value.faults
    assert more in str(fault)


def test_not_reached_is_for_times_to_an_event(make, printed):
    row = printed.row("m", "median[age]", "median", value="NR", unit="years", text="NR")
    with pytest.raises(BadInput, match="medians of endpoints"):
        make([row])


SURVIVAL = "endpoint,factor,level,patients,events,median,median_lower,median_upper,locator\n"


def test_the_survival_table_shows_what_is_printed(make, printed):
    table = SURVIVAL + "os,,,100,30,NR,12.3,NE,Results\nos,sex,women,50,<11,18.2,12.3,,Results\n"
    study = make([printed.count("n", "count[]", 100)], survival=table)
    assert study.survival["median"].isna().tolist() == [True, False]
    page = cohort_section(study)
    (follow_up,) = [t for t in page.tables if t.title == "Follow-up as printed"]
    assert list(follow_up.frame.iloc[:, -1]) == ["NR (12.3–NE)", "18.2 (12.3–)"]
    assert list(follow_up.frame["Events"]) == ["30", "<11"]
    assert "row 3 prints <11" in str(page)


def test_a_median_not_reached_and_what_denies_it(make, printed):
    median = printed.row("m", "median[os]", "median", value="NR", unit="months", text="NR")
    deaths = SURVIVAL + "os,,,100,61,NR,,,Results\n"
    found, result = verdicts(make([median], survival=deaths))
    assert found["m"] == "inconsistent"
    assert "61 of 100 had the event, more than half" in " ".join(result.findings["sentence"])
    few = SURVIVAL + "os,,,100,49,NR,,,Results\n"
    assert verdicts(make([median], survival=few))[0]["m"] == "not_checkable"
    late = printed.row("s", "survival[os @ 3 years]", "percentage", value="41", text="41%")
    found, _ = verdicts(make([median, late], survival=few))
    assert found == {"m": "inconsistent", "s": "inconsistent"}
    high = printed.row("s", "survival[os @ 3 years]", "percentage", value="61", text="61%")
    assert set(verdicts(make([median, high], survival=few))[0].values()) == {"not_checkable"}
    twice = [median, printed.row("m2", "median[os]", "median", value="18.2", unit="months")]
    assert set(verdicts(make(twice, survival=few))[0].values()) == {"inconsistent"}


def test_a_median_outside_an_open_interval(make, printed):
    row = printed.row("m", "median[os]", "median_ci", value="11.2", lower="12.3", upper="NE",
                      unit="months", text="11.2 (12.3–NE)")  # fmt: skip
    assert verdicts(make([row]))[0] == {"m": "inconsistent"}


def test_the_longer_median_may_be_one_not_reached(make, printed):
    rows = [
        printed.row("hr", "hazard_ratio[os ; sex: women vs men]", "hazard_ratio", value="1.80",
                    lower="1.10", upper="2.95", text="1.80 (1.10–2.95)"),
        printed.row("w", "median[os | sex=women]", "median", value="NR", unit="months", text="NR"),
        printed.row("m", "median[os | sex=men]", "median", value="18.2", unit="months"),
    ]  # fmt: skip
    _, result = verdicts(make(rows))
    assert "the medians not reached and 18.2 point the other way" in " ".join(
        result.findings["sentence"]
    )


def percent(name, time, value):
    return {"claim_id": name, "locator": "T", "estimand": f"survival[os @ {time}]", "unit": "%",
            "statistic": "percentage", "value": value, "text": f"{value}%"}  # fmt: skip


@pytest.mark.parametrize(
    ("one", "two", "agree"),
    [
        (("30.2", "months"), ("2.5", "years"), True),  # 2.45-2.55 years = 29.4-30.6 months
        (("30.2", "months"), ("3.5", "years"), False),
        (("30.2", "months"), ("919", "days"), True),  # 919 / 30.4375 = 30.2
        (("30.2", "months"), ("700", "days"), False),
        (("30.2", "months"), ("131", "weeks"), True),  # 131 * 7 / 30.4375 = 30.1
        (("30.2", "months"), ("30.2", "month"), True),
        (("30.2", "months"), ("30.2", ""), True),  # the unit of the endpoint
    ],
)
def test_medians_are_compared_in_one_unit(make, printed, one, two, agree):
    rows = [
        printed.row(name, "median[os]", "median", value=value, unit=unit)
        for name, (value, unit) in {"a": one, "b": two}.items()
    ]
    found, _ = verdicts(make(rows))
    assert set(found.values()) == {"not_checkable" if agree else "inconsistent"}


def test_survival_at_a_time_is_compared_in_one_unit(make):
    found, _ = verdicts(make([percent("a", "12 months", "81"), percent("b", "1 years", "86")]))
    assert set(found.values()) == {"inconsistent"}
    found, _ = verdicts(make([percent("a", "12 months", "81"), percent("b", "1 years", "81")]))
    assert set(found.values()) == {"not_checkable"}
    found, _ = verdicts(make([percent("a", "12 months", "81"), percent("b", "2 years", "66")]))
    assert set(found.values()) == {"not_checkable"}


def test_the_survival_table_and_the_ledger_in_two_units(make, printed):
    row = printed.row("m", "median[os]", "median", value="2.5", unit="years")
    table = SURVIVAL + "os,,,100,60,{},,,Results\n"
    assert verdicts(make([row], survival=table.format("30.2")))[0]["m"] == "not_checkable"
    assert verdicts(make([row], survival=table.format("20.2")))[0]["m"] == "inconsistent"


@pytest.mark.parametrize(
    ("below", "rest", "consistent"),
    [("<11", 95, True), ("<11", 70, False), ("≤10", 90, True), ("≤10", 89, False),
     ("1–10", 95, True), ("1-10", 100, False), (">5", 95, False), (">4", 95, True)],
)  # fmt: skip
def test_counts_with_a_bound_are_intervals(make, printed, below, rest, consistent):
    rows = [
        printed.count("n", "count[]", 100),
        printed.row("few", "count[| sex=women]", "count", value=below, text=below),
        printed.count("rest", "count[| sex=men]", rest),
    ]
    study = make(rows)
    found, result = verdicts(study)
    assert ("inconsistent" in found.values()) != consistent
    assert (len(result.findings) == 0) == consistent
    assert shown(study)["few"] == below
    if consistent:
        assert found["few"] == "reproduces"


def test_a_bound_in_the_column_of_relations(make, printed):
    rows = [
        printed.count("n", "count[]", 300),
        {
            **printed.row("few", "count[| sex=women]", "count", value=11, text="<11"),
            "relation": "<",
        },
        printed.count("rest", "count[| sex=men]", 295),
    ]
    found, _ = verdicts(make(rows, patients=300))
    assert found["few"] == "reproduces"


def test_a_bound_in_a_table_is_audited_and_in_no_model(make, printed):
    table = "factor,level,her2,count,locator\n,,zero,<11,T1\n,,low,{},T1\n,,positive,0,T1\n"
    rows = [printed.count("n", "count[]", 300)]
    good = make(rows, patients=300, status_counts=table.format(292))
    assert good.status_counts() == {}
    assert len(audit(good).findings) == 0
    (remark,) = good.remarks
    assert (remark.row, remark.value) == (2, "<11")
    assert "0 to 10, no model uses it" in remark.problem
    bad = make(rows, patients=300, status_counts=table.format(270))
    assert "270" in audit(bad).findings["sentence"].iloc[0]


def test_the_middle_dot_of_the_lancet(make, printed):
    text = "hazard ratio 0·80 (95% CI 0·66–0·98)"
    for value, lower, upper in (("0.8", "0.66", "0.98"), ("0·80", "0·66", "0·98")):
        row = printed.row("hr", "hazard_ratio[os ; sex: women vs men]", "hazard_ratio", value=value,
                          lower=lower, upper=upper, text=text)  # fmt: skip
        study = make([row])
        assert study.remarks == ()
        assert verdicts(study)[0] == {"hr": "reproduces"}
        assert list(study.ledger.loc[0, ["value", "lower", "upper"]]) == ["0.80", "0.66", "0.98"]
        assert shown(study) == {"hr": text}
    for other in ("0·80, 0·66 to 0·98", "0.80\u2009(0.66\u2009–\u20090.98)", "0,80 (0,66–0,98)"):
        study = make([replace_text(row, other)])
        assert study.remarks == ()


def replace_text(row, text):
    return {**row, "text": text}


def test_a_denominator_that_all_levels_add_up_to_is_of_the_patients_known(make, printed):
    rows = [
        printed.count("n", "count[]", 132),
        printed.share("a", "share[sex=women]", 20, 120, "16.7"),
        printed.share("b", "share[sex=men]", 100, 120, "83.3"),
    ]
    found, result = verdicts(make(rows, patients=132))
    assert "inconsistent" not in found.values()
    (sentence,) = result.findings["sentence"]
    assert 'unknown = ["not known"] in [factors.sex]' in sentence
    assert "120 of 132" in sentence


def test_a_denominator_that_differs_alone_says_how_to_name_the_unknown(make, printed):
    rows = [
        printed.count("n", "count[]", 132),
        printed.share("a", "share[sex=women]", 20, 120, "16.7"),
        printed.share("b", "share[sex=men]", 100, 132, "75.8"),
    ]
    found, result = verdicts(make(rows, patients=132))
    assert found["a"] == "inconsistent"
    assert 'unknown = ["not known"] in [factors.sex]' in result.findings["sentence"].iloc[0]


def test_p_stands_once_beside_the_text(make, printed):
    ratio = {"value": "0.60", "lower": "0.40", "upper": "0.89"}
    name = "hazard_ratio[os ; sex: women vs men]"
    rows = [
        printed.row("in", name, "hazard_ratio", **ratio, p_value="<0.001",
                    text="HR 0.60 (0.40–0.89), P < 0.001"),
        printed.row("beside", name, "hazard_ratio", **ratio, p_value="0,011", reading="x",
                    text="0.60 (0.40–0.89)"),
        printed.row("alone", "survival_difference[os ; sex]", "p_value", p_value="<0.001",
                    text="P < 0.001"),
    ]  # fmt: skip
    assert shown(make(rows)) == {
        "in": "HR 0.60 (0.40–0.89), P < 0.001",
        "beside": "0.60 (0.40–0.89); P = 0,011",
        "alone": "P < 0.001",
    }


def test_summaries_count_distinct_quantities(make, printed):
    rows = [
        printed.share("a", "share[sex=women]", 45, 100, "45.0"),
        printed.share("b", "share[sex=women]", 45, 100, "46.0", locator="Abstract"),
        printed.row("w", "association[her2 ; sex]", "significant", value=1, text="differed"),
        printed.row("p", "association[her2 ; sex]", "p_value", p_value="0.01"),
    ]
    study = make(rows)
    table = evidence_rows(study, audit(study))
    found = quantities(table)
    assert list(found["claim_id"]) == ["b", "p"]  # the graver of two places; words apart
    assert counted(table).startswith(
        "4 printed numbers, 2 distinct quantities (without 1 statement"
    )
    made = table.assign(evidence_kind=["by_construction", "recomputed", "printed", "printed"])
    assert list(quantities(made)["claim_id"]) == ["b", "p"]
    assert "1 constrained by construction" in counted(made)


def test_conclusions_are_audited(make, printed):
    rows = [
        printed.share("a", "share[sex=women]", 45, 100, "45.0"),
        printed.share("b", "share[her2=low | sex=women]", 30, 45, "66.7"),
        printed.share("c", "share[her2=low | sex=men]", 20, 55, "36.4"),
    ]
    table = (
        "conclusion_id,conclusion,locator,note\n"
        "yes,share[sex=women] > 0.4,Abstract,\n"
        "no,share_difference[her2=low ; sex: women vs men] < 0,Abstract,\n"
        "open,discordance[] > 0.3,Abstract,\n"
    )
    result = audit(make(rows, conclusions=table))
    assert result.conclusions == (
        "3 conclusions: printed numbers agree with 1, deny 1, do not tell of 1"
    )
    (sentence,) = result.findings.loc[result.findings["kind"] == "conclusion", "sentence"]
    assert "share_difference[her2=low ; sex: women vs men] < 0" in sentence
    assert "'30 (66.7)'" in sentence


def test_a_study_can_be_copied_with_other_tables(make, printed):
    """Row numbers of a table that was changed by hand fall back to its positions."""
    study = make([printed.count("n", "count[]", 420)], patients=420, status_counts=COUNTS)
    tables = {**study.tables, "status_counts.csv": study.tables["status_counts.csv"].iloc[:2]}
    assert len(audit(replace(study, tables=tables)).findings) == 0


def interval(name, group, value, lower, upper):
    return {"claim_id": name, "locator": "T", "estimand": f"median[os | {group}]",
            "statistic": "median_ci", "value": value, "lower": lower, "upper": upper,
            "unit": "months", "text": f"{value} ({lower}–{upper})"}  # fmt: skip


@pytest.mark.parametrize(("others", "told"), [(0, True), (1, True), (2, False)])
def test_symmetric_intervals_are_named_where_most_are(make, others, told):
    """Of many Kaplan-Meier intervals some are symmetric as printed, by chance."""
    rows = [
        interval("a", "sex=women", "10.0", "8.0", "12.0"),
        interval("b", "sex=men", "6.0", "4.0", "8.0"),
        *(interval(f"k{i}", f"her2={x}", "9.0", "7.0", "14.0")
          for i, x in enumerate(("zero", "low")[:others])),
    ]  # fmt: skip
    _, result = verdicts(make(rows))
    assert any("symmetric" in sentence for sentence in result.findings["sentence"]) == told

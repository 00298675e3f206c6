"""Counts against counts: conflicts, the smallest correction, ties and implied values."""

import pytest

from her2bayes.audit.audit import audit


def verdicts(study):
    rows = audit(study).rows.set_index("claim_id")
    return rows["verdict"].to_dict(), rows


def her2(printed, zero=20, low=50, positive=30, **columns):
    return [
        printed.share(
            f"{columns.get('locator', 'r')}.{name}", f"share[her2={name}]", k, 100, f"{k}.0"
        )
        for name, k in (("zero", zero), ("low", low), ("positive", positive))
    ]


def test_agreeing_counts_are_recomputed_from_each_other(make, printed):
    study = make([printed.count("n", "count[]", 100), *her2(printed)])
    found, rows = verdicts(study)
    assert set(found.values()) == {"reproduces"}
    assert rows.loc["n", "note"] == "50 + 30 + 20 = 100"
    assert rows.loc["n", "evidence_kind"] == "recomputed"


def test_the_odd_print_is_flagged_and_names_what_it_contradicts(make, printed):
    rows = [
        printed.count("n", "count[]", 100),
        *her2(printed),
        printed.share("text.low", "share[her2=low]", 45, 100, "45.0", locator="Discussion"),
    ]
    found, table = verdicts(make(rows))
    assert found["text.low"] == "inconsistent"
    assert "r.low" in table.loc["text.low", "contradicts"].split()
    assert "100 − 30 − 20 = 50" in table.loc["text.low", "note"]
    assert table.loc["text.low", "reproduced"] == 50
    assert found["r.low"] == "reproduces"
    assert "contradicted by text.low" in table.loc["r.low", "note"]


def test_a_tie_flags_both(make, printed):
    rows = [
        printed.share("a", "share[sex=women]", 45, 100, "45.0", locator="Abstract"),
        printed.share("b", "share[sex=women]", 54, 100, "54.0", locator="Results"),
    ]
    found, table = verdicts(make(rows))
    assert found == {"a": "inconsistent", "b": "inconsistent"}
    assert table.loc["a", "contradicts"] == "b"


def test_support_outvotes_a_single_print(make, printed):
    rows = [
        printed.share("a", "share[sex=women]", 45, 100, "45.0", locator="Abstract"),
        printed.share("b", "share[sex=women]", 54, 100, "54.0", locator="Results"),
        printed.share("c", "share[sex=women]", 54, 100, "54.0", locator="Discussion"),
    ]
    assert verdicts(make(rows))[0] == {"a": "inconsistent", "b": "reproduces", "c": "reproduces"}


def test_nested_factor_adds_up_to_its_parent(make, printed):
    rows = [
        printed.count("local", "count[| kind=local]", 40),
        printed.count("distant", "count[| kind=distant]", 60),
        printed.count("breast", "count[| site=breast]", 41),
        printed.count("liver", "count[| site=liver]", 25),
        printed.count("bone", "count[| site=bone]", 35),
        printed.count("n", "count[]", 100),
    ]
    found, table = verdicts(make(rows))
    assert found["breast"] == "inconsistent"
    assert "local" in table.loc["breast", "contradicts"].split()


def test_margins_across_blocks(make, printed):
    by_sex = [
        printed.share("w.low", "share[her2=low | sex=women]", 30, 60, "50.0"),
        printed.share("m.low", "share[her2=low | sex=men]", 21, 40, "52.5"),
    ]
    found, _ = verdicts(make([*her2(printed), *by_sex, printed.count("n", "count[]", 100)]))
    assert {k for k, v in found.items() if v == "inconsistent"} == {"r.low", "w.low", "m.low"} or {
        k for k, v in found.items() if v == "inconsistent"
    } == {"w.low", "m.low"}


def test_integer_feasibility_beyond_sums(make, printed):
    # rows zero 30, low 40, positive 30; columns the same; 12 changed: their number in and out of a
    # class must balance, so 'zero -> low' cannot exceed 12
    rows = [
        *[
            printed.count(f"p.{c}", f"count[her2_primary={c}]", k)
            for c, k in (("zero", 30), ("low", 40), ("positive", 30))
        ],
        *[
            printed.count(f"r.{c}", f"count[her2={c}]", k)
            for c, k in (("zero", 30), ("low", 40), ("positive", 30))
        ],
        printed.share("d", "discordance[]", 12, 100, "12.0"),
        printed.share("zl", "transition[zero -> low]", 13, 30, "43.3"),
    ]
    found, _ = verdicts(make(rows))
    assert {"zl", "d"} & {k for k, v in found.items() if v == "inconsistent"}


def test_a_conflict_of_many_prints_names_all_of_them(make, printed):
    """As many leave the positive class as enter it: 26 changed are not 25 and an even number."""
    counts = {"p.zero": 30, "p.low": 40, "p.positive": 30, "r.zero": 15, "r.low": 55,
              "r.positive": 30}  # fmt: skip
    factor = {"p": "her2_primary", "r": "her2"}
    rows = [
        printed.count(name, f"count[{factor[name[0]]}={name[2:]}]", k) for name, k in counts.items()
    ]
    rows += [
        printed.share("d", "discordance[]", 26, 100, "26.0"),
        printed.share("zl", "transition[zero -> low]", 20, 30, "66.7"),
        printed.share("lz", "transition[low -> zero]", 5, 40, "12.5"),
    ]
    found, table = verdicts(make(rows))
    assert found["r.zero"] == "inconsistent"
    said = table.loc["r.zero", "note"].removeprefix("this cannot be true together with ")
    for shown in ("'30'", "'55'", "'26 (26.0)'", "'20 (66.7)'", "'5 (12.5)'"):
        assert f"{shown} (Results)" in said


def test_counts_of_samples_are_worded_as_such(make, printed):
    rows = [
        printed.count("n", "count[]", 100),
        printed.count("again", "count[]", 100, locator="Discussion"),
        printed.count("s", "count[samples]", 104, unit="samples"),
        printed.count("many", "count[biopsies]", 250, unit="biopsies"),
    ]
    result = audit(make(rows))
    found = result.rows.set_index("claim_id")["verdict"]
    assert found["s"] == "inconsistent"
    assert found["many"] == "not_checkable"
    sentence = result.findings["sentence"].iloc[0]
    assert "104 samples" in sentence
    assert "either some patients gave several samples" in sentence


def test_a_table_cell_that_the_ledger_denies_is_named_by_file_and_row(make, printed):
    table = (
        "factor,level,her2,count,locator\n"
        ",,zero,20,Table 1\n,,low,51,Table 1\n,,positive,30,Table 1\n"
    )
    study = make([printed.count("n", "count[]", 100), *her2(printed)], status_counts=table)
    result = audit(study)
    assert set(result.rows["verdict"]) == {"reproduces"}
    assert "status_counts.csv row 3" in result.findings["sentence"].iloc[0]


def test_rows_of_another_reading_are_not_compared(make, printed):
    rows = [
        printed.share("a", "share[sex=women]", 45, 100, "45.0"),
        printed.share("b", "share[sex=women]", 30, 80, "37.5", reading="per_protocol"),
    ]
    assert set(verdicts(make(rows))[0].values()) == {"reproduces"}


def test_adverse_events_any_grade_and_any_event(make, printed):
    table = (
        "event,body_system,severity,count,patients,locator\n"
        "any,,any,40,100,Table 3\nnausea,,any,45,100,Table 3\nnausea,,grade 3-4,5,100,Table 3\n"
    )
    rows = [
        printed.share("any", "event_rate[any | severity=any]", 40, 100, "40.0", locator="Table 3"),
        printed.share("n", "event_rate[nausea | severity=any]", 45, 100, "45.0", locator="Table 3"),
        printed.share("t", "event_rate[nausea | severity=any]", 45, 100, "45.0", locator="Text"),
        printed.share("g", "event_rate[nausea | severity=grade 3-4]", 5, 100, "5.0"),
    ]
    found, _ = verdicts(make(rows, adverse_events=table))
    assert found["any"] == "inconsistent"
    assert found["g"] == "reproduces"


def test_grade_3_above_any_grade(make, printed):
    rows = [
        printed.share("all", "event_rate[nausea | severity=any]", 4, 100, "4.0"),
        printed.share("g", "event_rate[nausea | severity=grade 3-4]", 5, 100, "5.0"),
    ]
    found, table = verdicts(make(rows))
    assert found == {"all": "inconsistent", "g": "inconsistent"}
    assert "cannot be true together with '4 (4.0)'" in table.loc["g", "note"]


def test_a_dozen_errors_at_once_end_in_time(make, printed):
    rows = [printed.count("n", "count[]", 100)]
    for k in range(15):
        rows += [
            printed.share(f"a{k}", "share[her2=low]", 40 + k, 100, f"{40 + k}.0", locator=f"T{k}"),
            printed.share(f"b{k}", "share[sex=men]", 20 + k, 100, f"{20 + k}.0", locator=f"T{k}"),
        ]
    found, _ = verdicts(make(rows))
    assert sum(v == "inconsistent" for v in found.values()) == 30


@pytest.mark.parametrize("printed_as", ["50", "50.0"])
def test_percentage_without_count_takes_it_from_other_rows(make, printed, printed_as):
    only = printed.row("only", "share[her2=low]", "percentage", value=printed_as)
    found, _ = verdicts(make([printed.count("n", "count[]", 100), *her2(printed), only]))
    assert found["only"] == "reproduces"


def test_overlapping_severities_are_no_conflict(make, printed):
    # 8 of grade 3-4 and 6 serious among 10: serious events may be of grade 3-4
    rows = [
        printed.share(f"r{k}", f"event_rate[nausea | severity={name}]", k, 100, f"{k}.0")
        for name, k in (("any", 10), ("serious", 6), ("grade 3-4", 8))
    ]
    assert set(verdicts(make(rows))[0].values()) == {"reproduces"}


def test_evaluable_patients_need_an_unknown_level(make, printed):
    rows = [
        printed.count("n", "count[]", 100),
        printed.count("n2", "count[]", 100, locator="Abstract"),
        printed.share("orr", "response_rate[orr]", 27, 90, "30.0"),
    ]
    found, table = verdicts(make(rows))
    assert found["orr"] == "inconsistent"
    assert 'unknown = ["not known"] in [factors.best_response]' in table.loc["orr", "note"]


def test_declared_unknowns_leave_the_denominator_free(make, printed):
    rows = [
        printed.count("n", "count[]", 100),
        printed.count("n2", "count[]", 100, locator="Abstract"),
        printed.share("old", "share[age=>50]", 45, 90, "50.0"),
        printed.share("young", "share[age=≤50]", 45, 90, "50.0"),
    ]
    assert set(verdicts(make(rows))[0].values()) <= {"reproduces", "not_checkable"}


def test_number_of_patients_in_the_design_is_compared(make, printed):
    result = audit(make([printed.count("n", "count[]", 100), *her2(printed)], patients=110))
    assert set(result.rows["verdict"]) == {"reproduces"}
    assert (
        result.findings["sentence"].iloc[0].startswith("study.toml gives 110, but Results prints")
    )


def test_a_count_confirmed_by_its_percentage_outweighs_a_bare_one(make, printed):
    rows = [
        printed.share("table", "share[sex=women]", 45, 100, "45.0", locator="Table 1"),
        printed.count("text", "count[| sex=women]", 54),
    ]
    assert verdicts(make(rows))[0] == {"table": "reproduces", "text": "inconsistent"}

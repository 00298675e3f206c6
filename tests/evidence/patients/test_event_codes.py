"""A code of the event column is taken as what it can only mean; an unclear one is asked about."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence.patients.event_codes import CENSORED, EVENT, MISSING, Asked, decide
from her2bayes.evidence.patients.external_survival import read_external
from her2bayes.evidence.patients.follow_up import FollowUp, read_follow_up


def read(codes: list[object], column: str = "status", **options: object) -> FollowUp:
    frame = pd.DataFrame({"t": [float(k + 1) for k in range(len(codes))], column: codes})
    return read_follow_up(frame, time="t", event=column, **options)


def refused(codes: list[object], column: str = "status", **options: object) -> str:
    with pytest.raises(BadInput) as bad:
        read(codes, column, **options)
    return str(bad.value)


def test_a_third_code_is_never_censored_in_silence() -> None:
    codes: list[object] = [1, 2, 9, 1, 2, 9]
    text = refused(codes, event_code="1")
    assert "nothing says what 2, 9 mean" in text
    assert "--censored-code 2" in text
    assert "--missing status=9" in text
    found = read(codes, event_code="1", censored_codes=["2"], missing={"status": ["9"]})
    assert (found.rows, found.events) == (4, 2)
    assert found.left_out == {"event missing": 2}
    assert found.codes.lines("status") == [
        "event column 'status': 1 = event (2), 2 = censored (2), 9 = missing (2)"
    ]
    told = read(codes, event_code="1", missing={"status": ["9"]})
    assert (told.rows, told.events) == (4, 2)  # one code is left, and it is not the event


@pytest.mark.parametrize("unknown", ["9", "99", "-1", "U", "unknown", "UNK"])
def test_one_other_code_that_looks_like_unknown_is_asked_about(unknown: str) -> None:
    assert f"nothing says what {unknown} mean" in refused(["1", unknown], event_code="1")


@pytest.mark.parametrize("column", ["CNSR", "cens", "censored", "censor_status"])
def test_a_column_of_censoring_is_asked_about(column: str) -> None:
    assert "which code is the event?" in refused([0, 1, 0], column)
    assert read([0, 1, 0], column, event_code="0").events == 2
    assert read([0, 1, 0], column, event_code="1").events == 1


def test_censoring_reasons_of_cdisc_are_censored() -> None:
    """ADaM: CNSR is 0 for an event; values above 0 say why a time is censored."""
    assert read([0, 1, 2, 3, 0], "CNSR", event_code="0").events == 2
    assert "nothing says" in refused([0, 1, 2, 3, 0], "status", event_code="0")


def test_codes_of_the_event_column_may_be_the_causes() -> None:
    frame = pd.DataFrame({"t": [1.0, 2, 3, 4, 5], "status": [0, 1, 2, 1, 0]})
    found = read_follow_up(frame, time="t", event="status", cause="status")
    assert found.causes == ("1", "2")
    assert found.events == 3
    other = frame.replace({"status": {0: "alive", 1: "cancer", 2: "other"}})
    with pytest.raises(BadInput, match="--censored-code"):
        read_follow_up(other, time="t", event="status", cause="status")
    told = read_follow_up(other, time="t", event="status", cause="status", censored_codes=["alive"])
    assert told.causes == ("cancer", "other")
    assert "--cause status" in refused([0, 1, 2])


def test_a_code_that_no_row_has_is_named() -> None:
    assert "no row has the event code '7'" in refused([0, 1], event_code="7")
    assert "no row has the censored code '5'" in refused(
        [1, 2], event_code="1", censored_codes=["5"]
    )


def test_every_code_has_one_meaning() -> None:
    found = decide({"1:DECEASED": 3, "0:LIVING": 4, "": 2}, frozenset({""}), Asked(), "os", None)
    assert found.meaning == {"1:DECEASED": EVENT, "0:LIVING": CENSORED, "": MISSING}
    assert not found.faults
    assert found.lines("os") == [
        "event column 'os': 1:DECEASED = event (3), 0:LIVING = censored (4), empty = missing (2)"
    ]


def test_a_column_of_many_values_is_no_event() -> None:
    assert "too many for event codes" in refused(list(range(30)))


def test_levels_called_none_stay_and_words_of_the_archives_are_missing() -> None:
    frame = pd.DataFrame(
        {"t": [1.0, 2, 3, 4], "e": [1, 0, 1, 0], "g": ["None", "a", "[Not Available]", "NA"]}
    )
    found = read_follow_up(frame, time="t", event="e", by=["g"])
    assert found.factors == {"g": ("None", "a")}
    told = read_follow_up(frame, time="t", event="e", by=["g"], missing={"g": ["none"]})
    assert told.factors == {"g": ("a",)}


def test_periods_of_a_patient_may_not_overlap() -> None:
    rows = pd.DataFrame(
        {"PATIENT_ID": ["a", "a", "b", "b"], "start": [0.0, 5, 0, 0], "t": [5.0, 9, 7, 7],
         "e": [0, 1, 1, 1]}
    )  # fmt: skip
    with pytest.raises(BadInput) as bad:
        read_follow_up(rows, time="t", event="e", entry="start", patient="PATIENT_ID")
    assert "row 5, column 'PATIENT_ID': the period begins before" in str(bad.value)
    assert "an event of the patient before the last period (found 'b')" in str(bad.value)
    found = read_follow_up(rows[:2], time="t", event="e", entry="start", patient="PATIENT_ID")
    assert (found.patients, found.events) == (1, 1)


def test_rows_with_one_patient_id_are_asked_about() -> None:
    rows = pd.DataFrame({"USUBJID": ["a", "a", "b"], "t": [1.0, 2, 3], "e": [1, 0, 1]})
    with pytest.raises(BadInput, match="3 rows hold 2 patients"):
        read_follow_up(rows, time="t", event="e")
    assert read_follow_up(rows, time="t", event="e", patient="none").patients == 3


def test_an_ensemble_is_no_larger_cohort() -> None:
    rows = pd.DataFrame({"member": [0, 0, 1, 1], "t": [1.0, 2, 1, 3], "e": [1, 0, 1, 1]})
    with pytest.raises(BadInput, match="2 versions of one cohort"):
        read_follow_up(rows, time="t", event="e")
    assert read_follow_up(rows, time="t", event="e", member="1").events == 2
    with pytest.raises(BadInput, match="one of 0, 1"):
        read_follow_up(rows, time="t", event="e", member="7")
    with pytest.raises(BadInput, match="no column 'member'"):
        read_follow_up(rows[["t", "e"]], time="t", event="e", member="1")


def test_intervals_in_which_the_event_happened_are_refused() -> None:
    rows = pd.DataFrame({"left": [0.0, 2, 4], "right": [3.0, 5, None], "e": [1, 1, 0]})
    with pytest.raises(BadInput, match="interval censoring"):
        read_follow_up(rows, time="right", event="e", entry="left")
    other = rows.rename(columns={"left": "Start", "right": "Stop"})
    with pytest.raises(BadInput, match="interval censoring"):
        read_follow_up(other, time="Stop", event="e", entry="Start")
    late = pd.DataFrame({"start": [0.0, 2, 4], "stop": [3.0, 5, 6], "e": [1, 1, 0]})
    assert read_follow_up(late, time="stop", event="e", entry="start").events == 2


def test_dates_are_told_once_a_column() -> None:
    dates = ["22/11/2015", "05.04.2016", "2015-03-01"] * 20
    rows = pd.DataFrame({"last": dates, "e": [1, 0, 1] * 20})
    with pytest.raises(BadInput) as bad:
        read_follow_up(rows, time="last", event="e")
    assert len(bad.value.faults) == 1
    assert "holds dates" in str(bad.value)


def test_rounded_times_leave_out_who_is_not_at_risk() -> None:
    rows = pd.DataFrame({"t": [1.0, 5, 9], "in": [1.4, -0.4, 2], "e": [1, 1, 0]})
    with pytest.raises(BadInput):
        read_follow_up(rows, time="t", event="e", entry="in")
    found = read_follow_up(rows, time="t", event="e", entry="in", tolerance=1.0)
    assert (found.rows, found.left_out) == (2, {"time not after entry": 1})
    with pytest.raises(BadInput, match="before the entry"):
        read_follow_up(rows, time="t", event="e", entry="in", tolerance=0.2)


@pytest.mark.parametrize("column", ["OS_CENS", "is_censored", "osCensored", "CNSR", "cens_flag"])
def test_names_of_censoring_are_known_in_every_spelling(column: str) -> None:
    text = refused([True, False, True], column)
    assert "the column's name says censoring" in text
    assert "--event-code false where" in text  # a code that rows have
    assert read([True, False, True], column, event_code="False").events == 1


def test_remedies_of_an_unknown_code_work() -> None:
    codes: list[object] = [1, 2, 9, 1, 2]
    text = refused(codes, event_code="1", censored_codes=["2"])
    assert "--censored-code 9" in text
    assert "--missing status=9" in text
    assert read(codes, event_code="1", censored_codes=["2", "9"]).rows == 5
    assert read(codes, event_code="1", missing={"status": ["9"]}).rows == 4


@pytest.mark.parametrize("name", ["record_id", "PatientID", "case", "Subject ID", "USUBJID", "id"])
def test_columns_of_patients_are_known_by_their_names(name: str) -> None:
    table = pd.DataFrame({name: ["a", "a", "b"], "t": [1.0, 2.0, 3.0], "e": [1, 1, 0]})
    if name == "case":  # a number of cases, say: not evidently a patient
        assert read_follow_up(table, time="t", event="e").rows == 3
        return
    with pytest.raises(BadInput, match="3 rows hold 2 patients"):
        read_follow_up(table, time="t", event="e")
    assert read_follow_up(table, time="t", event="e", patient="none").rows == 3


def test_a_right_end_without_the_left_is_asked_about() -> None:
    table = pd.DataFrame({"left": [0.0, 3.0], "right": [3.0, 6.0], "e": [1, 0]})
    with pytest.raises(BadInput, match="may be the right end of an interval"):
        read_follow_up(table, time="right", event="e")
    exact = table.rename(columns={"right": "months"})
    assert read_follow_up(exact, time="months", event="e").events == 1


def test_what_was_read_is_told_in_one_place() -> None:
    found = read([0, 1, 1])
    assert found.told == ("event column 'status': 1 = event (2), 0 = censored (1)",)


def test_external_ensembles_are_one_cohort(tmp_path: Path) -> None:
    own = pd.DataFrame({"t": [1.0, 2, 3, 4], "e": [1, 0, 1, 0], "arm": list("abab")})
    own.to_csv(tmp_path / "own.csv", index=False)
    pd.concat([own.assign(member=k) for k in (1, 2, 3)]).to_csv(tmp_path / "ens.csv", index=False)
    columns = {"time": "t", "event": "e"}
    here = read_follow_up(tmp_path / "own.csv", by=["arm"], **columns)
    with pytest.raises(BadInput, match="3 versions of one cohort"):
        read_external([tmp_path / "ens.csv"], here, {"arm": None}, **columns)
    found = read_external([tmp_path / "ens.csv"], here, {"arm": None}, member="2", **columns)
    assert found["ens"].rows == 4
    with pytest.raises(BadInput, match="external files are not read through the map"):
        read_external([tmp_path / "own.csv"], here, {"arm": None}, mapped=("endpoint os",),
                      time="os_months", event="os_event")  # fmt: skip

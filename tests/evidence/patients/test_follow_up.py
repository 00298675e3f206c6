"""The door for followed patients: what is accepted, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence.patients.follow_up import FollowUp, factor_name, read_follow_up


def read(table: dict[str, Any] | Path, **options: Any) -> FollowUp:
    source = table if isinstance(table, Path) else pd.DataFrame(table)
    return read_follow_up(source, **{"time": "t", "event": "e", **options})


def message(table: dict[str, Any] | Path, **options: Any) -> str:
    with pytest.raises(BadInput) as bad:
        read(table, **options)
    return str(bad.value)


def test_times_of_zero_with_an_event_are_refused_by_row():
    text = message({"t": [1, 0, 3.0], "e": [1, 1, 0]})
    assert "row 3" in text
    assert "before anyone is at risk" in text
    assert "--nonpositive drop" in text


def test_censored_times_of_zero_hold_no_information_and_are_counted():
    found = read({"t": [1, 0, 3.0], "e": [1, 0, 0]})
    assert found.rows == 2
    assert found.left_out == {"time not after entry": 1}


def test_negative_times_are_refused_by_row_and_dropped_on_request():
    table = {"t": [1, 2, -3.0], "e": [1, 0, 1]}
    assert "row 4, column 't': a time below zero" in message(table)
    assert read(table, nonpositive="drop").events == 1


def test_many_bad_rows_are_named_first_and_counted():
    text = message({"t": [-1.0] * 50, "e": [0] * 50})
    assert "row 2" in text
    assert "and 45 rows more" in text


def test_event_codes_one_and_two_are_asked_about():
    text = message({"t": [1.0, 2], "e": [1, 2]})
    assert "event codes are 1, 2; nothing says what 2 mean" in text
    assert "as in R: --event-code 2" in text
    assert read({"t": [1.0, 2], "e": [1, 2]}, event_code="2").events == 1


@pytest.mark.parametrize(
    "codes", [[0, 1], [False, True], ["no", "yes"], ["0:LIVING", "1:DECEASED"], [0.0, 1.0]]
)
def test_event_codes_that_are_understood(codes):
    assert read({"t": [1.0, 2], "e": codes}).events == 1


def test_event_code_that_no_row_has():
    assert "no row has the event code 'dead'" in message(
        {"t": [1.0, 2], "e": ["a", "b"]}, event_code="dead"
    )


def test_three_numeric_codes_point_to_causes():
    assert "--cause" in message({"t": [1.0, 2, 3], "e": [0, 1, 2]})


def test_days_called_months_are_refused():
    text = message({"t": [400.0, 2659], "e": [1, 0]})
    assert "look like days" in text
    assert "--time-unit days" in text
    assert read({"t": [365.25], "e": [1]}, time_unit="days").last_time == pytest.approx(12)


def test_whole_long_times_are_refused_even_below_the_limit():
    assert "look like days" in message({"t": [300, 280, 500, 420], "e": [1, 0, 1, 0]})


def test_text_that_is_no_number_is_named(tmp_path: Path):
    file = tmp_path / "patients.csv"
    file.write_text("t,e\n1,1\nabout 3,0\n2,0\n")
    text = message(file)
    assert "patients.csv, row 3, column 't': is not a number (found 'about 3')" in text


def test_all_faults_are_told_together():
    text = message({"t": [1, -2.0, 900], "e": [1, 2, 0], "g": [1, 2, 3]}, by=["g"])
    assert "below zero" in text
    assert "look like days" in text
    assert "event codes" in text


def test_unknown_column_suggests_the_nearest():
    assert "did you mean 'os_months'?" in message({"os_months": [1.0], "e": [1]}, time="os_month")


def test_continuous_covariate_is_refused_with_advice():
    rng = np.random.default_rng(1)
    text = message({"t": rng.uniform(1, 9, 500), "e": 1, "age": rng.normal(size=500)}, by=["age"])
    assert "too many for groups" in text
    assert "bands (<=50, >50)" in text


def test_covariate_whose_values_repeat_is_a_factor():
    assert read({"t": [1.0, 2, 3], "e": 1, "grade": [3, 1, 3]}, by=["grade"]).factors == {
        "grade": ("1", "3")
    }


def test_levels_in_known_given_or_sorted_order():
    table = {"t": [1.0] * 4, "e": 1, "her2": ["low", "zero", "positive", "zero"]}
    assert read(table, by=["her2"]).factors["her2"] == ("zero", "low", "positive")
    found = read(table, by={"her2": ["positive", "low"]})
    assert found.factors["her2"] == ("positive", "low")
    assert found.left_out == {"factor missing or level not asked for": 2}
    assert "no row has the level 'lo'" in message(table, by={"her2": ["lo"]})


def test_missing_values_are_left_out_and_counted(tmp_path: Path):
    file = tmp_path / "patients.csv"
    file.write_text("t,e,g\n1,1,a\n,1,a\n2,NA,b\n3,0,\n4,0,b\n")
    found = read(file, by=["g"])
    assert (found.rows, found.events) == (2, 1)
    assert found.left_out == {
        "time missing": 1,
        "event missing": 1,
        "factor missing or level not asked for": 1,
    }


def test_reserved_signs_in_levels_are_refused():
    found = read({"t": [1.0, 2.0], "e": [1, 0], "g": ["<=50", "a | b, c"]}, by=["g"])
    assert found.factors == {"g": ("<=50", "a | b, c")}


def test_event_without_a_cause():
    text = message({"t": [1.0, 2], "e": [1, 1], "c": ["x", None]}, cause="c")
    assert "row 3" in text
    assert "event without a cause" in text


def test_time_before_entry():
    assert "the time is before the entry" in message(
        {"t": [1.0, 5], "e": [0, 1], "n": [2.0, 1]}, entry="n"
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "the file is empty"),
        ("b.csv", b"t,e\n", "no data rows below the header"),
        ("c.csv", "t,e\n1,1\n\xe9".encode("latin-1"), "row 3: not UTF-8 text"),
        ("d.parquet", b"not parquet", "cannot be read as a table"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, name: str, content: bytes, words: str):
    file = tmp_path / name
    file.write_bytes(content)
    assert words in message(file)


def test_no_such_file(tmp_path: Path):
    assert "no such file" in message(tmp_path / "absent.csv")


def test_one_patient_and_all_censored_are_fine():
    assert read({"t": [7.0], "e": [1]}).patients == 1
    assert read({"t": [7.0, 8], "e": [0, 0]}).events == 0


def test_names_of_factors():
    assert factor_name("HER2 status (IHC)") == "her2_status_ihc"
    assert factor_name("time") == "factor_time"
    assert factor_name("2nd") == "factor_2nd"

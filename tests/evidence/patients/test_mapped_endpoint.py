"""An endpoint of a map is used whole; what is left out, or not used, is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence.patients.follow_up import FollowUp, read_follow_up
from her2bayes.evidence.patients.patients import Wanted
from her2bayes.survival.doors import Opened, open_source

MAP = """schema = 1
id = "late"
rows = "patient"
missing = ["9"]
[files]
table = "t.csv"
[columns]
patient_id = "id"
[primary]
ihc = "ihc"
ish = "ish"
[factors.age]
column = "age"
cut = [50]
[factors.stage]
column = "stage"
[missing_in]
age = ["999"]
[endpoints.os]
time = "os"
event = "dead"
entry = "seen"
cause = "why"
[endpoints.dfs]
time = "dfs"
event = "relapse"
[rules]
time_tolerance = 1
"""
ROWS = """id,ihc,ish,age,stage,os,dead,seen,why,dfs,relapse
a,0,9,40,None,12,1,3,cancer,4,1
b,1+,9,9,II,9,1,2,other,9,0
c,3+,9,61,II,30,0,12,,9,0
d,0,9,999,9,7,0,7.5,,7,0
e,1+,9,55,I,20,0,9,,9,0
"""


def opened(folder: Path, wanted: Wanted, by: tuple[str, ...] = (), text: str = MAP) -> Opened:
    (folder / "t.csv").write_text(ROWS, encoding="utf-8")
    (folder / "map.toml").write_text(text, encoding="utf-8")
    return open_source(folder, str(folder / "map.toml"), wanted, by)


def followed(source: Opened, *by: str) -> FollowUp:
    return read_follow_up(source.source, by=by, **source.columns)


@pytest.mark.parametrize("time", ["os", "os_months"])
def test_entry_cause_and_rounding_come_with_the_time(tmp_path: Path, time: str) -> None:
    source = opened(tmp_path, Wanted(time))
    found = followed(source)
    rows = found.table.execute().sort_values("time")
    np.testing.assert_array_equal(rows["entry"], [2, 3, 9, 12])
    assert found.causes == ("cancer", "other")
    assert found.left_out == {"time not after entry": 1}  # d, half a month before: rounded times
    said = "\n".join(source.lines)
    assert "patients counted from seen on (delayed entry)" in said
    assert "rounded, to 1 months" in said
    assert "1 = event (2)" in said
    assert "not used here: endpoints dfs; factors age, stage; primary readings" in said


def test_an_entry_left_out_is_said(tmp_path: Path) -> None:
    source = opened(tmp_path, Wanted("os", ignore_entry=True))
    assert followed(source).rows == 5
    assert "seen that the map declares is NOT used" in source.lines[0]
    with pytest.raises(BadInput, match="no entry to ignore"):
        opened(tmp_path, Wanted("dfs", ignore_entry=True))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted("osmonths"), "declares no endpoint with this time"),
        (Wanted("os", event="relapse"), "the map decides this"),
        (Wanted("os", entry="dfs"), "the map decides this"),
        (Wanted("os", time_unit="days"), "the map decides this"),
    ],
)
def test_what_the_map_has_decided_is_not_asked_for_otherwise(
    tmp_path: Path, wanted: Wanted, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        opened(tmp_path, wanted)


def test_codes_of_missing_values_are_numbers_where_numbers_stand(tmp_path: Path) -> None:
    """9 is missing in columns of codes, an age of 9 years or 9 months of follow-up is not."""
    source = opened(tmp_path, Wanted("dfs"), ("age",))
    assert source.cohort is not None
    patients = source.cohort.patients
    assert list(patients["age"]) == ["<=50", "<=50", ">50", "", ">50"]
    assert list(patients["stage"]) == ["None", "II", "II", "", "I"]
    assert list(patients["dfs_months"]) == [4, 9, 9, 7, 9]
    notes = {
        text: count for text, count in source.cohort.notes.items() if "read as numbers" in text
    }
    assert sum(count for text, count in notes.items() if text.startswith("dfs:")) == 3
    assert sum(count for text, count in notes.items() if text.startswith("age:")) == 1


DATED = (
    MAP.replace('time = "dfs"', 'time = "days"\nunit = "days"')
    + """[derived]
days = ["last", "first"]
"""
)


@pytest.mark.parametrize(
    ("dates", "days"),
    [
        ([("03/01/2015", "22/11/2015"), ("26/01/2015", "05/04/2016")], [323, 435]),
        ([("03.01.2015", "22.11.2015"), ("26.01.2015", "05.04.2016")], [323, 435]),
        ([("01/03/2015", "11/22/2015"), ("01/26/2015", "04/05/2016")], [323, 435]),
        ([("2015-01-03", "2015/11/22"), ("2015-01-26", "2016-04-05")], [323, 435]),
    ],
)
def test_the_order_of_dates_is_decided_by_the_column(
    tmp_path: Path, dates: list[tuple[str, str]], days: list[int]
) -> None:
    """22 November minus 3 January 2015 is 323 days, 5 April 2016 minus 26 January 2015 435."""
    source = _dated(tmp_path, dates, DATED)
    assert source.cohort is not None
    months = source.cohort.patients["dfs_months"].to_numpy()
    np.testing.assert_allclose(months * 365.25 / 12, days)


def _dated(folder: Path, dates: list[tuple[str, str]], text: str) -> Opened:
    lines = ["id,ihc,ish,age,stage,os,dead,seen,why,dfs,relapse,first,last"]
    lines += [f"p{k},0,,40,I,12,1,3,cancer,4,1,{a},{b}" for k, (a, b) in enumerate(dates)]
    (folder / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "map.toml").write_text(text, encoding="utf-8")
    return open_source(folder, str(folder / "map.toml"), Wanted("dfs"), ())


def test_dates_that_could_be_either_are_asked_about_once_a_column(tmp_path: Path) -> None:
    dates = [("03/01/2015", "05/04/2016"), ("04/02/2015", "06/07/2016")] * 9
    with pytest.raises(BadInput) as bad:
        _dated(tmp_path, dates, DATED)
    assert len(bad.value.faults) == 2
    assert '[dates] "first" = "day first"' in str(bad.value)
    told = _dated(tmp_path, dates, DATED + '[dates]\nfirst = "day first"\nlast = "day first"\n')
    assert told.cohort is not None
    # 5 April 2016 minus 3 January 2015
    np.testing.assert_allclose(told.cohort.patients["dfs_months"][0] * 365.25 / 12, 458)
    mixed = [("13/01/2015", "05/04/2016"), ("01/13/2015", "06/07/2016")]
    with pytest.raises(BadInput, match="some dates have the day first"):
        _dated(tmp_path, mixed, DATED)


SPAN = """schema = 1
id = "dated"
rows = "patient"
[files]
table = "t.csv"
[columns]
patient_id = "id"
[primary]
ihc = "ihc"
[derived]
days = ["last", "first"]
[endpoints.os]
time = "days"
event = "dead"
unit = "days"
"""


def dated(folder: Path, rows: str, text: str = SPAN) -> FollowUp:
    (folder / "t.csv").write_text(rows, encoding="utf-8")
    (folder / "map.toml").write_text(text, encoding="utf-8")
    return followed(open_source(folder, str(folder / "map.toml"), Wanted("os"), ()))


def test_dates_with_the_name_of_the_month(tmp_path: Path) -> None:
    rows = "id,ihc,first,last,dead\na,0,03-JAN-2015,02 Feb 2015,1\nb,3+,1 March 2015,30APR2015,0\n"
    found = dated(tmp_path, rows).table.execute()
    np.testing.assert_allclose(found["time"] * 365.25 / 12, [30, 60])  # by hand


def test_dotted_dates_are_read_and_said(tmp_path: Path) -> None:
    rows = "id,ihc,first,last,dead\na,0,03.01.2015,22.02.2015,1\nb,3+,21.02.2015,30.04.2015,0\n"
    found = dated(tmp_path, rows)
    np.testing.assert_allclose(found.table.execute()["time"] * 365.25 / 12, [50, 68])
    assert "dates of last read with the day first" in found.told


def test_days_are_no_months_and_dates_no_durations(tmp_path: Path) -> None:
    rows = "id,ihc,first,last,dead\na,0,2015-01-03,2015-02-02,1\nb,3+,2015-01-03,2015-03-02,0\n"
    with pytest.raises(BadInput, match="is a difference of dates, in days, not in months"):
        dated(tmp_path, rows, SPAN.replace('unit = "days"\n', ""))
    with pytest.raises(BadInput, match="'last' holds dates, not the time between two"):
        dated(tmp_path, rows, SPAN.replace('time = "days"', 'time = "last"'))


def test_decimal_commas_behind_a_map(tmp_path: Path) -> None:
    rows = "id;ihc;m;dead\na;0;3,5;1\nb;3+;12,25;0\n"
    text = SPAN.replace('[derived]\ndays = ["last", "first"]\n', "")
    text = text.replace('"days"\nevent', '"m"\nevent').replace('unit = "days"\n', "")
    assert list(dated(tmp_path, rows, text).table.execute()["time"]) == [3.5, 12.25]


def test_an_endpoint_named_censoring_says_what_is_the_event(tmp_path: Path) -> None:
    rows = "id,ihc,m,CNSR\na,0,3,1\nb,3+,12,0\n"
    text = SPAN.replace('[derived]\ndays = ["last", "first"]\n', "").replace('"dead"', '"CNSR"')
    text = text.replace('"days"\nevent', '"m"\nevent').replace('unit = "days"\n', "")
    with pytest.raises(BadInput, match="says censoring"):
        dated(tmp_path, rows, text)
    found = dated(tmp_path, rows, text + 'events = ["0"]\ncensored = ["1"]\n')
    assert list(found.table.execute().query("event == 1")["time"]) == [12]

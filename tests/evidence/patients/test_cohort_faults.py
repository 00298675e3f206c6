"""Bad files and maps: every fault at once, with its place, and nothing read by halves."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from her2bayes.errors import BadInput
from her2bayes.evidence.patients.cohort import Cohort, read_cohort
from her2bayes.evidence.patients.maps import load_map

MAP = """
schema = 1
id = "small"
rows = "patient"
[files]
table = "t.csv"
[columns]
patient_id = "id"
[primary]
ihc = "ihc1"
ish = "ish1"
er = "er"
time = "date1"
[recurrence]
ihc = "ihc2"
ish = "ish2"
time = "date2"
[factors.site]
column = "site"
"""
TABLE = """id,ihc1,ish1,er,date1,ihc2,ish2,date2,site
a,0,,90,2010-01-01,1+,,2011-01-01,liver
b,2+,negative,0,2010-01-01,2+,negative,2011-01-01,bone
c,3+,,5,2010-01-01,0,,2011-01-01,bone
"""


def read(
    folder: Path, table: str | bytes = TABLE, mapped: str = MAP, name: str = "t.csv"
) -> Cohort:
    raw = table.encode() if isinstance(table, str) else table
    (folder / name).write_bytes(raw)
    (folder / "map.toml").write_text(mapped)
    return read_cohort(folder / "map.toml", folder)


def faults(folder: Path, table: str | bytes = TABLE, mapped: str = MAP) -> list[str]:
    with pytest.raises(BadInput) as caught:
        read(folder, table, mapped)
    return [str(fault) for fault in caught.value.faults]


def test_the_small_file_is_good(tmp_path: Path) -> None:
    assert len(read(tmp_path).patients) == 3


def test_all_faults_of_a_file_in_one_report(tmp_path: Path) -> None:
    table = TABLE.replace("a,0,", "a,4+,").replace("c,3+,,5", "a,3+,,120")
    table = table.replace("2010-01-01,2+", "2012-01-01,2+")
    found = faults(tmp_path, table)
    assert len(found) == 4
    text = "\n".join(found)
    assert "row 2, column 'ihc1': value not understood (found '4+'); allowed: 0, 1+, 2+, 3+" in text
    assert "row 4, column 'er': value not understood (found '120')" in text
    assert "row 4, column 'id': patient id repeats (found 'a')" in text
    assert "row 3, column 'date2': recurrence is earlier than the primary" in text
    assert all("remedy: " in line and "t.csv" in line for line in found)


def test_repeated_ids_are_counted_when_they_are_many(tmp_path: Path) -> None:
    lines = TABLE.splitlines()
    table = "\n".join([lines[0], *[lines[1]] * 10]) + "\n"
    found = faults(tmp_path, table)
    assert len(found) == 6
    assert "patient id repeats (9 rows are exact copies of earlier ones)" in found[0]
    assert found[-1].endswith("4 more rows like these: patient id repeats "
                              "(9 rows are exact copies of earlier ones)")  # fmt: skip


def test_one_wrong_value_in_many_rows_is_one_fault(tmp_path: Path) -> None:
    table = TABLE.replace(",0,,90", ",4+,,90").replace(",3+,,5", ",4+,,5")
    (found,) = faults(tmp_path, table)
    assert "row 2, column 'ihc1': value not understood in 2 rows (found '4+')" in found


def test_ish_missing_for_every_two_plus(tmp_path: Path) -> None:
    table = TABLE.replace("negative", "").replace("c,3+", "c,2+")
    (found,) = faults(tmp_path, table)
    assert "missing for every one of 2 samples with IHC 2+ ([primary])" in found
    assert "row 3, column 'ish1'" in found
    accepted = read(
        tmp_path, table, MAP.replace("[files]", '[rules]\ntwo_plus_without_ish = "accept"\n[files]')
    )
    assert list(accepted.patients["primary_reading"]) == ["zero", "low/positive", "low/positive"]


def test_two_plus_without_any_verdict_column(tmp_path: Path) -> None:
    mapped = MAP.replace('ish = "ish1"\n', "")
    table = TABLE.replace("c,3+", "c,2+")
    (found,) = faults(tmp_path, table, mapped)
    assert "the map names no column of either" in found
    assert "column 'ihc1'" in found


def test_reversed_times_can_be_set_aside_or_tolerated(tmp_path: Path) -> None:
    table = TABLE.replace("2011-01-01,liver", "2009-12-31,liver")
    (found,) = faults(tmp_path, table)
    assert "row 2, column 'date2': recurrence is earlier" in found
    aside = read(
        tmp_path, table, MAP.replace("[files]", '[rules]\nreversed_times = "set aside"\n[files]')
    )
    assert list(aside.patients["pair"]) == [False, True, True]
    line = aside.flow.query("rule == 'recurrence earlier than the primary'").iloc[0]
    assert (line["count"], line["outcome"], line["of"]) == (1, "set aside", 3)
    near = read(tmp_path, table, MAP.replace("[files]", "[rules]\ntime_tolerance = 1\n[files]"))
    assert near.patients["pair"].all()


def test_exchanged_time_columns_are_suspected(tmp_path: Path) -> None:
    mapped = MAP.replace("date1", "later").replace("date2", "date1").replace("later", "date2")
    found = faults(tmp_path, mapped=mapped)
    assert len(found) == 3
    assert "are the two time columns exchanged?" in found[0]


def test_unknown_columns_name_the_nearest(tmp_path: Path) -> None:
    mapped = MAP.replace('"ihc2"', '"IHC_2"').replace('"site"', '"colour"')
    found = "\n".join(faults(tmp_path, mapped=mapped))
    assert "the data have no column 'IHC_2'; remedy: did you mean 'ihc2'?" in found
    assert "no column 'colour'; allowed: columns there: id, ihc1" in found


def test_missing_column_and_bad_value_are_reported_together(tmp_path: Path) -> None:
    found = "\n".join(
        faults(tmp_path, TABLE.replace("a,0", "a,7"), MAP.replace('"ish2"', '"fish"'))
    )
    assert "no column 'fish'" in found
    assert "found '7'" in found


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "file is empty"),
        (b"\n \n", "file is empty"),
        (TABLE.splitlines()[0] + "\n", "no data rows below the header"),
        (TABLE.replace("liver", "f\xfcr").encode("latin-1"), "row 2: not UTF-8 text"),
        (TABLE + "d,0\n", "row 5: 2 fields where the header has 9"),
        (TABLE.replace("ish1", "ihc1"), "column 'ihc1': column name stands twice"),
        (b"PK\x03\x04" + bytes(40), "holds binary data"),
        (TABLE.replace("id,", '"id\nx",', 1), "the data have no column 'id'"),
        (TABLE.replace("\nb,", "\n,"), "row 3, column 'id': no patient id"),
        (TABLE.replace("2010-01-01,1+", "400,1+"), "numbers and dates in one column"),
        (TABLE.replace("2010-01-01,1+", "01.02.2010,1+"), "day or the month first"),
        (TABLE.replace("2010-01-01,1+", "Feb 2010,1+"), "found 'Feb 2010'"),
    ],
)
def test_bad_files(tmp_path: Path, table: str | bytes, message: str) -> None:
    assert message in "\n".join(faults(tmp_path, table))


def test_wrong_places(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(MAP)
    (tmp_path / "other.csv").write_text(TABLE)
    with pytest.raises(BadInput, match=r"t\.csv: no such file; allowed: files there: .*other"):
        read_cohort(tmp_path / "map.toml", tmp_path)
    with pytest.raises(BadInput, match="cohort does not exist"):
        read_cohort(tmp_path / "map.toml", tmp_path / "nowhere")
    with pytest.raises(BadInput, match="column map is not a file"):
        read_cohort(tmp_path / "nomap.toml", tmp_path)
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(BadInput, match="a folder, not a file"):
        read_cohort(tmp_path / "map.toml", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("schema = 1", "schema = 2"), "unknown schema (found 2); allowed: 1"),
        (('rows = "patient"', 'rows = "rows"'), "allowed: patient, sample"),
        (('id = "small"', "id = 3"), "column 'id': wrong type (found 3)"),
        (('ihc = "ihc1"', 'ich = "ihc1"'), "unknown key 'ich'; allowed: ihc, ish"),
        (("[factors.site]", "[factor.site]"), "did you mean 'factors'?"),
        (("[factors.site]", "[factors.her2]"), "not a factor name that is free (found 'her2')"),
        (("[factors.site]", "[factors.Site]"), "not a factor name that is free (found 'Site')"),
        (('column = "site"', 'column = "er"\ncut = [5, 1]'), "cut points must increase"),
        (('column = "site"', 'column = "er"\ncut = [5]\nlabels = ["a"]'), "one label more"),
        (('column = "site"', 'column = "site"\nother = "a;b"'), "level holds one of"),
        (('patient_id = "id"', 'sample_id = "id"'), "no column of patient ids"),
        (("[recurrence]", "[sample]"), "[sample] needs sample_type"),
        (("[files]", '[her2]\ncategories = ["a", "b"]\n[files]'), "one of them the positive class"),
        (
            ("[files]", '[her2]\ncategories = ["nil", "low", "positive"]\n[files]'),
            "score 0 means zero, which is no category",
        ),
        (("[files]", '[derived]\na = ["a", "b"]\n[files]'), "something not yet defined"),
        (("[files]", '[derived]\na = ["b"]\n[files]'), "a difference needs two columns"),
        (("[files]", '[values.ihc]\nx = "9+"\n[files]'), "not an IHC score (found '9+')"),
        (("[files]", '[values.ish]\nx = "yes"\n[files]'), "allowed: positive, negative, equivocal"),
        (("[files]", "files"), "not TOML"),
    ],
)
def test_bad_maps(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "map.toml"
    assert change[0] in MAP
    path.write_text(MAP.replace(*change))
    with pytest.raises(BadInput) as caught:
        load_map(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_map_without_readings_and_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text('schema = 1\nid = "x"\nrows = "patient"\n[columns]\npatient_id = "id"\n')
    with pytest.raises(BadInput, match="no column of HER2 readings"):
        load_map(path)
    path.write_bytes(b'id = "\xff"')
    with pytest.raises(BadInput, match="not UTF-8"):
        load_map(path)


def test_factor_with_too_many_levels(tmp_path: Path) -> None:
    lines = [f"p{k},0,,90,2010-01-01,1+,,2011-01-01,site{k}" for k in range(100)]
    (found,) = faults(tmp_path, "\n".join([TABLE.splitlines()[0], *lines]) + "\n")
    assert "factor 'site' has 100 levels; allowed: up to 60; remedy: give cut" in found


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_mutated_files_are_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(TABLE.encode())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.sampled_from(list(b',;"\n\t\x00\xff0+-[](9aZ#')))
    try:
        cohort = read(tmp_path, bytes(raw))
    except BadInput:
        return
    flow = cohort.flow[cohort.flow["stage"] == "rows"]
    lines = bytes(raw).replace(b"\r", b"\n").split(b"\n")
    if b'"' not in raw and not lines[0].startswith(b"#"):
        assert flow["count"].sum() == sum(bool(line) for line in lines) - 1


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_mutated_maps_are_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(MAP.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.sampled_from(list(b'"=[].\n\x00\xff019ae_#{},')))
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "map.toml").write_bytes(bytes(raw))
    try:
        cohort = read_cohort(tmp_path / "map.toml", tmp_path)
    except BadInput:
        return
    assert len(cohort.patients) == 3

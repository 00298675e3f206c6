"""One reader for every delimited file: what it recognises, what it refuses, which row it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence import read_table as module
from her2bayes.evidence.patients.follow_up import read_follow_up
from her2bayes.evidence.read_table import TextTable, read_table

PLAIN = "id,months,dead,her2\na,10.5,0,low\nb,3.9,1,zero\nc,24.4,1,low\n"


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    def write(content: str | bytes, name: str = "patients.csv") -> Path:
        path = tmp_path / name
        raw = content.encode() if isinstance(content, str) else content
        path.write_bytes(raw)
        return path

    return write


def refused(path: Path, **options: object) -> str:
    with pytest.raises(BadInput) as bad:
        read_table(path, **options)
    return str(bad.value)


def cells(table: TextTable) -> list[list[str]]:
    return table.frame.to_numpy().tolist()


@pytest.mark.parametrize("sign", [",", ";", "\t", "|", " ", "   "])
@pytest.mark.parametrize("name", ["patients.csv", "patients.txt"])
def test_the_separator_is_found_in_the_content_not_in_the_name(put, sign: str, name: str) -> None:
    table = read_table(put(PLAIN.replace(",", sign), name))
    assert cells(table) == cells(read_table(put(PLAIN, "plain.csv")))
    assert table.rows.tolist() == [2, 3, 4]


def test_two_separators_that_divide_alike_are_refused(put) -> None:
    text = refused(put("a,b;c,d\n1,2;3,4\n".replace(",d", "").replace(",4", "")))
    assert "two separators divide every row alike: semicolon and comma" in text


def test_text_with_semicolons_in_a_comma_file_stays_text(put) -> None:
    table = read_table(put("id,remark\na,liver; lung\nb,bone\n"))
    assert cells(table) == [["a", "liver; lung"], ["b", "bone"]]


def test_excel_names_its_separator(put) -> None:
    table = read_table(put("sep=;\nid;x\na;1\n"))
    assert (cells(table), table.rows.tolist()) == ([["a", "1"]], [3])


@pytest.mark.parametrize(
    ("head", "first", "row"),
    [("#Patient\n#STRING\n", "P#1", 4), ("", "#1", 2), ("\n\n# note\n", "a # b", 5)],
)
def test_the_comment_sign_is_data_below_the_header(put, head: str, first: str, row: int) -> None:
    table = read_table(put(f"{head}id,x\n{first},1\n#2,5\nc #,\n"))
    assert table.frame["id"].tolist() == [first, "#2", "c #"]
    assert table.rows.tolist() == [row, row + 1, row + 2]


def test_groups_that_differ_behind_the_sign_stay_two(put) -> None:
    rows = "".join(f"{k},{k % 2},arm #{1 + k % 3 % 2}\n" for k in range(1, 13))
    follow_up = read_follow_up(put("t,e,arm\n" + rows), time="t", event="e", by=["arm"])
    assert follow_up.factors["arm"] == ("arm #1", "arm #2")


def test_rows_are_those_of_an_editor(put) -> None:
    text = '# export\n\nid,note,x\na,,1\n\nb,"two\nlines",2\n,,\nc,,3\n'
    table = read_table(put(text))
    assert table.frame["id"].tolist() == ["a", "b", "c"]
    assert table.rows.tolist() == [4, 6, 9]
    assert table.header_row == 3


def test_a_bad_value_is_named_by_its_row(put) -> None:
    path = put("#Overall survival\n#NUMBER\nid\tt\te\na\t5\t1\n\nb\tmany\t0\n", "clinical.txt")
    with pytest.raises(BadInput, match=r"row 6, column 't': is not a number \(found 'many'\)"):
        read_follow_up(path, time="t", event="e")


def test_rows_of_another_length_are_refused_by_row(put) -> None:
    text = refused(put("id,t,e,g\na,1,0\nb,2,1,low\nc,3,1,low,5\nd,4,1,low,,\n"))
    assert "row 2: 3 fields where the header has 4" in text
    assert "row 4: 5 fields where the header has 4" in text
    assert "row 5" not in text  # separators at the end hold nothing


def test_row_names_of_r_are_told_from_stray_separators(put) -> None:
    assert "row.names = FALSE" in refused(put('"t" "e"\n"1" 5 1\n"2" 6 0\n'))


def test_a_name_that_stands_twice_matters_to_who_asks_for_it(put) -> None:
    path = put("t,e,g,t,e2\n1,0,x,30,0\n2,1,y,60,1\n")
    table = read_table(path)
    assert list(table.frame) == ["e", "g", "e2"]
    assert table.notes == ("column name 't' stands twice (columns 1, 4): not used",)
    assert not table.asked(["e", "g"])
    assert "column name stands twice, as columns 1, 4" in str(table.asked(["t"])[0])
    with pytest.raises(BadInput, match="row 1, column 't': column name stands twice"):
        read_follow_up(path, time="t", event="e")
    used = read_follow_up(put("t,e,g,x,x\n1,0,a,5,6\n2,1,b,7,8\n"), time="t", event="e", by=["g"])
    assert used.events == 1
    assert used.notes == ("column name 'x' stands twice (columns 4, 5): not used",)


def test_a_column_without_a_name_is_no_obstacle(put) -> None:
    assert list(read_table(put('"",t,e\n1,5,0\n2,6,1\n')).frame) == ["column 1", "t", "e"]


def test_a_file_without_header_is_refused_or_read_whole(put) -> None:
    path = put("0.55, 1.0\n1.1, 1.0\n2.1, 0.905\n")
    assert "no header: the first line holds numbers only" in refused(path)
    table = read_table(path, headless=True)
    assert cells(table) == [["0.55", "1.0"], ["1.1", "1.0"], ["2.1", "0.905"]]
    assert table.notes == ("no header: the first line (row 1) is data",)


ARCHIVE = """\
bcr_patient_barcode\tlast_contact_days_to\tvital_status
bcr_patient_barcode\tdays_to_last_followup\tvital_status
CDE_ID:2003301\tCDE_ID:3008273\tCDE_ID:5
TCGA-1\t320\tAlive
TCGA-2\t58\tDead
"""


@pytest.mark.parametrize(
    ("text", "options", "rows"),
    [
        (ARCHIVE, {}, [4, 5]),
        ("id,t,g\nSTRING,NUMBER,STRING\na,5,x\n", {}, [3]),
        ("id,t,g\nPatient,Months to death,Group\na,5,x\n", {"header_rows": 1}, [3]),
        ("id,t,g\nPatient,Months to death,Group\na,5,x\n", {}, [2, 3]),
        (ARCHIVE, {"header_rows": 0}, [2, 3, 4, 5]),
    ],
)
def test_header_rows_of_archives(put, text: str, options: dict[str, int], rows: list[int]) -> None:
    table = read_table(put(text), **options)
    assert table.rows.tolist() == rows
    assert bool(table.notes) == (len(rows) < text.count("\n") - 1)


def points(put, text: str, *names: str) -> tuple[list[list[str]], str]:
    table, faults = read_table(put(text)).with_decimal_points(names)
    return [table.frame[name].tolist() for name in names], "\n".join(map(str, faults))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (["12,5", "3", "1,234"], ["12.5", "3", "1.234"]),  # 12,5 decides for the column
        (["0,123", "0,500"], ["0.123", "0.500"]),  # no thousands begin with 0
        (["1.234,5", "7"], ["1234.5", "7"]),
        (["-0,5", "NA", "1,0e-2", ""], ["-0.5", "NA", "1.0e-2", ""]),
        (["1234,567"], ["1234.567"]),
        (["12.5", "1.234"], ["12.5", "1.234"]),
    ],
)
def test_a_decimal_comma_is_decided_by_the_column(put, column, values) -> None:
    text = "x;g\n" + "".join(f"{value};a\n" for value in column)
    found, faults = points(put, text, "x")
    assert (found, faults) == ([values], "")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["1,234", "2,500", "7"], "two readings: 1.234 or 1234"),
        (["12,5", "1,234,567"], "thousands are set off by commas (found '1,234,567')"),
        (["1,234.5"], "thousands are set off by commas"),
        (["12,5", "13.5"], "points and commas in the numbers of one column"),
    ],
)
def test_commas_with_two_readings_are_refused(put, column, words: str) -> None:
    text = "x;g\n" + "".join(f"{value};a\n" for value in column)
    found, faults = points(put, text, "x")
    assert words in faults
    assert found == [column]


def test_excel_of_another_country(put) -> None:
    text = "\ufeffPatient;Überleben;tot\nP1;10,6;0\nP2;3,9;1\nP3;24;1\n"
    follow_up = read_follow_up(put(text), time="Überleben", event="tot")
    assert (follow_up.rows, follow_up.events, follow_up.last_time) == (3, 2, 24.0)
    assert follow_up.notes == ("cells are separated by semicolons", "decimal commas in Überleben")
    with pytest.raises(BadInput, match="two readings"):
        read_follow_up(put("t;e\n1,234;0\n2,345;1\n"), time="t", event="e")


def test_text_of_excel_is_read_and_unknown_bytes_are_named(put) -> None:
    text = "id\tort\na\tfür\n"
    assert cells(read_table(put(text.encode("utf-16"), "a.txt"))) == [["a", "für"]]
    message = refused(put(text.encode("latin-1")))
    assert "row 2: not UTF-8 text" in message
    assert "remedy: save it as 'CSV UTF-8'" in message
    assert "map" not in message
    assert "[files] encoding" in refused(put(text.encode("latin-1")), mapped=True)
    assert cells(read_table(put(text.encode("latin-1")), encoding="latin-1")) == [["a", "für"]]
    assert "an Excel workbook" in refused(put(b"PK\x03\x04\xff\xfe" + bytes(9)))


def test_quotation_marks_that_do_not_pair_up(put) -> None:
    assert "row 3: quotation marks do not pair up" in refused(put('a,b\n1,2\n"3,4\n5,6\n'))


def test_a_space_before_a_quoted_cell_belongs_to_nobody(put) -> None:
    assert cells(read_table(put('x,y\n"0,55", "1,0"\n'))) == [["0,55", "1,0"]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_large_files_read_as_small_ones(put, monkeypatch, end: str) -> None:
    text = "#c\nid,x\n a,1\n\nb ,2#\n , \nc,\n".replace("\n", end)
    small = read_table(put(text))
    monkeypatch.setattr(module, "_LARGE", 0)
    large = read_table(put(text))
    assert large.columns.combine_chunks() == small.columns.combine_chunks()
    assert isinstance(large.columns, pa.Table)
    np.testing.assert_array_equal(large.rows, small.rows)
    assert small.rows.tolist() == [3, 5, 7]
    assert "row 7: 3 fields" in refused(put(text.replace("c,", "c,1,2")))

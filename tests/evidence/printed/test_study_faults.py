"""Every way a study folder can be wrong is told by file, row, column and remedy, all at once."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from her2bayes.errors import BadInput, Fault
from her2bayes.evidence.printed import csv_rows
from her2bayes.evidence.printed.schema import LEDGER, MAX_FAULTS
from her2bayes.evidence.printed.study import load_study, skeleton_folder

FACTS, COUNTS, TOML = "transition_facts.csv", "status_counts.csv", "study.toml"
SURVIVAL, RESPONSES, EVENTS = "survival.csv", "responses.csv", "adverse_events.csv"


@pytest.fixture
def folder(tmp_path) -> Path:
    shutil.copytree(skeleton_folder(), tmp_path / "study")
    return tmp_path / "study"


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {file.name}"
    file.write_text(text.replace(old, new, 1), encoding="utf-8", newline="")


def faults(folder: Path) -> tuple[Fault, ...]:
    with pytest.raises(BadInput) as bad:
        load_study(folder)
    return bad.value.faults


def row_of(file: Path, text: str) -> int:
    """Row of a file in which a text stands, as a spreadsheet counts."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return next(n for n, line in enumerate(lines, 1) if text in line)


# file, text to replace, its replacement, column, problem, part of value/allowed/remedy
ONE_FAULT = [
    (LEDGER, ",50 (25.0),25.0,", ",50 (25.0),120,", "value", "an impossible percentage", "100"),
    (LEDGER, "%,1,50,200", "%,1,250,200", "numerator", "count above its denominator", "0 to 200"),
    (LEDGER, "%,1,50,200", "%,1,-50,200", "numerator", "a count below zero", "-50"),
    (LEDGER, "%,1,50,200", "%,1,50,0", "denominator", "a denominator of zero", "empty"),
    (LEDGER, "%,1,50,200", "%,1,50.5,200", "numerator", "not a whole number", "digits only"),
    (LEDGER, "%,1,50,200", "%,1,50%,200", "numerator", "not a whole number", "number alone"),
    (LEDGER, "table1.low,", "table1.zero,", "claim_id", "id stands already in row 6", "own id"),
    (LEDGER, "table1.low,", "=cmd|'/c calc'!A1,", "claim_id", "not a plain name", "letters"),
    (LEDGER, "table1.low,", ",", "claim_id", "cell is empty", "unique"),
    (LEDGER, "median[age]", "median age", "estimand", "not an estimand", "kind[outcome"),
    (LEDGER, "median[age]", "medain[age]", "estimand", "unknown kind 'medain'", "'median'?"),
    (LEDGER, "median[age]", "median[weight]", "estimand", "unknown endpoint or measure", "age"),
    (LEDGER, "| age=>60]", "| sex=male]", "estimand", "unknown factor", "hr_status"),
    (LEDGER, "| age=>60]", "| age=>70]", "estimand", "unknown level of 'age'", "'>60'"),
    (LEDGER, "share[her2=low | age", "share[her2=Low | age", "estimand", "unknown level", "'low'"),
    (LEDGER, "share[her2=low | age", "share[low | age", "estimand", "not factor=level", "her2=low"),
    (LEDGER, "[zero -> low]", "[zero low]", "estimand", "outcome is not 'a -> b'", "zero -> low"),
    (LEDGER, "[zero -> low]", "[none -> low]", "estimand", "unknown HER2 class", "zero"),
    (LEDGER, "[os ; hr_status: p", "[os ; er: p", "estimand", "unknown factor", "hr_status"),
    (LEDGER, "[os ; hr_status: p", "[pfs ; hr_status: p", "estimand", "unknown endpoint", "os"),
    (LEDGER, "vs negative]", "vs none]", "estimand", "unknown level of 'hr_status'", "negative"),
    (LEDGER, "response_rate[orr]", "response_rate[cbr]", "estimand", "unknown response", "orr"),
    (LEDGER, "event_rate[nausea", "event_rate[nausee", "estimand", "unknown adverse", "'nausea'"),
    (LEDGER, "severity=any", "severity=all", "estimand", "unknown severity", "grade 3-4"),
    (LEDGER, "association[age ;", "association[size ;", "estimand", "unknown outcome", "age"),
    (LEDGER, ",median_range,", ",median-range,", "statistic", "not in the list", "'median_range'"),
    (LEDGER, "57,29,88", "57,88,29", "lower", "limits the wrong way round", "exchange"),
    (LEDGER, "57,29,88", "57,29,", "upper", "one limit only", "both limits"),
    (LEDGER, "57,29,88", '"1,234",29,88', "value", "not a number", "1234 or 1.234"),
    (LEDGER, "57,29,88", "nan,29,88", "value", "not a number", "column note"),
    (LEDGER, "57,29,88", "NR,29,88", "value", "not a number", "medians of endpoints"),
    (LEDGER, "57,29,88", ",29,88", "value", "cell is empty", "printed number"),
    (LEDGER, "=,0.31,", "=,1.31,", "p_value", "a P value outside 0 to 1", "0 to 1"),
    (LEDGER, "=,0.31,", "=,NS,", "p_value", "not a P value", "statistic = significant"),
    (LEDGER, "=,0.31,", "=,***,", "p_value", "not a P value", "the stars stand for"),
    (LEDGER, "=,0.31,", "=,5.8 × 1048,", "p_value", "not a P value", "minus of the exponent"),
    (LEDGER, "=,0.31,", "=,,", "p_value", "cell is empty", "as printed"),
    (LEDGER, "=,0.31,", "<,0.31,", "relation", "relation is not that of P", "write ="),
    (LEDGER, "=,0.31,", "~,0.31,", "relation", "not in the list", "<"),
    (LEDGER, "longer survival,1,", "longer survival,2,", "value", "not a statement", "0, 1"),
    (LEDGER, "0.60,0.40,0.89", "-0.51,0.40,0.89", "value", "a ratio that is not positive", "log"),
    (LEDGER, "0.60,0.40,0.89", "0.60,-0.92,0.89", "lower", "a limit below zero", "log"),
    (LEDGER, "200 patients,200,", "200 patients,200.5,", "value", "not a count", "whole number"),
    (LEDGER, "%,1,50,200", "%,0,50,200", "decimals", "decimals are not those of the text", "1"),
    (LEDGER, "25.0,,,=,,%,1,50", "25.04,,,=,,%,1,50", "decimals", "more digits than decimals", "2"),
    (LEDGER, "%,1,50,200", "%,x,50,200", "decimals", "not a whole number", "digits"),
    (LEDGER, "%,1,50,200", "%,99,50,200", "decimals", "not a number of decimals", "10"),
    (LEDGER, "=,,%,1,50,200", "=,,,1,50,200", "unit", "a percentage without %", "%"),
    (LEDGER, "the only cell", "x" * 2001 + " cell", "note", "text is too long", "2000"),
    (LEDGER, "Results,transition", ",transition", "locator", "cell is empty", "Table 2"),
    (COUNTS, "hr_status,positive,low,66", "hr_status,positive,zero,66", None, "cell", "keep"),
    (COUNTS, "hr_status,negative,low,24", "hr,negative,low,24", "factor", "unknown factor", "hr_s"),
    (COUNTS, "hr_status,negative,low,24", "hr_status,neg,low,24", "level", "unknown level", "neg"),
    (COUNTS, "hr_status,negative,low,24", "hr_status,,low,24", "level", "half a group", "neither"),
    (COUNTS, "negative,low,24", "negative,ultralow,24", "her2", "unknown level of 'her2'", "low"),
    (COUNTS, "negative,low,24", "negative,low,", "count", "cell is empty", "patients"),
    (COUNTS, "negative,low,24", "negative,low,-24", "count", "a count below zero", "0 or more"),
    (FACTS, "zero->low,=", "zero=>low,=", "cells", "not a cell", "off_diagonal"),
    (FACTS, "zero->low,=", "none->low,=", "cells", "unknown HER2 class", "zero"),
    (FACTS, "zero->low,=", "zero->low,~", "relation", "not in the list", "<="),
    (FACTS, "=,20,", "=,20.5,", "value", "not a whole number", "digits"),
    (FACTS, "text.zero_low", "text.zero_lo", "claim_id", "no such claim", "text.zero_low"),
    (FACTS, "discordant,", "zero_low,", "fact_id", "id stands already", "own id"),
    (SURVIVAL, "os,,,200,99,30.2", "pfs,,,200,99,30.2", "endpoint", "unknown endpoint", "os"),
    (SURVIVAL, "os,,,200,99", "os,,,200,299", "events", "count above its denominator", "0 to 200"),
    (SURVIVAL, "26.1,35.9", "35.9,26.1", "median_lower", "limits the wrong way", "exchange"),
    (RESPONSES, ",,CR,8,200", ",,XR,8,200", "category", "unknown response", "CR"),
    (RESPONSES, ",,CR,8,200", ",,CR,8,7", "count", "count above its denominator", "0 to 7"),
    (EVENTS, "grade 3-4,6", "any,6", None, "cell stands already", "keep one row"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "column", "problem", "more"), ONE_FAULT)
def test_one_fault_is_one_clear_message(folder, name, old, new, column, problem, more):
    row = row_of(folder / name, old)
    change(folder / name, old, new)
    found = faults(folder)
    wanted = [fault for fault in found if problem in fault.problem]
    assert len(wanted) == 1, "\n".join(map(str, found))
    fault = wanted[0]
    assert (fault.file, fault.column) == (folder / name, column)
    assert fault.row == row
    assert fault.remedy or fault.allowed
    assert more in str(fault)
    # a lost cell or id may be missed elsewhere: 'no count of ...', 'no such claim'
    others = [f for f in found if f is not fault and not f.problem.startswith("no ")]
    assert not others, "\n".join(map(str, found))


TOML_FAULTS = [
    ("schema = 1", "schema = 2", "schema", "unknown version", "1"),
    ('id = "my_paper"', 'id = "../my_paper"', "id", "not a study id", "lower-case"),
    ('id = "my_paper"', 'id = "/etc"', "id", "not a study id", "lower-case"),
    ('id = "my_paper"', 'id = "my paper"', "id", "not a study id", "lower-case"),
    ('id = "my_paper"', "id = 7", "id", "wrong kind of entry", "text in quotes"),
    ('title = "', 'titel = "', "titel", "no such entry", "'title'"),
    ('title = "', 'titel = "', "title", "entry is missing", "text in quotes"),
    ("patients = 200", "patients = 0", "patients", "no patients", "1 or more"),
    ("patients = 200", 'patients = "200"', "patients", "wrong kind", "a whole number"),
    ("patients = 200", "patients = true", "patients", "wrong kind", "a whole number"),
    ("alpha = 0.05", "alpha = 5.0", "alpha", "not a probability", "between 0 and 1"),
    ('"log-rank test"', "3", "methods.survival_comparison", "wrong kind", "text"),
    ('levels = ["CR", "PR", "SD", "PD"]', "", "factors.best_response.levels", "missing", "list"),
    ('levels = ["yes", "no"]', "levels = []", "factors.death.levels", "no levels", "at least one"),
    ('levels = ["yes", "no"]', 'levels = ["yes", "yes"]', "factors.death", "stands twice", "yes"),
    ('levels = ["yes", "no"]', "levels = [1, 0]", "factors.death.levels", "wrong kind", "list of"),
    ('["≤60", ">60"]', '["<=60", ">60"]', "factors.age", "cannot be named so", "≤50"),
    ('parent = "relapse_type"', 'parent = "relapse"', "factors.site.parent", "not a factor", "rel"),
    ('parent = "relapse_type"', "", "factors.site.parent", "within without parent", "parent ="),
    ('parent = "relapse_type"', 'parent = "site"', "factors.site.parent", "not a factor", "her2"),
    ('"lymph node" = "local", ', "", "factors.site.within", "has no parent level", "lymph node"),
    (
        '"liver" = "distant"',
        '"liver" = "distent"',
        "factors.site.within",
        "no such level",
        "distant",
    ),
    (
        'orr = ["CR", "PR"]',
        'orr = ["CR", "PT"]',
        "factors.best_response.groups.orr",
        "no such",
        "PR",
    ),
    ('orr = ["CR", "PR"]', 'PD = ["CR", "PR"]', "factors.best_response", "stands twice", "PD"),
    ('origin = "first relapse"', "", "endpoints.os.origin", "entry is missing", "text"),
    ('event = "death=yes"', 'event = "dead=yes"', "endpoints.os.event", "no such event", "factor"),
    ("[factors.death]", "[factors.Death]", "factors.Death", "not a plain name", "lower-case"),
    ("[measures.age]", "[measure.age]", "measure", "no such entry", "'measures'"),
    ("[methods]", "methods = 3\n[method]", "methods", "not a section", "write [methods"),
]


@pytest.mark.parametrize(("old", "new", "place", "problem", "more"), TOML_FAULTS)
def test_faults_of_the_design(folder, old, new, place, problem, more):
    change(folder / TOML, old, new)
    found = [f for f in faults(folder) if f.column == place and problem in f.problem]
    assert len(found) == 1
    assert found[0].file == folder / TOML
    assert more in str(found[0])


def test_bad_toml_names_the_line(folder):
    change(folder / TOML, "patients = 200", "patients = = 200")
    (fault,) = [f for f in faults(folder) if f.file == folder / TOML]
    assert fault.row == row_of(folder / TOML, "patients = =")
    assert "not a TOML file" in fault.problem


def test_factors_nested_in_each_other(folder):
    text = 'levels = ["local", "distant"]'
    within = '{ "local" = "breast", "distant" = "bone" }'
    change(folder / TOML, text, f'{text}\nparent = "site"\nwithin = {within}')
    assert "nested in itself" in str(faults(folder)[0])


def test_all_faults_of_all_files_come_together(folder):
    change(folder / TOML, "alpha = 0.05", "alpha = 5.0")
    change(folder / LEDGER, "%,1,50,200", "%,1,250,200")
    change(folder / LEDGER, "45%,45,", "45%,450,")
    change(folder / FACTS, "=,20,", "=,twenty,")
    (folder / COUNTS).write_bytes(b"factor,level\xff")
    named = {(f.file.name, f.column) for f in faults(folder)}
    assert {
        (TOML, "alpha"),
        (LEDGER, "numerator"),
        (LEDGER, "value"),
        (FACTS, "value"),
        (COUNTS, None),
    } <= named


def test_a_misspelt_header_is_one_message(folder):
    change(folder / LEDGER, "claim_id,locator", "claim_id,locater")
    (fault,) = faults(folder)
    assert (fault.problem, fault.column, fault.row) == ("no such column", "locater", 3)
    assert "did you mean 'locator'?" in str(fault)


def test_a_missing_column_is_one_message(folder):
    file = folder / COUNTS
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(r"(?m)^(?!#)(.*),[^,]*$", r"\1", text), encoding="utf-8")
    (fault,) = faults(folder)
    assert (fault.problem, fault.column, fault.row) == ("column is missing", "locator", 2)


def test_extra_double_and_nameless_columns(folder):
    file = folder / COUNTS
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(r"(?m)^(?!#)(.*)$", r"\1,count,extra,", text.rstrip()), encoding="utf-8")
    problems = {f.problem for f in faults(folder) if f.row == 2}
    assert {"column stands twice", "no such column", "a column without a name"} <= problems


def test_semicolons_are_recognised(folder):
    file = folder / COUNTS
    file.write_text(file.read_text(encoding="utf-8").replace(",", ";"), encoding="utf-8")
    assert (
        load_study(folder).status_counts().keys()
        == load_study(skeleton_folder()).status_counts().keys()
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "file is empty"),
        (b"\xef\xbb\xbf", "file is empty"),
        (b" \r\n\n", "file is empty"),
        (b"# only a comment\n", "nothing but comment lines"),
        (b"claim_id,locat\xe9r\n", "not UTF-8 text at byte 15"),
        ("claim_id".encode("utf-16"), "looks like UTF-16"),
        (b"claim_id,\0\n", "holds a NUL byte"),
        (b"claim_id,\x07\n", "holds a control character"),
        (b'claim_id,"loc\n', "quotation marks do not pair up"),
        (b'claim_id,"l"oc\n', "quotation marks do not pair up"),
        (b"PK\x03\x04 an .xlsx file", "holds a control character"),
    ],
)
def test_files_that_are_no_tables(folder, content, problem):
    (folder / LEDGER).write_bytes(content)
    (fault,) = faults(folder)
    assert fault.file == folder / LEDGER
    assert problem in fault.problem
    assert fault.remedy


def test_ledger_needs_rows(folder):
    shutil.copy(folder / LEDGER, folder / "keep")
    header = (folder / LEDGER).read_text(encoding="utf-8").splitlines()[2]
    (folder / LEDGER).write_text(header + "\n", encoding="utf-8")
    assert "no rows below the header" in str(faults(folder))


def test_a_short_row_is_named(folder):
    change(folder / LEDGER, ",200 patients,200,,,=,,patients,0,200,,,", ",200 patients,200")
    found = [f for f in faults(folder) if "fields where the header has 16" in f.problem]
    assert [f.row for f in found] == [4]


def test_a_folder_or_a_pipe_instead_of_a_file(folder):
    (folder / COUNTS).unlink()
    (folder / COUNTS).mkdir()
    os.mkfifo(folder / "extern")
    (folder / "external.csv").unlink()
    (folder / "extern").rename(folder / "external.csv")
    problems = [f.problem for f in faults(folder)]
    assert problems == ["a folder where a file should be", "not a regular file"]


def test_a_missing_ledger_and_a_misspelt_file(folder):
    (folder / LEDGER).rename(folder / "estimate.csv")
    found = [f for f in faults(folder) if f.column is None]
    assert {f.file.name for f in found} == {LEDGER, "estimate.csv"}
    assert "did you mean 'estimates.csv'?" in str(found)


def test_a_folder_without_design(folder):
    (folder / TOML).unlink()
    (fault,) = faults(folder)
    assert (fault.problem, fault.file) == ("file is missing", folder / TOML)
    assert "new_study" in fault.remedy


def test_huge_files_are_refused(folder, monkeypatch):
    monkeypatch.setattr(csv_rows, "MAX_BYTES", 1000)
    assert {f.problem for f in faults(folder)} == {"file is too large"}


def test_many_faults_are_counted(folder):
    lines = (folder / LEDGER).read_text(encoding="utf-8").splitlines()
    many = [
        f"x{n},Text,share[her2=low],percentage,,120,,,,,%,0,,,," for n in range(MAX_FAULTS + 250)
    ]
    (folder / LEDGER).write_text("\n".join([lines[2], *many]), encoding="utf-8")
    found = [f for f in faults(folder) if f.file == folder / LEDGER]
    assert len(found) == MAX_FAULTS + 1
    assert found[-1].problem == "and 250 more faults"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (lambda folder: folder / "nowhere", "no such study folder"),
        (lambda folder: folder / ".." / "x", "no such study folder"),
        (lambda folder: folder / LEDGER, "a file where a study folder should be"),
        (lambda folder: Path("a\0b"), "study folder"),
        (lambda folder: Path("x" * 5000), "not a path"),
    ],
)
def test_paths_that_are_no_study(folder, path: Callable[[Path], Path], problem):
    with pytest.raises(BadInput, match=problem):
        load_study(path(folder))


def test_what_is_accepted(folder):
    """Byte-order mark, CRLF, quoted cells, columns in another order, spaces, empty rows."""
    import csv

    plain = load_study(folder)
    for file in folder.glob("*.csv"):
        lines = [x for x in file.read_text(encoding="utf-8").splitlines() if x[0] != "#"]
        rows = list(csv.reader(lines))
        text = "\r\n\r\n".join(",".join(f'" {c} "' if c else "" for c in r[::-1]) for r in rows)
        file.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n,,\r\n")
    again = load_study(folder)
    assert again.ledger.equals(plain.ledger)
    assert again.transition_facts.equals(plain.transition_facts)


def test_numbers_a_spreadsheet_rewrote_are_read_as_printed(folder):
    """45.0 saved as 45, 0.40 as 0.4, 53 as 53.0: the printed digits come back."""
    change(folder / LEDGER, ",90 (45.0),45.0,", ",90 (45.0),45,")
    change(folder / LEDGER, "%,1,90,200", "%,1.0,90.0,200.0")
    change(folder / LEDGER, ",0.60,0.40,0.89,", ",0.6,0.4,0.89,")
    rows = load_study(folder).ledger.set_index("claim_id")
    assert rows.loc["table1.low", "value"] == "45.0"
    assert rows.loc["table1.low", "numerator"] == 90
    assert list(rows.loc["text.hr", ["value", "lower"]]) == ["0.60", "0.40"]


def test_estimands_come_back_in_one_form(folder):
    change(folder / LEDGER, "share[her2=low | age=>60]", "share [her2 = low|age = >60]")
    change(folder / LEDGER, "transition[zero -> low]", "transition[zero->low]")
    rows = load_study(folder).ledger.set_index("claim_id")
    assert rows.loc["text.low_over60", "estimand"] == "share[her2=low | age=>60]"
    assert rows.loc["text.zero_low", "estimand"] == "transition[zero -> low]"


def test_text_like_a_formula_stays_text(folder):
    change(folder / LEDGER, "the only cell printed by age", "=HYPERLINK(1)")
    change(folder / LEDGER, "significantly longer survival", "@SUM(A1)+<script>")
    rows = load_study(folder).ledger.set_index("claim_id")
    assert rows.loc["text.low_over60", "note"] == "=HYPERLINK(1)"
    assert rows.loc["text.hr.words", "text"] == "@SUM(A1)+<script>"


def test_printed_contradictions_are_remarks_not_faults(folder):
    """A ratio outside its own interval can be printed; the audit judges it."""
    change(folder / LEDGER, "HR 0.60, 95% CI 0.40–0.89", "HR 0.95, 95% CI 0.40–0.89")
    change(folder / LEDGER, ",0.60,0.40,0.89,", ",0.95,0.40,0.89,")
    change(folder / LEDGER, ",90 (45.0),45.0,", ",90 (45.0),46.0,")
    found = load_study(folder).remarks
    problems = {fault.problem for fault in found}
    assert problems == {"not in the printed text", "value outside its own limits"}

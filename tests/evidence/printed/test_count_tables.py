"""A user's tables of counts and the printed ones: what is arranged, and every refusal by name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence.printed.adverse_events import ANY, read_adverse_events
from her2bayes.evidence.printed.count_tables import (
    notes,
    read_event_table,
    read_external_table,
    read_response_table,
)
from her2bayes.evidence.printed.responses import read_responses
from her2bayes.evidence.printed.study import load_study, published_folder

NI = load_study(published_folder() / "ni2025")


def written(folder: Path, *lines: str) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_printed_levels_are_completed_by_subtraction() -> None:
    found = read_responses(NI)
    assert found is not None
    brain = found.counts["orr", "brain_metastases"]
    assert list(brain["level"].values) == ["yes", "no"]
    assert brain["responders"].values.tolist() == [2, 21]
    assert brain["patients"].values.tolist() == [11, 53]


def test_categories_follow_from_the_groups() -> None:
    """Nobody has a complete response, so that the responders of every level are partial ones."""
    found = read_responses(NI)
    assert found is not None
    assert found.best[""].values.tolist() == [[0, 23, 25, 16]]
    assert found.best["prior_trop2"].values.tolist() == [[0, 0, 5, 5], [0, 23, 20, 11]]
    for table in found.best.values():
        assert table.values.sum() == 64


def test_a_study_without_responses_has_none() -> None:
    assert read_responses(load_study(published_folder() / "shi2023")) is None


def test_responders_above_patients_are_named(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "factor,level,responders,patients",
        ",,23,64",
        "ihc,1+,33,32",
        "ihc,2+,-1,32",
        "ihc,1+,1,2",
        "ihc,,1,2",
        "IHC,x,1,two",
    )
    with pytest.raises(BadInput) as bad:
        read_response_table(path)
    text = str(bad.value)
    assert "table.csv, row 3, column 'responders': more responders than patients (found 33)" in text
    assert "allowed: 0 to 32; remedy: correct one of the two" in text
    for part in ("row 4", "a negative count", "row 5", "stands already", "half a group",
                 "not a name of a factor", "not a whole number"):  # fmt: skip
        assert part in text


def test_a_good_table(tmp_path: Path) -> None:
    path = written(tmp_path, "patients,level,factor,responders", "64,,,23", "10,yes,trop2,0")
    found = read_response_table(path)
    assert set(found) == {("response", ""), ("response", "trop2")}
    assert found["response", "trop2"]["patients"].values.tolist() == [10]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            ("site,a,4,10", "site,b,5,21"),
            r"9 responders of 31 patients against 6 of 31.*allowed: 6",
        ),
        (
            ("site,a,2,10", "site,b,1,21"),
            r"3 responders of 31 patients against 6 of 31.*allowed: 6",
        ),
        (("site,a,0,10", "site,b,0,17"), r"0 responders of 27 .*allowed: 2 to 6"),
        (("site,a,2,20", "site,b,3,20"), r"column 'patients'.*found 40.*allowed: at most 31"),
    ],
)
def test_levels_fit_into_all_patients(tmp_path: Path, rows: tuple[str, ...], said: str) -> None:
    """Levels are some of the same 31 patients with 6 responders."""
    path = written(tmp_path, "factor,level,responders,patients", ",,6,31", *rows)
    with pytest.raises(BadInput, match=said):
        read_response_table(path)


def test_levels_may_leave_patients_over(tmp_path: Path) -> None:
    path = written(
        tmp_path, "factor,level,responders,patients", ",,6,31", "site,a,4,10", "site,b,2,15"
    )
    assert len(read_response_table(path)) == 2
    with pytest.raises(BadInput, match="no patients"):
        read_response_table(written(tmp_path, "factor,level,responders,patients", ",,0,0"))


def test_a_median_is_no_evidence_to_borrow(tmp_path: Path) -> None:
    path = written(tmp_path, "study,median,patients", "DB-04,8.5,40")
    with pytest.raises(BadInput, match="a median carries no weight of its own"):
        read_external_table(path)
    good = written(tmp_path, "study,responders,patients", "DB-04,20,40")
    assert read_external_table(good) == {"response": [("DB-04", 20, 40)]}


def test_severe_above_any_is_named(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "event,body_system,severity,count,patients",
        "nausea,gut,any,3,64",
        "nausea,gut,grade 3-4,5,64",
        "rash,skin,grade 3-4,1,64",
        "fever,general,any,3,64",
        "fever,general,grade 3-4,1,60",
    )
    with pytest.raises(BadInput) as bad:
        read_adverse_events(read_event_table(path), path)
    text = str(bad.value)
    assert "row 3, column 'count': nausea: more patients with grade 3-4 than with any" in text
    assert "rash: no count of any severity" in text
    assert "fever: the two severities have different patients" in text


def test_events_are_arranged_and_any_event_is_only_bounded() -> None:
    found = read_adverse_events(NI.adverse_events, "adverse_events.csv")
    assert found.severities == (ANY, "grade 3-4")
    assert found.whole == {ANY: (60, 64), "grade 3-4": (9, 64)}
    assert found.bounds("grade 3-4") == (6, 21)
    assert found.bounds(ANY) == (46, 64)
    assert found.cells()["interstitial lung disease", "grade 3-4"] == (1, 64)


def test_more_than_two_severities_are_refused() -> None:
    rows = pd.DataFrame(
        {
            "event": "nausea",
            "body_system": "gut",
            "severity": ["any", "grade 3", "grade 4"],
            "count": [3, 2, 1],
            "patients": 9,
        }
    )
    with pytest.raises(BadInput, match="keep one cut of the grades"):
        read_adverse_events(rows, "x.csv")


def test_counts_may_carry_their_percentage(tmp_path: Path) -> None:
    """46 of 64 is 71.9 %; a number in brackets that is no such percentage is asked about."""
    head = "event,body_system,severity,count,patients,note"
    path = written(tmp_path, head, "nausea,GI,any,46 (71.9),64,x", "nausea,GI,grade 3-4,2/64,64,")
    assert read_event_table(path)["count"].tolist() == [46, 2]
    assert notes(path) == [
        "table.csv: column 'note' is not used",
        "table.csv: 1 percentages beside counts agree with the counts",
    ]
    for cell, words in {
        "46 (17.9)": "46 of 64 is 71.9 %, not 17.9",
        "46/60": "60 after the count, but 64 in the row",
        "<5": "a bound is no count",
        "1.000": "not a whole number",
    }.items():
        with pytest.raises(BadInput, match=words):
            read_event_table(written(tmp_path, head, f"nausea,GI,any,{cell},64,"))
    with pytest.raises(BadInput, match="nothing says what the second is"):
        read_event_table(written(tmp_path, head, "nausea,GI,any,46,77 (1),"))


def test_a_misspelt_column_is_no_column_to_leave_out(tmp_path: Path) -> None:
    path = written(tmp_path, "factor,level,responder,patients", ",,23,64")
    with pytest.raises(BadInput, match="did you mean 'responders'"):
        read_response_table(path)

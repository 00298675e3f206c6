"""Events that are severe by definition have one count, and tables with any event at all alone."""

from __future__ import annotations

import pandas as pd
import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence.printed.adverse_events import (
    AdverseEvents,
    cut_grade,
    read_adverse_events,
    severe_by_definition,
)
from her2bayes.evidence.printed.study import load_study, published_folder
from her2bayes.rates.events import limits, modelled

Row = tuple[str, str, int, int]


def table(*rows: Row) -> AdverseEvents:
    frame = pd.DataFrame(
        [
            (line, event, "", severity, count, patients)
            for line, (event, severity, count, patients) in enumerate(rows, start=2)
        ],
        columns=["row", "event", "body_system", "severity", "count", "patients"],
    )
    return read_adverse_events(frame, "t.csv")


@pytest.mark.parametrize(
    ("severity", "grade"),
    [
        ("grade 3-4", 3), ("grade ≥3", 3), ("Grade 3/4/5", 3), ("grade 4", 4), ("severe", 3),
        ("any", None), ("serious", None), ("grade <3", None), ("grade ≤2", None),
    ],
)  # fmt: skip
def test_least_grade_of_a_cut(severity: str, grade: int | None) -> None:
    assert cut_grade(severity) == grade


@pytest.mark.parametrize(
    "event",
    ["febrile neutropenia", "Febrile neutropaenia", "Neutropenia, febrile", "Neutropenic fever",
     "Anaphylaxis", "Tumour lysis syndrome", "Sepsis", "cardiac arrest"],
)  # fmt: skip
def test_events_without_low_grades(event: str) -> None:
    assert severe_by_definition(event, "grade 3-4")
    assert not severe_by_definition(event, "any")


def test_other_events_and_higher_cuts_are_graded() -> None:
    assert not severe_by_definition("neutropenia", "grade 3-4")
    assert not severe_by_definition("fever", "grade 3-4")
    assert not severe_by_definition("febrile neutropenia", "grade 4")  # grade 3 exists
    assert severe_by_definition("cardiac arrest", "grade 4")
    assert not severe_by_definition("febrile neutropenia", "serious")


def test_febrile_neutropenia_of_ni_2025_tells_nothing_of_severe_shares() -> None:
    found = read_adverse_events(load_study(published_folder() / "ni2025").adverse_events, "a.csv")
    assert found.by_definition == ["febrile neutropenia"]
    assert found.cells()["febrile neutropenia", "grade 3-4"] == (1, 64)
    one = modelled(found).sel(event="febrile neutropenia")
    assert (int(one["any"]), int(one["severe"]), int(one["severe_of"])) == (1, 0, 0)
    other = modelled(found).sel(event="neutropenia")
    assert (int(other["severe"]), int(other["severe_of"])) == (6, 20)
    assert found.bounds("grade 3-4") == (6, 21)  # it still counts among severe events


def test_a_severe_count_alone_is_enough_by_definition() -> None:
    found = table(("nausea", "any", 9, 20), ("febrile neutropenia", "grade 3-4", 2, 20))
    assert found.cells()["febrile neutropenia", "any"] == (2, 20)
    with pytest.raises(BadInput, match="rash: no count of any severity"):
        table(("nausea", "any", 9, 20), ("rash", "grade 3-4", 2, 20))


def test_a_paper_that_grades_it_lower_is_taken_as_printed() -> None:
    found = table(
        ("febrile neutropenia", "any", 3, 20), ("febrile neutropenia", "grade 3-4", 2, 20)
    )
    assert found.by_definition == []
    assert int(found.counts["severe_of"][0]) == 3


def test_any_event_alone() -> None:
    found = table(("any", "any", 0, 18), ("any", "grade 3-4", 0, 18))
    assert found.names == []
    assert found.cells() == {("any", "any"): (0, 18), ("any", "grade 3-4"): (0, 18)}
    assert found.bounds("any") == (0, 0)


def test_one_cut_of_the_grades_alone() -> None:
    found = table(("any", "serious", 4, 18), ("sepsis", "serious", 1, 18))
    assert found.severities == ("serious",)
    assert found.cells() == {("any", "serious"): (4, 18), ("sepsis", "serious"): (1, 18)}
    assert limits(found, (0.2, 0.05)) == {"serious": 0.05}  # the threshold of severe events


def test_impossible_tables_are_named() -> None:
    with pytest.raises(BadInput, match=r"row 3.*nobody at risk.*leave the row out"):
        table(("nausea", "any", 9, 20), ("rash", "any", 0, 0))
    with pytest.raises(BadInput, match="keep one cut of the grades, and 'any' where it is counted"):
        table(("nausea", "grade 3", 9, 20), ("nausea", "grade 4", 2, 20))
    said = table(("any", "any", 3, 20), ("nausea", "any", 9, 20)).contradictions()
    assert said == ["9 of 20 patients with nausea (any), but 3 with any event"]

"""Printed facts as constraints: cells, strata, readings, and every fault at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence.printed.study import load_study, study_folder
from her2bayes.transition.facts import cell_mask, readings, table_set

HER2 = ("zero", "low", "positive")
COLUMNS = ("fact_id", "factor", "level", "cells", "relation", "value", "reading")


def facts(*rows: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ("zero->low", [[0, 1, 0], [0, 0, 0], [0, 0, 0]]),
        ("zero->*", [[1, 1, 1], [0, 0, 0], [0, 0, 0]]),
        ("*->low", [[0, 1, 0]] * 3),
        ("diagonal", np.eye(3)),
        ("off_diagonal", 1 - np.eye(3)),
        ("*->*", np.ones((3, 3))),
        ("zero->low + low->zero", [[0, 1, 0], [1, 0, 0], [0, 0, 0]]),
        ("zero->*+diagonal", [[2, 1, 1], [0, 1, 0], [0, 0, 1]]),
    ],
)
def test_cells(cells: str, expected: object) -> None:
    np.testing.assert_array_equal(cell_mask(cells, HER2), expected)


def test_facts_of_all_patients_hold_for_the_sum_over_strata() -> None:
    tables = table_set(
        facts(
            ("n", "", "", "*->*", "=", 10, ""),
            ("a", "site", "bone", "*->zero", "=", 3, ""),
            ("b", "site", "liver", "off_diagonal", "<", 4, ""),
            ("x", "age", "old", "*->*", "=", 99, ""),
        ),
        HER2,
        ["site"],
    )
    assert tables.names == ["bone", "liver"]
    assert tables.fact_id == ("n", "a", "b")
    assert tables.form[0].sum() == 18
    assert tables.form[1, 1].sum() == 0
    assert tables.upper[2] == 3
    assert tables.lower[2] == 0


def test_crossed_factors_make_all_combinations() -> None:
    tables = table_set(
        facts(
            ("n", "", "", "*->*", "=", 10, ""),
            ("a", "site", "bone", "*->*", "=", 4, ""),
            ("b", "site", "liver", "*->*", "=", 6, ""),
            ("c", "hr", "yes", "*->*", "=", 7, ""),
            ("d", "hr", "no", "*->*", "=", 3, ""),
        ),
        HER2,
        ["site", "hr"],
    )
    assert tables.names == ["bone / yes", "bone / no", "liver / yes", "liver / no"]
    np.testing.assert_array_equal(tables.form[1].any(axis=(1, 2)), [True, True, False, False])
    np.testing.assert_array_equal(tables.form[3].any(axis=(1, 2)), [True, False, True, False])


def test_readings_of_shi() -> None:
    study = load_study(study_folder("shi2023"))
    assert readings(study.transition_facts) == ["abstract", "results"]
    assert readings(study.transition_facts.assign(reading="")) == [""]


def test_all_faults_are_reported_together() -> None:
    with pytest.raises(BadInput) as caught:
        table_set(
            facts(
                ("n", "", "", "*->*", "=", 10, ""),
                ("p", "", "", "zero->none", "=", 3, ""),
                ("q", "", "", "zero->low", "about", 3, ""),
                ("r", "", "", "zero->low", "=", 2.5, ""),
                ("s", "", "", "zero->low", "=", -1, ""),
            ),
            HER2,
            ["site"],
        )
    text = str(caught.value)
    assert len(caught.value.faults) == 5
    assert "zero->none" in text
    assert "'q': unknown relation" in text
    assert "'r': not a count" in text
    assert "'s': not a count" in text
    assert "no fact names a level of 'site'" in text


def test_infinitely_many_tables_are_refused() -> None:
    with pytest.raises(BadInput, match="infinitely many"):
        table_set(facts(("a", "", "", "zero->low", "=", 3, "")), HER2)

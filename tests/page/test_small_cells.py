"""Small counts cannot be had back from what is printed, and no more is hidden than that takes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from her2bayes.page.shared import WITHHELD, conceal, conceal_flow, conceal_tables, survival_counts

BELOW = 5


def possible(texts: np.ndarray) -> list[np.ndarray]:
    """Every table (levels and their sum; events, others, patients) with these texts, tried all."""
    levels, most = len(texts) - 1, 20
    choices = [
        [n for n in range(most) if fits(n, text)] for text in texts[:levels, :2].ravel().tolist()
    ]
    found = []
    for cells in product(*choices):
        inner = np.array(cells).reshape(levels, 2)
        table = np.column_stack([inner, inner.sum(1)])
        table = np.vstack([table, table.sum(0)])
        if all(fits(n, t) for n, t in zip(table.ravel(), texts.ravel(), strict=True)):
            found.append(table)
    return found


def fits(count: int, text: str) -> bool:
    if text == f"<{BELOW}":
        return 0 < count < BELOW
    return text == WITHHELD or text == str(count)


def test_one_small_count_takes_another_with_it_and_two_do_not() -> None:
    assert conceal([3, 97, 40, 140], [(3, (0, 1, 2))], BELOW) == ["<5", "97", WITHHELD, "140"]
    assert conceal([20, 97, 140, 257], [(3, (0, 1, 2))], BELOW) == ["20", "97", "140", "257"]
    # two ones add up to two, which would tell both
    assert conceal([1, 1, 98, 100], [(3, (0, 1, 2))], BELOW)[2] == WITHHELD
    assert conceal([0, 3, 7], [], BELOW) == ["0", "<5", "7"]


def test_totals_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        conceal([3, 97, 50], [(2, (0, 1))], BELOW)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=2, max_size=2))
@example([(0, 4), (0, 4)])
@example([(1, 1), (7, 7)])
def test_no_hidden_count_follows_from_a_table(rows: list[tuple[int, int]]) -> None:
    counts = np.array(rows)
    total, (inner,) = conceal_tables([counts], BELOW)
    texts = np.vstack([inner, total])
    tables = possible(texts)
    shown = np.column_stack([counts, counts.sum(1)])
    assert any((table == np.vstack([shown, shown.sum(0)])).all() for table in tables)
    for place in zip(*np.nonzero(texts == f"<{BELOW}"), strict=True):
        values = {int(table[place]) for table in tables}
        assert len(values) > 1, (rows, texts)


def test_tables_without_small_counts_are_whole() -> None:
    one, two = np.array([[10, 20], [30, 0]]), np.array([[40, 20]])
    total, texts = conceal_tables([one, two], BELOW)
    assert total == ["40", "20", "60"]
    assert texts[0].tolist() == [["10", "20", "30"], ["30", "0", "30"]]


def test_what_one_table_hides_another_does_not_give_back() -> None:
    total, texts = conceal_tables([np.array([[3, 50], [47, 50]]), np.array([[50, 100]])], BELOW)
    printed = {*total, *texts[0].ravel(), *texts[1].ravel()}
    assert texts[0][0, 0] == "<5"
    assert not {"50", "47"} <= printed or texts[0][1, 0] == WITHHELD


def test_flow_hides_across_stages_that_share_their_patients() -> None:
    rows = [
        ("patients", "primary and recurrence", 97, 100),
        ("patients", "recurrence only", 3, 100),
        ("recurrence reading", "IHC 0", 60, 100),
        ("recurrence reading", "IHC 3+", 40, 100),
        ("primary reading", "IHC 0", 57, 97),
        ("primary reading", "IHC 3+", 40, 97),
        ("pairs", "one class at both ends", 97, 97),
        ("notes", "sources contradict each other", 2, 2),
    ]
    flow = pd.DataFrame(rows, columns=["stage", "rule", "count", "of"])
    hidden = conceal_flow(flow, BELOW)
    assert hidden["count"].iloc[1] == "<5"
    printed = {*hidden["of"], *hidden["count"]}
    assert not {"97", "100"} <= printed  # 100 - 97 would be 3
    assert not {"60", "97"} <= printed  # 60 + 40 is 100
    assert hidden["count"].iloc[7] == hidden["of"].iloc[7] == "<5"
    assert list(conceal_flow(flow, 2)["count"]) == [str(row[2]) for row in rows]


def test_a_factor_within_another_is_withheld_whole() -> None:
    counts = pd.DataFrame(
        {
            "site": ["lung", "liver", "skin", "node"],
            "kind": ["distant", "distant", "local", "local"],
            "event": [1, 0, 1, 0],
            "patients": [30, 3, 40, 27],
        }
    )
    rows = survival_counts(counts, ["kind", "site"], BELOW)
    assert rows[0] == ("all patients", "", "100", "70")
    sites = [row for row in rows if row[0] == "site"]
    assert {text for row in sites for text in row[2:]} == {WITHHELD}

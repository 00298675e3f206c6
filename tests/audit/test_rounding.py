"""Rounding cells against hand computations."""

from decimal import Decimal
from fractions import Fraction

import pytest

from her2bayes.audit import rounding
from her2bayes.audit.rounding import Interval


def test_a_cell_reaches_half_a_unit_to_both_sides():
    assert rounding.cell(Decimal("21.5")) == Interval(21.45, 21.55)
    assert rounding.cell(Decimal("25.0")) == Interval(24.95, 25.05)
    assert rounding.cell(Decimal("25")) == Interval(24.5, 25.5)


def test_words_rounded_to_tens_have_a_wide_cell():
    assert rounding.cell(rounding.decimal("20", -1)) == Interval(15, 25)


def test_digits_that_a_spreadsheet_dropped_come_back():
    assert rounding.cell(rounding.decimal("45", 1)) == Interval(44.95, 45.05)


@pytest.mark.parametrize(
    ("text", "relation", "low", "high"),
    [("0.001", "<", 0, 0.001), ("0.05", ">", 0.05, 1), ("0.0011", "=", 0.00105, 0.00115)],
)
def test_p_cells(text, relation, low, high):
    found = rounding.p_cell(Decimal(text), relation)
    assert (found.lower, found.upper) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("count", "total", "printed", "rule"),
    [
        (53, 247, "21.5", rounding.EXACT),  # 21.457
        (35, 112, "31.3", rounding.HALF_UP),  # 31.25
        (10, 32, "31.2", rounding.HALF_EVEN),
        (12, 64, "18.8", rounding.EITHER_HALF),  # 18.75: both rules
        (2, 3, "66.6", rounding.TRUNCATED),
        (5, 64, "10.9", None),  # 7.8125
    ],
)
def test_rule_that_prints(count, total, printed, rule):
    assert rounding.rule_that_prints(Fraction(100 * count, total), Decimal(printed)) == rule


def test_whole_counts_behind_a_percentage():
    assert rounding.counts_that_fit(Decimal("22.0"), 247) == ()  # 54: 21.86, 55: 22.27
    assert rounding.counts_that_fit(Decimal("10.9"), 64) == (7,)
    assert rounding.counts_that_fit(Decimal("86"), 28) == (24,)


def test_chance_that_a_random_percentage_fits():
    # 248 of the 1001 percentages 0.0 ... 100.0 are k/247; 65 are k/64
    assert rounding.chance_of_fit(247, 1) == pytest.approx(248 / 1001)
    assert rounding.chance_of_fit(64, 1) == pytest.approx(65 / 1001)
    assert rounding.chance_of_fit(1_000_000, 1) == 1

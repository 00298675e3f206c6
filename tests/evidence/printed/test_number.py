"""Strings as papers print them: one reading is read, two are none; expected values by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her2bayes.evidence.printed.number import (
    count,
    fits_percentage,
    is_not_reached,
    is_nothing,
    is_open,
    number,
    p_as_printed,
    p_value,
    printed_numbers,
    says_not_reached,
    stated,
    whole,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.80", "0.80"), ("0·80", "0.80"), ("0∙80", "0.80"), ("·80", "0.80"), (".8", "0.8"),
        ("0,80", "0.80"), ("57,5", "57.5"), ("0,123", "0.123"), ("1234,5", "1234.5"),
        ("−0.5", "-0.5"), ("–3", "-3"), ("10 784", "10784"), ("10\u2009784", "10784"),
        ("10\u202f784.5", "10784.5"), ("1.234,5", "1234.5"), ("1,234.5", "1234.5"),
    ],
)  # fmt: skip
def test_numbers(text, value):
    assert number(text) == Decimal(value)


@pytest.mark.parametrize("text", ["1,234", "12,345", "NR", "1.2.3", "nan", "1e5", "5 mg", "", "-"])
def test_no_number_or_two_readings(text):
    assert number(text) is None


@pytest.mark.parametrize(
    ("text", "value"), [("53", 53), ("53.0", 53), ("10,784", 10784), ("1 000 000", 10**6)]
)
def test_whole_numbers(text, value):
    assert whole(text) == value


def test_a_point_and_three_zeros_may_be_a_thousand():
    assert whole("1.000") is None


@pytest.mark.parametrize(
    ("text", "relation", "value"),
    [
        ("0.024", "=", "0.024"), (".04", "=", "0.04"), ("0,04", "=", "0.04"), ("0·04", "=", "0.04"),
        ("<0.001", "<", "0.001"), ("p<0.001", "<", "0.001"), ("P < .001", "<", "0.001"),
        ("≪0.0001", "<", "0.0001"), ("<<0.0001", "<", "0.0001"), ("≤0.05", "<", "0.05"),
        (">0.99", ">", "0.99"), ("P=0.04", "=", "0.04"), ("p = 0·04", "=", "0.04"),
        ("p-value 0.03", "=", "0.03"), ("0.04*", "=", "0.04"), ("0.04 **", "=", "0.04"),
        ("0.04†", "=", "0.04"), ("0.04²", "=", "0.04"), ("5.81e-48", "=", "5.81E-48"),
        ("5.81E−48", "=", "5.81E-48"), ("5.81 × 10−48", "=", "5.81E-48"),
        ("5.81 x 10-48", "=", "5.81E-48"), ("5.81×10^-48", "=", "5.81E-48"),
        ("5.81 × 10⁻⁴⁸", "=", "5.81E-48"), ("5·8 × 10−4", "=", "0.00058"),
        ("<10−5", "<", "0.00001"), ("P<10⁻⁵", "<", "0.00001"), ("0.000", "=", "0"),
        ("1,000", "=", "1"), ("<0,001", "<", "0.001"),
    ],
)  # fmt: skip
def test_p_values(text, relation, value):
    assert p_value(text) == (relation, Decimal(value))


@pytest.mark.parametrize("text", ["ns", "NS", "n.s.", "***", "5.81 × 1048", "1e4", "sig", "0.0.4"])
def test_no_p_values(text):
    assert p_value(text) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [("p<0.001", "<0.001"), ("0,04*", "0,04"), ("5.81 × 10⁻⁴⁸", "5.81 × 10⁻⁴⁸"), ("P 0.3", "0.3")],
)
def test_p_is_shown_as_printed(text, shown):
    assert p_as_printed(text) == shown


@pytest.mark.parametrize(
    ("text", "low", "high", "percent", "of"),
    [
        ("46", 46, 46, "", None), ("<11", 0, 10, "", None), ("< 11", 0, 10, "", None),
        ("≤10", 0, 10, "", None), (">5", 6, None, "", None), ("≥6", 6, None, "", None),
        ("1–10", 1, 10, "", None), ("1 to 10", 1, 10, "", None), ("<1", 0, 0, "", None),
        ("fewer than 5", 0, 4, "", None), ("46 (71.9)", 46, 46, "71.9", None),
        ("46 (71·9%)", 46, 46, "71.9", None), ("46 [71.9]", 46, 46, "71.9", None),
        ("46/64", 46, 46, "", 64), ("46 of 64 (71.9 %)", 46, 46, "71.9", 64),
        ("71.9% (46)", 46, 46, "71.9", None), ("1,046 (52)", 1046, 1046, "52", None),
        ("<11 (<3.7)", 0, 10, "3.7", None), ("77 (1)", 77, 77, "1", None),
    ],
)  # fmt: skip
def test_counts(text, low, high, percent, of):
    found = count(text)
    assert found is not None
    assert (found.low, found.high, found.percent, found.of) == (low, high, percent, of)


@pytest.mark.parametrize("text", ["46.5", "<0", "5-5", "10-1", "none", "46 64", "71.9 (46.5)", ""])
def test_no_counts(text):
    assert count(text) is None


@pytest.mark.parametrize(
    "text", ["NR", "n.r.", "NE", "not reached", "Not reached", "∞", "not estimable"]
)
def test_not_reached(text):
    assert is_not_reached(text)
    assert is_open(text)


@pytest.mark.parametrize("text", ["-", "–", "NA", "n.a.", "N/A"])
def test_a_dash_says_nothing_of_its_own(text):
    assert is_nothing(text)
    assert not is_not_reached(text)
    assert is_open(text)


def test_bounds_of_times():
    assert stated(">36") == stated("36+") == stated("≥36") == (">", Decimal(36))
    assert is_open(">36")
    assert not is_open("36")


def test_a_text_says_not_reached_before_its_interval():
    assert says_not_reached("median OS NR (12.3–NE)")
    assert says_not_reached("not reached")
    assert not says_not_reached("18.2 (12.3–NR)")
    assert not says_not_reached("HER2-NEGATIVE 12.3")


def test_numbers_of_a_text_in_every_reading():
    found = printed_numbers("hazard ratio 0·80 (95% CI 0·66–0·98), 10 784 patients")
    assert {"0.80", "0.66", "0.98", "10784"} <= set(found)
    assert {"1.234", "1234"} <= set(printed_numbers("1,234"))
    assert printed_numbers("0.40–0.89, P = 0.011") == ("0.40", "0.89", "0.011")


def test_percentages_are_checked_as_printed():
    assert fits_percentage(46, 64, "71.9")  # 71.875
    assert fits_percentage(46, 64, "71.8")  # cut off
    assert not fits_percentage(46, 64, "17.9")
    assert not fits_percentage(77, 77, "1")


@given(st.decimals(min_value=0, max_value=10**6, places=2), st.sampled_from(".,·"))
def test_two_decimals_come_back_whatever_the_sign(value, sign):
    assert number(f"{value:.2f}".replace(".", sign)) == value


@given(st.integers(0, 10**9), st.sampled_from([",", " ", "\u2009", "'"]))
def test_groups_of_three_come_back(value, sign):
    assert whole(f"{value:,}".replace(",", sign)) == value


@given(st.text(max_size=20))
def test_any_text_has_an_answer(text):
    for read in (number, whole, p_value, count, stated, is_open, printed_numbers):
        read(text)

"""Numbers as text."""

from __future__ import annotations

import pytest

from her2bayes.page.numbers import (
    SPACE,
    count,
    interval,
    number,
    p_value,
    probability,
    survival_time,
)


@pytest.mark.parametrize(
    ("numbers", "unit", "text"),
    [
        ((51.42, 45.21, 57.49), "%", "51.4 (45.2–57.5)"),
        ((-9.1, -18.3, 0.84), "%", "−9.1 (−18.3 to 0.8)"),
        ((0.422, 0.199, 0.892), "", "0.422 (0.199–0.892)"),
        ((1.797, 0.997, 3.239), "", "1.80 (1.00–3.24)"),
        ((3, 1, 7), "lines", "3 (1–7)"),
        ((14.9, 12.5, 17.3), "months", "14.9 (12.5–17.3)"),
        ((54, None, float("nan")), "years", "54.0"),
        ((float("nan"), float("nan"), float("nan")), "%", ""),
    ],
)
def test_an_estimate_and_its_interval_share_their_decimals(numbers, unit, text) -> None:
    assert interval(*numbers, unit=unit) == text


def test_halves_are_rounded_up_as_papers_do() -> None:
    assert [number(value, 1) for value in (31.25, 31.35, 0.25, -0.25)] == [
        "31.3",
        "31.4",
        "0.3",
        "−0.3",
    ]


def test_no_minus_zero_and_no_false_certainty() -> None:
    assert number(-0.001, 1) == "0.0"
    assert probability(0.99996) == ">99.9\N{NO-BREAK SPACE}%"
    assert probability(0.0) == "<0.1\N{NO-BREAK SPACE}%"
    assert probability(0.978) == "97.8\N{NO-BREAK SPACE}%"
    assert probability(float("nan")) == ""


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.00001, "<0.0001"), (0.0006, "0.0006"), (0.0234, "0.023"), (0.217, "0.217"), (None, "")],
)
def test_p_values(p, text) -> None:
    assert p_value(p) == text


def test_counted_things() -> None:
    assert count(1, "row") == "1 row"
    assert count(1234, "quantity", "quantities") == "1,234 quantities"
    assert number(float("inf")) == "∞"


def test_a_bound_beyond_follow_up_is_said():
    nan = float("nan")
    assert interval(45.4, 38.11, nan, unit="months", unreached="not reached") == (
        "45.4 (38.1–not reached)"
    )
    assert interval(nan, 38.1, nan, unit="months", unreached="not reached") == ""
    assert interval(45.4, 38.1, nan, unit="months") == "45.4"


def test_medians_beyond_follow_up_say_what_is_known():
    nan = float("nan")
    assert survival_time(43.84, 37.3, 51.12) == "43.8 (37.3–51.1)"
    assert survival_time(43.84, 37.3, nan) == "43.8 (37.3–not reached)"
    assert survival_time(nan, 37.3, nan) == f"not reached (95{SPACE}% from 37.3)"
    assert survival_time(nan, nan, nan) == "not reached"

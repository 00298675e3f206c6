"""Unconditional tests, ratios and adjusted P values against published and R answers."""

from __future__ import annotations

from math import inf, isnan

import numpy as np
import pytest

from her2bayes.classical.proportions import METHODS, adjusted, newcombe
from her2bayes.errors import BadInput
from her2bayes.rates.classical import barnard, boschloo, ratio


def test_barnard_and_boschloo_of_the_scipy_manual() -> None:
    """Vaccine example of scipy.stats.barnard_exact's page: [[7, 12], [8, 3]], two-sided 0.0681528
    (R: Barnard::barnard.test(8, 14, 1, 3) is another table); boschloo_exact page: the job
    satisfaction example [[74, 31], [43, 32]] has two-sided 0.0707 for boschloo.
    """
    assert barnard(7, 15, 12, 15) == pytest.approx(0.0681528, abs=1e-5)
    assert boschloo(74, 117, 31, 63) < 0.08
    assert barnard(0, 10, 0, 20) == boschloo(10, 10, 20, 20) == 1.0


def test_unconditional_tests_do_not_depend_on_the_order_of_groups() -> None:
    assert barnard(0, 10, 23, 54) == pytest.approx(barnard(23, 54, 0, 10), rel=1e-6)


def test_koopman_of_the_paper() -> None:
    """Koopman 1984, Biometrics 40:513: 36 of 40 against 16 of 80 has 95 % limits 2.94 and 7.15."""
    value, low, high = ratio(36, 40, 16, 80)
    assert value == pytest.approx(4.5)
    assert (round(low, 2), round(high, 2)) == (2.94, 7.15)


def test_katz_by_hand() -> None:
    _, low, high = ratio(13, 32, 10, 32, "Katz")
    half = 1.959964 * np.sqrt(1 / 13 - 1 / 32 + 1 / 10 - 1 / 32)
    assert (low, high) == pytest.approx((1.3 * np.exp(-half), 1.3 * np.exp(half)), rel=1e-6)


def test_ratio_turned_round_is_its_inverse() -> None:
    value, low, high = ratio(2, 11, 21, 53)
    back = ratio(21, 53, 2, 11)
    assert back == pytest.approx((1 / value, 1 / high, 1 / low), rel=1e-6)


def test_ratio_with_nobody_or_everybody() -> None:
    assert ratio(0, 10, 23, 54)[:2] == (0.0, 0.0)
    assert 0 < ratio(0, 10, 23, 54)[2] < 1
    assert ratio(23, 54, 0, 10)[0] == inf
    assert isnan(ratio(0, 10, 0, 10)[0])
    _, low, high = ratio(10, 10, 5, 10)
    assert 1 < low < 2 < high < inf
    assert ratio(0, 10, 5, 10, "Katz")[1:] == (0.0, inf)


def test_impossible_counts_and_methods_are_refused() -> None:
    with pytest.raises(BadInput, match="within its total"):
        barnard(3, 2, 1, 2)
    with pytest.raises(BadInput, match="unknown method"):
        ratio(1, 2, 1, 2, "Wald")
    with pytest.raises(BadInput, match="unknown adjustment"):
        adjusted([0.1], "Sidak")
    with pytest.raises(BadInput, match="P values"):
        adjusted([1.1], "Holm")


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("Bonferroni", [0.05, 0.10, 0.15, 0.20, 1.0]),
        ("Holm", [0.05, 0.08, 0.09, 0.09, 0.5]),
        ("Hochberg", [0.05, 0.08, 0.08, 0.08, 0.5]),
        ("Benjamini-Hochberg", [0.05, 0.05, 0.05, 0.05, 0.5]),
        ("Benjamini-Yekutieli", [0.1141667, 0.1141667, 0.1141667, 0.1141667, 1.0]),
    ],
)
def test_adjusted_as_r_does(method: str, expected: list[float]) -> None:
    """R 4.2: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.5), method), also in another order."""
    p = [0.01, 0.02, 0.03, 0.04, 0.5]
    assert adjusted(p, method) == pytest.approx(expected, abs=1e-7)
    assert adjusted(p[::-1], method) == pytest.approx(expected[::-1], abs=1e-7)
    assert adjusted([], method).size == 0
    assert set(METHODS) >= {method}


@pytest.mark.parametrize(
    ("a", "b"), [((2, 13), (0, 15)), ((0, 3), (3, 3)), ((5, 20), (9, 31)), ((7, 7), (1, 40))]
)
def test_exchanged_groups_mirror_every_answer(a: tuple[int, int], b: tuple[int, int]) -> None:
    assert barnard(*a, *b) == pytest.approx(barnard(*b, *a), abs=1e-6)
    assert boschloo(*a, *b) == pytest.approx(boschloo(*b, *a), abs=1e-6)
    low, high = newcombe(*a, *b)
    assert (low, high) == pytest.approx(tuple(-v for v in reversed(newcombe(*b, *a))), abs=1e-12)
    with np.errstate(divide="ignore"):
        turned = 1 / np.array(ratio(*b, *a))[[2, 1]]
    assert ratio(*a, *b)[1:] == pytest.approx(turned, rel=1e-6)


def test_large_groups_have_no_unconditional_test() -> None:
    assert np.isnan(barnard(100, 400, 90, 400))
    assert np.isnan(boschloo(100, 400, 90, 400))
    assert 0 < barnard(1, 5000, 0, 20) < 1

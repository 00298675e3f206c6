"""Figures of HER2 shares say what they show and draw the same thing twice."""

from __future__ import annotations

import re

import numpy as np
import pytest

from her2bayes.distribution import figures

ROWS = {
    "zero": [figures.Row("lung", 21, (28.6, 13.8, 50.0), (25.0, 14.0, 41.0))],
    "low": [figures.Row("lung", 21, (52.4, 32.4, 71.7), (51.8, 37.0, 66.0))],
    "ultralow": [figures.Row("$<b>", 1, (0.0, 0.0, 79.3), (12.0, 1.0, 40.0))],
}


def test_one_panel_a_class_with_level_size_and_both_numbers() -> None:
    text = figures.partition(ROWS, {"zero": 21.5, "low": 51.4})
    assert text.count('class="panel"') == 3
    assert text.count('class="key"') == 1
    for words in ("HER2-zero", "lung, n = 21", "28.6 → 25.0", "overall 21.5", "$&lt;b&gt;, n = 1"):
        assert words in text


def test_all_panels_have_the_same_scale() -> None:
    text = figures.partition(ROWS, {})
    ticks = [set(re.findall(r">(\d+)</text>", panel)) for panel in text.split("<svg")[2:]]
    assert ticks[0] == ticks[1] == ticks[2]
    assert {"0", "90"} <= ticks[0]


def test_the_same_figure_twice(rng: np.random.Generator) -> None:
    draws = {"low": (100 * rng.beta(1, 2, 2000), 100 * rng.beta(127, 120, 2000))}
    assert figures.densities(draws) == figures.densities(draws)
    assert figures.partition(ROWS, {}) == figures.partition(ROWS, {})


@pytest.mark.parametrize("value", [0.0, 50.0, 100.0])
def test_a_share_without_spread_still_has_a_density(value: float) -> None:
    draws = {"low": (np.linspace(0, 100, 500), np.full(500, value))}
    assert "posterior" in figures.densities(draws)

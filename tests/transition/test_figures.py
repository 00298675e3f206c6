"""Figures of transitions say what they show, hold any text, and are the same twice."""

from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas

from her2bayes.page.section import Figure
from her2bayes.page.section_view import figure_files
from her2bayes.transition import figures
from her2bayes.transition.section import svg

CLASSES = ("zero", "$<b>low$", "positive")
MEDIAN = np.array([[21.0, 9.0, 1.0], [19.0, 29.0, 2.5], [1.0, 4.5, 13.0]])
SQUARE = figures.Square("liver, n = 20", CLASSES, MEDIAN, 0.8 * MEDIAN, 1.2 * MEDIAN)


def words(svg: str) -> list[str]:
    return re.findall(r">([^<>]+)</text>", svg)


def test_alluvial_names_classes_at_both_ends_and_labels_thick_bands() -> None:
    text = words(svg(figures.alluvial(SQUARE)))
    assert text.count("zero") == text.count("positive") == 2
    assert text.count("$&lt;b&gt;low$") == 2
    assert {"31 %", "29 %", "21 %"} <= set(text)  # class totals and flows
    assert "1 %" not in text  # too thin to carry its number
    assert "23 to 35" in text


def test_four_classes_and_an_empty_flow() -> None:
    median = np.diag([40.0, 30.0, 20.0, 10.0])
    four = figures.Square("", ("a", "b", "c", "d"), median, median, median)
    assert {"a", "b", "c", "d"} <= set(words(svg(figures.alluvial(four))))


def test_a_class_that_no_primary_has_sends_no_band() -> None:
    median = np.array([[40.0, 30.0, 0.0], [0.0, 20.0, 10.0], [0.0, 0.0, 0.0]])
    drawn = svg(figures.alluvial(figures.Square("", CLASSES, median, median, median), 100))
    assert f"of {CLASSES[0]} at the primary" in drawn
    assert f"of {CLASSES[2]} at the primary" not in drawn
    wide = figures.Square("", CLASSES, median, median, median + 1.0)
    assert f"{CLASSES[2]} to {CLASSES[0]}: 0.0 % of all" in svg(figures.alluvial(wide, 100))


def test_matrices_print_every_cell() -> None:
    remarks = np.array([["bounded"] * 3] * 3)
    labelled = figures.Square("liver", CLASSES, MEDIAN, MEDIAN, MEDIAN, remarks)
    text = svg(figures.heat(SQUARE), figures.heat(labelled))
    assert text.count('class="panel"') == 2
    assert len([w for w in words(text) if re.fullmatch(r"\d+ %", w)]) == 18
    assert words(text).count("bounded") == 9


def test_intervals_have_a_key_and_one_scale() -> None:
    lines = [
        figures.Line(
            "a → b", {"prior": (14.0, 2.0, 54.0), "posterior": (28.0, 22.0, 34.0)}, "0.95"
        ),
        figures.Line("b → a", {"prior": (14.0, 2.0, 54.0)}),
    ]
    drawn = figures.intervals(lines, label="probability, %", remark="contraction")
    text = svg(drawn, key=figures.key(lines))
    assert {"prior", "posterior", "contraction", "0.95", "a → b"} <= set(words(text))
    assert "60" in words(text)
    assert "70" not in words(text)


def test_curve() -> None:
    x = np.linspace(50, 100, 6)
    band = np.stack([x - 50, 0.5 * (x - 50), x - 40])
    drawn = figures.curve(x, {"true change": band}, x_label="accuracy, %", y_label="change, %")
    text = svg(drawn)
    assert "accuracy, %" in words(text)


@pytest.mark.parametrize("draw", [figures.alluvial, figures.heat])
def test_the_same_figure_twice(draw) -> None:  # type: ignore[no-untyped-def]
    assert isinstance(draw(SQUARE), Canvas)
    assert svg(draw(SQUARE)) == svg(draw(SQUARE))


def test_files_are_complete_drawings_in_colours() -> None:
    figure = Figure("transition-matrix", "t", svg(figures.heat(SQUARE), figures.heat(SQUARE)), "c")
    files = figure_files([figure])
    assert list(files) == [f"figures/transition-matrix-{n}.svg" for n in (1, 2)]
    for text in files.values():
        assert text.startswith('<?xml version="1.0"')
        assert "var(--" not in text
        assert 'xmlns="http://www.w3.org/2000/svg"' in text
        from xml.etree import ElementTree

        ElementTree.fromstring(text.encode())

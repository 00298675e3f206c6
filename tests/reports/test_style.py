"""Figures: small, the same every time, themed by the page, safe with any text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from her2bayes.reports import style


def drawn(label: str = "HER2-low") -> str:
    with style.drawing():
        figure, axes = style.new_figure(300, 200)
        axes.errorbar([1, 2], [1, 2], xerr=0.2, fmt="o", color=style.BLUE)
        axes.fill_between([1, 2], [0, 1], color=style.MUTED, alpha=0.3)
        axes.set_title(label)
        return style.svg(figure)


def test_the_same_figure_is_the_same_text() -> None:
    assert drawn() == drawn()


def test_nothing_the_content_policy_forbids_and_nothing_from_elsewhere() -> None:
    text = drawn()
    assert "style=" not in text
    assert "<style" not in text
    assert "http" not in text
    assert "<script" not in text
    assert len(text) < 6000


def test_colours_of_the_palette_follow_the_theme() -> None:
    text = drawn()
    assert "var(--blue)" in text
    assert style.BLUE not in text
    for dark in (False, True):
        declared = set(re.findall(r"--([a-z]+):", style.css_variables(dark)))
        assert set(re.findall(r"var\(--([a-z]+)\)", text)) <= declared


def test_ids_of_two_figures_differ_and_every_reference_is_met() -> None:
    one, two = drawn(), drawn("another")
    ids = [set(re.findall(r'id="([^"]+)"', text)) for text in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, known in zip((one, two), ids, strict=True):
        assert set(re.findall(r"#([\w.-]+)", text)) <= known


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", 'a & "b"', "$\\frac{1}$", "x]]>"])
def test_text_in_a_figure_is_text(label: str) -> None:
    root = ElementTree.fromstring(drawn(label))
    assert label in [element.text for element in root.iter("text")]
    assert not list(root.iter("script"))


def test_classes_keep_their_colour_whatever_else_is_drawn() -> None:
    assert style.colours(["zero", "low", "positive"])["low"] == style.BLUE
    mixed = style.colours(["low", "something", "else"])
    assert len(set(mixed.values())) == 3
    assert len(style.colours([str(i) for i in range(40)])) == 40


def test_wide_drawings_scroll_and_panels_shrink() -> None:
    with style.drawing():
        wide, key = style.new_figure(800, 200)[0], style.new_figure(400, 200)[0]
        text = style.svg(wide, key=key)
    assert 'class="wide"' in text
    assert text.index('class="key"') < text.index('class="wide"')


def contrast(one: str, two: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [1, 2])
def test_text_colours_are_readable_in_both_themes(theme: int) -> None:
    paper = style.THEME[style.PAPER][theme]
    for colour in (style.INK, style.MUTED):
        assert contrast(style.THEME[colour][theme], paper) >= 4.5

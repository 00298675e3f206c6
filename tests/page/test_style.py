"""Figures: small, the same every time, themed by the page, safe with any text."""

from __future__ import annotations

import io
import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from her2bayes.distribution import figures as shares_of
from her2bayes.page import style
from her2bayes.page.section_view import standalone


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


def seen(colour: str, matrix: np.ndarray) -> np.ndarray:
    """CIELAB of a colour as an eye with the given matrix (linear RGB) sees it."""
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    rgb = np.clip(matrix @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ rgb / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira & Fernandes 2009, severity 1.0 (their table 1)
EYES = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]
    ),
}  # fmt: skip


@pytest.mark.parametrize("theme", [1, 2])
@pytest.mark.parametrize("eye", EYES)
def test_classes_are_told_apart_by_every_eye(eye: str, theme: int) -> None:
    """At least 20 apart in CIELAB, where 2.3 is just noticeable; 12 for the rare tritanopia."""
    classes = ("zero", "low", "positive")  # drawn together, each with its name beside it
    labs = [seen(style.THEME[style.CLASS_COLOURS[c]][theme], EYES[eye]) for c in classes]
    for one, other in combinations(labs, 2):
        assert np.linalg.norm(one - other) > (12 if eye == "tritanopia" else 20)


@pytest.mark.parametrize("theme", [1, 2])
def test_text_on_a_filled_area_is_readable(theme: int) -> None:
    for colour in style.PALETTE:
        on = style.text_on(colour)
        text = style.THEME[on][theme] if on in style.THEME else on
        assert contrast(text, style.THEME[colour][theme]) >= 4.5, colour


def test_a_mark_tells_its_words_once_to_the_keyboard_and_has_a_title() -> None:
    with style.drawing():
        figure, axes = style.new_figure(100, 100)
        axes.plot([0, 1], [0, 1], gid=style.tip('low to zero: <5 & "x"'))
        axes.plot([0, 1], [1, 0], gid=style.tip('low to zero: <5 & "x"', again=True))
        text = style.svg(figure)
    root = ElementTree.fromstring(text)
    marks = [e for e in root.iter() if "data-tip" in e.attrib]
    assert [m.get("data-tip") for m in marks] == ['low to zero: <5 & "x"'] * 2
    assert [m.get("tabindex") for m in marks] == ["0", None]
    assert [t.text for t in root.iter("title")] == ['low to zero: <5 & "x"']
    assert "aria-hidden" not in root.attrib
    assert 'tabindex="0"' not in standalone(text)
    assert "<title>" in standalone(text)


def printed(figure: Figure) -> tuple[float, list[float]]:
    """Width in mm and size in pt of every text of a figure, as its SVG file has them."""
    file = io.StringIO()
    with style.drawing():
        figure.savefig(file, format="svg")
    root = ElementTree.fromstring(file.getvalue())
    texts = root.iter("{http://www.w3.org/2000/svg}text")
    sizes = [float(re.search(r"([\d.]+)px", t.get("style"))[1]) for t in texts]
    return float(root.get("width").removesuffix("pt")) * 25.4 / 72, sizes


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    figure.draw_without_rendering()
    boxes = [(t.get_text(), t.get_window_extent()) for t in style._texts(figure)]
    return [
        (a, b)
        for (a, one), (b, other) in combinations(boxes, 2)
        if min(one.x1, other.x1) - max(one.x0, other.x0) > 1.5
        and min(one.y1, other.y1) - max(one.y0, other.y0) > 1.5
    ]


def shares() -> Figure:
    row = shares_of.Row("visceral metastasis", 21, (28.6, 13.8, 50.0), (25.0, 14.0, 41.0))
    panels = {name: [row, row] for name in ("zero", "low", "positive")}
    return shares_of.shares(panels, {"zero": 21.5, "low": 51.4, "positive": 27.1})


def lines() -> Figure:
    row = shares_of.Row("centre 12", 21, (28.6, 13.8, 50.0), (25.0, 14.0, 41.0))
    return shares_of.forest({name: [row, None, row] for name in ("zero", "low", "positive")}, {})


def densities() -> Figure:
    draws = np.linspace(1, 99, 500), np.linspace(20, 40, 500)
    return shares_of.prior_to_posterior(dict.fromkeys(("zero", "low", "positive"), draws))


def plain() -> Figure:
    with style.drawing():
        figure, axes = style.new_figure(560, 340)
        axes.plot([0, 60], [0, 1])
        axes.set_yticks([0, 1], ["progression-free survival", "no event"])
        axes.set(xlabel="months", title="One panel")
        return figure


@pytest.mark.parametrize("width", [85, 170])
@pytest.mark.parametrize("draw", [shares, lines, densities, plain])
def test_figures_for_a_journal_have_its_width_and_text_of_7_pt(draw, width: int) -> None:
    figure = style.Figures({"one": draw}).one(width=width)
    mm, sizes = printed(figure)
    assert mm == pytest.approx(width, abs=0.1)
    assert sizes
    assert min(sizes) >= 7 - 1e-6
    assert max(sizes) <= 12 + 1e-6  # never larger than on the page
    assert overlaps(figure) == []
    for text in style._texts(figure):
        box = text.get_window_extent()
        assert box.x0 >= -1, text
        assert box.x1 <= figure.bbox.width + 1, text


def test_narrow_panels_stand_below_each_other() -> None:
    tall, flat = (style.sized(shares(), width).get_size_inches()[1] for width in (85, 170))
    assert tall > 2 * flat


def test_a_figure_without_a_width_is_as_it_was() -> None:
    assert printed(style.Figures({"one": plain}).one())[0] == pytest.approx(560 * 25.4 / 72)

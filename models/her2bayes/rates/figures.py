"""Figures of rates: events at two severities, forests, best response, tipping over the weight.

Each function gives one matplotlib figure; ``svg`` puts them on a page, under their key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from her2bayes.page import style
from her2bayes.page.numbers import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EVENT_WIDTH, _EVENT_ROW, _EVENT_HEAD, _EVENT_FOOT, _LEFT = 640, 30, 30, 40, 190  # px
_RING: dict[str, Any] = {
    "markerfacecolor": "none",
    "markeredgecolor": style.MUTED,
    "markeredgewidth": 1.2,
    "clip_on": False,
}
COLOURS = (style.BLUE, style.VERMILLION)


def svg(*figures: Figure, key: Figure | None = None) -> str:
    """Drawing of a page: figures side by side, under their key."""
    with style.drawing():
        return style.svg(*figures, key=key)


@dataclass(frozen=True)
class Dot:
    """One severity of an event, in percent: as counted, and (median, lower, upper)."""

    raw: float
    pooled: tuple[float, float, float]


@dataclass(frozen=True)
class Event:
    """One event; ``system`` starts a new group where it changes."""

    name: str
    system: str
    dots: Sequence[Dot]


def dots(events: Sequence[Event]) -> Figure:
    """Draw one row an event under its body system; hollow as counted, filled shrunken."""
    tops, headings = _places(events)
    total = tops[-1] + _EVENT_ROW
    height = _EVENT_HEAD + total + _EVENT_FOOT
    limit = max(dot.pooled[2] for event in events for dot in event.dots)
    limit = min(100.0, 10 * np.ceil((limit + 2) / 10))
    with style.drawing():
        figure, axes = style.new_figure(_EVENT_WIDTH, height)
        figure.set_layout_engine("none")
        axes.set_position(
            (
                _LEFT / _EVENT_WIDTH,
                _EVENT_FOOT / height,
                1 - (_LEFT + 16) / _EVENT_WIDTH,
                total / height,
            )
        )
        axes.set(xlim=(0, limit), ylim=(total, 0), yticks=())
        axes.grid(visible=True, axis="x")
        axes.set_xlabel("patients with the event, %")
        for name, top in headings.items():
            _left(figure, height, top + 11, name, bold=True)
        for event, top in zip(events, tops, strict=True):
            _left(figure, height, top + _EVENT_ROW / 2, event.name)
            _event(axes, event, top)
    return figure


def _places(events: Sequence[Event]) -> tuple[list[float], Mapping[str, float]]:
    """Top of each event's row, and of the heading of each body system."""
    tops: list[float] = []
    headings: dict[str, float] = {}
    top = 0.0
    for event in events:
        if event.system not in headings:
            headings[event.system] = top
            top += 22
        tops.append(top)
        top += _EVENT_ROW
    return tops, headings


def _left(figure: Figure, height: float, y: float, text: str, *, bold: bool = False) -> None:
    figure.text(
        (8 if bold else 18) / _EVENT_WIDTH,
        1 - (_EVENT_HEAD + y) / height,
        text,
        va="center",
        size=10.5,
        weight="bold" if bold else "normal",
    )


def _event(axes: Axes, event: Event, top: float) -> None:
    for place, dot in enumerate(event.dots):
        y = top + 10 + 10 * place
        colour = COLOURS[place % len(COLOURS)]
        value, low, high = dot.pooled
        axes.plot((low, high), (y, y), color=colour, linewidth=2.4)
        axes.plot(dot.raw, y, "o", markersize=8, **_RING)
        axes.plot(
            value, y, "o", markersize=5.5, color=colour, markeredgecolor=style.PAPER, clip_on=False
        )


def event_key(severities: Sequence[str]) -> Figure:
    """Key of ``dots``: colours of the severities, hollow as counted."""
    with style.drawing():
        figure, axes = style.new_figure(style.PANEL_WIDTH, 40)
        figure.set_layout_engine("none")
        axes.set_position((0, 0, 1, 1))
        axes.set(xlim=(0, style.PANEL_WIDTH), ylim=(40, 0))
        axes.set_axis_off()
        for place, name in enumerate(severities):
            x = 8 + 200 * place
            axes.plot((x, x + 24), (10, 10), color=COLOURS[place % 2], linewidth=2.4)
            axes.plot(x + 12, 10, "o", markersize=5.5, color=COLOURS[place % 2],
                      markeredgecolor=style.PAPER)  # fmt: skip
            axes.text(x + 30, 10, "any severity" if name == "any" else name, va="center", size=10.5)
        axes.plot(20, 30, "o", markersize=8, **_RING)
        axes.text(38, 30, "observed; filled: posterior with 95 % CrI", va="center", size=10.5)
    return figure


Three = tuple[float, float, float]

_WIDTH, _ROW, _HEAD, _FOOT = 400, 46, 34, 40  # px
RAW, POOLED, BORROWED = style.MUTED, style.BLUE, style.GREEN


@dataclass(frozen=True)
class Mark:
    """One estimate of a row, in percent: (value, lower, upper); raw ones are drawn hollow."""

    values: Three
    colour: str


@dataclass(frozen=True)
class Row:
    """A labelled row of a forest; without marks it is a heading."""

    label: str
    detail: str = ""
    marks: tuple[Mark, ...] = ()


def forest(
    name: str,
    rows: Sequence[Row],
    reference: float | None = None,
    axis: str = "patients with a response, %",
) -> Figure:
    """Draw one panel of rates; ``reference`` is a dotted line."""
    with style.drawing():
        heights = [_ROW if row.marks else 24 for row in rows]
        total = sum(heights)
        height = _HEAD + total + _FOOT
        figure, axes = style.new_figure(_WIDTH, height)
        figure.set_layout_engine("none")
        axes.set_position((14 / _WIDTH, _FOOT / height, 1 - 28 / _WIDTH, total / height))
        axes.set(xlim=(0, 100), ylim=(total, 0), yticks=())
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(axis)
        figure.text(8 / _WIDTH, 1 - 14 / height, name, weight="bold", size=12, va="center")
        if reference is not None:
            axes.axvline(reference, color=style.MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=0)
        top = 0.0
        for row, space in zip(rows, heights, strict=True):
            _draw_row(axes, row, top)
            top += space
    return figure


def _draw_row(axes: Axes, row: Row, top: float) -> None:
    heading = not row.marks
    axes.text(
        0,
        top + (15 if heading else 10),
        row.label,
        va="center",
        size=10.5,
        weight="bold" if heading else "normal",
    )
    if row.marks:
        words = " → ".join(number(mark.values[0], 1) for mark in row.marks)
        text = f"{row.detail} · {words}" if row.detail else words
        axes.text(100, top + 10, text, va="center", ha="right", size=10, color=style.MUTED)
    for place, mark in enumerate(row.marks):
        y = top + 22 + 11 * place
        value, low, high = mark.values
        hollow = mark.colour == RAW
        axes.plot((low, high), (y, y), color=mark.colour, linewidth=1.2 if hollow else 3)
        face = style.PAPER if hollow else mark.colour
        edge = mark.colour if hollow else style.PAPER
        axes.plot(value, y, "o", markersize=6.5, color=face, markeredgecolor=edge,
                  markeredgewidth=1.2, clip_on=False)  # fmt: skip


def forest_key(key: Mapping[str, str]) -> Figure:
    """Key of ``forest``: words by the colour of their marks; raw ones are hollow."""
    with style.drawing():
        height = 20 * len(key)
        figure, axes = style.new_figure(style.PANEL_WIDTH, height)
        figure.set_layout_engine("none")
        axes.set_position((0, 0, 1, 1))
        axes.set(xlim=(0, style.PANEL_WIDTH), ylim=(height, 0))
        axes.set_axis_off()
        for place, (words, colour) in enumerate(key.items()):
            y = 20 * place + 10
            hollow = colour == RAW
            axes.plot((8, 32), (y, y), color=colour, linewidth=1.2 if hollow else 3)
            axes.plot(20, y, "o", markersize=6.5, color=style.PAPER if hollow else colour,
                      markeredgecolor=colour if hollow else style.PAPER)  # fmt: skip
            axes.text(40, y, words, va="center", size=10.5)
    return figure


def bars(rows: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draw counts of categories (best first) as stacked bars of 100 %, one bar a row."""
    categories = list(next(iter(rows.values())))
    colour = dict(zip(categories, _shades(len(categories)), strict=True))
    height = _HEAD + 40 * len(rows) + _FOOT
    with style.drawing():
        figure, axes = style.new_figure(_WIDTH, height)
        figure.set_layout_engine("none")
        inner = 40 * len(rows)
        axes.set_position((14 / _WIDTH, _FOOT / height, 1 - 28 / _WIDTH, inner / height))
        axes.set(xlim=(0, 100), ylim=(inner, 0), yticks=())
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("patients, %")
        for place, (label, counts) in enumerate(rows.items()):
            _bar(axes, label, counts, colour, 40.0 * place)
        for place, name in enumerate(categories):
            x = (8 + 90 * place) / _WIDTH
            y = 1 - 14 / height
            figure.text(x, y, "■", color=colour[name], va="center", size=13)
            figure.text(x + 16 / _WIDTH, y, name, va="center", size=10.5)
    return figure


def _bar(
    axes: Axes, label: str, counts: Mapping[str, int], colour: Mapping[str, str], top: float
) -> None:
    total = sum(counts.values())
    axes.text(0, top + 9, f"{label}, n = {total}", va="center", size=10.5)
    start = 0.0
    for name, amount in counts.items():
        width = 100 * amount / total
        if not amount:
            continue
        axes.barh(top + 26, width, 18, left=start, color=colour[name], edgecolor=style.PAPER)
        if width >= 8:
            axes.text(start + width / 2, top + 26, str(amount), va="center", ha="center",
                      size=10.5, color=style.text_on(colour[name]))  # fmt: skip
        start += width


def _shades(count: int) -> list[str]:
    shades = [style.GREEN, style.BLUE, style.ORANGE, style.VERMILLION]
    return (shades * (count // len(shades) + 1))[:count]


def tipping(table: Mapping[str, np.ndarray], threshold: float) -> Figure:
    """Draw the rate over the weight of the outside evidence; dotted: the threshold."""
    with style.drawing():
        figure, axes = style.new_figure(_WIDTH, 230)
        weight = table["weight"]
        axes.fill_between(weight, 100 * table["lower"], 100 * table["upper"], color=style.BLUE,
                          alpha=0.25, linewidth=0)  # fmt: skip
        axes.plot(weight, 100 * table["mean"], color=style.BLUE, linewidth=2)
        axes.axhline(100 * threshold, color=style.MUTED, linewidth=1, linestyle=(0, (2, 2)))
        axes.set(xlim=(0, 1), ylim=(0, 100))
        axes.set_title("Response rate, %")
        axes.set_xlabel("prior weight of the outside data")
    return figure


def tipping_probability(table: Mapping[str, np.ndarray], threshold: float) -> Figure:
    """Draw the probability of falling short of ``threshold`` over the weight, and what is learned.

    Grey: the weight of the outside evidence after the data.
    """
    with style.drawing():
        figure, axes = style.new_figure(_WIDTH, 230)
        weight = table["weight"]
        axes.plot(weight, 100 * (1 - table["above"]), color=style.VERMILLION, linewidth=2)
        axes.plot(weight, 100 * table["after"], color=style.MUTED, linewidth=1.4)
        axes.set(xlim=(0, 1), ylim=(0, 103))
        axes.text(0.03, 100 * (1 - table["above"][0]) - 4, f"P(rate < {100 * threshold:g} %)",
                  va="top", size=10.5)  # fmt: skip
        axes.text(0.55, 100 * float(np.interp(0.55, weight, table["after"])) - 4,
                  "weight after the data", va="top", size=10.5, color=style.MUTED)  # fmt: skip
        axes.set_title("Probability, %")
        axes.set_xlabel("prior weight of the outside data")
    return figure

"""Dot plot of adverse events at both severities, ordered by body system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from her2bayes.reports import style

_WIDTH, _ROW, _HEAD, _FOOT, _LEFT = 640, 30, 30, 40, 190  # px
_RING: dict[str, Any] = {
    "markerfacecolor": "none",
    "markeredgecolor": style.MUTED,
    "markeredgewidth": 1.2,
    "clip_on": False,
}
COLOURS = (style.BLUE, style.VERMILLION)


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


def dots(events: Sequence[Event], severities: Sequence[str]) -> str:
    """Draw one row an event under its body system; hollow as counted, filled shrunken."""
    tops, headings = _places(events)
    total = tops[-1] + _ROW
    height = _HEAD + total + _FOOT
    limit = max(dot.pooled[2] for event in events for dot in event.dots)
    limit = min(100.0, 10 * np.ceil((limit + 2) / 10))
    with style.drawing():
        figure, axes = style.new_figure(_WIDTH, height)
        figure.set_layout_engine("none")
        axes.set_position(
            (_LEFT / _WIDTH, _FOOT / height, 1 - (_LEFT + 16) / _WIDTH, total / height)
        )
        axes.set(xlim=(0, limit), ylim=(total, 0), yticks=())
        axes.grid(visible=True, axis="x")
        axes.set_xlabel("patients with the event, %")
        for name, top in headings.items():
            _left(figure, height, top + 11, name, bold=True)
        for event, top in zip(events, tops, strict=True):
            _left(figure, height, top + _ROW / 2, event.name)
            _event(axes, event, top)
        return style.svg(figure, key=_key(severities))


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
        top += _ROW
    return tops, headings


def _left(figure: Any, height: float, y: float, text: str, *, bold: bool = False) -> None:
    figure.text(
        (8 if bold else 18) / _WIDTH,
        1 - (_HEAD + y) / height,
        text,
        va="center",
        size=10.5,
        weight="bold" if bold else "normal",
    )


def _event(axes: Any, event: Event, top: float) -> None:
    for place, dot in enumerate(event.dots):
        y = top + 10 + 10 * place
        colour = COLOURS[place % len(COLOURS)]
        value, low, high = dot.pooled
        axes.plot((low, high), (y, y), color=colour, linewidth=2.4)
        axes.plot(dot.raw, y, "o", markersize=8, **_RING)
        axes.plot(
            value, y, "o", markersize=5.5, color=colour, markeredgecolor=style.PAPER, clip_on=False
        )


def _key(severities: Sequence[str]) -> Any:
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
    axes.text(38, 30, "as counted; filled: posterior with 95 % interval", va="center", size=10.5)
    return figure

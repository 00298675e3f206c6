"""Figures of borrowed survival: forest of choices, and curves over the weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from her2bayes.page import style
from her2bayes.page.numbers import number

_WIDTH, _ROW, _HEAD, _FOOT = 400, 34, 34, 40  # px


@dataclass(frozen=True)
class Row:
    """One choice: label, what it is worth, and median with limits (NaN where not reached)."""

    label: str
    detail: str
    values: tuple[float, float, float]


@dataclass(frozen=True)
class Trace:
    """An estimate over the weight: ``weight``, ``median``, ``lower`` and ``upper``."""

    weight: np.ndarray
    median: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def forest(panels: Mapping[str, Sequence[Row]], ratios: Sequence[str], axis: str) -> str:
    """Draw one panel an estimand; those of ``ratios`` on a logarithmic axis with a line at 1."""
    with style.drawing():
        return style.svg(*(_panel(n, rows, n in ratios, axis) for n, rows in panels.items()))


def _panel(name: str, rows: Sequence[Row], ratio: bool, axis: str) -> Any:
    total = _ROW * len(rows)
    height = _HEAD + total + _FOOT
    figure, axes = style.new_figure(_WIDTH, height)
    figure.set_layout_engine("none")
    axes.set_position((14 / _WIDTH, _FOOT / height, 1 - 28 / _WIDTH, total / height))
    known = np.array([row.values for row in rows])
    low, high = float(np.nanmin(known)), float(np.nanmax(known))
    if ratio:
        axes.set_xscale("log")
        low, high = min(low, 0.9) / 1.1, max(high, 1.1) * 1.1
        axes.axvline(1, color=style.MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=0)
        ticks = [t for t in (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10) if low <= t <= high]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
    else:
        low, high = 0.0, 100.0
    axes.set(xlim=(low, high), ylim=(total, 0), yticks=())
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("hazard ratio" if ratio else axis)
    figure.text(8 / _WIDTH, 1 - 14 / height, name, weight="bold", size=12, va="center")
    decimals = 2 if ratio else 1
    for place, row in enumerate(rows):
        top = _ROW * place
        middle, lower, upper = row.values
        text = axes.get_yaxis_transform()  # x in the axes, y in rows
        axes.text(0, top + 10, row.label, va="center", size=10.5, transform=text)
        shown = f"{row.detail} · {number(middle, decimals)}"
        axes.text(1, top + 10, shown, va="center", ha="right", size=10, color=style.MUTED,
                  transform=text)  # fmt: skip
        axes.plot((lower, upper), (top + 24, top + 24), color=style.GREEN, linewidth=3)
        axes.plot(middle, top + 24, "o", markersize=6.5, color=style.GREEN,
                  markeredgecolor=style.PAPER, markeredgewidth=1.2, clip_on=False)  # fmt: skip
    return figure


def tipping(
    panels: Mapping[str, tuple[Trace, Trace]],
    ratios: Sequence[str],
    axis: str,
    names: Sequence[str],
) -> str:
    """Draw each estimand over the weight of two priors: a band and a line, and dashed lines."""
    with style.drawing():
        figures = []
        for name, (power, robust) in panels.items():
            figure, axes = style.new_figure(_WIDTH, 240)
            axes.fill_between(power.weight, power.lower, power.upper, color=style.BLUE,
                              alpha=0.25, linewidth=0)  # fmt: skip
            axes.plot(power.weight, power.median, color=style.BLUE, linewidth=2)
            axes.plot(robust.weight, robust.median, color=style.ORANGE, linewidth=1.8)
            for edge in (robust.lower, robust.upper):
                axes.plot(robust.weight, edge, color=style.ORANGE, linewidth=1,
                          linestyle=(0, (3, 2)))  # fmt: skip
            if name in ratios:
                axes.axhline(1, color=style.MUTED, linewidth=1, linestyle=(0, (2, 2)))
            else:
                axes.set_ylim(0, 100)
            axes.set(xlim=(0, 1))
            axes.set_xlabel("weight")
            axes.set_title(name if name in ratios else f"{name}, {axis}")
            figures.append(figure)
        return style.svg(*figures, key=_key(names))


def _key(names: Sequence[str]) -> Any:
    figure, axes = style.new_figure(style.PANEL_WIDTH, 20 * len(names))
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, style.PANEL_WIDTH), ylim=(20 * len(names), 0))
    axes.set_axis_off()
    for place, (name, colour) in enumerate(zip(names, (style.BLUE, style.ORANGE), strict=True)):
        y = 20 * place + 10
        axes.plot((8, 32), (y, y), color=colour, linewidth=3)
        axes.text(40, y, name, va="center", size=10.5)
    return figure

"""Figures of a sensitivity analysis: stability map, tornado, tipping surface.

Each returns a matplotlib Figure, drawn within ``page.style.drawing``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from her2bayes.page import style
from her2bayes.sensitivity.summary import FAILS, HOLDS, NO_ANSWER, UNCERTAIN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# holds blue, fails vermillion, uncertain grey: told apart under colour blindness, and the
# probability is printed in every cell
PAINT = {HOLDS: style.BLUE, UNCERTAIN: style.MUTED, FAILS: style.VERMILLION}
_OPACITY = {HOLDS: 0.45, UNCERTAIN: 0.18, FAILS: 0.45}
_ROW, _COLUMN, _LETTER, _WIDTH = 20, 46, 6.3, 340  # px


@dataclass(frozen=True)
class Cell:
    """Probability of a conclusion in a scenario and its stance; ``mark`` for a failed fit."""

    probability: float
    stance: str
    mark: str = ""


def stability_map(
    scenarios: Sequence[tuple[str, str]],
    conclusions: Sequence[str],
    cells: Mapping[tuple[str, str], Cell],
) -> Figure:
    """Draw a cell for each scenario (group, text) and conclusion (its number in the list)."""
    longest = max(len(text) for _, text in scenarios)
    left, top = int(_LETTER * longest) + 14, 26
    starts = [k for k, (group, _) in enumerate(scenarios) if not k or scenarios[k - 1][0] != group]
    lines = len(scenarios) + len(starts)
    width, height = left + _COLUMN * len(conclusions) + 6, top + _ROW * lines + 4
    figure, axes = _plain(width, height)
    for column, name in enumerate(conclusions):
        x = left + _COLUMN * (column + 0.5)
        axes.text(x, 13, name, ha="center", va="center", weight="bold", size=10.5)
    line = 0
    for k, (group, text) in enumerate(scenarios):
        if k in starts:
            y = top + _ROW * (line + 0.6)
            axes.text(4, y, group, va="center", size=10, color=style.MUTED)
            line += 1
        y = top + _ROW * line
        axes.text(left - 8, y + _ROW / 2, text, va="center", ha="right", size=10.5)
        for column, name in enumerate(conclusions):
            cell = cells.get((text, name))
            if cell is not None:
                _cell(axes, left + _COLUMN * column, y, _COLUMN, _ROW, cell)
        line += 1
    return figure


def _cell(axes: Any, x: float, y: float, width: float, height: float, cell: Cell) -> None:
    paint = PAINT.get(cell.stance)
    if paint:
        axes.fill_between(
            (x + 1, x + width - 1), y + 1, y + height - 1, color=paint,
            alpha=_OPACITY[cell.stance], linewidth=0,
        )  # fmt: skip
    text = "none" if cell.stance == NO_ANSWER else percent(cell.probability) + cell.mark
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", size=9.5)


def percent(value: float) -> str:
    """Short text of a probability in percent, never rounded to certainty."""
    if value > 0.995:
        return ">99"
    return "<1" if value < 0.005 else f"{100 * value:.0f}"


def tornado(rows: Sequence[tuple[str, float, float]], base: float, holds: float) -> Figure:
    """Draw the range of the probability along each axis alone: (axis, least, most)."""
    height = 46 + 34 * max(1, len(rows)) + 34
    figure, axes = style.new_figure(_WIDTH, height)
    figure.set_layout_engine("none")
    axes.set_position((12 / _WIDTH, 38 / height, 1 - 24 / _WIDTH, (height - 38 - 30) / height))
    axes.set(xlim=(-2, 102), ylim=(34 * max(1, len(rows)), 0), yticks=())
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("probability of the conclusion, %")
    figure.text(12 / _WIDTH, 1 - 14 / height, "One choice at a time", weight="bold", size=12)
    for place, (name, least, most) in enumerate(rows):
        y = 34 * place
        axes.text(0, y + 9, name, size=10.5, va="center")
        low, high = 100 * least, 100 * max(most, least + 0.004)
        axes.fill_between((low, high), y + 18, y + 29, color=style.BLUE, linewidth=0, alpha=0.75)
    axes.axvline(100 * base, color=style.INK, linewidth=1.2)
    for limit in (holds, 1 - holds):
        axes.axvline(100 * limit, color=style.MUTED, linewidth=1, linestyle=(0, (2, 2)))
    return figure


def surface(
    names: tuple[str, str], first: Sequence[str], second: Sequence[str], grid: np.ndarray,
    stances: np.ndarray,
) -> Figure:  # fmt: skip
    """Draw probabilities (first, second) over the values of two axes as cells."""
    left, top, bottom, right = 56, 30, 46, 8
    width, height = _WIDTH, top + 30 * len(first) + bottom
    column = (width - left - right) / len(second)
    figure, axes = _plain(width, height)
    axes.text(left, 14, "Two choices at once", weight="bold", size=12, va="center")
    for row, value in enumerate(first):
        y = top + 30 * row
        axes.text(left - 6, y + 15, value, ha="right", va="center", size=10)
        for place in range(len(second)):
            known = Cell(float(grid[row, place]), str(stances[row, place]))
            if known.stance:
                _cell(axes, left + column * place, y, column, 30, known)
    for place, value in enumerate(second):
        x = left + column * (place + 0.5)
        axes.text(x, height - bottom + 10, value, ha="center", va="center", size=10)
    axes.text(left, height - 22, f"across: {names[1]}", size=10, color=style.MUTED, va="center")
    axes.text(left, height - 8, f"down: {names[0]}", size=10, color=style.MUTED, va="center")
    return figure


def _plain(width: float, height: float) -> tuple[Figure, Any]:
    """Axes in pixels, from the top left, without frame."""
    figure, axes = style.new_figure(width, height)
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes

"""Figures of HER2 shares: raw next to pooled by level or cell, and prior to posterior.

Each drawing is a function that gives matplotlib Figures; a page turns the same into SVG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from her2bayes.page import style
from her2bayes.page.numbers import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Three = tuple[float, float, float]

_WIDTH, _ROW, _HEAD, _FOOT = 300, 52, 44, 40  # px
_LINE, _NARROW = 20, 240  # px, of a forest
_RAW, _POOLED = 23, 39  # px below the top of a row
_RING: dict[str, Any] = {"markeredgecolor": style.MUTED, "markeredgewidth": 1.4}
_HALO: dict[str, Any] = {"markeredgecolor": style.PAPER, "markeredgewidth": 1}


@dataclass(frozen=True)
class Row:
    """One level of a factor and one class: percentages as (value, lower, upper)."""

    level: str
    patients: int
    raw: Three
    pooled: Three


def partition(panels: Mapping[str, Sequence[Row]], overall: Mapping[str, float]) -> str:
    """Draw one panel for each class, one row for each level; the same scale in all panels.

    ``overall`` gives the share of each class among all patients, in percent, as the reference.
    """
    limit, paint = _limit(panels), style.colours(list(panels))
    with style.drawing():
        figures = [
            _panel(name, rows, paint[name], overall.get(name), limit)
            for name, rows in panels.items()
        ]
        return style.svg(*figures, key=_key(bool(overall)))


def shares(panels: Mapping[str, Sequence[Row]], overall: Mapping[str, float]) -> Figure:
    """Draw the panels of ``partition`` side by side in one figure."""
    limit, paint = _limit(panels), style.colours(list(panels))
    height = _HEAD + _ROW * max(len(rows) for rows in panels.values()) + _FOOT
    width = _WIDTH * len(panels)
    with style.drawing():
        figure, axes = style.new_figure(width, height, ncols=len(panels), squeeze=False)
        figure.set_layout_engine("none")
        for place, (name, rows) in enumerate(panels.items()):
            _place(axes[0, place], (_WIDTH * place, width, height), name, len(rows))
            _fill(axes[0, place], rows, paint[name], overall.get(name), limit)
        return figure


def forest(panels: Mapping[str, Sequence[Row | None]], overall: Mapping[str, float]) -> Figure:
    """Draw many rows, one line each: posterior interval, the counted share as a ring.

    ``None`` leaves a gap; a row of no patients (a prediction) has a dashed interval.
    """
    paint = style.colours(list(panels))
    rows = next(iter(panels.values()))
    labels = [f"{row.level}, n = {row.patients}" if row and row.patients else row and row.level
              for row in rows]  # fmt: skip
    margin = 24 + 6.2 * max(len(label or "") for label in labels)
    height = _HEAD + _LINE * len(rows) + _FOOT
    width = margin + _NARROW * len(panels)
    top = max(r.pooled[2] for found in panels.values() for r in found if r)
    with style.drawing():
        figure, axes = style.new_figure(width, height, ncols=len(panels), squeeze=False)
        figure.set_layout_engine("none")
        for place, (name, found) in enumerate(panels.items()):
            one = axes[0, place]
            left = margin + _NARROW * place
            one.set_position((left / width, _FOOT / height, (_NARROW - 16) / width,
                              _LINE * len(rows) / height))  # fmt: skip
            one.set(xlim=(0, min(100.0, 10 * np.ceil((top + 2) / 10))), ylim=(len(rows), 0))
            known = [k + 0.5 for k, label in enumerate(labels) if label]
            one.set_yticks(known, [label for label in labels if label] if not place else [])
            one.tick_params(axis="y", length=0)
            one.set_title(f"HER2-{name}")
            one.set_xlabel("share of patients, %")
            if name in overall:
                one.axvline(overall[name], color=style.MUTED, linewidth=1, linestyle=(0, (2, 2)))
            for k, row in enumerate(found):
                if row:
                    _line(one, row, k + 0.5, paint[name])
        return figure


def _line(axes: Any, row: Row, y: float, colour: str) -> None:
    style_of = "-" if row.patients else (0, (2, 1))
    axes.plot(row.pooled[1:], (y, y), color=colour, linewidth=2.2, linestyle=style_of)
    axes.plot(row.raw[0], y, "o", markersize=4.5, markerfacecolor=style.PAPER, **_RING)
    axes.plot(row.pooled[0], y, "o", markersize=5.5, color=colour, **_HALO)


def prior_to_posterior(draws: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw the panels of ``densities`` side by side in one figure."""
    paint = style.colours(list(draws))
    with style.drawing():
        figure, axes = style.new_figure(_WIDTH * len(draws), 170, ncols=len(draws), squeeze=False)
        for place, (name, both) in enumerate(draws.items()):
            _fill_density(axes[0, place], name, *both, paint[name])
        return figure


def densities(draws: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """Draw, for each class, the density of its share in percent: (prior draws, posterior draws)."""
    paint = style.colours(list(draws))
    with style.drawing():
        figures = [_density(name, *both, paint[name]) for name, both in draws.items()]
        return style.svg(*figures)


def _limit(panels: Mapping[str, Sequence[Row]]) -> float:
    top = max(np.nanmax([row.raw[2], row.pooled[2]]) for rows in panels.values() for row in rows)
    return float(min(100.0, 10.0 * np.ceil((top + 2) / 10)))


def _panel(
    name: str, rows: Sequence[Row], colour: str, overall: float | None, limit: float
) -> Figure:
    height = _HEAD + _ROW * len(rows) + _FOOT
    figure, axes = style.new_figure(_WIDTH, height)
    figure.set_layout_engine("none")
    _place(axes, (0, _WIDTH, height), name, len(rows))
    _fill(axes, rows, colour, overall, limit)
    return figure


def _place(axes: Any, box: tuple[float, float, float], name: str, rows: int) -> None:
    """Put a panel at its ``box``: left end, width and height of the whole figure, in px."""
    left, width, height = box
    inside = (_WIDTH - 16) / width
    axes.set_position(((left + 8) / width, _FOOT / height, inside, _ROW * rows / height))
    place = ((left + 8) / width, 1 - 12 / height)
    axes.figure.text(*place, f"HER2-{name}", weight="bold", size=12, va="center")


def _fill(axes: Any, rows: Sequence[Row], colour: str, overall: float | None, limit: float) -> None:
    axes.set(xlim=(0, limit), ylim=(_ROW * len(rows), 0), yticks=())
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("share of patients, %")
    tops = np.arange(len(rows), dtype=float) * _ROW
    if overall is not None:
        _reference(axes, overall, tops)
    for top, row in zip(tops.tolist(), rows, strict=True):
        _label(axes, row, top, limit)
        axes.plot(row.raw[1:], (top + _RAW,) * 2, color=style.MUTED, linewidth=1.2)
        axes.plot(row.pooled[1:], (top + _POOLED,) * 2, color=colour, linewidth=3)
        if np.isfinite(row.raw[0]):
            _arrow(axes, (row.raw[0], top + _RAW), (row.pooled[0], top + _POOLED))
    raw, pooled = ([r.raw[0] for r in rows], [r.pooled[0] for r in rows])
    axes.plot(raw, tops + _RAW, "o", markersize=6, markerfacecolor=style.PAPER, **_RING)
    axes.plot(pooled, tops + _POOLED, "o", markersize=7.5, color=colour, **_HALO)


def _reference(axes: Any, overall: float, tops: np.ndarray) -> None:
    axes.vlines(
        np.full(tops.size, overall),
        tops + _RAW - 8,
        tops + _POOLED + 8,
        color=style.MUTED,
        linewidth=1,
        linestyle=(0, (2, 2)),
        zorder=0,
    )
    axes.text(
        overall,
        -4,
        f"overall {number(overall, 1)}",
        ha="center",
        va="bottom",
        size=10,
        color=style.MUTED,
    )


def _label(axes: Any, row: Row, top: float, limit: float) -> None:
    axes.text(0, top + 10, f"{row.level}, n = {row.patients}", va="center", size=10.5)
    shift = f"{number(row.raw[0], 1)} → {number(row.pooled[0], 1)}"
    axes.text(limit, top + 10, shift, va="center", ha="right", size=10.5, color=style.MUTED)


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": "-|>,head_length=0.28,head_width=0.16",
            "color": style.INK,
            "linewidth": 0.8,
            "shrinkA": 3,
            "shrinkB": 3.5,
            "mutation_scale": 10,
        },
    )


def _key(with_overall: bool) -> Figure:
    figure, axes = style.new_figure(style.PANEL_WIDTH, 20)
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, style.PANEL_WIDTH), ylim=(20, 0))
    axes.set_axis_off()
    axes.plot((8, 32), (10, 10), color=style.MUTED, linewidth=1.2)
    axes.plot(20, 10, "o", markersize=6, markerfacecolor=style.PAPER, **_RING)
    axes.text(38, 10, "observed, 95 % CI (Wilson)", va="center", size=10.5)
    axes.plot((172, 196), (10, 10), color=style.INK, linewidth=3)
    axes.plot(184, 10, "o", markersize=7.5, color=style.INK, **_HALO)
    axes.text(202, 10, "pooled, 95 % CrI", va="center", size=10.5)
    if with_overall:
        axes.plot((340, 340), (3, 17), color=style.MUTED, linewidth=1, linestyle=(0, (2, 2)))
        axes.text(347, 10, "all patients", va="center", size=10.5)
    return figure


def _density(name: str, prior: np.ndarray, posterior: np.ndarray, colour: str) -> Figure:
    figure, axes = style.new_figure(_WIDTH, 170)
    _fill_density(axes, name, prior, posterior, colour)
    return figure


def _fill_density(
    axes: Any, name: str, prior: np.ndarray, posterior: np.ndarray, colour: str
) -> None:
    grid = np.linspace(0, 100, 201)
    for values, paint, opacity in ((prior, style.MUTED, 0.25), (posterior, colour, 0.45)):
        height = _smooth(values, grid)
        height /= height.max()
        kept = height > 0.002
        axes.fill_between(grid[kept], height[kept], color=paint, alpha=opacity, linewidth=0)
        axes.plot(grid[kept], height[kept], color=paint, linewidth=1.4)
        peak = grid[height.argmax()]
        label, y = ("posterior", 1.06) if paint == colour else ("prior", 0)
        if label == "posterior":
            axes.text(peak, y, label, ha="center", va="bottom", size=10.5)
        else:
            right = grid[kept][-1] * 0.72
            axes.text(
                right, np.interp(right, grid, height) + 0.06, label, size=10.5, color=style.MUTED
            )
    axes.set(xlim=(0, 100), ylim=(0, 1.25), yticks=())
    axes.spines["left"].set_visible(False)
    axes.set_title(f"HER2-{name}")
    axes.set_xlabel("share of patients, %")


def _smooth(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Give a Gaussian kernel density on the grid, mirrored at 0 and 100, where shares end."""
    width = 0.9 * min(values.std(), np.subtract(*np.quantile(values, (0.75, 0.25))) / 1.34)
    width = max(1.3 * width * values.size**-0.2, 0.3)
    counts, edges = np.histogram(values, bins=500, range=(0, 100))
    centres = (edges[1:] + edges[:-1]) / 2
    mirrored = np.concatenate([-centres, centres, 200 - centres])
    weights = np.tile(counts, 3)
    return (weights * np.exp(-0.5 * ((grid[:, None] - mirrored) / width) ** 2)).sum(axis=1)

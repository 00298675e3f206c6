"""Forest of hazard ratios in subgroups: raw within the group beside pooled by the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from her2bayes.reports import style
from her2bayes.reports.numbers import interval
from her2bayes.reports.survival_figures import ratio_scale

MISSING = (np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class ForestRow:
    """One hazard ratio: raw, pooled, published (value, lower, upper); missing where unknown."""

    label: str
    detail: str
    raw: tuple[float, float, float]
    pooled: tuple[float, float, float]
    heading: bool = False
    published: tuple[float, float, float] = MISSING


def forest(rows: Sequence[ForestRow], title: str, below: str, above: str) -> str:
    """Hazard ratios raw (within the subgroup), pooled and as published, with their numbers."""
    printed = any(np.isfinite(row.published[0]) for row in rows)
    row_height, width = 46 if printed else 36, 760
    height = row_height * len(rows) + 92
    values = [
        v
        for row in rows
        for v in (*row.raw, *row.pooled, *row.published)
        if np.isfinite(v) and v > 0
    ]
    low, high = (min([*values, 0.8]) / 1.15, max([*values, 1.25]) * 1.15)
    low, high = max(low, 0.05), min(high, 20.0)
    left, right = 200, 220
    with style.drawing():
        figure, axes = style.new_figure(width, height)
        figure.set_layout_engine("none")
        axes.set_position(
            (left / width, 56 / height, (width - left - right) / width, 1 - 86 / height)
        )
        axes.set_xscale("log")
        axes.set(xlim=(low, high), ylim=(row_height * len(rows), 0), yticks=())
        axes.spines["left"].set_visible(False)
        axes.axvline(1, color=style.MUTED, linewidth=1)
        ratio_scale(axes.xaxis, low, high)
        for k, row in enumerate(rows):
            _forest_row(
                figure, axes, row, row_height * k, (low, high), (height, row_height, width, right)
            )
        axes.set_xlabel(f"hazard ratio, {title}")
        _sides(figure, left, right, width, height, below, above)
        return style.svg(figure, key=_forest_key(printed))


def _forest_row(
    figure: Any,
    axes: Any,
    row: ForestRow,
    top: float,
    limits: tuple[float, float],
    sizes: tuple[float, float, float, float],
) -> None:
    height, row_height, width, right = sizes
    y = 1 - (30 + top + row_height / 2) / height
    weight = "bold" if row.heading else "normal"
    figure.text(
        (8 if row.heading else 20) / width,
        y + 7 / height * bool(row.detail),
        row.label,
        va="center",
        weight=weight,
    )
    if row.detail:
        figure.text(
            20 / width, y - 8 / height, row.detail, va="center", size=9.5, color=style.MUTED
        )
    if row.heading and not np.isfinite(row.pooled[0]):
        return
    apart = 7 if not np.isfinite(row.published[0]) else 14
    for values, shift, colour, wide in (
        (row.published, -apart, style.INK, 1.2),
        (row.raw, 0 if apart > 7 else -apart, style.MUTED, 1.2),
        (row.pooled, apart, style.BLUE, 3),
    ):
        at = top + row_height / 2 + shift
        value, low, high = values
        if np.isnan(value):
            continue
        if not (np.isnan(low) or np.isnan(high)):
            axes.plot(np.clip((low, high), *limits), (at, at), color=colour, linewidth=wide)
        face = style.PAPER if colour == style.MUTED else colour
        edge = colour if colour == style.MUTED else style.PAPER
        axes.plot(
            np.clip(value, *limits),
            at,
            _marker(value, "s" if colour == style.INK else "o"),
            markersize=6.5,
            color=face,
            markeredgecolor=edge,
            markeredgewidth=1.2,
        )
        text = interval(value, low, high, 2)
        figure.text(
            1 - (right - 14) / width,
            y - shift / height,
            text,
            va="center",
            size=10.5,
            color=style.INK if wide > 2 else style.MUTED,
        )


def _marker(value: float, point: str) -> str:
    """The mark of its kind, or an arrow's head at the edge where the ratio is infinite or 0."""
    if value > 0:
        return ">" if np.isinf(value) else point
    return "<"


def _sides(
    figure: Any, left: float, right: float, width: float, height: float, below: str, above: str
) -> None:
    middle = 8 / height
    figure.text(left / width, middle, f"← {below}", size=10, color=style.MUTED, va="bottom")
    figure.text(
        1 - right / width, middle, f"{above} →", size=10, color=style.MUTED, va="bottom", ha="right"
    )


def _forest_key(printed: bool) -> Any:
    height = 40 if printed else 20
    figure, axes = style.new_figure(style.PANEL_WIDTH, height)
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, style.PANEL_WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    axes.plot((8, 34), (10, 10), color=style.MUTED, linewidth=1.2)
    axes.plot(21, 10, "o", markersize=6.5, color=style.PAPER, markeredgecolor=style.MUTED)
    axes.text(40, 10, "raw: Cox within the group", va="center", size=10.5)
    axes.plot((206, 232), (10, 10), color=style.BLUE, linewidth=3)
    axes.plot(219, 10, "o", markersize=7, color=style.BLUE, markeredgecolor=style.PAPER)
    axes.text(238, 10, "pooled: posterior, 95 %", va="center", size=10.5)
    if printed:
        axes.plot((8, 34), (30, 30), color=style.INK, linewidth=1.2)
        axes.plot(21, 30, "s", markersize=6.5, color=style.INK, markeredgecolor=style.PAPER)
        axes.text(40, 30, "published, 95 %", va="center", size=10.5)
    return figure

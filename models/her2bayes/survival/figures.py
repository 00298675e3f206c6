"""Figures of survival: curves over Kaplan–Meier with patients at risk, hazards, ratios.

Forest of hazard ratios in subgroups: raw within the group beside pooled by the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from her2bayes.page import style
from her2bayes.page.numbers import interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH, _PLOT, _FOOT, _LINE = 560, 300, 46, 17  # px
_LEFT, _RIGHT, _HEAD = 62, 118, 18
_BESIDE = 14  # from the axes' end to what stands beside it, clear of a number at the last tick


@dataclass(frozen=True)
class Band:
    """Median and 95 % limits over a grid of months."""

    months: np.ndarray
    median: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


@dataclass(frozen=True)
class Curve:
    """One group: posterior band, Kaplan–Meier steps (times, survival), at-risk counts.

    No steps and no counts in a report that is shared. Patients are observed from ``first`` to
    ``last`` months. ``shown`` are times with the lowest and highest survival that a paper shows.
    """

    label: str
    band: Band
    steps: tuple[np.ndarray, np.ndarray] | None
    at_risk: Sequence[float]
    last: float
    first: float = 0.0
    shown: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None


def endpoint_name(endpoint: str) -> str:
    """As papers write it: OS, BCSS, rwPFS."""
    return f"rw{endpoint[2:].upper()}" if endpoint.startswith("rw") else endpoint.upper()


SAID = ("posterior median, 95 % CrI", "Kaplan–Meier", "extrapolated")
"""What the legend says of bands, steps and dotted parts."""


def survival(
    curves: Sequence[Curve],
    ticks: Sequence[float],
    endpoint: str,
    said: tuple[str, str, str] = SAID,
) -> str:
    """``draw_survival`` as SVG under its legend."""
    with style.drawing():
        figure = draw_survival(curves, ticks, endpoint)
        return style.svg(figure, key=_key(said, any(curve.steps for curve in curves)))


def draw_survival(
    curves: Sequence[Curve], ticks: Sequence[float], endpoint: str, head: str = ""
) -> Figure:
    """Bands over Kaplan–Meier steps, patients at risk below; dotted before first and after last.

    ``head`` is a line above the axes.
    """
    counted = any(curve.at_risk for curve in curves)
    height = _PLOT + _FOOT + (_LINE * (len(curves) + 1) if counted else 0) + 10
    paint = style.colours([curve.label for curve in curves])
    with style.drawing():
        figure, axes = _axes(height, head)
        for curve in curves:
            _draw(axes, curve, paint[curve.label])
        _months(axes, ticks)
        axes.set(ylim=(0, 1.0), yticks=np.arange(0, 1.01, 0.2))
        axes.set_yticklabels([f"{100 * y:.0f}" for y in np.arange(0, 1.01, 0.2)])
        axes.set_ylabel(f"{endpoint_name(endpoint)}, % of patients")
        axes.grid(axis="y")
        _end_labels(axes, curves, paint)
        if counted:
            _risk_table(figure, axes, curves, ticks, height)
    return figure


def draw_hazards(bands: Mapping[str, Band], ticks: Sequence[float], head: str = "") -> Figure:
    """Hazard per 100 patient-months of each group, as steps with 95 % bands."""
    paint = style.colours(list(bands))
    top = max(float(np.nanquantile(band.upper, 0.95)) for band in bands.values())
    with style.drawing():
        figure, axes = _axes(_PLOT + _FOOT + 10, head)
        labels = []
        for name, band in bands.items():
            low, middle, high = (100 * v for v in (band.lower, band.median, band.upper))
            axes.fill_between(
                band.months, low, high, step="post", color=paint[name], alpha=0.18, linewidth=0
            )
            axes.step(band.months, middle, where="post", color=paint[name])
            labels.append((float(middle[-1]), name))
        _months(axes, ticks)
        axes.set(ylim=(0, 110 * top))
        axes.set_ylabel("events per 100 patient-months")
        axes.grid(axis="y")
        _place_labels(axes, labels, paint, 110 * top)
    return figure


def draw_ratio_over_time(
    bands: Mapping[str, Band],
    constant: Mapping[str, float],
    ticks: Sequence[float],
    head: str = "",
) -> Figure:
    """Hazard ratio over time on a log scale, and Cox's constant one as a dashed line."""
    names = list(bands)
    paint = dict(
        zip(names, [style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE], strict=False)
    )
    low = min(float(np.nanquantile(b.lower, 0.05)) for b in bands.values())
    high = max(float(np.nanquantile(b.upper, 0.95)) for b in bands.values())
    with style.drawing():
        figure, axes = _axes(_PLOT + _FOOT + 10, head)
        axes.set_yscale("log")
        axes.axhline(1, color=style.MUTED, linewidth=1)
        labels = []
        for name, band in bands.items():
            axes.fill_between(
                band.months,
                band.lower,
                band.upper,
                step="post",
                color=paint[name],
                alpha=0.18,
                linewidth=0,
            )
            axes.step(band.months, band.median, where="post", color=paint[name])
            if np.isfinite(constant.get(name, np.nan)):
                axes.axhline(constant[name], color=paint[name], linestyle=(0, (3, 3)), linewidth=1)
            labels.append((float(band.median[-1]), name))
        _months(axes, ticks)
        ratio_scale(axes.yaxis, low, high)
        axes.set(ylim=(low / 1.1, high * 1.1))
        axes.set_ylabel("hazard ratio")
        _place_labels(axes, labels, paint, None)
    return figure


def _axes(height: float, head: str = "") -> tuple[Any, Any]:
    total = height + (_HEAD if head else 0)
    figure, axes = style.new_figure(_WIDTH, total)
    figure.set_layout_engine("none")
    bottom = height - _PLOT - 10
    axes.set_position(
        (_LEFT / _WIDTH, bottom / total, 1 - (_LEFT + _RIGHT) / _WIDTH, _PLOT / total)
    )
    if head:
        figure.text(8 / _WIDTH, 1 - 11 / total, head, size=10.5, color=style.MUTED, va="center")
    return figure, axes


def _months(axes: Any, ticks: Sequence[float]) -> None:
    axes.set(xlim=(ticks[0], ticks[-1]), xticks=list(ticks))
    axes.set_xticklabels([f"{t:g}" for t in ticks])
    axes.set_xlabel("months")


def _draw(axes: Any, curve: Curve, colour: str) -> None:
    band = curve.band
    inside = (band.months <= curve.last) & (band.months >= curve.first)
    before = band.months <= band.months[inside][0]
    beyond = band.months >= band.months[inside][-1]
    dotted = (0, (1, 2))
    for part, alpha, dash in ((inside, 0.22, "-"), (before, 0.10, dotted), (beyond, 0.10, dotted)):
        axes.fill_between(
            band.months[part], band.lower[part], band.upper[part], color=colour, alpha=alpha,
            linewidth=0,
        )  # fmt: skip
        axes.plot(band.months[part], band.median[part], color=colour, linestyle=dash, linewidth=2)
    if curve.steps:
        axes.step(*curve.steps, where="post", color=colour, linewidth=1, alpha=0.9)
    if curve.shown is not None:
        axes.vlines(*curve.shown, color=colour, linewidth=2.5)


def _end_labels(axes: Any, curves: Sequence[Curve], paint: Mapping[str, str]) -> None:
    end = axes.get_xlim()[1]
    at = [
        (float(np.interp(end, curve.band.months, curve.band.median)), curve.label)
        for curve in curves
    ]
    _place_labels(axes, at, paint, 1.0)


def _place_labels(
    axes: Any, at: Sequence[tuple[float, str]], paint: Mapping[str, str], top: float | None
) -> None:
    """Names at the end of the lines, moved apart where they would overlap."""
    to_pixels = axes.transAxes.inverted().transform
    places = [to_pixels(axes.transData.transform((axes.get_xlim()[1], y)))[1] for y, _ in at]
    order = np.argsort(places)
    gap, last = 18 / _PLOT, -np.inf
    x = 1 + _BESIDE / (_WIDTH - _LEFT - _RIGHT)
    for index in order:
        y = min(max(places[index], last + gap, 0.02), 0.98)
        last = y
        name = at[index][1]
        axes.text(
            x, y, name, transform=axes.transAxes, color=paint[name], va="center", weight="bold"
        )


def _risk_table(
    figure: Any, axes: Any, curves: Sequence[Curve], ticks: Sequence[float], height: float
) -> None:
    top = height - _PLOT - 10 - _FOOT
    span = _WIDTH - _LEFT - _RIGHT
    height = figure.get_figheight() * 72  # with the line above the axes
    figure.text(8 / _WIDTH, top / height, "at risk", size=10.5, color=style.MUTED, va="center")
    for line, curve in enumerate(curves, start=1):
        y = (top - _LINE * line) / height
        figure.text(1 - (_RIGHT - _BESIDE) / _WIDTH, y, curve.label, size=10.5, va="center")
        for t, n in zip(ticks, curve.at_risk, strict=True):
            x = (_LEFT + span * (t - ticks[0]) / (ticks[-1] - ticks[0])) / _WIDTH
            figure.text(x, y, f"{n:,.0f}", ha="center", va="center", size=10.5, color=style.INK)


def _key(said: tuple[str, str, str], steps: bool) -> Any:
    """Band, steps and dotted line with what they are, on a second line where there is no room."""
    width, places, x, y = style.PANEL_WIDTH, [], 8.0, 10.0
    for text in said:
        wide = 32 + 5.9 * len(text)
        if x > 8 and x + wide > width:
            x, y = 8.0, y + 18
        places.append((x, y))
        x += wide + 8 if steps or text != said[1] else 0.0
    height = y + 10
    figure, axes = style.new_figure(width, height)
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    (band, step, dotted), ink = places, style.INK
    axes.fill_between((band[0], band[0] + 26), band[1] - 6, band[1] + 6, color=style.MUTED,
                      alpha=0.25, linewidth=0)  # fmt: skip
    axes.plot((band[0], band[0] + 26), (band[1],) * 2, color=ink, linewidth=2)
    if steps:
        across, down = (0, 12, 12, 26), (-4, -4, 4, 4)
        axes.plot([step[0] + x for x in across], [step[1] + y for y in down], color=ink,
                  linewidth=1)  # fmt: skip
    axes.plot((dotted[0], dotted[0] + 26), (dotted[1],) * 2, color=ink, linewidth=2,
              linestyle=(0, (1, 2)))  # fmt: skip
    for text, (left, middle) in zip(said, places, strict=True):
        if steps or text != said[1]:
            axes.text(left + 32, middle, text, va="center", size=10.5)
    return figure


def ratio_scale(axis: Any, low: float, high: float) -> None:
    """Ticks of a hazard ratio on a log scale."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    wanted = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20]
    shown = [v for v in wanted if low <= v <= high]
    axis.set_major_locator(FixedLocator(shown))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_ticklabels([f"{v:g}" for v in shown])


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


def forest(rows: Sequence[ForestRow], title: str) -> str:
    """``draw_forest`` as SVG under its legend."""
    with style.drawing():
        figure = draw_forest(rows, title)
        return style.svg(figure, key=_forest_key(_printed(rows)))


def _printed(rows: Sequence[ForestRow]) -> bool:
    return any(np.isfinite(row.published[0]) for row in rows)


def draw_forest(rows: Sequence[ForestRow], title: str) -> Figure:
    """Hazard ratios raw (within the subgroup), pooled and as published, with their numbers."""
    printed = _printed(rows)
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
        _sides(figure, (left, right, width, height))
    return figure


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


def _sides(figure: Any, sizes: tuple[float, float, float, float]) -> None:
    """What either side of 1 means of the first of the two groups in the title."""
    left, right, width, height = sizes
    middle = 8 / height
    figure.text(left / width, middle, "← lower hazard", size=10, color=style.MUTED, va="bottom")
    figure.text(
        1 - right / width,
        middle,
        "higher hazard →",
        size=10,
        color=style.MUTED,
        va="bottom",
        ha="right",
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
    axes.text(40, 10, "within group: Cox, 95 % CI", va="center", size=10.5)
    axes.plot((206, 232), (10, 10), color=style.BLUE, linewidth=3)
    axes.plot(219, 10, "o", markersize=7, color=style.BLUE, markeredgecolor=style.PAPER)
    axes.text(238, 10, "pooled: posterior, 95 % CrI", va="center", size=10.5)
    if printed:
        axes.plot((8, 34), (30, 30), color=style.INK, linewidth=1.2)
        axes.plot(21, 30, "s", markersize=6.5, color=style.INK, markeredgecolor=style.PAPER)
        axes.text(40, 30, "published, 95 % CI", va="center", size=10.5)
    return figure

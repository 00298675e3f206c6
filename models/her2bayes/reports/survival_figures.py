"""Figures of survival: curves over Kaplan–Meier with patients at risk, hazards, ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from her2bayes.reports import style

_WIDTH, _PLOT, _FOOT, _LINE = 560, 300, 46, 17  # px
_LEFT, _RIGHT = 62, 118
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
    ``last`` months.
    """

    label: str
    band: Band
    steps: tuple[np.ndarray, np.ndarray] | None
    at_risk: Sequence[float]
    last: float
    first: float = 0.0


def endpoint_name(endpoint: str) -> str:
    """As papers write it: OS, BCSS, rwPFS."""
    return f"rw{endpoint[2:].upper()}" if endpoint.startswith("rw") else endpoint.upper()


def survival(
    curves: Sequence[Curve], ticks: Sequence[float], endpoint: str,
    said: tuple[str, str, str] = ("posterior median, 95 %", "Kaplan–Meier", "extrapolated"),
) -> str:  # fmt: skip
    """Bands over Kaplan–Meier steps, patients at risk below; dotted before first and after last.

    ``said`` is what the legend says of bands, steps and dotted parts.
    """
    counted = any(curve.at_risk for curve in curves)
    height = _PLOT + _FOOT + (_LINE * (len(curves) + 1) if counted else 0) + 10
    paint = style.colours([curve.label for curve in curves])
    with style.drawing():
        figure, axes = _axes(height)
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
        return style.svg(figure, key=_key(said, any(curve.steps for curve in curves)))


def hazards(bands: Mapping[str, Band], ticks: Sequence[float], kaplan: str = "") -> str:
    """Hazard per 100 patient-months of each group, as steps with 95 % bands."""
    paint = style.colours(list(bands))
    top = max(float(np.nanquantile(band.upper, 0.95)) for band in bands.values())
    with style.drawing():
        figure, axes = _axes(_PLOT + _FOOT + 10)
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
        return style.svg(figure)


def ratio_over_time(
    bands: Mapping[str, Band], constant: Mapping[str, float], ticks: Sequence[float]
) -> str:
    """Hazard ratio over time on a log scale, and Cox's constant one as a dashed line."""
    names = list(bands)
    paint = dict(
        zip(names, [style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE], strict=False)
    )
    low = min(float(np.nanquantile(b.lower, 0.05)) for b in bands.values())
    high = max(float(np.nanquantile(b.upper, 0.95)) for b in bands.values())
    with style.drawing():
        figure, axes = _axes(_PLOT + _FOOT + 10)
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
        return style.svg(figure)


def _axes(height: float) -> tuple[Any, Any]:
    figure, axes = style.new_figure(_WIDTH, height)
    figure.set_layout_engine("none")
    bottom = height - _PLOT - 10
    axes.set_position(
        (_LEFT / _WIDTH, bottom / height, 1 - (_LEFT + _RIGHT) / _WIDTH, _PLOT / height)
    )
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
    figure.text(8 / _WIDTH, top / height, "at risk", size=10.5, color=style.MUTED, va="center")
    for line, curve in enumerate(curves, start=1):
        y = (top - _LINE * line) / height
        figure.text(1 - (_RIGHT - _BESIDE) / _WIDTH, y, curve.label, size=10.5, va="center")
        for t, n in zip(ticks, curve.at_risk, strict=True):
            x = (_LEFT + span * (t - ticks[0]) / (ticks[-1] - ticks[0])) / _WIDTH
            figure.text(x, y, f"{n:,.0f}", ha="center", va="center", size=10.5, color=style.INK)


def _key(said: tuple[str, str, str], steps: bool) -> Any:
    band, step, dotted = said
    figure, axes = style.new_figure(style.PANEL_WIDTH, 20)
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, style.PANEL_WIDTH), ylim=(20, 0))
    axes.set_axis_off()
    axes.fill_between((8, 34), 4, 16, color=style.MUTED, alpha=0.25, linewidth=0)
    axes.plot((8, 34), (10, 10), color=style.INK, linewidth=2)
    axes.text(40, 10, band, va="center", size=10.5)
    if steps:
        axes.plot((190, 202, 202, 216), (6, 6, 14, 14), color=style.INK, linewidth=1)
        axes.text(222, 10, step, va="center", size=10.5)
    axes.plot((312, 338), (10, 10), color=style.INK, linewidth=2, linestyle=(0, (1, 2)))
    axes.text(344, 10, dotted, va="center", size=10.5)
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

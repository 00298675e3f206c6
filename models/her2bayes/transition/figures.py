"""Figures of transitions: alluvial with uncertainty, matrices, intervals, accuracy of the assay.

Drawings take percentages, or matrices of draws; each returns a matplotlib Figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.estimand import parse
from her2bayes.inference.estimates import INTERVAL
from her2bayes.page import style
from her2bayes.page.numbers import number
from her2bayes.transition.draws import Matrix, discordance

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

Three = tuple[float, float, float]

PERCENT = "transition probability, %"
READINGS = ("primary tumour", "recurrence")

_HEIGHT, _GAP, _BAR = 330, 14, 16  # px: stack of patients, space between classes, width of a bar
_LEFT, _RIGHT = 92, 92  # px beside the bars, for the names of the classes
_MIN_LABEL = 15  # px of a band that is thick enough to carry its number


@dataclass(frozen=True)
class Square:
    """One matrix to print: percentages (k, k) as median, lower, upper; rows are the primary.

    ``remarks`` (k, k) puts a line of text into each cell; ``readings`` names the two readings.
    """

    title: str
    classes: tuple[str, ...]
    median: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    remarks: np.ndarray | None = None
    readings: tuple[str, str] = READINGS


def readings_of(pairs: str) -> tuple[str, str]:
    """Names of the two readings of pairs, ``before to after neoadjuvant``; none: ``READINGS``."""
    first, _, second = pairs.partition(" to ")
    return (first, second) if second else READINGS


def alluvial(flow: Square, patients: int = 0, width: int = style.PANEL_WIDTH) -> Canvas:
    """Draw patients flowing from the class of the primary to that of the recurrence.

    ``flow`` holds percentages of all patients. The dark core of a band is the lower end of the
    95 % interval of its flow, the light rim the upper end, the text the median. Each band tells
    its numbers, with the ``patients`` they are of where known.
    """
    with style.drawing():
        figure, axes = style.new_figure(width, _HEIGHT + _GAP * len(flow.classes) + 46)
        figure.set_layout_engine("none")
        axes.set_position((0, 0, 1, 1))
        height = _HEIGHT + _GAP * (len(flow.classes) - 1)
        axes.set(xlim=(0, width), ylim=(-10, height + 36))
        axes.set_axis_off()
        scale = _HEIGHT / flow.median.sum()
        left, right = (_stack(flow.median.sum(axis), scale) for axis in (1, 0))
        inner = (_LEFT + _BAR, width - _RIGHT - _BAR)
        _bands(axes, flow, scale, left, right, inner, patients)
        paint = style.colours(flow.classes)
        for x, stack, total, side in (
            (_LEFT, left, flow.median.sum(1), "right"),
            (inner[1], right, flow.median.sum(0), "left"),
        ):
            for place, name in enumerate(flow.classes):
                size = total[place] * scale
                _bar(axes, x, stack[place], size, paint[name])
                edge = x - 8 if side == "right" else x + _BAR + 8
                middle = stack[place] + size / 2
                axes.text(edge, middle + 7, name, ha=side, va="center", weight="bold", size=11)
                axes.text(edge, middle - 8, f"{number(total[place], 0)} %", ha=side, va="center",
                          size=10.5, color=style.MUTED)  # fmt: skip
        for x, text, side in (
            (_LEFT, flow.readings[0], "left"),
            (inner[1] + _BAR, flow.readings[1], "right"),
        ):
            axes.text(x, height + 20, text, ha=side, va="center", size=11, color=style.MUTED)
        return figure


def _stack(total: np.ndarray, scale: float) -> np.ndarray:
    """Where each class begins, the first at the bottom."""
    sizes = total * scale + _GAP
    return np.cumsum(sizes) - sizes


def _bar(axes: Any, x: float, bottom: float, size: float, colour: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, bottom), _BAR, size, color=colour, linewidth=0))


def _bands(
    axes: Any, flow: Square, scale: float, left: np.ndarray, right: np.ndarray,
    inner: tuple[float, float], patients: int,
) -> None:  # fmt: skip
    paint = style.colours(flow.classes)
    size = flow.median * scale
    start = left[:, None] + np.cumsum(size, axis=1) - size / 2
    end = right[None, :] + np.cumsum(size, axis=0) - size / 2
    there = [at for at in np.ndindex(*size.shape) if flow.upper[at[0]].sum() > 0]
    by_size = sorted(there, key=lambda at: -size[at])  # thin bands on top
    for at in by_size:
        words = _flow_words(flow, at, patients)
        for bound, opacity in ((flow.upper[at], 0.22), (flow.lower[at], 0.5)):
            middle = (float(start[at]), float(end[at]))
            _band(
                axes, inner, middle, float(bound) * scale, paint[flow.classes[at[0]]], opacity,
                style.tip(words, again=opacity == 0.5),
            )  # fmt: skip
    for at in by_size:
        if size[at] >= _MIN_LABEL:
            _band_text(axes, flow, at, (float(start[at]), float(end[at])), inner, float(size[at]))


def _flow_words(flow: Square, at: tuple[int, ...], patients: int) -> str:
    """Count and share of one flow, of all patients and of its class at the primary."""
    start, end = (flow.classes[place] for place in at)
    share = float(flow.median[at])
    whole = float(flow.median[at[0]].sum())
    first = (
        "the primary" if flow.readings == READINGS else f"the first reading ({flow.readings[0]})"
    )
    of_class = f"; {number(100 * share / whole, 0)} % of {start} at {first}" if whole else ""
    counted = f", about {number(share / 100 * patients, 0)} of {patients}" if patients else ""
    return (
        f"{start} to {end}: {number(share, 1)} % of all patients (95 % CrI "
        f"{number(flow.lower[at], 1)} to {number(flow.upper[at], 1)}){counted}{of_class}"
    )


def _band_text(
    axes: Any, flow: Square, at: tuple[int, ...], middle: tuple[float, float],
    inner: tuple[float, float], size: float,
) -> None:  # fmt: skip
    """Median on the band, with its interval where the band is thick enough for two lines."""
    t = 0.8 if at[0] == at[1] else 0.15  # along the curve, clear of the crossing in the middle
    x = inner[0] + (1.5 * t - 1.5 * t**2 + t**3) * (inner[1] - inner[0])
    y = middle[0] + (3 * t**2 - 2 * t**3) * (middle[1] - middle[0])
    lift = 7 if size >= 2 * _MIN_LABEL else 0
    text = f"{number(flow.median[at], 0)} %"
    axes.text(x, y + lift, text, ha="center", va="center", size=11)
    if lift:
        ends = f"{number(flow.lower[at], 0)} to {number(flow.upper[at], 0)}"
        axes.text(x, y - 8, ends, ha="center", va="center", size=9.5)


def _band(
    axes: Any, inner: tuple[float, float], middle: tuple[float, float], size: float, colour: str,
    opacity: float, gid: str,
) -> None:  # fmt: skip
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    x0, x1 = inner
    half, bend = size / 2, (x0 + x1) / 2
    (a, b) = middle
    corners = [
        (x0, a + half), (bend, a + half), (bend, b + half), (x1, b + half),
        (x1, b - half), (bend, b - half), (bend, a - half), (x0, a - half), (x0, a + half),
    ]  # fmt: skip
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    path = Path(corners, codes)
    axes.add_patch(PathPatch(path, facecolor=colour, alpha=opacity, linewidth=0, gid=gid))


_CELL_WIDTH, _CELL_HEIGHT, _NAMES, _TITLE = 84, 46, 74, 52  # px


def heat(square: Square) -> Canvas:
    """Draw a transition matrix, every cell with its median and 95 % interval."""
    with style.drawing():
        return _heat(square)


def _heat(square: Square) -> Canvas:
    from matplotlib.patches import Rectangle

    k = len(square.classes)
    cell_height = _CELL_HEIGHT + (0 if square.remarks is None else 15)
    width, height = _NAMES + _CELL_WIDTH * k + 8, _TITLE + cell_height * k + 8
    figure, axes = style.new_figure(width, height)
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    axes.text(8, 12, square.title, weight="bold", size=12, va="center")
    first = square.readings[0].removesuffix(" tumour")
    axes.text(_NAMES - 8, 37, first, ha="right", va="center", size=10.5, color=style.MUTED)
    for j, name in enumerate(square.classes):
        axes.text(
            _NAMES + (j + 0.5) * _CELL_WIDTH, 37, f"→ {name}", ha="center", va="center", size=11
        )
    for i, name in enumerate(square.classes):
        y = _TITLE + i * cell_height
        axes.text(_NAMES - 8, y + cell_height / 2, name, ha="right", va="center", size=11)
        for j in range(k):
            x = _NAMES + j * _CELL_WIDTH
            shade = 0.06 + 0.6 * square.median[i, j] / 100
            colour = style.BLUE if i != j else style.MUTED
            axes.add_patch(
                Rectangle((x + 1, y + 1), _CELL_WIDTH - 2, cell_height - 2, color=colour,
                          alpha=shade, linewidth=0)
            )  # fmt: skip
            _cell_text(axes, square, (i, j), (x + _CELL_WIDTH / 2, y))
    return figure


def _cell_text(axes: Any, square: Square, at: tuple[int, int], place: tuple[float, float]) -> None:
    x, y = place
    median, lower, upper = (part[at] for part in (square.median, square.lower, square.upper))
    texts = [
        (16, 12.5, f"{number(median, 0)} %"),
        (34, 10.0, f"{number(lower, 0)} to {number(upper, 0)}"),
    ]
    if square.remarks is not None:
        texts.append((49, 9.5, str(square.remarks[at])))
    for shift, size, text in texts:
        axes.text(x, y + shift, text, ha="center", va="center", size=size,
                  weight="bold" if shift == 16 else "normal")  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One quantity of a chart: (value, lower, upper) in percent by series, and a remark."""

    label: str
    intervals: Mapping[str, Three]
    remark: str = ""


def intervals(
    lines: Sequence[Line],
    *,
    label: str,
    wide: int = style.PANEL_WIDTH,
    remark: str = "",
    legend: bool = False,
) -> Canvas:
    """Draw one row a quantity and one interval a series in it: scenarios, or prior and posterior.

    Series called ``prior`` are drawn faint. ``remark`` heads the column of remarks. What the
    colours mean is drawn by ``key``, or in a ``legend``.
    """
    series = series_of(lines)
    row = 18 + 11 * len(series)
    right = 84 if remark else 14
    names = 8 + max(len(line.label) for line in lines) * 6.4
    height = 30 + row * len(lines) + 44
    with style.drawing():
        figure, axes = style.new_figure(wide, height)
        figure.set_layout_engine("none")
        axes.set_position(
            (names / wide, 44 / height, 1 - (names + right) / wide, row * len(lines) / height)
        )
        top = max(value[2] for line in lines for value in line.intervals.values())
        limit = min(100.0, 10.0 * np.ceil((top + 1) / 10))
        axes.set(xlim=(0, limit), ylim=(row * len(lines), 0), yticks=())
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel(label)
        paint = _series_colours(series)
        for place, line in enumerate(lines):
            y = place * row
            axes.text(-8 * limit / (wide - names - right), y + row / 2, line.label, ha="right",
                      va="center", size=11, clip_on=False)  # fmt: skip
            for shift, name in enumerate(series):
                if name in line.intervals:
                    _interval(axes, line.intervals[name], y + 14 + 11 * shift, *paint[name])
            if remark:
                axes.text(1.04, y + row / 2, line.remark, transform=axes.get_yaxis_transform(),
                          va="center", size=10.5, color=style.MUTED)  # fmt: skip
            if place:
                axes.axhline(y, color=style.FAINT, linewidth=0.8)
        if remark:
            axes.text(1.04, -10, remark, transform=axes.get_yaxis_transform(), size=10,
                      color=style.MUTED, va="center")  # fmt: skip
        if legend:
            marks = [axes.plot([], [], color=paint[name][0], label=name)[0] for name in series]
            axes.legend(handles=marks, loc="lower right")
        return figure


def _series_colours(series: Sequence[str]) -> dict[str, tuple[str, float]]:
    spare = iter(style.PALETTE * 3)
    return {name: (style.MUTED, 1.6) if name == "prior" else (next(spare), 2.6) for name in series}


def _interval(axes: Any, value: Three, y: float, colour: str, width: float) -> None:
    median, lower, upper = value
    axes.plot((lower, upper), (y, y), color=colour, linewidth=width)
    axes.plot(median, y, "o", markersize=6, color=colour, markeredgecolor=style.PAPER,
              markeredgewidth=0.8)  # fmt: skip


def series_of(lines: Sequence[Line]) -> list[str]:
    """Names of the series of a chart, each once."""
    return list(dict.fromkeys(name for line in lines for name in line.intervals))


def key(lines: Sequence[Line]) -> Canvas:
    """Draw what the colours of ``intervals`` mean."""
    series = series_of(lines)
    with style.drawing():
        return _key(series, _series_colours(series))


def _key(series: Sequence[str], paint: Mapping[str, tuple[str, float]]) -> Canvas:
    figure, axes = style.new_figure(style.PANEL_WIDTH, 20 * ((len(series) + 1) // 2))
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, style.PANEL_WIDTH), ylim=(20 * ((len(series) + 1) // 2), 0))
    axes.set_axis_off()
    for place, name in enumerate(series):
        x, y = 8 + 211 * (place % 2), 10 + 20 * (place // 2)
        _interval(axes, (x + 10, x, x + 20), y, *paint[name])
        axes.text(x + 27, y, name, va="center", size=10.5)
    return figure


def curve(
    x: np.ndarray, bands: Mapping[str, np.ndarray], *, x_label: str, y_label: str,
    reference: float | None = None, limit: float = 100.0,
) -> Canvas:  # fmt: skip
    """Draw medians with 95 % bands over ``x``; a band (3, x) is median, lower, upper, percent."""
    from matplotlib.ticker import MaxNLocator

    with style.drawing():
        figure, axes = style.new_figure(style.PANEL_WIDTH, 290)
        for (name, (median, lower, upper)), colour in zip(
            bands.items(), style.PALETTE, strict=False
        ):
            axes.fill_between(x, lower, upper, color=colour, alpha=0.2, linewidth=0)
            axes.plot(x, median, color=colour, label=name)
        if reference is not None:
            axes.axhline(reference, color=style.MUTED, linewidth=1, linestyle=(0, (2, 2)))
        axes.set(xlim=(x.min(), x.max()), ylim=(0, limit), xlabel=x_label, ylabel=y_label)
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        if len(bands) > 1:
            axes.legend(loc="best")
        return figure


def square(draws: xr.DataArray, title: str, remarks: np.ndarray | None = None) -> Square:
    """Median and interval of every cell in percent; dims chain, draw, her2_primary, her2."""
    tail = (1 - INTERVAL) / 2
    ordered = draws.transpose("chain", "draw", "her2_primary", "her2").to_numpy()
    lower, median, upper = 100 * np.quantile(ordered, [tail, 0.5, 1 - tail], axis=(0, 1))
    classes = tuple(str(name) for name in draws["her2"].to_numpy())
    return Square(title, classes, median, lower, upper, remarks)


def flow_square(matrix: Matrix, pairs: str = "") -> Square:
    """Flows of one matrix in this cohort; ``pairs`` says which readings they are of."""
    return replace(square(matrix.posterior.flow(), ""), readings=readings_of(pairs))


def largest_change(flow: Square) -> tuple[str, str]:
    """Classes of the largest flow that is a change."""
    off = flow.median * (1 - np.eye(len(flow.classes)))
    i, j = np.unravel_index(int(off.argmax()), off.shape)
    return flow.classes[i], flow.classes[j]


def at(flow: Square, start: str, end: str) -> Three:
    """Median, lower and upper end of one cell."""
    place = flow.classes.index(start), flow.classes.index(end)
    return float(flow.median[place]), float(flow.lower[place]), float(flow.upper[place])


def matrix_square(matrix: Matrix, remarks: np.ndarray | None = None, pairs: str = "") -> Square:
    """Transition probabilities of one matrix, titled with its patients where they are known."""
    title = f"{matrix.label}, n = {matrix.pairs}" if matrix.pairs else matrix.label
    found = square(matrix.posterior.transition, title, remarks)
    return replace(found, readings=readings_of(pairs))


def contraction_lines(matrix: Matrix, estimates: pd.DataFrame) -> list[Line]:
    """Prior and posterior of each cell, with the contraction."""
    prior, posterior = (square(rows.transition, "") for rows in (matrix.prior, matrix.posterior))
    known = _lookup(estimates, matrix)
    lines = []
    for start in matrix.classes:
        for end in matrix.classes:
            row = known.get(("transition", f"{start} -> {end}"), {})
            lines.append(
                Line(
                    f"{start} → {end}",
                    {"prior": at(prior, start, end), "posterior": at(posterior, start, end)},
                    number(row.get("contraction"), 2),
                )
            )
    return lines


def _lookup(estimates: pd.DataFrame, matrix: Matrix) -> dict[tuple[str, str], dict[str, Any]]:
    rows = estimates[estimates["reading"] == matrix.reading].to_dict("records")
    found = {}
    for row in rows:
        asked = parse(row["estimand"])
        if asked.given == tuple(sorted(matrix.given)) and not asked.contrast:
            found[(asked.kind, asked.outcome)] = {str(name): value for name, value in row.items()}
    return found


def scenario_lines(matrices: Mapping[str, Matrix]) -> list[Line]:
    """The same cells under several scenarios or priors."""
    squares = {name: square(m.posterior.transition, "") for name, m in matrices.items()}
    first = next(iter(squares.values()))
    return [
        Line(f"{start} → {end}", {name: at(s, start, end) for name, s in squares.items()})
        for start in first.classes
        for end in first.classes
    ]


def tipping_curve(tipping: pd.DataFrame, observed: Matrix) -> Canvas:
    """Draw true discordance by the accuracy of the assay, beside that of the readings."""
    table = tipping.sort_values("accuracy")
    x = 100 * table["accuracy"].to_numpy()
    true = 100 * table[[f"true_discordance_{n}" for n in ("median", "lower", "upper")]].to_numpy().T
    seen = _three_of(100 * discordance(observed.posterior.flow()))
    bands = {
        "true change": true,
        "readings differ": np.repeat(np.array(seen)[:, None], len(x), axis=1),
    }
    top = 10 * np.ceil(max(band.max() for band in bands.values()) / 10)
    return curve(x, bands, x_label="accuracy of the assay, %", y_label="patients, %", limit=top)


def _three_of(draws: xr.DataArray) -> tuple[float, float, float]:
    tail = (1 - INTERVAL) / 2
    lower, median, upper = np.quantile(draws.to_numpy(), [tail, 0.5, 1 - tail])
    return float(median), float(lower), float(upper)

"""Figures of a survival analysis: what each one shows, and the words under it.

Each is a matplotlib figure; ``page_figures`` puts the same ones on a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from xarray.ufuncs import log

from her2bayes.classical import survival as km
from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.patients.survival_cells import at_risk
from her2bayes.page import style
from her2bayes.page.numbers import count
from her2bayes.page.section import Figure
from her2bayes.survival import figures
from her2bayes.survival.analysis import Analysis
from her2bayes.survival.draws import first_time, last_time
from her2bayes.survival.estimates import given_of
from her2bayes.survival.figures import MISSING, SAID, Band, Curve, ForestRow, endpoint_name
from her2bayes.survival.piecewise import TERM

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

MOST_CURVES = 6
MOST_RATIOS = 4


def survival(of: Analysis, factor: str = "") -> Drawing:
    """Survival by level of a factor with 95 % bands, over Kaplan–Meier, patients at risk below."""
    head = f"Band: {SAID[0]}; step: {SAID[1]}; dotted: {SAID[2]}"
    curves, ticks = _curves(of, _known(of, factor)), _ticks_of(of)
    return _shown(figures.draw_survival(curves, ticks, of.endpoint, head))


def hazard(of: Analysis, factor: str = "") -> Drawing:
    """Hazard of the mean survival at each level of a factor, with 95 % bands."""
    bands, head = _hazard_bands(of, _known(of, factor)), "Posterior median and 95 % CrI"
    return _shown(figures.draw_hazards(bands, _ticks_of(of), head))


def hazard_ratio(of: Analysis, factor: str = "") -> Drawing:
    """Hazard ratios against the reference level over time; dashed: Cox's constant ratio."""
    name = _known(of, factor or next(iter(of.factors), ""))
    if len(of.levels[name]) < 2:
        raise BadInput(Fault("a hazard ratio needs a factor of two levels", value=name))
    bands, constant = _ratio_bands(of, name)
    head = f"vs {name} {of.reference[name]}: posterior median, 95 % CrI; dashed: Cox"
    return _shown(figures.draw_ratio_over_time(bands, constant, _ticks_of(of), head))


def forest(of: Analysis, level: str = "") -> Drawing:
    """Hazard ratio of a level of the first factor, in all patients and in each subgroup.

    Open circles: Cox regression within the subgroup; bars: posterior of the hierarchical model.
    """
    first = next((name for name in of.factors if len(of.levels[name]) > 1), "")
    others = [v for v in of.levels.get(first, ()) if v != of.reference.get(first)]
    if not others or (level and level not in others):
        allowed = ", ".join(others) or "a fit with a factor of two levels or more"
        raise BadInput(Fault("no hazard ratios of this level", value=level, allowed=allowed))
    rows, base = _forest_rows(of, first, level or others[0]), of.reference[first]
    shown = level or others[0]
    figure = figures.draw_forest(rows, f"{shown} vs {base}")
    said = "Circle: Cox within the group, 95 % CI; bar: pooled posterior, 95 % CrI"
    figure.text(0.01, 1 - 12 / (72 * figure.get_figheight()), said, size=10, color=style.MUTED,
                va="center")  # fmt: skip
    return _shown(figure)


DRAWINGS = {
    "survival": survival, "hazard": hazard, "hazard_ratio": hazard_ratio, "forest": forest,
}  # fmt: skip
"""Figures of a fit by name; each takes the analysis and a factor (or level)."""


def _shown(figure: Drawing) -> Drawing:
    """A figure to look at by itself: on white, at a resolution that screens and journals take."""
    figure.patch.set_facecolor("white")
    figure.set_dpi(144)
    return figure


def _svg(figure: Drawing) -> str:
    with style.drawing():
        return style.svg(figure)


def _known(of: Analysis, factor: str) -> str:
    if factor not in of.levels:
        allowed = ", ".join(of.factors) or "no factor"
        raise BadInput(Fault("no such factor in the fit", value=factor, allowed=allowed))
    return factor


def ticks_between(last: float, first: float = 0.0) -> list[float]:
    """Months to write under an axis from ``first`` to ``last``: at most eight or nine."""
    for step in (3, 6, 12, 24, 36, 60, 120):
        if (last - first) / step <= 8:
            break
    return [float(t) for t in np.arange(first // step * step, last + step * 0.999, step)]


def _ticks_of(of: Analysis) -> list[float]:
    return ticks_between(of.follow_up.last_time, float(of.grid[0]))


def band(draws: xr.DataArray, months: np.ndarray) -> Band:
    """Median and 95 % limits of draws over their dim ``time``."""
    low, middle, high = draws.quantile([0.025, 0.5, 0.975], ("chain", "draw")).transpose(
        "quantile", "time"
    )
    return Band(months, middle.to_numpy(), low.to_numpy(), high.to_numpy())


def page_curves(of: Analysis, factor: str, shared: bool = False) -> Iterator[Figure]:
    """Survival over Kaplan–Meier, and hazards, of the levels of one factor.

    ``shared``: nothing that comes from patients directly, the model's curves only.
    """
    first, ticks = float(of.grid[0]), _ticks_of(of)
    name, levels = factor or "all", of.levels[factor]
    who = of.specification.title
    who += "" if shared else f", {count(of.follow_up.patients, 'patient')}"
    more = (
        f" The first {MOST_CURVES} of {len(levels)} levels are drawn."
        if len(levels) > MOST_CURVES
        else ""
    )
    title = endpoint_name(of.endpoint) + (f" by {name}" if factor else ", all patients")
    slug = name.replace("_", "-")
    yield Figure(
        f"survival-{slug}",
        title,
        figures.survival(_curves(of, factor, shared), ticks, of.endpoint),
        f"{who}. Posterior mean survival of the patients in each group with 95 % CrI"
        f"{'' if shared else ', over their Kaplan–Meier curve'}.{_from(first)}{more}",
    )
    yield Figure(
        f"hazard-{slug}",
        f"Hazard by {name}" if factor else "Hazard",
        _svg(figures.draw_hazards(_hazard_bands(of, factor), ticks)),
        f"{who}. Hazard of the mean survival of each group, 95 % CrI. Late bands are wide "
        "because few patients are left.",
    )


def _curves(of: Analysis, factor: str, shared: bool = False) -> list[Curve]:
    by = [factor] if factor else []
    labels, steps, ticks = km.label(of.counts, by), km.curve(of.counts, by), _ticks_of(of)
    drawn = []
    for level in of.levels[factor][:MOST_CURVES]:
        step, given = steps[steps["group"] == level], given_of(factor, level)
        first = first_time(of.cells, given)
        drawn.append(
            Curve(
                label=level if factor else "all patients",
                band=band(of.curves["posterior"][given]["survival"], of.grid),
                steps=None
                if shared
                else (
                    np.append(first, step["time"].to_numpy()),
                    np.append(1.0, step["estimate"].to_numpy()),
                ),
                at_risk=() if shared else list(at_risk(of.counts[labels == level], ticks)),
                last=last_time(of.cells, given),
                first=first,
            )
        )
    return drawn


def _from(first: float) -> str:
    """Where curves of patients who enter late begin."""
    said = "Curves begin at the first entry"
    return f" {said}, {first:.5g} months; before it there are no data." if first > 0 else ""


def _hazard_bands(of: Analysis, factor: str) -> dict[str, Band]:
    """Hazard between the points of the grid: minus the slope of log survival."""
    bands = {}
    for level in of.levels[factor][:MOST_CURVES]:
        given = given_of(factor, level)
        survival_ = of.curves["posterior"][given]["survival"]
        inside = of.grid <= last_time(of.cells, given)
        log_survival = log(survival_.isel(time=np.flatnonzero(inside)).clip(min=1e-300))
        slope = -log_survival.diff("time") / np.diff(of.grid[inside])
        months = of.grid[inside][:-1]
        bands[level if factor else "all patients"] = band(slope, months)
    return bands


def page_ratios(of: Analysis) -> Iterator[Figure]:
    """Hazard ratios over time of factors whose ratios may change."""
    for factor in of.factors:
        if f"{TERM}{factor}_drift" in of.fit.posterior:
            yield Figure(
                f"ratio-{factor.replace('_', '-')}",
                f"Hazard ratio over time: {factor} vs {of.reference[factor]}",
                _svg(figures.draw_ratio_over_time(*_ratio_bands(of, factor), _ticks_of(of))),
                "Posterior median and 95 % CrI; the dashed lines are Cox's constant ratios.",
            )


def _ratio_bands(of: Analysis, factor: str) -> tuple[dict[str, Band], dict[str, float]]:
    """Ratios of levels against the reference in every interval, and Cox's constant ones."""
    start, end = (of.cells[f"interval_{side}"].to_numpy() for side in ("start", "end"))
    base = of.reference[factor]
    others = [level for level in of.levels[factor] if level != base][:MOST_RATIOS]
    known = of.classical.set_index("estimand")["reproduced"]
    bands, constant = {}, {}
    for level in others:
        average = Estimand("hazard_ratio", of.endpoint, (), Contrast(factor, level, base))
        asked = [replace(average, time=float(t), time_unit="months") for t in end]
        found = of.draws(asked)
        over_time = xr.concat([found[one] for one in asked], pd.Index(end, name="time"))
        one = band(over_time, start)
        bands[level] = Band(
            np.append(start, end[-1]),
            *(np.append(v, v[-1]) for v in (one.median, one.lower, one.upper)),
        )
        constant[level] = float(known.get(str(average), np.nan))
    return bands, constant


def page_forests(of: Analysis, shared: bool = False) -> Iterator[Figure]:
    """One forest a contrast of the first factor: all patients, then each level of the others.

    ``shared``: the model's ratios only, without events and patients.
    """
    if not of.factors or len(of.levels[of.factors[0]]) < 2:
        return
    first = of.factors[0]
    base = of.reference[first]
    for level in of.levels[first]:
        if level == base:
            continue
        rows = _forest_rows(of, first, level, shared)
        raw = "Open circles: Cox regression within each group (Efron ties, Wald 95 % CI). "
        if shared:
            rows, raw = [replace(row, detail="", raw=MISSING) for row in rows], ""
        yield Figure(
            f"forest-{first}-{level}".replace("_", "-").replace(" ", "-"),
            f"Subgroups: {first} {level} vs {base}",
            figures.forest(rows, f"{level} vs {base}"),
            f"{raw}Bars: posterior with 95 % CrI of the hierarchical model, in which effects of "
            "subgroups shrink towards their average.",
        )


def _forest_rows(of: Analysis, first: str, level: str, shared: bool = False) -> list[ForestRow]:
    base = of.reference[first]
    pooled = of.estimates.set_index("estimand")
    raw = (of.classical.iloc[:0] if shared else of.classical).set_index("estimand")

    def values(table: pd.DataFrame, key: str, names: tuple[str, ...]) -> tuple[float, float, float]:
        if key not in table.index:
            return MISSING
        low, middle, high = (float(table[name].to_dict()[key]) for name in names)
        return middle, low, high

    def row(label: str, detail: str, given: Mapping[str, str], heading: bool) -> ForestRow:
        contrast = Contrast(first, level, base)
        key = str(Estimand("hazard_ratio", of.endpoint, tuple(given.items()), contrast))
        return ForestRow(
            label,
            detail,
            values(raw, key, ("reproduced_lower", "reproduced", "reproduced_upper")),
            values(pooled, key, ("posterior_lower", "posterior_median", "posterior_upper")),
            heading,
        )

    rows = [row("all patients", _events(of.counts, {}, first, (level, base)), {}, True)]
    for other in of.factors[1:]:
        if f" | {other}=" not in " ".join(pooled.index):
            continue
        rows.append(ForestRow(other, "", MISSING, MISSING, True))
        for value in of.levels[other]:
            detail = _events(of.counts, {other: value}, first, (level, base))
            rows.append(row(value, detail, {other: value}, False))
    return rows


def _events(
    counts: pd.DataFrame, given: Mapping[str, str], first: str, levels: tuple[str, str]
) -> str:
    """Events / patients of the two levels compared."""
    for name, value in given.items():
        counts = counts[counts[name] == value]
    parts = []
    for level in levels:
        inside = counts[counts[first] == level]
        events = int(inside.loc[inside["event"] == 1, "patients"].sum())
        parts.append(f"{events}/{int(inside['patients'].sum())}")
    return " vs ".join(parts)

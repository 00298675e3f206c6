"""Figures of a survival result: what each one shows, taken from the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr
from xarray.ufuncs import log

from her2bayes.classical import survival as km
from her2bayes.evidence.patients.time_counts import at_risk
from her2bayes.page.numbers import count
from her2bayes.page.section import Figure
from her2bayes.survival import draws as hazard_ratios
from her2bayes.survival import figures
from her2bayes.survival import figures as survival_forest
from her2bayes.survival.analysis import Result
from her2bayes.survival.estimates import Levels
from her2bayes.survival.figures import Band, Curve, ForestRow, endpoint_name

MOST_CURVES = 6
MISSING = (np.nan, np.nan, np.nan)


def _ticks(last: float, first: float = 0.0) -> list[float]:
    for step in (3, 6, 12, 24, 36, 60, 120):
        if (last - first) / step <= 8:
            break
    return [float(t) for t in np.arange(first // step * step, last + step * 0.999, step)]


def band(draws: xr.DataArray, months: np.ndarray) -> Band:
    """Median and 95 % limits of draws over their dim ``time``."""
    low, middle, high = draws.quantile([0.025, 0.5, 0.975], ("chain", "draw")).transpose(
        "quantile", "time"
    )
    return Band(months, middle.to_numpy(), low.to_numpy(), high.to_numpy())


def curves(result: Result, found: Levels, shared: bool = False) -> list[Figure]:
    """Survival over Kaplan–Meier, and hazards, of the levels of one factor.

    ``shared``: nothing that comes from patients directly, the model's curves only.
    """
    first = float(found.grid[0])
    ticks = _ticks(result.follow_up.last_time, first)
    by = [found.factor] if found.factor else []
    labels = km.label(result.counts, by)
    steps = km.curve(result.counts, by)
    drawn: list[Curve] = []
    for level in found.levels[:MOST_CURVES]:
        step = steps[steps["group"] == level]
        drawn.append(
            Curve(
                label=level if found.factor else "all patients",
                band=band(found.draws["posterior"][level]["survival"], found.grid),
                steps=None
                if shared
                else (
                    np.append(found.first_time[level], step["time"].to_numpy()),
                    np.append(1.0, step["estimate"].to_numpy()),
                ),
                at_risk=() if shared else list(at_risk(result.counts[labels == level], ticks)),
                last=found.last_time[level],
                first=found.first_time[level],
            )
        )
    endpoint, name = result.follow_up.endpoint, found.factor or "all"
    who = result.question.title
    who += "" if shared else f", {count(result.follow_up.patients, 'patient')}"
    more = (
        f" The first {MOST_CURVES} of {len(found.levels)} levels are drawn."
        if len(found.levels) > MOST_CURVES
        else ""
    )
    title = endpoint_name(endpoint) + (f" by {name}" if found.factor else ", all patients")
    slug = name.replace("_", "-")
    return [
        Figure(
            f"survival-{slug}",
            title,
            figures.survival(drawn, ticks, endpoint),
            f"{who}. Posterior mean survival of the patients in each group with 95 % band"
            f"{'' if shared else ', over their Kaplan–Meier curve'}.{_from(first)}{more}",
        ),
        Figure(
            f"hazard-{slug}",
            f"Hazard by {name}" if found.factor else "Hazard",
            figures.hazards(_hazard_bands(found), ticks),
            f"{who}. Hazard of the mean survival of each group, 95 % band. Late bands are wide "
            "because few patients are left.",
        ),
    ]


def _from(first: float) -> str:
    """Where curves of patients who enter late begin."""
    said = "Curves begin at the first entry"
    return f" {said}, {first:.5g} months; before it there are no data." if first > 0 else ""


def _hazard_bands(found: Levels) -> dict[str, Band]:
    """Hazard between the points of the grid: minus the slope of log survival."""
    bands = {}
    for level in found.levels[:MOST_CURVES]:
        survival = found.draws["posterior"][level]["survival"]
        inside = found.grid <= found.last_time[level]
        log_survival = log(survival.isel(time=np.flatnonzero(inside)).clip(min=1e-300))
        slope = -log_survival.diff("time") / np.diff(found.grid[inside])
        months = found.grid[inside][:-1]
        bands[level if found.factor else "all patients"] = band(slope, months)
    return bands


def over_time(result: Result, reported: list[str]) -> list[Figure]:
    """Hazard ratios over time of factors whose ratios may change."""
    drifting = [name for name in reported if f"term_{name}_drift" in result.fit.posterior]
    found = []
    for factor in drifting:
        grid = result.cells["interval_end"].to_numpy()
        base = result.reference[factor]
        others = [level for level in result.levels[factor].levels if level != base][:4]
        bands, constant = {}, {}
        classical = result.classical.set_index("estimand")["reproduced"]
        for level in others:
            draws = hazard_ratios.ratio_at(
                result.fit.posterior, result.cells, factor, level, base, list(grid)
            )
            months = result.cells["interval_start"].to_numpy()
            one = band(draws, months)
            bands[level] = Band(
                np.append(months, grid[-1]),
                *(np.append(v, v[-1]) for v in (one.median, one.lower, one.upper)),
            )
            key = f"hazard_ratio[{result.follow_up.endpoint} ; {factor}: {level} vs {base}]"
            constant[level] = float(classical.get(key, np.nan))
        found.append(
            Figure(
                f"ratio-{factor.replace('_', '-')}",
                f"Hazard ratio over time: {factor} against {base}",
                figures.ratio_over_time(
                    bands, constant, _ticks(result.follow_up.last_time, result.levels[""].grid[0])
                ),
                "Posterior median and 95 % band; the dashed lines are Cox's constant ratios.",
            )
        )
    return found


def forests(result: Result, reported: list[str], shared: bool = False) -> list[Figure]:
    """One forest a contrast of the first factor: all patients, then each level of the others.

    ``shared``: the model's ratios only, without events and patients.
    """
    if not reported or len(result.levels[reported[0]].levels) < 2:
        return []
    first = reported[0]
    base = result.reference[first]
    found = []
    for level in result.levels[first].levels:
        if level == base:
            continue
        rows = _forest_rows(result, first, level, base, reported[1:])
        raw = "Raw: Cox regression within each group (Efron ties, Wald interval). "
        if shared:
            rows, raw = [replace(row, detail="", raw=MISSING) for row in rows], ""
        found.append(
            Figure(
                f"forest-{first}-{level}".replace("_", "-").replace(" ", "-"),
                f"Subgroups: {first} {level} against {base}",
                survival_forest.forest(
                    rows, f"{level} against {base}", f"favours {level}", f"favours {base}"
                ),
                f"{raw}Pooled: posterior of the hierarchical model, in which effects of subgroups "
                "shrink towards their average.",
            )
        )
    return found


def _forest_rows(
    result: Result, first: str, level: str, base: str, others: list[str]
) -> list[ForestRow]:
    endpoint = result.follow_up.endpoint
    pooled = result.estimates.set_index("estimand")
    raw = result.classical.set_index("estimand")

    def values(table: pd.DataFrame, key: str, names: tuple[str, ...]) -> tuple[float, float, float]:
        if key not in table.index:
            return MISSING
        low, middle, high = (float(table[name].to_dict()[key]) for name in names)
        return middle, low, high

    def row(label: str, detail: str, given: str, heading: bool) -> ForestRow:
        key = f"hazard_ratio[{endpoint}{given} ; {first}: {level} vs {base}]"
        return ForestRow(
            label,
            detail,
            values(raw, key, ("reproduced_lower", "reproduced", "reproduced_upper")),
            values(pooled, key, ("posterior_lower", "posterior_median", "posterior_upper")),
            heading,
        )

    rows = [row("all patients", _events(result, {}, first, (level, base)), "", True)]
    for other in others:
        if f" | {other}=" not in " ".join(pooled.index):
            continue
        rows.append(ForestRow(other, "", MISSING, MISSING, True))
        for value in result.levels[other].levels:
            detail = _events(result, {other: value}, first, (level, base))
            rows.append(row(value, detail, f" | {other}={value}", False))
    return rows


def _events(result: Result, given: Mapping[str, str], first: str, levels: tuple[str, str]) -> str:
    """Events / patients of the two levels compared."""
    counts = result.counts
    for name, value in given.items():
        counts = counts[counts[name] == value]
    parts = []
    for level in levels:
        inside = counts[counts[first] == level]
        events = int(inside.loc[inside["event"] == 1, "patients"].sum())
        parts.append(f"{events}/{int(inside['patients'].sum())}")
    return " vs ".join(parts)

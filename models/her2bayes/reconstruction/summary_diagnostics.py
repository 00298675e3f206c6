"""What cohorts say about survival, and whether independently started chains agree about it.

Survival at 24 and 60 months, restricted mean to 60 months, total censoring time, log hazard ratios
of the compared factor in all patients and in every subgroup, and the patients in a free cell of
the paired table: rank-normalised R-hat and effective sample size over chains.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from her2bayes.reconstruction import summary_statistics as kernel
from her2bayes.reconstruction.quality import kaplan_meier, survival_at
from her2bayes.reconstruction.summary import Chain
from her2bayes.reconstruction.summary_design import Statistic, Summary

LANDMARKS = (24.0, 60.0)


def quantities(summary: Summary, chain: Chain, draw: int) -> dict[str, float]:
    """All monitored quantities of one cohort."""
    months, event, cell = chain.months[draw], chain.event[draw].astype(bool), chain.cell[draw]
    order = np.argsort(months, kind="stable")
    months, event, cell = months[order], event[order], cell[order]
    found = {}
    for at in LANDMARKS:
        if at < summary.last:
            found[f"survival at {at:g} months"] = float(
                survival_at((months, event), np.array([at]))[0]
            )
    horizon = min(LANDMARKS[-1], summary.last)
    found[f"restricted mean to {horizon:g} months"] = _restricted_mean(months, event, horizon)
    found["total censoring time"] = float(months[~event].sum())
    found.update(_log_ratios(summary, months, event, cell))
    if summary.cells.pair:
        first, second = (list(summary.cells.factors).index(p) for p in summary.cells.pair)
        label = summary.cells.label
        top = label[second].max()
        found["free cell of the paired table"] = float(
            ((label[first][cell] == 0) & (label[second][cell] == top)).sum()
        )
    return found


def _restricted_mean(months: np.ndarray, event: np.ndarray, horizon: float) -> float:
    time, survival = kaplan_meier(months, event)
    edges = np.append(np.clip(time, 0, horizon), horizon)
    return float(np.sum(np.diff(edges) * survival))


def _log_ratios(
    summary: Summary, months: np.ndarray, event: np.ndarray, cell: np.ndarray
) -> dict[str, float]:
    """Cox log hazard ratios of the first compared factor, overall and within subgroups."""
    factor = next((s.factor for s in summary.statistics if s.factor), "")
    if not factor:
        return {}
    levels = summary.cells.levels(factor)
    given: list[dict[str, str]] = [{}]
    given += [
        {name: level}
        for name in summary.model_factors
        if name != factor
        for level in summary.cells.levels(name)
    ]
    found = {}
    for conditions in given:
        analysis = Statistic("", kernel.COX, conditions, factor, levels, ())
        out = np.full(kernel.VALUES, np.nan)
        exists = kernel.statistic(
            kernel.COX, len(levels), analysis.groups(summary.cells),
            np.round(10 * months).astype(np.int64), event.astype(np.int64), cell, cell.size,
            np.zeros(kernel.GROUPS), np.full(kernel.GROUPS, kernel.FAR),
            *kernel.memory(cell.size), out,
        )  # fmt: skip
        where = ", ".join(conditions.values())
        without = _without_events(analysis.groups(summary.cells), event, cell, len(levels))
        for k, level in enumerate(levels[1:], 1):
            name = f"log hazard ratio {level} vs {levels[0]}" + (f" | {where}" if where else "")
            infinite = kernel.FAR * (float(without[0]) - float(without[k]))
            found[name] = float(out[4 * (k - 1)]) if exists else infinite
    return found


def _without_events(
    group: np.ndarray, event: np.ndarray, cell: np.ndarray, groups: int
) -> np.ndarray:
    """Groups without events, whose hazard ratios are infinite (here the largest looked for)."""
    inside = group[cell[event]]
    return np.asarray(np.bincount(inside[inside >= 0], minlength=groups) == 0)


def diagnose(summary: Summary, chains: Sequence[Chain], draws: int = 400) -> pd.DataFrame:
    """Mean, sd, R-hat and effective sample size of every quantity over all chains."""
    import arviz as az
    import xarray as xr

    number = min(draws, *(c.months.shape[0] for c in chains))
    tables = []
    for chain in chains:
        picks = np.linspace(0, chain.months.shape[0] - 1, number).round().astype(int)
        rows = {d: quantities(summary, chain, int(d)) for d in np.unique(picks)}
        tables.append(pd.DataFrame([rows[d] for d in picks]))
    rows_out = []
    for name in tables[0].columns:
        values = np.array([t[name].to_numpy(float) for t in tables])
        known = values[np.isfinite(values)]  # a group without events has no finite hazard ratio
        row = {
            "quantity": name,
            "mean": np.nan,
            "sd": np.nan,
            "missing": 1 - known.size / values.size,
        }
        if known.size:
            row.update(mean=known.mean(), sd=known.std())
        ok = number >= 4 and np.isfinite(values).all() and values.std() > 0
        if ok:
            array = xr.Dataset({"x": (("chain", "draw"), values)})
            row["rhat"] = float(az.rhat(array)["x"]) if len(chains) > 1 else np.nan
            row["ess"] = float(az.ess(array)["x"])
        rows_out.append({"rhat": np.nan, "ess": np.nan, **row})
    return pd.DataFrame(rows_out)

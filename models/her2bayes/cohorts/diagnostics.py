"""What cohorts say about survival, and whether independently started chains agree about it.

Survival at 24 and 60 months, restricted mean to 60 months, total censoring time, log hazard ratios
of the compared factor in all patients and in every subgroup, the patients in a free cell of the
paired table, and those of the first class in both states by the other factors, which printed counts
of two factors at a time leave open: rank-normalised R-hat and effective sample size over chains.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from her2bayes.cohorts.chain import statistics as kernel
from her2bayes.cohorts.chain.summary import Statistic, Summary
from her2bayes.cohorts.chain.tempering import Chain

LANDMARKS = (24.0, 60.0)

Patients = tuple[np.ndarray, np.ndarray]  # time, event
Analysis = tuple[str, tuple[str, ...], np.ndarray]  # where, levels, group of each cell


def kaplan_meier(time: np.ndarray, event: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps of the Kaplan-Meier curve: distinct times and survival after each (from time 0)."""
    distinct, which = np.unique(time, return_inverse=True)
    deaths = np.bincount(which, weights=event)
    leaving = np.bincount(which)
    at_risk = time.size - np.concatenate([[0], np.cumsum(leaving)[:-1]])
    return np.append(0.0, distinct), np.append(1.0, np.cumprod(1 - deaths / at_risk))


def survival_at(patients: Patients, times: np.ndarray) -> np.ndarray:
    """Kaplan-Meier survival of one data set at ``times``."""
    steps, survival = kaplan_meier(*patients)
    return survival[np.searchsorted(steps, times, side="right") - 1]


def analyses(summary: Summary) -> list[Analysis]:
    """Cox analyses of the first compared factor, in all patients and in every subgroup."""
    factor = summary.compared
    if not factor:
        return []
    levels = summary.cells.levels(factor)
    given: list[dict[str, str]] = [{}]
    given += [
        {name: level}
        for name in summary.model_factors
        if name != factor
        for level in summary.cells.levels(name)
    ]
    return [
        (
            ", ".join(f"{name}={level}" for name, level in conditions.items()),
            levels,
            Statistic("", kernel.COX, conditions, factor, levels, ()).groups(summary.cells),
        )
        for conditions in given
    ]


def quantities(
    summary: Summary, chain: Chain, draw: int, asked: Sequence[Analysis] | None = None
) -> dict[str, float]:
    """All monitored quantities of one cohort; ``asked``: its ``analyses``, where many are asked."""
    asked = analyses(summary) if asked is None else asked
    months, event, cell = chain.months[draw], chain.event[draw].astype(bool), chain.cell[draw]
    order = np.argsort(months, kind="stable")
    months, event, cell = months[order], event[order], cell[order]
    found = {}
    survival, horizon, mean = landmarks(months, event, summary.last)
    for at, value in zip(LANDMARKS, survival, strict=True):
        if at < summary.last:
            found[f"survival at {at:g} months"] = float(value)
    found[f"restricted mean to {horizon:g} months"] = mean
    found["total censoring time"] = float(months[~event].sum())
    for analysis in asked:
        found.update(_log_ratios(analysis, months, event, cell))
    if summary.cells.pair:
        first, second = (list(summary.cells.factors).index(p) for p in summary.cells.pair)
        label = summary.cells.label
        top = label[second].max()
        found["free cell of the paired table"] = float(
            ((label[first][cell] == 0) & (label[second][cell] == top)).sum()
        )
        stayed = (label[first][cell] == 0) & (label[second][cell] == 0)
        found.update(_by_level(summary, cell[stayed]))
    return found


def landmarks(
    months: np.ndarray, event: np.ndarray, last: float
) -> tuple[np.ndarray, float, float]:
    """Kaplan-Meier at the landmarks, the horizon of the restricted mean, and that mean (months).

    Survival is missing from ``last`` on, where follow-up ends; the restricted mean ends there if
    that is before the last landmark.
    """
    time, survival = kaplan_meier(months, event)
    at = np.array(LANDMARKS)
    shown = np.where(at < last, survival[np.searchsorted(time, at, side="right") - 1], np.nan)
    horizon = min(LANDMARKS[-1], last)
    edges = np.append(np.clip(time, 0, horizon), horizon)
    return shown, horizon, float(np.sum(np.diff(edges) * survival))


def _by_level(summary: Summary, cell: np.ndarray) -> dict[str, float]:
    """Patients among those given, by level of every factor that is not of the pair."""
    return {
        f"{name}={level} among the first class in both states": float((label[cell] == k).sum())
        for name, label in zip(summary.cells.factors, summary.cells.label, strict=True)
        if name not in (summary.cells.pair or ())
        for k, level in enumerate(summary.cells.levels(name))
    }


def _log_ratios(
    analysis: Analysis, months: np.ndarray, event: np.ndarray, cell: np.ndarray
) -> dict[str, float]:
    """Log hazard ratios of one Cox analysis; infinite ones as the largest looked for."""
    where, levels, group = analysis
    logs = log_hazards(group, len(levels), months, event, cell)
    return {
        f"log hazard ratio {level} vs {levels[0]}" + (f" | {where}" if where else ""): float(log)
        for level, log in zip(levels[1:], logs[1:] - logs[0], strict=True)
    }


def log_hazards(
    group: np.ndarray, groups: int, months: np.ndarray, event: np.ndarray, cell: np.ndarray
) -> np.ndarray:
    """Log hazards of groups up to a constant, by Cox: far below without deaths, NaN without fit.

    Where nobody of a group died while others were followed its ratio falls without end, and the
    likelihood of the others goes to that of the model without its patients.
    """
    mine = group[cell] == np.arange(groups)[:, None]
    left = [k for k in range(groups) if mine[k].any()]
    while len(left) > 1:
        longest = np.array([months[mine[k]].max() for k in left])
        dies = [
            (mine[k] & event & (months <= np.delete(longest, a).max())).any()
            for a, k in enumerate(left)
        ]
        if all(dies):
            break
        left = [k for k, died in zip(left, dies, strict=True) if died]
    logs = np.full(groups, -kernel.FAR if left else np.nan)
    logs[left] = 0.0
    if len(left) < 2:
        return logs
    number = np.full(groups + 1, -1)  # the last for those outside the analysis, group -1
    number[left] = np.arange(len(left))
    out = np.full(kernel.VALUES, np.nan)
    exists = kernel.statistic(
        kernel.COX, len(left), number[group], np.round(10 * months).astype(np.int64),
        event.astype(np.int64), cell, cell.size,
        np.zeros(kernel.GROUPS), np.full(kernel.GROUPS, kernel.FAR),
        *kernel.memory(cell.size), out,
    )  # fmt: skip
    logs[left[1:]] = out[0 : 4 * (len(left) - 1) : 4] if exists else np.nan
    return logs


def diagnose(summary: Summary, chains: Sequence[Chain], draws: int = 1000) -> pd.DataFrame:
    """Mean, sd, R-hat and effective sample size of every quantity over all chains."""
    from arviz_stats.base import array_stats

    number = min(draws, *(c.months.shape[0] for c in chains))
    tables, asked = [], analyses(summary)
    for chain in chains:
        picks = np.linspace(0, chain.months.shape[0] - 1, number).round().astype(int)
        rows = {d: quantities(summary, chain, int(d), asked) for d in np.unique(picks)}
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
            row["rhat"] = float(array_stats.rhat(values)) if len(chains) > 1 else np.nan
            row["ess"] = float(array_stats.ess(values))
        rows_out.append({"rhat": np.nan, "ess": np.nan, **row})
    return pd.DataFrame(rows_out)

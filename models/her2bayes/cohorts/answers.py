"""Classical answers over reconstructed cohorts: hazard ratios with both errors, curves.

A cohort is one imputation of the patients. Cox's estimate in it has a sampling error, and the
estimates differ between cohorts, because the patients are not known. Rubin (1987) joins both:

    log HR = mean of q_d,    variance = mean of v_d + (1 + 1/m) Var(q_d)

over m cohorts d with estimates q_d and squared standard errors v_d (Efron's ties).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from her2bayes.cohorts.chain import statistics as kernel
from her2bayes.cohorts.chain.tempering import Chain, members
from her2bayes.cohorts.diagnostics import log_hazards
from her2bayes.cohorts.ensemble import SummaryEnsemble
from her2bayes.cohorts.estimates import asked_of, is_printed
from her2bayes.cohorts.printed.design import Statistic, Summary
from her2bayes.cohorts.quality import survival_at
from her2bayes.estimand import Estimand

COHORTS = 60
Z = 1.959963984540054
FEW = 0.05  # share of cohorts without a finite ratio that may be left out
FINITE = 10.0  # a log hazard ratio beyond means a group without deaths


def over_cohorts(ensemble: SummaryEnsemble) -> pd.DataFrame:
    """Cox hazard ratios of the first compared factor by subgroup, joined over cohorts."""
    item = ensemble.summary
    if not item.compared:
        return pd.DataFrame()
    levels = item.cells.levels(item.compared)
    chosen = [(ensemble.chains[c], d) for c, d in members(ensemble.chains, COHORTS)]
    printed = {s.estimand for s in item.statistics}
    fits: dict[tuple[tuple[str, str], ...], tuple[np.ndarray, np.ndarray]] = {}
    made = []
    for estimand in asked_of(item):
        contrast = estimand.contrast
        if estimand.kind != "hazard_ratio" or not contrast or contrast.factor != item.compared:
            continue
        if estimand.given not in fits:
            fits[estimand.given] = _fits(item, chosen, estimand)
        logs, covariances = fits[estimand.given]
        a, b = (levels.index(name) for name in (contrast.a, contrast.b))
        variance = covariances[:, a, a] + covariances[:, b, b] - 2 * covariances[:, a, b]
        row = joined(logs[:, a] - logs[:, b], variance)
        kind = "by_construction" if is_printed(estimand, printed) else "implied"
        made.append({"estimand": str(estimand), **row, "evidence_kind": kind})
    return pd.DataFrame(made)


def joined(log_ratio: np.ndarray, variance: np.ndarray) -> dict[str, Any]:
    """Ratio with 95 % limits from estimates and squared errors over cohorts (Rubin's rules).

    Estimates that are not finite are left out and counted; where they are more than ``FEW`` the
    others would be a selection, and the ratio is NaN.
    """
    known = (np.abs(log_ratio) < FINITE) & np.isfinite(variance)
    without = int((~known).sum())
    if without > FEW * known.size or known.sum() < 2:
        method = f"no Cox ratio: in {without} of {known.size} reconstructed cohorts a group has no "
        numbers = dict.fromkeys(("reproduced", "reproduced_lower", "reproduced_upper"), np.nan)
        return {**numbers, "method": f"{method}deaths"}
    within = float(variance[known].mean())
    between = float(np.var(log_ratio[known], ddof=1))
    error = np.sqrt(within + (1 + 1 / known.sum()) * between)
    middle = float(log_ratio[known].mean())
    method = (
        f"Cox in each of {log_ratio.size} reconstructed cohorts, joined by Rubin's rules: standard "
        f"error {np.sqrt(within):.2f} within, {np.sqrt(between):.2f} between cohorts (log scale)"
    )
    if without:
        method += f"; no finite ratio in {without}, where a group has no deaths"
    return {
        "reproduced": float(np.exp(middle)),
        "reproduced_lower": float(np.exp(middle - Z * error)),
        "reproduced_upper": float(np.exp(middle + Z * error)),
        "method": method,
    }


def _fits(
    item: Summary, chosen: list[tuple[Chain, int]], estimand: Estimand
) -> tuple[np.ndarray, np.ndarray]:
    """Log hazards (cohort, group) and their covariance (cohort, group, group)."""
    levels = item.cells.levels(item.compared)
    statistic = Statistic("", kernel.COX, dict(estimand.given), item.compared, levels, ())
    group = statistic.groups(item.cells)
    logs, covariances = [], []
    for chain, d in chosen:
        order = np.argsort(chain.months[d], kind="stable")
        months, event, cell = (x[d][order] for x in (chain.months, chain.event, chain.cell))
        event = event.astype(bool)
        log = log_hazards(group, len(levels), months, event, cell)
        logs.append(log)
        covariances.append(covariance(log, months, event, group[cell]))
    return np.array(logs), np.array(covariances)


def covariance(
    log_hazard: np.ndarray, months: np.ndarray, event: np.ndarray, group: np.ndarray
) -> np.ndarray:
    """Covariance of log hazards of groups at Cox's estimate, Efron's ties; the first known is 0.

    NaN for groups without a finite log hazard; patients of group -1 are left out.
    """
    finite = np.flatnonzero(np.abs(log_hazard) < FINITE)
    found = np.full((log_hazard.size, log_hazard.size), np.nan)
    if finite.size < 2:
        return found
    mine = group[:, None] == finite
    times = np.unique(months[event & mine.any(axis=1)])
    risk = (months[:, None] >= times).T.astype(float) @ mine
    dead = ((months[:, None] == times) & event[:, None]).T.astype(float) @ mine
    number = dead.sum(axis=1).astype(int)
    row = np.repeat(np.arange(times.size), number)
    place = np.arange(row.size) - np.repeat(np.cumsum(number) - number, number)
    weight = (risk[row] - (place / number[row])[:, None] * dead[row]) * np.exp(log_hazard[finite])
    share = weight / weight.sum(axis=1, keepdims=True)
    information = np.diag(share.sum(axis=0)) - share.T @ share
    inside = np.zeros_like(information)
    inside[1:, 1:] = np.linalg.inv(information[1:, 1:])
    found[np.ix_(finite, finite)] = inside
    return found


def curves_of(
    ensemble: SummaryEnsemble, given: Mapping[str, str], grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Kaplan-Meier survival (cohort, month) and patients at risk of a group in every cohort."""
    survival, risk = [], []
    for cohort in ensemble.cohorts:
        rows_ = cohort
        for factor, level in given.items():
            rows_ = rows_[rows_[factor] == level]
        time, event = rows_["time"].to_numpy(float), rows_["event"].to_numpy()
        survival.append(survival_at((time, event), grid))
        risk.append((time[None, :] >= grid[:, None]).sum(axis=1))
    return np.array(survival), np.array(risk)

"""Cox's partial likelihood on counts of patients, maximised with the steps and the stop of R.

With C covariate patterns x_c, n_c(t) patients at risk, d_c(t) events at time t, w_c = exp(x_c b):

    Breslow:  l(b) = sum_t  sum_c d_c x_c b - d log(sum_c n_c w_c)
    Efron:    d log(.) becomes sum_{k<d} log(sum_c (n_c - k d_c / d) w_c)

Counts are enough because patients of one pattern differ in their times only. greenwood's own
iteration takes case weights for importance weights and can stop one step early where the log
likelihood is large, its rounding noise looking like a fall; hence these few lines.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from her2bayes.errors import BadInput, Fault

EPS = 1e-9  # survival::coxph.control
MOST_STEPS = 50


class RiskTable(NamedTuple):
    """Events and patients at risk, (event time within stratum, pattern), and patterns (C, p)."""

    events: np.ndarray
    at_risk: np.ndarray
    patterns: np.ndarray


class Maximum(NamedTuple):
    """Estimate, covariance, log likelihood at 0 and at the maximum, score test statistic."""

    estimate: np.ndarray
    covariance: np.ndarray
    loglik: tuple[float, float]
    score: float


def risk_table(
    entry: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    patients: np.ndarray,
    stratum: np.ndarray,
    design: np.ndarray,
) -> RiskTable:
    """Events and numbers at risk (entry < t <= time) at each event time, by covariate pattern."""
    patterns, pattern = np.unique(design, axis=0, return_inverse=True)
    pattern = pattern.ravel()
    events, at_risk = [], []
    for value in np.unique(stratum):
        inside = stratum == value
        happened = inside & (event == 1)
        times = np.unique(time[happened])
        table = np.zeros((len(times) + 1, len(patterns)))
        np.add.at(
            table, (np.searchsorted(times, time[happened]), pattern[happened]), patients[happened]
        )
        events.append(table[:-1])
        # at risk from the first event time after entry to the last not after the exit
        change = np.zeros_like(table)
        first = np.searchsorted(times, entry[inside], side="right")
        last = np.searchsorted(times, time[inside], side="right")
        np.add.at(change, (first, pattern[inside]), patients[inside])
        np.add.at(change, (np.maximum(last, first), pattern[inside]), -patients[inside])
        at_risk.append(change.cumsum(axis=0)[:-1])
    return RiskTable(np.concatenate(events), np.concatenate(at_risk), patterns)


def maximise(table: RiskTable, ties: str) -> Maximum:
    """Newton's method from 0, stopped as R does: relative change of the log likelihood <= 1e-9."""
    beta = np.zeros(table.patterns.shape[1])
    null, score, information = _terms(table, beta, ties)
    start = float(score @ np.linalg.solve(information, score))
    loglik, candidate = null, beta + np.linalg.solve(information, score)
    for _ in range(MOST_STEPS):
        new, score, information = _terms(table, candidate, ties)
        if abs(1 - loglik / new) <= EPS:
            return Maximum(candidate, np.linalg.inv(information), (null, new), start)
        if new < loglik:
            candidate = (candidate + beta) / 2
            continue
        beta, loglik = candidate, new
        candidate = beta + np.linalg.solve(information, score)
    raise BadInput(
        Fault("the Cox model has no finite maximum", remedy="merge levels with few events")
    )


def _terms(table: RiskTable, beta: np.ndarray, ties: str) -> tuple[float, np.ndarray, np.ndarray]:
    events, at_risk, patterns = table
    deaths = events.sum(axis=1)
    weight = np.exp(patterns @ beta)
    if ties == "efron":
        times = np.repeat(np.arange(len(deaths)), deaths.astype(int))
        ordinal = np.arange(len(times)) - np.repeat(np.cumsum(deaths) - deaths, deaths.astype(int))
        share = at_risk[times] - (ordinal / deaths[times])[:, None] * events[times]
        repeated = np.ones(len(times))
    else:
        share, repeated = at_risk, deaths
    share = share * weight
    total = share.sum(axis=1)
    mean = (share @ patterns) / total[:, None]
    loglik = float(events.sum(axis=0) @ patterns @ beta - repeated @ np.log(total))
    score = events.sum(axis=0) @ patterns - repeated @ mean
    probability = (repeated / total) @ share
    information = (patterns.T * probability) @ patterns - (mean.T * repeated) @ mean
    return loglik, score, information

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
MOST_STEPS = 100
SMALL = 1e-3  # a log likelihood whose maximum is 0 has no relative change
FLAT = 1e-10  # information below this share of the largest is rounding error
FARTHEST = 5.0  # of one step, on the log scale


class RiskTable(NamedTuple):
    """Events and patients at risk, (event time within stratum, pattern), and patterns (C, p)."""

    events: np.ndarray
    at_risk: np.ndarray
    patterns: np.ndarray


class Maximum(NamedTuple):
    """Estimate (p,), information there (p, p), log likelihood at the start and at the maximum.

    Directions of which the data say nothing have no information and keep the value 0.
    """

    estimate: np.ndarray
    information: np.ndarray
    loglik: tuple[float, float]


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


def maximise(table: RiskTable, ties: str, offset: np.ndarray | None = None) -> Maximum:
    """Newton's method from 0, stopped as R does: relative change of the log likelihood <= 1e-9.

    ``offset`` (C,) is added to the log hazard of each pattern. A likelihood that rises without end
    (``monotone``) stops where it no longer rises; its value there is that of the limit.
    """
    fixed = np.zeros(len(table.patterns)) if offset is None else offset
    beta = np.zeros(table.patterns.shape[1])
    null, gradient, information = _terms(table, beta, ties, fixed)
    loglik, candidate = null, beta + _step(information, gradient)
    for _ in range(MOST_STEPS):
        new, gradient, information = _terms(table, candidate, ties, fixed)
        if abs(new - loglik) <= EPS * max(abs(new), SMALL):
            return Maximum(candidate, information, (null, new))
        if new < loglik:
            candidate = (candidate + beta) / 2
            continue
        beta, loglik = candidate, new
        candidate = beta + _step(information, gradient)
    raise BadInput(
        Fault("the Cox model has no finite maximum", remedy="merge levels with few events")
    )


def score_test(table: RiskTable, ties: str) -> float:
    """Score statistic of no effect: gradient and information at 0, all patients."""
    size = len(table.patterns)
    _, gradient, information = _terms(
        table, np.zeros(table.patterns.shape[1]), ties, np.zeros(size)
    )
    inverse = np.linalg.pinv(information, rcond=FLAT, hermitian=True)
    return float(gradient @ inverse @ gradient)


def _step(information: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Newton's step, at most ``FARTHEST`` a coefficient; none where there is no information."""
    step = np.linalg.pinv(information, rcond=FLAT, hermitian=True) @ gradient
    return step / max(1.0, float(np.abs(step).max(initial=0.0)) / FARTHEST)


def _terms(
    table: RiskTable, beta: np.ndarray, ties: str, offset: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    events, at_risk, patterns = table
    deaths = events.sum(axis=1)
    linear = patterns @ beta + offset
    weight = np.exp(linear - linear.max(initial=0.0))  # a common factor cancels, overflow does not
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
    loglik = float(
        events.sum(axis=0) @ (linear - linear.max(initial=0.0)) - repeated @ np.log(total)
    )
    gradient = events.sum(axis=0) @ patterns - repeated @ mean
    probability = (repeated / total) @ share
    information = (patterns.T * probability) @ patterns - (mean.T * repeated) @ mean
    return loglik, gradient, information

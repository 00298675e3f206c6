"""Survival of reconstructed patients: piecewise-exponential hazards, smoothed, pooled over groups.

    log h_mj  = log_hazard + sum_p X_mp scale_p beta_p + sigma (B z)_j      death, by model cell m
    log c_j   = log_censoring + sigma_c (B z_c)_j                           censoring, for everybody
    log_hazard ~ N(mean, sd),   beta, z, z_c ~ N(0, 1),   sigma, sigma_c, scale ~ half-N(0, .)
    density of (s, event) = (h or c at s) exp(-H(s) - C(s)),   s > 0 continuous, last interval open

B holds what the baseline may be made of, a column each: a walk over the intervals with
increments N(0, delta_j / t_max), averaging zero over them, as in the survival model, or a smooth
shape (``problem.BASELINES``). X holds zero-sum contrasts. ``theta`` is standardised: log_hazard, z,
log sigma, beta, log scales, log_censoring, z_c, log sigma_c. Times in month tenths.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from her2bayes.cohorts.chain import fast, outer


class Model(NamedTuple):
    """Arrays of the reference model; ``block`` is the scale of each column, -1 = ``fixed``."""

    start: np.ndarray  # (interval) left ends
    width: float  # of each interval where they are equal, 0 where they are not
    baseline: np.ndarray  # (interval, term) B of hazards
    leaving: np.ndarray  # (interval, term) B of censoring
    columns: np.ndarray  # (model cell, column)
    block: np.ndarray  # (column)
    fixed: np.ndarray  # (column) prior sd where block is -1
    scale_sd: np.ndarray  # (scale) sd of the half-normal
    location: np.ndarray  # mean, sd of log hazard; mean, sd of log censoring rate
    smoothing_sd: float


class Hazards(NamedTuple):
    """Log hazards and cumulative hazards at the left ends: death by model cell, censoring."""

    log_death: np.ndarray  # (model cell, interval)
    death: np.ndarray
    log_leave: np.ndarray  # (interval)
    leave: np.ndarray


@fast
def interval_of(model, s):
    """Interval that holds a time; the last is open."""
    if model.width > 0.0:
        return min(int(s / model.width), model.start.size - 1)
    j = model.start.size - 1
    while j > 0 and s < model.start[j]:
        j -= 1
    return j


@fast
def log_density(model, hazards, m, s, event):
    """Log density of leaving at s with or without an event, in model cell m."""
    j = interval_of(model, s)
    inside = s - model.start[j]
    rate, leave = hazards.log_death[m, j], hazards.log_leave[j]
    spent = hazards.death[m, j] + hazards.leave[j] + inside * (np.exp(rate) + np.exp(leave))
    return (rate if event else leave) - spent


@fast
def sizes(model):
    """Place of log sigma, columns, scales, and where the censoring part of theta begins."""
    sigma, columns, scales = model.baseline.shape[1] + 1, model.block.size, model.scale_sd.size
    return sigma, columns, scales, sigma + 1 + columns + scales


@fast
def column_scale(model, theta, p):
    """Prior sd of a column's effect."""
    if model.block[p] < 0:
        return model.fixed[p]
    return np.exp(theta[model.baseline.shape[1] + 2 + model.block.size + model.block[p]])


@fast
def fill_log_rates(model, theta, log_death, log_leave):
    """Log hazards of all cells and intervals."""
    place, columns, _, second = sizes(model)
    intervals, terms, others = model.start.size, model.baseline.shape[1], model.leaving.shape[1]
    sigma, sigma_c = np.exp(theta[place]), np.exp(theta[second + others + 1])
    for j in range(intervals):
        base = model.location[0] + model.location[1] * theta[0]
        leave = model.location[2] + model.location[3] * theta[second]
        for k in range(terms):
            base += sigma * model.baseline[j, k] * theta[1 + k]
        for k in range(others):
            leave += sigma_c * model.leaving[j, k] * theta[second + 1 + k]
        log_leave[j] = leave
        for m in range(model.columns.shape[0]):
            log_death[m, j] = base
    for p in range(columns):
        effect = column_scale(model, theta, p) * theta[place + 1 + p]
        for m in range(model.columns.shape[0]):
            for j in range(intervals):
                log_death[m, j] += model.columns[m, p] * effect


@fast
def fill_hazards(model, theta, hazards):
    """Log and cumulative hazards."""
    fill_log_rates(model, theta, hazards.log_death, hazards.log_leave)
    cells = model.columns.shape[0]
    hazards.leave[0] = 0.0
    hazards.death[:, 0] = 0.0
    for j in range(1, model.start.size):
        width = model.start[j] - model.start[j - 1]
        hazards.leave[j] = hazards.leave[j - 1] + width * np.exp(hazards.log_leave[j - 1])
        for m in range(cells):
            hazards.death[m, j] = hazards.death[m, j - 1] + width * np.exp(
                hazards.log_death[m, j - 1]
            )


@fast
def exposure(model, s, event, m, deaths, months, leaves, follow):
    """Add one patient's time and exit to the counts by cell and interval."""
    last = interval_of(model, s)
    for j in range(last + 1):
        spent = (s if j == last else model.start[j + 1]) - model.start[j]
        months[m, j] += spent
        follow[j] += spent
    if event:
        deaths[m, last] += 1
    else:
        leaves[last] += 1


@outer
def counts_of_exits(model):
    """Memory for ``count_exits`` and for ``hamiltonian``."""
    cells, intervals = model.columns.shape[0], model.start.size
    counts = (
        np.zeros((cells, intervals)),
        np.zeros((cells, intervals)),
        np.zeros(intervals),
        np.zeros(intervals),
    )
    return counts, (np.zeros((cells, intervals)), np.zeros(intervals))


@fast
def count_exits(printed, patients, model, counts):
    """Deaths, censorings and time by model cell and interval."""
    deaths, months, leaves, follow = counts
    deaths[:] = 0.0
    months[:] = 0.0
    leaves[:] = 0.0
    follow[:] = 0.0
    for i in range(patients.s.size):
        m = printed.model_cell[patients.cell[i]]
        exposure(model, patients.s[i], patients.event[i], m, deaths, months, leaves, follow)


@outer
def log_posterior(model, theta, counts, log_death, log_leave, gradient):  # noqa: C901 (one pass)
    """Log p(theta | patients) up to a constant, and its gradient; counts as of ``exposure``."""
    deaths, months, leaves, follow = counts
    place, columns, scales, second = sizes(model)
    intervals, terms, others = model.start.size, model.baseline.shape[1], model.leaving.shape[1]
    place_c = second + others + 1
    fill_log_rates(model, theta, log_death, log_leave)
    gradient[:] = -theta
    total = -0.5 * np.sum(theta**2)
    for at in (place, place_c):
        total += 0.5 * theta[at] ** 2
        gradient[at] = 0.0
    for k in range(scales):
        at = place + 1 + columns + k
        total += 0.5 * theta[at] ** 2
        gradient[at] = 0.0
    sigma, sigma_c = np.exp(theta[place]), np.exp(theta[place_c])
    for j in range(intervals):
        both = 0.0
        for m in range(model.columns.shape[0]):
            expected = months[m, j] * np.exp(log_death[m, j])
            total += deaths[m, j] * log_death[m, j] - expected
            log_death[m, j] = deaths[m, j] - expected  # from here on the residual
            both += log_death[m, j]
        expected = follow[j] * np.exp(log_leave[j])
        total += leaves[j] * log_leave[j] - expected
        rest = leaves[j] - expected
        gradient[0] += model.location[1] * both
        gradient[second] += model.location[3] * rest
        for k in range(terms):
            term = model.baseline[j, k]
            gradient[1 + k] += both * sigma * term
            gradient[place] += both * sigma * term * theta[1 + k]
        for k in range(others):
            term = model.leaving[j, k]
            gradient[second + 1 + k] += rest * sigma_c * term
            gradient[place_c] += rest * sigma_c * term * theta[second + 1 + k]
    for p in range(columns):
        scale, beta = column_scale(model, theta, p), theta[place + 1 + p]
        slope = 0.0
        for m in range(model.columns.shape[0]):
            slope += model.columns[m, p] * np.sum(log_death[m])
        gradient[place + 1 + p] += slope * scale
        if model.block[p] >= 0:
            gradient[place + 1 + columns + model.block[p]] += slope * scale * beta
    for k in range(scales):
        at = place + 1 + columns + k
        total += half_normal(theta[at], model.scale_sd[k])
        gradient[at] += 1 - np.exp(2 * theta[at]) / model.scale_sd[k] ** 2
    for at in (place, place_c):
        total += half_normal(theta[at], model.smoothing_sd)
        gradient[at] += 1 - np.exp(2 * theta[at]) / model.smoothing_sd**2
    return total


@fast
def half_normal(log_value, sd):
    """Log density of the logarithm of a half-normal value, up to a constant."""
    return log_value - 0.5 * np.exp(2 * log_value) / sd**2


@outer
def hamiltonian(model, theta, counts, step, leaps, work):
    """One Hamiltonian Monte Carlo transition of theta; the probability of its acceptance."""
    log_death, log_leave = work
    size = theta.size
    gradient, momentum = np.zeros(size), np.random.normal(0.0, 1.0, size)
    place = theta.copy()
    before = log_posterior(model, place, counts, log_death, log_leave, gradient)
    before -= 0.5 * np.sum(momentum**2)
    step = step * np.random.uniform(0.7, 1.3)
    now = before
    for _ in range(leaps):
        momentum += 0.5 * step * gradient
        place += step * momentum
        if not np.all(np.abs(place) < 60):
            return 0.0
        now = log_posterior(model, place, counts, log_death, log_leave, gradient)
        momentum += 0.5 * step * gradient
    now -= 0.5 * np.sum(momentum**2)
    accept = min(1.0, np.exp(min(now - before, 0.0))) if now == now else 0.0
    if np.random.random() < accept:
        theta[:] = place
    return accept

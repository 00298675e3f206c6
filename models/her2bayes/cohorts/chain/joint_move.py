"""Compiled joint move of parameters and times: theta changes, every patient keeps his quantile.

Times pin the hazards and the hazards favour times like them, so each alone moves slowly. Given
label and kind of exit e, a patient's time has a distribution F(s | theta, cell, e). The move draws
theta' around theta and sets s' = F'^-1(F(s)); the densities of times cancel, and what is left is

    log ratio = log p(theta') / p(theta) + sum_i log q'(cell_i, e_i) / q(cell_i, e_i)

with q the probability of that kind of exit before the longest follow-up (interweaving of centred
and non-centred parameters: Yu & Meng 2011). Orders of exits change little, so it also moves where
the printed tests are nearly met.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)

from __future__ import annotations

import numpy as np

from her2bayes.cohorts.chain.compiled import fast, outer
from her2bayes.cohorts.chain.distance import refresh
from her2bayes.cohorts.chain.reference_model import (
    Hazards,
    fill_hazards,
    half_normal,
    interval_of,
    sizes,
)
from her2bayes.cohorts.chain.state import assign

LEAST, LOG_RANGE = 0.06, 4.0  # sizes of steps, in prior standard deviations
PART = 0.5  # of a step where many parameters move together


@fast
def log_prior(model, theta):
    """Log prior of theta up to a constant."""
    intervals, columns, scales, second = sizes(model)
    total = 0.0
    for p in range(theta.size):
        scale = p - intervals - 1 - columns
        if p == intervals or p == second + intervals:
            total += half_normal(theta[p], model.smoothing_sd)
        elif 0 <= scale < scales:
            total += half_normal(theta[p], model.scale_sd[scale])
        else:
            total -= 0.5 * theta[p] ** 2
    return total


@fast
def propose_theta(model, theta, then):
    """Another theta: the course of deaths, that of censoring, the ratios, or one parameter."""
    intervals, _, _, second = sizes(model)
    size = LEAST * np.exp(np.random.random() * LOG_RANGE)
    which = np.random.randint(6)
    first, last, step = 0, intervals + 1, PART * size
    if which == 1:
        first, last = second, theta.size
    elif which == 2:
        first, last = intervals + 1, second
    elif which > 2:
        first = np.random.randint(theta.size)
        last, step = first + 1, size
    for p in range(theta.size):
        then[p] = theta[p]
    for p in range(first, last):
        then[p] += step * np.random.normal()


@fast
def width_of(model, j, last):
    """Length of an interval up to the longest follow-up."""
    end = model.start[j + 1] if j < model.start.size - 1 else last
    return min(end, last) - model.start[j]


@fast
def fill_masses(model, hazards, last, mass):
    """Probability of each kind of exit by (model cell, event, interval)."""
    for m in range(hazards.log_death.shape[0]):
        for j in range(model.start.size):
            width = width_of(model, j, last)
            mass[m, 0, j] = mass[m, 1, j] = 0.0
            if width <= 0:
                continue
            death, leave = np.exp(hazards.log_death[m, j]), np.exp(hazards.log_leave[j])
            rate = death + leave
            both = np.exp(-hazards.death[m, j] - hazards.leave[j])
            both *= -np.expm1(-rate * width) / rate
            mass[m, 0, j] = leave * both
            mass[m, 1, j] = death * both


@fast
def same_quantile(model, before, after, mass, then, m, event, s, last):
    """Time that has under other hazards the quantile that s has, given the kind of exit."""
    j = interval_of(model, s)
    rate = np.exp(before.log_death[m, j]) + np.exp(before.log_leave[j])
    part = np.expm1(-rate * (s - model.start[j])) / np.expm1(-rate * width_of(model, j, last))
    passed, total, other = part * mass[m, event, j], 0.0, 0.0
    for k in range(model.start.size):
        total += mass[m, event, k]
        other += then[m, event, k]
        if k < j:
            passed += mass[m, event, k]
    aim = passed / total * other
    k = 0
    while k < model.start.size - 1 and aim > then[m, event, k] and then[m, event, k + 1] > 0:
        aim -= then[m, event, k]
        k += 1
    rate = np.exp(after.log_death[m, k]) + np.exp(after.log_leave[k])
    part = min(aim / then[m, event, k], 1.0)
    s = model.start[k] - np.log1p(part * np.expm1(-rate * width_of(model, k, last))) / rate
    return min(max(s, 1e-6), last)


@fast
def log_kinds(printed, patients, mass):
    """Log probability of all kinds of exit given theta."""
    total = 0.0
    for i in range(patients.s.size):
        m, event, both = printed.model_cell[patients.cell[i]], patients.event[i], 0.0
        for j in range(mass.shape[2]):
            both += mass[m, event, j]
        total += np.log(both)
    return total


@outer
def move_ridge(printed, patients, model, hazards, theta, work, sharpness):
    """Propose another theta with times at the same quantiles; whether it was accepted."""
    cells, intervals = hazards.log_death.shape
    later = Hazards(
        np.zeros((cells, intervals)), np.zeros((cells, intervals)), np.zeros(intervals),
        np.zeros(intervals),
    )  # fmt: skip
    then, (mass, new) = theta.copy(), np.zeros((2, cells, 2, intervals))
    propose_theta(model, theta, then)
    fill_hazards(model, then, later)
    fill_masses(model, hazards, printed.last, mass)
    fill_masses(model, later, printed.last, new)
    margin = log_prior(model, then) - log_prior(model, theta) - np.log(np.random.random())
    margin += log_kinds(printed, patients, new) - log_kinds(printed, patients, mass)
    if not margin + sharpness * np.sum(patients.distance) > 0:
        return False
    s, distance = patients.s.copy(), patients.distance.copy()
    for i in range(s.size):
        m, event = printed.model_cell[patients.cell[i]], patients.event[i]
        time = same_quantile(model, hazards, later, mass, new, m, event, s[i], printed.last)
        assign(printed, patients, i, time, event, patients.cell[i])
    refresh(printed, patients, work)
    if margin + sharpness * (np.sum(distance) - np.sum(patients.distance)) > 0:
        theta[:] = then
        fill_hazards(model, theta, hazards)
        return True
    for i in range(s.size):
        assign(printed, patients, i, s[i], patients.event[i], patients.cell[i])
    patients.distance[:] = distance
    return False

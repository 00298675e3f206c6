"""Compiled moves of all patients at once: with the parameters, and a tempered transition of labels.

Joint move of parameters and times: theta changes, every patient keeps his quantile. Times pin the
hazards and the hazards favour times like them, so each alone moves slowly. Given label and kind of
exit e, a patient's time has a distribution F(s | theta, cell, e). The move draws theta' around
theta and sets s' = F'^-1(F(s)); the densities of times cancel, and what is left is

    log ratio = log p(theta') / p(theta) + sum_i log q'(cell_i, e_i) / q(cell_i, e_i)

with q the probability of that kind of exit before the longest follow-up (interweaving of centred
and non-centred parameters: Yu & Meng 2011). Orders of exits change little, so it also moves where
the printed tests are nearly met.

Tempered transition (Neal 1996): the inverse temperature goes down a ladder and up again, labels of
one factor are exchanged and theta is moved on the way, and the end is accepted with the product of
the ratios of targets. So it crosses between divisions of the deaths that no single exchange inside
the windows connects, and that theta holds in place as much as the tests do. Times and deaths stay,
so tests that do not ask for the factor stay met all the way.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)

from __future__ import annotations

import numpy as np

from her2bayes.cohorts.chain import fast, outer
from her2bayes.cohorts.chain.distance import accepted, refresh
from her2bayes.cohorts.chain.exchanges import a_death, another
from her2bayes.cohorts.chain.reference_model import (
    Hazards,
    count_exits,
    fill_hazards,
    half_normal,
    hamiltonian,
    interval_of,
    sizes,
)
from her2bayes.cohorts.chain.state import assign, carry_out, plan, plan_keeps_facts, take_back

LEAST, LOG_RANGE = 0.06, 4.0  # sizes of steps, in prior standard deviations
PART = 0.5  # of a step where many parameters move together


@fast
def log_prior(model, theta):
    """Log prior of theta up to a constant."""
    place, columns, scales, second = sizes(model)
    place_c, total = second + model.leaving.shape[1] + 1, 0.0
    for p in range(theta.size):
        scale = p - place - 1 - columns
        if p in (place, place_c):
            total += half_normal(theta[p], model.smoothing_sd)
        elif 0 <= scale < scales:
            total += half_normal(theta[p], model.scale_sd[scale])
        else:
            total -= 0.5 * theta[p] ** 2
    return total


@fast
def propose_theta(model, theta, then):
    """Another theta: the course of deaths, that of censoring, the ratios, or one parameter."""
    place, _, _, second = sizes(model)
    size = LEAST * np.exp(np.random.random() * LOG_RANGE)
    which = np.random.randint(6)
    first, last, step = 0, place + 1, PART * size
    if which == 1:
        first, last = second, theta.size
    elif which == 2:
        first, last = place + 1, second
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


FIRST, LAST = 400.0, 2.0  # sharpest and softest rung; sharper is as good as the target
SOFTER = 4.0  # at soft places the last rung is so many times softer than the place
RUNGS = 12.0  # per unit of log sharpness
EXCHANGES = 0.5  # tried at every rung, per patient
OF_DEATHS = 0.6  # share of exchanges that begin with a death: their labels decide the tests
THETA_EVERY = 2  # rungs: theta costs as much as the exchanges
# Share of exchanges within one level of what is compared: most printed counts cross that factor
# with others, and refuse exchanges between its levels. Its own labels are exchanged as often
# between patients who agree in all else.
ALIKE = 0.75


@fast
def exchange_labels(printed, patients, model, hazards, undo, work, factor):
    """Exchange one label between two patients; log ratio of the target.

    Neither deaths nor the labels in which the two must agree change, so they are as likely to be
    picked for the way back.
    """
    dies = np.random.random() < OF_DEATHS
    i = a_death(patients) if dies else np.random.randint(patients.order.size)
    same = 0
    if np.random.random() < ALIKE:
        everything = (1 << printed.stride.size) - 1
        same = everything - (1 << factor) if printed.compared >> factor & 1 else printed.compared
    j = another(printed, patients, i, same)
    cell_i, cell_j = patients.cell[i], patients.cell[j]
    gap = (printed.label[factor, cell_j] - printed.label[factor, cell_i]) * printed.stride[factor]
    if gap == 0:
        return -np.inf
    work.plan.size[0] = 0
    plan(work, i, patients.s[i], patients.event[i], cell_i + gap)
    plan(work, j, patients.s[j], patients.event[j], cell_j - gap)
    if not plan_keeps_facts(printed, patients, work.plan):
        return -np.inf
    return carry_out(printed, patients, model, hazards, undo, work)


@fast
def exchanges(printed, patients, model, hazards, undo, work, factor, sharpness):
    """Exchanges of one factor's labels at a sharpness."""
    for _ in range(int(EXCHANGES * patients.order.size)):
        undo.size[0] = 0
        ratio = exchange_labels(printed, patients, model, hazards, undo, work, factor)
        if undo.size[0] == 0:
            continue
        margin = ratio - np.log(np.random.random())
        if not accepted(printed, patients, undo, work, margin, sharpness, True):
            take_back(printed, patients, undo)


@outer
def move_theta(printed, patients, model, hazards, theta, counts, scratch, leaps, pace):
    """Move theta given the labels as they are now."""
    count_exits(printed, patients, model, counts)
    hamiltonian(model, theta, counts, pace, leaps, scratch)
    fill_hazards(model, theta, hazards)


@outer
def move_reheat(
    printed, patients, model, hazards, theta, undo, work, factor, counts, scratch, leaps, pace,
    sharpness,
):  # fmt: skip
    """Soften and harden while one factor's labels move; whether the new ones were accepted."""
    cell, distance, before_theta = patients.cell.copy(), patients.distance.copy(), theta.copy()
    hard = min(sharpness, FIRST)
    soft = min(LAST, hard / SOFTER)
    rungs = 2 + int(RUNGS * np.log(hard / soft))
    ladder = hard * (soft / hard) ** (np.arange(rungs) / (rungs - 1))
    ratio, before = 0.0, sharpness
    for k in range(rungs):
        ratio += (before - ladder[k]) * np.sum(patients.distance)
        exchanges(printed, patients, model, hazards, undo, work, factor, ladder[k])
        if k % THETA_EVERY == 0:
            move_theta(printed, patients, model, hazards, theta, counts, scratch, leaps, pace)
        before = ladder[k]
    for k in range(rungs - 1, -1, -1):
        if k % THETA_EVERY == 0:
            move_theta(printed, patients, model, hazards, theta, counts, scratch, leaps, pace)
        exchanges(printed, patients, model, hazards, undo, work, factor, ladder[k])
        before = sharpness if k == 0 else ladder[k - 1]
        ratio -= (before - ladder[k]) * np.sum(patients.distance)
    if np.log(np.random.random()) < ratio:
        return True
    for i in range(cell.size):
        if patients.cell[i] != cell[i]:
            assign(printed, patients, i, patients.s[i], patients.event[i], cell[i])
    patients.distance[:] = distance
    theta[:] = before_theta
    fill_hazards(model, theta, hazards)
    return False

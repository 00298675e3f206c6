"""Compiled move that softens all tests, mixes the labels of one factor, and hardens them again.

A tempered transition (Neal 1996) takes the sharpness down a ladder and up again, exchanging labels
of the factor and moving theta with them on the way, and is accepted with the product of the ratios
of targets. So it crosses between divisions of the deaths that no single exchange inside the windows
connects, and that theta holds in place as much as the tests do. Times and deaths stay, so tests
that do not ask for the factor stay met all the way.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)

from __future__ import annotations

import numpy as np

from her2bayes.cohorts.chain.changes import carry_out, plan, plan_keeps_facts, take_back
from her2bayes.cohorts.chain.compiled import fast, inlined, outer
from her2bayes.cohorts.chain.distance import accepted
from her2bayes.cohorts.chain.exchanges import a_death, another
from her2bayes.cohorts.chain.reference_model import count_exits, fill_hazards, hamiltonian
from her2bayes.cohorts.chain.state import assign

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


@inlined
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

"""Compiled Markov chain over patients that keeps every printed number: checks, steps, sweeps.

Target of patients D, given theta:   prod_i density(s_i, event_i | cell_i)  x  p(cells)
                                     x  exp(-sharpness * sum_j distance_j(D to the printed cells))

with cells ~ Dirichlet-multinomial. At any sharpness the states at distance 0 are draws from the
target with the indicator of all printed numbers in the last place. Counts are never left.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)

from __future__ import annotations

import numpy as np

from her2bayes.reconstruction.compiled import fast, outer
from her2bayes.reconstruction.summary_exchanges import move_event, move_near, move_swap
from her2bayes.reconstruction.summary_moves import move_one, move_pair, move_shift, move_time
from her2bayes.reconstruction.summary_reference import exposure, fill_hazards, hamiltonian
from her2bayes.reconstruction.summary_state import facts_hold, take_back
from her2bayes.reconstruction.summary_statistics import (
    COX,
    FAR,
    FIRST_OF_TIME,
    FOLLOW_UP,
    LOG_RANK,
    REACH,
    VALUES,
    Z,
    rank_statistic,
    statistic,
)
from her2bayes.reconstruction.summary_table_move import move_table
from her2bayes.reconstruction.summary_warp import move_warp

# Distance of a statistic that does not exist; were others capped, flat stretches would be traps.
MISSING = 1000.0
TIME, SWAP, PAIR, SHIFT, ONE, TABLE, WARP, NEAR, EVENT = 0, 1, 2, 3, 4, 5, 6, 7, 8
MOVES = 9
FIRM = 30.0  # sharpness from which other moves are tried more often


@fast
def is_affected(printed, patients, undo, t, ranks):
    """Tell whether a statistic may have changed; ``ranks``: the order of exits has."""
    group_of = printed.group_of[t]
    timed = printed.kind[t] >= FIRST_OF_TIME
    for k in range(undo.size[0]):
        i = undo.who[k]
        now = group_of[patients.cell[i]]
        if group_of[undo.cell[k]] != now:
            return True
        if now < 0:
            continue
        if undo.event[k] != patients.event[i]:
            return True
        if (timed or ranks) and undo.s[k] != patients.s[i]:
            return True
    return False


@fast
def times_of_everyone(patients, out):
    """Median, least and largest of all times."""
    n, order, time = patients.order.size, patients.order, patients.time
    out[0] = (time[order[(n - 1) // 2]] + time[order[n // 2]]) / 2
    out[1] = time[order[0]]
    out[2] = time[order[n - 1]]


@fast
def compute(printed, patients, work, t, room):
    """Fill ``work.out`` with one statistic; False where it does not exist.

    A Cox fit so far away that the distance exceeds ``room`` is not finished.
    """
    kind, groups = printed.kind[t], printed.groups[t]
    if kind < FIRST_OF_TIME:
        for a in range(groups):
            if patients.members[t, a] == 0:
                return False
        reach, beta = work.small[REACH], patients.beta[t]
        for a in range(groups - 1):
            reach[a] = min(printed.reach[t, a] + room * printed.width[t, 4 * a], FAR)
        exists = rank_statistic(
            kind, groups, patients.risk[t], patients.dead[t], patients.rows[0],
            printed.near[t], reach, beta, work.small, work.out,
        )  # fmt: skip
        if kind == COX and not exists:
            for a in range(groups):
                beta[a] = printed.near[t, a]
        return exists
    if kind == FOLLOW_UP and printed.everyone[t]:
        times_of_everyone(patients, work.out)
        return True
    gather(patients, work)
    return statistic(
        kind, groups, printed.group_of[t], work.time, work.event, work.cell, patients.order.size,
        printed.near[t], printed.reach[t], work.risk, work.dead, work.small, work.out,
    )  # fmt: skip


@fast
def centre(printed, t, out):
    """Move ratios, and limits with them, into the ratios' cells as far as limits are concerned.

    So limits measure the error alone, and it can settle while the ratio is still free. Inside the
    cells nothing changes.
    """
    for a in range(printed.groups[t] - 1):
        at = 4 * a
        inside = min(max(out[at], printed.low[t, at]), printed.high[t, at])
        error = (out[at + 2] - out[at + 1]) / (2 * Z)
        out[at + 1] += inside - out[at]
        out[at + 2] += inside - out[at]
        if printed.kind[t] == COX:  # the others have the log-rank test there
            out[at + 3] = (inside / error) ** 2


@fast
def sign(printed, t, out):
    """Where it is printed who fared better, chi-square counts as negative the other way round.

    So the distance falls all the way from one direction to the other. Inside nothing changes.
    """
    low, high = printed.low[t, 1], printed.high[t, 1]
    if printed.low[t, 0] > 0 and (out[1] < low or out[1] > high):
        out[0] = -out[0]
        out[1] = min(max(out[1], low), high)


@fast
def distance_of(printed, patients, work, t, room):
    """Distance of one statistic from its printed cells, 0 inside."""
    if not compute(printed, patients, work, t, room):
        return MISSING
    if COX <= printed.kind[t] < FIRST_OF_TIME:
        centre(printed, t, work.out)
    if printed.kind[t] == LOG_RANK:
        sign(printed, t, work.out)
    total = 0.0
    for v in range(VALUES):
        if work.out[v] < printed.low[t, v]:
            total += (printed.low[t, v] - work.out[v]) / printed.width[t, v]
        elif work.out[v] > printed.high[t, v]:
            total += (work.out[v] - printed.high[t, v]) / printed.width[t, v]
    return min(total, MISSING)


@fast
def gather(patients, work):
    """Copy the patients sorted by time."""
    for k in range(patients.order.size):
        i = patients.order[k]
        work.time[k] = patients.time[i]
        work.event[k] = patients.event[i]
        work.cell[k] = patients.cell[i]


@fast
def accepted(printed, patients, undo, work, margin, sharpness, ranks):
    """Accept when the distance grows by no more than ``margin / sharpness``; keep distances."""
    room = margin / sharpness
    for t in range(printed.kind.size):
        work.new[t] = patients.distance[t]
        if is_affected(printed, patients, undo, t, ranks):
            room += patients.distance[t]
            work.new[t] = -1.0
    if room < 0:
        return False
    for k in range(printed.kind.size):
        t = patients.sequence[k]
        if work.new[t] >= 0:
            continue
        work.new[t] = distance_of(printed, patients, work, t, room)
        room -= work.new[t]
        if room < 0:
            patients.refused[t] += 1
            if k > 0:  # what refuses often is looked at early
                s = patients.sequence[k - 1]
                if patients.refused[s] < patients.refused[t]:
                    patients.sequence[k - 1], patients.sequence[k] = t, s
            return False
    for t in range(printed.kind.size):
        patients.distance[t] = work.new[t]
    return True


@fast
def propose(printed, patients, model, hazards, undo, work, which):
    """Apply one move; log ratio of target and proposals, and whether orders of exits changed."""
    if which == TIME:
        return move_time(printed, patients, model, hazards, undo)
    if which == SWAP:
        return move_swap(printed, patients, model, hazards, undo)
    if which == PAIR:
        return move_pair(printed, patients, model, hazards, undo)
    if which == SHIFT:
        return move_shift(printed, patients, model, hazards, undo, work)
    if which == ONE:
        return move_one(printed, patients, model, hazards, undo)
    if which == TABLE:
        return move_table(printed, patients, model, hazards, undo, work)
    if which == NEAR:
        return move_near(printed, patients, model, hazards, undo)
    if which == EVENT:
        return move_event(printed, patients, model, hazards, undo)
    return move_warp(printed, patients, model, hazards, undo, work)


@fast
def step(printed, patients, model, hazards, undo, work, sharpness, tally):
    """One Metropolis-Hastings step over patients."""
    u = np.random.random()
    which = 0
    chance = printed.chance[1 if sharpness > FIRM else 0]
    while which < MOVES - 1 and u >= chance[which]:
        u -= chance[which]
        which += 1
    undo.size[0] = 0
    ratio, ranks = propose(printed, patients, model, hazards, undo, work, which)
    tally[which, 0] += 1
    margin = ratio - np.log(np.random.random())
    if undo.size[0] == 0:
        return
    good = margin > -np.inf and facts_hold(printed, patients)
    if good and accepted(printed, patients, undo, work, margin, sharpness, ranks):
        tally[which, 1] += 1
    else:
        take_back(printed, patients, undo)


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


@fast
def refresh(printed, patients, work):
    """Compute all distances anew."""
    for t in range(printed.kind.size):
        patients.distance[t] = distance_of(printed, patients, work, t, 1e9)


@fast
def steps(printed, patients, model, hazards, undo, work, number, sharpness, tally):
    """Many steps."""
    for _ in range(number):
        step(printed, patients, model, hazards, undo, work, sharpness, tally)


@outer
def run(
    printed, patients, model, hazards, theta, undo, work, seed, sweeps, moves, leaps, pace,
    sharpness, adapt, tally,
):  # fmt: skip
    """Sweeps of patient moves and theta at one sharpness; the total distance at the end.

    ``pace`` (1,) is the Hamiltonian step, adapted where asked.
    """
    np.random.seed(seed)
    cells, intervals = hazards.log_death.shape
    counts = (
        np.zeros((cells, intervals)),
        np.zeros((cells, intervals)),
        np.zeros(intervals),
        np.zeros(intervals),
    )
    scratch = (np.zeros((cells, intervals)), np.zeros(intervals))
    fill_hazards(model, theta, hazards)
    refresh(printed, patients, work)
    for _ in range(sweeps):
        steps(printed, patients, model, hazards, undo, work, moves, sharpness, tally)
        count_exits(printed, patients, model, counts)
        rate = hamiltonian(model, theta, counts, pace[0], leaps, scratch)
        if adapt:
            pace[0] *= np.exp(0.1 * (rate - 0.8))
        fill_hazards(model, theta, hazards)
    return np.sum(patients.distance)


@outer
def parameters(printed, patients, model, theta, seed, warm, apart, leaps, found):
    """Draws of theta given the patients as they are, every ``apart``-th into ``found``."""
    np.random.seed(seed)
    cells, intervals = model.columns.shape[0], model.start.size
    counts = (
        np.zeros((cells, intervals)),
        np.zeros((cells, intervals)),
        np.zeros(intervals),
        np.zeros(intervals),
    )
    scratch = (np.zeros((cells, intervals)), np.zeros(intervals))
    count_exits(printed, patients, model, counts)
    pace = 0.1
    for k in range(warm + apart * found.shape[0]):
        rate = hamiltonian(model, theta, counts, pace, leaps, scratch)
        if k < warm:
            pace *= np.exp(0.1 * (rate - 0.8))
        elif (k - warm) % apart == apart - 1:
            found[(k - warm) // apart] = theta

"""Compiled distance of a cohort from the printed numbers, and delayed acceptance of moves by it.

The distance of a statistic is 0 inside its rounding cells and grows linearly outside. Only
statistics that a move may have changed are computed anew, those that refuse often first.

Near the target nearly all refusals come from the narrow windows of printed Cox ratios and limits,
so planned moves are first screened by what they would do to the Cox fit, to first order. Let U and
I be score and information at the middle of these windows. A patient of group g who leaves at s,
with or without an event, adds to them

    U_a:   event (1{g=a} - p_a(s))          - sum_{t <= s} w_g h(t) (1{g=a} - p_a(t))
    I_ab:  event (1{a=b} p_a - p_a p_b)(s)  + sum_{t <= s} w_g h(t) d_g (1{a=b} p_a - p_a p_b)(t)

with w_g = exp(beta_g), h(t) = deaths / weights at risk, p_a the share of group a in these weights,
d_g the derivative by the weight of group g (Breslow's ties; exact counts at s itself). The fit
after a move is one Newton step with what is taken away and put there. A move passes with
probability exp(-sharpness * growth of this distance), then meets the whole target with the
correction for the screen there and back (delayed acceptance with an approximation that depends on
the state: Christen & Fox 2005), so that the target of the chain is untouched.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from her2bayes.cohorts.chain import fast
from her2bayes.cohorts.chain.state import Screen, first_at, rows_until
from her2bayes.cohorts.chain.statistics import (
    COX,
    FAR,
    FIRST_AT_TIMES,
    FIRST_OF_TIME,
    FOLLOW_UP,
    GROUPS,
    LOG_RANK,
    REACH,
    Z,
    cox_step,
    fill,
    rank_statistic,
    solve,
    statistic,
    values_at,
)

# Distance of a statistic that does not exist; were others capped, flat stretches would be traps.
MISSING = 1000.0


@fast
def is_affected(printed, patients, states, t, ranks):
    """Tell whether a statistic differs, or may, between the cohort and other states of patients.

    Those before a move, or planned after it; ``ranks``: the order of exits differs as well.
    """
    group_of = printed.group_of[t]
    timed = printed.kind[t] >= FIRST_OF_TIME
    for k in range(states.size[0]):
        i = states.who[k]
        now = group_of[patients.cell[i]]
        if group_of[states.cell[k]] != now:
            return True
        if now < 0:
            continue
        if states.event[k] != patients.event[i]:
            return True
        if (timed or ranks) and states.s[k] != patients.s[i]:
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
    if kind >= FIRST_AT_TIMES:
        return values_at(
            kind, work.time, work.event, work.cell, printed.group_of[t], patients.order.size,
            printed.at[t], printed.values[t], work.out,
        )  # fmt: skip
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
def signed(printed, t, out):
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
    return outside(printed, t, work.out)


@fast
def outside(printed, t, out):
    """Distance of the values of one statistic from its printed cells; ``out`` is used up."""
    if COX <= printed.kind[t] < FIRST_OF_TIME:
        centre(printed, t, out)
    if printed.kind[t] == LOG_RANK:
        signed(printed, t, out)
    total = 0.0
    for v in range(printed.values[t]):
        if out[v] < printed.low[t, v]:
            total += (printed.low[t, v] - out[v]) / printed.width[t, v]
        elif out[v] > printed.high[t, v]:
            total += (out[v] - printed.high[t, v]) / printed.width[t, v]
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
    if room_left(printed, patients, undo, work, margin, sharpness, ranks) < 0:
        return False
    keep_distances(printed, patients, work)
    return True


@fast
def keep_distances(printed, patients, work):
    """The distances last computed are those of the cohort."""
    for t in range(printed.kind.size):
        patients.distance[t] = work.new[t]


@fast
def room_left(printed, patients, undo, work, margin, sharpness, ranks):
    """Growth of the distance that ``margin / sharpness`` leaves; negative where it grew too far."""
    room = margin / sharpness
    for t in range(printed.kind.size):
        work.new[t] = patients.distance[t]
        if is_affected(printed, patients, undo, t, ranks):
            room += patients.distance[t]
            work.new[t] = -1.0
    if room < 0:
        return room
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
            return room
    return room


@fast
def refresh(printed, patients, work):
    """Compute all distances anew."""
    for t in range(printed.kind.size):
        patients.distance[t] = distance_of(printed, patients, work, t, 1e9)


SHARPEST = 40.0  # the first order is not trusted further than that
PARTS = 9  # of score (up to 3) and information (up to 6)
HERE, THERE = 0, 1  # tables of the cohort as it is, and as proposed


def screen_of(test: int, near: np.ndarray, patients: int) -> Screen:
    """Memory of a screen for one Cox statistic."""
    rows = patients + 1
    weight = np.exp(np.concatenate([[0.0], near[: GROUPS - 1]]))
    return Screen(
        np.zeros((2, rows, GROUPS)), np.zeros((2, rows + 1, GROUPS, PARTS)), np.zeros((2, PARTS)),
        np.array([0, 1]), np.zeros(1, np.int64), weight, np.zeros(PARTS), np.zeros((16, GROUPS)),
        np.zeros(PARTS), np.zeros(2), test,
    )  # fmt: skip


@fast
def at_event(groups, share, g, part):
    """What an event of group g adds where groups have these shares of the risk set."""
    size = groups - 1
    k = size
    for a in range(size):
        part[a] = (1.0 if g == a + 1 else 0.0) - share[a + 1]
        for b in range(a + 1):
            part[k] = (share[a + 1] if a == b else 0.0) - share[a + 1] * share[b + 1]
            k += 1


@fast
def tabulate(printed, patients, screen, which):
    """Fill one side of the tables from the numbers at risk."""
    t, side = screen.test, screen.side[which]
    groups, size = printed.groups[t], printed.groups[t] - 1
    risk, dead = patients.risk[t], patients.dead[t]
    share, passed, total = screen.share[side], screen.passed[side], screen.total[side]
    rows = patients.rows[0]
    small = screen.small
    cox_step(risk, dead, rows, groups, printed.near[t], small[2], small[3:7], small)
    k = size
    for a in range(size):
        total[a] = small[2, a]
        for b in range(a + 1):
            total[k] = small[3 + a, b]
            k += 1
    passed[0] = 0.0
    for r in range(rows):
        weights, deaths = 0.0, 0.0
        for g in range(groups):
            share[r, g] = screen.weight[g] * risk[g, r]
            weights += share[r, g]
            deaths += dead[g, r]
        for g in range(groups):
            share[r, g] = share[r, g] / weights if weights > 0 else 0.0
        for g in range(groups):
            rate = screen.weight[g] * deaths / weights if weights > 0 else 0.0
            k = size
            for a in range(size):
                p = share[r, a + 1]
                more = (1.0 if g == a + 1 else 0.0) - p
                passed[r + 1, g, a] = passed[r, g, a] - rate * more
                for b in range(a + 1):
                    q = share[r, b + 1]
                    other = (1.0 if g == b + 1 else 0.0) - q
                    change = (more if a == b else 0.0) - more * q - p * other
                    passed[r + 1, g, k] = passed[r, g, k] + rate * change
                    k += 1


@fast
def shares_at(printed, patients, screen, i, g, time, row, share):
    """Shares of the risk set at a time between rows, patient i of group g in it."""
    t = screen.test
    groups, n = printed.groups[t], patients.order.size
    at_row = row < patients.rows[0]
    until = patients.row_time[row] if at_row else np.int64(2**40)
    for a in range(groups):
        share[a] = patients.risk[t, a, row] if at_row else 0.0
    if patients.time[i] >= until:
        old = printed.group_of[t, patients.cell[i]]
        if old >= 0:
            share[old] -= 1.0
    share[g] += 1.0
    k = first_at(patients, time)
    while k < n and patients.time[patients.order[k]] < until:
        j = patients.order[k]
        other = printed.group_of[t, patients.cell[j]]
        if j != i and other >= 0:
            share[other] += 1.0
        k += 1
    weights = 0.0
    for a in range(groups):
        share[a] *= screen.weight[a]
        weights += share[a]
    for a in range(groups):
        share[a] /= weights


@fast
def add(printed, patients, screen, which, i, time, event, cell, sign, total, parts):
    """Add what a patient in some state contributes, or take it away."""
    t, side = screen.test, screen.side[which]
    g = printed.group_of[t, cell]
    if g < 0:
        return
    upto = rows_until(patients, time)
    for k in range(parts):
        total[k] += sign * screen.passed[side, upto, g, k]
    if not event:
        return
    share = screen.share[side, upto - 1] if upto > 0 else screen.share[side, 0]
    if upto == 0 or patients.row_time[upto - 1] != time:
        share = screen.small[15]
        shares_at(printed, patients, screen, i, g, time, upto, share)
    at_event(printed.groups[t], share, g, screen.part)
    for k in range(parts):
        total[k] += sign * screen.part[k]


@fast
def distance_at(printed, screen, total, out):
    """Distance from the printed ratios and limits after one Newton step from their middle."""
    t, small = screen.test, screen.small
    size = printed.groups[t] - 1
    matrix, right, fit = small[7:11], small[2], small[11]
    unpack(total, size, matrix)
    for a in range(size):
        right[a] = total[a]
    if not solve(matrix, right, size):
        return MISSING
    for a in range(size):
        fit[a] = printed.near[t, a] + right[a]
    for a in range(size):
        unpack(total, size, matrix)
        for b in range(size):
            right[b] = 1.0 if a == b else 0.0
        if not solve(matrix, right, size) or right[a] <= 0:
            return MISSING
        fill(out, 4 * a, fit[a], np.sqrt(right[a]))
    return outside(printed, t, out)


@fast
def unpack(total, size, matrix):
    """The information as a matrix."""
    k = size
    for a in range(size):
        for b in range(a + 1):
            matrix[a, b] = matrix[b, a] = total[k]
            k += 1


@fast
def parts_of(printed, screen):
    """Number of parts: of score and of information."""
    size = printed.groups[screen.test] - 1
    return size + size * (size + 1) // 2


@fast
def log_pass(printed, patients, screen, which, moved, sharpness, out):
    """Log probability that a move passes, seen from the tables of one side.

    ``moved`` holds the patients' states after it.
    """
    parts, total = parts_of(printed, screen), screen.moved
    for k in range(parts):
        total[k] = screen.total[screen.side[which], k]
    for k in range(moved.size[0]):
        i = moved.who[k]
        time = patients.time[i] if moved.s[k] == patients.s[i] else int(np.ceil(moved.s[k]))
        event, cell = patients.event[i], patients.cell[i]
        add(printed, patients, screen, which, i, patients.time[i], event, cell, -1.0, total, parts)
        add(
            printed,
            patients,
            screen,
            which,
            i,
            time,
            moved.event[k],
            moved.cell[k],
            1.0,
            total,
            parts,
        )
    growth = distance_at(printed, screen, total, out) - screen.distance[screen.side[which]]
    return min(0.0, -min(sharpness, SHARPEST) * growth)


@fast
def look(printed, patients, screen, which, out):
    """Make the tables of one side those of the cohort as it is."""
    tabulate(printed, patients, screen, which)
    side = screen.side[which]
    screen.distance[side] = distance_at(printed, screen, screen.total[side], out)


@fast
def turn(screen):
    """The proposed cohort is now the cohort as it is."""
    screen.side[0], screen.side[1] = screen.side[1], screen.side[0]


@fast
def screens(printed, patients, work, ranks):
    """Tell whether a planned move may change the screened test."""
    test = work.screen.test
    return test >= 0 and is_affected(printed, patients, work.plan, test, ranks)

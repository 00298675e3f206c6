"""Compiled distance of a cohort from the printed numbers, and whether a move keeps near enough.

The distance of a statistic is 0 inside its rounding cells and grows linearly outside. Only
statistics that a move may have changed are computed anew, those that refuse often first.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from her2bayes.cohorts.chain.compiled import fast, inlined
from her2bayes.cohorts.chain.statistics import (
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

# Distance of a statistic that does not exist; were others capped, flat stretches would be traps.
MISSING = 1000.0


@inlined
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


@inlined
def times_of_everyone(patients, out):
    """Median, least and largest of all times."""
    n, order, time = patients.order.size, patients.order, patients.time
    out[0] = (time[order[(n - 1) // 2]] + time[order[n // 2]]) / 2
    out[1] = time[order[0]]
    out[2] = time[order[n - 1]]


@inlined
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


@inlined
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


@inlined
def sign(printed, t, out):
    """Where it is printed who fared better, chi-square counts as negative the other way round.

    So the distance falls all the way from one direction to the other. Inside nothing changes.
    """
    low, high = printed.low[t, 1], printed.high[t, 1]
    if printed.low[t, 0] > 0 and (out[1] < low or out[1] > high):
        out[0] = -out[0]
        out[1] = min(max(out[1], low), high)


@inlined
def distance_of(printed, patients, work, t, room):
    """Distance of one statistic from its printed cells, 0 inside."""
    if not compute(printed, patients, work, t, room):
        return MISSING
    return outside(printed, t, work.out)


@inlined
def outside(printed, t, out):
    """Distance of the values of one statistic from its printed cells; ``out`` is used up."""
    if COX <= printed.kind[t] < FIRST_OF_TIME:
        centre(printed, t, out)
    if printed.kind[t] == LOG_RANK:
        sign(printed, t, out)
    total = 0.0
    for v in range(VALUES):
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


@inlined
def accepted(printed, patients, undo, work, margin, sharpness, ranks):
    """Accept when the distance grows by no more than ``margin / sharpness``; keep distances."""
    if room_left(printed, patients, undo, work, margin, sharpness, ranks) < 0:
        return False
    keep_distances(printed, patients, work)
    return True


@inlined
def keep_distances(printed, patients, work):
    """The distances last computed are those of the cohort."""
    for t in range(printed.kind.size):
        patients.distance[t] = work.new[t]


@inlined
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

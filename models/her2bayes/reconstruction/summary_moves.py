"""Compiled Markov chain over patients that keeps every printed number: moves, checks, sweeps.

Target of patients D, given theta:   prod_i density(s_i, event_i | cell_i)  x  p(cells)
                                     x  exp(-sharpness * sum_j distance_j(D to the printed cells))

with cells ~ Dirichlet-multinomial. At any sharpness the states at distance 0 are draws from the
target with the indicator of all printed numbers in the last place. Counts (facts) are
linear in the cross-classification of patients and are never left. Moves (all with known ratio of
proposals, symmetric but for the table move): time of one patient; labels, event or time exchanged
between two patients; two times moved in opposite directions; a stretch of times shifted by whole
month tenths; event or label of one patient; patients moved between cells of the paired table.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from her2bayes.reconstruction.summary_reference import (
    exposure,
    fill_hazards,
    hamiltonian,
    log_density,
)
from her2bayes.reconstruction.summary_statistics import (
    FAR,
    FIRST_OF_TIME,
    VALUES,
    statistic,
)

_jit = numba.njit(cache=True, nogil=True)

MISSING = 10.0  # distance of a statistic that does not exist, and the largest of any
TIME, SWAP, PAIR, SHIFT, ONE, TABLE = 0, 1, 2, 3, 4, 5
MOVES = 6


class Printed(NamedTuple):
    """Statistics with their rounding cells, counts as linear facts, cells of patients."""

    kind: np.ndarray  # (statistic)
    groups: np.ndarray  # (statistic)
    group_of: np.ndarray  # (statistic, cell)
    low: np.ndarray  # (statistic, value)
    high: np.ndarray
    width: np.ndarray  # (statistic, value) unit of distance
    near: np.ndarray  # (statistic, group) where a Cox fit is looked for
    reach: np.ndarray  # (statistic) how far from there it may lie
    fact: np.ndarray  # (cell, event, fact)
    fact_low: np.ndarray
    fact_high: np.ndarray
    label: np.ndarray  # (factor, cell)
    stride: np.ndarray  # (factor)
    model_cell: np.ndarray  # (cell)
    table_move: np.ndarray  # (move, primary, recurrence)
    table_factor: np.ndarray  # positions of primary and recurrence
    alpha: float
    last: float  # no time beyond, in month tenths
    chance: np.ndarray  # (move) probabilities of the moves


class Patients(NamedTuple):
    """One cohort and what is kept up to date with it."""

    s: np.ndarray  # exact time, month tenths
    time: np.ndarray  # recorded: the end of its tenth
    event: np.ndarray
    cell: np.ndarray
    order: np.ndarray  # patients by time
    place: np.ndarray  # their positions in ``order``
    present: np.ndarray  # (cell)
    held: np.ndarray  # (fact)
    distance: np.ndarray  # (statistic)
    sequence: np.ndarray  # order in which statistics are looked at
    refused: np.ndarray  # (statistic)


class Undo(NamedTuple):
    """Patients a move has touched, as they were."""

    who: np.ndarray
    s: np.ndarray
    event: np.ndarray
    cell: np.ndarray
    size: np.ndarray  # (1,)


class Work(NamedTuple):
    """Scratch space."""

    time: np.ndarray
    event: np.ndarray
    cell: np.ndarray
    risk: np.ndarray
    dead: np.ndarray
    out: np.ndarray
    new: np.ndarray
    chosen: np.ndarray


@_jit
def resort(patients, i):
    """Move patient i to its place in the order of times."""
    order, place, time = patients.order, patients.place, patients.time
    k = place[i]
    while k > 0 and time[order[k - 1]] > time[i]:
        order[k] = order[k - 1]
        place[order[k]] = k
        k -= 1
    while k < order.size - 1 and time[order[k + 1]] < time[i]:
        order[k] = order[k + 1]
        place[order[k]] = k
        k += 1
    order[k] = i
    place[i] = k


@_jit
def assign(printed, patients, i, s, event, cell):
    """Set one patient and all that depends on it; the log ratio of the prior of cells."""
    ratio = 0.0
    old, happened = patients.cell[i], patients.event[i]
    if cell != old or event != happened:
        for f in range(printed.fact_low.size):
            patients.held[f] += printed.fact[cell, event, f] - printed.fact[old, happened, f]
    if cell != old:
        patients.present[old] -= 1
        ratio += np.log(printed.alpha + patients.present[cell])
        ratio -= np.log(printed.alpha + patients.present[old])
        patients.present[cell] += 1
        patients.cell[i] = cell
    patients.event[i] = event
    if s != patients.s[i]:
        patients.s[i] = s
        patients.time[i] = int(np.ceil(s))
        resort(patients, i)
    return ratio


@_jit
def change(printed, patients, model, hazards, undo, i, s, event, cell):
    """Propose a new state of one patient, remembering the old; log ratio of the target."""
    k = undo.size[0]
    undo.who[k], undo.s[k] = i, patients.s[i]
    undo.event[k], undo.cell[k] = patients.event[i], patients.cell[i]
    undo.size[0] += 1
    before = log_density(
        model, hazards, printed.model_cell[patients.cell[i]], patients.s[i], patients.event[i]
    )
    ratio = assign(printed, patients, i, s, event, cell) - before
    return ratio + log_density(model, hazards, printed.model_cell[cell], s, event)


@_jit
def take_back(printed, patients, undo):
    """Undo all changes, last first."""
    for k in range(undo.size[0] - 1, -1, -1):
        assign(printed, patients, undo.who[k], undo.s[k], undo.event[k], undo.cell[k])


@_jit
def facts_hold(printed, patients):
    """Tell whether all counts are as printed."""
    for f in range(printed.fact_low.size):
        if patients.held[f] < printed.fact_low[f] or patients.held[f] > printed.fact_high[f]:
            return False
    return True


@_jit
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


@_jit
def distance_of(printed, patients, work, t, room):
    """Distance of one statistic from its printed cells, 0 inside.

    A Cox fit so far away that the distance exceeds ``room`` is not finished.
    """
    n = patients.order.size
    reach = min(printed.reach[t] + 2 * room * printed.width[t, 0], FAR)
    exists = statistic(
        printed.kind[t],
        printed.groups[t],
        printed.group_of[t],
        work.time,
        work.event,
        work.cell,
        n,
        printed.near[t],
        reach,
        work.risk,
        work.dead,
        work.out,
    )
    if not exists:
        return MISSING
    total = 0.0
    for v in range(VALUES):
        if work.out[v] < printed.low[t, v]:
            total += (printed.low[t, v] - work.out[v]) / printed.width[t, v]
        elif work.out[v] > printed.high[t, v]:
            total += (work.out[v] - printed.high[t, v]) / printed.width[t, v]
    return min(total, MISSING)


@_jit
def gather(patients, work):
    """Copy the patients sorted by time."""
    for k in range(patients.order.size):
        i = patients.order[k]
        work.time[k] = patients.time[i]
        work.event[k] = patients.event[i]
        work.cell[k] = patients.cell[i]


@_jit
def accepted(printed, patients, undo, work, margin, sharpness, ranks):
    """Accept when the distance grows by no more than ``margin / sharpness``; keep distances."""
    room = margin / sharpness
    for t in range(printed.kind.size):
        if is_affected(printed, patients, undo, t, ranks):
            room += patients.distance[t]
    if room < 0:
        return False
    work.new[:] = patients.distance
    gathered = False
    for k in range(printed.kind.size):
        t = patients.sequence[k]
        if not is_affected(printed, patients, undo, t, ranks):
            continue
        if not gathered:
            gather(patients, work)
            gathered = True
        work.new[t] = distance_of(printed, patients, work, t, room)
        room -= work.new[t]
        if room < 0:
            patients.refused[t] += 1
            if k > 0:  # what refuses often is looked at early
                s = patients.sequence[k - 1]
                if patients.refused[s] < patients.refused[t]:
                    patients.sequence[k - 1], patients.sequence[k] = t, s
            return False
    patients.distance[:] = work.new
    return True


@_jit
def crosses(patients, i, s):
    """Tell whether a new time of patient i could change any order of exits that matters."""
    now, then = patients.time[i], int(np.ceil(s))
    low, high = min(now, then), max(now, then)
    n = patients.order.size
    for step in (-1, 1):
        k = patients.place[i] + step
        while 0 <= k < n and low <= patients.time[patients.order[k]] <= high:
            if patients.event[i] or patients.event[patients.order[k]]:
                return True
            k += step
    return False


@_jit
def random_scale():
    """Size of a move of time, from 0.05 to 40 months, in month tenths."""
    return 0.5 * np.exp(np.random.random() * 6.7)


@_jit
def move_time(printed, patients, model, hazards, undo):
    """Move the time of one patient."""
    i = np.random.randint(patients.order.size)
    s = patients.s[i] + np.random.normal() * random_scale()
    if s <= 0 or s > printed.last:
        return -np.inf, False
    ranks = crosses(patients, i, s)
    event, cell = patients.event[i], patients.cell[i]
    return change(printed, patients, model, hazards, undo, i, s, event, cell), ranks


@_jit
def move_pair(printed, patients, model, hazards, undo):
    """Move two times in opposite directions."""
    n = patients.order.size
    i, j = np.random.randint(n), np.random.randint(n)
    if i == j:
        return -np.inf, False
    shift = np.random.normal() * random_scale()
    one, other = patients.s[i] + shift, patients.s[j] - shift
    if min(one, other) <= 0 or max(one, other) > printed.last:
        return -np.inf, False
    ratio = change(
        printed, patients, model, hazards, undo, i, one, patients.event[i], patients.cell[i]
    )
    ratio += change(
        printed, patients, model, hazards, undo, j, other, patients.event[j], patients.cell[j]
    )
    return ratio, True


@_jit
def move_swap(printed, patients, model, hazards, undo):
    """Exchange labels of some factors, the event, or the time between two patients."""
    n, factors = patients.order.size, printed.stride.size
    i, j = np.random.randint(n), np.random.randint(n)
    if i == j:
        return -np.inf, False
    cell_i, cell_j = patients.cell[i], patients.cell[j]
    chosen = np.random.randint(1, 1 << (factors + 2))
    if np.random.random() < 0.5:
        chosen = 1 << np.random.randint(factors + 2)
    new_i, new_j = cell_i, cell_j
    for a in range(factors):
        if chosen >> a & 1:
            gap = (printed.label[a, cell_j] - printed.label[a, cell_i]) * printed.stride[a]
            new_i += gap
            new_j -= gap
    s_i, s_j, event_i, event_j = patients.s[i], patients.s[j], patients.event[i], patients.event[j]
    if chosen >> factors & 1:
        event_i, event_j = event_j, event_i
    if chosen >> (factors + 1) & 1:
        s_i, s_j = s_j, s_i
    if new_i == cell_i and event_i == patients.event[i] and s_i == patients.s[i]:
        return -np.inf, False
    ratio = change(printed, patients, model, hazards, undo, i, s_i, event_i, new_i)
    return ratio + change(printed, patients, model, hazards, undo, j, s_j, event_j, new_j), True


@_jit
def move_one(printed, patients, model, hazards, undo):
    """Give one patient another level of one factor, or turn an event into a censoring and back."""
    i = np.random.randint(patients.order.size)
    event, cell = patients.event[i], patients.cell[i]
    a = np.random.randint(printed.stride.size + 1)
    if a == printed.stride.size:
        event = 1 - event
    else:
        level = np.random.randint(printed.label[a].max() + 1)
        cell += (level - printed.label[a, cell]) * printed.stride[a]
        if cell == patients.cell[i]:
            return -np.inf, False
    return change(printed, patients, model, hazards, undo, i, patients.s[i], event, cell), True


@_jit
def move_shift(printed, patients, model, hazards, undo):
    """Shift all patients of a stretch of time by whole tenths, overtaking nobody.

    Patients outside may not stand where the stretch moves to, so its reverse picks the same ones,
    and no order of exits changes.
    """
    first = np.random.randint(1, int(printed.last) + 1)
    length = int(np.exp(np.random.random() * 6.0))
    shift = int(np.exp(np.random.random() * 4.0))
    if np.random.random() < 0.5:
        shift = -shift
    n, end = patients.order.size, first + length
    low, high = min(first, first + shift), max(end, end + shift)
    if low < 1 or high > int(printed.last) + 1:
        return -np.inf, False
    k = int(np.searchsorted(patients.time[patients.order], low))
    ratio = 0.0
    size = 0
    while k < n and patients.time[patients.order[k]] < high:
        i = patients.order[k]
        if patients.time[i] < first or patients.time[i] >= end or size == undo.who.size:
            return -np.inf, False
        undo.who[size] = i
        size += 1
        k += 1
    chosen = undo.who[:size].copy()
    for k in range(size):  # the furthest first, so that the order is never disturbed
        i = chosen[size - 1 - k] if shift > 0 else chosen[k]
        ratio += change(
            printed,
            patients,
            model,
            hazards,
            undo,
            i,
            patients.s[i] + shift,
            patients.event[i],
            patients.cell[i],
        )
    return ratio, False


@_jit
def draw_donors(printed, patients, primary, recurrence, number, chosen, at):
    """Draw distinct patients of one cell of the paired table; False where there are too few."""
    first, second = printed.table_factor
    seen = 0
    for i in range(patients.order.size):
        cell = patients.cell[i]
        if printed.label[first, cell] == primary and printed.label[second, cell] == recurrence:
            if seen < number:
                chosen[at + seen] = i
            else:
                k = np.random.randint(seen + 1)
                if k < number:
                    chosen[at + k] = i
            seen += 1
    return seen


@_jit
def log_falling(n, k):
    """Log of n (n - 1) ... (n - k + 1)."""
    total = 0.0
    for m in range(k):
        total += np.log(n - m)
    return total


@_jit
def move_table(printed, patients, model, hazards, undo, work):
    """Give patients of each recurrence class other primary classes, along a lattice move."""
    ratio = 0.0
    sign = 1 if np.random.random() < 0.5 else -1
    move = printed.table_move[np.random.randint(printed.table_move.shape[0])]
    first = printed.table_factor[0]
    classes = move.shape[0]
    for column in range(classes):
        total = 0
        for row in range(classes):
            step = sign * move[row, column]
            if step < 0:
                present = draw_donors(printed, patients, row, column, -step, work.chosen, total)
                if present < -step:
                    return -np.inf, False
                ratio += log_falling(present, -step)
                total -= step
        for k in range(total - 1, 0, -1):
            m = np.random.randint(k + 1)
            work.chosen[k], work.chosen[m] = work.chosen[m], work.chosen[k]
        used = 0
        for row in range(classes):
            step = sign * move[row, column]
            if step <= 0:
                continue
            present = draw_donors(printed, patients, row, column, 0, work.chosen, 0)
            ratio -= log_falling(present + step, step)
            for k in range(used, used + step):
                i = work.chosen[k]
                cell = patients.cell[i]
                cell += (row - printed.label[first, cell]) * printed.stride[first]
                ratio += change(
                    printed, patients, model, hazards, undo, i, patients.s[i],
                    patients.event[i], cell,
                )  # fmt: skip
            used += step
    return ratio, False


@_jit
def propose(printed, patients, model, hazards, undo, work, which):
    """Apply one move; log ratio of target and proposals, and whether orders of exits changed."""
    if which == TIME:
        return move_time(printed, patients, model, hazards, undo)
    if which == SWAP:
        return move_swap(printed, patients, model, hazards, undo)
    if which == PAIR:
        return move_pair(printed, patients, model, hazards, undo)
    if which == SHIFT:
        return move_shift(printed, patients, model, hazards, undo)
    if which == ONE:
        return move_one(printed, patients, model, hazards, undo)
    return move_table(printed, patients, model, hazards, undo, work)


@_jit
def step(printed, patients, model, hazards, undo, work, sharpness, tally):
    """One Metropolis-Hastings step over patients."""
    u = np.random.random()
    which = 0
    while which < MOVES - 1 and u >= printed.chance[which]:
        u -= printed.chance[which]
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


@_jit
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


@_jit
def refresh(printed, patients, work):
    """Compute all distances anew."""
    gather(patients, work)
    for t in range(printed.kind.size):
        patients.distance[t] = distance_of(printed, patients, work, t, 1e9)


@_jit
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
        for _ in range(moves):
            step(printed, patients, model, hazards, undo, work, sharpness, tally)
        count_exits(printed, patients, model, counts)
        for _ in range(2):
            rate = hamiltonian(model, theta, counts, pace[0], leaps, scratch)
            if adapt:
                pace[0] *= np.exp(0.05 * (rate - 0.8))
        fill_hazards(model, theta, hazards)
    return np.sum(patients.distance)

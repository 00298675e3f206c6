"""Compiled moves over the patients of a cohort, each with a known ratio of proposals.

Time of one patient; labels, event or time exchanged between two patients; two times moved in
opposite directions; a stretch of times shifted by whole month tenths; event or label of one
patient; patients moved between cells of the paired table. All are symmetric but the last.
Each returns the log ratio of target and proposals, and whether an order of exits may have changed.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)

from __future__ import annotations

import numpy as np

from her2bayes.reconstruction.compiled import fast
from her2bayes.reconstruction.summary_state import change, exchange_keeps_facts

ANYWHERE = 0.3  # share of moves of a time that forget where it was


@fast
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


@fast
def random_scale():
    """Size of a move of time, from 0.05 to 40 months, in month tenths."""
    return 0.5 * np.exp(np.random.random() * 6.7)


@fast
def anywhere(printed, s):
    """Any time of the same stretch between printed times; -1 where there is none."""
    for k in range(printed.stretch.shape[0]):
        low, high = printed.stretch[k, 0], printed.stretch[k, 1]
        if low < s < high:
            return low + np.random.random() * (high - low)
    return -1.0


@fast
def move_time(printed, patients, model, hazards, undo):
    """Move the time of one patient."""
    i = np.random.randint(patients.order.size)
    s = patients.s[i] + np.random.normal() * random_scale()
    if np.random.random() < ANYWHERE:
        s = anywhere(printed, patients.s[i])
    if s <= 0 or s > printed.last:
        return -np.inf, False
    ranks = crosses(patients, i, s)
    event, cell = patients.event[i], patients.cell[i]
    return change(printed, patients, model, hazards, undo, i, s, event, cell), ranks


@fast
def partner(printed, patients, i):
    """Another patient: any, or one with the same level of some factor (as many as for its own)."""
    n, factors = patients.order.size, printed.stride.size
    a = np.random.randint(2 * factors)
    j = np.random.randint(n)
    if a >= factors:
        return j
    for _ in range(40):
        if printed.label[a, patients.cell[i]] == printed.label[a, patients.cell[j]] and j != i:
            return j
        j = np.random.randint(n)
    return i


@fast
def move_pair(printed, patients, model, hazards, undo):
    """Move two times in opposite directions."""
    i = np.random.randint(patients.order.size)
    j = partner(printed, patients, i)
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


@fast
def exchanged(factors):
    """What two patients exchange, as bits: factors, event, time."""
    if np.random.random() < 0.5:
        return 1 << np.random.randint(factors + 2)
    return np.random.randint(1, 1 << (factors + 2))


@fast
def move_swap(printed, patients, model, hazards, undo):
    """Exchange labels of some factors, the event, or the time between two patients."""
    factors = printed.stride.size
    i = np.random.randint(patients.order.size)
    j = partner(printed, patients, i)
    if i == j:
        return -np.inf, False
    cell_i, cell_j = patients.cell[i], patients.cell[j]
    chosen = exchanged(factors)
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
    if not exchange_keeps_facts(printed, patients, i, j, (new_i, event_i), (new_j, event_j)):
        return -np.inf, False
    ratio = change(printed, patients, model, hazards, undo, i, s_i, event_i, new_i)
    return ratio + change(printed, patients, model, hazards, undo, j, s_j, event_j, new_j), True


@fast
def neighbour(patients, i):
    """A patient who leaves shortly before or after patient i, in the order of times."""
    reach = 1 + int(np.exp(np.random.random() * 4.0))
    gap = np.random.randint(1, reach + 1)
    k = patients.place[i] + (gap if np.random.random() < 0.5 else -gap)
    return patients.order[k] if 0 <= k < patients.order.size else i


@fast
def move_near(printed, patients, model, hazards, undo):
    """Exchange labels, event, or all of them between two patients who leave close together.

    Times stay, so the order of times does, and the reverse move is proposed as often. To exchange
    all labels and the event is to exchange the times.
    """
    factors = printed.stride.size
    i = np.random.randint(patients.order.size)
    j = neighbour(patients, i)
    cell_i, cell_j = patients.cell[i], patients.cell[j]
    event_i, event_j = patients.event[i], patients.event[j]
    if i == j or (cell_i == cell_j and event_i == event_j):
        return -np.inf, False
    chosen = (1 << (factors + 1)) - 1
    u = np.random.random()
    if u < 0.25:
        chosen = 1 << np.random.randint(factors + 1)
    elif u < 0.5:
        chosen = np.random.randint(1, chosen + 1)
    new_i, new_j = cell_i, cell_j
    for a in range(factors):
        if chosen >> a & 1:
            gap = (printed.label[a, cell_j] - printed.label[a, cell_i]) * printed.stride[a]
            new_i += gap
            new_j -= gap
    if chosen >> factors & 1:
        event_i, event_j = event_j, event_i
    if new_i == cell_i and event_i == patients.event[i]:
        return -np.inf, False
    if not exchange_keeps_facts(printed, patients, i, j, (new_i, event_i), (new_j, event_j)):
        return -np.inf, False
    ratio = change(printed, patients, model, hazards, undo, i, patients.s[i], event_i, new_i)
    ratio += change(printed, patients, model, hazards, undo, j, patients.s[j], event_j, new_j)
    return ratio, True


@fast
def move_event(printed, patients, model, hazards, undo):
    """Exchange a death and a censoring, of any patients or of the same level of some factor."""
    n, factors = patients.order.size, printed.stride.size
    i = np.random.randint(n)
    for _ in range(40):
        if patients.event[i]:
            break
        i = np.random.randint(n)
    a = np.random.randint(factors + 1)
    for _ in range(40):
        j = np.random.randint(n)
        if patients.event[j]:
            continue
        if a == factors or printed.label[a, patients.cell[i]] == printed.label[a, patients.cell[j]]:
            break
    if not patients.event[i] or patients.event[j]:
        return -np.inf, False
    cell_i, cell_j = patients.cell[i], patients.cell[j]
    if a < factors and printed.label[a, cell_i] != printed.label[a, cell_j]:
        return -np.inf, False
    if not exchange_keeps_facts(printed, patients, i, j, (cell_i, 0), (cell_j, 1)):
        return -np.inf, False
    ratio = change(printed, patients, model, hazards, undo, i, patients.s[i], 0, cell_i)
    ratio += change(printed, patients, model, hazards, undo, j, patients.s[j], 1, cell_j)
    return ratio, True


@fast
def move_one(printed, patients, model, hazards, undo):
    """Give one patient another level of one factor, or turn an event into a censoring and back."""
    i = np.random.randint(patients.order.size)
    event, cell = patients.event[i], patients.cell[i]
    a = np.random.randint(printed.stride.size + 1)
    if a == printed.stride.size:
        event = 1 - event
    else:
        level = np.random.randint(printed.levels[a])
        cell += (level - printed.label[a, cell]) * printed.stride[a]
        if cell == patients.cell[i]:
            return -np.inf, False
    return change(printed, patients, model, hazards, undo, i, patients.s[i], event, cell), True


@fast
def first_at(patients, time):
    """Place of the first patient not before a time."""
    low, high = 0, patients.order.size
    while low < high:
        middle = (low + high) // 2
        if patients.time[patients.order[middle]] < time:
            low = middle + 1
        else:
            high = middle
    return low


@fast
def move_shift(printed, patients, model, hazards, undo, work):
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
    k = first_at(patients, low)
    ratio = 0.0
    size = 0
    while k < n and patients.time[patients.order[k]] < high:
        i = patients.order[k]
        if patients.time[i] < first or patients.time[i] >= end or size == n:
            return -np.inf, False
        work.chosen[size] = i
        size += 1
        k += 1
    for k in range(size):  # the furthest first, so that the order is never disturbed
        i = work.chosen[size - 1 - k] if shift > 0 else work.chosen[k]
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

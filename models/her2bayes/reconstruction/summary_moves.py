"""Compiled moves over the patients of a cohort, each with a known ratio of proposals.

Time of one patient; two times moved in opposite directions; a stretch of times shifted by whole
month tenths; event or label of one patient. All are symmetric.
Those of one or two patients plan a move, or nothing, and tell whether an order of exits may change;
that of a stretch is made at once and returns the log ratio of the target too.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)

from __future__ import annotations

import numpy as np

from her2bayes.reconstruction.compiled import fast, inlined
from her2bayes.reconstruction.summary_changes import change, plan
from her2bayes.reconstruction.summary_exchanges import partner
from her2bayes.reconstruction.summary_state import first_at

ANYWHERE = 0.3  # share of moves of a time that forget where it was


@inlined
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


@inlined
def random_scale():
    """Size of a move of time, from 0.05 to 40 months, in month tenths."""
    return 0.5 * np.exp(np.random.random() * 6.7)


@inlined
def anywhere(printed, s):
    """Any time of the same stretch between printed times; -1 where there is none."""
    for k in range(printed.stretch.shape[0]):
        low, high = printed.stretch[k, 0], printed.stretch[k, 1]
        if low < s < high:
            return low + np.random.random() * (high - low)
    return -1.0


@inlined
def move_time(printed, patients, work):
    """Move the time of one patient."""
    i = np.random.randint(patients.order.size)
    s = patients.s[i] + np.random.normal() * random_scale()
    if np.random.random() < ANYWHERE:
        s = anywhere(printed, patients.s[i])
    if s <= 0 or s > printed.last:
        return False
    ranks = crosses(patients, i, s)
    plan(work, i, s, patients.event[i], patients.cell[i])
    return ranks


@inlined
def move_pair(printed, patients, work):
    """Move two times in opposite directions."""
    i = np.random.randint(patients.order.size)
    j = partner(printed, patients, i)
    if i == j:
        return False
    shift = np.random.normal() * random_scale()
    one, other = patients.s[i] + shift, patients.s[j] - shift
    if min(one, other) <= 0 or max(one, other) > printed.last:
        return False
    plan(work, i, one, patients.event[i], patients.cell[i])
    plan(work, j, other, patients.event[j], patients.cell[j])
    return True


@inlined
def move_one(printed, patients, work):
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
            return False
    plan(work, i, patients.s[i], event, cell)
    return True


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

"""Compiled moves over the patients of a cohort, each with a known ratio of proposals.

Time of one patient; two times moved in opposite directions; a stretch of times shifted by whole
month tenths; event or label of one patient. All are symmetric.
Those of one or two patients plan a move, or nothing, and tell whether an order of exits may change;
that of a stretch is made at once and returns the log ratio of the target too.

Compiled move between paired tables: patients of each recurrence class change their primary one.

Along a lattice move of the paired table; which patients of a cell change, and to which cell, is
drawn, so the ratio of proposals counts the ways there and back.

Compiled move that stretches one part of follow-up and shortens the next: nobody overtakes.

Between times a < b that no printed time lies between, an inner time a + f (b - a) moves to
a + f' (b - a) and everybody in between with it, linearly on either side. No rank statistic changes
but by ties, so the course of hazards and of censoring moves for a hundred patients at once. The
log ratio of proposals is n1 log(f'/f) + n2 log((1-f')/(1-f)), n1 and n2 patients on either side.
"""

from __future__ import annotations

import numpy as np

from her2bayes.cohorts.chain import fast
from her2bayes.cohorts.chain.exchanges import partner
from her2bayes.cohorts.chain.state import change, first_at, plan

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)


@fast
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


@fast
def log_falling(n, k):
    """Log of n (n - 1) ... (n - k + 1)."""
    total = 0.0
    for m in range(k):
        total += np.log(n - m)
    return total


@fast
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


# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)


EDGE = 0.1  # the inner time stays this far from both ends, as a fraction


@fast
def stretch(printed):
    """A stretch of time between two printed ones, or a part of it; independent of the patients."""
    k = np.random.randint(printed.stretch.shape[0])
    low, high = printed.stretch[k, 0], printed.stretch[k, 1]
    if np.random.random() < 0.5:
        one = low + np.random.random() * (high - low)
        other = low + np.random.random() * (high - low)
        low, high = min(one, other), max(one, other)
    return low, high


@fast
def move_warp(printed, patients, model, hazards, undo, work):
    """Warp the times of a stretch."""
    low, high = stretch(printed)
    before = EDGE + (1 - 2 * EDGE) * np.random.random()
    after = before + np.random.normal() * np.exp(np.random.normal() - 3.0)
    if after < EDGE or after > 1 - EDGE:
        return -np.inf, False
    inner = low + before * (high - low)
    first, second = after / before, (1 - after) / (1 - before)
    n, size, ratio = patients.order.size, 0, 0.0
    for k in range(n):
        i = patients.order[k]
        if low < patients.s[i] < high:
            work.chosen[size] = i
            size += 1
            ratio += np.log(first if patients.s[i] < inner else second)
    for k in range(size):  # the furthest first, so that the order is hardly disturbed
        i = work.chosen[size - 1 - k] if after > before else work.chosen[k]
        s = patients.s[i]
        s = low + (s - low) * first if s < inner else high - (high - s) * second
        ratio += change(
            printed, patients, model, hazards, undo, i, s, patients.event[i], patients.cell[i]
        )
    return ratio, True


# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)


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


@fast
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


@fast
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

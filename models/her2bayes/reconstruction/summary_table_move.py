"""Compiled move between paired tables: patients of each recurrence class change their primary one.

Along a lattice move of the paired table; which patients of a cell change, and to which cell, is
drawn, so the ratio of proposals counts the ways there and back.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)

from __future__ import annotations

import numpy as np

from her2bayes.reconstruction.compiled import fast
from her2bayes.reconstruction.summary_changes import change


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

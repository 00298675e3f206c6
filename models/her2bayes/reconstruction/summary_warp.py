"""Compiled move that stretches one part of follow-up and shortens the next: nobody overtakes.

Between times a < b that no printed time lies between, an inner time a + f (b - a) moves to
a + f' (b - a) and everybody in between with it, linearly on either side. No rank statistic changes
but by ties, so the course of hazards and of censoring moves for a hundred patients at once. The
log ratio of proposals is n1 log(f'/f) + n2 log((1-f')/(1-f)), n1 and n2 patients on either side.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: NPY002 (inside numba there is no other generator that a seed reaches)

from __future__ import annotations

import numpy as np

from her2bayes.reconstruction.compiled import fast
from her2bayes.reconstruction.summary_changes import change

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

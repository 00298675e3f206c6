"""One cohort with its parameters and memory, moved at a sharpness."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from her2bayes.cohorts.chain import kernel
from her2bayes.cohorts.chain.problem import Problem
from her2bayes.cohorts.chain.start import cohort, hazards, scratch

LEAPS = 12


class Effort(NamedTuple):
    """What a sweep does: steps of single patients, ridge moves, reheats of one factor's tests."""

    steps: int
    ridges: int = 0
    reheats: int = 0


class Replica:
    """One cohort with its parameters and memory."""

    def __init__(self, posed: Problem, counts: np.ndarray, rng: np.random.Generator) -> None:
        self.posed, self.rng = posed, rng
        self.undo, self.work = scratch(posed.printed, posed.summary.patients)
        self.hazards = hazards(posed.model)
        self.pace = np.array([0.1])
        self.theta = rng.normal(0, 0.1, posed.theta_size)
        self.distance = np.inf
        cell, event = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices(counts.shape))
        u = rng.uniform(size=cell.size)
        s = -np.log1p(-u * (1 - np.exp(-3.0))) / 3.0 * posed.printed.last
        self.patients = cohort(posed.printed, np.maximum(s, 1e-3), event, cell)

    def copy(self, other: Replica) -> None:
        """Begin where another replica is."""
        for mine, its in zip(self.patients, other.patients, strict=True):
            mine[...] = its
        self.theta[:], self.pace[:] = other.theta, other.pace

    def run(self, effort: Effort, sharpness: float, adapt: bool, tally: np.ndarray) -> None:
        """One sweep at a sharpness."""
        self.distance = kernel.run(
            self.posed.printed, self.patients, self.posed.model, self.hazards, self.theta,
            self.undo, self.work, int(self.rng.integers(2**31)), np.array(effort, np.int64), LEAPS,
            self.pace, sharpness, adapt, tally,
        )  # fmt: skip

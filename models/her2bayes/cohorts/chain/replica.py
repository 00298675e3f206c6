"""One cohort with its parameters and memory: where it starts, and how it is moved.

"Sharpness" is the inverse temperature of the printed numbers: 0 would let patients move as the
reference model alone would have them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from her2bayes.cohorts.chain import kernel
from her2bayes.cohorts.chain.distance import screen_of
from her2bayes.cohorts.chain.problem import Problem
from her2bayes.cohorts.chain.reference_model import Hazards, Model, fill_hazards, sizes
from her2bayes.cohorts.chain.state import Patients, Printed, States, Work
from her2bayes.cohorts.chain.statistics import COX, FAR, GROUPS, VALUES, memory


def scratch(printed: Printed, patients: int) -> tuple[States, Work]:
    """Memory for undoing a move and for one evaluation."""
    n = patients
    test, near = _screened(printed)
    risk, dead, small = memory(n)
    work = Work(
        _states(4),
        screen_of(test, near, n),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        risk,
        dead,
        small,
        np.zeros(VALUES),
        np.zeros(printed.kind.size),
        np.zeros(n + 1, np.int64),
    )
    return _states(n + 1), work


def _states(size: int) -> States:
    """Memory for the states of some patients."""
    whole = np.zeros((3, size), np.int64)
    return States(whole[0], np.zeros(size), whole[1], whole[2], np.zeros(1, np.int64))


def _screened(printed: Printed) -> tuple[int, np.ndarray]:
    """The Cox fit that is looked for in narrow windows, -1 = none, and their middle."""
    narrow = (printed.kind == COX) & (printed.reach[: printed.kind.size, 0] < FAR)
    test = int(np.flatnonzero(narrow)[0]) if narrow.any() else -1
    return test, printed.near[test] if test >= 0 else np.zeros(GROUPS)


def hazards(model: Model) -> Hazards:
    """Memory for hazards."""
    shape = model.columns.shape[0], model.start.size
    return Hazards(np.zeros(shape), np.zeros(shape), np.zeros(shape[1]), np.zeros(shape[1]))


def log_rates(model: Model, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log rates per month tenth of draws of theta: death (draw, model cell, interval), censoring.

    Censoring is (draw, interval).
    """
    memory = hazards(model)
    death = np.zeros((theta.shape[0], *memory.log_death.shape))
    leave = np.zeros((theta.shape[0], *memory.log_leave.shape))
    for k, one in enumerate(theta):
        fill_hazards(model, one, memory)
        death[k], leave[k] = memory.log_death, memory.log_leave
    return death, leave


def prior_theta(model: Model, number: int, rng: np.random.Generator) -> np.ndarray:
    """Draws (draw, parameter) of theta from its prior."""
    sigma, columns, scales, second = sizes(model)
    size = second + model.leaving.shape[1] + 2
    theta = rng.normal(size=(number, size))
    sd = {sigma: model.smoothing_sd, size - 1: model.smoothing_sd}
    sd |= {sigma + 1 + columns + k: float(model.scale_sd[k]) for k in range(scales)}
    for place, scale in sd.items():
        theta[:, place] = np.log(scale * np.abs(theta[:, place]))
    return np.asarray(theta)


def cohort(printed: Printed, s: np.ndarray, event: np.ndarray, cell: np.ndarray) -> Patients:
    """State of a chain from exact times (month tenths), events and cells of patients."""
    time = np.ceil(s).astype(np.int64)
    order = np.argsort(time, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    statistics, rows = printed.kind.size, order.size + 1
    inside = printed.group_of[:statistics, cell]
    members = np.stack([(inside == a).sum(axis=1) for a in range(GROUPS)], axis=1)
    row_time, row_deaths = np.unique(time[event == 1], return_counts=True)
    risk, dead = np.zeros((2, statistics, GROUPS, rows))
    for t in printed.ranked:
        for a in range(printed.groups[t]):
            mine = inside[t] == a
            for r, at in enumerate(row_time):
                risk[t, a, r] = (mine & (time >= at)).sum()
                dead[t, a, r] = (mine & (time == at) & (event == 1)).sum()
    return Patients(
        s=s.astype(float).copy(),
        time=time,
        event=event.astype(np.int64).copy(),
        cell=cell.astype(np.int64).copy(),
        order=order,
        place=place,
        present=np.bincount(cell, minlength=printed.label.shape[1]).astype(np.int64),
        held=printed.fact[cell, event].sum(axis=0).astype(np.int64),
        distance=np.zeros(statistics),
        sequence=np.arange(statistics),
        refused=np.zeros(statistics, np.int64),
        row_time=np.append(row_time, np.zeros(rows - row_time.size, np.int64)),
        row_deaths=np.append(row_deaths, np.zeros(rows - row_deaths.size, np.int64)),
        rows=np.array([row_time.size]),
        risk=risk,
        dead=dead,
        members=members,
        beta=printed.near[:statistics].copy(),
    )


LEAPS = 12


SHARPEST = 800.0  # sharpness of the last place: many of its cohorts are at distance 0


@dataclass(frozen=True)
class Settings:
    """Chains, replicas in each, sweeps left out and kept; what a replica does in a sweep.

    ``softest`` is the sharpness of the softest place: there all that is slow must move freely.
    ``moves`` at the sharpest and ``soft_moves`` at the softest place, even between; ``ridges`` at
    soft places; every so many sweeps (0 = never) a reheat: soft places, between, the sharpest.
    """

    chains: int = 4
    replicas: int = 17
    softest: int = 4
    warm: int = 400
    sweeps: int = 3600
    moves: int = 600
    soft_moves: int = 600
    ridges: int = 1
    reheats: tuple[int, int, int] = (6, 12, 12)
    seed: int = 20230221


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

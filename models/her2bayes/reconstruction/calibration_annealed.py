"""What is done without a chain: one cohort annealed to the printed numbers, and stopped there.

The control of the validation. A random cohort is cooled at once to the printed numbers, under
parameters that are fixed beforehand (exponential times to death and to censoring, at the rates that
deaths and the median follow-up suggest, the same in all groups), and the first that meets all of
them is kept.
"""

from __future__ import annotations

import numpy as np

from her2bayes.reconstruction import summary_kernel as kernel
from her2bayes.reconstruction import summary_statistics as statistics
from her2bayes.reconstruction.summary_problem import Problem, counts_of_facts
from her2bayes.reconstruction.summary_replica import Effort, Replica

FREE, COLD = 0.3, 800.0  # sharpness
COOLING, MOVES = 40, 400
LONGEST = 200  # coolings' steps until a search is given up
ATTEMPTS = 2  # for each restart
NO_SPREAD = -3.0  # log standard deviation of all walks and effects


def restarts(
    posed: Problem, seed: int, number: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Annealed cohorts (month tenths, event, cell) from random starts; fewer where some failed."""
    streams = np.random.default_rng(seed).spawn(ATTEMPTS * number)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for stream in streams:
        if len(found) == number:
            break
        made = annealed(posed, stream)
        if made is not None:
            found.append(made)
    return found


def annealed(
    posed: Problem, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The first cohort that meets all printed numbers while one is cooled, or None."""
    counts = counts_of_facts(posed.summary, rng)
    if counts is None:
        return None
    replica = Replica(posed, counts, rng)
    replica.theta[:] = fixed_theta(posed, int(counts[:, 1].sum()))
    replica.pace[:] = 0.0  # parameters stay
    tally = np.zeros((kernel.MOVES, 2), np.int64)
    places = np.append(np.geomspace(FREE, COLD, COOLING), np.full(LONGEST - COOLING, COLD))
    for sharpness in places:
        replica.run(Effort(MOVES), float(sharpness), False, tally)
        if replica.distance == 0:
            p = replica.patients
            return p.time.copy(), p.event.copy(), p.cell.copy()
    return None


def fixed_theta(posed: Problem, deaths: int) -> np.ndarray:
    """Parameters of exponential times, the same in all groups, at rates from counts and follow-up.

    Times to either exit with median m have the rate log 2 / m; of it deaths take their share.
    """
    model, patients = posed.model, posed.summary.patients
    median = posed.printed.last / 2
    for t, statistic in enumerate(posed.summary.statistics):
        if statistic.kind == statistics.FOLLOW_UP:
            median = float(posed.printed.low[t, 0] + posed.printed.high[t, 0]) / 2
    rate, share = np.log(2) / median, np.clip(deaths / patients, 0.02, 0.98)
    mean, sd, leave_mean, leave_sd = model.location
    intervals, columns, scales = model.start.size, model.block.size, model.scale_sd.size
    second = intervals + 1 + columns + scales
    theta = np.zeros(posed.theta_size)
    theta[0] = (np.log(rate * share) - mean) / sd
    theta[second] = (np.log(rate * (1 - share)) - leave_mean) / leave_sd
    theta[intervals] = theta[second + intervals] = NO_SPREAD
    theta[intervals + 1 + columns : second] = NO_SPREAD
    return theta

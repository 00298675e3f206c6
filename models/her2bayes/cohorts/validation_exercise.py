"""One exercise: a known cohort's numbers are printed, cohorts are made from them, and it is ranked.

Beside the ensemble stand what patients and deaths alone leave open, and what would be believed of
one annealed cohort, or of 19 of them.

What is done without a chain: one cohort annealed to the printed numbers, and stopped there.

The control of the validation. A random cohort is cooled at once to the printed numbers, under
parameters that are fixed beforehand (exponential times to death and to censoring, at the rates that
deaths and the median follow-up suggest, the same in all groups), and the first that meets all of
them is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from her2bayes.cohorts.chain import kernel as kernel_of_calibration_annealed
from her2bayes.cohorts.chain import problem as model
from her2bayes.cohorts.chain import statistics
from her2bayes.cohorts.chain import statistics as kernel
from her2bayes.cohorts.chain.problem import Problem, counts_of_facts
from her2bayes.cohorts.chain.replica import Effort, Replica, Settings
from her2bayes.cohorts.chain.summary import Statistic
from her2bayes.cohorts.chain.tempering import Chain, chain
from her2bayes.cohorts.diagnostics import landmarks, log_hazards
from her2bayes.cohorts.validation_truths import (
    CELLS,
    COUNTS,
    CUT_END,
    EVERYTHING,
    Cohort,
    drawn,
    printed,
)

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
    tally = np.zeros((kernel_of_calibration_annealed.MOVES, 2), np.int64)
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


MEMBERS = 19
LEVEL = 0.90
QUICK = Settings(chains=1, replicas=12, warm=200, sweeps=1300, moves=400, soft_moves=300)
LOOSE = Settings(chains=1, replicas=4, warm=100, sweeps=600, moves=120, soft_moves=120)  # counts
MOST_CHAINS = 3
TRIES = 12  # to begin a chain
ENOUGH = 40.0  # effective draws of the slowest quantity, for 19 members that hardly depend
DRAWS = 300  # of a chain that are measured

REFERENCE, OTHERS = "low", ("zero", "positive")
GIVEN: tuple[dict[str, str], ...] = (
    {},
    {"hr_status": "positive"},
    {"hr_status": "negative"},
)
CURVE = ("survival at 24 months", "survival at 60 months", "restricted mean to 60 months")
RATIOS = tuple(
    f"log hazard ratio {level} vs {REFERENCE}" + "".join(f" | HR {v}" for v in given.values())
    for given in GIVEN
    for level in OTHERS
)
QUANTITIES = CURVE + RATIOS
"""The list of the verdict, fixed before any exercise was run."""
PRINTED = RATIOS[:2]  # known to their rounding by construction
_FREE = np.array([name not in PRINTED for name in QUANTITIES])
# Half a unit of what a reader would quote of a single cohort: whole percent, 0.1 month, HR to 0.01.
QUOTED = np.array([0.005, 0.005, 0.05] + [0.005] * len(RATIOS))

_GROUPS = np.array(
    [Statistic("", kernel.COX, g, "her2", (REFERENCE, *OTHERS), ()).groups(CELLS) for g in GIVEN]
)


def measure(tenths: np.ndarray, event: np.ndarray, cell: np.ndarray, last: int) -> np.ndarray:
    """Quantities (draw, quantity) of cohorts (draw, patient) followed to ``last`` month tenths.

    Survival later than that is missing; the restricted mean ends there if that is before 60 months.
    A ratio that would be infinite is the largest looked for, and 0 where neither class has deaths.
    """
    rows = []
    for draw in range(tenths.shape[0]):
        order = np.argsort(tenths[draw], kind="stable")
        months, labels = tenths[draw][order] / model.TENTHS, cell[draw][order].astype(np.int64)
        died = event[draw][order].astype(bool)
        survival, _, mean = landmarks(months, died, last / model.TENTHS)
        logs = [log_hazards(group, 1 + len(OTHERS), months, died, labels) for group in _GROUPS]
        ratios = np.concatenate([one[1:] - one[0] for one in np.nan_to_num(logs)])
        rows.append(np.concatenate([survival, [mean], ratios]))
    return np.array(rows).reshape(-1, len(QUANTITIES))


def _measured(found: Chain, last: int) -> np.ndarray:
    """Quantities of a chain's draws, evenly thinned."""
    number = found.months.shape[0]
    picks = np.unique(np.linspace(0, number - 1, min(number, DRAWS)).round().astype(int))
    tenths = np.rint(found.months[picks] * model.TENTHS)
    return measure(tenths, found.event[picks], found.cell[picks], last)


def effective(chains: Sequence[np.ndarray]) -> np.ndarray:
    """Effective sample size of each quantity over chains (draw, quantity); missing where fixed."""
    import arviz as az
    import xarray as xr

    number = min(c.shape[0] for c in chains)
    values = np.array([c[:number] for c in chains])
    found = np.full(values.shape[2], np.nan)
    for q in range(found.size):
        one = values[:, :, q]
        if number >= 4 and np.isfinite(one).all() and one.std() > 0:
            found[q] = float(az.ess(xr.Dataset({"x": (("chain", "draw"), one)}))["x"])
    return found


def ensemble(
    cohort: Cohort, seed: int, settings: Settings = QUICK, given: str = EVERYTHING,
    most: int = MOST_CHAINS,
) -> tuple[np.ndarray, np.ndarray, int]:  # fmt: skip
    """Quantities of cohorts behind the numbers of a cohort, their effective number, the chains.

    Independent chains are added until the slowest quantity that is not printed has ``ENOUGH``
    effective draws, at most ``most``. One that met no cohort in its warm-up, as its start was
    caught far from all, is left for another. Raises ``RuntimeError`` where none of ``TRIES`` did.
    """
    posed = model.problem(printed(cohort, given), intervals=4, cut_end=CUT_END)
    last = int(cohort[0].max())
    chains: list[np.ndarray] = []
    size = np.array([0.0])
    for one in np.random.SeedSequence(seed).generate_state(TRIES):
        found = chain(posed, settings, int(one))
        if found is None:
            continue
        chains.append(_measured(found, last))
        size = effective(chains)
        free = size[_FREE]
        if len(chains) == most or not np.isfinite(free).any() or np.nanmin(free) >= ENOUGH:
            break
    if not chains:
        raise RuntimeError("no cohort found that meets the numbers of a cohort that exists")
    return np.concatenate(chains), size, len(chains)


def exercise(
    source: Callable[[np.random.Generator], Cohort], seed: int, settings: Settings, number: int
) -> dict[str, Any]:
    """One exercise as plain numbers: a row for each quantity, or why there is none."""
    rng = np.random.default_rng([seed, number])
    cohort = drawn(source, rng)
    tenths, event, cell = (column[None, :] for column in cohort)
    last = int(cohort[0].max())
    truth = measure(tenths, event, cell, last)[0]
    inner = int(rng.integers(2**31))
    begun = time.process_time()
    row: dict[str, Any] = {
        "number": number, "patients": tenths.size, "deaths": int(event.sum()), "last": last / 10,
        "failed": "", "chains": 0,
    }  # fmt: skip
    try:
        draws, size, row["chains"] = ensemble(cohort, inner, settings)
    except RuntimeError as error:
        row["failed"] = str(error)
        draws, size = np.full((1, len(QUANTITIES)), np.nan), np.full(len(QUANTITIES), np.nan)
    row["seconds"] = time.process_time() - begun
    loose = ensemble(cohort, inner, LOOSE, COUNTS, most=1)[0]
    posed = model.problem(printed(cohort), intervals=4, cut_end=CUT_END)
    made = restarts(posed, inner, MEMBERS)
    naive = np.full((1, len(QUANTITIES)), np.nan)
    if made:
        months, exits, cells = (np.array(part) for part in zip(*made, strict=True))
        naive = measure(months, exits, cells, last)
    row["restarts"] = len(made)
    row["all_seconds"] = time.process_time() - begun
    row["quantities"] = _rows(rng, truth, draws, size, loose, naive)
    return row


def _rows(
    rng: np.random.Generator, truth: np.ndarray, draws: np.ndarray, size: np.ndarray,
    loose: np.ndarray, naive: np.ndarray,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rank, intervals and coverage of each quantity that the cohort has."""
    members = draws[np.linspace(0, draws.shape[0] - 1, MEMBERS).round().astype(int)]
    rows = []
    for q in np.flatnonzero(np.isfinite(truth)):
        value = truth[q]
        failed = bool(np.isnan(members[:, q]).any())
        below = int((members[:, q] < value - 1e-9).sum())
        ties = int((np.abs(members[:, q] - value) <= 1e-9).sum())
        low, high, in_it = _interval(draws[:, q], value)
        wide_low, wide_high, _ = _interval(loose[:, q], value)
        naive_low, naive_high, in_naive = _interval(naive[:, q], value)
        rows.append({
            "quantity": QUANTITIES[q],
            "truth": float(value),
            "rank": None if failed else below + int(rng.integers(0, ties + 1)),
            "lower": low, "upper": high, "covered": in_it,
            "ess": None if np.isnan(size[q]) else float(size[q]),
            "counts_lower": wide_low, "counts_upper": wide_high,
            "annealed": None if np.isnan(naive[0, q]) else float(naive[0, q]),
            "annealed_covered": bool(abs(naive[0, q] - value) <= QUOTED[q]),
            "restarts_lower": naive_low, "restarts_upper": naive_high,
            "restarts_covered": in_naive,
        })  # fmt: skip
    return rows


def _interval(values: np.ndarray, truth: float) -> tuple[float | None, float | None, bool]:
    """Central interval of values and whether it holds the truth; without values it does not."""
    if np.isnan(values).any():
        return None, None, False
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high), bool(low - 1e-9 <= truth <= high + 1e-9)

"""One exercise: a known cohort's numbers are printed, cohorts are made from them, and it is ranked.

Beside the ensemble stand what patients and deaths alone leave open, and what would be believed of
one annealed cohort, or of 19 of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from her2bayes.reconstruction import summary_problem as model
from her2bayes.reconstruction import summary_statistics as kernel
from her2bayes.reconstruction.calibration import (
    CELLS,
    COUNTS,
    CUT_END,
    EVERYTHING,
    Cohort,
    drawn,
    printed,
)
from her2bayes.reconstruction.calibration_annealed import restarts
from her2bayes.reconstruction.summary import Chain, chain
from her2bayes.reconstruction.summary_design import Statistic
from her2bayes.reconstruction.summary_diagnostics import landmarks, log_hazards
from her2bayes.reconstruction.summary_settings import Settings

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

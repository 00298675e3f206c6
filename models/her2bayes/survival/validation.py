"""How drifting hazard ratios do in repeated trials: coverage, and what they cost.

Crossing hazards: two arms of equal size, baseline 0.02 a month, log hazard ratio falling in a
straight line from log 2 at 0 to log 0.5 at 60 months, 400 events expected. Reported: coverage of
95 % intervals of log HR(t) averaged over the events, and on proportional data (log HR 0.4) the SD
of the average log hazard ratio against that of the proportional model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.evidence.patients.follow_up import read_follow_up
from her2bayes.evidence.patients.survival_cells import cut_points, survival_cells
from her2bayes.evidence.simulate import event_times
from her2bayes.inference import engine
from her2bayes.inference.sampling import Sampling
from her2bayes.survival import survival

EDGES = np.linspace(0, 60, 61)
PATIENTS = 560  # about 400 events with censoring uniform on 24 to 60 months
SAMPLING = Sampling(draws=500, tune=500, chains=2, target_accept=0.95)
INTERVALS = 20


def log_ratio(months: np.ndarray, crossing: bool) -> np.ndarray:
    """True log hazard ratio of arm b at given months."""
    return np.log(2) * (1 - months / 30) if crossing else np.full(np.shape(months), 0.4)


def cells_of(seed: int, crossing: bool) -> xr.Dataset:
    """Cells of one simulated trial."""
    rng = np.random.default_rng(seed)
    middle = (EDGES[:-1] + EDGES[1:]) / 2
    parts = []
    for arm, sign in (("a", 0.0), ("b", 1.0)):
        hazard = 0.03 * np.exp(sign * log_ratio(middle, crossing))
        time = event_times(rng, EDGES, hazard, np.zeros(PATIENTS // 2))
        last = rng.uniform(24, 60, PATIENTS // 2)
        parts.append(pd.DataFrame({"t": np.minimum(time, last), "e": time <= last, "arm": arm}))
    found = read_follow_up(pd.concat(parts), time="t", event="e", by=["arm"])
    return survival_cells(found, cut_points(found, intervals=INTERVALS))


def fit(cells: xr.Dataset, **options: Any) -> xr.Dataset:
    """Posterior draws of one trial; the compiled model is used again for the next."""
    with engine.compiler_flags():
        draws, _, _ = engine.sample(survival.build(cells, **options), SAMPLING)
    return draws


def coverage(cells: xr.Dataset) -> tuple[float, float]:
    """Share of events at which the 95 % interval holds the true log ratio, and mean width."""
    draws = fit(cells, nonproportional=("arm",))
    total = draws["term_arm"] + draws["term_arm_drift"]
    ratio = total.sel(arm="b") - total.sel(arm="a")
    low, high = ratio.quantile([0.025, 0.975], ("chain", "draw")).to_numpy()
    middle = (cells["interval_start"] + cells["interval_end"]).to_numpy() / 2
    truth = log_ratio(middle, crossing=True)
    events = cells["events"].sum("arm").to_numpy()
    inside = (low <= truth) & (truth <= high)
    return float(events @ inside / events.sum()), float(events @ (high - low) / events.sum())


def average_sd(cells: xr.Dataset, **options: Any) -> float:
    """Posterior SD of the average log hazard ratio."""
    return float(fit(cells, **options)["log_hazard_ratio_arm"].std())


def validate(number: int, say: Callable[[str], None] = lambda _: None) -> dict[str, float]:
    """Simulate ``number`` trials of each kind; coverage, width, SD ratio and their errors."""
    covered, widths, ratios, events = [], [], [], []
    for seed in range(number):
        cells = cells_of(seed, crossing=True)
        events.append(int(cells["events"].sum()))
        one, width = coverage(cells)
        covered.append(one)
        widths.append(width)
        plain = cells_of(10_000 + seed, crossing=False)
        ratios.append(average_sd(plain, nonproportional=("arm",)) / average_sd(plain))
        if seed % 10 == 9:
            say(f"{seed + 1} trials: coverage {np.mean(covered):.3f}, SD x {np.mean(ratios):.3f}")
    return {
        "simulations": number,
        "events": float(np.mean(events)),
        "coverage": float(np.mean(covered)),
        "coverage_std_error": float(np.std(covered) / np.sqrt(number)),
        "width": float(np.mean(widths)),
        "sd_ratio": float(np.mean(ratios)),
        "sd_ratio_largest": float(np.max(ratios)),
    }

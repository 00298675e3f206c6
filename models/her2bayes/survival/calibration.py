"""How the survival model does in repeated simulated cohorts: calibration, and drifting ratios.

Calibration draws hazards from the stated prior, and patients by inversion. The walk's average over
the events is zero in the model, so its prior looks at the data; here the weights of that average
are fixed (equal intervals, equal weights), which makes the prior one that parameters can be drawn
from.

``validate`` asks how drifting hazard ratios do where they cross: two arms of equal size, baseline
0.03 a month, log hazard ratio falling in a straight line from log 2 at 0 to log 0.5 at 60 months,
400 events expected. Reported: coverage of 95 % intervals of log HR(t) averaged over the events, and
on proportional data (log HR 0.4) the SD of the average log hazard ratio against that of the
proportional model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from xarray.ufuncs import log

from her2bayes.calibration.designs import Design, Draws, Kind, Simulated, Truth, by_class, centred
from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.patients.follow_up import read_follow_up
from her2bayes.evidence.patients.survival_cells import cut_points, survival_cells
from her2bayes.evidence.simulate import event_times, true_survival
from her2bayes.inference.sampling import Sampling
from her2bayes.survival.draws import draws
from her2bayes.survival.piecewise import log_hazard
from her2bayes.survival.survival import build

EDGES = np.linspace(0.0, 100.0, 21)  # months; the longest follow-up of Shi 2023 is 97.9
FOLLOW_UP = (0.5, 97.9)
TIMES = (24.0, 60.0)
MONTHS = "months"

TRIAL_EDGES = np.linspace(0, 60, 61)
TRIAL_PATIENTS = 560  # about 400 events with censoring uniform on 24 to 60 months
TRIAL_SAMPLING = Sampling(draws=500, tune=500, chains=2)
TRIAL_INTERVALS = 20


def draw_survival(rng: np.random.Generator, design: Design) -> Simulated:
    """Patients of hazards drawn from the prior of ``survival``."""
    log_hazard, truth = believed(rng, design)
    cells = cells_of(rng, design, np.exp(log_hazard))
    months, events = cells["person_months"].values, cells["events"].values
    fit = float((events * log_hazard - months * np.exp(log_hazard)).sum())
    return Simulated(cells, {**truth, "log_likelihood": fit})


def believed(rng: np.random.Generator, design: Design) -> tuple[np.ndarray, Truth]:
    """Log hazards (level, interval) and answers: a walk, zero-sum effects of the levels."""
    smoothing, spread = abs(rng.normal(0.0, 1.0)), abs(rng.normal(0.0, 0.5))
    reference = rng.normal(-4.0, 1.0)
    steps = smoothing * np.sqrt(np.diff((EDGES[:-1] + EDGES[1:]) / 2) / EDGES[-1])
    walk = np.concatenate([[0.0], np.cumsum(rng.normal(0.0, steps))])
    effect = centred(rng.normal(0.0, spread, len(design.levels)), 0)
    log_hazard = reference + centred(walk, 0) + effect[:, None]
    truth: Truth = {"smoothing": smoothing, "spread": spread, "reference": float(reference)}
    for level, hazard in zip(design.levels, np.exp(log_hazard), strict=True):
        alive = true_survival(list(EDGES), list(hazard), list(TIMES))
        truth |= {f"survival[{t:g} | {level}]": float(a) for t, a in zip(TIMES, alive, strict=True)}
        truth[f"rmst[60 | {level}]"] = _mean_to_60(hazard)
        truth[f"log_hazard_ratio[{level}]"] = float(effect[design.levels.index(level)] - effect[0])
    truth.pop(f"log_hazard_ratio[{design.levels[0]}]")
    return log_hazard, truth


def cells_of(rng: np.random.Generator, design: Design, hazard: np.ndarray) -> xr.Dataset:
    """Simulated patients, aggregated as real ones; ``baseline_weight`` fixes the walk's average."""
    parts = []
    for level, rates in zip(design.levels, hazard, strict=True):
        number = design.patients[level]
        times = event_times(rng, EDGES, rates, np.zeros(number))
        last = rng.uniform(*FOLLOW_UP, number)
        seen = {"months": np.minimum(times, last), "event": (times <= last).astype(int)}
        parts.append(pd.DataFrame({**seen, design.factor: level}))
    rows = pd.concat(parts, ignore_index=True)
    rows["months"] = rows["months"].clip(lower=1e-6)
    found = read_follow_up(rows, time="months", event="event", by={design.factor: design.levels})
    cells = survival_cells(found, EDGES)
    size = cells.sizes["interval"]
    return cells.assign(baseline_weight=("interval", np.full(size, 1.0 / size)))


def survival_of(design: Design, data: xr.Dataset, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of the survival model."""
    end, factor = str(data.attrs["endpoint"]), design.factor
    first, *others = design.levels
    named: dict[str, Estimand] = {}
    for level in design.levels:
        given = ((factor, level),)
        for t in TIMES:
            named[f"survival[{t:g} | {level}]"] = Estimand("survival", end, given, None, t, MONTHS)
        named[f"rmst[60 | {level}]"] = Estimand("rmst", end, given, None, 60.0, MONTHS)
    ratios = {
        f"log_hazard_ratio[{level}]": Estimand(
            "hazard_ratio", end, (), Contrast(factor, level, first)
        )
        for level in others
    }
    found = draws(posterior, data, [*named.values(), *ratios.values()])
    rates = log_hazard(posterior, data)
    terms = data["events"] * rates - data["person_months"] * np.exp(rates)
    return {
        "smoothing": posterior["smoothing"],
        "spread": posterior[f"spread_{factor}"],
        "reference": posterior["reference_log_hazard"],
        **{name: found[one] for name, one in named.items()},
        **{name: log(found[one]) for name, one in ratios.items()},
        "log_likelihood": terms.sum((factor, "interval")),
    }


def _mean_to_60(hazard: np.ndarray) -> float:
    """Restricted mean survival to 60 months under piecewise-constant hazards."""
    ends = EDGES[EDGES <= 60.0]
    width, rate = np.diff(ends), hazard[: len(ends) - 1]
    alive = np.exp(-np.concatenate([[0.0], np.cumsum(rate * width)]))
    return float(((alive[:-1] - alive[1:]) / rate).sum())


KINDS: Mapping[str, Kind] = {"survival": Kind(draw_survival, survival_of, by_class, draws=1000)}


def log_ratio(months: np.ndarray, crossing: bool) -> np.ndarray:
    """True log hazard ratio of arm b at given months."""
    return np.log(2) * (1 - months / 30) if crossing else np.full(np.shape(months), 0.4)


def trial_cells(seed: int, crossing: bool) -> xr.Dataset:
    """Cells of one simulated trial."""
    rng = np.random.default_rng(seed)
    middle = (TRIAL_EDGES[:-1] + TRIAL_EDGES[1:]) / 2
    parts = []
    for arm, sign in (("a", 0.0), ("b", 1.0)):
        hazard = 0.03 * np.exp(sign * log_ratio(middle, crossing))
        time = event_times(rng, TRIAL_EDGES, hazard, np.zeros(TRIAL_PATIENTS // 2))
        last = rng.uniform(24, 60, TRIAL_PATIENTS // 2)
        parts.append(pd.DataFrame({"t": np.minimum(time, last), "e": time <= last, "arm": arm}))
    found = read_follow_up(pd.concat(parts), time="t", event="e", by=["arm"])
    return survival_cells(found, cut_points(found, intervals=TRIAL_INTERVALS))


def trial_draws(cells: xr.Dataset, **options: Any) -> xr.Dataset:
    """Posterior draws of one trial; the compiled model is used again for the next."""
    from her2bayes.inference import engine

    with engine.compiler_flags():
        draws_, _, _ = engine.sample(build(cells, **options), TRIAL_SAMPLING)
    return draws_


def coverage(cells: xr.Dataset) -> tuple[float, float]:
    """Share of events at which the 95 % interval holds the true log ratio, and mean width."""
    found = trial_draws(cells, nonproportional=("arm",))
    total = found["term_arm"] + found["term_arm_drift"]
    ratio = total.sel(arm="b") - total.sel(arm="a")
    low, high = ratio.quantile([0.025, 0.975], ("chain", "draw")).to_numpy()
    middle = (cells["interval_start"] + cells["interval_end"]).to_numpy() / 2
    truth = log_ratio(middle, crossing=True)
    events = cells["events"].sum("arm").to_numpy()
    inside = (low <= truth) & (truth <= high)
    return float(events @ inside / events.sum()), float(events @ (high - low) / events.sum())


def average_sd(cells: xr.Dataset, **options: Any) -> float:
    """Posterior SD of the average log hazard ratio."""
    return float(trial_draws(cells, **options)["log_hazard_ratio_arm"].std())


def validate(number: int, say: Callable[[str], None] = lambda _: None) -> dict[str, float]:
    """Simulate ``number`` trials of each kind; coverage, width, SD ratio and their errors."""
    covered, widths, ratios, events = [], [], [], []
    for seed in range(number):
        cells = trial_cells(seed, crossing=True)
        events.append(int(cells["events"].sum()))
        one, width = coverage(cells)
        covered.append(one)
        widths.append(width)
        plain = trial_cells(10_000 + seed, crossing=False)
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

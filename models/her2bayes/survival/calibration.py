"""Calibration of the survival model: hazards from its stated prior, patients by inversion.

The walk's average over the events is zero in the model, so its prior looks at the data; here the
weights of that average are fixed (equal intervals, equal weights), which makes the prior one that
parameters can be drawn from.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.calibration.designs import Design, Draws, Simulated, Truth, centred
from her2bayes.calibration.kinds import Kind, by_class
from her2bayes.evidence.patients.follow_up import read_follow_up
from her2bayes.evidence.patients.survival_cells import survival_cells
from her2bayes.evidence.simulate import event_times, true_survival

EDGES = np.linspace(0.0, 100.0, 21)  # months; the longest follow-up of Shi 2023 is 97.9
FOLLOW_UP = (0.5, 97.9)
TIMES = (24.0, 60.0)


def draw_survival(rng: np.random.Generator, design: Design) -> Simulated:
    """``survival``: walk of log hazards, zero-sum effects of three or more levels."""
    smoothing, spread = abs(rng.normal(0.0, 1.0)), abs(rng.normal(0.0, 0.5))
    reference = rng.normal(-4.0, 1.0)
    steps = smoothing * np.sqrt(np.diff((EDGES[:-1] + EDGES[1:]) / 2) / EDGES[-1])
    walk = np.concatenate([[0.0], np.cumsum(rng.normal(0.0, steps))])
    effect = centred(rng.normal(0.0, spread, len(design.levels)), 0)
    log_hazard = reference + centred(walk, 0) + effect[:, None]
    cells = cells_of(rng, design, np.exp(log_hazard))
    truth: Truth = {"smoothing": smoothing, "spread": spread, "reference": float(reference)}
    for level, hazard in zip(design.levels, np.exp(log_hazard), strict=True):
        alive = true_survival(list(EDGES), list(hazard), list(TIMES))
        truth |= {f"survival[{t:g} | {level}]": float(a) for t, a in zip(TIMES, alive, strict=True)}
        truth[f"rmst[60 | {level}]"] = _mean_to_60(hazard)
        truth[f"log_hazard_ratio[{level}]"] = float(effect[design.levels.index(level)] - effect[0])
    truth.pop(f"log_hazard_ratio[{design.levels[0]}]")
    months, events = cells["person_months"].values, cells["events"].values
    truth["log_likelihood"] = float((events * log_hazard - months * np.exp(log_hazard)).sum())
    return Simulated(cells, truth)


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
    from her2bayes.survival import draws as of

    rates = of.log_hazard(posterior, data)
    found: Draws = {
        "smoothing": posterior["smoothing"],
        "spread": posterior[f"spread_{design.factor}"],
        "reference": posterior["reference_log_hazard"],
    }
    alive, mean = of.survival(rates, list(TIMES)), of.rmst(rates, 60.0)
    for level in design.levels:
        at = {design.factor: level}
        found |= {
            f"survival[{t:g} | {level}]": alive.sel(at).isel(time=i) for i, t in enumerate(TIMES)
        }
        found[f"rmst[60 | {level}]"] = mean.sel(at)
        ratio = of.log_hazard_ratio(rates, design.factor, level, design.levels[0])
        found[f"log_hazard_ratio[{level}]"] = ratio.isel(interval=0)
    terms = data["events"] * rates - data["person_months"] * np.exp(rates)
    return found | {"log_likelihood": terms.sum((design.factor, "interval"))}


def _mean_to_60(hazard: np.ndarray) -> float:
    """Restricted mean survival to 60 months under piecewise-constant hazards."""
    ends = EDGES[EDGES <= 60.0]
    width, rate = np.diff(ends), hazard[: len(ends) - 1]
    alive = np.exp(-np.concatenate([[0.0], np.cumsum(rate * width)]))
    return float(((alive[:-1] - alive[1:]) / rate).sum())


KINDS: Mapping[str, Kind] = {"survival": Kind(draw_survival, survival_of, by_class, 0.97)}

"""Survival of simulated patients with known truth, by inverting the cumulative hazard (NumPy only).

Shares no code with the models: a time T solves H(T) = H(entry) + E with E ~ Exponential(1), which
leaves survivors to the entry time their hazard from there on (left truncation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd


def event_times(
    rng: np.random.Generator,
    edges: Sequence[float] | np.ndarray,
    hazard: np.ndarray,
    entry: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Draw one event time a row under piecewise-constant hazards, given no event by ``entry``.

    ``hazard`` is (row, interval) or (interval,) per month between ``edges``; the last goes on.
    """
    starts = np.asarray(edges, float)[:-1]
    rates = np.atleast_2d(np.asarray(hazard, float))
    count = max(len(rates), np.size(entry))
    rates = np.broadcast_to(rates, (count, len(starts)))
    entered = np.broadcast_to(np.asarray(entry, float), (count,))
    ends = np.append(np.asarray(edges, float)[1:-1], np.inf)
    before = np.clip(np.minimum(entered[:, None], ends) - starts, 0.0, None)
    target = (rates * before).sum(axis=1) + rng.exponential(size=count)
    reached = np.concatenate(
        [np.zeros((count, 1)), np.cumsum(rates[:, :-1] * np.diff(starts), axis=1)], axis=1
    )
    place = np.maximum((reached <= target[:, None]).sum(axis=1) - 1, 0)
    rows = np.arange(count)
    return starts[place] + (target - reached[rows, place]) / rates[rows, place]


def cohort(
    rng: np.random.Generator,
    patients: Mapping[tuple[str, ...], int],
    factors: Sequence[str],
    edges: Sequence[float],
    hazard: Mapping[tuple[str, ...], Sequence[float]],
    *,
    censoring: tuple[float, float] = (24.0, 120.0),
    entry: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """Draw patients by group (a tuple of levels): columns of ``factors``, entry, months, event.

    Censoring is uniform between two times. With ``entry`` (uniform too) only patients without an
    event by then are seen, as where a register opens late; ``patients`` are then numbers before
    that selection.
    """
    parts = []
    for group, number in patients.items():
        times = event_times(rng, edges, np.asarray(hazard[group], float), np.zeros(number))
        last = rng.uniform(*censoring, size=number)
        entered = rng.uniform(*entry, size=number) if entry else np.zeros(number)
        columns: dict[str, Any] = dict(zip(factors, group, strict=True))
        part = pd.DataFrame(
            {
                "entry": entered,
                "months": np.minimum(times, last),
                "event": (times <= last).astype(int),
            }
        ).assign(**columns)
        parts.append(part[part["months"] > part["entry"]])
    return pd.concat(parts, ignore_index=True)


def weibull_hazard(
    edges: Sequence[float], shape: float, scale: float, ratio: float = 1.0
) -> np.ndarray:
    """Mean hazard of a Weibull distribution in each interval, times a hazard ratio."""
    cumulative = (np.asarray(edges, float) / scale) ** shape
    return ratio * np.diff(cumulative) / np.diff(np.asarray(edges, float))


def true_survival(
    edges: Sequence[float], hazard: Sequence[float], times: Sequence[float]
) -> np.ndarray:
    """Survival at given months under a piecewise-constant hazard whose last piece goes on."""
    starts = np.asarray(edges, float)[:-1]
    ends = np.append(np.asarray(edges, float)[1:-1], np.inf)
    spent = np.clip(np.minimum(np.asarray(times, float)[:, None], ends) - starts, 0.0, None)
    return np.exp(-spent @ np.asarray(hazard, float))

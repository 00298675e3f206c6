"""Patients with known truth, simulated one by one with NumPy: independent of the models' graphs.

A model that simulated its own data would look calibrated whatever its graph; calibration and
recovery tests aggregate these patients like real ones.

Pairs: a true class at the primary, a true class at recurrence given the primary, an error-prone
reading of each, and a record that may keep only a set of classes (coarsening at random: which set
is kept depends on the class read only through the set holding it). Survival: a time T solves
H(T) = H(entry) + E with E ~ Exponential(1), which leaves survivors to the entry time their hazard
from there on (left truncation). ``example_patients`` is an invented patient file, with its map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.evidence.classify import CATEGORIES, UNKNOWN, reading_classes


def simulate_pairs(
    rng: np.random.Generator,
    strata: Mapping[str, int],
    share: Mapping[str, Sequence[float]],
    transition: Mapping[str, np.ndarray],
    *,
    factor: str = "stratum_level",
    assay: np.ndarray | None = None,
    coarsening: Mapping[str, float] | None = None,
    categories: Sequence[str] = CATEGORIES,
) -> pd.DataFrame:
    """Draw patients; one line each.

    ``strata`` maps level to patients; ``share`` (k,) and ``transition`` (k, k, rows primary) by
    level; ``assay`` (k, k) the probability of each reading given the true class, applied to both
    ends independently (default: no error); ``coarsening`` maps a set of classes (``zero/low``,
    ``unknown``) to the probability that a reading inside it is recorded as the set.

    Columns ``primary_reading``, ``recurrence_reading``, ``primary_true``, ``recurrence_true``
    (classes), ``primary_read``, ``recurrence_read``, the factor. Raises ``ValueError`` where sets
    take more than all of a class.
    """
    names = np.array(list(categories), dtype=object)
    parts = []
    for level, patients in strata.items():
        primary = rng.choice(len(names), size=patients, p=np.asarray(share[level]))
        recurrence = _next(rng, np.asarray(transition[level]), primary)
        frame = pd.DataFrame({factor: [level] * patients})
        for end, true in (("primary", primary), ("recurrence", recurrence)):
            read = true if assay is None else _next(rng, assay, true)
            frame[f"{end}_true"] = names[true]
            frame[f"{end}_read"] = names[read]
            frame[f"{end}_reading"] = _recorded(rng, names[read], coarsening or {}, categories)
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def _next(rng: np.random.Generator, matrix: np.ndarray, state: np.ndarray) -> np.ndarray:
    """One step from each state along the rows of a matrix."""
    cumulative = np.cumsum(matrix, axis=1)[state]
    return (rng.random(len(state))[:, None] > cumulative[:, :-1]).sum(axis=1)


def _recorded(
    rng: np.random.Generator,
    read: np.ndarray,
    coarsening: Mapping[str, float],
    categories: Sequence[str],
) -> np.ndarray:
    recorded = read.copy()
    for name in categories:
        sets = [s for s in coarsening if name in reading_classes(s, tuple(categories))]
        weight = [coarsening[s] for s in sets]
        if sum(weight) > 1:
            raise ValueError(f"class {name} is recorded as a set with probability {sum(weight):g}")
        at = np.flatnonzero(read == name)
        options = np.array([*sets, name], dtype=object)
        recorded[at] = rng.choice(options, size=len(at), p=[*weight, 1 - sum(weight)])
    return recorded


def known_truth() -> dict[str, dict[str, np.ndarray]]:
    """Two strata like the HR groups of real cohorts: primary shares and transition rows."""
    positive = np.array([[0.68, 0.30, 0.02], [0.36, 0.59, 0.05], [0.08, 0.22, 0.70]])
    negative = np.array([[0.75, 0.22, 0.03], [0.45, 0.50, 0.05], [0.06, 0.12, 0.82]])
    return {
        "share": {"positive": np.array([0.30, 0.55, 0.15]), "negative": np.array([0.4, 0.3, 0.3])},
        "transition": {"positive": positive, "negative": negative},
    }


def coarsened_sets() -> dict[str, float]:
    """Sets as often as in MSK 2018: one in six of the zero and low read as either, some lost."""
    return {"zero/low": 0.17, "low/positive": 0.01, UNKNOWN: 0.08}


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


HER2 = ("zero", "low", "positive")


def status_patients(
    rng: np.random.Generator, patients: Sequence[int], share: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a subgroup index and a HER2 category index for every patient.

    ``patients`` (subgroup) are the numbers of patients, ``share`` (subgroup, her2) the truth, rows
    sum to 1. A category is where a uniform number falls among the cumulated shares.
    """
    subgroup = np.repeat(np.arange(len(patients)), patients)
    uniform = rng.random(len(subgroup))
    cumulated = np.cumsum(share, axis=1)[:, :-1]
    return subgroup, (uniform[:, None] >= cumulated[subgroup]).sum(axis=1)


def status_counts(
    rng: np.random.Generator,
    patients: Sequence[int],
    share: np.ndarray,
    *,
    her2: Sequence[str] = HER2,
    levels: Sequence[str] | None = None,
    factor: str = "subgroup",
    parent: Sequence[str] | None = None,
) -> xr.DataArray:
    """Simulate patients and count them: StatusCounts, dims ``(subgroup, her2)``."""
    subgroup, category = status_patients(rng, patients, share)
    counts = np.zeros(share.shape, dtype=np.int64)
    np.add.at(counts, (subgroup, category), 1)
    names = list(levels or (f"level {number + 1}" for number in range(len(patients))))
    return xr.DataArray(
        counts,
        dims=("subgroup", "her2"),
        coords={
            "subgroup": names,
            "her2": list(her2),
            "factor": ("subgroup", [factor] * len(names)),
            "level": ("subgroup", names),
            "parent": ("subgroup", list(parent or [""] * len(names))),
        },
        name="status_counts",
    )


def status_share(
    rng: np.random.Generator,
    levels: int,
    *,
    overall: Sequence[float] = (0.2, 0.5, 0.3),
    spread: float = 0.3,
) -> np.ndarray:
    """Draw true shares (levels, her2) whose log odds scatter around ``overall`` with sd ``spread``.

    Deviations are normal and made to sum to zero over levels and over categories, as the
    distribution model takes them.
    """
    deviation = rng.normal(0.0, spread, (levels, len(overall)))
    deviation -= deviation.mean(axis=1, keepdims=True)
    deviation -= deviation.mean(axis=0)
    weight = np.asarray(overall) * np.exp(deviation)
    return weight / weight.sum(axis=1, keepdims=True)


# reading -> pairs of IHC score and ISH verdict that a pathologist may have written
_WRITTEN = {
    "zero": (("0", ""),),
    "low": (("1+", ""), ("2+", "negative")),
    "positive": (("3+", ""), ("2+", "positive")),
    "zero/low": (("0-1+", ""),),
    "low/positive": (("2+", ""),),
    "unknown": (("", ""),),
}
# hazard of death after recurrence against HER2-low, by true class at recurrence
HAZARD_RATIO = {"zero": 1.3, "low": 1.0, "positive": 0.6}

MAP = """\
# Column map of the invented cohort beside it; data/maps/README.md explains every key.
schema = 1
id = "example"
title = "Invented cohort"
rows = "patient"

[files]
table = "patients.csv"

[columns]
patient_id = "patient"

[primary]
ihc = "primary_ihc"
ish = "primary_ish"
er = "primary_er"
pr = "primary_pr"

[recurrence]
ihc = "recurrence_ihc"
ish = "recurrence_ish"

# months from recurrence to death
[endpoints.os]
time = "os_months"
event = "os_event"
"""


def example_patients(patients: int, seed: int) -> pd.DataFrame:
    """Draw a cohort: readings of both tumours, receptors, survival from recurrence in months.

    Transition rows and primary shares differ by HR status (``simulate_pairs.known_truth``), sets
    of classes occur as often as in real exports, and survival depends on the class at recurrence
    through ``HAZARD_RATIO`` (Weibull, median 42 months in HER2-low).
    """
    rng = np.random.default_rng(seed)
    positive = round(0.7 * patients)
    truth = known_truth()
    pairs = simulate_pairs(
        rng,
        {"positive": positive, "negative": patients - positive},
        {level: share.tolist() for level, share in truth["share"].items()},
        truth["transition"],
        factor="hr_status",
        coarsening=coarsened_sets(),
    )
    readings = {
        f"{end}_{test}": column
        for end in ("primary", "recurrence")
        for test, column in _written(rng, pairs[f"{end}_reading"]).items()
    }
    percent = np.where(pairs["hr_status"] == "positive", rng.integers(10, 100, len(pairs)), 0)
    frame = pd.DataFrame(
        {
            "patient": [f"E{i:04d}" for i in range(1, len(pairs) + 1)],
            **readings,
            "primary_er": percent,
            "primary_pr": np.where(percent > 0, rng.integers(0, 100, len(pairs)), 0),
            "her2": pairs["recurrence_true"].to_numpy(),
            "hr_status": pairs["hr_status"].to_numpy(),
        }
    )
    return frame.join(_survival(rng, frame["her2"]))


def _written(rng: np.random.Generator, reading: pd.Series) -> dict[str, list[str]]:
    options = [_WRITTEN[name] for name in reading]
    chosen = [some[int(rng.integers(len(some)))] for some in options]
    return {"ihc": [ihc for ihc, _ in chosen], "ish": [ish for _, ish in chosen]}


def _survival(rng: np.random.Generator, her2: pd.Series) -> pd.DataFrame:
    edges = [6.0 * k for k in range(21)]
    parts = []
    for level, rows in her2.groupby(her2).groups.items():
        hazard = weibull_hazard(edges, 1.2, 57.0, HAZARD_RATIO[str(level)])
        key: tuple[str, ...] = (str(level),)
        drawn = cohort(rng, {key: len(rows)}, ["her2"], edges, {key: hazard.tolist()})
        times = drawn["months"].clip(lower=0.1).round(1)
        parts.append(
            pd.DataFrame(
                {"os_months": times.to_numpy(), "os_event": drawn["event"].to_numpy()}, index=rows
            )
        )
    return pd.concat(parts).sort_index()

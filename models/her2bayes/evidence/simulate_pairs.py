"""Patients with paired HER2 classes and known truth, drawn with NumPy alone.

A true class at the primary, a true class at recurrence given the primary, an error-prone reading of
each, and a record that may keep only a set of classes (coarsening at random: which set is kept
depends on the class read only through the set holding it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

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

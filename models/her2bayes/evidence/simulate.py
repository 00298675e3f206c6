"""Patients with known truth, simulated one by one with NumPy: independent of the models' graphs.

Calibration and recovery tests aggregate these patients like real ones; a model that simulated its
own data would look calibrated whatever its graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

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

"""Models and data that a benchmark runs every sampler on, and the quantities all of them report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

SEED = 20230221
HAZARD_RATIO = {"zero": 1.3, "low": 1.0, "positive": 0.6}
MONTHLY_HAZARD = 0.02


@dataclass(frozen=True)
class Design:
    """A model with its data; ``watched`` gives, from posterior draws, what is compared.

    ``plain`` holds the numbers as R needs them, for the designs that Stan fits as well.
    """

    name: str
    build: Callable[..., Any]
    data: Any
    watched: Callable[[xr.Dataset], Mapping[str, xr.DataArray]]
    options: Mapping[str, Any] = field(default_factory=dict)
    target_accept: float = 0.9
    plain: Mapping[str, Any] = field(default_factory=dict)

    def model(self) -> Any:
        """Build the model; call within ``engine.compiler_flags``."""
        return self.build(self.data, None, **self.options)


def design(name: str) -> Design:
    """One of ``NAMES``."""
    return _MAKERS[name]()


def survival_rows(patients: int) -> pd.DataFrame:
    """Invented patients: months, event, her2; constant hazards, ratios 1.3 and 0.6 against low."""
    rng = np.random.default_rng(SEED + patients)
    her2 = rng.choice(list(HAZARD_RATIO), patients, p=[0.2, 0.5, 0.3])
    hazard = MONTHLY_HAZARD * np.array([HAZARD_RATIO[level] for level in her2])
    time, censored = rng.exponential(1 / hazard), rng.uniform(12, 120, patients)
    return pd.DataFrame(
        {"months": np.minimum(time, censored), "event": (time <= censored) * 1, "her2": her2}
    )


def cells_of(source: Any) -> xr.Dataset:
    """SurvivalCells of such patients in 40 intervals."""
    from her2bayes.evidence.patients.follow_up import read_follow_up
    from her2bayes.evidence.patients.survival_cells import cut_points, survival_cells

    levels = {"her2": tuple(HAZARD_RATIO)}
    found = read_follow_up(source, time="months", event="event", by=levels)
    return survival_cells(found, cut_points(found))


def survival_design(cells: xr.Dataset) -> Design:
    """Hierarchical piecewise-exponential hazards of three groups."""
    from her2bayes.survival.piecewise import log_hazard
    from her2bayes.survival.survival import build

    start, end = cells["interval_start"].to_numpy(), cells["interval_end"].to_numpy()
    events = cells["events"].transpose("her2", "interval").to_numpy()
    months = cells["person_months"].transpose("her2", "interval").to_numpy()
    middle = (start + end) / 2
    plain = {
        "L": events.shape[0], "J": events.shape[1], "events": events.tolist(),
        "months": months.tolist(), "gap": np.sqrt(np.diff(middle) / end.max()).tolist(),
        "weight": (events.sum(axis=0) / events.sum()).tolist(),
    }  # fmt: skip
    return Design(
        "survival", build, cells, lambda draws: {"log_hazard": log_hazard(draws, cells)},
        target_accept=0.95, plain=plain,
    )  # fmt: skip


def _survival() -> Design:
    return survival_design(cells_of(survival_rows(2000)))


def _distribution() -> Design:
    from her2bayes.distribution.her2_distribution import build
    from her2bayes.evidence.printed.study import load_study, study_folder

    counts = load_study(study_folder("shi2023")).status_counts()["site"]
    plain = {
        "counts": counts.to_numpy().tolist(),
        "parent": list(map(str, counts["parent"].values)),
    }
    size = counts.sizes["subgroup"]
    return Design(
        "her2_distribution", build, counts,
        lambda draws: {"share": draws["share"].isel(subgroup=slice(size))}, plain=plain,
    )  # fmt: skip


def _transition() -> Design:
    from her2bayes.evidence.patients.aggregate import transition_counts
    from her2bayes.evidence.simulate import coarsened_sets, known_truth, simulate_pairs
    from her2bayes.transition.her2_transition import build

    truth = known_truth()
    shares = {level: share.tolist() for level, share in truth["share"].items()}
    rows = simulate_pairs(
        np.random.default_rng(SEED), {"positive": 350, "negative": 150}, shares,
        truth["transition"], factor="hr_status", coarsening=coarsened_sets(),
    )  # fmt: skip
    counts = transition_counts(rows, ["hr_status"])
    return Design(
        "her2_transition", build, counts, lambda draws: {"transition": draws["transition"]}
    )


def _response() -> Design:
    from her2bayes.rates.response import build

    names, responders = ["a", "b", "c", "d", "e", "f"], [9, 11, 3, 14, 7, 2]
    patients = [30, 34, 12, 40, 15, 11]
    counts = xr.Dataset(
        {"responders": ("subgroup", responders), "patients": ("subgroup", patients)},
        coords={"subgroup": names, "level": ("subgroup", names)},
    )
    return Design(
        "response", build, counts,
        lambda draws: {"rate": draws["rate_together"].isel(subgroup=slice(len(names)))},
        {"pooling": "exchangeable"}, plain={"y": responders, "n": patients},
    )  # fmt: skip


def _thousand() -> Design:
    return survival_design(cells_of(survival_rows(1000)))


_MAKERS: dict[str, Callable[[], Design]] = {
    "her2_distribution": _distribution,
    "her2_transition": _transition,
    "survival": _survival,
    "response": _response,
}
NAMES = tuple(_MAKERS)
_MAKERS["survival of 1,000"] = _thousand

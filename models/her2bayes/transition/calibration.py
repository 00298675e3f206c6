"""Calibration of the models of paired readings: rows from each stated prior, pairs counted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from her2bayes.calibration.designs import Design, Draws, Kind, Simulated, Truth, dirichlet, softmax
from her2bayes.estimand import Estimand
from her2bayes.evidence.simulate import HER2
from her2bayes.transition.draws import Levels, draws, rows_of

MSK_PAIRS = {"positive": 482, "negative": 89}
"""Pairs with one class at both ends by receptor status of the primary (MSK 2018, 571 pairs)."""


def draw_transition(rng: np.random.Generator, design: Design) -> Simulated:
    """``her2_transition``: log odds of change N(-1.5, 1), deviations of levels |N(0, 0.5)| wide."""
    k, levels = len(HER2), len(design.levels)
    sd = abs(rng.normal(0.0, 0.5)) if levels > 1 else 0.0
    log_odds = rng.normal(-1.5, 1.0, (k, k)) + sd * rng.normal(size=(levels, k, k))
    log_odds[:, np.arange(k), np.arange(k)] = 0.0
    truth = {"deviation_sd": sd} if levels > 1 else {}
    return _paired(rng, design, softmax(log_odds), truth)


def draw_transition_dirichlet(rng: np.random.Generator, design: Design) -> Simulated:
    """``her2_transition_dirichlet``: independent rows worth three patients, 60 % unchanged."""
    k = len(HER2)
    weight = 3.0 * (np.full((k, k), 0.2) + np.eye(k) * 0.4)
    rows = [[dirichlet(rng, row) for row in weight] for _ in design.levels]
    return _paired(rng, design, np.array(rows), {})


def _paired(rng: np.random.Generator, design: Design, rows: np.ndarray, truth: Truth) -> Simulated:
    k, names = len(HER2), list(HER2)
    primary = rng.dirichlet(np.ones(k), size=len(design.levels))
    flow = primary[:, :, None] * rows
    counts = np.zeros(flow.shape, dtype=np.int64)
    for s, patients in enumerate(design.patients.values()):
        # patient by patient: the primary's class, then the recurrence's given it
        first = (rng.random(patients)[:, None] >= np.cumsum(primary[s])[:-1]).sum(axis=1)
        steps = np.cumsum(rows[s], axis=1)[first, :-1]
        second = (rng.random(patients)[:, None] >= steps).sum(axis=1)
        np.add.at(counts[s], (first, second), 1)
    data = xr.Dataset(
        {
            "counts": (("stratum", "primary_reading", "recurrence_reading"), counts),
            "incidence": (("reading", "her2"), np.eye(k, dtype=bool)),
        },
        coords={
            "stratum": design.levels, "primary_reading": names, "recurrence_reading": names,
            "reading": names, "her2": names, design.factor: ("stratum", design.levels),
        },
        attrs={"factors": [design.factor]},
    )  # fmt: skip
    for s, level in enumerate(design.levels):
        stays = np.diagonal(rows[s])
        truth[f"discordance[{level}]"] = float(primary[s] @ (1.0 - stays))
        for i, j in np.ndindex(k, k):
            truth[f"transition[{HER2[i]} -> {HER2[j]} | {level}]"] = float(rows[s, i, j])
    truth["log_likelihood"] = float((counts * np.log(np.maximum(flow, 1e-300))).sum())
    return Simulated(data, truth)


def transitions_of(design: Design, data: xr.Dataset, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of a transition model, ``log_likelihood`` of the data last."""
    found: Draws = {}
    if "deviation_sd" in posterior and len(design.levels) > 1:
        found["deviation_sd"] = posterior["deviation_sd"].sel(factor=design.factor)
    for level in design.levels:
        of: Levels = {((design.factor, level),): rows_of(posterior, level)}
        names = {
            f"transition[{i} -> {j} | {level}]": _asked("transition", design, level, f"{i} -> {j}")
            for i in HER2
            for j in HER2
        }
        names = {f"discordance[{level}]": _asked("discordance", design, level), **names}
        drawn = draws(of, names.values(), new_cohort=True)
        found |= {name: drawn[asked] for name, asked in names.items()}
    rows, primary = posterior["transition"], posterior["primary_share"]
    counts = data["counts"].rename(primary_reading="her2_primary", recurrence_reading="her2")
    counts = counts.drop_vars(design.factor)
    terms = counts * np.log(np.maximum(primary * rows, 1e-300))
    return found | {"log_likelihood": terms.sum(("stratum", "her2_primary", "her2"))}


def _asked(kind: str, design: Design, level: str, outcome: str = "") -> Estimand:
    return Estimand(kind, outcome, ((design.factor, level),))


def pairs(model: str, _study: str, _by: str) -> Design:
    """Pairs of MSK 2018 by receptor status."""
    return Design(model, "msk2018-hr_status", MSK_PAIRS, factor="hr_status")


KINDS: Mapping[str, Kind] = {
    "her2_transition": Kind(draw_transition, transitions_of, pairs),
    "her2_transition_dirichlet": Kind(draw_transition_dirichlet, transitions_of, pairs, draws=1000),
}

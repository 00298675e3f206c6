"""Designs of calibration: parameters from the stated priors and patients from them, by NumPy alone.

Nothing here calls a model's graph: a model that simulated its own data would look calibrated
whatever its graph. Each ``draw_...`` states the prior of one model file again, from its docstring;
patients are drawn one by one and counted by the code that counts real ones.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.evidence.simulate import HER2, status_counts

Truth = dict[str, float]
Draws = dict[str, xr.DataArray]


@dataclass(frozen=True)
class Design:
    """Who is counted: model, name, patients by level, and the parent of each level if nested.

    ``graded`` lists the adverse events whose severity is printed.
    """

    model: str
    name: str
    patients: Mapping[str, int]
    parent: tuple[str, ...] = ()
    factor: str = "subgroup"
    graded: tuple[str, ...] = ()

    @property
    def levels(self) -> list[str]:
        """Levels of the factor."""
        return list(self.patients)

    @property
    def build(self) -> Callable[..., Any]:
        """Function that builds the model's graph."""
        return importlib.import_module(f"her2bayes.bayes.{self.model}").build


@dataclass(frozen=True)
class Simulated:
    """One simulated study: its data as the model takes them, and the truth behind each answer."""

    data: Any
    truth: Truth


def centred(values: np.ndarray, axis: int) -> np.ndarray:
    """Values made to sum to zero along an axis: the zero-sum normal of independent normals."""
    return np.asarray(values - values.mean(axis=axis, keepdims=True))


def effects(
    rng: np.random.Generator, design: Design, categories: int, spread: float = 0.5
) -> tuple[np.ndarray, Truth]:
    """Zero-sum effects (level, category) with their scales: |N(0, spread)| where learned, or 0.75.

    A family of one effect (two levels) has the fixed scale 0.75 and no scale among the answers.
    With one ``category`` effects are single numbers, as in the ordered model.
    """
    parent = np.array(design.parent or [""] * len(design.levels))
    known = list(dict.fromkeys(parent))
    found, truth = np.zeros((len(parent), categories)), Truth()

    def scale(name: str, number: int) -> float:
        if number < 2:
            return 0.75
        truth[f"tau[{name}]"] = abs(rng.normal(0.0, spread))
        return truth[f"tau[{name}]"]

    def normal(size: int) -> np.ndarray:
        values = rng.normal(size=(size, categories))
        return centred(values, 1) if categories > 1 else values

    if len(known) > 1:
        of_parent = scale("parent", len(known) - 1) * centred(normal(len(known)), 0)
        found += of_parent[[known.index(name) for name in parent]]
    of_level = scale("level", len(parent) - len(known))
    for name in known:
        inside = np.flatnonzero(parent == name)
        found[inside] += of_level * centred(normal(len(inside)), 0)
    return found, truth


def softmax(values: np.ndarray) -> np.ndarray:
    """Shares (level, category) of logits."""
    weight = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True))


def draw_multinomial(rng: np.random.Generator, design: Design) -> Simulated:
    """``her2_distribution``: alpha ~ zero-sum N(1.5), effects zero-sum over levels, categories."""
    alpha = centred(rng.normal(0.0, 1.5, len(HER2)), 0)
    beta, truth = effects(rng, design, len(HER2))
    truth |= {f"alpha[{h}]": float(a) for h, a in zip(HER2, alpha, strict=True)}
    return _counted(rng, design, softmax(alpha + beta), truth)


def draw_dirichlet(rng: np.random.Generator, design: Design) -> Simulated:
    """``her2_distribution_dirichlet``: common shares uniform, concentration log-normal(3, 1.15)."""
    mean = rng.dirichlet(np.ones(len(HER2)))
    truth = {f"mean[{h}]": float(m) for h, m in zip(HER2, mean, strict=True)}

    def amount(name: str, levels: int) -> float:
        if levels < 3:
            return float(np.exp(3.0))
        truth[name] = float(rng.lognormal(3.0, 1.15))
        return truth[name]

    centre = {"": mean}
    if design.parent:
        known = dict.fromkeys(design.parent)
        weight = amount("parent_concentration", len(known))
        centre = {name: _dirichlet(rng, weight * mean) for name in known}
    weight = amount("concentration", len(design.levels))
    parent = design.parent or ("",) * len(design.levels)
    share = np.stack([_dirichlet(rng, weight * centre[name]) for name in parent])
    return _counted(rng, design, share, truth)


def draw_ordered(rng: np.random.Generator, design: Design) -> Simulated:
    """``her2_distribution_ordered``: uniform baseline shares, one shift of the log odds a level."""
    baseline = rng.dirichlet(np.ones(len(HER2)))
    beta, truth = effects(rng, design, 1)
    below = np.cumsum(baseline)[:-1]
    cumulated = 1.0 / (1.0 + np.exp(-(np.log(below / (1.0 - below)) - beta)))
    ends = np.concatenate([np.zeros_like(beta), cumulated, np.ones_like(beta)], axis=1)
    truth |= {f"baseline[{h}]": float(b) for h, b in zip(HER2, baseline, strict=True)}
    return _counted(rng, design, np.diff(ends, axis=1), truth)


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
    rows = [[_dirichlet(rng, row) for row in weight] for _ in design.levels]
    return _paired(rng, design, np.array(rows), {})


def _dirichlet(rng: np.random.Generator, weight: np.ndarray) -> np.ndarray:
    return rng.dirichlet(np.maximum(weight, 1e-8))


def _counted(
    rng: np.random.Generator, design: Design, share: np.ndarray, truth: Truth
) -> Simulated:
    counts = status_counts(
        rng, list(design.patients.values()), share, levels=design.levels,
        factor=design.factor, parent=design.parent or None,
    )  # fmt: skip
    for s, level in enumerate(design.levels):
        truth |= {f"share[{h} | {level}]": float(share[s, j]) for j, h in enumerate(HER2)}
    truth["log_likelihood"] = float((counts.values * np.log(np.maximum(share, 1e-300))).sum())
    return Simulated(counts, truth)


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


def shares_of(design: Design, data: Any, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of a distribution model, ``log_likelihood`` of the data last."""
    found: Draws = {}
    for name in ("alpha", "mean", "baseline"):
        if name in posterior:
            found |= {f"{name}[{h}]": posterior[name].sel(her2=h) for h in HER2}
    if "tau" in posterior:
        found |= {f"tau[{f}]": posterior["tau"].sel(family=f) for f in ("parent", "level")}
    found |= {n: posterior[n] for n in ("concentration", "parent_concentration") if n in posterior}
    share = posterior["share"]
    for level in design.levels:
        found |= {f"share[{h} | {level}]": share.sel(subgroup=level, her2=h) for h in HER2}
    terms = data.drop_vars(["factor", "level", "parent"]) * np.log(np.maximum(share, 1e-300))
    return found | {"log_likelihood": terms.sum(("subgroup", "her2"))}


def transitions_of(design: Design, data: xr.Dataset, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of a transition model, ``log_likelihood`` of the data last."""
    found: Draws = {}
    if "deviation_sd" in posterior and len(design.levels) > 1:
        found["deviation_sd"] = posterior["deviation_sd"].sel(factor=design.factor)
    rows, primary = posterior["transition"], posterior["primary_share"]
    for level in design.levels:
        at = rows.sel(stratum=level)
        stays = xr.concat([at.sel(her2_primary=h, her2=h, drop=True) for h in HER2], "her2_primary")
        stays = stays.assign_coords(her2_primary=list(HER2))
        share = primary.sel(stratum=level)
        found[f"discordance[{level}]"] = 1.0 - (share * stays).sum("her2_primary")
        for i in HER2:
            for j in HER2:
                found[f"transition[{i} -> {j} | {level}]"] = at.sel(her2_primary=i, her2=j)
    counts = data["counts"].rename(primary_reading="her2_primary", recurrence_reading="her2")
    counts = counts.drop_vars(design.factor)
    terms = counts * np.log(np.maximum(primary * rows, 1e-300))
    return found | {"log_likelihood": terms.sum(("stratum", "her2_primary", "her2"))}

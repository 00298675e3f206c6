"""Calibration of the models of HER2 status: shares from each stated prior, patients counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.calibration.designs import (
    Design,
    Draws,
    Simulated,
    Truth,
    centred,
    dirichlet,
    effects,
    softmax,
)
from her2bayes.calibration.kinds import Kind, by_factor
from her2bayes.evidence.simulate import HER2, status_counts


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
        centre = {name: dirichlet(rng, weight * mean) for name in known}
    weight = amount("concentration", len(design.levels))
    parent = design.parent or ("",) * len(design.levels)
    share = np.stack([dirichlet(rng, weight * centre[name]) for name in parent])
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


KINDS: Mapping[str, Kind] = {
    "her2_distribution": Kind(draw_multinomial, shares_of, by_factor),
    "her2_distribution_dirichlet": Kind(draw_dirichlet, shares_of, by_factor),
    "her2_distribution_ordered": Kind(draw_ordered, shares_of, by_factor),
}

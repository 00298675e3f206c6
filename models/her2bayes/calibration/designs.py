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

from her2bayes.inference.own_model import module_of

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
        return importlib.import_module(str(module_of(self.model))).build


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


def dirichlet(rng: np.random.Generator, weight: np.ndarray) -> np.ndarray:
    """Shares from a Dirichlet whose weights may be as good as zero."""
    return rng.dirichlet(np.maximum(weight, 1e-8))

"""Posterior of one prior from draws under a wider one, where importance weights allow it.

Weights are the ratio of the joint densities p(parameters, data) of the two models at the same
parameters, Pareto-smoothed (Vehtari, Simpson, Gelman, Yao and Gabry 2024, Journal of Machine
Learning Research 25:72). From a wider prior to a narrower one they are bounded. They are refused,
and the scenario refitted, unless Pareto k-hat < min(0.7, 1 - 1/log10 S) and the effective sample
size of the weighted draws is 400 or more.

How much a quantity moves when its prior, or its likelihood, is raised to a power near 1.

Sensitivity is the gradient of the cumulative Jensen-Shannon distance between the posterior and
the power-scaled one (Kallioinen, Paananen, Buerkner and Vehtari 2024, Statistics and Computing
34:57), by ArviZ. Above 0.05 for the prior and for the likelihood at once: the two disagree; above
0.05 for the prior alone: the prior is strong or the likelihood weak. Only priors of top-level
parameters are scaled: scaling effects of groups would change how much they are pooled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.inference.convergence import ESS_MIN
from her2bayes.inference.fit import Specification, without_padding
from her2bayes.inference.structure import compiler_flags

THRESHOLD = 0.05
CONFLICT = "prior and data disagree"
STRONG = "strong prior or weak data"
CLEAN = ""


def power_scaling(
    quantities: Mapping[str, xr.DataArray],
    likelihood: xr.Dataset,
    log_prior: xr.Dataset,
    top_level: Sequence[str],
) -> dict[str, tuple[float, float]]:
    """Sensitivity of each quantity (chain, draw) to prior and to likelihood.

    A flat prior is the same whatever its power: sensitivity 0.
    """
    from arviz_stats import psense

    if not quantities:
        return {}
    stacked = xr.concat(
        [one.reset_coords(drop=True) for one in quantities.values()], "quantity",
        coords="minimal", compat="override",
    )  # fmt: skip
    posterior = xr.Dataset({"asked": stacked.transpose("chain", "draw", "quantity")})
    chosen = log_prior[[name for name in top_level if name in log_prior]]
    tree = xr.DataTree.from_dict(
        {"posterior": posterior, "log_likelihood": likelihood, "log_prior": chosen}
    )
    flat = bool(chosen.data_vars) and _is_flat(chosen)
    asked = {"prior": bool(chosen.data_vars) and not flat, "likelihood": True}
    found = {
        group: psense(tree, group=group)["asked"].to_numpy()
        if wanted
        else np.full(len(quantities), 0.0 if flat else np.nan)
        for group, wanted in asked.items()
    }
    pairs = zip(found["prior"], found["likelihood"], strict=True)
    return {
        name: (float(prior), float(likelihood))
        for name, (prior, likelihood) in zip(quantities, pairs, strict=True)
    }


def _is_flat(log_prior: xr.Dataset) -> bool:
    """Whether the log density is the same in all draws."""
    terms = (array.sum([d for d in array.dims if d not in ("chain", "draw")])
             for array in log_prior.values())  # fmt: skip
    total = np.asarray(sum(terms))
    return bool(np.ptp(total) < 1e-9)


def diagnosis(prior: float, likelihood: float) -> str:
    """What the two sensitivities say together; empty where nothing is wrong."""
    if not prior > THRESHOLD:
        return CLEAN
    return CONFLICT if likelihood > THRESHOLD else STRONG


@dataclass(frozen=True)
class Weights:
    """Smoothed weights (chain, draw) that sum to 1, with what judges them."""

    weight: xr.DataArray
    k_hat: float
    ess: float

    @property
    def accepted(self) -> bool:
        """Whether estimates from these weights can be trusted."""
        draws = self.weight.size
        return bool(self.k_hat < k_limit(draws) and self.ess >= ESS_MIN)


def k_limit(draws: int) -> float:
    """Largest Pareto k-hat at which ``draws`` draws suffice: min(0.7, 1 - 1/log10 S)."""
    return min(0.7, 1 - 1 / np.log10(draws))


def smoothed(log_ratio: xr.DataArray, relative_ess: float = 1.0) -> Weights:
    """Pareto-smooth log importance ratios (chain, draw).

    ``relative_ess``: effective over actual number of the draws themselves; the effective sample
    size of the weighted ones is Kish's, 1 / sum w^2, times it.
    """
    from arviz_stats.base import array_stats

    values = log_ratio.transpose("chain", "draw").to_numpy()
    if not np.isfinite(values).all():
        return Weights(xr.full_like(log_ratio, 1 / log_ratio.size), np.inf, 0.0)
    if np.ptp(values) < 1e-9:  # the same density: every draw counts alike
        equal = xr.full_like(log_ratio, 1 / log_ratio.size)
        return Weights(equal, -np.inf, log_ratio.size * min(1.0, relative_ess))
    # ArviZ takes what is to be left out, the negative of the log ratio
    log_weight, k_hat = array_stats.psislw(-values.ravel(), r_eff=min(1.0, relative_ess))
    weight = np.exp(log_weight - log_weight.max())
    weight = weight / weight.sum()
    ess = min(1.0, relative_ess) / float(np.square(weight).sum())
    shaped = log_ratio.transpose("chain", "draw").copy(data=weight.reshape(values.shape))
    return Weights(shaped, float(k_hat), ess)


def relative_ess(quantities: Iterable[xr.DataArray]) -> float:
    """Least bulk ESS of quantities (chain, draw), as a share of the draws; at most 1."""
    from arviz_stats.base import array_stats

    least = 1.0
    for draws in quantities:
        values = draws.transpose("chain", "draw").to_numpy()
        least = min(least, float(array_stats.ess(values, method="bulk")) / values.size)
    return least


def joint(
    spec: Specification, draws: xr.Dataset, model: Any = None
) -> tuple[xr.DataArray, xr.Dataset]:
    """Log joint density of a model at draws of its parameters, and its derived variables there.

    ``draws`` as sampled (padding included), from a model of the same structure. The function is
    made once for a structure; data and priors enter as values. ``model`` is that of ``spec``, where
    it was built before.
    """
    with compiler_flags():
        return _joint(spec.model() if model is None else model, draws)


def _joint(model: Any, draws: xr.Dataset) -> tuple[xr.DataArray, xr.Dataset]:
    from her2bayes.inference.densities import derived, log_densities

    coords = {dim: draws[dim] for dim in ("chain", "draw")}
    total = xr.DataArray(0.0, coords=coords, dims=tuple(coords))
    for group in log_densities(model, draws):
        for term in group.values():
            total = total + term.sum([dim for dim in term.dims if dim not in coords])
    return total, without_padding(derived(model, draws))


def weighted_mean(values: xr.DataArray, weight: xr.DataArray) -> float:
    """Mean of draws under weights that sum to 1."""
    return float((values * weight).sum())


def weighted_quantiles(
    values: np.ndarray, weight: np.ndarray, at: tuple[float, ...]
) -> tuple[float, ...]:
    """Quantiles of weighted draws: interpolated between the midpoints of the cumulated weights."""
    order = np.argsort(values)
    cumulated = np.cumsum(weight[order])
    middle = (cumulated - 0.5 * weight[order]) / cumulated[-1]
    return tuple(float(q) for q in np.interp(at, middle, values[order]))

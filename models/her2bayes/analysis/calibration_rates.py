"""Calibration of the models of responses: rates and best responses from their stated priors."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from scipy.special import expit, logit

from her2bayes.analysis.calibration_designs import Design, Draws, Simulated, Truth, effects
from her2bayes.evidence.simulate import status_counts
from her2bayes.posterior.response import group_rate, rates

BEST = ("CR", "PR", "SD", "PD")
GROUPS = {"orr": BEST[:2], "dcr": BEST[:3]}
EXCHANGEABLE = 0.5
"""Prior weight of exchangeability of a level in ``response``."""


def draw_response(rng: np.random.Generator, design: Design) -> Simulated:
    """``response``: each level exchangeable (mu ~ N(0, 2), tau ~ |N(0, 1)|) or alone, N(0, 2)."""
    mu, tau, levels = rng.normal(0.0, 2.0), abs(rng.normal(0.0, 1.0)), len(design.levels)
    together = rng.random(levels) < EXCHANGEABLE
    log_odds = np.where(together, mu + tau * rng.normal(size=levels), rng.normal(0, 2.0, levels))
    responders = [
        int((rng.random(patients) < rate).sum())
        for patients, rate in zip(design.patients.values(), expit(log_odds), strict=True)
    ]
    counts = xr.Dataset(
        {
            "responders": ("subgroup", np.array(responders)),
            "patients": ("subgroup", np.array(list(design.patients.values()))),
        },
        coords={"subgroup": design.levels},
    )
    truth: Truth = {"mu": float(mu), "tau": float(tau)}
    truth |= {f"rate[{n}]": float(p) for n, p in zip(design.levels, expit(log_odds), strict=True)}
    truth["log_likelihood"] = float(binomial(counts["responders"], counts["patients"], log_odds))
    return Simulated(counts, truth)


def response_of(design: Design, data: xr.Dataset, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of ``response``."""
    seed = int(data["responders"].sum()) + posterior.sizes["draw"]  # of the parts of the mixture
    rate = rates(posterior, seed).sel(subgroup=design.levels)
    found: Draws = {name: posterior[name] for name in ("mu", "tau")}
    found |= {f"rate[{name}]": rate.sel(subgroup=name) for name in design.levels}
    return found | {"log_likelihood": binomial(data["responders"], data["patients"], logit(rate))}


def binomial(count: xr.DataArray, patients: xr.DataArray, log_odds: Any) -> Any:
    """Binomial log likelihood without its constant, summed over what is counted."""
    terms = count * log_odds - patients * np.logaddexp(0.0, log_odds)
    return terms.sum(count.dims)


def draw_best_response(rng: np.random.Generator, design: Design) -> Simulated:
    """``best_response``: uniform baseline shares of CR to PD, one shift of the log odds a level."""
    baseline = rng.dirichlet(np.ones(len(BEST)))
    beta, truth = effects(rng, design, 1)
    below = expit(logit(np.cumsum(baseline)[:-1]) - beta)
    share = np.diff(np.concatenate([0 * beta, below, 0 * beta + 1], axis=1), axis=1)
    counts = status_counts(
        rng, list(design.patients.values()), share, her2=BEST, levels=design.levels
    )
    counts = counts.rename(her2="category")
    truth |= {f"baseline[{c}]": float(b) for c, b in zip(BEST, baseline, strict=True)}
    for level, row in zip(design.levels, share, strict=True):
        truth |= {f"share[{c} | {level}]": float(p) for c, p in zip(BEST, row, strict=True)}
        truth |= {f"{g}[{level}]": float(row[: len(inside)].sum()) for g, inside in GROUPS.items()}
    truth["log_likelihood"] = float((counts.values * np.log(np.maximum(share, 1e-300))).sum())
    return Simulated(counts, truth)


def best_response_of(design: Design, data: xr.DataArray, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of ``best_response``."""
    found: Draws = {f"baseline[{c}]": posterior["baseline"].sel(category=c) for c in BEST}
    if len(design.levels) > 2:
        found["tau[level]"] = posterior["tau"].sel(family="level")
    for level in design.levels:
        share = posterior["share"].sel(subgroup=level)
        found |= {f"share[{c} | {level}]": share.sel(category=c) for c in BEST}
        found |= {f"{g}[{level}]": group_rate(share, inside) for g, inside in GROUPS.items()}
    share = posterior["share"].sel(subgroup=design.levels)
    terms = data.drop_vars(["factor", "level", "parent"]) * np.log(np.maximum(share, 1e-300))
    return found | {"log_likelihood": terms.sum(("subgroup", "category"))}

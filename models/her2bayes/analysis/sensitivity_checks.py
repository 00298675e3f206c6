"""Predictive checks of scenarios: a model that does not make data like these answers nothing."""

from __future__ import annotations

import numpy as np
import xarray as xr

from her2bayes.inference.refit import Specification, without_padding
from her2bayes.posterior.predictive import RARE, predictive_checks

_RESAMPLED = 1000  # draws that a predictive check of re-weighted ones uses


def resampled(draws: xr.Dataset, weight: xr.DataArray, seed: int) -> xr.Dataset:
    """Draws in proportion to their weights, as one chain."""
    chances = weight.transpose("chain", "draw").to_numpy().ravel()
    rng = np.random.default_rng([seed, 9])
    picks = rng.choice(chances.size, _RESAMPLED, p=chances / chances.sum())
    chain, draw = (
        xr.DataArray(place, dims="draw")
        for place in np.unravel_index(picks, (draws.sizes["chain"], draws.sizes["draw"]))
    )
    found = draws.isel(chain=chain, draw=draw)
    return found.drop_vars(["chain", "draw"], errors="ignore").expand_dims("chain")


def failed_checks(tree: xr.DataTree) -> str:
    """Predictive checks that a fit fails at one of its draws, in words; empty where it passes."""
    checks = predictive_checks(tree)
    failed = [
        f"{row['statistic']} {row['posterior_observed']:.4g}, replicates "
        f"{row['posterior_lower']:.4g} to {row['posterior_upper']:.4g}"
        for row in checks.to_dict("records")
        if row["posterior_tail"] < RARE
    ]
    return f"fails its predictive check: {'; '.join(failed)}" if failed else ""


def checked(spec: Specification, raw: xr.Dataset, seed: int) -> str:
    """Check draws of a scenario's model against its own data."""
    from her2bayes.inference import densities, engine

    with engine.compiler_flags():
        model = spec.model()
        replicates = without_padding(densities.replicates(model, raw, seed))
        seen = without_padding(densities.observed_data(model))
    groups = {"replicates": replicates, "prior_predictive": replicates}
    return failed_checks(xr.DataTree.from_dict({**groups, "observed_data": seen}))

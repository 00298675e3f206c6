"""Rates from draws of ``response``: which part of the mixture each draw of a level belongs to."""

from __future__ import annotations

import numpy as np
import xarray as xr


def rates(draws: xr.Dataset, seed: int, weight: float | None = None) -> xr.DataArray:
    """Return draws of the rate of each level (dims of ``draws``), between 0 and 1.

    A draw is that of the exchangeable part with probability ``together``, else that of the level
    on its own. Draws from the prior have seen no data: give them their ``weight`` instead.
    """
    share = draws["together"] if weight is None else xr.full_like(draws["together"], weight)
    chosen = np.random.default_rng(seed).uniform(size=share.shape) < share
    rate = draws["rate_together"].where(chosen, draws["rate_alone"])
    return rate.transpose("chain", "draw", ...).rename("rate")


def exchangeable(draws: xr.Dataset) -> xr.DataArray:
    """Return by level the posterior probability that it is exchangeable with the others."""
    return draws["together"].mean(("chain", "draw"))


def group_rate(shares: xr.DataArray, categories: tuple[str, ...]) -> xr.DataArray:
    """Return the rate of a group of best responses: the sum of their shares (dim ``category``)."""
    return shares.sel(category=list(categories)).sum("category")

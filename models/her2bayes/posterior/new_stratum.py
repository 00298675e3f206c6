"""Transition matrix of a stratum not among the data: a new centre, a new level of every factor.

    mean | centre, sd   normal: precision-weighted between prior mean and centre
    log odds of the new stratum = mean + sum_f Normal(0, sd_f)

Factors in ``known`` are held at their average instead: a new study of the usual mix of patients.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import xarray as xr

from her2bayes.bayes.prior import Prior
from her2bayes.bayes.transition_design import changes
from her2bayes.bayes.transition_rows import log_odds_mean


def new_stratum(
    draws: xr.Dataset,
    mean_share: xr.DataArray,
    priors: Mapping[str, Prior],
    *,
    known: Collection[str] = (),
    seed: int = 0,
) -> xr.DataArray:
    """Draws of the new stratum's rows (chain, draw, her2_primary, her2).

    ``draws`` holds ``centre`` (change) and ``deviation_sd`` (factor), posterior or prior;
    ``mean_share`` (factor) is that of ``transition_design.design``: 0 for padding.
    """
    rng = np.random.default_rng(seed)
    her2 = [str(name) for name in draws["her2"].values]
    share = mean_share.sel(factor=draws["factor"].values)
    mu, variance = log_odds_mean(priors, len(her2)), float(priors["log_odds"]["sigma"]) ** 2
    centre = draws["centre"].transpose("chain", "draw", "change")
    spread = (share * draws["deviation_sd"] ** 2).sum("factor").transpose("chain", "draw")
    weight = variance / (variance + spread)
    mean = mu + weight * (centre - mu)
    noise = _like(centre, rng) * np.sqrt(weight * spread)
    used = (share > 0) & ~share["factor"].isin(list(known))
    between = (draws["deviation_sd"] ** 2).where(used, 0.0).sum("factor")
    log_odds = mean + noise + _like(centre, rng) * np.sqrt(between)
    logits = (log_odds * changes(her2)).sum("change")
    odds = xr.DataArray(np.exp(logits - logits.max("her2")))
    return (odds / odds.sum("her2")).transpose("chain", "draw", "her2_primary", "her2")


def _like(draws: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
    return draws.copy(data=rng.standard_normal(draws.shape))

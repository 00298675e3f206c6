"""Rows of the transition matrix and shares of the primary: the part all transition models share.

    log(P[s,i,j] / P[s,i,i]) = mean[i,j] + sum_f deviation_f[level of s in f, i, j]        j != i
    mean[i,j]         ~ Normal(-1.5 - log((k - 1) / 2), 1)         k classes
    deviation_f[l,.]  ~ Normal(0, sd_f)                            one for each level of a factor
    sd_f              ~ HalfNormal(0.5)
    primary_share[s,] ~ Dirichlet(1, ..., 1)

Factors are crossed (effects add up) or nested (levels of the child within one level of the parent:
the child's deviations then are deviations from the parent's). Written in the graph as

    log odds = centre + contrast effect,   effect ~ Normal(0, sd),
    centre ~ Normal(prior mean, sqrt(1 + sum_f sd_f^2 / L_f)),   mean given centre: normal

which is the same distribution (``transition_design``) without a ridge between mean and deviations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.bayes.prior import Prior, prior
from her2bayes.bayes.transition_design import STUDY, changes, parameters

ROW_PRIORS = {
    # odds of one change against staying about 0.22 (95 % 0.03 to 1.6) with three classes; a median
    # discordance of 37 %, 95 % 11 to 71 %
    "log_odds": prior("Normal", mu=-1.5, sigma=1.0),
    # odds of a change differ between levels of a factor by a factor of 1.4 typically, rarely 7
    "stratum_sd": prior("HalfNormal", sigma=0.5),
    # the same between studies
    "study_sd": prior("HalfNormal", sigma=0.5),
    # primary classes: any composition alike
    "primary_share": prior("Dirichlet", a=1.0),
}


def log_odds_mean(priors: Mapping[str, Prior], k: int) -> float:
    """Prior mean of log(P_ij / P_ii): fewer odds each the more classes there are to change to."""
    return float(parameters(priors, "log_odds", "Normal")["mu"] - np.log((k - 1) / 2))


def sd_scales(priors: Mapping[str, Prior], factors: list[str]) -> list[float]:
    """Scale of the half-normal prior of each factor's spread."""
    name = {STUDY: "study_sd"}
    return [
        float(parameters(priors, name.get(factor, "stratum_sd"), "HalfNormal")["sigma"])
        for factor in factors
    ]


def coordinates(design: xr.Dataset, her2: list[str]) -> dict[str, list[str]]:
    """Labelled dims of the rows; factors without a spread to learn are padding."""
    place = changes(her2)
    known = {str(dim): list(place[dim].values) for dim in place.dims}
    return known | {dim: list(design[dim].values) for dim in ("stratum", "effect", "factor")}


def logistic_rows(design: xr.Dataset, her2: list[str], priors: Mapping[str, Prior]) -> Any:
    """Transition probabilities (stratum, her2_primary, her2) in the model at hand."""
    import pymc.dims as pmd

    mu = pmd.Data("log_odds_mu", np.asarray(log_odds_mean(priors, len(her2))))
    sigma = pmd.Data("log_odds_sigma", np.asarray(float(priors["log_odds"]["sigma"])))
    factors = [str(name) for name in design["factor"].values]
    scale = pmd.Data("sd_scale", xr.DataArray(sd_scales(priors, factors), dims="factor"))
    contrast, member, mean_share, centring = (
        pmd.Data(name, design[name].drop_vars(list(design[name].coords)))
        for name in ("contrast", "member", "mean_share", "centring")
    )
    place = changes(her2)
    place = pmd.math.as_xtensor(place.values, dims=place.dims)

    sd = scale * pmd.HalfNormal("sd_unit", sigma=1.0, dims="factor")
    variance = (mean_share * sd**2).sum("factor")
    centre = pmd.Normal("centre", mu, pmd.math.sqrt(sigma**2 + variance), dims="change")
    effect_sd = pmd.math.dot(member, sd, dim="factor") + (1.0 - member.sum("factor"))
    effect_raw = pmd.Normal("effect_raw", 0.0, effect_sd**centring, dims=("effect", "change"))
    effect = effect_raw * effect_sd ** (1.0 - centring)
    log_odds = centre + pmd.math.dot(contrast, effect, dim="effect")
    logits = pmd.math.dot(log_odds, place, dim="change")
    transition = pmd.math.softmax(logits, dim="her2")

    residual = pmd.Normal("mean_residual", 0.0, 1.0, dims="change")
    total = sigma**2 + variance
    mean = mu + (centre - mu) * sigma**2 / total
    mean = mean + residual * sigma * pmd.math.sqrt(variance / total)
    pmd.Deterministic("log_odds_mean", mean, dims=("change",))
    pmd.Deterministic("deviation_sd", sd, dims=("factor",))
    return pmd.Deterministic(
        "transition", transition.transpose("stratum", "her2_primary", "her2")
    )


def dirichlet_rows(design: xr.Dataset, her2: list[str], total: float, stays: float) -> Any:
    """Independent Dirichlet rows of every stratum: ``total`` prior patients, ``stays`` mean."""
    import pymc.dims as pmd

    k = len(her2)
    mean = np.full((k, k), (1 - stays) / (k - 1)) + np.eye(k) * (stays - (1 - stays) / (k - 1))
    row = pmd.Data("row_concentration", xr.DataArray(total * mean, dims=("her2_primary", "her2")))
    return pmd.Dirichlet(
        "transition", a=row, core_dims="her2", dims=("stratum", "her2_primary", "her2")
    )


def primary_shares(priors: Mapping[str, Prior]) -> Any:
    """Shares of the primary classes (stratum, her2_primary) in the model at hand."""
    import pymc.dims as pmd
    from pymc import modelcontext

    k = len(modelcontext(None).coords["her2_primary"])
    each = float(parameters(priors, "primary_share", "Dirichlet")["a"])
    a = pmd.Data("share_concentration", xr.DataArray(np.full(k, each), dims="her2_primary"))
    return pmd.Dirichlet(
        "primary_share", a=a, core_dims="her2_primary", dims=("stratum", "her2_primary")
    )

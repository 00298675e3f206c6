"""Rows of the transition matrix and shares of the primary: the part all transition models share.

    log(P[s,i,j] / P[s,i,i]) = mean[i,j] + sum_f deviation_f[level of s in f, i, j]        j != i
    mean[i,j]         ~ Normal(-1.5 - log((k - 1) / 2), 1)         k classes
    deviation_f[l,.]  ~ Normal(0, sd_f)                            one for each level of a factor
    sd_f              ~ HalfNormal(0.5)
    primary_share[s,] ~ Dirichlet(1, ..., 1)

Factors are crossed (effects add up) or nested (levels of the child within one level of the parent:
the child's deviations then are deviations from the parent's). Written in the graph as

    log odds = centre + contrast effect,    effect ~ Normal(0, sd),
    centre   ~ Normal(prior mean, sqrt(1 + sum_f sd_f^2 / L_f))         L_f levels of factor f

which is the same distribution (``transition_design``) without a ridge between mean and deviations;
``mean`` given ``centre`` is normal and drawn where a new stratum asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.bayes.prior import Prior, prior
from her2bayes.transition.design import STUDY, changes, parameters

_MATRIX = ("her2_primary", "her2")

ROW_PRIORS = {
    "log_odds": prior(
        "Normal",
        mu=-1.5,
        sigma=1.0,
        means="odds of one change against staying 0.22 (95 % 0.03 to 1.6) with three classes: a "
        "row changes class with median 35 % (11 to 71), three such rows on "
        "average with 37 % (20 to 56)",
    ),
    "stratum_sd": prior(
        "HalfNormal",
        sigma=0.5,
        means="odds of a change differ between levels of a factor 1.3 times (median), 95 % below "
        "4.7",
    ),
    "study_sd": prior(
        "HalfNormal",
        sigma=0.5,
        means="odds of a change differ between studies 1.3 times (median), 95 % below 4.7",
    ),
    "primary_share": prior("Dirichlet", a=1.0, means="primary classes: any composition alike"),
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
    known["read_pair"] = [f"{first}->{second}" for first in her2 for second in her2]
    known["cell"] = list(range(design.sizes["stratum"] * len(her2) ** 2))
    return known | {dim: list(design[dim].values) for dim in ("stratum", "effect", "factor")}


def logistic_rows(design: xr.Dataset, her2: list[str], priors: Mapping[str, Prior]) -> Any:
    """Transition probabilities (stratum, her2_primary, her2) in the model at hand."""
    import pymc.dims as pmd

    from her2bayes.bayes.crossing import number

    mu = number("log_odds_mu", log_odds_mean(priors, len(her2)))
    sigma = number("log_odds_sigma", priors["log_odds"]["sigma"])
    factors = [str(name) for name in design["factor"].values]
    scale = pmd.Data("sd_scale", xr.DataArray(sd_scales(priors, factors), dims="factor"))
    contrast, member, mean_share, information = (
        pmd.Data(name, design[name].drop_vars(list(design[name].coords)))
        for name in ("contrast", "member", "mean_share", "information")
    )
    place = changes(her2)
    place = pmd.math.as_xtensor(place.values, dims=place.dims)

    sd = pmd.HalfNormal("deviation_sd", sigma=scale, dims="factor")
    spread = pmd.math.sqrt(sigma**2 + mean_share.dot(sd**2, dim="factor"))
    centre = pmd.Normal("centre", mu, spread, dims="change")
    effect_sd = member.dot(sd, dim="factor")
    # the more is known of an effect, the more it is sampled as it is and not in units of its sd
    stretch = pmd.math.sqrt(1 + information * effect_sd**2)
    raw = pmd.Normal("effect_raw", 0.0, stretch, dims=("effect", "change"))
    effect = raw * (effect_sd / stretch)
    log_odds = centre + contrast.dot(effect, dim="effect")
    logits = log_odds.dot(place, dim="change")
    transition = pmd.math.softmax(logits, dim="her2")
    return pmd.Deterministic("transition", transition.transpose("stratum", *_MATRIX))


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


def observe_pairs(readings: xr.Dataset, strata: Any, flow: Any) -> None:
    """Observe pairs of readings, exact and of sets, as ``pair_readings`` splits them.

    ``flow`` (stratum, two dims of classes) holds probabilities of pairs of classes. ``pairs`` is
    multinomial, ``partial`` binomial: n of n patients within the sets.
    """
    import pymc.dims as pmd

    from her2bayes.bayes.crossing import multinomial

    bare = readings.drop_vars("pairs").reindex(stratum=list(strata), fill_value=0)
    bare = bare.drop_vars(list(bare.coords))
    exact = bare["exact"].stack(read_pair=_MATRIX, create_index=False)
    share = flow.stack({"read_pair": [dim for dim in flow.type.dims if dim != "stratum"]})
    multinomial("pairs", pmd.Data("pair_counts", exact), share)
    holds = bare["holds"].stack(cell=("stratum", *_MATRIX), create_index=False)
    patients = pmd.Data("patients", bare["patients"])
    inside = pmd.Data("holds", holds, dims=("pair", "cell")).dot(
        share.stack({"cell": ("stratum", "read_pair")}), dim="cell"
    )
    pmd.Binomial("partial", n=patients, p=inside, observed=patients)

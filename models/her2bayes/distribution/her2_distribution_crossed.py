"""HER2 status by crossed factors, from readings that may be sets of classes: logistic-normal.

For cell c (a combination of levels), HER2 class h, set of classes S, and effects e in terms t:

    exact[c, .]    ~ Multinomial(readings of one class, share[c, .])
    partial[c, S]  ~ Binomial(n[c, S], sum over h in S of share[c, h])    all n of n lie in the set
    share[c, .]    = softmax over h of alpha[h] + beta[c, h]
    beta[c, h]     = sum over e of contrast[c, e] * effect[e, h]
    effect[e, .]   = raw[e, .] * scale[e] / stretch[e]
    raw[e, .]      ~ ZeroSumNormal(stretch[e])                            over h
    stretch[e]     = sqrt(1 + information[e] * scale[e]^2)
    scale[e]       = tau[t of e] if learned[e], else fixed_tau, or fixed_interaction
    tau[t]         ~ HalfNormal, with a scale for factors, interactions, exchangeable factors
    alpha          ~ ZeroSumNormal(sqrt(sigma^2 + sum over exchangeable t of tau[t]^2 / levels[t]))

Terms are the factors and every pair of them; contrasts (Helmert, of a pair: products) are
orthonormal and sum to zero over the levels of each factor. Scales are those of the normal before it
is made to sum to zero, as in ``her2_distribution``, which this model is for one factor and readings
of one class. A spread is learned where a term has two or more effects; else it is fixed.

Groups of an exchangeable factor (centres, years) are a sample: effect of a group ~ N(0, tau), not
summing to zero over the groups at hand. Their mean joins alpha, which has the wider prior above;
given alpha it is normal, and is taken out again where a new group is asked for. It has no
interactions: what a factor does is taken to be the same in all groups.

Sets enter as the sum over their classes, which is right where the set recorded depends on the class
only through the set (coarsening at random: Heitjan and Rubin 1991, Annals of Statistics 19:2244).
An unknown reading adds nothing to the likelihood: missing at random within its cell.

Not identified: a class that no single reading and no difference of sets tells apart from another
(its share within the set stays at the prior); the interaction at combinations of levels without
patients; tau of an exchangeable factor with two or three groups, which stays near its prior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from her2bayes.bayes.levels import multinomial, number
from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.distribution.cells import KINDS, design

if TYPE_CHECKING:
    import pymc as pm

DEFAULT_PRIORS = {
    "alpha": prior(
        "ZeroSumNormal",
        sigma=1.5,
        means="with three categories any one share: median 25 %, 95 % between 0.8 and 93 %",
    ),
    "tau": prior(
        "HalfNormal",
        sigma=0.5,
        means="spread between levels of a factor: median 0.34, 95 % below 0.98 on the logit scale",
    ),
    "fixed_tau": prior(
        "Constant",
        value=0.75,
        means="two levels: where one has 50 %, the other has 95 % between 5 and 91 %",
    ),
    "interaction": prior(
        "HalfNormal",
        sigma=0.25,
        means="departure of a pair of factors from adding up: median 0.17, 95 % below 0.49 on the "
        "logit scale",
    ),
    "fixed_interaction": prior(
        "Constant",
        value=0.375,
        means="two by two levels: odds ratio in one level 95 % within 1/8 and 8 times the other's",
    ),
    "exchangeable": prior(
        "HalfNormal",
        sigma=0.5,
        means="spread between groups: median 0.34, 95 % below 0.98 on the logit scale",
    ),
}


def build(
    cells: xr.Dataset,
    priors: Mapping[str, Prior] | None = None,
    *,
    exchangeable: Sequence[str] = (),
    interactions: bool = True,
) -> pm.Model:
    """Return the model of StatusCells (``counts``, ``incidence``, factors on ``subgroup``).

    ``exchangeable`` names factors whose levels are a sample of groups; ``interactions`` False
    leaves pairs of factors out. Data and prior scales are data variables. Raises ``BadInput`` for
    an unknown prior name and for what are no StatusCells.
    """
    import pymc as pm
    import pymc.dims as pmd

    priors = complete(priors, DEFAULT_PRIORS, same_family=True)
    data = design(cells, exchangeable, interactions=interactions)
    by_kind = dict(zip(KINDS, ("tau", "interaction", "exchangeable"), strict=True))
    scales = np.array([priors[by_kind[kind]]["sigma"] for kind in KINDS])[data["kind"].values]
    dims = [dim for dim in data.dims if data.sizes[dim]]
    with pm.Model(coords={dim: data[dim].values for dim in dims}) as model:
        y, contrast, member, learned, interacts, information, mean_share = (
            pmd.Data(f"{name}_data", data[name].values, dims=data[name].dims)
            for name in (
                "exact", "contrast", "member", "learned", "interacts", "information", "mean_share"
            )
        )  # fmt: skip
        tau_scale = pmd.Data("tau_scale", scales, dims="term")
        alpha_scale = number("alpha_scale", priors["alpha"]["sigma"])
        fixed_tau, fixed_interaction = (
            number(name, priors[name]["value"]) for name in ("fixed_tau", "fixed_interaction")
        )
        fixed = fixed_tau * (1 - interacts) + fixed_interaction * interacts

        tau = pmd.HalfNormal("tau", sigma=tau_scale, dims="term")
        width = pmd.math.sqrt(alpha_scale**2 + (mean_share * tau**2).sum("term"))
        alpha = pmd.ZeroSumNormal("alpha", sigma=width, core_dims="her2")
        scale = learned * (member * tau).sum("term") + (1 - learned) * fixed
        stretch = pmd.math.sqrt(1 + information * scale**2)
        raw = pmd.ZeroSumNormal("raw", sigma=stretch, core_dims="her2")
        effect = pmd.Deterministic("effects", raw * scale / stretch)
        beta = (contrast * effect).sum("effect")
        logit = (alpha + beta).transpose("subgroup", "her2")
        share = pmd.Deterministic("share", pmd.math.softmax(logit, dim="her2"))
        multinomial("observed_counts", y, share)
        if data.sizes["set"]:
            holds = pmd.Data("holds_data", data["holds"].values, dims=("set", "her2"))
            inside = (share * holds).sum("her2")
            n = pmd.Data("partial_data", data["partial"].values, dims=("subgroup", "set"))
            pmd.Binomial("partial", n=n, p=inside, observed=n)
    return model

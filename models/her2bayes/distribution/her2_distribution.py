"""HER2 status across subgroups: hierarchical multinomial with logits that sum to zero.

For subgroup s, HER2 category h, and effects e in families f (levels; parents of nested levels):

    counts[s, .]   ~ Multinomial(patients[s], share[s, .])
    share[s, .]    = softmax over h of alpha[h] + beta[s, h]
    beta[s, h]     = sum over e of contrast[s, e] * effect[e, h]
    effect[e, .]   = raw[e, .] * scale[e] / stretch[e]
    raw[e, .]      ~ ZeroSumNormal(stretch[e])                    over h
    stretch[e]     = sqrt(1 + information[e] * scale[e]^2)
    scale[e]       = tau[f of e] if learned[e], else fixed_tau
    tau[f]         ~ HalfNormal
    alpha          ~ ZeroSumNormal                                over h

The columns of ``contrast`` are orthonormal and sum to zero (``bayes.levels``), so beta sums to
zero over levels and over categories. Scales are those of the normal before it is made to sum to
zero: for K categories and L levels alpha[h] has sd sigma*sqrt(1-1/K), beta[s, h] has sd
tau*sqrt((1-1/L)(1-1/K)), and the logits of two levels differ with sd tau*sqrt(2(1-1/K)). No
category is a baseline, so that no choice of one changes the prior.

tau is learned where a family has two or more effects (three or more levels); two levels cannot
teach it, and it stays at fixed_tau. Nested levels (site within type of relapse) share this one
likelihood, with effects of parents and, within each parent, of levels.

``stretch`` changes the geometry that a sampler sees, never the model: with ``information`` the
Fisher information of the counts on an effect, raw is the non-centred form where the data say little
(information * scale^2 << 1), the centred one where they say much, and between the two its posterior
sd stays near 1 whatever the scale, at 247 patients as at a million (partially non-centred forms:
Papaspiliopoulos, Roberts and Skold 2007, Statistical Science 22:59).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from her2bayes.bayes.levels import design, multinomial, number
from her2bayes.bayes.prior import Prior, complete, prior

if TYPE_CHECKING:
    import pymc as pm
    import xarray as xr

DEFAULT_PRIORS = {
    "alpha": prior(
        "ZeroSumNormal",
        sigma=1.5,
        means="with three categories any one share: median 25 %, 95 % between 0.8 and 93 %",
    ),
    "tau": prior(
        "HalfNormal",
        sigma=0.5,
        means="typical subgroup-to-subgroup spread: median 0.34, 95 % below 0.98 on the logit "
        "scale",
    ),
    "fixed_tau": prior(
        "Constant",
        value=0.75,
        means="two levels: where one has 50 %, the other has 95 % between 5 and 91 %",
    ),
}


def build(
    counts: xr.DataArray, priors: Mapping[str, Prior] | None = None, *, pooling: str = "partial"
) -> pm.Model:
    """Return the model of StatusCounts (dims ``subgroup``, ``her2``; coord ``parent`` if nested).

    ``pooling`` "partial" learns tau; "fixed" keeps it at ``fixed_tau`` whatever the number of
    levels (no pooling in the limit of a wide one); "complete" gives all subgroups one share. Data
    and prior scales are data variables. Raises ``BadInput`` for an unknown prior name.
    """
    import pymc as pm
    import pymc.dims as pmd

    priors = complete(priors, DEFAULT_PRIORS, same_family=True)
    data = design(counts, pooling)
    with pm.Model(coords={dim: data[dim].values for dim in data.dims}, check_bounds=False) as model:
        y, contrast, member, learned, information = (
            pmd.Data(name, data[name], dims=data[name].dims)
            for name in ("counts", "contrast", "member", "learned", "information")
        )
        alpha_scale = number("alpha_scale", priors["alpha"]["sigma"])
        tau_scale = number("tau_scale", priors["tau"]["sigma"])
        fixed_tau = number("fixed_tau", priors["fixed_tau"]["value"])

        alpha = pmd.ZeroSumNormal("alpha", sigma=alpha_scale, core_dims="her2")
        tau = pmd.HalfNormal("tau", sigma=tau_scale, dims="family")
        scale = learned * (member * tau).sum("family") + (1 - learned) * fixed_tau
        stretch = pmd.math.sqrt(1 + information * scale**2)
        raw = pmd.ZeroSumNormal("raw", sigma=stretch, core_dims="her2")
        effect = raw * scale / stretch
        beta = pmd.Deterministic("beta", (contrast * effect).sum("effect"))
        logit = (alpha + beta).transpose("subgroup", "her2")
        share = pmd.Deterministic("share", pmd.math.softmax(logit, dim="her2"))
        multinomial("observed_counts", y, share)
    return model

"""HER2 status across subgroups, alternative: ordered categories with one shift per subgroup.

For subgroup s, HER2 category h in its order (zero, low, positive), and effects e in families f:

    counts[s, .] ~ Multinomial(patients[s], share[s, .])
    share[s, h]  = logistic(cut[h] - beta[s]) - logistic(cut[h-1] - beta[s])
    cut[h]       = logit of the cumulated baseline share up to h
    beta[s]      = sum over e of contrast[s, e] * effect[e]
    effect[e]    = raw[e] * scale[e] / stretch[e]
    raw[e]       ~ Normal(0, stretch[e])
    stretch[e]   = sqrt(1 + information[e] * scale[e]^2)
    scale[e]     = tau[f of e] if learned[e], else fixed_tau
    tau[f]       ~ HalfNormal
    baseline     ~ Dirichlet

Cumulative logit with proportional odds (McCullagh 1980): a subgroup with beta above zero has more
patients in the upper categories, at every cut by the same odds ratio exp(beta). It spends one
number per subgroup where the multinomial spends one less than there are categories, and is wrong
where, as with hormone receptors, one subgroup gathers in the middle. Effects, tau and stretch as in
``her2_distribution``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from her2bayes.bayes.levels import ordered_shares
from her2bayes.bayes.prior import Prior, complete, prior

if TYPE_CHECKING:
    import pymc as pm
    import xarray as xr

DEFAULT_PRIORS = {
    "baseline": prior("Dirichlet", concentration=1.0, means="any overall shares equally likely"),
    "tau": prior(
        "HalfNormal",
        sigma=0.5,
        means="odds of a higher category differ between subgroups by a factor of 1.3 (median), 95 "
        "% below 4.7",
    ),
    "fixed_tau": prior(
        "Constant", value=0.75, means="two levels: odds ratio between them 95 % within 1/8 and 8"
    ),
}


def build(
    counts: xr.DataArray, priors: Mapping[str, Prior] | None = None, *, pooling: str = "partial"
) -> pm.Model:
    """Return the model of StatusCounts (dims ``subgroup``, ``her2``; coord ``parent`` if nested).

    ``pooling`` as in ``her2_distribution``. Raises ``BadInput`` for an unknown prior name.
    """
    priors = complete(priors, DEFAULT_PRIORS, same_family=True)
    return ordered_shares(counts, priors, "her2", pooling)

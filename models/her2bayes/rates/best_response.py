"""Best response (CR, PR, SD, PD) across subgroups: ordered categories, one shift per subgroup.

For subgroup s, category h from the best to the worst, and effects e of the factor's levels:

    counts[s, .] ~ Multinomial(patients[s], share[s, .])
    share[s, h]  = logistic(cut[h] - beta[s]) - logistic(cut[h-1] - beta[s])
    cut[h]       = logit of the cumulated baseline share up to h
    beta[s]      = sum over e of contrast[s, e] * effect[e]
    effect[e]    = raw[e] * scale[e] / stretch[e],   raw[e] ~ Normal(0, stretch[e])
    scale[e]     = tau if there is more than one effect, else fixed_tau
    tau          ~ HalfNormal
    baseline     ~ Dirichlet

Objective response (CR or PR) and disease control (all but PD) are sums of shares, hence answered by
one model and never contradictory. beta above zero means worse responses, by the same odds ratio at
every cut (McCullagh 1980). Without subgroups the model is the conjugate Dirichlet; a category
without patients is no special case. Effects and stretch as in ``her2_distribution_ordered``.
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
    "baseline": prior(
        "Dirichlet", concentration=1.0, means="any shares of the categories equally likely"
    ),
    "tau": prior(
        "HalfNormal",
        sigma=0.5,
        means="odds of a worse response differ between subgroups by a factor of 1.3 (median), 95 % "
        "below 4.7",
    ),
    "fixed_tau": prior(
        "Constant", value=0.75, means="two levels: odds ratio between them 95 % within 1/8 and 8"
    ),
}


def build(
    counts: xr.DataArray, priors: Mapping[str, Prior] | None = None, *, pooling: str = "partial"
) -> pm.Model:
    """Return the model of counts with dims ``subgroup``, ``category`` (best first).

    ``pooling`` as in ``her2_distribution``. Raises ``BadInput`` for an unknown prior name.
    """
    priors = complete(priors, DEFAULT_PRIORS, same_family=True)
    return ordered_shares(counts, priors, "category", pooling)

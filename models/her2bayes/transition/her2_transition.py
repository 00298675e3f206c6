"""Transition of the HER2 class from primary tumour to recurrence, partially pooled over strata.

    transition[s,i,.]   rows P with log(P_ij / P_ii) ~ Normal(mean + deviations of the strata)
    primary_share[s,.]  ~ Dirichlet(1, ..., 1)                         (both: ``transition_rows``)
    pairs[s,i,j]        ~ Multinomial(n[s], primary_share[s,i] transition[s,i,j])  exact readings
    partial[p]    ~ Binomial(n[p], sum_{i in S_p} sum_{j in R_p} primary_share_i transition_ij)

The multinomial of pairs is that of the primary margin, which informs the shares alone, times
prod_i Multinomial(pairs[s,i,.]; n_i, transition[s,i,.]), which informs the rows alone.
``partial`` holds the distinct pairs of readings of which at least one is a set of classes, S at the
primary and R at the recurrence; all n of n patients lie in the set, so its log likelihood is
n log(probability), which is right where sets are coarsened at random: which set is recorded depends
on the class only through the set holding it (Heitjan and Rubin 1991). Strata whose readings are all
exact reduce to row multinomials, as the shares then say nothing about the rows. Pairs of which
nothing is known at either end add nothing and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from her2bayes.bayes.prior import Prior, complete
from her2bayes.transition.rows import (
    ROW_PRIORS,
    coordinates,
    logistic_rows,
    observe_pairs,
    primary_shares,
    split_readings,
    strata_design,
)

DEFAULT_PRIORS = ROW_PRIORS


def build(data: Any, priors: Mapping[str, Prior] | None = None) -> Any:
    """Model of TransitionCounts: ``counts`` and ``incidence``, factors as coords on ``stratum``.

    Posterior variables ``transition`` (stratum, her2_primary, her2), ``primary_share`` (stratum,
    her2_primary), ``centre`` (change), ``deviation_sd`` (factor). Raises ``BadInput`` for
    readings without classes, negative counts, unknown priors.
    """
    import pymc as pm

    priors = complete(priors, DEFAULT_PRIORS)
    readings = split_readings(data)
    strata = strata_design(data, readings["pairs"].values)
    her2 = [str(name) for name in data["her2"].values]
    labels = coordinates(strata, her2) | {"pair": list(readings["pair"].values)}
    with pm.Model(coords=labels, check_bounds=False) as model:
        transition = logistic_rows(strata, her2, priors)
        primary_share = primary_shares(priors)
        observe_pairs(readings, strata["stratum"].values, primary_share * transition)
    return model

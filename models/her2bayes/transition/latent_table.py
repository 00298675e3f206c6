"""Transition of the HER2 class from tables of which only some sums are printed.

    transition, primary_share                                        as in ``rows``
    theta[s,i,j]   = primary_share[s,i] transition[s,i,j]
    group[g]       = sum of theta over the cells of group g
    P(table c)     = coefficient_c prod_g group[g]^table[c,g]        multinomial, size of s given
    P(facts of b)  = sum of P(table c) over all tables c of block b that agree with the facts
    agrees[b]      ~ Bernoulli(P(facts of b)),  observed 1

The tables of a stratum are multinomial given its size, primary classes included: where a paper
prints the primary margin this factorises into the margin, which informs ``primary_share`` alone,
and prod_i Multinomial(T_i.; n_i, P_i), so that the rows have the same posterior as when the margin
is fixed; where it does not, row totals are unknown and summed over. A fact over several strata
makes them one block, whose tables are joint tables. A complete table is a block of one table.
``polytope.listed_tables`` makes the data; where the tables are too many to list,
``table_sampler`` samples them under this same model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from her2bayes.bayes.prior import Prior, complete
from her2bayes.transition.rows import (
    ROW_PRIORS,
    coordinates,
    facts_agree,
    logistic_rows,
    primary_shares,
    strata_design,
)

DEFAULT_PRIORS = ROW_PRIORS


def build(data: xr.Dataset, priors: Mapping[str, Prior] | None = None) -> Any:
    """Model of listed tables; ``data`` as ``listed_tables`` returns it, or without ``tables``.

    Without tables the model is its prior. Posterior variables as in ``her2_transition``. Raises
    ``BadInput`` for unknown priors.
    """
    import pymc as pm

    priors = complete(priors, DEFAULT_PRIORS)
    strata = strata_design(data, data["patients"].values)
    her2 = [str(name) for name in data["her2"].values]
    with pm.Model(coords=coordinates(strata, her2), check_bounds=False) as model:
        transition = logistic_rows(strata, her2, priors)
        theta = primary_shares(priors) * transition
        if "tables" in data:
            facts_agree(data, strata["stratum"].values, theta)
    return model

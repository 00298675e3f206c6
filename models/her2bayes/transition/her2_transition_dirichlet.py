"""Transition of the HER2 class with independent Dirichlet rows: no pooling between strata.

    transition[s,i,.]   ~ Dirichlet(total ((1 - stays) / (k - 1), ..., stays at i, ...))
    primary_share[s,.]  ~ Dirichlet(1, ..., 1)
    pairs, partial                                        as in ``her2_transition``

``total`` is the weight of the prior in patients a row, ``stays`` its mean share without a change.
Default total 3, stays 0.6; total k with stays 1/k is the uniform prior, total k/2 Jeffreys'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.transition.rows import (
    ROW_PRIORS,
    coordinates,
    observe_pairs,
    parameters,
    primary_shares,
    split_readings,
    strata_design,
)

DEFAULT_PRIORS = {
    "transition": prior(
        "Dirichlet",
        total=3.0,
        stays=0.6,
        means="three patients' worth of prior a row, 60 % of them unchanged: median 62 % (11 to "
        "97)",
    ),
    "primary_share": ROW_PRIORS["primary_share"],
}


def concentration(priors: Mapping[str, Prior], k: int) -> np.ndarray:
    """Dirichlet parameters of the rows (her2_primary, her2) for ``k`` classes."""
    row = parameters(priors, "transition", "Dirichlet")
    change = (1.0 - row["stays"]) / (k - 1)
    means = np.full((k, k), change) + np.eye(k) * (row["stays"] - change)
    return np.asarray(row["total"] * means)


def build(data: Any, priors: Mapping[str, Prior] | None = None) -> Any:
    """Model of TransitionCounts with the variables of ``her2_transition`` but no pooling."""
    import pymc as pm
    import pymc.dims as pmd
    import xarray as xr

    priors = complete(priors, DEFAULT_PRIORS)
    readings = split_readings(data)
    strata = strata_design(data, readings["pairs"].values)
    her2 = [str(name) for name in data["her2"].values]
    labels = coordinates(strata, her2) | {"pair": list(readings["pair"].values)}
    with pm.Model(coords=labels, check_bounds=False) as model:
        row = xr.DataArray(concentration(priors, len(her2)), dims=("her2_primary", "her2"))
        transition = pmd.Dirichlet(
            "transition",
            a=pmd.Data("row_concentration", row),
            core_dims="her2",
            dims=("stratum", "her2_primary", "her2"),
        )
        primary_share = primary_shares(priors)
        observe_pairs(readings, strata["stratum"].values, primary_share * transition)
    return model

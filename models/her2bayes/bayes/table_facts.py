"""Likelihood of printed facts: the probability of agreeing with them, summed over tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from her2bayes.bayes.transition_design import pad_strata


def listed_labels(data: xr.Dataset) -> dict[str, list[int]]:
    """Coordinates of listed tables that are positions only."""
    if "tables" not in data:
        return {}
    return {
        "block": np.unique(data["block"].values).tolist(),
        "candidate": list(range(data.sizes["candidate"])),
        "group": list(range(data.sizes["group"])),
    }


def facts_agree(data: xr.Dataset, strata: Any, theta: Any) -> None:
    """Observe that the tables agree with the facts of every block."""
    import pymc.dims as pmd

    listed = data.drop_vars([str(name) for name in data.coords if name != "stratum"])
    member = pad_strata(listed["member"].astype(float), strata).drop_vars("stratum")
    inside = np.equal.outer(np.unique(data["block"].values), data["block"].values)
    log_inside = xr.DataArray(np.where(inside, 0.0, -1e9), dims=("block", "candidate"))

    group = (pmd.Data("cells_of_group", member) * theta).sum(("stratum", "her2_primary", "her2"))
    tables = pmd.Data("tables", listed["tables"].astype(float))
    log_table = pmd.math.dot(tables, pmd.math.log(group), dim="group")
    log_table = log_table + pmd.Data("log_coefficient", listed["coefficient"])
    log_facts = pmd.math.logsumexp(log_table + pmd.Data("log_inside", log_inside), dim="candidate")
    log_facts = pmd.math.minimum(log_facts, -1e-12)  # facts that always hold
    pmd.Bernoulli(
        "agrees",
        logit_p=log_facts - pmd.math.log1mexp(log_facts),
        observed=xr.DataArray(np.ones(len(inside), dtype=int), dims="block"),
        dims=("block",),
    )

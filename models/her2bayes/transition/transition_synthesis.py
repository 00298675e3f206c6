"""Transition over several studies, some with patients, some with printed facts only.

    transition, primary_share        as in ``transition_rows``; the factor "study" has the spread
                                     between studies, further factors add to it
    pairs, partial                   of the studies with patients, as in ``her2_transition``
    agrees                           of the studies with printed facts, as in ``latent_table``

All strata share one mean and one spread, so that a study of which little is printed borrows from
the others as much as these agree. The matrix of a new centre is ``posterior.new_stratum``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.bayes.prior import Prior, complete
from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.transition.design import design, split_readings
from her2bayes.transition.rows import (
    ROW_PRIORS,
    coordinates,
    logistic_rows,
    observe_pairs,
    primary_shares,
)
from her2bayes.transition.tables.facts import facts_agree, listed_labels

DEFAULT_PRIORS = ROW_PRIORS


def build(data: Mapping[str, xr.Dataset], priors: Mapping[str, Prior] | None = None) -> Any:
    """Model of ``data["pairs"]`` (TransitionCounts) and ``data["tables"]`` (``listed_tables``).

    Either may be absent. Strata of both carry the same factors as coords. Posterior variables
    ``transition``, ``primary_share``, ``centre``, ``deviation_sd``. Raises ``BadInput``.
    """
    import pymc as pm

    priors = complete(priors, DEFAULT_PRIORS)
    pairs, tables = data.get("pairs"), data.get("tables")
    readings = None if pairs is None else split_readings(pairs)
    strata = design(*all_strata(pairs, tables, readings))
    her2 = [str(n) for n in (pairs if pairs is not None else tables)["her2"].values]  # type: ignore[index]
    labels = coordinates(strata, her2)
    if readings is not None:
        labels["pair"] = [str(name) for name in readings["pair"].values]
    if tables is not None:
        labels.update(listed_labels(tables))  # type: ignore[arg-type]
    with pm.Model(coords=labels) as model:
        transition = logistic_rows(strata, her2, priors)
        flow = primary_shares(priors) * transition
        if readings is not None:
            observe_pairs(readings, strata["stratum"].values, flow)
        if tables is not None:
            facts_agree(tables, strata["stratum"].values, flow)
    return model


def all_strata(
    pairs: xr.Dataset | None, tables: xr.Dataset | None, readings: xr.Dataset | None
) -> tuple[xr.Dataset, np.ndarray]:
    """Strata of both sources with their factors, and the pairs of patients in each."""
    if pairs is None and tables is None:
        raise BadInput(Fault("no study", remedy="give 'pairs', 'tables' or both"))
    found, sizes = [], []
    for source, size in ((pairs, readings), (tables, tables)):
        if source is None or size is None:
            continue
        found.append(source)
        sizes.append(size["pairs" if "pairs" in size else "patients"].values)
    factors = [list(source.attrs.get("factors", [])) for source in found]
    classes = [list(source["her2"].values) for source in found]
    names = [str(name) for source in found for name in source["stratum"].values]
    raise_if(
        [
            Fault(f"{what} of the studies differ", value=values)
            for what, values in (("factors", factors), ("classes", classes))
            if any(value != values[0] for value in values)
        ]
        + [Fault("two strata have one name", value=n) for n in set(names) if names.count(n) > 1]
    )
    coords: dict[str, Any] = {"stratum": names}
    for factor in factors[0]:
        levels = [str(level) for source in found for level in source[factor].values]
        coords[factor] = ("stratum", levels)
    return xr.Dataset(coords=coords, attrs={"factors": factors[0]}), np.concatenate(sizes)

"""Piecewise-exponential survival across subgroups, as Poisson counts of events.

In cell (groups g, interval j) with T person-months (Holford 1980; Laird & Olivier 1981):

    events[g,j]      ~ Poisson(T[g,j] hazard[g,j])
    log hazard[g,j]  = reference_log_hazard + term_baseline[j] + sum of the terms of the factors
    term             = basis . coefficient          (``parts``: what each basis means)
    coefficient[k]   ~ Normal(0, scale)

    baseline         walks over the intervals: increments Normal(0, smoothing^2 delta / t_max)
    factor           two levels: the coefficient is the log hazard ratio; more: zero-sum effects of
                     scale spread
    interaction      zero-sum over both factors, scale interaction
    drift            the log hazard ratios walk as well (not proportional), scale drift
    frailty          exchangeable groups (centres, studies), scale frailty

Walks average zero over the events, so a factor's term is its average log hazard ratio. Known
survival from outside, n patients alive at ``start`` of whom some are alive at ``stop``:

    survivors[l]     ~ Binomial(n[l], S(stop[l]) / S(start[l])),   S a mixture over groups of shares

The log hazard is the sum of ``reference_log_hazard`` and all variables named ``term_...``. With
competing causes every parameter has a dim ``cause``: cause-specific hazards, independent a priori.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.survival.parts import informed, parts, term, variable

DEFAULT_PRIORS = {
    "reference_log_hazard": prior(
        "Normal",
        mu=-4.0,
        sigma=1.0,
        means="median survival 38 months under a constant hazard, 95 % between 5 and 270 months",
    ),
    "smoothing": prior(
        "HalfNormal",
        sigma=1.0,
        means="the hazard changes by a factor of 0.37 to 2.7 (68 %) over follow-up where smoothing "
        "is 1",
    ),
    "log_hazard_ratio": prior(
        "Normal", mu=0.0, sigma=0.75, means="hazard ratio 1, 95 % between 0.23 and 4.3"
    ),
    "spread": prior(
        "HalfNormal",
        sigma=0.5,
        means="hazard ratio of two levels 1, 95 % between 0.33 and 3.0 at the prior's mean spread",
    ),
    "interaction": prior(
        "HalfNormal",
        sigma=0.25,
        means="a third of the log hazard ratio's size: subgroup differences are usually small",
    ),
    "drift": prior(
        "HalfNormal",
        sigma=0.5,
        means="a hazard ratio changes by a factor of 0.6 to 1.6 (68 %) over follow-up where drift "
        "is 0.5",
    ),
    "frailty": prior(
        "HalfNormal",
        sigma=0.5,
        means="a centre's hazard is 0.46 to 2.2 times (95 %) the average one at the prior's mean "
        "spread",
    ),
    "interval_log_hazard": prior(
        "Normal",
        mu=-4.0,
        sigma=2.0,
        means='baseline="independent" only: hazard of an interval, median survival 0.8 to 1900 '
        "months",
    ),
}

TOP_LEVEL = ("reference_log_hazard", "smoothing", "spread", "log_hazard_ratio", "interaction")
"""How the parameters begin whose priors are power-scaled."""

NOBODY = 1e-100  # person-months of a cell nobody entered: adds nothing, keeps the gradient finite


def build(data: Any, priors: Mapping[str, Prior] | None = None, **options: Any) -> Any:
    """Model of SurvivalCells, or of a mapping ``{"cells": ..., "landmarks": ...}``.

    ``options``: those of ``parts.parts``; with ``baseline="independent"`` the log hazard
    of each interval is free (and of each cell of the factors in ``strata``). Raises ``BadInput``.
    """
    import pymc as pm
    import pymc.dims as pmd

    priors = complete(priors, DEFAULT_PRIORS)
    cells = data if isinstance(data, xr.Dataset) else data["cells"]
    landmarks = None if isinstance(data, xr.Dataset) else data.get("landmarks")
    lead = ("cause",) if "cause" in cells["events"].dims else ()
    strata = tuple(options.pop("strata", ()))
    groups = tuple(str(dim) for dim in cells["person_months"].dims)
    with pm.Model(coords=_coords(cells, landmarks)) as model:
        found = [part for part in parts(cells, **options) if part.name not in strata]
        if options.get("baseline") == "independent":
            log_hazard = variable("interval_log_hazard", priors, dims=(*lead, *strata, "interval"))
        else:
            log_hazard = variable("reference_log_hazard", priors, dims=lead)
        for part in informed(cells, found):
            log_hazard = log_hazard + term(part, priors, lead)
        hazard = pmd.math.exp(log_hazard)
        spent = np.maximum(cells["person_months"].values, NOBODY)
        months = pmd.Data("person_months", spent, dims=groups)
        events = pmd.Data("event_counts", cells["events"].values, dims=(*lead, *groups))
        pmd.Poisson("events", mu=(months * hazard).transpose(*lead, *groups), observed=events)
        if landmarks is not None:
            _landmarks(landmarks, hazard if not lead else hazard.sum("cause"))
    return model


def _landmarks(landmarks: xr.Dataset, hazard: Any) -> None:
    """Known survival from outside as conditional binomials, one a landmark."""
    import pymc.dims as pmd

    groups = tuple(str(d) for d in landmarks["share"].dims)
    share = pmd.Data("landmark_share", landmarks["share"].values, dims=groups)
    alive = {}
    for end in ("start", "stop"):
        months = pmd.Data(
            f"months_to_{end}", landmarks[f"months_to_{end}"].values, dims=("landmark", "interval")
        )
        survival = pmd.math.exp(-pmd.math.dot(months, hazard, dim="interval"))
        alive[end] = (share * survival).sum([dim for dim in groups if dim != "landmark"])
    number = pmd.Data("landmark_patients", landmarks["patients"].values, dims=("landmark",))
    survivors = pmd.Data("landmark_survivors", landmarks["survivors"].values, dims=("landmark",))
    pmd.Binomial("survivors", n=number, p=alive["stop"] / alive["start"], observed=survivors)


def _coords(cells: xr.Dataset, landmarks: xr.Dataset | None) -> dict[str, list[Any]]:
    dims = [str(dim) for dim in cells["events"].dims]
    coords = {dim: cells[dim].values.tolist() for dim in dims}
    if landmarks is not None:
        coords["landmark"] = landmarks["landmark"].values.tolist()
    return coords

"""Responders across the levels of one factor: hierarchical binomial with robust exchangeability.

For level j with responders[j] of patients[j]:

    responders[j]    ~ weight * Binomial(patients[j], rate_together[j])
                       + (1 - weight) * Binomial(patients[j], rate_alone[j])
    logit rate_together[j] = mu + raw[j] * tau / stretch[j]
    logit rate_alone[j]    ~ Normal(own_mean, own_sd)
    raw[j]           ~ Normal(0, stretch[j]),   stretch[j] = sqrt(1 + information[j] * tau^2)
    mu               ~ Normal
    tau              ~ HalfNormal
    together[j]      = posterior probability, given the rates, that level j is exchangeable

The mixture is EXNEX (Neuenschwander, Wandel, Roychoudhury & Bailey 2016, Pharm Stat 15:123) with
its indicator summed out: no discrete parameter is sampled. ``pooling`` "exnex" uses the prior
weight, "exchangeable" weight 1, "none" weight 0: the same graph. The rate of level j is
``rate_together`` with probability ``together``, else ``rate_alone`` (``posterior.response``). A
level without responders, or without patients, is no special case. ``stretch`` changes what the
sampler sees, not the model (see ``her2_distribution``). ``rate_exact`` computes the same posterior
by quadrature.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from her2bayes.bayes.levels import padded, places
from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.errors import Fault, raise_if
from her2bayes.rates.binomial_mixture import first_share, observe

if TYPE_CHECKING:
    import pymc as pm

DEFAULT_PRIORS = {
    "mu": prior(
        "Normal",
        mu=0.0,
        sigma=2.0,
        means="typical rate: median 50 %, 95 % between 2 and 98 %; worth one patient at a rate of "
        "50 %",
    ),
    "tau": prior(
        "HalfNormal",
        sigma=1.0,
        means="spread of log odds between exchangeable levels: median 0.67, 95 % below 2.0",
    ),
    "rate_alone": prior(
        "Normal",
        mu=0.0,
        sigma=2.0,
        means="a level that is not exchangeable: variance 1/p + 1/(1-p) at p = 50 %, worth one "
        "patient",
    ),
    "weight": prior(
        "Constant",
        value=0.5,
        means="prior probability that a level is exchangeable with the others",
    ),
}

POOLING = ("exnex", "exchangeable", "none")


def build(
    counts: xr.Dataset, priors: Mapping[str, Prior] | None = None, *, pooling: str = "exnex"
) -> pm.Model:
    """Return the model of ResponseCounts (``responders``, ``patients`` by ``subgroup``).

    Data and prior numbers are data variables, so that every table of up to eight levels is one
    compiled model. Raises ``BadInput`` for an unknown prior or pooling and for impossible counts.
    """
    import pymc as pm

    priors = complete(priors, DEFAULT_PRIORS, same_family=True)
    weight = exchangeable_weight(priors, pooling)
    data = design(counts)
    data["information"] = (
        weight * data["information"]
    )  # what a level tells of the exchangeable part
    with pm.Model(coords={"subgroup": data["subgroup"].values}) as model:
        y, patients, information = (
            pm.Data(name, data[name].values, dims="subgroup")
            for name in ("responders", "patients", "information")
        )
        numbers = {
            f"{name}_{key}": pm.Data(f"{name}_{key}", np.asarray(value, dtype=float))
            for name in ("mu", "tau", "rate_alone")
            for key, value in priors[name].parameters
        }
        weight_together = pm.Data("weight", np.float64(weight))

        mu = pm.Normal("mu", numbers["mu_mu"], numbers["mu_sigma"])
        tau = pm.HalfNormal("tau", numbers["tau_sigma"])
        stretch = pm.math.sqrt(1 + information * tau**2)
        raw = pm.Normal("raw", 0, stretch, dims="subgroup")
        together = mu + raw * tau / stretch
        alone = pm.Normal(
            "alone", numbers["rate_alone_mu"], numbers["rate_alone_sigma"], dims="subgroup"
        )
        pm.Deterministic("rate_together", pm.math.invlogit(together), dims="subgroup")
        pm.Deterministic("rate_alone", pm.math.invlogit(alone), dims="subgroup")
        observe("observed_responders", y, patients, together, alone, weight_together, "subgroup")
        share = first_share(y, patients, together, alone, weight_together)
        pm.Deterministic("together", share, dims="subgroup")
    return model


def exchangeable_weight(priors: Mapping[str, Prior], pooling: str) -> float:
    """Prior weight of exchangeability under a pooling; ``BadInput`` for one that is not known."""
    weight = float(priors["weight"]["value"])
    faults = []
    if pooling not in POOLING:
        allowed = ", ".join(POOLING)
        faults.append(Fault("unknown pooling", column="pooling", value=pooling, allowed=allowed))
    if not 0 <= weight <= 1:
        faults.append(Fault("exchangeable weight", value=weight, allowed="0 to 1"))
    raise_if(faults)
    return {"exchangeable": 1.0, "none": 0.0}.get(pooling, weight)


def design(counts: xr.Dataset) -> xr.Dataset:
    """Pad ResponseCounts to one shape and add the ``information`` of each level on its log odds.

    Information is patients * p (1 - p) at the level's own rate, half a responder and half a
    non-responder added. Raises ``BadInput`` for counts that are not whole, negative or with more
    responders than patients, and for a level that appears twice.
    """
    raise_if(_faults(counts))
    known = [str(label) for label in counts["subgroup"].values]
    size = places(len(known))
    table: dict[str, np.ndarray] = {
        name: np.pad(counts[name].values.astype(np.int64), (0, size - len(known)))
        for name in ("responders", "patients")
    }
    rate = (table["responders"] + 0.5) / (table["patients"] + 1)
    table["information"] = table["patients"] * rate * (1 - rate)
    return xr.Dataset(
        {name: ("subgroup", values) for name, values in table.items()},
        coords={"subgroup": padded(known, size)},
    )


def _faults(counts: xr.Dataset) -> list[Fault]:
    faults = []
    labels = [str(label) for label in counts["subgroup"].values]
    y, n = (np.asarray(counts[name].values, dtype=float) for name in ("responders", "patients"))
    for label, some, all_ in zip(labels, y, n, strict=True):
        if not (np.isfinite([some, all_]).all() and some % 1 == 0 and all_ % 1 == 0):
            faults.append(Fault(f"{label}: counts are not whole numbers", value=(some, all_)))
        elif not 0 <= some <= all_:
            allowed = "0 <= responders <= patients"
            faults.append(Fault(f"{label}: more responders than patients", value=(some, all_),
                                allowed=allowed))  # fmt: skip
    if len(set(labels)) != len(labels):
        faults.append(Fault("a subgroup appears twice", value=labels, remedy="add the rows up"))
    if not labels:
        faults.append(Fault("no subgroup", allowed="one or more"))
    return faults

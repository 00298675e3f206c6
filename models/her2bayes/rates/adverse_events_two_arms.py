"""Adverse events of two arms: three-level mixture with a point mass at no difference.

For event e of body system b, with counts in a first and a second arm:

    (first[e], second[e]) ~ same_prior[b] * Binomials(logit = gamma[e], gamma[e])
                            + (1 - same_prior[b]) * Binomials(logit = gamma[e] - theta[e] / 2,
                                                              gamma[e] + theta[e] / 2)
    gamma[e]    = mu_gamma + tau_gamma * u_gamma[b] + sigma_gamma * z_gamma[e]
    theta[e]    = mu_theta + tau_theta * u_theta[b] + sigma_theta * z_theta[e]
    u, z        ~ Normal(0, 1)
    same_prior[b] ~ Beta(1 + shape[0], 1 + shape[1]),  shape ~ Exponential
    same[e]     = posterior probability, given the rest, that the log odds ratio of e is exactly 0

Berry & Berry 2004, Biometrics 60:418; the point mass is summed out, no indicator is sampled. Events
and systems borrow strength, which is their answer to multiplicity. Two departures: half-normal
scales in place of inverse gammas, which would keep scales away from 0; and ``gamma`` is the middle
of both arms where theirs is the control's. With ``mu_theta`` about 0 the prior is then the same for
both arms: exchanging them turns the sign of ``theta`` and changes nothing else. The log odds ratio
of an event (second over first arm) is 0 with probability ``same``, else ``theta``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from her2bayes.bayes.levels import padded, places
from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.errors import Fault, raise_if
from her2bayes.rates.binomial_mixture import first_share_together, observe_together

if TYPE_CHECKING:
    import pymc as pm

ARMS = ("first", "second")

DEFAULT_PRIORS = {
    "mu_gamma": prior(
        "Normal",
        mu=-2.0,
        sigma=1.5,
        means="typical event, middle of both arms: median 12 %, 95 % between 0.7 and 72 %",
    ),
    "mu_theta": prior(
        "Normal",
        mu=0.0,
        sigma=1.0,
        means="typical log odds ratio of an event that differs: 95 % of ratios between 0.14 and 7",
    ),
    "tau_gamma": prior(
        "HalfNormal",
        sigma=1.0,
        means="spread of log odds between body systems: median 0.67, 95 % below 2.0",
    ),
    "tau_theta": prior(
        "HalfNormal",
        sigma=0.5,
        means="spread of log odds ratios between body systems: median 0.34, 95 % below 0.98",
    ),
    "sigma_gamma": prior(
        "HalfNormal",
        sigma=1.0,
        means="spread of log odds between events of one system: median 0.67, 95 % below 2.0",
    ),
    "sigma_theta": prior(
        "HalfNormal",
        sigma=1.0,
        means="spread of log odds ratios between events of one system: median 0.67, 95 % below 2.0",
    ),
    "shape": prior(
        "Exponential",
        lam=1.0,
        means="share of events without difference in a system: symmetric about one half",
    ),
}


def build(counts: xr.Dataset, priors: Mapping[str, Prior] | None = None) -> pm.Model:
    """Return the model of counts by arm.

    ``counts`` has ``count`` and ``patients`` with dims (``arm``: two, ``event``) and the
    coordinate ``body_system`` by event. Raises ``BadInput`` for an unknown prior name, for counts
    above their patients and for another number of arms.
    """
    import pymc as pm

    priors = complete(priors, DEFAULT_PRIORS, same_family=True)
    data = design(counts)
    with pm.Model(
        coords={dim: data[dim].values for dim in ("event", "arm", "system")}, check_bounds=False
    ) as model:
        numbers = {
            f"{name}_{key}": pm.Data(f"{name}_{key}", np.asarray(value, dtype=float))
            for name in DEFAULT_PRIORS
            for key, value in priors[name].parameters
        }
        count, patients = (
            pm.Data(name, data[name].values, dims=("event", "arm"))
            for name in ("count", "patients")
        )
        member = pm.Data("member", data["member"].values, dims=("system", "event"))
        gamma = _effects("gamma", numbers, member)
        theta = pm.Deterministic("theta", _effects("theta", numbers, member), dims="event")
        shape = pm.Exponential("shape", numbers["shape_lam"], shape=2)
        same_prior = pm.Beta("same_prior", 1 + shape[0], 1 + shape[1], dims="system")
        weight = (same_prior[:, None] * member).sum(axis=0) + (1 - member.sum(axis=0)) / 2
        common = gamma[:, None] + np.zeros(2)
        apart = gamma[:, None] + theta[:, None] * np.array([-0.5, 0.5])
        pm.Deterministic("rate_same", pm.math.invlogit(gamma), dims="event")
        pm.Deterministic("rate_different", pm.math.invlogit(apart), dims=("event", "arm"))
        observe_together("observed_events", count, patients, common, apart, weight,
                         ("event", "arm"))  # fmt: skip
        share = first_share_together(count, patients, common, apart, weight)
        pm.Deterministic("same", share, dims="event")
    return model


def _effects(name: str, numbers: Mapping[str, Any], member: Any) -> Any:
    """Normal effects of events within systems, around a common mean."""
    import pymc as pm

    mu = pm.Normal(f"mu_{name}", numbers[f"mu_{name}_mu"], numbers[f"mu_{name}_sigma"])
    tau = pm.HalfNormal(f"tau_{name}", numbers[f"tau_{name}_sigma"])
    sigma = pm.HalfNormal(f"sigma_{name}", numbers[f"sigma_{name}_sigma"])
    system = pm.Normal(f"u_{name}", 0, 1, dims="system")
    event = pm.Normal(f"z_{name}", 0, 1, dims="event")
    return mu + tau * (system[:, None] * member).sum(axis=0) + sigma * event


def design(counts: xr.Dataset) -> xr.Dataset:
    """Pad two arms to one shape; raises ``BadInput``."""
    raise_if(_faults(counts))
    events = [str(label) for label in counts["event"].values]
    systems = [str(label) for label in counts["body_system"].values]
    known = list(dict.fromkeys(systems))
    size = places(len(events), 16)
    table = {
        name: (("event", "arm"), np.pad(
            counts[name].transpose("event", "arm").values.astype(np.int64),
            ((0, size - len(events)), (0, 0))))
        for name in ("count", "patients")
    }  # fmt: skip
    rooms = places(len(known), 16)
    member = np.zeros((rooms, size))
    member[[known.index(name) for name in systems], np.arange(len(systems))] = 1
    return xr.Dataset(
        {**table, "member": (("system", "event"), member)},
        coords={"event": padded(events, size), "arm": list(ARMS), "system": padded(known, rooms)},
    )


def _faults(counts: xr.Dataset) -> list[Fault]:
    if counts.sizes.get("arm") != 2:
        return [Fault("arms", value=counts.sizes.get("arm"), allowed="two")]
    count, patients = (np.asarray(counts[name].values, float) for name in ("count", "patients"))
    if not ((count % 1 == 0).all() and (count >= 0).all() and (count <= patients).all()):
        return [Fault("counts by arm", allowed="whole numbers, 0 <= count <= patients")]
    return []

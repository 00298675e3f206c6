"""Adverse events nested in body systems, at two severities: hierarchical log odds.

For event e of body system b, and the stages s = any, severe given any:

    any[e]      ~ Binomial(patients[e], rate_any[e])
    severe[e]   ~ Binomial(any[e], rate_given_any[e])
    logit rate[s, e] = mu[s] + system[s, b of e] + event[s, e]
    event[s, e]  = raw[s, e] * tau_event[s] / stretch[s, e],  raw[s, e] ~ Normal(0, stretch[s, e])
    stretch[s, e] = sqrt(1 + information[s, e] * tau_event[s]^2)
    system[s, b] = raw_system[s, b] * tau_system[s] / stretch_system[s, b]
    raw_system[s, b] ~ Normal(0, stretch_system[s, b])
    stretch_system[s, b] = sqrt(1 + tau_system[s]^2 * sum of information / stretch^2 over e in b)
    mu[s]       ~ Normal
    tau_system[s], tau_event[s] ~ HalfNormal
    rate_severe[e] = rate_any[e] * rate_given_any[e]

A severe event is one of the events of any severity, so that the severe rate never exceeds the
other. Events of one system inform each other more than those of others (three levels as in Berry &
Berry 2004, Biometrics 60:418, here for one arm). Counts by event do not say which events meet in
one patient: nothing here is a rate of "any of these events". ``stretch`` as in ``response``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from her2bayes.bayes.levels import padded, places
from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.errors import Fault, raise_if

if TYPE_CHECKING:
    import pymc as pm

DEFAULT_PRIORS = {
    "mu": prior(
        "Normal",
        mu=-2.0,
        sigma=1.5,
        means="typical event, and typical severe share of an event: median 12 %, 95 % between 0.7 "
        "and 72 %",
    ),
    "tau_system": prior(
        "HalfNormal",
        sigma=1.0,
        means="spread of log odds between body systems: median 0.67, 95 % below 2.0",
    ),
    "tau_event": prior(
        "HalfNormal",
        sigma=1.0,
        means="spread of log odds between events of one system: median 0.67, 95 % below 2.0",
    ),
}

STAGES = ("any", "severe given any")


def build(counts: xr.Dataset, priors: Mapping[str, Prior] | None = None) -> pm.Model:
    """Return the model of AdverseEventCounts.

    ``counts`` has ``any``, ``severe``, ``patients`` and the coordinate ``body_system`` by
    ``event``; ``severe_of`` (0 where severity is not reported, else ``any``) may stand beside.
    Tables of up to 16 events are one compiled model. Raises ``BadInput`` for an unknown prior name
    and for counts that exclude each other.
    """
    import pymc as pm

    priors = complete(priors, DEFAULT_PRIORS, same_family=True)
    data = design(counts)
    with pm.Model(coords={dim: data[dim].values for dim in ("stage", "event", "system")}) as model:
        count, at_risk, information = (
            pm.Data(name, data[name].values, dims=("stage", "event"))
            for name in ("count", "at_risk", "information")
        )
        member = pm.Data("member", data["member"].values, dims=("system", "event"))
        numbers = {
            f"{name}_{key}": pm.Data(f"{name}_{key}", np.asarray(value, dtype=float))
            for name in DEFAULT_PRIORS
            for key, value in priors[name].parameters
        }
        mu = pm.Normal("mu", numbers["mu_mu"], numbers["mu_sigma"], dims="stage")
        tau_system = pm.HalfNormal("tau_system", numbers["tau_system_sigma"], dims="stage")
        tau_event = pm.HalfNormal("tau_event", numbers["tau_event_sigma"], dims="stage")
        stretch = pm.math.sqrt(1 + information * tau_event[:, None] ** 2)
        raw = pm.Normal("raw", 0, stretch, dims=("stage", "event"))
        of_system = ((information / stretch**2)[:, None, :] * member).sum(axis=2)
        stretch_system = pm.math.sqrt(1 + of_system * tau_system[:, None] ** 2)
        raw_system = pm.Normal("raw_system", 0, stretch_system, dims=("stage", "system"))
        system = raw_system * tau_system[:, None] / stretch_system
        level = mu[:, None] + (system[:, :, None] * member).sum(axis=1)
        log_odds = level + raw * tau_event[:, None] / stretch
        rate = pm.Deterministic("rate", pm.math.invlogit(log_odds), dims=("stage", "event"))
        pm.Deterministic("rate_severe", rate[0] * rate[1], dims="event")
        pm.Binomial(
            "observed_events",
            n=at_risk,
            logit_p=log_odds,
            observed=count,
            dims=("stage", "event"),
        )
    return model


def design(counts: xr.Dataset) -> xr.Dataset:
    """Pad AdverseEventCounts; raises ``BadInput`` for counts that exclude each other."""
    raise_if(_faults(counts))
    events = [str(label) for label in counts["event"].values]
    systems = [str(label) for label in counts["body_system"].values]
    known = list(dict.fromkeys(systems))
    size, rooms = places(len(events), 16), places(len(known), 16)

    def column(name: str) -> np.ndarray:
        return np.pad(counts[name].values.astype(np.int64), (0, size - len(events)))

    severe_of = column("severe_of") if "severe_of" in counts else column("any")
    count = np.stack([column("any"), column("severe")])
    at_risk = np.stack([column("patients"), severe_of])
    rate = (count + 0.5) / (at_risk + 1)
    member = np.zeros((rooms, size))
    member[[known.index(name) for name in systems], np.arange(len(systems))] = 1
    return xr.Dataset(
        {
            "count": (("stage", "event"), count),
            "at_risk": (("stage", "event"), at_risk),
            "information": (("stage", "event"), at_risk * rate * (1 - rate)),
            "member": (("system", "event"), member),
        },
        coords={
            "stage": list(STAGES),
            "event": padded(events, size),
            "system": padded(known, rooms),
        },
    )


def _faults(counts: xr.Dataset) -> list[Fault]:
    faults = []
    labels = [str(label) for label in counts["event"].values]
    columns = [counts[name].values.astype(float) for name in ("severe", "any", "patients")]
    for label, severe, some, patients in zip(labels, *columns, strict=True):
        whole = all(np.isfinite(v) and v % 1 == 0 for v in (severe, some, patients))
        if not (whole and 0 <= severe <= some <= patients):
            allowed = "whole numbers, 0 <= severe <= any <= patients"
            found = (severe, some, patients)
            faults.append(
                Fault(f"{label}: counts exclude each other", value=found, allowed=allowed)
            )
    if len(set(labels)) != len(labels):
        faults.append(Fault("an event appears twice", value=labels, remedy="keep one row of each"))
    if not labels:
        faults.append(Fault("no event", allowed="one or more"))
    return faults

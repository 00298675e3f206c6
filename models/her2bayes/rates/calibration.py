"""Calibration of the models of rates: truth from their stated priors, patients counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import expit, logit

from her2bayes.calibration.designs import (
    Design,
    Draws,
    Kind,
    Simulated,
    Truth,
    by_event,
    by_response,
    effects,
)
from her2bayes.evidence.simulate import status_counts
from her2bayes.rates.draws import group_rate, rates

BEST = ("CR", "PR", "SD", "PD")
GROUPS = {"orr": BEST[:2], "dcr": BEST[:3]}
EXCHANGEABLE = 0.5
"""Prior weight of exchangeability of a level in ``response``."""


def draw_response(rng: np.random.Generator, design: Design) -> Simulated:
    """``response``: each level exchangeable (mu ~ N(0, 2), tau ~ |N(0, 1)|) or alone, N(0, 2)."""
    mu, tau, levels = rng.normal(0.0, 2.0), abs(rng.normal(0.0, 1.0)), len(design.levels)
    together = rng.random(levels) < EXCHANGEABLE
    log_odds = np.where(together, mu + tau * rng.normal(size=levels), rng.normal(0, 2.0, levels))
    responders = [
        int((rng.random(patients) < rate).sum())
        for patients, rate in zip(design.patients.values(), expit(log_odds), strict=True)
    ]
    counts = xr.Dataset(
        {
            "responders": ("subgroup", np.array(responders)),
            "patients": ("subgroup", np.array(list(design.patients.values()))),
        },
        coords={"subgroup": design.levels},
    )
    truth: Truth = {"mu": float(mu), "tau": float(tau)}
    truth |= {f"rate[{n}]": float(p) for n, p in zip(design.levels, expit(log_odds), strict=True)}
    truth["log_likelihood"] = float(binomial(counts["responders"], counts["patients"], log_odds))
    return Simulated(counts, truth)


def response_of(design: Design, data: xr.Dataset, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of ``response``."""
    seed = int(data["responders"].sum()) + posterior.sizes["draw"]  # of the parts of the mixture
    rate = rates(posterior, seed).sel(subgroup=design.levels)
    found: Draws = {name: posterior[name] for name in ("mu", "tau")}
    found |= {f"rate[{name}]": rate.sel(subgroup=name) for name in design.levels}
    return found | {"log_likelihood": binomial(data["responders"], data["patients"], logit(rate))}


def binomial(count: xr.DataArray, patients: xr.DataArray, log_odds: Any) -> Any:
    """Binomial log likelihood without its constant, summed over what is counted."""
    terms = count * log_odds - patients * np.logaddexp(0.0, log_odds)
    return terms.sum(count.dims)


def draw_best_response(rng: np.random.Generator, design: Design) -> Simulated:
    """``best_response``: uniform baseline shares of CR to PD, one shift of the log odds a level."""
    baseline = rng.dirichlet(np.ones(len(BEST)))
    beta, truth = effects(rng, design, 1)
    below = expit(logit(np.cumsum(baseline)[:-1]) - beta)
    share = np.diff(np.concatenate([0 * beta, below, 0 * beta + 1], axis=1), axis=1)
    counts = status_counts(
        rng, list(design.patients.values()), share, her2=BEST, levels=design.levels
    )
    counts = counts.rename(her2="category")
    truth |= {f"baseline[{c}]": float(b) for c, b in zip(BEST, baseline, strict=True)}
    for level, row in zip(design.levels, share, strict=True):
        truth |= {f"share[{c} | {level}]": float(p) for c, p in zip(BEST, row, strict=True)}
        truth |= {f"{g}[{level}]": float(row[: len(inside)].sum()) for g, inside in GROUPS.items()}
    truth["log_likelihood"] = float((counts.values * np.log(np.maximum(share, 1e-300))).sum())
    return Simulated(counts, truth)


def best_response_of(design: Design, data: xr.DataArray, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of ``best_response``."""
    found: Draws = {f"baseline[{c}]": posterior["baseline"].sel(category=c) for c in BEST}
    if len(design.levels) > 2:
        found["tau[level]"] = posterior["tau"].sel(family="level")
    for level in design.levels:
        share = posterior["share"].sel(subgroup=level)
        found |= {f"share[{c} | {level}]": share.sel(category=c) for c in BEST}
        found |= {f"{g}[{level}]": group_rate(share, inside) for g, inside in GROUPS.items()}
    share = posterior["share"].sel(subgroup=design.levels)
    terms = data.drop_vars(["factor", "level", "parent"]) * np.log(np.maximum(share, 1e-300))
    return found | {"log_likelihood": terms.sum(("subgroup", "category"))}


STAGES = ("any", "severe given any")
PARTS = ("gamma", "theta")
ARMS = ("first", "second")


def draw_events(rng: np.random.Generator, design: Design) -> Simulated:
    """``adverse_events``: mu ~ N(-2, 1.5), spreads of systems and events |N(0, 1)|, by stage."""
    truth: Truth = {}
    log_odds = np.zeros((len(STAGES), len(design.levels)))
    for s, stage in enumerate(STAGES):
        mu = rng.normal(-2.0, 1.5)
        between, within = abs(rng.normal(0.0, 1.0)), abs(rng.normal(0.0, 1.0))
        log_odds[s] = mu + _nested(rng, design, between, within)
        truth |= {f"mu[{stage}]": mu, f"tau_system[{stage}]": between}
        truth[f"tau_event[{stage}]"] = within
    patients = np.array(list(design.patients.values()))
    some = np.array([_happened(rng, n, p) for n, p in zip(patients, log_odds[0], strict=True)])
    known = np.isin(design.levels, list(design.graded))
    of = np.where(known, some, 0)
    severe = np.array([_happened(rng, n, p) for n, p in zip(of, log_odds[1], strict=True)])
    columns = {"any": some, "severe": severe, "severe_of": of, "patients": patients}
    counts = xr.Dataset(
        {name: ("event", values) for name, values in columns.items()},
        coords={"event": design.levels, "body_system": ("event", list(design.parent))},
    )
    rate = expit(log_odds)
    for e, event in enumerate(design.levels):
        truth[f"rate[{event}]"] = float(rate[0, e])
        truth[f"rate_severe[{event}]"] = float(rate[0, e] * rate[1, e])
    truth["log_likelihood"] = float(_two_stages(counts, log_odds[0], log_odds[1]))
    return Simulated(counts, truth)


def events_of(design: Design, data: xr.Dataset, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of ``adverse_events``."""
    found: Draws = {
        f"{name}[{stage}]": posterior[name].sel(stage=stage)
        for name in ("mu", "tau_system", "tau_event")
        for stage in STAGES
    }
    rate = posterior["rate"].sel(event=design.levels)
    for event in design.levels:
        found[f"rate[{event}]"] = rate.sel(event=event, stage="any")
        found[f"rate_severe[{event}]"] = posterior["rate_severe"].sel(event=event)
    counts = data.drop_vars("body_system")
    both = (logit(rate.sel(stage=stage, drop=True)) for stage in STAGES)
    return found | {"log_likelihood": _two_stages(counts, *both)}


def _two_stages(counts: xr.Dataset, some: Any, severe: Any) -> Any:
    first = binomial(counts["any"], counts["patients"], some)
    return first + binomial(counts["severe"], counts["severe_of"], severe)


def _nested(rng: np.random.Generator, design: Design, between: float, within: float) -> np.ndarray:
    """Normal effects of systems and of events within them."""
    known = list(dict.fromkeys(design.parent))
    system = between * rng.normal(size=len(known))
    of = [known.index(name) for name in design.parent]
    return np.asarray(system[of] + within * rng.normal(size=len(of)))


def _happened(rng: np.random.Generator, patients: int, log_odds: float) -> int:
    """Count the patients whose own uniform number falls below the rate."""
    return int((rng.random(patients) < expit(log_odds)).sum())


def draw_two_arms(rng: np.random.Generator, design: Design) -> Simulated:
    """``adverse_events_two_arms``: log odds ratios of events are 0 with their system's share."""
    truth: Truth = {
        "mu_gamma": rng.normal(-2.0, 1.5), "mu_theta": rng.normal(0.0, 1.0),
        "tau_gamma": abs(rng.normal(0.0, 1.0)), "tau_theta": abs(rng.normal(0.0, 0.5)),
        "sigma_gamma": abs(rng.normal(0.0, 1.0)), "sigma_theta": abs(rng.normal(0.0, 1.0)),
    }  # fmt: skip
    gamma, theta = (
        truth[f"mu_{p}"] + _nested(rng, design, truth[f"tau_{p}"], truth[f"sigma_{p}"])
        for p in PARTS
    )
    shape = rng.exponential(1.0, 2)
    known = list(dict.fromkeys(design.parent))
    share = rng.beta(1 + shape[0], 1 + shape[1], len(known))
    weight = share[[known.index(name) for name in design.parent]]
    same = rng.random(len(gamma)) < weight
    ratio = np.where(same, 0.0, theta)
    patients = np.array(list(design.patients.values()))
    count = [
        [_happened(rng, n, p) for n, p in zip(patients, log_odds, strict=True)]
        for log_odds in (gamma - ratio / 2, gamma + ratio / 2)
    ]
    counts = xr.Dataset(
        {
            "count": (("arm", "event"), np.array(count)),
            "patients": (("arm", "event"), np.array([patients, patients])),
        },
        coords={
            "arm": list(ARMS), "event": design.levels,
            "body_system": ("event", list(design.parent)),
        },
    )  # fmt: skip
    for e, event in enumerate(design.levels):
        truth[f"rate[first, {event}]"] = float(expit(gamma[e] - ratio[e] / 2))
        truth[f"log_odds_ratio[{event}]"] = float(ratio[e])
    truth |= {f"share_same[{n}]": float(p) for n, p in zip(known, share, strict=True)}
    truth["log_likelihood"] = float(_both_arms(counts, gamma, theta, weight))
    return Simulated(counts, {name: float(value) for name, value in truth.items()})


def two_arms_of(design: Design, data: xr.Dataset, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of ``adverse_events_two_arms``."""
    found: Draws = {f"{kind}_{part}": posterior[f"{kind}_{part}"]
                    for kind in ("mu", "tau", "sigma") for part in PARTS}  # fmt: skip
    one = posterior.sel(event=design.levels)
    uniform = np.random.default_rng(int(data["count"].sum())).random(one["same"].shape)
    ratio = one["theta"].where(uniform >= one["same"], 0.0)
    gamma = logit(one["rate_same"])
    first: xr.DataArray = xr.apply_ufunc(expit, gamma - ratio / 2)
    for event in design.levels:
        found[f"rate[first, {event}]"] = first.sel(event=event)
        found[f"log_odds_ratio[{event}]"] = ratio.sel(event=event)
    known = list(dict.fromkeys(design.parent))
    share = posterior["same_prior"]
    found |= {f"share_same[{name}]": share.sel(system=name) for name in known}
    weight = share.sel(system=xr.DataArray(list(design.parent), dims="event")).drop_vars("system")
    counts = data.drop_vars("body_system")
    return found | {"log_likelihood": _both_arms(counts, gamma, one["theta"], weight)}


def _both_arms(counts: xr.Dataset, gamma: Any, theta: Any, weight: Any) -> Any:
    """Log likelihood of both arms without its constant; the indicator is summed out."""
    count, patients = (
        {arm: counts[name].sel(arm=arm, drop=True) for arm in ARMS}
        for name in ("count", "patients")
    )
    same, apart = (
        sum(
            count[arm] * odds - patients[arm] * np.logaddexp(0.0, odds)
            for arm, odds in zip(ARMS, both, strict=True)
        )
        for both in ((gamma, gamma), (gamma - theta / 2, gamma + theta / 2))
    )
    return np.logaddexp(np.log(weight) + same, np.log1p(-weight) + apart).sum("event")


KINDS: Mapping[str, Kind] = {
    "response": Kind(draw_response, response_of, by_response, "ni2025", "prior_trop2", draws=2000),
    "best_response": Kind(draw_best_response, best_response_of, by_response, "ni2025", "ihc"),
    "adverse_events": Kind(draw_events, events_of, by_event, "ni2025", draws=1000),
    "adverse_events_two_arms": Kind(draw_two_arms, two_arms_of, by_event, "ni2025", draws=1000),
}

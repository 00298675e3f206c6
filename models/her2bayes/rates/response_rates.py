"""Response rates by level of a factor: counts in, posterior rates and their differences out.

Rates from draws of ``response``: which part of the mixture each draw of a level belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.bayes.prior import Prior, complete
from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.printed.responses import OTHERS
from her2bayes.inference import estimates
from her2bayes.inference.estimates import estimate
from her2bayes.inference.fit import ExactFit, Fit, fit
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.rates import response as model
from her2bayes.rates.classical import MOST_COMPARED
from her2bayes.rates.exact_rows import exact_row
from her2bayes.rates.lattice import Rate
from her2bayes.rates.rate_exact import Hierarchy, Hyper, hierarchical


def rates(draws: xr.Dataset, seed: int, weight: float | None = None) -> xr.DataArray:
    """Return draws of the rate of each level (dims of ``draws``), between 0 and 1.

    A draw is that of the exchangeable part with probability ``together``, else that of the level
    on its own. Draws from the prior have seen no data: give them their ``weight`` instead.
    """
    share = draws["together"] if weight is None else xr.full_like(draws["together"], weight)
    chosen = np.random.default_rng(seed).uniform(size=share.shape) < share
    rate = draws["rate_together"].where(chosen, draws["rate_alone"])
    return rate.transpose("chain", "draw", ...).rename("rate")


def exchangeable(draws: xr.Dataset) -> xr.DataArray:
    """Return by level the posterior probability that it is exchangeable with the others."""
    return draws["together"].mean(("chain", "draw"))


def group_rate(shares: xr.DataArray, categories: tuple[str, ...]) -> xr.DataArray:
    """Return the rate of a group of best responses: the sum of their shares (dim ``category``)."""
    return shares.sel(category=list(categories)).sum("category")


MOST_SAMPLED = 24
"""Levels up to which rates are sampled: beyond, quadrature gives the same posterior in seconds."""

CAREFUL = 0.98
"""Acceptance asked of the sampler: with two levels the spread between them is wide open."""


@dataclass(frozen=True)
class Analysis:
    """One group of responses by one factor: its counts, its fit, draws of the rates by level.

    ``exact`` holds the same posterior by quadrature under each pooling ("exnex", "exchangeable",
    "none"), which alone answers a factor with more than ``MOST_SAMPLED`` levels.
    """

    group: str
    factor: str
    counts: xr.Dataset
    fit: Fit | ExactFit
    posterior: xr.DataArray | None
    prior: xr.DataArray | None
    exact: Mapping[str, Hierarchy]
    prior_rate: Rate


def fit_rates(
    tables: Mapping[tuple[str, str], xr.Dataset],
    store: Store | None,
    sampling: Sampling,
    say: Callable[[str], None],
    *,
    labels: Mapping[str, str],
    priors: Mapping[str, Prior] | None = None,
) -> tuple[Analysis, ...]:
    """Fit ResponseCounts by (group of responses, factor) with robust exchangeability."""
    careful = replace(sampling, target_accept=max(sampling.target_accept, CAREFUL))
    weight = model.exchangeable_weight(complete(priors, model.DEFAULT_PRIORS), "exnex")
    found = []
    for (group, factor), counts in tables.items():
        say(f"response rates: {group} by {labels.get(factor, factor)}")
        if counts.sizes["subgroup"] > MOST_SAMPLED:
            found.append(_computed(group, factor, counts, priors))
            continue
        done = fit(model.build, counts, priors=priors, sampling=careful, store=store)
        found.append(
            Analysis(
                group,
                factor,
                counts,
                done,
                rates(done.posterior, sampling.seed),
                rates(done.prior, sampling.seed + 1, weight),
                *_exact(counts, priors),
            )
        )
    return tuple(found)


def _computed(
    group: str, factor: str, counts: xr.Dataset, priors: Mapping[str, Prior] | None
) -> Analysis:
    model.design(counts)  # refuses impossible counts
    inputs = {
        "responders": counts["responders"].values.tolist(),
        "patients": counts["patients"].values.tolist(),
        **{name: str(value) for name, value in complete(priors, model.DEFAULT_PRIORS).items()},
    }
    done = ExactFit("rate_exact", inputs)
    return Analysis(group, factor, counts, done, None, None, *_exact(counts, priors))


def _exact(
    counts: xr.Dataset, priors: Mapping[str, Prior] | None
) -> tuple[dict[str, Hierarchy], Rate]:
    """Posterior by quadrature under each pooling, and the prior of a level under EXNEX."""
    known = complete(priors, model.DEFAULT_PRIORS)
    hyper = {
        pooling: Hyper(
            known["mu"]["mu"],
            known["mu"]["sigma"],
            known["tau"]["sigma"],
            model.exchangeable_weight(known, pooling),
            known["rate_alone"]["mu"],
            known["rate_alone"]["sigma"],
        )
        for pooling in model.POOLING
    }
    y, n = counts["responders"].values, counts["patients"].values
    found = {pooling: hierarchical(y, n, numbers) for pooling, numbers in hyper.items()}
    return found, hierarchical([0], [0], hyper["exnex"]).arms[0]


def rate_rows(analysis: Analysis, seed: int) -> Iterator[dict[str, Any]]:
    """Rates by level and their differences."""
    if isinstance(analysis.fit, ExactFit):
        yield from _computed_rows(analysis, analysis.fit)
        return
    assert analysis.posterior is not None  # a sampled fit has draws
    assert analysis.prior is not None
    posterior, prior = (
        draws.rename(subgroup="level") for draws in (analysis.posterior, analysis.prior)
    )
    together = analysis.exact["exnex"].exchangeable
    for place, level in enumerate(map(str, posterior["level"].to_numpy())):
        asked = Estimand("response_rate", analysis.group, ((analysis.factor, level),))
        note = f"probability of being exchangeable {together[place]:.2f}"
        if level == OTHERS:
            note += "; counted by taking the printed levels from all patients"
        yield estimated(
            asked, posterior.sel(level=level), prior.sel(level=level), analysis.fit, note
        )
    few = posterior.sizes["level"] <= MOST_COMPARED
    for a, b in estimates.pairs(posterior, "level") if few else ():
        after, before = (estimates.difference(d, "level", a, b) for d in (posterior, prior))
        contrast = Contrast(analysis.factor, a, b)
        asked = Estimand("response_rate_difference", analysis.group, contrast=contrast)
        yield estimated(asked, after, before, analysis.fit, "P(difference > 0)", positive=True)


def _computed_rows(analysis: Analysis, done: ExactFit) -> Iterator[dict[str, Any]]:
    exact = analysis.exact["exnex"]
    before = analysis.prior_rate
    for place, level in enumerate(map(str, analysis.counts["level"].to_numpy())):
        asked = Estimand("response_rate", analysis.group, ((analysis.factor, level),))
        note = f"probability of being exchangeable {exact.exchangeable[place]:.2f}"
        yield exact_row(asked, exact.arms[place], before, done, note=note)


def estimated(
    asked: Estimand,
    posterior: xr.DataArray,
    prior: xr.DataArray,
    result: Fit,
    note: str = "",
    *,
    positive: bool = False,
    reading: str = "",
) -> dict[str, Any]:
    """Row of one sampled quantity; ``positive`` adds the probability of a value above 0."""

    def bare(draws: xr.DataArray) -> xr.DataArray:
        return draws.drop_vars([n for n in draws.coords if n not in ("chain", "draw")])

    event = (lambda draws: draws > 0) if positive else None
    return estimate(
        asked, bare(posterior), bare(prior), result, event=event, note=note, reading=reading
    )

"""Binomial counts whose log odds are one of two, with known weight: the indicator summed out."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit


def log_likelihood(count: Any, patients: Any, log_odds: Any) -> Any:
    """Binomial log likelihood without the coefficient, which all log odds share."""
    import pymc as pm

    return count * log_odds - patients * pm.math.log1pexp(log_odds)


def first_share(count: Any, patients: Any, first: Any, second: Any, weight: Any) -> Any:
    """Posterior probability of the first log odds, given both."""
    import pymc as pm

    gain = log_likelihood(count, patients, first) - log_likelihood(count, patients, second)
    return weight / (weight + (1 - weight) * pm.math.exp(-gain))


def first_share_together(count: Any, patients: Any, first: Any, second: Any, weight: Any) -> Any:
    """The same where one indicator decides for all counts of the last axis."""
    import pymc as pm

    gain = log_likelihood(count, patients, first) - log_likelihood(count, patients, second)
    return weight / (weight + (1 - weight) * pm.math.exp(-gain.sum(axis=-1)))


def observe(
    name: str, count: Any, patients: Any, first: Any, second: Any, weight: Any, dims: str
) -> Any:
    """Observe ``count`` of ``patients``: log odds ``first`` with probability ``weight``.

    A weight of 0 or 1 leaves one part.
    """
    import pymc as pm

    return pm.CustomDist(
        name,
        patients,
        first,
        second,
        weight,
        logp=_log_probability,
        random=_random,
        dtype="int64",
        observed=count,
        dims=dims,
    )


def _log_probability(count: Any, patients: Any, first: Any, second: Any, weight: Any) -> Any:
    import pytensor.tensor as pt

    coefficient = (
        pt.gammaln(patients + 1) - pt.gammaln(count + 1) - pt.gammaln(patients - count + 1)
    )
    parts = [log_likelihood(count, patients, log_odds) for log_odds in (first, second)]
    return coefficient + pt.logaddexp(pt.log(weight) + parts[0], pt.log1p(-weight) + parts[1])


def _random(
    patients: Any, first: Any, second: Any, weight: Any, rng: Any = None, size: Any = None
) -> Any:
    # an indicator of its own for each count, and each draw of a batch
    shape = np.broadcast_shapes(*map(np.shape, (patients, first, second, weight)))
    chosen = rng.uniform(size=shape if size is None else size) < weight
    return rng.binomial(np.asarray(patients), expit(np.where(chosen, first, second)), size=size)


def observe_together(
    name: str,
    count: Any,
    patients: Any,
    first: Any,
    second: Any,
    weight: Any,
    dims: tuple[str, str],
) -> Any:
    """Observe counts of the last of ``dims``: all of log odds ``first`` with probability weight."""
    import pymc as pm

    return pm.CustomDist(
        name,
        patients,
        first,
        second,
        weight,
        logp=_log_probability_together,
        random=_random_together,
        signature="(k),(k),(k),()->(k)",
        dtype="int64",
        observed=count,
        dims=dims,
    )


def _log_probability_together(
    count: Any, patients: Any, first: Any, second: Any, weight: Any
) -> Any:
    import pytensor.tensor as pt

    coefficient = (
        pt.gammaln(patients + 1) - pt.gammaln(count + 1) - pt.gammaln(patients - count + 1)
    ).sum(axis=-1)
    parts = [log_likelihood(count, patients, log_odds).sum(axis=-1) for log_odds in (first, second)]
    return coefficient + pt.logaddexp(pt.log(weight) + parts[0], pt.log1p(-weight) + parts[1])


def _random_together(
    patients: Any, first: Any, second: Any, weight: Any, rng: Any = None, size: Any = None
) -> Any:
    shape = np.broadcast_shapes(np.shape(weight), *(np.shape(p)[:-1] for p in (first, second)))
    chosen = rng.uniform(size=shape if size is None else size) < weight
    return rng.binomial(np.asarray(patients), expit(np.where(chosen[..., None], first, second)))

"""What a choice of borrowing does over repeated trials: every outcome enumerated, none simulated.

A trial of n patients with true rate p has n + 1 outcomes with binomial probabilities; for each the
posterior is exact. Sums over them give the chance to claim a rate above a threshold (type-I error
where p is the threshold or below, power above it), bias, root mean squared error and coverage of
the 95 % interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from her2bayes.bayes.rate_lattice import Rate

COLUMNS = ("rate", "claims", "bias", "rmse", "coverage", "width")


def performance(
    prior: Rate,
    patients: int,
    rates: Sequence[float] | np.ndarray,
    threshold: float | None = None,
    certainty: float = 0.975,
) -> dict[str, np.ndarray]:
    """Operating characteristics of analysing ``patients`` with ``prior``, by true rate.

    A trial claims success where the posterior probability of a rate above ``threshold`` exceeds
    ``certainty``; without ``threshold`` it is the true rate itself, the edge of the null
    hypothesis. Returns the arrays of ``COLUMNS``.
    """
    counts = np.arange(patients + 1)
    posteriors = [prior.updated(int(y), patients) for y in counts]
    mean = np.array([posterior.mean() for posterior in posteriors])
    low, high = np.array([p.ppf(np.array([0.025, 0.975])) for p in posteriors]).T
    rows = []
    for rate in rates:
        chance = stats.binom.pmf(counts, patients, rate)
        limit = rate if threshold is None else threshold
        claims = np.array([1 - posterior.cdf(limit) > certainty for posterior in posteriors])
        error = mean - rate
        covered = (low <= rate) & (rate <= high)
        rows.append(
            (
                rate,
                chance @ claims,
                chance @ error,
                np.sqrt(chance @ error**2),
                chance @ covered,
                chance @ (high - low),
            )
        )
    return dict(zip(COLUMNS, np.array(rows, dtype=float).T, strict=True))

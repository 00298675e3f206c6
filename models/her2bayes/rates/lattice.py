"""Distributions of a rate on a lattice of log odds: updating, mixing, prediction, differences.

A density of ``log_odds = logit(rate)`` that is smooth on the spacing of the lattice is integrated
by the plain sum with an error that falls exponentially (trapezoidal rule; Trefethen & Weideman
2014, SIAM Review 56:385): what is called exact here carries far more digits than are printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import interpolate, special, stats

from her2bayes.errors import Fault, raise_if

HALF_WIDTH = 40.0
"""Log odds at the ends of the lattice; a rate of 1e-17 and its complement."""

_PLACES = 4096
_MOST_PLACES = 1 << 17


@dataclass(frozen=True)
class Rate:
    """Distribution of a rate: probability ``mass`` on each place of ``log_odds`` (equal steps).

    The methods are those of a frozen scipy distribution, on the scale of the rate.
    """

    log_odds: np.ndarray
    mass: np.ndarray

    @cached_property
    def rate(self) -> np.ndarray:
        """Rates at the places of the lattice."""
        return np.asarray(special.expit(self.log_odds))

    def mean(self) -> float:
        """Mean of the rate."""
        return float(self.mass @ self.rate)

    def std(self) -> float:
        """Standard deviation of the rate."""
        return float(np.sqrt(self.mass @ (self.rate - self.mean()) ** 2))

    @cached_property
    def _cumulated(self) -> interpolate.CubicHermiteSpline:
        """Cumulated probability: trapezoidal rule with its first correction (Euler-Maclaurin)."""
        sums = np.cumsum(self.mass) - self.mass / 2 - np.gradient(self.mass) / 12
        step = self.log_odds[1] - self.log_odds[0]
        return interpolate.CubicHermiteSpline(self.log_odds, sums, self.mass / step)

    def cdf(self, rate: float | np.ndarray) -> np.ndarray:
        """Probability of a rate at most this one."""
        with np.errstate(divide="ignore"):
            place = np.clip(special.logit(rate), self.log_odds[0], self.log_odds[-1])
        return np.clip(self._cumulated(place), 0.0, 1.0)

    def ppf(self, probability: float | Sequence[float] | np.ndarray) -> np.ndarray:
        """Quantile of the rate."""
        wanted = np.asarray(probability, dtype=float)
        sums = self._cumulated(self.log_odds)
        right = np.searchsorted(np.maximum.accumulate(sums), wanted).clip(1, sums.size - 1)
        low, high = self.log_odds[right - 1], self.log_odds[right]
        for _ in range(40):
            middle = (low + high) / 2
            below = self._cumulated(middle) < wanted
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.asarray(special.expit((low + high) / 2))

    def updated(self, responders: int, patients: int) -> Rate:
        """Posterior after ``responders`` of ``patients`` (Bayes' theorem on the lattice)."""
        weight = likelihood(responders, patients, self.log_odds) * self.mass
        return replace(self, mass=weight / weight.sum())

    def predictive(self, patients: int) -> np.ndarray:
        """Probability of 0, 1, ... ``patients`` responders among new patients."""
        inside = self.mass > self.mass.max() * 1e-18
        counts = np.arange(patients + 1)[:, None]
        return np.asarray(stats.binom.pmf(counts, patients, self.rate[inside]) @ self.mass[inside])


@dataclass(frozen=True)
class RateDifference:
    """Distribution of ``a - b``, with the methods of ``Rate``; values between -1 and 1."""

    a: Rate
    b: Rate

    def mean(self) -> float:
        """Mean of the difference."""
        return self.a.mean() - self.b.mean()

    def std(self) -> float:
        """Standard deviation of the difference."""
        return float(np.hypot(self.a.std(), self.b.std()))

    def cdf(self, difference: float) -> float:
        """Probability of a difference at most this one.

        The mean of integrals over b and over a, so that the mirrored question has the mirrored
        answer to the last digit.
        """
        below = self.b.mass @ self.a.cdf(np.clip(self.b.rate + difference, 0, 1))
        above = self.a.mass @ self.b.cdf(np.clip(self.a.rate - difference, 0, 1))
        return float((below + 1 - above) / 2)

    def ppf(self, probability: np.ndarray) -> np.ndarray:
        """Quantiles of the difference, by bisection to 1e-12."""
        found = []
        for wanted in np.atleast_1d(probability):
            low, high = -1.0, 1.0
            for _ in range(41):
                middle = (low + high) / 2
                low, high = (middle, high) if self.cdf(middle) < wanted else (low, middle)
            found.append((low + high) / 2)
        return np.array(found)


Computed = Rate | RateDifference


def lattice(patients: int = 0) -> np.ndarray:
    """Places fine enough for the likelihood of so many patients in one arm."""
    places = _PLACES
    while 2 * HALF_WIDTH / places > 0.5 / np.sqrt(max(patients, 1)) and places < _MOST_PLACES:
        places *= 2
    return np.linspace(-HALF_WIDTH, HALF_WIDTH, places, endpoint=False)


def likelihood(responders: int, patients: int, log_odds: np.ndarray) -> np.ndarray:
    """Binomial likelihood of the log odds, 1 at its maximum."""
    log = responders * log_odds - patients * np.logaddexp(0, log_odds)
    return np.asarray(np.exp(log - log.max()))


def beta(a: float, b: float, log_odds: np.ndarray | None = None) -> Rate:
    """Beta(a, b) of the rate; ``a`` and ``b`` above 0."""
    raise_if(
        [
            Fault("parameter of a beta distribution", column=name, value=value, allowed="above 0")
            for name, value in (("a", a), ("b", b))
            if not value > 0
        ]
    )
    places = lattice(int(a + b)) if log_odds is None else log_odds
    return from_log_density(a * places - (a + b) * np.logaddexp(0, places), places)


def from_log_density(log_density: np.ndarray, log_odds: np.ndarray) -> Rate:
    """Distribution whose density of the log odds is proportional to ``exp(log_density)``."""
    mass = np.exp(log_density - log_density.max())
    return Rate(log_odds, mass / mass.sum())


def mixture(weights: Sequence[float] | np.ndarray, parts: Sequence[Rate]) -> Rate:
    """Mixture of distributions on one lattice; the weights add up to 1."""
    if any(part.log_odds.size != parts[0].log_odds.size for part in parts):
        raise ValueError("the parts of a mixture lie on different lattices")
    mass = sum(float(w) * part.mass for w, part in zip(weights, parts, strict=True))
    return Rate(parts[0].log_odds, np.asarray(mass))


def probability_greater(a: Rate, b: Rate) -> float:
    """Probability that an independent draw of ``a`` lies above one of ``b``."""
    return float(a.mass @ b.cdf(a.rate))


def effective_sample_size(prior: Rate) -> float:
    """Return how many patients the prior is worth: expected local-information ratio.

    ELIR = E[i(rate) * rate * (1 - rate)] with i = -(d/d rate)^2 log density (Neuenschwander et al.
    2020, Biometrics 76:578), here after integration by parts, which needs first derivatives only:
    integral of rate (1 - rate) density'^2 / density, plus 2, minus the densities at 0 and 1.
    Beta(a, b) with a, b > 1 has a + b.
    """
    step = prior.log_odds[1] - prior.log_odds[0]
    inside = np.abs(prior.log_odds) < 30  # beyond, rate (1 - rate) loses its digits
    theta, mass = prior.log_odds[inside], np.maximum(prior.mass[inside], 1e-300)
    log_jacobian = -np.logaddexp(0, theta) - np.logaddexp(0, -theta)
    log_density = np.log(mass / step) - log_jacobian  # of the rate
    slope = _slope(log_density, step)
    weight = np.where(mass > mass.max() * 1e-13, mass, 0.0)
    ends = _end(log_density, weight, 0) + _end(log_density, weight, -1)
    return float((weight * slope**2 * np.exp(-log_jacobian)).sum() + 2 - ends)


def _slope(values: np.ndarray, step: float) -> np.ndarray:
    """Derivative by central differences of fourth order, of second order at the two ends."""
    slope = np.gradient(values, step)
    inner = values[:-4] - 8 * values[1:-3] + 8 * values[3:-1] - values[4:]
    slope[2:-2] = inner / (12 * step)
    return np.asarray(slope)


def _end(log_density: np.ndarray, weight: np.ndarray, side: int) -> float:
    """Density of the rate at 0 (side 0) or 1 (side -1), read where the mass still has digits."""
    place = np.flatnonzero(weight)[side]
    return float(np.exp(log_density[place]))

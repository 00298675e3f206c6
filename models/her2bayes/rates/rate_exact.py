"""Hierarchical binomial rates by quadrature: the judge of ``response``, and the MAP prior.

For arm j with responders[j] of patients[j] and theta[j] = logit(rate[j]):

    responders[j] ~ Binomial(patients[j], rate[j])
    theta[j] ~ weight * Normal(mu, tau) + (1 - weight) * Normal(own_mean, own_sd)
    mu       ~ Normal(mean, mean_sd)
    tau      ~ HalfNormal(spread)

Given mu and tau the arms are independent, and the likelihood of (mu, tau) from one arm is the
binomial likelihood convolved with Normal(0, tau): on a lattice of log odds one product of Fourier
transforms, exact for every tau down to 0. What is left is a sum over mu and tau (Gauss-Legendre,
twice: the second time over the range of tau that holds the posterior). ``weight`` 1 is
exchangeability, 0 no pooling, between them EXNEX (Neuenschwander et al. 2016, Pharm Stat 15:123).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy import interpolate, special, stats

from her2bayes.errors import Fault, raise_if

HALF_WIDTH = 40.0
"""Log odds at the ends of the lattice; a rate of 1e-17 and its complement."""

_PLACES = 4096
_MOST_PLACES = 1 << 17


# Distributions of a rate on a lattice of log odds: updating, mixing, prediction, differences.
#
# A density of ``log_odds = logit(rate)`` that is smooth on the spacing of the lattice is integrated
# by the plain sum with an error that falls exponentially (trapezoidal rule; Trefethen & Weideman
# 2014, SIAM Review 56:385): what is called exact here carries far more digits than are printed.


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


_NODES = 48
_NEGLIGIBLE = 1e-14
_TAIL = 6.0  # standard deviations at which the half-normal of tau is cut off: 2e-9 lies beyond


@dataclass(frozen=True)
class Hyper:
    """Fixed numbers of the model, on the scale of log odds."""

    mean: float = 0.0
    mean_sd: float = 2.0
    spread: float = 1.0
    weight: float = 1.0
    own_mean: float = 0.0
    own_sd: float = 2.0


@dataclass(frozen=True)
class Hierarchy:
    """Posterior of ``hierarchical``: each arm's rate, that of a new exchangeable arm, tau.

    ``exchangeable`` is each arm's posterior probability to belong to the exchangeable part.
    """

    arms: tuple[Rate, ...]
    new: Rate
    mean: Rate
    tau: np.ndarray
    tau_mass: np.ndarray
    exchangeable: np.ndarray

    def tau_summary(self) -> dict[str, float]:
        """Mean and standard deviation of tau."""
        mean = float(self.tau_mass @ self.tau)
        return {"mean": mean, "sd": float(np.sqrt(self.tau_mass @ (self.tau - mean) ** 2))}


def own_sd(typical: float) -> float:
    """Sd of log odds worth one patient at the rate ``typical``: variance 1/p + 1/(1 - p)."""
    return float(np.sqrt(1 / typical + 1 / (1 - typical)))


def hierarchical(
    responders: Sequence[int] | np.ndarray,
    patients: Sequence[int] | np.ndarray,
    hyper: Hyper = Hyper(),
) -> Hierarchy:
    """Posterior of every arm's rate; an arm without patients is answered by its prior.

    Raises ``BadInput`` for counts that are no binomial counts and for a weight outside 0 to 1.
    """
    y, n = np.asarray(responders, dtype=float), np.asarray(patients, dtype=float)
    raise_if(_faults(y, n, hyper))
    places = lattice(int(n.max(initial=0)))
    arms = _Arms(places, y, n, hyper)
    nodes, weights = _tau_nodes(0.0, _TAIL * hyper.spread, hyper.spread)
    for _ in range(2):
        evidence = np.array([arms.evidence(tau) for tau in nodes])
        log = evidence + np.log(weights)
        held = np.flatnonzero(log > log.max() + np.log(_NEGLIGIBLE))
        low = nodes[max(held[0] - 1, 0)] if held[0] else 0.0
        high = nodes[min(held[-1] + 1, len(nodes) - 1)]
        nodes, weights = _tau_nodes(low, high, hyper.spread)
    log = np.array([arms.evidence(tau) for tau in nodes]) + np.log(weights)
    mass = np.exp(log - log.max())
    return arms.collect(nodes, mass / mass.sum())


def _tau_nodes(low: float, high: float, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of tau and their weights times the half-normal density."""
    x, w = leggauss(_NODES)
    nodes = low + (high - low) * (x + 1) / 2
    return nodes, w * (high - low) / 2 * stats.halfnorm.pdf(nodes, scale=spread)


class _Arms:
    """Likelihoods of the arms on one lattice, and what follows for one value of tau."""

    def __init__(self, places: np.ndarray, y: np.ndarray, n: np.ndarray, hyper: Hyper) -> None:
        self.places, self.hyper = places, hyper
        self.step = places[1] - places[0]
        self.frequency = 2 * np.pi * np.fft.rfftfreq(places.size, self.step)
        self.likelihood = np.array([likelihood(a, b, places) for a, b in zip(y, n, strict=True)])
        self.likelihood = self.likelihood.reshape(len(y), places.size)
        self.transform = np.fft.rfft(self.likelihood)
        self.own = stats.norm.pdf(places, hyper.own_mean, hyper.own_sd) * self.step
        self.alone = self.likelihood @ self.own
        self.log_prior = stats.norm.logpdf(places, hyper.mean, hyper.mean_sd)

    def _smooth(self, transform: np.ndarray, tau: float) -> np.ndarray:
        """Convolve with Normal(0, tau)."""
        kernel = np.exp(-((tau * self.frequency) ** 2) / 2)
        return np.fft.irfft(transform * kernel, self.places.size)

    def _marginal(self, tau: float) -> np.ndarray:
        """Likelihood of mu from each arm, dims (arm, place)."""
        weight = self.hyper.weight
        together = np.maximum(self._smooth(self.transform, tau), 1e-300)
        return weight * together + (1 - weight) * self.alone[:, None]

    def _joint(self, marginal: np.ndarray) -> np.ndarray:
        return np.asarray(self.log_prior + np.log(marginal).sum(axis=0))

    def evidence(self, tau: float) -> float:
        """Log marginal likelihood of tau, up to a constant."""
        joint = self._joint(self._marginal(tau))
        return float(joint.max() + np.log(np.exp(joint - joint.max()).sum()))

    def collect(self, nodes: np.ndarray, mass: np.ndarray) -> Hierarchy:
        """Average over tau."""
        count = len(self.likelihood)
        arms = np.zeros((count, self.places.size))
        new, mean = np.zeros(self.places.size), np.zeros(self.places.size)
        together = np.zeros(count)
        for tau, part in zip(nodes, mass, strict=True):
            for each, shared in self._conditional(tau, arms, part):
                together[each] += shared
            marginal = self._marginal(tau)
            mu = _normalised(self._joint(marginal))
            mean += part * mu
            new += part * np.maximum(self._smooth(np.fft.rfft(mu), tau), 0.0)
        return Hierarchy(
            tuple(Rate(self.places, row / row.sum()) for row in arms),
            Rate(self.places, new / new.sum()),
            Rate(self.places, mean / mean.sum()),
            nodes,
            mass,
            together,
        )

    def _conditional(
        self, tau: float, arms: np.ndarray, part: float
    ) -> Iterator[tuple[int, float]]:
        """Add each arm's posterior given tau to ``arms``; yield its exchangeable share."""
        marginal = self._marginal(tau)
        mu = _normalised(self._joint(marginal))
        others = mu / marginal  # what the other arms and the prior say of mu
        spread = np.maximum(self._smooth(np.fft.rfft(others), tau), 0.0)
        weight = self.hyper.weight
        shared = weight * self.likelihood * spread
        alone = (1 - weight) * self.likelihood * self.own * others.sum(axis=1, keepdims=True)
        total = shared.sum(axis=1) + alone.sum(axis=1)
        arms += part * (shared + alone) / total[:, None]
        for arm, share in enumerate(shared.sum(axis=1) / total):
            yield arm, part * float(share)


def joint_draws(
    responders: Sequence[int] | np.ndarray,
    patients: Sequence[int] | np.ndarray,
    hyper: Hyper,
    size: int,
    seed: int,
) -> np.ndarray:
    """Joint draws of the arms' rates, dims (arm, draw), by composition: tau, mu, then each arm.

    Spreads and means are drawn from the same quadrature as ``hierarchical``, evenly over their
    distributions; given them an arm is drawn from its own binomial likelihood times its prior.
    """
    rng = np.random.default_rng([seed, 13])
    y, n = np.asarray(responders, dtype=float), np.asarray(patients, dtype=float)
    known = hierarchical(y, n, hyper)
    arms = _Arms(known.mean.log_odds, y, n, hyper)
    even = (np.arange(size) + 0.5) / size
    node = np.searchsorted(np.cumsum(known.tau_mass), even).clip(max=known.tau.size - 1)
    mu, chance = np.empty(size), np.empty((y.size, size))
    for k in np.unique(node):
        here = node == k
        marginal = arms._marginal(known.tau[k])
        law = Rate(arms.places, _normalised(arms._joint(marginal)))
        mu[here] = special.logit(law.ppf((rng.permutation(here.sum()) + 0.5) / here.sum()))
        alone = (1 - hyper.weight) * arms.alone
        for arm, whole in enumerate(marginal):
            chance[arm, here] = 1 - alone[arm] / np.interp(mu[here], arms.places, whole)
    tau, found = known.tau[node], np.empty((y.size, size))
    for arm in range(y.size):
        together = _conditional(y[arm], n[arm], mu, tau, rng.random(size))
        own = Rate(arms.places, _normalised(np.log(arms.likelihood[arm] * arms.own + 1e-300)))
        apart = special.logit(own.ppf(rng.permutation(even))) if hyper.weight < 1 else together
        found[arm] = np.where(rng.random(size) < chance[arm], together, apart)
    order = rng.permutation(size)
    return np.asarray(special.expit(found[:, order]))


_SPREAD = np.sinh(np.linspace(-4.5, 4.5, 401))  # fine about the mode, 45 of its widths to each side
_STEPS = np.cosh(np.linspace(-4.5, 4.5, 401))


def _conditional(
    y: float, n: float, mu: np.ndarray, tau: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """Quantiles ``share`` of log odds with density binomial likelihood times Normal(mu, tau)."""
    low, high = mu - n * tau**2, mu + n * tau**2  # the slope of the likelihood is within -n and n
    for _ in range(60):
        middle = (low + high) / 2
        rises = y - n * special.expit(middle) > (middle - mu) / tau**2
        low, high = np.where(rises, middle, low), np.where(rises, high, middle)
    rate = special.expit(low)
    width = 1 / np.sqrt(n * rate * (1 - rate) + tau**-2.0)
    places = low[:, None] + width[:, None] * _SPREAD
    away = (places - mu[:, None]) / tau[:, None]
    log = y * places - n * np.logaddexp(0, places) - away**2 / 2
    mass = np.exp(log - log.max(axis=1, keepdims=True)) * _STEPS
    sums = np.cumsum((mass[:, 1:] + mass[:, :-1]) / 2, axis=1)
    sums /= sums[:, -1:]
    at = (sums < share[:, None]).sum(axis=1)
    rows = np.arange(mu.size)
    before = np.where(at > 0, sums[rows, at - 1], 0.0)
    part = (share - before) / (sums[rows, at] - before)
    return np.asarray(places[rows, at] + part * (places[rows, at + 1] - places[rows, at]))


def _normalised(log: np.ndarray) -> np.ndarray:
    mass = np.exp(log - log.max())
    return np.asarray(mass / mass.sum())


def _faults(y: np.ndarray, n: np.ndarray, hyper: Hyper) -> list[Fault]:
    faults = []
    whole = np.isfinite(y).all() and np.isfinite(n).all() and (y % 1 == 0).all()
    if y.shape != n.shape or y.ndim != 1 or not whole or (y < 0).any() or (y > n).any():
        allowed = "whole numbers, 0 <= responders <= patients, one pair for each arm"
        value = list(zip(y.ravel().tolist(), n.ravel().tolist(), strict=False))
        faults.append(Fault("responders of patients", value=value, allowed=allowed))
    if not 0 <= hyper.weight <= 1:
        faults.append(Fault("exchangeable weight", value=hyper.weight, allowed="0 to 1"))
    faults += [
        Fault(f"scale '{name}'", value=value, allowed="above 0")
        for name, value in (("spread", hyper.spread), ("mean_sd", hyper.mean_sd))
        if not value > 0
    ]
    return faults

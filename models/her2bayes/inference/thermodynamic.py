"""Normalising constants of power posteriors by thermodynamic integration over the power.

With p(x | a) proportional to p(x) L(x)^a and constant C(a), log C(a) - log C(0) is the integral of
E[log L | t] over t from 0 to a (Gelman & Meng 1998; Friel & Pettitt 2008). The expectation is steep
where a is near 0: with a = u^4 it is smooth in u, and Gauss-Legendre nodes of u need no point at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre

EXPONENT = 4


@dataclass(frozen=True)
class Nodes:
    """Nodes of the power in (0, 1), their quadrature weights, and integrals up to any power."""

    power: np.ndarray
    weight: np.ndarray

    def integral_to(self, power: np.ndarray) -> np.ndarray:
        """Matrix (powers, nodes) that turns values at the nodes into integrals from 0."""
        u = np.atleast_1d(np.asarray(power, float)) ** (1 / EXPONENT)
        number = len(self.power)
        at_nodes = legendre.legvander(2 * self.power ** (1 / EXPONENT) - 1, number - 1)
        primitive = np.zeros((len(u), number))
        for degree in range(number):
            term = legendre.Legendre.basis(degree, domain=[0, 1]).integ()
            primitive[:, degree] = term(u) - term(0.0)
        slope = EXPONENT * self.power ** (1 - 1 / EXPONENT)
        return np.asarray(primitive @ np.linalg.inv(at_nodes) * slope)


def nodes(number: int) -> Nodes:
    """``number`` nodes; ten are enough for hundreds of events."""
    x, w = legendre.leggauss(number)
    u = (x + 1) / 2
    return Nodes(u**EXPONENT, w / 2 * EXPONENT * u ** (EXPONENT - 1))


@dataclass(frozen=True)
class Weight:
    """Posterior of the power of a normalised power prior on ``nodes``, uniform before the data.

    ``share`` are the probabilities of the nodes as quadrature weights; ``error`` is the Monte-Carlo
    standard error of the log density at power 1 against power 0.
    """

    nodes: Nodes
    log_density: np.ndarray
    error: float
    _gap: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """Weights of the nodes, with sum 1."""
        mass = self.nodes.weight * np.exp(self.log_density - self.log_density.max())
        return np.asarray(mass / mass.sum())

    def log_at(self, power: np.ndarray) -> np.ndarray:
        """Log density against that at power 0."""
        return self.nodes.integral_to(power) @ self._gap

    def quantiles(self, at: tuple[float, ...]) -> tuple[float, ...]:
        """Quantiles of the power."""
        grid = np.linspace(0, 1, 2001) ** 2
        log = self.log_at(grid)
        density = np.exp(log - log.max())
        total = np.append(0.0, np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid)))
        return tuple(float(v) for v in np.interp(at, total / total[-1], grid))

    @property
    def mean(self) -> float:
        """Mean of the power."""
        return float(self.share @ self.nodes.power)


def weight_posterior(
    found: Nodes, with_data: np.ndarray, without: np.ndarray, errors: np.ndarray
) -> Weight:
    """Posterior of the power from E[log L] at the nodes, with and without the other data.

    p(a | data) is proportional to M(a) / C(a): M the constant with the data, C without. ``errors``
    are the Monte-Carlo standard errors of ``with_data - without``.
    """
    gap = with_data - without
    log_density = found.integral_to(found.power) @ gap
    error = float(np.sqrt(((found.integral_to(np.ones(1))[0] * errors) ** 2).sum()))
    return Weight(found, log_density, error, gap)


def bridge(first: np.ndarray, second: np.ndarray, rounds: int = 200) -> float:
    """Log ratio of two constants from log density ratios (one over two) at draws of each.

    Optimal bridge sampling (Meng & Wong 1996).
    """
    middle = float(np.median(np.concatenate([first, second])))
    one, two = first - middle, second - middle
    shares = np.log(len(one) / (len(one) + len(two))), np.log(len(two) / (len(one) + len(two)))
    ratio = 0.0
    for _ in range(rounds):
        above = np.logaddexp.reduce(two - np.logaddexp(shares[0] + two, shares[1] + ratio))
        below = np.logaddexp.reduce(-np.logaddexp(shares[0] + one, shares[1] + ratio))
        ratio = float(above - np.log(len(two)) - below + np.log(len(one)))
    return ratio + middle

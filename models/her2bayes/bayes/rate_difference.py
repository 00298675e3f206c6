"""Difference of two independent rates, computed on their lattices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from her2bayes.bayes.rate_lattice import Rate


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

"""Prior distributions of a response rate from external responders: named choices, all exact.

With y of n responders outside, rate theta, and an initial Beta(a, b) of the rate (uniform unless
given), each function returns the distribution of theta before the new patients are seen:

    none               Beta(a, b)
    full               Beta(a + y, b + n - y)                                  pooling
    power              Beta(a + d y, b + d (n - y)),  d in [0, 1] given        Ibrahim & Chen 2000
    normalised_power   p(theta, d) = likelihood^d Beta(a, b) / C(d) * p(d)     Duan, Ye & Smith 2006
                       C(d) = B(a + d y, b + d (n - y)) / B(a, b),  d ~ Beta
    commensurate       logit theta ~ Normal(logit theta_outside, tau)          Hobbs et al. 2011
                       theta_outside ~ Beta(a + y, b + n - y),  tau ~ HalfNormal(0.5)
    predictive         logit theta, logit theta_study ~ Normal(mu, tau)        Neuenschwander 2010
                       mu ~ Normal,  tau ~ HalfNormal                          (MAP prior)
    robust             weight * predictive + (1 - weight) * vague              Schmidli et al. 2014

``C(d)`` keeps the discount d from learning of itself from the size of the outside data. The weight
of ``robust`` decides the answer where the data conflict with the prior: it has no default. Several
outside studies are pooled except by ``predictive``, which models how they differ.

What a choice of borrowing does over repeated trials: every outcome enumerated, none simulated.

A trial of n patients with true rate p has n + 1 outcomes with binomial probabilities; for each the
posterior is exact. Sums over them give the chance to claim a rate above a threshold (type-I error
where p is the threshold or below, power above it), bias, root mean squared error and coverage of
the 95 % interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy import stats
from scipy.special import betaln

from her2bayes.errors import Fault, raise_if
from her2bayes.rates.rate_exact import (
    Hyper,
    Rate,
    beta,
    from_log_density,
    hierarchical,
    lattice,
    mixture,
)

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


COMMENSURATE_SPREAD = 0.5
"""Scale of tau, log odds: median 0.34, 95 % below 1.1, an odds ratio of 3."""

MAP = Hyper(mean=0.0, mean_sd=2.0, spread=1.0)
"""Mean of log odds Normal(0, 2), spread between studies HalfNormal(1), as RBesT recommends."""

_NODES = 64


@dataclass(frozen=True)
class Outside:
    """External studies of the same response: responders and patients, one entry a study."""

    responders: tuple[int, ...]
    patients: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse counts that are none."""
        y, n = self.responders, self.patients
        good = len(y) == len(n) > 0 and all(
            0 <= a <= b and b > 0 for a, b in zip(y, n, strict=True)
        )
        if not good:
            allowed = "0 <= responders <= patients, one pair for each study, at least one"
            raise_if([Fault("external counts", value=list(zip(y, n, strict=False)),
                            allowed=allowed)])  # fmt: skip

    @property
    def total(self) -> tuple[int, int]:
        """Responders and patients of all studies."""
        return sum(self.responders), sum(self.patients)


Initial = tuple[float, float]
UNIFORM: Initial = (1.0, 1.0)


def places(*patients: int) -> np.ndarray:
    """Lattice on which all choices for so many patients, inside and outside, can be compared."""
    return lattice(sum(patients))


def none(log_odds: np.ndarray, initial: Initial = UNIFORM) -> Rate:
    """Prior without the outside."""
    return beta(*initial, log_odds)


def full(outside: Outside, log_odds: np.ndarray, initial: Initial = UNIFORM) -> Rate:
    """Prior that takes outside patients for patients of this study."""
    return power(outside, 1.0, log_odds, initial)


def power(
    outside: Outside, discount: float, log_odds: np.ndarray, initial: Initial = UNIFORM
) -> Rate:
    """Fixed power prior: an outside patient counts as ``discount`` patients."""
    raise_if(_share("discount", discount))
    y, n = outside.total
    return beta(initial[0] + discount * y, initial[1] + discount * (n - y), log_odds)


@dataclass(frozen=True)
class NormalisedPower:
    """Normalised power prior on nodes of the discount: ``weight`` before the new data."""

    discount: np.ndarray
    weight: np.ndarray
    parts: tuple[Rate, ...]
    shapes: np.ndarray

    @property
    def prior(self) -> Rate:
        """Marginal prior of the rate."""
        return mixture(self.weight, self.parts)

    def discount_after(self, responders: int, patients: int) -> np.ndarray:
        """Posterior weight of each node: beta-binomial probability of the new responders."""
        a, b = self.shapes
        log = betaln(a + responders, b + patients - responders) - betaln(a, b)
        weight = self.weight * np.exp(log - log.max())
        return np.asarray(weight / weight.sum())

    def discount_mean(self, responders: int, patients: int) -> float:
        """Posterior mean of the discount."""
        return float(self.discount_after(responders, patients) @ self.discount)


def normalised_power(
    outside: Outside,
    log_odds: np.ndarray,
    initial: Initial = UNIFORM,
    discount: Initial = UNIFORM,
) -> NormalisedPower:
    """Power prior whose discount is learned, with its normalising constant; d ~ Beta(discount).

    With the constant the rate given the discount is the beta distribution of ``power``, whatever
    the size of the outside data.
    """
    x, w = leggauss(_NODES)
    nodes, weight = (x + 1) / 2, w / 2
    weight = weight * stats.beta.pdf(nodes, *discount)
    y, n = outside.total
    shapes = np.array([initial[0] + nodes * y, initial[1] + nodes * (n - y)])
    parts = tuple(beta(a, b, log_odds) for a, b in shapes.T)
    return NormalisedPower(nodes, weight / weight.sum(), parts, shapes)


def commensurate(
    outside: Outside,
    log_odds: np.ndarray,
    initial: Initial = UNIFORM,
    spread: float = COMMENSURATE_SPREAD,
) -> Rate:
    """Prior centred at the outside rate with learned distance; a spread of 0 is pooling."""
    if spread < 0:
        raise_if([Fault("spread of a commensurate prior", value=spread, allowed="0 or more")])
    centre = full(outside, log_odds, initial)
    if spread == 0:
        return centre
    step = log_odds[1] - log_odds[0]
    frequency = 2 * np.pi * np.fft.rfftfreq(log_odds.size, step)
    x, w = leggauss(_NODES)
    tau = 6 * spread * (x + 1) / 2
    weight = w * stats.halfnorm.pdf(tau, scale=spread)
    kernel = weight @ np.exp(-((tau[:, None] * frequency) ** 2) / 2) / weight.sum()
    mass = np.maximum(np.fft.irfft(np.fft.rfft(centre.mass) * kernel, log_odds.size), 0.0)
    return Rate(log_odds, mass / mass.sum())


def predictive(outside: Outside, log_odds: np.ndarray, hyper: Hyper = MAP) -> Rate:
    """Meta-analytic-predictive prior: the rate of one more study like those outside."""
    found = hierarchical(outside.responders, outside.patients, hyper).new
    if found.log_odds.size == log_odds.size:
        return found
    held = np.log(np.maximum(found.mass, 1e-300))
    return from_log_density(np.interp(log_odds, found.log_odds, held), log_odds)


def robust(informative: Rate, weight: float, vague: Rate) -> Rate:
    """Mixture with a vague part: ``weight`` 1 is the informative prior, 0 the vague one.

    ``weight`` is that of the informative part (RBesT's ``robustify`` asks for the other one). It
    must be given. Raises ``BadInput`` outside 0 to 1.
    """
    raise_if(_share("weight", weight))
    return mixture((weight, 1 - weight), (informative, vague))


def weight_after(
    informative: Rate, weight: float, vague: Rate, responders: int, patients: int
) -> float:
    """Posterior weight of the informative part of ``robust``."""
    parts = [prior.predictive(patients)[responders] for prior in (informative, vague)]
    return float(weight * parts[0] / (weight * parts[0] + (1 - weight) * parts[1]))


def conflict(prior: Rate, responders: int, patients: int) -> float:
    """Prior predictive probability of responders no likelier than those seen (Box 1980).

    Small where the data lie where the prior did not expect them; it judges the prior, not the
    treatment.
    """
    expected = prior.predictive(patients)
    return float(min(1.0, expected[expected <= expected[responders] * (1 + 1e-7)].sum()))


def tipping(
    informative: Rate,
    vague: Rate,
    responders: int,
    patients: int,
    threshold: float,
    weights: Sequence[float] | np.ndarray,
) -> dict[str, np.ndarray]:
    """Posterior of the rate for each weight of the informative part.

    Returns by weight: ``weight``, ``after`` (posterior weight), ``mean``, ``lower``, ``upper``
    (95 %, equal-tailed) and ``above`` (probability of a rate above ``threshold``).
    """
    columns: dict[str, list[float]] = {
        name: [] for name in ("weight", "after", "mean", "lower", "upper", "above")
    }
    for weight in weights:
        posterior = robust(informative, float(weight), vague).updated(responders, patients)
        low, high = posterior.ppf(np.array([0.025, 0.975]))
        after = weight_after(informative, float(weight), vague, responders, patients)
        found = (weight, after, posterior.mean(), low, high, 1 - posterior.cdf(threshold))
        for name, value in zip(columns, found, strict=True):
            columns[name].append(float(value))
    return {name: np.array(values) for name, values in columns.items()}


def tips_at(table: dict[str, np.ndarray], probability: float) -> tuple[float, ...]:
    """Weights at which the probability ``above`` crosses ``probability``, by interpolation."""
    gap = table["above"] - probability
    cross = np.flatnonzero(np.sign(gap[:-1]) * np.sign(gap[1:]) < 0)
    weight = table["weight"]
    return tuple(
        float(weight[i] + (weight[i + 1] - weight[i]) * gap[i] / (gap[i] - gap[i + 1]))
        for i in cross
    )


def _share(name: str, value: float) -> list[Fault]:
    if 0 <= value <= 1:
        return []
    return [Fault(f"{name} of outside data", value=value, allowed="0 to 1, and it must be given")]

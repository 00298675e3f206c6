"""Borrowing for one constant hazard: every choice by quadrature over its logarithm, none sampled.

With d events in T person-months here and d0 in T0 elsewhere, x the log hazard, prior p(x) and the
Poisson kernels k(x) = d x - T exp(x), k0(x) likewise, each choice is a density of x before the own
patients are seen, up to a constant:

    none               p(x)
    full               p(x) exp(k0(x))                                      pooling
    power              p(x) exp(a k0(x)),   a in [0, 1] given               Ibrahim & Chen 2000
    normalised_power   integral of p(x) exp(a k0(x)) / C(a) over a ~ Beta   Duan, Ye & Smith 2006
                       C(a) = integral of p(x) exp(a k0(x)) over x
    commensurate       p(x) e(x; tau),      tau ~ HalfNormal(0.5)           Hobbs et al. 2011
                       e(x; tau) = E exp(k0(x + offset)),  offset ~ Normal(0, tau)
    robust             p(x) (w e(x; commensurate) + (1 - w) e(x; 1)),  w given

The vague part of ``robust`` has an offset with sd 1: what is known elsewhere is then worth one
event. ``survival_borrowing`` has the same choices for the whole survival model.

``operating_characteristics`` says what each choice does over repeated trials. A trial has the own
number of patients, each followed until the event or for the own median follow-up; its true hazard
is ``ratio`` times the rate seen elsewhere, so that ratios other than 1 are conflict between the
prior and the data. The external patients are those given. Every posterior is computed, none is
approximated; factors and a hazard that changes with time are left out of these trials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy import stats
from scipy.special import logsumexp

from her2bayes.errors import BadInput, Fault

if TYPE_CHECKING:
    import pandas as pd

TAU = 0.5
"""Scale of tau, log hazard: median 0.34, 95 % below 1.1, a hazard ratio of 3."""

VAGUE = 1.0
"""Sd of the offset in the vague part: the log hazard of one event has a standard error of 1."""

STEP = 0.01
_NODES = 64

RATIOS = (0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0)
AT_ONCE = 500
CERTAINTY = 0.975
MEASURES = ("claims", "bias", "square", "covered", "width")


@dataclass(frozen=True)
class Hazard:
    """Distributions of a log hazard on equal steps ``x``: ``log_density`` up to a constant."""

    x: np.ndarray
    log_density: np.ndarray

    def updated(self, events: np.ndarray, months: np.ndarray) -> np.ndarray:
        """Probabilities of the steps after own data, one row a trial: (trials, steps)."""
        log = self.log_density + kernel(self.x, events, months)
        mass = np.exp(log - log.max(axis=1, keepdims=True))
        return np.asarray(mass / mass.sum(axis=1, keepdims=True))

    @property
    def mass(self) -> np.ndarray:
        """Probabilities of the steps before own data."""
        return self.updated(np.zeros(1), np.zeros(1))[0]


def kernel(x: np.ndarray, events: np.ndarray, months: np.ndarray) -> np.ndarray:
    """Log likelihood of constant hazards, without its constant: (trials, steps)."""
    d, t = (np.atleast_1d(np.asarray(v, float))[:, None] for v in (events, months))
    return d * x - t * np.exp(x)


def places(prior: Any, events: float, months: float) -> np.ndarray:
    """Steps that hold the prior and what the events elsewhere say, an event more or less."""
    seen = np.log((events + 0.5) / months)
    low, high = prior.ppf([1e-8, 1 - 1e-8])
    return np.arange(min(low, seen - 4.0), max(high, seen + 4.0), STEP)


@dataclass(frozen=True)
class Choices:
    """Every choice for ``events`` in ``months`` elsewhere.

    ``prior`` is a frozen scipy distribution of the log hazard.
    """

    prior: Any
    events: float
    months: float
    x: np.ndarray

    def none(self) -> Hazard:
        """Nothing is borrowed."""
        return self.power(0.0)

    def full(self) -> Hazard:
        """Patients elsewhere count like own ones."""
        return self.power(1.0)

    def power(self, weight: float) -> Hazard:
        """Events and months elsewhere times ``weight``."""
        return Hazard(self.x, self._prior + weight * self._kernel)

    def constant(self, weight: np.ndarray) -> np.ndarray:
        """Log C(a) for each weight a."""
        log = self._prior + np.atleast_1d(weight)[:, None] * self._kernel
        return np.asarray(logsumexp(log, axis=1) + np.log(STEP))

    def normalised_power(self) -> Hazard:
        """Power prior whose weight is learned, uniform before the data."""
        nodes, share = _unit_nodes()
        parts = self._prior + nodes[:, None] * self._kernel - self.constant(nodes)[:, None]
        return Hazard(self.x, logsumexp(parts + np.log(share)[:, None], axis=0))

    def weight_after(self, events: float, months: float, weight: np.ndarray) -> np.ndarray:
        """Posterior density of the weight of ``normalised_power`` at ``weight``."""
        nodes, share = _unit_nodes()
        own = kernel(self.x, np.array([events]), np.array([months]))[0]

        def log_density(a: np.ndarray) -> np.ndarray:
            joint = self._prior + a[:, None] * self._kernel + own
            return np.asarray(logsumexp(joint, axis=1) + np.log(STEP) - self.constant(a))

        total = logsumexp(log_density(nodes) + np.log(share))
        return np.asarray(np.exp(log_density(np.asarray(weight, float)) - total))

    def commensurate(self, spread: float = TAU) -> Hazard:
        """Offset between the studies of learned size; a spread of 0 is pooling."""
        return Hazard(self.x, self._prior + (self._shifted(spread) if spread else self._kernel))

    def vague(self) -> Hazard:
        """Vague part of ``robust``."""
        offset = np.exp(-0.5 * (self._gaps / VAGUE) ** 2)
        return Hazard(self.x, self._prior + self._smoothed(offset / offset.sum()))

    def robust(self, weight: float) -> Hazard:
        """Mixture of ``commensurate`` (share ``weight``, to be given) and ``vague``."""
        if not 0 <= weight <= 1:
            raise BadInput(Fault("weight of a robust prior", value=weight, allowed="0 to 1"))
        parts = [self.commensurate().log_density, self.vague().log_density]
        with np.errstate(divide="ignore"):
            share = np.log([weight, 1 - weight])
        return Hazard(self.x, np.logaddexp(parts[0] + share[0], parts[1] + share[1]))

    @property
    def _prior(self) -> np.ndarray:
        return np.asarray(self.prior.logpdf(self.x))

    @property
    def _kernel(self) -> np.ndarray:
        found = kernel(self.x, np.array([self.events]), np.array([self.months]))[0]
        return np.asarray(found - found.max())

    @property
    def _gaps(self) -> np.ndarray:
        half = int(8 / STEP)
        return STEP * np.arange(-half, half + 1)

    def _shifted(self, spread: float) -> np.ndarray:
        """Log of E exp(k0(x + offset)), the offset's size tau averaged over its prior."""
        nodes, share = _unit_nodes()
        tau = stats.halfnorm.ppf(nodes, scale=spread)
        # probability of each step, not density at it: a small tau is narrower than a step
        edges = np.append(self._gaps - STEP / 2, self._gaps[-1] + STEP / 2)
        inside = np.diff(stats.norm.cdf(edges[None, :] / tau[:, None]), axis=1)
        return self._smoothed(share @ inside)

    def _smoothed(self, offset: np.ndarray) -> np.ndarray:
        from scipy.signal import fftconvolve

        half = len(offset) // 2
        wide = np.pad(np.exp(self._kernel), half, mode="edge")
        return np.log(np.maximum(fftconvolve(wide, offset, mode="valid"), 1e-300))


def _unit_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes on (0, 1), denser towards 0 where C(a) bends, and their weights."""
    x, w = leggauss(_NODES)
    u = (x + 1) / 2
    return u**3, 1.5 * w * u**2


def effective_events(x: np.ndarray, mass: np.ndarray) -> float:
    """Worth of a distribution of a log hazard in events: expected local information.

    One event carries information 1 about the log hazard, so that the expected local-information
    ratio (Neuenschwander et al. 2020) is E[-(log p)''].
    """
    log = np.log(np.maximum(mass, 1e-250))
    bend = -(log[2:] - 2 * log[1:-1] + log[:-2]) / (x[1] - x[0]) ** 2
    inside = mass[1:-1] > 1e-12 * mass.max()
    return float((bend * mass[1:-1])[inside].sum() / mass[1:-1][inside].sum())


@dataclass(frozen=True)
class Design:
    """Trials of ``patients`` followed for ``months``; ``events`` in ``person_months`` elsewhere.

    ``mu`` and ``sigma`` are those of the normal prior of the log hazard.
    """

    patients: int
    months: float
    events: float
    person_months: float
    mu: float
    sigma: float
    robust_weight: float | None = None
    discounts: tuple[float, ...] = (0.25, 0.5)


def choices(design: Design) -> dict[str, Hazard]:
    """Every choice of borrowing before the trial, by its label."""
    prior = stats.norm(design.mu, design.sigma)
    x = places(prior, design.events, design.person_months)
    every = Choices(prior, design.events, design.person_months, x)
    found = {"none": every.none()}
    if design.robust_weight is not None:
        label = f"robust, weight {design.robust_weight:g}"
        found[label] = every.robust(design.robust_weight)
    found |= {
        "commensurate": every.commensurate(),
        "normalised power": every.normalised_power(),
        **{f"power, weight {a:g}": every.power(a) for a in design.discounts},
        "full (pooled)": every.full(),
    }
    return found


def simulate(
    design: Design, ratio: float, trials: int, seed: Sequence[int]
) -> dict[str, np.ndarray]:
    """Sums of ``MEASURES`` over trials, by choice; what a worker does."""
    rng = np.random.default_rng(list(seed))
    truth = np.log(ratio * design.events / design.person_months)
    time = rng.exponential(np.exp(-truth), (trials, design.patients))
    events = (time <= design.months).sum(axis=1)
    months = np.minimum(time, design.months).sum(axis=1)
    found = {}
    for label, prior in choices(design).items():
        mass = prior.updated(events, months)
        cumulated = np.cumsum(mass, axis=1)
        low, high = (prior.x[(cumulated < p).sum(axis=1)] for p in (0.025, 0.975))
        error = mass @ prior.x - truth
        below = (mass * (prior.x < truth)).sum(axis=1)
        measures = (
            below > CERTAINTY, error, error**2, (low <= truth) & (truth <= high), high - low,
        )  # fmt: skip
        found[label] = np.array([np.sum(measure) for measure in measures], float)
    return found


def operating_characteristics(
    design: Design, trials: int, client: Any, seed: int, say: Callable[[str], None] = lambda _: None
) -> pd.DataFrame:
    """Run ``trials`` for each true ratio on the workers of ``client``.

    Columns choice, ratio (true hazard over the external rate), trials, type_1_error (share of
    trials that claim, with 97.5 % certainty, a hazard below the true one), its standard error,
    bias and rmse of the log hazard, coverage and width of the 95 % interval.
    """
    import pandas as pd

    jobs = [
        (ratio, min(AT_ONCE, trials - start), (seed, place, start))
        for place, ratio in enumerate(RATIOS)
        for start in range(0, trials, AT_ONCE)
    ]
    futures = [client.submit(simulate, design, *job, pure=False) for job in jobs]
    say(f"{len(jobs)} batches of simulated trials")
    totals: dict[tuple[str, float], np.ndarray] = {}
    for (ratio, _, _), sums in zip(jobs, client.gather(futures), strict=True):
        for label, values in sums.items():
            totals[label, ratio] = totals.get((label, ratio), np.zeros(len(MEASURES))) + values
    rows = []
    for (label, ratio), values in totals.items():
        claims, bias, square, covered, width = values / trials
        rows.append(
            {
                "choice": label,
                "ratio": ratio,
                "trials": trials,
                "type_1_error": claims,
                "standard_error": float(np.sqrt(claims * (1 - claims) / trials)),
                "bias": bias,
                "rmse": float(np.sqrt(square)),
                "coverage": covered,
                "width": width,
            }
        )
    order = list(choices(design))
    frame = pd.DataFrame(rows)
    frame["choice"] = pd.Categorical(frame["choice"], order, ordered=True)
    return frame.sort_values(["choice", "ratio"], ignore_index=True).astype({"choice": str})

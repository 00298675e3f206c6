"""Estimates of several studies with a spread between them: the posterior computed, not sampled.

For row i of study s(i), an estimate y[i] (log hazard ratio, log median) with standard error e[i]:

    y[i]      ~ Normal(theta[i], e[i])
    theta[i]  = x[i] . beta + u[s(i)] + w[i]
    u[s]      ~ Normal(0, tau[study])         w[i] ~ Normal(0, tau[row]), with several rows a study
    beta      ~ Normal(mean, sd) each         the centre first, then contrasts of the moderators
    tau       ~ HalfNormal(spread)            each

Given tau everything is normal. tau is summed over on a lattice of equal steps of its own prior
probability, twice: the second time over the range that holds the posterior. Draws take tau from its
cell and the rest from its normal distribution given that very tau, so that the lattice's only error
is that the likelihood is taken as constant within a cell. One row a study and no moderator is the
normal-normal hierarchical model of Röver 2020 (Journal of Statistical Software 93:6).

A cohort of patients enters by what its events say and not by a normal approximation. Within
interval j (and stratum, where it is adjusted) hazards are constant, ratio exp(theta); given the
d1 + d0 events of both groups the nuisance hazard is gone:

    d1[j] ~ Binomial(d1[j] + d0[j], T1[j] e^theta / (T1[j] e^theta + T0[j]))     T person-months

That likelihood is written as a mixture of some hundred narrow normals on an even grid (weights
corrected for their width, so that the error is of fourth order in it). Given the centre and tau
rows are independent, and both are summed over on a lattice. This is done where every study has one
row and there is no moderator.

``tau[row]`` (of the levels of one study) is left out where every study has one row.

Not identified: tau with two or three studies, which stays near its prior; a moderator that all
studies share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from scipy import optimize, special, stats

from her2bayes.bayes.prior import Prior, complete, prior

DEFAULT_PRIORS = {
    "centre": prior(
        "Normal", mu=0.0, sigma=1.0, means="ratio 1 in the average study, 95 % between 0.14 and 7.1"
    ),
    "moderator": prior(
        "Normal", mu=0.0, sigma=0.5,
        means="ratio of the ratios at two levels: 1, 95 % between 0.25 and 4.0",
    ),
    "study": prior(
        "HalfNormal", sigma=0.5,
        means="spread between studies of the log ratio: median 0.34, 95 % below 0.98; ratios of "
        "two studies differ 1.3 times (median)",
    ),
    "row": prior(
        "HalfNormal", sigma=0.25,
        means="spread within a study between levels, beyond the moderator: median 0.17, 95 % below "
        "0.49",
    ),
}  # fmt: skip

OF_TIMES = prior(
    "Normal",
    mu=3.0,
    sigma=1.0,
    means="median of the average study 20 months, 95 % between 2.8 and 143",
)
"""Prior of the centre where times are pooled, in log months."""

_PLACES = {1: 600, 2: 48}
"""Places of the lattice along each spread, by the number of spreads."""

_HALF_LOG_2_PI = 0.5 * float(np.log(2 * np.pi))

_BOTH = 90
"""Places along the spread and along the centre, where cohorts are among the rows."""

FARTHEST = 8.0
"""Log ratio up to which a likelihood without a maximum is followed."""

POINTS = 121
"""Normals that a cohort's likelihood is written as."""


@dataclass(frozen=True)
class Cohort:
    """Events and person-months of two groups by interval (and stratum): first, then reference."""

    events: np.ndarray  # (cell, group)
    months: np.ndarray

    def log_likelihood(self, ratio: np.ndarray) -> np.ndarray:
        """Conditional log likelihood of log ratios, up to a constant."""
        theta = np.asarray(ratio, dtype=float)
        d1, total, t1, t0 = self._informative
        return d1.sum() * theta - np.logaddexp(theta[..., None] + np.log(t1), np.log(t0)) @ total

    def slopes(self, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivative of the log likelihood."""
        theta = np.asarray(ratio, dtype=float)[..., None]
        d1, total, t1, t0 = self._informative
        p = 1 / (1 + np.exp(np.log(t0) - theta - np.log(t1)))
        return d1.sum() - p @ total, -(p * (1 - p)) @ total

    @property
    def _informative(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        used = (self.events.sum(1) > 0) & (self.months > 0).all(1)
        events, months = self.events[used].astype(float), self.months[used].astype(float)
        return events[:, 0], events.sum(1), months[:, 0], months[:, 1]

    def estimate(self) -> tuple[float, float] | None:
        """Most likely log ratio and its standard error; None where a group has no events."""
        d1, total, *_ = self._informative
        if not 0 < d1.sum() < total.sum():
            return None
        at = float(optimize.brentq(lambda x: float(self.slopes(np.array(x))[0]), -30.0, 30.0))
        return at, float(-self.slopes(np.array(at))[1]) ** -0.5

    def normals(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Centres, log weights and the common width of normals that add up to the likelihood."""
        known = self.estimate()
        ends = (-FARTHEST, FARTHEST)
        if known is not None:
            ends = (max(ends[0], known[0] - 12 * known[1]), min(ends[1], known[0] + 12 * known[1]))
        for _ in range(2):  # the second time over what the likelihood leaves
            grid = np.linspace(*ends, POINTS)
            value = self.log_likelihood(grid)
            held = grid[value > value.max() - 18]
            step = grid[1] - grid[0]
            ends = (max(ends[0], held[0] - step), min(ends[1], held[-1] + step))
        first, second = self.slopes(grid)
        width = float(grid[1] - grid[0])
        bent = np.maximum(1 - width**2 / 2 * (second + first**2), 1e-12)
        return grid, value - value.max() + np.log(bent), width


@dataclass(frozen=True)
class Posterior:
    """Weights of the lattice cells: ``low`` and ``high`` are prior probabilities of each spread."""

    low: np.ndarray  # (cell, spread)
    high: np.ndarray
    weight: np.ndarray  # (cell,)

    def spreads(self, number: int, scales: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws of the spreads (number, spread): cells in proportion, evenly within each."""
        even = (rng.permutation(number) + rng.uniform(size=number)) / number
        cell = np.searchsorted(np.cumsum(self.weight), even * (1 - 1e-12))
        inside = rng.uniform(size=(number, self.low.shape[1]))
        p = self.low[cell] + inside * (self.high - self.low)[cell]
        return np.asarray(stats.halfnorm.ppf(p, scale=scales))


@dataclass(frozen=True)
class RandomEffects:
    """The model of ``data`` (dim row: ``estimate``, ``error``; dims row, term: ``design``).

    ``data`` has the coord ``study`` on ``row``; the first term is the centre. ``priors`` are
    complete.
    """

    data: xr.Dataset
    priors: Mapping[str, Prior]

    @classmethod
    def of(cls, data: xr.Dataset, priors: Mapping[str, Prior] | None = None) -> RandomEffects:
        """Make it with the default priors filled in; ``BadInput`` for an unknown name or family."""
        return cls(data, complete(priors, DEFAULT_PRIORS, same_family=True))

    @cached_property
    def studies(self) -> list[str]:
        """Names of the studies, in the order of their first rows."""
        return list(dict.fromkeys(map(str, self.data["study"].values)))

    @cached_property
    def member(self) -> np.ndarray:
        """Rows by studies, 0 or 1."""
        of = np.array([self.studies.index(str(name)) for name in self.data["study"].values])
        return np.asarray(of[:, None] == np.arange(len(self.studies)), dtype=float)

    @cached_property
    def spreads(self) -> tuple[str, ...]:
        """Spreads that are learned: between studies, and between rows where a study has several."""
        return ("study", "row") if self.member.sum(0).max() > 1 else ("study",)

    @cached_property
    def exact(self) -> bool:
        """Whether cohorts enter by their likelihood: ``at`` and ``log_weight`` (row, point)."""
        return "at" in self.data

    def _mixed(self, theta: np.ndarray, spread: np.ndarray, row: int) -> np.ndarray:
        """Log density (draw, point) of a row's normals around ``theta`` with a further spread."""
        at, weight, width = (self.data[name].values[row] for name in ("at", "log_weight", "width"))
        used = weight > -1e8  # an estimate with its error is one normal
        wide = np.hypot(width, spread)[:, None]
        z = (theta[:, None] - at[used]) / wide
        return np.asarray(weight[used] - 0.5 * np.square(z) - np.log(wide) - _HALF_LOG_2_PI)

    def _on_lattice(
        self, number: int, keep: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws of the spread and the centre given rows of which some are cohorts."""
        mean, sd = (one[0] for one in self.beta)
        ends = [(0.0, 1.0), (0.0, 1.0)]
        for _ in range(3):
            edges = [np.linspace(low, high, _BOTH + 1) for low, high in ends]
            step = np.array([one[1] - one[0] for one in edges])
            low = np.array(list(product(*[one[:-1] for one in edges])))
            tau, centre = self._at(low + step / 2, mean, sd)
            log_weight = np.zeros(len(low))
            for row in keep:
                log_weight += special.logsumexp(self._mixed(centre, tau, row), axis=1)
            weight = np.exp(log_weight - log_weight.max())
            weight /= weight.sum()
            held = weight > 1e-9 * weight.max()
            ends = [(float(low[held, k].min()), float(low[held, k].max() + step[k]))
                    for k in range(2)]  # fmt: skip
        even = (rng.permutation(number) + rng.uniform(size=number)) / number
        cell = np.searchsorted(np.cumsum(weight), even * (1 - 1e-12))
        return self._at(low[cell] + step * rng.uniform(size=(number, 2)), mean, sd)

    def _at(self, p: np.ndarray, mean: float, sd: float) -> tuple[np.ndarray, np.ndarray]:
        """Spread and centre at their prior probabilities (draw, 2)."""
        tau = stats.halfnorm.ppf(p[:, 0], scale=self.scales[0])
        return np.asarray(tau), np.asarray(stats.norm.ppf(p[:, 1], mean, sd))

    def _with_cohorts(
        self, number: int, keep: np.ndarray, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        tau, centre = self._on_lattice(number, keep, rng)
        effect = centre[:, None] + tau[:, None] * rng.standard_normal(
            (number, self.data.sizes["row"])
        )
        for row in keep:
            chance = self._mixed(centre, tau, row)
            chance += rng.gumbel(size=chance.shape)
            at = self.data["at"].values[row][chance.argmax(1)]
            width = float(self.data["width"].values[row])
            share = tau**2 / (tau**2 + width**2)
            middle = centre + share * (at - centre)
            effect[:, row] = middle + width * np.sqrt(share) * rng.standard_normal(number)
        return {"tau": tau[:, None], "beta": centre[:, None], "effect": effect,
                "new": tau[:, None] * rng.standard_normal((number, 1))}  # fmt: skip

    @cached_property
    def scales(self) -> np.ndarray:
        """Scales of the half-normal priors of the spreads."""
        return np.array([self.priors[name]["sigma"] for name in self.spreads])

    @cached_property
    def beta(self) -> tuple[np.ndarray, np.ndarray]:
        """Prior means and standard deviations of the terms."""
        names = ["centre", *["moderator"] * (self.data.sizes["term"] - 1)]
        return tuple(np.array([self.priors[n][k] for n in names]) for k in ("mu", "sigma"))  # type: ignore[return-value]

    def _between(self, tau: np.ndarray) -> np.ndarray:
        """Covariance (draw, row, row) of the rows' effects given spreads (draw, spread)."""
        shared = self.member @ self.member.T
        v = tau[:, 0, None, None] ** 2 * shared
        if len(self.spreads) > 1:
            v = v + tau[:, 1, None, None] ** 2 * np.eye(len(shared))
        return np.asarray(v)

    def log_likelihood(self, tau: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Log density of the estimates given spreads (draw, spread), terms integrated out."""
        keep = np.arange(self.data.sizes["row"]) if rows is None else rows
        y, e, x = self._rows(keep)
        mean, sd = self.beta
        v = self._between(tau)[:, keep[:, None], keep] + np.diag(e**2) + (x * sd**2) @ x.T
        factor = np.linalg.cholesky(v)
        z = np.linalg.solve(factor, np.broadcast_to((y - x @ mean)[:, None], (len(v), len(y), 1)))
        half = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
        return np.asarray(-half - 0.5 * np.square(z).sum((1, 2)))

    def _rows(self, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        design = self.data["design"].transpose("row", "term").values
        return self.data["estimate"].values[keep], self.data["error"].values[keep], design[keep]

    def posterior(self, rows: np.ndarray | None = None) -> Posterior:
        """Spreads given the estimates (of ``rows``), on a lattice of their prior probabilities."""
        count = len(self.spreads)
        ends = [(0.0, 1.0)] * count
        for _ in range(2):
            edges = [np.linspace(low, high, _PLACES[count] + 1) for low, high in ends]
            low = np.array(list(product(*[e[:-1] for e in edges])))
            high = np.array(list(product(*[e[1:] for e in edges])))
            tau = np.asarray(stats.halfnorm.ppf((low + high) / 2, scale=self.scales))
            log_weight = self.log_likelihood(tau, rows)
            weight = np.exp(log_weight - log_weight.max())
            weight /= weight.sum()
            held = weight > 1e-9 * weight.max()
            ends = [(float(low[held, k].min()), float(high[held, k].max())) for k in range(count)]
        return Posterior(low, high, weight)

    def draws(
        self, number: int, seed: int, rows: np.ndarray | None = None, *, prior: bool = False
    ) -> dict[str, np.ndarray]:
        """Independent draws: ``tau`` (draw, spread), ``beta`` (draw, term), ``effect`` (draw, row).

        ``new`` (draw, spread) are the deviations of a new study and of a new row of it.

        ``rows`` are those whose estimates are used (all by default): the effects of the others are
        predicted. ``prior``: before any.
        """
        rng = np.random.default_rng([seed, prior])
        keep = np.arange(self.data.sizes["row"]) if rows is None else rows
        keep = keep[:0] if prior else keep
        if self.exact and len(keep):
            return self._with_cohorts(number, keep, rng)
        if len(keep):
            tau = self.posterior(keep).spreads(number, self.scales, rng)
        else:
            even = rng.permuted(np.tile((np.arange(number) + 0.5) / number, (len(self.scales), 1)),
                                axis=1)  # fmt: skip
            tau = np.asarray(stats.halfnorm.ppf(even.T, scale=self.scales))
        x = self.data["design"].transpose("row", "term").values
        mean, sd = self.beta
        between = self._between(tau)
        # beta and the rows' effects are one normal vector; condition it on the estimates
        joint = np.concatenate([np.eye(len(mean)), x])
        prior_cov = (joint * sd**2) @ joint.T + np.pad(
            between, ((0, 0), (len(mean), 0), (len(mean), 0))
        )
        centre = joint @ mean
        y, e, _ = self._rows(keep)
        at = len(mean) + keep
        noise = prior_cov[:, at[:, None], at] + np.diag(e**2)
        gain = np.linalg.solve(noise, prior_cov[:, at]).transpose(0, 2, 1)
        after = prior_cov - gain @ prior_cov[:, at]
        middle = centre + (gain @ (y - centre[at])[:, None])[..., 0]
        value = middle + _normal(after, rng)
        new = tau * rng.standard_normal(tau.shape)
        return {
            "tau": tau,
            "beta": value[:, : len(mean)],
            "effect": value[:, len(mean) :],
            "new": new,
        }

    def tree(
        self, chains: int, length: int, seed: int, rows: np.ndarray | None = None
    ) -> xr.DataTree:
        """Draws as a sampler's (of ``rows``): posterior, prior, log_likelihood, ..."""
        made = {"posterior": self.draws(chains * length, seed, rows),
                "prior": self.draws(chains * length, seed, prior=True)}  # fmt: skip
        groups = {name: self._labelled(draws, chains, length) for name, draws in made.items()}
        effect = groups["posterior"]["effect"]
        error, observed = (
            self.data[name].reset_coords(drop=True) for name in ("error", "estimate")
        )
        loglik = xr.apply_ufunc(stats.norm.logpdf, observed, effect, error)
        if self.exact:
            each = [special.logsumexp(self._mixed(drawn, np.zeros(len(drawn)), row), axis=1)
                    for row, drawn in enumerate(made["posterior"]["effect"].T)]  # fmt: skip
            shape = [groups["posterior"].sizes[dim] for dim in ("chain", "draw")]
            loglik = loglik.transpose("chain", "draw", "row").copy(
                data=np.stack(each, axis=1).reshape(*shape, -1)
            )
        noise = np.random.default_rng([seed, 7]).standard_normal(effect.shape)
        drawn = effect + effect.copy(data=noise) * error
        for name, values in (("log_likelihood", loglik), ("posterior_predictive", drawn)):
            groups[name] = xr.Dataset({"estimate": values.transpose("chain", "draw", "row")})
        groups["observed_data"] = xr.Dataset({"estimate": observed})
        return xr.DataTree.from_dict(groups)

    def _labelled(self, draws: Mapping[str, np.ndarray], chains: int, length: int) -> xr.Dataset:
        labels = {"tau": "spread", "beta": "term", "effect": "row", "new": "spread"}
        coords: dict[str, Any] = {
            "chain": np.arange(chains), "draw": np.arange(length), "spread": list(self.spreads),
            "row": self.data["row"].values, "term": self.data["term"].values,
        }  # fmt: skip
        shaped = {
            name: (("chain", "draw", labels[name]), value.reshape(chains, length, -1))
            for name, value in draws.items()
        }
        return xr.Dataset(shaped, coords)


def _normal(covariance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws with these covariances (draw, n, n), which may be singular."""
    size = covariance.shape[-1]
    values, vectors = np.linalg.eigh((covariance + covariance.transpose(0, 2, 1)) / 2)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))[:, None, :]
    return np.asarray((root @ rng.standard_normal((len(covariance), size, 1)))[..., 0])

"""Draws of estimands of reconstructed cohorts: the one place where they are computed.

Survival of a group is the mean of S_i(t) over its patients. A printed univariate ratio leaves other
factors out, so its counterpart in the reference model is not a coefficient but the value that Cox's
estimate tends to in endlessly many such patients:

    sum_t [ D_g(t) - D(t) exp(b_g) R_g(t) / sum_k exp(b_k) R_k(t) ] = 0     for every group g
    R_g(t) = sum over cells m in g of n_m S_m(t) C(t),    D_g(t) = sum n_m h_m S_m(t) C(t)

over a grid of midpoints, n_m patients, h_m and S_m hazard and survival of a cell, C the censoring
distribution (Struthers & Kalbfleisch 1986).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import gammaln, logsumexp, ndtr, ndtri

from her2bayes.cohorts.chain import kernel, reference_model
from her2bayes.cohorts.chain.problem import TENTHS, Problem
from her2bayes.cohorts.chain.replica import cohort, log_rates, prior_theta
from her2bayes.cohorts.chain.tempering import Chain, members
from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import Contrast, Estimand, parse
from her2bayes.survival import piecewise as survival

STEPS = 6  # of the grid in each interval
NEWTON = 25
LARGEST_STEP, LEAST = 2.0, 1e-12
FEW = 1e-3  # patients in an empty cell: a group that is empty in one cohort still has a ratio
PRIOR_DRAWS = 1000
DRAWS = 400  # of each chain
GIVEN_MEMBERS, GIVEN_DRAWS = 100, 40  # parameters drawn for each member's patients
LEAPS, WARM, APART = 12, 60, 3
SPREADS = (1e-3, 10.0, 600)  # of a grid of spreads, in units of their prior sd: least, most, number
IMPORTANCE, FREEDOM, WIDER = 128, 5, 1.2  # points over spreads; tails and width of their t
RATIOS = ("hazard_ratio", "hazard_ratio_ratio")
TIMED = ("survival", "survival_difference", "rmst", "rmst_difference")
KINDS = (*RATIOS, *TIMED)
"""Kinds of estimand that reconstructed cohorts answer."""


@dataclass(frozen=True)
class Part:
    """Log rates per month and patients of some draws.

    ``log_hazard`` (chain, draw, cell, interval), ``log_leave`` (chain, draw, interval),
    ``patients`` (chain, draw, cell).
    """

    log_hazard: xr.DataArray
    log_leave: xr.DataArray
    patients: xr.DataArray

    @cached_property
    def at_risk(self) -> tuple[np.ndarray, np.ndarray]:
        """Patients at risk and deaths (chain, draw, time, cell) at the midpoints of a grid."""
        order = ("chain", "draw", "interval", "cell")
        log_hazard = self.log_hazard.transpose(*order).to_numpy()
        leave = np.exp(self.log_leave.transpose(*order[:3]).to_numpy())[..., None]
        start, end = (self.log_hazard[f"interval_{side}"].to_numpy() for side in ("start", "end"))
        width = (end - start) / STEPS
        hazard = np.repeat(np.exp(log_hazard), STEPS, axis=2)
        rate = hazard + np.repeat(leave, STEPS, axis=2)
        spent = rate * np.repeat(width, STEPS)[:, None]
        before = np.cumsum(spent, axis=2) - spent / 2
        number = self.patients.transpose("chain", "draw", "cell").to_numpy()[:, :, None, :]
        risk = np.maximum(number, FEW) * np.exp(-before)
        return risk, risk * hazard * np.repeat(width, STEPS)[:, None]


def log_ratios(part: Part, groups: Sequence[np.ndarray]) -> np.ndarray:
    """Log hazard ratios (chain, draw, group) against the first group; ``groups`` hold cells.

    Newton's method, for the draws that it has not finished yet.
    """
    risk, dead = (np.stack([x[..., g].sum(-1) for g in groups], axis=-1) for x in part.at_risk)
    lead = risk.shape[:2]
    risk, dead = (x.reshape(-1, *x.shape[2:]) for x in (np.maximum(risk, LEAST), dead))
    all_dead = dead.sum(-1)
    beta = np.zeros((len(risk), len(groups)))
    place = np.arange(len(groups) - 1)
    open_ = np.arange(len(risk))
    for _ in range(NEWTON):
        weight = risk[open_] * np.exp(beta[open_])[:, None, :]
        share = weight / weight.sum(-1, keepdims=True)
        expected = all_dead[open_][..., None] * share
        score = (dead[open_] - expected).sum(1)[..., 1:]
        information = -(expected.mT @ share)[..., 1:, 1:]
        information[..., place, place] += expected.sum(1)[..., 1:] + LEAST
        step = np.linalg.solve(information, score[..., None])[..., 0]
        step = np.clip(step, -LARGEST_STEP, LARGEST_STEP)
        beta[open_, 1:] += step
        open_ = open_[np.abs(step).max(-1) >= 1e-8]
        if not open_.size:
            break
    return beta.reshape(*lead, -1)


@dataclass(frozen=True)
class Draws:
    """Rates and patients of an endpoint: of all draws, of the prior, of each member's patients.

    ``levels`` holds the level of every factor of the reference model in each of its cells.
    """

    posed: Problem
    chains: Sequence[Chain]
    seed: int

    @cached_property
    def levels(self) -> pd.DataFrame:
        """Level of every model factor (column) in each cell of the model (row)."""
        item, cell_of = self.posed.summary, self.posed.printed.model_cell
        table = []
        for m in range(self.posed.model.columns.shape[0]):
            combination = item.cells.combinations[int(np.flatnonzero(cell_of == m)[0])]
            table.append({f: item.cells.value(combination, f) for f in item.model_factors})
        return pd.DataFrame(table)

    @cached_property
    def kept(self) -> tuple[np.ndarray, ...]:
        """Draws of each chain that are looked at, evenly spaced, as many of each."""
        size = min(DRAWS, *(chain.months.shape[0] for chain in self.chains))
        ends = [chain.months.shape[0] - 1 for chain in self.chains]
        return tuple(np.linspace(0, end, size).round().astype(int) for end in ends)

    @cached_property
    def posterior(self) -> Part:
        """Parameters and patients as the chains drew them together."""
        pairs = list(zip(self.chains, self.kept, strict=True))
        theta = np.stack([chain.theta[part] for chain, part in pairs])
        cell = np.stack([chain.cell[part] for chain, part in pairs])
        return _part(self.posed, theta, _counts(self.posed, cell))

    @cached_property
    def prior(self) -> Part:
        """Parameters from the prior, in one chain, over the posterior's mean patients by cell."""
        return self._prior_of(self.posed)

    def prior_with(self, factor: str, times: float) -> Part:
        """The same with a prior of a factor's effects ``times`` as wide."""
        model = self.posed.model
        mine = np.array(self.posed.columns) == factor
        learned = np.arange(model.scale_sd.size) == model.block[mine][0]
        wider = model._replace(
            fixed=np.where(mine, times, 1.0) * model.fixed,
            scale_sd=np.where(learned, times, 1.0) * model.scale_sd,
        )
        return self._prior_of(replace(self.posed, model=wider))

    def _prior_of(self, posed: Problem) -> Part:
        rng, _ = self._seeds
        before = prior_theta(posed.model, PRIOR_DRAWS, rng)[None]
        typical = self.posterior.patients.mean(["chain", "draw"])
        return _part(posed, before, typical.expand_dims(chain=1, draw=PRIOR_DRAWS))

    @cached_property
    def given(self) -> Part:
        """Parameters drawn given each member's patients alone; a member's draws are a chain.

        What a survival analysis of that one data set would say, under the same model and priors.
        """
        alone, same = [], []
        for seed, (c, d) in zip(self._seeds[1], self._members, strict=True):
            chain = self.chains[c]
            patients = chain.months[d] * TENTHS, chain.event[d], chain.cell[d]
            alone.append(parameters_given(self.posed, patients, chain.theta[d], GIVEN_DRAWS, seed))
            same.append(np.repeat(chain.cell[d][None], GIVEN_DRAWS, axis=0))
        return _part(self.posed, np.stack(alone), _counts(self.posed, np.stack(same)))

    @cached_property
    def _members(self) -> list[tuple[int, int]]:
        return members(self.chains, GIVEN_MEMBERS)

    def log_prior_ratio(self, factor: str, times: float) -> xr.DataArray:
        """Log ratio (chain, draw) of a prior of a factor's effects ``times`` as wide to their own.

        Of the effects alone, their spread integrated out: its draws would be weighted by a tail
        that the effects, which the printed numbers bound, do not have.
        """
        model = self.posed.model
        first = model.baseline.shape[1] + 2  # after level, terms and log sigma
        columns = np.flatnonzero(np.array(self.posed.columns) == factor)
        theta = np.stack([c.theta[part] for c, part in zip(self.chains, self.kept, strict=True)])
        square = np.square(theta[..., first + columns]).sum(axis=-1)
        block = int(model.block[columns[0]])
        if block < 0:  # one coefficient, its prior normal
            ratio = 0.5 * square * (1 - times**-2.0) - np.log(times)
        else:
            square *= np.exp(2 * theta[..., first + model.block.size + block])
            own, other = (
                _log_effects(square, columns.size, one * float(model.scale_sd[block]))
                for one in (1.0, times)
            )
            ratio = other - own
        return xr.DataArray(ratio, dims=("chain", "draw"))

    @property
    def _seeds(self) -> tuple[np.random.Generator, list[int]]:
        """Generator of the prior's draws, and a seed for each member, drawn before."""
        rng = np.random.default_rng(self.seed)
        return rng, [int(rng.integers(2**31)) for _ in self._members]


def _log_effects(square: np.ndarray, number: int, sd: float) -> np.ndarray:
    """Log density of ``number`` normal effects with this sum of squares, spread ~ half-N(0, sd)."""
    spread = sd * np.geomspace(*SPREADS)
    log = (1 - number) * np.log(spread) - 0.5 * (spread / sd) ** 2
    log = log - 0.5 * square[..., None] / spread**2
    return np.asarray(logsumexp(log, axis=-1) - np.log(sd))


def parameters_given(
    posed: Problem, patients: tuple[np.ndarray, ...], start: np.ndarray, number: int, seed: int
) -> np.ndarray:
    """Draws (draw, parameter) of theta given patients: times in month tenths, events, cells."""
    theta, found = start.copy(), np.zeros((number, start.size))
    # tables of the rank tests take half of the time, and parameters do not look at them
    state = cohort(posed.printed._replace(ranked=posed.printed.ranked[:0]), *patients)
    kernel.parameters(posed.printed, state, posed.model, theta, seed, WARM, APART, LEAPS, found)
    return found


class Marginal:
    """Log density of a cohort's times and events, its parameters summed out (``of``).

    Given the spreads, log rates are linear in normal parameters and events are Poisson in their
    exposure: Laplace's approximation is close there, and the normals need no sampling. The spreads,
    few, are integrated by importance sampling from a multivariate t as wide as their draws
    ``theta`` in chains under this baseline, the same for every cohort. The density of the cells is
    left out: it is that of every baseline.
    """

    def __init__(self, posed: Problem, theta: np.ndarray, seed: int) -> None:
        model = posed.model
        place, columns, scales, second = reference_model.sizes(model)
        last = second + model.leaving.shape[1] + 1
        at = [place, *range(place + 1 + columns, place + 1 + columns + scales), last]
        sd = np.array([model.smoothing_sd, *model.scale_sd, model.smoothing_sd])
        # spreads as standard normals v: |N(0, 1)| has the quantile of v
        drawn = ndtri(np.clip(2 * ndtr(np.exp(theta[:, at]) / sd) - 1, 1e-9, 1 - 1e-9))
        v, self.log_weight = _proposed(drawn, np.random.default_rng(seed))
        spread = sd * np.clip(ndtri((1 + ndtr(v)) / 2), 1e-9, 9.0)
        effect = np.broadcast_to(model.fixed, (len(v), columns)).copy()
        learned = model.block >= 0
        effect[:, learned] = spread[:, 1 + model.block[learned]]
        cells, intervals = len(model.columns), model.start.size
        shape = (len(v), cells, intervals)
        death = [np.full((*shape, 1), model.location[1]), np.broadcast_to(
            (spread[:, :1, None] * model.baseline)[:, None], (*shape, model.baseline.shape[1])
        ), np.broadcast_to(
            (effect[:, None] * model.columns)[:, :, None], (*shape, columns)
        )]  # fmt: skip
        self.death = np.concatenate(death, axis=-1).reshape(len(v), cells * intervals, -1)
        leave = [np.full((len(v), intervals, 1), model.location[3]),
                 spread[:, -1:, None] * model.leaving]  # fmt: skip
        self.leave = np.concatenate(leave, axis=-1)
        self.posed = posed

    def of(self, months: np.ndarray, event: np.ndarray, cell: np.ndarray) -> float:
        """Log density of one cohort: times in months, events, cells."""
        model = self.posed.model
        start, m = model.start, self.posed.printed.model_cell[cell]
        s = np.maximum(months * TENTHS - 0.5, 0.0)  # recorded times are rounded up
        spent = np.clip(np.minimum(s[:, None], np.append(start[1:], np.inf)) - start, 0.0, None)
        last, died = np.searchsorted(start, s, side="right") - 1, event == 1
        deaths, exposed = np.zeros((2, len(model.columns), start.size))
        np.add.at(deaths, (m[died], last[died]), 1.0)
        np.add.at(exposed, m, spent)
        leaves = np.bincount(last[~died], minlength=start.size).astype(float)
        log = self.log_weight + _poisson(
            self.death, model.location[0], deaths.ravel(), exposed.ravel()
        )
        log = log + _poisson(self.leave, model.location[2], leaves, spent.sum(axis=0))
        return float(logsumexp(log))


def _proposed(drawn: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points from a t as wide as these draws, and their log weights to a standard normal prior."""
    size = drawn.shape[1]
    root = WIDER * np.linalg.cholesky(np.cov(drawn.T).reshape(size, size) + 0.02 * np.eye(size))
    z = rng.standard_normal((IMPORTANCE, size))
    z /= np.sqrt(rng.chisquare(FREEDOM, IMPORTANCE) / FREEDOM)[:, None]
    v = drawn.mean(axis=0) + z @ root.T
    log_t = (
        gammaln((FREEDOM + size) / 2) - gammaln(FREEDOM / 2) - np.log(np.diag(root)).sum()
        - size / 2 * np.log(FREEDOM * np.pi)
        - (FREEDOM + size) / 2 * np.log1p(np.square(z).sum(axis=1) / FREEDOM)
    )  # fmt: skip
    log_prior = -np.square(v).sum(axis=1) / 2 - size / 2 * np.log(2 * np.pi)
    return v, log_prior - log_t - np.log(IMPORTANCE)


def _poisson(
    design: np.ndarray, offset: float, number: np.ndarray, exposed: np.ndarray
) -> np.ndarray:
    """Log density of events, normal parameters summed out by Laplace, under several designs.

    ``design`` (case, row, parameter); ``number`` of events and time ``exposed`` by row.
    """
    theta = np.zeros((design.shape[0], design.shape[2]))
    eye = np.eye(design.shape[2])
    for _ in range(NEWTON):
        rate = offset + (design @ theta[..., None])[..., 0]
        expected = exposed * np.exp(rate)
        slope = ((number - expected)[:, None] @ design)[:, 0] - theta
        curvature = eye + design.mT @ (expected[..., None] * design)
        step = np.clip(np.linalg.solve(curvature, slope[..., None])[..., 0], -2.0, 2.0)
        theta = theta + step
        if np.abs(step).max() < 1e-6:
            break
    fit = (number * rate - expected).sum(axis=1) - np.square(theta).sum(axis=1) / 2
    return np.asarray(fit - np.linalg.slogdet(curvature)[1] / 2)


class MixedDraws:
    """``Draws`` under several baselines, of each as many as its weight; ``weights`` sum to 1.

    Hazards stand on the cut points of all baselines together.
    """

    def __init__(self, parts: Sequence[Draws | MixedDraws], weights: np.ndarray) -> None:
        self.parts, self.equal = parts, np.full(len(parts), 1 / len(parts))
        self.used = [part for part, weight in zip(parts, weights, strict=True) if weight > 0]
        self.weights = weights[weights > 0]
        self.levels: pd.DataFrame = parts[0].levels
        self.chains: Sequence[Chain] = min((part.chains for part in self.used), key=len)

    @cached_property
    def posterior(self) -> Part:
        """Parameters and patients, ``weights`` of them under each baseline."""
        return _joined([part.posterior for part in self.used], self.weights, "draw")

    @cached_property
    def prior(self) -> Part:
        """Parameters from the prior, as many of each baseline."""
        return _joined([part.prior for part in self.parts], self.equal, "draw")

    @cached_property
    def given(self) -> Part:
        """Parameters given each member's patients alone; members by the weights."""
        return _joined([part.given for part in self.used], self.weights, "chain")

    def prior_with(self, factor: str, times: float) -> Part:
        """The prior with one of a factor's effects ``times`` as wide."""
        parts = [part.prior_with(factor, times) for part in self.parts]
        return _joined(parts, self.equal, "draw")

    def log_prior_ratio(self, factor: str, times: float) -> xr.DataArray:
        """Log ratio (chain, draw) of such a prior to their own."""
        parts = [part.log_prior_ratio(factor, times) for part in self.used]
        return _chosen(parts, self.weights, "draw")


def shares_of(size: int, weights: np.ndarray) -> np.ndarray:
    """Whole numbers in proportion to weights that add up to ``size``: the largest remainders."""
    exact = size * weights
    number = np.floor(exact).astype(int)
    rest = np.argsort(number - exact, kind="stable")[: size - number.sum()]
    number[rest] += 1
    return number


def spread_over(sizes: Sequence[int], weights: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Evenly spaced places in each of several runs by weight, and the order of their times."""
    numbers = shares_of(min(sizes), weights)
    picks = [((np.arange(n) + 0.5) * size / max(n, 1)).astype(int)
             for n, size in zip(numbers, sizes, strict=True)]  # fmt: skip
    when = np.concatenate([pick / size for pick, size in zip(picks, sizes, strict=True)])
    return picks, np.argsort(when, kind="stable")


def _chosen(parts: Sequence[xr.DataArray], weights: np.ndarray, along: str) -> xr.DataArray:
    """Draws of several runs by weight, in the order of their times; of as many chains of each."""
    if along == "draw":
        least = min(one.sizes["chain"] for one in parts)
        parts = [one.isel(chain=slice(least)) for one in parts]
    picks, order = spread_over([one.sizes[along] for one in parts], weights)
    found = [one.isel({along: pick}) for one, pick in zip(parts, picks, strict=True)]
    return xr.concat(found, along, coords="minimal", compat="override").isel({along: order})


def _joined(parts: Sequence[Part], weights: np.ndarray, along: str) -> Part:
    """Draws of several baselines by weight, on the cut points of all."""
    start = np.unique(np.concatenate([one.log_hazard["interval_start"] for one in parts]))
    axes = {
        "interval": np.arange(start.size),
        "interval_start": ("interval", start),
        "interval_end": ("interval", np.append(start[1:], parts[0].log_hazard["interval_end"][-1])),
    }

    def finer(rates: xr.DataArray) -> xr.DataArray:
        own = np.searchsorted(rates["interval_start"], start, side="right") - 1
        return rates.isel(interval=own).assign_coords(axes)

    return Part(
        _chosen([finer(one.log_hazard) for one in parts], weights, along),
        _chosen([finer(one.log_leave) for one in parts], weights, along),
        _chosen([one.patients for one in parts], weights, along),
    )


def _part(posed: Problem, theta: np.ndarray, patients: xr.DataArray) -> Part:
    death, leave = log_rates(posed.model, theta.reshape(-1, theta.shape[-1]))
    start = posed.model.start / TENTHS
    end = np.append(start[1:], posed.summary.last)
    axes = {
        "interval": np.arange(start.size),
        "interval_start": ("interval", start),
        "interval_end": ("interval", end),
    }
    lead, tenths = theta.shape[:2], np.log(TENTHS)
    return Part(
        xr.DataArray(
            death.reshape(*lead, *death.shape[1:]) + tenths,
            dims=("chain", "draw", "cell", "interval"), coords=axes,
        ),
        xr.DataArray(
            leave.reshape(*lead, -1) + tenths, dims=("chain", "draw", "interval"), coords=axes
        ),
        patients,
    )  # fmt: skip


def _counts(posed: Problem, cell: np.ndarray) -> xr.DataArray:
    """Patients by cell of the model in each draw."""
    size = posed.model.columns.shape[0]
    found = np.zeros((*cell.shape[:2], size))
    for m in range(size):
        found[..., m] = (posed.printed.model_cell[cell] == m).sum(axis=-1)
    return xr.DataArray(found, dims=("chain", "draw", "cell"))


def draws(
    asked: Iterable[Estimand], part: Part, levels: pd.DataFrame
) -> dict[Estimand, xr.DataArray]:
    """Draws (chain, draw) of estimands, on the natural scale: ratios, shares 0 to 1, months.

    Ratios of one factor in one group of patients come from one Cox model of all its levels, and
    restricted means of one group from one pass; what is shared is computed once.
    """
    batch = _Batch(part, levels)
    return {estimand: batch.of(estimand) for estimand in asked}


class _Batch:
    """What estimands of one part share, kept while they are asked for."""

    def __init__(self, part: Part, levels: pd.DataFrame) -> None:
        self.part, self.levels = part, levels
        self.ratios: dict[tuple[str, tuple[tuple[str, str], ...]], np.ndarray] = {}
        self.means: dict[tuple[str, tuple[tuple[str, str], ...], float], xr.DataArray] = {}

    def of(self, estimand: Estimand) -> xr.DataArray:
        """Draws of one estimand."""
        kind, contrast, given = estimand.kind, estimand.contrast, estimand.conditions
        if kind == "hazard_ratio":
            assert contrast is not None  # of the grammar, as are the others
            return xr.ufuncs.exp(self.log_ratio(contrast, given))
        if kind == "hazard_ratio_ratio":
            assert contrast is not None
            inner = inner_contrast(estimand)
            sides = [{**given, contrast.factor: level} for level in (contrast.a, contrast.b)]
            first, second = (self.log_ratio(inner, side) for side in sides)
            return xr.ufuncs.exp(first - second)
        assert estimand.time is not None
        what, _, difference = kind.partition("_")
        if not difference:
            return self.mean(what, given, estimand.time)
        assert contrast is not None
        sides = [{**given, contrast.factor: level} for level in (contrast.a, contrast.b)]
        first, second = (self.mean(what, side, estimand.time) for side in sides)
        return first - second

    def log_ratio(self, contrast: Contrast, given: Mapping[str, str]) -> xr.DataArray:
        """Unadjusted log hazard ratio, from one Cox model of all levels of the factor."""
        names = list(dict.fromkeys(self.levels[contrast.factor]))
        key = contrast.factor, tuple(sorted(given.items()))
        if key not in self.ratios:
            inside = self.inside(given)
            of = self.levels[contrast.factor]
            groups = [np.flatnonzero(inside & (of == name).to_numpy()) for name in names]
            self.ratios[key] = log_ratios(self.part, groups)
        found = self.ratios[key]
        ratio = found[..., names.index(contrast.a)] - found[..., names.index(contrast.b)]
        return xr.DataArray(ratio, dims=("chain", "draw"))

    def mean(self, what: str, given: Mapping[str, str], time: float) -> xr.DataArray:
        """Survival at, or restricted mean to, a time: the mean over a group's patients."""
        key = what, tuple(sorted(given.items())), time
        if key not in self.means:
            chosen = np.flatnonzero(self.inside(given))
            weight = self.part.patients.isel(cell=chosen)
            weight = weight / weight.sum("cell")
            log_hazard = self.part.log_hazard.isel(cell=chosen)
            if what == "rmst":
                each = survival.rmst(log_hazard, time)
            else:
                each = survival.survival(log_hazard, [time]).isel(time=0, drop=True)
            self.means[key] = (each * weight).sum("cell").transpose("chain", "draw")
        return self.means[key]

    def inside(self, given: Mapping[str, str]) -> np.ndarray:
        """Cells of the model in a group."""
        inside = np.ones(len(self.levels), bool)
        for factor, level in given.items():
            inside &= (self.levels[factor] == level).to_numpy()
        return inside


def inner_contrast(estimand: Estimand) -> Contrast:
    """Contrast whose hazard ratio a ratio of ratios compares: ``os, her2: positive vs low``."""
    endpoint, _, text = estimand.outcome.partition(", ")
    found = parse(f"hazard_ratio[{endpoint} ; {text}]").contrast
    if found is None or not found.a:
        problem, allowed = (
            "names no ratio in its outcome",
            "os, her2: positive vs low ; hr_status: a vs b",
        )
        raise BadInput(Fault(problem, value=str(estimand), allowed=allowed))
    return found


def check(asked: Iterable[Estimand], endpoint: str, levels: pd.DataFrame, last: float) -> None:
    """Raise ``BadInput`` with every estimand that an endpoint's cohorts do not answer, and why."""
    known = {str(name): list(dict.fromkeys(levels[name])) for name in levels}
    faults: list[Fault] = []
    for one in asked:
        if one.kind not in KINDS:
            problem = "reconstructed cohorts do not answer this kind"
            faults.append(Fault(problem, value=str(one), allowed=", ".join(KINDS)))
        else:
            faults += [*_form_faults(one, endpoint, last), *_level_faults(one, known)]
    raise_if(faults)


def _form_faults(one: Estimand, endpoint: str, last: float) -> Iterator[Fault]:
    """What is wrong with outcome, time, or whether levels are compared."""
    outcome, _, inner = one.outcome.partition(", ")
    if outcome != endpoint or bool(inner) != (one.kind == "hazard_ratio_ratio"):
        form = f"{endpoint}, her2: a vs b" if one.kind == "hazard_ratio_ratio" else endpoint
        yield Fault("no such outcome of these cohorts", value=str(one), allowed=form)
    timed = one.kind in TIMED
    if timed and not (one.time_unit == "months" and 0 < (one.time or 0) <= last):
        allowed = f"@ a time up to {last:g} months, where follow-up ends"
        yield Fault("no time that these cohorts answer", value=str(one), allowed=allowed)
    if not timed and one.time is not None:
        yield Fault("a ratio has no time here", value=str(one))
    compares = one.contrast is not None and bool(one.contrast.a)
    if compares == (one.kind in ("survival", "rmst")):
        problem = "needs no comparison" if compares else "needs a comparison of two levels"
        yield Fault(f"{one.kind} {problem}", value=str(one), allowed="; her2: a vs b, for others")


def _level_faults(one: Estimand, known: Mapping[str, list[str]]) -> Iterator[Fault]:
    """Factors and levels that the cohorts do not have."""
    contrasts = [one.contrast] if one.contrast and one.contrast.a else []
    if one.kind == "hazard_ratio_ratio":
        try:
            contrasts.append(inner_contrast(one))
        except BadInput as bad:
            yield from bad.faults
    for factor, level in [*one.given, *((c.factor, x) for c in contrasts for x in (c.a, c.b))]:
        if level not in known.get(factor, ()):
            allowed = "; ".join(f"{name}: {', '.join(levels)}" for name, levels in known.items())
            problem = f"no {factor}={level} among the patients"
            yield Fault(problem, value=str(one), allowed=allowed)

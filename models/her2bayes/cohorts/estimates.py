"""Estimates from reconstructed cohorts and the reference model's parameters, and what they rest on.

Survival of a group is the mean of S_i(t) over its patients; a hazard ratio is unadjusted, as the
printed ones are (``reconstructed_ratios``). The share of variance due to reconstruction is
Var_D(E[q | D]) / Var(q): parameters are drawn given each member's patients alone, and the variance
of their means, less what few draws add to it, is set against that of all draws.

Parameters of the reference model given one cohort's patients: Hamiltonian draws, nothing else.

What a survival analysis of that one data set would say, under the same model and priors.

Unadjusted hazard ratios of a model with many cells: what a Cox regression on one factor finds.

A printed univariate ratio leaves other factors out, so its counterpart in the reference model is
not a coefficient but the value that Cox's estimate tends to in endlessly many such patients:

    sum_t [ D_g(t) - D(t) exp(b_g) R_g(t) / sum_k exp(b_k) R_k(t) ] = 0     for every group g
    R_g(t) = sum over cells m in g of n_m S_m(t) C(t),    D_g(t) = sum n_m h_m S_m(t) C(t)

over a grid of midpoints, n_m patients, h_m and S_m hazard and survival of a cell, C the censoring
distribution (Struthers & Kalbfleisch 1986).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.cohorts.chain import kernel
from her2bayes.cohorts.chain.problem import TENTHS, Problem
from her2bayes.cohorts.chain.start import cohort, log_rates, prior_theta
from her2bayes.cohorts.chain.tempering import Chain, members
from her2bayes.cohorts.ensemble import SummaryEnsemble, verdict_of
from her2bayes.cohorts.printed.design import PAIRED, Summary
from her2bayes.estimand import Contrast, Estimand
from her2bayes.inference.convergence import Diagnostics, failed
from her2bayes.inference.estimates import estimate
from her2bayes.survival import piecewise as post

LEAPS, WARM, APART = 12, 60, 3


def parameters_given(
    posed: Problem, tenths: np.ndarray, event: np.ndarray, cell: np.ndarray, start: np.ndarray,
    number: int, seed: int,
) -> np.ndarray:  # fmt: skip
    """Draws (draw, parameter) of theta given patients; ``tenths`` are times in month tenths."""
    patients = cohort(posed.printed, tenths, event, cell)
    theta = start.copy()
    found = np.zeros((number, theta.size))
    kernel.parameters(posed.printed, patients, posed.model, theta, seed, WARM, APART, LEAPS, found)
    return found


STEPS = 6  # of the grid in each interval
NEWTON = 25
LARGEST_STEP, LEAST = 2.0, 1e-12
FEW = 1e-3  # patients in an empty cell: a group that is empty in one cohort still has a ratio


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
    """Log hazard ratios (chain, draw, group) against the first group; ``groups`` hold cells."""
    risk, dead = (np.stack([x[..., g].sum(-1) for g in groups], axis=-1) for x in part.at_risk)
    risk, dead = np.maximum(risk, LEAST), dead
    all_dead = dead.sum(-1, keepdims=True)
    beta = np.zeros((*risk.shape[:2], len(groups)))
    for _ in range(NEWTON):
        weight = risk * np.exp(beta)[:, :, None, :]
        share = weight / weight.sum(-1, keepdims=True)
        score = (dead - all_dead * share).sum(2)[..., 1:]
        spread = np.einsum("cdtg,cdth->cdgh", all_dead * share, share)
        information = -spread[..., 1:, 1:]
        place = np.arange(len(groups) - 1)
        information[..., place, place] += (all_dead * share).sum(2)[..., 1:] + LEAST
        step = np.linalg.solve(information, score[..., None])[..., 0]
        step = np.clip(step, -LARGEST_STEP, LARGEST_STEP)
        beta[..., 1:] += step
        if np.abs(step).max() < 1e-8:
            break
    return beta


TIMES, HORIZON = (12.0, 24.0, 60.0), 60.0
PRIOR_DRAWS = 1000
DRAWS = 400  # of each chain
GIVEN_MEMBERS, GIVEN_DRAWS = 100, 40  # parameters drawn for each member's patients


@dataclass(frozen=True)
class Draws:
    """Rates and patients of all draws, of the prior, and given each member's patients alone."""

    posterior: Part
    prior: Part
    given: Part  # a member's draws as a chain


@dataclass(frozen=True)
class _Source:
    model: str
    fit_id: str
    diagnostics: Diagnostics


def draws_of(posed: Problem, chains: Sequence[Chain], seed: int) -> Draws:
    """Hazards of all draws, of the prior, and given each member's patients."""
    size = min(DRAWS, *(chain.months.shape[0] for chain in chains))
    kept = [np.linspace(0, c.months.shape[0] - 1, size).round().astype(int) for c in chains]
    theta = np.stack([chain.theta[part] for chain, part in zip(chains, kept, strict=True)])
    cell = np.stack([chain.cell[part] for chain, part in zip(chains, kept, strict=True)])
    posterior = _part(posed, theta, _counts(posed, cell))
    rng = np.random.default_rng(seed)
    alone, same = [], []
    for c, d in members(chains, GIVEN_MEMBERS):
        chain = chains[c]
        found = parameters_given(
            posed, chain.months[d] * TENTHS, chain.event[d], chain.cell[d], chain.theta[d],
            GIVEN_DRAWS, int(rng.integers(2**31)),
        )  # fmt: skip
        alone.append(found)
        same.append(np.repeat(chain.cell[d][None], GIVEN_DRAWS, axis=0))
    given = _part(posed, np.stack(alone), _counts(posed, np.stack(same)))
    before = prior_theta(posed.model, PRIOR_DRAWS, rng)[None]
    typical = posterior.patients.mean(["chain", "draw"])
    whole = typical.expand_dims(chain=1, draw=PRIOR_DRAWS)
    return Draws(posterior, _part(posed, before, whole), given)


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


def rows(
    item: Summary, draws: Draws, posed: Problem, ensemble: SummaryEnsemble, fit: tuple[str, str]
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Rows of estimates, and for each the share of its variance due to reconstruction."""
    size = draws.posterior.patients.sizes["chain"]
    source = _Source(*fit, Diagnostics(size, 0, 0, np.inf))
    levels = _levels(item, posed)
    printed = {s.estimand for s in item.statistics}
    found, shares = [], []
    for estimand in asked_of(item):
        values, before = (_value(estimand, part, levels) for part in (draws.posterior, draws.prior))
        share = _share_of_reconstruction(estimand, draws, values, levels)
        row = estimate(estimand, values, before, source, event=_event(estimand),
                       note=_note(estimand, share), unit=_unit(estimand))  # fmt: skip
        kind = "by_construction" if is_printed(estimand, printed) else "implied"
        found.append({**row, "convergence": verdict(values, ensemble), "evidence_kind": kind})
        shares.append({"estimand": str(estimand), "share": share})
    return found, pd.DataFrame(shares)


def verdict(values: xr.DataArray, ensemble: SummaryEnsemble) -> str:
    """Verdict of one quantity: chains that differ anywhere speak against all their numbers."""
    own = verdict_of(values)
    return own if failed(own) else ensemble.verdict


def _unit(estimand: Estimand) -> str | None:
    return "months" if estimand.kind == "rmst" else None


def _event(estimand: Estimand) -> Any:
    return (lambda x: x < 1) if estimand.kind.startswith("hazard_ratio") else None


def _note(estimand: Estimand, share: float) -> str:
    event = "P(ratio < 1); " if estimand.kind.startswith("hazard_ratio") else ""
    horizon = f"horizon {estimand.time:g} months; " if estimand.kind == "rmst" else ""
    return (
        f"{event}{horizon}reconstructed patients, reference model; {100 * share:.0f} % of the "
        "posterior variance is due to not knowing the patients"
    )


def is_printed(estimand: Estimand, printed: set[str]) -> bool:
    """Tell whether a hazard ratio is one of the statistics that cohorts must meet."""
    if estimand.kind != "hazard_ratio" or estimand.contrast is None:
        return False
    bare = Estimand("hazard_ratio", estimand.outcome, estimand.given)
    return f"{str(bare)[:-1]} ; {estimand.contrast.factor}]" in printed


def asked_of(item: Summary) -> Iterator[Estimand]:
    """Estimands of an endpoint: by level of the first compared factor, ratios by subgroup."""
    name = item.endpoint
    times = [t for t in TIMES if t <= item.last]
    horizon = min(HORIZON, item.last)
    first = item.model_factors[0]
    for given in ((), *(((first, level),) for level in item.cells.levels(first))):
        for t in times:
            yield Estimand("survival", name, given, None, t, "months")
        yield Estimand("rmst", name, given, None, horizon, "months")
    for factor in item.model_factors:
        for contrast in _contrasts(item, factor):
            yield Estimand("hazard_ratio", name, (), contrast)
    for contrast in _contrasts(item, first):
        yield from _by_subgroup(item, contrast)


def _by_subgroup(item: Summary, contrast: Contrast) -> Iterator[Estimand]:
    """Hazard ratio of one contrast in every subgroup, and ratios between two subgroups."""
    for factor in item.model_factors[1:]:
        levels = item.cells.levels(factor)
        for level in levels:
            yield Estimand("hazard_ratio", item.endpoint, ((factor, level),), contrast)
        if factor != PAIRED and len(levels) == 2:
            outcome = f"{item.endpoint}, {contrast}"
            between = Contrast(factor, levels[1], levels[0])
            yield Estimand("hazard_ratio_ratio", outcome, (), between)


def _contrasts(item: Summary, factor: str) -> list[Contrast]:
    """All levels against the reference of the printed ratios, or the first level."""
    ratios = [s for s in item.statistics if s.factor == factor and s.estimand.startswith("hazard")]
    levels = item.cells.levels(factor)
    base = ratios[0].levels[0] if ratios else levels[0]
    return [Contrast(factor, level, base) for level in levels if level != base]


def _levels(item: Summary, posed: Problem) -> pd.DataFrame:
    """Level of every model factor in each cell of the model."""
    table = []
    for m in range(posed.model.columns.shape[0]):
        first = int(np.flatnonzero(posed.printed.model_cell == m)[0])
        combination = item.cells.combinations[first]
        table.append({f: item.cells.value(combination, f) for f in item.model_factors})
    return pd.DataFrame(table)


def _inside(levels: pd.DataFrame, given: Mapping[str, str]) -> np.ndarray:
    inside = np.ones(len(levels), bool)
    for factor, level in given.items():
        inside &= (levels[factor] == level).to_numpy()
    return inside


def value(
    estimand: Estimand, draws: Draws, item: Summary, posed: Problem
) -> tuple[xr.DataArray, xr.DataArray]:
    """Posterior and prior draws (chain, draw) of one estimand, as ``rows`` summarises them."""
    levels = _levels(item, posed)
    after, before = (_value(estimand, part, levels) for part in (draws.posterior, draws.prior))
    return after, before


def _value(estimand: Estimand, part: Part, levels: pd.DataFrame) -> xr.DataArray:
    """Draws (chain, draw) of one estimand."""
    if estimand.kind == "hazard_ratio":
        assert estimand.contrast is not None
        ratio = _log_ratio(estimand.contrast, estimand.conditions, part, levels)
        return xr.ufuncs.exp(ratio)
    if estimand.kind == "hazard_ratio_ratio":
        assert estimand.contrast is not None
        text = estimand.outcome.partition(", ")[2]
        factor, _, pair = text.partition(": ")
        a, _, b = pair.partition(" vs ")
        parts = [
            _log_ratio(Contrast(factor, a, b), {estimand.contrast.factor: level}, part, levels)
            for level in (estimand.contrast.a, estimand.contrast.b)
        ]
        return xr.ufuncs.exp(parts[0] - parts[1])
    chosen = np.flatnonzero(_inside(levels, estimand.conditions))
    weight = part.patients.isel(cell=chosen)
    weight = weight / weight.sum("cell")
    log_hazard = part.log_hazard.isel(cell=chosen)
    assert estimand.time is not None
    if estimand.kind == "rmst":
        months = post.rmst(log_hazard, estimand.time)
        return (months * weight).sum("cell").transpose("chain", "draw")
    alive = post.survival(log_hazard, [estimand.time]).isel(time=0, drop=True)
    return (alive * weight).sum("cell").transpose("chain", "draw")


def _log_ratio(
    contrast: Contrast, given: Mapping[str, str], part: Part, levels: pd.DataFrame
) -> xr.DataArray:
    """Unadjusted log hazard ratio, from one Cox model of all levels of the factor."""
    inside = _inside(levels, given)
    names = list(dict.fromkeys(levels[contrast.factor]))
    groups = [
        np.flatnonzero(inside & (levels[contrast.factor] == name).to_numpy()) for name in names
    ]
    found = log_ratios(part, groups)
    ratio = found[..., names.index(contrast.a)] - found[..., names.index(contrast.b)]
    return xr.DataArray(ratio, dims=("chain", "draw"))


def _share_of_reconstruction(
    estimand: Estimand, draws: Draws, values: xr.DataArray, levels: pd.DataFrame
) -> float:
    scale = np.log if estimand.kind.startswith("hazard_ratio") else (lambda x: x)
    alone = scale(_value(estimand, draws.given, levels).to_numpy())
    means, within = alone.mean(axis=1), alone.var(axis=1)
    total = float(np.var(scale(values.to_numpy())))
    noise = float(np.mean(within)) / GIVEN_DRAWS  # so far apart, they are as good as independent
    return float(np.clip((np.var(means, ddof=1) - noise) / total, 0.0, 1.0))

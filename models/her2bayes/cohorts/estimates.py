"""Rows of reconstructed cohorts: posterior of the reference model, and Cox's ratios over cohorts.

The share of variance due to reconstruction is Var_D(E[q | D]) / Var(q): parameters are drawn given
each member's patients alone, and the variance of their means, less what few draws add to it, is set
against that of all draws.

A cohort is one imputation of the patients. Cox's estimate in it has a sampling error, and the
estimates differ between cohorts, because the patients are not known. Rubin (1987) joins both:

    log HR = mean of q_d,    variance = mean of v_d + (1 + 1/m) Var(q_d)

over m cohorts d with estimates q_d and squared standard errors v_d (Efron's ties).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.cohorts.chain import statistics
from her2bayes.cohorts.chain.summary import PAIRED, Statistic, Summary
from her2bayes.cohorts.chain.tempering import Chain, members
from her2bayes.cohorts.diagnostics import log_hazards, survival_at
from her2bayes.cohorts.draws import GIVEN_DRAWS, RATIOS, Draws, MixedDraws, draws
from her2bayes.cohorts.ensemble import SummaryEnsemble, verdict_of
from her2bayes.cohorts.kept import MODEL
from her2bayes.estimand import Contrast, Estimand, parse
from her2bayes.inference.convergence import LEAST_ESS, Diagnostics, failed
from her2bayes.inference.estimates import estimate
from her2bayes.inference.reweight import (
    Weights,
    k_limit,
    relative_ess,
    smoothed,
    weighted_quantiles,
)
from her2bayes.page.numbers import interval, number

TIMES, HORIZON = (12.0, 24.0, 60.0), 60.0
WIDTHS = (0.5, 2.0, 4.0)
"""Multiples of the scale of the prior under which hazard ratios are given again."""
QUANTILES = (0.5, 0.025, 0.975)


@dataclass(frozen=True)
class _Source:
    model: str
    fit_id: str
    diagnostics: Diagnostics


def rows(
    asked: Sequence[Estimand], drawn: Draws | MixedDraws, ensemble: SummaryEnsemble, fit_id: str
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Rows of estimates, and for each the share of its variance due to reconstruction."""
    source = _Source(MODEL, fit_id, Diagnostics(len(drawn.chains), 0, 0, np.inf))
    levels = drawn.levels
    after, before, given = (
        draws(asked, part, levels) for part in (drawn.posterior, drawn.prior, drawn.given)
    )
    printed = printed_of(ensemble.summary)
    found, shares = [], []
    for one in asked:
        share = share_of_reconstruction(one.kind, after[one], given[one])
        ratio = one.kind in RATIOS
        row = estimate(
            one, after[one], before[one], source, event=_below_one if ratio else None,
            note=_note(one, share), unit="months" if one.kind.startswith("rmst") else None,
        )  # fmt: skip
        kind = "by_construction" if is_printed(one, printed) else "implied"
        found.append({**row, "convergence": verdict(after[one], ensemble), "evidence_kind": kind})
        shares.append({"estimand": str(one), "share": share})
    return found, pd.DataFrame(shares)


def prior_sensitivity(
    asked: Sequence[Estimand], drawn: Draws | MixedDraws, ensemble: SummaryEnsemble
) -> pd.DataFrame:
    """Hazard ratios of all patients under priors of their factor's effects of other widths.

    One row a ratio and a multiple ``times`` of the prior's scale: weighted median and 95 % limits,
    Pareto k-hat and effective sample size of the weights. The numbers are NaN where the weights are
    refused: k-hat too large, or fewer effective draws than chains over cohorts must have.
    """
    ratios = [one for one in asked if one.kind == "hazard_ratio" and not one.given]
    after = draws(ratios, drawn.posterior, drawn.levels)
    found = []
    for one in ratios:
        for times in WIDTHS:
            weights = weights_for(one, after[one], drawn, times)
            numbers: tuple[float, ...] = (np.nan, np.nan, np.nan)
            if trusted(weights):
                values, weight = (
                    x.transpose("chain", "draw").to_numpy().ravel()
                    for x in (after[one], weights.weight)
                )
                numbers = weighted_quantiles(values, weight, QUANTILES)
            found.append({
                "estimand": str(one), "times": times,
                **dict(zip(("median", "lower", "upper"), numbers, strict=True)),
                "k_hat": weights.k_hat, "ess": weights.ess,
                "convergence": verdict(after[one], ensemble),
            })  # fmt: skip
    columns = ["estimand", "times", "median", "lower", "upper", "k_hat", "ess", "convergence"]
    return pd.DataFrame(found, columns=columns)


def weights_for(
    ratio: Estimand, values: xr.DataArray, drawn: Draws | MixedDraws, times: float
) -> Weights:
    """Weights of a ratio's draws under a prior of its factor's effects ``times`` as wide."""
    assert ratio.contrast is not None  # of the grammar
    return smoothed(drawn.log_prior_ratio(ratio.contrast.factor, times), relative_ess([values]))


def trusted(weights: Weights) -> bool:
    """Whether weighted draws of chains over cohorts say enough, by the chains' own standard."""
    return bool(weights.k_hat < k_limit(weights.weight.size) and weights.ess >= LEAST_ESS)


def prior_stances(table: pd.DataFrame) -> dict[str, str]:
    """What ``prior_sensitivity`` says of each ratio, in words."""
    said = {}
    for estimand, rows in table.groupby("estimand", sort=False):
        known = rows[rows["median"].notna()]
        if known.empty:
            said[str(estimand)] = "not known under other priors"
            continue
        first, last = (number(float(known["median"].iloc[k]), 2) for k in (0, -1))
        low, high = (float(known["times"].iloc[k]) for k in (0, -1))
        said[str(estimand)] = f"{first} to {last}, prior {low:g} to {high:g} times as wide"
    return said


def _below_one(ratio: xr.DataArray) -> xr.DataArray:
    return ratio < 1


def verdict(values: xr.DataArray, ensemble: SummaryEnsemble) -> str:
    """Verdict of one quantity: chains that differ anywhere speak against all their numbers."""
    own = verdict_of(values)
    return own if failed(own) else ensemble.verdict


def share_of_reconstruction(kind: str, values: xr.DataArray, alone: xr.DataArray) -> float:
    """Share of the variance due to not knowing the patients; ``alone``: draws by member."""
    scale = np.log if kind in RATIOS else (lambda x: x)
    given = scale(alone.to_numpy())
    means, within = given.mean(axis=1), given.var(axis=1)
    total = float(np.var(scale(values.to_numpy())))
    noise = float(np.mean(within)) / GIVEN_DRAWS  # so far apart, they are as good as independent
    return float(np.clip((np.var(means, ddof=1) - noise) / total, 0.0, 1.0))


def _note(estimand: Estimand, share: float) -> str:
    event = "P(ratio < 1); " if estimand.kind in RATIOS else ""
    horizon = f"horizon {estimand.time:g} months; " if estimand.kind.startswith("rmst") else ""
    return (
        f"{event}{horizon}reconstructed patients, reference model; {100 * share:.0f} % of the "
        "posterior variance is reconstruction uncertainty"
    )


def printed_of(item: Summary) -> set[str]:
    """Statistics that cohorts must meet by their estimands, survival with its times."""
    timed = {
        str(Estimand("survival", item.endpoint, tuple(s.given.items()), None, t.at, "months"))
        for s in item.statistics
        if s.kind == statistics.SURVIVAL
        for t in s.targets
    }
    return timed | {s.estimand for s in item.statistics}


def is_printed(estimand: Estimand, printed: set[str]) -> bool:
    """Tell whether a ratio or survival at a time is one of the numbers that cohorts must meet."""
    if estimand.kind == "survival":
        return str(estimand) in printed
    if estimand.kind != "hazard_ratio" or estimand.contrast is None:
        return False
    bare = Estimand("hazard_ratio", estimand.outcome, estimand.given)
    return f"{str(bare)[:-1]} ; {estimand.contrast.factor}]" in printed


def asked_of(item: Summary) -> Iterator[Estimand]:
    """Estimands of an endpoint: by level of the first compared factor, ratios by subgroup."""
    name = item.endpoint
    times = [t for t in TIMES if t <= item.last]
    horizon = min(HORIZON, item.last)
    first = item.model_factors[0] if item.model_factors else ""
    levels = item.cells.levels(first) if first else ()
    for given in ((), *(((first, level),) for level in levels)):
        for t in times:
            yield Estimand("survival", name, given, None, t, "months")
        yield Estimand("rmst", name, given, None, horizon, "months")
    for factor in item.model_factors:
        for contrast in _contrasts(item, factor):
            yield Estimand("hazard_ratio", name, (), contrast)
    for contrast in _contrasts(item, first) if first else ():
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


def compared_subgroups(asked: Estimand, estimates: pd.DataFrame) -> str:
    """Say how the ratios of a comparison differ between the subgroups it is made in; '' if unknown.

    ``asked`` is the comparison in one subgroup, the last factor given.
    """
    if asked.contrast is None:
        return ""
    of, factor = f"{asked.outcome}, {asked.contrast.factor}: ", asked.given[-1][0]
    said, open_ = [], True
    ratios = estimates[estimates["estimand"].str.startswith("hazard_ratio_ratio[")]
    for row in ratios.to_dict("records"):
        ratio = parse(row["estimand"])
        pair = ratio.contrast
        if not ratio.outcome.startswith(of) or pair is None or pair.factor != factor:
            continue
        low, high = row["posterior_lower"], row["posterior_upper"]
        open_ &= bool(low <= 1 <= high)
        said.append(
            f"{interval(row['posterior_median'], low, high)} for {ratio.outcome.removeprefix(of)} "
            f"({pair.a} over {pair.b}; prior "
            f"{interval(row['prior_median'], row['prior_lower'], row['prior_upper'])})"
            + (", from chains that failed" if failed(row["convergence"]) else "")
        )
    if not said:
        return ""
    answer = ": they do not tell whether the subgroups differ" if open_ else ""
    return (
        f" In the reconstructed cohorts the ratio of their hazard ratios, with 95 % credible "
        f"interval, is {' and '.join(said)}{answer}."
    )


def _contrasts(item: Summary, factor: str) -> list[Contrast]:
    """All levels against the reference of the printed ratios, or the first level."""
    ratios = [s for s in item.statistics if s.factor == factor and s.estimand.startswith("hazard")]
    levels = item.cells.levels(factor)
    base = ratios[0].levels[0] if ratios else levels[0]
    return [Contrast(factor, level, base) for level in levels if level != base]


COHORTS = 60
Z = 1.959963984540054
FEW = 0.05  # share of cohorts without a finite ratio that may be left out
FINITE = 10.0  # a log hazard ratio beyond means a group without deaths


def over_cohorts(ensemble: SummaryEnsemble) -> pd.DataFrame:
    """Cox hazard ratios of the first compared factor by subgroup, joined over cohorts."""
    item = ensemble.summary
    if not item.compared:
        return pd.DataFrame()
    levels = item.cells.levels(item.compared)
    chosen = [(ensemble.chains[c], d) for c, d in members(ensemble.chains, COHORTS)]
    printed = printed_of(item)
    fits: dict[tuple[tuple[str, str], ...], tuple[np.ndarray, np.ndarray]] = {}
    made = []
    for estimand in asked_of(item):
        contrast = estimand.contrast
        if estimand.kind != "hazard_ratio" or not contrast or contrast.factor != item.compared:
            continue
        if estimand.given not in fits:
            fits[estimand.given] = _fits(item, chosen, estimand)
        logs, covariances = fits[estimand.given]
        a, b = (levels.index(name) for name in (contrast.a, contrast.b))
        variance = covariances[:, a, a] + covariances[:, b, b] - 2 * covariances[:, a, b]
        row = joined(logs[:, a] - logs[:, b], variance)
        kind = "by_construction" if is_printed(estimand, printed) else "implied"
        made.append({"estimand": str(estimand), **row, "evidence_kind": kind})
    return pd.DataFrame(made)


def joined(log_ratio: np.ndarray, variance: np.ndarray) -> dict[str, Any]:
    """Ratio with 95 % limits from estimates and squared errors over cohorts (Rubin's rules).

    Estimates that are not finite are left out and counted; where they are more than ``FEW`` the
    others would be a selection, and the ratio is NaN.
    """
    known = (np.abs(log_ratio) < FINITE) & np.isfinite(variance)
    without = int((~known).sum())
    if without > FEW * known.size or known.sum() < 2:
        method = f"no Cox ratio: in {without} of {known.size} reconstructed cohorts a group has no "
        numbers = dict.fromkeys(("reproduced", "reproduced_lower", "reproduced_upper"), np.nan)
        return {**numbers, "method": f"{method}deaths"}
    within = float(variance[known].mean())
    between = float(np.var(log_ratio[known], ddof=1))
    error = np.sqrt(within + (1 + 1 / known.sum()) * between)
    middle = float(log_ratio[known].mean())
    method = (
        f"Cox in each of {log_ratio.size} reconstructed cohorts, combined by Rubin's rules: "
        f"standard error {np.sqrt(within):.2f} within, {np.sqrt(between):.2f} between cohorts (log "
        "scale)"
    )
    if without:
        method += f"; no finite ratio in {without}, where a group has no deaths"
    return {
        "reproduced": float(np.exp(middle)),
        "reproduced_lower": float(np.exp(middle - Z * error)),
        "reproduced_upper": float(np.exp(middle + Z * error)),
        "method": method,
    }


def _fits(
    item: Summary, chosen: list[tuple[Chain, int]], estimand: Estimand
) -> tuple[np.ndarray, np.ndarray]:
    """Log hazards (cohort, group) and their covariance (cohort, group, group)."""
    levels = item.cells.levels(item.compared)
    statistic = Statistic("", statistics.COX, dict(estimand.given), item.compared, levels, ())
    group = statistic.groups(item.cells)
    logs, covariances = [], []
    for chain, d in chosen:
        order = np.argsort(chain.months[d], kind="stable")
        months, event, cell = (x[d][order] for x in (chain.months, chain.event, chain.cell))
        event = event.astype(bool)
        log = log_hazards(group, len(levels), months, event, cell)
        logs.append(log)
        covariances.append(covariance(log, months, event, group[cell]))
    return np.array(logs), np.array(covariances)


def covariance(
    log_hazard: np.ndarray, months: np.ndarray, event: np.ndarray, group: np.ndarray
) -> np.ndarray:
    """Covariance of log hazards of groups at Cox's estimate, Efron's ties; the first known is 0.

    NaN for groups without a finite log hazard; patients of group -1 are left out.
    """
    finite = np.flatnonzero(np.abs(log_hazard) < FINITE)
    found = np.full((log_hazard.size, log_hazard.size), np.nan)
    if finite.size < 2:
        return found
    mine = group[:, None] == finite
    times = np.unique(months[event & mine.any(axis=1)])
    risk = (months[:, None] >= times).T.astype(float) @ mine
    dead = ((months[:, None] == times) & event[:, None]).T.astype(float) @ mine
    number = dead.sum(axis=1).astype(int)
    row = np.repeat(np.arange(times.size), number)
    place = np.arange(row.size) - np.repeat(np.cumsum(number) - number, number)
    weight = (risk[row] - (place / number[row])[:, None] * dead[row]) * np.exp(log_hazard[finite])
    share = weight / weight.sum(axis=1, keepdims=True)
    information = np.diag(share.sum(axis=0)) - share.T @ share
    inside = np.zeros_like(information)
    inside[1:, 1:] = np.linalg.inv(information[1:, 1:])
    found[np.ix_(finite, finite)] = inside
    return found


def curves_of(
    ensemble: SummaryEnsemble, given: Mapping[str, str], grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Kaplan-Meier survival (cohort, month) and patients at risk of a group in every cohort."""
    survival, risk = [], []
    for cohort in ensemble.cohorts:
        inside = np.ones(len(cohort), bool)
        for factor, level in given.items():
            inside &= (cohort[factor] == level).to_numpy()
        time, event = (cohort[name].to_numpy()[inside] for name in ("time", "event"))
        survival.append(survival_at((time, event), grid))
        risk.append((time[None, :] >= grid[:, None]).sum(axis=1))
    return np.array(survival), np.array(risk)

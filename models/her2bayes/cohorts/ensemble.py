"""Cohorts behind a study's printed survival: checked by code of its own, judged, written.

Nothing in the check is shared with the compiled chain: patients are written out one row each and
analysed with ``classical`` (greenwood); observed/expected estimators follow from its log-rank test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.cohorts.chain import statistics as kinds
from her2bayes.cohorts.chain.summary import CHANGED, PAIRED, CountFact, Statistic, Summary, Target
from her2bayes.cohorts.chain.tempering import Chain, members
from her2bayes.cohorts.curve_ensemble import write_tables
from her2bayes.cohorts.diagnostics import diagnose
from her2bayes.inference.convergence import CHAINS_AGREE, CHAINS_DISAGREE, LARGEST_RHAT, LEAST_ESS

_KINDS_OF_FOLLOW_UP = (kinds.FOLLOW_UP, kinds.FOLLOW_UP_REVERSE, kinds.FOLLOW_UP_SURVIVORS)


def patients(summary: Summary, chain: Chain, draw: int) -> pd.DataFrame:
    """One cohort, a row a patient: the factors, ``time`` (months) and ``event`` (0 or 1)."""
    combos = pd.DataFrame(summary.cells.combinations)
    rows = combos.iloc[chain.cell[draw]].reset_index(drop=True)
    if summary.cells.pair:
        primary, recurrence = (rows[name] for name in summary.cells.pair)
        changed = {value: name for name, value in CHANGED.items()}
        rows[PAIRED] = (primary != recurrence).map(changed)
    return rows.assign(time=np.round(chain.months[draw], 1), event=chain.event[draw])


def match(summary: Summary, cohorts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Every printed number with the value each cohort gives and whether it prints alike.

    Columns: claim_id, statistic, method, printed, low, high, member, achieved, met.
    """
    rows = []
    for member, patients_ in enumerate(cohorts, 1):
        cell = _cell(summary, patients_)
        cohort = patients_.assign(entry=0.0, patients=1)  # as ``classical`` counts them
        for fact in summary.facts:
            rows.append(_count_row(cell, cohort, fact, member))
        for statistic in summary.statistics:
            values = _values(statistic, cohort)
            rows += [_target_row(statistic, t, values, member) for t in statistic.targets]
    return pd.DataFrame(rows)


def _cell(summary: Summary, cohort: pd.DataFrame) -> list[int]:
    """Cell of each patient."""
    names = list(summary.cells.factors)
    index = {tuple(c[n] for n in names): k for k, c in enumerate(summary.cells.combinations)}
    return [index[row] for row in zip(*(cohort[n] for n in names), strict=True)]


@dataclass(frozen=True)
class _Number:
    """One printed number: whose it is, its method, its words, the values that print alike."""

    claim_id: str
    statistic: str
    method: str
    printed: str
    low: float
    high: float

    def row(self, member: int, achieved: float) -> dict[str, object]:
        """What one cohort gives, and whether it prints alike."""
        slack = 1e-7 * max(abs(self.low), abs(self.high), 1e-3)
        met = bool(self.low - slack <= achieved <= self.high + slack)
        return {**asdict(self), "member": member, "achieved": achieved, "met": met}


def _count_row(
    cell: list[int], cohort: pd.DataFrame, fact: CountFact, member: int
) -> dict[str, object]:
    counted = fact.cells[cell] * (cohort["event"].to_numpy() if fact.event else 1)
    printed = str(fact.low) if fact.low == fact.high else f"{fact.low} to {fact.high}"
    number = _Number(fact.claim_id, fact.what, "count", printed, fact.low, fact.high)
    return number.row(member, int(counted.sum()))


def _target_row(
    statistic: Statistic, target: Target, values: dict[int, float], member: int
) -> dict[str, object]:
    from scipy.stats import chi2

    low, high = target.low, target.high
    if target.scale == "exp":
        low, high = exp(low), exp(high)
    elif target.scale.startswith("p"):
        degrees = int(target.scale[1:])
        low, high = (float(chi2.sf(x, degrees)) for x in (high, low))
    elif target.scale == "months":
        low, high = low / 10, high / 10
    what = f"{statistic.estimand} {target.what}"
    number = _Number(target.claim_id, what, statistic.method, target.text, low, high)
    return number.row(member, values[target.position])


def _values(statistic: Statistic, cohort: pd.DataFrame) -> dict[int, float]:
    """Numbers of one statistic on the printed scale, by position."""
    rows = cohort
    for factor, level in statistic.given.items():
        rows = rows[rows[factor] == level]
    if statistic.factor:
        rows = rows[rows[statistic.factor].isin(statistic.levels)]
    if statistic.kind == kinds.LOG_RANK:
        return _log_rank(statistic, rows)
    if statistic.kind == kinds.COX:
        return _cox(statistic, rows)
    if statistic.kind in (kinds.PETO, kinds.EXPECTED, kinds.OBSERVED):
        return _observed_expected(statistic, rows)
    if statistic.kind in _KINDS_OF_FOLLOW_UP:
        return _follow_up(statistic.kind, rows)
    return {0: _median(rows, reverse=False)}


def _log_rank(statistic: Statistic, rows: pd.DataFrame) -> dict[int, float]:
    from her2bayes.classical.survival import logrank

    found = logrank(rows, [statistic.factor])
    second = statistic.levels[1]
    excess = float(found["observed"][second] - found["expected"][second])
    return {0: found["p_value"], 1: excess}


def _observed_expected(statistic: Statistic, rows: pd.DataFrame) -> dict[int, float]:
    from her2bayes.classical.survival import logrank

    found = logrank(rows, [statistic.factor])
    observed = np.array([float(found["observed"][level]) for level in statistic.levels])
    expected = np.array([float(found["expected"][level]) for level in statistic.levels])
    excess = observed[1] - expected[1]
    if statistic.kind == kinds.PETO:
        variance = excess**2 / found["statistic"]
        ratio, error = excess / variance, 1 / sqrt(variance)
    else:
        ratio = np.log(observed[1] / expected[1]) - np.log(observed[0] / expected[0])
        base = expected if statistic.kind == kinds.EXPECTED else observed
        error = float(np.sqrt((1 / base).sum()))
    return {**_limits(ratio, error), 3: found["p_value"]}


def _limits(ratio: float, error: float) -> dict[int, float]:
    z = 1.959963984540054
    return {0: exp(ratio), 1: exp(ratio - z * error), 2: exp(ratio + z * error)}


def _cox(statistic: Statistic, rows: pd.DataFrame) -> dict[int, float]:
    from her2bayes.classical.hazard_regression import cox

    rows = rows.assign(
        **{statistic.factor: pd.Categorical(rows[statistic.factor], categories=statistic.levels)}
    )
    table = cox(rows, {statistic.factor: statistic.levels[0]}).table.set_index("level")
    values = {}
    for k, level in enumerate(statistic.levels[1:]):
        numbers = table.loc[level, ["hazard_ratio", "lower", "upper", "p_value"]]
        values.update({4 * k + at: float(v) for at, v in enumerate(numbers.to_numpy(float))})
    return values


def _follow_up(kind: int, rows: pd.DataFrame) -> dict[int, float]:
    seen = rows[rows["event"] == 0] if kind == kinds.FOLLOW_UP_SURVIVORS else rows
    time = seen["time"]
    middle = (
        _median(rows, reverse=True) if kind == kinds.FOLLOW_UP_REVERSE else float(time.median())
    )
    return {0: middle, 1: float(time.min()), 2: float(time.max())}


def _median(rows: pd.DataFrame, reverse: bool) -> float:
    from her2bayes.classical.survival import quantile

    return float(quantile(rows, reverse=reverse)["estimate"].iloc[0])


@dataclass(frozen=True)
class SummaryEnsemble:
    """Cohorts, how each matches the print, and whether the chains agree."""

    summary: Summary
    chains: Sequence[Chain]
    cohorts: Sequence[pd.DataFrame]
    match: pd.DataFrame
    diagnostics: pd.DataFrame

    @property
    def agrees(self) -> bool:
        """Tell whether every monitored quantity has R-hat <= 1.05 and ESS >= 50."""
        table = self.diagnostics.dropna(subset=["rhat"])
        return bool(
            len(table)
            and (table["rhat"] <= LARGEST_RHAT).all()
            and (table["ess"] >= LEAST_ESS).all()
        )

    @property
    def verdict(self) -> str:
        """The same in words, as it travels with every number."""
        if self.agrees:
            return CHAINS_AGREE
        table = self.diagnostics.dropna(subset=["rhat"])
        if not len(table):
            return f"{CHAINS_DISAGREE}: one chain"
        worst = f"R-hat {table['rhat'].max():.2f}; ESS {table['ess'].min():.0f}"
        return f"{CHAINS_DISAGREE}: {worst}"

    def patients(self) -> pd.DataFrame:
        """All cohorts in one table, ``member`` counting from 1."""
        parts = [frame.assign(member=k) for k, frame in enumerate(self.cohorts, 1)]
        table = pd.concat(parts, ignore_index=True)
        return table[["member", *(c for c in table.columns if c != "member")]]

    def text(self) -> str:
        """What a reader must know first."""
        summary, table = self.summary, self.match
        met = table.groupby("member")["met"].all()
        seconds = sum(c.seconds for c in self.chains)
        numbers = len(table) // len(self.cohorts)
        lines = [
            f"{summary.study} {summary.endpoint}: {len(self.cohorts)} cohorts of "
            f"{summary.patients} patients, {int(met.sum())} of them meet all "
            f"{numbers} printed numbers ({seconds:.0f} s of processor time)",
            "readings: " + ", ".join(f"{k} = {v}" for k, v in summary.readings.items() if v),
        ]
        lines += [f"left out: {claim}, {why}" for claim, why in summary.left_out]
        worst = self.diagnostics.dropna(subset=["rhat"])
        if len(worst):
            verdict = "agree" if self.agrees else "DISAGREE (give more --sweeps)"
            lines.append(
                f"chains {verdict}: max R-hat {worst['rhat'].max():.2f}, "
                f"min ESS {worst['ess'].min():.0f}"
            )
        for row in self.diagnostics.head(4).itertuples():
            lines.append(f"{row.quantity}: {row.mean:.3g} (sd over cohorts {row.sd:.2g})")
        return "\n".join(lines)


def ensemble_of(summary: Summary, chains: Sequence[Chain], number: int) -> SummaryEnsemble:
    """An ensemble of members spread over chains, matched and judged."""
    cohorts = [patients(summary, chains[c], d) for c, d in members(chains, number)]
    return SummaryEnsemble(
        summary, chains, cohorts, match(summary, cohorts), diagnose(summary, chains)
    )


def verdict_of(draws: xr.DataArray) -> str:
    """Whether chains (chain, draw) agree about one quantity, by the rule for ensembles."""
    from arviz_stats.base import array_stats

    values = draws.transpose("chain", "draw").to_numpy()
    if len(values) < 2 or not values.std() > 0:
        return CHAINS_AGREE if not values.std() > 0 else f"{CHAINS_DISAGREE}: one chain"
    rhat, ess = float(array_stats.rhat(values)), float(array_stats.ess(values))
    reasons = [f"R-hat {rhat:.2f}"] if not rhat <= LARGEST_RHAT else []
    reasons += [f"ESS {ess:.0f}"] if not ess >= LEAST_ESS else []
    return f"{CHAINS_DISAGREE}: {'; '.join(reasons)}" if reasons else CHAINS_AGREE


def write(ensemble: SummaryEnsemble, folder: Path) -> list[Path]:
    """Write patients.parquet, match.csv, diagnostics.csv; each appears whole or not at all."""
    runs = pd.DataFrame(
        [
            {
                "chain": k,
                "cohorts": chain.months.shape[0],
                "round_trips": chain.trips,
                "largest_refusal": float(np.max(chain.refusals)),
                "seconds": chain.seconds,
            }
            for k, chain in enumerate(ensemble.chains, 1)
        ]
    )
    stem = ensemble.summary.endpoint
    return write_tables(
        {
            f"{stem}_patients.parquet": ensemble.patients(),
            f"{stem}_match.csv": ensemble.match,
            f"{stem}_diagnostics.csv": ensemble.diagnostics,
            f"{stem}_chains.csv": runs,
        },
        folder,
    )

"""Printed numbers against those of reconstructed cohorts, computed by code of its own (greenwood).

Nothing here is shared with the compiled chain: patients are written out one row each and analysed
with ``classical.survival``; observed/expected estimators follow from greenwood's log-rank counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, sqrt

import numpy as np
import pandas as pd

from her2bayes.cohorts.chain import statistics as kinds
from her2bayes.cohorts.chain.tempering import Chain
from her2bayes.cohorts.printed.design import CHANGED, PAIRED, CountFact, Statistic, Summary, Target

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
    for member, cohort in enumerate(cohorts, 1):
        cell = _cell(summary, cohort)
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


def _count_row(
    cell: list[int], cohort: pd.DataFrame, fact: CountFact, member: int
) -> dict[str, object]:
    counted = fact.cells[cell] * (cohort["event"].to_numpy() if fact.event else 1)
    achieved = int(counted.sum())
    printed = str(fact.low) if fact.low == fact.high else f"{fact.low} to {fact.high}"
    return _row(fact.claim_id, fact.what, "count", printed, fact.low, fact.high, member, achieved)


def _row(
    claim: str, statistic: str, method: str, printed: str, low: float, high: float,
    member: int, achieved: float,
) -> dict[str, object]:  # fmt: skip
    slack = 1e-7 * max(abs(low), abs(high), 1e-3)
    met = bool(low - slack <= achieved <= high + slack)
    return {
        "claim_id": claim, "statistic": statistic, "method": method, "printed": printed,
        "low": low, "high": high, "member": member, "achieved": achieved, "met": met,
    }  # fmt: skip


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
    return _row(
        target.claim_id, f"{statistic.estimand} {target.what}", statistic.method, target.text,
        low, high, member, values[target.position],
    )  # fmt: skip


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


def _counts(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(entry=0.0, patients=1)


def _log_rank(statistic: Statistic, rows: pd.DataFrame) -> dict[int, float]:
    from her2bayes.classical.survival import logrank

    found = logrank(_counts(rows), [statistic.factor])
    second = statistic.levels[1]
    excess = float(found["observed"][second] - found["expected"][second])
    return {0: found["p_value"], 1: excess}


def _observed_expected(statistic: Statistic, rows: pd.DataFrame) -> dict[int, float]:
    from her2bayes.classical.survival import logrank

    found = logrank(_counts(rows), [statistic.factor])
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
    table = cox(_counts(rows), {statistic.factor: statistic.levels[0]}).table.set_index("level")
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

    return float(quantile(_counts(rows), reverse=reverse)["estimate"].iloc[0])

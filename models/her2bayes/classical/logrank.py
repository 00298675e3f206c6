"""Log-rank tests of groups and of a trend over ordered groups, on counts of patients.

Mantel 1966; Fleming & Harrington 1981 (weights S(t-)^rho (1 - S(t-))^gamma of the pooled curve);
Tarone 1975 (trend). With d events of n at risk at a time, n_j of them in group j, the expected
events are d n_j / n and the covariance d (n - d) / (n - 1) (n_j delta_jk / n - n_j n_k / n^2).
Greenwood's function ends in an error where that matrix has no inverse; here its rank is the df.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from her2bayes.classical.cox_likelihood import risk_table

FLAT = 1e-9  # singular values below this share of the largest are rounding error


class Moments(NamedTuple):
    """Weighted events observed and expected by group (groups,), and their covariance."""

    observed: np.ndarray
    expected: np.ndarray
    covariance: np.ndarray


def moments(
    counts: pd.DataFrame,
    code: np.ndarray,
    groups: int,
    stratum: np.ndarray,
    rho: float,
    gamma: float,
) -> Moments:
    """Sums over strata; ``code`` (rows,) is the number of each row's group."""
    total = Moments(np.zeros(groups), np.zeros(groups), np.zeros((groups, groups)))
    for value in np.unique(stratum):
        inside = stratum == value
        one = _of_stratum(counts[inside], code[inside], groups, rho, gamma)
        total = Moments(*(a + b for a, b in zip(total, one, strict=True)))
    return total


def _of_stratum(
    counts: pd.DataFrame, code: np.ndarray, groups: int, rho: float, gamma: float
) -> Moments:
    entry, time, event, patients = counts[["entry", "time", "event", "patients"]].to_numpy(float).T
    design = code[:, None].astype(float)
    table = risk_table(entry, time, event, patients, np.zeros(len(code)), design)
    present = table.patterns[:, 0].astype(int)
    events, at_risk = (np.zeros((len(table.events), groups)) for _ in range(2))
    events[:, present], at_risk[:, present] = table.events, table.at_risk
    dead, number = events.sum(axis=1), at_risk.sum(axis=1)
    after = np.cumprod(1 - dead / number)
    before = np.concatenate([[1.0], after])[: len(after)]
    weight = before**rho * (1 - before) ** gamma
    share = at_risk / number[:, None]
    spread = np.where(number > 1, dead * (number - dead) / np.maximum(number - 1, 1), 0.0)
    spread = spread * weight**2
    covariance = np.diag(spread @ share) - (share.T * spread) @ share
    return Moments(weight @ events, (weight * dead) @ share, covariance)


def quadratic(found: Moments) -> tuple[float, int]:
    """Chi-square of observed minus expected, and its degrees of freedom (0: no test)."""
    scale = float(np.abs(found.covariance).max(initial=0.0))
    if scale <= 1e-12:
        return float("nan"), 0
    df = int(np.linalg.matrix_rank(found.covariance, tol=FLAT * scale, hermitian=True))
    away = found.observed - found.expected
    inverse = np.linalg.pinv(found.covariance, rcond=FLAT, hermitian=True)
    return float(away @ inverse @ away), df


def trend(counts: pd.DataFrame, factor: str) -> dict[str, Any]:
    """Log-rank test of a trend over the levels of a factor in their order (scores 0, 1, 2, …)."""
    levels = list(counts[factor].cat.categories)
    code = counts[factor].cat.codes.to_numpy()
    found = moments(counts, code, len(levels), np.zeros(len(counts)), 0.0, 0.0)
    scores = np.arange(len(levels), dtype=float)
    variance = float(scores @ found.covariance @ scores)
    method = f"log-rank trend (Tarone), scores 0 to {len(levels) - 1} in the order of the levels"
    if variance <= 1e-12:
        return absent(method, counts)
    statistic = float(scores @ (found.observed - found.expected)) ** 2 / variance
    p_value = float(stats.chi2.sf(statistic, 1))
    return {"statistic": statistic, "df": 1, "p_value": p_value, "method": method, "note": ""}


def absent(method: str, counts: pd.DataFrame) -> dict[str, Any]:
    """A test that the data do not give, with the reason."""
    why = (
        "at no event time were patients of two groups at risk and not all of them had the event"
        if counts["event"].any()
        else "no events"
    )
    return {
        "statistic": np.nan,
        "df": 0,
        "p_value": np.nan,
        "method": method,
        "note": f"not available: {why}",
    }


def names(labels: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Distinct group names in order, and the number of each row's group."""
    found, code = np.unique(labels.astype(str), return_inverse=True)
    return [str(name) for name in found], code

"""Classical pooling of studies, each method by its name: common effect, random effects, Peto.

For estimates y[i] with standard errors s[i] of k studies:

    common effect        weights 1 / s^2 (inverse variance)
    DerSimonian-Laird    tau^2 = max(0, (Q - (k - 1)) / (sum w - sum w^2 / sum w)); Wald, normal
    REML                 tau^2 by restricted maximum likelihood (Viechtbauer 2005)
    Hartung-Knapp        variance of the mean from the weighted residuals, t with k - 1 degrees;
                         modified: never less than without it, for studies may agree by chance
                         (Röver, Knapp and Friede 2015, BMC Medical Research Methodology 15:99)
    prediction interval  mean -+ quantile * sqrt(tau^2 + se^2), quantile of the interval
    I^2                  tau^2 over tau^2 and the typical variance within studies (Higgins 2002)

Peto's odds ratio pools observed less expected counts of 2 x 2 tables, empty cells included (Yusuf
1985). Egger's regression asks whether small studies say something else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from her2bayes.errors import Fault, raise_if

LEVEL = 0.95


@dataclass(frozen=True)
class Pooled:
    """A pooled estimate on the scale of the input, its confidence and prediction intervals.

    ``prediction`` is NaN where a method has none; ``tau`` the spread between studies, ``i2`` in
    percent, ``q`` Cochran's heterogeneity statistic with ``p``.
    """

    method: str
    estimate: float
    se: float
    lower: float
    upper: float
    prediction: tuple[float, float]
    tau: float
    i2: float
    q: float
    p: float
    studies: int


def pooled(estimates: ArrayLike, errors: ArrayLike) -> tuple[Pooled, ...]:
    """Pool estimates with standard errors: common effect, DerSimonian-Laird, REML Hartung-Knapp.

    The last is the modified Hartung-Knapp interval, which is what to quote.
    Raises ``BadInput`` for fewer than two studies and errors that are not above 0.
    """
    y, s = np.asarray(estimates, dtype=float), np.asarray(errors, dtype=float)
    faults = []
    if len(y) < 2 or len(y) != len(s):
        faults.append(Fault("pooling needs two studies", value=len(y), remedy="add a study"))
    if not (np.isfinite(y).all() and np.isfinite(s).all() and (s > 0).all()):
        faults.append(Fault("a standard error is not above 0", value=s.tolist()))
    raise_if(faults)
    dl, reml = _dersimonian_laird(y, s), _reml(y, s)
    return (
        _mean("common effect, inverse variance", y, s, 0.0, knapp=False),
        _mean("random effects, DerSimonian-Laird, Wald", y, s, dl, knapp=False),
        _mean("random effects, REML, Hartung-Knapp", y, s, reml, knapp=True),
        _mean("random effects, REML, Hartung-Knapp modified", y, s, reml, knapp=True, least=1.0),
    )


def _cochran(y: np.ndarray, s: np.ndarray) -> float:
    w = 1 / s**2
    return float(w @ (y - w @ y / w.sum()) ** 2)


def _typical(s: np.ndarray) -> float:
    w = 1 / s**2
    return float((len(s) - 1) * w.sum() / (w.sum() ** 2 - (w**2).sum()))


def _dersimonian_laird(y: np.ndarray, s: np.ndarray) -> float:
    w = 1 / s**2
    return max(0.0, (_cochran(y, s) - (len(y) - 1)) / float(w.sum() - (w**2).sum() / w.sum()))


def _reml(y: np.ndarray, s: np.ndarray) -> float:
    def deviance(tau2: float) -> float:
        w = 1 / (s**2 + tau2)
        residual = y - w @ y / w.sum()
        return float(-np.log(w).sum() + np.log(w.sum()) + w @ residual**2)

    top = 10 * float(y.var(ddof=1) + (s**2).max())
    grid = np.concatenate([[0.0], np.geomspace(top * 1e-8, top, 200)])
    best = int(np.argmin([deviance(tau2) for tau2 in grid]))
    ends = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    found = optimize.minimize_scalar(deviance, bounds=ends, method="bounded",
                                     options={"xatol": 1e-12 * top})  # fmt: skip
    return float(found.x) if deviance(found.x) < deviance(0.0) else 0.0


def _mean(
    method: str, y: np.ndarray, s: np.ndarray, tau2: float, *, knapp: bool, least: float = 0.0
) -> Pooled:
    k = len(y)
    w = 1 / (s**2 + tau2)
    mean = float(w @ y / w.sum())
    se = float(w.sum() ** -0.5)
    if knapp:
        se *= max(least, float(w @ (y - mean) ** 2 / (k - 1))) ** 0.5
    law = stats.t(k - 1) if knapp else stats.norm
    z = float(law.ppf((1 + LEVEL) / 2))
    reach = z * np.sqrt(tau2 + se**2)
    q, typical = _cochran(y, s), _typical(s)
    common = method.startswith("common")
    i2 = max(0.0, 1 - (k - 1) / q) if common and q else tau2 / (tau2 + typical)
    return Pooled(
        method, mean, float(se), mean - z * se, mean + z * se,
        (np.nan, np.nan) if common else (mean - reach, mean + reach),
        tau2**0.5, 100 * i2, q, float(stats.chi2.sf(q, k - 1)), k,
    )  # fmt: skip


def peto(tables: ArrayLike) -> Pooled:
    """Peto's pooled log odds ratio of tables (events, patients, events, patients) of two groups.

    A study without events, or of events only, says nothing and is left out of ``studies``.
    """
    a, n, c, m = np.asarray(tables, dtype=float).T
    good = bool((a >= 0).all() and (c >= 0).all() and (a <= n).all() and (c <= m).all())
    raise_if([] if good else [Fault("more events than patients, or fewer than none")])
    total, events = n + m, a + c
    used = (events > 0) & (events < total)
    raise_if([] if used.any() else [Fault("no study has events and patients without one")])
    a, n, m, total, events = (x[used] for x in (a, n, m, total, events))
    excess = a - events * n / total
    v = n * m * events * (total - events) / (total**2 * (total - 1))
    mean, se = float(excess.sum() / v.sum()), float(v.sum() ** -0.5)
    z = float(stats.norm.ppf((1 + LEVEL) / 2))
    q = float((excess**2 / v).sum() - excess.sum() ** 2 / v.sum())
    k = int(used.sum())
    return Pooled(
        "Peto odds ratio", mean, se, mean - z * se, mean + z * se, (np.nan, np.nan), 0.0,
        100 * max(0.0, 1 - (k - 1) / q) if q else 0.0, q, float(stats.chi2.sf(q, k - 1)), k,
    )  # fmt: skip


def egger(estimates: ArrayLike, errors: ArrayLike) -> tuple[float, float]:
    """Statistic t and P of Egger's regression of estimates on standard errors, weights 1 / s^2.

    NaN with fewer than three studies.
    """
    y, s = np.asarray(estimates, dtype=float), np.asarray(errors, dtype=float)
    k = len(y)
    if k < 3 or np.ptp(s) == 0:
        return float("nan"), float("nan")
    x = np.column_stack([np.ones(k), s]) / s[:, None]
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ x.T @ (y / s)
    residual = y / s - x @ beta
    t = float(beta[1] / np.sqrt(residual @ residual / (k - 2) * inverse[1, 1]))
    return t, float(2 * stats.t.sf(abs(t), k - 2))

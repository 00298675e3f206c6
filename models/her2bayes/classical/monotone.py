"""Where Cox's partial likelihood rises without end: which log hazard ratios are infinite.

A direction d never lowers the likelihood if at every event time the patterns that have events have
the largest x d of all at risk; it raises it if some pattern at risk has less (Bryson & Johnson
1981; Jacobsen 1989). Along the d that raises the most, those patterns drop out of the risk sets:
what is left is the limit of the likelihood, and finite ratios are its ratios. All of this is
linear programming over pairs (pattern with an event, pattern at risk at that time).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, linprog
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from her2bayes.classical.cox_likelihood import RiskTable, maximise

CLOSE = 1e-7
CHI2_95 = 3.841458820694124  # 0.95 quantile of the chi-square distribution with 1 df
FARTHEST = 60.0  # log ratios beyond this are not looked at


class Separation(NamedTuple):
    """``limit``: the risk table that is left in the limit; ``kinds`` (p,) of each coefficient.

    A kind is 0 (finite), +inf or -inf (the estimate) or nan (the data do not determine it).
    ``rank`` is the number of independent coefficients that the data say something about.
    """

    limit: RiskTable
    kinds: np.ndarray
    rank: int


def separation(table: RiskTable) -> Separation:
    """What of a Cox model has a finite maximum-likelihood estimate."""
    pairs = _pairs(table)
    apart = table.patterns[pairs[:, 0]] - table.patterns[pairs[:, 1]]  # (pairs, p)
    up = np.zeros(len(pairs), bool)
    if _ends_apart(table, pairs):
        up = raised(apart)
    rising = np.zeros((len(table.patterns),) * 2, bool)
    rising[tuple(pairs[up].T)] = True
    # a pattern at risk leaves the risk set of a time where the events there outgrow it
    outgrown = ((table.events > 0).astype(float) @ rising) > 0
    limit = table._replace(at_risk=np.where(outgrown, 0.0, table.at_risk))
    kinds = np.array([kind(apart, apart[~up], j) for j in range(apart.shape[1])])
    return Separation(limit, kinds, rank(apart))


def _pairs(table: RiskTable) -> np.ndarray:
    """Distinct pairs (pattern with an event, other pattern at risk then), (pairs, 2)."""
    met = (table.events > 0).astype(float).T @ (table.at_risk > 0)
    np.fill_diagonal(met, 0)
    return np.argwhere(met > 0)


def _ends_apart(table: RiskTable, pairs: np.ndarray) -> bool:
    """Whether some pair is in no circle of pairs; within a circle all x d must be equal."""
    size = len(table.patterns)
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(size, size))
    _, circle = connected_components(graph, connection="strong")
    return bool((circle[pairs[:, 0]] != circle[pairs[:, 1]]).any())


def raised(apart: np.ndarray) -> np.ndarray:
    """Of differences (rows, p), none of which may fall: those that some direction raises.

    The direction that raises all of them at once has the largest sum of min(1, x d).
    """
    number, size = apart.shape
    if not number:
        return np.zeros(0, bool)
    found = linprog(
        np.concatenate([np.zeros(size), -np.ones(number)]),
        A_ub=np.hstack([-apart, np.eye(number)]),
        b_ub=np.zeros(number),
        bounds=[(None, None)] * size + [(0, 1)] * number,
    )
    return np.asarray(found.x)[size:] > 0.5


def kind(apart: np.ndarray, left: np.ndarray, j: int) -> float:
    """Kind of coefficient j as in ``Separation``; ``left`` are the differences not raised."""
    unit = np.zeros(apart.shape[1])
    unit[j] = 1.0
    if rank(np.vstack([left, unit])) == rank(left):
        return 0.0
    ends = [_farthest(apart, sign * unit) for sign in (1, -1)]
    if ends[0] == ends[1]:
        return np.nan
    return np.inf if ends[0] else -np.inf


def _farthest(apart: np.ndarray, way: np.ndarray) -> bool:
    """Whether a direction of no fall goes this way."""
    found = linprog(
        -way,
        A_ub=np.vstack([-apart, way]),
        b_ub=np.append(np.zeros(len(apart)), 1.0),
        bounds=(None, None),
    )
    return bool(way @ np.asarray(found.x) > 0.5)


def rank(rows: np.ndarray) -> int:
    """Independent rows."""
    return int(np.linalg.matrix_rank(rows, tol=CLOSE)) if rows.size else 0


def profile_limits(
    table: RiskTable, ties: str, j: int, best: float, direction: float
) -> tuple[float, float, float]:
    """Profile-likelihood interval of an infinite coefficient j, and P of the ratio 1 (1 df).

    ``best`` is the supremum of the log likelihood, ``direction`` +inf or -inf. Returns the limits
    of the log ratio and the likelihood-ratio statistic at 0. Venzon & Moolgavkar 1988.
    """
    column = table.patterns[:, j]
    rest = table._replace(patterns=np.delete(table.patterns, j, axis=1))

    def loss(value: float) -> float:
        return 2 * (best - maximise(rest, ties, value * column).loglik[1])

    sign = float(np.sign(direction))
    bound = sign * _crossing(lambda value: loss(sign * value) - CHI2_95)
    limits = (bound, np.inf) if sign > 0 else (-np.inf, bound)
    return (*limits, max(0.0, loss(0.0)))


def _crossing(excess: Callable[[float], float]) -> float:
    """Where a falling function meets 0; -inf where it does not within ``FARTHEST``."""
    way = 1.0 if excess(0.0) > 0 else -1.0
    near, far = 0.0, way
    while excess(far) * way > 0:
        near, far = far, 2 * far
        if abs(far) > FARTHEST:
            return way * np.inf
    return float(brentq(excess, near, far, xtol=1e-10))

"""Compiled survival statistics of patients sorted by time, from the numbers at risk.

Log-rank: U_a = sum_k (d_ak - d_k n_ak / n_k), hypergeometric variance V, chi2 = U' V^-1 U (R's
``survdiff``). Cox: groups as factor, Efron's ties, Wald (R's ``coxph``). Peto: log HR = U / V,
SE = V^-1/2. Observed/expected: HR = (O1 / E1) / (O0 / E0), SE from 1/E or 1/O, P of the log-rank.
Medians by R's rule. A censored time counts as at risk for events of the same month tenth.

Rows of patients are sorted by time; ``group`` is each row's group in the statistic, -1 = not in it.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from her2bayes.cohorts.chain.compiled import fast
from her2bayes.cohorts.chain.cox import FAR as FAR
from her2bayes.cohorts.chain.cox import GROUPS as GROUPS
from her2bayes.cohorts.chain.cox import cox, log_rank, solve

LOG_RANK, COX, PETO, EXPECTED, OBSERVED = 0, 1, 2, 3, 4
FOLLOW_UP, FOLLOW_UP_REVERSE, FOLLOW_UP_SURVIVORS, MEDIAN = 5, 6, 7, 8
FIRST_OF_TIME = 5  # kinds from here on depend on the times, not only on their order
VALUES = 12  # numbers a statistic may hold: four for each of up to three ratios
SMALL = 16  # rows of scratch space, the last of them a Cox fit's error, reach and start
ERROR, REACH, START = 13, 14, 15
Z = 1.959963984540054


@fast
def event_table(time, event, cell, group_of, n, groups, risk, dead, small):
    """Numbers at risk and events by group at each event time, latest first; their number."""
    at_risk, fallen = small[0], small[1]
    at_risk[:] = 0.0
    fallen[:] = 0.0
    total = 0
    rows = 0
    for k in range(n - 1, -1, -1):
        group = group_of[cell[k]]
        if group >= 0:
            at_risk[group] += 1
            if event[k]:
                fallen[group] += 1
                total += 1
        if total > 0 and (k == 0 or time[k - 1] != time[k]):
            for a in range(groups):
                risk[a, rows] = at_risk[a]
                dead[a, rows] = fallen[a]
                fallen[a] = 0
            rows += 1
            total = 0
    for a in range(groups):
        if at_risk[a] == 0:
            return -1  # a group without patients cannot be compared
    return rows


@fast
def two_group(kind, risk, dead, rows, difference, variance, out):
    """Log HR, its limits and the log-rank chi-square by an estimator of observed and expected."""
    first, second = 0.0, 0.0
    for k in range(rows):
        first += dead[0, k]
        second += dead[1, k]
    expected, other = first + difference[0], second - difference[0]
    v = variance[0, 0]
    if v < 1e-10 or min(expected, other) <= 0 or min(first, second) <= 0:
        return False
    if kind == PETO:
        ratio, error = difference[0] / v, 1 / np.sqrt(v)
    else:
        ratio = np.log(second / other) - np.log(first / expected)
        if kind == EXPECTED:
            error = np.sqrt(1 / expected + 1 / other)
        else:
            error = np.sqrt(1 / first + 1 / second)
    fill(out, 0, ratio, error)
    out[3] = difference[0] ** 2 / v
    return True


@fast
def fill(out, at, ratio, error):
    """Log ratio, lower and upper limit, Wald chi-square."""
    out[at] = ratio
    out[at + 1] = ratio - Z * error
    out[at + 2] = ratio + Z * error
    out[at + 3] = (ratio / error) ** 2


@fast
def crossing(time, event, cell, group_of, n, reverse):
    """Median by R's rule: where Kaplan-Meier falls below 1/2, midpoint where it equals 1/2."""
    left = 0
    for k in range(n):
        left += group_of[cell[k]] >= 0
    survival = 1.0
    waiting = -1.0
    last = 0.0
    k = 0
    while k < n:
        first = k
        falls = 0
        leaves = 0
        while k < n and time[k] == time[first]:
            if group_of[cell[k]] >= 0:
                leaves += 1
                falls += (event[k] == 0) if reverse else event[k]
            k += 1
        if leaves:
            last = time[first]
        if falls:
            if waiting >= 0:
                return (waiting + last) / 2
            survival *= 1.0 - falls / left
            if survival < 0.5 - 1e-8:
                return last
            if survival <= 0.5 + 1e-8:
                waiting = last
        left -= leaves
    return (waiting + last) / 2 if waiting >= 0 else np.nan


@fast
def follow_up(kind, time, event, cell, group_of, n, out):
    """Median follow-up under a reading, and the range of the times it looks at."""
    if kind == FOLLOW_UP_REVERSE:
        out[0] = crossing(time, event, cell, group_of, n, True)
    only_alive = kind == FOLLOW_UP_SURVIVORS
    number = 0
    for k in range(n):
        number += group_of[cell[k]] >= 0 and not (only_alive and event[k])
    if number == 0:
        return False
    lower, upper = (number - 1) // 2, number // 2
    seen = 0
    middle = 0.0
    for k in range(n):
        if group_of[cell[k]] < 0 or (only_alive and event[k]):
            continue
        if seen == 0:
            out[1] = time[k]
        if seen == lower:
            middle += time[k] / 2
        if seen == upper:
            middle += time[k] / 2
        out[2] = time[k]
        seen += 1
    if kind != FOLLOW_UP_REVERSE:
        out[0] = middle
    return True


@fast
def statistic(kind, groups, group_of, time, event, cell, n, near, reach, risk, dead, small, out):
    """Fill ``out`` with the numbers of one statistic; False where it does not exist.

    Times in month tenths; ``near`` and ``reach`` say where a Cox fit is looked for; ``risk``,
    ``dead`` and ``small`` are scratch space, of ``memory``.
    """
    if kind == MEDIAN:
        out[0] = crossing(time, event, cell, group_of, n, False)
        return not np.isnan(out[0])
    if kind >= FIRST_OF_TIME:
        return follow_up(kind, time, event, cell, group_of, n, out)
    rows = event_table(time, event, cell, group_of, n, groups, risk, dead, small)
    if rows < 1:
        return False
    beta = small[START]
    for a in range(GROUPS):
        beta[a] = near[a]
    return rank_statistic(kind, groups, risk, dead, rows, near, reach, beta, small, out)


def memory(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scratch space of ``statistic`` for n patients."""
    return np.zeros((GROUPS, n)), np.zeros((GROUPS, n)), np.zeros((SMALL, GROUPS))


@fast
def rank_statistic(kind, groups, risk, dead, rows, near, reach, beta, small, out):
    """Fill ``out`` from numbers at risk and events (group, row); ``beta``: a Cox fit's start."""
    if kind == COX:
        error = small[ERROR]
        if not cox(risk, dead, rows, groups, near, reach, beta, error, small):
            return False
        for a in range(groups - 1):
            fill(out, 4 * a, beta[a], error[a])
        return True
    difference, scaled, variance = small[0], small[1], small[2 : 2 + GROUPS]
    log_rank(risk, dead, rows, groups, difference, variance)
    if kind != LOG_RANK:
        return two_group(kind, risk, dead, rows, difference, variance, out)
    for a in range(groups - 1):
        scaled[a] = difference[a]
    if not solve(variance, scaled, groups - 1):
        return False
    chi2 = 0.0
    for a in range(groups - 1):
        chi2 += difference[a] * scaled[a]
    out[0] = chi2
    out[1] = difference[0]
    return True

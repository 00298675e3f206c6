"""Compiled survival statistics of patients sorted by time, from the numbers at risk.

Log-rank: U_a = sum_k (d_ak - d_k n_ak / n_k), hypergeometric variance V, chi2 = U' V^-1 U (R's
``survdiff``). Cox: groups as factor, Efron's ties, Wald (R's ``coxph``). Peto: log HR = U / V,
SE = V^-1/2. Observed/expected: HR = (O1 / E1) / (O0 / E0), SE from 1/E or 1/O, P of the log-rank.
Medians by R's rule. A censored time counts as at risk for events of the same month tenth.

Rows of patients are sorted by time; ``group`` is each row's group in the statistic, -1 = not in it.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba
import numpy as np

_jit = numba.njit(cache=True, nogil=True)

LOG_RANK, COX, PETO, EXPECTED, OBSERVED = 0, 1, 2, 3, 4
FOLLOW_UP, FOLLOW_UP_REVERSE, FOLLOW_UP_SURVIVORS, MEDIAN = 5, 6, 7, 8
FIRST_OF_TIME = 5  # kinds from here on depend on the times, not only on their order
VALUES = 12  # numbers a statistic may hold: four for each of up to three ratios
GROUPS = 4  # groups a statistic may compare
Z = 1.959963984540054
NEWTON_STEPS = 30
FAR = 15.0  # a log hazard ratio beyond is infinite: one group has no events


@_jit
def event_table(time, event, cell, group_of, n, groups, risk, dead):
    """Numbers at risk and events by group at each event time, latest first; their number."""
    at_risk = np.zeros(GROUPS, np.int64)
    fallen = np.zeros(GROUPS, np.int64)
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
                risk[rows, a] = at_risk[a]
                dead[rows, a] = fallen[a]
                fallen[a] = 0
            rows += 1
            total = 0
    for a in range(groups):
        if at_risk[a] == 0:
            return -1  # a group without patients cannot be compared
    return rows


@_jit
def solve(matrix, right, size):
    """Solve a small symmetric system in place; False where it is singular."""
    for i in range(size):
        if matrix[i, i] < 1e-10:
            return False
        for j in range(i + 1, size):
            factor = matrix[j, i] / matrix[i, i]
            for m in range(i, size):
                matrix[j, m] -= factor * matrix[i, m]
            right[j] -= factor * right[i]
    for i in range(size - 1, -1, -1):
        for m in range(i + 1, size):
            right[i] -= matrix[i, m] * right[m]
        right[i] /= matrix[i, i]
    return True


@_jit
def log_rank(risk, dead, rows, groups, difference, variance):
    """Observed minus expected events of the groups after the first, and their variance."""
    size = groups - 1
    for a in range(size):
        difference[a] = 0.0
        for b in range(size):
            variance[a, b] = 0.0
    for k in range(rows):
        n = 0.0
        d = 0.0
        for a in range(groups):
            n += risk[k, a]
            d += dead[k, a]
        spread = d * (n - d) / (n - 1.0) if n > 1 else 0.0
        for a in range(size):
            share = risk[k, a + 1] / n
            difference[a] += dead[k, a + 1] - d * share
            for b in range(size):
                other = risk[k, b + 1] / n
                variance[a, b] += spread * ((share if a == b else 0.0) - share * other)


@_jit
def cox_step(risk, dead, rows, groups, beta, score, information):  # noqa: C901 (one pass)
    """Score and information of the partial likelihood at beta, Efron's ties."""
    size = groups - 1
    weight = np.ones(GROUPS)
    for a in range(size):
        weight[a + 1] = np.exp(beta[a])
        score[a] = 0.0
        for b in range(size):
            information[a, b] = 0.0
    share = np.zeros(GROUPS)
    for k in range(rows):
        d = 0
        for a in range(groups):
            d += dead[k, a]
        for tie in range(d):
            part = tie / d
            total = 0.0
            for a in range(groups):
                share[a] = weight[a] * (risk[k, a] - part * dead[k, a])
                total += share[a]
            for a in range(size):
                p = share[a + 1] / total
                score[a] -= p
                for b in range(a + 1):
                    found = (p if a == b else 0.0) - p * share[b + 1] / total
                    information[a, b] += found
        for a in range(size):
            score[a] += dead[k, a + 1]
    for a in range(size):
        for b in range(a):
            information[b, a] = information[a, b]


@_jit
def cox(risk, dead, rows, groups, near, reach, beta, error):
    """Fit by Newton's method from ``near``; False without a fit, or once it leaves ``reach``."""
    size = groups - 1
    score = np.zeros(GROUPS)
    information = np.zeros((GROUPS, GROUPS))
    work = np.zeros((GROUPS, GROUPS))
    for a in range(size):
        beta[a] = near[a]
    done = False
    for _ in range(NEWTON_STEPS):
        cox_step(risk, dead, rows, groups, beta, score, information)
        if done:
            break
        work[:, :] = information
        if not solve(work, score, size):
            return False
        largest = 0.0
        for a in range(size):
            step = min(max(score[a], -2.0), 2.0)
            beta[a] += step
            largest = max(largest, abs(step))
            if abs(beta[a]) > FAR or abs(beta[a] - near[a]) > reach:
                return False
        done = largest < 1e-9
    for a in range(size):
        work[:, :] = information
        for b in range(size):
            score[b] = 1.0 if a == b else 0.0
        if not solve(work, score, size):
            return False
        error[a] = np.sqrt(score[a])
    return done


@_jit
def two_group(kind, risk, dead, rows, difference, variance, out):
    """Log HR, its limits and the log-rank chi-square by an estimator of observed and expected."""
    observed = np.zeros(2)
    for k in range(rows):
        observed[0] += dead[k, 0]
        observed[1] += dead[k, 1]
    expected = np.array([observed[0] + difference[0], observed[1] - difference[0]])
    v = variance[0, 0]
    if v < 1e-10 or expected.min() <= 0 or observed.min() <= 0:
        return False
    if kind == PETO:
        ratio, error = difference[0] / v, 1 / np.sqrt(v)
    else:
        ratio = np.log(observed[1] / expected[1]) - np.log(observed[0] / expected[0])
        base = expected if kind == EXPECTED else observed
        error = np.sqrt(1 / base[0] + 1 / base[1])
    fill(out, 0, ratio, error)
    out[3] = difference[0] ** 2 / v
    return True


@_jit
def fill(out, at, ratio, error):
    """Log ratio, lower and upper limit, Wald chi-square."""
    out[at] = ratio
    out[at + 1] = ratio - Z * error
    out[at + 2] = ratio + Z * error
    out[at + 3] = (ratio / error) ** 2


@_jit
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


@_jit
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


@_jit
def statistic(kind, groups, group_of, time, event, cell, n, near, reach, risk, dead, out):
    """Fill ``out`` with the numbers of one statistic; False where it does not exist.

    Times in month tenths; ``near`` and ``reach`` say where a Cox fit is looked for.
    """
    if kind == MEDIAN:
        out[0] = crossing(time, event, cell, group_of, n, False)
        return not np.isnan(out[0])
    if kind >= FIRST_OF_TIME:
        return follow_up(kind, time, event, cell, group_of, n, out)
    rows = event_table(time, event, cell, group_of, n, groups, risk, dead)
    if rows < 1:
        return False
    if kind == COX:
        beta, error = np.zeros(GROUPS), np.zeros(GROUPS)
        if not cox(risk, dead, rows, groups, near, reach, beta, error):
            return False
        for a in range(groups - 1):
            fill(out, 4 * a, beta[a], error[a])
        return True
    difference, variance = np.zeros(GROUPS), np.zeros((GROUPS, GROUPS))
    log_rank(risk, dead, rows, groups, difference, variance)
    if kind != LOG_RANK:
        return two_group(kind, risk, dead, rows, difference, variance, out)
    direction = difference[0]
    scaled = difference.copy()
    if not solve(variance, scaled, groups - 1):
        return False
    chi2 = 0.0
    for a in range(groups - 1):
        chi2 += difference[a] * scaled[a]
    out[0] = chi2
    out[1] = direction
    return True

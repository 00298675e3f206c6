"""Compiled survival statistics of patients sorted by time, from the numbers at risk.

Log-rank: U_a = sum_k (d_ak - d_k n_ak / n_k), hypergeometric variance V, chi2 = U' V^-1 U (R's
``survdiff``). Cox: groups as factor, Efron's ties, Newton's method, Wald (R's ``coxph``). Peto:
log HR = U / V, SE = V^-1/2. Observed/expected: HR = (O1 / E1) / (O0 / E0), SE from 1/E or 1/O, P of
the log-rank. Medians by R's rule. Survival, patients at risk and censored so far at times. A
censored time counts as at risk for events of the same month tenth.

Rows of patients are sorted by time; ``group`` is each row's group in the statistic, -1 = not in it.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from her2bayes.cohorts.chain import fast, summing

GROUPS = 4  # groups that may be compared
NEWTON_STEPS = 30
NOBODY = 1e-300  # in place of an empty risk set, whose share is 0
FAR = 15.0  # a log hazard ratio beyond is infinite: one group has no events


@fast
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


@fast
def copy(source, target, size):
    """Copy a small matrix."""
    for a in range(size):
        for b in range(size):
            target[a, b] = source[a, b]


@fast
def log_rank_of_many(risk, dead, rows, groups, difference, variance):
    """The same for any number of groups."""
    size = groups - 1
    for a in range(size):
        difference[a] = 0.0
        for b in range(size):
            variance[a, b] = 0.0
    for k in range(rows):
        n = 0.0
        d = 0.0
        for a in range(groups):
            n += risk[a, k]
            d += dead[a, k]
        if d == 0:
            continue
        spread = d * (n - d) / (n - 1.0) if n > 1 else 0.0
        for a in range(size):
            share = risk[a + 1, k] / n
            difference[a] += dead[a + 1, k] - d * share
            variance[a, a] += spread * share
            for b in range(a + 1):
                variance[a, b] -= spread * share * risk[b + 1, k] / n
    for a in range(size):
        for b in range(a):
            variance[b, a] = variance[a, b]


@summing
def sums_of_log_rank(risk, dead, rows, groups):
    """Differences of the second and third group, their variances and covariance.

    Without a branch, so that several rows are summed at a time; those without events add nothing.
    """
    three = groups == 3
    zero, one, two = risk[0], risk[1], risk[groups - 1]
    died, of_one, of_two = dead[0], dead[1], dead[groups - 1]
    first = second = spread_one = spread_two = both = 0.0
    if three:
        for k in range(rows):
            d = died[k] + of_one[k] + of_two[k]
            n = zero[k] + one[k] + two[k]
            scale = 1.0 / max(n, 1.0)
            share, other = one[k] * scale, two[k] * scale
            spread = d * (n - d) / max(n - 1.0, 1.0)
            first += of_one[k] - d * share
            second += of_two[k] - d * other
            spread_one += spread * share * (1.0 - share)
            spread_two += spread * other * (1.0 - other)
            both -= spread * share * other
    else:
        for k in range(rows):
            d = died[k] + of_one[k]
            n = zero[k] + one[k]
            share = one[k] / max(n, 1.0)
            spread = d * (n - d) / max(n - 1.0, 1.0)
            first += of_one[k] - d * share
            spread_one += spread * share * (1.0 - share)
    return first, second, spread_one, spread_two, both


@fast
def log_rank(risk, dead, rows, groups, difference, variance):
    """Observed minus expected events of the groups after the first, and their variance."""
    if groups > 3:
        log_rank_of_many(risk, dead, rows, groups, difference, variance)
        return
    first, second, spread_one, spread_two, both = sums_of_log_rank(risk, dead, rows, groups)
    difference[0], variance[0, 0] = first, spread_one
    if groups == 3:
        difference[1], variance[1, 1] = second, spread_two
        variance[0, 1] = variance[1, 0] = both


@fast
def cox_step_of_many(risk, dead, rows, groups, beta, score, information, small):  # noqa: C901 (one pass)
    """The same for any number of groups."""
    size = groups - 1
    weight, share = small[0], small[1]
    weight[0] = 1.0
    for a in range(size):
        weight[a + 1] = np.exp(beta[a])
        score[a] = 0.0
        for b in range(size):
            information[a, b] = 0.0
    for k in range(rows):
        d = 0
        for a in range(groups):
            d += int(dead[a, k])
        for tie in range(d):
            part = tie / d
            total = 0.0
            for a in range(groups):
                share[a] = weight[a] * (risk[a, k] - part * dead[a, k])
                total += share[a]
            for a in range(size):
                p = share[a + 1] / total
                score[a] -= p
                for b in range(a + 1):
                    found = (p if a == b else 0.0) - p * share[b + 1] / total
                    information[a, b] += found
        for a in range(size):
            score[a] += dead[a + 1, k]
    for a in range(size):
        for b in range(a):
            information[b, a] = information[a, b]


@summing
def sums_of_cox(risk, dead, rows, groups, weight, weight_two):
    """Scores of the second and third group, their information.

    First as if there were no ties, several rows at a time; then what the second and later events
    of a row add.
    """
    three = groups == 3
    zero, one, two = risk[0], risk[1], risk[groups - 1]
    died, of_one, of_two = dead[0], dead[1], dead[groups - 1]
    first = second = info_one = info_two = both = 0.0
    ties = 0.0
    if three:
        for k in range(rows):
            d = died[k] + of_one[k] + of_two[k]
            share, other = weight * one[k], weight_two * two[k]
            scale = 1.0 / max(zero[k] + share + other, NOBODY)
            share *= scale
            other *= scale
            happened = 1.0 if d > 0.0 else 0.0
            first += of_one[k] - happened * share
            second += of_two[k] - happened * other
            info_one += happened * share * (1.0 - share)
            info_two += happened * other * (1.0 - other)
            both -= happened * share * other
            ties = max(ties, d)
    else:
        for k in range(rows):
            d = died[k] + of_one[k]
            share = weight * one[k]
            share /= max(zero[k] + share, NOBODY)
            happened = 1.0 if d > 0.0 else 0.0
            first += of_one[k] - happened * share
            info_one += happened * share * (1.0 - share)
            ties = max(ties, d)
    if ties > 1.0:
        for k in range(rows):
            d = died[k] + of_one[k] + (of_two[k] if three else 0.0)
            for tie in range(1, int(d)):
                part = tie / d
                base = zero[k] - part * died[k]
                share = weight * (one[k] - part * of_one[k])
                other = weight_two * (two[k] - part * of_two[k]) if three else 0.0
                scale = 1.0 / (base + share + other)
                share *= scale
                other *= scale
                first -= share
                second -= other
                info_one += share * (1.0 - share)
                info_two += other * (1.0 - other)
                both -= share * other
    return first, second, info_one, info_two, both


@fast
def cox_step(risk, dead, rows, groups, beta, score, information, small):
    """Score and information of the partial likelihood at beta, Efron's ties."""
    if groups > 3:
        cox_step_of_many(risk, dead, rows, groups, beta, score, information, small)
        return
    three = groups == 3
    first, second, info_one, info_two, both = sums_of_cox(
        risk, dead, rows, groups, np.exp(beta[0]), np.exp(beta[1]) if three else 0.0
    )
    score[0], information[0, 0] = first, info_one
    if three:
        score[1], information[1, 1] = second, info_two
        information[0, 1] = information[1, 0] = both


@fast
def cox(risk, dead, rows, groups, near, reach, beta, error, small):
    """Fit by Newton's method from ``beta``; False without a fit, or beyond ``reach`` of ``near``.

    It is given up as soon as the solution must lie beyond: a step d leaves an error of at most
    about d^2 / 2, for which 2 d^2 is allowed.
    """
    size = groups - 1
    score, information, work = small[2], small[3 : 3 + GROUPS], small[7 : 7 + GROUPS]
    done = False
    for _ in range(NEWTON_STEPS):
        cox_step(risk, dead, rows, groups, beta, score, information, small)
        if done:
            break
        copy(information, work, size)
        if not solve(work, score, size):
            return False
        largest = 0.0
        for a in range(size):
            step = min(max(score[a], -2.0), 2.0)
            beta[a] += step
            largest = max(largest, abs(step))
        left = 2 * largest * largest if largest < 0.25 else largest
        for a in range(size):
            if abs(beta[a]) > FAR or abs(beta[a] - near[a]) - left > reach[a]:
                return False
        done = largest < 3e-5  # the error left is of the order of its square
    for a in range(size):
        copy(information, work, size)
        for b in range(size):
            score[b] = 1.0 if a == b else 0.0
        if not solve(work, score, size):
            return False
        error[a] = np.sqrt(score[a])
    return done


LOG_RANK, COX, PETO, EXPECTED, OBSERVED = 0, 1, 2, 3, 4
FOLLOW_UP, FOLLOW_UP_REVERSE, FOLLOW_UP_SURVIVORS, MEDIAN = 5, 6, 7, 8
SURVIVAL, AT_RISK, CENSORED = 9, 10, 11
FIRST_OF_TIME = 5  # kinds from here on depend on the times, not only on their order
FIRST_AT_TIMES = 9  # and kinds from here on hold one number at each of some times
UNKNOWN = -1.0  # survival after the last exit
VALUES = 32  # numbers a statistic may hold: four for each of up to three ratios, or as many times
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
def values_at(kind, time, event, cell, group_of, n, at, size, out):
    """Kaplan-Meier survival, patients at risk after, or censored until each of some times.

    Patients and the times ``at`` are in order. An event at a time itself counts as having happened
    by then. False without patients.
    """
    left = 0
    for k in range(n):
        left += group_of[cell[k]] >= 0
    if left == 0:
        return False
    survival, censored, k, last = 1.0, 0, 0, 0
    for v in range(size):
        while k < n and time[k] <= at[v]:
            first, falls, leaves = k, 0, 0
            while k < n and time[k] == time[first]:
                if group_of[cell[k]] >= 0:
                    leaves += 1
                    falls += event[k]
                k += 1
            if falls:
                survival *= 1.0 - falls / left
            if leaves:
                last = time[first]
            left -= leaves
            censored += leaves - falls
        known = survival if left > 0 or last >= at[v] - 0.5 else UNKNOWN
        out[v] = known if kind == SURVIVAL else left if kind == AT_RISK else censored
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

"""Compiled log-rank test and Cox fit from the numbers at risk (group, row) at each event time.

Log-rank: U_a = sum_k (d_ak - d_k n_ak / n_k) with its hypergeometric variance. Cox: groups as a
factor, Efron's ties, Newton's method.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from her2bayes.cohorts.chain.compiled import fast, inlined, summing

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


@inlined
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


@inlined
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

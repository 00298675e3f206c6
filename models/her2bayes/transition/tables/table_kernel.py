"""Compiled moves of the table sampler: exact draws along lines, elliptical slices of log odds.

The state of a chain is one integer vector: cells ``(stratum, primary, recurrence)`` in C order,
then row totals, stratum totals and the values of facts that are only bounded. A move changes all
of them consistently. Log weight of a state:

    sum_e slope_e state_e + lookup[kind_e, state_e]           (slope: log P of a cell, 0 elsewhere)

Log odds are linear in standard normal coordinates x (component, odds), component 0 the mean:

    log_odds[s, m] = centre + sum_c scale[s, c] x[c, m],      m = (primary, other class) in order

Slices: Murray, Adams and MacKay 2010. Every function changes its arrays in place.
"""

from __future__ import annotations

import numba
import numpy as np

_jit = numba.njit(cache=True, nogil=True)


@_jit
def span(state, entry, step, size, low, high):
    """Least and greatest multiple of a move that keeps every entry within its limits."""
    first, last = -(1 << 40), 1 << 40
    for n in range(size):
        e = entry[n]
        if step[n] > 0:
            first = max(first, -((state[e] - low[e]) // step[n]))
            last = min(last, (high[e] - state[e]) // step[n])
        else:
            first = max(first, -((high[e] - state[e]) // -step[n]))
            last = min(last, (state[e] - low[e]) // -step[n])
    return first, last


@_jit
def line_draw(rng, state, entry, step, size, slope, low, high, kind, lookup, weight):
    """Draw the state from its conditional distribution on ``state + integer * move``.

    A move is given by the entries it changes and by how much: ``entry[:size]``, ``step[:size]``.
    """
    first, last = span(state, entry, step, size, low, high)
    number = last - first + 1
    if size == 0 or number <= 1 or number > len(weight):
        return
    best = -np.inf
    for q in range(number):
        weight[q] = 0.0
        for n in range(size):
            e = entry[n]
            if kind[e] > 0:
                value = state[e] + (first + q) * step[n]
                weight[q] += value * slope[e] + lookup[kind[e], value]
        best = max(best, weight[q])
    total = 0.0
    for q in range(number):
        total += np.exp(weight[q] - best)
        weight[q] = total
    mark = rng.random() * total
    times = first
    while weight[times - first] < mark and times < last:
        times += 1
    for n in range(size):
        state[entry[n]] += times * step[n]


@_jit
def random_combination(rng, basis, full, entry, step):
    """Any integer combination of the basis, each with positive probability; its size."""
    full[:] = 0
    for b in range(len(basis)):
        while rng.random() < 0.3:
            sign = 1 if rng.random() < 0.5 else -1
            for e in range(len(full)):
                full[e] += sign * basis[b, e]
    size = 0
    for e in range(len(full)):
        if full[e] != 0:
            entry[size], step[size] = e, full[e]
            size += 1
    return size


@_jit
def log_row(odds, i, log_p):
    """Log probabilities of the classes from the log odds against class ``i`` (soft-max)."""
    k = len(log_p)
    best, position = 0.0, 0
    for j in range(k):
        log_p[j] = 0.0
        if j != i:
            log_p[j] = odds[position]
            position += 1
            best = max(best, log_p[j])
    total = 0.0
    for j in range(k):
        total += np.exp(log_p[j] - best)
    for j in range(k):
        log_p[j] -= best + np.log(total)


@_jit
def row_likelihood(cells, x, scale, centre, i, k, odds, log_p):
    """Log likelihood of the complete tables in row ``i`` of all strata, without coefficients."""
    value = 0.0
    for s in range(len(scale)):
        for j in range(k - 1):
            odds[j] = centre
            for c in range(scale.shape[1]):
                odds[j] += scale[s, c] * x[c, i * (k - 1) + j]
        log_row(odds, i, log_p)
        for j in range(k):
            value += cells[(s * k + i) * k + j] * log_p[j]
    return value


@_jit
def slice_block(rng, cells, x, scale, centre, i, k, start, stop, work):
    """One elliptical slice step on components ``start:stop`` of the log odds of row ``i``."""
    odds, log_p, old, new = work
    left, right = i * (k - 1), (i + 1) * (k - 1)
    for c in range(start, stop):
        for m in range(left, right):
            old[c, m] = x[c, m]
            new[c, m] = rng.standard_normal()
    mark = row_likelihood(cells, x, scale, centre, i, k, odds, log_p) + np.log(rng.random())
    angle = rng.random() * 2 * np.pi
    least, greatest = angle - 2 * np.pi, angle
    while True:
        for c in range(start, stop):
            for m in range(left, right):
                x[c, m] = old[c, m] * np.cos(angle) + new[c, m] * np.sin(angle)
        if row_likelihood(cells, x, scale, centre, i, k, odds, log_p) >= mark:
            return
        if angle < 0:
            least = angle
        else:
            greatest = angle
        angle = least + rng.random() * (greatest - least)


@_jit
def fill_scale(scale, sd, mean_sd, factor_of, levels):
    """Coefficient of each component in each stratum: mean's SD, then the SD of its factor."""
    for s in range(len(scale)):
        scale[s, 0] = mean_sd
        for c in range(1, scale.shape[1]):
            scale[s, c] = sd[factor_of[c]] * levels[s, c]


@_jit
def likelihood(cells, x, scale, centre, k, odds, log_p):
    """Log likelihood of the complete tables, all rows."""
    value = 0.0
    for i in range(k):
        value += row_likelihood(cells, x, scale, centre, i, k, odds, log_p)
    return value


@_jit
def slice_sd(rng, cells, x, scale, centre, k, root, sd, spread, work):
    """Elliptical slice step on the SDs: ``sd = sd_scale |root|`` with ``root`` standard normal."""
    sd_scale, mean_sd, factor_of, levels = spread
    odds, log_p, _, _ = work
    mark = likelihood(cells, x, scale, centre, k, odds, log_p) + np.log(rng.random())
    old, new = root.copy(), rng.standard_normal(len(root))
    angle = rng.random() * 2 * np.pi
    least, greatest = angle - 2 * np.pi, angle
    while True:
        root[:] = old * np.cos(angle) + new * np.sin(angle)
        sd[:] = sd_scale * np.abs(root)
        fill_scale(scale, sd, mean_sd, factor_of, levels)
        if likelihood(cells, x, scale, centre, k, odds, log_p) >= mark:
            return
        if angle < 0:
            least = angle
        else:
            greatest = angle
        angle = least + rng.random() * (greatest - least)


@_jit
def rescale_sd(rng, x, root, sd, sd_scale, factor_of):
    """Metropolis step on each SD, deviations held fixed (interweaving, Yu and Meng 2011)."""
    for f in range(len(sd)):
        ratio = np.exp(0.7 * rng.standard_normal())
        square, number = 0.0, 0
        for c in range(1, len(x)):
            if factor_of[c] == f:
                number += x.shape[1]
                for m in range(x.shape[1]):
                    square += x[c, m] ** 2
        # target in log sd: half-normal density, deviations N(0, sd), Jacobian sd
        accept = 0.5 * root[f] ** 2 * (1 - ratio**2) + 0.5 * square * (1 - ratio**-2)
        accept += (1 - number) * np.log(ratio)
        if np.log(rng.random()) < accept:
            root[f] *= ratio
            sd[f] = sd_scale[f] * abs(root[f])
            for c in range(1, len(x)):
                if factor_of[c] == f:
                    x[c] /= ratio

"""Compiled moves and chains of the table sampler: exact draws along lines, slices of log odds.

The state of a chain is one integer vector: cells ``(stratum, primary, recurrence)`` in C order,
then row totals, stratum totals and the values of facts that are only bounded. A move changes all
of them consistently. Log weight of a state:

    sum_e slope_e state_e + lookup[kind_e, state_e]           (slope: log P of a cell, 0 elsewhere)

Log odds are linear in standard normal coordinates x (component, odds), component 0 the mean:

    log_odds[s, m] = centre + sum_c scale[s, c] x[c, m],      m = (primary, other class) in order

A problem is the tuple ``(moves, basis, low, high, kind, lookup)``, moves again ``(entries, steps,
sizes)``; the rows are described by ``(k, centre, mean_sd, sd_scale, factor_of, levels)``.
Slices: Murray, Adams and MacKay 2010. Every function changes its arrays in place.

With true classes behind fallible readings (``run_assay``) each cell of the table of readings is
split over the true pairs that may lie behind it (data augmentation, Tanner and Wong 1987). Given
these, the shares are Dirichlet and the rows those of a complete table. Given the rows, the table of
readings moves among those that agree with the facts, the observed flow as its cell probabilities.
"""

from __future__ import annotations

import numba
import numpy as np
from numba.np.random.random_methods import buffered_bounded_lemire_uint32

_jit = numba.njit(cache=True, nogil=True)
# without counting references, which costs more than the arithmetic and doubles what is compiled: a
# function so compiled may not allocate
_fast = numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)


@_fast
def fill(into, values):
    """Copy values entry by entry: numba compiles ``into[:] = values`` for three seconds each."""
    for n in range(len(into)):
        into[n] = values[n]


@_fast
def pick(rng, number):
    """One of ``number`` places, as ``rng.integers`` draws it, which makes an array each time."""
    if number == 1:
        return 0
    return np.int64(buffered_bounded_lemire_uint32(rng.bit_generator, number - 1))


@_fast
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


@_fast
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


@_fast
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


@_fast
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


@_fast
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


@_fast
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


@_fast
def slice_rows(rng, cells, x, scale, centre, k, work):
    """Slice steps on the log odds of every row: all components together, then each alone."""
    components = len(x)
    for i in range(k):
        for c in range(-1, components):
            start, stop = (c, c + 1) if c >= 0 else (0, components)
            slice_block(rng, cells, x, scale, centre, i, k, start, stop, work)


@_fast
def start_rows(rng, root, sd, x, sd_scale):
    """Draw SDs and components of the log odds from their prior."""
    for f in range(len(root)):
        root[f] = rng.standard_normal()
        sd[f] = sd_scale[f] * abs(root[f])
    for c in range(len(x)):
        for m in range(x.shape[1]):
            x[c, m] = rng.standard_normal()


@_fast
def fill_scale(scale, sd, mean_sd, factor_of, levels):
    """Coefficient of each component in each stratum: mean's SD, then the SD of its factor."""
    for s in range(len(scale)):
        scale[s, 0] = mean_sd
        for c in range(1, scale.shape[1]):
            scale[s, c] = sd[factor_of[c]] * levels[s, c]


@_fast
def likelihood(cells, x, scale, centre, k, odds, log_p):
    """Log likelihood of the complete tables, all rows."""
    value = 0.0
    for i in range(k):
        value += row_likelihood(cells, x, scale, centre, i, k, odds, log_p)
    return value


@_fast
def slice_sd(rng, cells, x, scale, centre, k, root, sd, spread, work):
    """Elliptical slice step on the SDs: ``sd = sd_scale |root|`` with ``root`` standard normal."""
    sd_scale, mean_sd, factor_of, levels, turned = spread
    odds, log_p, _, _ = work
    mark = likelihood(cells, x, scale, centre, k, odds, log_p) + np.log(rng.random())
    old, new = turned
    for f in range(len(root)):
        old[f], new[f] = root[f], rng.standard_normal()
    angle = rng.random() * 2 * np.pi
    least, greatest = angle - 2 * np.pi, angle
    while True:
        for f in range(len(root)):
            root[f] = old[f] * np.cos(angle) + new[f] * np.sin(angle)
            sd[f] = sd_scale[f] * abs(root[f])
        fill_scale(scale, sd, mean_sd, factor_of, levels)
        if likelihood(cells, x, scale, centre, k, odds, log_p) >= mark:
            return
        if angle < 0:
            least = angle
        else:
            greatest = angle
        angle = least + rng.random() * (greatest - least)


@_fast
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
                    for m in range(x.shape[1]):
                        x[c, m] /= ratio


@_fast
def table_moves(rng, state, problem, slope, weight, spare, number):
    """``number`` draws along short moves, one in ten along a random combination of the basis."""
    (entries, steps, sizes), basis, low, high, kind, lookup = problem
    full, entry, step = spare
    for _ in range(number):
        if rng.random() < 0.1:
            size = random_combination(rng, basis, full, entry, step)
            line_draw(rng, state, entry, step, size, slope, low, high, kind, lookup, weight)
        else:
            m = pick(rng, len(sizes))
            line_draw(
                rng, state, entries[m], steps[m], sizes[m], slope, low, high, kind, lookup, weight
            )


@_fast
def fill_slope(slope, x, scale, centre, k, odds, log_p):
    """Log P of every cell into the first entries of ``slope``."""
    for s in range(len(scale)):
        for i in range(k):
            for j in range(k - 1):
                odds[j] = centre
                for c in range(scale.shape[1]):
                    odds[j] += scale[s, c] * x[c, i * (k - 1) + j]
            log_row(odds, i, log_p)
            for j in range(k):
                slope[(s * k + i) * k + j] = log_p[j]


@_fast
def shift_odds(state, after, x, pull, k, shift):
    """Move ``x`` with the table from ``state`` to ``after``; gain in the log prior of ``x``.

    The shift of least length that moves the log odds by the change of
    ``log((T_ij + 1/2) / (T_ii + 1/2))``. It depends on the two tables only and changes sign when
    they are exchanged.
    """
    gain = 0.0
    for i in range(k):
        for j in range(k - 1):
            other = j if j < i else j + 1
            for s in range(len(shift)):
                cell, stay = (s * k + i) * k + other, (s * k + i) * k + i
                new = (after[cell] + 0.5) / (after[stay] + 0.5)
                shift[s] = np.log(new * (state[stay] + 0.5) / (state[cell] + 0.5))
            for c in range(len(x)):
                value = 0.0
                for s in range(len(shift)):
                    value += pull[c, s] * shift[s]
                odd = i * (k - 1) + j
                gain += 0.5 * x[c, odd] ** 2 - 0.5 * (x[c, odd] + value) ** 2
                x[c, odd] += value
    return gain


@_fast
def carry(rng, state, problem, slope, x, scale, centre, k, pull, work, spare):
    """Metropolis move of the table that carries the log odds along; its Jacobian is 1."""
    (entries, steps, sizes), _, low, high, kind, lookup = problem
    odds, log_p, old, _ = work
    new_slope, shift, after = spare
    m = pick(rng, len(sizes))
    times = (1 if rng.random() < 0.5 else -1) * (1 + pick(rng, 3))
    first, last = span(state, entries[m], steps[m], sizes[m], low, high)
    if times < first or times > last:
        return
    fill(after, state)
    for n in range(sizes[m]):
        after[entries[m, n]] += times * steps[m, n]
    for c in range(len(x)):
        fill(old[c], x[c])
    accept = shift_odds(state, after, x, pull, k, shift)
    fill_slope(new_slope, x, scale, centre, k, odds, log_p)
    for e in range(len(state)):
        accept += after[e] * new_slope[e] - state[e] * slope[e]
        if kind[e] > 0:
            accept += lookup[kind[e], after[e]] - lookup[kind[e], state[e]]
    if np.log(rng.random()) < accept:
        fill(state, after)
        fill(slope, new_slope)
    else:
        for c in range(len(x)):
            fill(x[c], old[c])


@_jit
def run_rows(rng, state, problem, rows, tune, draws, thin, carries, number):
    """Chain of the model with logistic-normal rows: (tables, log P, means of log odds, SDs)."""
    k, centre, mean_sd, sd_scale, factor_of, levels = rows
    strata, components = levels.shape
    cells, factors = strata * k * k, len(sd_scale)
    root, sd, x = np.zeros(factors), np.zeros(factors), np.zeros((components, k * (k - 1)))
    start_rows(rng, root, sd, x, sd_scale)
    spread = (sd_scale, mean_sd, factor_of, levels, (np.zeros(factors), np.zeros(factors)))
    scale = np.zeros((strata, components))
    work = (np.zeros(k), np.zeros(k), np.zeros_like(x), np.zeros_like(x))
    slope, weight = np.zeros(len(state)), np.zeros(problem[5].shape[1] + 1)
    spare = (np.zeros_like(state), np.zeros_like(state), np.zeros_like(state))
    carried = (np.zeros(len(state)), np.zeros(strata), np.zeros_like(state))
    kept_table = np.zeros((draws, cells), np.int64)
    kept_log_p = np.zeros((draws, cells))
    kept_mean, kept_sd = np.zeros((draws, x.shape[1])), np.zeros((draws, factors))
    fill_scale(scale, sd, mean_sd, factor_of, levels)
    for iteration in range(-tune, draws * thin):
        slice_rows(rng, state, x, scale, centre, k, work)
        if factors:
            slice_sd(rng, state, x, scale, centre, k, root, sd, spread, work)
            rescale_sd(rng, x, root, sd, sd_scale, factor_of)
            fill_scale(scale, sd, mean_sd, factor_of, levels)
        fill_slope(slope, x, scale, centre, k, work[0], work[1])
        table_moves(rng, state, problem, slope, weight, spare, number)
        pull = scale.T @ np.linalg.inv(scale @ scale.T + 1e-3 * np.eye(strata))
        for _ in range(carries):
            carry(rng, state, problem, slope, x, scale, centre, k, pull, work, carried)
        if iteration >= 0 and iteration % thin == 0:
            draw = iteration // thin
            fill(kept_table[draw], state)
            fill(kept_log_p[draw], slope)
            fill(kept_sd[draw], sd)
            for m in range(x.shape[1]):
                kept_mean[draw, m] = centre + mean_sd * x[0, m]
    return kept_table, kept_log_p, kept_mean, kept_sd


@_jit
def run_tables(rng, state, problem, cells, tune, draws, thin):
    """Chain over tables alone, for rows that are integrated out: tables (draw, cell)."""
    slope, weight = np.zeros(len(state)), np.zeros(problem[5].shape[1] + 1)
    spare = (np.zeros_like(state), np.zeros_like(state), np.zeros_like(state))
    kept = np.zeros((draws, cells), np.int64)
    table_moves(rng, state, problem, slope, weight, spare, tune * thin)
    for draw in range(draws):
        table_moves(rng, state, problem, slope, weight, spare, thin)
        fill(kept[draw], state)
    return kept


@_fast
def split_readings(rng, state, true, flow, reads, k, weight):
    """Draw the true pair behind every pair of readings into ``true`` (cells in C order)."""
    true[:] = 0
    cells = k * k
    for s in range(len(flow)):
        for seen in range(cells):
            a, b = seen // k, seen % k
            total = 0.0
            for pair in range(cells):
                i, j = pair // k, pair % k
                total += flow[s, i, j] * reads[i, a] * reads[j, b]
                weight[pair] = total
            for _ in range(state[s * cells + seen]):
                mark = rng.random() * total
                pair = 0
                while weight[pair] < mark and pair < cells - 1:
                    pair += 1
                true[s * cells + pair] += 1


@_fast
def draw_shares(rng, true, primary, share, k):
    """Primary shares of every stratum given its true classes."""
    for s in range(len(primary)):
        total = 0.0
        for i in range(k):
            number = 0
            for j in range(k):
                number += true[(s * k + i) * k + j]
            primary[s, i] = rng.standard_gamma(number + share)
            total += primary[s, i]
        for i in range(k):
            primary[s, i] /= total


@_fast
def dirichlet_rows(rng, true, log_p, concentration, k):
    """Log of Dirichlet rows given complete tables."""
    for row in range(len(true) // k):
        total = 0.0
        for j in range(k):
            draw = max(rng.standard_gamma(true[row * k + j] + concentration[row % k, j]), 1e-300)
            log_p[row * k + j] = np.log(draw)
            total += draw
        for j in range(k):
            log_p[row * k + j] -= np.log(total)


@_jit
def fill_flow(flow, slope, primary, log_p, reads, k):
    """Flow of true classes, and the log of the flow of readings into ``slope``."""
    for s in range(len(primary)):
        for i in range(k):
            for j in range(k):
                flow[s, i, j] = primary[s, i] * np.exp(log_p[(s * k + i) * k + j])
        seen = reads.T @ flow[s] @ reads
        for a in range(k):
            for b in range(k):
                slope[(s * k + a) * k + b] = np.log(seen[a, b])


@_jit
def run_assay(rng, state, problem, reads, rows, concentration, share, tune, draws, thin, number):
    """Chain under a known assay: (tables of readings, rows of true classes, primary shares).

    ``reads`` (true, read) is the misclassification matrix; ``concentration`` (primary, her2) is
    that of Dirichlet rows, or empty for logistic-normal rows as ``rows`` describes them.
    """
    k, centre, mean_sd, sd_scale, factor_of, levels = rows
    strata, components = levels.shape
    cells, factors = strata * k * k, len(sd_scale)
    root, sd, x = np.zeros(factors), np.zeros(factors), np.zeros((components, k * (k - 1)))
    start_rows(rng, root, sd, x, sd_scale)
    spread = (sd_scale, mean_sd, factor_of, levels, (np.zeros(factors), np.zeros(factors)))
    scale = np.zeros((strata, components))
    work = (np.zeros(k), np.zeros(k), np.zeros_like(x), np.zeros_like(x))
    slope, weight = np.zeros(len(state)), np.zeros(problem[5].shape[1] + 1)
    spare = (np.zeros_like(state), np.zeros_like(state), np.zeros_like(state))
    true, log_p, room = state[:cells].copy(), np.zeros(cells), np.zeros(k * k)
    primary, flow = np.zeros((strata, k)), np.zeros((strata, k, k))
    kept_table, kept_log_p = np.zeros((draws, cells), np.int64), np.zeros((draws, cells))
    kept_primary = np.zeros((draws, strata, k))
    fill_scale(scale, sd, mean_sd, factor_of, levels)
    for iteration in range(-tune, draws * thin):
        draw_shares(rng, true, primary, share, k)
        if len(concentration):
            dirichlet_rows(rng, true, log_p, concentration, k)
        else:
            slice_rows(rng, true, x, scale, centre, k, work)
            if factors:
                slice_sd(rng, true, x, scale, centre, k, root, sd, spread, work)
                rescale_sd(rng, x, root, sd, sd_scale, factor_of)
                fill_scale(scale, sd, mean_sd, factor_of, levels)
            fill_slope(log_p, x, scale, centre, k, work[0], work[1])
        fill_flow(flow, slope, primary, log_p, reads, k)
        table_moves(rng, state, problem, slope, weight, spare, number)
        split_readings(rng, state, true, flow, reads, k, room)
        if iteration >= 0 and iteration % thin == 0:
            draw = iteration // thin
            fill(kept_table[draw], state)
            fill(kept_log_p[draw], log_p)
            for s in range(strata):
                fill(kept_primary[draw, s], primary[s])
    return kept_table, kept_log_p, kept_primary

"""One chain of the table sampler: tables, log odds and their spread in turn, thinned.

A problem is the tuple ``(moves, basis, low, high, kind, lookup)``, moves again ``(entries, steps,
sizes)``; the rows are described by ``(k, centre, mean_sd, sd_scale, factor_of, levels)``. Names as
in ``table_kernel``.
"""

from __future__ import annotations

import numba
import numpy as np

from her2bayes.transition.tables.table_kernel import (
    fill_scale,
    line_draw,
    log_row,
    random_combination,
    rescale_sd,
    slice_block,
    slice_sd,
    span,
)

_jit = numba.njit(cache=True, nogil=True)


@_jit
def table_moves(rng, state, problem, slope, weight, spare, number):
    """``number`` draws along short moves, one in ten along a random combination of the basis."""
    (entries, steps, sizes), basis, low, high, kind, lookup = problem
    full, entry, step = spare
    for _ in range(number):
        if rng.random() < 0.1:
            size = random_combination(rng, basis, full, entry, step)
            line_draw(rng, state, entry, step, size, slope, low, high, kind, lookup, weight)
        else:
            m = rng.integers(0, len(sizes))
            line_draw(
                rng, state, entries[m], steps[m], sizes[m], slope, low, high, kind, lookup, weight
            )


@_jit
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


@_jit
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


@_jit
def carry(rng, state, problem, slope, x, scale, centre, k, pull, work, spare):
    """Metropolis move of the table that carries the log odds along; its Jacobian is 1."""
    (entries, steps, sizes), _, low, high, kind, lookup = problem
    odds, log_p, old, _ = work
    new_slope, shift, after = spare
    m = rng.integers(0, len(sizes))
    times = (1 if rng.random() < 0.5 else -1) * rng.integers(1, 4)
    first, last = span(state, entries[m], steps[m], sizes[m], low, high)
    if times < first or times > last:
        return
    after[:] = state
    for n in range(sizes[m]):
        after[entries[m, n]] += times * steps[m, n]
    old[:] = x
    accept = shift_odds(state, after, x, pull, k, shift)
    fill_slope(new_slope, x, scale, centre, k, odds, log_p)
    for e in range(len(state)):
        accept += after[e] * new_slope[e] - state[e] * slope[e]
        if kind[e] > 0:
            accept += lookup[kind[e], after[e]] - lookup[kind[e], state[e]]
    if np.log(rng.random()) < accept:
        state[:] = after
        slope[:] = new_slope
    else:
        x[:] = old


@_jit
def run_rows(rng, state, problem, rows, tune, draws, thin, carries, number):
    """Chain of the model with logistic-normal rows: (tables, log P, means of log odds, SDs)."""
    k, centre, mean_sd, sd_scale, factor_of, levels = rows
    strata, components = levels.shape
    cells, factors = strata * k * k, len(sd_scale)
    root, x = rng.standard_normal(factors), rng.standard_normal((components, k * (k - 1)))
    sd = sd_scale * np.abs(root)
    scale, pull = np.zeros((strata, components)), np.zeros((components, strata))
    work = (np.zeros(k), np.zeros(k), np.zeros_like(x), np.zeros_like(x))
    slope, weight = np.zeros(len(state)), np.zeros(problem[5].shape[1] + 1)
    spare = (np.zeros_like(state), np.zeros_like(state), np.zeros_like(state))
    carried = (np.zeros(len(state)), np.zeros(strata), np.zeros_like(state))
    kept_table = np.zeros((draws, cells), np.int64)
    kept_log_p = np.zeros((draws, cells))
    kept_mean, kept_sd = np.zeros((draws, x.shape[1])), np.zeros((draws, factors))
    fill_scale(scale, sd, mean_sd, factor_of, levels)
    for iteration in range(-tune, draws * thin):
        for i in range(k):
            slice_block(rng, state, x, scale, centre, i, k, 0, components, work)
            for c in range(components):
                slice_block(rng, state, x, scale, centre, i, k, c, c + 1, work)
        if factors:
            spread = (sd_scale, mean_sd, factor_of, levels)
            slice_sd(rng, state, x, scale, centre, k, root, sd, spread, work)
            rescale_sd(rng, x, root, sd, sd_scale, factor_of)
            fill_scale(scale, sd, mean_sd, factor_of, levels)
        fill_slope(slope, x, scale, centre, k, work[0], work[1])
        table_moves(rng, state, problem, slope, weight, spare, number)
        pull[:] = scale.T @ np.linalg.inv(scale @ scale.T + 1e-3 * np.eye(strata))
        for _ in range(carries):
            carry(rng, state, problem, slope, x, scale, centre, k, pull, work, carried)
        if iteration >= 0 and iteration % thin == 0:
            kept_table[iteration // thin] = state[:cells]
            kept_log_p[iteration // thin] = slope[:cells]
            kept_mean[iteration // thin] = centre + mean_sd * x[0]
            kept_sd[iteration // thin] = sd
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
        kept[draw] = state[:cells]
    return kept

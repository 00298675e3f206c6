"""One chain of the table sampler: alternate tables, log odds and their spread, keep every n-th state."""

from __future__ import annotations

import numba
import numpy as np

from her2bayes.inference.table_kernel import (
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
def table_moves(state, moves, basis, slope, low, high, kind, lookup, weight, spare, number):
    """``number`` draws along short moves, one in ten along a random combination of the basis."""
    entries, steps, sizes = moves
    full, entry, step = spare
    for _ in range(number):
        if np.random.random() < 0.1:
            size = random_combination(basis, full, entry, step)
            line_draw(state, entry, step, size, slope, low, high, kind, lookup, weight)
        else:
            m = np.random.randint(len(sizes))
            line_draw(state, entries[m], steps[m], sizes[m], slope, low, high, kind, lookup, weight)


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
def carry(state, moves, slope, x, scale, centre, k, low, high, kind, lookup, pull, work, spare):
    """Metropolis move of the table that carries the log odds along with it.

    With the table goes the shift of ``x`` of least length that moves the log odds by the change
    of ``log((T_ij + 1/2) / (T_ii + 1/2))``. The shift depends on the two tables only and changes
    sign when they are exchanged, so the Jacobian is 1 and the proposal symmetric.
    """
    entries, steps, sizes = moves
    odds, log_p, old, _ = work
    new_slope, shift, after = spare
    m = np.random.randint(len(sizes))
    times = (1 if np.random.random() < 0.5 else -1) * np.random.randint(1, 4)
    first, last = span(state, entries[m], steps[m], sizes[m], low, high)
    if times < first or times > last:
        return False
    strata, cells = len(scale), len(scale) * k * k
    after[:] = state
    for n in range(sizes[m]):
        after[entries[m, n]] += times * steps[m, n]
    accept = 0.0
    for e in range(len(state)):
        if kind[e] > 0:
            accept += lookup[kind[e], after[e]] - lookup[kind[e], state[e]]
    for c in range(cells):
        accept -= state[c] * slope[c]
    old[:] = x
    for i in range(k):
        for j in range(k - 1):
            other = j if j < i else j + 1
            for s in range(strata):
                cell, stay = (s * k + i) * k + other, (s * k + i) * k + i
                shift[s] = np.log(
                    (after[cell] + 0.5)
                    / (after[stay] + 0.5)
                    * (state[stay] + 0.5)
                    / (state[cell] + 0.5)
                )
            for c in range(len(x)):
                value = 0.0
                for s in range(strata):
                    value += pull[c, s] * shift[s]
                odd = i * (k - 1) + j
                accept += 0.5 * x[c, odd] ** 2 - 0.5 * (x[c, odd] + value) ** 2
                x[c, odd] += value
    fill_slope(new_slope, x, scale, centre, k, odds, log_p)
    for c in range(cells):
        accept += after[c] * new_slope[c]
    if np.log(np.random.random()) < accept:
        state[:] = after
        slope[:] = new_slope
        return True
    x[:] = old
    return False


@_jit
def run_rows(
    seed, state, moves, basis, low, high, kind, lookup, k, centre, mean_sd, sd_scale, factor_of,
    levels, tune, draws, thin, carries, number,
):  # fmt: skip
    """Chain of the model with logistic-normal rows: (tables, log P, mean coordinates, SDs)."""
    np.random.seed(seed)
    strata, components, odds_number = len(levels), levels.shape[1], k * (k - 1)
    cells = strata * k * k
    factors = len(sd_scale)
    root = np.random.normal(0.0, 1.0, factors)
    sd = sd_scale * np.abs(root)
    x = np.random.normal(0.0, 1.0, (components, odds_number))
    scale, pull = np.zeros((strata, components)), np.zeros((components, strata))
    work = (np.zeros(k), np.zeros(k), np.zeros_like(x), np.zeros_like(x))
    slope, weight = np.zeros(len(state)), np.zeros(lookup.shape[1] + 1)
    spare = (np.zeros_like(state), np.zeros_like(state), np.zeros_like(state))
    carried = (np.zeros(len(state)), np.zeros(strata), np.zeros_like(state))
    kept = (
        np.zeros((draws, cells), np.int64),
        np.zeros((draws, cells)),
        np.zeros((draws, odds_number)),
        np.zeros((draws, factors)),
    )
    accepted = 0
    for iteration in range(-tune, draws * thin):
        fill_scale(scale, sd, mean_sd, factor_of, levels)
        for i in range(k):
            slice_block(state, x, scale, centre, i, k, 0, components, work)
            for c in range(components):
                slice_block(state, x, scale, centre, i, k, c, c + 1, work)
        if factors:
            slice_sd(
                state, x, scale, centre, k, root, sd, sd_scale, mean_sd, factor_of, levels, work
            )
            rescale_sd(x, root, sd, sd_scale, factor_of)
            fill_scale(scale, sd, mean_sd, factor_of, levels)
        fill_slope(slope, x, scale, centre, k, work[0], work[1])
        table_moves(state, moves, basis, slope, low, high, kind, lookup, weight, spare, number)
        if carries:
            pull[:] = scale.T @ np.linalg.inv(scale @ scale.T + 1e-3 * np.eye(strata))
        for _ in range(carries):
            accepted += carry(
                state,
                moves,
                slope,
                x,
                scale,
                centre,
                k,
                low,
                high,
                kind,
                lookup,
                pull,
                work,
                carried,
            )
        if iteration >= 0 and iteration % thin == 0:
            kept[0][iteration // thin] = state[:cells]
            kept[1][iteration // thin] = slope[:cells]
            kept[2][iteration // thin] = centre + mean_sd * x[0]
            kept[3][iteration // thin] = sd
    return kept, accepted / max(1, (tune + draws * thin) * carries)


@_jit
def run_tables(seed, state, moves, basis, low, high, kind, lookup, cells, tune, draws, thin):
    """Chain over tables alone, for rows that are integrated out: tables (draw, cell)."""
    np.random.seed(seed)
    slope, weight = np.zeros(len(state)), np.zeros(lookup.shape[1] + 1)
    spare = (np.zeros_like(state), np.zeros_like(state), np.zeros_like(state))
    kept = np.zeros((draws, cells), np.int64)
    table_moves(state, moves, basis, slope, low, high, kind, lookup, weight, spare, tune * thin)
    for draw in range(draws):
        table_moves(state, moves, basis, slope, low, high, kind, lookup, weight, spare, thin)
        kept[draw] = state[:cells]
    return kept

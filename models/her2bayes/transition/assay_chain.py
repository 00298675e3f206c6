"""One chain of true classes behind fallible readings: tables of readings, true pairs, rows in turn.

Given the rows and the primary shares of true classes each cell of the table of readings is split
over the true pairs that may lie behind it (data augmentation, Tanner and Wong 1987). Given these,
the shares are Dirichlet and the rows those of a complete table: slices or Dirichlet draws. Given
the rows, the table of readings moves among those that agree with the facts, with the observed flow
as its cell probabilities. Names as in ``table_chain``.
"""

from __future__ import annotations

import numba
import numpy as np

from her2bayes.transition.table_kernel import (
    fill_scale,
    fill_slope,
    rescale_sd,
    slice_block,
    slice_sd,
    table_moves,
)

_jit = numba.njit(cache=True, nogil=True)


@_jit
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


@_jit
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


@_jit
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
    root, x = rng.standard_normal(factors), rng.standard_normal((components, k * (k - 1)))
    sd = sd_scale * np.abs(root)
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
            for i in range(k):
                slice_block(rng, true, x, scale, centre, i, k, 0, components, work)
                for c in range(components):
                    slice_block(rng, true, x, scale, centre, i, k, c, c + 1, work)
            if factors:
                spread = (sd_scale, mean_sd, factor_of, levels)
                slice_sd(rng, true, x, scale, centre, k, root, sd, spread, work)
                rescale_sd(rng, x, root, sd, sd_scale, factor_of)
                fill_scale(scale, sd, mean_sd, factor_of, levels)
            fill_slope(log_p, x, scale, centre, k, work[0], work[1])
        fill_flow(flow, slope, primary, log_p, reads, k)
        table_moves(rng, state, problem, slope, weight, spare, number)
        split_readings(rng, state, true, flow, reads, k, room)
        if iteration >= 0 and iteration % thin == 0:
            kept_table[iteration // thin] = state[:cells]
            kept_log_p[iteration // thin] = log_p
            kept_primary[iteration // thin] = primary
    return kept_table, kept_log_p, kept_primary

"""Draws of tables and transition probabilities given facts, where tables are too many to list.

Sampled together: integer tables (every table that meets the facts, with its multinomial
coefficient), log odds, their spread. Primary shares and, where the size of a stratum is not
printed, stratum shares are integrated out (both Dirichlet) and primary shares drawn afterwards.
Dirichlet rows are integrated out too, so that only tables are sampled. Chains start at different
tables and share nothing. ``table_kernel`` has the moves, ``latent_table`` the model.

Moves keep every printed equality. Differences of two tables with the same facts form the integer
lattice ``{m : A m = 0}`` of the equalities ``A``. A chain that only uses a basis of it may be
unable to reach every non-negative table; adding random integer combinations of the basis, each of
which has positive probability, connects all of them (Hara, Aoki and Takemura 2012, "Running Markov
chain without Markov basis").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import gammaln

from her2bayes.bayes.prior import Prior
from her2bayes.inference.sampling import Sampling
from her2bayes.transition.facts import TableSet, one_table
from her2bayes.transition.polytope import cell_bounds, extreme_table
from her2bayes.transition.rows import changes, log_odds_mean, parameters, sd_scales


@lru_cache(maxsize=64)
def lattice_basis(tables: TableSet) -> np.ndarray:
    """Basis of the moves, int64 (move, cell): short, integer, keeping all equalities.

    Cells that the facts determine count as equalities. No rows where there is one table only.
    """
    low, high = (bound.ravel() for bound in cell_bounds(tables))
    fixed = np.eye(len(low), dtype=np.int64)[low == high]
    equal = tables.matrix[tables.lower == tables.upper]
    basis = _reduced(_integer_kernel(np.vstack([equal, fixed])))
    basis.setflags(write=False)
    return basis


def short_moves(basis: np.ndarray, limit: int = 400) -> np.ndarray:
    """Up to ``limit`` shortest moves (by patients moved) built from at most three of the basis."""
    found: dict[tuple[int, ...], None] = {}
    for size in (1, 2, 3):
        for chosen in combinations(range(len(basis)), size):
            for signs in product((1, -1), repeat=size - 1):
                move = basis[list(chosen)].T @ np.array((1, *signs))
                found.setdefault(tuple(move * np.sign(move[np.flatnonzero(move)[0]])), None)
    moves = np.array(list(found), dtype=np.int64).reshape(-1, basis.shape[1])
    return moves[np.argsort(np.abs(moves).sum(axis=1), kind="stable")[:limit]]


def _integer_kernel(matrix: np.ndarray) -> np.ndarray:
    """Basis of the integer vectors m with ``matrix @ m = 0``, by unimodular column operations."""
    work = [[int(v) for v in column] for column in matrix.T]
    keep = [[int(i == j) for j in range(len(work))] for i in range(len(work))]
    done = 0
    for row in range(len(matrix)):
        while True:
            live = [c for c in range(done, len(work)) if work[c][row]]
            if len(live) <= 1:
                break
            pivot = min(live, key=lambda c: abs(work[c][row]))
            for c in live:
                if c != pivot:
                    times = work[c][row] // work[pivot][row]
                    work[c] = [a - times * b for a, b in zip(work[c], work[pivot], strict=True)]
                    keep[c] = [a - times * b for a, b in zip(keep[c], keep[pivot], strict=True)]
        if live:
            work[done], work[live[0]] = work[live[0]], work[done]
            keep[done], keep[live[0]] = keep[live[0]], keep[done]
            done += 1
    return np.array(keep[done:], dtype=np.int64).reshape(-1, matrix.shape[1])


def _reduced(basis: np.ndarray) -> np.ndarray:
    """Shorten a lattice basis: add or subtract one vector from another while that helps."""
    basis = basis.copy()
    improved = True
    while improved:
        improved = False
        for a, b in product(range(len(basis)), repeat=2):
            if a == b:
                continue
            times = np.rint(basis[a] @ basis[b] / (basis[b] @ basis[b])).astype(np.int64)
            for step in {int(times), 1, -1} - {0}:
                shorter = basis[a] - step * basis[b]
                if np.abs(shorter).sum() < np.abs(basis[a]).sum():
                    basis[a] = shorter
                    improved = True
    return basis[np.argsort(np.abs(basis).sum(axis=1), kind="stable")]


THIN = 5  # states between two kept ones
THIN_ASSAY = 10  # behind a poor assay chains move slowly
_FREE = 1 << 40
_STRATUM_SHARE = 1.0  # Dirichlet concentration of stratum shares where sizes are not printed


@dataclass(frozen=True)
class _Chains:
    """What every chain of one set of tables shares, and where each starts (``table_chain``)."""

    problem: tuple[Any, ...]
    starts: list[np.ndarray]
    size: int


def sample_rows(
    tables: TableSet,
    priors: Mapping[str, Prior],
    sampling: Sampling,
    thin: int = THIN,
    cores: int | None = None,
) -> xr.Dataset:
    """Draws with logistic-normal rows pooled over strata (``transition_rows``).

    Returns ``transition``, ``table`` (chain, draw, stratum, her2_primary, her2), ``primary_share``,
    ``log_odds_mean`` (change) and ``deviation_sd`` (factor).
    """
    from her2bayes.transition.table_kernel import run_rows

    k = len(tables.her2)
    names, levels, factor_of = _components(tables)
    share = float(parameters(priors, "primary_share", "Dirichlet")["a"])
    kinds = [("cell", 0.0, 0.0), ("row", share, 0.0), ("stratum", _STRATUM_SHARE, k * share)]
    chains = _chains(tables, kinds, [1] * (k * k), [2] * k, sampling)
    rows = (
        k, log_odds_mean(priors, k), float(priors["log_odds"]["sigma"]),
        np.array(sd_scales(priors, names)), factor_of, levels,
    )  # fmt: skip

    def run(rng: np.random.Generator, start: np.ndarray) -> tuple[np.ndarray, ...]:
        kept: tuple[np.ndarray, ...] = run_rows(
            rng, start, chains.problem, rows, sampling.tune, sampling.draws, thin,
            6 * chains.size, 15 * chains.size,
        )  # fmt: skip
        return kept

    parts = zip(*_run_all(run, chains, sampling, cores), strict=True)
    cells, log_p, mean, sd = (np.stack(part) for part in parts)
    shape = (sampling.chains, sampling.draws, *tables.shape)
    draws = _draws(tables, cells.reshape(shape), np.exp(log_p.reshape(shape)), share, sampling.seed)
    change = changes(list(tables.her2))["change"].values
    return draws.assign(
        log_odds_mean=(("chain", "draw", "change"), mean),
        deviation_sd=(("chain", "draw", "factor"), sd),
    ).assign_coords(change=change, factor=names)


def sample_dirichlet(
    tables: TableSet,
    concentration: np.ndarray,
    share: float,
    sampling: Sampling,
    thin: int = THIN,
    cores: int | None = None,
) -> xr.Dataset:
    """Draws with independent Dirichlet rows, ``concentration`` (primary, her2), integrated out.

    Returns ``transition``, ``table`` (chain, draw, stratum, her2_primary, her2), ``primary_share``.
    """
    from her2bayes.transition.table_kernel import run_tables

    k = len(tables.her2)
    kinds = [("cell", float(a), 0.0) for a in concentration.ravel()]
    kinds += [("row", share, float(a)) for a in concentration.sum(axis=1)]
    kinds += [("stratum", _STRATUM_SHARE, k * share)]
    cell_kind, row_kind = list(range(1, k * k + 1)), list(range(k * k + 1, k * k + k + 1))
    chains = _chains(tables, kinds, cell_kind, row_kind, sampling)

    def run(rng: np.random.Generator, start: np.ndarray) -> np.ndarray:
        kept: np.ndarray = run_tables(
            rng, start, chains.problem, int(np.prod(tables.shape)), sampling.tune,
            sampling.draws, thin * 10 * chains.size,
        )  # fmt: skip
        return kept

    cells = np.stack(_run_all(run, chains, sampling, cores))
    cells = cells.reshape(sampling.chains, sampling.draws, *tables.shape)
    rng = np.random.default_rng([sampling.seed, 1])
    gamma = rng.standard_gamma(cells + concentration)
    return _draws(tables, cells, gamma / gamma.sum(-1, keepdims=True), share, sampling.seed)


def _run_all(
    run: Callable[[np.random.Generator, np.ndarray], Any],
    chains: _Chains,
    sampling: Sampling,
    cores: int | None,
) -> list[Any]:
    streams = [np.random.default_rng([sampling.seed, 6, n]) for n in range(sampling.chains)]
    first = run(streams[0], chains.starts[0])  # compiles once, before threads start
    with ThreadPoolExecutor(cores or 1) as pool:
        return [first, *pool.map(run, streams[1:], chains.starts[1:])]


def _components(tables: TableSet) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Factors, which component (mean, then levels) acts in which stratum, factor of each."""
    names = [name for name, _ in tables.strata[0]]
    levels = [dict.fromkeys(dict(stratum)[name] for stratum in tables.strata) for name in names]
    names = [name for name, known in zip(names, levels, strict=True) if len(known) > 1]
    levels = [known for known in levels if len(known) > 1]
    pairs = [(f, level) for f, known in enumerate(levels) for level in known]
    acts = np.array(
        [[1.0] + [float(dict(s)[names[f]] == level) for f, level in pairs] for s in tables.strata]
    )
    return names, acts, np.array([-1] + [f for f, _ in pairs])


def _chains(
    tables: TableSet,
    kinds: list[tuple[str, float, float]],
    cell_kind: list[int],
    row_kind: list[int],
    sampling: Sampling,
) -> _Chains:
    strata, k, _ = tables.shape
    cells = strata * k * k
    bounded = tables.matrix[tables.lower < tables.upper]
    parts = [np.eye(cells), np.kron(np.eye(strata * k), np.ones(k))]
    parts += [np.kron(np.eye(strata), np.ones(k * k)), bounded]
    extend = np.vstack(parts).astype(np.int64)
    low, high = np.zeros(len(extend), np.int64), np.full(len(extend), _FREE)
    low[len(extend) - len(bounded) :] = tables.lower[tables.lower < tables.upper]
    high[len(extend) - len(bounded) :] = tables.upper[tables.lower < tables.upper]
    kind = np.array(
        [
            *(cell_kind * strata),
            *(row_kind * strata),
            *([len(kinds)] * strata),
            *([0] * len(bounded)),
        ]
    )
    starts = [extend @ table.ravel() for table in _starts(tables, sampling)]
    basis = lattice_basis(tables)
    largest = int(max(start[:cells].sum() for start in starts)) + 1
    moves = _sparse(short_moves(basis) @ extend.T)
    problem = (moves, basis @ extend.T, low, high, kind, _lookup(kinds, largest))
    return _Chains(problem, starts, max(1, len(basis)))


def _sparse(moves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Entries each move changes, by how much, and how many they are; one empty move if none."""
    moves = moves if len(moves) else np.zeros((1, moves.shape[1]), dtype=np.int64)
    sizes = (moves != 0).sum(axis=1)
    width = int(sizes.max(initial=1))
    entries, steps = np.zeros((2, len(moves), width), dtype=np.int64)
    for number, move in enumerate(moves):
        at = np.flatnonzero(move)
        entries[number, : len(at)], steps[number, : len(at)] = at, move[at]
    return entries, steps, sizes


def _lookup(kinds: list[tuple[str, float, float]], largest: int) -> np.ndarray:
    """Log weight of a count by kind; kind 0 weighs nothing.

    cell: Gamma(t + a) / Gamma(t + 1), or 1 / Gamma(t + 1) for a = 0; row and stratum:
    Gamma(n + a) / Gamma(n + b), or Gamma(n + a) for b = 0.
    """
    count = np.arange(largest + 1)
    table = np.zeros((len(kinds) + 1, largest + 1))
    for number, (name, above, below) in enumerate(kinds, start=1):
        below = 1.0 if name == "cell" else below
        table[number] += gammaln(count + above) if above else 0.0
        table[number] -= gammaln(count + below) if below else 0.0
    return table


def _starts(tables: TableSet, sampling: Sampling) -> list[np.ndarray]:
    """Different corners of the set of tables, one for each chain."""
    rng = np.random.default_rng([sampling.seed, 0])
    if one_table(tables) is None:
        raise ValueError("no table agrees with the facts")
    return [extreme_table(tables, rng) for _ in range(sampling.chains)]


def _draws(
    tables: TableSet, cells: np.ndarray, transition: np.ndarray, share: float, seed: int
) -> xr.Dataset:
    rng = np.random.default_rng([seed, 2])
    gamma = rng.standard_gamma(cells.sum(axis=-1) + share)
    return labelled(tables, cells, transition, gamma / gamma.sum(-1, keepdims=True))


def labelled(
    tables: TableSet, table: np.ndarray, transition: np.ndarray, primary_share: np.ndarray
) -> xr.Dataset:
    """Draws with their labels; arrays lead with chain and draw."""
    dims = ("chain", "draw", "stratum", "her2_primary", "her2")
    return xr.Dataset(
        {
            "transition": (dims, transition),
            "primary_share": (dims[:-1], primary_share),
            "table": (dims, table),
        },
        coords={
            "chain": np.arange(table.shape[0]),
            "draw": np.arange(table.shape[1]),
            "stratum": tables.names,
            "her2_primary": list(tables.her2),
            "her2": list(tables.her2),
        },
    )


def sample_true_rows(
    tables: TableSet,
    reads: np.ndarray,
    priors: Mapping[str, Prior],
    concentration: np.ndarray | None,
    sampling: Sampling,
    cores: int | None = None,
) -> xr.Dataset:
    """Draws of rows and shares of true classes behind the tables of readings.

    ``reads`` (true class, reading) is the misclassification matrix, known; ``concentration``
    (primary, her2) that of Dirichlet rows, None for logistic-normal rows.
    """
    from her2bayes.transition.table_kernel import run_assay

    k = len(tables.her2)
    share = float(parameters(priors, "primary_share", "Dirichlet")["a"])
    # primary shares are drawn, those of strata of unknown size integrated out
    kinds = [("cell", 0.0, 0.0), ("stratum", _STRATUM_SHARE, 0.0)]
    chains = _chains(tables, kinds, [1] * (k * k), [0] * k, sampling)
    names, levels, factor_of = _components(tables)
    odds = (0.0, 1.0, np.zeros(len(names)))
    if concentration is None:
        odds = (
            log_odds_mean(priors, k), float(priors["log_odds"]["sigma"]),
            np.array(sd_scales(priors, names), dtype=float),
        )  # fmt: skip
        concentration = np.zeros((0, k))
    described = (k, *odds, factor_of, levels)

    def run(rng: np.random.Generator, start: np.ndarray) -> tuple[np.ndarray, ...]:
        kept: tuple[np.ndarray, ...] = run_assay(
            rng, start, chains.problem, np.ascontiguousarray(reads, dtype=float), described,
            concentration, share, sampling.tune, sampling.draws, THIN_ASSAY, 6 * chains.size,
        )  # fmt: skip
        return kept

    table, log_p, primary = (
        np.stack(part) for part in zip(*_run_all(run, chains, sampling, cores), strict=True)
    )
    shape = (sampling.chains, sampling.draws, *tables.shape)
    return labelled(tables, table.reshape(shape), np.exp(log_p).reshape(shape), primary)

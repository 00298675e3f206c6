"""Moves between integer tables that keep every printed equality: short ones, and random ones.

Differences of two tables with the same facts form the integer lattice ``{m : A m = 0}`` of the
equalities ``A``. A chain that only uses a basis of it may be unable to reach every non-negative
table; adding random integer combinations of the basis, each of which has positive probability,
connects all of them (Hara, Aoki and Takemura 2012, "Running Markov chain without Markov basis").
"""

from __future__ import annotations

from itertools import combinations, product

import numpy as np

from her2bayes.reconstruction.latent_tables import cell_bounds
from her2bayes.reconstruction.table_facts import TableSet


def lattice_basis(tables: TableSet) -> np.ndarray:
    """Basis of the moves, int64 (move, cell): short, integer, keeping all equalities.

    Cells that the facts determine count as equalities. No rows where there is one table only.
    """
    low, high = (bound.ravel() for bound in cell_bounds(tables))
    fixed = np.eye(len(low), dtype=np.int64)[low == high]
    equal = tables.matrix[tables.lower == tables.upper]
    return _reduced(_integer_kernel(np.vstack([equal, fixed])))


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

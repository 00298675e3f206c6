"""Integer feasibility of printed counts over the smallest cross-tables that hold them.

Unknowns are the cells of one cross-table for each largest set of factors that some printed count
mentions; tables that share factors have equal margins there. Printed counts and percentages are
linear constraints lower <= a.x <= upper on those cells.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from scipy.optimize import LinearConstraint, linprog, milp

from her2bayes.audit.space import NONE, Quantity, Space, factors_of

# Cross-tables with more cells than this are left out; their counts are compared only as printed
LARGEST_TABLE = 20_000
TOLERANCE = 1e-6

Cell = dict[str, str]
Line = tuple[np.ndarray, float, float]


@dataclass(frozen=True)
class Table:
    """One cross-table: its factors, its possible cells and where they start among the unknowns."""

    factors: frozenset[str]
    cells: tuple[Cell, ...]
    start: int


class System:
    """The unknown cells, what holds between them whatever is printed, and questions about them."""

    def __init__(self, space: Space, quantities: Iterable[Quantity]) -> None:
        """Build the smallest cross-tables that hold all the quantities."""
        self.space = space
        self.tables = _tables(space, [factors_of(quantity) for quantity in quantities])
        self.size = sum(len(table.cells) for table in self.tables)
        self._equal = self._margins()
        self._ordered = self._event_bounds()

    def vector(self, quantity: Quantity) -> np.ndarray | None:
        """Coefficients of a quantity over all unknowns; None where no table holds it."""
        wanted = _closed(factors_of(quantity), self.space)
        holding = [table for table in self.tables if wanted <= table.factors]
        if not holding:
            return None
        table = min(holding, key=lambda t: len(t.cells))
        found = np.zeros(self.size)
        for position, cell in enumerate(table.cells):
            if any(all(cell[name] in levels for name, levels in part) for part in quantity):
                found[table.start + position] = 1
        return found

    def feasible(self, lines: Sequence[Line], whole: bool = True) -> bool:
        """Tell whether some table of counts meets all lines (of real numbers, where not whole)."""
        return self._solve(np.zeros(self.size), lines, whole) is not None

    def bounds(self, vector: np.ndarray, lines: Sequence[Line]) -> tuple[int, int | None] | None:
        """Smallest and largest whole value of a.x under the lines; no largest where unbounded."""
        low = self._solve(vector, lines, True)
        if low is None:
            return None
        high = self._solve(-vector, lines, True)
        return round(low), None if high is None else round(-high)

    def conflict(self, lines: Sequence[Line]) -> list[int] | None:
        """Positions of a smallest-by-inclusion set of lines that cannot hold together, or None."""
        suspects = self._elastic(lines)
        if suspects:
            return self._shrink(suspects, lines, whole=False)
        if self.feasible(lines):
            return None
        return self._shrink(list(range(len(lines))), lines, whole=True)

    def derive(
        self, vector: np.ndarray, lines: Sequence[Line], costs: Sequence[float]
    ) -> list[tuple[int, int, float]] | None:
        """Write a.x as the cheapest sum of exact lines: (position, sign, multiple) each, or None.

        Minimises the sum of |multiple| x cost over the printed lines, margins being free.
        """
        exact = [i for i, (_, low, high) in enumerate(lines) if low == high]
        if not exact:
            return None
        columns = np.array([lines[i][0] for i in exact]).T
        free = self._equal.T
        matrix = np.hstack([columns, -columns, free])
        price = np.array([costs[i] for i in exact])
        cost = np.r_[price, price, np.zeros(free.shape[1])]
        bounds = [(0, None)] * (2 * len(exact)) + [(None, None)] * free.shape[1]
        found = linprog(cost, A_eq=matrix, b_eq=vector, bounds=bounds, method="highs")
        if found.status != 0 or found.x is None:
            return None
        weights = found.x[: len(exact)] - found.x[len(exact) : 2 * len(exact)]
        return [
            (exact[i], 1 if w > 0 else -1, abs(w)) for i, w in enumerate(weights) if abs(w) > 1e-7
        ]

    def _solve(self, cost: np.ndarray, lines: Sequence[Line], whole: bool) -> float | None:
        matrix, low, high = self._stack(lines)
        found = milp(
            cost,
            constraints=LinearConstraint(matrix, low, high),
            integrality=np.full(self.size, int(whole)),
        )
        return float(found.fun) if found.status == 0 else None

    def _stack(self, lines: Sequence[Line]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = [line[0] for line in lines]
        matrix = np.vstack([self._equal, self._ordered, *rows])
        zeros = np.zeros(len(self._equal) + len(self._ordered))
        endless = np.r_[np.zeros(len(self._equal)), np.full(len(self._ordered), np.inf)]
        low = np.r_[zeros, [line[1] - TOLERANCE * (line[1] != line[2]) for line in lines]]
        high = np.r_[endless, [line[2] + TOLERANCE * (line[1] != line[2]) for line in lines]]
        return matrix, low, high

    def _elastic(self, lines: Sequence[Line]) -> list[int]:
        """Lines with a non-zero multiplier when the total violation is least; empty if none."""
        matrix, low, high = self._stack(lines)
        fixed = len(self._equal) + len(self._ordered)
        count = len(lines)
        slack = np.vstack([np.zeros((fixed, count)), np.eye(count)])
        upper = np.isfinite(high)
        lower = np.isfinite(low)
        found = linprog(
            np.r_[np.zeros(self.size), np.ones(2 * count)],
            A_ub=np.vstack(
                [
                    np.hstack([matrix, slack, -slack])[upper],
                    -np.hstack([matrix, slack, -slack])[lower],
                ]
            ),
            b_ub=np.r_[high[upper], -low[lower]],
            method="highs",
        )
        if found.fun is None or found.fun < 1e-4:
            return []
        multipliers = np.zeros(len(high))
        marginals = found.ineqlin.marginals
        multipliers[upper] += np.abs(marginals[: upper.sum()])
        multipliers[lower] += np.abs(marginals[upper.sum() :])
        return [int(i) for i in np.flatnonzero(multipliers[fixed:] > 1e-7)]

    def _shrink(self, suspects: list[int], lines: Sequence[Line], whole: bool) -> list[int]:
        """Leave out lines, many at a time first, as long as the rest still conflicts."""
        kept = list(suspects)
        step = max(1, len(kept) // 2)
        while True:
            position = 0
            while position < len(kept):
                rest = kept[:position] + kept[position + step :]
                if self.feasible([lines[i] for i in rest], whole):
                    position += step
                else:
                    kept = rest
            if step == 1:
                return kept
            step //= 2

    def _margins(self) -> np.ndarray:
        """Rows that are zero: tables that share factors agree on their shared margin."""
        rows: list[np.ndarray] = []
        shared = {a.factors & b.factors for a, b in combinations(self.tables, 2)}
        for common in sorted(shared, key=sorted):
            holding = [table for table in self.tables if common <= table.factors]
            first = self._margin(holding[0], common)
            for table in holding[1:]:
                other = self._margin(table, common)
                zero = np.zeros(self.size)
                rows += [
                    first.get(key, zero) - other.get(key, zero)
                    for key in sorted(first.keys() | other)
                ]
        return np.array(rows).reshape(-1, self.size)

    def _margin(self, table: Table, common: Collection[str]) -> dict[tuple[str, ...], np.ndarray]:
        found: dict[tuple[str, ...], np.ndarray] = {}
        names = sorted(common)
        for position, cell in enumerate(table.cells):
            key = tuple(cell[name] for name in names)
            found.setdefault(key, np.zeros(self.size))[table.start + position] = 1
        return found

    def _event_bounds(self) -> np.ndarray:
        """Rows that are not negative: larger minus smaller of what one printed event bounds."""
        rows = []
        for larger, smaller in self.space.bounds:
            whole, part = self.vector(larger), self.vector(smaller)
            if whole is not None and part is not None:
                rows.append(whole - part)
        return np.array(rows).reshape(-1, self.size)


def _closed(factors: Iterable[str], space: Space) -> frozenset[str]:
    found = set(factors)
    for factor in list(found):
        while factor in space.parent:
            factor = space.parent[factor]
            found.add(factor)
    return frozenset(found)


def _tables(space: Space, mentioned: Iterable[frozenset[str]]) -> list[Table]:
    sets: set[frozenset[str]] = {frozenset()}
    sets |= {_closed(factors, space) for factors in mentioned}
    fitting = {
        factors
        for factors in sets
        if np.prod([len(space.levels[f]) for f in factors], dtype=float) <= LARGEST_TABLE
    }
    largest = [a for a in fitting if not any(a < b for b in fitting)]
    tables, start = [], 0
    for factors in sorted(largest, key=sorted):
        names = sorted(factors)
        cells = tuple(
            cell
            for levels in product(*(space.levels[name] for name in names))
            if _possible(cell := dict(zip(names, levels, strict=True)), space)
        )
        tables.append(Table(factors, cells, start))
        start += len(cells)
    return tables


def _possible(cell: Cell, space: Space) -> bool:
    """Nested levels stand under their parent's level; a level not placed may stand anywhere."""
    for factor, level in cell.items():
        parent = space.parent.get(factor)
        if parent is None or level in space.unknown.get(factor, frozenset()):
            continue
        within = space.within[factor]
        if level == NONE:
            if cell[parent] in within.values():
                return False
        elif within.get(level, cell[parent]) != cell[parent]:
            return False
    return True

"""All integer tables that agree with printed facts: are there any, bounds, members, groups.

    T  in  {T integer, T >= 0, lower <= sum(form * T) <= upper}       (``facts.TableSet``)

Feasibility and bounds are integer programs (HiGHS); members are enumerated by filling one cell
after the other and dropping partial tables that no longer can meet a fact. Where every fact holds
two cells of a stratum both or neither, only their sum matters, and a multinomial summed over all
splits of it is the multinomial of the sum: such cells form a group. A subgroup of which only the
recurrence margin and the number of discordant patients are printed has six groups instead of nine
cells, and about a thousand grouped tables instead of millions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from scipy.special import gammaln

from her2bayes.errors import BadInput, Fault
from her2bayes.transition.facts import TableSet, one_table, solve

_FREE = 1 << 40
ENUMERATION_LIMIT = 2_000_000  # partial tables held at once; about 100 MB at 27 cells


class TooManyTablesError(Exception):
    """More tables than the limit allows to enumerate; use the sampler."""


def extreme_table(tables: TableSet, rng: np.random.Generator) -> np.ndarray:
    """A corner of the set in a random direction, int64 (stratum, primary, recurrence).

    Raises ``ValueError`` where no table exists.
    """
    found = solve(tables, rng.standard_normal(int(np.prod(tables.shape))))
    if found is None:
        raise ValueError("no table agrees with the facts")
    return found


def conflict(tables: TableSet) -> tuple[str, ...]:
    """Smallest-by-deletion list of facts that cannot all hold; empty where a table exists.

    Every fact of the list is needed: dropping any one of them makes the others satisfiable.
    """
    if one_table(tables) is not None:
        return ()
    keep = list(range(len(tables.fact_id)))
    for fact in list(keep):
        rest = [other for other in keep if other != fact]
        if one_table(_subset(tables, rest)) is None:
            keep = rest
    return tuple(tables.fact_id[fact] for fact in keep)


def cell_bounds(tables: TableSet) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest count of each cell, two int64 (stratum, primary, recurrence).

    Raises ``ValueError`` where no table exists.
    """
    return _bounds(tables, np.eye(int(np.prod(tables.shape))), tables.shape)


def row_bounds(tables: TableSet) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest row total, two int64 (stratum, primary)."""
    strata, k, _ = tables.shape
    return _bounds(tables, np.kron(np.eye(strata * k), np.ones(k)), (strata, k))


def share_bounds(tables: TableSet) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest share ``T[s, i, j] / T[s, i, .]`` of each row, two float64 arrays.

    Where the row total varies the ratio is minimised by Dinkelbach's iteration, each step an
    integer program. NaN where the row may be empty and so has no share.
    """
    low = np.full(tables.shape, np.nan)
    high = np.full(tables.shape, np.nan)
    least, most = row_bounds(tables)
    cell_low, cell_high = cell_bounds(tables)
    for s, i, j in np.ndindex(*tables.shape):
        if least[s, i] == 0:
            continue
        if least[s, i] == most[s, i]:
            low[s, i, j] = cell_low[s, i, j] / least[s, i]
            high[s, i, j] = cell_high[s, i, j] / least[s, i]
            continue
        low[s, i, j] = _least_share(tables, s, i, j)
        high[s, i, j] = 1 - _least_share(tables, s, i, j, others=True)
    return low, high


def enumerate_tables(
    tables: TableSet, limit: int = ENUMERATION_LIMIT, *, tight: bool = True
) -> np.ndarray:
    """All members, int64 (table, stratum, primary, recurrence), in lexicographic order.

    ``tight`` bounds every cell by integer programs first, which costs some milliseconds a cell and
    pays where facts interlock. Raises ``TooManyTablesError`` when more than ``limit`` partial
    tables are alive at any step.
    """
    cells = np.eye(int(np.prod(tables.shape)), dtype=bool)
    return enumerate_sums(tables, cells, limit, tight=tight).reshape(-1, *tables.shape)


def enumerate_sums(
    tables: TableSet, member: np.ndarray, limit: int, *, tight: bool = True
) -> np.ndarray:
    """All values of sums of cells that no fact tells apart, int64 (table, group).

    ``member`` (group, cell) says which cells each group sums; the facts must hold all cells of a
    group with one coefficient. Raises ``TooManyTablesError`` above ``limit`` partial tables.
    """
    matrix = tables.matrix[:, member.argmax(axis=1)]
    if not tight:
        low = np.zeros(len(member), dtype=np.int64)
        most = np.where(matrix > 0, tables.upper[:, None] // np.maximum(matrix, 1), _FREE)
        high = most.min(axis=0)
    elif one_table(tables) is None:
        return np.zeros((0, len(member)), dtype=np.int64)
    else:
        low, high = _bounds(tables, member.astype(float), (len(member),))
    order = _filling_order(matrix, low, high)
    filled = np.zeros((1, 0), dtype=np.int32)
    value = np.zeros((1, len(matrix)), dtype=np.int64)
    for step, group in enumerate(order):
        rest = order[step + 1 :]
        # what the groups still open can add to each fact, at least and at most
        add_low, add_high = matrix[:, rest] @ low[rest], matrix[:, rest] @ high[rest]
        coefficient = matrix[:, group]
        held = coefficient > 0
        need = np.ceil((tables.lower - add_high - value)[:, held] / coefficient[held])
        room = np.floor((tables.upper - add_low - value)[:, held] / coefficient[held])
        first = np.maximum(low[group], need.max(axis=1, initial=-np.inf)).astype(np.int64)
        last = np.minimum(high[group], room.min(axis=1, initial=np.inf)).astype(np.int64)
        number = np.maximum(last - first + 1, 0)
        if number.sum() > limit:
            raise TooManyTablesError(f"more than {limit} tables agree with the facts")
        parent = np.repeat(np.arange(len(filled)), number)
        offset = np.arange(len(parent)) - np.repeat(np.cumsum(number) - number, number)
        count = first[parent] + offset
        filled = np.column_stack([filled[parent], count.astype(np.int32)])
        value = value[parent] + count[:, None] * coefficient
    found = filled[:, np.argsort(order)]
    return found[np.lexsort(found.T[::-1])].astype(np.int64)


def _filling_order(matrix: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Order that closes facts early: next the cell of the fact with fewest open free cells."""
    open_cells = list(np.flatnonzero(low < high))
    order = list(np.flatnonzero(low == high))
    while open_cells:
        width = matrix[:, open_cells].astype(bool)
        left = np.where(width.any(axis=1), width.sum(axis=1), np.inf)
        score = np.where(width, 1.0 / left[:, None] ** 2, 0).sum(axis=0)
        best = open_cells[int(np.argmax(score - 1e-6 * (high - low)[open_cells]))]
        order.append(best)
        open_cells.remove(best)
    return np.array(order)


def _subset(tables: TableSet, facts: list[int]) -> TableSet:
    return replace(
        tables,
        form=tables.form[facts],
        lower=tables.lower[facts],
        upper=tables.upper[facts],
        fact_id=tuple(tables.fact_id[f] for f in facts),
    )


def _bounds(
    tables: TableSet, costs: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    members: list[np.ndarray] = []
    # no sum of counts lies below 0, or above what one fact leaves: a member that is there ends it
    most = _room(tables, costs)
    ends = [_end(tables, cost, 0, members) for cost in costs]
    ends += [-_end(tables, -cost, -up, members) for cost, up in zip(costs, most, strict=True)]
    half = len(costs)
    return np.array(ends[:half]).reshape(shape), np.array(ends[half:]).reshape(shape)


def _room(tables: TableSet, costs: np.ndarray) -> list[int]:
    """What each sum of cells can be at most by one fact that holds all of them."""
    holds = (tables.matrix[:, None, :] >= costs).all(axis=2)
    return [int(tables.upper[fact].min(initial=_FREE)) for fact in holds.T]


def _end(tables: TableSet, cost: np.ndarray, limit: int, members: list[np.ndarray]) -> int:
    """Least sum of costs, from the ``members`` found so far where one of them is at the limit."""
    if any(cost @ member <= limit for member in members):
        return limit
    found = solve(tables, cost)
    if found is None:
        raise ValueError("no table agrees with the facts")
    members.append(found.ravel())
    return int(cost @ found.ravel())


def _least_share(tables: TableSet, s: int, i: int, j: int, others: bool = False) -> float:
    """Smallest share of cell (s, i, j) in its row, or of the other cells of the row together."""
    top = np.zeros(tables.shape)
    top[s, i, j] = 1
    row = np.zeros(tables.shape)
    row[s, i, :] = 1
    if others:
        top = row - top
    ratio = 1.0
    while True:
        found = solve(tables, (top - ratio * row).ravel())
        assert found is not None
        new = float((top * found).sum() / (row * found).sum())
        if new >= ratio - 1e-12:
            return ratio
        ratio = new


LISTED_LIMIT = 5_000  # tables a likelihood sums over at each evaluation; beyond, sample them


def grouped_cells(tables: TableSet) -> np.ndarray:
    """Cells of each group, bool (group, cell): equal coefficients in all facts, same stratum."""
    strata, k, _ = tables.shape
    stratum = np.repeat(np.arange(strata), k * k)
    columns = np.vstack([stratum, tables.matrix]).T
    _, group = np.unique(columns, axis=0, return_inverse=True)
    order = {g: n for n, g in enumerate(dict.fromkeys(group.tolist()))}
    member = np.zeros((len(order), strata * k * k), dtype=bool)
    for cell, g in enumerate(group.tolist()):
        member[order[g], cell] = True
    return member


def listed_tables(blocks: Sequence[TableSet], limit: int = ENUMERATION_LIMIT) -> xr.Dataset:
    """All grouped tables of independent sources ("blocks"), as data of ``bayes.latent_table``.

    Strata of all blocks stand side by side; a block's tables are zero elsewhere. Returns
    ``tables`` (candidate, group) int64; ``coefficient`` (candidate), log of the multinomial
    coefficients; ``block`` (candidate) and ``home`` (group), the block of each; ``member`` (group,
    stratum, her2_primary, her2) bool; ``patients`` (stratum). Factor levels are coords on
    ``stratum``, names in ``attrs["factors"]``. Raises ``BadInput`` where the size of a stratum is
    not printed or a block has no table, ``TooManyTablesError`` above ``limit``.
    """
    her2 = blocks[0].her2
    k = len(her2)
    levels = [dict(stratum) for block in blocks for stratum in block.strata]
    strata = len(levels)
    patients: list[int] = []
    counts, members, coefficients = [], [], []
    origin, home = list[int](), list[int]()
    for number, block in enumerate(blocks):
        member = grouped_cells(block)
        found = enumerate_sums(block, member, limit)
        sizes = _sizes(block, found, member)
        before = len(patients)
        placed = np.zeros((len(member), strata * k * k), dtype=bool)
        placed[:, before * k * k : before * k * k + member.shape[1]] = member
        counts.append(found)
        members.append(placed)
        coefficients.append(gammaln(sizes + 1).sum() - gammaln(found + 1.0).sum(axis=1))
        origin += [number] * len(found)
        home += [number] * len(member)
        patients += sizes.tolist()
    tables = np.zeros((len(origin), sum(len(m) for m in members)), dtype=np.int64)
    row = column = 0
    for found in counts:
        tables[row : row + len(found), column : column + found.shape[1]] = found
        row, column = row + len(found), column + found.shape[1]
    factors = list(dict.fromkeys(name for level in levels for name in level))
    names = [name for block in blocks for name in block.names]
    if len(set(names)) < len(names):
        raise BadInput(
            Fault("two strata have one name", value=names, remedy="add a factor 'study'")
        )
    return xr.Dataset(
        {
            "tables": (("candidate", "group"), tables),
            "coefficient": ("candidate", np.concatenate(coefficients)),
            "block": ("candidate", np.array(origin)),
            "home": ("group", np.array(home)),
            "member": (
                ("group", "stratum", "her2_primary", "her2"),
                np.vstack(members).reshape(-1, strata, k, k),
            ),
            "patients": ("stratum", np.array(patients)),
        },
        coords={
            "stratum": names,
            "her2_primary": list(her2),
            "her2": list(her2),
            **{f: ("stratum", [level.get(f, "") for level in levels]) for f in factors},
        },
        attrs={"factors": factors},
    )


def _sizes(tables: TableSet, found: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Patients of each stratum; they must be the same in every table."""
    if one_table(tables) is None:
        raise BadInput(
            Fault("no table agrees with the facts", value=tables.reading or None,
                  remedy="ask 'conflict' which facts contradict each other")
        )  # fmt: skip
    strata, k, _ = tables.shape
    home = member.reshape(len(member), strata, k * k).any(axis=2)
    sizes = found @ home
    if (sizes != sizes[0]).any():
        raise BadInput(
            Fault(
                "the number of patients of a stratum is not printed",
                remedy="add a fact '*->* = n' for it, or sample the tables instead of listing them",
            )
        )
    return np.asarray(sizes[0])

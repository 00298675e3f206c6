"""Tables listed for a likelihood: cells that no fact tells apart are summed over in closed form.

Where every fact holds two cells of a stratum both or neither, only their sum matters, and a
multinomial summed over all splits of it is the multinomial of the sum. Such cells form a group. A
subgroup of which only the recurrence margin and the number of discordant patients are printed has
six groups instead of nine cells, and about a thousand grouped tables instead of millions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.special import gammaln

from her2bayes.errors import BadInput, Fault
from her2bayes.reconstruction.latent_tables import (
    ENUMERATION_LIMIT,
    enumerate_sums,
    one_table,
)
from her2bayes.reconstruction.table_facts import TableSet

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
    coefficients; ``block`` (candidate) position; ``member`` (group, stratum, her2_primary, her2)
    bool; ``patients`` (stratum). Factor levels are coords on ``stratum``, names in
    ``attrs["factors"]``. Raises ``BadInput`` where the size of a stratum is not printed or a block
    has no table, ``TooManyTablesError`` above ``limit``.
    """
    her2 = blocks[0].her2
    k = len(her2)
    levels = [dict(stratum) for block in blocks for stratum in block.strata]
    strata = len(levels)
    patients: list[int] = []
    counts, members, coefficients, origin = [], [], [], []
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

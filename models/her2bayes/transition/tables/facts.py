"""Printed facts about paired classes, as linear constraints on integer tables primary x recurrence.

A fact is a sum of cells with a relation to a number: ``zero->low = 25``, ``*->low = 127``,
``off_diagonal = 94``, ``zero->low+low->zero <= 54``. A fact of a stratum constrains the sum of
all tables of that stratum; a fact without a stratum constrains the sum over all strata, which is
how the tables of subgroups and of all patients inform each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.transition.design import pad_strata

RELATIONS = ("=", "<=", ">=", "<", ">")


@dataclass(frozen=True)
class TableSet:
    """All tables ``T[stratum, primary, recurrence]`` with ``lower <= sum(form * T) <= upper``.

    ``strata`` holds one mapping factor -> level (as sorted pairs) for each table, ``form`` is
    int64 (fact, stratum, primary, recurrence), ``lower`` and ``upper`` int64 (fact,).
    """

    strata: tuple[tuple[tuple[str, str], ...], ...]
    her2: tuple[str, ...]
    form: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    fact_id: tuple[str, ...]
    reading: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Strata, primary classes, recurrence classes."""
        return (len(self.strata), len(self.her2), len(self.her2))

    @property
    def matrix(self) -> np.ndarray:
        """The linear forms as int64 (fact, cell), cells in the order of ``T.ravel()``."""
        return self.form.reshape(len(self.form), int(np.prod(self.shape)))

    @property
    def names(self) -> list[str]:
        """Short name of each stratum: its levels joined by ' / ', or 'all'."""
        return [" / ".join(level for _, level in stratum) or "all" for stratum in self.strata]

    def holds(self, tables: np.ndarray) -> np.ndarray:
        """Whether each table (..., stratum, primary, recurrence) satisfies every fact."""
        value = np.einsum("...sij,fsij->...f", tables, self.form)
        inside = (value >= self.lower) & (value <= self.upper)
        return np.asarray(inside.all(axis=-1) & (tables >= 0).all(axis=(-3, -2, -1)))


def readings(facts: pd.DataFrame) -> list[str]:
    """Names of the readings among the facts, in order of appearance; ``['']`` where none."""
    named = [name for name in dict.fromkeys(facts["reading"].fillna("")) if name]
    return named or [""]


def cell_mask(cells: str, her2: Sequence[str]) -> np.ndarray:
    """Coefficient of each cell (primary, recurrence) in a '+'-joined list of cells.

    Raises ``BadInput`` where a part is not ``a->b``, ``a->*``, ``*->b``, ``*->*``, ``diagonal``
    or ``off_diagonal`` over the classes ``her2``.
    """
    k = len(her2)
    mask = np.zeros((k, k), dtype=np.int64)
    for part in (text.strip() for text in cells.split("+")):
        if part in ("diagonal", "off_diagonal"):
            mask += np.eye(k, dtype=np.int64) if part == "diagonal" else 1 - np.eye(k, dtype=int)
            continue
        start, arrow, end = (text.strip() for text in part.partition("->"))
        if not arrow or not {start, end} <= {*her2, "*"}:
            raise BadInput(
                Fault(
                    "not a list of cells",
                    column="cells",
                    value=cells,
                    allowed=f"a->b, a->*, *->b, *->*, diagonal, off_diagonal; classes {her2}",
                )
            )
        rows = np.array([start in ("*", name) for name in her2])
        columns = np.array([end in ("*", name) for name in her2])
        mask += np.outer(rows, columns)
    return mask


def table_set(
    facts: pd.DataFrame, her2: Sequence[str], factors: Iterable[str] = (), reading: str = ""
) -> TableSet:
    """Constraints of one reading on the tables of all combinations of levels of ``factors``.

    ``facts`` has the columns of ``transition_facts.csv``; facts of other factors are left out, a
    fact with an empty reading always holds. Levels are those the facts name. Without factors
    there is one table, that of all patients. Raises ``BadInput`` with all faults found.
    """
    factors = tuple(factors)
    facts = facts.assign(**{c: facts[c].fillna("") for c in ("factor", "level", "reading")})
    facts = facts[facts["reading"].isin(["", reading]) & facts["factor"].isin(["", *factors])]
    levels = {f: list(dict.fromkeys(facts.loc[facts["factor"] == f, "level"])) for f in factors}
    strata = tuple(
        tuple(zip(factors, combination, strict=True)) for combination in product(*levels.values())
    )
    faults = [
        Fault(f"no fact names a level of '{f}'", column="factor") for f in factors if not levels[f]
    ]
    faults += _faults(facts, her2)
    raise_if(faults)
    rows = [_constraint(fact, strata, her2) for fact in facts.itertuples()]
    form, lower, upper = (np.array(column) for column in zip(*rows, strict=True))
    _check_finite(form, lower, upper)
    return TableSet(strata, tuple(her2), form, lower, upper, tuple(facts["fact_id"]), reading)


_NO_LIMIT = np.iinfo(np.int64).max // 4


def _constraint(fact, strata, her2):  # type: ignore[no-untyped-def]
    mask = cell_mask(fact.cells, her2)
    inside = [not fact.factor or (fact.factor, fact.level) in stratum for stratum in strata]
    form = np.array(inside, dtype=np.int64)[:, None, None] * mask
    value = int(float(fact.value))
    lower = {"=": value, ">=": value, ">": value + 1}.get(fact.relation, 0)
    upper = {"=": value, "<=": value, "<": value - 1}.get(fact.relation, _NO_LIMIT)
    return form, lower, upper


def _faults(facts: pd.DataFrame, her2: Sequence[str]) -> list[Fault]:
    faults = []
    for fact in facts.itertuples():
        try:
            cell_mask(str(fact.cells), her2)
        except BadInput as bad:
            faults += list(bad.faults)
        if fact.relation not in RELATIONS:
            faults.append(
                _fault(fact, "unknown relation", "relation", fact.relation, " ".join(RELATIONS))
            )
        number = pd.to_numeric(pd.Series([fact.value]), errors="coerce").iloc[0]
        if not (number >= 0 and float(number).is_integer()):
            faults.append(_fault(fact, "not a count", "value", fact.value, "an integer from 0"))
    if facts.empty:
        faults.append(Fault("no facts for this reading", remedy="name a reading that occurs"))
    return faults


def _fault(fact, problem: str, column: str, value: object, allowed: str) -> Fault:  # type: ignore[no-untyped-def]
    return Fault(f"fact '{fact.fact_id}': {problem}", column=column, value=value, allowed=allowed)


def _check_finite(form: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
    """Refuse facts that leave a cell without an upper limit: infinitely many tables."""
    limited = (form * (upper < _NO_LIMIT)[:, None, None, None]).any(axis=0)
    if not limited.all():
        raise BadInput(
            Fault(
                "some cells have no upper limit, so infinitely many tables agree with the facts",
                remedy="add the number of patients ('*->* = n') of each stratum or of all patients",
            )
        )


def listed_labels(data: xr.Dataset) -> dict[str, list[int]]:
    """Coordinates of listed tables that are positions only."""
    if "tables" not in data:
        return {}
    return {
        "block": np.unique(data["block"].values).tolist(),
        "candidate": list(range(data.sizes["candidate"])),
        "group": list(range(data.sizes["group"])),
    }


def facts_agree(data: xr.Dataset, strata: Any, theta: Any) -> None:
    """Observe that the tables agree with the facts of every block."""
    import pymc.dims as pmd

    listed = data.drop_vars([str(name) for name in data.coords if name != "stratum"])
    member = pad_strata(listed["member"].astype(float), strata).drop_vars("stratum")
    inside = np.equal.outer(np.unique(data["block"].values), data["block"].values)
    log_inside = xr.DataArray(np.where(inside, 0.0, -1e9), dims=("block", "candidate"))

    group = (pmd.Data("cells_of_group", member) * theta).sum(("stratum", "her2_primary", "her2"))
    tables = pmd.Data("tables", listed["tables"].astype(float))
    log_table = pmd.math.dot(tables, pmd.math.log(group), dim="group")
    log_table = log_table + pmd.Data("log_coefficient", listed["coefficient"])
    log_facts = pmd.math.logsumexp(log_table + pmd.Data("log_inside", log_inside), dim="candidate")
    log_facts = pmd.math.minimum(log_facts, -1e-12)  # facts that always hold
    pmd.Bernoulli(
        "agrees",
        logit_p=log_facts - pmd.math.log1mexp(log_facts),
        observed=xr.DataArray(np.ones(len(inside), dtype=int), dims="block"),
        dims=("block",),
    )

"""Printed facts about pairs of classes, as linear constraints on integer tables.

A fact is a sum of cells (primary -> recurrence) with a relation to a number: ``zero->low = 25``,
``*->low = 127``, ``off_diagonal = 94``, ``zero->low+low->zero <= 54``. A fact of a stratum
constrains the sum of all tables of that stratum; a fact without a stratum constrains the sum over
all strata, which is how the tables of subgroups and of all patients inform each other.

Beside ``transition_facts.csv`` a study bounds its tables by ``status_counts.csv``: the classes at
recurrence of a group are the recurrence margin of its table. Where they add up to the number of
pairs they are the same patients and hold exactly; where more patients have a status than have two
readings they are upper limits. Counts of a factor that no fact speaks of say nothing on its tables.
Where the tables of all levels of a factor add up to all pairs, their sums hold for all patients.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.optimize import Bounds, LinearConstraint, milp

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import TABLE_PARTS, cells_of
from her2bayes.evidence.printed.vocabulary import PRIMARY, STATUS

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study

RELATIONS = ("=", "<=", ">=", "<", ">")


Strata = tuple[tuple[tuple[str, str], ...], ...]


@dataclass(frozen=True, eq=False)
class TableSet:
    """All tables ``T[stratum, primary, recurrence]`` with ``lower <= sum(form * T) <= upper``.

    Sets of the same content are equal, so that what is worked out of one serves all analyses of it.
    ``strata`` holds one mapping factor -> level (as sorted pairs) for each table, ``form`` is
    int64 (fact, stratum, primary, recurrence), ``lower`` and ``upper`` int64 (fact,).
    """

    strata: Strata
    her2: tuple[str, ...]
    form: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    fact_id: tuple[str, ...]
    reading: str = ""

    @cached_property
    def _content(self) -> tuple[Hashable, ...]:
        arrays = (self.form, self.lower, self.upper)
        plain = (self.strata, self.her2, self.fact_id, self.reading)
        return (*plain, *(np.asarray(one, dtype=np.int64).tobytes() for one in arrays))

    def __eq__(self, other: object) -> bool:
        """Tell whether the other is a set of the same content."""
        return isinstance(other, TableSet) and self._content == other._content

    def __hash__(self) -> int:
        """Hash the content."""
        return hash(self._content)

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
        return stratum_names(self.strata)

    def holds(self, tables: np.ndarray) -> np.ndarray:
        """Whether each table (..., stratum, primary, recurrence) satisfies every fact."""
        value = np.einsum("...sij,fsij->...f", tables, self.form)
        inside = (value >= self.lower) & (value <= self.upper)
        return np.asarray(inside.all(axis=-1) & (tables >= 0).all(axis=(-3, -2, -1)))


def stratum_names(strata: Strata) -> list[str]:
    """Levels of each stratum joined by ' / ', or 'all'."""
    return [" / ".join(level for _, level in stratum) or "all" for stratum in strata]


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
    for part in cells_of(cells):
        if part in TABLE_PARTS:
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


def one_table(tables: TableSet) -> np.ndarray | None:
    """One member, int64 (stratum, primary, recurrence), or None where the facts contradict."""
    return solve(tables, np.zeros(int(np.prod(tables.shape))))


def solve(tables: TableSet, cost: np.ndarray) -> np.ndarray | None:
    """The member of least ``cost`` (cell), or None where the facts contradict each other.

    An array that cannot be written to: bounds, moves and starts of all analyses of the same facts
    ask the same.
    """
    return _solved(tables, np.asarray(cost, dtype=float).tobytes())


@lru_cache(maxsize=10_000)
def _solved(tables: TableSet, costs: bytes) -> np.ndarray | None:
    cost = np.frombuffer(costs)
    result = milp(
        cost,
        constraints=LinearConstraint(tables.matrix, tables.lower, _cap(tables)),
        integrality=np.ones(len(cost), dtype=np.int64),
        bounds=Bounds(0, np.inf),
        options={"mip_rel_gap": 0.0},
    )
    if result.x is None:
        return None
    found = np.rint(result.x).astype(np.int64).reshape(tables.shape)
    if not tables.holds(found):
        raise ArithmeticError("the integer program returned a table that breaks a fact")
    found.setflags(write=False)
    return found


def _cap(tables: TableSet) -> np.ndarray:
    return np.where(tables.upper > 10**12, np.inf, tables.upper)


COUNTS = "status_counts.csv"


@dataclass(frozen=True)
class PairFacts:
    """Facts of all sources in the columns of ``transition_facts.csv``, and what is said of them."""

    facts: pd.DataFrame
    notes: tuple[str, ...] = ()


def pair_facts(study: Study) -> PairFacts:
    """Join the printed facts of a study with the counts that bound the same tables."""
    printed = study.transition_facts
    if printed.empty:
        return PairFacts(printed)
    her2 = study.factors[STATUS].levels
    printed, notes = _with_sums(study, printed)
    facts = printed
    for factor in ("", *dict.fromkeys(name for name in printed["factor"].fillna("") if name)):
        rows = _counted(study, factor)
        alone = _joined(facts, list(_other_levels(study, printed, factor, ())))
        facts = _joined(facts, list(_other_levels(study, printed, factor, rows)))
        more, note = _of_factor(study, printed, factor, rows)
        joined = _joined(facts, more)
        if more and _contradict(alone, joined, factor, her2):
            note = f"{_named(factor)} in {COUNTS} contradict the printed facts and are not used"
            facts = alone
        elif more:
            facts = joined
        notes += [note] if note else []
    return PairFacts(facts, tuple(notes))


def _with_sums(study: Study, printed: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Add what the tables of subgroups add up to, where these are all pairs, as facts on all."""
    her2 = study.factors[STATUS].levels
    pairs, notes = _pairs(printed), []
    for factor in dict.fromkeys(name for name in printed["factor"].fillna("") if name):
        design = study.factors[factor]
        if design.open or design.unknown or design.parent:
            continue
        found = list(_sums(printed, factor, design.levels, her2, pairs))
        joined = _joined(printed, found)
        if found and not _contradict(printed, joined, "", her2):
            printed = joined
            notes.append(
                f"the tables by {factor} add up to all {pairs} pairs: "
                f"{len(found)} of their sums hold for all patients"
            )
    return printed, notes


def _sums(
    printed: pd.DataFrame, factor: str, levels: Sequence[str], her2: Sequence[str],
    pairs: int | None,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Sums over all levels of the cells that each of them prints and all patients do not."""
    plain = printed[(printed["relation"] == "=") & (printed["reading"].fillna("") == "")]
    told: dict[str, dict[bytes, dict[Hashable, Any]]] = {level: {} for level in ("", *levels)}
    for row in plain[plain["factor"].isin(["", factor])].to_dict("records"):
        told[str(row["level"])][cell_mask(str(row["cells"]), her2).tobytes()] = dict(row)
    overall = told.pop("")
    sizes = [_all_pairs(cells, len(her2)) for cells in told.values()]
    if pairs is None or None in sizes or sum(size or 0 for size in sizes) != pairs:
        return
    first, *others = told.values()
    for mask, row in first.items():
        if mask not in overall and all(mask in other for other in others):
            yield {
                "fact_id": f"sum.{factor}.{row['cells'].replace(' ', '')}", "factor": "",
                "level": "", "cells": row["cells"], "relation": "=",
                "value": sum(int(cells[mask]["value"]) for cells in told.values()),
                "reading": "", "locator": f"sum over {factor}: {row['locator']}", "claim_id": "",
            }  # fmt: skip


def _all_pairs(cells: Mapping[bytes, Mapping[Hashable, Any]], k: int) -> int | None:
    """Pairs of one subgroup: printed, or the sum of all its cells."""
    every = np.eye(k * k, dtype=np.int64).reshape(-1, k, k)
    whole = cells.get(every.sum(axis=0).tobytes())
    if whole is not None:
        return int(whole["value"])
    single = [cells.get(mask.tobytes()) for mask in every]
    known = [int(row["value"]) for row in single if row is not None]
    return sum(known) if len(known) == len(single) else None


def _joined(facts: pd.DataFrame, more: Sequence[dict[str, Any]]) -> pd.DataFrame:
    return pd.concat([facts, pd.DataFrame(more)], ignore_index=True) if more else facts


def _counted(study: Study, factor: str) -> list[dict[Any, Any]]:
    """Rows of the counts by a factor; those by the class of the primary are of all patients."""
    table = study.tables[COUNTS]
    rows = table[table["factor"] == factor].to_dict("records")
    return rows if factor else rows + table[table["factor"] == PRIMARY].to_dict("records")


def _of_factor(
    study: Study, printed: pd.DataFrame, factor: str, rows: Sequence[dict[Any, Any]]
) -> tuple[list[dict[str, Any]], str]:
    """New facts from the counts of one factor, and a sentence on them."""
    her2 = study.factors[STATUS].levels
    if any(one.file == COUNTS and one.cells["factor"] == factor for one in study.bounded):
        return [], f"{_named(factor)} in {COUNTS} are partly bounds only and are not used"
    pairs, counted = _pairs(printed), sum(int(row["count"]) for row in rows if not _is_pair(row))
    facts = [_fact(row, "=" if pairs is not None and counted <= pairs else "<=") for row in rows]
    if pairs is not None and 0 < counted < pairs:
        unknown = study.factors[factor].unknown if factor else ()
        if not unknown:
            text = f"{_named(factor)} in {COUNTS} cover {counted} of {pairs} pairs and are not used"
            return [], text
        facts.append(_size(factor, unknown[0], "=", pairs - counted, COUNTS))
    known = {_form(row, her2) for row in printed.to_dict("records") if not row["reading"]}
    facts = [fact for fact in facts if _form(fact, her2) not in known]
    if not facts:
        return [], ""
    how = "hold exactly" if facts[0]["relation"] == "=" else "are upper limits"
    text = f"{_named(factor)} in {COUNTS} bound the tables too ({len(facts)} of them, which {how})"
    return facts, text


def _named(factor: str) -> str:
    return f"the counts by {factor}" if factor else "the counts of all patients"


def _is_pair(row: dict[Any, Any]) -> bool:
    return bool(row["factor"] == PRIMARY)


def _fact(row: dict[Any, Any], relation: str) -> dict[str, Any]:
    factor, level = str(row["factor"]), str(row["level"])
    cells = f"{level}->{row['her2']}" if _is_pair(row) else f"*->{row['her2']}"
    return {
        "fact_id": ".".join(filter(None, ("status_counts", factor, level, str(row["her2"])))),
        "factor": "" if _is_pair(row) else factor,
        "level": "" if _is_pair(row) else level,
        "cells": cells,
        "relation": "=" if _is_pair(row) else relation,
        "value": int(row["count"]),
        "reading": "",
        "locator": row["locator"],
        "claim_id": "",
    }


def _other_levels(
    study: Study, printed: pd.DataFrame, factor: str, rows: Sequence[dict[Any, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield empty facts for levels nobody counts: without them the others would be all patients."""
    if not factor or study.factors[factor].open:
        return
    named = {row["level"] for row in rows} | set(printed.loc[printed["factor"] == factor, "level"])
    for level in study.factors[factor].levels:
        if level not in named:
            yield _size(factor, level, ">=", 0, "study.toml")


def _size(factor: str, level: str, relation: str, patients: int, locator: str) -> dict[str, Any]:
    return {
        "fact_id": f"size.{factor}.{level}", "factor": factor, "level": level, "cells": "*->*",
        "relation": relation, "value": patients, "reading": "", "locator": locator, "claim_id": "",
    }  # fmt: skip


def _form(fact: dict[Any, Any], her2: Sequence[str]) -> tuple[Any, ...]:
    cells = tuple(cell_mask(str(fact["cells"]), her2).ravel())
    return fact["factor"], fact["level"], cells, fact["relation"], int(fact["value"])


def _pairs(printed: pd.DataFrame) -> int | None:
    """Patients with two readings, where it is printed, or a whole margin of theirs."""
    rows = printed[(printed["factor"] == "") & (printed["relation"] == "=")]
    rows = rows[[len(cells_of(str(cells))) == 1 for cells in rows["cells"]]]
    for pattern in (r"\*->\*", r"[^*]+->\*", r"\*->[^*]+"):
        margin = rows[rows["cells"].str.replace(" ", "").str.fullmatch(pattern)]
        if not margin.empty and margin["cells"].is_unique:
            return int(margin["value"].sum())
    return None


def _contradict(
    without: pd.DataFrame, joined: pd.DataFrame, factor: str, her2: Sequence[str]
) -> bool:
    """Tell whether every reading that had a table loses it by the facts that are added."""
    names = (factor,) if factor else ()
    possible = [
        [one_table(table_set(some, her2, names, reading)) is not None for some in (without, joined)]
        for reading in readings(joined)
    ]
    return any(before for before, _ in possible) and not any(after for _, after in possible)

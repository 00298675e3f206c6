"""StudyPairs: tables of primary against recurrence of several studies, whole, coarse or in part.

``strata`` has one row a study (and level), ``pairs`` the cells that are known, each a sum over
classes, ``tables`` all tables of a study that prints only facts about its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.printed.design import PAIRS
from her2bayes.evidence.printed.study import Study
from her2bayes.evidence.printed.vocabulary import PRIMARY, STATUS
from her2bayes.synthesis.studies import (
    Left,
    Source,
    atoms,
    common_classes,
    moderators_of,
)
from her2bayes.transition.facts import TableSet, pair_facts, table_set
from her2bayes.transition.polytope import (
    TooManyTablesError,
    cell_bounds,
    conflict,
    listed_tables,
)
from her2bayes.transition.rows import STUDY

FROM_PATIENTS = PAIRS[0]
LIMIT = 200_000
"""Partial tables that one study may have while its tables are listed."""

Atoms = frozenset[str]


@dataclass(frozen=True)
class Cells:
    """Known cells of one stratum: patients whose classes lie in two sets; ``table``: facts only."""

    study: str
    level: str
    counts: Mapping[tuple[Atoms, Atoms], int]
    table: TableSet | None = None

    @property
    def sets(self) -> Iterator[Atoms]:
        """What the classes of its table are."""
        yield from (one for pair in self.counts for one in pair)
        if self.table is not None:
            yield from (atoms(None, name) for name in self.table.her2)

    @property
    def pairs(self) -> int:
        """Pairs of patients of which something is known."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class StudyPairs:
    """Data of ``study_transitions.build``, pairs of each study, and who is left out and why."""

    data: Mapping[str, xr.Dataset]
    patients: Mapping[str, int]
    within: str
    left_out: Mapping[str, str]

    @property
    def classes(self) -> list[str]:
        """HER2 classes that all studies are expressed in."""
        return [str(name) for name in self.data["strata"]["her2"].values]


def study_pairs(
    given: Sequence[Source],
    moderators: str | Iterable[str] = (),
    *,
    pairs: str = "",
    readings: Mapping[str, str] | None = None,
) -> StudyPairs:
    """StudyPairs of printed studies and patients.

    ``pairs`` says which pairs of readings are meant ("primary to recurrence", ...): studies of
    others are left out. ``readings`` names the reading of a study's facts. Raises ``BadInput``
    where studies of different pairs would be pooled, for facts that contradict each other, and
    where fewer than two studies remain.
    """
    found, classes, within, left = known_cells(given, moderators, pairs=pairs, readings=readings)
    data = strata_of(found, classes, within)
    size = dict[str, int]()
    for cells, n in zip(found, data["strata"]["size"].values, strict=True):
        size[cells.study] = size.get(cells.study, 0) + int(n)
    return StudyPairs(data, size, within, left.why)


def known_cells(
    given: Sequence[Source],
    moderators: str | Iterable[str] = (),
    *,
    pairs: str = "",
    readings: Mapping[str, str] | None = None,
) -> tuple[list[Cells], Mapping[str, Atoms], str, Left]:
    """Known cells of each stratum, common classes, factor within studies, and who is left out.

    Arguments and errors as in ``study_pairs``.
    """
    between, within = moderators_of(moderators)
    if between:
        remedy = "fit studies of each setting apart"
        raise BadInput(Fault("transitions take no moderator of studies", value=between[0],
                             remedy=remedy))  # fmt: skip
    left = Left()
    found: list[Cells] = []
    faults: list[Fault] = []
    for one in _of_one_kind(given, pairs, left):
        if one.study is None:
            found += _of_patients(one, within)
        else:
            found += _of_study(one.name, one.study, within, (readings or {}).get(one.name, ""),
                               left, faults)  # fmt: skip
    raise_if(faults)
    left.enough((cells.study for cells in found), "transitions")
    classes = common_classes(one for cells in found for one in cells.sets)
    found = _expressible(found, classes, left)
    left.enough((cells.study for cells in found), "transitions")
    return found, classes, within, left


def kind_of(one: Source) -> str:
    """Which pairs of readings a study is of; patients are primary and recurrence."""
    said = str(one.meta.get("pairs", ""))
    return said or (FROM_PATIENTS if one.study is None else "")


def _of_one_kind(given: Sequence[Source], pairs: str, left: Left) -> list[Source]:
    kinds = {one.name: kind_of(one) for one in given}
    several = sorted({kind for kind in kinds.values() if kind})
    if not pairs and len(several) > 1:
        remedy = "say which, e.g. pairs='" + several[0] + "': the others are left out"
        problem = "studies of different pairs are not pooled"
        raise BadInput(Fault(problem, value="; ".join(several), remedy=remedy))
    wanted = pairs or "".join(several)
    for one in given:
        if kinds[one.name] != wanted:
            left.out(one, f"its pairs are {kinds[one.name] or 'not said (study.toml)'}")
    return [one for one in given if kinds[one.name] == wanted]


def _of_patients(one: Source, within: str) -> Iterator[Cells]:
    from her2bayes.evidence.patients.aggregate import transition_counts

    table = transition_counts(one.patients, (within,) if within else ())
    holds = table["incidence"].transpose("reading", "her2").values.astype(bool)
    known = [atoms(None, str(name)) for name in table["her2"].values]
    sets = [frozenset[str]().union(*(c for c, inside in zip(known, row, strict=True) if inside))
            for row in holds]  # fmt: skip
    for at in range(table.sizes["stratum"]):
        here = table.isel(stratum=at)
        counts: dict[tuple[Atoms, Atoms], int] = {}
        values = here["counts"].transpose("primary_reading", "recurrence_reading").values
        for i, a in enumerate(sets):
            for j, b in enumerate(sets):
                single = a in known and b in known
                if single or values[i, j]:
                    counts[a, b] = counts.get((a, b), 0) + int(values[i, j])
        yield Cells(one.name, str(here[within].item()) if within else "", counts)


def _of_study(
    name: str, study: Study, within: str, reading: str, left: Left, faults: list[Fault]
) -> Iterator[Cells]:
    source = Source(name, study)
    if study.transition_facts.empty or STATUS not in study.factors:
        left.out(source, "no facts on transitions are printed")
        return
    facts = pair_facts(study).facts  # with the margins that its table of HER2 status prints
    factors = [f for f in dict.fromkeys(facts["factor"]) if f]
    if within and within not in factors:
        left.out(source, f"no transitions by {within} are printed")
        return
    own = study.factors[STATUS], study.factors.get(PRIMARY, study.factors[STATUS])
    her2 = tuple(dict.fromkeys(level for factor in own for level in factor.levels))
    tables = table_set(facts, her2, (within,) if within else (), reading)
    if wrong := conflict(tables):
        text = ", ".join(wrong)
        faults.append(Fault(f"no table of study '{name}' agrees with its facts", value=text))
        return
    sets = {level: [atoms(factor, level) for factor in own] for level in her2}
    low, high = _bounds(tables, facts, () if within else factors)
    if reason := _unusable(study, sets, low, high):
        left.out(source, reason)
        return
    for at, stratum in enumerate(tables.strata):
        level = dict(stratum).get(within, "")
        if (low[at] == high[at]).all():
            yield Cells(name, level, _summed(low[at], her2, sets))
        elif len(tables.strata) == 1 and all(atoms(None, level) for level in her2):
            yield Cells(name, level, {}, tables)
        else:
            by_level = f" by {within}" if within else ", and in classes of its own"
            left.out(source, f"its table is printed in part{by_level}")
            return


def _bounds(
    tables: TableSet, facts: pd.DataFrame, factors: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the cells; where strata of a factor are printed, their sum is the whole table."""
    low, high = cell_bounds(tables)
    if factors and (low != high).any():
        finer = table_set(facts, tables.her2, factors[:1], tables.reading)
        if not conflict(finer):
            bounds = [bound.sum(0, keepdims=True) for bound in cell_bounds(finer)]
            low, high = np.maximum(low, bounds[0]), np.minimum(high, bounds[1])
    return low, high


def _unusable(
    study: Study, sets: Mapping[str, Sequence[Atoms]], low: np.ndarray, high: np.ndarray
) -> str:
    """Why a table cannot enter; empty where it can."""
    if unclear := [level for level, (a, b) in sets.items() if not (a or b)]:
        return f"what {', '.join(unclear)} means is not said (study.toml, means)"
    total = int(high.sum()) if (low == high).all() else 0
    if total > int(study.meta["patients"]):
        said = f"{total} pairs of {study.meta['patients']} patients"
        return f"{said}: pairs of one patient are not independent"
    return ""


def _summed(
    table: np.ndarray, her2: Sequence[str], sets: Mapping[str, Sequence[Atoms]]
) -> dict[tuple[Atoms, Atoms], int]:
    """Cells in common classes; levels that only one end has are on that end alone."""
    found: dict[tuple[Atoms, Atoms], int] = {}
    for i, a in enumerate(her2):
        for j, b in enumerate(her2):
            first, second = sets[a][1], sets[b][0]
            if first and second:
                found[first, second] = found.get((first, second), 0) + int(table[i, j])
    return found


def _expressible(found: Sequence[Cells], classes: Mapping[str, Atoms], left: Left) -> list[Cells]:
    """Studies whose cells are sums over the common classes; latent tables need those classes."""
    kept = []
    for cells in found:
        source = Source(cells.study)
        if cells.table is None:
            kept.append(cells)
            continue
        if list(cells.table.her2) != list(classes):
            left.out(source, "its table is printed in part, in classes the others do not have")
            continue
        try:
            listed_tables([cells.table], LIMIT)
        except TooManyTablesError:
            left.out(source, f"more than {LIMIT:,} tables agree with what it prints")
            continue
        except BadInput as bad:
            left.out(source, "; ".join(fault.problem for fault in bad.faults))
            continue
        kept.append(cells)
    return kept


def strata_of(
    found: Sequence[Cells], classes: Mapping[str, Atoms], within: str = ""
) -> dict[str, xr.Dataset]:
    """Data of ``study_transitions.build`` of the cells of each stratum, in common classes."""
    names = [" ".join(filter(None, (cells.study, cells.level))) for cells in found]
    factors = [STUDY, *([within] if within else [])]
    tables = [
        TableSet((((STUDY, c.study), *(((within, c.level),) if within else ())),), c.table.her2,
                 c.table.form, c.table.lower, c.table.upper, c.table.fact_id, c.table.reading)
        for c in found if c.table is not None
    ]  # fmt: skip
    listed = listed_tables(tables, LIMIT) if tables else None
    size = [cells.pairs for cells in found]
    if listed is not None:
        of = iter(listed["patients"].values.tolist())
        size = [next(of) if cells.table is not None else n
                for n, cells in zip(size, found, strict=True)]  # fmt: skip
        latent = [name for name, cells in zip(names, found, strict=True) if cells.table is not None]
        listed = listed.assign_coords(stratum=latent).merge(_facts(latent, tables))
    coords: dict[str, Any] = {"stratum": names, "her2": list(classes)}
    coords[STUDY] = ("stratum", [cells.study for cells in found])
    if within:
        coords[within] = ("stratum", [cells.level for cells in found])
    strata = xr.Dataset({"size": ("stratum", size)}, coords, {"factors": factors})
    entries = list(_binomials(found, list(classes.values())))
    data = {"strata": strata}
    if entries:
        at, n, y, inside, rest = (np.array(column) for column in zip(*entries, strict=True))
        data["pairs"] = xr.Dataset(
            {"at": ("entry", at), "n": ("entry", n), "y": ("entry", y),
             "inside": (("entry", "read_pair"), inside.astype(float)),
             "rest": (("entry", "read_pair"), rest.astype(float))}
        )  # fmt: skip
    return data | ({"tables": listed} if listed is not None else {})


def _facts(names: Sequence[str], tables: Sequence[TableSet]) -> xr.Dataset:
    """What tables printed in part say: ``least`` and ``most`` of the sum of ``form`` by fact.

    One fact a form: a least and a most count of the same sum are one. ``of`` is its stratum.
    """
    rows = []
    for name, table in zip(names, tables, strict=True):
        for form in dict.fromkeys(map(tuple, table.form[:, 0].reshape(len(table.form), -1))):
            same = (table.form[:, 0].reshape(len(table.form), -1) == form).all(1)
            rows.append((name, np.reshape(form, table.form.shape[2:]), table.lower[same].max(),
                         table.upper[same].min()))  # fmt: skip
    of, form, least, most = zip(*rows, strict=True)
    return xr.Dataset({
        "of": ("fact", list(of)), "form": (("fact", "her2_primary", "her2"), np.array(form)),
        "least": ("fact", np.array(least)), "most": ("fact", np.array(most)),
    })  # fmt: skip


def _binomials(
    found: Sequence[Cells], classes: Sequence[Atoms]
) -> Iterator[tuple[int, int, int, np.ndarray, np.ndarray]]:
    """Binomials of each stratum: its place, n, y, cells that count, cells of n."""

    def place(pair: tuple[Atoms, Atoms]) -> np.ndarray:
        first, second = ([members <= one for members in classes] for one in pair)
        return np.outer(first, second).ravel()

    for at, cells in enumerate(found):
        known = {pair: place(pair) for pair in cells.counts}
        part = _partition(known)
        covered = np.any([known[pair] for pair in part], axis=0) if part else np.zeros(0)
        left, rest = sum(cells.counts[pair] for pair in part), covered.copy()
        for pair in part[:-1]:
            yield at, left, cells.counts[pair], known[pair], rest.copy()
            left -= cells.counts[pair]
            rest &= ~known[pair]
        for pair, holds in known.items():
            if pair not in part and not holds.all():
                yield at, cells.counts[pair], cells.counts[pair], holds, np.ones_like(covered)


def _partition(known: Mapping[tuple[Atoms, Atoms], np.ndarray]) -> list[tuple[Atoms, Atoms]]:
    """Cells that share no pair of classes: all, or those of one pair where others overlap."""
    if not known:
        return []
    if (np.sum(list(known.values()), axis=0) <= 1).all():
        return list(known)
    return [pair for pair, holds in known.items() if holds.sum() == 1]

"""Printed responses of a study become ResponseCounts: disjoint levels, complements by subtraction.

Where a paper prints some levels of a factor only, the patients left over are counted by taking the
printed levels from all patients whose level is known: as the one level missing where the factor has
just one more, else as ``OTHERS``. Where the patients left over include some whose level nobody
knows (a gene that was sequenced in some), their responses say nothing of the level missing: it has
no counts unless those of all patients with a known level are printed, and is kept as a ``Rest``.

How many patients of a study have no known level of a factor, as its printed numbers say.

A gene is known of the tumours that were sequenced (a factor nested in one that not all patients
have), PD-L1 of those who were tested. Everybody else has no level: they are not "without".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Estimand, parse
from her2bayes.evidence.printed.design import Factor

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.evidence.printed.design import Factor
    from her2bayes.evidence.printed.study import Study


UNKNOWN_NAMES = frozenset(
    ("unknown", "not known", "missing", "not tested", "untested", "not available", "not reported",
     "not evaluable", "not assessed")
)  # fmt: skip
"""Levels that say that nobody knows the level, in whatever list they stand."""


def is_unknown(level: str) -> bool:
    """Tell whether a level is the absence of one."""
    return level.strip().lower() in UNKNOWN_NAMES


def patients_unknown(study: Study, factor: Factor) -> int | None:
    """Patients without a known level of ``factor``; None where nothing printed counts them.

    In this order: those outside the parent's levels that the factor is nested in; those whom its
    levels leave over, where all are printed; its unknown levels; those outside the smallest
    denominator of its printed shares.
    """
    everyone = int(study.meta["patients"])
    above = study.factors.get(factor.parent)
    if above is not None:
        covered = set(factor.within.values())
        if covered >= set(above.levels):
            return patients_unknown(study, above)
        known = _sum(study, above, covered)
        return None if known is None else max(0, everyone - known)
    known = _sum(study, factor, [level for level in factor.levels if not is_unknown(level)])
    if known is not None:
        return max(0, everyone - known)
    if unknown := unknown_levels(factor):
        return _sum(study, factor, unknown)
    of = [of for asked, _, of in _counted(study) if of and not asked.given
          and asked.outcome.partition("=")[0] == factor.name]  # fmt: skip
    return everyone - min([*of, everyone])


def unknown_levels(factor: Factor) -> list[str]:
    """Levels declared unknown, and those whose name says so."""
    return [*factor.unknown, *(level for level in factor.levels if is_unknown(level))]


def _sum(study: Study, factor: Factor, levels: Iterable[str]) -> int | None:
    total = 0
    for level in levels:
        patients = _patients_of(study, factor.name, level)
        if patients is None:
            return None
        total += patients
    return total


def _patients_of(study: Study, factor: str, level: str) -> int | None:
    """Patients of a level where one count of them is printed; else a denominator, if only one."""
    counts, denominators = set[int](), set[int]()
    for asked, count, of in _counted(study):
        if asked.given == ((factor, level),):
            if asked.kind == "count" and not asked.outcome:
                counts.add(count)
            elif of:
                denominators.add(of)
        elif not asked.given and asked.outcome == f"{factor}={level}":
            counts.add(count)
    rows = study.responses
    here = (rows["factor"] == factor) & (rows["level"] == level)
    found = counts or denominators | set(rows.loc[here, "patients"])
    return int(next(iter(found))) if len(found) == 1 else None


def _counted(study: Study) -> Iterator[tuple[Estimand, int, int]]:
    """Estimand, numerator and denominator (0: none) of every printed count and percentage."""
    for row in study.ledger.to_dict("records"):
        if pd.isna(row["numerator"]) or row["reading"]:
            continue
        share = row["statistic"] == "percentage" and not pd.isna(row["denominator"])
        yield (
            parse(str(row["estimand"])),
            int(row["numerator"]),
            (int(row["denominator"]) if share else 0),
        )


OTHERS = "all others"
"""Level of the patients of a factor whose own level is not printed."""

_FILE = "responses.csv"


@dataclass(frozen=True)
class Rest:
    """Patients of a factor beside the levels whose responses are counted.

    ``name`` is their level where there is one; ``others`` have a known level (None: how many is not
    said), between ``fewest`` and ``most`` of them responded; ``unknown`` patients have no known
    level (None: not said). ``others`` is 0 where the responses of all known levels are counted.
    """

    name: str
    others: int | None
    fewest: int
    most: int
    unknown: int | None


@dataclass(frozen=True)
class Responses:
    """What a study prints on responses.

    ``response`` is the factor of the best response; ``counts`` holds ResponseCounts by (group of
    responses, factor), factor empty for all patients; ``best`` counts of the single categories by
    factor (dims subgroup, category), where what is printed determines them; ``rests`` the patients
    that ``counts`` of a factor leave out.
    """

    response: Factor
    counts: Mapping[tuple[str, str], xr.Dataset]
    best: Mapping[str, xr.DataArray]
    rests: Mapping[tuple[str, str], Rest]


def read_responses(study: Study) -> Responses | None:
    """Arrange ``study.responses``; None where there are none.

    Raises ``BadInput`` where levels hold more patients or responders than all patients do.
    """
    rows = study.responses
    response = _response_factor(study.factors, rows)
    if response is None:
        return None
    groups = [name for name in response.groups if name in set(rows["category"])]
    factors = list(dict.fromkeys(rows["factor"]))
    faults: list[Fault] = []
    counts: dict[tuple[str, str], xr.Dataset] = {}
    rests: dict[tuple[str, str], Rest] = {}
    for group in groups:
        everyone = _cells(rows, group, "").get("")
        for name in factors:
            printed = _cells(rows, group, name)
            if name and printed and everyone:
                split = _Split(study, study.factors[name], group, printed, everyone)
                faults += split.faults()
                printed, rest = split.completed()
                if rest.unknown != 0:
                    rests[group, name] = rest
            if printed:
                counts[group, name] = _dataset(name, printed)
    raise_if(faults)
    return Responses(response, counts, _best(response, rows, groups, counts), rests)


def _response_factor(factors: Mapping[str, Factor], rows: pd.DataFrame) -> Factor | None:
    known = set(rows["category"]) if len(rows) else set()
    for factor in factors.values():
        if factor.groups and known & {*factor.levels, *factor.groups}:
            return factor
    return None


def _cells(rows: pd.DataFrame, category: str, factor: str) -> dict[str, tuple[int, int]]:
    """Responders and patients by level."""
    kept = rows[(rows["category"] == category) & (rows["factor"] == factor)]
    return {
        str(level): (int(count), int(patients))
        for level, count, patients in zip(
            kept["level"], kept["count"], kept["patients"], strict=True
        )
    }


Cell = tuple[int, int]


@dataclass(frozen=True)
class _Split:
    """Responders and patients of a factor's printed levels, and of all patients."""

    study: Study
    factor: Factor
    group: str
    printed: dict[str, Cell]
    everyone: Cell

    def faults(self) -> list[Fault]:
        responders, patients = _less(self.everyone, self.printed.values())
        if 0 <= responders <= patients:
            return []
        remedy = "correct the counts, or leave out levels that overlap"
        problem = f"levels of '{self.factor.name}' do not fit into all patients"
        found = f"{responders} responders of {patients} patients are left over"
        return [Fault(problem, _FILE, None, "count", found, None, remedy)]

    def completed(self) -> tuple[dict[str, Cell], Rest]:
        """Counted levels with the one that subtraction gives, and the patients left out."""
        none = unknown_levels(self.factor)
        levels = {k: v for k, v in self.printed.items() if k not in none}
        missing = [level for level in self.factor.levels if level not in (*levels, *none)]
        left = _less(self.everyone, self.printed.values())
        if not missing:
            left_over = self.everyone[1] - sum(n for _, n in levels.values())
            return levels, Rest("", 0, 0, 0, left_over)
        name = missing[0] if len(missing) == 1 else OTHERS
        unknown = self._unknown()
        within = self.everyone if unknown == 0 else self._known_cell()
        if within is not None:
            rest = _less(within, levels.values())
            if 0 <= rest[0] <= rest[1]:
                more = {name: rest} if rest[1] else {}
                return {**levels, **more}, Rest("", 0, 0, 0, self.everyone[1] - within[1])
        if unknown is None:
            return levels, Rest(name, None, 0, left[0], None)
        others = max(0, left[1] - unknown)
        fewest, most = max(0, left[0] - unknown), min(others, left[0])
        return levels, Rest(name, others, fewest, most, unknown)

    def _unknown(self) -> int | None:
        """Patients of no known level; None too where responses are of part of the patients."""
        unknown = patients_unknown(self.study, self.factor)
        whole = self.everyone[1] == self.study.meta["patients"]
        return unknown if whole or unknown == 0 else None

    def _known_cell(self) -> Cell | None:
        """Responders and patients of a known level, where their counts are printed."""
        none = unknown_levels(self.factor)
        unknown = [self.printed[level] for level in none if level in self.printed]
        if unknown and len(unknown) == len(none):
            return _less(self.everyone, unknown)
        above = _cells(self.study.responses, self.group, self.factor.parent)
        levels = dict.fromkeys(self.factor.within.values())
        if not levels or not above.keys() >= levels.keys():
            return None
        cells = [above[level] for level in levels]
        return sum(y for y, _ in cells), sum(n for _, n in cells)


def _less(all_: Cell, parts: Iterable[Cell]) -> Cell:
    """Responders and patients that remain of ``all_``."""
    responders, patients = all_
    for y, n in parts:
        responders, patients = responders - y, patients - n
    return responders, patients


def _dataset(factor: str, printed: Mapping[str, tuple[int, int]]) -> xr.Dataset:
    levels = list(printed)
    values = np.array(list(printed.values()), dtype=np.int64)
    return xr.Dataset(
        {"responders": ("subgroup", values[:, 0]), "patients": ("subgroup", values[:, 1])},
        coords={
            "subgroup": [level or "all" for level in levels],
            "factor": ("subgroup", [factor] * len(levels)),
            "level": ("subgroup", levels),
        },
    )


def _best(
    response: Factor,
    rows: pd.DataFrame,
    groups: list[str],
    counts: Mapping[tuple[str, str], xr.Dataset],
) -> dict[str, xr.DataArray]:
    """Counts of the categories by factor; a category no patient has is empty in every level."""
    whole = {c: _cells(rows, c, "").get("") for c in response.levels}
    if any(cell is None for cell in whole.values()):
        return {}
    overall = {category: cell[0] for category, cell in whole.items() if cell}
    found = {"": _categories([list(overall.values())], [""], response)}
    chain = _chain(response, groups)
    for factor in dict.fromkeys(name for _, name in counts if name):
        tables = [counts.get((group, factor)) for group in chain]
        if not chain or any(table is None for table in tables):
            continue
        table = _split(response, chain, [t for t in tables if t is not None], overall)
        if table is not None:
            found[factor] = table
    return found


def _chain(response: Factor, groups: list[str]) -> list[str]:
    """Groups in the order in which each holds the one before; empty where they do not nest."""
    ordered = sorted(groups, key=lambda name: len(response.groups[name]))
    nested = all(set(response.groups[a]) < set(response.groups[b]) for a, b in pairwise(ordered))
    return ordered if nested else []


def _split(
    response: Factor, chain: list[str], tables: list[xr.Dataset], overall: Mapping[str, int]
) -> xr.DataArray | None:
    levels = [str(level) for level in tables[0]["level"].values]
    if any([str(level) for level in t["level"].values] != levels for t in tables):
        return None
    cumulated = [t["responders"].values for t in tables] + [tables[0]["patients"].values]
    cells = {category: np.zeros(len(levels), dtype=np.int64) for category in response.levels}
    before, below = set[str](), np.zeros(len(levels), dtype=np.int64)
    for members, upto in zip(
        [*(response.groups[name] for name in chain), response.levels], cumulated, strict=True
    ):
        open_ = [c for c in members if c not in before and overall[c]]
        if len(open_) > 1 or (np.asarray(upto) < below).any():
            return None  # two categories share the step, or the groups contradict each other
        if open_:
            cells[open_[0]] = upto - below
        before, below = before | set(members), upto
    return _categories(np.array(list(cells.values())).T.tolist(), levels, response)


def _categories(table: list[list[int]], levels: list[str], response: Factor) -> xr.DataArray:
    return xr.DataArray(
        np.array(table, dtype=np.int64),
        dims=("subgroup", "category"),
        coords={
            "subgroup": [level or "all" for level in levels],
            "category": list(response.levels),
            "level": ("subgroup", levels),
        },
    )

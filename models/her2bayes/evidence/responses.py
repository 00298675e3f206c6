"""Printed responses of a study become ResponseCounts: disjoint levels, complements by subtraction.

Where a paper prints some levels of a factor only, the patients left over are counted by taking the
printed levels from all patients: as the one level missing where the factor has just one more, else
as ``OTHERS`` (of a gene tested in some patients the rest is "wild type or not tested").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.design import Factor

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.evidence.study import Study

OTHERS = "all others"
"""Level of the patients of a factor whose own level is not printed."""

_FILE = "responses.csv"


@dataclass(frozen=True)
class Responses:
    """What a study prints on responses.

    ``response`` is the factor of the best response; ``counts`` holds ResponseCounts by (group of
    responses, factor), factor empty for all patients; ``best`` counts of the single categories by
    factor (dims subgroup, category), where what is printed determines them.
    """

    response: Factor
    counts: Mapping[tuple[str, str], xr.Dataset]
    best: Mapping[str, xr.DataArray]


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
    for group in groups:
        everyone = _cells(rows, group, "").get("")
        for name in factors:
            printed = _cells(rows, group, name)
            if name and printed and everyone:
                printed, more = _completed(study.factors[name], printed, everyone)
                faults += more
            if printed:
                counts[group, name] = _dataset(name, printed)
    raise_if(faults)
    return Responses(response, counts, _best(response, rows, groups, counts))


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


def _completed(
    factor: Factor, printed: dict[str, tuple[int, int]], everyone: tuple[int, int]
) -> tuple[dict[str, tuple[int, int]], list[Fault]]:
    left = tuple(all_ - sum(column) for all_, column in zip(everyone, zip(*printed.values(),
                 strict=True), strict=True))  # fmt: skip
    responders, patients = left
    if not 0 <= responders <= patients:
        remedy = "correct the counts, or leave out levels that overlap"
        problem = f"levels of '{factor.name}' do not fit into all patients"
        found = f"{responders} responders of {patients} patients are left over"
        return printed, [Fault(problem, _FILE, None, "count", found, None, remedy)]
    if not patients:
        return printed, []
    missing = [level for level in factor.levels if level not in printed]
    name = missing[0] if len(missing) == 1 and not factor.parent else OTHERS
    return {**printed, name: (responders, patients)}, []


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

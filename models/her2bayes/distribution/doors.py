"""Doors of ``fit_distribution``: contracts of what a user gives, and what to call it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from her2bayes.distribution import cells as cell_tables
from her2bayes.distribution.draws import Standard
from her2bayes.errors import BadInput, Fault, raise_if, suggestion
from her2bayes.evidence.patients.aggregate import status_counts
from her2bayes.evidence.patients.counts import NUMBERS, Counts, read_counts
from her2bayes.evidence.patients.follow_up import factor_name
from her2bayes.evidence.patients.patients import read_patients

if TYPE_CHECKING:
    import pandas as pd

By = str | Sequence[str] | Mapping[str, Sequence[str] | None]
Tables = dict[str, xr.DataArray] | xr.Dataset


@dataclass(frozen=True)
class Source:
    """What a source is called, whose it is, what became of its rows."""

    name: str
    about: Mapping[str, str] = field(default_factory=dict)
    flow: pd.DataFrame | None = None


def contracts(
    data: Any, by: By | None, *, classes: Sequence[str] | None, end: str
) -> tuple[Tables, Source]:
    """Contracts of what the user gave, and what to call it."""
    if isinstance(data, xr.DataArray):
        return {_factor_of(data): data}, Source("counts")
    if isinstance(data, Mapping) and all(isinstance(v, xr.DataArray) for v in data.values()):
        return _chosen(dict(data), by), Source("counts")
    if isinstance(data, xr.Dataset):
        return _with_levels(data, by), Source("counts")
    if isinstance(data, Counts):
        return _counted(data, by), Source(data.name, {"digest": data.digest})
    patients = read_patients(data, classes=classes)
    if patients.cohort is None and set(NUMBERS) & set(patients.columns):
        counts = read_counts(data, classes=classes)
        return _counted(counts, by), Source(counts.name, {"digest": counts.digest})
    ordered = [f for f, levels in by.items() if levels] if isinstance(by, Mapping) else []
    cells = status_counts(patients, by or (), classes, her2=end).assign_attrs(ordered=ordered)
    about = {"title": patients.name, "citation": patients.file, "digest": patients.digest}
    if patients.cohort is None:
        return cells, Source(patients.name, about)
    cohort = patients.cohort
    citation = cohort.source.get("citation", "")
    about |= {"id": cohort.id, "design": "patient data", "citation": citation}
    return cells, Source(cohort.title, about, cohort.flow)


def _factor_of(counts: xr.DataArray) -> str:
    named = {str(f) for f in counts["factor"].values} if "factor" in counts.coords else {"subgroup"}
    return named.pop() if len(named) == 1 else "subgroup"


def _chosen(tables: dict[str, xr.DataArray], by: By | None) -> dict[str, xr.DataArray]:
    """Tables of the factors asked for, then that of all patients."""
    asked = names(by)
    if asked is None:
        return tables
    known = [f for f in tables if f]
    raise_if(
        [
            Fault("no counts by this factor", column="by", value=f, allowed=", ".join(known),
                  remedy=suggestion(f, known))
            for f in asked if f not in tables
        ]
    )  # fmt: skip
    return {f: tables[f] for f in (*asked, *(("",) if "" in tables else ()))}


def _with_levels(cells: xr.Dataset, by: By | None) -> xr.Dataset:
    """StatusCells with their factors and levels in order."""
    factors = cells.attrs.get("factors")
    if factors is None:
        factors = [
            str(c) for c in cells.coords if cells[c].dims == ("subgroup",) and c != "subgroup"
        ]
    asked = by if isinstance(by, Mapping) else {}
    wrong = [f for f in names(by) or () if f not in factors]
    raise_if(
        [
            Fault("no such factor", column="by", value=f, allowed=", ".join(factors),
                  remedy=suggestion(f, factors))
            for f in wrong
        ]
    )  # fmt: skip
    kept = names(by) if by is not None else factors
    cells = cells.assign_attrs(factors=list(factors))
    if len(kept or []) < len(factors):
        cells = cell_tables.summed(cells, kept or [])
    levels = {f: list(v) for f, v in asked.items() if v}
    return cells.assign_attrs(levels=cells.attrs.get("levels", {}) | levels, ordered=list(levels))


def _counted(counts: Counts, by: By | None) -> Tables:
    """Contracts of a table of counts: a table a factor, or cells of crossed factors."""
    asked = None if by is None else [factor_name(name) for name in names(by) or ()]
    crossed = len(counts.tables) == 1 and len(cell_tables.factors_of(_only(counts))) > 1
    open_ = {f: _left_open(one) for f, one in counts.tables.items()}
    if crossed:
        return _with_levels(_only(counts), by)
    if not any(open_.values()):
        tables = {f: cell_tables.one_level(one, f) for f, one in counts.tables.items()}
        return _chosen(tables, asked)
    known = [f for f in counts.tables if f and (asked is None or f in asked)]
    if len(known) > 1:
        problem = "several factors, and readings of several classes or none"
        remedy = f"one of them at a time: by='{known[0]}'"
        raise BadInput(Fault(problem, file=counts.name, value=", ".join(known), remedy=remedy))
    return _with_levels(counts.tables[(known or [""])[0]], None)


def cells_from(counts: xr.DataArray, factor: str) -> xr.Dataset:
    """StatusCells of a table of one factor: the contract of a user's own model."""
    classes = [str(name) for name in counts["her2"].values]
    named = counts["level"].values if "level" in counts.coords else counts["subgroup"].values
    holds = xr.DataArray(np.eye(len(classes), dtype=bool), dims=("reading", "her2"))
    table = counts.transpose("subgroup", "her2").values
    return xr.Dataset(
        {"counts": (("subgroup", "reading"), table), "incidence": holds},
        coords={
            "subgroup": counts["subgroup"].values, "reading": classes, "her2": classes,
            **({factor: ("subgroup", named.astype(str))} if factor else {}),
        },
        attrs={"factors": [factor] if factor else []},
    )  # fmt: skip


def _only(counts: Counts) -> xr.Dataset:
    return next(iter(counts.tables.values()))


def _left_open(cells: xr.Dataset) -> int:
    data = cell_tables.split(cells)
    return int(data["partial"].sum() + data["unknown"].sum())


def names(by: By | None) -> list[str] | None:
    """Names of the factors asked for, None where nothing is asked."""
    if by is None:
        return None
    return [by] if isinstance(by, str) else list(by)


def population(given: Any, cells: xr.Dataset) -> Standard | None:
    """Population of a frame with a column for each factor and ``weight``."""
    if given is None:
        return None
    import pandas as pd

    frame = pd.DataFrame(given)
    factors = cell_tables.factors_of(cells)
    missing = [name for name in (*factors, "weight") if name not in frame]
    faults = [Fault("no such column in standard", column=name) for name in missing]
    raise_if(faults)
    for factor in factors:
        known = cell_tables.levels_of(cells, factor)
        faults += [
            Fault("a level of standard is not among the patients", None, None, factor, level,
                  ", ".join(known))
            for level in dict.fromkeys(frame[factor].astype(str)) if level not in known
        ]  # fmt: skip
    weight = pd.to_numeric(frame["weight"], errors="coerce")
    if not (weight >= 0).all() or not weight.sum() > 0:
        faults.append(Fault("weights are numbers, none negative, not all 0", column="weight"))
    raise_if(faults)
    rows = {f: tuple(frame[f].astype(str)) for f in factors}
    return rows, tuple(float(w) for w in weight)

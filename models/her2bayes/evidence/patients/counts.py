"""Door for tables of counts: HER2 status by one factor at a time, or by crossed factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import Fault, nearest, raise_if
from her2bayes.evidence.classify import CATEGORIES, UNKNOWN
from her2bayes.evidence.patients.aggregate import ALL, reading_of, status_cells
from her2bayes.evidence.patients.follow_up import factor_name
from her2bayes.evidence.patients.follow_up_checks import in_order
from her2bayes.evidence.read_table import SHOWN, TextTable, as_arrow, levels_in_order, text_table

NUMBERS = ("n", "count")
"""Columns that may hold the numbers of patients."""
MOST = 10**10
"""More patients than there are people are a misread number."""
_LONG = ("factor", "level")
_NOT_USED = ("locator", "note")


@dataclass(frozen=True, repr=False)
class Counts:
    """Tables of HER2 counts; ``print`` it for an overview.

    ``tables`` holds a contract a table (StatusCounts, see ``status_counts``): by factor where each
    factor has its own table of the same patients ("" is all patients), or one for all crossed
    factors, whose names stand in its key.
    """

    name: str
    tables: Mapping[str, xr.Dataset]
    classes: tuple[str, ...]
    digest: str
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        """Patients and subgroups by table, classes, what was noted."""
        lines = [f"{self.name}: HER2 {', '.join(self.classes)}"]
        for factor, table in self.tables.items():
            patients, subgroups = table.attrs["patients"], table.sizes["subgroup"]
            lines.append(f"  {factor or ALL}: {patients:,} patients in {subgroups} subgroups")
        return "\n".join([*lines, *self.notes])

    def __repr__(self) -> str:
        """One line."""
        return f"<Counts of {self.name}: {', '.join(key or ALL for key in self.tables)}>"


def read_counts(source: Any, *, classes: Sequence[str] | None = None) -> Counts:
    """Read tables of HER2 counts from a file or a data frame.

    Either columns ``factor, level, her2, n`` (or ``count``): every factor is a table of the same
    patients by itself, an empty factor all of them. Or one column a factor, ``her2`` and ``n``: the
    cells of crossed factors. ``her2`` is a class, a set that a reading leaves open (``zero/low``),
    or ``unknown``; ``classes`` are the HER2 classes in order (zero, low, positive where not said).
    A cell that is not there holds nobody.

    Raises ``BadInput`` with every fault: columns, numbers that are no whole number from 0 up, a
    cell that stands twice, a class that is not known, factors with more patients than there are.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"hr_status": ["positive"] * 3 + ["negative"] * 3})
    >>> frame["her2"] = ["zero", "low", "positive"] * 2
    >>> counts = read_counts(frame.assign(n=[23, 92, 20, 30, 35, 47]))
    >>> counts.tables["hr_status"]["counts"].values
    array([[23, 92, 20],
           [30, 35, 47]])
    """
    if isinstance(source, Counts):
        return source
    table = text_table(source)
    known = tuple(classes or CATEGORIES)
    number = _columns(table)
    table, faults = table.with_decimal_points([number])
    raise_if(faults)
    others = [c for c in table.columns.column_names if c not in ("her2", number, *_NOT_USED)]
    long = set(_LONG) <= set(others)
    factors = [] if long else others
    frame, faults = _cells(table, number, known)
    keys = [*(_LONG if long else factors), "reading"]
    faults += _twice(table, frame, keys)
    faults += _empty(table, frame, factors) if not long else _levels(table, frame)
    raise_if(sorted(faults, key=lambda fault: fault.row or 0))
    order = _given_order(source, ["level", *factors])
    tables = _partitions(frame, known) if long else _crossed(frame, factors, order, known)
    raise_if(_totals(tables, table))
    name = table.path.name
    return Counts(name, tables, known, table.digest, (*table.notes, *_notes(tables)))


def _columns(table: TextTable) -> str:
    """Name of the column of numbers; raises the faults of columns."""
    names = list(map(str, table.frame.columns))
    place: dict[str, Any] = {"file": table.path, "row": table.header_row}
    faults = table.asked(["her2", *NUMBERS, *_LONG])
    numbers = [name for name in NUMBERS if name in names]
    allowed = "factor, level, her2, n; or one column a factor, her2 and n"
    for name, there in (("her2", "her2" in names), ("n", bool(numbers))):
        if not there and not faults:
            close = nearest(name, names)
            remedy = f"did you mean '{close}'?" if close else "name the column so"
            problem, value = f"there is no column '{name}'", ", ".join(names[:20])
            faults.append(Fault(problem, **place, value=value, allowed=allowed, remedy=remedy))
    if len(numbers) > 1:
        remedy = "keep the one that counts patients"
        faults.append(Fault("two columns of numbers", **place, value="n, count", remedy=remedy))
    half = [name for name in _LONG if name in names]
    if len(half) == 1:
        remedy = "name the missing one, or give one column a factor"
        faults.append(Fault(f"'{half[0]}' alone", **place, allowed=allowed, remedy=remedy))
    raise_if(faults)
    return numbers[0]


def _cells(
    table: TextTable, number: str, classes: tuple[str, ...]
) -> tuple[pd.DataFrame, list[Fault]]:
    """Rows with ``reading`` and ``count``, and the faults of both."""
    frame = table.frame
    value = pd.to_numeric(frame[number], errors="coerce")
    wrong = ~((value >= 0) & (value % 1 == 0) & (value <= MOST))
    faults = _faults(
        table, np.flatnonzero(wrong), number, "not a number of patients", "0, 1, 2, ...",
        "write the whole number; a bound such as <11 is none",
    )  # fmt: skip
    named = {text: reading_of(text, classes) if text else "" for text in set(frame["her2"])}
    readings = frame["her2"].map(named)
    close = {text: nearest(text, (*classes, UNKNOWN)) for text, found in named.items() if not found}
    for position in np.flatnonzero(readings == "")[: SHOWN * 4]:
        text = frame["her2"].iloc[position]
        remedy = f"did you mean '{close[text]}'? " if close[text] else ""
        allowed = f"{', '.join(classes)}, sets as {'/'.join(classes[:2])}, {UNKNOWN}"
        faults += _faults(table, np.array([position]), "her2", "not a set of HER2 classes", allowed,
                          f"{remedy}name other classes with classes=")  # fmt: skip
    return frame.assign(reading=readings, count=value.where(~wrong, 0).astype(np.int64)), faults


def _faults(
    table: TextTable, positions: np.ndarray, column: str, problem: str, allowed: str, remedy: str
) -> list[Fault]:
    cells = table.frame[column]
    faults = [
        Fault(problem, table.path, table.row(p), column, cells.iloc[p], allowed, remedy)
        for p in positions[:SHOWN]
    ]
    if len(positions) > SHOWN:
        more = f"{len(positions) - SHOWN} more rows like these: {problem}"
        faults.append(Fault(more, file=table.path, column=column, remedy=remedy))
    return faults


def _twice(table: TextTable, frame: pd.DataFrame, keys: Sequence[str]) -> list[Fault]:
    first = frame.drop_duplicates(keys)
    rows = dict(zip(first[list(keys)].itertuples(index=False, name=None), first.index, strict=True))
    faults = []
    for position in np.flatnonzero(frame.duplicated(keys))[:SHOWN]:
        cell = tuple(frame[keys].iloc[position])
        faults.append(
            Fault(
                f"the cell stands in row {table.row(rows[cell])} already", table.path,
                table.row(position), value=", ".join(filter(None, cell)),
                remedy="keep one row a cell; rows of several tables belong into several files",
            )
        )  # fmt: skip
    return faults


def _empty(table: TextTable, frame: pd.DataFrame, factors: Sequence[str]) -> list[Fault]:
    """Cells of crossed factors without a level."""
    remedy = "name the level; patients whose level is not known: leave the row out"
    return [
        fault
        for factor in factors
        for fault in _faults(table, np.flatnonzero(frame[factor] == ""), factor, "no level",
                             "a level", remedy)
    ]  # fmt: skip


def _levels(table: TextTable, frame: pd.DataFrame) -> list[Fault]:
    """A factor without a level, and a level without a factor."""
    remedy = "leave both empty for all patients, or fill both"
    half = (frame["factor"] == "") != (frame["level"] == "")
    return _faults(table, np.flatnonzero(half), "level", "factor and level go together", "", remedy)


def _given_order(source: Any, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Orders of levels that a frame's categorical columns give."""
    if isinstance(source, str | Path | TextTable):
        return {}
    table = as_arrow(source)
    return {name: levels_in_order(table, name) for name in names}


def _partitions(frame: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, xr.Dataset]:
    """One table a factor, levels in the order of the rows."""
    tables = {}
    for factor, rows in frame.groupby("factor", sort=False):
        name = factor_name(str(factor)) if factor else ""
        levels = {name: tuple(dict.fromkeys(rows["level"]))} if factor else {}
        tables[name] = status_cells(rows.rename(columns={"level": name}), levels, classes)
    return tables


def _crossed(
    frame: pd.DataFrame,
    factors: Sequence[str],
    order: Mapping[str, tuple[str, ...]],
    classes: tuple[str, ...],
) -> dict[str, xr.Dataset]:
    short = {factor: factor_name(factor) for factor in factors}
    levels = {
        short[factor]: in_order(
            set(frame[factor]), order.get(factor, ()) or _own_order(frame[factor])
        )
        for factor in factors
    }
    made = status_cells(frame.rename(columns=short), levels, classes)
    return {", ".join(short.values()): made}


def _own_order(levels: pd.Series) -> tuple[str, ...]:
    """Levels in the order of the rows, as a table of counts is written in the order it is read."""
    return tuple(dict.fromkeys(levels))


def _totals(tables: Mapping[str, xr.Dataset], table: TextTable) -> list[Fault]:
    """Factors with more patients than there are."""
    if "" not in tables:
        return []
    everyone = tables[""].attrs["patients"]
    remedy = "correct one of the two; a patient has one level of a factor"
    return [
        Fault(f"{one.attrs['patients']} patients by {factor}, of {everyone} in all", table.path,
              column="level", value=factor, remedy=remedy)
        for factor, one in tables.items()
        if one.attrs["patients"] > everyone
    ]  # fmt: skip


def _notes(tables: Mapping[str, xr.Dataset]) -> list[str]:
    """What is worth knowing: levels not known, cells of which nothing is written."""
    everyone = tables[""].attrs["patients"] if "" in tables else None
    notes = []
    for factor, one in tables.items():
        count = one.attrs["patients"]
        if factor and everyone is not None and count < everyone:
            notes.append(f"{factor}: {everyone - count} of {everyone} patients have no level here")
    sizes = {factor: one.attrs["patients"] for factor, one in tables.items() if factor}
    if everyone is None and len(set(sizes.values())) > 1:
        told = ", ".join(f"{factor} {count}" for factor, count in sizes.items())
        notes.append(f"the factors have different numbers of patients: {told}")
    return notes

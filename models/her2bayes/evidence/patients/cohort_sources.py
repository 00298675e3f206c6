"""The files of a cohort as joined text; what is missing or not understood becomes a fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.classify import is_missing
from her2bayes.evidence.patients.maps import nearest
from her2bayes.evidence.patients.maps_schema import ColumnMap
from her2bayes.evidence.read_table import SHOWN, TextTable, read_table


@dataclass
class Sources:
    """The table, the patients file joined to it by position (-1: no row), the faults so far."""

    map: ColumnMap
    table: TextTable
    patients: TextTable | None
    position: np.ndarray
    faults: list[Fault] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)

    @property
    def told(self) -> tuple[str, ...]:
        """How the files were read, each remark once."""
        tables = [self.table, *([self.patients] if self.patients is not None else [])]
        read = [f"{table.path.name}: {note}" for table in tables for note in table.notes]
        counted = [f"{text}: {n} rows" for text, n in self.notes.items() if n]
        return tuple(dict.fromkeys([*read, *self.remarks, *counted]))

    def read_decimal_commas(self, name: str) -> None:
        """Turn decimal commas of a column of numbers into points; two readings are a fault."""
        found = self.find(name)
        if found is None:
            return
        table, faults = found[0].with_decimal_points([found[1]])
        self.faults += [fault for fault in faults if fault not in self.faults]
        if found[2]:
            self.patients = table
        else:
            self.table = table

    def find(self, name: str) -> tuple[TextTable, str, bool] | None:
        """File, bare column name and whether it is the patients file; None where no file has it.

        ``table:NAME`` and ``patients:NAME`` choose where both files have the column.
        """
        where, _, bare = name.partition(":") if ":" in name else ("", "", name)
        if where in ("", "table") and bare in self.table.frame:
            return self.table, bare, False
        if self.patients is not None and where in ("", "patients") and bare in self.patients.frame:
            return self.patients, bare, True
        if name in self.table.frame:
            return self.table, name, False
        return None

    def named_twice(self, name: str) -> list[Fault]:
        """Faults where a file has the column more than once."""
        where, _, bare = name.partition(":") if ":" in name else ("", "", name)
        tables = {"table": self.table, "patients": self.patients}
        return [
            fault
            for key, table in tables.items()
            if table is not None and where in ("", key)
            for fault in table.asked([bare])
        ]

    def aligned(self, values: np.ndarray, from_patients: bool, missing: object) -> np.ndarray:
        """Values of the patients file repeated for the rows of the table."""
        if not from_patients:
            return values
        padded = np.append(values, [missing]) if len(values) else np.array([missing])
        return padded[self.position]


def open_sources(mapped: ColumnMap, where: Path | TextTable) -> Sources:
    """Read the files of a map in folder ``where`` (or take the one table ``where``) and join them.

    Raises ``BadInput`` with the faults of both files; missing columns are collected, not raised.
    """
    tables = _given(mapped, where) if isinstance(where, TextTable) else _read(mapped, where)
    sources = Sources(mapped, tables["table"], tables.get("patients"), np.empty(0, int))
    _join(sources)
    sources.faults += _missing_columns(sources)
    return sources


def _given(mapped: ColumnMap, table: TextTable) -> dict[str, TextTable]:
    if "patients" in mapped.files:
        problem = "the map names a file of patients beside the table, a data frame is one table"
        remedy = "join the two frames and leave [files] patients out, or give the folder"
        raise BadInput(Fault(problem, file=mapped.path, column="files.patients", remedy=remedy))
    return {"table": table}


def _read(mapped: ColumnMap, where: Path) -> dict[str, TextTable]:
    names = dict(mapped.files)
    options = {
        key: names[key]
        for key in ("separator", "encoding", "comment", "header_rows")
        if key in names
    }
    folder = where.parent if where.is_file() else where
    paths = {key: folder / names[key] for key in ("table", "patients") if key in names}
    if where.is_file():
        paths["table"] = where
    elif not where.exists():
        raise BadInput(Fault("cohort does not exist", file=where, remedy="correct the path"))
    if "table" not in paths:
        remedy = 'say which file: [files] table = "…", or give the file itself as the cohort'
        raise BadInput(Fault("the map names no table", file=mapped.path, remedy=remedy))
    tables: dict[str, TextTable] = {}
    faults: list[Fault] = []
    for key, path in paths.items():
        try:
            tables[key] = read_table(path, mapped=True, **options)
        except BadInput as bad:
            faults.extend(bad.faults)
    raise_if(faults)
    return tables


def _join(sources: Sources) -> None:
    key = sources.map.columns["patient_id"]
    patients, table = sources.patients, sources.table
    if patients is None or key not in table.frame or key not in patients.frame:
        sources.position = np.full(len(table.frame), -1)
        return
    index = pd.Index(patients.frame[key].str.strip())
    repeated = index.duplicated() & (index != "")
    sources.faults += row_faults(
        patients, np.flatnonzero(repeated), key, "patient id repeats in the patients file",
        "keep one row a patient",
    )  # fmt: skip
    sources.position = index[~repeated].get_indexer(pd.Index(table.frame[key].str.strip()))
    sources.position = np.where(
        sources.position >= 0, np.flatnonzero(~repeated)[sources.position], -1
    )


def _missing_columns(sources: Sources) -> list[Fault]:
    known = list(map(str, sources.table.frame))
    if sources.patients is not None:
        known += list(map(str, sources.patients.frame))
    faults = []
    for column, place in sources.map.used_columns().items():
        if sources.find(column) is None:
            twice = sources.named_twice(column)
            if twice:
                faults += twice
                continue
            close = nearest(column, known)
            allowed = None if close else f"columns there: {', '.join(known[:40])}"
            remedy = f"did you mean '{close}'?" if close else "correct the name in the map"
            faults.append(
                Fault(f"the data have no column '{column}'", file=sources.map.path, column=place,
                      allowed=allowed, remedy=remedy)
            )  # fmt: skip
    return faults


def row_faults(
    table: TextTable, positions: np.ndarray, column: str, problem: str, remedy: str
) -> list[Fault]:
    """One fault a row for the first few positions, the rest as a count."""
    faults = [
        Fault(problem, file=table.path, row=table.row(p), column=column,
              value=table.frame[column].iloc[p], remedy=remedy)
        for p in positions[:SHOWN]
    ]  # fmt: skip
    if len(positions) > SHOWN:
        more = f"{len(positions) - SHOWN} more rows like these: {problem}"
        faults.append(Fault(more, file=table.path, column=column))
    return faults


def texts(
    sources: Sources,
    name: str,
    understand: Callable[[str], str | None],
    allowed: str,
    remedy: str,
    *,
    number: bool = False,
    level: bool = False,
) -> np.ndarray:
    """Canonical text of one column, aligned with the table; each text not understood is a fault.

    ``number``: the column holds numbers, in which codes of missing values are numbers too;
    ``level``: it holds levels of a factor, one of which may be called "None".
    """
    found = sources.find(name)
    if found is None:
        return np.full(len(sources.table.frame), "", dtype=object)
    table, bare, from_patients = found
    codes, distinct = pd.factorize(table.frame[bare])
    meaning = np.empty(len(distinct), dtype=object)
    words = sources.map.missing_in(bare, number=number)
    if number:
        _note_numbers(sources, table.frame[bare], bare)
    odd: list[Fault] = []
    for k, text in enumerate(distinct):
        missing = is_missing(text, words) and not (level and text.strip().lower() == "none")
        value = "" if missing else understand(text)
        meaning[k] = value if value is not None else ""
        if value is None:
            odd.append(_not_understood(table, bare, text, codes == k, allowed, remedy))
    sources.faults += odd[:SHOWN]
    if len(odd) > SHOWN:
        more = f"{len(odd) - SHOWN} more values of this column not understood"
        sources.faults.append(Fault(more, file=table.path, column=bare, remedy=remedy))
    return sources.aligned(meaning[codes], from_patients, "")


def _note_numbers(sources: Sources, column: pd.Series, name: str) -> None:
    """Count values that are codes of missing ones elsewhere and numbers here."""
    codes = sources.map.codes - sources.map.missing_by.get(name, frozenset())
    count = int(column.str.strip().isin(codes).sum())
    if count:
        shown = ", ".join(sorted(codes))
        text = f"{name}: {shown} are read as numbers (missing: say so under [missing_in])"
        sources.notes[text] = count


def _not_understood(
    table: TextTable, column: str, text: str, where: np.ndarray, allowed: str, remedy: str
) -> Fault:
    rows = np.flatnonzero(where)
    more = f" in {len(rows)} rows" if len(rows) > 1 else ""
    return Fault(
        f"value not understood{more}",
        file=table.path,
        row=table.row(rows[0]),
        column=column,
        value=text,
        allowed=allowed,
        remedy=remedy,
    )

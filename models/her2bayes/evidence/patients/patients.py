"""Door for patients: a file, a folder, a data frame or a mapped study as one frozen object.

Families turn it into contracts; nothing is converted, repaired or left out here. An endpoint that
a column map declares is used whole: time, event, entry, cause, rounding. Who wants it otherwise
says so (entry left out), and what else the map declares is named.
"""

# ruff: noqa: PD003 (Ibis columns, not pandas)
from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
import pyarrow.dataset

from her2bayes.errors import BadInput, Fault, nearest, raise_if
from her2bayes.evidence.classify import CATEGORIES
from her2bayes.evidence.patients.cohort import ENDS, Cohort, read_cohort
from her2bayes.evidence.patients.cohort_columns import MONTHS
from her2bayes.evidence.patients.follow_up import FollowUp, known_text, read_follow_up
from her2bayes.evidence.patients.follow_up_checks import LINE, collect
from her2bayes.evidence.patients.maps import load_map, map_path
from her2bayes.evidence.patients.maps_schema import ColumnMap, EndpointMap
from her2bayes.evidence.read_table import (
    NAME,
    TextTable,
    as_arrow,
    digest_of,
    levels_in_order,
    read_table,
    text_table,
    without_dictionaries,
)

ONE = ""
"""The tumour of a file that tells of one only."""
READINGS = {ONE: "her2", "primary": "primary_reading", "recurrence": "recurrence_reading"}
"""Columns that hold HER2 readings where the caller names none, by tumour."""
_PARQUET = (".parquet", ".pq")
type Rows = TextTable | pa.Table | pyarrow.dataset.Dataset | ir.Table


@dataclass(frozen=True, repr=False)
class Patients:
    """Patients as they were read; ``print`` shows rows, columns, what is missing or set aside.

    ``rows`` are the rows of the file or frame; with a column map ``cohort`` holds one line a
    patient under canonical names. ``her2`` names the column of HER2 readings of each tumour
    ("primary", "recurrence", or "" where there is one only), ``classes`` are the HER2 classes in
    order. ``file`` is what faults call the source.
    """

    name: str
    rows: Rows = field(repr=False)
    file: str
    her2: Mapping[str, str]
    classes: tuple[str, ...] = CATEGORIES
    cohort: Cohort | None = None
    map: ColumnMap | None = None
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that can be asked for."""
        return tuple(name for name in self.table.columns if name != LINE)

    @cached_property
    def table(self) -> ir.Table:
        """The rows as an Ibis table, with the line of each in ``LINE`` where they are of a file."""
        rows = self.rows
        if isinstance(rows, ir.Table):
            return rows
        if isinstance(rows, TextTable):
            lines = pa.array(rows.rows, pa.int64())
            return ibis.memtable(rows.columns.append_column(LINE, lines))
        return ibis.memtable(without_dictionaries(rows) if isinstance(rows, pa.Table) else rows)

    def known_levels(self, column: str) -> tuple[str, ...]:
        """Levels of a column in the order that a map or a categorical column gives them."""
        if self.cohort is not None:
            return tuple(self.cohort.factors.get(column, ()))
        return levels_in_order(self.rows, column) if isinstance(self.rows, pa.Table) else ()

    @cached_property
    def digest(self) -> str:
        """Digest of what was read: the identity of the data in the provenance of a fit."""
        if self.cohort is not None:
            return self.cohort.digest
        if isinstance(self.rows, TextTable):
            return self.rows.digest
        if isinstance(self.rows, pyarrow.dataset.FileSystemDataset):
            total = hashlib.sha256()
            for file in sorted(self.rows.files):
                total.update(Path(file).read_bytes())
            return total.hexdigest()
        return digest_of(self.rows if isinstance(self.rows, pa.Table) else self.rows.to_pyarrow())

    @cached_property
    def size(self) -> int:
        """Number of rows; with a column map of patients."""
        return int(collect(self.table.aggregate(n=self.table.count()))["n"].iloc[0])

    @cached_property
    def missing(self) -> Mapping[str, int]:
        """Rows without a value, by column; only columns that miss some."""
        counts = {
            f"c{k}": known_text(self.table[name]).isnull().sum()
            for k, name in enumerate(self.columns)
        }
        found = collect(self.table.aggregate(**counts)).iloc[0]
        named = {name: int(found[f"c{k}"]) for k, name in enumerate(self.columns)}
        return {name: count for name, count in named.items() if count}

    def __str__(self) -> str:
        """Rows, columns, readings, what is missing, what was set aside, how it was read."""
        what = "patients" if self.cohort is not None else "rows"
        lines = [f"{self.name}: {self.size:,} {what}, {len(self.columns)} columns"]
        tumours = [f"{column} ({end or 'one tumour'})" for end, column in self.her2.items()]
        lines.append(
            f"HER2 readings: {', '.join(tumours)}; classes {', '.join(self.classes)}"
            if tumours
            else "HER2 readings: none declared (her2=, or a column map)"
        )
        if self.cohort is not None:
            lines += _set_aside(self.cohort)
        else:
            lines += _missing_lines(self.missing)
        return "\n".join([*lines, *self.notes])

    def __repr__(self) -> str:
        """One line."""
        return f"<Patients of {self.name}: {self.size:,} rows, {len(self.columns)} columns>"


def read_patients(
    source: Any,
    *,
    map: str | Path | ColumnMap | None = None,  # noqa: A002 (the flag of the scripts)
    her2: str | Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    name: str | None = None,
) -> Patients:
    """Read patients, one row each: the door of every family for one's own data.

    ``source`` is the path of a CSV, TSV or Parquet file, a folder of Parquet files, a pandas,
    Polars or Arrow data frame, an Ibis table, or with ``map`` (a shipped name, a file) a study
    folder such as one of cBioPortal. ``her2`` names the column of HER2 readings, or one for each
    tumour: ``{"primary": ..., "recurrence": ...}``; without it the columns ``her2``,
    ``primary_reading`` and ``recurrence_reading`` are taken where they exist. ``classes`` are the
    HER2 classes in order (zero, low, positive where not said; any others, ultralow among them).
    Types and the order of categories of a data frame are used as they are.

    Raises ``BadInput`` with every fault of file and map: row (the header is row 1; of a data frame
    the first row is row 2, as in a spreadsheet), column, value, what is allowed, remedy.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"her2": ["low", "zero", "zero/low"], "months": [12.5, 30.0, None]})
    >>> print(read_patients(frame))
    data frame: 3 rows, 2 columns
    HER2 readings: her2 (one tumour); classes zero, low, positive
    Missing: months 1
    """
    if isinstance(source, Patients):
        return source
    if map is not None:
        return _mapped(source, map if isinstance(map, ColumnMap) else load_map(map_path(str(map))))
    rows, file = _open(source)
    names = rows.columns.column_names if isinstance(rows, TextTable) else _names(rows)
    readings = {ONE: her2} if isinstance(her2, str) else dict(her2 or {})
    raise_if(_unknown(readings, names, file))
    return Patients(
        name=name or (Path(source).name if isinstance(source, str | Path) else NAME),
        rows=rows,
        file=file,
        her2=readings or {end: column for end, column in READINGS.items() if column in names},
        classes=tuple(classes or CATEGORIES),
        notes=tuple(rows.notes) if isinstance(rows, TextTable) else (),
    )


def _mapped(source: Any, mapped: ColumnMap) -> Patients:
    if isinstance(source, str | Path):
        return replace(of_cohort(read_cohort(mapped, source)), file=str(source), map=mapped)
    return replace(of_cohort(read_cohort(mapped, text_table(source))), map=mapped)


def of_cohort(cohort: Cohort) -> Patients:
    """Patients of a cohort that was read through a map."""
    patients = single_classes(cohort)
    sampled = [end for end in ENDS if patients[f"{end}_sampled"].any()]
    return Patients(
        name=cohort.title,
        rows=pa.Table.from_pandas(patients, preserve_index=False),
        file=cohort.id,
        her2={end: f"{end}_reading" for end in sampled},
        classes=cohort.categories,
        cohort=cohort,
        notes=cohort.remarks,
    )


def single_classes(cohort: Cohort) -> pd.DataFrame:
    """Patients with one class each as ``her2`` and ``her2_primary``.

    A reading that leaves several classes open belongs to no single group: its cell stays empty and
    the patient is counted as left out.
    """
    patients = cohort.patients.copy()
    single = set(cohort.categories)
    for name, end in (("her2", "recurrence"), ("her2_primary", "primary")):
        reading = patients[f"{end}_reading"]
        patients[name] = reading.where(reading.isin(single), "")
    return patients


def follow_up(
    source: Any,
    wanted: Wanted,
    by: Mapping[str, Sequence[str] | None] | Sequence[str] | str = (),
    **more: Any,
) -> FollowUp:
    """Follow-up of patients: of columns that ``wanted`` names, or of an endpoint of their map.

    ``source`` is what ``read_patients`` takes; ``more`` are further words of ``read_follow_up``
    (``patient``, ``censored_codes``, ``missing``, ``nonpositive``, ...). Raises ``BadInput`` with
    every fault.
    """
    patients = read_patients(source)
    factors = by if isinstance(by, Mapping) else dict.fromkeys([by] if isinstance(by, str) else by)
    if patients.cohort is not None and patients.map is not None:
        used, lines = mapped_columns(patients.cohort, patients.map, wanted, list(factors))
        frame = patients.rows
        return read_follow_up(
            frame, by=factors, mapped=(*lines, *patients.cohort.remarks), **{**more, **used}
        )
    raise_if(_without_map(wanted))
    columns = {
        "time": wanted.time, "event": wanted.event, "entry": wanted.entry or None,
        "cause": wanted.cause or None, "time_unit": wanted.time_unit,
        "event_code": wanted.event_code or None,
    }  # fmt: skip
    return read_follow_up(patients.rows, by=factors, **{**more, **columns})


def _without_map(wanted: Wanted) -> list[Fault]:
    faults = []
    if not wanted.event:
        remedy = "name it with --event COLUMN"
        faults.append(Fault("no column says who had the event", column="--event", remedy=remedy))
    if wanted.ignore_entry:
        remedy = "leave --ignore-entry out: without --entry nobody enters late"
        faults.append(Fault("no map declares an entry", column="--ignore-entry", remedy=remedy))
    return faults


def _open(source: Any) -> tuple[Rows, str]:
    """Rows of a source and what messages call it."""
    if isinstance(source, ir.Table):
        return source, NAME
    if not isinstance(source, str | Path):
        return as_arrow(source), NAME
    path = Path(source)
    if path.is_dir():
        if not any(path.glob("*.parquet")):
            remedy = "name a file in it, or read a study folder through its map: map=..."
            raise BadInput(Fault("a folder without Parquet files", file=path, remedy=remedy))
    elif path.suffix.lower() not in _PARQUET or not path.exists():
        return read_table(path), path.name
    try:
        return pyarrow.dataset.dataset(path, format="parquet"), path.name
    except (pa.ArrowInvalid, OSError) as error:
        remedy = "check the file, or write it again"
        raise BadInput(Fault(f"not a Parquet file: {error}", file=path, remedy=remedy)) from error


def _names(rows: pa.Table | pyarrow.dataset.Dataset | ir.Table) -> list[str]:
    return list(rows.columns) if isinstance(rows, ir.Table) else list(rows.schema.names)


def _unknown(readings: Mapping[str, str], names: Sequence[str], file: str) -> list[Fault]:
    """Faults of named columns of readings that are not there, and of unknown tumours."""
    faults = [
        Fault("no such tumour", column="her2", value=end, allowed="primary, recurrence")
        for end in readings
        if end not in READINGS
    ]
    for column in readings.values():
        if column not in names:
            close = nearest(column, names)
            remedy = f"did you mean '{close}'?" if close else "name one of the columns"
            allowed = ", ".join(names[:40])
            problem = f"there is no column '{column}'"
            faults.append(Fault(problem, file=file, allowed=allowed, remedy=remedy))
    return faults


def _set_aside(cohort: Cohort) -> list[str]:
    """Patients by tissue, and why rows and readings were set aside."""
    flow = cohort.flow
    told = []
    for stage in ("rows", "patients", "primary reading", "recurrence reading"):
        rows = flow[flow["stage"] == stage]
        kept = int(rows.loc[rows["outcome"] == "kept", "count"].sum())
        aside = rows[rows["outcome"] == "set aside"]
        reasons = [f"{rule} {n:,}" for rule, n in zip(aside["rule"], aside["count"], strict=True)]
        if len(rows):
            text = f"{stage[0].upper()}{stage[1:]}: {kept:,} kept"
            told.append(f"{text}; set aside: {', '.join(reasons)}" if reasons else text)
    return told


def _missing_lines(missing: Mapping[str, int]) -> list[str]:
    if not missing:
        return ["Missing: nothing"]
    most = sorted(missing.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {count:,}" for name, count in most[:8])
    more = f" and {len(most) - 8} columns more" if len(most) > 8 else ""
    return [f"Missing: {shown}{more}"]


@dataclass(frozen=True)
class Wanted:
    """What the caller names: columns of the mapped cohort, or the endpoint itself as ``time``."""

    time: str
    event: str = ""
    entry: str = ""
    cause: str = ""
    ignore_entry: bool = False
    time_unit: str = "months"
    event_code: str = ""


def mapped_columns(
    cohort: Cohort, mapped: ColumnMap, wanted: Wanted, by: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Columns for ``read_follow_up``, and lines that say what of the map is used and what not.

    Raises ``BadInput`` for a time that is of no endpoint, and for options that the map has decided.
    """
    own = [e for e in mapped.endpoints if wanted.time in (e.name, f"{e.name}_months")]
    by_column = [e for e in mapped.endpoints if e.time == wanted.time]
    endpoint = own[0] if own else by_column[0] if len(by_column) == 1 else None
    raise_if(_faults(endpoint, mapped, wanted))
    assert endpoint is not None  # a fault otherwise
    name = endpoint.name
    entry = f"{name}_entry_months" if endpoint.entry and not wanted.ignore_entry else None
    columns = {
        "time": f"{name}_months",
        "event": f"{name}_event",
        "entry": entry,
        "cause": f"{name}_cause" if endpoint.cause else None,
        "tolerance": float(mapped.rules["time_tolerance"]) * MONTHS[endpoint.unit],
    }
    return columns, [_said(endpoint, columns, wanted), *_codes(cohort, endpoint),
                     *_unused(mapped, endpoint, by)]  # fmt: skip


def _faults(endpoint: EndpointMap | None, mapped: ColumnMap, wanted: Wanted) -> list[Fault]:
    names = [f"{e.name}_months" for e in mapped.endpoints]
    if endpoint is None:
        return [
            Fault("the map declares no endpoint with this time", file=mapped.path, column="--time",
                  value=wanted.time, allowed=", ".join(names) or "the map has no [endpoints]",
                  remedy="name one of them, or declare it under [endpoints.NAME]")
        ]  # fmt: skip
    name = endpoint.name
    given = {
        "--event": (wanted.event, ("", f"{name}_event", endpoint.event)),
        "--entry": (wanted.entry, _either(f"{name}_entry_months", endpoint.entry)),
        "--cause": (wanted.cause, _either(f"{name}_cause", endpoint.cause)),
        "--time-unit": (wanted.time_unit, ("months",)),
        "--event-code": (wanted.event_code, ("",)),
    }
    faults = [
        Fault(f"the map decides this: [endpoints.{name}]", file=mapped.path, column=option,
              value=value, allowed=" or ".join(filter(None, allowed)) or "leave the option out",
              remedy=f"leave {option} out, or change the map")
        for option, (value, allowed) in given.items()
        if value not in allowed
    ]  # fmt: skip
    if wanted.ignore_entry and not endpoint.entry:
        faults.append(
            Fault("the endpoint has no entry to ignore", file=mapped.path, column="--ignore-entry",
                  remedy="leave the option out")
        )  # fmt: skip
    return faults


def _either(own: str, column: str | None) -> tuple[str, ...]:
    return ("", own, column) if column else ("",)


def _said(endpoint: EndpointMap, columns: dict[str, Any], wanted: Wanted) -> str:
    text = f"endpoint {endpoint.name} of the map: time {endpoint.time}, event {endpoint.event}"
    if columns["entry"]:
        text += f", patients counted from {endpoint.entry} on (delayed entry)"
    elif wanted.ignore_entry:
        text += f"; --ignore-entry: the entry {endpoint.entry} that the map declares is NOT used"
    if endpoint.cause:
        text += f", cause {endpoint.cause}"
    if columns["tolerance"] and columns["entry"]:
        text += f"; times and entries are rounded, to {columns['tolerance']:g} months"
    return text


def _codes(cohort: Cohort, endpoint: EndpointMap) -> Iterable[str]:
    codes = cohort.event_codes.get(endpoint.name)
    if codes is not None:
        yield from codes.lines(endpoint.event)


def _unused(mapped: ColumnMap, endpoint: EndpointMap, by: Sequence[str]) -> Iterable[str]:
    """Name what the map declares and this analysis does not use."""
    others = [e.name for e in mapped.endpoints if e is not endpoint]
    factors = [f.name for f in mapped.factors if f.name not in by]
    ends = {"primary": "her2_primary", "recurrence": "her2"}
    readings = [f"{end} readings" for end in ENDS if end in mapped.blocks or "sample" in
                mapped.blocks if ends[end] not in by]  # fmt: skip
    parts = [
        f"endpoints {', '.join(others)}" if others else "",
        f"factors {', '.join(factors)}" if factors else "",
        ", ".join(readings),
    ]
    told = [part for part in parts if part]
    if told:
        yield f"the map also declares, not used here: {'; '.join(told)}"

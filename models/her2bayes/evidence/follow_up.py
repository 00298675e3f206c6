"""Door for patients followed over time: any table in, checked rows under canonical names out.

The rows stay where they are (an Ibis expression on DuckDB, Spark or a warehouse): every check is an
aggregate, so that ten million rows cost a few scans and rows are fetched only to name bad ones.

Canonical columns: ``entry`` and ``time`` (float, months), ``event`` (0/1), ``cause`` (text, empty
where censored), ``patient`` (text, only where rows belong together) and one text column a factor.
"""

# ruff: noqa: PD003, PD004 (Ibis columns, not pandas)
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence import follow_up_checks as checks
from her2bayes.evidence import follow_up_levels
from her2bayes.evidence.collect import without_deprecations
from her2bayes.evidence.read_table import read_table

# months in one unit of time; a month is a twelfth of 365.25 days
MONTHS = {"days": 12 / 365.25, "weeks": 84 / 365.25, "months": 1.0, "years": 12.0}
MISSING = ("", "na", "nan", "none", "null", "n/a")
# event column as text -> 0/1; cBioPortal writes "1:DECEASED"
EVENT_WORDS = {"0": 0, "0.0": 0, "false": 0, "no": 0, "1": 1, "1.0": 1, "true": 1, "yes": 1}
# names that mean something else in the tables and models further on
RESERVED = {"entry", "time", "event", "cause", "patient", "patients", "rows", "history", "group"}
_PARQUET = {".parquet", ".pq"}
RESERVED |= {"interval", "baseline", "landmark", "chain", "draw", "all"}


@dataclass(frozen=True)
class FollowUp:
    """Checked follow-up: rows with ``time > entry``, complete in every column asked for.

    ``factors`` maps each factor to its levels in order; ``causes`` is empty with one kind of event;
    ``left_out`` counts rows by reason; ``rows``, ``patients``, ``events`` count what is kept;
    ``last_time`` is the longest time in months; ``notes`` say how the file was read.
    """

    table: ir.Table = field(repr=False)
    factors: Mapping[str, tuple[str, ...]]
    causes: tuple[str, ...]
    endpoint: str
    rows: int
    patients: int
    events: int
    last_time: float
    left_out: Mapping[str, int] = field(default_factory=dict)
    has_entry: bool = False
    has_patient: bool = False
    notes: tuple[str, ...] = ()

    @property
    def connection(self) -> Any:
        """Ibis backend that holds the rows."""
        return self.table._find_backend(use_default=True)


def read_follow_up(
    source: str | Path | pd.DataFrame | ir.Table,
    *,
    time: str,
    event: str,
    by: Mapping[str, Sequence[str] | None] | Sequence[str] = (),
    entry: str | None = None,
    cause: str | None = None,
    patient: str | None = None,
    endpoint: str | None = None,
    time_unit: str = "months",
    event_code: str | None = None,
    nonpositive: Literal["refuse", "drop"] = "refuse",
    longest: float = 600.0,
    many_levels: Sequence[str] = (),
    connection: Any = None,
) -> FollowUp:
    """Read, check and rename follow-up rows.

    ``source`` is delimited text, Parquet (a file or a folder), a data frame or an Ibis table; the
    other words are names of its columns. ``by`` lists the factors, with their levels in order where
    given (rows with other levels are left out and counted). ``event_code`` is the value that means
    an event where the codes are not 0 and 1. Rows with ``time <= entry`` that carry an event are
    refused unless ``nonpositive="drop"``; censored ones hold no information and are left out.
    ``longest`` is the longest follow-up in months that is believed to be in months. ``many_levels``
    are factors allowed many levels (centres, studies).

    Raises ``BadInput`` with every fault found, naming rows where the backend keeps their order.
    """
    wanted = dict(by) if isinstance(by, Mapping) else dict.fromkeys(by)
    columns = {"time": time, "event": event, "entry": entry, "cause": cause, "patient": patient}
    used = {role: name for role, name in columns.items() if name}
    opened = open_table(
        source,
        connection,
        names=[*used.values(), *wanted],
        numbers=[used[role] for role in ("time", "entry") if role in used],
    )
    raw, named = opened.table, opened.file
    raise_if(_unknown_columns(raw, [*used.values(), *wanted], named))
    if time_unit not in MONTHS:
        raise BadInput(Fault("unknown time unit", value=time_unit, allowed=", ".join(MONTHS)))
    names = {name: factor_name(name) for name in wanted}
    given = {short: tuple(wanted[name] or ()) for name, short in names.items()}
    table = _canonical(raw, used, names, MONTHS[time_unit], event_code)
    with _told_of(named):
        scan = checks.scan(table, given, "patient" in used)
    limits = checks.Limits(
        nonpositive=nonpositive == "drop",
        longest=longest,
        time_unit=time_unit,
        event_code=event_code,
        many_levels=tuple(factor_name(name) for name in many_levels),
    )
    titles = {short: name for name, short in names.items()}
    raise_if(checks.faults(table, scan, used, limits, file=named, titles=titles))
    kept = _kept(table, used, given)
    return FollowUp(
        table=kept,
        factors=follow_up_levels.levels(table, given, named),
        causes=follow_up_levels.causes(kept) if "cause" in used else (),
        endpoint=endpoint or re.sub(r"_?(months|days|time)$", "", time) or time,
        has_entry="entry" in used,
        has_patient="patient" in used,
        notes=opened.notes,
        **checks.counts(scan, "patient" in used),
    )


_ENGINES = ("duckdb", "_duckdb", "pyarrow", "pyspark")


@contextmanager
def _told_of(file: str | None) -> Iterator[None]:
    """Say which file it was whose bytes the engine could not read (Parquet is read late)."""
    try:
        yield
    except Exception as error:
        if file is None or type(error).__module__.partition(".")[0] not in _ENGINES:
            raise
        reason = str(error).strip().splitlines()[0][:200]
        remedy = "check the file, or write it again"
        raise BadInput(Fault(f"cannot be read: {reason}", file=file, remedy=remedy)) from error


def factor_name(column: str) -> str:
    """Column title as a factor name of the estimand grammar: lower case, underscores."""
    name = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
    return name if name[:1].isalpha() and name not in RESERVED else f"factor_{name}"


@dataclass(frozen=True)
class Opened:
    """Rows of a source as an Ibis table, the name by which messages call it, how it was read.

    The table of a text file holds the line of each row in the column ``checks.LINE``.
    """

    table: ir.Table
    file: str | None = None
    notes: tuple[str, ...] = ()


def open_table(
    source: Any, connection: Any = None, names: Sequence[str] = (), numbers: Sequence[str] = ()
) -> Opened:
    """Ibis table of a source.

    Text files are read as text by the one reader (`read_table`), so that a value that is no number
    can be named. ``names`` are the columns that will be used, of which a fault is a refusal and not
    a note; in ``numbers`` decimal commas become points. Raises ``BadInput``.
    """
    if isinstance(source, ir.Table):
        return Opened(source)
    con = connection if connection is not None else ibis.duckdb.connect()
    if isinstance(source, pd.DataFrame):
        rows = pa.Table.from_pandas(source, preserve_index=False)
        return Opened(_as_view(con, rows))
    path = Path(source)
    if not path.exists():
        raise BadInput(Fault("no such file", file=path, remedy="check the path"))
    if path.is_file() and path.suffix.lower() not in _PARQUET and con.name == "duckdb":
        return _read_text(con, path, names, numbers)
    try:
        with without_deprecations():
            return Opened(_read(con, path), path.name)
    except Exception as error:
        # whatever the engine says of the file's bytes is the user's business
        reason = str(error).strip().splitlines()[0]
        remedy = "check the file, or write it again"
        raise BadInput(
            Fault(f"cannot be read as a table: {reason}", file=path, remedy=remedy)
        ) from error


def _read_text(con: Any, path: Path, names: Sequence[str], numbers: Sequence[str]) -> Opened:
    text = read_table(path)
    raise_if(text.asked(names))
    text, faults = text.with_decimal_points(numbers)
    raise_if(faults)
    rows = text.columns.append_column(checks.LINE, pa.array(text.rows, pa.int64()))
    return Opened(_as_view(con, rows), path.name, text.notes)


def _as_view(con: Any, rows: pa.Table) -> ir.Table:
    with without_deprecations():
        return con.create_view("follow_up", ibis.memtable(rows), overwrite=True)


def _read(con: Any, path: Path) -> ir.Table:
    """Rows of Parquet, or of a file that a cluster's engine reads itself."""
    if path.is_dir() or path.suffix.lower() in _PARQUET:
        return con.read_parquet(str(path / "*.parquet") if path.is_dir() else str(path))
    return con.read_csv(str(path))


def _unknown_columns(raw: ir.Table, names: Sequence[str], file: str | None) -> list[Fault]:
    faults = []
    there = [name for name in raw.columns if name != checks.LINE]
    for name in names:
        if name not in there:
            near = get_close_matches(name, there, n=1)
            faults.append(
                Fault(
                    f"there is no column '{name}'",
                    file=file,
                    allowed=", ".join(there[:40]),
                    remedy=f"did you mean '{near[0]}'?" if near else "name one of the columns",
                )
            )
    return faults


def _canonical(
    raw: ir.Table,
    used: Mapping[str, str],
    names: Mapping[str, str],
    months: float,
    code: str | None,
) -> ir.Table:
    columns: dict[str, ir.Value] = {
        "event_text": _text(raw[used["event"]]),
        "event": _event(raw[used["event"]], code),
    }
    for role in ("time", "entry"):
        given = raw[used[role]] if role in used else ibis.literal(0.0)
        columns[role] = _number(given) * months if months != 1 else _number(given)
        columns[f"{role}_text"] = given.cast("string")  # as given, to name a bad value
        odd = (columns[role].isinf() | columns[role].isnan()).fill_null(False)
        if given.type().is_string():
            odd = odd | (columns[role].isnull() & _text(given).notnull()).fill_null(False)
        columns[f"{role}_bad"] = odd
    for role in ("cause", "patient"):
        if role in used:
            columns[role] = _text(raw[used[role]])
    if checks.LINE in raw.columns:
        columns[checks.LINE] = raw[checks.LINE]
    for name, short in names.items():
        columns[short] = _text(raw[name])
    return raw.select(**columns)


def _number(column: ir.Value) -> ir.Value:
    if column.type().is_string():
        return _text(column).try_cast("float64")
    return column.cast("float64")


def _text(column: ir.Value) -> ir.Value:
    text = column.cast("string").strip()
    if column.type().is_floating():
        text = text.re_replace(r"\.0$", "")  # a level 2 read as 2.0 is still level 2
    return text.lower().isin(MISSING).ifelse(ibis.null("string"), text)


def _event(column: ir.Value, code: str | None) -> ir.Value:
    if code is None and (column.type().is_numeric() or column.type().is_boolean()):
        number = column.cast("float64")
        return number.isin((0.0, 1.0)).ifelse(number.cast("int64"), ibis.null("int64"))
    text = _text(column)
    if code is not None:
        return (text.lower() == code.lower()).cast("int64")
    word = text.lower().re_replace(r"^([01]):.*$", r"\1")
    cases = [(word == key, ibis.literal(value)) for key, value in EVENT_WORDS.items()]
    return ibis.cases(*cases, else_=ibis.null("int64")).cast("int64")


def _kept(
    table: ir.Table, used: Mapping[str, str], given: Mapping[str, tuple[str, ...]]
) -> ir.Table:
    kept = table.filter(checks.complete(table) & checks.named(table, given) & checks.at_risk(table))
    censored = ibis.literal("")
    cause = (kept.event == 1).ifelse(kept.cause, censored) if "cause" in used else censored
    columns = {"entry": kept.entry, "time": kept.time, "event": kept.event, "cause": cause}
    if "patient" in used:
        columns["patient"] = kept.patient
    return kept.select(**columns, **{factor: kept[factor] for factor in given})

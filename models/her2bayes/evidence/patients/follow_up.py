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
import pyarrow.dataset

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.patients import follow_up_checks as checks
from her2bayes.evidence.patients.event_codes import (
    CENSORED,
    EVENT,
    MOST_CODES,
    Asked,
    Codes,
    decide,
)
from her2bayes.evidence.patients.follow_up_checks import collect, without_deprecations
from her2bayes.evidence.read_table import (
    NAME,
    TextTable,
    as_arrow,
    levels_in_order,
    read_table,
    without_dictionaries,
)

# months in one unit of time; a month is a twelfth of 365.25 days
MONTHS = {"days": 12 / 365.25, "weeks": 84 / 365.25, "months": 1.0, "years": 12.0}
# not known, in any column; cBioPortal and TCGA write it in brackets
MISSING = frozenset({"", "na", "nan", "null", "n/a", "<na>"}) | {
    f"[{words}]"
    for words in ("not available", "not applicable", "not evaluated", "unknown", "discrepancy",
                  "completed", "pending", "na", "n/a")
}  # fmt: skip
NO_NUMBER = MISSING | {"none"}  # "None" is a level of a factor, but no time and no event
# names that mean something else in the tables and models further on
RESERVED = {"entry", "time", "event", "cause", "patient", "patients", "rows", "history", "group"}
_PARQUET = {".parquet", ".pq"}
RESERVED |= {"interval", "baseline", "landmark", "chain", "draw", "all"}


@dataclass(frozen=True)
class FollowUp:
    """Checked follow-up: rows with ``time > entry``, complete in every column asked for.

    ``factors`` maps each factor to its levels in order; ``causes`` is empty with one kind of event;
    ``left_out`` counts rows by reason; ``rows``, ``patients``, ``events`` count what is kept;
    ``last_time`` is the longest time in months; ``notes`` say how the file was read; ``codes`` what
    each code of ``event_column`` was taken as, and in how many rows it stands; ``mapped`` says how
    a column map was used, and what its codes are.
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
    codes: Codes = field(default_factory=lambda: Codes({}, {}))
    event_column: str = ""
    mapped: tuple[str, ...] = ()

    @property
    def told(self) -> tuple[str, ...]:
        """How the map was used, every code of the event column, how the file was read."""
        codes = [] if self.mapped else self.codes.lines(self.event_column)
        return (*self.mapped, *codes, *self.notes)

    @property
    def connection(self) -> Any:
        """Ibis backend that holds the rows."""
        return self.table._find_backend(use_default=True)


def read_follow_up(
    source: str | Path | pd.DataFrame | pa.Table | TextTable | ir.Table,
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
    censored_codes: Sequence[str] = (),
    missing: Mapping[str, Sequence[str]] | None = None,
    tolerance: float = 0.0,
    member: str = "",
    mapped: Sequence[str] = (),
    nonpositive: Literal["refuse", "drop"] = "refuse",
    longest: float = 600.0,
    many_levels: Sequence[str] = (),
    connection: Any = None,
) -> FollowUp:
    """Read, check and rename follow-up rows.

    ``source`` is delimited text, Parquet (a file or a folder), a data frame (pandas, Polars,
    Arrow), a ``TextTable`` or an Ibis table; the other words are names of its columns. ``by`` lists
    the factors, with their levels in order where given (rows with other levels are left out and
    counted). ``event_code`` is the value that means an event where the codes are not 0 and 1,
    ``censored_codes`` those that mean censored; a code that could mean either is refused. Where
    ``cause`` is the event column itself, its codes are the causes, and 0 (or ``censored_codes``) is
    censored. ``missing`` gives further texts that say "not known", by column. Rows with ``time <=
    entry`` that carry an event are refused unless ``nonpositive="drop"``, or ``time`` is at most
    ``tolerance`` months before ``entry`` (rounded times); censored ones hold no information and are
    left out. Several rows of one ``patient`` are periods, which may not overlap, with one event at
    most, in the last. ``member`` is the one data set of an ensemble that is read; ``mapped`` are
    lines on how a map made the source. ``longest`` is the longest follow-up in months that is
    believed to be in months. ``many_levels`` are factors allowed many levels (centres, studies).

    Raises ``BadInput`` with every fault found, naming rows where the backend keeps their order.
    """
    told = patient is not None
    patient = None if patient == NO_PATIENT else patient
    wanted = dict(by) if isinstance(by, Mapping) else dict.fromkeys(by)
    columns = {"time": time, "event": event, "entry": entry, "cause": cause, "patient": patient}
    used = {role: name for role, name in columns.items() if name}
    opened = open_table(
        source,
        connection,
        names=[*used.values(), *wanted],
        numbers=[used[role] for role in ("time", "entry") if role in used],
    )
    named = None if mapped else opened.file  # rows that a map made are rows of no file
    raw = _one_member(opened.table, member, used, named)
    raise_if(_unknown_columns(raw, [*used.values(), *wanted], named))
    if time_unit not in MONTHS:
        raise BadInput(Fault("unknown time unit", value=time_unit, allowed=", ".join(MONTHS)))
    words = {name: frozenset(w.lower() for w in texts) for name, texts in (missing or {}).items()}
    raise_if(_unknown_columns(raw, list(words), named))
    names = {name: factor_name(name) for name in wanted}
    given = {short: tuple(wanted[name] or ()) for name, short in names.items()}
    asked = Asked(event_code, tuple(censored_codes), causes=cause == event)
    with _told_of(named):
        codes = _codes(raw, event, words.get(event, frozenset()), asked, named)
        table = _canonical(raw, used, names, MONTHS[time_unit], codes, words, tolerance)
        scan = checks.scan(table, given, "patient" in used, tolerance)
    limits = checks.Limits(
        nonpositive=nonpositive == "drop",
        longest=longest,
        time_unit=time_unit,
        tolerance=tolerance,
        many_levels=tuple(factor_name(name) for name in many_levels),
    )
    titles = {short: name for name, short in names.items()}
    known = {short: opened.levels.get(name, ()) for name, short in names.items()}
    faults = [
        *codes.faults,
        *_left_ends(raw, used, named),
        *([] if told else _repeated_patients(raw, used, named)),
    ]
    raise_if(faults + checks.faults(table, scan, used, limits, file=named, titles=titles))
    kept = _kept(table, used, given)
    return FollowUp(
        table=kept,
        factors=checks.levels(table, given, named, known),
        causes=checks.causes(kept) if "cause" in used else (),
        endpoint=endpoint or re.sub(r"_?(months|days|time)$", "", time) or time,
        has_entry="entry" in used,
        has_patient="patient" in used,
        notes=(*opened.notes, *([f"member {member} of an ensemble"] if member else [])),
        mapped=tuple(mapped),
        codes=codes,
        event_column=event,
        **checks.counts(scan, "patient" in used),
    )


def _one_member(raw: ir.Table, member: str, used: Mapping[str, str], file: str | None) -> ir.Table:
    """Rows of one cohort of an ensemble that ``reconstruct`` wrote; several are never pooled."""
    if MEMBER not in raw.columns or MEMBER in used.values():
        if member:
            remedy = "leave --member out: the file is no ensemble"
            raise BadInput(Fault("there is no column 'member'", file=file, remedy=remedy))
        return raw
    text = raw[MEMBER].cast("string")
    known = sorted(collect(raw.select(member=text).distinct())["member"].dropna(), key=_natural)
    if len(known) < 2 and not member:
        return raw
    if member not in known:
        raise BadInput(
            Fault(
                f"the file is an ensemble: {len(known)} versions of one cohort, not more patients",
                file=file,
                column=MEMBER,
                value=member or None,
                allowed=f"one of {', '.join(known[:5])}{', …' if len(known) > 5 else ''}",
                remedy="choose one with --member, and repeat for others: how the answers spread is "
                "what the curve does not tell",
            )
        )
    return raw.filter(text == member)


def has_members(source: Any) -> bool:
    """Whether a source is an ensemble that ``reconstruct`` wrote."""
    return MEMBER in open_table(source).table.columns


def _natural(text: str) -> tuple[float, str]:
    return (float(text), text) if text.replace(".", "", 1).isdigit() else (float("inf"), text)


MEMBER = "member"  # column of files that hold several versions of one cohort
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

    ``levels`` are those of its categorical columns, in their order. The table of a text file holds
    the line of each row in the column ``checks.LINE``.
    """

    table: ir.Table
    file: str | None = None
    notes: tuple[str, ...] = ()
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


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
    if isinstance(source, TextTable):
        return _of_text(con, source, names, numbers)
    if not isinstance(source, str | Path):
        return _of_frame(con, source)
    path = Path(source)
    if not path.exists():
        raise BadInput(Fault("no such file", file=path, remedy="check the path"))
    if path.is_file() and path.suffix.lower() not in _PARQUET and con.name == "duckdb":
        return _of_text(con, read_table(path), names, numbers)
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


def _of_text(con: Any, text: TextTable, names: Sequence[str], numbers: Sequence[str]) -> Opened:
    raise_if(text.asked(names))
    text, faults = text.with_decimal_points(numbers)
    raise_if(faults)
    rows = text.columns.append_column(checks.LINE, pa.array(text.rows, pa.int64()))
    return Opened(_as_view(con, rows), text.path.name, text.notes)


def _of_frame(con: Any, frame: Any) -> Opened:
    """Rows of a data frame, or of Parquet files that Arrow streams."""
    if isinstance(frame, pyarrow.dataset.Dataset):
        file = Path(frame.files[0]).name if len(frame.files) == 1 else None
        return Opened(_as_view(con, frame), file)
    rows = as_arrow(frame)
    levels = {name: levels_in_order(rows, name) for name in rows.column_names}
    return Opened(_as_view(con, without_dictionaries(rows)), NAME, levels=levels)


def _as_view(con: Any, rows: pa.Table | pyarrow.dataset.Dataset) -> ir.Table:
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


def _codes(
    raw: ir.Table, column: str, words: frozenset[str], asked: Asked, file: str | None
) -> Codes:
    """Meaning of each code of the event column, from the numbers of rows that have it."""
    few = raw.select(code=_plain(raw[column])).group_by("code").agg(rows=lambda t: t.count())
    found = collect(few.limit(MOST_CODES + 100))
    count = {str(c): int(n) for c, n in zip(found["code"].fillna(""), found["rows"], strict=True)}
    return decide(count, NO_NUMBER | words, asked, column, file)


_LEFT = {"right": "left", "r": "l", "upper": "lower", "time2": "time1", "right_time": "left_time"}


def _left_ends(raw: ir.Table, used: Mapping[str, str], file: str | None) -> list[Fault]:
    """Ask of a time that is named as the right end of an interval whose left end stands beside."""
    here = {name.lower(): name for name in raw.columns}
    left = here.get(_LEFT.get(used["time"].lower(), ""))
    if left is None or "entry" in used:  # with --entry: see the checks
        return []
    return [
        Fault(
            f"may be the right end of an interval ({left}, {used['time']}] in which the event "
            "happened (interval censoring)",
            file=file,
            column=used["time"],
            remedy="no model here takes interval-censored times; rename the column if it is none",
        )
    ]


def _snake(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def _repeated_patients(raw: ir.Table, used: Mapping[str, str], file: str | None) -> list[Fault]:
    """Ask what rows with the same patient id are, where a column is evidently one of patients."""
    evident = [name for name in raw.columns if _PATIENT_ID.fullmatch(_snake(name))]
    if not evident or set(evident) & set(used.values()):
        return []
    ids = known_text(raw[evident[0]])
    found = collect(raw.aggregate(rows=ids.count(), ids=ids.nunique())).iloc[0]
    if found["rows"] == found["ids"]:
        return []
    return [
        Fault(
            f"{int(found['rows']):,} rows hold {int(found['ids']):,} patients",
            file=file,
            column=evident[0],
            remedy=f"keep one row a patient; where rows are periods (entry, time] of a patient: "
            f"--patient {evident[0]}; where each row is a patient of its own: --patient none",
        )
    ]


_PERSON = "patient|pat|pt|subject|subj|usubj|person|participant|case|record"
_PATIENT_ID = re.compile(
    rf"(?:{_PERSON})_?(?:ids?|nr|no|num|number|code|key|barcode)|patient|subject|usubjid|subjid"
    r"|bcr_patient_barcode|id|mrn"
)
NO_PATIENT = "none"  # what a user says where rows with one id are different patients


def _canonical(
    raw: ir.Table,
    used: Mapping[str, str],
    names: Mapping[str, str],
    months: float,
    codes: Codes,
    words: Mapping[str, frozenset[str]],
    tolerance: float,
) -> ir.Table:
    written = _plain(raw[used["event"]])
    columns: dict[str, ir.Value] = {
        "event_text": written,
        "event": _event(written, codes),
    }
    for role in ("time", "entry"):
        given = raw[used[role]] if role in used else ibis.literal(0.0)
        absent = NO_NUMBER | words.get(used.get(role, ""), frozenset())
        columns[role] = _number(given, absent) * months if months != 1 else _number(given, absent)
        columns[f"{role}_text"] = given.cast("string")  # as given, to name a bad value
        odd = (columns[role].isinf() | columns[role].isnan()).fill_null(False)
        if given.type().is_string():
            text = known_text(given, absent)
            odd = odd | (columns[role].isnull() & text.notnull()).fill_null(False)
        columns[f"{role}_bad"] = odd
    if tolerance and "entry" in used:  # rounded times: an entry a little before the start is 0
        entry = columns["entry"]
        columns["entry"] = ((entry < 0) & (entry >= -tolerance)).ifelse(0.0, entry)
    for role in ("cause", "patient"):
        if role in used:
            absent = MISSING | words.get(used[role], frozenset())
            columns[role] = known_text(raw[used[role]], absent)
    if checks.LINE in raw.columns:
        columns[checks.LINE] = raw[checks.LINE]
    for name, short in names.items():
        columns[short] = known_text(raw[name], MISSING | words.get(name, frozenset()))
    return raw.select(**columns)


def _number(column: ir.Value, missing: frozenset[str]) -> ir.Value:
    if column.type().is_string():
        return known_text(column, missing).try_cast("float64")
    return column.cast("float64")


def _plain(column: ir.Value) -> ir.Value:
    text = column.cast("string").strip()
    if column.type().is_floating():
        text = text.re_replace(r"\.0$", "")  # a level 2 read as 2.0 is still level 2
    return text


def known_text(column: ir.Value, missing: frozenset[str] = MISSING) -> ir.Value:
    """Text of a column, null where it says that nothing is known."""
    text = _plain(column)
    return text.lower().isin(sorted(missing)).ifelse(ibis.null("string"), text)


def _event(written: ir.Value, codes: Codes) -> ir.Value:
    """1 event, 0 censored, null where missing or without a meaning (which is a fault)."""
    value = {EVENT: 1, CENSORED: 0}
    cases = [
        (written == code, ibis.literal(value[meaning]))
        for code, meaning in codes.meaning.items()
        if meaning in value
    ]
    if not cases:
        return ibis.null("int64")
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

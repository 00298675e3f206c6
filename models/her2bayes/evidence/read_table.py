"""A file as a table of text: nothing converted, nothing repaired, every fault of the file named.

Patient files, curves, tables at risk, landmarks and printed tables are all read here, so that one
set of rules and messages holds (`delimited` has the rules of rows and cells). Rows carry the number
that an editor shows, comment lines and empty lines counted.

Any data frame as an Arrow table: pandas, Polars, Arrow, or what narwhals understands.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.delimited import (
    SAVE_AS,
    SEPARATORS,
    Layout,
    decimal_fault,
    decode,
    is_number,
    layout,
    or_a_study,
    records,
    with_point,
)

NAME = "data frame"
"""What messages call a table that is no file."""
_ALLOWED = "a path, a data frame (pandas, Polars, PyArrow or another that exports Arrow)"


def as_arrow(frame: Any) -> pa.Table:
    """Columns of a data frame as Arrow, with the types that the frame gives them.

    The order of the categories of a pandas or Polars categorical is kept. A column of objects that
    Arrow has no type for (numbers and text mixed) becomes text. Raises ``BadInput`` for what is no
    data frame, and for a column name that stands twice.
    """
    if isinstance(frame, pd.DataFrame):
        table = _of_pandas(frame)
    elif isinstance(frame, pa.Table):
        table = frame
    elif isinstance(frame, pa.RecordBatch) or hasattr(frame, "__arrow_c_stream__"):
        table = pa.table(frame)
    else:
        table = _through_narwhals(frame)
    names = table.column_names
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    remedy = "rename one of the two, so that it is clear which is meant"
    raise_if([Fault("column name stands twice", NAME, 1, name, remedy=remedy) for name in twice])
    if not table.num_rows:
        remedy = "check how the frame was made"
        raise BadInput(Fault("no rows", file=NAME, remedy=remedy))
    return table.replace_schema_metadata(None).unify_dictionaries()


def _of_pandas(frame: pd.DataFrame) -> pa.Table:
    titles = [str(name) for name in frame.columns]
    columns = [_column(frame.iloc[:, place]) for place in range(len(titles))]
    return pa.Table.from_arrays(columns, names=titles)


def _column(column: pd.Series) -> pa.Array:
    try:
        return pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        text = column.astype("object").map(str, na_action="ignore")
        return pa.array([None if pd.isna(cell) else cell for cell in text], pa.string())


def _through_narwhals(frame: Any) -> pa.Table:
    import narwhals as nw

    try:
        native = nw.from_native(frame)
    except TypeError as error:
        raise BadInput(
            Fault("no table of patients or counts", value=type(frame).__name__, allowed=_ALLOWED,
                  remedy="give one of those")
        ) from error  # fmt: skip
    eager = native.collect() if isinstance(native, nw.LazyFrame) else native
    table: pa.Table = eager.to_arrow()
    return table


def as_text(column: pa.ChunkedArray) -> pd.Series:
    """Text of a typed column: whole numbers without a decimal point, missing as empty."""
    series = column.to_pandas()
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.dtype.categories.dtype)
    dates = pd.api.types.is_datetime64_any_dtype(series)
    if pd.api.types.is_float_dtype(series) and (series.dropna() % 1 == 0).all():
        series = series.astype("Int64")
    text = series.astype("string").fillna("")
    if dates:
        text = text.str.removesuffix(" 00:00:00")
    return text.astype("str")


def text_columns(table: pa.Table) -> pa.Table:
    """All columns of a typed table as text."""
    texts = {name: pa.array(as_text(table[name]), pa.string()) for name in table.column_names}
    return pa.table(texts)


def without_dictionaries(table: pa.Table) -> pa.Table:
    """The same columns without dictionaries, which engines know under different names."""
    for place, kind in enumerate(table.schema.types):
        if pa.types.is_dictionary(kind):
            column = table.column(place).cast(kind.value_type)
            table = table.set_column(place, table.column_names[place], column)
    return table


def levels_in_order(table: pa.Table, name: str) -> tuple[str, ...]:
    """Categories of a categorical column in the order somebody gave them; empty for other columns.

    Categories in the order of the alphabet are in no order that somebody gave, unless the frame
    says that they are ordered.
    """
    if name not in table.column_names:
        return ()
    kind = table.schema.field(name).type
    if not pa.types.is_dictionary(kind) or not table[name].num_chunks:
        return ()
    known = [str(level) for level in table[name].chunk(0).dictionary.to_pylist()]
    if known == sorted(known) and not kind.ordered:
        return ()
    seen = set(map(str, table[name].unique().to_pylist()))
    return tuple(level for level in known if level in seen)


def digest_of(table: pa.Table) -> str:
    """Digest of names, types and values, however the table is cut into chunks."""
    sink = pa.BufferOutputStream()
    plain = without_dictionaries(table).replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(sink, plain.schema) as stream:
        stream.write_table(plain)
    return hashlib.sha256(sink.getvalue()).hexdigest()


SHOWN = 5  # faults of one kind that are listed before the rest is only counted
_LARGE = 4_000_000  # characters from which files without quotation marks take the fast road
_CHUNK = 100_000  # rows turned into columns at a time
_TYPES = {"string", "text", "character", "varchar", "factor", "number", "numeric", "integer", "int"}
_TYPES |= {"float", "double", "real", "boolean", "bool", "logical", "date", "datetime"}


@dataclass(frozen=True)
class TextTable:
    """Columns of text (missing is empty), the file row of each line, a digest of the bytes.

    ``twice`` holds the places of names that stand more than once: such columns are not in the
    table, and a fault only for who asks for them. ``headless`` tables name their columns
    ``column 1`` and so on. ``notes`` say what was recognised and what is not used.
    """

    columns: pa.Table
    path: Path
    rows: np.ndarray
    digest: str
    header_row: int = 1
    twice: tuple[tuple[str, tuple[int, ...]], ...] = ()
    headless: bool = False
    notes: tuple[str, ...] = ()

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The columns as a data frame of text."""
        return self.columns.to_pandas()

    def row(self, position: int) -> int:
        """Row number in the file of a 0-based position."""
        return int(self.rows[position])

    def asked(self, names: Sequence[str]) -> list[Fault]:
        """Faults of columns that are asked for and whose name stands more than once."""
        places = dict(self.twice)
        return [
            Fault(
                f"column name stands twice, as columns {', '.join(map(str, places[name]))}",
                file=self.path,
                row=self.header_row,
                column=name,
                remedy="rename one of the two, so that it is clear which is meant",
            )
            for name in dict.fromkeys(names)
            if name in places
        ]

    def with_decimal_points(self, names: Sequence[str]) -> tuple[TextTable, list[Fault]]:
        """Columns of numbers with decimal commas turned into points, where the column decides it.

        Cells that are no numbers stay as they are. Faults: commas with two readings.
        """
        table, faults, changed = self.columns, [], []
        for name in dict.fromkeys(names):
            if name not in table.column_names:
                continue
            column = table[name]
            if not pc.any(pc.match_substring(column, ",")).as_py():
                continue
            cells = column.to_pylist()
            seen = [
                k for k, cell in enumerate(cells) if is_number(cell) and re.search("[.,]", cell)
            ]
            if not any("," in cells[k] for k in seen):
                continue
            fault = decimal_fault(
                [cells[k] for k in seen], [self.row(k) for k in seen], self.path, name
            )
            if fault is not None:
                faults.append(fault)
                continue
            for k in seen:
                cells[k] = with_point(cells[k])
            place = table.column_names.index(name)
            table = table.set_column(place, name, pa.array(cells, pa.string()))
            changed.append(name)
        if not changed:
            return self, faults
        note = f"decimal commas in {', '.join(changed)}"
        return replace(self, columns=table, notes=(*self.notes, note)), faults


def read_table(
    path: Path,
    *,
    separator: str = "",
    encoding: str = "",
    comment: str = "#",
    header_rows: int | None = None,
    headless: bool = False,
    mapped: bool = False,
) -> TextTable:
    """Read delimited text (a cBioPortal export with comment lines among them) or Parquet as text.

    Separator and encoding are found in the content unless given; ``header_rows`` is the number of
    further header rows under the names (types, descriptions; known archives are recognised);
    ``headless`` accepts a file of numbers without a header; ``mapped`` says that a column map can
    hold these settings, so that remedies may name it.

    Raises ``BadInput`` where the file is no table: missing, empty, no text, a separator that does
    not fit, rows longer or shorter than the header.
    """
    raw = _bytes(path)
    digest = hashlib.sha256(raw).hexdigest()
    if path.suffix.lower() in (".parquet", ".pq"):
        columns = _parquet(raw, path)
        table = TextTable(columns, path, np.arange(2, len(columns) + 2), digest)
    else:
        remedy = SAVE_AS + (', or name it in the map: [files] encoding = "latin-1"' * mapped)
        text = decode(raw, path, encoding, remedy)
        laid = layout(text, path, separator, comment)
        table = _delimited(text, laid, path, digest, header_rows, headless, mapped)
    if not len(table.columns):
        remedy = "check that the export holds data rows"
        raise BadInput(Fault("no data rows below the header", file=path, remedy=remedy))
    return table


def text_table(source: Any) -> TextTable:
    """A file, or a data frame as the file it would be: its first row is row 2."""
    if isinstance(source, TextTable):
        return source
    if isinstance(source, str | Path):
        return read_table(Path(source))
    table = as_arrow(source)
    rows = np.arange(2, table.num_rows + 2)
    return TextTable(text_columns(table), Path(NAME), rows, digest_of(table))


def read_records(path: Path) -> tuple[list[tuple[int, list[str]]], int]:
    """Rows of a small file with their lines, whatever their lengths, and the greatest length."""
    text = decode(_bytes(path), path)
    rows = list(records(text, layout(text, path), path))
    if not rows:
        raise BadInput(_nothing(path))
    return rows, max(len(cells) for _, cells in rows)


def _nothing(path: Path) -> Fault:
    return Fault("nothing but blank lines", file=path, remedy="check that the export holds rows")


def _bytes(path: Path) -> bytes:
    if not path.exists():
        near = [p.name for p in sorted(path.parent.glob("*")) if p.is_file()][:8]
        allowed = f"files there: {', '.join(near)}" if near else None
        remedy = f"correct the path{or_a_study(path)}"
        raise BadInput(Fault("no such file", file=path, allowed=allowed, remedy=remedy))
    if path.is_dir():
        raise BadInput(Fault("a folder, not a file", file=path, remedy="name the file inside it"))
    return path.read_bytes()


def _delimited(
    text: str,
    laid: Layout,
    path: Path,
    digest: str,
    header_rows: int | None,
    headless: bool,
    mapped: bool,
) -> TextTable:
    top = list(islice(records(text, laid, path), 6))
    if not top:
        raise BadInput(_nothing(path))
    row, header = top[0]
    notes = list(laid.notes)
    bare = all(is_number(cell) for cell in header if cell) and any(header)
    if bare and not headless:
        problem = "no header: the first line holds numbers only"
        remedy = "write the names of the columns above it"
        raise BadInput(Fault(problem, file=path, row=row, value=",".join(header), remedy=remedy))
    _check_separator(header, laid, text, path, mapped)
    names = [f"column {k}" for k in range(1, len(header) + 1)] if bare else _names(header)
    extra = 0 if bare else header_rows if header_rows is not None else _extra_rows(top)
    if bare:
        notes.append(f"no header: the first line (row {row}) is data")
    if extra:
        lines = ", ".join(str(line) for line, _ in top[1 : 1 + extra])
        notes.append(f"row {lines} below the names explains the columns and is not data")
    columns, rows = _columns(text, laid, path, len(header), 0 if bare else 1 + extra)
    places = {
        name: tuple(k for k, other in enumerate(names, 1) if other == name)
        for name, count in Counter(names).items()
        if count > 1
    }
    for name, where in places.items():
        notes.append(
            f"column name '{name}' stands twice (columns {', '.join(map(str, where))}): not used"
        )
    kept = {name: column for name, column in zip(names, columns, strict=True) if name not in places}
    return TextTable(
        pa.table(kept), path, rows, digest, row, tuple(places.items()), bare, tuple(notes)
    )


def _names(header: list[str]) -> list[str]:
    """Names of columns; one without a name is called by its place."""
    return [name or f"column {k}" for k, name in enumerate(header, 1)]


def _check_separator(header: list[str], laid: Layout, text: str, path: Path, mapped: bool) -> None:
    """Refuse a given separator that does not divide the header where another one does."""
    line = text[laid.start :].partition("\n")[0]
    others = {
        name: line.count(s) for name, s in SEPARATORS.items() if s not in (laid.separator, " ")
    }
    likely = max(others, key=lambda name: others[name])
    if len(header) == 1 and others[likely]:
        problem = f"one column only: the separator looks like '{likely}'"
        remedy = f'say so in the map: [files] separator = "{likely}"' if mapped else "correct it"
        raise BadInput(Fault(problem, file=path, row=laid.row, value=line[:60], remedy=remedy))


def _extra_rows(top: list[tuple[int, list[str]]]) -> int:
    """Header rows under the names as archives write them: CDE identifiers, types, names again."""
    header = {name.casefold() for name in top[0][1] if name}
    found = 0
    for place, (_, cells) in enumerate(top[1:4], 1):
        filled = [cell.casefold() for cell in cells if cell]
        codes = sum(cell.startswith("cde_id") for cell in filled)
        again = sum(cell in header for cell in filled)
        types = all(cell in _TYPES for cell in filled) and len(filled) > 1
        if codes > 1 or types or (len(filled) > 1 and again > len(filled) / 2):
            found = place
    return found


def _columns(
    text: str, laid: Layout, path: Path, width: int, skip: int
) -> tuple[list[pa.ChunkedArray], np.ndarray]:
    """Columns of text and the line of each row; ``skip`` records stand above the data."""
    if len(text) > _LARGE and '"' not in text and laid.separator != " ":
        fast = _fast(text, laid, width, skip)
        if fast is not None:
            return fast
    lines: list[int] = []
    chunks: list[list[pa.Array]] = []
    bad: list[tuple[int, int]] = []
    data = islice(records(text, laid, path), skip, None)
    while part := list(islice(data, _CHUNK)):
        good = []
        for line, cells in part:
            if len(cells) > width and not any(cells[width:]):
                del cells[width:]  # separators at the end of a line hold nothing
            if len(cells) == width:
                lines.append(line)
                good.append(cells)
            else:
                bad.append((line, len(cells)))
        if good:
            chunks.append([pa.array(values, pa.string()) for values in zip(*good, strict=True)])
    raise_if(_ragged(bad, width, len(lines), path))
    columns = [
        pa.chunked_array([chunk[k] for chunk in chunks], type=pa.string()) for k in range(width)
    ]
    return columns, np.array(lines, int)


def _fast(
    text: str, laid: Layout, width: int, skip: int
) -> tuple[list[pa.ChunkedArray], np.ndarray] | None:
    """The same for a large file without quotation marks, whose lines are its rows.

    None where a row has another length, which the other road names.
    """
    raw = text[laid.start :].encode()
    names = [str(k) for k in range(width)]
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(raw),
            read_options=pyarrow.csv.ReadOptions(
                column_names=names, skip_rows_after_names=skip, use_threads=False
            ),
            parse_options=pyarrow.csv.ParseOptions(delimiter=laid.separator, quote_char=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        return None
    ends = np.flatnonzero(np.frombuffer(raw, np.uint8) == ord("\n"))
    ends = ends if raw.endswith(b"\n") else np.append(ends, len(raw))
    lines = np.flatnonzero(np.diff(ends, prepend=-1) > 1)[skip:] + laid.row
    columns = [pc.utf8_trim_whitespace(column) for column in table.columns]
    if len(lines) != len(table):
        return None
    filled = np.zeros(len(lines), bool)
    for column in columns:
        filled |= pc.not_equal(column, "").to_numpy()
        if filled.all():
            return columns, lines
    return [column.filter(pa.array(filled)) for column in columns], lines[filled]


def _ragged(bad: list[tuple[int, int]], width: int, good: int, path: Path) -> list[Fault]:
    remedy = "quote text that holds the separator; remove stray separators; write empty cells too"
    if bad and not good and {fields for _, fields in bad} == {width + 1}:
        remedy = "name every column; R writes row names without one (row.names = FALSE)"
    faults = [
        Fault(f"{fields} fields where the header has {width}", file=path, row=line, remedy=remedy)
        for line, fields in bad[:SHOWN]
    ]
    if len(bad) > SHOWN:
        faults.append(Fault(f"{len(bad) - SHOWN} more rows of another length", file=path))
    return faults


def _parquet(raw: bytes, path: Path) -> pa.Table:
    try:
        table = pyarrow.parquet.read_table(pa.BufferReader(raw))
    except (pa.ArrowInvalid, OSError) as error:
        remedy = "check the file, or give it its right ending (.csv, .txt)"
        raise BadInput(Fault(f"not a Parquet file: {error}", file=path, remedy=remedy)) from error
    return text_columns(table)

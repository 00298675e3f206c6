"""A file as a table of text: nothing converted, nothing repaired, every fault of the file named.

Rows are numbered as a spreadsheet shows them, comment lines of cBioPortal exports included.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from her2bayes.errors import BadInput, Fault

SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}
SHOWN = 5  # faults of one kind that are listed before the rest is only counted
_LIMIT = 4_000_000  # bytes looked at to guess the separator


@dataclass(frozen=True)
class TextTable:
    """Columns of text (missing is empty), the file row of each line, a digest of the bytes."""

    frame: pd.DataFrame
    path: Path
    rows: np.ndarray
    digest: str

    def row(self, position: int) -> int:
        """Row number in the file of a 0-based position."""
        return int(self.rows[position])


def read_table(
    path: Path, *, separator: str | None = None, encoding: str = "utf-8", comment: str = "#"
) -> TextTable:
    """Read CSV, a cBioPortal export (leading comment lines) or Parquet as text.

    The separator is taken from the file name (``.csv`` comma, ``.tsv`` and ``.txt`` tab) unless
    given. Raises ``BadInput`` where the file is no table: missing, empty, another encoding, wrong
    separator, rows longer or shorter than the header, a column name twice.
    """
    raw = _bytes(path)
    digest = hashlib.sha256(raw).hexdigest()
    if path.suffix.lower() in (".parquet", ".pq"):
        frame = _parquet(raw, path)
        rows = np.arange(2, len(frame) + 2)
    else:
        sign = SEPARATORS.get(separator or "", separator) or _separator(path)
        frame, rows = _delimited(raw, path, sign, encoding, comment)
    if frame.empty:
        remedy = "check that the export holds data rows"
        raise BadInput(Fault("no data rows below the header", file=path, remedy=remedy))
    return TextTable(frame, path, rows, digest)


def _bytes(path: Path) -> bytes:
    if not path.exists():
        near = [p.name for p in sorted(path.parent.glob("*")) if p.is_file()][:8]
        allowed = f"files there: {', '.join(near)}" if near else None
        raise BadInput(
            Fault("file does not exist", file=path, allowed=allowed, remedy="correct the path")
        )
    if path.is_dir():
        raise BadInput(Fault("a folder, not a file", file=path, remedy="name the file inside it"))
    raw = path.read_bytes()
    if not raw.strip():
        raise BadInput(Fault("file is empty", file=path, remedy="export it again"))
    return raw


def _separator(path: Path) -> str:
    return "," if path.suffix.lower() == ".csv" else "\t"


def _delimited(
    raw: bytes, path: Path, separator: str, encoding: str, comment: str
) -> tuple[pd.DataFrame, np.ndarray]:
    raw = _as_utf8(raw, path, encoding)
    skipped = _comment_lines(raw, comment)
    header = _header(raw, path, separator, skipped)
    bad: list[tuple[int, int]] = []

    def note(row: pyarrow.csv.InvalidRow) -> str:
        bad.append((row.number or 0, row.actual_columns))
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(raw),
            read_options=pyarrow.csv.ReadOptions(skip_rows=skipped, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, invalid_row_handler=note
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        remedy = "open the file and look for an unclosed quotation mark"
        raise BadInput(Fault(f"not a table: {error}", file=path, remedy=remedy)) from error
    if table.column_names != header:
        remedy = "quotation marks in the header do not pair up, or a name runs over two lines"
        raise BadInput(Fault("header not understood", file=path, row=skipped + 1, remedy=remedy))
    if bad:
        raise BadInput(_ragged(bad, len(header), path))
    frame = table.to_pandas()
    return frame, _row_numbers(raw, skipped, len(frame))


def _row_numbers(raw: bytes, skipped: int, count: int) -> np.ndarray:
    """Rows of the data lines, empty lines counted as a spreadsheet does (the reader drops them)."""
    plain = np.arange(skipped + 2, skipped + 2 + count)
    if not re.search(rb"\n\r?\n.", raw):
        return plain
    lines = raw.split(b"\n")[skipped + 1 :]
    filled = np.flatnonzero([bool(line.strip(b"\r")) for line in lines]) + skipped + 2
    # a quoted cell over several lines leaves more lines than records: the plain count is nearer
    return filled if len(filled) == count else plain


def _as_utf8(raw: bytes, path: Path, encoding: str) -> bytes:
    try:
        raw = raw.decode(encoding).encode()
    except LookupError as error:
        raise BadInput(
            Fault("unknown encoding", file=path, value=encoding, allowed="e.g. utf-8, latin-1")
        ) from error
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        found = raw[error.start : error.start + 1]
        raise BadInput(
            Fault(
                f"not {encoding.upper()} text",
                file=path,
                row=row,
                value=found,
                remedy='save as UTF-8, or name it in the map: [files] encoding = "latin-1"',
            )
        ) from error
    if b"\x00" in raw:
        row = raw.count(b"\n", 0, raw.index(b"\x00")) + 1
        remedy = "export it as text; spreadsheets (.xlsx) must be saved as CSV"
        raise BadInput(Fault("holds binary data", file=path, row=row, remedy=remedy))
    return raw.removeprefix(b"\xef\xbb\xbf")


def _comment_lines(raw: bytes, comment: str) -> int:
    count, start, mark = 0, 0, comment.encode()
    while mark and raw.startswith(mark, start):
        end = raw.find(b"\n", start)
        if end < 0:
            break
        count, start = count + 1, end + 1
    return count


def _header(raw: bytes, path: Path, separator: str, skipped: int) -> list[str]:
    lines = raw[:_LIMIT].decode(errors="ignore").splitlines()[skipped:]
    if not lines:
        remedy = "check that the export holds a header and data rows"
        raise BadInput(Fault("nothing but comment lines", file=path, remedy=remedy))
    header = next(csv.reader([lines[0]], delimiter=separator))
    others = {name: lines[0].count(sign) for name, sign in SEPARATORS.items() if sign != separator}
    likely = max(others, key=lambda name: others[name])
    if len(header) == 1 and others[likely]:
        raise BadInput(
            Fault(
                f"one column only: the separator looks like '{likely}'",
                file=path,
                row=skipped + 1,
                value=lines[0][:60],
                remedy=f'say so in the map: [files] separator = "{likely}"',
            )
        )
    faults = _name_faults(header, path, skipped + 1)
    if faults:
        more = len(faults) - 4 * SHOWN
        rest = [Fault(f"{more} more columns without a name of their own", file=path)]
        raise BadInput(faults[: 4 * SHOWN] + (rest if more > 0 else []))
    return header


def _name_faults(header: list[str], path: Path, row: int) -> list[Fault]:
    twice = [name for name, count in Counter(header).items() if count > 1]
    return [
        Fault("column name stands twice", file=path, row=row, column=name,
              remedy="rename one of the two")
        for name in twice if name
    ] + [
        Fault(f"column {place} has no name", file=path, row=row, remedy="name it")
        for place, name in enumerate(header, 1) if not name
    ]  # fmt: skip


def _ragged(bad: list[tuple[int, int]], width: int, path: Path) -> list[Fault]:
    faults = [
        Fault(
            f"{fields} fields where the header has {width}",
            file=path,
            row=number or None,
            remedy="quote text that holds the separator; remove stray separators",
        )
        for number, fields in bad[:SHOWN]
    ]
    if len(bad) > SHOWN:
        faults.append(Fault(f"{len(bad) - SHOWN} more rows of another length", file=path))
    return faults


def _parquet(raw: bytes, path: Path) -> pd.DataFrame:
    try:
        table = pyarrow.parquet.read_table(pa.BufferReader(raw))
    except (pa.ArrowInvalid, OSError) as error:
        remedy = "check the file, or give it its right ending (.csv, .txt)"
        raise BadInput(Fault(f"not a Parquet file: {error}", file=path, remedy=remedy)) from error
    return pd.DataFrame({name: _as_text(table[name]) for name in table.column_names})


def _as_text(column: pa.ChunkedArray) -> pd.Series:
    """Text of a typed column: whole numbers without a decimal point, missing as empty."""
    series = column.to_pandas()
    if pd.api.types.is_float_dtype(series) and (series.dropna() % 1 == 0).all():
        series = series.astype("Int64")
    text = series.astype("string").fillna("")
    if pd.api.types.is_datetime64_any_dtype(column.to_pandas()):
        text = text.str.removesuffix(" 00:00:00")
    return text.astype("str")

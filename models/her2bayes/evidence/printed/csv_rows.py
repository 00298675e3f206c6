"""One small CSV file as numbered rows of text, with everything that is wrong with the file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from her2bayes.errors import BadInput, Fault, nearest
from her2bayes.evidence.delimited import layout, records
from her2bayes.evidence.printed.schema import MAX_BYTES

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_SAVE_AS = "save it as 'CSV UTF-8 (comma separated)'"


@dataclass(frozen=True)
class Row:
    """One data row: its number in the file (a spreadsheet's, header and comments counted)."""

    number: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        """Text of a cell; empty where the file lacks the column."""
        return self.cells.get(column, "")


@dataclass(frozen=True)
class Rows:
    """Rows of a file, the wanted columns it has, and the faults of the file itself."""

    file: Path
    rows: tuple[Row, ...]
    columns: frozenset[str]
    faults: tuple[Fault, ...] = ()


def read_text(file: Path) -> str | Fault:
    """UTF-8 text of a regular file of bearable size, a leading byte-order mark removed."""
    try:
        if not file.is_file():
            problem = "not a regular file" if file.exists() else "file is missing"
            problem = "a folder where a file should be" if file.is_dir() else problem
            remedy = f"put a file {file.name} there; an example: bash scripts/run new_study NAME"
            return Fault(problem, file=file, remedy=remedy)
        if file.stat().st_size > MAX_BYTES:
            size = f"{file.stat().st_size / 1e6:.0f} MB"
            allowed = f"up to {MAX_BYTES // 10**6} MB"
            remedy = "a ledger holds printed numbers only; patient files are read by other scripts"
            return Fault("file is too large", file=file, value=size, allowed=allowed, remedy=remedy)
        raw = file.read_bytes()
    except OSError as error:
        return Fault(f"cannot be read: {error.strerror}", file=file, remedy="check its permissions")
    return _decode(raw, file)


def _decode(raw: bytes, file: Path) -> str | Fault:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
        return Fault(
            f"not UTF-8 text at byte {error.start + 1}" + (" (looks like UTF-16)" if utf16 else ""),
            file=file,
            row=raw.count(b"\n", 0, error.start) + 1,
            value=raw[error.start : error.start + 1],
            remedy=_SAVE_AS,
        )
    control = _CONTROL.search(text)
    if control:
        name = "NUL byte" if control[0] == "\0" else "control character"
        row = text.count("\n", 0, control.start()) + 1
        return Fault(f"holds a {name}", file=file, row=row, value=control[0], remedy=_SAVE_AS)
    if not text.strip():
        return Fault("file is empty", file=file, remedy="write at least the header row")
    return text


def read_rows(file: Path, columns: Sequence[str]) -> Rows:
    """Read delimited text by the one reader's rules, whose header holds ``columns`` in any order.

    Lines before the header that start with ``#`` are comments, empty rows are skipped, quotes and
    every line ending are understood. Cells are text without surrounding spaces.
    """
    text = read_text(file)
    if isinstance(text, Fault):
        return Rows(file, (), frozenset(), (text,))
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        lines = list(records(text, layout(text, file), file))
    except BadInput as bad:
        return Rows(file, (), frozenset(), bad.faults)
    number, header = lines[0]
    faults = list(header_faults(file, number, header, columns))
    rows = []
    for number, cells in lines[1:]:
        width = len(header)
        if len(cells) > width and not any(cells[width:]):
            cells = cells[:width]
        if len(cells) != width:
            remedy = "quote a cell that holds a comma; write empty cells too"
            problem = f"{len(cells)} fields where the header has {width}"
            faults.append(Fault(problem, file=file, row=number, remedy=remedy))
            continue
        rows.append(Row(number, dict(zip(header, cells, strict=True))))
    known = frozenset(header) & frozenset(columns)
    return Rows(file, tuple(rows), known, tuple(faults))


def header_faults(
    file: Path, number: int, header: list[str], columns: Sequence[str]
) -> Iterator[Fault]:
    """Faults of a header: columns that are missing, unknown, or there twice."""
    missing = [column for column in columns if column not in header]
    unknown = [column for column in dict.fromkeys(header) if column not in columns]
    for column in unknown:
        meant = nearest(column, missing)
        if meant:
            missing.remove(meant)
        problem = "no such column" if column else "a column without a name"
        note = ", or put it into column note" if "note" in columns else ""
        remedy = f"did you mean '{meant}'?" if meant else f"take it out{note}"
        allowed = ", ".join(columns)
        yield Fault(problem, file, number, column or None, allowed=allowed, remedy=remedy)
    for column in missing:
        remedy = "add it, in any place; its cells may be empty where the format allows"
        yield Fault("column is missing", file, number, column, remedy=remedy)
    for column, times in Counter(header).items():
        if times > 1 and column in columns:
            remedy = "keep one of them"
            yield Fault("column stands twice", file=file, row=number, column=column, remedy=remedy)

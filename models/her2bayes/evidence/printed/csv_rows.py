"""Rows of the CSV files of a study, read and checked cell by cell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from her2bayes.errors import BadInput, Fault, nearest, suggestion
from her2bayes.evidence.delimited import layout, or_a_study, records
from her2bayes.evidence.printed.number import (
    count,
    fits_percentage,
    is_not_reached,
    is_nothing,
    p_value,
    stated,
    whole,
)
from her2bayes.evidence.printed.schema import MAX_BYTES, MAX_DECIMALS, Column

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
            remedy += or_a_study(file)
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


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,119}")
_LONGEST = 2000
_GROUPS = ("patients", "denominator")  # columns that hold what a count is a part of
_SPARE = ("text", "note")  # columns that hold any text


def check_cells(
    file: Path, rows: Sequence[Row], columns: Sequence[Column], present: frozenset[str]
) -> Iterator[Fault]:
    """Faults of single cells against the kind and the closed list of their column."""
    spare = [column.name for column in columns if column.name in _SPARE]
    for row in rows:
        for column in columns:
            if column.name not in present:
                continue
            cell = row[column.name]
            problem = _problem(row, column, spare) if cell or column.required else None
            if problem:
                what, allowed, remedy = problem
                yield Fault(what, file, row.number, column.name, cell[:80], allowed, remedy)


_Problem = tuple[str, str | None, str | None]


def _problem(row: Row, column: Column, spare: Sequence[str]) -> _Problem | None:
    cell = row[column.name]
    if not cell:
        allowed = ", ".join(column.allowed) or None
        return "cell is empty", allowed, f"fill in: {column.meaning}"
    if len(cell) > _LONGEST:
        return "text is too long", f"up to {_LONGEST} characters", "shorten it"
    if column.allowed and cell not in column.allowed:
        listed = ", ".join(name for name in column.allowed if name)
        return "not in the list", listed, suggestion(cell, column.allowed)
    check = _KINDS.get(column.kind)
    return check(row, column, spare) if check else None


def _name_problem(row: Row, column: Column, spare: Sequence[str]) -> _Problem | None:
    if _NAME.fullmatch(row[column.name]):
        return None
    return "not a plain name", "letters, digits and _ . + -, up to 120", "use an id: table1.age.n"


def _number_problem(row: Row, column: Column, spare: Sequence[str]) -> _Problem | None:
    """Numbers, and what stands for one: ``>36``, ``NR``; the ledger says where each is allowed."""
    cell = row[column.name]
    if stated(cell) or is_not_reached(cell) or is_nothing(cell) or count(cell):
        return None
    return "not a number", "digits with a decimal point, e.g. 21.5", _number_remedy(cell, spare)


def _time_problem(row: Row, column: Column, spare: Sequence[str]) -> _Problem | None:
    cell = row[column.name]
    known = stated(cell) or is_not_reached(cell)
    if known or (is_nothing(cell) and column.name != "median"):
        return None
    if is_nothing(cell):
        return _NOT_REACHED_OR_NOT_PRINTED
    return "not a time", "a number, e.g. 21.5, or NR (not reached)", _number_remedy(cell, spare)


_NOT_REACHED_OR_NOT_PRINTED = (
    "not reached, or not printed?",
    "a number, or NR",
    "write NR where the median is not reached, leave the cell empty where none is printed",
)


def _whole_problem(row: Row, column: Column, spare: Sequence[str]) -> _Problem | None:
    cell = row[column.name]
    found = whole(cell)
    if found is None:
        return "not a whole number", "digits only, e.g. 53", _number_remedy(cell, spare)
    if column.name == "decimals":
        good = -6 <= found <= MAX_DECIMALS
        allowed = f"-6 to {MAX_DECIMALS}"
        return None if good else ("not a number of decimals", allowed, "count the digits")
    return _below_zero(found)


def _below_zero(found: int) -> _Problem | None:
    return ("a count below zero", "0 or more", "correct the count") if found < 0 else None


def _count_problem(row: Row, column: Column, spare: Sequence[str]) -> _Problem | None:
    """A count, alone or with its percentage: ``46``, ``46 (71.9)``, ``<11``, ``1–10``."""
    cell = row[column.name]
    found = count(cell)
    if found is None:
        return "not a whole number", "digits only, e.g. 53", _number_remedy(cell, spare)
    if found.exact is not None and found.exact < 0:
        return _below_zero(found.exact)
    if found.percent or found.of is not None:
        return _beside_problem(row, column)
    return None


def _part_problem(row: Row, column: Column, spare: Sequence[str]) -> _Problem | None:
    """A count that must be one number."""
    found = count(row[column.name])
    if found is not None and found.exact is None:
        remedy = _BOUND_REMEDY.get(column.name, "leave the row out, or find the count elsewhere")
        return "a bound is no count", "digits only, e.g. 53", remedy
    return _count_problem(row, column, spare)


_BOUND_REMEDY = {
    "numerator": "leave the cell empty; enter the bound in a row of its own, statistic count",
}


def _beside_problem(row: Row, column: Column) -> _Problem | None:
    """A number in brackets or after a slash must be the percentage, or the group, of the row."""
    cell = row[column.name]
    found = count(cell)
    assert found is not None  # the caller has read it
    group = next((row[name] for name in _GROUPS if row[name] and name != column.name), "")
    of = count(group) if group else None
    whole_group = found.of if of is None else of.exact
    if found.of is not None and found.of != whole_group:
        return (
            f"{found.of} after the count, but {whole_group} in the row",
            None,
            "correct one of the two",
        )
    if not found.percent:
        return None
    if found.exact is None and whole_group is not None:
        bounds = (found.low, found.high, (found.high or 0) + 1)  # <11 prints beside <3.7
        if any(fits_percentage(n, whole_group, found.percent) for n in bounds if n is not None):
            return None
    if found.exact is None or whole_group is None:
        what = "two numbers in a count, and nothing says what the second is"
        return what, None, f"write the count alone: {re.split(r'[([]', cell)[0].strip()}"
    if not fits_percentage(found.exact, whole_group, found.percent):
        share = 100 * found.exact / whole_group if whole_group else float("nan")
        what = f"{found.exact} of {whole_group} is {share:.1f} %, not {found.percent}"
        alone = f"write the count alone ({found.exact}) where the second number is no percentage"
        return what, None, f"correct the count; {alone}"
    return None


def _p_problem(row: Row, column: Column, spare: Sequence[str]) -> _Problem | None:
    cell = row[column.name]
    found = p_value(cell)
    allowed = "0 to 1, as printed: 0.024, <0.001, 5.8e-48"
    if found is None:
        return "not a P value", allowed, _p_remedy(cell)
    if not 0 <= found[1] <= 1:
        return "a P value outside 0 to 1", allowed, "correct it"
    return None


def _p_remedy(cell: str) -> str:
    if re.fullmatch(r"[*\s]+", cell):
        return "write the bound that the stars stand for in this paper: <0.001"
    if re.search(r"10\d\d", cell):
        return "the minus of the exponent is lost: write 5.8e-48"
    return "statements such as 'NS' are rows with statistic = significant and value = 0"


_KINDS: Mapping[str, Callable[[Row, Column, Sequence[str]], _Problem | None]] = {
    "name": _name_problem,
    "number": _number_problem,
    "time": _time_problem,
    "whole": _whole_problem,
    "count": _count_problem,
    "part": _part_problem,
    "p": _p_problem,
}


def _number_remedy(cell: str, spare: Sequence[str]) -> str:
    if cell.endswith("%"):
        return "write the number alone"
    if re.fullmatch(r"-?[0-9]{1,3},[0-9]{3}", cell):
        joined, point = cell.replace(",", ""), cell.replace(",", ".")
        return f"write {joined} or {point}, whichever is meant"
    if whole(re.sub(r"\.(?=\d{3})", "", cell)) is not None:
        return f"write {cell.replace('.', '')}, or {cell.partition('.')[0]} where that is meant"
    if spare:
        return f"write digits; other text goes into {' or '.join(f'column {x}' for x in spare)}"
    return "write digits only"

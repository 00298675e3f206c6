"""Delimited text as numbered rows of cells: the one reader below every door that takes such a file.

Its rules: comment lines stand before the header and begin with the comment sign, nowhere else; the
separator is the one that divides header and rows into the same number of cells, whatever the file
is called; cells lose the spaces around them; rows without any content are skipped and counted; rows
are numbered as an editor shows them.

Commas in numbers, decided by the whole column: decimal signs, thousands, or two readings.

``12,5`` and ``0,123`` can only be decimals, ``1,234,567`` and ``1,234.5`` only thousands; ``1,234``
can be either. A column is read with decimal commas where at least one cell says so and none speaks
against it. Where every comma can be read in two ways, or cells contradict each other, the column is
refused: a guess might change a number a thousandfold.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from her2bayes.errors import BadInput, Fault

_NUMBER = re.compile(r"[+-]?(\d[\d.,]*|[.,]\d+)([eE][+-]?\d+)?%?")
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_DECIMAL = re.compile(r"[+-]?(\d*|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?")


def is_number(text: str) -> bool:
    """Say whether a cell looks like a number, with decimal point or comma."""
    return bool(_NUMBER.fullmatch(text.strip()))


def with_point(text: str) -> str:
    """A number written with a decimal comma, with a decimal point: ``1.234,5`` is ``1234.5``."""
    return text.replace(".", "").replace(",", ".") if "," in text else text


def decimal_fault(
    cells: Sequence[str], rows: Sequence[int], file: Path, column: str
) -> Fault | None:
    """What speaks against reading the commas of a column as decimal signs; None where nothing does.

    ``cells`` are those that look like numbers with a comma or a point, ``rows`` their lines.
    """
    commas = [k for k, cell in enumerate(cells) if "," in cell]
    against = next((k for k in commas if not _DECIMAL.fullmatch(cells[k])), None)
    points = next((k for k, cell in enumerate(cells) if "," not in cell and "." in cell), None)
    if against is not None:
        return Fault(
            "thousands are set off by commas", file, rows[against], column, cells[against],
            "digits without separators, a decimal point or comma",
            "write the numbers of this column without separators of thousands",
        )  # fmt: skip
    if points is not None:
        return Fault(
            "points and commas in the numbers of one column", file, rows[points], column,
            f"{cells[points]} here, {cells[commas[0]]} in row {rows[commas[0]]}",
            "one decimal sign in a column", "write all numbers of this column alike",
        )  # fmt: skip
    if all(_EITHER.fullmatch(cells[k]) for k in commas):
        first = cells[commas[0]]
        return Fault(
            f"two readings: {with_point(first)} or {first.replace(',', '')}",
            file, rows[commas[0]], column, first, "a number that can be read in one way only",
            "write the column with a decimal point, or without separators of thousands",
        )  # fmt: skip
    return None


SEPARATORS = {"tab": "\t", "semicolon": ";", "pipe": "|", "comma": ",", "space": " "}
"""Separators by name, the likelier first where several divide a file equally well."""
_SIGNS = {sign: name for name, sign in SEPARATORS.items()}
_SAMPLE = 400  # lines looked at to find the separator
SAVE_AS = "save it as 'CSV UTF-8' (in Excel: Save As, CSV UTF-8)"


@dataclass(frozen=True)
class Layout:
    """How a file is laid out: its separator and where its header starts.

    ``start`` is the place of the header in the text, ``row`` its line. ``notes`` say what was
    recognised and is not the everyday case.
    """

    separator: str
    start: int
    row: int
    notes: tuple[str, ...] = ()


def decode(raw: bytes, file: Path, encoding: str = "", remedy: str = SAVE_AS) -> str:
    """Text of a file, line ends as ``\\n``: UTF-8, UTF-16 with its mark, or what is named.

    Raises ``BadInput`` with the row of the first byte that is no text.
    """
    if not raw.strip():
        raise BadInput(Fault("the file is empty", file=file, remedy="export it again"))
    utf16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    name = encoding or ("utf-16" if utf16 else "utf-8")
    try:
        text = raw.decode(name)
    except LookupError as error:
        allowed = "e.g. utf-8, latin-1"
        raise BadInput(
            Fault("unknown encoding", file=file, value=encoding, allowed=allowed)
        ) from error
    except UnicodeDecodeError as error:
        raise BadInput(
            Fault(
                "an Excel workbook, not text" if raw[:4] == b"PK\x03\x04" else
                f"not {name.upper()} text at byte {error.start + 1}",
                file=file,
                row=raw.count(b"\n", 0, error.start) + 1,
                value=raw[error.start : error.start + 1],
                remedy=remedy,
            )
        ) from error  # fmt: skip
    if "\x00" in text:
        row = text.count("\n", 0, text.index("\x00")) + 1
        raise BadInput(Fault("holds binary data", file=file, row=row, remedy=SAVE_AS))
    text = text.removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def layout(text: str, file: Path, separator: str = "", comment: str = "#") -> Layout:
    """Find the header and the separator; ``separator`` (its name or sign) is taken where given.

    Raises ``BadInput`` where there is nothing but comments, or two separators fit equally well.
    """
    start, row, notes = 0, 1, []
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line = text[start:end]
        declared = re.fullmatch(r"sep=(.)\s*", line)  # Excel's own way to name the separator
        if declared:
            separator = separator or declared[1]
        if line.strip() and not declared and not (comment and line.startswith(comment)):
            break
        start, row = end + 1, row + 1
    else:
        remedy = "check that the export holds a header and data rows"
        raise BadInput(Fault("nothing but comment lines", file=file, remedy=remedy))
    if separator:
        sign = SEPARATORS.get(separator, separator)
    else:
        sign = _separator(text[start:].split("\n", _SAMPLE)[:_SAMPLE], file, row)
        if sign not in ",\t":
            notes.append(f"cells are separated by {_SIGNS[sign]}s")
    return Layout(sign, start, row, tuple(notes))


def records(text: str, laid: Layout, file: Path) -> Iterator[tuple[int, list[str]]]:
    """Header and rows with their line numbers, cells without spaces around them.

    Rows without content are left out. Raises ``BadInput`` where quotation marks do not pair up.
    """
    reader = _reader(io.StringIO(text[laid.start :], newline=""), laid.separator)
    above = laid.row - 1
    line = laid.row
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if laid.separator == " " and stripped and not stripped[-1]:
                stripped.pop()  # spaces at the end of a line
            if any(stripped):
                yield line, stripped
            line = above + reader.line_num + 1
    except csv.Error as error:
        remedy = 'close every quotation mark; write a quotation mark inside a quoted cell as ""'
        raise BadInput(
            Fault(f"quotation marks do not pair up: {error}", file=file, row=line, remedy=remedy)
        ) from error


def _reader(lines: io.StringIO | Iterator[str], separator: str) -> csv._reader:  # type: ignore[name-defined]
    if separator == " ":
        lines = (line.replace("\t", " ") for line in lines)
    return csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)


def _cells(lines: list[str], sign: str) -> list[list[str]]:
    """Cells of the first lines under a separator, as far as quotation marks can be followed."""
    found: list[list[str]] = []
    try:
        for row in _reader((line + "\n" for line in lines), sign):
            cells = [cell.strip() for cell in row]
            if sign == " " and cells and not cells[-1]:
                cells.pop()
            if any(cells):
                found.append(cells)
    except csv.Error:
        pass  # the sample may end inside a quoted cell
    return found


def _separator(lines: list[str], file: Path, row: int) -> str:
    """Sign that divides the first lines into as many cells as the header, two or more."""
    scores: dict[str, tuple[float, bool]] = {}
    for sign in SEPARATORS.values():
        found = _cells(lines, sign)
        width = len(found[0]) if found else 0
        if width < 2:
            continue
        same = sum(len(cells) == width for cells in found) / len(found)
        if sign == " " and (scores or {len(cells) for cells in found[1:]} - {width, width + 1}):
            continue  # spaces are text, unless they divide every row alike
        numeric = all(is_number(cell) for cell in found[0] if cell)
        scores[sign] = (round(same, 2), numeric)
    if not scores and (" " in lines[0] or "\t" in lines[0]):
        return ","
    return _best(scores, lines[0], file, row)


def _best(scores: dict[str, tuple[float, bool]], line: str, file: Path, row: int) -> str:
    if not scores:
        return ","
    plain = any(numeric for _, numeric in scores.values())
    # numbers without a header: the separator is the one that leaves numbers
    fitting = {s: v for s, v in scores.items() if v[1]} if plain else scores
    most = max(same for same, _ in fitting.values())
    best = [sign for sign, (same, _) in fitting.items() if same == most]
    if len(best) > 1 and best[0] != "\t" and len(fitting) > 1 and most == 1:
        names = " and ".join(_SIGNS[sign] for sign in best)
        raise BadInput(
            Fault(f"two separators divide every row alike: {names}", file=file, row=row,
                  value=line[:60], remedy="write the file with one of them")
        )  # fmt: skip
    return best[0]


def or_a_study(path: Path) -> str:
    """Remedy beside a missing file whose name may be that of a study; empty where it cannot be."""
    bare = not path.suffix and len(path.parts) == 1
    return f"; or load_study({path.name!r}), where that is a study" if bare else ""

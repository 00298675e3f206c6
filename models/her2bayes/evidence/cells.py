"""Single cells of the evidence files: how a number is written, and what is wrong otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from her2bayes.errors import Fault
from her2bayes.evidence.nearest import suggestion
from her2bayes.evidence.printed_csv import Row
from her2bayes.evidence.schema import MAX_DECIMALS, Column

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,119}")
_WHOLE = re.compile(r"-?[0-9]{1,12}(\.0+)?")
_NUMBER = re.compile(r"-?([0-9]{1,12}(\.[0-9]{1,12})?|\.[0-9]{1,12})")
_P = re.compile(r"[<>=]?\s*([0-9]{1,3}(\.[0-9]{1,12})?|\.[0-9]{1,12})")
_IN_TEXT = re.compile(r"(?<![0-9.])([0-9]+(?:\.[0-9]+)?|\.[0-9]+)")
_LONGEST = 2000


def whole(text: str) -> int | None:
    """Whole number of a cell (``53``, also ``53.0`` as spreadsheets write it), else None."""
    return int(float(text)) if _WHOLE.fullmatch(text) else None


def number(text: str) -> Decimal | None:
    """Plain decimal number of a cell, else None."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def p_value(text: str) -> tuple[str, Decimal] | None:
    """Relation and number of a P value (``<0.001``, ``0.024``, ``.02``), else None."""
    if not _P.fullmatch(text):
        return None
    relation = text[0] if text[0] in "<>" else "="
    return relation, Decimal(text.lstrip("<>= "))


def decimals(text: str) -> int:
    """Digits after the decimal point of a number as written."""
    return len(text.partition(".")[2])


def printed_numbers(text: str) -> tuple[str, ...]:
    """All numbers of a printed string as written there, without sign."""
    return tuple(_IN_TEXT.findall(text))


def check_cells(
    file: Path, rows: Sequence[Row], columns: Sequence[Column], present: frozenset[str]
) -> Iterator[Fault]:
    """Faults of single cells against the kind and the closed list of their column."""
    for row in rows:
        for column in columns:
            if column.name not in present:
                continue
            cell = row[column.name]
            problem = _problem(cell, column) if cell or column.required else None
            if problem:
                what, allowed, remedy = problem
                yield Fault(what, file, row.number, column.name, cell[:80], allowed, remedy)


_Problem = tuple[str, str | None, str | None]


def _problem(cell: str, column: Column) -> _Problem | None:
    if not cell:
        allowed = ", ".join(column.allowed) or None
        return "cell is empty", allowed, f"fill in: {column.meaning}"
    if len(cell) > _LONGEST:
        return "text is too long", f"up to {_LONGEST} characters", "shorten it"
    if column.allowed and cell not in column.allowed:
        listed = ", ".join(name for name in column.allowed if name)
        return "not in the list", listed, suggestion(cell, column.allowed)
    if column.kind == "name" and not _NAME.fullmatch(cell):
        allowed = "letters, digits and _ . + -, up to 120"
        return "not a plain name", allowed, "use an id such as table1.age.n"
    if column.kind == "whole":
        return _whole_problem(cell, column)
    if column.kind == "number" and number(cell) is None:
        return "not a number", "digits with a decimal point, e.g. 21.5", _number_remedy(cell)
    return _p_problem(cell) if column.kind == "p" else None


def _whole_problem(cell: str, column: Column) -> _Problem | None:
    found = whole(cell)
    if found is None:
        return "not a whole number", "digits only, e.g. 53", _number_remedy(cell)
    if column.name == "decimals":
        good = -6 <= found <= MAX_DECIMALS
        allowed = f"-6 to {MAX_DECIMALS}"
        return None if good else ("not a number of decimals", allowed, "count the digits")
    return ("a count below zero", "0 or more", "correct the count") if found < 0 else None


def _p_problem(cell: str) -> _Problem | None:
    found = p_value(cell)
    allowed = "0 to 1, as printed: 0.024, <0.001"
    if found is None:
        remedy = "statements such as 'NS' are rows with statistic = significant and value = 0"
        if cell[:1] in "≤≥":
            remedy = "write < or >"
        return "not a P value", allowed, remedy
    if not 0 <= found[1] <= 1:
        return "a P value outside 0 to 1", allowed, "correct it"
    return None


def _number_remedy(cell: str) -> str:
    if cell.endswith("%"):
        return "write the number alone and % in the column unit"
    if re.fullmatch(r"[0-9]+,[0-9]{1,2}", cell):
        return f"write a decimal point: {cell.replace(',', '.')}"
    if re.fullmatch(r"[0-9]{1,3}([, '\u202f\u00a0][0-9]{3})+", cell):
        return "write the digits without separators"
    if cell.startswith(("\u2212", "\u2013")):
        return "write a plain minus sign (-)"
    return "put other text into the columns text or note"

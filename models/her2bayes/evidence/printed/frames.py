"""Checked rows of text as data frames: integers, floats, and numbers with their printed digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from her2bayes.evidence.printed.csv_rows import Row
from her2bayes.evidence.printed.number import (
    NOT_REACHED,
    OPEN,
    Count,
    count,
    decimals,
    number,
    p_value,
    plain,
    printed_numbers,
    relation_of,
    stated,
    whole,
)
from her2bayes.evidence.printed.schema import Column
from her2bayes.evidence.printed.vocabulary import canonical

_COUNTS = ("count", "part")


@dataclass(frozen=True)
class Bounded:
    """A row of a table whose count is bounded only (``<11``), as the paper prints it."""

    file: str
    row: int
    column: str
    cells: dict[str, str]
    span: Count

    @property
    def printed(self) -> str:
        """The cell as printed."""
        return self.cells[self.column]


class Kept(tuple[Any, ...]):
    """What the frames made of a frame share: pandas copies attributes deeply at every step."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Kept:
        """Copy nothing: nobody changes it."""
        return self


def table_frame(rows: Sequence[Row], columns: Sequence[Column]) -> pd.DataFrame:
    """Frame with the columns of the format, in its order.

    ``attrs["rows"]`` are the numbers of its rows in the file, ``attrs["printed"]`` their cells.

    Whole numbers are nullable integers (plain int64 where the column may not be empty), other
    numbers floats (NaN where a time is not reached), the rest text; the numbers of a ledger stay
    text (``ledger_frame`` reads them). Rows whose count is only bounded are not in the frame where
    the count is required (``bounded_rows`` has them); of a fact the bound becomes its relation.
    """
    printed = any(column.name == "statistic" for column in columns)
    exact = [_with_relation(row, columns) for row in rows]
    exact = [row for row in exact if not any(_is_bound(row, c) for c in columns if c.required)]
    frame = pd.DataFrame(
        {
            column.name: _series([row[column.name] for row in exact], column, printed)
            for column in columns
        }
    )
    frame.attrs["rows"] = Kept(row.number for row in exact)
    frame.attrs["printed"] = Kept({c.name: row[c.name] for c in columns} for row in exact)
    return frame


def bounded_rows(file: str, rows: Sequence[Row], columns: Sequence[Column]) -> tuple[Bounded, ...]:
    """Rows of a table that print a bound where a count could stand."""
    found = []
    for row in (_with_relation(row, columns) for row in rows):
        for column in columns:
            span = count(row[column.name]) if _is_bound(row, column) else None
            if span is not None:
                cells = {c.name: row[c.name] for c in columns}
                found.append(Bounded(file, row.number, column.name, cells, span))
    return tuple(found)


def _is_bound(row: Row, column: Column) -> bool:
    if column.kind not in _COUNTS or not row[column.name]:
        return False
    found = count(row[column.name])
    return found is not None and found.exact is None


def _with_relation(row: Row, columns: Sequence[Column]) -> Row:
    """A fact ``<11`` as what the format has for it: the relation < and the value 11."""
    names = {column.name for column in columns}
    if not {"relation", "value"} <= names or "cells" not in names or row["relation"] != "=":
        return row
    sign, rest = relation_of(row["value"])
    if sign in ("", "=") or whole(rest) is None:
        return row
    return Row(row.number, {**row.cells, "relation": sign, "value": rest})


def _series(cells: list[str], column: Column, printed: bool) -> pd.Series:
    if column.kind == "whole":
        kind = "int64" if column.required else "Int64"
        return pd.Series([whole(cell) for cell in cells], dtype=kind)
    if column.kind in _COUNTS:
        found = [count(cell) for cell in cells]
        kind = "int64" if column.required else "Int64"
        return pd.Series([one.exact if one else None for one in found], dtype=kind)
    if column.kind == "time" or (column.kind == "number" and not printed):
        return pd.Series([_float(number(cell)) for cell in cells], dtype="float64")
    return pd.Series(cells, dtype="str")


def _float(value: Decimal | None) -> float:
    return np.nan if value is None else float(value)


def ledger_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Ledger with canonical estimands, printed digits restored and parsed numbers beside them.

    A value ``<11`` becomes 11 with the relation ``<``, a median that is not reached ``NR`` with the
    relation ``>`` and no number, a limit that is not reached ``NE``; ``text`` keeps the print.
    """
    frame = frame.copy()
    frame["estimand"] = [str(canonical(cell)) if cell else "" for cell in frame["estimand"]]
    read = [_read(row) for row in frame.to_dict("records")]
    for name in ("text", "value", "lower", "upper", "relation", "p_value", "p_printed"):
        frame[name] = pd.Series([row[name] for row in read], dtype="str", index=frame.index)
    for name in ("value", "lower", "upper", "p_value"):
        frame[name] = [
            _as_printed(cell, text) for cell, text in zip(frame[name], frame["text"], strict=True)
        ]
    frame["value"] = [
        _with_decimals(cell, places)
        for cell, places in zip(frame["value"], frame["decimals"], strict=True)
    ]
    parsed = [p_value(cell) for cell in frame["p_value"]]
    alone = frame["statistic"] == "p_value"
    for name in ("value", "lower", "upper"):
        numbers = [_float(number(cell)) for cell in frame[name]]
        frame[f"{name}_number"] = pd.Series(numbers, dtype="float64")
    frame["p_number"] = pd.Series([_float(p[1]) if p else np.nan for p in parsed], dtype="float64")
    frame["p_relation"] = pd.Series([p[0] if p else "" for p in parsed], dtype="str")
    frame["relation"] = frame["relation"].where(~alone, frame["p_relation"]).replace("", "=")
    shown = [max(0, -int(p[1].as_tuple().exponent)) if p else 0 for p in parsed]
    places = pd.Series(shown, dtype="Int64").where(alone, frame["value"].map(decimals))
    places = places.astype("Int64").mask(frame["statistic"] == "significant")
    frame["decimals"] = frame["decimals"].fillna(places)
    frame["text"] = frame["text"].where(frame["text"] != "", frame["value"])
    frame["text"] = frame["text"].where(frame["text"] != "", frame["p_value"])
    return frame


def _read(row: dict[Any, Any]) -> dict[str, str]:
    """Cells of one row in the one form that everything after the door reads."""
    value, relation, lower, upper = _value(row)
    p = p_value(row["p_value"])
    sign = "" if p is None or p[0] == "=" else p[0]
    text = row["text"] or _shown(row)
    return {
        "text": text,
        "value": value,
        "lower": lower,
        "upper": upper,
        "relation": relation,
        "p_value": f"{sign}{_digits(p[1])}" if p else "",
        "p_printed": row["p_value"],
    }


def _digits(p: Decimal) -> str:
    """Decimal digits of a P value, a power of ten where they would be many."""
    return str(p) if p.adjusted() < -10 else f"{p:f}"


def _shown(row: dict[Any, Any]) -> str:
    """What a row without text prints; empty where that is the value alone."""
    cell, limits = row["value"], [row["lower"], row["upper"]]
    if number(cell) is not None and row["relation"] in ("<", ">"):
        cell = f"{row['relation']}{cell}"
    if cell and any(limits):
        return f"{cell} ({limits[0]}\N{EN DASH}{limits[1]})"
    return "" if number(cell) is not None else cell or row["p_value"]


def _value(row: dict[Any, Any]) -> tuple[str, str, str, str]:
    """Value, relation and limits of a row."""
    cell, relation = row["value"], row["relation"]
    lower, upper = (_limit(row[name]) for name in ("lower", "upper"))
    span = count(cell) if row["statistic"] == "count" else None
    if span is not None and span.exact is None:
        if span.high is None:
            return str(span.low - 1), ">", lower, upper
        if span.low == 0:
            return str(span.high + 1), "<", lower, upper
        return "", relation, str(span.low), str(span.high)
    if span is not None and number(cell) is None:  # 1,234 patients
        return str(span.exact), relation, lower, upper
    printed = stated(cell)
    if printed is not None:
        sign = printed[0] if printed[0] != "=" else relation
        digits = plain(relation_of(cell.removesuffix("%").rstrip())[1])
        return digits, sign, lower, upper
    if row["statistic"].startswith("median"):  # the checks let nothing else pass without number
        return NOT_REACHED, ">", lower, upper
    return "", relation, lower, upper


def _limit(cell: str) -> str:
    if not cell:
        return ""
    return OPEN if number(cell) is None else plain(cell)


def _as_printed(cell: str, text: str) -> str:
    """Number with the digits of the printed text, where a spreadsheet dropped trailing zeros."""
    mark = cell[:1] if cell[:1] in ("<", ">", "=") else ""
    found = number(cell.removeprefix(mark).strip())
    if found is None:
        return cell
    same = [shown for shown in printed_numbers(text) if Decimal(shown) == abs(found)]
    written = cell.removeprefix(mark).strip().removeprefix("-")
    if not same or written in same:
        return cell
    return mark + ("-" if found < 0 else "") + same[0]


def _with_decimals(cell: str, places: object) -> str:
    """The number with the printed decimals of its row."""
    found = number(cell)
    if found is None or pd.isna(places) or int(places) < 0:  # type: ignore[call-overload]
        return cell
    return f"{found:.{int(places)}f}"  # type: ignore[call-overload]

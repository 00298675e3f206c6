"""Checked rows of text as data frames: integers, floats, and numbers with their printed digits."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pandas as pd

from her2bayes.evidence.cells import decimals, number, p_value, printed_numbers, whole
from her2bayes.evidence.printed_csv import Row
from her2bayes.evidence.schema import Column
from her2bayes.evidence.vocabulary import canonical


def table_frame(rows: Sequence[Row], columns: Sequence[Column]) -> pd.DataFrame:
    """Frame with the columns of the format, in its order.

    Whole numbers are nullable integers (plain int64 where the column may not be empty), other
    numbers floats, the rest text; the numbers of a ledger stay text (``ledger_frame`` reads them).
    """
    printed = any(column.name == "statistic" for column in columns)
    return pd.DataFrame(
        {
            column.name: _series([row[column.name] for row in rows], column, printed)
            for column in columns
        }
    )


def _series(cells: list[str], column: Column, printed: bool) -> pd.Series:
    if column.kind == "whole":
        kind = "int64" if column.required else "Int64"
        return pd.Series([whole(cell) for cell in cells], dtype=kind)
    if column.kind == "number" and not printed:
        return pd.Series([_float(number(cell)) for cell in cells], dtype="float64")
    return pd.Series(cells, dtype="str")


def _float(value: Decimal | None) -> float:
    return np.nan if value is None else float(value)


def ledger_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Ledger with canonical estimands, printed digits restored and parsed numbers beside them."""
    frame = frame.copy()
    frame["estimand"] = [str(canonical(cell)) if cell else "" for cell in frame["estimand"]]
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
    shown = [decimals(p[1].to_eng_string()) if p else 0 for p in parsed]
    places = pd.Series(shown, dtype="Int64").where(alone, frame["value"].map(decimals))
    places = places.astype("Int64").mask(frame["statistic"] == "significant")
    frame["decimals"] = frame["decimals"].fillna(places)
    frame["text"] = frame["text"].where(frame["text"] != "", frame["value"])
    frame["text"] = frame["text"].where(frame["text"] != "", frame["p_value"])
    return frame


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

"""Tables as CSV that a spreadsheet opens without harm: UTF-8, LF, no text taken for a formula."""

from __future__ import annotations

import csv
import io
import math
import re
from numbers import Integral, Real
from pathlib import Path

import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_RELATIONS = ("=", "<", ">")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def csv_text(frame: pd.DataFrame) -> str:
    """Give the columns of a table, without its index, as the text of a CSV file.

    A text that starts as a formula would (``=``, ``+``, ``-``, ``@``, tab, carriage return) gets
    an apostrophe in front, which spreadsheets take for "this is text"; a text that is a number
    stays one. Missing values are empty. Numbers carry up to ten significant digits.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([cell(name) for name in frame.columns])
    for row in frame.itertuples(index=False, name=None):
        writer.writerow([cell(value) for value in row])
    return file.getvalue()


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write the table as ``csv_text`` gives it, in UTF-8."""
    path.write_text(csv_text(frame), encoding="utf-8", newline="")


def cell(value: object) -> str:
    """Text of one cell."""
    if isinstance(value, bool) or value is None or value is pd.NA:
        return "" if value in (None, pd.NA) else str(value).lower()
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return "" if math.isnan(float(value)) else f"{float(value):.10g}"
    text = str(value)
    if text in _RELATIONS:
        return text  # alone it is no formula, and it is a value of published_relation
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text

"""Rows of ``estimates.csv`` and ``external.csv``: whether each can be a printed number."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from her2bayes.errors import Fault
from her2bayes.estimand import KINDS, Estimand, is_percent
from her2bayes.evidence.printed.csv_rows import Row
from her2bayes.evidence.printed.number import (
    count,
    decimals,
    is_not_reached,
    is_nothing,
    is_open,
    number,
    p_value,
    p_values_in,
    printed_numbers,
    relation_of,
    says_not_reached,
    stated,
    whole,
)
from her2bayes.evidence.printed.schema import MAX_DECIMALS
from her2bayes.evidence.printed.vocabulary import OTHER_UNIT, TIME_UNITS, Vocabulary, read_estimand

MEDIANS = ("median", "median_range", "median_ci")
"""Statistics of a row that prints a median."""


def check_ledger(
    file: Path, rows: Sequence[Row], words: Vocabulary | None, missing: Collection[str] = ()
) -> Iterator[Fault]:
    """Faults of all rows; of cells in columns that are ``missing`` nothing is said.

    Without ``words`` (quoted studies) the names inside the estimands are free.
    """
    yield from repeated(file, rows, ("claim_id",))
    for row in rows:
        estimand: Estimand | None = None
        faults: list[Fault] = []
        if row["estimand"]:
            estimand, faults = read_estimand(row["estimand"], words)
            faults = [fault for fault in faults if not _is_converted(fault, estimand)]
        faults = [replace(fault, column="estimand") for fault in faults]
        faults += _number_faults(row, estimand)
        if "statistic" not in missing:
            faults += _statistic_faults(row, is_timed(estimand, words))
        told = [fault for fault in faults if fault.column not in missing]
        yield from (replace(fault, file=file, row=row.number) for fault in told)


def repeated(file: Path, rows: Iterable[Row], columns: Sequence[str]) -> Iterator[Fault]:
    """Faults of rows that repeat the key of an earlier row."""
    seen: dict[tuple[str, ...], int] = {}
    for row in rows:
        key = tuple(row[column] for column in columns)
        if not any(key):
            continue
        if key in seen:
            what = "id" if len(columns) == 1 else "cell"
            yield Fault(
                f"{what} stands already in row {seen[key]}",
                file=file,
                row=row.number,
                column=columns[0] if len(columns) == 1 else None,
                value=", ".join(filter(None, key)),
                remedy="keep one row" if what == "cell" else "give each row its own id",
            )
        seen.setdefault(key, row.number)


def _is_converted(fault: Fault, estimand: Estimand | None) -> bool:
    """Tell whether a time in another unit is one that the audit converts: printed as it stands."""
    known = estimand is not None and estimand.time_unit in TIME_UNITS
    return known and fault.problem == OTHER_UNIT


def is_timed(estimand: Estimand | None, words: Vocabulary | None) -> bool:
    """Tell whether an estimand is a time to an event, which may not be reached."""
    if estimand is None or estimand.kind not in ("median", "quantile", "follow_up"):
        return estimand is None
    outcome = estimand.outcome
    return words is None or not outcome or outcome in words.design.endpoints


def _number_faults(row: Row, estimand: Estimand | None) -> Iterator[Fault]:
    printed = count(row["numerator"])
    part, of = printed.exact if printed else None, whole(row["denominator"])
    if of == 0:
        remedy = "leave the cell empty where nothing is counted"
        yield Fault("a denominator of zero", column="denominator", value=0, remedy=remedy)
    elif part is not None and of is not None and part > of:
        remedy = "correct one of the two"
        yield Fault(
            "count above its denominator", None, None, "numerator", part, f"0 to {of}", remedy
        )
    lower, upper = number(row["lower"]), number(row["upper"])
    if lower is not None and upper is not None and lower > upper:
        remedy = "exchange lower and upper"
        shown = f"{lower} to {upper}"
        yield Fault("limits the wrong way round", column="lower", value=shown, remedy=remedy)
    yield from _limit_faults(row)
    yield from _relation_faults(row)
    if row["statistic"] == "percentage" or row["unit"] == "%":
        yield from _percentage_faults(row, estimand)


def _limit_faults(row: Row) -> Iterator[Fault]:
    """Limits that are missing, or not reached where nothing can be."""
    may_be_open = row["statistic"] in ("median_ci", "hazard_ratio", "median_range")
    for column in ("lower", "upper"):
        cell = row[column]
        readable = _stands_for_a_number(cell) and number(cell) is None
        if cell and readable and not (may_be_open and is_open(cell)):
            remedy = "write the limit in digits; in median_ci rows NE = not reached"
            yield Fault("not a number", None, None, column, cell[:80], "e.g. 21.5", remedy)
    if bool(row["lower"]) == bool(row["upper"]):
        return
    given, missing = ("lower", "upper") if row["lower"] else ("upper", "lower")
    if row["statistic"] not in ("median_ci", "hazard_ratio"):
        yield Fault("one limit only", column=missing, remedy="fill in both limits or none")
    elif _text_shows_both(row, given):
        remedy = f"fill in {missing} as printed, or NE where it is not reached"
        yield Fault(
            "one limit only, the text prints two", None, None, missing, row["text"], None, remedy
        )


def _text_shows_both(row: Row, given: str) -> bool:
    """Tell whether the printed text has a number on the other side of the limit given."""
    limit = number(row[given])
    if limit is None:
        return False
    pair = r"(\d+(?:[.·,]\d+)?)\s*(?:[-\u2013\u2014\u2212,;]|to)\s*(\d+(?:[.·,]\d+)?)"
    pairs = re.findall(pair, row["text"])
    return any(number(pair[given == "upper"]) == limit for pair in pairs)


def _relation_faults(row: Row) -> Iterator[Fault]:
    """A sign in the cell of the value and another one in the column of relations."""
    sign = relation_of(row["value"])[0][:1]
    if sign in ("<", ">") and row["relation"] in ("<", ">") and row["relation"] != sign:
        remedy = f"write {sign}, as in value"
        yield Fault(
            "relation is not that of the value", None, None, "relation", row["relation"], None,
            remedy,
        )  # fmt: skip


def _percentage_faults(row: Row, estimand: Estimand | None) -> Iterator[Fault]:
    kind = estimand.kind if estimand else ""
    percent = kind != "" and is_percent(kind)
    bounded = percent or (kind == "" and row["statistic"] == "percentage")
    least = 100 * KINDS[kind].limits[0] if percent else 0
    for column in ("value", "lower", "upper") if bounded else ():
        printed = stated(row[column])
        found = printed[1] if printed else None
        if found is not None and not least <= found <= 100:
            allowed = f"{least:g} to 100"
            remedy = "correct it; a percentage of patients lies within these limits"
            yield Fault("an impossible percentage", None, None, column, str(found), allowed, remedy)
    if row["statistic"] == "percentage" and row["unit"] != "%":
        remedy = "write % as the unit and the number as printed in per cent"
        yield Fault("a percentage without %", None, None, "unit", row["unit"] or None, "%", remedy)


def _statistic_faults(row: Row, timed: bool) -> Iterator[Fault]:
    statistic = row["statistic"]
    if statistic == "p_value":
        yield from _p_row_faults(row)
    elif statistic == "range":
        if not row["lower"] or not row["upper"]:
            remedy = "fill in both ends"
            yield Fault("a range without its ends", column="lower", remedy=remedy)
    elif statistic == "count":
        yield from _count_faults(row)
    else:
        yield from _value_faults(row, timed)
    printed = stated(row["value"])
    value = printed[1] if printed else None
    if statistic == "significant" and value is not None and value not in (0, 1):
        remedy = "1 = said to differ, 0 = said not to differ"
        yield Fault("not a statement", None, None, "value", row["value"], "0, 1", remedy)
    if statistic == "hazard_ratio":
        yield from _ratio_faults(row, value)
    if statistic not in ("count", "significant"):
        yield from _decimals_faults(row)


def _value_faults(row: Row, timed: bool) -> Iterator[Fault]:
    """A value that is no number: not reached where a median may be, else to be filled in."""
    cell, may_be_open = row["value"], timed and row["statistic"] in MEDIANS
    if may_be_open and (is_not_reached(cell) or (not cell and says_not_reached(row["text"]))):
        return
    nothing = is_nothing(cell) or (not cell and is_nothing(row["text"]))
    if nothing and may_be_open:
        # an interval was computed, so the median was looked for and not found
        if number(row["lower"]) is None:
            remedy = (
                "write NR where the median is not reached, take out the row where none is printed"
            )
            yield Fault(
                "not reached, or not printed?", None, None, "value", cell or row["text"],
                "a number, or NR", remedy,
            )  # fmt: skip
    elif not cell:
        remedy = "fill in the printed number (1 or 0 for a statement of significance)"
        if may_be_open:
            remedy = "fill in the printed median, or NR where it is not reached"
        yield Fault("cell is empty", column="value", remedy=remedy)
    elif stated(cell) is None and _stands_for_a_number(cell):
        remedy = "write the number alone"
        if is_not_reached(cell):
            remedy = "NR (not reached) is for medians of endpoints; take out the row otherwise"
        elif whole(cell) is not None:
            remedy = f"write {whole(cell)} or {cell.replace(',', '.')}, whichever is meant"
        elif count(cell):
            remedy = "write the number of this row; a count beside it goes into column numerator"
        yield Fault("not a number", None, None, "value", cell[:80], "e.g. 21.5", remedy)


def _stands_for_a_number(cell: str) -> bool:
    """Tell whether the check of single cells lets a cell pass."""
    return bool(stated(cell) or is_not_reached(cell) or is_nothing(cell) or count(cell))


def _count_faults(row: Row) -> Iterator[Fault]:
    cell = row["value"]
    found, exact = count(cell), number(cell)
    if not cell:
        yield Fault("cell is empty", column="value", remedy="fill in the printed number")
    elif found is not None and (found.percent or found.of is not None):
        remedy = "enter it as statistic percentage, with numerator and denominator"
        yield Fault("a count and a percentage", None, None, "value", cell[:80], "0, 1, <11", remedy)
    elif found is None and exact is None and not _stands_for_a_number(cell):
        return
    elif found is None or (exact is not None and exact < 0):
        remedy = "write the whole number of patients or events"
        allowed = "0, 1, 2, ... or <11"
        yield Fault("not a count", None, None, "value", row["value"], allowed, remedy)


def _p_row_faults(row: Row) -> Iterator[Fault]:
    found = p_value(row["p_value"])
    if not row["p_value"]:
        remedy = "write the P value as printed"
        yield Fault("cell is empty", column="p_value", remedy=remedy)
    elif found and row["relation"] in ("<", ">") and row["relation"] != found[0]:
        remedy = f"write {found[0]}, as in p_value"
        yield Fault(
            "relation is not that of P", None, None, "relation", row["relation"], None, remedy
        )
    if row["value"]:
        remedy = "a row that prints more than P is a hazard_ratio row"
        yield Fault("value beside a P value", None, None, "value", row["value"], "empty", remedy)


def _ratio_faults(row: Row, value: Decimal | None) -> Iterator[Fault]:
    if value is not None and value <= 0:
        remedy = "write the ratio, not its logarithm"
        yield Fault("a ratio that is not positive", None, None, "value", row["value"], ">0", remedy)
    lower = number(row["lower"])
    if lower is not None and lower < 0:
        remedy = "write limits of the ratio, not of its logarithm"
        yield Fault("a limit below zero", None, None, "lower", row["lower"], "0 or more", remedy)


def _decimals_faults(row: Row) -> Iterator[Fault]:
    declared = whole(row["decimals"])
    printed = p_value(row["p_value"]) if row["statistic"] == "p_value" else stated(row["value"])
    exact = printed[1] if printed else None
    if declared is None or exact is None or not 0 <= declared <= MAX_DECIMALS:
        return
    if exact != round(exact, declared):
        digits = -int(exact.as_tuple().exponent)
        remedy = f"write {digits}, the digits after the decimal point as printed"
        yield Fault("more digits than decimals", None, None, "decimals", declared, None, remedy)
        return
    in_text = {decimals(n) for n in printed_numbers(row["text"]) if Decimal(n) == abs(exact)}
    if in_text and declared not in in_text:
        listed = ", ".join(map(str, sorted(in_text)))
        remedy = "count the digits after the decimal point in the printed text"
        yield Fault(
            "decimals are not those of the text", None, None, "decimals", declared, listed, remedy
        )


def remarks(file: Path, rows: Sequence[Row]) -> Iterator[Fault]:
    """Oddities a person should look at that an honest copy of a paper may hold all the same."""
    for row in rows:
        printed = stated(row["value"])
        value = printed[1] if printed else None
        lower, upper = number(row["lower"]), number(row["upper"])
        outside = value is not None and (
            (lower is not None and value < lower) or (upper is not None and value > upper)
        )
        if outside:
            remedy = "compare with the paper; keep it where the paper prints it"
            shown = f"{value} in {row['lower']} to {row['upper']}"
            yield Fault(
                "value outside its own limits", file, row.number, "value", shown, None, remedy
            )
        for name in _not_in_text(row, {"value": value, "lower": lower, "upper": upper}):
            remedy = "compare with the paper"
            yield Fault("not in the printed text", file, row.number, name, row[name], None, remedy)


def _not_in_text(row: Row, given: Mapping[str, Decimal | None]) -> Iterator[str]:
    """Columns whose number the printed text does not show."""
    text = row["text"]
    numbers = {abs(found) for found in p_values_in(text)}
    if row["statistic"] == "significant" or not (numbers or is_not_reached(text)):
        return
    if is_not_reached(row["value"]) and not says_not_reached(text):
        yield "value"
    p = p_value(row["p_value"])
    for name, found in {**given, "p_value": p[1] if p else None}.items():
        if found is not None and abs(found) not in numbers and row["relation"] in ("", "="):
            yield name

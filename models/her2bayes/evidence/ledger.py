"""Rows of ``estimates.csv`` and ``external.csv``: whether each can be a printed number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from her2bayes.errors import Fault
from her2bayes.estimand import Estimand
from her2bayes.evidence.cells import decimals, number, p_value, printed_numbers, whole
from her2bayes.evidence.printed_csv import Row
from her2bayes.evidence.schema import MAX_DECIMALS, RELATIONS
from her2bayes.evidence.vocabulary import Vocabulary, read_estimand

SHARES = (
    "share",
    "transition",
    "flow",
    "discordance",
    "true_discordance",
    "gain",
    "loss",
    "response_rate",
    "event_rate",
)
"""Kinds that are parts of a whole: 0 to 100%."""


def check_ledger(
    file: Path, rows: Sequence[Row], words: Vocabulary | None, *, complete: bool
) -> Iterator[Fault]:
    """Faults of all rows; ``complete`` is False where columns are missing, then less is asked.

    Without ``words`` (quoted studies) the names inside the estimands are free.
    """
    yield from repeated(file, rows, ("claim_id",))
    for row in rows:
        estimand: Estimand | None = None
        faults: list[Fault] = []
        if row["estimand"]:
            estimand, faults = read_estimand(row["estimand"], words)
        faults = [replace(fault, column="estimand") for fault in faults]
        faults += _number_faults(row, estimand)
        if complete:
            faults += _statistic_faults(row)
        yield from (replace(fault, file=file, row=row.number) for fault in faults)


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


def _number_faults(row: Row, estimand: Estimand | None) -> Iterator[Fault]:
    part, of = whole(row["numerator"]), whole(row["denominator"])
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
    if bool(row["lower"]) != bool(row["upper"]) and row["statistic"] != "hazard_ratio":
        column = "upper" if row["lower"] else "lower"
        yield Fault("one limit only", column=column, remedy="fill in both limits or none")
    if row["statistic"] == "percentage" or row["unit"] == "%":
        yield from _percentage_faults(row, estimand)


def _percentage_faults(row: Row, estimand: Estimand | None) -> Iterator[Fault]:
    kind = estimand.kind if estimand else ""
    signed = kind.endswith("_difference")
    bounded = signed or kind in SHARES or (kind == "" and row["statistic"] == "percentage")
    least = -100 if signed else 0
    for column in ("value", "lower", "upper") if bounded else ():
        found = number(row[column])
        if found is not None and not least <= found <= 100:
            allowed = f"{least} to 100"
            remedy = "correct it; a percentage of patients lies within these limits"
            yield Fault("an impossible percentage", None, None, column, str(found), allowed, remedy)
    if row["statistic"] == "percentage" and row["unit"] != "%":
        remedy = "write % as the unit and the number as printed in per cent"
        yield Fault("a percentage without %", None, None, "unit", row["unit"] or None, "%", remedy)


def _statistic_faults(row: Row) -> Iterator[Fault]:
    statistic = row["statistic"]
    if statistic == "p_value":
        yield from _p_row_faults(row)
    elif statistic == "range":
        if not row["lower"] or not row["upper"]:
            remedy = "fill in both ends"
            yield Fault("a range without its ends", column="lower", remedy=remedy)
    elif not row["value"]:
        remedy = "fill in the printed number (1 or 0 for a statement of significance)"
        yield Fault("cell is empty", column="value", remedy=remedy)
    value = number(row["value"])
    if statistic == "significant" and value is not None and value not in (0, 1):
        remedy = "1 = said to differ, 0 = said not to differ"
        yield Fault("not a statement", None, None, "value", row["value"], "0, 1", remedy)
    if statistic == "hazard_ratio":
        yield from _ratio_faults(row, value)
    if statistic == "count" and value is not None and (value < 0 or value != int(value)):
        remedy = "write the whole number of patients or events"
        yield Fault("not a count", None, None, "value", row["value"], "0, 1, 2, ...", remedy)
    elif statistic != "significant":
        yield from _decimals_faults(row)


def _p_row_faults(row: Row) -> Iterator[Fault]:
    found = p_value(row["p_value"])
    if not row["p_value"]:
        remedy = "write the P value as printed"
        yield Fault("cell is empty", column="p_value", remedy=remedy)
    elif found and row["relation"] in RELATIONS and row["relation"] != found[0]:
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
    declared, shown = whole(row["decimals"]), row["value"]
    if row["statistic"] == "p_value":
        found = p_value(row["p_value"])
        shown = str(found[1]) if found else ""
    exact = number(shown)
    if declared is None or exact is None or not 0 <= declared <= MAX_DECIMALS:
        return
    if exact != round(exact, declared):
        remedy = f"write {decimals(shown)}, the digits after the decimal point as printed"
        yield Fault("more digits than decimals", None, None, "decimals", declared, None, remedy)
        return
    printed = {decimals(n) for n in printed_numbers(row["text"]) if Decimal(n) == abs(exact)}
    if printed and declared not in printed:
        listed = ", ".join(map(str, sorted(printed)))
        remedy = "count the digits after the decimal point in the printed text"
        yield Fault(
            "decimals are not those of the text", None, None, "decimals", declared, listed, remedy
        )


def remarks(file: Path, rows: Sequence[Row]) -> Iterator[Fault]:
    """Oddities a person should look at that an honest copy of a paper may hold all the same."""
    for row in rows:
        value, lower, upper = (number(row[name]) for name in ("value", "lower", "upper"))
        if None not in (value, lower, upper) and not lower <= value <= upper:  # type: ignore[operator]
            remedy = "compare with the paper; keep it where the paper prints it"
            shown = f"{value} in {lower} to {upper}"
            yield Fault(
                "value outside its own limits", file, row.number, "value", shown, None, remedy
            )
        numbers = {Decimal(found) for found in printed_numbers(row["text"])}
        p = p_value(row["p_value"])
        given = {"value": value, "lower": lower, "upper": upper, "p_value": p[1] if p else None}
        if row["statistic"] == "significant" or not numbers:
            continue
        for name, found in given.items():
            if found is not None and abs(found) not in numbers and row["relation"] in ("", "="):
                remedy = "compare with the paper"
                yield Fault(
                    "not in the printed text", file, row.number, name, row[name], None, remedy
                )

"""Rows of the tables of a study: groups that exist, cells that stand once, counts that fit.

Checked rows of text as data frames: integers, floats, and numbers with their printed digits.

Conclusions as data: ``<estimand> <relation> <number>``, such as ``discordance[] > 0.3``.

Shares, rates and probabilities are numbers between 0 and 1, times are in the unit of the estimand.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from her2bayes.errors import Fault, raise_if, suggestion
from her2bayes.estimand import KINDS, OWN, Estimand
from her2bayes.evidence.printed.csv_rows import Row, check_cells, read_rows
from her2bayes.evidence.printed.design import Design, Factor
from her2bayes.evidence.printed.ledger import repeated
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
from her2bayes.evidence.printed.schema import TABLES, Column
from her2bayes.evidence.printed.vocabulary import (
    STATUS,
    Vocabulary,
    canonical,
    cell_faults,
    level_fault,
    read_estimand,
)

FILE = "conclusions.csv"
COLUMNS = ("conclusion_id", "conclusion", "locator", "note")

_FORM = re.compile(r"(?P<estimand>.*\])\s*(?P<relation>[<>])\s*(?P<number>\S+)", re.DOTALL)
_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)")
_SHAPE = "<estimand> > <number> or <estimand> < <number>, e.g. discordance[] > 0.3"


@dataclass(frozen=True)
class Conclusion:
    """A statement on one estimand: it lies above or below a number, on its natural scale."""

    id: str
    estimand: Estimand
    relation: str
    number: float
    locator: str = ""
    note: str = ""

    def __str__(self) -> str:
        """Print as in the file."""
        return f"{self.estimand} {self.relation} {self.number:g}"

    def holds(self, draws: Any) -> Any:
        """Tell for each draw of the estimand whether the statement is true."""
        return draws > self.number if self.relation == ">" else draws < self.number


def read_conclusion(text: str, words: Vocabulary | None) -> tuple[Conclusion | None, list[Fault]]:
    """Parse one conclusion and check its names; the faults lack file, row and column.

    Without ``words`` only the grammar is checked.
    """
    match = _FORM.fullmatch(text.strip())
    if not match:
        remedy = "write the estimand, > or <, and a number"
        return None, [Fault("not a conclusion", None, None, None, text[:120], _SHAPE, remedy)]
    estimand, faults = read_estimand(match["estimand"], words)
    if not _NUMBER.fullmatch(match["number"]):
        remedy = "a plain number; 30 % is 0.3"
        faults.append(Fault("not a number", value=match["number"], allowed=_SHAPE, remedy=remedy))
    if estimand is None or not _NUMBER.fullmatch(match["number"]):
        return None, faults
    number = float(match["number"])
    faults += _out_of_range(estimand, number)
    return Conclusion("", estimand, match["relation"], number), faults


def _out_of_range(estimand: Estimand, number: float) -> list[Fault]:
    """Refuse a number that the kind cannot have: below 0, a share above 1, beyond the horizon."""
    kind = KINDS[estimand.kind]
    low, high = kind.limits
    if estimand.kind.startswith("rmst") and kind.unit is OWN and estimand.time is not None:
        low, high = max(low, -estimand.time), min(high, estimand.time)
    if low <= number <= high:
        return []
    allowed = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
    remedy = "percentages are written as shares: 30 % is 0.3" if kind.unit == "%" else None
    problem = f"no {estimand.kind} can be {number:g}"
    return [Fault(problem, value=number, allowed=allowed, remedy=remedy)]


def conclusions_of(rows: Sequence[Mapping[Any, Any]]) -> tuple[Conclusion, ...]:
    """Conclusions of checked rows of ``conclusions.csv``."""
    found = []
    for row in rows:
        read, faults = read_conclusion(str(row["conclusion"]), None)
        raise_if(faults)
        assert read is not None  # without a conclusion there is at least one fault
        found.append(
            replace(
                read,
                id=str(row["conclusion_id"]),
                locator=str(row["locator"]),
                note=str(row["note"]),
            )
        )
    return tuple(found)


_KEYS = {
    "status_counts.csv": ("factor", "level", "her2"),
    "transition_facts.csv": ("fact_id",),
    "survival.csv": ("endpoint", "factor", "level"),
    "responses.csv": ("factor", "level", "category"),
    "adverse_events.csv": ("event", "severity"),
    "conclusions.csv": ("conclusion_id",),
}


def check_table(
    name: str,
    file: Path,
    rows: Sequence[Row],
    words: Vocabulary | None,
    claims: Collection[str] | None,
) -> Iterator[Fault]:
    """Faults of one table beyond its single cells.

    ``claims`` are the ids of the ledger and ``words`` the names of the study, where they are known.
    """
    key = _KEYS[name]
    if all(column in row.cells for row in rows[:1] for column in key):
        yield from _repeated_cells(file, rows, key)
    for row in rows:
        faults = [*_group_faults(row, words), *_limit_faults(row), *_ROW_CHECKS[name](row, words)]
        if claims is not None and row["claim_id"] and row["claim_id"] not in claims:
            remedy = f"{suggestion(row['claim_id'], claims)} (ids of estimates.csv)"
            faults.append(
                Fault("no such claim", None, None, "claim_id", row["claim_id"], None, remedy)
            )
        yield from (replace(fault, file=file, row=row.number) for fault in faults)
    if name == "status_counts.csv":
        yield from _missing_cells(file, rows)


def _repeated_cells(file: Path, rows: Sequence[Row], key: tuple[str, ...]) -> Iterator[Fault]:
    # an empty factor and level mean all patients, so every row has a key
    marked = [Row(row.number, {c: row[c] or "(all)" for c in key}) for row in rows]
    yield from repeated(file, marked, key)


def _group_faults(row: Row, words: Vocabulary | None) -> Iterator[Fault]:
    factor, level = row["factor"], row["level"]
    if bool(factor) != bool(level) and {"factor", "level"} <= row.cells.keys():
        column = "level" if factor else "factor"
        remedy = "fill in both factor and level, or neither for all patients"
        yield Fault("half a group", column=column, remedy=remedy)
    elif factor and level and words:
        fault = level_fault(words.design.factors, factor, level)
        if fault:
            column = "factor" if factor not in words.design.factors else "level"
            yield replace(fault, column=column)


def _limit_faults(row: Row) -> Iterator[Fault]:
    group = count(row["patients"])
    of = group.high if group else None
    for column in ("count", "events"):
        printed = count(row[column])
        part = printed.low if printed else None
        if part is not None and of is not None and part > of:
            remedy = "correct one of the two"
            yield Fault(
                "count above its denominator", None, None, column, part, f"0 to {of}", remedy
            )
    lower, upper = number(row["median_lower"]), number(row["median_upper"])
    if lower is not None and upper is not None and lower > upper:
        remedy = "exchange the two limits"
        shown = f"{lower} to {upper}"
        yield Fault("limits the wrong way round", None, None, "median_lower", shown, None, remedy)


def _status(row: Row, words: Vocabulary | None) -> Iterator[Fault]:
    fault = level_fault(words.design.factors, STATUS, row["her2"]) if words else None
    if row["her2"] and fault:
        yield replace(fault, column="her2")


def _fact(row: Row, words: Vocabulary | None) -> Iterator[Fault]:
    if row["cells"] and words:
        for fault in cell_faults(row["cells"], words.design):
            yield replace(fault, column="cells")


def _endpoint(row: Row, words: Vocabulary | None) -> Iterator[Fault]:
    known = words.design.endpoints if words else {}
    if words and row["endpoint"] and row["endpoint"] not in known:
        allowed = ", ".join(known) or "none is declared in study.toml"
        remedy = f"{suggestion(row['endpoint'], known)} or declare it in study.toml"
        yield Fault("unknown endpoint", None, None, "endpoint", row["endpoint"], allowed, remedy)


def _response(row: Row, words: Vocabulary | None) -> Iterator[Fault]:
    known = words.responses if words else ()
    open_ = words and any(factor.open for factor in words.design.factors.values())
    if words and not open_ and row["category"] and row["category"] not in known:
        allowed = ", ".join(known) or "none: no factor of study.toml has groups"
        remedy = f"{suggestion(row['category'], known)} or declare it in study.toml"
        yield Fault("unknown response", None, None, "category", row["category"], allowed, remedy)


def _conclusion(row: Row, words: Vocabulary | None) -> Iterator[Fault]:
    if row["conclusion"]:
        _, faults = read_conclusion(row["conclusion"], words)
        yield from (replace(fault, column="conclusion") for fault in faults)


def _nothing(row: Row, words: Vocabulary | None) -> Iterator[Fault]:
    yield from ()


_ROW_CHECKS: dict[str, Callable[[Row, Vocabulary | None], Iterator[Fault]]] = {
    "status_counts.csv": _status,
    "transition_facts.csv": _fact,
    "survival.csv": _endpoint,
    "responses.csv": _response,
    "adverse_events.csv": _nothing,
    "conclusions.csv": _conclusion,
}


def _missing_cells(file: Path, rows: Sequence[Row]) -> Iterator[Fault]:
    """Levels with some classes only: a row of counts is complete or it is no table row."""
    printed: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        printed[row["factor"], row["level"]].add(row["her2"])
    by_factor: dict[str, set[str]] = defaultdict(set)
    for (factor, _), found in printed.items():
        by_factor[factor] |= found
    for (factor, level), found in printed.items():
        missing = [name for name in sorted(by_factor[factor]) if name not in found]
        if missing:
            group = f"{factor}={level}" if factor else "all patients"
            remedy = "add the row, or take this level out and keep what is printed in estimates.csv"
            what = f"no count of {', '.join(missing)} for {group}"
            yield Fault(what, file=file, column="her2", remedy=remedy)


def load_conclusions(file: Path, words: Vocabulary) -> tuple[Conclusion, ...]:
    """Read a file of conclusions; ``BadInput`` with every fault of every row.

    ``words`` holds the factors, levels and endpoints that exist.
    """

    columns = TABLES[FILE]
    read = read_rows(file, [column.name for column in columns])
    faults = [*read.faults, *check_cells(file, read.rows, columns, read.columns)]
    if len(read.columns) == len(columns):
        faults += check_table(FILE, file, read.rows, words, None)
        if not read.rows and not read.faults:
            remedy = "write one row for each conclusion"
            faults.append(Fault("no rows below the header", file=file, remedy=remedy))
    raise_if(sorted(dict.fromkeys(faults), key=lambda fault: fault.row or 0))
    return conclusions_of([row.cells for row in read.rows])


def vocabulary(factors: Mapping[str, Sequence[str]], endpoints: Sequence[str] = ()) -> Vocabulary:
    """Names that exist in a cohort: factors with their levels, and endpoints."""
    named = {name: Factor(name, name, tuple(levels)) for name, levels in factors.items()}
    return Vocabulary(Design({}, named, {}, {name: {"unit": "months"} for name in endpoints}))


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

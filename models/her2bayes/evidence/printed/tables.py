"""What a study holds beside its ledger, checked: tables, conclusions, ``reconstruction.toml``.

Rows of tables: groups that exist, cells that stand once, counts that fit.

Conclusions as data: ``<estimand> <relation> <number>``, such as ``discordance[] > 0.3``.

Shares, rates and probabilities are numbers between 0 and 1, times are in the unit of the estimand.

``reconstruction.toml`` says how patients are made again from printed survival. What its entries
mean stands in data/README.md; ``cohorts`` reads the file again when it makes cohorts.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from her2bayes.errors import Fault, raise_if, suggestion
from her2bayes.estimand import KINDS, OWN, Estimand
from her2bayes.evidence.printed.csv_rows import Row, check_cells, read_rows, read_text
from her2bayes.evidence.printed.design import Design, Factor
from her2bayes.evidence.printed.ledger import repeated
from her2bayes.evidence.printed.number import count, number
from her2bayes.evidence.printed.schema import TABLES
from her2bayes.evidence.printed.vocabulary import (
    STATUS,
    Vocabulary,
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


RECONSTRUCTION = "reconstruction.toml"

LEFT_OUT = ("used", "left_out")
READINGS: Mapping[str, tuple[str, ...]] = {
    "transition": (),
    "duplicates": (),
    "follow_up": ("observed", "reverse", "survivors", "left_out"),
    "cox": ("joint", "pairwise"),
    "hazard_ratio": ("cox", "compatible", "shared"),
    "p_zeros": ("printed", "padded"),
    "words": LEFT_OUT,
    "implied": LEFT_OUT,
    "contradictory": LEFT_OUT,
}
"""Readings and what each may be; any text where nothing is listed."""

CHAINS = ("chains", "replicas", "softest", "warm", "sweeps", "moves", "soft_moves", "ridges",
          "reheats")  # fmt: skip
ENTRIES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "better": (("estimand", "level"), ("locator",)),
    "implied": (("claim", "endpoint", "relation", "why"), ()),
    "contradictory": (("claim", "why"), ("parts", "under")),
}
"""Lists of tables: what each table must hold, and what it may."""

_TOP = ("endpoints", "reported", "longest", "readings", "chains", *ENTRIES)


def choice_faults(
    folder: Path, words: Vocabulary | None, claims: Collection[str] | None
) -> list[Fault]:
    """Faults of the file, where there is one; ``claims`` are the ids of the ledger, if known."""
    file = folder / RECONSTRUCTION
    if not file.exists():
        return []
    text = read_text(file)
    if isinstance(text, Fault):
        return [replace(text, remedy="mend it, or take it out: reproduce then shows no survival")]
    try:
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        remedy = 'write name = "text" or name = number; lists in [ ]'
        return [Fault(f"not a TOML file: {error}", file=file, remedy=remedy)]
    found = [*_top(given), *_endpoints(given, words), *_readings(given), *_chains(given)]
    for name in ENTRIES:
        found += _tables(name, given.get(name, []), words, claims)
    return [replace(fault, file=file) for fault in found]


def _top(given: Mapping[str, Any]) -> Iterator[Fault]:
    for name in given:
        if name not in _TOP:
            yield _unknown(name, name, _TOP)
    longest = given.get("longest", 1.0)
    if isinstance(longest, bool) or not isinstance(longest, int | float) or longest <= 0:
        remedy = "write the longest follow-up possible in months, e.g. 60.0"
        yield Fault("not a time", None, None, "longest", longest, "above 0", remedy)


def _endpoints(given: Mapping[str, Any], words: Vocabulary | None) -> Iterator[Fault]:
    for name in ("endpoints", "reported"):
        listed = given.get(name, [])
        if not isinstance(listed, list) or not all(isinstance(x, str) for x in listed):
            remedy = f'write {name} = ["os"]'
            yield Fault("not a list of endpoints", None, None, name, listed, None, remedy)
            continue
        known = list(words.design.endpoints) if words else listed
        for endpoint in listed:
            if endpoint not in known:
                allowed = ", ".join(known) or "none is declared in study.toml"
                remedy = f"{suggestion(endpoint, known)} or declare it in study.toml"
                yield Fault("unknown endpoint", None, None, name, endpoint, allowed, remedy)


def _readings(given: Mapping[str, Any]) -> Iterator[Fault]:
    chosen = given.get("readings", {})
    if not isinstance(chosen, dict):
        yield Fault("not a section", None, None, "readings", chosen, None, "write [readings]")
        return
    for name, value in chosen.items():
        place = f"readings.{name}"
        if name not in READINGS:
            yield _unknown(place, name, READINGS)
        elif not isinstance(value, str) or (READINGS[name] and value not in READINGS[name]):
            allowed = ", ".join(READINGS[name]) or "text in quotes"
            remedy = suggestion(str(value), READINGS[name])
            yield Fault("no such reading", None, None, place, value, allowed, remedy)


def _chains(given: Mapping[str, Any]) -> Iterator[Fault]:
    chosen = given.get("chains", {})
    if not isinstance(chosen, dict):
        yield Fault("not a section", None, None, "chains", chosen, None, "write [chains]")
        return
    for name in chosen:  # the numbers are judged where the chains are run
        if name not in CHAINS:
            yield _unknown(f"chains.{name}", name, CHAINS)


def _tables(
    name: str, listed: Any, words: Vocabulary | None, claims: Collection[str] | None
) -> Iterator[Fault]:
    if not isinstance(listed, list) or not all(isinstance(x, dict) for x in listed):
        yield Fault("not a list of tables", None, None, name, listed, None, f"write [[{name}]]")
        return
    required, optional = ENTRIES[name]
    for entry in listed:
        for key in entry:
            if key not in (*required, *optional):
                yield _unknown(f"{name}.{key}", key, (*required, *optional))
        for key in required:
            if not isinstance(entry.get(key), str):
                remedy = f"write {key} = text in quotes"
                yield Fault("entry is missing", None, None, f"{name}.{key}", remedy=remedy)
        yield from _names(name, entry, words, claims)


def _names(
    name: str, entry: Mapping[str, Any], words: Vocabulary | None, claims: Collection[str] | None
) -> Iterator[Fault]:
    claim, relation = entry.get("claim"), entry.get("relation", "=")
    if isinstance(claim, str) and claims is not None and claim not in claims:
        remedy = f"{suggestion(claim, claims)} (ids of estimates.csv)"
        yield Fault("no such claim", None, None, f"{name}.claim", claim, None, remedy)
    if relation not in (">=", "<=", "="):
        remedy = "say how the printed count bounds the events"
        yield Fault("no such relation", None, None, f"{name}.relation", relation, ">=, <=, =",
                    remedy)  # fmt: skip
    if isinstance(entry.get("estimand"), str):
        _, faults = read_estimand(entry["estimand"], words)
        yield from (replace(fault, column=f"{name}.estimand") for fault in faults)


def _unknown(place: str, name: str, known: Collection[str] | Sequence[str]) -> Fault:
    remedy = suggestion(name, known)
    return Fault("no such entry", None, None, place, name, ", ".join(known), remedy)

"""Every printed count of a study, from the ledger and the tables, as constraints with their prints.

A print is one place that says something about counts: a ledger row, or a table cell that no ledger
row of the same locator repeats. Prints that say the same share one constraint.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd

from her2bayes.audit import rounding
from her2bayes.audit.claims import Claim
from her2bayes.audit.space import (
    EVERYONE,
    NotACount,
    Quantity,
    Ratio,
    Space,
    both,
    box,
    everyone_in,
    flows,
    plainest,
    ratio,
)
from her2bayes.audit.system import Line, System
from her2bayes.evidence.printed.number import Count, printed_numbers
from her2bayes.evidence.printed.study import Study

# A count in another unit (samples) this close to the number of patients speaks of the same people
SAME_PEOPLE = 1.1


@dataclass(frozen=True)
class Print:
    """One place of the paper: ``id`` is the claim id, or file and row for a table cell.

    ``of`` names the ledger row that a table cell says it repeats.
    """

    id: str
    locator: str
    shown: str
    claim: Claim | None = None
    of: str = ""

    @property
    def weight(self) -> int:
        """2 where count and percentage are both printed and confirm each other, else 1."""
        claim = self.claim
        if claim is None or claim.statistic != "percentage" or claim.numerator is None:
            return 1
        shown = {Decimal(found) for found in printed_numbers(claim.text)}
        return 2 if {Decimal(claim.numerator), claim.value} <= shown else 1


@dataclass
class Constraint:
    """lower <= sum of weight x quantity <= upper, with the prints that say so."""

    weights: tuple[tuple[Quantity, float], ...]
    lower: float
    upper: float
    prints: list[Print] = field(default_factory=list)

    @property
    def quantity(self) -> Quantity | None:
        """The quantity whose count this states exactly, if it does."""
        exact = self.lower == self.upper and len(self.weights) == 1
        return self.weights[0][0] if exact else None


@dataclass
class Printed:
    """All constraints of a study, and how each claim reduces to counts."""

    constraints: list[Constraint]
    ratios: dict[str, Ratio]
    reasons: dict[str, str]

    def of(self, quantity: Quantity) -> list[Constraint]:
        """Constraints that state the count of a quantity."""
        return [c for c in self.constraints if c.quantity == quantity]


def read_prints(study: Study, claims: tuple[Claim, ...], space: Space) -> Printed:
    """Collect what the ledger and the tables say about counts."""
    printed = Printed([], {}, {})
    collected: dict[tuple, Constraint] = {}
    for claim in claims:
        if claim.statistic in {"count", "percentage"}:
            try:
                printed.ratios[claim.id] = ratio(claim.estimand, space)
            except NotACount as reason:
                printed.reasons[claim.id] = str(reason)
    direct = _printed_values(claims, printed.ratios)
    for claim in claims:
        for weights, lower, upper in _statements(claim, printed.ratios.get(claim.id), direct):
            place = Print(claim.id, claim.locator, claim.shown, claim)
            _add(collected, weights, lower, upper, place)
    for quantity, low, high, place in _cells(study, space):
        if not _repeats(collected, quantity, low, high, place):
            _add(collected, ((quantity, 1.0),), low, high, place)
    printed.constraints = list(collected.values())
    return printed


def lines(system: System, constraints: list[Constraint]) -> list[Line | None]:
    """Turn constraints into rows over the unknown cells; None where no cross-table holds them."""
    found: list[Line | None] = []
    for constraint in constraints:
        total: np.ndarray | None = np.zeros(system.size)
        for quantity, weight in constraint.weights:
            vector = system.vector(quantity)
            total = None if vector is None or total is None else total + weight * vector
        found.append(None if total is None else (total, constraint.lower, constraint.upper))
    return found


def self_consistent(claim: Claim) -> bool:
    """Tell whether count, denominator and percentage of one row agree, truncation allowed."""
    if not claim.denominator:
        return True
    if claim.numerator is None:
        exact = claim.statistic == "percentage" and claim.relation == "=" and claim.value
        return not exact or bool(rounding.counts_that_fit(exact, claim.denominator))
    if claim.numerator > claim.denominator:
        return False
    if claim.statistic == "count":
        span = claim.span
        return span is None or _holds(span, claim.numerator)
    return claim.value is None or how_printed(claim) is not None


def _holds(span: tuple[int, int | None], count: int) -> bool:
    return span[0] <= count and (span[1] is None or count <= span[1])


def how_printed(claim: Claim) -> str | None:
    """Name the rule under which numerator / denominator prints the percentage; None for none."""
    if claim.value is None or claim.numerator is None or not claim.denominator:
        return None
    exact = Fraction(100 * claim.numerator, claim.denominator)
    if claim.relation != "=":
        beyond = exact > Fraction(claim.value)
        return rounding.EXACT if beyond == (claim.relation == ">") else None
    return rounding.rule_that_prints(exact, claim.value)


def _statements(
    claim: Claim, found: Ratio | None, direct: dict[Quantity, set[int]]
) -> Iterator[tuple[tuple[tuple[Quantity, float], ...], float, float]]:
    """Say what one claim states about counts; nothing where its own parts already conflict."""
    if found is None:
        exact = claim.relation == "="
        if claim.statistic == "count" and exact and _same_people(claim, direct):
            yield ((EVERYONE, 1.0),), float(claim.value or 0), float(claim.value or 0)
        return
    if not self_consistent(claim) or claim.reading:
        return
    span = claim.span if claim.statistic == "count" else None
    count = claim.numerator
    if count is not None:
        span = (count, count)
    if span is not None:
        yield ((found.numerator, 1.0),), span[0], float("inf") if span[1] is None else span[1]
    group = found.denominators[0]
    if claim.denominator is not None:
        group = _meant(claim.denominator, found.denominators, direct)
        yield ((group, 1.0),), claim.denominator, claim.denominator
    if claim.statistic == "percentage" and (count is None or claim.denominator is None):
        yield from _percentage(claim, found, group)


def _percentage(
    claim: Claim, found: Ratio, group: Quantity
) -> Iterator[tuple[tuple[tuple[Quantity, float], ...], float, float]]:
    if claim.value is None:
        return
    cell = rounding.cell(claim.value)
    smaller = group if claim.denominator is not None else found.denominators[-1]
    if claim.relation != "<":
        least = cell.lower if claim.relation == "=" else float(claim.value)
        yield ((found.numerator, 100.0), (smaller, -least)), 0.0, float("inf")
    if claim.relation != ">":
        most = cell.upper if claim.relation == "=" else float(claim.value)
        yield ((found.numerator, 100.0), (group, -most)), float("-inf"), 0.0


def _meant(total: int, groups: tuple[Quantity, ...], direct: dict[Quantity, set[int]]) -> Quantity:
    """Pick the group that a denominator counts: the one printed with it, else one without a count.

    A share may be of the patients whose value is known, and how many they are is often not printed;
    where every possible group has a printed count, the nearest one is contradicted.
    """
    gaps = {q: min(abs(n - total) for n in direct[q]) for q in groups if direct.get(q)}
    uncounted = [q for q in groups[1:] if not direct.get(q)]
    if 0 in gaps.values() or not uncounted:
        return min(gaps, key=lambda q: gaps[q]) if gaps else groups[0]
    return uncounted[0]


def _same_people(claim: Claim, direct: dict[Quantity, set[int]]) -> bool:
    everyone = direct.get(EVERYONE, set())
    if claim.estimand.given or claim.value is None or "=" in claim.estimand.outcome:
        return False
    return any(n <= claim.value <= SAME_PEOPLE * n for n in everyone if n)


def _printed_values(
    claims: tuple[Claim, ...], ratios: dict[str, Ratio]
) -> dict[Quantity, set[int]]:
    """Counts printed as numerators: what a denominator can be recognised by."""
    found: dict[Quantity, set[int]] = {}
    for claim in claims:
        if claim.id in ratios and claim.numerator is not None:
            found.setdefault(ratios[claim.id].numerator, set()).add(claim.numerator)
    return found


def _add(
    collected: dict[tuple, Constraint],
    weights: tuple[tuple[Quantity, float], ...],
    lower: float,
    upper: float,
    place: Print,
) -> None:
    constraint = collected.setdefault((weights, lower, upper), Constraint(weights, lower, upper))
    if all(known.id != place.id for known in constraint.prints):
        constraint.prints.append(place)


def _repeats(
    collected: dict[tuple, Constraint], quantity: Quantity, low: float, high: float, place: Print
) -> bool:
    """Tell whether a ledger row of the same place already states the cell's value."""
    known = collected.get((((quantity, 1.0),), low, high))
    where = _parts(place.locator)
    return known is not None and any(
        where & _parts(other.locator) or other.id == place.of for other in known.prints
    )


def _parts(locator: str) -> set[str]:
    return {part.strip() for part in locator.split(";")}


def _cells(study: Study, space: Space) -> Iterator[tuple[Quantity, float, float, Print]]:
    """Every count of the tables beside the ledger, and the number of patients in study.toml."""
    patients = int(study.meta["patients"])
    yield EVERYONE, patients, patients, Print("study.toml", "study.toml", str(patients))
    for file, reader in _READERS.items():
        for number, row in _rows(study, file):
            try:
                stated = list(reader(row, space))
            except NotACount:
                continue
            for quantity, value in stated:
                if not isinstance(value, Count) and pd.isna(value):
                    continue
                low, high, shown = _span(value)
                name = f"{file} row {number}"
                place = Print(name, row["locator"], shown, of=row.get("claim_id", ""))
                yield plainest(quantity, space), low, high, place


def _rows(study: Study, file: str) -> Iterator[tuple[int, dict]]:
    """Rows of a table with their numbers in the file; bounded counts are ``Count``."""
    frame = study.tables[file]
    known = frame.attrs.get("rows", ())
    numbers = known if len(known) == len(frame) else range(2, len(frame) + 2)
    yield from zip(numbers, frame.to_dict("records"), strict=True)
    for bound in study.bounded:
        if bound.file == file:
            nothing = dict.fromkeys(_COUNTED, pd.NA)
            yield bound.row, {**bound.cells, **nothing, bound.column: bound.span}


def _span(value: int | Count) -> tuple[float, float, str]:
    if not isinstance(value, Count):
        return int(value), int(value), str(int(value))
    if value.high is None:
        return value.low, float("inf"), f">{value.low - 1}"
    shown = f"<{value.high + 1}" if value.low == 0 else f"{value.low} to {value.high}"
    return value.low, value.high, shown


_COUNTED = ("count", "patients", "events", "value")
Stated = Iterator[tuple[Quantity, int | Count]]


def _stratum(row: dict, space: Space) -> Quantity:
    return space.condition(row["factor"], row["level"]) if row["factor"] else EVERYONE


def _status(row: dict, space: Space) -> Stated:
    yield both(_stratum(row, space), box(("her2", {row["her2"]}))), row["count"]


def _fact(row: dict, space: Space) -> Stated:
    if not row["claim_id"] and row["reading"]:
        return
    value = int(row["value"])
    spans = {"<": (0, value - 1), "<=": (0, value), ">": (value + 1, None), ">=": (value, None)}
    stated = Count(*spans[row["relation"]]) if row["relation"] in spans else value
    yield both(_stratum(row, space), flows(row["cells"], space)), stated


def _survival(row: dict, space: Space) -> Stated:
    group = _stratum(row, space)
    yield group, row["patients"]
    if row["endpoint"] in space.endpoint_events:
        factor, _, level = space.endpoint_events[row["endpoint"]].partition("=")
        yield both(group, everyone_in([(factor, level)], space)), row["events"]


def _response(row: dict, space: Space) -> Stated:
    group = _stratum(row, space)
    yield both(group, space.group(row["category"])), row["count"]
    yield group, row["patients"]


def _adverse_event(row: dict, space: Space) -> Stated:
    yield space.event(row["event"], row["severity"]), row["count"]
    yield EVERYONE, row["patients"]


_READERS = {
    "status_counts.csv": _status,
    "transition_facts.csv": _fact,
    "survival.csv": _survival,
    "responses.csv": _response,
    "adverse_events.csv": _adverse_event,
}

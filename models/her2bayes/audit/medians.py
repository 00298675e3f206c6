"""Medians without the patients' values: order, symmetry, ranges, the bin that holds the middle.

Medians of times against what else is printed of the same curve: events, survival at a time.

Kaplan-Meier survival at the end of follow-up is at most the share of patients without the event
(censored patients only shift weight to later falls), so that a median is reached where more than
half of the patients had it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from her2bayes.audit import rounding
from her2bayes.audit.claims import (
    INCONSISTENT,
    NOT_CHECKABLE,
    Claim,
    Finding,
    Mark,
    Report,
    describe,
    join,
    number,
    places,
)
from her2bayes.audit.identities import KIND, RANK
from her2bayes.audit.known import Known, Sum
from her2bayes.audit.rounding import Interval
from her2bayes.audit.space import NONE, NotACount, both, everyone_in, plainest

HALF = 50.0


@dataclass(frozen=True)
class Fault:
    """Something impossible: what, the rows that may be wrong, and the rows that show it."""

    note: str
    suspects: tuple[str, ...]
    shown_by: tuple[str, ...] = ()


def faults(known: Known, claim: Claim) -> Iterator[Fault]:
    """Faults of the median of a time to an event."""
    endpoints = known.study.meta.get("endpoints", {})
    if claim.estimand.kind != "median" or claim.estimand.outcome not in endpoints:
        return
    if claim.not_reached:
        yield from _events(known, claim)
    yield from _survival(known, claim, str(endpoints[claim.estimand.outcome].get("unit", "")))


def _events(known: Known, claim: Claim) -> Iterator[Fault]:
    """A median not reached although more than half of the patients had the event."""
    event = known.space.endpoint_events.get(claim.estimand.outcome, "")
    factor, _, level = event.partition("=")
    patients = _counted(known, claim, ())
    events = _counted(known, claim, ((factor, level),)) if event else None
    if patients and events and 2 * events.value > patients.value:
        note = (
            f"{events.value} of {patients.value} had the event, more than half, so that survival "
            "falls below one half"
        )
        yield Fault(note, (claim.id,), tuple(dict.fromkeys(events.claim_ids + patients.claim_ids)))


def _counted(known: Known, claim: Claim, more: tuple[tuple[str, str], ...]) -> Sum | None:
    try:
        group = everyone_in(claim.estimand.given, known.space)
        return known.value(plainest(both(group, everyone_in(more, known.space)), known.space))
    except NotACount:
        return None


def _survival(known: Known, claim: Claim, unit: str) -> Iterator[Fault]:
    """Survival at a time on the wrong side of one half, for the median that is printed."""
    median = in_months(claim, unit)
    if median is None:
        return
    for other in known.claims:
        at = _at(claim, other)
        if at is None or other.value is None:
            continue
        survival = rounding.stands_for(other.value, other.relation)
        early = at < median.lower and survival.upper < HALF
        late = at > median.upper and survival.lower > HALF
        if early or late:
            side = "below" if early else "above"
            note = f"{other.locator} prints {other.shown} alive at {other.estimand.time:g} "
            note += f"{other.estimand.time_unit}, {side} one half"
            yield Fault(note, (claim.id, other.id))


def in_months(claim: Claim, unit: str) -> Interval | None:
    """Times that a printed median stands for, in months; ``unit``: where it has none."""
    if claim.not_reached:
        return Interval(rounding.FAR, rounding.FAR)
    if claim.value is None:
        return None
    return rounding.in_months(rounding.stands_for(claim.value, claim.relation), claim.unit or unit)


def _at(claim: Claim, other: Claim) -> float | None:
    """Months at which a row prints the survival of the same patients; None for another row."""
    estimand = rounding.one_unit(other.estimand)
    same = (estimand.outcome, estimand.given) == (claim.estimand.outcome, claim.estimand.given)
    good = estimand.kind == "survival" and estimand.time_unit == "months" and other.unit == "%"
    return estimand.time if same and good and other.reading == claim.reading else None


SYMMETRY_RANK = 6

STATISTICS = frozenset({"median", "median_range", "median_ci"})


def check(known: Known) -> Report:
    """Mark every median; they cannot be recomputed, but they can be impossible."""
    report = Report()
    rows = [c for c in known.claims if c.statistic in STATISTICS]
    found: dict[str, Fault] = {}
    for claim in rows:
        for fault in _faults(known, claim, rows):
            if all(fault.note != other.note for other in found.values()):
                report.findings.append(_finding(known, claim, fault))
            for suspect in fault.suspects:
                found.setdefault(suspect, fault)
    report.findings += _symmetric(known, rows)
    others = [claim for claim in known.claims if claim.id in found and claim not in rows]
    for claim in (*rows, *others):
        if claim.id not in found:
            report.marks.append(Mark(claim.id, NOT_CHECKABLE, _missing(known, claim)))
            continue
        fault = found[claim.id]
        ids = tuple(i for i in (*fault.suspects, *fault.shown_by) if i != claim.id)
        report.marks.append(Mark(claim.id, INCONSISTENT, fault.note, contradicts=ids))
    return report


def _faults(known: Known, claim: Claim, rows: list[Claim]) -> Iterator[Fault]:
    yield from _own_order(claim)
    yield from _bin_fault(known, claim)
    yield from faults(known, claim)
    strata = _strata(known, claim, rows)
    timed = claim.estimand.outcome in known.study.meta.get("endpoints", {})
    if strata and claim.value is not None and not timed:
        yield from _median_fault(known, claim, claim.value, strata)
        yield from _range_faults(known, claim, strata)


def _finding(known: Known, claim: Claim, fault: Fault) -> Finding:
    about = describe(claim.estimand, known.study)
    text = f"{claim.locator} prints {claim.shown} for {about}, but {fault.note}."
    return Finding(KIND, (*fault.suspects, *fault.shown_by), text, RANK)


def _own_order(claim: Claim) -> Iterator[Fault]:
    low, middle, high = claim.lower, claim.value, claim.upper
    above = low is not None and middle is not None and middle < low
    below = high is not None and (claim.not_reached or (middle is not None and middle > high))
    if above or below or (low is not None and high is not None and low > high):
        ends = f"{low if low is not None else 'an open end'} to {high or 'an open end'}"
        yield Fault(f"the median lies outside {ends}", (claim.id,))


def _missing(known: Known, claim: Claim) -> str:
    needed = (
        "event times"
        if claim.estimand.outcome in known.study.meta.get("endpoints", {})
        else "values"
    )
    note = f"missing: the patients' {needed}"
    if claim.not_reached:
        note += "; not reached: survival stays above one half to the end of follow-up"
    again = [
        c.locator
        for c in known.claims
        if c.estimand == claim.estimand and c.statistic in STATISTICS and c.id != claim.id
    ]
    if again:
        note += f"; printed alike in {', '.join(dict.fromkeys(again))}"
    if claim.statistic == "median_ci" and claim.value is not None:
        note += f"; {_symmetry(claim.value, claim.lower, claim.upper)}"
    middle = _middle_bin(known, claim)
    if middle is not None:
        note += f"; {middle[0]} agrees with the counts ({middle[1]})"
    return note


def _symmetry(value: Decimal, lower: Decimal | None, upper: Decimal | None) -> str:
    if lower is None or upper is None:
        return "the interval has one end"
    low, high, here = rounding.cell(lower), rounding.cell(upper), rounding.cell(value)
    if Interval((low.lower + high.lower) / 2, (low.upper + high.upper) / 2).meets(here):
        return (
            "the interval is symmetric around the median, which suggests a normal approximation "
            "(median -+ 1.96 SE) rather than the Kaplan-Meier band"
        )
    middle = (float(lower) + float(upper)) / 2
    return (
        f"the interval is not symmetric (its middle is {number(middle)}), as Kaplan-Meier gives it"
    )


def _symmetric(known: Known, rows: list[Claim]) -> list[Finding]:
    """Name the intervals of median times that are symmetric, if more than one and most of them are.

    Of many Kaplan-Meier intervals some are symmetric as printed, by chance.
    """
    endpoints = known.study.meta.get("endpoints", {})
    closed = [
        c
        for c in rows
        if c.estimand.outcome in endpoints
        and c.estimand.kind == "median"
        and None not in (c.value, c.lower, c.upper)
    ]
    chosen = [
        c for c in closed if "is symmetric" in _symmetry(c.value or Decimal(0), c.lower, c.upper)
    ]
    if len({c.estimand for c in chosen}) < 2 or 2 * len(chosen) <= len(closed):
        return []
    shown = join(dict.fromkeys(f"{c.value} ({c.lower} to {c.upper})" for c in chosen))
    text = (
        f"The intervals of median times in {places(chosen)} are symmetric around the medians, "
        f"{shown}, which suggests a normal approximation, not a Kaplan-Meier interval."
    )
    return [Finding("method", tuple(c.id for c in chosen), text, SYMMETRY_RANK)]


def _bins(known: Known, claim: Claim) -> list[tuple[str, Interval, Sum]]:
    """Levels of the factor that bins the same measure, with their edges and counts."""
    factor = claim.estimand.outcome
    found = []
    outside = known.space.unknown.get(factor, frozenset()) | {NONE}
    for level in known.space.levels.get(factor, ()):
        edges = _edges(level)
        if level in outside:
            continue
        try:
            given = everyone_in(claim.estimand.given, known.space)
            quantity = both(given, known.space.condition(factor, level))
        except NotACount:
            return []
        count = known.value(plainest(quantity, known.space))
        if edges is None or count is None:
            return []
        found.append((level, edges, count))
    return sorted(found, key=lambda b: (b[1].lower, b[1].upper))


def _edges(level: str) -> Interval | None:
    """Interval of a level such as '≤50', '>50', '12-24'; None for a level in words."""
    if found := re.fullmatch(r"[<≤]\s*([\d.]+)", level):
        return Interval(float("-inf"), float(found[1]))
    if found := re.fullmatch(r"[>≥]\s*([\d.]+)", level):
        return Interval(float(found[1]), float("inf"))
    if found := re.fullmatch(r"([\d.]+)\s*[-–]\s*([\d.]+)", level):
        return Interval(float(found[1]), float(found[2]))
    return None


def _middle_bin(known: Known, claim: Claim) -> tuple[str, str, Interval, tuple[str, ...]] | None:
    """Bins that hold the middle patients: name, counts in words, their joint edges, ledger ids."""
    bins = _bins(known, claim)
    total = sum(count.value for _, _, count in bins)
    if len(bins) < 2 or not total:
        return None
    below, holding = 0, []
    for level, edges, count in bins:
        if below < total / 2 + 0.5 and below + count.value >= total / 2:
            holding.append((level, edges))
        below += count.value
    shown = " and ".join(level for level, _ in holding)
    counts = ", ".join(f"{level}: {count.value}" for level, _, count in bins)
    joint = Interval(min(e.lower for _, e in holding), max(e.upper for _, e in holding))
    ids = tuple(dict.fromkeys(i for _, _, count in bins for i in count.claim_ids))
    return f"group {shown}", counts, joint, ids


def _bin_fault(known: Known, claim: Claim) -> Iterator[Fault]:
    middle = _middle_bin(known, claim)
    if middle is None or claim.value is None:
        return
    name, counts, edges, ids = middle
    if not edges.meets(rounding.cell(claim.value)):
        yield Fault(f"the middle patient is in {name} ({counts})", (claim.id,), ids)


def _median_fault(
    known: Known, claim: Claim, value: Decimal, strata: list[Claim]
) -> Iterator[Fault]:
    """Compare the median of everyone with the medians of all groups, between which it lies."""
    values = [s.value for s in strata if s.value is not None]
    if len(values) < len(strata) or min(values) <= value <= max(values):
        return
    note = f"the medians of all its groups lie between {min(values)} and {max(values)}"
    groups = tuple(s.id for s in strata)
    elsewhere = [c.value for c in known.claims if c.estimand == claim.estimand and c.value]
    if any(min(values) <= other <= max(values) for other in elsewhere):
        yield Fault(note, (claim.id,), groups)
    else:
        yield Fault(note, (claim.id, *groups))


def _range_faults(known: Known, claim: Claim, strata: list[Claim]) -> Iterator[Fault]:
    """Compare the range of everyone with the ranges of all groups, whose union it is."""
    if claim.statistic != "median_range":
        return
    for name, pick, own in (("smallest", min, claim.lower), ("largest", max, claim.upper)):
        ends = {s.id: (s.lower if name == "smallest" else s.upper) for s in strata}
        printed = [end for end in ends.values() if end is not None]
        if own is None or len(printed) < len(strata) or pick(printed) == own:
            continue
        beyond = tuple(i for i, end in ends.items() if end is not None and pick(end, own) != own)
        totals = _same_end(known, claim, name, own)
        # withdrawing every group beyond the total, or any one group where none reaches it, helps
        groups, cost = (beyond, len(beyond)) if beyond else (tuple(ends), 1)
        suspects = totals if len(totals) < cost else groups
        if len(totals) == cost:
            suspects = (*totals, *groups)
        if _same_end(known, claim, name, pick(printed)):
            suspects = totals
        shown_by = tuple(i for i in (*totals, *ends) if i not in suspects)
        note = f"the {name} value of its groups is {pick(printed)}, not {own}"
        yield Fault(note, suspects, shown_by)


def _same_end(known: Known, claim: Claim, name: str, own: Decimal) -> tuple[str, ...]:
    return tuple(
        c.id
        for c in known.claims
        if (c.estimand, c.statistic) == (claim.estimand, claim.statistic)
        and (c.lower if name == "smallest" else c.upper) == own
    )


def _strata(known: Known, claim: Claim, rows: list[Claim]) -> list[Claim]:
    """Rows of the same median in the levels of one factor, if every level is printed."""
    for factor in known.study.factors:
        levels = known.space.levels[factor]
        if factor in claim.estimand.conditions or known.space.unknown.get(factor) or NONE in levels:
            continue
        found = []
        for level in levels:
            wanted = claim.estimand.where(**{factor: level})
            found += [r for r in rows if r.estimand == wanted and r.reading == claim.reading][:1]
        if len(found) == len(levels):
            return found
    return []

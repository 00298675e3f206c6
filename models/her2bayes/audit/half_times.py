"""Medians of times against what else is printed of the same curve: events, survival at a time.

Kaplan-Meier survival at the end of follow-up is at most the share of patients without the event
(censored patients only shift weight to later falls), so that a median is reached where more than
half of the patients had it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from her2bayes.audit import times
from her2bayes.audit.claims import Claim
from her2bayes.audit.counts import everyone_in
from her2bayes.audit.known import Known, Sum
from her2bayes.audit.rounding import Interval
from her2bayes.audit.space import NotACount, both, plainest

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
        survival = times.stands_for(other.value, other.relation)
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
        return Interval(times.FAR, times.FAR)
    if claim.value is None:
        return None
    return times.in_months(times.stands_for(claim.value, claim.relation), claim.unit or unit)


def _at(claim: Claim, other: Claim) -> float | None:
    """Months at which a row prints the survival of the same patients; None for another row."""
    estimand = times.one_unit(other.estimand)
    same = (estimand.outcome, estimand.given) == (claim.estimand.outcome, claim.estimand.given)
    good = estimand.kind == "survival" and estimand.time_unit == "months" and other.unit == "%"
    return estimand.time if same and good and other.reading == claim.reading else None

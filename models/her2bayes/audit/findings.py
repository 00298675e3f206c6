"""Findings that a single row's verdict or several rows together give: one plain sentence each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from her2bayes.audit import medians, rounding
from her2bayes.audit.claims import (
    DIFFERS,
    INCONSISTENT,
    Claim,
    Finding,
    Mark,
    describe,
    incomplete,
    join,
    number,
    places,
)
from her2bayes.audit.known import Known
from her2bayes.audit.percentages import ids_that_state
from her2bayes.audit.prints import how_printed
from her2bayes.audit.space import Quantity, box, everyone_in, factors_of, plainest
from her2bayes.estimand import Estimand

RANK = 1
DIRECTION_RANK = 4
SUBGROUP_RANK = 5
DENOMINATOR_RANK = 6
ROUNDING_RANK = 7
COMPLETENESS_RANK = 8
SUBGROUP = "subgroup"
"""Kind of a finding on a difference said to be in some subgroups only."""

_KINDS = {
    "percentage": "percentage",
    "count": "contradiction",
    "p_value": "P value",
    "hazard_ratio": "hazard ratio",
}


def of_marks(known: Known, marks: Iterable[Mark]) -> Iterator[Finding]:
    """One finding for each row that differs from what its own or other numbers give."""
    by_id = {claim.id: claim for claim in known.claims}
    for mark in marks:
        if mark.verdict in {DIFFERS, INCONSISTENT}:
            claim = by_id[mark.claim_id]
            about = describe(claim.estimand, known.study, claim.reading)
            why = mark.because or mark.note
            text = f"{claim.locator} prints '{claim.shown}' for {about}, but {why}."
            kind = _KINDS.get(claim.statistic, "contradiction")
            yield Finding(kind, (claim.id, *mark.contradicts), text, RANK)


def of_study(known: Known) -> Iterator[Finding]:
    """Findings that no single row carries."""
    yield from _mixed_rounding(known)
    yield from _unknown_in_denominator(known)
    yield from _known_in_part(known)
    yield from _direction(known)
    yield from _only_in(known)
    yield from _completeness(known)


def _mixed_rounding(known: Known) -> Iterator[Finding]:
    """Halves rounded up in one place and to even in another."""
    ties: dict[str, list[Claim]] = {rounding.HALF_UP: [], rounding.HALF_EVEN: []}
    for claim in known.claims:
        if claim.statistic == "percentage":
            ties.get(how_printed(claim) or "", []).append(claim)
    up, even = ties[rounding.HALF_UP], ties[rounding.HALF_EVEN]
    if not up or not even:
        return
    text = (
        f"Halves are rounded up in {_tie(up)} but to even in {_tie(even)}: "
        "two rounding rules in one paper."
    )
    yield Finding("rounding", tuple(c.id for c in (*even, *up)), text, ROUNDING_RANK)


def _tie(claims: list[Claim]) -> str:
    first = claims[0]
    share = 100 * (first.numerator or 0) / (first.denominator or 1)
    exact = f"{first.numerator}/{first.denominator} = {number(share)} % printed {first.value}"
    return f"{places(claims)} ({exact})"


def _unknown_in_denominator(known: Known) -> Iterator[Finding]:
    """Shares of a factor whose denominator counts the patients in whom it is unknown."""
    for claim in known.claims:
        found = known.printed.ratios.get(claim.id)
        if claim.statistic != "percentage" or found is None or not claim.denominator:
            continue
        for factor in factors_of(found.numerator) - factors_of(found.denominators[0]):
            unknown = known.space.unknown.get(factor)
            if not unknown or claim.numerator is None:
                continue
            missing = known.value(box((factor, set(unknown))))
            whole = known.value(found.denominators[0])
            if not missing or not whole or not missing.value or whole.value != claim.denominator:
                continue
            left = whole.value - missing.value
            share = number(100 * claim.numerator / left, 1)
            text = (
                f"{claim.locator} prints '{claim.shown}' for "
                f"{describe(claim.estimand, known.study)} over all {whole.value}, the "
                f"{missing.value} with unknown value included; of the {left} known it is {share} %."
            )
            ids = (claim.id, *missing.claim_ids)
            yield Finding("denominator", ids, text, DENOMINATOR_RANK)


def _direction(known: Known) -> Iterator[Finding]:
    """A hazard ratio below 1 beside the shorter median, or above 1 beside the longer one."""
    for claim in known.claims:
        contrast = claim.estimand.contrast
        if claim.statistic != "hazard_ratio" or claim.value is None or contrast is None:
            continue
        pair = [_median(known, claim, contrast.factor, x) for x in (contrast.a, contrast.b)]
        first, second = pair
        if first is None or second is None:
            continue
        order = _order(known, first, second)
        lower_hazard = rounding.cell(claim.value).upper < 1
        higher_hazard = rounding.cell(claim.value).lower > 1
        if (lower_hazard and order < 0) or (higher_hazard and order > 0):
            shown = " and ".join(_shown_median(median) for median in (first, second))
            text = (
                f"{claim.locator} prints hazard ratio {claim.value} for "
                f"{describe(claim.estimand, known.study, claim.reading)}, but the medians "
                f"{shown} point the other way."
            )
            yield Finding("direction", (claim.id, first.id, second.id), text, DIRECTION_RANK)


def _only_in(known: Known) -> Iterator[Finding]:
    """A difference called significant in some subgroups only, where none compares the subgroups."""
    said: dict[tuple[Estimand, str], list[Claim]] = defaultdict(list)
    for claim in known.claims:
        if claim.statistic == "significant" and claim.estimand.given:
            *others, (factor, _) = claim.estimand.given
            said[replace(claim.estimand, given=tuple(others)), factor].append(claim)
    compared = {
        (claim.estimand.outcome.partition(",")[0], claim.estimand.contrast.factor)
        for claim in known.claims
        if claim.estimand.kind == "hazard_ratio_ratio" and claim.estimand.contrast
    }
    for (asked, factor), claims in said.items():
        yes, no = ([c for c in claims if bool(c.value) is wanted] for wanted in (True, False))
        only = [claim for claim in yes if "only" in claim.text.split()]
        if not only or not no or (asked.outcome, factor) in compared:
            continue
        levels = [
            join(dict.fromkeys(c.estimand.given[-1][1] for c in group)) for group in (yes, no)
        ]
        words = join(dict.fromkeys(f"'{claim.text}' ({claim.locator})" for claim in only))
        text = (
            f"{words}: {describe(asked, known.study)} is called significant for "
            f"{known.study.factors[factor].label} {levels[0]} and not significant for {levels[1]}. "
            f"Two tests apart do not compare the subgroups, and no test that does is printed."
        )
        yield Finding(SUBGROUP, tuple(claim.id for claim in (*yes, *no)), text, SUBGROUP_RANK)


def _known_in_part(known: Known) -> Iterator[Finding]:
    """Say which factors are known in part of the patients only, and where to write it down."""
    for factor, rows in incomplete(known.study, known.claims).items():
        group = plainest(everyone_in(rows[0].estimand.given, known.space), known.space)
        whole = known.value(group)
        of = f" of {whole.value}" if whole else ""
        text = (
            f"In {places(rows)} {known.study.factors[factor].label} is of "
            f"{rows[0].denominator}{of} patients, which is what all its levels add up to: the "
            f"others are taken as not known. If so, study.toml should say it: "
            f'unknown = ["not known"] in [factors.{factor}].'
        )
        yield Finding("denominator", tuple(row.id for row in rows), text, DENOMINATOR_RANK)


def _order(known: Known, first: Claim, second: Claim) -> int:
    """-1 where the first median is the shorter, 1 where it is the longer, 0 where that is open."""
    unit = str(known.study.meta["endpoints"][first.estimand.outcome].get("unit", ""))
    one, other = medians.in_months(first, unit), medians.in_months(second, unit)
    if one is None or other is None:
        return 0
    return int(one.lower >= other.upper) - int(one.upper <= other.lower)


def _shown_median(median: Claim) -> str:
    if median.not_reached:
        return "not reached"
    return f"{'' if median.relation == '=' else median.relation}{median.value}"


def _median(known: Known, claim: Claim, factor: str, level: str) -> Claim | None:
    given = {**claim.estimand.conditions, factor: level}
    for other in known.claims:
        estimand = other.estimand
        same = (estimand.kind, estimand.outcome) == ("median", claim.estimand.outcome)
        if same and estimand.conditions == given and (other.not_reached or other.value is not None):
            return other
    return None


def _completeness(known: Known) -> Iterator[Finding]:
    """More patients with any event than the listed events add up to: some are not listed."""
    if "any" not in known.space.events:
        return
    for severity in known.space.severities:
        counts = {e: known.value(known.space.event(e, severity)) for e in known.space.events}
        whole = counts.pop("any")
        if whole is None or any(c is None for c in counts.values()):
            continue
        listed = sum(c.value for c in counts.values() if c)
        if whole.value > listed:
            ids = _event_ids(known, known.space.event("any", severity), whole.value)
            text = (
                f"{whole.value} patients have an adverse event of severity {severity}, but the "
                f"listed events add up to {listed}: some are not listed or a count is wrong."
            )
            yield Finding("completeness", ids, text, COMPLETENESS_RANK)


def _event_ids(known: Known, quantity: Quantity, count: int) -> tuple[str, ...]:
    return ids_that_state(known, quantity, count, "")

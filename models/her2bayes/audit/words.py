"""What a paper says in words against its own numbers: significance, and its conclusions.

Significance is held against the paper's P values, intervals and counts. Of a conclusion only the
printed point counts here; what other priors, models and readings make of it is asked by
``sensitivity``.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from decimal import Decimal

from her2bayes.audit import rounding
from her2bayes.audit import tests as association_tests
from her2bayes.audit.claims import (
    INCONSISTENT,
    NOT_CHECKABLE,
    REPRODUCES,
    Claim,
    Finding,
    Mark,
    Report,
    describe,
    join,
    p_text,
)
from her2bayes.audit.known import Known
from her2bayes.audit.triplets import alpha, interval_denies_p
from her2bayes.estimand import Estimand
from her2bayes.evidence.printed.tables import Conclusion

KIND = "text–data discrepancy"
RANK = 3

# kinds that answer the same question about two groups
SAME_QUESTION = frozenset({"hazard_ratio", "survival_difference", "median_difference"})


@dataclass(frozen=True)
class Witness:
    """One number that says whether a difference is significant."""

    claim_ids: tuple[str, ...]
    shown: str
    significant: bool
    p: float | None = None
    where: str = ""


def check(known: Known, suspected: Set[str]) -> Report:
    """Mark every statement in words; one finding for each that the paper's numbers deny.

    Numbers of ``suspected`` rows bear witness only where no others do. Where nothing but fewer P
    values than statements stands against statements that agree, the P values are the suspects.
    """
    report = Report()
    denied: dict[tuple[Estimand, str, bool], list[tuple[Claim, Mark]]] = {}
    for claim in known.claims:
        if claim.statistic != "significant":
            continue
        mark = _mark(known, claim, suspected)
        report.marks.append(mark)
        if mark.verdict == INCONSISTENT:
            key = (claim.estimand, claim.reading, bool(claim.value))
            denied.setdefault(key, []).append((claim, mark))
    for rows in denied.values():
        lone = _outnumbered(known, rows)
        if lone:
            report.marks += [_lone_p(claim, rows) for claim in lone]
            said = {claim.id for claim, _ in rows}
            report.marks = [_excused(m) if m.claim_id in said else m for m in report.marks]
        if not all(_already_told(known, claim) for claim, _ in rows):
            report.findings.append(_finding(known, rows))
    return report


def _mark(known: Known, claim: Claim, suspected: Set[str]) -> Mark:
    if claim.value is None:
        return Mark(claim.id, NOT_CHECKABLE, "the row does not say what is claimed")
    claimed = bool(claim.value)
    witnesses = [*_printed(known, claim), *_intervals(known, claim)]
    witnesses = [w for w in witnesses if not suspected & set(w.claim_ids)] or witnesses
    opposite = _opposite(known, claim)
    if not witnesses:
        witnesses, missing = _counted(known, claim)
        witnesses = witnesses or opposite
        if not witnesses:
            return Mark(claim.id, NOT_CHECKABLE, f"missing: {missing}")
    against = [w for w in witnesses if w.significant != claimed]
    backing = [w for w in witnesses if w.significant == claimed]
    p = next((w.p for w in witnesses if w.p is not None), None)
    if not against:
        note = _listed(backing)
        return Mark(claim.id, REPRODUCES, note, "printed numbers", p=p)
    note = _listed(against)
    if backing:
        note += f"; backed by {_listed(backing)}"
    ids = tuple(dict.fromkeys(i for w in [*against, *opposite] for i in w.claim_ids))
    return Mark(claim.id, INCONSISTENT, note, "printed numbers", p=p, contradicts=ids)


def _outnumbered(known: Known, rows: list[tuple[Claim, Mark]]) -> list[Claim]:
    """P values that alone, and fewer in number, deny statements which all agree; else nothing."""
    against = {i for _, mark in rows for i in mark.contradicts}
    claims = [c for c in known.claims if c.id in against]
    alone = all(c.statistic == "p_value" for c in claims)
    backed = any("; backed by" in mark.note for _, mark in rows)
    return claims if alone and not backed and 0 < len(claims) < len(rows) else []


def _lone_p(claim: Claim, rows: list[tuple[Claim, Mark]]) -> Mark:
    words = join(dict.fromkeys(f"'{c.text}' ({c.locator})" for c, _ in rows))
    note = f"contradicts the text: {words}"
    ids = tuple(c.id for c, _ in rows)
    return Mark(claim.id, INCONSISTENT, note, "printed words", contradicts=ids)


def _excused(mark: Mark) -> Mark:
    return replace(mark, verdict=NOT_CHECKABLE, note=f"only {mark.note} says otherwise")


def _listed(witnesses: list[Witness]) -> str:
    """Numbers and where they are printed, each number once."""
    by_text: dict[str, list[str]] = {}
    for witness in witnesses:
        by_text.setdefault(witness.shown, []).append(witness.where)
    parts = []
    for shown, where in by_text.items():
        named = join(dict.fromkeys(w for w in where if w))
        parts.append(f"{shown} ({named})" if named else shown)
    return join(parts)


def _same(known: Known, claim: Claim, other: Claim) -> bool:
    """Tell whether another row speaks of the same comparison under the same reading."""
    a, b = claim.estimand, other.estimand
    if other.id == claim.id or claim.reading != other.reading:
        return False
    if a == b:
        return True
    alike = (a.outcome, a.given, a.contrast) == (b.outcome, b.given, b.contrast)
    return alike and {a.kind, b.kind} <= SAME_QUESTION and not _exact(known, claim)


def _exact(known: Known, claim: Claim) -> bool:
    return any(
        c.estimand == claim.estimand and c.reading == claim.reading and c.p is not None
        for c in known.claims
    )


def _printed(known: Known, claim: Claim) -> list[Witness]:
    """P values printed for the same comparison."""
    level = alpha(known)
    found = []
    for other in known.claims:
        if other.p is None or not _same(known, claim, other):
            continue
        cell = rounding.p_cell(other.p, other.p_relation)
        if cell.upper < level or (other.p_relation == "<" and cell.upper <= level):
            significant = True
        elif cell.lower >= level:
            significant = False
        else:
            continue
        p = float(other.p)
        found.append(Witness((other.id,), other.shown_p, significant, p, other.locator))
    return found


def _intervals(known: Known, claim: Claim) -> list[Witness]:
    """Intervals of hazard ratios printed for the same comparison."""
    found = []
    for other in known.claims:
        if other.statistic != "hazard_ratio" or not _same(known, claim, other):
            continue
        if other.lower is None or other.upper is None:
            continue
        low, high = rounding.cell(other.lower), rounding.cell(other.upper)
        shown = f"a 95 % CI of {other.lower} to {other.upper}"
        if low.upper < 1 < high.lower:
            text = f"{shown} that includes 1"
            found.append(Witness((other.id,), text, False, where=other.locator))
        elif low.lower > 1 or high.upper < 1:
            text = f"{shown} that excludes 1"
            found.append(Witness((other.id,), text, True, where=other.locator))
    return found


def _opposite(known: Known, claim: Claim) -> list[Witness]:
    """Statements of the opposite about the same comparison."""
    return [
        Witness((c.id,), f"the words '{c.text}'", bool(c.value), where=c.locator)
        for c in known.claims
        if c.statistic == "significant"
        and (c.estimand, c.reading) == (claim.estimand, claim.reading)
        and bool(c.value) != bool(claim.value)
    ]


def _counted(known: Known, claim: Claim) -> tuple[list[Witness], str]:
    """P recomputed from printed counts where none is printed."""
    if not association_tests.is_tested_on_counts(claim.estimand):
        return [], "no P value or interval is printed for this comparison"
    try:
        result, counted = association_tests.stated_p(known, claim.estimand)
    except association_tests.Missing as reason:
        return [], str(reason)
    shown = f"P {p_text(result.p_value)} by {result.method} on the printed counts"
    significant = result.p_value < alpha(known)
    return [Witness(counted.claim_ids, shown, significant, result.p_value)], ""


def _already_told(known: Known, claim: Claim) -> bool:
    """Tell whether the finding about the interval and its P already names the statement."""
    rows = [c for c in known.claims if c.statistic == "hazard_ratio" and _same(known, claim, c)]
    return bool(rows) and all(interval_denies_p(known, c) for c in rows)


def _finding(known: Known, rows: list[tuple[Claim, Mark]]) -> Finding:
    claims = [claim for claim, _ in rows]
    first, mark = rows[0]
    about = describe(first.estimand, known.study, first.reading)
    said = "significant" if first.value else "not significant"
    words = join(dict.fromkeys(f"'{c.text}' ({c.locator})" for c in claims))
    verb = "call" if len(claims) > 1 else "calls"
    text = f"{words} {verb} {about} {said}, but the numbers are {mark.note}."
    ids = tuple(
        dict.fromkeys([*(c.id for c in claims), *(i for _, m in rows for i in m.contradicts)])
    )
    return Finding(KIND, ids, text, RANK)


CONCLUSION = "conclusion"

DIFFERENCES = {
    "share_difference": "share",
    "response_rate_difference": "response_rate",
    "event_rate_difference": "event_rate",
    "discordance_difference": "discordance",
}


@dataclass(frozen=True)
class Answer:
    """What printed numbers say of a conclusion: what they stand for, on its scale, and where."""

    low: float
    high: float
    shown: str
    claim_ids: tuple[str, ...]

    def denies(self, conclusion: Conclusion) -> bool:
        """Tell whether nothing that the printed numbers stand for meets the conclusion."""
        return not (conclusion.holds(self.low) or conclusion.holds(self.high))


def answers(known: Known, conclusion: Conclusion) -> list[Answer]:
    """Printed values of the estimand of a conclusion; differences from the two shares printed."""
    asked = conclusion.estimand
    direct = [_answer(claim) for claim in _rows(known, asked)]
    if direct or asked.contrast is None or asked.kind not in DIFFERENCES:
        return direct
    contrast = asked.contrast
    pair = [
        _rows(known, replace(asked, kind=DIFFERENCES[asked.kind], contrast=None,
                             given=(*asked.given, (contrast.factor, level))))
        for level in (contrast.a, contrast.b)
    ]  # fmt: skip
    return [_difference(_answer(a[0]), _answer(b[0])) for a, b in [pair] if a and b]


def _rows(known: Known, asked: Estimand) -> list[Claim]:
    return [
        claim
        for claim in known.claims
        if claim.estimand == asked
        and claim.value is not None
        and claim.relation == "="
        and not claim.reading
        and claim.statistic not in ("p_value", "significant")
    ]


def _answer(claim: Claim) -> Answer:
    scale = 100 if claim.unit == "%" else 1
    span = rounding.cell(claim.value or Decimal(0))
    low, high = span.lower / scale, span.upper / scale
    if claim.unit == "%" and claim.numerator is not None and claim.denominator:
        low = high = claim.numerator / claim.denominator
    return Answer(low, high, f"'{claim.shown}' ({claim.locator})", (claim.id,))


def _difference(a: Answer, b: Answer) -> Answer:
    shown, ids = f"{a.shown} and {b.shown}", a.claim_ids + b.claim_ids
    return Answer(a.low - b.high, a.high - b.low, shown, ids)


def _denied(known: Known, conclusion: Conclusion) -> list[Answer]:
    """Printed values where each of them denies the conclusion; places that differ are elsewhere."""
    found = answers(known, conclusion)
    return found if all(answer.denies(conclusion) for answer in found) else []


def of_conclusions(known: Known) -> Iterator[Finding]:
    """One finding for each conclusion that a printed number denies."""
    for conclusion in known.study.conclusions:
        denied = _denied(known, conclusion)
        if denied:
            about = describe(conclusion.estimand, known.study)
            shown = join(dict.fromkeys(a.shown for a in denied))
            text = (
                f"{conclusion.locator} concludes '{conclusion}' on {about}, but the printed "
                f"numbers are {shown}."
            )
            ids = tuple(dict.fromkeys(i for a in denied for i in a.claim_ids))
            yield Finding(CONCLUSION, ids, text, RANK)


def told(known: Known) -> str:
    """Say how many conclusions were read and what the printed numbers say of them; '' for none."""
    read = known.study.conclusions
    if not read:
        return ""
    told_of = [conclusion for conclusion in read if answers(known, conclusion)]
    denied = sum(bool(_denied(known, conclusion)) for conclusion in told_of)
    agreed, open_ = len(told_of) - denied, len(read) - len(told_of)
    return (
        f"{len(read)} conclusions: printed numbers agree with {agreed}, deny {denied}, "
        f"do not tell of {open_}"
    )

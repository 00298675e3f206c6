"""Counts that other printed counts contradict: which rows are suspect, and what shows it."""

from __future__ import annotations

from collections.abc import Sequence

from her2bayes.audit.claims import (
    INCONSISTENT,
    Claim,
    Finding,
    Mark,
    Report,
    describe,
    join,
    places,
)
from her2bayes.audit.known import Known, Sum
from her2bayes.audit.percentages import ids_that_state
from her2bayes.audit.prints import Constraint, Print
from her2bayes.audit.space import Quantity, factors_of

KIND = "contradiction"
RANK = 1
OTHER_UNIT_RANK = 2


def check(known: Known) -> Report:
    """Mark every print that stands in a smallest correction; one finding for each conflict."""
    report = Report()
    by_id = {claim.id: claim for claim in known.claims}
    for ties in sorted(known.resolution.corrections, key=lambda ties: _first_row(known, ties)):
        suspects = sorted(frozenset().union(*ties), key=lambda i: known.order.get(i, 9999))
        told = [_told(known, suspect) for suspect in suspects]
        for suspect, (note, ids, implied) in zip(suspects, told, strict=True):
            if suspect in by_id:
                others = tuple(i for i in suspects if i != suspect and i in by_id)
                report.marks.append(_mark(by_id[suspect], note, ids or others, implied))
        report.findings.append(_finding(known, suspects, told, tied=len(ties) > 1))
    return report


def _first_row(known: Known, ties: Sequence[frozenset[str]]) -> int:
    return min(known.order.get(i, len(known.order)) for tie in ties for i in tie)


def contradicted_by(marks: Sequence[Mark]) -> dict[str, tuple[str, ...]]:
    """For each row that an inconsistent row contradicts, the ids of those rows."""
    found: dict[str, tuple[str, ...]] = {}
    for mark in marks:
        if mark.verdict == INCONSISTENT:
            for other in mark.contradicts:
                found[other] = (*found.get(other, ()), mark.claim_id)
    return found


Told = tuple[str, tuple[str, ...], Sum | None]


def _told(known: Known, suspect: str) -> Told:
    """Say what contradicts a print: sentence part, ledger ids, and the count the rest forces."""
    parts: list[str] = []
    ids: list[str] = []
    implied: Sum | None = None
    hint = ""
    for constraint in _stated_by(known, suspect):
        quantity = constraint.quantity
        if quantity is None:
            continue
        value = int(constraint.lower)
        rivals = [rival for rival in known.rivals(quantity, value) if _place(rival, suspect)]
        for rival in rivals:
            count = int(rival.lower)
            ids += ids_that_state(known, quantity, count, suspect)
            parts.append(_where(known, rival, suspect))
            hint = hint or _unknown_hint(known, suspect, quantity, value, count)
        sums = [s for s in known.sums(quantity, suspect) if s.value != value]
        for forced in sums:
            implied = implied or forced
            ids += forced.claim_ids
        if sums:
            parts.append(f"other counts force {join(s.equation for s in sums)}")
        elif not rivals:
            parts += _out_of_bounds(known, quantity, value, suspect)
    ids = [i for i in dict.fromkeys(ids) if i != suspect]
    partners = _partners(known, suspect)
    if not parts and partners:
        shown = join(f"'{place.shown}' ({place.locator})" for place in partners[:4])
        parts.append(f"this cannot be true together with {shown}")
    if not ids:
        ids = [place.claim.id for place in partners if place.claim]
    return join(dict.fromkeys(parts)) + hint, tuple(ids), implied


def _unknown_hint(known: Known, suspect: str, quantity: Quantity, value: int, count: int) -> str:
    """Say how to tell the audit that a smaller denominator leaves out patients on purpose."""
    found = known.printed.ratios.get(suspect)
    if found is None or quantity == found.numerator or value > count:
        return ""
    factors = factors_of(found.numerator) - factors_of(found.denominators[0])
    where = " and ".join(f"[factors.{name}]" for name in sorted(factors)) or "its factor"
    missing = f'unknown = ["not known"] in {where} of study.toml'
    return f" (if the value of {count - value} patients is not known, write {missing})"


def _out_of_bounds(known: Known, quantity: Quantity, value: int, suspect: str) -> list[str]:
    span = known.bounds(quantity, suspect)
    if span is None or (span[0] <= value and (span[1] is None or value <= span[1])):
        return []
    return [f"other counts allow only {span[0]} to {span[1]}"]


def _stated_by(known: Known, suspect: str) -> list[Constraint]:
    return [c for c in known.printed.constraints if any(p.id == suspect for p in c.prints)]


def _place(constraint: Constraint, but: str) -> list[Print]:
    return [place for place in constraint.prints if place.id != but]


def _where(known: Known, constraint: Constraint, but: str) -> str:
    """Locators of the prints of a constraint and its count; files for table cells."""
    found = _place(constraint, but)
    own = ids_that_state(known, constraint.weights[0][0], int(constraint.lower), but)
    found = [p for p in found if p.id in own] or found
    named = [_name(p) for p in found]
    shown = list(dict.fromkeys(named))
    listed = join(shown[:3]) if len(shown) < 4 else f"{', '.join(shown[:3])} and elsewhere"
    return f"{listed} {'print' if len(shown) > 1 else 'prints'} {constraint.lower:.0f}"


def _name(place: Print) -> str:
    """Locator of a print; the file and row too where it is a table cell."""
    return (
        place.locator
        if place.claim or place.id == place.locator
        else f"{place.locator} ({place.id})"
    )


def _partners(known: Known, suspect: str) -> list[Print]:
    """First print of each other constraint in the conflicts a print takes part in."""
    found: dict[str, Print] = {}
    for core in known.resolution.cores:
        constraints = [known.printed.constraints[i] for i in core]
        if any(p.id == suspect for c in constraints for p in c.prints):
            for constraint in constraints:
                others = _place(constraint, suspect)
                if others and len(others) == len(constraint.prints):
                    found.setdefault(others[0].id, others[0])
    return list(found.values())


def _mark(claim: Claim, note: str, ids: tuple[str, ...], implied: Sum | None) -> Mark:
    value: float | None = implied.value if implied else None
    if implied and claim.statistic == "percentage":
        value = 100 * implied.value / claim.denominator if claim.denominator else None
    return Mark(
        claim.id,
        INCONSISTENT,
        note,
        "counts printed elsewhere",
        value,
        value,
        value,
        contradicts=ids,
    )


def _finding(known: Known, suspects: list[str], told: list[Told], tied: bool) -> Finding:
    by_id = {claim.id: claim for claim in known.claims}
    claims = [by_id[i] for i in suspects if i in by_id]
    ids = tuple(dict.fromkeys([*suspects, *(i for _, others, _ in told for i in others)]))
    sentences = [
        _sentence(known, suspect, by_id.get(suspect), note)
        for suspect, (note, _, _) in zip(suspects, told, strict=True)
    ]
    text = "; ".join(dict.fromkeys(sentences[:4]))
    if len(sentences) > 4:
        text += f"; and {len(sentences) - 4} more rows ({places(claims)})"
    if tied:
        text += "; nothing else printed tells which of them is wrong"
    other_unit = all(i in known.printed.reasons for i in suspects)
    rank = OTHER_UNIT_RANK if other_unit else RANK
    return Finding(KIND, tuple(i for i in ids if i in by_id), f"{text}.", rank)


def _sentence(known: Known, suspect: str, claim: Claim | None, note: str) -> str:
    if claim is None:
        place = next(p for c in _stated_by(known, suspect) for p in c.prints if p.id == suspect)
        return f"{_name(place)} gives {place.shown}, but {note or 'the rest forbids it'}"
    about = describe(claim.estimand, known.study, claim.reading)
    text = (
        f"{claim.locator} prints '{claim.shown}' for {about}, but {note or 'the rest forbids it'}"
    )
    if claim.id in known.printed.reasons:
        text = (
            f"{claim.locator} counts {claim.shown} {claim.unit}, but {note} patients; "
            f"either some patients gave several {claim.unit} or the number is wrong"
        )
    return text

"""Printed numbers that other prints contradict: counts by counts, and one quantity by itself.

Which counts are suspect, and what shows it; and P values, medians and ratios that stand in several
places with different digits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from her2bayes.audit import rounding
from her2bayes.audit.claims import (
    DIFFERS,
    INCONSISTENT,
    REPRODUCES,
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
from her2bayes.audit.rounding import Interval
from her2bayes.audit.space import Quantity, factors_of
from her2bayes.estimand import Estimand
from her2bayes.evidence.printed.number import is_not_reached, stated
from her2bayes.evidence.printed.study import Study

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
        shown = join(f"'{place.shown}' ({place.locator})" for place in _smallest(known, suspect))
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
    for core in _conflicts(known, suspect):
        for one in core:
            found.setdefault(one.id, one)
    return list(found.values())


def _smallest(known: Known, suspect: str) -> list[Print]:
    """The other prints of the smallest conflict of a print, all of them: without one it is none."""
    return min(_conflicts(known, suspect), key=len)


def _conflicts(known: Known, suspect: str) -> Iterator[list[Print]]:
    """Of each conflict a print takes part in, the first print of each other constraint."""
    for core in known.resolution.cores:
        constraints = [known.printed.constraints[i] for i in core]
        if any(p.id == suspect for c in constraints for p in c.prints):
            found: dict[str, Print] = {}
            for constraint in constraints:
                others = _place(constraint, suspect)
                if others and len(others) == len(constraint.prints):
                    found.setdefault(others[0].id, others[0])
            yield list(found.values())


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


@dataclass(frozen=True)
class Said:
    """One printed value: its row (None for a table cell), place, digits and what they cover.

    ``printed`` is None for a median that is not reached; times are covered in months.
    """

    claim: Claim | None
    locator: str
    shown: str
    printed: Decimal | None
    cell: Interval
    unit: str = ""

    def agrees(self, other: Said) -> bool:
        """Same digits, or, with another number of digits, a value that both can stand for."""
        exact = not set("<>≪≫≤≥") & set(self.shown + other.shown) and self.unit == other.unit
        one, two = self.printed, other.printed
        if one is None or two is None or not exact or rounding.unit(one) != rounding.unit(two):
            return self.cell.meets(other.cell)
        return one == two


Key = tuple[Estimand, str, str]


def check_repeats(study: Study, claims: tuple[Claim, ...], marks: list[Mark]) -> Report:
    """Mark the values that stand against more, or better supported, prints of the same quantity.

    Ties are broken by ``marks`` of earlier rules (a value that can be recomputed outweighs one that
    cannot, a suspect one is outweighed) and, for P values, by what the paper says in words.
    """
    groups: dict[Key, list[Said]] = defaultdict(list)
    for key, one in (*_ledger(study, claims), *_tables(study)):
        groups[key].append(one)
    confirmed = {m.claim_id for m in marks if m.verdict == REPRODUCES and m.method}
    suspected = {m.claim_id for m in marks if m.verdict in {INCONSISTENT, DIFFERS}}
    alpha = float(study.meta.get("alpha", 0.05))
    report = Report()
    for key, found in groups.items():
        said = _with_units(found)
        camps = _largest_camps(said)
        camps = _keep(camps, said, lambda s: not s.claim or s.claim.id not in suspected, all)
        camps = _keep(camps, said, lambda s: s.claim is not None and s.claim.id in confirmed, any)
        if key[2] == "P":
            camps = _keep(camps, said, _agrees_with_words(claims, key, alpha), all)
        suspects = [s for i, s in enumerate(said) if any(i not in camp for camp in camps)]
        if suspects:
            report.add(_told_apart(study, key, said, suspects, tied=len(camps) > 1))
    return report


def _agrees_with_words(claims: tuple[Claim, ...], key: Key, alpha: float) -> Callable[[Said], bool]:
    """Tell whether a P value says what most statements in words say of the same comparison."""
    words = [
        bool(c.value)
        for c in claims
        if c.statistic == "significant" and (c.estimand, c.reading) == key[:2]
    ]
    significant = sum(words) * 2 > len(words)

    def agrees(said: Said) -> bool:
        return not words or (said.cell.upper <= alpha) == significant

    return agrees


Camp = frozenset[int]


def _keep(
    camps: list[Camp],
    said: list[Said],
    good: Callable[[Said], bool],
    how: Callable[[Iterable[bool]], bool],
) -> list[Camp]:
    """Camps in which all, or any, of the prints are good; all camps where none is."""
    kept = [camp for camp in camps if how(good(said[i]) for i in camp)]
    return kept or camps


def _largest_camps(said: list[Said]) -> list[Camp]:
    """Sets of prints that agree, of the largest number of places."""
    camps = {frozenset(i for i, b in enumerate(said) if a.agrees(b)) for a in said}
    weight = {camp: _prints(said, camp) for camp in camps}
    return sorted((c for c in camps if weight[c] == max(weight.values())), key=sorted)


def _with_units(said: list[Said]) -> list[Said]:
    """Name the units where the prints of one quantity have several."""
    if len({one.unit for one in said}) < 2:
        return said
    return [replace(one, shown=f"{one.shown} {one.unit}".strip()) for one in said]


def _ledger(study: Study, claims: tuple[Claim, ...]) -> Iterator[tuple[Key, Said]]:
    for claim in claims:
        estimand = rounding.one_unit(claim.estimand)
        if claim.p is not None:
            covers = rounding.p_cell(claim.p, claim.p_relation)
            said = Said(claim, claim.locator, claim.shown_p, claim.p, covers)
            yield (estimand, claim.reading, "P"), said
        if claim.statistic in COMPARED or _is_chance(claim):
            unit = _unit(study, claim)
            for name, value, relation in _numbers(claim):
                said = _said(claim, claim.locator, value, relation, unit)
                yield (estimand, claim.reading, name), said


COMPARED = ("median", "median_range", "median_ci", "hazard_ratio")
_CHANCES = ("survival", "cumulative_incidence")


def _is_chance(claim: Claim) -> bool:
    """Tell whether a percentage is of a curve at a time: no count of patients gives it."""
    return claim.statistic == "percentage" and claim.estimand.kind in _CHANCES


def _unit(study: Study, claim: Claim) -> str:
    """Unit of a printed number; that of the endpoint where a time has none."""
    endpoint = study.meta.get("endpoints", {}).get(claim.estimand.outcome, {})
    timed = claim.statistic.startswith("median")
    return rounding.unit_of(claim.unit or (str(endpoint.get("unit", "")) if timed else ""))


def _said(
    claim: Claim | None, locator: str, value: Decimal | None, relation: str, unit: str
) -> Said:
    if value is None:
        far = Interval(rounding.FAR, rounding.FAR)
        return Said(claim, locator, "not reached", None, far, unit)
    covers = rounding.stands_for(value, relation)
    shown = str(value) if relation == "=" else f"{relation}{value}"
    return Said(claim, locator, shown, value, rounding.in_months(covers, unit) or covers, unit)


def _numbers(claim: Claim) -> Iterator[tuple[str, Decimal | None, str]]:
    kind = {"median_range": "range", "median_ci": "interval"}.get(claim.statistic, "interval")
    if claim.value is not None or claim.not_reached:
        yield "value", claim.value, claim.relation
    if claim.lower is not None:
        yield f"lower end of the {kind}", claim.lower, "="
    if claim.upper is not None:
        yield f"upper end of the {kind}", claim.upper, "="


def _tables(study: Study) -> Iterator[tuple[Key, Said]]:
    """Medians of the survival table."""
    names = {
        "median": "value",
        "median_lower": "lower end of the interval",
        "median_upper": "upper end of the interval",
    }
    printed = study.survival.attrs.get("printed", [])
    for position, row in enumerate(study.survival.to_dict("records")):
        given = ((row["factor"], row["level"]),) if row["factor"] else ()
        estimand = Estimand("median", row["endpoint"], given)
        unit = rounding.unit_of(str(study.meta["endpoints"][row["endpoint"]].get("unit", "")))
        cells = printed[position] if len(printed) == len(study.survival) else {}
        for column, name in names.items():
            place = f"{row['locator']} (survival.csv)"
            stated = _stated(cells.get(column, ""), row[column], column)
            if stated is not None:
                yield (estimand, "", name), _said(None, place, *stated, unit)


def _stated(cell: str, value: float, column: str) -> tuple[Decimal | None, str] | None:
    """Number and relation of a cell of the survival table; None where it says nothing."""
    if column == "median" and is_not_reached(cell):
        return None, ">"
    found = stated(cell) or ("=", rounding.decimal(str(value)))
    return None if found[1] is None else (found[1], found[0])


def _prints(said: list[Said], camp: Camp) -> int:
    """Count places that agree; a table cell counts only where no row of the same place does."""
    inside = [said[i] for i in camp]
    rows = {s.locator for s in inside if s.claim}
    cells = {s.locator for s in inside if s.claim is None}
    extra = sum(not any(row in cell for row in rows) for cell in cells)
    return sum(s.claim is not None for s in inside) + extra


def _told_apart(
    study: Study, key: Key, said: list[Said], suspects: list[Said], tied: bool
) -> Report:
    estimand, reading, name = key
    report = Report()
    for suspect in suspects:
        if suspect.claim is None:
            continue
        others = [s for s in said if not s.agrees(suspect)]
        ids = tuple(s.claim.id for s in others if s.claim)
        note = f"{_listed(others)} for the same quantity"
        report.marks.append(
            Mark(
                suspect.claim.id,
                INCONSISTENT,
                note,
                "same quantity printed elsewhere",
                contradicts=ids,
            )
        )
    about = describe(estimand, study, reading)
    part = "" if name in {"P", "value"} else f" ({name})"
    values = _listed(said)
    text = f"{values} for {about}{part}"
    ids = tuple(dict.fromkeys(s.claim.id for s in said if s.claim))
    report.findings.append(Finding(KIND, ids, f"{text}{_ending(suspects, tied)}.", RANK))
    return report


def _ending(suspects: list[Said], tied: bool) -> str:
    if tied:
        return "; nothing else printed tells which is right"
    return f"; {join(dict.fromkeys(s.shown for s in suspects))} stands alone"


def _listed(said: list[Said]) -> str:
    """Places and what they print: 'Abstract prints P = 0.0037 but Results: survival P = 0.0039'."""
    by_value: dict[str, list[str]] = defaultdict(list)
    for one in said:
        if one.locator not in by_value[one.shown]:
            by_value[one.shown].append(one.locator)
    parts: list[str] = []
    for shown, where in by_value.items():
        verb = "" if parts else " print" if len(where) > 1 else " prints"
        parts.append(f"{join(where)}{verb} {shown}")
    return " but ".join(parts)

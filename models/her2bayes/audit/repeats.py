"""One quantity printed in several places with different digits: P values, medians, ratios."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
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
)
from her2bayes.audit.identities import KIND, RANK
from her2bayes.audit.rounding import Interval
from her2bayes.estimand import Estimand
from her2bayes.evidence.printed.number import is_not_reached, stated
from her2bayes.evidence.printed.study import Study


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


def check(study: Study, claims: tuple[Claim, ...], marks: list[Mark]) -> Report:
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
            report.add(_told(study, key, said, suspects, tied=len(camps) > 1))
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


def _told(study: Study, key: Key, said: list[Said], suspects: list[Said], tied: bool) -> Report:
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

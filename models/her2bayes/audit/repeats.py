"""One quantity printed in several places with different digits: P values, medians, ratios."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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
    join,
)
from her2bayes.audit.identities import KIND, RANK
from her2bayes.audit.phrases import describe
from her2bayes.audit.rounding import Interval
from her2bayes.estimand import Estimand
from her2bayes.evidence.study import Study


@dataclass(frozen=True)
class Said:
    """One printed value: its row (None for a table cell), place, digits and what they cover."""

    claim: Claim | None
    locator: str
    shown: str
    printed: Decimal
    cell: Interval

    def agrees(self, other: Said) -> bool:
        """Same digits, or, with another number of digits, a value that both can stand for."""
        exact = not {"<", ">"} & set(self.shown + other.shown)
        if exact and rounding.unit(self.printed) == rounding.unit(other.printed):
            return self.printed == other.printed
        return self.cell.meets(other.cell)


Key = tuple[Estimand, str, str]


def check(study: Study, claims: tuple[Claim, ...], marks: list[Mark]) -> Report:
    """Mark the values that stand against more, or better supported, prints of the same quantity.

    Ties are broken by ``marks`` of earlier rules (a value that can be recomputed outweighs one that
    cannot, a suspect one is outweighed) and, for P values, by what the paper says in words.
    """
    groups: dict[Key, list[Said]] = defaultdict(list)
    for key, one in (*_ledger(claims), *_tables(study)):
        groups[key].append(one)
    confirmed = {m.claim_id for m in marks if m.verdict == REPRODUCES and m.method}
    suspected = {m.claim_id for m in marks if m.verdict in {INCONSISTENT, DIFFERS}}
    alpha = float(study.meta.get("alpha", 0.05))
    report = Report()
    for key, said in groups.items():
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


def _ledger(claims: tuple[Claim, ...]) -> Iterator[tuple[Key, Said]]:
    for claim in claims:
        if claim.p is not None:
            covers = rounding.p_cell(claim.p, claim.p_relation)
            shown = f"P {claim.p_relation} {claim.p}"
            yield (
                (claim.estimand, claim.reading, "P"),
                Said(claim, claim.locator, shown, claim.p, covers),
            )
        if claim.statistic in {"median", "median_range", "median_ci", "hazard_ratio"}:
            for name, value in _numbers(claim):
                said = Said(claim, claim.locator, str(value), value, rounding.cell(value))
                yield (claim.estimand, claim.reading, name), said


def _numbers(claim: Claim) -> Iterator[tuple[str, Decimal]]:
    kind = {"median_range": "range", "median_ci": "interval"}.get(claim.statistic, "interval")
    if claim.value is not None and claim.relation == "=":
        yield "value", claim.value
    if claim.lower is not None:
        yield f"lower end of the {kind}", claim.lower
    if claim.upper is not None:
        yield f"upper end of the {kind}", claim.upper


def _tables(study: Study) -> Iterator[tuple[Key, Said]]:
    """Medians of the survival table."""
    names = {
        "median": "value",
        "median_lower": "lower end of the interval",
        "median_upper": "upper end of the interval",
    }
    for row in study.survival.to_dict("records"):
        given = ((row["factor"], row["level"]),) if row["factor"] else ()
        estimand = Estimand("median", row["endpoint"], given)
        for column, name in names.items():
            value = rounding.decimal(str(row[column]))
            if value is not None:
                place = f"{row['locator']} (survival.csv)"
                said = Said(None, place, str(value), value, rounding.cell(value))
                yield (estimand, "", name), said


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

"""One quantity printed in several places with different digits: P values, medians, ratios."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from her2bayes.audit import rounding
from her2bayes.audit.claims import INCONSISTENT, Claim, Finding, Mark, Report, join
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
    cell: Interval


Key = tuple[Estimand, str, str]


def check(study: Study, claims: tuple[Claim, ...], marks: list[Mark]) -> Report:
    """Mark the values that stand against more, or better supported, prints of the same quantity.

    ``marks`` of earlier rules break ties: a value that can be recomputed outweighs one that cannot.
    """
    groups: dict[Key, list[Said]] = defaultdict(list)
    for key, one in (*_ledger(claims), *_tables(study)):
        groups[key].append(one)
    confirmed = {m.claim_id for m in marks if m.verdict == "reproduces" and m.method}
    report = Report()
    for key, said in groups.items():
        suspects, tied = _outvoted(said, confirmed)
        if suspects:
            report.add(_told(study, key, said, suspects, tied))
    return report


def _ledger(claims: tuple[Claim, ...]) -> Iterator[tuple[Key, Said]]:
    for claim in claims:
        if claim.p is not None:
            covers = rounding.p_cell(claim.p, claim.p_relation)
            shown = f"P {claim.p_relation} {claim.p}"
            yield (claim.estimand, claim.reading, "P"), Said(claim, claim.locator, shown, covers)
        if claim.statistic in {"median", "median_range", "median_ci", "hazard_ratio"}:
            for name, value in _numbers(claim):
                said = Said(claim, claim.locator, str(value), rounding.cell(value))
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
                yield (
                    (estimand, "", name),
                    Said(
                        None, f"{row['locator']} (survival.csv)", str(value), rounding.cell(value)
                    ),
                )


def _outvoted(said: list[Said], confirmed: set[str]) -> tuple[list[Said], bool]:
    """Values outside the largest group that agrees; outside any of them where several tie."""
    camps = {frozenset(i for i, b in enumerate(said) if a.cell.meets(b.cell)) for a in said}
    if len(camps) == 1:
        return [], False
    weight = {camp: _prints(said, camp) for camp in camps}
    best = [camp for camp in camps if weight[camp] == max(weight.values())]
    backed = [c for c in best if any(s.claim and s.claim.id in confirmed for s in _in(said, c))]
    best = backed or best
    suspects = {i for camp in best for i in range(len(said)) if i not in camp}
    return [said[i] for i in sorted(suspects)], len(best) > 1


def _in(said: list[Said], camp: frozenset[int]) -> list[Said]:
    return [said[i] for i in camp]


def _prints(said: list[Said], camp: frozenset[int]) -> int:
    """Count places that agree; a table cell counts only where no row of the same place does."""
    rows = {s.locator for s in _in(said, camp) if s.claim}
    cells = {s.locator for s in _in(said, camp) if s.claim is None}
    extra = sum(not any(row in cell for row in rows) for cell in cells)
    return sum(s.claim is not None for s in _in(said, camp)) + extra


def _told(study: Study, key: Key, said: list[Said], suspects: list[Said], tied: bool) -> Report:
    estimand, reading, name = key
    report = Report()
    for suspect in suspects:
        if suspect.claim is None:
            continue
        others = [s for s in said if not s.cell.meets(suspect.cell)]
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

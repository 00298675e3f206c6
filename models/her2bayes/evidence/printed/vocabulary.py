"""Whether an estimand speaks of things the study declares: factors, levels, endpoints, events."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from her2bayes.errors import BadInput, Fault, suggestion
from her2bayes.estimand import KINDS, TABLE_PARTS, Estimand, cells_of, parse
from her2bayes.evidence.printed.design import Design, Factor

STATUS = "her2"
"""Factor of the HER2 class (at recurrence, where there are two)."""

PRIMARY = "her2_primary"
"""Factor of the HER2 class of the primary tumour."""

SEVERITY = "severity"
"""Condition of an adverse-event rate; its levels stand in ``adverse_events.csv``."""

OTHER_UNIT = "time in another unit"
"""Problem of an estimand at a time in another unit than that of its endpoint."""

TIME_UNITS = ("months", "month", "years", "year", "weeks", "week", "days", "day")
"""Units that the audit converts."""

DISCORDANCE = "discordance"
"""Outcome: the HER2 class of the recurrence differs from that of the primary."""

_MEASURED = ("mean", "median", "median_difference", "quantile", "range")


@dataclass(frozen=True)
class Vocabulary:
    """Names a study declares; without adverse-event table any event and severity is allowed."""

    design: Design
    events: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()

    @property
    def responses(self) -> tuple[str, ...]:
        """Groups and levels of all factors that have groups: orr, dcr, CR, PR ..."""
        grouped = [factor for factor in self.design.factors.values() if factor.groups]
        return tuple(name for factor in grouped for name in (*factor.groups, *factor.levels))


def read_estimand(text: str, words: Vocabulary | None) -> tuple[Estimand | None, list[Fault]]:
    """Parse an estimand and check its names; without ``words`` only the grammar is checked.

    The outcome comes back in its canonical spacing (``her2=low``, ``zero -> low``), because tables
    are joined on it. The faults lack file, row and column, which the caller knows.
    """
    try:
        estimand = canonical(text)
    except BadInput as bad:
        kind = text.partition("[")[0].strip()
        remedy = suggestion(kind, KINDS) if kind not in KINDS else "see Estimands in data/README.md"
        return None, [replace(fault, remedy=fault.remedy or remedy) for fault in bad.faults]
    if words is None:
        return estimand, []
    faults = [
        *_condition_faults(estimand, words),
        *_contrast_faults(estimand, words),
        *_outcome_faults(estimand, words),
    ]
    return estimand, faults


def canonical(text: str) -> Estimand:
    """Parse an estimand and write its outcome with the spaces of the format."""
    estimand = parse(text)
    outcome = re.sub(r"\s*=\s*", "=", estimand.outcome)
    outcome = re.sub(r"\s*->\s*", " -> ", outcome)
    if estimand.kind.startswith("flow"):
        outcome = " + ".join(cells_of(outcome))
    return replace(estimand, outcome=outcome.strip())


def level_fault(factors: dict[str, Factor], factor: str, level: str) -> Fault | None:
    """Fault of a factor or level the design does not declare, else None."""
    if factor not in factors:
        return _unknown("factor", factor, factors)
    if not factors[factor].open and level not in factors[factor].names:
        return _unknown(f"level of '{factor}'", level, factors[factor].names)
    return None


def _unknown(what: str, given: str, known: Collection[str]) -> Fault:
    allowed = ", ".join(known) or "none is declared in study.toml"
    remedy = f"{suggestion(given, known)} or declare it in study.toml"
    return Fault(f"unknown {what}", value=given, allowed=allowed, remedy=remedy)


def _condition_faults(estimand: Estimand, words: Vocabulary) -> Iterator[Fault]:
    for factor, level in estimand.given:
        if factor == SEVERITY and estimand.kind.startswith("event_rate"):
            if words.severities and level not in words.severities:
                yield _unknown("severity", level, words.severities)
            continue
        fault = level_fault(words.design.factors, factor, level)
        if fault:
            yield fault


def _contrast_faults(estimand: Estimand, words: Vocabulary) -> Iterator[Fault]:
    contrast = estimand.contrast
    if contrast is None:
        return
    if contrast.factor not in words.design.factors:
        yield _unknown("factor", contrast.factor, words.design.factors)
        return
    for level in filter(None, (contrast.a, contrast.b)):
        fault = level_fault(words.design.factors, contrast.factor, level)
        if fault:
            yield fault


def _outcome_faults(estimand: Estimand, words: Vocabulary) -> Iterator[Fault]:
    kind = estimand.kind
    if KINDS[kind].timed:
        yield from _one_of("endpoint", estimand.outcome, words.design.endpoints)
        yield from _time_faults(estimand, words)
    elif kind in _MEASURED:
        known = {**words.design.endpoints, **words.design.measures}
        yield from _one_of("endpoint or measure", estimand.outcome, known)
    elif kind.startswith("response_rate"):
        if any(factor.open for factor in words.design.factors.values()):
            return  # which factor holds the responses cannot be told
        yield from _one_of("response", estimand.outcome, words.responses)
    elif kind.startswith("event_rate") and words.events:
        yield from _one_of("adverse event", estimand.outcome, words.events)
    elif kind in _OUTCOMES:
        yield from _OUTCOMES[kind](estimand.outcome, words)


def _time_faults(estimand: Estimand, words: Vocabulary) -> Iterator[Fault]:
    """Refuse a time in another unit than the endpoint's: no number would be what it seems."""
    unit = words.design.endpoints.get(estimand.outcome, {}).get("unit", "")
    if unit and estimand.time_unit and estimand.time_unit != unit:
        remedy = f"write the time in {unit}, the unit of '{estimand.outcome}'"
        yield Fault(OTHER_UNIT, value=str(estimand), allowed=unit, remedy=remedy)


def _one_of(what: str, given: str, known: Collection[str]) -> Iterator[Fault]:
    if given not in known:
        yield _unknown(what, given, known)


def _level(outcome: str, words: Vocabulary) -> Iterator[Fault]:
    """Check ``factor=level``."""
    factor, mark, level = outcome.partition("=")
    if not mark:
        remedy = "write factor=level, e.g. share[her2=low]"
        yield Fault("outcome is not factor=level", value=outcome, remedy=remedy)
        return
    fault = level_fault(words.design.factors, factor.strip(), level.strip())
    if fault:
        yield fault


def _count(outcome: str, words: Vocabulary) -> Iterator[Fault]:
    """Check nothing (patients), ``factor=level`` or a word for what else is counted."""
    if "=" in outcome:
        yield from _level(outcome, words)


def _association(outcome: str, words: Vocabulary) -> Iterator[Fault]:
    known = {**words.design.factors, **words.design.measures, DISCORDANCE: None}
    yield from _one_of("outcome", outcome, [*known, *words.responses])


def _follow_up(outcome: str, words: Vocabulary) -> Iterator[Fault]:
    if outcome:
        yield from _one_of("endpoint", outcome, words.design.endpoints)


def _status(outcome: str, words: Vocabulary) -> Iterator[Fault]:
    if _is_open(words.design, STATUS):
        return
    yield from _one_of("HER2 class", outcome, classes(words.design, STATUS))


def _cells(outcome: str, words: Vocabulary) -> Iterator[Fault]:
    yield from cell_faults(outcome, words.design, stars=False)


def _transition(outcome: str, words: Vocabulary) -> Iterator[Fault]:
    if "->" not in outcome:
        remedy = "write e.g. transition[zero -> low]"
        yield Fault("outcome is not 'a -> b'", value=outcome, remedy=remedy)
    else:
        yield from cell_faults(outcome, words.design, stars=False)


_OUTCOMES: dict[str, Callable[[str, Vocabulary], Iterator[Fault]]] = {
    "association": _association,
    "count": _count,
    "share": _level,
    "share_difference": _level,
    "share_ratio": _level,
    "transition": _transition,
    "flow": _cells,
    "gain": _status,
    "loss": _status,
    "follow_up": _follow_up,
}


def classes(design: Design, factor: str) -> Sequence[str]:
    """HER2 classes of the primary or the recurrence, as study.toml lists them."""
    known = design.factors.get(factor) or design.factors.get(STATUS)
    return known.levels if known else ()


def _is_open(design: Design, factor: str) -> bool:
    found = design.factors.get(factor) or design.factors.get(STATUS)
    return found is not None and found.open


def cell_faults(cells: str, design: Design, *, stars: bool = True) -> Iterator[Fault]:
    """Faults of a ``+``-joined list of cells of the table primary x recurrence."""
    primary, recurrence = classes(design, PRIMARY), classes(design, STATUS)
    any_class = ("*",) if stars else ()
    for part in cells_of(cells):
        if part in TABLE_PARTS:
            continue
        start, arrow, end = (text.strip() for text in part.partition("->"))
        if not arrow:
            allowed = "a->b, a->*, *->b, *->*, diagonal, off_diagonal, joined by +"
            remedy = "name the class of the primary, an arrow, and that of the recurrence"
            yield Fault("not a cell", value=part, allowed=allowed, remedy=remedy)
            continue
        for name, known, factor in ((start, primary, PRIMARY), (end, recurrence, STATUS)):
            if name not in (*known, *any_class) and not _is_open(design, factor):
                yield _unknown("HER2 class", name, (*known, *any_class))

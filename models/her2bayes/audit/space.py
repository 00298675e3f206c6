"""Sets of patients, of boxes of factor levels, and every share or rate as one set over another.

A box holds the patients whose factors lie in given level sets; a quantity is a union of disjoint
boxes. The empty box holds everyone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from her2bayes.estimand import TABLE_PARTS, Estimand, cells_of
from her2bayes.evidence.printed.study import Study

Box = tuple[tuple[str, frozenset[str]], ...]
Quantity = frozenset[Box]

EVERYONE: Quantity = frozenset({()})
NONE = "(none)"
NOT_KNOWN = "(not known)"
PRIMARY = "_primary"
CHANGE = "_change"
EVENT = "event "
STATUS = "her2"
PAIRED = frozenset({"transition", "flow", "gain", "loss", "discordance"})


class NotACount(ValueError):  # noqa: N818 (an answer, not a failure)
    """The estimand does not reduce to counts of the printed factors; the message says why."""


@dataclass(frozen=True)
class Space:
    """The factors of a study as the algebra needs them.

    ``levels`` holds every level, those outside the tables included; ``within`` gives the parent's
    level of each level of a nested factor; ``groups`` named unions of levels. The factors of
    ``assumed`` have patients whose level is not known, by the denominators, not by study.toml.
    """

    levels: dict[str, tuple[str, ...]]
    unknown: dict[str, frozenset[str]]
    parent: dict[str, str]
    within: dict[str, dict[str, str]]
    groups: dict[str, dict[str, tuple[str, ...]]]
    endpoint_events: dict[str, str]
    events: tuple[str, ...]
    severities: tuple[str, ...]
    assumed: frozenset[str] = frozenset()

    def condition(self, factor: str, level: str) -> Quantity:
        """Patients at one level, or group of levels, of a factor."""
        if factor.endswith(CHANGE) and factor.removesuffix(CHANGE) + PRIMARY in self.levels:
            return self._change(factor, level)
        if factor not in self.levels:
            raise NotACount(f"'{factor}' is not a factor of the study")
        if level in self.levels[factor]:
            return box((factor, {level}))
        if level in self.groups.get(factor, {}):
            return box((factor, set(self.groups[factor][level])))
        raise NotACount(f"'{level}' is not a level of {factor}")

    def _change(self, factor: str, level: str) -> Quantity:
        if level not in {"concordant", "discordant"}:
            raise NotACount(f"'{level}' is not a level of {factor}")
        return self.pairs(
            lambda a, b: (a == b) == (level == "concordant"), factor.removesuffix(CHANGE)
        )

    def pairs(self, chosen: Callable[[str, str], bool], status: str = "") -> Quantity:
        """Patients whose (primary, recurrence) classes are known and chosen by the function."""
        status = status or self.status
        primary = status + PRIMARY
        unknown = {name: self.unknown.get(name, frozenset()) for name in (primary, status)}
        return frozenset(
            next(iter(box((primary, {a}), (status, {b}))))
            for a in self.levels[primary]
            for b in self.levels[status]
            if chosen(a, b) and a not in unknown[primary] and b not in unknown[status]
        )

    @property
    def status(self) -> str:
        """Factor that is read twice, at the primary and at the recurrence."""
        for name in self.levels:
            if name + PRIMARY in self.levels:
                return name
        raise NotACount("no factor of the study is read at the primary and at the recurrence")

    def group(self, name: str) -> Quantity:
        """Patients in a named group or level of whichever factor has it, letters' case ignored."""
        for factor, groups in self.groups.items():
            for group in groups:
                if group.lower() == name.lower():
                    return self.condition(factor, group)
        for factor, levels in self.levels.items():
            if self.groups.get(factor) and name in levels:
                return self.condition(factor, name)
        raise NotACount(f"'{name}' is not a named group of levels")

    def event(self, name: str, severity: str) -> Quantity:
        """Patients with an adverse event of a severity; severities may overlap, 'any' holds all."""
        factor = f"{EVENT}{name} ({severity})"
        if factor not in self.levels:
            raise NotACount(f"'{name}' of severity '{severity}' is not an adverse event printed")
        return box((factor, {"yes"}))

    @property
    def bounds(self) -> tuple[tuple[Quantity, Quantity], ...]:
        """Pairs (larger, smaller): any severity holds each, any event holds each event."""
        found = []
        for severity in self.severities:
            for event in self.events:
                whole = self.event(event, severity)
                found.append((self.event(event, "any"), whole))
                if "any" in self.events:
                    found.append((self.event("any", severity), whole))
        return tuple(pair for pair in dict.fromkeys(found) if pair[0] != pair[1])


def box(*conditions: tuple[str, set[str]]) -> Quantity:
    """Patients in given level sets of given factors."""
    return frozenset({tuple(sorted((factor, frozenset(levels)) for factor, levels in conditions))})


def both(a: Quantity, b: Quantity) -> Quantity:
    """Patients in both quantities."""
    found = set()
    for first in a:
        for second in b:
            merged = dict(first)
            for factor, levels in second:
                merged[factor] = merged.get(factor, levels) & levels
            if all(merged.values()):
                found.add(tuple(sorted(merged.items())))
    return frozenset(found)


def plainest(quantity: Quantity, space: Space) -> Quantity:
    """Leave out conditions that hold for everyone or follow from a nested level; join whole rows.

    Makes one name out of the names of the same patients, so that their counts can be compared.
    """
    parts = {_plain_box(dict(part), space) for part in quantity}
    for factor in sorted({factor for part in parts for factor, _ in part}):
        rest: dict[Box, set[str]] = {}
        for part in parts:
            if any(name == factor for name, _ in part):
                others = tuple(item for item in part if item[0] != factor)
                rest.setdefault(others, set()).update(dict(part)[factor])
        for others, levels in rest.items():
            if levels == set(space.levels[factor]):
                parts = {p for p in parts if _without(p, factor) != others} | {others}
    return frozenset(parts)


def _without(part: Box, factor: str) -> Box:
    return tuple(item for item in part if item[0] != factor)


def _plain_box(part: dict[str, frozenset[str]], space: Space) -> Box:
    for factor, levels in list(part.items()):
        within, parent = space.within.get(factor, {}), space.parent.get(factor, "")
        implied = {within.get(level) for level in levels}
        while parent:
            if implied <= part.get(parent, frozenset()):
                del part[parent]
            implied = {space.within.get(parent, {}).get(str(level)) for level in implied}
            parent = space.parent.get(parent, "")
        if levels == set(space.levels[factor]):
            del part[factor]
    return tuple(sorted(part.items()))


def factors_of(quantity: Quantity) -> frozenset[str]:
    """Factors that a quantity mentions."""
    return frozenset(factor for part in quantity for factor, _ in part)


def _events(study: Study, estimands: Iterable[Estimand]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Adverse events and severities, from the table and from the estimands of the ledger."""
    rows = study.adverse_events.to_dict("records")
    rates = [e for e in estimands if e.kind.startswith("event_rate")]
    events = dict.fromkeys([*(row["event"] for row in rows), *(e.outcome for e in rates)])
    named = [*(row["severity"] for row in rows), *(e.conditions.get("severity", "") for e in rates)]
    return tuple(events), tuple(dict.fromkeys(["any", *(s for s in named if s)])) if events else ()


def space_of(
    study: Study, estimands: Sequence[Estimand] = (), incomplete: Iterable[str] = ()
) -> Space:
    """Read the factors of a study; adverse events become factors of their own.

    ``estimands`` are those of the ledger: events and pairs of classes that only they name count.
    Factors that are ``incomplete`` get a level of patients in whom they are not known.
    """
    levels = {
        name: tuple(dict.fromkeys((*factor.levels, *factor.unknown)))
        for name, factor in study.factors.items()
    }
    assumed = frozenset(incomplete)
    levels |= {name: (*levels[name], NOT_KNOWN) for name in assumed}
    events, severities = _events(study, estimands)
    for event, severity in product(events, severities):
        levels[f"{EVENT}{event} ({severity})"] = ("yes", "no")
    paired = any(e.kind in PAIRED or e.outcome == "discordance" for e in estimands)
    if STATUS in levels and (paired or len(study.transition_facts)):
        levels.setdefault(STATUS + PRIMARY, levels[STATUS])
    for name, factor in study.factors.items():
        if factor.parent and set(study.factors[factor.parent].levels) - set(factor.within.values()):
            levels[name] = (*levels[name], NONE)
    return Space(
        levels=levels,
        unknown={
            name: frozenset((*factor.unknown, *([NOT_KNOWN] if name in assumed else [])))
            for name, factor in study.factors.items()
        },
        parent={name: factor.parent for name, factor in study.factors.items() if factor.parent},
        within={name: factor.within for name, factor in study.factors.items() if factor.parent},
        groups={name: factor.groups for name, factor in study.factors.items()},
        endpoint_events={
            name: given["event"]
            for name, given in study.meta.get("endpoints", {}).items()
            if given.get("event")
        },
        events=events,
        severities=severities,
        assumed=assumed,
    )


@dataclass(frozen=True)
class Ratio:
    """A count and the groups it may be a share of, the plain reading first."""

    numerator: Quantity
    denominators: tuple[Quantity, ...]


def ratio(estimand: Estimand, space: Space) -> Ratio:
    """Reduce an estimand to counts; ``NotACount`` where the printed factors do not hold it."""
    given = dict(estimand.given)
    severity = given.pop("severity", "any")
    base = everyone_in(given.items(), space)
    kind, outcome = estimand.kind, estimand.outcome
    if kind == "transition":
        start, _ = _classes(outcome)
        wanted = both(base, flows(outcome, space))
        groups: tuple[Quantity, ...] = (both(base, box((space.status + PRIMARY, {start}))),)
    else:
        wanted = both(base, _outcome(kind, outcome, severity, space))
        groups = _denominators(EVERYONE if kind == "count" else base, wanted, space)
    plain = dict.fromkeys(plainest(group, space) for group in groups)
    return Ratio(plainest(wanted, space), tuple(plain))


def everyone_in(given: Iterable[tuple[str, str]], space: Space) -> Quantity:
    """Patients who meet all conditions."""
    base = EVERYONE
    for factor, level in given:
        base = both(base, space.condition(factor, level))
    return base


def _outcome(kind: str, outcome: str, severity: str, space: Space) -> Quantity:
    changes = {
        "discordance": lambda a, b: a != b,
        "gain": lambda a, b: a != outcome and b == outcome,
        "loss": lambda a, b: a == outcome and b != outcome,
    }
    if kind in changes:
        return space.pairs(changes[kind])
    if kind == "flow":
        return flows(outcome, space)
    if kind == "response_rate":
        return space.group(outcome)
    if kind == "event_rate":
        return space.event(outcome, severity)
    if kind == "events":
        outcome = space.endpoint_events.get(outcome, "")
    if kind not in {"count", "share", "events"}:
        raise NotACount(f"{kind} is not a count or a share")
    if kind == "count" and not outcome:
        return EVERYONE
    factor, mark, level = outcome.partition("=")
    if not mark:
        raise NotACount(f"'{outcome}' counts something other than patients")
    return space.condition(factor.strip(), level.strip())


def _classes(flow: str) -> tuple[str, str]:
    start, mark, end = flow.partition("->")
    if not mark:
        raise NotACount(f"'{flow}' is not 'class -> class'")
    return start.strip(), end.strip()


def flows(outcome: str, space: Space) -> Quantity:
    """Patients in the pairs of classes named by 'a -> b + c -> *', 'diagonal', 'off_diagonal'."""
    parts = cells_of(outcome)
    wanted = [_classes(part) for part in parts if part not in TABLE_PARTS]
    found = space.pairs(
        lambda a, b: (
            (a == b and "diagonal" in parts)
            or (a != b and "off_diagonal" in parts)
            or any(s in {a, "*"} and e in {b, "*"} for s, e in wanted)
        )
    )
    if not found:
        raise NotACount(f"'{outcome}' names no pair of classes")
    return found


def _denominators(base: Quantity, wanted: Quantity, space: Space) -> tuple[Quantity, ...]:
    """List what a share may be of: the group, its known part, the levels a factor nests in."""
    found = [base]
    for factor in sorted(factors_of(wanted) - factors_of(base)):
        known = frozenset(space.levels[factor]) - space.unknown.get(factor, frozenset()) - {NONE}
        if known != frozenset(space.levels[factor]):
            found.append(both(base, box((factor, set(known)))))
        found += [both(base, q) for q in _ancestors(factor, wanted, space)]
    return tuple(dict.fromkeys(found))


def _ancestors(factor: str, wanted: Quantity, space: Space) -> list[Quantity]:
    found = []
    levels = {x for part in wanted for name, some in part if name == factor for x in some}
    while factor in space.parent:
        levels = {space.within[factor].get(level, "") for level in levels}
        factor = space.parent[factor]
        if levels <= set(space.levels[factor]):
            found.append(box((factor, set(levels))))
    return found

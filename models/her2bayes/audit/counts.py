"""Count algebra: shares, transitions and rates as one set of patients over another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from her2bayes.audit.space import (
    EVERYONE,
    NONE,
    PRIMARY,
    NotACount,
    Quantity,
    Space,
    both,
    box,
    factors_of,
    plainest,
)
from her2bayes.estimand import TABLE_PARTS, Estimand, cells_of


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

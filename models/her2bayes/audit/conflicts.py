"""Which prints must be withdrawn so that the printed counts can all be true, and what shows it.

Minimal conflicts (sets of constraints that cannot hold together) and smallest corrections (sets of
prints that break every conflict) are found by implicit hitting sets: a correction is proposed from
the conflicts known so far, tested on the integer system, and a failed test yields a new conflict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from her2bayes.audit.prints import Constraint
from her2bayes.audit.system import Line, System

# Guards against a study so faulty that listing every tie would take minutes
MOST_CONFLICTS = 60
MOST_TIES = 24

Core = tuple[int, ...]
Correction = frozenset[str]


@dataclass(frozen=True)
class Resolution:
    """Conflicts (positions of constraints) and the smallest corrections of each group of them."""

    cores: tuple[Core, ...]
    corrections: tuple[tuple[Correction, ...], ...]

    @property
    def suspects(self) -> frozenset[str]:
        """Prints that stand in at least one smallest correction."""
        return frozenset(
            p for group in self.corrections for correction in group for p in correction
        )

    @property
    def withdrawn(self) -> frozenset[str]:
        """One correction of every group together: what has to go before the rest is used."""
        return frozenset(p for group in self.corrections for p in group[0])


def resolve(
    system: System, constraints: Sequence[Constraint], rows: Sequence[Line | None]
) -> Resolution:
    """Find the conflicts among the constraints and every smallest correction of them."""
    cores: list[Core] = []
    while len(cores) < MOST_CONFLICTS:
        groups = [
            tuple(_smallest(group, constraints))[:MOST_TIES]
            for group in _connected(cores, constraints)
        ]
        found = Resolution(tuple(cores), tuple(groups))
        fresh = next(_refutations(system, constraints, rows, found), None)
        if fresh is None:
            return found
        cores.append(fresh)
    return found


def standing(
    constraints: Sequence[Constraint], rows: Sequence[Line | None], withdrawn: frozenset[str]
) -> list[int]:
    """Positions of constraints that some print still states after a withdrawal."""
    return [
        i
        for i, constraint in enumerate(constraints)
        if rows[i] is not None and any(p.id not in withdrawn for p in constraint.prints)
    ]


def _refutations(
    system: System,
    constraints: Sequence[Constraint],
    rows: Sequence[Line | None],
    found: Resolution,
) -> Iterator[Core]:
    """Conflicts that survive a proposed correction: of the first choices, then of each tie."""
    proposals = [found.withdrawn]
    for position, group in enumerate(found.corrections):
        others = [g[0] for i, g in enumerate(found.corrections) if i != position]
        proposals += [frozenset().union(*others, tie) for tie in group[1:]]
    for withdrawn in proposals:
        active = standing(constraints, rows, withdrawn)
        core = system.conflict([line for i in active if (line := rows[i]) is not None])
        if core is not None:
            yield tuple(active[i] for i in core)


def _connected(cores: Sequence[Core], constraints: Sequence[Constraint]) -> list[list[Core]]:
    """Group conflicts that share a print."""
    groups: list[tuple[set[str], list[Core]]] = []
    for core in cores:
        prints = {p.id for i in core for p in constraints[i].prints}
        touching = [group for group in groups if group[0] & prints]
        groups = [group for group in groups if not group[0] & prints]
        groups.append(
            (
                prints.union(*(group[0] for group in touching)),
                [*(c for group in touching for c in group[1]), core],
            )
        )
    return [group[1] for group in groups]


def _smallest(cores: Sequence[Core], constraints: Sequence[Constraint]) -> Iterator[Correction]:
    """Every smallest set of prints that silences a constraint of each conflict."""
    silencers = [
        sorted({frozenset(p.id for p in constraints[i].prints) for i in core}, key=_order)
        for core in cores
    ]
    for size in range(1, 1 + sum(min(map(len, choices)) for choices in silencers)):
        found = sorted(set(_within(silencers, frozenset(), size)), key=_order)
        if found:
            yield from found
            return


def _within(
    silencers: list[list[Correction]], chosen: Correction, size: int
) -> Iterator[Correction]:
    """Corrections of at most ``size`` prints that contain those chosen."""
    broken = next((c for c in silencers if not any(s <= chosen for s in c)), None)
    if broken is None:
        yield chosen
        return
    for silencer in broken:
        larger = chosen | silencer
        if len(larger) <= size:
            yield from _within(silencers, larger, size)


def _order(correction: Correction) -> tuple[int, list[str]]:
    return len(correction), sorted(correction)

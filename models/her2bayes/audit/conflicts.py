"""Which prints must be withdrawn so that the printed counts can all be true, and what shows it.

Minimal conflicts (sets of constraints that cannot hold together) and smallest corrections (sets of
prints that break every conflict) are found by implicit hitting sets: a correction is proposed from
the conflicts known so far, tested on the integer system, and a failed test yields a new conflict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from her2bayes.audit.prints import Constraint
from her2bayes.audit.space import Quantity
from her2bayes.audit.system import Line, System

# Guard against a study so faulty that explaining every conflict would take minutes
MOST_CONFLICTS = 80

Core = tuple[int, ...]
Correction = frozenset[str]


@dataclass(frozen=True)
class Resolution:
    """Conflicts (positions of constraints) and the smallest corrections of each group of them.

    The corrections of a group are ties: each is a set of prints, any one of which would do.
    """

    cores: tuple[Core, ...]
    corrections: tuple[tuple[Correction, ...], ...]

    @property
    def suspects(self) -> frozenset[str]:
        """Prints that stand in at least one smallest correction."""
        return frozenset().union(*(tie for group in self.corrections for tie in group))


def resolve(
    system: System, constraints: Sequence[Constraint], rows: Sequence[Line | None]
) -> Resolution:
    """Find the conflicts among the constraints and every smallest correction of them.

    Beyond ``MOST_CONFLICTS`` conflicts whatever takes part in a further one is withdrawn unweighed.
    """
    cores = _same_count_twice(constraints, rows)
    most = len(cores) + MOST_CONFLICTS
    corrections: list[Correction] = []
    while len(cores) < most:
        corrections = []
        for proposal in _proposals(cores, constraints):
            fresh = _conflict(system, constraints, rows, proposal)
            if fresh is not None:
                cores.append(fresh)
                break
            corrections.append(proposal)
        else:
            return Resolution(tuple(cores), _grouped(cores, constraints, corrections))
    withdrawn = next(_proposals(cores, constraints))
    while (fresh := _conflict(system, constraints, rows, withdrawn)) is not None:
        cores.append(fresh)
        withdrawn |= {p.id for i in fresh for p in constraints[i].prints}
    return Resolution(tuple(cores), _grouped(cores, constraints, [withdrawn]))


def _same_count_twice(constraints: Sequence[Constraint], rows: Sequence[Line | None]) -> list[Core]:
    """Pairs of constraints that state two counts of the same quantity."""
    stated: dict[Quantity, list[int]] = {}
    for i, constraint in enumerate(constraints):
        if constraint.quantity is not None and rows[i] is not None:
            stated.setdefault(constraint.quantity, []).append(i)
    return [pair for positions in stated.values() for pair in combinations(positions, 2)]


def standing(
    constraints: Sequence[Constraint], rows: Sequence[Line | None], withdrawn: Set[str]
) -> list[int]:
    """Positions of constraints that some print still states after a withdrawal."""
    return [
        i
        for i, constraint in enumerate(constraints)
        if rows[i] is not None and any(p.id not in withdrawn for p in constraint.prints)
    ]


def _conflict(
    system: System,
    constraints: Sequence[Constraint],
    rows: Sequence[Line | None],
    withdrawn: Correction,
) -> Core | None:
    active = standing(constraints, rows, withdrawn)
    core = system.conflict([line for i in active if (line := rows[i]) is not None])
    return None if core is None else tuple(active[i] for i in core)


def _proposals(cores: Sequence[Core], constraints: Sequence[Constraint]) -> Iterator[Correction]:
    """Smallest sets of prints that break every core: one, then others until no print is missed."""
    if not cores:
        yield frozenset()
        return
    cover = _Cover(cores, constraints)
    first = cover.smallest()
    yield first
    seen = set(first)
    weight = sum(cover.weights[name] for name in first)
    for candidate in cover.candidates(weight):
        if candidate not in seen:
            tie = cover.smallest(holding=candidate, most=weight)
            if tie:
                seen |= tie
                yield tie


class _Cover:
    """Choose prints w so that each core loses a constraint y: y <= w of each of its prints."""

    def __init__(self, cores: Sequence[Core], constraints: Sequence[Constraint]) -> None:
        self.involved = sorted({i for core in cores for i in core})
        supporters = {i: {p.id for p in constraints[i].prints} for i in self.involved}
        self.supporters = supporters
        self.weights = {p.id: p.weight for i in self.involved for p in constraints[i].prints}
        self.prints = sorted(self.weights)
        place = {name: k for k, name in enumerate(self.prints)}
        width = len(self.prints) + len(self.involved)
        rows, least = [], []
        for k, i in enumerate(self.involved):
            for name in supporters[i]:
                row = np.zeros(width)
                row[place[name]], row[len(self.prints) + k] = 1, -1
                rows.append(row)
                least.append(0)
        for core in cores:
            row = np.zeros(width)
            row[[len(self.prints) + self.involved.index(i) for i in core]] = 1
            rows.append(row)
            least.append(1)
        self.matrix, self.least = np.array(rows), np.array(least)
        weights = [self.weights[name] for name in self.prints]
        self.cost = np.r_[np.array(weights, dtype=float), np.zeros(len(self.involved))]

    def candidates(self, most: int) -> list[str]:
        """Prints of a constraint that a correction of this weight can silence."""
        light = [
            names
            for names in self.supporters.values()
            if sum(self.weights[name] for name in names) <= most
        ]
        return sorted(set().union(*light))

    def smallest(self, holding: str = "", most: int | None = None) -> Correction:
        """Return a lightest choice, with one print held in it; empty where that weighs more."""
        low = np.zeros(self.cost.size)
        if holding:
            low[self.prints.index(holding)] = 1
        found = milp(
            self.cost,
            constraints=LinearConstraint(self.matrix, self.least, np.inf),
            integrality=np.ones(self.cost.size),
            bounds=Bounds(low, np.ones(self.cost.size)),
        )
        if found.x is None or (most is not None and round(found.fun) > most):
            return frozenset()
        return frozenset(n for n, w in zip(self.prints, found.x, strict=False) if w > 0.5)


def _grouped(
    cores: Sequence[Core], constraints: Sequence[Constraint], corrections: list[Correction]
) -> tuple[tuple[Correction, ...], ...]:
    """Split the corrections into groups of suspects that share a core."""
    suspects = frozenset().union(*corrections)
    groups: list[set[str]] = []
    for core in cores:
        inside = {p.id for i in core for p in constraints[i].prints} & suspects
        touching = [group for group in groups if group & inside]
        groups = [group for group in groups if not group & inside]
        groups.append(inside.union(*touching))
    return tuple(
        tuple(dict.fromkeys(tie & group for tie in corrections if tie & group))
        for group in groups
        if group
    )

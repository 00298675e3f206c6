"""What the printed counts of a study say about any count: printed, forced by others, or bounded.

Which prints must be withdrawn so that the printed counts can all be true, and what shows it.

Minimal conflicts (sets of constraints that cannot hold together) and smallest corrections (sets of
prints that break every conflict) are found by implicit hitting sets: a correction is proposed from
the conflicts known so far, tested on the integer system, and a failed test yields a new conflict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from her2bayes.audit.claims import Claim, incomplete
from her2bayes.audit.prints import Constraint, Print, Printed, lines, read_prints
from her2bayes.audit.space import (
    NotACount,
    Quantity,
    Space,
    both,
    everyone_in,
    plainest,
    ratio,
    space_of,
)
from her2bayes.audit.system import Line, System
from her2bayes.estimand import Estimand
from her2bayes.evidence.printed.study import Study

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


# A sum of prints that stand near the claim in the paper is the one a reader would check first:
# a print costs the sum NEXT beside the claim, NEXT + 1 from FAR ledger rows away on, and more where
# only a table beside the ledger has it
NEXT = 0.25
FAR = 40
OUTSIDE = 2


@dataclass(frozen=True)
class Sum:
    """A count written as printed counts added and taken away."""

    value: int
    text: str
    prints: tuple[Print, ...]

    @property
    def claim_ids(self) -> tuple[str, ...]:
        """Ledger rows the sum uses."""
        return tuple(dict.fromkeys(p.claim.id for p in self.prints if p.claim))

    @property
    def equation(self) -> str:
        """The sum and its value: '127 − 83 − 19 = 25'; value and place where it is one count."""
        if self.text == str(self.value):
            return f"{self.text} ({self.prints[0].locator})" if self.prints else self.text
        return f"{self.text} = {self.value}"

    @property
    def in_ledger(self) -> bool:
        """Tell whether every count of the sum is a ledger row."""
        return all(p.claim for p in self.prints)


@dataclass
class Known:
    """The printed counts of a study with their conflicts resolved, ready to be asked."""

    study: Study
    claims: tuple[Claim, ...]
    space: Space
    printed: Printed
    system: System
    rows: list[Line | None]
    resolution: Resolution
    order: dict[str, int]
    _values: dict[Quantity, Sum | None] = field(default_factory=dict)

    def value(self, quantity: Quantity) -> Sum | None:
        """Count of a quantity: as printed without conflict, else as other prints force it."""
        if quantity not in self._values:
            direct = self._direct(quantity)
            self._values[quantity] = direct or self.forced(quantity)
        return self._values[quantity]

    def forced(self, quantity: Quantity, near: str = "") -> Sum | None:
        """Count as counts of other quantities force it, from prints near the claim if possible."""
        return next(iter(self.sums(quantity, near, 1)), None)

    def sums(self, quantity: Quantity, near: str = "", most: int = 2) -> list[Sum]:
        """Ways in which counts of other quantities force a count, no largest term used twice."""
        vector = self.system.vector(quantity)
        usable = [i for i in self._trusted() if self._constraints[i].quantity != quantity]
        found: list[Sum] = []
        while vector is not None and len(found) < most:
            pairs = [(i, line) for i in usable if (line := self.rows[i]) is not None]
            costs = [self._cost(self._constraints[i], near) for i, _ in pairs]
            terms = self.system.derive(vector, [line for _, line in pairs], costs)
            if terms is None or any(abs(times - round(times)) > 1e-6 for _, _, times in terms):
                break
            added = [(pairs[k][0], sign * round(times)) for k, sign, times in terms]
            found.append(self._sum([(self._constraints[i], times) for i, times in added], near))
            largest = max(
                (i for i, _ in added), key=lambda i: self._constraints[i].lower, default=-1
            )
            usable = [i for i in usable if i != largest] if added else []
        return found

    def bounds(self, quantity: Quantity, without: str = "") -> tuple[int, int | None] | None:
        """Smallest and largest count that the other prints allow."""
        vector = self.system.vector(quantity)
        if vector is None:
            return None
        kept = self._trusted({without})
        return self.system.bounds(
            vector, [line for i in kept if (line := self.rows[i]) is not None]
        )

    def rivals(self, quantity: Quantity, value: int) -> list[Constraint]:
        """Constraints that state another count of the same quantity."""
        return [c for c in self.printed.of(quantity) if c.lower != value]

    def count_in(self, outcome: Estimand, **levels: str) -> Sum | None:
        """Count of the numerator of an estimand under further conditions, where known."""
        try:
            found = ratio(outcome, self.space).numerator
            wanted = both(found, everyone_in(levels.items(), self.space))
        except NotACount:
            return None
        return self.value(plainest(wanted, self.space))

    @property
    def _constraints(self) -> list[Constraint]:
        return self.printed.constraints

    def _trusted(self, without: Set[str] = frozenset()) -> list[int]:
        """Constraints that some print outside every conflict, and not left out, states."""
        return standing(self._constraints, self.rows, self.resolution.suspects | without)

    def _direct(self, quantity: Quantity) -> Sum | None:
        stated = [
            (constraint, place)
            for constraint in self.printed.of(quantity)
            for place in constraint.prints
            if place.id not in self.resolution.suspects
        ]
        if len({constraint.lower for constraint, _ in stated}) != 1:
            return None
        constraint, place = next((s for s in stated if self._own(s[1], quantity)), stated[0])
        return Sum(int(constraint.lower), str(int(constraint.lower)), (place,))

    def _own(self, place: Print, quantity: Quantity) -> bool:
        """Tell whether the quantity is the print's own count, not its denominator."""
        found = self.printed.ratios.get(place.id)
        return found is not None and found.numerator == quantity

    def _cost(self, constraint: Constraint, near: str) -> float:
        distance = min(self._distance(place, near) for place in constraint.prints)
        return NEXT + (distance / FAR if distance in {OUTSIDE * FAR} else min(1.0, distance / FAR))

    def _distance(self, place: Print, near: str) -> float:
        """Ledger rows between a print and a claim; far where either is not in the ledger."""
        if place.id not in self.order:
            return OUTSIDE * FAR
        if place.id == near:
            return FAR
        return abs(self.order[place.id] - self.order[near]) if near in self.order else FAR

    def _sum(self, terms: Iterable[tuple[Constraint, int]], near: str) -> Sum:
        value, text, prints = 0, "", []
        for constraint, times in sorted(terms, key=lambda t: (t[1] < 0, -t[0].lower)):
            count = int(constraint.lower)
            value += times * count
            shown = f"{abs(times)} × {count}" if abs(times) != 1 else str(count)
            text += (" + " if times > 0 else " − ") + shown if text else shown
            usable = [p for p in constraint.prints if p.id not in self.resolution.suspects]
            quantity = constraint.weights[0][0]
            usable = [p for p in usable if self._own(p, quantity)] or usable
            prints.append(min(usable, key=lambda p: self._distance(p, near)))
        return Sum(value, text or "0", tuple(prints))


def read_known(study: Study, claims: tuple[Claim, ...]) -> Known:
    """Read the printed counts of a study and resolve their conflicts."""
    estimands = [claim.estimand for claim in claims]
    space = space_of(study, estimands, incomplete(study, claims))
    printed = read_prints(study, claims, space)
    mentioned = [q for constraint in printed.constraints for q, _ in constraint.weights]
    mentioned += [
        q for found in printed.ratios.values() for q in (found.numerator, *found.denominators)
    ]
    system = System(space, mentioned)
    rows = lines(system, printed.constraints)
    resolution = resolve(system, printed.constraints, rows)
    order = {claim.id: position for position, claim in enumerate(claims)}
    return Known(study, claims, space, printed, system, rows, resolution, order)

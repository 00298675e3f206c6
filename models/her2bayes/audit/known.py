"""What the printed counts of a study say about any count: printed, forced by others, or bounded."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field

from her2bayes.audit.claims import Claim
from her2bayes.audit.conflicts import Resolution, resolve, standing
from her2bayes.audit.counts import everyone_in, ratio
from her2bayes.audit.denominators import incomplete
from her2bayes.audit.prints import Constraint, Print, Printed, lines, read_prints
from her2bayes.audit.space import NotACount, Quantity, Space, both, plainest, space_of
from her2bayes.audit.system import Line, System
from her2bayes.estimand import Estimand
from her2bayes.evidence.study import Study

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

"""What printed numbers ask of a cohort: cells of patients, counts, statistics with targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from her2bayes.cohorts.chain import statistics as kernel

PAIR = ("her2_primary", "her2")
PAIRED = "her2_change"  # whether the classes of primary and recurrence differ
CHANGED = {"concordant": False, "discordant": True}

KIND_NAMES = {
    kernel.LOG_RANK: "log-rank, hypergeometric variance",
    kernel.COX: "Cox, Efron's ties, Wald",
    kernel.PETO: "Peto (O - E) / V",
    kernel.EXPECTED: "observed/expected, SE from 1/E, P of the log-rank test",
    kernel.OBSERVED: "observed/expected, SE from 1/O, P of the log-rank test",
    kernel.FOLLOW_UP: "follow-up: observed times",
    kernel.FOLLOW_UP_REVERSE: "follow-up: reverse Kaplan-Meier",
    kernel.FOLLOW_UP_SURVIVORS: "follow-up: times of the survivors",
    kernel.MEDIAN: "Kaplan-Meier median, R's rule",
    kernel.SURVIVAL: "Kaplan-Meier survival",
    kernel.AT_RISK: "patients at risk",
    kernel.CENSORED: "patients censored so far",
}


@dataclass(frozen=True)
class Cells:
    """Cross-classification of patients; ``pair`` names the primary and the recurrence factor."""

    factors: Mapping[str, tuple[str, ...]]
    pair: tuple[str, str] | None = None

    @property
    def combinations(self) -> list[dict[str, str]]:
        """Levels of each cell, the last factor running fastest."""
        return [
            dict(zip(self.factors, levels, strict=True))
            for levels in product(*self.factors.values())
        ]

    @property
    def label(self) -> np.ndarray:
        """Position of the level, int64 (factor, cell)."""
        sizes = [len(levels) for levels in self.factors.values()]
        return np.indices(sizes).reshape(len(sizes), -1)

    @property
    def stride(self) -> np.ndarray:
        """Step from a level of each factor to the next, in cells."""
        sizes = [len(levels) for levels in self.factors.values()]
        return np.cumprod([1, *sizes[:0:-1]])[::-1].astype(np.int64)

    def knows(self, factor: str) -> bool:
        """Tell whether patients differ in the factor, or in one derived from the pair."""
        return factor in self.factors or (factor == PAIRED and self.pair is not None)

    def levels(self, factor: str) -> tuple[str, ...]:
        """Levels of a factor or of the derived one."""
        return tuple(CHANGED) if factor == PAIRED else tuple(self.factors[factor])

    def where(self, given: Mapping[str, str]) -> np.ndarray:
        """Which cells meet all conditions, bool (cell)."""
        return np.array(
            [
                all(self.value(levels, factor) == level for factor, level in given.items())
                for levels in self.combinations
            ],
            dtype=bool,
        )

    def value(self, levels: Mapping[str, str], factor: str) -> str:
        """Level of a factor, or of the derived one, in a cell."""
        if factor != PAIRED:
            return levels[factor]
        assert self.pair is not None
        changed = levels[self.pair[0]] != levels[self.pair[1]]
        return next(name for name, value in CHANGED.items() if value == changed)


@dataclass(frozen=True)
class Target:
    """One printed number: where it stands in its statistic, its rounding cell, and its words.

    ``scale`` turns the statistic's value into the printed one: ``exp``, ``p1`` (chi-square with 1
    degree of freedom to P), ``p2``, ..., ``months``, ``sign``, ``share``, ``patients``. ``at`` is
    the time (months) of a number at a time.
    """

    claim_id: str
    what: str
    text: str
    position: int
    low: float
    high: float
    scale: str
    at: float | None = None


@dataclass(frozen=True)
class Statistic:
    """One analysis and the printed numbers it must give; the first level is the reference.

    Numbers at times stand in the order of their times. A model that the chain does not fit may be
    ``adjusted`` for other factors.
    """

    estimand: str
    kind: int
    given: Mapping[str, str]
    factor: str
    levels: tuple[str, ...]
    targets: tuple[Target, ...]
    adjusted: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """Name of the estimator."""
        others = f", adjusted for {', '.join(self.adjusted)}" if self.adjusted else ""
        return f"{KIND_NAMES[self.kind]}{others}"

    def groups(self, cells: Cells) -> np.ndarray:
        """Group of each cell, -1 = not in the analysis."""
        group = np.full(len(cells.combinations), -1)
        inside = cells.where(self.given)
        if not self.factor:
            return np.where(inside, 0, -1)
        for position, level in enumerate(self.levels):
            group[inside & cells.where({self.factor: level})] = position
        return group


@dataclass(frozen=True)
class CountFact:
    """A printed count: patients (or, with ``event``, deaths) in some cells, within bounds."""

    claim_id: str
    what: str
    cells: np.ndarray
    event: bool
    low: int
    high: int


@dataclass(frozen=True)
class Summary:
    """Everything printed about one endpoint of one study, under named readings.

    What is ``held_out`` is no constraint: cohorts are asked about it.
    """

    study: str
    endpoint: str
    patients: int
    cells: Cells
    facts: tuple[CountFact, ...]
    statistics: tuple[Statistic, ...]
    last: float  # longest follow-up possible, months
    model_factors: tuple[str, ...]
    readings: Mapping[str, str]
    left_out: tuple[tuple[str, str], ...] = ()  # claim and why
    table_moves: np.ndarray | None = None
    held_out: tuple[Statistic, ...] = ()

    @property
    def compared(self) -> str:
        """The factor compared first; empty where no statistic compares any."""
        return next((s.factor for s in self.statistics if s.factor), "")

    def without(self, names: set[str]) -> Summary:
        """The same without some constraints, by claim id (or estimand for directions)."""
        return replace(
            self,
            facts=tuple(f for f in self.facts if f.claim_id not in names),
            statistics=_with_targets(self.statistics, lambda claim: claim not in names),
        )

    def holding_out(self, names: set[str]) -> Summary:
        """The same without some constraints, which cohorts are then asked about.

        A statistic that loses a number keeps the others; a window by the side of the number itself,
        such as who fared better, goes with it.
        """
        held = _with_targets(self.statistics, lambda claim: claim in names)
        left = tuple((name, "held out, to be predicted") for name in sorted(names))
        return replace(
            self.without(names), held_out=(*self.held_out, *held), left_out=(*self.left_out, *left)
        )


def _with_targets(
    statistics: tuple[Statistic, ...], wanted: Callable[[str], bool]
) -> tuple[Statistic, ...]:
    """Statistics with some of their targets, those that keep any."""
    kept = (
        replace(s, targets=tuple(t for t in s.targets if wanted(t.claim_id))) for s in statistics
    )
    return tuple(s for s in kept if s.targets)

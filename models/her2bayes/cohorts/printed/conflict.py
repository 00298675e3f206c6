"""Printed numbers that cannot hold together: a smallest conflicting set, in bounded time.

Counts are settled by integer programming. For survival numbers a set is called infeasible when
tempered searches do not find a cohort within their length; a number is dropped from the set when
the others alone are still infeasible (deletion filter), so every number left is needed. Searches
can fail where cohorts are merely rare, hence "smallest found".
"""

from __future__ import annotations

import time

import numpy as np

from her2bayes.cohorts.chain.kernel import MOVES
from her2bayes.cohorts.chain.problem import counts_of_facts, problem
from her2bayes.cohorts.chain.replica import Effort, Replica
from her2bayes.cohorts.printed.design import Summary
from her2bayes.errors import Fault

SECONDS = 45.0
COOLING, SEARCH_MOVES, ATTEMPTS = 50, 3000, 4
# A set that is met this closely is not what makes the numbers contradict each other; the unit is a
# chi-square of one, or 0.08 on the log scale of a hazard ratio.
TOLERANCE = 0.5


def smallest_conflict(summary: Summary, seconds: float = SECONDS) -> list[str]:
    """Claims of a smallest conflicting set found: each is needed for the contradiction."""
    end = time.monotonic() + seconds
    if counts_of_facts(summary, np.random.default_rng(0)) is None:
        return _filtered(summary, [f.claim_id for f in summary.facts], _counts_agree, end)
    near = [t.claim_id for s in summary.statistics for t in s.targets]
    misses = _missed(summary)
    # numbers never missed together with others are dropped first, the worst missed last
    order = sorted(dict.fromkeys(near), key=lambda claim: misses.get(claim, 0.0))
    return _filtered(summary, order, is_near, end)


def describe(summary: Summary, claims: list[str]) -> Fault:
    """One message: which printed numbers contradict each other."""
    words = {f.claim_id: f.what for f in summary.facts}
    for statistic in summary.statistics:
        for target in statistic.targets:
            text = f"{statistic.estimand} {target.what} {target.text} [{statistic.method}]"
            words[target.claim_id] = text
    return Fault(
        "no patients can have all printed numbers; smallest conflicting set found: "
        + "; ".join(f"{claim} ({words.get(claim, '')})" for claim in claims),
        value=f"{summary.study} {summary.endpoint}",
        remedy="correct a misread number, or name another reading",
    )


def _filtered(summary, order, feasible, end):  # type: ignore[no-untyped-def]
    """Drop groups of claims, then single ones, as long as the rest stays infeasible."""
    kept = list(order)
    size = max(len(kept) // 2, 1)
    while True:
        position = 0
        while position < len(kept) and time.monotonic() < end:
            chosen = set(kept[position : position + size])
            rest = [claim for claim in kept if claim not in chosen]
            everything = set(order) - set(rest)
            if rest and not feasible(summary.without(everything)):
                kept = rest
            else:
                position += size
        if size == 1 or time.monotonic() >= end:
            return kept
        size = max(size // 2, 1)


def _counts_agree(summary: Summary) -> bool:
    return counts_of_facts(summary, np.random.default_rng(0)) is not None


def _nearest(summary: Summary, seed: int) -> Replica:
    """Cohort that one search ends with: patients cooled from free moves to the printed numbers."""
    posed = problem(summary)
    rng = np.random.default_rng(seed)
    counts = counts_of_facts(summary, rng)
    assert counts is not None  # checked before
    replica = Replica(posed, counts, rng)
    tally = np.zeros((MOVES, 2), np.int64)
    for sharpness in np.geomspace(0.3, 1000.0, COOLING):
        replica.run(Effort(SEARCH_MOVES), float(sharpness), True, tally)
        if replica.distance <= TOLERANCE:
            break
    return replica


def is_near(summary: Summary) -> bool:
    """Tell whether a search comes close to all printed numbers at once."""
    return any(_nearest(summary, seed).distance <= TOLERANCE for seed in range(ATTEMPTS))


def _missed(summary: Summary) -> dict[str, float]:
    """Distance of each claim's statistic in the nearest cohort a search finds."""
    nearest = _nearest(summary, 0)
    return {
        target.claim_id: float(nearest.patients.distance[t])
        for t, statistic in enumerate(summary.statistics)
        for target in statistic.targets
    }

"""Printed survival back to patients: parallel tempering over cohorts D and parameters theta.

    p(D, theta | printed)  ~  p(theta) p(D | theta) prod_j 1{T_j(D) in the rounding cell of t_j}

Replicas run at p(theta) p(D | theta) exp(-sharpness_k * distance(D)); the inverse temperature
(``sharpness``) rises from one in which patients move freely to one that leaves a good part of the
cohorts at distance 0. These are draws from the target, at whatever place, so no place holds the
target alone: it would be one more to climb to. Neighbours exchange places, even and odd pairs in
turn, and the places between are spaced in the warm-up so that exchanges are refused alike (Syed,
Bouchard-Cote, Deligiannidis & Doucet 2022).

Printed numbers that cannot hold together are named by a smallest conflicting set, in bounded time.
Counts are settled by integer programming. For survival numbers a set is called infeasible when
tempered searches do not find a cohort within their length; a number is dropped from the set when
the others alone are still infeasible (deletion filter), so every number left is needed. Searches
can fail where cohorts are merely rare, hence "smallest found".
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from threading import Event
from typing import Protocol

import numpy as np

from her2bayes.cohorts.chain import kernel
from her2bayes.cohorts.chain.kernel import MOVES
from her2bayes.cohorts.chain.problem import TENTHS, Problem, counts_of_facts, problem
from her2bayes.cohorts.chain.replica import SHARPEST, Effort, Replica, Settings
from her2bayes.cohorts.chain.summary import Summary
from her2bayes.errors import BadInput, Fault

SECONDS = 45.0
RUNGS, SEARCH_MOVES, ATTEMPTS = 50, 3000, 4  # of a search
# A set that is met this closely is not what makes the numbers contradict each other; the unit is a
# chi-square of one, or 0.08 on the log scale of a hazard ratio.
TOLERANCE = 0.5

THREADS = 2
FREE, COOLING, COOLING_MOVES = 0.3, 30, 300  # sharpness, rungs, moves at each, before the warm-up
APART = 5  # copies of the softest replica are taken so many times in the sweeps of a warm-up
SOFT = 10.0  # sharpness up to which a place is soft
RIDGE_BELOW = 30.0  # ridge moves at places softer than that
RESPACED = 4  # times in a warm-up that the places are spaced anew
LOOKED_AT = 4000  # sweeps, evenly spaced, whose cohorts are kept
PATIENCE = 2  # warm-up lengths within which a first cohort must be found
NOTED = 60.0  # seconds between two notes of how far a chain is

State = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Chain:
    """Cohorts of one chain: recorded time in months, event and cell (draw, patient), theta.

    ``found`` is the number of the sweep of each (several places may hold one); ``tally`` moves
    proposed and accepted at the sharpest place; ``trips`` of replicas there from the softest.
    """

    months: np.ndarray
    event: np.ndarray
    cell: np.ndarray
    theta: np.ndarray
    found: np.ndarray
    tally: np.ndarray
    trips: int
    refusals: np.ndarray
    seconds: float


class Notes(Protocol):
    """Where it is noted how far a chain is, so that one that was stopped goes on."""

    def load(self) -> State | None:
        """The last note, or None."""

    def save(self, state: State) -> None:
        """Note a state, in the place of the last one."""

    def clear(self) -> None:
        """Forget all: every chain has ended."""


class Ladder:
    """Replicas by place (0 = softest) and their sharpness, ``settled`` or where they began."""

    def __init__(self, posed: Problem, settings: Settings, seed: int, settled: bool = True) -> None:
        self.settings = settings
        self.rng = np.random.default_rng(seed)
        self.sharpness = np.geomspace(settings.softest, SHARPEST, settings.replicas)
        moves = np.linspace(settings.soft_moves, settings.moves, settings.replicas)
        self.moves = np.rint(moves).astype(int)
        self.replicas = self._made(posed)
        if settled:
            self._settle()
        self.tally = np.zeros((settings.replicas, kernel.MOVES, 2), np.int64)
        self.refused = np.zeros(settings.replicas - 1)
        self.tried = np.zeros(settings.replicas - 1)
        self.from_softest = np.zeros(settings.replicas, bool)  # by replica, in order of creation
        self.identity = list(range(settings.replicas))
        self.trips = 0
        self.sweep_number = 0

    def _made(self, posed: Problem) -> list[Replica]:
        """Replicas that meet the printed counts, each with a random stream of its own."""
        streams = self.rng.spawn(self.settings.replicas)
        counts = counts_of_facts(posed.summary, streams[0])
        if counts is None:
            raise BadInput(Fault("the printed counts contradict each other"))
        return [Replica(posed, counts, stream) for stream in streams]

    def _settle(self) -> None:
        """Bring one replica to the softest place; the others begin as copies of it.

        Cooled each from its own start, as many would be caught in each mode as a quench catches,
        and the places exchange that many for long.
        """
        first, soft = self.replicas[0], float(self.sharpness[0])
        tally = np.zeros((kernel.MOVES, 2), np.int64)
        cool(first, min(FREE, soft), soft, tally)
        effort = Effort(int(self.moves[0]), 1, 1)
        for place, replica in enumerate(self.replicas):
            for _ in range(self.settings.warm // (APART if place else 1)):
                first.run(effort, soft, True, tally)
            if place:
                replica.copy(first)
                cool(replica, soft, float(self.sharpness[place]), tally)

    def sweep(self, adapt: bool) -> None:
        """All replicas, then exchanges of neighbours."""
        for place, replica in enumerate(self.replicas):
            effort = self.effort(place)
            replica.run(effort, float(self.sharpness[place]), adapt, self.tally[place])
        for low in range(self.sweep_number % 2, len(self.replicas) - 1, 2):
            self._exchange(low)
        self.sweep_number += 1
        self.from_softest[self.identity[0]] = True
        top = self.identity[-1]
        if self.from_softest[top]:
            self.trips += 1
            self.from_softest[top] = False

    def effort(self, place: int) -> Effort:
        """What the replica at a place does in this sweep."""
        sharpness, last = self.sharpness[place], place == len(self.replicas) - 1
        every = self.settings.reheats[2 if last else 0 if sharpness < SOFT else 1]
        reheats = int(every > 0 and (self.sweep_number + place) % every == 0)
        ridges = self.settings.ridges * int(sharpness < RIDGE_BELOW)
        return Effort(int(self.moves[place]), ridges, reheats)

    def _exchange(self, low: int) -> None:
        one, other = self.replicas[low], self.replicas[low + 1]
        gap = self.sharpness[low + 1] - self.sharpness[low]
        log_ratio = min(0.0, gap * (other.distance - one.distance))
        self.tried[low] += 1
        self.refused[low] += 1 - np.exp(log_ratio)
        if np.log(self.rng.uniform()) < log_ratio:
            self.replicas[low : low + 2] = [other, one]
            self.identity[low : low + 2] = self.identity[low : low + 2][::-1]

    def respace(self) -> None:
        """Move the places between softest and sharpest so that all exchanges are refused alike."""
        refused = self.refused / np.maximum(self.tried, 1)
        barrier = np.concatenate([[0.0], np.cumsum(np.maximum(refused, 0.02))])
        wanted = np.linspace(0, barrier[-1], barrier.size)
        self.sharpness = np.exp(np.interp(wanted, barrier, np.log(self.sharpness)))
        self.forget()

    @property
    def state(self) -> dict[str, np.ndarray]:
        """All that later sweeps depend on."""
        generators = [self.rng, *(replica.rng for replica in self.replicas)]
        streams = json.dumps([one.bit_generator.state for one in generators])
        found = {
            "sharpness": self.sharpness, "tally": self.tally, "refused": self.refused,
            "tried": self.tried, "from_softest": self.from_softest,
            "identity": np.array(self.identity), "counted": np.array(self._counted),
            "streams": np.frombuffer(streams.encode(), np.uint8),
        }  # fmt: skip
        for place, replica in enumerate(self.replicas):
            parts = (*replica.patients, replica.theta, replica.pace, np.array([replica.distance]))
            found |= {f"replica_{place}_{k}": part.copy() for k, part in enumerate(parts)}
        return found

    @property
    def _counted(self) -> tuple[int, int]:
        return self.trips, self.sweep_number

    def take_up(self, state: State) -> None:
        """Be where another ladder was, to the last random number."""
        for name in ("sharpness", "tally", "refused", "tried", "from_softest"):
            getattr(self, name)[...] = state[name]
        self.identity = [int(k) for k in state["identity"]]
        self.trips, self.sweep_number = (int(k) for k in state["counted"])
        generators = [self.rng, *(replica.rng for replica in self.replicas)]
        for one, said in zip(generators, json.loads(bytes(state["streams"])), strict=True):
            one.bit_generator.state = said
        for place, replica in enumerate(self.replicas):
            parts = (*replica.patients, replica.theta, replica.pace)
            for k, part in enumerate(parts):
                part[...] = state[f"replica_{place}_{k}"]
            replica.distance = float(state[f"replica_{place}_{len(parts)}"][0])

    def forget(self) -> None:
        """Start counting anew."""
        self.refused[:], self.tried[:], self.tally[:] = 0, 0, 0
        self.trips = 0


def cool(replica: Replica, start: float, end: float, tally: np.ndarray) -> None:
    """Bring a replica from one sharpness to another in small steps."""
    for k, sharpness in enumerate(np.geomspace(start, end, COOLING)):
        replica.run(Effort(COOLING_MOVES, 0, int(k % 3 == 0)), float(sharpness), True, tally)


class _Run:
    """One chain on its way: warm-up, then sweeps whose cohorts are kept."""

    def __init__(self, posed: Problem, settings: Settings, seed: int, noted: State | None) -> None:
        self.settings, self.begun = settings, time.thread_time()
        self.ladder = Ladder(posed, settings, seed, settled=noted is None)
        self.rounds = self.warmed = self.met = self.swept = 0
        self.kept: list[tuple[np.ndarray, ...]] = []
        self.found: list[int] = []
        if noted is not None:
            self.ladder.take_up(noted)
            self.rounds, self.warmed, self.met, self.swept = (int(k) for k in noted["progress"])
            self.begun -= float(noted["seconds"][0])
            self.found = noted["found"].tolist()
            *parts, theta = (noted[f"kept_{k}"] for k in range(4))
            self.kept = list(zip(*(part.astype(np.int64) for part in parts), theta, strict=True))

    @property
    def state(self) -> dict[str, np.ndarray]:
        """How far the chain is, and what it has found."""
        found = self.ladder.state | {
            "progress": np.array([self.rounds, self.warmed, self.met, self.swept]),
            "seconds": np.array([self.seconds]), "found": np.array(self.found, np.int64),
        }  # fmt: skip
        parts = list(zip(*self.kept, strict=True)) or [()] * 4
        sizes = (np.int16, np.int8, np.int16, np.float64)  # month tenths, event, cell, theta
        return found | {
            f"kept_{k}": np.array(part, size)
            for k, (part, size) in enumerate(zip(parts, sizes, strict=True))
        }

    @property
    def seconds(self) -> float:
        """Processor time so far."""
        return time.thread_time() - self.begun

    def warm(self, go_on: Callable[[], bool]) -> bool:
        """Warm up; whether a cohort that meets all printed numbers turned up in time."""
        ladder, length = self.ladder, self.settings.warm
        while self.rounds < PATIENCE and not (self.met and not self.warmed):
            if not go_on():
                return False
            ladder.sweep(adapt=True)
            self.warmed += 1
            self.met |= any(replica.distance == 0 for replica in ladder.replicas)
            if self.warmed % max(length // RESPACED, 1) == 0:
                ladder.respace()
            if self.warmed == length:
                self.rounds, self.warmed = self.rounds + 1, 0
                if self.met:
                    ladder.forget()
        return bool(self.met)

    def sample(self, go_on: Callable[[], bool]) -> bool:
        """Sweeps whose cohorts are kept; whether they were all made."""
        apart = max(1, self.settings.sweeps // LOOKED_AT)
        while self.swept < self.settings.sweeps:
            if not go_on():
                return False
            self.ladder.sweep(adapt=False)
            if self.swept % apart == 0:
                for replica in self.ladder.replicas:  # at distance 0 all have the target's density
                    if replica.distance == 0:
                        p = replica.patients
                        self.kept.append((p.time.copy(), p.event.copy(), p.cell.copy(),
                                          replica.theta.copy()))  # fmt: skip
                        self.found.append(self.swept)
            self.swept += 1
        return True


def chain(
    posed: Problem, settings: Settings, seed: int, go_on: Callable[[], bool] = lambda: True,
    begun: State | None = None, note: Callable[[State], None] = lambda _: None,
) -> Chain | None:  # fmt: skip
    """One tempered chain; None where the printed numbers were never met together.

    ``go_on`` is asked before every sweep; told not to, the chain ends without a result. It is
    ``note``d now and then how far it is: ``begun`` there, it ends as if it never had been stopped.
    """
    run = _Run(posed, settings, seed, begun)
    due = time.monotonic() + NOTED

    def noting() -> bool:
        nonlocal due
        more = False
        try:
            more = go_on()
        finally:
            if not more or time.monotonic() > due:
                note(run.state)
                due = time.monotonic() + NOTED
        return more

    finished = run.warm(noting) and run.sample(noting)
    if finished:
        note(run.state)  # the other chains may be stopped yet
    if not finished or not run.kept:
        return None
    tenths, event, cell, theta = (np.array(part) for part in zip(*run.kept, strict=True))
    ladder = run.ladder
    return Chain(
        tenths / TENTHS, event, cell, theta, np.array(run.found), ladder.tally[-1].copy(),
        ladder.trips, ladder.refused / np.maximum(ladder.tried, 1), run.seconds,
    )  # fmt: skip


def chains(
    posed: Problem, settings: Settings, tell: Callable[[int, int], None] = lambda *_: None,
    notes: Sequence[Notes] = (),
) -> list[Chain]:  # fmt: skip
    """Independently started chains, on two threads; raises ``BadInput`` naming a conflict.

    ``tell`` hears how many of how many sweeps are done. An interrupt ends all chains; with
    ``notes``, one of each chain, they go on from there the next time.
    """
    _check(posed.summary)
    seeds = np.random.SeedSequence(settings.seed).generate_state(settings.chains)
    begun = [noted.load() for noted in notes] or [None] * settings.chains
    saves: list[Callable[[State], None]] = [noted.save for noted in notes]
    saves = saves or [lambda _: None] * settings.chains
    stopped, done = Event(), count(1 + sum(_sweeps(state, settings) for state in begun))
    total = settings.chains * (settings.warm + settings.sweeps)

    def go_on() -> bool:
        tell(min(next(done), total), total)  # a warm-up may be repeated
        return not stopped.is_set()

    def one(seed: int, state: State | None, note: Callable[[State], None]) -> Chain | None:
        return chain(posed, settings, int(seed), go_on, state, note)

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            found = list(pool.map(one, seeds, begun, saves))
        except BaseException:
            stopped.set()  # else the pool would wait for chains that run for minutes
            raise
    for noted in notes:
        noted.clear()
    good = [c for c in found if c is not None]
    if len(good) < len(found):
        raise BadInput(
            Fault(
                "cohorts that meet all printed numbers are very hard to find",
                value=f"{len(good)} of {len(found)} chains found one",
                remedy="try another reading, or give more time",
            )
        )
    return good


def _sweeps(state: State | None, settings: Settings) -> int:
    """Sweeps that a chain has behind it; none of a chain that has not begun."""
    if state is None:
        return 0
    rounds, warmed, _, swept = (int(k) for k in state["progress"])
    return rounds * settings.warm + warmed + swept


def _check(summary: Summary) -> None:
    """Name a smallest conflicting set where a search comes nowhere near the printed numbers."""
    impossible = counts_of_facts(summary, np.random.default_rng(0)) is None
    if impossible or not is_near(summary):
        raise BadInput(describe(summary, smallest_conflict(summary)))


def members(found: Sequence[Chain], number: int) -> list[tuple[int, int]]:
    """Chain and draw of each member: evenly over the chains, far apart within them."""
    each = -(-number // len(found))
    picks = []
    for position in range(each):
        for c, item in enumerate(found):
            draws = item.months.shape[0]
            picks.append((c, int((position + 0.5) * draws / each)))
    return picks[:number]


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


def _filtered(
    summary: Summary, order: Sequence[str], feasible: Callable[[Summary], bool], end: float
) -> list[str]:
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
    for sharpness in np.geomspace(0.3, 1000.0, RUNGS):
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

"""A digitised survival curve back to patients: an ensemble of data sets that all fit the picture.

For one arm, elementary intervals k end at the curve's points and at the rows of the at-risk table.
Unknown are whole numbers of events d_k and of censored patients c_k in each. With n_k at risk,

    S_k = S_(k-1) (1 - d_k / n_k),    n_(k+1) = n_k - d_k - c_k,    n = printed number at its rows
    s_k ~ Normal(S_k, sigma)                                  what the digitiser read
    d_k ~ Poisson(n_k * average hazard of the row's interval) where the picture shows points
    d_k ~ Geometric from 1                                    where it shows the steps themselves
    c_k ~ Poisson, constant within a row's interval, so that the next printed number is met

A particle filter draws (d, c) given s (each member from its own run, so that members are
independent); sequences that miss a printed number cannot occur, and a printed total of events is
met by exchanging the least telling events and censorings. That is where moves of single exits under
the density of the whole curve begin, the total held: as many as forget what was imposed, and that
early choices of a filter are those of few ancestors. Guyot et al. 2012 made the idea of
solving the Kaplan-Meier equations backwards; they return one solution, here the picture's own
resolution decides how far the solutions spread. With steps at full precision the drops d_k / n_k
tell n_k itself, and the ensemble collapses to the patients but for when they were censored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import gammaln, logsumexp

from her2bayes.cohorts.chain import outer
from her2bayes.errors import BadInput, Fault
from her2bayes.evidence.patients.digitised import FINEST, AtRisk, Curve

PARTICLES = 50
# Proposals of the moves that follow the filter, for each patient who leaves.
SWEEPS = 50
# Rate at which patients leave where no number at risk is printed any more, in curves' lengths.
LEAVING = (0.02, 5.0)
# Smallest number of patients that is expected of an interval.
LEAST = 1e-3
# Standard deviations of reading error within which a value of the curve is entertained.
REACH = 6.0
# Largest reading error that is tried: two hundredths of survival, several pixels of any figure.
LARGEST_ERROR = 0.02
# Falls of a curve of steps beyond this many reading errors are deaths; smaller ones may be wobble.
CERTAIN = 2.5
# Largest error of the time axis's scale: clicks far apart do not mean that it was calibrated askew.
LARGEST_STRETCH = 0.005


@dataclass(frozen=True)
class _Grid:
    end: np.ndarray  # right end of each elementary interval
    width: np.ndarray
    observed: np.ndarray  # survival read there
    can_fall: np.ndarray  # events possible
    must_fall: np.ndarray  # at least one event certain
    row_end: np.ndarray  # index of the interval that ends at the next printed number at risk
    target: np.ndarray  # that number; -1 where none is printed any more
    rate: np.ndarray  # average hazard over the row's interval
    censored: np.ndarray  # patients censored by the next row; -1 where not printed
    reach: np.ndarray  # distance from the curve beyond which no patients fit


def _grid(curve: Curve, table: AtRisk) -> _Grid:
    risk_time, at_risk, censored = table.time, table.number, table.censored
    last = max(curve.time[-1], risk_time[-1])
    rows = risk_time[(risk_time > 0) & (risk_time <= last)]
    end = np.union1d(curve.time[curve.time > 0], rows)
    width = np.diff(end, prepend=0.0)
    smooth = isotonic_regression(curve.survival, increasing=False).x
    if curve.steps:
        before = np.searchsorted(curve.time, end, side="right") - 1
        observed = curve.survival[before]
        falls = -np.diff(observed, prepend=1.0)
        can_fall, must_fall = falls > FINEST, falls > max(FINEST, CERTAIN * curve.sigma)
    else:
        on_curve = np.isin(end, curve.time)
        observed = np.interp(end, curve.time, smooth)
        observed[on_curve] = curve.survival[np.searchsorted(curve.time, end[on_curve])]
        can_fall, must_fall = np.ones(end.size, bool), np.zeros(end.size, bool)
    printed = dict(zip(risk_time.tolist(), at_risk.tolist(), strict=True))
    ends_row = np.array([t in printed for t in end.tolist()])
    following = np.where(ends_row, np.arange(end.size), end.size)
    row_end = np.minimum.accumulate(following[::-1])[::-1]
    target = np.array([printed[end[i]] if i < end.size else -1 for i in row_end])
    edges = np.concatenate([[0.0], end[ends_row], [last]])
    level = np.maximum(np.interp(edges, curve.time, smooth), 1e-4)
    hazard = -np.diff(np.log(level)) / np.maximum(np.diff(edges), 1e-12)
    rate = hazard[np.searchsorted(edges[1:-1], end, side="left")]
    counts = [-1] * risk_time.size if censored is None else censored.tolist()
    so_far = dict(zip(risk_time.tolist(), counts, strict=True))
    leaving = np.array([so_far[end[i]] if i < end.size else -1 for i in row_end])
    row_end = np.minimum(row_end, end.size - 1)
    reach = np.full(end.size, REACH * curve.sigma)
    if not curve.steps:  # between points a curve may fall by a patient, and further where none is
        reach = np.where(np.isin(end, curve.time), reach + 1 / at_risk[0], np.inf)
    return _Grid(end, width, observed, can_fall, must_fall, row_end, target, rate, leaving, reach)


def _log_poisson(k: np.ndarray, mean: np.ndarray) -> np.ndarray:
    mean = np.maximum(mean, LEAST)
    return k * np.log(mean) - mean - gammaln(k + 1.0)


def _censoring_mean(
    grid: _Grid,
    k: int,
    n: np.ndarray,
    survival: np.ndarray,
    drift: np.ndarray,
    gone: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Expected censorings in interval k and the most exits there may be, per particle."""
    if grid.target[k] < 0:
        return n * drift * grid.width[k], n.astype(float)
    stop = grid.row_end[k]
    exits = n - grid.target[k]
    if grid.censored[k] >= 0:
        left = grid.end[stop] - grid.end[k] + grid.width[k]
        return (grid.censored[k] - gone) * grid.width[k] / left, exits.astype(float)
    fall = np.clip(1 - grid.observed[stop] / np.maximum(survival, 1e-9), 0, 1)
    left = grid.end[stop] - grid.end[k] + grid.width[k]
    return np.maximum(exits - n * fall, 0.0) * grid.width[k] / left, exits.astype(float)


def _weights(
    curve: Curve,
    grid: _Grid,
    k: int,
    state: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Log weight (state, c, d) of every exit pattern of interval k, and the curve after it."""
    n, survival, drift, gone = state.T
    mean, exits = _censoring_mean(grid, k, n, survival, drift, gone)
    closes_row = grid.target[k] >= 0 and grid.row_end[k] == k
    most_c = int(exits.max()) if closes_row or curve.steps else int(mean.max() * 2 + 8)
    events = np.zeros(1, int)
    if grid.can_fall[k]:
        lowest = max(grid.observed[k] - REACH * curve.sigma, 0.0)
        most_d = int(np.max(np.ceil(n * (1 - lowest / np.maximum(survival, 1e-9))))) + 1
        events = np.arange(1 if grid.must_fall[k] else 0, max(most_d, 1) + 1)
    censored = np.arange(max(most_c, 0) + 1)
    c, d = censored[None, :, None], events[None, None, :]
    # a step comes after the censorings before it; among points the order within is unknown
    before = n[:, None, None] - (c if curve.steps else c / 2)
    value = survival[:, None, None] * np.clip(1 - d / np.maximum(before, 1e-9), 0, 1)
    weight = -0.5 * ((value - grid.observed[k]) / curve.sigma) ** 2
    weight = weight + _log_poisson(c, mean[:, None, None])
    if curve.steps:
        weight = weight - 2.0 * (d - 1) * (d > 0)
    else:
        weight = weight + _log_poisson(d, (n * grid.rate[k] * grid.width[k])[:, None, None])
    total, room = c + d, exits[:, None, None]
    possible = (total == room if closes_row else total <= room) & (d <= before)
    if grid.censored[k] >= 0:  # room for the printed censorings, and no other way out for events
        rest = (grid.censored[k] - gone)[:, None, None] - c
        possible &= (rest == 0) if closes_row else (rest >= 0) & (room - total >= rest)
    return np.where(possible, weight, -np.inf), value, censored, events


def _step(
    curve: Curve,
    grid: _Grid,
    k: int,
    state: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw (c, d) of interval k for each particle from their exact joint conditional.

    ``state`` (particles, 4) holds n, the curve, the rate of censoring and the patients censored so
    far. Returns c, d, the curve after them, and the log weight of the interval. Particles in the
    same state share their work.
    """
    if grid.target[k] >= 0:
        state = state * [1, 1, 0, 1]  # the rate of censoring is read off the numbers at risk
    if grid.censored[k] < 0:
        state = state * [1, 1, 1, 0]
    distinct, which = np.unique(state, axis=0, return_inverse=True)
    weight, value, censored, events = _weights(curve, grid, k, distinct)
    weight, value = weight.reshape(len(distinct), -1), value.reshape(len(distinct), -1)
    evidence = logsumexp(weight, axis=1)
    with np.errstate(invalid="ignore"):
        cumulative = np.cumsum(np.exp(weight - evidence[:, None]), axis=1)
    u = rng.uniform(size=which.size)
    pick = np.minimum((cumulative[which] < u[:, None]).sum(axis=1), weight.shape[1] - 1)
    c_pick, d_pick = np.divmod(pick, events.size)
    return censored[c_pick], events[d_pick], value[which, pick], evidence[which]


def _leaving(rng: np.random.Generator, number: int) -> np.ndarray:
    low, high = np.log(LEAVING)
    return np.exp(rng.uniform(low, high, number))


def _filter(
    curve: Curve, grid: _Grid, n: int, rng: np.random.Generator, particles: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One particle filter: events and censorings (particles, intervals), and weights."""
    # where no number at risk is printed any more, the rate of censoring is anybody's guess
    drift = _leaving(rng, particles) / grid.end[-1]
    nobody = np.zeros(particles)
    state = np.column_stack([np.full(particles, n, float), np.ones(particles), drift, nobody])
    log_weight = np.zeros(particles)
    events = np.zeros((particles, grid.end.size), int)
    censored = np.zeros_like(events)
    for k in range(grid.end.size):
        c, d, value, evidence = _step(curve, grid, k, state, rng)
        log_weight = log_weight + evidence
        near = np.abs(value - grid.observed[k]) <= grid.reach[k]
        if not (np.isfinite(log_weight) & near).any():
            raise BadInput(_misfit(grid, k))
        events[:, k], censored[:, k] = d, c
        state[:, 0], state[:, 1] = state[:, 0] - c - d, value
        state[:, 3] += c
        weight = np.exp(log_weight - logsumexp(log_weight))
        if 1 / np.sum(weight**2) < particles / 2:
            parents = rng.choice(particles, particles, p=weight)
            events, censored, state = events[parents], censored[parents], state[parents]
            log_weight = np.zeros(particles)
    return events, censored, np.exp(log_weight - logsumexp(log_weight))


def _misfit(grid: _Grid, k: int) -> Fault:
    return Fault(
        f"no patients fit the curve and the numbers at risk up to time {grid.end[k]:g}",
        value=f"survival {grid.observed[k]:.4f} there, next number at risk {grid.target[k]}",
        allowed=f"a curve that patients can have, read with an error of up to {LARGEST_ERROR:g}",
        remedy="check that the curve and the at-risk table belong to the same arm and time unit",
    )


def _meet_total(
    grid: _Grid,
    events: np.ndarray,
    censored: np.ndarray,
    n: int,
    total: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Exchange single events and censorings within intervals until the printed total is met.

    Raises ``BadInput`` where the curve has no place for the missing events.
    """
    events, censored = events.copy(), censored.copy()
    at_risk = n - np.concatenate([[0], np.cumsum(events + censored)[:-1]])
    missing = total - int(events.sum())
    source, sink = (censored, events) if missing > 0 else (events, censored)
    free = grid.can_fall & (grid.censored < 0)
    for _ in range(abs(missing)):
        # where there are events already, so that a flat piece stays flat, and where many are at
        # risk: an exchange moves the rest of the curve by a factor 1 - 1/n_k
        weight = np.where((source > 0) & (events > 0) & free, at_risk.astype(float) ** 2, 0.0)
        if not weight.any():
            weight = np.where((source > 0) & free, at_risk.astype(float) ** 2, 0.0)
        if not weight.any():
            problem = "the curve and the numbers at risk leave no place for the total of events"
            remedy = "check the total, or leave it out"
            raise BadInput(Fault(problem, value=total, remedy=remedy))
        k = rng.choice(weight.size, p=weight / weight.sum())
        source[k] -= 1
        sink[k] += 1
    return events, censored


FARTHEST = 6  # exits move by up to 2^6 intervals
RATES = 40  # steps of the rate of leaving before all others, and steps of others between two
IMPOSSIBLE = -np.inf


class _Seen(NamedTuple):
    """What the picture says of each interval, and how exactly."""

    width: np.ndarray
    observed: np.ndarray
    mean: np.ndarray  # expected deaths of one patient at risk
    leaving: np.ndarray  # rate of leaving in the tail, one number
    sigma: float
    part: float  # share of an interval's censored patients that leave before its deaths


class _Walls(NamedTuple):
    """What no move may change: rows of the table, printed censored, places of deaths, the tail."""

    row: np.ndarray
    length: np.ndarray  # of each row
    fixed: np.ndarray  # whether the censored of the interval's row are printed
    can_fall: np.ndarray
    must_fall: np.ndarray
    tail: int  # first interval after the last printed number at risk
    patients: float


@outer
def _densities(first: int, state: Any, seen: Any, walls: Any) -> bool:
    """Fill n, S and the log density of each interval from ``first`` on; whether they can be.

    Densities are those of labelled patients, without factorials: a move of a patient drawn at
    random needs no correction. Where the numbers of deaths or of censored patients change, or a
    censored patient is chosen at a place, the ratio of the choices stands beside the step.
    """
    d, c, n, survival, density = state
    for k in range(first, d.size):
        if k:
            n[k] = n[k - 1] - d[k - 1] - c[k - 1]
        before = n[k] - seen.part * c[k]
        if n[k] < d[k] + c[k] or (d[k] > 0 and before < d[k]) or (walls.must_fall[k] and not d[k]):
            return False
        level = survival[k - 1] if k else 1.0
        survival[k] = level * (1 - d[k] / before) if d[k] else level
        density[k] = -0.5 * ((survival[k] - seen.observed[k]) / seen.sigma) ** 2
        density[k] += _of_deaths(d[k], n[k] * seen.mean[k], seen.part)
        if k < walls.tail:
            density[k] += c[k] * np.log(seen.width[k])
        else:
            leaving = max(n[k] * seen.leaving[0] * seen.width[k], LEAST)
            density[k] += c[k] * np.log(leaving) - leaving
    return True


@outer
def _of_deaths(deaths: int, expected: float, part: float) -> float:
    """Poisson between points (``part`` 1/2), geometric from 1 at steps; times the factorial."""
    if part < 1:
        expected = max(expected, LEAST)
        return float(deaths * np.log(expected) - expected)
    found = -2.0 * max(deaths - 1, 0)
    for m in range(2, deaths + 1):
        found += np.log(m)
    return float(found)


@outer
def _someone(counts: np.ndarray, first: int, rng: Any) -> int:
    """Place of one of the patients counted from ``first`` on, at random; -1 without any."""
    total = 0.0
    for k in range(first, counts.size):
        total += counts[k]
    left = rng.random() * total
    for k in range(first, counts.size):
        left -= counts[k]
        if left < 0:
            return k
    return -1


@outer
def _away(rng: Any) -> int:
    """A distance in intervals, either way."""
    size = 1 + int(rng.random() * 2 ** int(rng.random() * (FARTHEST + 1)))
    return size if rng.random() < 0.5 else -size


@outer
def _flat(k: int, more: int, left: np.ndarray, walls: Any) -> float:
    """Log ratio for one censored patient more or less of a row whose rate is not known.

    Over a flat prior of the rate, C of them in a row of length W have the weight C! / W^C.
    """
    if k >= walls.tail:
        return 0.0
    r = walls.row[k]
    number = left[r] + 1 if more > 0 else left[r]
    return float(more * np.log(number / walls.length[r]))


@outer
def _move(counts: np.ndarray, plan: np.ndarray, at: int, walls: Any, rng: Any) -> float:
    """A death (``at`` 2) or a censored patient (``at`` 4) goes elsewhere within its row."""
    i = _someone(counts, 0, rng)
    j = i + _away(rng)
    if i < 0 or not 0 <= j < counts.size or walls.row[j] != walls.row[i]:
        return IMPOSSIBLE
    if at == 2 and not walls.can_fall[j]:
        return IMPOSSIBLE
    plan[0], plan[1], plan[at], plan[at + 1] = i, j, -1, 1
    return 0.0


@outer
def _exchange(state: Any, plan: np.ndarray, left: np.ndarray, walls: Any, rng: Any) -> float:
    """A death and a patient censored elsewhere change places."""
    d, c = state[0], state[1]
    i = _someone(d, 0, rng)
    j = i + _away(rng)
    if i < 0 or not 0 <= j < d.size or c[j] == 0 or not walls.can_fall[j]:
        return IMPOSSIBLE
    ratio = np.log(c[j] / (c[i] + 1.0))
    if walls.row[i] != walls.row[j]:
        if walls.fixed[i] or walls.fixed[j]:
            return IMPOSSIBLE
        ratio += _flat(i, 1, left, walls) + _flat(j, -1, left, walls)
    plan[0], plan[1], plan[2], plan[3], plan[4], plan[5] = i, j, -1, 1, 1, -1
    return float(ratio)


@outer
def _convert(state: Any, plan: np.ndarray, left: np.ndarray, walls: Any, rng: Any) -> float:
    """A death becomes a censoring of its interval, or the other way."""
    d, c = state[0], state[1]
    deaths, censored = d.sum(), c.sum()
    dies = rng.random() < 0.5
    i = _someone(c if dies else d, 0, rng)
    if i < 0 or walls.fixed[i] or (dies and not walls.can_fall[i]):
        return IMPOSSIBLE
    plan[0], plan[1] = i, i
    if dies:
        plan[2], plan[4] = 1, -1
        return float(np.log(censored / (deaths + 1.0)) + _flat(i, -1, left, walls))
    plan[2], plan[4] = -1, 1
    return float(np.log(deaths / (censored + 1.0)) + _flat(i, 1, left, walls))


@outer
def _stay(state: Any, plan: np.ndarray, walls: Any, rng: Any) -> float:
    """One who is followed to the end of the curve is censored in its tail, or the other way."""
    c, tail = state[1], walls.tail
    places = c.size - tail
    if places == 0:
        return IMPOSSIBLE
    censored = c[tail:].sum()
    if rng.random() < 0.5:
        plan[0] = tail + int(rng.random() * places)
        plan[4] = 1
        ratio = np.log(places / (censored + 1.0))
    else:
        plan[0] = _someone(c, tail, rng)
        plan[4] = -1
        ratio = np.log(censored / places) if censored else IMPOSSIBLE
    plan[1] = plan[0]
    return float(ratio)


@outer
def _propose(
    state: Any, plan: np.ndarray, left: np.ndarray, walls: Any, total_given: bool, rng: Any
) -> float:
    """Plan a step: intervals i and j, changes of deaths at both, of censored at both; log ratio."""
    plan[:] = 0
    u = rng.random()
    if u < 0.35:
        return float(_move(state[0], plan, 2, walls, rng))
    if u < 0.55:
        return float(_move(state[1], plan, 4, walls, rng))
    if u < 0.85:
        return float(_exchange(state, plan, left, walls, rng))
    if u < 0.93:
        return IMPOSSIBLE if total_given else float(_convert(state, plan, left, walls, rng))
    return float(_stay(state, plan, walls, rng))


@outer
def _carry_out(state: Any, plan: np.ndarray, left: np.ndarray, walls: Any, way: int) -> None:
    d, c = state[0], state[1]
    i, j = plan[0], plan[1]
    d[i] += way * plan[2]
    d[j] += way * plan[3]
    c[i] += way * plan[4]
    c[j] += way * plan[5]
    left[walls.row[i]] += way * plan[4]
    left[walls.row[j]] += way * plan[5]


@outer
def _take_over(source: Any, target: Any, first: int) -> None:
    for k in range(first, source[0].size):
        target[2][k], target[3][k], target[4][k] = source[2][k], source[3][k], source[4][k]


@outer
def _leave_rate(state: Any, tried: Any, seen: Any, walls: Any, rng: Any) -> None:
    """A step of the rate of leaving in the tail: log-uniform from 0.02 to 5 a curve's length."""
    before, tail = seen.leaving[0], walls.tail
    seen.leaving[0] = before * np.exp(0.7 * rng.normal())
    if LEAVING[0] < seen.leaving[0] * seen.width.sum() < LEAVING[1]:
        _densities(tail, tried, seen, walls)
        if np.log(rng.random()) < tried[4][tail:].sum() - state[4][tail:].sum():
            _take_over(tried, state, tail)
            return
    seen.leaving[0] = before
    _take_over(state, tried, tail)


@outer
def _walk(
    d: np.ndarray, c: np.ndarray, seen: Any, walls: Any, total_given: bool, steps: int, rng: Any
) -> None:
    """Make ``steps`` proposals; change deaths and censored patients in place.

    A start that the picture does not allow stays as it is.
    """
    state = (d, c, np.full(d.size, walls.patients), np.ones(d.size), np.zeros(d.size))
    if not _densities(0, state, seen, walls):
        return
    tried = (d, c, state[2].copy(), state[3].copy(), state[4].copy())
    left = np.zeros(walls.length.size)
    for k in range(d.size):
        left[walls.row[k]] += c[k]
    plan, has_tail = np.zeros(6, np.int64), walls.tail < d.size
    if has_tail:
        for _ in range(RATES):
            _leave_rate(state, tried, seen, walls, rng)
    for step in range(steps):
        if has_tail and step % RATES == 0:
            _leave_rate(state, tried, seen, walls, rng)
        ratio = _propose(state, plan, left, walls, total_given, rng)
        if ratio == IMPOSSIBLE:
            continue
        first = min(plan[0], plan[1])
        _carry_out(state, plan, left, walls, 1)
        if _densities(first, tried, seen, walls) and np.log(rng.random()) < (
            ratio + tried[4][first:].sum() - state[4][first:].sum()
        ):
            _take_over(tried, state, first)
        else:
            _carry_out(state, plan, left, walls, -1)
            _take_over(state, tried, first)


def _moved(
    curve: Curve, grid: _Grid, pair: tuple[np.ndarray, np.ndarray], table: AtRisk,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Events and censorings after moves of single exits under the density of the whole curve."""
    events, censored = (np.array(x, np.int64) for x in pair)
    closed = grid.target >= 0
    row = np.unique(grid.row_end + closed.size * ~closed, return_inverse=True)[1]
    rate = _leaving(rng, 1) / grid.end[-1]
    seen = _Seen(grid.width, grid.observed, grid.rate * grid.width, rate,
                 float(curve.sigma), 1.0 if curve.steps else 0.5)  # fmt: skip
    walls = _Walls(row, np.bincount(row, grid.width), closed & (grid.censored >= 0), grid.can_fall,
                   grid.must_fall, int(closed.sum()), float(table.patients))  # fmt: skip
    steps = SWEEPS * (int(events.sum() + censored.sum()) + 10)
    _walk(events, censored, seen, walls, table.events is not None, steps, rng)
    return events, censored


def _reread(curve: Curve, rng: np.random.Generator) -> Curve:
    """The curve as another reading of the same picture might have it.

    The axes may be calibrated wrongly by about one reading error (their origin and upper end are
    where the curve starts), and a height is read to the nearest pixel, an error that neighbouring
    points of a flat piece share and that averaging over them does not remove.
    """
    if curve.exact:  # the filter's own error covers the rounding
        return curve
    spacing = float(np.median(np.diff(curve.time))) / curve.time[-1]
    stretch = 1 + rng.normal(0, 0.0 if curve.steps else min(spacing, LARGEST_STRETCH))
    height = np.arange(0, 1 + 4 * curve.sigma, 4 * curve.sigma)
    shared = np.interp(curve.survival, height, rng.normal(0, curve.sigma / 2, height.size))
    scale = rng.normal(0, curve.sigma) * (1 - curve.survival)
    survival = np.where(curve.time > 0, curve.survival + shared + scale, curve.survival)
    return replace(curve, time=curve.time * stretch, survival=np.clip(survival, 0, 1))


def _patients(
    curve: Curve,
    grid: _Grid,
    events: np.ndarray,
    censored: np.ndarray,
    n: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    start = grid.end - grid.width
    event_interval = np.repeat(np.arange(grid.end.size), events)
    censored_interval = np.repeat(np.arange(grid.end.size), censored)
    u = rng.uniform(size=event_interval.size)
    event_time = (
        grid.end[event_interval]
        if curve.steps
        else start[event_interval] + u * grid.width[event_interval]
    )
    v = rng.uniform(size=censored_interval.size)
    censored_time = start[censored_interval] + v * grid.width[censored_interval]
    rest = n - event_time.size - censored_time.size
    time = np.concatenate([event_time, censored_time, np.full(rest, grid.end[-1])])
    happened = np.concatenate(
        [np.ones(event_time.size, bool), np.zeros(time.size - event_time.size, bool)]
    )
    order = np.lexsort((~happened, time))
    return time[order], happened[order]


def reconstruct(
    curve: Curve, table: AtRisk, *, members: int = 50, seed: int = 20230221
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Patients behind one arm's curve: ``members`` data sets of (time, event), n rows each.

    n, the numbers at risk, the censored and a given total of events are met exactly in every
    member. Raises ``BadInput`` where no patients fit (`reconstruct_with_error` tries larger
    reading errors).
    """
    table = replace(table, time=np.asarray(table.time, float), number=np.asarray(table.number, int))
    n, events = table.patients, table.events
    result = []
    for rng in np.random.default_rng(seed).spawn(members):
        seen = _reread(curve, rng)
        grid = _grid(seen, table)
        d, c, weight = _filter(seen, grid, n, rng, PARTICLES)
        if events is not None:
            # among particles whose weight is not lost to underflow
            distance = np.where(weight > 0, np.abs(d.sum(axis=1) - events), np.inf)
            weight = np.where(distance == distance.min(), weight, 0.0)
        chosen = rng.choice(PARTICLES, p=weight / weight.sum())
        pair = d[chosen], c[chosen]
        if events is not None:
            pair = _meet_total(grid, *pair, n, events, rng)
        if not curve.exact:
            pair = _moved(seen, grid, pair, table, rng)
        result.append(_patients(seen, grid, *pair, n, rng))
    return result


def reconstruct_with_error(
    curve: Curve, table: AtRisk, *, members: int = 50, seed: int = 20230221
) -> tuple[Curve, list[tuple[np.ndarray, np.ndarray]]]:
    """`reconstruct`, with a reading error widened threefold until patients fit, and that curve.

    Points may be farther off than their scatter shows (an axis calibrated askew, a misread number
    at risk); beyond ``LARGEST_ERROR`` it is another curve. Raises ``BadInput`` there.
    """
    while True:
        try:
            return curve, reconstruct(curve, table, members=members, seed=seed)
        except BadInput:
            wider = max(3 * curve.sigma, 1e-6)
            if wider > LARGEST_ERROR:
                raise
            words = "widened from that of the points, with which no patients fit"
            curve = replace(curve, sigma=wider, error_from=words)

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
met by exchanging the least telling events and censorings. Guyot et al. 2012 made the idea of
solving the Kaplan-Meier equations backwards; they return one solution, here the picture's own
resolution decides how far the solutions spread. With steps at full precision the drops d_k / n_k
tell n_k itself, and the ensemble collapses to the patients but for when they were censored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import gammaln, logsumexp

from her2bayes.errors import BadInput, Fault

# Below this two drops of a curve are numerically the same; far below 1/n^2 of any real study.
FINEST = 1e-9
PARTICLES = 200
# Standard deviations of reading error within which a value of the curve is entertained.
REACH = 6.0
# Largest reading error that is tried: two hundredths of survival, several pixels of any figure.
LARGEST_ERROR = 0.02
# Largest error of the time axis's scale: clicks far apart do not mean that it was calibrated askew.
LARGEST_STRETCH = 0.005
EXACT = "steps of the curve"
# Falls of a curve of steps beyond this many reading errors are deaths; smaller ones may be wobble.
CERTAIN = 2.5


@dataclass(frozen=True)
class Curve:
    """One digitised arm, cleaned: ``survival`` at ``time``, read with error ``sigma``.

    ``steps`` says that each time is a drop of the curve, not just a point on it. ``error_from``
    says in words what ``sigma`` was estimated from.
    """

    time: np.ndarray
    survival: np.ndarray
    sigma: float
    steps: bool
    error_from: str = ""

    @property
    def exact(self) -> bool:
        """Whether survival is what the file says but for the rounding of its decimals."""
        return self.error_from.startswith(EXACT)


@dataclass(frozen=True)
class AtRisk:
    """What is printed below one arm's curve: patients at risk ``number`` at each ``time``.

    The first time is 0, with all patients; ``number`` counts those whose time is not before it,
    ``censored`` those censored before it; ``events`` is their printed total.
    """

    time: np.ndarray
    number: np.ndarray
    censored: np.ndarray | None = None
    events: int | None = None

    @property
    def patients(self) -> int:
        """All patients."""
        return int(self.number[0])


def clean_curve(time: np.ndarray, survival: np.ndarray) -> Curve:
    """Clean the points of one arm (shape (points,) each; any order, percent or fractions).

    Vertical pieces (two values at one time) mean that the steps themselves were read. The reading
    error (a standard deviation, in units of survival) comes from the points: their scatter about
    the best non-increasing curve. Steps that never rise have the error of their decimals alone;
    single points at least that of the resolution (spacing of the values read, uniform).
    """
    time, survival = np.asarray(time, float), np.asarray(survival, float)
    percent = survival.max() > 1.5
    rounding = _rounding(survival) / (100 if percent else 1)
    survival = survival / 100 if percent else survival
    order = np.lexsort((-survival, time))
    time, survival = time[order], survival[order]
    steps = bool(np.mean(np.diff(time) == 0) > 0.25)
    fitted = isotonic_regression(survival, increasing=False).x
    free = survival.size - np.unique(np.round(fitted, 9)).size  # the fit spends one value a level
    scatter = float(np.sqrt(np.sum((survival - fitted) ** 2) / max(free, 1)))
    sigma, error_from = _error(survival, scatter, rounding, steps)
    last = np.append(time[1:] > time[:-1], True)  # the value after the drop at each time
    time, survival = time[last], np.clip(fitted[last] if steps else survival[last], 0, 1)
    if steps:
        falls = np.append(True, np.diff(survival) < -FINEST)
        falls[-1] = True  # the end of follow-up
        time, survival = time[falls], survival[falls]
    if time[0] > 0:
        time, survival = np.append(0.0, time), np.append(1.0, survival)
    return Curve(time, survival, sigma, steps, error_from)


def _rounding(values: np.ndarray) -> float:
    """Standard deviation of rounding to the decimals that the values are written with."""
    for decimals in range(9):
        scaled = values * 10**decimals
        if np.all(np.abs(scaled - np.round(scaled)) < 1e-6):
            return 10.0**-decimals / np.sqrt(12)
    return FINEST


def _error(survival: np.ndarray, scatter: float, rounding: float, steps: bool) -> tuple[float, str]:
    """Standard deviation of a height as read, and what it was estimated from."""
    if steps and scatter < max(FINEST, rounding):
        decimals = round(-np.log10(rounding * np.sqrt(12)))
        return max(FINEST, rounding), (
            EXACT if rounding <= FINEST else f"{EXACT} rounded to {decimals} decimals of survival"
        )
    gaps = np.diff(np.unique(survival))
    resolution = gaps[gaps > FINEST].min(initial=0.01) / np.sqrt(12)
    if not steps and resolution > scatter:
        return float(resolution), "the spacing of the heights read"
    return max(scatter, rounding), "the scatter of the points about a curve that never rises"


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
    mean = np.maximum(mean, 1e-3)
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
    tilt: float,
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
    weight = weight + _log_poisson(c, mean[:, None, None]) + tilt * d
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
    tilt: float,
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
    weight, value, censored, events = _weights(curve, grid, k, distinct, tilt)
    weight, value = weight.reshape(len(distinct), -1), value.reshape(len(distinct), -1)
    evidence = logsumexp(weight, axis=1)
    with np.errstate(invalid="ignore"):
        cumulative = np.cumsum(np.exp(weight - evidence[:, None]), axis=1)
    u = rng.uniform(size=which.size)
    pick = np.minimum((cumulative[which] < u[:, None]).sum(axis=1), weight.shape[1] - 1)
    c_pick, d_pick = np.divmod(pick, events.size)
    return censored[c_pick], events[d_pick], value[which, pick], evidence[which]


def _filter(
    curve: Curve, grid: _Grid, n: int, tilt: float, rng: np.random.Generator, particles: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One particle filter: events and censorings (particles, intervals), and weights."""
    # where no number at risk is printed any more, the rate of censoring is anybody's guess
    drift = np.exp(rng.uniform(np.log(0.02), np.log(5.0), particles)) / grid.end[-1]
    nobody = np.zeros(particles)
    state = np.column_stack([np.full(particles, n, float), np.ones(particles), drift, nobody])
    log_weight = np.zeros(particles)
    events = np.zeros((particles, grid.end.size), int)
    censored = np.zeros_like(events)
    for k in range(grid.end.size):
        c, d, value, evidence = _step(curve, grid, k, state, tilt, rng)
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


def _tilt(
    curve: Curve, grid: _Grid, n: int, total: int, rng: np.random.Generator, particles: int
) -> float:
    """Weight per event under which the filter's expected total is the printed one.

    Conditioning on a sum is, to first order, an exponential tilt of its terms; the few events by
    which a draw still misses are exchanged afterwards.
    """
    tilt, step, fitted = 0.0, 0.0, 0.0
    for _ in range(8):
        try:
            events, _, weight = _filter(curve, grid, n, tilt, rng, particles)
        except BadInput:
            if not step:
                raise  # without any tilt no patients fit
            step /= 2  # this tilt leads away from the curve: go half of the way
            tilt -= step
            continue
        fitted = tilt
        totals = events.sum(axis=1)
        mean = float(weight @ totals)
        spread = max(float(weight @ (totals - mean) ** 2), 1.0)
        if abs(mean - total) < 0.5:
            break
        # particles spread less than the curve's patients may: Newton's step is kept short
        step = float(np.clip((total - mean) / spread, -0.3, 0.3))
        tilt += step
    return fitted


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
    n, events, particles = table.patients, table.events, PARTICLES
    pilot, *streams = np.random.default_rng(seed).spawn(members + 1)
    tilt = 0.0
    if events is not None:
        tilt = _tilt(curve, _grid(curve, table), n, events, pilot, particles)
    result = []
    for rng in streams:
        seen = _reread(curve, rng)
        grid = _grid(seen, table)
        d, c, weight = _filter(seen, grid, n, tilt, rng, particles)
        if events is not None:
            # among particles whose weight is not lost to underflow
            distance = np.where(weight > 0, np.abs(d.sum(axis=1) - events), np.inf)
            weight = np.where(distance == distance.min(), weight, 0.0)
        chosen = rng.choice(particles, p=weight / weight.sum())
        pair = d[chosen], c[chosen]
        if events is not None:
            pair = _meet_total(grid, *pair, n, events, rng)
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


def telling_times(curve: Curve, number: int) -> np.ndarray:
    """Times along a curve, evenly over its length and its fall together; to tenths, distinct."""
    survival = _never_rising(curve)
    fall = max(survival[0] - survival[-1], FINEST)
    passed = curve.time / curve.time[-1] / 2 + (survival[0] - survival) / fall / 2
    wanted = (np.arange(number) + 0.5) / number * passed[-1]
    found = np.interp(wanted, passed, curve.time)
    return np.unique(np.round(found, 1).clip(max(0.1, curve.time[0]), curve.time[-1]))


def corridor(curve: Curve, times: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest survival that the points allow at times, but for their reading error.

    A time is as far off as half the distance between points, at least ``least``. Between points
    survival lies between both; a curve read as steps stays where it fell to last.
    """
    survival = _never_rising(curve)
    spacing = float(np.median(np.diff(curve.time))) / 2 if not curve.steps else 0.0
    off = max(least, spacing)
    before = np.searchsorted(curve.time, times - off, side="right") - 1
    if curve.steps:
        after = np.searchsorted(curve.time, times + off, side="right") - 1
    else:
        after = np.searchsorted(curve.time, times + off, side="left")
    last = curve.time.size - 1
    return survival[after.clip(0, last)], survival[before.clip(0, last)]


def _never_rising(curve: Curve) -> np.ndarray:
    return np.asarray(isotonic_regression(curve.survival, increasing=False).x)

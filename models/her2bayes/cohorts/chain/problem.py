"""A summary as the arrays of the compiled chain, the reference model, and where chains start.

The baseline hazard is one of three (``BASELINES``): a walk over equal intervals; one over intervals
that hold equally many expected deaths, so that they can change where patients leave; a parabola in
log time (a Weibull hazard, or one that rises and falls as the log-normal one does). Deaths are
expected as of exponential exits at the rate that printed medians suggest.

Priors of the reference model (those of the survival model where it has them): log hazard per month
N(-4, 1), baseline walk sigma half-N(0, 1), log hazard ratio of two levels N(0, 0.75), spread of
three or more levels half-N(0, 0.5), of interactions half-N(0, 0.25); log censoring rate per month
N(-3.5, 1) with its own walk; cells of patients Dirichlet(1, ..., 1). The columns of a parabola
have variance 1 over expected deaths, so that sigma is the spread of their log hazards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from her2bayes.cohorts.chain import statistics as kernel
from her2bayes.cohorts.chain.kernel import STEPS
from her2bayes.cohorts.chain.reference_model import Model
from her2bayes.cohorts.chain.state import Printed
from her2bayes.cohorts.chain.summary import PAIRED, Cells, Summary, Target
from her2bayes.errors import BadInput, Fault

TENTHS = 10.0  # of a month: the grid of recorded times
INTERVALS = 8
LOG_HAZARD = (-4.0, 1.0)
LOG_CENSORING = (-3.5, 1.0)
SMOOTHING_SD = 1.0
LOG_RATIO_SD = 0.75
SPREAD_SD = 0.5
INTERACTION_SD = 0.25
ALPHA = 1.0
EQUAL, DEATHS, LOG_TIME = "equal_intervals", "equal_deaths", "log_time"
BASELINES = {
    EQUAL: "a walk over equal intervals",
    DEATHS: "a walk over intervals with equally many expected deaths",
    LOG_TIME: "a parabola in log time",
}
LEAST_EXITS, EXITS = 0.5, 3.0  # mean exits by the longest follow-up: least, without any median
SHORTEST_STRETCH = 10.0  # month tenths
ON_TIME = 1e-6  # month tenths: an exit at a time itself has happened by then
RATIO_UNIT, LIMIT_UNIT = 0.08, 0.01  # log scale
MEDIAN_UNIT, RANGE_UNIT = 10.0, 1.0  # month tenths
SHARE_UNIT, PATIENTS_UNIT = 0.02, 2.0  # survival, patients at risk or censored


@dataclass(frozen=True)
class Problem:
    """Compiled inputs of one summary."""

    summary: Summary
    printed: Printed
    model: Model
    columns: tuple[str, ...]

    @property
    def theta_size(self) -> int:
        """Number of standardised parameters."""
        model = self.model
        terms = model.baseline.shape[1] + model.leaving.shape[1]
        return terms + 4 + model.block.size + model.scale_sd.size


def problem(
    summary: Summary,
    intervals: int = INTERVALS,
    cut_end: float | None = None,
    baseline: str = EQUAL,
) -> Problem:
    """Arrays of a summary; ``cut_end`` (months) ends the intervals of the hazards.

    Raises ``BadInput`` naming every analysis that compares too many groups.
    """
    many = [s for s in summary.statistics if len(s.levels) > kernel.GROUPS]
    if many:
        allowed, remedy = f"at most {kernel.GROUPS}", "leave the analysis out of the evidence"
        raise BadInput(
            [Fault("groups compared at once", value=s.estimand, allowed=allowed, remedy=remedy)
             for s in many]
        )  # fmt: skip
    end = cut_end or summary.last
    start = cuts(end, intervals, None if baseline == EQUAL else exit_rate(summary))
    model, columns, model_cell = reference(summary.cells, summary.model_factors, start, baseline)
    return Problem(summary, _printed(summary, model_cell), model, columns)


def exit_rate(summary: Summary) -> float:
    """Exits a month as printed medians of all patients suggest, times being exponential.

    The median of all times gives it at once; one of survival and one of reverse follow-up are
    added. Without any, ``EXITS`` by the longest follow-up.
    """
    medians = {
        statistic.kind: (target.low + target.high) / 2 / TENTHS
        for statistic in summary.statistics
        if not statistic.given
        for target in statistic.targets
        if target.scale == "months" and target.position == 0
    }
    if kernel.FOLLOW_UP in medians:
        rate = np.log(2) / medians[kernel.FOLLOW_UP]
    else:
        apart = (kernel.MEDIAN, kernel.FOLLOW_UP_REVERSE)
        rate = sum(np.log(2) / medians[kind] for kind in apart if kind in medians)
    return float(max(rate or EXITS / summary.last, LEAST_EXITS / summary.last))


def cuts(end: float, intervals: int, rate: float | None) -> np.ndarray:
    """Left ends of intervals in month tenths: equal ones, or of equally many exits at a rate."""
    share = np.arange(intervals) / intervals
    if rate is None:
        return np.arange(intervals) * end * TENTHS / intervals
    return -np.log1p(share * np.expm1(-rate * end)) / rate * TENTHS


def parabola(start: np.ndarray, end: float) -> np.ndarray:
    """Log time in the middle of each interval and its square (interval, 2), mean 0, variance 1."""
    middle = np.log((start + np.append(start[1:], end)) / 2)
    powers = np.stack([np.ones(start.size), middle, middle**2], axis=1)
    found = np.linalg.qr(powers)[0][:, 1:] * np.sqrt(start.size)
    return np.asarray(found * np.sign(found[-1]))


def reference(
    cells: Cells, factors: Sequence[str], start: np.ndarray, baseline: str = EQUAL
) -> tuple[Model, tuple[str, ...], np.ndarray]:
    """Reference model over the cells of some factors; names of its columns; cell of each cell.

    Main effects of all factors, interactions of all pairs; ``start`` of intervals in month tenths.
    """
    combos = cells.combinations
    values = [tuple(cells.value(c, f) for f in factors) for c in combos]
    distinct = list(dict.fromkeys(values))
    model_cell = np.array([distinct.index(v) for v in values])
    contrasts = {}
    for k, factor in enumerate(factors):
        levels = cells.levels(factor)
        basis = zero_sum(len(levels))
        contrasts[factor] = np.array([basis[levels.index(v[k])] for v in distinct])
    columns: list[np.ndarray] = []
    block: list[int] = []
    fixed: list[float] = []
    scales: list[float] = []
    names: list[str] = []
    for factor in factors:
        learned = contrasts[factor].shape[1] > 1
        for column in contrasts[factor].T:
            columns.append(column)
            block.append(len(scales) if learned else -1)
            fixed.append(LOG_RATIO_SD)
            names.append(factor)
        if learned:
            scales.append(SPREAD_SD)
    for one, other in combinations(factors, 2):
        for a in contrasts[one].T:
            for b in contrasts[other].T:
                columns.append(a * b)
                block.append(len(scales))
                fixed.append(0.0)
                names.append(f"{one} x {other}")
        scales.append(INTERACTION_SD)
    tenth = np.log(TENTHS)
    intervals, equal = start.size, baseline == EQUAL
    model = Model(
        start=start,
        width=float(start[1] if intervals > 1 else np.inf) if equal else 0.0,
        baseline=parabola(start, 2 * start[-1]) if baseline == LOG_TIME else walk(intervals),
        leaving=walk(intervals),
        columns=np.array(columns).T.reshape(len(distinct), -1).copy(),
        block=np.array(block, dtype=np.int64),
        fixed=np.array(fixed, dtype=float),
        scale_sd=np.array(scales, dtype=float),
        location=np.array(
            [LOG_HAZARD[0] - tenth, LOG_HAZARD[1], LOG_CENSORING[0] - tenth, LOG_CENSORING[1]]
        ),
        smoothing_sd=SMOOTHING_SD,
    )
    return model, tuple(names), model_cell


def zero_sum(size: int) -> np.ndarray:
    """Contrasts (level, contrast) that sum to zero: -1/2, 1/2 for two levels, else orthonormal."""
    if size == 2:
        return np.array([[-0.5], [0.5]])
    full = np.linalg.qr(np.column_stack([np.ones(size), np.eye(size)[:, : size - 1]]))[0]
    return full[:, 1:size]


def walk(intervals: int) -> np.ndarray:
    """Walk with increments N(0, delta / t_max) over equal intervals, averaging zero over them."""
    if intervals == 1:
        return np.zeros((1, 0))
    basis = np.tril(np.ones((intervals, intervals - 1)), -1) / np.sqrt(intervals)
    return basis - basis.mean(axis=0)


def _printed(summary: Summary, model_cell: np.ndarray) -> Printed:
    cells, statistics = summary.cells, summary.statistics
    count = max(len(statistics), 1)
    size = len(cells.combinations)
    low, high = np.full((2, count, kernel.VALUES), [[[-np.inf]], [[np.inf]]])
    width, at = np.ones((count, kernel.VALUES)), np.zeros((count, kernel.VALUES))
    values = np.zeros(count, np.int64)
    kind = np.zeros(count, np.int64)
    groups = np.ones(count, np.int64)
    group_of = np.full((count, size), -1, np.int64)
    near = np.zeros((count, kernel.GROUPS))
    reach = np.full((count, kernel.GROUPS), kernel.FAR)
    for t, statistic in enumerate(statistics):
        kind[t] = statistic.kind
        groups[t] = max(len(statistic.levels), 1)
        group_of[t] = statistic.groups(cells)
        for target in statistic.targets:
            low[t, target.position], high[t, target.position] = target.low, target.high
            width[t, target.position] = _unit(target)
            at[t, target.position] = TENTHS * (target.at or 0.0) + ON_TIME
            values[t] = max(values[t], target.position + 1)
        if statistic.kind == kernel.COX:
            near[t], reach[t] = _looked_for(low[t], high[t], groups[t])
    ranked = np.flatnonzero(kind < kernel.FIRST_OF_TIME)[: len(statistics)]
    test, test_group, tests = _tests_of_cells(ranked, group_of)
    facts = summary.facts
    fact = np.zeros((size, 2, len(facts)), np.int64)
    for f, item in enumerate(facts):
        fact[:, 1, f] = item.cells
        fact[:, 0, f] = 0 if item.event else item.cells
    moves = summary.table_moves
    pair = cells.pair or ("", "")
    names = list(cells.factors)
    printed = Printed(
        kind=kind if statistics else kind[:0],
        groups=groups,
        group_of=group_of,
        everyone=(group_of == 0).all(axis=1),
        low=low,
        high=high,
        width=width,
        at=at,
        values=values,
        near=near,
        reach=reach,
        test=test,
        test_group=test_group,
        tests=tests,
        ranked=ranked,
        fact=fact,
        fact_low=np.array([f.low for f in facts], np.int64),
        fact_high=np.array([f.high for f in facts], np.int64),
        count_key=_count_key(fact[:, :, [f.low == f.high for f in facts]]),
        ranges=np.array([k for k, f in enumerate(facts) if f.low < f.high], np.int64),
        label=cells.label.astype(np.int64),
        stride=cells.stride,
        levels=cells.label.max(axis=1).astype(np.int64) + 1,
        model_cell=model_cell.astype(np.int64),
        alike=np.unique(group_of[ranked], axis=1, return_inverse=True)[1].astype(np.int64),
        table_move=np.zeros((1, 1, 1), np.int64) if moves is None else moves.astype(np.int64),
        table_factor=np.array([names.index(p) if p else 0 for p in pair], np.int64),
        alpha=ALPHA,
        stretch=_stretches(summary),
        last=float(round(summary.last * TENTHS)),
        compared=1 << names.index(summary.compared) if summary.compared in names else 0,
        reheated=_reheated(summary),
        chance=np.zeros((2, STEPS)),
    )
    printed.chance[:] = _chances(summary, moves is not None and len(moves) > 0)
    return printed


def _count_key(fact: np.ndarray) -> np.ndarray:
    """Counts of a cell and event summed with random weights: as good as one vector of them."""
    weights = np.random.default_rng(0).integers(1, 2**40, fact.shape[-1])
    return np.asarray(fact @ weights)


def _reheated(summary: Summary) -> np.ndarray:
    """Factors whose labels are reheated, each as often as there are tests that ask for it.

    A test asks for the factors within whose levels it is made, or else for what it compares. None
    where all ask for what is compared first: exchanges of two patients move the labels of one
    factor freely where nothing crosses it.
    """
    names, found = list(summary.cells.factors), []
    for statistic in summary.statistics:
        asked = set(statistic.given)
        if PAIRED in {statistic.factor, *asked} and summary.cells.pair:
            asked |= {summary.cells.pair[0]}
        found += [name for name in asked or {statistic.factor} if name in names]
    if set(found) <= {summary.compared}:
        return np.zeros(0, np.int64)
    return np.array(sorted(names.index(name) for name in found), np.int64)


def _stretches(summary: Summary) -> np.ndarray:
    """Stretches of time in which no printed time lies (stretch, 2), month tenths."""
    cuts = [0.0, float(round(summary.last * TENTHS))]
    for statistic in summary.statistics:
        for target in statistic.targets:
            if target.scale == "months":
                cuts += [float(np.ceil(target.low)) - 1, float(np.floor(target.high))]
            elif target.at is not None:
                cuts.append(float(np.floor(TENTHS * target.at + ON_TIME)))
    edges = np.unique(np.clip(cuts, 0.0, cuts[1]))
    found = np.column_stack([edges[:-1], edges[1:]])
    wide = found[found[:, 1] - found[:, 0] >= SHORTEST_STRETCH]
    return wide if len(wide) else np.array([[0.0, cuts[1]]])


def _tests_of_cells(
    ranked: np.ndarray, group_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rank statistics that each cell is in, its groups there, their number."""
    inside = group_of[ranked] >= 0
    tests = inside.sum(axis=0)
    test = np.zeros((group_of.shape[1], max(int(tests.max(initial=0)), 1)), np.int64)
    group = np.zeros_like(test)
    for cell in range(group_of.shape[1]):
        chosen = ranked[inside[:, cell]]
        test[cell, : chosen.size] = chosen
        group[cell, : chosen.size] = group_of[chosen, cell]
    return test, group, tests.astype(np.int64)


def _unit(target: Target) -> float:
    """Units of distance: what moves slowly settles at softer places than what moves easily.

    So do errors, before their ratios, and the first and the last exit, each the time of one patient
    that a sweep hardly tries: left free, they make replicas remember their distance for long, and
    half as many find their way from the softest place to the target.
    """
    if target.scale == "exp":
        return LIMIT_UNIT if target.position % 4 else RATIO_UNIT
    if target.scale == "months":
        return RANGE_UNIT if target.position else MEDIAN_UNIT
    return {"share": SHARE_UNIT, "patients": PATIENTS_UNIT}.get(target.scale, 1.0)


def _looked_for(low: np.ndarray, high: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Middle of the cells of the log hazard ratios, and half their widths."""
    near, reach = np.zeros(kernel.GROUPS), np.full(kernel.GROUPS, kernel.FAR)
    for a in range(groups - 1):
        first, last = low[4 * a], high[4 * a]
        if not np.isfinite(first) or not np.isfinite(last):
            return np.zeros(kernel.GROUPS), np.full(kernel.GROUPS, kernel.FAR)
        near[a] = (first + last) / 2
        reach[a] = (last - first) / 2 + 1e-6
    return near, reach


def _chances(summary: Summary, has_table_moves: bool) -> np.ndarray:
    """Share of each move at soft and at firm places, in the order of ``summary_kernel``.

    Labels and events of single patients change where no count forbids it. At firm places, where a
    Cox fit is printed, its screen makes tries cheap, and times move and deaths are exchanged most;
    elsewhere times move most. Measured: how soon the distance of a replica is another one, squared
    change of the sum of times of deaths a second, and effective draws a second. Exchanges in two
    pairs are many because few of them find patients whose counts make up for each other.
    """
    tied = sum(f.low == f.high for f in summary.facts) > 2 * len(summary.cells.factors)
    one = 0.005 if tied else 0.15
    table = 0.02 * has_table_moves
    four = 0.06 * (len(_crossed(summary)) > 2)
    soft = [0.25, 0.28, 0.03, 0.05, one, table, 0.012, 0.07, 0.25, 2 * four]
    firm = [0.2, 0.1, 0.05, 0.12, one, table, 0.12, 0.15, 0.1, four]
    if any(s.kind == kernel.COX for s in summary.statistics):
        firm = [0.27, 0.17, 0.02, 0.05, one, table, 0.005, 0.12, 0.27, 1.5 * four]
    weight = np.array([soft, firm])
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _crossed(summary: Summary) -> set[tuple[int, ...]]:
    """Factors that one printed count crosses, of any count; deaths are a factor, the last.

    Three that go round in a circle are what exchanges of two patients cannot change together.
    """
    sizes = [len(levels) for levels in summary.cells.factors.values()]
    found = set()
    for fact in summary.facts:
        table = np.asarray(fact.cells).reshape(sizes)
        axes = [a for a in range(len(sizes)) if np.ptp(table, axis=a).any()]
        found.add((*axes, len(sizes)) if fact.event else tuple(axes))
    return {axes for axes in found if len(axes) > 1}


def counts_of_facts(summary: Summary, rng: np.random.Generator) -> np.ndarray | None:
    """Patients by (cell, event) that meet all printed counts, in a random direction, or None."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    size = 2 * len(summary.cells.combinations)
    rows = [np.ones(size)]
    low, high = [summary.patients], [summary.patients]
    for fact in summary.facts:
        both = np.stack([np.zeros_like(fact.cells) if fact.event else fact.cells, fact.cells], 1)
        rows.append(both.ravel().astype(float))
        low.append(fact.low)
        high.append(fact.high)
    result = milp(
        rng.exponential(size=size),
        constraints=LinearConstraint(np.array(rows), low, high),
        integrality=np.ones(size, dtype=np.int64),
        bounds=Bounds(0, np.inf),
    )
    return None if result.x is None else np.rint(result.x).astype(np.int64).reshape(-1, 2)

"""Contracts of survival from follow-up rows, in one pass: SurvivalCells, TimeCounts, ExitCounts.

SurvivalCells are events and person-months by group and interval. Each row falls in one *class*:
group, interval of entry, interval of exit, kind of exit. A class needs only its size and the time
spent in its first and last interval; the intervals between are spent whole. So one GROUP BY gives
the cells, whatever the number of intervals (Holford 1980, Laird & Olivier 1981: these cells are
sufficient for the piecewise-exponential model). Intervals are closed on the right and a row is at
risk after its entry: (entry, time] meets (start, end].

TimeCounts hold the distinct times as they are, which is all that Kaplan–Meier, log-rank and Cox
with categorical covariates read. ExitCounts have the same columns and serve the patient-level
predictive density. With few distinct times they are the TimeCounts; with many, the patients of one
class stand at a few nodes inside the interval, with fractional numbers: ``patients`` at node k is
the sum over patients of the Lagrange polynomial L_k(x), so that the sum of any smooth function over
patients is the sum over nodes of its value there (exact for cubics). Delayed entry needs nodes on a
second axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import BadInput, Fault
from her2bayes.evidence.patients.follow_up import FollowUp
from her2bayes.evidence.patients.follow_up_checks import collect

DEFAULT_INTERVALS = 40
MOST_CELLS = 1_000_000
SCHEMES = ("quantile", "equal")


def cut_points(
    follow_up: FollowUp,
    scheme: str | Sequence[float] = "quantile",
    intervals: int = DEFAULT_INTERVALS,
    reach: float = 0.0,
    since: float = np.inf,
) -> np.ndarray:
    """Cut points in months, from the first entry to the longest follow-up (``reach``, if later).

    Without delayed entry they begin at 0. Nobody could be observed to have an event before the
    first entry: of the hazard there the data say nothing, so that all that follows from the cells
    is conditional on no event by then. ``since`` lets them begin earlier, where other data do.

    ``quantile`` puts equally many events in each interval (equal widths where there are no
    events), ``equal`` makes them equally wide, a list of times gives the inner cuts as they are.
    Ties can make fewer intervals than asked for. Raises ``BadInput``.
    """
    last, first = max(follow_up.last_time, reach), min(first_entry(follow_up), since)
    if not isinstance(scheme, str):
        return _given_cuts(scheme, first, last)
    if scheme not in SCHEMES or intervals < 1:
        raise BadInput(
            Fault(
                "cuts cannot be made",
                value=f"{scheme}, {intervals} intervals",
                allowed=f"{', '.join(SCHEMES)} with at least 1 interval, or a list of months",
            )
        )
    fractions = np.arange(1, intervals) / intervals
    if scheme == "quantile" and follow_up.events:
        rows = follow_up.table
        inner = _quantiles(rows.filter(rows.event == 1), fractions)
    else:
        inner = first + (follow_up.last_time - first) * fractions
    # round, so that a cut is the same number in every engine and easy to read
    digits = 5 - int(np.floor(np.log10(last)))
    inner = np.unique(np.round(inner, digits))
    beyond = [follow_up.last_time] if reach > follow_up.last_time else []
    inner = inner[(inner > first) & (inner < follow_up.last_time)]
    return np.concatenate([[first], inner, beyond, [last]])


def first_entry(follow_up: FollowUp) -> float:
    """Months at which the first patient is under observation; 0 without delayed entry."""
    if not follow_up.has_entry:
        return 0.0
    rows = follow_up.table
    return float(collect(rows.aggregate(first=rows.entry.min()))["first"].iloc[0])


def _quantiles(events: ir.Table, fractions: np.ndarray) -> np.ndarray:
    if not len(fractions):
        return np.zeros(0)
    found = collect(events.aggregate(found=events.time.quantile([float(f) for f in fractions])))
    return np.asarray(found["found"].iloc[0], float)


def _given_cuts(given: Sequence[float], first: float, last: float) -> np.ndarray:
    cuts = np.asarray(list(given), float)
    bad = ~np.isfinite(cuts) | (cuts < 0)
    if bad.any() or not len(cuts):
        raise BadInput(
            Fault("cut points must be months above 0", value=[float(c) for c in cuts[bad]])
        )
    inner = np.unique(cuts[cuts > first])
    return np.concatenate([[first], inner, [last] if not len(inner) or last > inner[-1] else []])


def survival_cells(
    follow_up: FollowUp,
    cuts: Sequence[float] | np.ndarray,
    nested: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """SurvivalCells: ``events`` int64 and ``person_months`` float64 over (groups…, interval).

    ``events`` has a leading dim ``cause`` where the follow-up names causes. ``nested`` maps a
    factor to the factor it refines (``{"site": "relapse_type"}``): the coarser one becomes a
    coordinate of the finer. Also ``rows`` (patients by group) and ``last_time`` (months by group).
    """
    edges = np.asarray(cuts, float)
    if follow_up.last_time > edges[-1]:
        raise BadInput(
            Fault(
                "the last cut lies before the longest follow-up",
                value=float(edges[-1]),
                allowed=f"at least {follow_up.last_time:g} months",
            )
        )
    nested = dict(nested or {})
    _check_size(follow_up, len(edges) - 1, nested)
    sums = class_sums(follow_up, edges)
    parents = {child: _parents(sums, child, parent) for child, parent in nested.items()}
    dims = [name for name in follow_up.factors if name not in set(nested.values())]
    cells = _cells(sums, follow_up, dims, edges)
    for child, parent in nested.items():
        levels = [parents[child].get(level, "") for level in follow_up.factors[child]]
        cells = cells.assign_coords({parent: (child, levels)})
    cells.attrs = {
        "endpoint": follow_up.endpoint,
        "time_unit": "months",
        "patients": follow_up.patients,
        "delayed_entry": int(follow_up.has_entry),
    }
    return cells


def class_sums(
    follow_up: FollowUp,
    cuts: np.ndarray,
    extra: Mapping[str, ir.Value] | None = None,
) -> pd.DataFrame:
    """Rows by class: group, entry and exit interval (from 0), event, cause.

    What lies before the first cut is left out: who is gone by then, and the months until then.

    Columns ``rows``, ``exit_months`` (spent in the exit interval), ``entry_months`` (spent in the
    entry interval, where that is an earlier one), ``last_time``.
    """
    table = follow_up.table
    if cuts[0] > 0:
        table = table.filter(table.time > float(cuts[0]))
        table = table.mutate(entry=ibis.greatest(table.entry, ibis.literal(float(cuts[0]))))
    rows = place(table, cuts)
    same = rows.entry_interval == rows.exit_interval
    keys = [*follow_up.factors, "entry_interval", "exit_interval", "event", "cause"]
    measures = {
        "rows": rows.count(),
        "exit_months": (rows.time - ibis.greatest(rows.entry, rows.exit_start)).sum(),
        "entry_months": same.ifelse(0.0, rows.entry_end - rows.entry).sum(),
        "last_time": rows.time.max(),
    }
    return collect(rows.group_by(keys).aggregate(**measures).order_by(keys))


def place(table: ir.Table, cuts: np.ndarray) -> ir.Table:
    """Add the intervals of entry and exit of each row and their bounds, in months."""
    index = np.arange(len(cuts) - 1)
    columns = {}
    for role, column, closed in (("exit", table.time, True), ("entry", table.entry, False)):
        columns[f"{role}_interval"] = _step(column, cuts, index, closed)
        columns[f"{role}_start"] = _step(column, cuts, cuts[:-1], closed)
        columns[f"{role}_end"] = _step(column, cuts, cuts[1:], closed)
    return table.mutate(**columns)


def _step(column: ir.Value, cuts: np.ndarray, values: np.ndarray, closed: bool) -> ir.Value:
    """Value of the interval a time lies in, by nested halving; ``closed`` on the right or left."""
    if len(values) == 1:
        kind = "int64" if values.dtype.kind == "i" else "float64"
        return ibis.literal(values[0].item(), kind).cast(kind)  # a bare 12.5 is a DECIMAL in SQL
    half = len(values) // 2
    cut = ibis.literal(float(cuts[half]), "float64").cast("float64")
    above = column > cut if closed else column >= cut
    return above.ifelse(
        _step(column, cuts[half:], values[half:], closed),
        _step(column, cuts[: half + 1], values[:half], closed),
    )


def _check_size(follow_up: FollowUp, intervals: int, nested: Mapping[str, str]) -> None:
    parents = set(nested.values())
    known = set(follow_up.factors)
    unknown = (set(nested) | parents) - known
    if unknown:
        raise BadInput(
            Fault("nesting names no factor", value=sorted(unknown), allowed=", ".join(known))
        )
    size = intervals
    for name, levels in follow_up.factors.items():
        size *= 1 if name in parents else len(levels)
    if size > MOST_CELLS:
        raise BadInput(
            Fault(
                f"the factors and intervals make {size} cells",
                allowed=f"at most {MOST_CELLS}",
                remedy="fewer factors, fewer levels, or declare which factor is nested in another",
            )
        )


def _parents(sums: pd.DataFrame, child: str, parent: str) -> dict[str, str]:
    pairs = sums[[child, parent]].drop_duplicates()
    twice = pairs[pairs[child].duplicated()]
    if len(twice):
        level = twice[child].iloc[0]
        raise BadInput(
            Fault(
                f"'{child}' is not nested in '{parent}': level '{level}' lies in several",
                value=sorted(pairs.loc[pairs[child] == level, parent]),
                remedy="leave the nesting out, the factors are crossed",
            )
        )
    return dict(zip(pairs[child], pairs[parent], strict=True))


def _cells(
    sums: pd.DataFrame, follow_up: FollowUp, dims: list[str], edges: np.ndarray
) -> xr.Dataset:
    shape = tuple(len(follow_up.factors[name]) for name in dims)
    places = [pd.Index(follow_up.factors[name]).get_indexer(pd.Index(sums[name])) for name in dims]
    where = np.ravel_multi_index(places, shape) if dims else np.zeros(len(sums), int)
    groups, intervals = int(np.prod(shape)), len(edges) - 1
    first, last = sums["entry_interval"].to_numpy(), sums["exit_interval"].to_numpy()
    person_months = np.zeros((groups, intervals))
    np.add.at(person_months, (where, last), sums["exit_months"].to_numpy())
    np.add.at(person_months, (where, first), sums["entry_months"].to_numpy())
    whole = np.zeros((groups, intervals + 1), np.int64)  # rows that start, less that stop, a whole
    between = (last > first).astype(np.int64) * sums["rows"].to_numpy()
    np.add.at(whole, (where, np.minimum(first + 1, intervals)), between)
    np.add.at(whole, (where, last), -between)
    person_months += whole.cumsum(axis=1)[:, :-1] * np.diff(edges)

    causes = follow_up.causes or ("",)
    events = np.zeros((len(causes), groups, intervals), np.int64)
    happened = sums["event"].to_numpy() == 1
    which = pd.Index(causes).get_indexer(pd.Index(sums["cause"])) if follow_up.causes else 0
    which = np.broadcast_to(which, len(sums))[happened]
    np.add.at(events, (which, where[happened], last[happened]), sums["rows"].to_numpy()[happened])
    rows, longest = np.zeros(groups, np.int64), np.zeros(groups)
    np.add.at(rows, where, sums["rows"].to_numpy())
    np.maximum.at(longest, where, sums["last_time"].to_numpy())

    coords = {name: list(follow_up.factors[name]) for name in dims}
    full = (*shape, intervals)
    lead = ["cause"] if follow_up.causes else []
    stacked = events.reshape(len(causes), *full) if lead else events[0].reshape(full)
    return xr.Dataset(
        {
            "events": ([*lead, *dims, "interval"], stacked),
            "person_months": ([*dims, "interval"], person_months.reshape(full)),
            "rows": (dims, rows.reshape(shape)),
            "last_time": (dims, longest.reshape(shape)),
        },
        coords=coords
        | ({"cause": list(causes)} if lead else {})
        | {
            "interval": np.arange(intervals),
            "interval_start": ("interval", edges[:-1]),
            "interval_end": ("interval", edges[1:]),
        },
    )


# more rows than this are put on a grid of times (TimeCounts) or on nodes (ExitCounts)
MOST_ROWS = 200_000
MOST_EXITS = 4_000
GRID_MONTHS = 0.01
TIE_TOLERANCE = 1.490116119384766e-08  # R's timefix: sqrt(.Machine$double.eps)
# Chebyshev points of the first kind on (0, 1)
NODES = tuple((1 - np.cos((2 * k + 1) * np.pi / 8)) / 2 for k in range(4))


def time_counts(follow_up: FollowUp, grid: float | None = None) -> pd.DataFrame:
    """TimeCounts: factors, ``entry``, ``time`` (months), ``event``, ``cause``, ``patients``.

    Times that differ by rounding error of the machine only are one time, as in R (timefix). Above
    200,000 rows times are rounded up, and entries down, to ``grid`` (0.01 months); the grid used
    is in ``attrs["grid"]``, 0 where times are exact. With several rows a patient the numbers
    count rows, in (entry, time] form.
    """
    table = follow_up.table
    if grid is None:
        grid = GRID_MONTHS if follow_up.rows > MOST_ROWS else 0.0
    if grid:
        table = table.mutate(
            time=(table.time / grid).ceil() * grid, entry=(table.entry / grid).floor() * grid
        )
    keys = [*follow_up.factors, "entry", "time", "event", "cause"]
    counted = collect(table.group_by(keys).aggregate(patients=table.count()))
    counted[["entry", "time"]] = _merge_ties(counted[["entry", "time"]].to_numpy())
    counted = counted.groupby(keys, as_index=False, sort=True).agg({"patients": "sum"})
    for name, levels in follow_up.factors.items():
        counted[name] = pd.Categorical(counted[name], categories=list(levels))
    counted = counted.sort_values(keys, ignore_index=True)
    counted.attrs = {"grid": grid, "factors": list(follow_up.factors), "unit": "months"}
    return counted


def _merge_ties(times: np.ndarray) -> np.ndarray:
    """Merge times within R's tolerance (``survival::aeqSurv``): each becomes the smallest."""
    distinct = np.unique(times)
    step = np.diff(distinct)
    scale = max(float(np.mean(np.abs(distinct))), np.finfo(float).tiny)
    tied = (step <= TIE_TOLERANCE) | (step / scale <= TIE_TOLERANCE)
    if not tied.any():
        return times
    kept = distinct[np.concatenate([[True], ~tied])]
    return kept[np.searchsorted(kept, times, side="right") - 1]


def exit_counts(
    follow_up: FollowUp, cuts: Sequence[float] | np.ndarray, most: int = MOST_EXITS
) -> pd.DataFrame:
    """ExitCounts: factors, ``entry``, ``time``, ``event``, ``cause``, ``patients``.

    With a patient column, rows of one patient share ``history``, and ``patients`` counts the
    patients of that history. ``cuts`` should hold the cuts of every model to be compared.
    ``attrs["exact"]`` says whether the times are the patients' own.
    """
    if follow_up.has_patient:
        return _histories(follow_up)
    if follow_up.rows <= most:
        exact = time_counts(follow_up, grid=0.0)
        exact.attrs["exact"] = True
        return exact
    rows = place(follow_up.table, np.asarray(cuts, float))
    exits = _at_nodes(rows, "time", "exit_start", "exit_end")
    entries = _at_nodes(rows, "entry", "entry_start", "entry_end") if follow_up.has_entry else {}
    keys = [*follow_up.factors, "entry_interval", "exit_interval", "event", "cause"]
    pairs = {
        (j, k): (weight * entries[j] if entries else weight).sum()
        for j in (entries or (0,))
        for k, weight in exits.items()
    }
    named = {f"node_{j}_{k}": value for (j, k), value in pairs.items()}
    classes = collect(rows.group_by(keys).aggregate(**named))
    edges = np.asarray(cuts, float)
    parts = []
    for j, k in pairs:
        part = classes[[*keys]].assign(patients=classes[f"node_{j}_{k}"])
        first, last = part["entry_interval"], part["exit_interval"]
        part["entry"] = _node_time(edges, first, j) if entries else 0.0
        part["time"] = _node_time(edges, last, k)
        parts.append(part.drop(columns=["entry_interval", "exit_interval"]))
    nodes = pd.concat(parts, ignore_index=True)
    nodes.attrs = {"exact": False, "factors": list(follow_up.factors), "unit": "months"}
    return nodes


def _node_time(edges: np.ndarray, interval: pd.Series, node: int) -> np.ndarray:
    index = interval.to_numpy()
    return edges[index] + np.diff(edges)[index] * NODES[node]


def _at_nodes(rows: ir.Table, column: str, start: str, end: str) -> dict[int, ir.Value]:
    """Lagrange polynomials of the place of a time within its interval, one a node."""
    place_ = (rows[column] - rows[start]) / (rows[end] - rows[start])
    weights: dict[int, ir.Value] = {}
    for k, node in enumerate(NODES):
        weight: ir.Value = ibis.literal(1.0)
        for other in (*NODES[:k], *NODES[k + 1 :]):
            weight = weight * ((place_ - float(other)) / float(node - other))
        weights[k] = weight
    return weights


def _histories(follow_up: FollowUp) -> pd.DataFrame:
    """Rows of each patient under a history number that is not the patient's identifier."""
    columns = ["patient", *follow_up.factors, "entry", "time", "event", "cause"]
    table = collect(follow_up.table.select(*columns))
    table["history"] = pd.factorize(table["patient"])[0]
    rows = table.drop(columns="patient").sort_values(["history", "entry"], ignore_index=True)
    rows["patients"] = 1
    rows.attrs = {"exact": True, "factors": list(follow_up.factors), "unit": "months"}
    return rows


def at_risk(counts: pd.DataFrame, times: Sequence[float] | np.ndarray) -> np.ndarray:
    """Patients at risk at each time: entered before it and not gone before it (shape of times)."""
    points = np.asarray(times, float)
    number = counts["patients"].to_numpy()
    entered = _cumulative(counts["entry"].to_numpy(), number, points, "left")
    # without delayed entry everyone is counted at time 0
    entered = np.where(points <= 0, number[counts["entry"].to_numpy() <= 0].sum(), entered)
    return entered - _cumulative(counts["time"].to_numpy(), number, points, "left")


def _cumulative(times: np.ndarray, number: np.ndarray, points: np.ndarray, side: str) -> np.ndarray:
    order = np.argsort(times, kind="stable")
    total = np.concatenate([[0], np.cumsum(number[order])])
    return total[np.searchsorted(times[order], points, side=side)]  # type: ignore[call-overload]


def horizon(counts: pd.DataFrame, by: Sequence[str] = (), at_least: int = 5) -> float:
    """Longest time in months at which every group still has ``at_least`` patients at risk.

    Groups that never have that many are asked for one patient, so that a horizon always exists.
    """
    groups = [part for _, part in counts.groupby(list(by), observed=True)] if by else [counts]
    longest = []
    for group in groups:
        times = np.unique(group["time"].to_numpy())
        number = at_risk(group, times)
        enough = times[number >= at_least]
        longest.append(enough.max() if len(enough) else times.max())
    return float(min(longest))

"""SurvivalCells from follow-up rows in one pass: events and person-months by group and interval.

Each row falls in one *class*: group, interval of entry, interval of exit, kind of exit. A class
needs only its size and the time spent in its first and last interval; the intervals between are
spent whole. So one GROUP BY gives the cells, whatever the number of intervals (Holford 1980,
Laird & Olivier 1981: these cells are sufficient for the piecewise-exponential model). Intervals
are closed on the right and a row is at risk after its entry: (entry, time] meets (start, end].
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

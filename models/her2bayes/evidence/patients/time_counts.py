"""TimeCounts and ExitCounts: patients by group, entry, time and kind of exit.

TimeCounts hold the distinct times as they are, which is all that Kaplan–Meier, log-rank and Cox
with categorical covariates read. ExitCounts have the same columns and serve the patient-level
predictive density. With few distinct times they are the TimeCounts; with many, the patients of one
class (group, entry interval, exit interval, event) stand at a few nodes inside the interval, with
fractional numbers: ``patients`` at node k is the sum over patients of the Lagrange polynomial
L_k(x), so that the sum of any smooth function over patients is the sum over nodes of its value
there (exact for cubics). Delayed entry needs nodes on a second axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from her2bayes.evidence.patients.follow_up import FollowUp
from her2bayes.evidence.patients.follow_up_checks import collect
from her2bayes.evidence.patients.survival_cells import place

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

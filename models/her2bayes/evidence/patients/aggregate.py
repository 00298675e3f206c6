"""Patients to counts in one pass: one Ibis expression, DuckDB by default.

Spark or a warehouse takes over when the caller hands in a table of that connection. After this
step the number of patients no longer matters: ten million rows leave a few dozen counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import xarray as xr

from her2bayes.errors import BadInput, Fault
from her2bayes.evidence.patients.classify import CATEGORIES, UNKNOWN, reading_classes
from her2bayes.evidence.patients.cohort import Cohort
from her2bayes.evidence.patients.maps import nearest

ENDS = ("primary_reading", "recurrence_reading")
ALL = "all"


def transition_counts(
    source: Cohort | pd.DataFrame | Path | str | Any,
    by: Sequence[str] = (),
    *,
    categories: Sequence[str] | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
) -> xr.Dataset:
    """Count pairs by stratum, primary reading and recurrence reading.

    ``source`` is a cohort, or rows (data frame, Parquet file or Ibis table) with the columns
    ``primary_reading``, ``recurrence_reading`` and the factors ``by`` (crossed where several).

    Returns ``counts`` (stratum, primary_reading, recurrence_reading), int64, and ``incidence``
    (reading, her2), bool: which classes a reading may be. Each factor of ``by`` is a coordinate on
    ``stratum``. Attribute ``pairs`` counts all pairs, ``level_not_known`` those left out because a
    factor is not known; rows without both tissues are not pairs.

    Raises ``BadInput`` for an unknown column or a reading that is no set of the categories.
    """
    categories, levels = _known(source, categories, levels)
    cells = _cells(source, [*by, *ENDS], pairs=True)
    total = int(cells["count"].sum())
    cells = cells[(cells[list(by)] != "").all(axis=1)]
    readings = _readings(cells, categories)
    strata = _strata(cells, by, levels)
    counts = np.zeros((len(strata), len(readings), len(readings)), dtype=np.int64)
    index = {reading: k for k, reading in enumerate(readings)}
    place = {tuple(row): k for k, row in enumerate(strata)}
    for row in cells.to_dict("records"):
        at = place[tuple(row[factor] for factor in by)]
        counts[at, index[row[ENDS[0]]], index[row[ENDS[1]]]] += row["count"]
    return _dataset(counts, readings, strata, by, categories, total)


def _dataset(
    counts: np.ndarray,
    readings: list[str],
    strata: list[tuple[str, ...]],
    by: Sequence[str],
    categories: Sequence[str],
    total: int,
) -> xr.Dataset:
    incidence = [[c in reading_classes(r, tuple(categories)) for c in categories] for r in readings]
    coords: dict[str, Any] = {
        "stratum": [stratum_name(by, row) for row in strata],
        "primary_reading": readings,
        "recurrence_reading": readings,
        "reading": readings,
        "her2": list(categories),
    }
    for k, factor in enumerate(by):
        coords[factor] = ("stratum", [row[k] for row in strata])
    return xr.Dataset(
        {
            "counts": (("stratum", *ENDS), counts),
            "incidence": (("reading", "her2"), np.array(incidence, dtype=bool)),
        },
        coords=coords,
        attrs={
            "pairs": total,
            "level_not_known": total - int(counts.sum()),
            "factors": list(by),
        },
    )


def stratum_name(by: Sequence[str], levels: Sequence[str]) -> str:
    """Name of a stratum as conditions of an estimand: ``hr_status=positive, site=liver``."""
    return ", ".join(f"{f}={level}" for f, level in zip(by, levels, strict=True)) or ALL


def status_counts(
    source: Cohort | pd.DataFrame | Path | str | Any,
    factor: str = "",
    *,
    end: str = "recurrence",
    categories: Sequence[str] | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
) -> xr.DataArray:
    """Count patients by level of one factor and HER2 class at one end (primary or recurrence).

    Only readings of a single class are counted: attribute ``set_aside`` holds the number left out
    because the reading is a set of classes, ``level_not_known`` because the factor is not known.
    Sets are not missing at random between the classes (a negative verdict without a score never is
    positive), so a share of set-aside readings that is not small biases the shares; the transition
    model takes them in instead.

    Returns int64 (subgroup, her2) with the coordinates ``factor``, ``level``, ``parent``.
    """
    categories, known = _known(source, categories, levels)
    reading = f"{end}_reading"
    by = [factor] if factor else []
    cells = _cells(source, [*by, reading], pairs=False)
    _readings(cells, categories, (reading,))
    sampled = cells[cells[reading] != ""]
    named = sampled[(sampled[by] != "").all(axis=1)]
    single = named[named[reading].isin(list(categories))]
    names = [row[0] for row in _strata(named, by, known)] if factor else [ALL]
    counts = np.zeros((len(names), len(categories)), dtype=np.int64)
    for row in single.to_dict("records"):
        at = names.index(row[factor]) if factor else 0
        counts[at, list(categories).index(row[reading])] += row["count"]
    return xr.DataArray(
        counts,
        dims=("subgroup", "her2"),
        coords={
            "subgroup": names,
            "her2": list(categories),
            "factor": ("subgroup", [factor] * len(names)),
            "level": ("subgroup", names if factor else [""]),
            "parent": ("subgroup", [""] * len(names)),
        },
        name="status_counts",
        attrs={
            "set_aside": int(named["count"].sum() - single["count"].sum()),
            "level_not_known": int(sampled["count"].sum() - named["count"].sum()),
        },
    )


def _known(
    source: Any, categories: Sequence[str] | None, levels: Mapping[str, Sequence[str]] | None
) -> tuple[tuple[str, ...], Mapping[str, Sequence[str]]]:
    if isinstance(source, Cohort):
        return tuple(categories or source.categories), levels or source.factors
    return tuple(categories or CATEGORIES), levels or {}


def _cells(source: Any, columns: list[str], *, pairs: bool) -> pd.DataFrame:
    """Rows counted by the columns: the one pass. Text, missing as empty, and ``count``."""
    import ibis

    table = _table(source)
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise BadInput(
            [
                Fault(
                    f"no column '{name}' among the patients",
                    allowed=", ".join(table.columns),
                    remedy=f"did you mean '{close}'?"
                    if (close := nearest(name, table.columns))
                    else None,
                )
                for name in missing
            ]
        )
    if pairs:
        both = [table[name].fill_null("") != "" for name in ENDS]
        table = table.filter(table["pair"] if "pair" in table.columns else ibis.and_(*both))
    texts = {name: table[name].cast("string").fill_null("") for name in columns}
    counted = table.select(**texts).group_by(columns).aggregate(count=ibis._.count())
    return pd.DataFrame(_rows(counted.order_by(columns), source), columns=[*columns, "count"])


def _rows(expression: Any, source: Any) -> list[dict[str, Any]]:
    """Run the expression where its table lives; ours live in a DuckDB that ends with the query.

    A connection left to the end of the process is reported as a leak by DuckDB's own bindings.
    """
    import ibis

    found: list[dict[str, Any]]
    if not isinstance(source, Cohort | pd.DataFrame | str | Path):
        found = expression.to_pyarrow().to_pylist()
        return found
    connection = ibis.duckdb.connect()
    try:
        found = connection.to_pyarrow(expression).to_pylist()
    finally:
        connection.disconnect()
    return found


def _table(source: Any) -> Any:
    import ibis

    if isinstance(source, Cohort):
        source = source.patients
    if isinstance(source, pd.DataFrame):
        return ibis.memtable(pa.Table.from_pandas(source, preserve_index=False))
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.exists():
            raise BadInput(Fault("file does not exist", file=path, remedy="correct the path"))
        return ibis.memtable(pyarrow.dataset.dataset(path))  # streamed, never loaded whole
    return source


def _readings(
    cells: pd.DataFrame, categories: Sequence[str], ends: Sequence[str] = ENDS
) -> list[str]:
    """Readings in order: single classes, then sets as they occur, ``unknown`` last."""
    found = {reading for end in ends for reading in cells[end].unique()} - {""}
    known = set(categories) | {UNKNOWN}
    wrong = [r for r in sorted(found - known) if not set(r.split("/")) <= set(categories)]
    if wrong:
        raise BadInput(
            [
                Fault("not a set of HER2 classes", value=reading, allowed="/".join(categories))
                for reading in wrong
            ]
        )
    sets = sorted(
        found - known, key=lambda r: [list(categories).index(part) for part in r.split("/")]
    )
    return [*categories, *sets, *([UNKNOWN] if UNKNOWN in found else [])]


def _strata(
    cells: pd.DataFrame, by: Sequence[str], levels: Mapping[str, Sequence[str]]
) -> list[tuple[str, ...]]:
    """Combinations of levels that occur, in the order of the levels."""
    if not by:
        return [()]

    def order(row: tuple[str, ...]) -> list[tuple[int, str]]:
        ranks = [list(levels.get(factor, ())) for factor in by]
        return [
            (known.index(level) if level in known else len(known), level)
            for known, level in zip(ranks, row, strict=True)
        ]

    return sorted(set(cells[list(by)].itertuples(index=False, name=None)), key=order)

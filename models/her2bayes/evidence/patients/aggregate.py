"""Patients to counts in one pass: one Ibis expression, DuckDB by default.

Spark or a warehouse takes over when the caller hands in a table of that connection. After this
step the number of patients no longer matters: ten million rows leave a few dozen counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import BadInput, Fault, nearest, raise_if
from her2bayes.evidence.classify import UNKNOWN, is_missing, reading_classes, reading_name
from her2bayes.evidence.patients.cohort import ENDS, Cohort
from her2bayes.evidence.patients.follow_up import factor_name, known_text
from her2bayes.evidence.patients.follow_up_checks import LINE, collect, in_order
from her2bayes.evidence.patients.patients import Patients, of_cohort, read_patients

ALL = "all"
MOST_LEVELS = 5000
By = str | Sequence[str] | Mapping[str, Sequence[str] | None]
_READ = "reading that is counted"
_VALUE = "value_"
_DIMS = ("her2", "reading", "subgroup", "stratum")


def status_counts(
    source: Any,
    by: By = (),
    classes: Sequence[str] | None = None,
    *,
    her2: str = "",
) -> xr.Dataset:
    """StatusCounts: patients by crossed factors and HER2 reading, counted in one pass.

    ``source`` is what ``read_patients`` takes. ``by`` names the factors, as a mapping with their
    levels in order (rows with other levels are counted and left out; None: as they occur).
    ``classes`` are the HER2 classes, where they are not those of ``source``; ``her2`` is the column
    of readings or the tumour, "primary" or "recurrence", needed where there is more than one.

    Returns ``counts`` (subgroup, reading) int64 and ``incidence`` (reading, her2) bool, which says
    the classes that a reading leaves open: a single class, ``zero/low``, ``unknown`` (all). Each
    factor is a coordinate on ``subgroup``, which holds the combinations that occur. Attributes:
    ``patients`` counted, ``factors``, their ``levels`` in order, and ``level_not_known``,
    ``level_not_asked`` and ``no_tissue`` for patients that are left out. A missing reading of a
    file is ``unknown``; of a mapped cohort an unknown reading is that of tissue, and patients
    without tissue of this tumour are left out.

    Raises ``BadInput`` for unknown columns, levels and readings, all together.
    """
    patients = _patients(source)
    column = _which(patients, her2)
    known = tuple(classes or patients.classes)
    factors = _factors(by)
    _check_columns(patients, [*factors, column])
    cells = rows_by(patients, {**_short(factors), _READ: column})
    of_file = patients.cohort is None
    cells, no_tissue = _readings(cells, patients, {_READ: column}, known, of_file)
    grid = _grid(cells, factors, patients)
    return status_cells(
        cells[grid.kept].rename(columns={_READ: "reading"}), grid.levels, known,
        no_tissue=no_tissue, level_not_known=grid.not_known, level_not_asked=grid.not_asked,
    )  # fmt: skip


def described(
    source: Any, columns: Sequence[str], classes: Sequence[str] | None = None, *, her2: str = ""
) -> dict[str, pd.DataFrame]:
    """Patients by HER2 class and value of each numeric column, in one pass a column.

    One frame a column: ``her2``, ``value`` (NaN where missing), ``patients``. Readings of several
    classes are not in it. Raises ``BadInput`` for a value that is no number.
    """
    patients = _patients(source)
    column = _which(patients, her2)
    known = tuple(classes or patients.classes)
    _check_columns(patients, [*columns, column])
    found, faults = {}, []
    for name in columns:
        cells = rows_by(patients, {_READ: column, _VALUE: name})
        cells, _ = _readings(cells, patients, {_READ: column}, known, patients.cohort is None)
        value = pd.to_numeric(cells[_VALUE].where(cells[_VALUE] != ""), errors="coerce")
        finite = np.isfinite(value.to_numpy(float))
        wrong = cells.loc[~finite & (cells[_VALUE] != ""), _VALUE]
        faults += [
            Fault("no number, so the column cannot be described", file=patients.file,
                  row=_first_row(patients, name, text), column=name, value=text,
                  remedy="leave it empty where it is not known, or give the column in by=")
            for text in list(dict.fromkeys(wrong))[:1]
        ]  # fmt: skip
        frame = pd.DataFrame({"her2": cells[_READ], "value": value, "patients": cells["count"]})
        frame = frame[frame["her2"].isin(known)].reset_index(drop=True)
        found[name] = frame
    raise_if(faults)
    return found


def status_cells(
    cells: pd.DataFrame,
    levels: Mapping[str, Sequence[str]],
    classes: tuple[str, ...],
    **left_out: int,
) -> xr.Dataset:
    """StatusCounts of rows with factors, ``reading`` and ``count``, subgroups in order of levels.

    ``left_out`` become attributes. See ``status_counts`` for what it looks like.
    """
    by = list(levels)
    rows = _combinations(cells, levels)
    where = {row: k for k, row in enumerate(rows)}
    readings = _ordered(cells["reading"], classes)
    place = {reading: k for k, reading in enumerate(readings)}
    counts = np.zeros((len(rows), len(readings)), dtype=np.int64)
    for cell in cells.to_dict("records"):
        at = where[tuple(cell[factor] for factor in by)]
        counts[at, place[cell["reading"]]] += cell["count"]
    return xr.Dataset(
        {"counts": (("subgroup", "reading"), counts), "incidence": _incidence(readings, classes)},
        coords={
            "subgroup": [stratum_name(by, row) for row in rows],
            "reading": readings,
            "her2": list(classes),
            **{factor: ("subgroup", [row[k] for row in rows]) for k, factor in enumerate(by)},
        },
        attrs={
            "patients": int(counts.sum()), "factors": by,
            "levels": {factor: list(known) for factor, known in levels.items()}, **left_out,
        },
    )  # fmt: skip


def transition_counts(
    source: Any,
    by: By = (),
    *,
    categories: Sequence[str] | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
) -> xr.Dataset:
    """Count pairs by stratum, primary reading and recurrence reading.

    ``source`` is what ``read_patients`` takes, with a column of readings of each tumour. ``by`` are
    the factors (crossed where several), as a mapping with their levels in order; ``levels`` orders
    them, and leaves none out.

    Returns ``counts`` (stratum, primary_reading, recurrence_reading), int64, and ``incidence``
    (reading, her2), bool: which classes a reading may be. Each factor of ``by`` is a coordinate on
    ``stratum``. Attribute ``pairs`` counts all pairs, ``level_not_known`` those left out because a
    factor is not known; rows without both tissues are not pairs.

    Raises ``BadInput`` for an unknown column or a reading that is no set of the categories.
    """
    patients = _patients(source)
    known = tuple(categories or patients.classes)
    factors = _factors(by)
    ends = {f"{end}_reading": column for end, column in _both(patients).items()}
    _check_columns(patients, [*factors, *ends.values()])
    cells = rows_by(patients, {**_short(factors), **ends}, pairs=tuple(ends.values()))
    cells, _ = _readings(cells, patients, ends, known)
    total = int(cells["count"].sum())
    grid = _grid(cells, factors, patients, levels or {})
    kept = cells[grid.kept]
    by = list(grid.levels)
    readings = _ordered(pd.concat([kept[end] for end in ends]), known)
    strata = _combinations(kept, grid.levels)
    counts = np.zeros((len(strata), len(readings), len(readings)), dtype=np.int64)
    index = {reading: k for k, reading in enumerate(readings)}
    where = {row: k for k, row in enumerate(strata)}
    for row in kept.to_dict("records"):
        at = where[tuple(row[factor] for factor in by)]
        counts[at, index[row["primary_reading"]], index[row["recurrence_reading"]]] += row["count"]
    return xr.Dataset(
        {"counts": (("stratum", *ends), counts), "incidence": _incidence(readings, known)},
        coords={
            "stratum": [stratum_name(by, row) for row in strata],
            "primary_reading": readings,
            "recurrence_reading": readings,
            "reading": readings,
            "her2": list(known),
            **{factor: ("stratum", [row[k] for row in strata]) for k, factor in enumerate(by)},
        },
        attrs={"pairs": total, "level_not_known": total - int(counts.sum()), "factors": by},
    )


def _combinations(
    cells: pd.DataFrame, levels: Mapping[str, Sequence[str]]
) -> list[tuple[str, ...]]:
    """Combinations of levels that occur, in the order of the levels; one of nobody without any."""
    if not levels:
        return [()]
    ranks = [{level: k for k, level in enumerate(known)} for known in levels.values()]
    found = set(cells[list(levels)].itertuples(index=False, name=None))
    return sorted(
        found, key=lambda row: [rank[level] for rank, level in zip(ranks, row, strict=True)]
    )


def stratum_name(by: Sequence[str], levels: Sequence[str]) -> str:
    """Name of a stratum as conditions of an estimand: ``hr_status=positive, site=liver``."""
    return ", ".join(f"{f}={level}" for f, level in zip(by, levels, strict=True)) or ALL


def _patients(source: Any) -> Patients:
    return of_cohort(source) if isinstance(source, Cohort) else read_patients(source)


def _which(patients: Patients, her2: str) -> str:
    """Column of the readings that are counted: of a tumour, named itself, or the only one."""
    known = patients.her2
    if her2 in known:
        return known[her2]
    if her2 and her2 not in ENDS:
        return her2
    if not her2 and len(known) == 1:
        return next(iter(known.values()))
    if not known:
        problem, remedy = "no column of HER2 readings", "name it: read_patients(..., her2=COLUMN)"
        allowed = ", ".join(patients.columns[:40])
    else:
        problem = f"no readings of the tumour '{her2}'" if her2 else "readings of several tumours"
        remedy, allowed = f"say which: end={next(iter(known))!r}", ", ".join(known)
    raise BadInput(Fault(problem, file=patients.file, allowed=allowed, remedy=remedy))


def _both(patients: Patients) -> dict[str, str]:
    missing = [end for end in ENDS if end not in patients.her2]
    remedy = 'name both: read_patients(..., her2={"primary": COLUMN, "recurrence": COLUMN})'
    raise_if(
        [Fault(f"no readings of the {end}", file=patients.file, remedy=remedy) for end in missing]
    )
    return {end: patients.her2[end] for end in ENDS}


def _factors(by: By) -> dict[str, tuple[str, ...]]:
    """Factors with the levels that are asked for, none where they are taken as they occur."""
    if isinstance(by, Mapping):
        return {name: tuple(map(str, levels or ())) for name, levels in by.items()}
    return dict.fromkeys([by] if isinstance(by, str) else by, ())


def _short(factors: Iterable[str]) -> dict[str, str]:
    return {factor_name(column): column for column in factors}


def _check_columns(patients: Patients, names: Sequence[str]) -> None:
    there = patients.columns
    faults = []
    for name in dict.fromkeys(names):
        if name not in there:
            close = nearest(name, there)
            remedy = f"did you mean '{close}'?" if close else "name one of the columns"
            problem = f"no column '{name}' among the patients"
            allowed = ", ".join(there[:40])
            faults.append(Fault(problem, file=patients.file, allowed=allowed, remedy=remedy))
    faults += [
        Fault("not a factor: the answer is counted by it", column="by", value=name,
              remedy="leave it out, or rename the column")
        for name in names[:-1] if factor_name(name) in _DIMS
    ]  # fmt: skip
    if len(set(map(factor_name, names))) < len(set(names)):
        problem = "two factors have one name when written with small letters and underscores"
        faults.append(Fault(problem, value=list(names), remedy="rename one of the columns"))
    raise_if(faults)


def rows_by(
    patients: Patients, columns: Mapping[str, str], pairs: Sequence[str] = ()
) -> pd.DataFrame:
    """Rows counted by the texts of ``columns`` (name -> column), missing as empty: ``count``.

    The one pass over the patients. With ``pairs`` only those whose columns of that name are known.
    """
    table = patients.table
    if pairs and "pair" in table.columns:
        table = table.filter(table["pair"])
    elif pairs:
        table = table.filter(ibis.and_(*(table[name].cast("string").fill_null("") != ""
                                         for name in pairs)))  # fmt: skip
    readings = set(patients.her2.values())
    texts = {
        short: (table[name].cast("string").strip() if name in readings else known_text(table[name]))
        .fill_null("")
        for short, name in columns.items()
    }  # fmt: skip
    counted = table.select(**texts).group_by(list(columns)).aggregate(count=ibis._.count())
    return _run(counted.order_by(list(columns)), patients)


def _run(expression: ir.Table, patients: Patients) -> pd.DataFrame:
    """Run the expression where its table lives; ours live in a DuckDB that ends with the query.

    A connection left to the end of the process is reported as a leak by DuckDB's own bindings.
    """
    if isinstance(patients.rows, ir.Table):
        return collect(expression)
    connection = ibis.duckdb.connect()
    try:
        found: pd.DataFrame = connection.to_pyarrow(expression).to_pandas()
        return found
    finally:
        connection.disconnect()


def _readings(
    cells: pd.DataFrame,
    patients: Patients,
    columns: Mapping[str, str],
    classes: tuple[str, ...],
    missing_is_unknown: bool = False,
) -> tuple[pd.DataFrame, int]:
    """Cells with canonical names of readings, and how many patients have no tissue."""
    faults = []
    for short, column in columns.items():
        named, wrong = _named(patients, column, cells[short], classes)
        faults += wrong
        named[""] = UNKNOWN if missing_is_unknown else ""
        cells = cells.assign(**{short: cells[short].map(named)})
    raise_if(sorted(faults, key=lambda fault: fault.row or 0))
    sampled = (cells[list(columns)] != "").all(axis=1)
    return cells[sampled], int(cells.loc[~sampled, "count"].sum())


def _named(
    patients: Patients, column: str, texts: Iterable[str], classes: tuple[str, ...]
) -> tuple[dict[str, str], list[Fault]]:
    """Canonical name of the reading that each text is, and faults of those that are none."""
    named = {text: reading_of(text, classes) for text in dict.fromkeys(texts) if text}
    wrong = [text for text, name in named.items() if not name]
    return named, [_no_reading(patients, column, text, classes) for text in wrong]


def reading_names(patients: Patients, columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """Canonical name of the reading that each text of the columns is, by column.

    Raises ``BadInput`` for columns that do not exist and texts that are no reading, all together.
    """
    _check_columns(patients, columns)
    found, faults = {}, []
    for column in columns:
        texts = rows_by(patients, {_READ: column})[_READ]
        found[column], wrong = _named(patients, column, texts, patients.classes)
        faults += wrong
    raise_if(sorted(faults, key=lambda fault: fault.row or 0))
    return found


def reading_of(text: str, classes: tuple[str, ...]) -> str:
    """Canonical name of a reading: a class, a set such as ``zero/low``, ``unknown``; else empty."""
    by_case = {name.casefold(): name for name in classes}
    parts = {part.strip().casefold() for part in text.split("/")}
    if parts <= set(by_case):
        return reading_name({by_case[part] for part in parts}, classes)
    return UNKNOWN if is_missing(text) else ""


def _no_reading(patients: Patients, column: str, text: str, classes: tuple[str, ...]) -> Fault:
    close = nearest(text, classes)
    remedy = f"did you mean '{close}'? " if close else ""
    return Fault(
        "not a set of HER2 classes", file=patients.file, row=_first_row(patients, column, text),
        column=column, value=text, allowed=f"{', '.join(classes)}, sets as {'/'.join(classes[:2])}",
        remedy=f"{remedy}name other classes with classes=, or read scores through a column map",
    )  # fmt: skip


def _first_row(patients: Patients, column: str, text: str) -> int | None:
    """Row of the first such value, where rows have an order."""
    if isinstance(patients.rows, ir.Table) or patients.cohort is not None:
        return None
    table = patients.table
    line = table[LINE] if LINE in table.columns else ibis.row_number() + 2
    rows = table.mutate(row=line)
    rows = rows.filter(rows[column].cast("string").strip() == text)
    return int(_run(rows.aggregate(first=rows["row"].min()), patients)["first"].iloc[0])


@dataclass(frozen=True)
class _Grid:
    """Which cells are kept, the levels of each factor that they have, in order, who is not."""

    kept: pd.Series
    levels: Mapping[str, tuple[str, ...]]
    not_known: int
    not_asked: int


def _grid(
    cells: pd.DataFrame,
    factors: Mapping[str, tuple[str, ...]],
    patients: Patients,
    order: Mapping[str, Sequence[str]] | None = None,
) -> _Grid:
    by = [factor_name(name) for name in factors]
    known = (cells[by] != "").all(axis=1)
    kept, faults = known.copy(), []
    for (column, wanted), short in zip(factors.items(), by, strict=True):
        faults += _level_faults(patients, column, set(cells[short]) - {""}, wanted)
        if wanted:
            kept &= cells[short].isin(wanted)
    raise_if(faults)
    levels = {}
    for (column, wanted), short in zip(factors.items(), by, strict=True):
        given = wanted or (order or {}).get(column, ()) or patients.known_levels(column)
        levels[short] = in_order(set(cells.loc[kept, short]), given)
    return _Grid(
        kept, levels,
        not_known=int(cells.loc[~known, "count"].sum()),
        not_asked=int(cells.loc[known & ~kept, "count"].sum()),
    )  # fmt: skip


def _level_faults(
    patients: Patients, column: str, seen: set[str], wanted: Sequence[str]
) -> list[Fault]:
    place: dict[str, Any] = {"file": patients.file, "column": column}
    known = ", ".join(in_order(seen)[:40])
    faults = [
        Fault(f"no row has the level '{level}'", **place, allowed=known,
              remedy="write it as in the data, or leave it out")
        for level in wanted if level not in seen
    ]  # fmt: skip
    if not seen:
        faults.append(Fault("the column is empty", **place, remedy="leave the factor out"))
    if len(seen) > MOST_LEVELS:
        remedy = "cut a continuous covariate into bands (<=50, >50)"
        problem = f"{len(seen)} different values are too many for groups"
        faults.append(Fault(problem, **place, allowed=f"at most {MOST_LEVELS}", remedy=remedy))
    return faults


def _ordered(readings: Iterable[str], classes: tuple[str, ...]) -> list[str]:
    """Readings in order: single classes, then sets as they occur, ``unknown`` last."""
    found = set(readings)
    sets = sorted(
        found - {*classes, UNKNOWN}, key=lambda r: [classes.index(part) for part in r.split("/")]
    )
    return [*classes, *sets, *([UNKNOWN] if UNKNOWN in found else [])]


def _incidence(
    readings: Sequence[str], classes: tuple[str, ...]
) -> tuple[tuple[str, str], np.ndarray]:
    table = [[c in reading_classes(r, classes) for c in classes] for r in readings]
    return ("reading", "her2"), np.array(table, dtype=bool)

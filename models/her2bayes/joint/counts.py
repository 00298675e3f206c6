"""Patients to the counts of the joint model: who was read as what, and what became of them.

``cells``     SurvivalCells by class read at recurrence (a set counts for each of its classes in
              part): the design of the hazards, which no likelihood reads
``readings``  ``reading_cell``: distinct stratum, readings and assays, with the ``patients`` of each
``rows``      distinct reading cell, entry, exit and event with the ``patients`` of each, or a few
              nodes a class of these where there are many (ExitCounts): the number of patients costs
              nothing
``assay``     names of the assays; agreement studies and fixed errors where they are given

Patients without follow-up are rows without time; a reading that is missing leaves all classes open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import xarray as xr

from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.classify import UNKNOWN, reading_classes
from her2bayes.evidence.patients.aggregate import reading_names, rows_by, stratum_name
from her2bayes.evidence.patients.cohort import ENDS
from her2bayes.evidence.patients.follow_up import FollowUp, factor_name
from her2bayes.evidence.patients.patients import Patients, Wanted, follow_up
from her2bayes.evidence.patients.survival_cells import (
    cut_points,
    exit_counts,
    survival_cells,
    time_counts,
)
from her2bayes.evidence.read_table import TextTable
from her2bayes.results.fitted import tuples

READING = {"primary": "reading_of_primary", "recurrence": "reading_of_recurrence"}
"""Columns with the canonical readings, by tumour."""
ASSAY = {"primary": "assay_of_primary", "recurrence": "assay_of_recurrence"}
ONE_ASSAY = "all"
INTERVALS = 10
By = Mapping[str, Sequence[str] | None]


@dataclass(frozen=True)
class Followed:
    """What is known of the follow-up: as ``FollowUp``, without its rows."""

    endpoint: str
    factors: Mapping[str, tuple[str, ...]]
    causes: tuple[str, ...]
    events: int
    last_time: float
    has_entry: bool
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Counted:
    """Counts of a cohort for the joint model, and who is in none of them.

    ``by`` are the factors of strata and hazards; ``by_read`` are TimeCounts of patients whose
    recurrence was read as one class (``read``); ``pairs_only`` patients gave their readings and no
    follow-up; ``left_out`` counts patients by reason.
    """

    name: str
    classes: tuple[str, ...]
    by: tuple[str, ...]
    data: Mapping[str, xr.Dataset]
    followed: Followed
    by_read: pd.DataFrame = field(repr=False)
    pairs_only: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""

    @property
    def patients(self) -> int:
        """All patients of whom anything is known."""
        return int(self.data["readings"]["patients"].sum())

    def facts(self) -> dict[str, Any]:
        """What is text and numbers, as JSON takes it."""
        return {
            "counted": {name: getattr(self, name) for name in PLAIN},
            "followed": asdict(self.followed),
            "grid": self.by_read.attrs,
        }

    def packed(self) -> dict[str, xr.Dataset]:
        """The counts as groups of a tree; no patient's line."""
        groups = {f"/data/{name}": one for name, one in self.data.items()}
        rows = self.by_read
        groups["/by_read"] = xr.Dataset(
            {name: ("row", rows[name].to_numpy() if name in NUMBERS
                    else rows[name].astype(str).to_numpy(object)) for name in rows}
        )  # fmt: skip
        return groups

    @classmethod
    def unpacked(cls, tree: xr.DataTree, facts: Mapping[str, Any]) -> Counted:
        """Make the object of ``packed`` groups and its ``facts``."""
        data = {name: _plain(node.to_dataset()) for name, node in tree["data"].children.items()}
        followed = Followed(**tuples(facts["followed"]))
        rows = tree["by_read"].to_dataset().to_dataframe()
        for name, levels in followed.factors.items():
            rows[name] = pd.Categorical(rows[name], list(levels))
        rows.attrs = facts["grid"]
        return cls(**tuples(facts["counted"]), data=data, followed=followed, by_read=rows)


NUMBERS = ("entry", "time", "event", "patients")
"""Columns of ``by_read`` that are no text."""
PLAIN = ("name", "classes", "by", "pairs_only", "left_out", "digest")
"""Fields of ``Counted`` that are text and numbers."""


def _plain(data: xr.Dataset) -> xr.Dataset:
    """Attributes as they were before a file held them: lists, and numbers of Python."""
    kept = {name: value.tolist() if hasattr(value, "tolist") else value
            for name, value in data.attrs.items()}  # fmt: skip
    if "factors" in kept:
        kept["factors"] = [kept["factors"]] if isinstance(kept["factors"], str) else kept["factors"]
    return data.assign_attrs(kept)


def count_patients(
    patients: Patients,
    wanted: Wanted,
    by: By,
    *,
    assays: Mapping[str, str] | None = None,
    cuts: str | Sequence[float] = "quantile",
    intervals: int = INTERVALS,
    of_primary: bool = False,
    reach: float = 0.0,
    more: Mapping[str, Any] | None = None,
) -> Counted:
    """Count patients with readings of both tumours and follow-up from recurrence, in two passes.

    ``by`` are factors with their levels in order (None: as found); ``assays`` name the column with
    the assay of each tumour's reading. ``cuts`` and ``intervals`` are those of ``cut_points``; the
    last ends at ``reach`` months if that is later. With ``of_primary`` the hazards also depend on
    the class of the primary. ``more`` are words of ``read_follow_up``. Raises ``BadInput`` with
    every fault.
    """
    _check_ends(patients)
    labs = {ASSAY[end]: column for end, column in (assays or {}).items()}
    known = _with_readings(patients, labs)
    short = {factor_name(name): name for name in by}
    factors = {**dict.fromkeys(READING.values()), **dict.fromkeys(labs), **by}
    followed = follow_up(known, wanted, factors, **(more or {}))
    columns = {name: name for name in (*READING.values(), *labs)} | short
    everyone, left_out = _everyone(rows_by(known, columns), short, followed)
    edges = cut_points(followed, cuts, intervals, reach)
    exits = exit_counts(followed, edges)
    levels = {name: followed.factors[name] for name in short}
    readings = _readings(everyone, levels, patients.classes, tuple(labs))
    cells = _cells(followed, edges, tuple(short), patients.classes, of_primary)
    rows, pairs_only = _rows(exits, everyone, readings, cells, tuple(short), bool(labs))
    names = sorted({name for of in labs for name in everyone[of]}) or [ONE_ASSAY]
    assay = xr.Dataset(coords={"assay": names, "her2": list(patients.classes)})
    data = {"cells": cells, "readings": readings, "rows": rows, "assay": assay}
    facts = Followed(
        followed.endpoint, {"read": patients.classes, **levels}, followed.causes, followed.events,
        followed.last_time, followed.has_entry, followed.told,
    )  # fmt: skip
    return Counted(
        patients.name, patients.classes, tuple(short), data, facts,
        _by_read(followed, patients.classes, tuple(short)), pairs_only, left_out, patients.digest,
    )  # fmt: skip


def _check_ends(patients: Patients) -> None:
    remedy = 'name both: her2={"primary": COLUMN, "recurrence": COLUMN}'
    raise_if(
        [Fault(f"no readings of the {end}", file=patients.file, remedy=remedy)
         for end in ENDS if end not in patients.her2]
    )  # fmt: skip


def _with_readings(patients: Patients, labs: Mapping[str, str]) -> Patients:
    """Patients with columns of canonical readings and assays; of a mapped cohort its pairs."""
    columns = {READING[end]: patients.her2[end] for end in ENDS}
    names = reading_names(patients, list(columns.values()))
    rows = patients.rows
    if patients.cohort is not None and isinstance(rows, pa.Table):
        rows = rows.filter(pa.compute.field("pair"))
    if isinstance(rows, TextTable | pa.Table):
        table = rows.columns if isinstance(rows, TextTable) else rows
        for name, column in columns.items():
            text = table[column].cast("string").to_pandas().fillna("").str.strip()
            found = text.map(names[column]).fillna(UNKNOWN)
            table = table.append_column(name, pa.array(found, pa.string()))
        for name, column in labs.items():
            table = table.append_column(name, table[column])
        rows = replace(rows, columns=table) if isinstance(rows, TextTable) else table
    else:
        rows = _mutated(patients.table, columns, names).mutate(
            **{name: patients.table[column] for name, column in labs.items()}
        )
    return replace(patients, rows=rows)


def _mutated(
    table: ir.Table, columns: Mapping[str, str], names: Mapping[str, Mapping[str, str]]
) -> ir.Table:
    """The same of a table that lives elsewhere."""
    texts = {name: table[column].cast("string").strip() for name, column in columns.items()}
    return table.mutate(
        **{
            name: ibis.cases(*((text == k, v) for k, v in names[columns[name]].items()),
                             (ibis.literal(True), UNKNOWN))
            for name, text in texts.items()
        }
    )  # fmt: skip


def _everyone(
    counted: pd.DataFrame, by: Mapping[str, str], followed: FollowUp
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Patients by readings and factors, whether followed or not; who is left out, by reason."""
    left_out = {}
    for name in (*by, *(n for n in ASSAY.values() if n in counted)):
        unknown = counted[name] == ""
        other = ~unknown & ~counted[name].isin(followed.factors[name])
        for why, those in (("not known", unknown), ("another level", other)):
            if those.any():
                left_out[f"{name}: {why}"] = int(counted.loc[those, "count"].sum())
        counted = counted[~unknown & ~other]
    return counted.reset_index(drop=True), left_out


def _readings(
    everyone: pd.DataFrame,
    levels: Mapping[str, Sequence[str]],
    classes: tuple[str, ...],
    labs: tuple[str, ...],
) -> xr.Dataset:
    """Reading cells: stratum, classes each reading holds, assays, patients."""
    by = list(levels)
    order = {name: {level: k for k, level in enumerate(of)} for name, of in levels.items()}
    combinations = sorted(
        set(everyone[by].itertuples(index=False, name=None)) if by else {()},
        key=lambda row: [order[name][level] for name, level in zip(by, row, strict=True)],
    )
    keys = [*by, *READING.values(), *labs]
    cells = everyone.groupby(keys, as_index=False, sort=True)["count"].sum()
    place = {row: k for k, row in enumerate(combinations)}
    strata = [place[row] for row in cells[by].itertuples(index=False, name=None)] if by else 0
    names = sorted({name for of in labs for name in everyone[of]})
    found: dict[str, Any] = {
        "place": ("reading_cell", np.broadcast_to(strata, len(cells)).astype(np.int64)),
        "patients": ("reading_cell", cells["count"].to_numpy(np.int64)),
    }
    for end, dim in zip(ENDS, ("read_primary", "read"), strict=True):
        held = [reading_classes(text, classes) for text in cells[READING[end]]]
        holds = np.array([[float(c in one) for c in classes] for one in held])
        found[f"holds_{end}"] = (("reading_cell", dim), holds)
        which = cells[ASSAY[end]].map(names.index) if ASSAY[end] in labs else np.zeros(len(cells))
        found[f"assay_{end}"] = ("reading_cell", np.asarray(which, np.int64))
    return xr.Dataset(
        found,
        coords={
            "stratum": [stratum_name(by, row) for row in combinations],
            "her2": list(classes),
            **{name: ("stratum", [row[k] for row in combinations]) for k, name in enumerate(by)},
            **{f"{name}_text": ("reading_cell", cells[name].to_list()) for name in keys},
        },
        attrs={"factors": by},
    )


def _cells(
    followed: FollowUp,
    edges: np.ndarray,
    by: tuple[str, ...],
    classes: tuple[str, ...],
    of_primary: bool,
) -> xr.Dataset:
    """SurvivalCells by classes as read, sets in equal parts: the design of the hazards."""
    found = survival_cells(followed, edges)
    drop = [name for name in ASSAY.values() if name in found.dims]
    sums = found[["events", "person_months", "rows"]].sum(drop)
    last = found["last_time"].max([*drop, *READING.values()])
    for end, dim in (("primary", "her2_primary"), ("recurrence", "her2")):
        held = [reading_classes(str(text), classes) for text in found[READING[end]].values]
        shares = np.array([[float(c in one) / len(one) for c in classes] for one in held])
        if dim == "her2_primary" and not of_primary:
            sums = sums.sum(READING[end])
            continue
        part = xr.DataArray(shares, dims=(READING[end], dim), coords={dim: list(classes)})
        sums = _spread(sums, part, READING[end])
        last = last.expand_dims({dim: list(classes)})
    dims = [*(d for d in ("her2_primary", "her2") if d in sums.dims), *by, "interval"]
    lead = ["cause"] if "cause" in sums.dims else []
    months = sums["person_months"].transpose(*dims)
    edges_of = {name: found[name] for name in ("interval_start", "interval_end")}
    return xr.Dataset(
        {
            "events": sums["events"].transpose(*lead, *dims),
            "person_months": months,
            "rows": sums["rows"].transpose(*dims[:-1]),
            "last_time": last.transpose(*dims[:-1]),
        },
        attrs=found.attrs,
    ).assign_coords(edges_of)


def _spread(sums: xr.Dataset, part: xr.DataArray, dim: str) -> xr.Dataset:
    """Counts by reading as counts by class."""
    return sums.map(lambda one: (one * part).sum(dim))


def _rows(
    exits: pd.DataFrame,
    everyone: pd.DataFrame,
    readings: xr.Dataset,
    cells: xr.Dataset,
    by: tuple[str, ...],
    labs: bool,
) -> tuple[xr.Dataset, int]:
    """Rows of the likelihood, and how many patients gave readings only."""
    keys = [*by, *READING.values(), *(ASSAY.values() if labs else ())]
    keys = [key for key in keys if key in exits]
    where = {key: k for k, key in enumerate(_texts(readings, keys))}
    texts = exits[keys].astype(str).itertuples(index=False, name=None)
    cell = np.array([where[key] for key in texts], np.int64)
    place = _places(exits, cells, by)
    number = exits["patients"].to_numpy(float)
    seen = np.bincount(cell, weights=number, minlength=readings.sizes["reading_cell"])
    rest = np.round(readings["patients"].to_numpy() - seen).astype(np.int64)
    only = np.flatnonzero(rest > 0)
    empty = np.zeros(len(only))
    found = {
        "reading_cell": np.concatenate([cell, only]),
        "patients": np.concatenate([number, rest[only]]),
        "event": np.concatenate([exits["event"].to_numpy(float), empty]),
    }
    found |= {name: np.concatenate([values, empty.astype(values.dtype)])
              for name, values in place.items()}  # fmt: skip
    return xr.Dataset({name: ("row", values) for name, values in found.items()}), int(rest.sum())


def _texts(readings: xr.Dataset, keys: Sequence[str]) -> list[tuple[str, ...]]:
    columns = [readings[f"{key}_text"].to_numpy().tolist() for key in keys]
    return [tuple(map(str, row)) for row in zip(*columns, strict=True)]


def _places(exits: pd.DataFrame, cells: xr.Dataset, by: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Place of each exit (and entry) among factors and intervals, and months spent there."""
    end, start = cells["interval_end"].to_numpy(), cells["interval_start"].to_numpy()
    size = [cells.sizes[name] for name in by]
    codes = [
        pd.Index(cells[name].to_numpy()).get_indexer(pd.Index(exits[name].astype(str)))
        for name in by
    ]
    group = np.ravel_multi_index(codes, size) if by else np.zeros(len(exits), int)

    def at(time: np.ndarray, side: Literal["left", "right"]) -> tuple[np.ndarray, np.ndarray]:
        interval = np.minimum(np.searchsorted(end, time, side=side), len(end) - 1)
        return group * len(end) + interval, time - start[interval]

    exit_place, exit_months = at(exits["time"].to_numpy(float), "left")
    found = {"exit_place": exit_place, "exit_months": exit_months, "event_place": exit_place}
    if "cause" in cells.dims:
        causes = pd.Index(cells["cause"].to_numpy()).get_indexer(pd.Index(exits["cause"]))
        groups = int(np.prod(size)) * len(end)
        found["event_place"] = np.maximum(causes, 0) * groups + exit_place
    entry = np.maximum(exits["entry"].to_numpy(float), start[0])
    if (entry > start[0]).any() or start[0] > 0:
        found["entry_place"], found["entry_months"] = at(entry, "right")
    return found


def _by_read(followed: FollowUp, classes: tuple[str, ...], by: tuple[str, ...]) -> pd.DataFrame:
    counts = time_counts(followed)
    grid = counts.attrs["grid"]
    counts = counts[counts[READING["recurrence"]].isin(classes)]
    named = pd.Categorical(counts[READING["recurrence"]].astype(str), list(classes))
    keys = ["read", *by, "entry", "time", "event", "cause"]
    grouped = counts.assign(read=named).groupby(keys, as_index=False, observed=True, sort=True)
    found = grouped.agg({"patients": "sum"})
    found.attrs = {"grid": grid, "factors": ["read", *by], "unit": "months"}
    return found


def with_assay(counted: Counted, **assay: Any) -> Counted:
    """The same with further entries of ``assay``: ``misclassification``, ``agreement``, ..."""
    data = {**counted.data, "assay": counted.data["assay"].assign(assay)}
    return replace(counted, data=data)


def without_follow_up(counted: Counted) -> Counted:
    """Counts in which nobody was followed: the same rows without time and events."""
    rows = counted.data["rows"].copy(deep=True)
    for name in rows.data_vars:
        if str(name).endswith(("event", "_months", "_place")):
            rows[name] = rows[name] * 0
    return replace(counted, data={**counted.data, "rows": rows})


def with_beliefs(
    counted: Counted, agreement: Mapping[str, Any], fixed: Any, correlation: float | None
) -> Counted:
    """Counts with what is known of the assay; ``BadInput`` for tables that do not fit."""
    classes = list(counted.classes)
    found: dict[str, Any] = {}
    faults = []
    tables = {name: _ordered(table, classes) for name, table in agreement.items()}
    matrix = {} if fixed is None else {"misclassification": np.asarray(fixed, float)}
    allowed = f"rows and columns {', '.join(classes)}, numbers from 0"
    for name, table in (tables | matrix).items():
        if table.shape != (len(classes),) * 2 or (table < 0).any():
            problem = f"table '{name}' does not fit"
            faults.append(Fault(problem, value=str(table.shape), allowed=allowed))
    if not faults and matrix:
        faults += _impossible(matrix["misclassification"], tables, counted)
    if correlation is not None and not 0 <= correlation <= 1:
        faults.append(Fault("a share of errors made together", value=correlation, allowed="0 to 1"))
    raise_if(faults)
    if tables:
        names = list(tables)
        found["agreement"] = xr.DataArray(
            np.stack(list(tables.values())).astype(np.int64),
            dims=("agreement_study", "first", "second"), coords={"agreement_study": names},
        )  # fmt: skip
        found["agreement_assay"] = ("agreement_study", np.zeros(len(names), np.int64))
    if fixed is not None:
        found["misclassification"] = (("her2", "read"), np.asarray(fixed, float))
    if correlation is not None:
        found["error_correlation"] = float(correlation)
    return with_assay(counted, **found) if found else counted


def _impossible(
    reads: np.ndarray, tables: Mapping[str, np.ndarray], counted: Counted
) -> list[Fault]:
    """Faults of readings that cannot be under errors taken as known."""
    remedy = "allow for the error, or leave the errors to the model"
    together = np.einsum("ta,tb->ab", reads, reads)
    faults = [
        Fault(f"table '{name}' cannot be under these errors: two readings never seen together",
              value=int(table[together == 0].sum()), remedy=remedy)
        for name, table in tables.items() if table[together == 0].any()
    ]  # fmt: skip
    of = counted.data["readings"]
    for name in ("holds_primary", "holds_recurrence"):
        never = (reads @ of[name].to_numpy().T).sum(axis=0) == 0
        if (never & (of["patients"].to_numpy() > 0)).any():
            faults.append(Fault("a class is read that no true class is read as", remedy=remedy))
    return faults


def _ordered(table: Any, classes: list[str]) -> np.ndarray:
    """A table of two readings as counts; with labels, in the order of the classes."""
    labelled = isinstance(table, pd.DataFrame) and {*table.index} == {*table.columns} == {*classes}
    return np.asarray(table.loc[classes, classes] if labelled else table)


def read_agreement(file: Path) -> pd.DataFrame:
    """Table of two readings of the same tumours: first column the first reading's class, one row
    and one column a class. Raises ``BadInput`` for cells that are no counts.
    """
    from her2bayes.evidence.read_table import read_table

    table = read_table(file)
    frame = table.frame.set_index(table.frame.columns[0])
    number = frame.apply(pd.to_numeric, errors="coerce")
    wrong = ~((number >= 0) & (number % 1 == 0))
    raise_if(
        [Fault("not a number of tumours", table.path, table.row(int(k)), str(frame.columns[c]),
               frame.iloc[k, c], "a whole number from 0")
         for k, c in zip(*np.nonzero(wrong.to_numpy()), strict=True)]
    )  # fmt: skip
    return number.astype(int)

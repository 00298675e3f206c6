"""Patients of other studies, followed like the own ones: files in, cells beside the own cells out.

External follow-up after the longest own one is not used: each external patient is then censored
there, which is no bias, and the own prior keeps its meaning. Nor is external follow-up before the
first own entry: survival is conditional on no event by then.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.patients.follow_up import (
    FollowUp,
    factor_name,
    has_members,
    open_table,
    read_follow_up,
)
from her2bayes.evidence.patients.survival_cells import survival_cells

PRINTED = {"estimand", "statistic", "text"}
"""Columns of a table of printed numbers, which is no file of patients."""


@dataclass(frozen=True)
class External:
    """Studies elsewhere: ``cells`` has a leading dim ``study``, ``follow_ups`` are by its names."""

    cells: xr.Dataset
    follow_ups: Mapping[str, FollowUp]

    @property
    def events(self) -> float:
        """Events of all studies within the own follow-up."""
        return float(self.cells["events"].sum())

    @property
    def months(self) -> float:
        """Person-months of all studies within the own follow-up."""
        return float(self.cells["person_months"].sum())

    def without(self, study: str) -> xr.Dataset:
        """Cells in which one study has no patients; their shape stays."""
        kept = self.cells["study"] != study
        return self.cells.assign(
            {name: self.cells[name].where(kept, 0.0) for name in ("events", "person_months")}
        )


def read_external(
    files: Sequence[Path],
    own: FollowUp,
    by: Mapping[str, Any],
    *,
    member: str = "",
    mapped: Sequence[str] = (),
    **columns: Any,
) -> dict[str, FollowUp]:
    """Read files of patients with the columns of the own file; ``by`` names the own factors.

    ``member`` chooses the data set of files that are ensembles. Levels that no own patient has are
    left out and counted. Raises ``BadInput``, also for a table
    of printed numbers: a median without interval or events has no weight.
    """
    found: dict[str, FollowUp] = {}
    faults = []
    for file in files:
        raise_if(_printed(file))
        if file.stem in found:
            faults.append(Fault("two external files of one name", file=file))
            continue
        columns["member"] = member if member and has_members(file) else ""
        if mapped:
            raise_if(_unmapped(file, columns))
        first = read_follow_up(file, by=list(by), **columns)
        levels = {}
        for name in by:
            own_levels, here = own.factors[factor_name(name)], first.factors[factor_name(name)]
            levels[name] = tuple(level for level in own_levels if level in here)
            if not levels[name]:
                allowed = ", ".join(own_levels)
                problem = f"no external patient has a level of '{name}' that an own patient has"
                remedy = "give the levels the same names in both files"
                faults.append(Fault(problem, file, None, name, ", ".join(here), allowed, remedy))
        if all(levels.values()):
            found[file.stem] = read_follow_up(file, by=levels, **columns) if levels else first
    raise_if(faults)
    return found


def _unmapped(file: Path, columns: Mapping[str, Any]) -> list[Fault]:
    """Columns that the own map makes, and that an external file must have itself."""
    there = open_table(file).table.columns
    wanted = [columns[role] for role in ("time", "event", "entry", "cause") if columns.get(role)]
    absent = [name for name in wanted if name not in there]
    if not absent:
        return []
    problem = f"external files are not read through the map: no column {', '.join(absent)}"
    remedy = (
        f"write them as the map makes them ({', '.join(wanted)}; times in months, event 0 or 1)"
        + (", or --ignore-entry in both" if columns.get("entry") in absent else "")
    )
    return [Fault(problem, file=file, allowed=", ".join(there[:40]), remedy=remedy)]


def _printed(file: Path) -> list[Fault]:
    """Whether a file lists printed numbers of studies, not patients."""
    if not file.is_file() or file.suffix.lower() not in (".csv", ".tsv"):
        return []
    with file.open(encoding="utf-8", errors="replace", newline="") as opened:
        rows = csv.reader(line for line in opened if not line.startswith("#"))
        header = set(next(rows, []))
    if not header >= PRINTED:
        return []
    problem = "printed numbers carry no weight of their own in a survival model"
    remedy = (
        "give a file of patients; from a printed curve with numbers at risk `reconstruct` makes "
        "one. A median without interval or number of events says nothing of its precision"
    )
    return [Fault(problem, file=file, remedy=remedy)]


def external_cells(
    follow_ups: Mapping[str, FollowUp], cells: xr.Dataset, nested: Mapping[str, str] | None = None
) -> External:
    """Cells of each study on the groups and intervals of the own ``cells``.

    ``events`` and ``person_months`` have dims (study, groups…, interval).
    """
    edges = np.append(cells["interval_start"].to_numpy(), cells["interval_end"][-1])
    dims = [str(dim) for dim in cells["person_months"].dims]
    labels = {dim: cells[dim].to_numpy() for dim in dims if dim != "interval"}
    found = []
    for follow_up in follow_ups.values():
        beyond = [follow_up.last_time] if follow_up.last_time > edges[-1] else []
        made = survival_cells(follow_up, np.append(edges, beyond), nested)
        made = made.isel(interval=slice(cells.sizes["interval"]))[["events", "person_months"]]
        bare = made.drop_vars([name for name in made.coords if name not in dims])
        found.append(bare.reindex(labels, fill_value=0).transpose(*dims))
    stacked = xr.concat(found, xr.DataArray(list(follow_ups), dims="study", name="study"))
    return External(stacked.astype(float).transpose("study", *dims), follow_ups)

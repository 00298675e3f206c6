"""Survival known from elsewhere: patients of other studies, and landmarks (alive then and later).

External patients are followed like the own ones. Their follow-up after the longest own one is not
used: each is then censored there, which is no bias, and the own prior keeps its meaning. Nor is
follow-up before the first own entry: survival is conditional on no event by then.

LandmarkCounts have the columns ``study, start, stop, patients, survivors`` and one for each factor
(empty: the mix of the cohort): ``survivors`` of the ``patients`` alive at ``start`` months are
alive at ``stop``. Where only a survival with its standard error is printed, it is worth
n = S (1 - S) / SE^2 patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.patients.follow_up import (
    FollowUp,
    factor_name,
    has_members,
    open_table,
    read_follow_up,
)
from her2bayes.evidence.patients.survival_cells import survival_cells
from her2bayes.evidence.read_table import SHOWN, TextTable, read_table

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
    text = file.is_file() and file.suffix.lower() in (".csv", ".tsv")
    if not text or not set(read_table(file).columns.column_names) >= PRINTED:
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


COLUMNS = ("study", "start", "stop", "patients", "survivors")
MOST = 1e9
"""Larger numbers, of months or patients, are misread ones."""


def read_landmarks(path: Path | str) -> pd.DataFrame:
    """Read a CSV of landmarks; ``survival`` and ``std_error`` may stand for the two numbers.

    Raises ``BadInput`` with every cell that is not the number it should be.
    """
    text = read_table(Path(path))
    table = text.frame.apply(lambda column: column.str.strip())
    derived = {"survival", "std_error"} <= set(table.columns)
    printed = ("start", "stop", *(("survival", "std_error") if derived else COLUMNS[3:]))
    wanted = ["study", *printed]
    raise_if([
        Fault(f"there is no column '{name}'", file=text.path, allowed=", ".join(wanted))
        for name in wanted if name not in table.columns
    ])  # fmt: skip
    faults: list[Fault] = []
    for name in printed:
        table[name], wrong = _numbers(text, name, whole=name in COLUMNS[3:])
        faults += wrong
    raise_if(faults)
    if derived:
        given = zip(table["survival"], table["std_error"], strict=True)
        counts = [effective_counts(float(s), float(e)) for s, e in given]
        table[["patients", "survivors"]] = counts
    return table


def _numbers(text: TextTable, name: str, *, whole: bool) -> tuple[pd.Series, list[Fault]]:
    values = pd.to_numeric(text.frame[name].str.strip(), errors="coerce").astype(float)
    bad = ~np.isfinite(values) | (values < 0) | (values > MOST)
    allowed = f"a number from 0 to {MOST:g}"
    if whole:
        bad |= values != np.floor(values)
        allowed = f"a whole number from 0 to {MOST:g}"
    faults = [
        Fault("not a number that can stand here", text.path, text.row(int(place)), name,
              text.frame[name].iloc[place][:60], allowed)
        for place in np.flatnonzero(bad)[:SHOWN]
    ]  # fmt: skip
    return values, faults


def effective_counts(survival: float, std_error: float) -> tuple[int, int]:
    """Patients and survivors that carry the information of a survival and its standard error."""
    if not (0 < survival < 1 and std_error > 0):
        raise BadInput(
            Fault(
                "a survival and its standard error",
                value=(survival, std_error),
                allowed="survival between 0 and 1, standard error above 0",
            )
        )
    if std_error < 1e-5:
        problem = "a standard error no study has: it is worth thousands of millions of patients"
        raise BadInput(Fault(problem, value=std_error, allowed="0.00001 or more"))
    patients = max(1, round(survival * (1 - survival) / std_error**2))
    return patients, round(patients * survival)


def landmark_counts(table: pd.DataFrame, cells: xr.Dataset, study: str = "") -> xr.Dataset:
    """LandmarkCounts for a survival model of ``cells``: dims (landmark, interval, groups…).

    ``patients`` and ``survivors`` int64; ``months_to_start`` and ``months_to_stop`` (landmark,
    interval): months spent in each interval by then; ``share`` (landmark, groups…): mix of groups
    at time 0. Refuses landmarks of ``study``, whose patients are in the cells already, landmarks
    that overlap within a study, and times beyond the cells (make the cuts reach them).
    """
    groups = [str(dim) for dim in cells["rows"].dims]
    raise_if([*_faults(table, cells, study), *_overlaps(table, groups)])
    rows = table.to_dict("records")
    labels = [f"{r['study']} {r['start']:g}-{r['stop']:g} #{k + 1}" for k, r in enumerate(rows)]
    months = {
        f"months_to_{end}": (("landmark", "interval"), _months(cells, table[end].to_numpy(float)))
        for end in ("start", "stop")
    }
    share = np.stack([_share(row, cells, groups) for row in rows])
    return xr.Dataset(
        {
            "patients": ("landmark", table["patients"].to_numpy(np.int64)),
            "survivors": ("landmark", table["survivors"].to_numpy(np.int64)),
            **months,
            "share": (("landmark", *groups), share),
        },
        coords={"landmark": labels, **{dim: cells[dim].to_numpy() for dim in groups}},
    )


def _faults(table: pd.DataFrame, cells: xr.Dataset, study: str) -> list[Fault]:
    end = float(cells["interval_end"].max())
    faults = []
    for number, row in enumerate(table.to_dict("records"), start=2):
        start, stop = float(row["start"]), float(row["stop"])
        patients, survivors = float(row["patients"]), float(row["survivors"])
        checks: list[tuple[bool, str, Any, str]] = [
            (0 <= start < stop, "stop", (start, stop), "0 <= start < stop"),
            (
                0 <= survivors <= patients and patients >= 1,
                "survivors",
                (patients, survivors),
                "0 <= survivors <= patients",
            ),
            (stop <= end, "stop", stop, f"at most {end:g} months, the last cut"),
            (
                not study or str(row["study"]) != study,
                "study",
                row["study"],
                "another study: these patients are in the cells already",
            ),
        ]
        faults += [
            Fault("a landmark that cannot be used", row=number, column=c, value=v, allowed=allowed)
            for good, c, v, allowed in checks
            if not good
        ]
        for dim in cells["rows"].dims:
            level, known = str(row.get(dim, "")), [str(v) for v in cells[dim].to_numpy()]
            if level and level not in known:
                allowed = ", ".join(known) + ", or empty"
                faults.append(
                    Fault(
                        "unknown level", row=number, column=str(dim), value=level, allowed=allowed
                    )
                )
    return faults


def _overlaps(table: pd.DataFrame, groups: list[str]) -> list[Fault]:
    """Landmarks of one study and group must follow each other: its patients count once a month."""
    keys = ["study", *(name for name in groups if name in table.columns)]
    faults = []
    for _, part in table.sort_values("start").groupby(keys):
        late = part["start"].to_numpy()[1:] < part["stop"].to_numpy()[:-1]
        faults += [
            Fault(
                "landmarks of one study overlap",
                value=f"{part['study'].iloc[0]}: start {part['start'].iloc[k + 1]:g} before stop"
                f" {part['stop'].iloc[k]:g}",
                remedy="give each landmark from where the one before stops",
            )
            for k in np.flatnonzero(late)
        ]
    return faults


def _months(cells: xr.Dataset, times: np.ndarray) -> np.ndarray:
    start, end = cells["interval_start"].to_numpy(), cells["interval_end"].to_numpy()
    return np.clip(np.minimum(times[:, None], end) - start, 0.0, None)


def _share(row: Mapping[Any, Any], cells: xr.Dataset, groups: list[str]) -> np.ndarray:
    share = cells["rows"].astype(float)
    for dim in groups:
        level = str(row.get(dim, ""))
        if level:
            share = share.where(cells[dim].astype(str) == level, 0.0)
    if float(share.sum()) == 0:  # a group the cohort lacks: even over what is not named
        share = xr.ones_like(share)
        for dim in groups:
            level = str(row.get(dim, ""))
            share = share.where(cells[dim].astype(str) == level, 0.0) if level else share
    return (share / float(share.sum())).to_numpy()

"""Printed adverse events become AdverseEventCounts: events in body systems, at two severities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from her2bayes.errors import Fault, raise_if

if TYPE_CHECKING:
    import pandas as pd

ANY = "any"
"""Severity that includes all grades, and the event that stands for any event at all."""

NO_SYSTEM = "not given"


@dataclass(frozen=True)
class AdverseEvents:
    """Counts by event, and those of any event at all.

    ``counts`` has ``any``, ``severe``, ``severe_of`` (0 where no severe count is printed) and
    ``patients`` by ``event``, with the coordinate ``body_system``; ``severities`` are the words for
    both; ``whole`` maps a severity to patients with any event and patients at risk.
    """

    counts: xr.Dataset
    severities: tuple[str, ...]
    whole: Mapping[str, tuple[int, int]]

    def graded(self, event: str) -> bool:
        """Tell whether the severity of an event is printed."""
        one = self.counts.sel(event=event)
        return bool(one["severe_known"])

    def cells(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Printed counts and patients by event and severity, any event at all first."""
        found = {(ANY, severity): cell for severity, cell in self.whole.items()}
        for event in map(str, self.counts["event"].values):
            one = self.counts.sel(event=event)
            patients = int(one["patients"])
            found[event, ANY] = (int(one["any"]), patients)
            if len(self.severities) > 1 and self.graded(event):
                found[event, self.severities[1]] = (int(one["severe"]), patients)
        return found

    def bounds(self, severity: str) -> tuple[int, int]:
        """Fewest and most patients with at least one of the events, from the counts alone.

        Counts by event do not say which events meet in one patient (Fréchet's bounds).
        """
        column = self.counts["any" if severity == ANY else "severe"].values
        patients = int(self.counts["patients"].values.max())
        return int(column.max(initial=0)), min(patients, int(column.sum()))


def read_adverse_events(rows: pd.DataFrame, file: str | Path) -> AdverseEvents:
    """Arrange rows with ``event``, ``body_system``, ``severity``, ``count`` and ``patients``.

    ``row`` (line in the file) is used in faults where there is such a column. Raises ``BadInput``
    with every fault: a severe count above that of any severity, a severe count without one of any
    severity, other patients in the two, more than two severities.
    """
    severities = list(dict.fromkeys(str(s) for s in rows["severity"]))
    faults: list[Fault] = []
    severe = [s for s in severities if s != ANY]
    if len(severe) > 1 or ANY not in severities:
        allowed = f"'{ANY}' and at most one other, such as 'grade 3-4'"
        faults.append(Fault("severities", file, None, "severity", ", ".join(severities), allowed,
                            "keep one cut of the grades"))  # fmt: skip
        raise_if(faults)
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    for record in rows.to_dict("records"):
        row = {str(k): v for k, v in record.items()}
        cells.setdefault(str(row["event"]), {})[str(row["severity"])] = row
    for event, found in cells.items():
        faults += _event_faults(event, found, severe, file)
    raise_if(faults)
    names = [event for event in cells if event != ANY]
    if not names:
        raise_if([Fault("no single adverse event", file, remedy="add one row an event")])
    whole = {
        severity: (int(row["count"]), int(row["patients"]))
        for severity, row in cells.get(ANY, {}).items()
    }
    return AdverseEvents(_dataset(cells, names, severe), (ANY, *severe), whole)


def _event_faults(
    event: str, found: Mapping[str, Mapping[str, Any]], severe: Sequence[str], file: str | Path
) -> list[Fault]:
    if not severe or severe[0] not in found:
        return []
    high = found[severe[0]]
    line = int(high["row"]) if "row" in high else None
    if ANY not in found:
        remedy = f"add the row of {event} with severity '{ANY}'"
        return [Fault(f"{event}: no count of any severity", file, line, "severity", severe[0],
                      None, remedy)]  # fmt: skip
    low = found[ANY]
    faults = []
    if int(high["count"]) > int(low["count"]):
        problem = f"{event}: more patients with {severe[0]} than with any severity"
        allowed = f"0 to {int(low['count'])}"
        faults.append(Fault(problem, file, line, "count", int(high["count"]), allowed,
                            "correct one of the two counts"))  # fmt: skip
    if int(high["patients"]) != int(low["patients"]):
        problem = f"{event}: the two severities have different patients"
        allowed = str(int(low["patients"]))
        faults.append(Fault(problem, file, line, "patients", int(high["patients"]), allowed,
                            "count both in the same patients"))  # fmt: skip
    return faults


def _dataset(
    cells: Mapping[str, Mapping[str, Mapping[str, Any]]], names: list[str], severe: Sequence[str]
) -> xr.Dataset:
    def column(name: str, severity: str) -> np.ndarray:
        values = [int(cells[e][severity][name]) if severity in cells[e] else 0 for e in names]
        return np.array(values, dtype=np.int64)

    high = severe[0] if severe else ""
    known = np.array([high in cells[event] for event in names])
    any_ = column("count", ANY)
    systems = [str(cells[event][ANY].get("body_system") or NO_SYSTEM) for event in names]
    return xr.Dataset(
        {
            "any": ("event", any_),
            "severe": ("event", column("count", high)),
            "severe_of": ("event", np.where(known, any_, 0)),
            "severe_known": ("event", known),
            "patients": ("event", column("patients", ANY)),
        },
        coords={"event": names, "body_system": ("event", systems)},
    )

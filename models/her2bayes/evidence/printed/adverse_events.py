"""Printed adverse events become AdverseEventCounts: events in body systems, at two severities.

Adverse events that are severe by definition: no grade below 3 exists for them.

CTCAE version 5.0 (US National Cancer Institute, 27 November 2017): terms whose cells of grade 1 and
2 hold a dash. Their count of any severity and of grade 3 or higher are one count, and a share of
severe cases among all cases is no quantity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from her2bayes.errors import Fault, raise_if

if TYPE_CHECKING:
    import pandas as pd


LEAST_GRADE = {
    "febrile neutropenia": 3,
    "anaphylaxis": 3,
    "adult respiratory distress syndrome": 3,
    "hepatic failure": 3,
    "multi-organ failure": 3,
    "sepsis": 3,
    "stevens-johnson syndrome": 3,
    "treatment related secondary malignancy": 3,
    "tumor lysis syndrome": 3,
    "cardiac arrest": 4,
    "leukemia secondary to oncology chemotherapy": 4,
    "myelodysplastic syndrome": 4,
    "respiratory failure": 4,
    "toxic epidermal necrolysis": 4,
    "ventricular fibrillation": 4,
    "death": 5,
    "death nos": 5,
    "sudden death nos": 5,
}
"""Least grade of an event in CTCAE 5.0; events that version 4 grades lower are left out."""

OTHER_NAMES = {
    "acute respiratory distress syndrome": "adult respiratory distress syndrome",
    "anaphylactic reaction": "anaphylaxis",
    "anaphylactic shock": "anaphylaxis",
    "neutropenic fever": "febrile neutropenia",
    "neutropenia febrile": "febrile neutropenia",
    "multiorgan failure": "multi-organ failure",
}
"""What papers write for a term."""

SEVERE_GRADE = 3
"""Grade that CTCAE calls severe."""


def least_grade(event: str) -> int | None:
    """Least grade that an event can have; None where all grades exist.

    Case, British spelling and word order with a comma ("Neutropaenia, febrile") do not matter.
    """
    name = re.sub(r"[\s,]+", " ", event.strip().lower())
    for british, american in (("paenia", "penia"), ("tumour", "tumor"),
                              ("leukaemia", "leukemia")):  # fmt: skip
        name = name.replace(british, american)
    return LEAST_GRADE.get(OTHER_NAMES.get(name, name))


def cut_grade(severity: str) -> int | None:
    """Least grade that a severity names: 3 for "grade 3-4", "grade ≥3" and "severe"."""
    found = re.search(r"[1-5]", severity)
    if found:
        return None if re.search(r"[<≤]", severity) else int(found.group())
    return SEVERE_GRADE if re.search(r"\bsevere\b", severity.lower()) else None


def severe_by_definition(event: str, severity: str) -> bool:
    """Tell whether every case of ``event`` is of ``severity``, whatever a table counts."""
    least, cut = least_grade(event), cut_grade(severity)
    return least is not None and cut is not None and least >= cut


ANY = "any"
"""Severity that includes all grades, and the event that stands for any event at all."""

NO_SYSTEM = "not given"


@dataclass(frozen=True)
class AdverseEvents:
    """Counts by event, and those of any event at all.

    ``counts`` has ``any``, ``severe`` and ``patients`` by ``event``, with the coordinate
    ``body_system``; ``severe_known`` tells whether a severe count is known, ``by_definition``
    whether every case is severe, and ``severe_of`` is the number of cases among which severe ones
    are counted (0 where none are, or where they are all). ``severities`` are the words for both
    (where "any" is not counted, one other); ``whole`` maps a severity to patients with any event
    and patients at risk.
    """

    counts: xr.Dataset
    severities: tuple[str, ...]
    whole: Mapping[str, tuple[int, int]]

    @property
    def names(self) -> list[str]:
        """The single events."""
        return [str(event) for event in self.counts["event"].values]

    @property
    def by_definition(self) -> list[str]:
        """Events of which every case is severe."""
        told = self.counts["by_definition"].values
        return [event for event, one in zip(self.names, told, strict=True) if one]

    def graded(self, event: str) -> bool:
        """Tell whether the severe cases of an event are counted."""
        return bool(self.counts.sel(event=event)["severe_known"])

    def cells(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Counts and patients by event and severity, any event at all first."""
        found = {(ANY, severity): cell for severity, cell in self.whole.items()}
        for event in self.names:
            one = self.counts.sel(event=event)
            patients = int(one["patients"])
            found[event, self.severities[0]] = (int(one["any"]), patients)
            if len(self.severities) > 1 and self.graded(event):
                found[event, self.severities[1]] = (int(one["severe"]), patients)
        return found

    def bounds(self, severity: str) -> tuple[int, int]:
        """Fewest and most patients with at least one of the events, from the counts alone.

        Counts by event do not say which events meet in one patient (Fréchet's bounds).
        """
        column = self.counts["any" if severity == self.severities[0] else "severe"].values
        patients = int(self.counts["patients"].values.max(initial=0))
        return int(column.max(initial=0)), min(patients, int(column.sum()))

    def contradictions(self) -> list[str]:
        """Say where fewer patients are counted with any event than with one of them."""
        said = []
        for (event, severity), (count, patients) in self.cells().items():
            whole = self.whole.get(severity)
            if whole and whole[1] == patients and whole[0] < count:
                said.append(f"{count} of {patients} patients with {event} ({severity}), but "
                            f"{whole[0]} with any event")  # fmt: skip
        return said


def read_adverse_events(rows: pd.DataFrame, file: str | Path) -> AdverseEvents:
    """Arrange rows with ``event``, ``body_system``, ``severity``, ``count`` and ``patients``.

    ``row`` (line in the file) is used in faults where there is such a column. Raises ``BadInput``
    with every fault: a severe count above that of any severity, a severe count without one of any
    severity (an event that is severe by definition needs none), other patients in the two, nobody
    at risk, more than two severities.
    """
    severities = list(dict.fromkeys(str(s) for s in rows["severity"]))
    severe = [s for s in severities if s != ANY]
    if ANY not in severities and len(severe) == 1:
        severe = []  # one cut of the grades alone
    base = ANY if ANY in severities else severities[0]
    faults = at_risk_faults(rows, file)
    if len(severe) > 1:
        allowed = f"'{ANY}' and at most one other, such as 'grade 3-4'"
        remedy = f"keep one cut of the grades, and '{ANY}' where it is counted"
        problem, found_ = "severities", ", ".join(severities)
        faults.append(Fault(problem, file, None, "severity", found_, allowed, remedy))
        raise_if(faults)
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    for record in rows.to_dict("records"):
        row = {str(k): v for k, v in record.items()}
        cells.setdefault(str(row["event"]), {})[str(row["severity"])] = row
    whole = {
        severity: (int(row["count"]), int(row["patients"]))
        for severity, row in cells.pop(ANY, {}).items()
    }
    for event, found in cells.items():
        if severe and base not in found and severe_by_definition(event, severe[0]):
            found[base] = found[severe[0]]
        faults += _event_faults(event, found, severe, file)
    raise_if(faults)
    return AdverseEvents(_dataset(cells, base, severe), (base, *severe), whole)


def at_risk_faults(rows: pd.DataFrame, file: str | Path) -> list[Fault]:
    """Faults of rows without patients at risk."""
    return [
        Fault(f"{row['event']}: nobody at risk", file, int(row["row"]) if "row" in row else None,
              "patients", 0, "1 or more", "leave the row out")
        for row in rows[rows["patients"] == 0].to_dict("records")
    ]  # fmt: skip


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
    cells: Mapping[str, Mapping[str, Mapping[str, Any]]], base: str, severe: Sequence[str]
) -> xr.Dataset:
    def column(name: str, severity: str) -> np.ndarray:
        values = [
            int(found[severity][name]) if severity in found else 0 for found in cells.values()
        ]
        return np.array(values, dtype=np.int64)

    high = severe[0] if severe else ""
    known = np.array([high in found for found in cells.values()], dtype=bool)
    any_, worse = column("count", base), column("count", high)
    defined = [bool(high) and severe_by_definition(event, high) for event in cells]
    defined_so = known & (any_ == worse) & np.array(defined, dtype=bool)
    systems = [str(found[base].get("body_system") or NO_SYSTEM) for found in cells.values()]
    return xr.Dataset(
        {
            "any": ("event", any_),
            "severe": ("event", worse),
            "severe_of": ("event", np.where(known & ~defined_so, any_, 0)),
            "severe_known": ("event", known),
            "by_definition": ("event", defined_so),
            "patients": ("event", column("patients", base)),
        },
        coords={"event": list(cells), "body_system": ("event", systems)},
    )

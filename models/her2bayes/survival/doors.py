"""Patients from any door as follow-up: a file, a data frame, a study folder through its map."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.patients.cohort import Cohort, read_cohort
from her2bayes.evidence.patients.external_survival import read_external
from her2bayes.evidence.patients.follow_up import FollowUp, read_follow_up
from her2bayes.evidence.patients.maps import ColumnMap, load_map, map_path
from her2bayes.evidence.patients.patients import (
    Patients,
    Wanted,
    mapped_columns,
    read_patients,
    single_classes,
)


@dataclass(frozen=True)
class Reading:
    """Which columns and codes mean what; every name is that of a flag of ``fit_survival``.

    ``by`` maps each factor to its levels in order (None: as found); ``frailty`` names factors of
    many levels among them; ``map`` is a column map, by name or path; ``outcome`` names the endpoint
    in estimands.
    """

    time: str
    event: str = ""
    by: Mapping[str, Sequence[str] | None] = field(default_factory=dict)
    entry: str = ""
    cause: str = ""
    patient: str = ""
    time_unit: str = "months"
    event_code: str = ""
    censored_code: Sequence[str] = ()
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ignore_entry: bool = False
    member: str = ""
    nonpositive: str = "refuse"
    longest: float = 600.0
    frailty: Sequence[str] = ()
    map: str = ""
    outcome: str = ""

    @property
    def factors(self) -> dict[str, Sequence[str] | None]:
        """Factors and their levels, those of a frailty at the end."""
        return {**self.by, **{name: self.by.get(name) for name in self.frailty}}

    @property
    def wanted(self) -> Wanted:
        """What a column map is asked for."""
        return Wanted(
            self.time, self.event, self.entry, self.cause, self.ignore_entry, self.time_unit,
            self.event_code,
        )  # fmt: skip

    @property
    def codes(self) -> dict[str, Any]:
        """Arguments of ``read_follow_up`` besides the columns that an opened source names."""
        if self.nonpositive not in ("refuse", "drop"):
            fault = "--nonpositive cannot be read"
            raise BadInput(Fault(fault, value=self.nonpositive, allowed="refuse, drop"))
        return {
            "patient": self.patient or None,
            "endpoint": self.outcome or None,
            "time_unit": self.time_unit,
            "event_code": self.event_code or None,
            "censored_codes": tuple(self.censored_code),
            "missing": self.missing,
            "member": self.member,
            "nonpositive": self.nonpositive,
            "longest": self.longest,
            "many_levels": tuple(self.frailty),
        }


@dataclass(frozen=True)
class Opened:
    """A source for ``read_follow_up``, its arguments, a title, the cohort of a map."""

    source: Any
    title: str
    columns: Mapping[str, Any]
    cohort: Cohort | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """How a map was used, one line each."""
        return tuple(self.columns.get("mapped", ()))


@dataclass(frozen=True)
class Read:
    """Follow-up with where it comes from: what other files of the same shape are read with."""

    follow_up: FollowUp
    title: str
    name: str
    citation: str = ""
    digest: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)
    cohort: Cohort | None = None

    @property
    def about(self) -> dict[str, str]:
        """Whose data they are, for a report."""
        return {"citation": self.citation, "digest": self.digest}

    def elsewhere(
        self, files: Sequence[Path], by: Mapping[str, Any], member: str = ""
    ) -> dict[str, FollowUp]:
        """Patients of other studies, with the same columns."""
        return read_external(files, self.follow_up, by, **{**self.columns, "member": member})


def read(data: Any, how: Reading) -> Read:
    """Read patients from any source; ``BadInput`` with everything that is wrong with them."""
    if isinstance(data, FollowUp):
        return Read(data, "Patient cohort", "cohort")
    file = Path(data) if isinstance(data, str | Path) else None
    if file is not None:
        opened, said = open_source(file, how.map, how.wanted, list(how.factors)), digest(file)
    else:
        patients = read_patients(data, map=how.map or None)
        opened, said = _opened(patients, how), patients.digest
    columns = {**opened.columns, **how.codes}
    follow_up = read_follow_up(opened.source, by=how.factors, **columns)
    name = file.stem if file else Path(opened.title).stem
    citation = file.name if file else opened.title
    return Read(follow_up, opened.title, name, citation, said, columns, opened.cohort)


def _opened(patients: Patients, how: Reading) -> Opened:
    """Patients that were read before, or a data frame."""
    if patients.cohort is None or patients.map is None:
        raise_if(_without_map(how.wanted))
        return Opened(patients.rows, patients.name, _columns(how.wanted))
    columns = _mapped(patients.cohort, patients.map, how.wanted, list(how.factors))
    return Opened(patients.rows, patients.name, columns, patients.cohort)


def open_source(where: Path, map_name: str, wanted: Wanted, by: Sequence[str]) -> Opened:
    """Open a file of patients, or a study folder through its map (each patient in one class)."""
    if not map_name:
        raise_if(_without_map(wanted))
        return Opened(where, where.stem, _columns(wanted))
    mapped = load_map(map_path(map_name))
    cohort = read_cohort(mapped, where)
    columns = _mapped(cohort, mapped, wanted, by)
    return Opened(single_classes(cohort), cohort.title, columns, cohort)


def _columns(wanted: Wanted) -> dict[str, Any]:
    return {
        "time": wanted.time, "event": wanted.event, "entry": wanted.entry or None,
        "cause": wanted.cause or None,
    }  # fmt: skip


def _mapped(cohort: Cohort, mapped: ColumnMap, wanted: Wanted, by: Sequence[str]) -> dict[str, Any]:
    used, lines = mapped_columns(cohort, mapped, wanted, by)
    return {**used, "mapped": (*lines, *cohort.remarks)}


def _without_map(wanted: Wanted) -> list[Fault]:
    faults = []
    if not wanted.event:
        remedy = "name it with --event COLUMN"
        faults.append(Fault("no column says who had the event", column="--event", remedy=remedy))
    if wanted.ignore_entry:
        remedy = "leave --ignore-entry out: without --entry nobody enters late"
        faults.append(Fault("no map declares an entry", column="--ignore-entry", remedy=remedy))
    return faults


def digest(source: Path) -> str:
    """SHA-256 of a file, or of the files of a folder."""
    total = hashlib.sha256()
    files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(1 << 22):
                total.update(block)
    return total.hexdigest()


def cohort_text(follow_up: FollowUp, title: str) -> list[str]:
    """The cohort before anything is fitted, one line each."""
    lines = [
        f"{title}: {follow_up.patients:,} patients, {follow_up.events:,} events, longest follow-up "
        f"{follow_up.last_time:.1f} months"
    ]
    lines += [f"  {line}" for line in follow_up.told]
    lines += [f"  left out, {reason}: {n:,}" for reason, n in follow_up.left_out.items()]
    return lines + [f"  {name}: {', '.join(v)}" for name, v in follow_up.factors.items()]

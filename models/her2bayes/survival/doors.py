"""Patients from any door as follow-up: a file, a data frame, a study folder through its map."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.patients.external_survival import read_external
from her2bayes.evidence.patients.follow_up import FollowUp, read_follow_up
from her2bayes.evidence.patients.patients import Wanted

if TYPE_CHECKING:
    from her2bayes.evidence.patients.cohort import Cohort

ALLOWED = "a path, a data frame (pandas, Polars, Arrow), patients or follow-up that were read"


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
class Patients:
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


def read(data: Any, how: Reading) -> Patients:
    """Read patients from any source; ``BadInput`` with everything that is wrong with them."""
    if isinstance(data, FollowUp):
        return Patients(data, "Patient cohort", "cohort")
    opened = open_source(data, how.map, how.wanted, list(how.factors))
    columns = {**opened.columns, **how.codes}
    follow_up = read_follow_up(opened.source, by=how.factors, **columns)
    file = Path(data) if isinstance(data, str | Path) else None
    return Patients(
        follow_up,
        opened.title,
        file.stem if file else "cohort",
        file.name if file else "data frame",
        digest(file if file else opened.source),
        columns,
        opened.cohort,
    )


def open_source(where: Any, map_name: str, wanted: Wanted, by: Sequence[str]) -> Opened:
    """Open a source of patients, or a study folder through its map (each patient in one class)."""
    from her2bayes.evidence.patients.cohort import read_cohort
    from her2bayes.evidence.patients.maps import load_map, map_path
    from her2bayes.evidence.patients.patients import mapped_columns

    path = Path(where) if isinstance(where, str | Path) else None
    if not map_name:
        raise_if(_without_map(wanted))
        columns = {
            "time": wanted.time, "event": wanted.event, "entry": wanted.entry or None,
            "cause": wanted.cause or None,
        }  # fmt: skip
        if path is not None:
            return Opened(path, path.stem, columns)
        return Opened(_frame(where), "Patient cohort", columns)
    if path is None:
        raise BadInput(Fault("a map reads a study's folder", value=type(where).__name__,
                             allowed="its path"))  # fmt: skip
    mapped = load_map(map_path(map_name))
    cohort = read_cohort(mapped, path)
    used, lines = mapped_columns(cohort, mapped, wanted, by)
    used["mapped"] = (*lines, *cohort.remarks)
    return Opened(single_classes(cohort), cohort.title, used, cohort)


def _frame(data: Any) -> pd.DataFrame:
    """Any data frame as one of pandas."""
    if isinstance(data, pd.DataFrame):
        return data
    import narwhals as nw

    try:
        frame = nw.from_native(data)
    except TypeError as error:
        value = type(data).__name__
        raise BadInput(Fault("no patients", value=value, allowed=ALLOWED)) from error
    eager = frame.collect() if isinstance(frame, nw.LazyFrame) else frame
    return eager.to_pandas()


def _without_map(wanted: Wanted) -> list[Fault]:
    faults = []
    if not wanted.event:
        remedy = "name it with --event COLUMN"
        faults.append(Fault("no column says who had the event", column="--event", remedy=remedy))
    if wanted.ignore_entry:
        remedy = "leave --ignore-entry out: without --entry nobody enters late"
        faults.append(Fault("no map declares an entry", column="--ignore-entry", remedy=remedy))
    return faults


def single_classes(cohort: Cohort) -> pd.DataFrame:
    """Patients with one class each as ``her2`` and ``her2_primary``.

    A reading that leaves several classes open belongs to no single group: its cell stays empty and
    the patient is counted as left out.
    """
    patients = cohort.patients.copy()
    single = set(cohort.categories)
    for name, end in (("her2", "recurrence"), ("her2_primary", "primary")):
        reading = patients[f"{end}_reading"]
        patients[name] = reading.where(reading.isin(single), "")
    return patients


def digest(source: Path | pd.DataFrame) -> str:
    """SHA-256 of a file, of the files of a folder, or of the rows of a data frame."""
    total = hashlib.sha256()
    if isinstance(source, pd.DataFrame):
        total.update(source.to_csv(index=False).encode())
        return total.hexdigest()
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

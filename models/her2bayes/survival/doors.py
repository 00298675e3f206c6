"""Patients from any door as follow-up: a file, a data frame, a study folder through its map.

What is asked of patients followed over time: model, factors, intervals, landmarks, priors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from her2bayes.bayes.prior import Prior, prior
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
from her2bayes.evidence.patients.survival_cells import DEFAULT_INTERVALS
from her2bayes.survival.survival import DEFAULT_PRIORS

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.evidence.patients.follow_up import FollowUp
    from her2bayes.inference.own_model import Model


TIMES = (6.0, 12.0, 24.0, 36.0, 60.0, 120.0)
DECADE = 120.0  # landmarks in months where none of TIMES lies within follow-up (ages)
MODELS = ("ph", "nonph")


@dataclass(frozen=True)
class Specification:
    """What is asked of the patients.

    ``model``: "ph" (hazard ratios constant in time) or "nonph" (they walk over time, for the first
    factor). ``interactions``: whether effects of the first factor may differ between levels of the
    others. ``nested``: factor -> coarser factor. ``frailty``: exchangeable groups such as centres.
    ``cuts`` as in ``cut_points``. ``reference``: factor -> level that others are compared with.
    ``times``: landmarks in months. ``study`` names the cohort, ``landmarks`` survival known from
    elsewhere. ``own`` is a model of the user's in place of ours, ``model`` then its name.
    """

    study: str = "cohort"
    title: str = "Patient cohort"
    model: str = "ph"
    interactions: bool = True
    nested: Mapping[str, str] = field(default_factory=dict)
    frailty: tuple[str, ...] = ()
    cuts: str | Sequence[float] = "quantile"
    intervals: int = DEFAULT_INTERVALS
    reference: Mapping[str, str] = field(default_factory=dict)
    times: tuple[float, ...] = ()
    priors: Mapping[str, Prior] = field(default_factory=dict)
    landmarks: pd.DataFrame | None = None
    own: Model | None = None

    @property
    def defaults(self) -> Mapping[str, Prior]:
        """Priors of the model where none are given."""
        return DEFAULT_PRIORS if self.own is None else self.own.defaults

    def references(self, follow_up: FollowUp) -> dict[str, str]:
        """Reference level of each factor: as asked, or the first; all wrong names together."""
        raise_if(self._faults(follow_up))
        return {n: self.reference.get(n, levels[0]) for n, levels in follow_up.factors.items()}

    def _faults(self, follow_up: FollowUp) -> list[Fault]:
        faults = []
        for name, level in self.reference.items():
            known = follow_up.factors.get(name, ())
            if level not in known:
                allowed = ", ".join(known) or f"a factor: {', '.join(follow_up.factors)}"
                value = f"{name}={level}"
                faults.append(Fault("no such reference level", value=value, allowed=allowed))
        if self.model not in MODELS and self.own is None:
            allowed = f"{', '.join(MODELS)}, or the file of a model of your own"
            faults.append(Fault("no such model", value=self.model, allowed=allowed))
        if self.own is not None and self.landmarks is not None:
            problem = "a model of one's own takes no survival known from elsewhere"
            faults.append(Fault(problem, value=self.model, remedy="leave the landmarks out"))
        for name in self.frailty:
            if name not in follow_up.factors:
                faults.append(Fault("the frailty names no factor", value=name))
        wrong = [t for t in self.times if not (np.isfinite(t) and t > 0)]
        if wrong:
            faults.append(Fault("landmark times must be months above 0", value=wrong))
        return faults

    def options(self, follow_up: FollowUp) -> dict[str, Any]:
        """Options of the model that answer it, without those left at their default."""
        if self.own is not None:
            return {}
        fixed = [name for name in follow_up.factors if name not in self.frailty]
        first = [name for name in fixed[:1] if len(follow_up.factors[name]) > 1]
        related = {*self.nested.items(), *((b, a) for a, b in self.nested.items())}
        crossed = [
            (first[0], name)
            for name in fixed[1:]
            if first and len(follow_up.factors[name]) > 1 and (first[0], name) not in related
        ]
        # a factor's interaction already covers the one it is nested in
        crossed = [pair for pair in crossed if pair[1] not in self.nested.values()]
        options: dict[str, Any] = {}
        if self.interactions and crossed:
            options["interactions"] = tuple(crossed)
        if self.model == "nonph" and first:
            options["nonproportional"] = tuple(first)
        if self.frailty:
            options["frailty"] = self.frailty
        return options


def landmark_times(asked: Sequence[float], first: float, last: float) -> tuple[float, ...]:
    """Landmarks in months; ``BadInput`` where one is not after the first entry.

    Whoever is observed has had no event by the first entry, so survival to before it is no
    question to these patients.
    """
    early = [time for time in asked if time <= first]
    if early:
        problem = "landmark times that are not after the first entry"
        remedy = "survival is conditional on no event by then; ask for a later time"
        raise BadInput(
            Fault(problem, value=early, allowed=f"above {first:g} months", remedy=remedy)
        )
    usual = [t for t in TIMES if first < t <= last]
    decades = np.arange(DECADE, last + 1e-9, DECADE)
    return tuple(asked) or tuple(usual) or tuple(float(t) for t in decades if t > first)


def elicited(median: Sequence[float]) -> dict[str, Prior]:
    """Prior of the reference log hazard from a median survival and its 95 % limits, in months.

    A median m under a constant hazard is a hazard of log 2 / m. No numbers, no change.
    """
    if not median:
        return {}
    middle, low, high = (*median, 0.0, 0.0, 0.0)[:3]
    if not (len(median) == 3 and 0 < low < middle < high):
        allowed = "median, lower, upper in months, e.g. 24,6,96"
        raise BadInput(Fault("prior median survival", value=list(median), allowed=allowed))
    sigma = np.log(high / low) / (2 * 1.959963984540054)
    return {
        "reference_log_hazard": prior(
            "Normal",
            mu=float(np.log(np.log(2) / middle)),
            sigma=float(sigma),
            means=f"median survival {middle:g} months under a constant hazard, 95 % between "
            f"{low:g} and {high:g}",
        )
    }


def cut_scheme(cuts: str | int | Sequence[float]) -> tuple[str | list[float], int]:
    """Scheme and number of intervals of ``40``, ``equal``, ``quantile:20`` or ``6,12,24``.

    A number, or a sequence of months, stands for itself.
    """
    if isinstance(cuts, int):
        return "quantile", cuts
    if not isinstance(cuts, str):
        return [float(month) for month in cuts], DEFAULT_INTERVALS
    scheme, _, number = cuts.partition(":")
    if scheme in ("quantile", "equal") and (not number or number.isdigit()):
        return scheme, int(number) if number else DEFAULT_INTERVALS
    if cuts.isdigit():
        return "quantile", int(cuts)
    try:
        return [float(part) for part in cuts.split(",")], DEFAULT_INTERVALS
    except ValueError as error:
        allowed = "40, quantile:40, equal:20, or months: 6,12,24"
        raise BadInput(Fault("--cuts cannot be read", value=cuts, allowed=allowed)) from error


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

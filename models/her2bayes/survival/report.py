"""What ``fit_survival`` reads and writes: patients in, one folder of results out.

Classical numbers of a survival analysis as lines of the terminal.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import parse
from her2bayes.evidence.patients.follow_up import FollowUp
from her2bayes.inference.sampling import Sampling, Settings
from her2bayes.page.numbers import interval, p_value, probability, survival_time
from her2bayes.page.report import Outcome, Part
from her2bayes.page.report import slug as slug
from her2bayes.page.report import write as write_report
from her2bayes.page.section import Section
from her2bayes.survival import section as report
from her2bayes.survival.analysis import Result

if TYPE_CHECKING:
    from her2bayes.evidence.patients.cohort import Cohort
    from her2bayes.evidence.patients.mapped_endpoint import Wanted


KINDS = ("median", "association", "hazard_ratio")


def classical_lines(classical: pd.DataFrame) -> Iterator[str]:
    """Medians, tests of all groups and ratios of all patients, each with its P and its note."""
    rows = [row for row in classical.to_dict("records") if _told_rows(str(row["estimand"]))]
    if rows:
        yield "Classical (Kaplan-Meier, tests of all groups, Cox); all variants in classical.csv:"
    for row in rows:
        yield f"  {row['estimand']} {_text(row)}"


def _told_rows(estimand: str) -> bool:
    asked = parse(estimand)
    return asked.kind in KINDS and not (asked.kind == "hazard_ratio" and asked.given)


def _text(row: Mapping[Any, Any]) -> str:
    """Number with its interval, P, and the note; of a test its method stands for the number."""
    unreached = "not reached" if row["unit"] == "months" else ""
    text = interval(
        row["reproduced"], row["reproduced_lower"], row["reproduced_upper"], unit=row["unit"],
        unreached=unreached,
    )  # fmt: skip
    if row["statistic"] == "p_value":
        text = str(row["method"])
    p = p_value(row["reproduced_p"])
    text = text.replace("∞", "infinite")
    parts = (text, f"P {p if p[0] == '<' else f'= {p}'}" if p else "", str(row["note"]))
    return ", ".join(part for part in parts if part)


METHODS = (
    "Numbers marked reproduced are classical: Kaplan–Meier with Greenwood's variance and log "
    "interval, medians by R's rule, Cox regression with Efron's ties and Wald intervals (adjusted "
    "for the other factors), restricted means under the Kaplan–Meier curve. Where the likelihood "
    "of a hazard ratio rises without end the ratio is infinite or 0; its interval is that of the "
    "profile likelihood and its P that of the likelihood-ratio test. With competing causes: "
    "Aalen–Johansen cumulative incidence with log interval, Gray's test, cause-specific Cox "
    "regression. classical.csv holds the other variants. Posterior numbers are medians with "
    "95 % equal-tailed intervals, and the same quantity under the prior stands beside them. "
    "Contraction is one minus the ratio of posterior to prior variance.",
    "Patients enter the models as events and person-months by group and interval, which hold all "
    "that a piecewise-constant hazard can learn from them (Holford 1980; Laird & Olivier 1981). A "
    "median that some draws do not reach within follow-up has no upper limit here; the "
    "probability that it is not reached is a row of its own.",
)


@dataclass(frozen=True)
class Written:
    """What the user is told: lines of the summary and what did not converge."""

    summary: tuple[str, ...]
    failed: tuple[str, ...]


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


def open_source(where: Path, map_name: str, wanted: Wanted, by: Sequence[str]) -> Opened:
    """Open a file of patients, or a study folder through its map (each patient in one class)."""
    from her2bayes.evidence.patients.cohort import read_cohort
    from her2bayes.evidence.patients.mapped_endpoint import mapped_columns
    from her2bayes.evidence.patients.maps import load_map, map_path

    if not map_name:
        raise_if(_without_map(wanted))
        columns = {
            "time": wanted.time, "event": wanted.event, "entry": wanted.entry or None,
            "cause": wanted.cause or None,
        }  # fmt: skip
        return Opened(where, where.stem, columns)
    mapped = load_map(map_path(map_name))
    cohort = read_cohort(mapped, where)
    used, lines = mapped_columns(cohort, mapped, wanted, by)
    used["mapped"] = (*lines, *cohort.remarks)
    return Opened(single_classes(cohort), cohort.title, used, cohort)


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


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the files of a folder."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(1 << 22):
                total.update(block)
    return total.hexdigest()


def write(
    result: Result,
    out: Path,
    source: Path,
    sampling: Sampling,
    quick: bool,
    tables: Mapping[str, pd.DataFrame],
    command: Mapping[str, Any],
    further: tuple[Section, ...] = (),
    below: int = 0,
) -> Written:
    """Write estimates.csv, classical.csv, the further ``tables`` and the files of the page.

    ``further`` sections follow that on survival, which shows the tables it knows. With ``below`` a
    report to share: counts below it hidden, estimates.csv and the page only.
    """
    shown = result if not below else replace(result, classical=result.classical.iloc[:0])
    part = Part(
        "survival",
        (report.section(shown, tables, below), *further),
        shown.estimates,
        shown.classical,
        about={
            "id": result.question.study, "title": result.question.title, "design": "patient data",
            "doi": "", "citation": source.name, "digest": digest(source),
        },
        cohort=report.cohort_section(result, below),
        tables={} if below else {"classical": result.variants, **tables},
        evidence_kind="patients",
        methods=METHODS[1:] if below else METHODS,
    )  # fmt: skip
    settings = Settings(sampling.seed, quick, sampling.target_accept)
    outcome = write_report([part], out, settings, command=command, below=below)
    return _told(shown, outcome)


def _told(result: Result, outcome: Outcome) -> Written:
    table = result.estimates
    lines = [report.entry_text(result)] if result.follow_up.has_entry else []
    for row in table[table["estimand"].str.startswith(("hazard_ratio[", "median["))].to_dict(
        "records"
    ):
        values = (row["posterior_median"], row["posterior_lower"], row["posterior_upper"])
        median = row["estimand"].startswith("median[")
        text = survival_time(*values) if median else interval(*values, unit=row["unit"])
        chance = probability(row["posterior_probability"])
        lines.append(f"{row['estimand']} {text}" + (f", P(HR < 1) {chance}" if chance else ""))
    lines += classical_lines(result.classical)
    return Written((*lines, *outcome.lines), outcome.failed)


def cohort_text(follow_up: FollowUp, title: str) -> list[str]:
    """The cohort before anything is fitted, one line each."""
    lines = [
        f"{title}: {follow_up.patients:,} patients, {follow_up.events:,} events, longest follow-up "
        f"{follow_up.last_time:.1f} months"
    ]
    lines += [f"  {line}" for line in follow_up.told]
    lines += [f"  left out, {reason}: {n:,}" for reason, n in follow_up.left_out.items()]
    return lines + [f"  {name}: {', '.join(v)}" for name, v in follow_up.factors.items()]


def choice(value: str, option: str, allowed: Sequence[str]) -> Any:
    """One of the values an option allows."""
    if value not in allowed:
        raise BadInput(Fault(f"{option} cannot be read", value=value, allowed=", ".join(allowed)))
    return value


def numbers(text: str, option: str) -> list[float]:
    """Numbers separated by commas."""
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise BadInput(Fault(f"{option} cannot be read", value=text, allowed="12,24,60")) from error


def factors(texts: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
    """Read ``her2`` or ``her2=zero,low,positive`` (levels in that order, others left out).

    A level that holds a comma stands in double quotes.
    """
    found: dict[str, tuple[str, ...] | None] = {}
    for text in texts:
        name, mark, levels = text.partition("=")
        names = _listed(levels) if levels.strip() else ()
        if not name or (mark and not names) or name in found:
            raise BadInput(
                Fault(
                    "--by cannot be read", value=text, allowed="column or column=level,level; once"
                )
            )
        found[name.strip()] = names or None
    return found


def several(texts: Sequence[str], option: str) -> dict[str, tuple[str, ...]]:
    """Read ``column=code,code`` options into a mapping; a code with a comma stands in quotes."""
    return {name: _listed(value) for name, value in assigned(texts, option).items()}


def _listed(text: str) -> tuple[str, ...]:
    (row,) = csv.reader([text], skipinitialspace=True)
    return tuple(part.strip() for part in row if part.strip())


def assigned(texts: Sequence[str], option: str) -> dict[str, str]:
    """Read ``a=b`` options into a mapping."""
    found = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not (mark and name.strip() and value.strip()):
            raise BadInput(Fault(f"{option} cannot be read", value=text, allowed="name=value"))
        found[name.strip()] = value.strip()
    return found


def cuts(text: str) -> tuple[str | list[float], int | None]:
    """Read ``40``, ``equal``, ``quantile:20`` or ``6,12,24`` into a scheme and a number."""
    scheme, _, number = text.partition(":")
    if scheme in ("quantile", "equal") and (not number or number.isdigit()):
        return scheme, int(number) if number else None
    if text.isdigit():
        return "quantile", int(text)
    try:
        return [float(part) for part in text.split(",")], None
    except ValueError as error:
        allowed = "40, quantile:40, equal:20, or months: 6,12,24"
        raise BadInput(Fault("--cuts cannot be read", value=text, allowed=allowed)) from error

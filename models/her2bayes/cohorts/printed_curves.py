"""Digitised curves and numbers at risk as constraints on a paper's patients, beside its numbers.

At a time t of a curve whose points were read with error sigma,

    S(t + d) - e  <=  Kaplan-Meier at t  <=  S(t - d) + e,     e = 3 sigma, at least half a per cent

where S is the best curve through the points that never rises and d half the distance between them,
at least the tenth of a month to which patients' times are kept. ``POINTS`` times are taken, spread
evenly over the length of the curve and its fall together. A printed number at risk counts those who
left later than its time, a number censored those who left by then.

Curves come from the call, or from ``curves/`` in the study folder: ``os.csv`` of all patients,
``os her2=low.csv`` of a group, ``os at risk.csv`` with columns arm, time, n_at_risk (and
n_censored, so far), arms named as the groups are and ``all``; times in the unit of the endpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from her2bayes.audit.rounding import Interval, in_months
from her2bayes.cohorts.chain import statistics as kernel
from her2bayes.cohorts.chain.problem import TENTHS
from her2bayes.cohorts.chain.summary import CountFact, Statistic, Summary, Target
from her2bayes.errors import BadInput, Fault, raise_if, suggestion
from her2bayes.evidence.patients.digitised import (
    DigitisedArm,
    clean_curve,
    corridor,
    read_digitised,
    read_numbers,
    telling_times,
)
from her2bayes.evidence.read_table import TextTable, text_table

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study

FOLDER = "curves"
ALL = "all"
CURVE = "curve "  # how the names of what is read from a figure begin
POINTS = 32
READ = 3.0  # standard deviations of reading error within which a curve lies
LEAST = 0.005  # of survival: a finer corridor would decide about single patients
HALF = 0.25  # a number of patients is met by that number alone


@dataclass(frozen=True)
class Curves:
    """What was read of an endpoint's figure: arms by the group of patients they are of."""

    given: Mapping[str, Mapping[str, str]]  # name of an arm -> level of each factor
    curves: Mapping[str, Path | TextTable | DigitisedArm]
    numbers: Mapping[str, DigitisedArm] = field(default_factory=dict)  # at risk, without points
    events: Mapping[str, int] = field(default_factory=dict)

    @property
    def factors(self) -> tuple[str, ...]:
        """Factors that tell the arms apart."""
        return tuple(dict.fromkeys(name for given in self.given.values() for name in given))


def curves_of(
    study: Study,
    endpoint: str,
    curves: Mapping[str, Any] | None = None,
    at_risk: Any = None,
    events: Mapping[str, int] | None = None,
) -> Curves | None:
    """Curves of the call, else of the study folder; None without any.

    Raises ``BadInput`` with every arm that is no group of the study's patients.
    """
    if curves is None and at_risk is None:
        curves, at_risk = _in_folder(study, endpoint)
    if not curves and at_risk is None:
        return None
    faults: list[Fault] = []
    numbers = {} if at_risk is None else read_numbers(_source(at_risk))
    names = {str(arm): _group(study, str(arm), faults)
             for arm in [*(curves or {}), *numbers, *(events or {})]}  # fmt: skip
    title = {arm: _name(given) for arm, given in names.items()}
    shown = {title[str(arm)] for arm in [*(curves or {}), *numbers]}
    faults += [
        Fault("events of a group without curve or numbers at risk", value=arm,
              allowed=", ".join(shown))
        for arm in events or {} if title[str(arm)] not in shown
    ]  # fmt: skip
    raise_if(faults)
    return Curves(
        {title[arm]: given for arm, given in names.items()},
        {title[str(arm)]: one if isinstance(one, DigitisedArm) else _source(one)
         for arm, one in (curves or {}).items()},
        {title[name]: arm for name, arm in numbers.items()},
        {title[str(arm)]: int(number) for arm, number in (events or {}).items()},
    )  # fmt: skip


def _source(source: Any) -> Path | TextTable:
    return Path(source) if isinstance(source, str | Path) else text_table(source)


def endpoints_drawn(study: Study) -> list[str]:
    """Endpoints that the study folder has a figure of."""
    return list(dict.fromkeys(
        name for file in sorted((study.folder / FOLDER).glob("*.csv"))
        if (name := file.stem.partition(" ")[0]) in study.meta.get("endpoints", {})
    ))  # fmt: skip


def _in_folder(study: Study, endpoint: str) -> tuple[dict[str, Path], Path | None]:
    """Files of one endpoint in the folder of curves; a file of no endpoint is a fault."""
    found: dict[str, Path] = {}
    at_risk = None
    files = sorted((study.folder / FOLDER).glob("*.csv"), key=lambda file: file.stem)
    known = list(study.meta.get("endpoints", {}))
    raise_if([
        Fault("a curve of no endpoint of the study", file, allowed=", ".join(known),
              remedy="begin its name with the endpoint, then a blank and the group of patients")
        for file in files if file.stem.partition(" ")[0] not in known
    ])  # fmt: skip
    for file in files:
        name, _, group = file.stem.partition(" ")
        if name != endpoint:
            continue
        if group == "at risk":
            at_risk = file
        else:
            found[group or ALL] = file
    return found, at_risk


def _group(study: Study, text: str, faults: list[Fault]) -> dict[str, str]:
    """Level of each factor that an arm's name says: ``her2=low``, ``low``, ``all`` or nothing."""
    found: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        if part.casefold() == ALL:
            continue
        factor, mark, level = (piece.strip() for piece in part.partition("="))
        if not mark:
            named = [name for name, one in study.factors.items() if part in one.levels]
            factor, level = (named[0], part) if len(named) == 1 else ("", part)
        if factor not in study.factors or level not in study.factors[factor].levels:
            known = [f"{name}={level}" for name, one in study.factors.items()
                     for level in one.levels]  # fmt: skip
            remedy = suggestion(part, known) or "name the arm as a group of the study's patients"
            allowed = f"all, or FACTOR=LEVEL: {', '.join(known[:8])}"
            faults.append(Fault("no such group of patients", None, None, "arm", part, allowed,
                                remedy))  # fmt: skip
            continue
        found[factor] = level
    return found


def _name(given: Mapping[str, str]) -> str:
    return ", ".join(f"{factor}={level}" for factor, level in given.items()) or ALL


def with_curves(found: Summary, curves: Curves, unit: str = "months") -> Summary:
    """A summary with what a figure shows; raises ``BadInput`` with all faults of its files."""
    month = in_months(Interval(1.0, 1.0), unit)
    if month is None:
        remedy = "say in study.toml in which unit the endpoint's times are"
        raise BadInput(Fault("no unit of time", value=unit, allowed="e.g. months", remedy=remedy))
    arms, unit_in = _arms(found, curves), (month.lower + month.upper) / 2
    statistics, facts = list(found.statistics), list[CountFact]()
    left, end = list(found.left_out), 0.0
    for name, arm in arms.items():
        given = curves.given[name]
        months = replace(arm, time=arm.time * unit_in, risk_time=arm.risk_time * unit_in)
        statistics += _statistics(found.endpoint, name, given, months)
        facts += _facts(found, name, given, months)
        left += [(f"{CURVE}{name}", note) for note in arm.notes]
        end = max([end, *months.time, *months.risk_time])
    known = {(f.cells.tobytes(), f.event, f.low, f.high) for f in found.facts}
    new = [f for f in facts if (f.cells.tobytes(), f.event, f.low, f.high) not in known]
    return replace(
        found, statistics=tuple(statistics), facts=(*found.facts, *new),
        last=max(found.last, float(np.ceil(end * TENTHS) / TENTHS)), left_out=tuple(left),
    )  # fmt: skip


def _arms(found: Summary, curves: Curves) -> dict[str, DigitisedArm]:
    """Checked arms; those with numbers at risk alone have no points."""
    arms, faults = dict(curves.numbers), list[Fault]()
    for name, source in curves.curves.items():
        try:
            arms[name] = _arm(found, curves, name, source)
        except BadInput as bad:
            faults += bad.faults
    raise_if(faults)
    return {name: replace(arm, events=curves.events.get(name, arm.events))
            for name, arm in arms.items()}  # fmt: skip


def _arm(
    found: Summary, curves: Curves, name: str, source: Path | TextTable | DigitisedArm
) -> DigitisedArm:
    """One curve with its numbers at risk, or with the printed number of its patients alone."""
    if isinstance(source, DigitisedArm):
        return source
    numbers = curves.numbers.get(name)
    if numbers is not None:
        rows = {"time": numbers.risk_time, "n_at_risk": numbers.at_risk}
        rows |= {} if numbers.censored is None else {"n_censored": numbers.censored}
    else:
        patients = patients_of(found, curves.given[name])
        if patients is None:
            problem = f"how many patients curve '{name}' is of is not printed"
            remedy = "give at_risk: arm, time, n_at_risk; its first row alone will do"
            raise BadInput(Fault(problem, remedy=remedy))
        rows = {"time": [0.0], "n_at_risk": [patients]}  # type: ignore[dict-item]
    table = text_table(pd.DataFrame({"arm": name, **rows}))
    return read_digitised({name: source}, table, {})[name]


def patients_of(found: Summary, given: Mapping[str, str]) -> int | None:
    """Number of patients of a group, where a count says it alone."""
    if not given:
        return found.patients
    if not all(found.cells.knows(factor) for factor in given):
        return None
    mask = found.cells.where(given).astype(np.int64)
    for fact in found.facts:
        if not fact.event and fact.low == fact.high and np.array_equal(fact.cells, mask):
            return fact.low
    return None


def _statistics(
    endpoint: str, name: str, given: Mapping[str, str], arm: DigitisedArm
) -> Iterator[Statistic]:
    """Survival along the curve; patients at risk, and censored, at the rows of the table."""
    if arm.time.size:
        yield _statistic(kernel.SURVIVAL, endpoint, given, _points(name, arm))
    later = np.flatnonzero(arm.risk_time > 0)
    if later.size > kernel.VALUES:  # evenly: one number a month would tell nothing more
        later = later[np.linspace(0, later.size - 1, kernel.VALUES).round().astype(int)]
    for kind, what, numbers in ((kernel.AT_RISK, "at risk", arm.at_risk),
                                (kernel.CENSORED, "censored", arm.censored)):  # fmt: skip
        if numbers is not None and later.size:
            yield _statistic(kind, endpoint, given, [
                _target(name, what, "patients", k, float(arm.risk_time[row]),
                        (numbers[row] - HALF, numbers[row] + HALF))
                for k, row in enumerate(later)
            ])  # fmt: skip


def _points(name: str, arm: DigitisedArm) -> list[Target]:
    curve = clean_curve(arm.time, arm.survival)
    times = telling_times(curve, POINTS)
    reach = max(READ * curve.sigma, LEAST)
    low, high = corridor(curve, times, 1 / TENTHS)
    ends = np.maximum(low - reach, 0.0), np.minimum(high + reach, 1.0)
    return [
        _target(name, "survival", "share", k, float(t), window)
        for k, (t, *window) in enumerate(zip(times, *ends, strict=True))
    ]


def _target(
    name: str, what: str, scale: str, place: int, at: float, window: Sequence[float]
) -> Target:
    """One number of a figure at a time, called by its middle."""
    low, high = map(float, window)
    middle = (low + high) / 2
    text = f"{middle:.0f}" if scale == "patients" else f"{100 * middle:.1f} %"
    claim, words = f"{CURVE}{name} {what} @ {at:g}", f"{what} at {at:g} months"
    return Target(claim, words, text, place, low, high, scale, at)


def _statistic(
    kind: int, endpoint: str, given: Mapping[str, str], targets: Sequence[Target]
) -> Statistic:
    inside = f"{endpoint} | {_name(given)}" if given else endpoint
    return Statistic(f"survival[{inside}]", kind, dict(given), "", (), tuple(targets))


def _facts(
    found: Summary, name: str, given: Mapping[str, str], arm: DigitisedArm
) -> Iterator[CountFact]:
    mask = found.cells.where(given).astype(np.int64)
    first = int(arm.at_risk[0])
    yield CountFact(f"{CURVE}{name} @ 0", f"patients, {name}", mask, False, first, first)
    if arm.events is not None:
        total = int(arm.events)
        yield CountFact(f"{CURVE}{name} events", f"events, {name}", mask, True, total, total)

"""What can be wrong with follow-up rows, found by aggregates and named by rows; their levels."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.patients.event_codes import LOOKS_LIKE


@contextmanager
def without_deprecations() -> Iterator[None]:
    """Keep to ourselves that ibis 12 calls a function DuckDB 2 has renamed; nothing of ours."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"fetch_arrow_table\(\) is deprecated", category=DeprecationWarning
        )
        yield


def collect(expression: ir.Table) -> pd.DataFrame:
    """Run an expression and fetch its rows."""
    with without_deprecations():
        frame: pd.DataFrame = expression.to_pyarrow().to_pandas()
    return frame


KNOWN_ORDER = ("zero", "ultralow", "low", "positive")


def levels(
    table: ir.Table,
    given: Mapping[str, Sequence[str]],
    file: str | None,
    ordered: Mapping[str, Sequence[str]],
) -> dict[str, tuple[str, ...]]:
    """Levels of each factor in order: as given, ``ordered`` by a frame, or sorted."""
    if not given:
        return {}
    combinations = collect(table.select(*given).distinct())
    found, wrong = {}, []
    for factor, wanted in given.items():
        seen = set(combinations[factor].dropna())
        known = ", ".join(sorted(seen))
        wrong += [
            Fault(f"no row has the level '{level}'", file=file, column=factor, allowed=known)
            for level in wanted
            if level not in seen
        ]
        found[factor] = tuple(wanted) or in_order(seen, ordered.get(factor, ()))
    raise_if(wrong)
    return found


def in_order(levels_: Collection[str], known: Sequence[str] = ()) -> tuple[str, ...]:
    """Levels as ``known`` orders them, others after them: zero, low, positive; numbers; text."""
    places = {level: place for place, level in enumerate(known)}
    return tuple(
        sorted(levels_, key=lambda level: (places.get(level, len(places)), _level_order(level)))
    )


def _level_order(level: str) -> tuple[int, float, str]:
    if level in KNOWN_ORDER:
        return 0, KNOWN_ORDER.index(level), level
    number = pd.to_numeric(level, errors="coerce")
    return (1, float(number), level) if pd.notna(number) else (2, 0.0, level)


def causes(kept: ir.Table) -> tuple[str, ...]:
    """Causes among the events kept, sorted."""
    events = kept.filter(kept.event == 1)
    return tuple(sorted(collect(events.select("cause").distinct())["cause"].dropna()))


# ruff: noqa: PD003, PD004 (Ibis columns, not pandas)


MOST_LEVELS = 40
MANY_LEVELS = 5000
SHOWN = 5
LINE = "line in the file"
"""Column with the line of each row of a text file, as an editor numbers it."""


@dataclass(frozen=True)
class Limits:
    """What the caller allows (see ``read_follow_up``)."""

    nonpositive: bool
    longest: float
    time_unit: str
    tolerance: float
    many_levels: tuple[str, ...]


def complete(t: ir.Table) -> ir.Value:
    """Whether time, entry and event of a row are known."""
    return t.time.notnull() & t.event.notnull() & t.entry.notnull()


def named(t: ir.Table, given: Mapping[str, Sequence[str]]) -> ir.Value:
    """Whether every factor of a row is known, and among the levels asked for."""
    known: ir.Value = ibis.literal(True)
    for factor, levels_ in given.items():
        known = known & (
            t[factor].isin(levels_).fill_null(False) if levels_ else t[factor].notnull()
        )
    return known


def at_risk(t: ir.Table) -> ir.Value:
    """Whether a row spends any time at risk."""
    return t.time > t.entry


def _backwards(t: ir.Table, tolerance: float) -> ir.Value:
    return (t.time >= 0) & (t.entry >= 0) & (t.time < t.entry - tolerance)


def _event_at_entry(t: ir.Table, tolerance: float) -> ir.Value:
    never = ibis.literal(tolerance > 0)  # rounded times say nothing of the order within a month
    return (t.time >= 0) & (t.time == t.entry) & (t.event == 1) & ~never


def scan(
    table: ir.Table,
    given: Mapping[str, Sequence[str]],
    has_patient: bool,
    tolerance: float = 0.0,
) -> dict[str, Any]:
    """Count, in one pass, everything the checks and the cohort table need to know."""
    t = table
    usable, wanted, waiting = complete(t), named(t, given), at_risk(t)
    kept = (usable & wanted & waiting).fill_null(False)
    measures: dict[str, ir.Value] = {
        "rows": t.count(),
        "longest": t.time.max(),
        "mean": t.time.mean(),
        "fractions": _count(t.time % 1 != 0),
        "not_a_time": _count(t.time_bad),
        "not_an_entry": _count(t.entry_bad),
        "known_event": _count(t.event.notnull()),
        "has_codes": _count(t.event_text.notnull() & (t.event_text != "")),
        "seen_censored": _count((t.event == 0) & t.time.notnull()),
        "dates_time": _count(t.time_bad & t.time_text.strip().re_search(LOOKS_LIKE)),
        "dates_entry": _count(t.entry_bad & t.entry_text.strip().re_search(LOOKS_LIKE)),
        "negative": _count((t.time < 0) | (t.entry < 0)),
        "backwards": _count(_backwards(t, tolerance)),
        "event_at_entry": _count(_event_at_entry(t, tolerance)),
        "no_time": _count(t.time.isnull()),
        "no_event": _count(t.time.notnull() & t.event.isnull()),
        "no_entry": _count(t.time.notnull() & t.event.notnull() & t.entry.isnull()),
        "censored_no_time": _count(t.time.isnull() & (t.event == 0)),
        "level": _count(usable & ~wanted),
        "not_at_risk": _count(usable & wanted & ~waiting),
        "kept": _count(kept),
        "events": _count(kept & (t.event == 1)),
        "last_time": kept.ifelse(t.time, ibis.null("float64")).max(),
    }
    if has_patient:
        measures["patients"] = kept.ifelse(t.patient, ibis.null("string")).nunique()
    if "cause" in t.columns:
        measures["no_cause"] = _count((t.event == 1) & t.cause.isnull())
    for factor in given:
        measures[f"levels_{factor}"] = t[factor].approx_nunique()
    found = collect(t.aggregate(**measures)).iloc[0]
    return {str(name): value for name, value in found.items()}


def counts(found: Mapping[str, Any], has_patient: bool) -> dict[str, Any]:
    """Rows kept and left out by reason, events, patients, longest time."""
    reasons = {
        "time missing": found["no_time"],
        "event missing": found["no_event"],
        "entry missing": found["no_entry"],
        "factor missing or level not asked for": found["level"],
        "time not after entry": found["not_at_risk"],
    }
    left_out = {reason: int(number) for reason, number in reasons.items() if number}
    if not found["kept"]:
        raise BadInput(
            Fault("no row is left to analyse", value=left_out, remedy="see the counts by reason")
        )
    return {
        "rows": int(found["kept"]),
        "patients": int(found["patients" if has_patient else "kept"]),
        "events": int(found["events"]),
        "last_time": float(found["last_time"]),
        "left_out": left_out,
    }


def faults(
    table: ir.Table,
    found: Mapping[str, Any],
    used: Mapping[str, str],
    limits: Limits,
    *,
    file: str | None,
    titles: Mapping[str, str],
) -> list[Fault]:
    """Everything wrong, together."""
    if not found["rows"]:
        return [Fault("the table has no rows", file=file, remedy="check the file")]
    t = table
    rows: list[Fault] = []
    for role in ("time", "entry"):
        if found[f"dates_{role}"]:
            rows.append(_dates(used.get(role, role), file))
            continue
        rows += _bad_rows(
            t, found[f"not_{'a' if role == 'time' else 'an'}_{role}"], t[f"{role}_bad"],
            used.get(role, role), f"{role}_text", "is not a number", "a finite number",
            "correct the value or leave it empty", file,
        )  # fmt: skip
    if not limits.nonpositive:
        rows += _order_faults(t, found, used, limits.tolerance, file)
    rows += _event_faults(found, used, file)
    rows += _interval_faults(found, used, file) or _period_faults(t, used, file)
    if "no_cause" in found:
        rows += _bad_rows(t, found["no_cause"], (t.event == 1) & t.cause.isnull(), used["cause"],
                          "event_text", "an event without a cause", "the cause of each event",
                          "fill the cause in", file)  # fmt: skip
    return (
        rows + _unit_faults(found, used, limits, file) + _level_faults(found, titles, limits, file)
    )


def _dates(column: str, file: str | None) -> Fault:
    return Fault(
        "the column holds dates, not the time between two of them",
        file=file,
        column=column,
        allowed="a number of days, weeks, months or years (--time-unit)",
        remedy="give a column map (--map) that says [derived] NAME = [last date, first date] and "
        'an endpoint with time = NAME, unit = "days"; or take the difference first',
    )


def _order_faults(
    t: ir.Table,
    found: Mapping[str, Any],
    used: Mapping[str, str],
    tolerance: float,
    file: str | None,
) -> list[Fault]:
    remedy = "correct the times, or drop such rows (--nonpositive drop)"
    cases = [
        ("negative", (t.time < 0) | (t.entry < 0), "a time below zero", "times from 0 up"),
        (
            "backwards",
            _backwards(t, tolerance),
            "the time is before the entry",
            "time > entry",
        ),
        (
            "event_at_entry",
            _event_at_entry(t, tolerance),
            "an event at time zero (or at entry), before anyone is at risk",
            "time > entry",
        ),
    ]
    rows: list[Fault] = []
    for key, where, problem, allowed in cases:
        rows += _bad_rows(
            t, found[key], where, used["time"], "time_text", problem, allowed, remedy, file
        )
    return rows


def _interval_faults(
    found: Mapping[str, Any], used: Mapping[str, str], file: str | None
) -> list[Fault]:
    """Name rows (left, right] whose right end is open: every censored row lacks the time."""
    ends = {used.get("entry", "").lower(), used["time"].lower()}
    named = ends in ({"left", "right"}, {"l", "r"}, {"lower", "upper"})
    open_ended = found["censored_no_time"] > 0 and not found["seen_censored"]
    if "entry" not in used or not (named or open_ended):
        return []
    return [
        Fault(
            "the rows are intervals (left, right] in which the event happened (interval censoring)",
            file=file,
            column=used["time"],
            allowed="a time that is known, or censored at a time that is known",
            remedy="no model here takes interval-censored times; --entry is for patients who enter "
            "late and are followed from then on, rename the columns if these are such",
        )
    ]


def _event_faults(
    found: Mapping[str, Any], used: Mapping[str, str], file: str | None
) -> list[Fault]:
    if found["known_event"] or found["has_codes"]:
        return []
    return [Fault("the event column is empty", file=file, column=used["event"])]


def _period_faults(t: ir.Table, used: Mapping[str, str], file: str | None) -> list[Fault]:
    """Periods of one patient that overlap, and an event before the last of them."""
    if "patient" not in used:
        return []
    rows = t.filter(complete(t) & at_risk(t) & t.patient.notnull())
    own = ibis.window(group_by="patient", order_by=["entry", "time"])
    rows = rows.mutate(before=rows.time.lag().over(own), after=rows.time.lead().over(own))
    overlap = (rows.entry < rows.before - 1e-9).fill_null(False)
    early = (rows.event == 1) & rows.after.notnull()
    number = collect(rows.aggregate(overlap=_count(overlap), early=_count(early))).iloc[0]
    remedy = "keep one row a patient, or periods (entry, time] that follow each other"
    return [
        *_bad_rows(rows, number["overlap"], overlap, used["patient"], "patient",
                   "the period begins before an earlier one of the patient ends",
                   "periods that follow each other", remedy, file),
        *_bad_rows(rows, number["early"], early, used["patient"], "patient",
                   "an event of the patient before the last period", "one event, in the last",
                   remedy, file),
    ]  # fmt: skip


def _unit_faults(
    found: Mapping[str, Any], used: Mapping[str, str], limits: Limits, file: str | None
) -> list[Fault]:
    longest, mean = found["longest"], found["mean"]
    if limits.time_unit != "months" or pd.isna(longest):
        return []
    whole_and_long = not found["fractions"] and mean > limits.longest * 0.4
    if longest <= limits.longest and not whole_and_long:
        return []
    return [
        Fault(
            f"times reach {longest:g} months ({longest / 12:.0f} years), which look like days",
            file=file,
            column=used["time"],
            allowed=f"at most {limits.longest:g} months",
            remedy="state the unit (--time-unit days), or raise the limit (--longest MONTHS)",
        )
    ]


def _level_faults(
    found: Mapping[str, Any], titles: Mapping[str, str], limits: Limits, file: str | None
) -> list[Fault]:
    rows = []
    for factor, title in titles.items():
        number = int(found[f"levels_{factor}"])
        most = MANY_LEVELS if factor in limits.many_levels else MOST_LEVELS
        if number == 0:
            rows.append(Fault("the column is empty", file=file, column=title))
        elif number > most:
            rows.append(
                Fault(
                    f"about {number} different values are too many for groups",
                    file=file,
                    column=title,
                    allowed=f"at most {most}",
                    remedy="cut a continuous covariate into bands (<=50, >50) or round it so that"
                    " values repeat; name a centre or study as a frailty",
                )
            )
    return rows


def _bad_rows(
    t: ir.Table,
    number: int,
    where: ir.Value,
    column: str,
    shown: str,
    problem: str,
    allowed: str,
    remedy: str,
    file: str | None,
) -> list[Fault]:
    """One fault a bad row for the first few; one for the rest together."""
    if not number:
        return []
    if t._find_backend(use_default=True).name == "duckdb":
        # of a frame or of Parquet: as if written below a header
        line = t[LINE] if LINE in t.columns else ibis.row_number() + 2
        numbered = t.mutate(row=line)
        bad = collect(numbered.filter(where).select("row", shown).order_by("row").limit(SHOWN))
    else:  # a distributed table has no order
        bad = collect(t.filter(where).select(shown).limit(SHOWN)).assign(row=None)
    faults_ = [
        Fault(problem, file=file, row=None if row is None else int(row), column=column,
              value=value, allowed=allowed, remedy=remedy)
        for row, value in zip(bad["row"], bad[shown], strict=True)
    ]  # fmt: skip
    if number > len(faults_):
        faults_.append(
            Fault(f"and {int(number) - len(faults_)} rows more: {problem}", column=column)
        )
    return faults_


def _count(condition: ir.Value) -> ir.Value:
    return condition.fill_null(False).cast("int64").sum()

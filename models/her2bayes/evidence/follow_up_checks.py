"""What can be wrong with follow-up rows, found by aggregates and named by rows."""

# ruff: noqa: PD003, PD004 (Ibis columns, not pandas)
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from her2bayes.errors import BadInput, Fault
from her2bayes.evidence.collect import collect

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
    event_code: str | None
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


def scan(table: ir.Table, given: Mapping[str, Sequence[str]], has_patient: bool) -> dict[str, Any]:
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
        "not_an_event": _count(t.event.isnull() & t.event_text.notnull()),
        "known_event": _count(t.event.notnull()),
        "seen_event": _count(t.event == 1),
        "negative": _count((t.time < 0) | (t.entry < 0)),
        "backwards": _count((t.time >= 0) & (t.entry >= 0) & (t.time < t.entry)),
        "event_at_entry": _count((t.time >= 0) & (t.time == t.entry) & (t.event == 1)),
        "missing": _count(~usable),
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
        "time or event missing": found["missing"],
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
        rows += _bad_rows(
            t, found[f"not_{'a' if role == 'time' else 'an'}_{role}"], t[f"{role}_bad"],
            used.get(role, role), f"{role}_text", "is not a number", "a finite number",
            "correct the value or leave it empty", file,
        )  # fmt: skip
    if not limits.nonpositive:
        rows += _order_faults(t, found, used, file)
    rows += _event_faults(t, found, used, limits, file)
    if "no_cause" in found:
        rows += _bad_rows(t, found["no_cause"], (t.event == 1) & t.cause.isnull(), used["cause"],
                          "event_text", "an event without a cause", "the cause of each event",
                          "fill the cause in", file)  # fmt: skip
    return (
        rows + _unit_faults(found, used, limits, file) + _level_faults(found, titles, limits, file)
    )


def _order_faults(
    t: ir.Table, found: Mapping[str, Any], used: Mapping[str, str], file: str | None
) -> list[Fault]:
    remedy = "correct the times, or drop such rows (--nonpositive drop)"
    cases = [
        ("negative", (t.time < 0) | (t.entry < 0), "a time below zero", "times from 0 up"),
        (
            "backwards",
            (t.time >= 0) & (t.entry >= 0) & (t.time < t.entry),
            "the time is before the entry",
            "time > entry",
        ),
        (
            "event_at_entry",
            (t.time >= 0) & (t.time == t.entry) & (t.event == 1),
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


def _event_faults(
    t: ir.Table, found: Mapping[str, Any], used: Mapping[str, str], limits: Limits, file: str | None
) -> list[Fault]:
    column = used["event"]
    if limits.event_code is None and not found["not_an_event"]:
        empty = Fault("the event column is empty", file=file, column=column)
        return [] if found["known_event"] else [empty]
    if limits.event_code is not None and found["seen_event"]:
        return []
    few = collect(t.select("event_text").distinct().limit(SHOWN * 4 + 1))["event_text"].dropna()
    if len(few) > SHOWN * 4:
        problem = "holds too many different values for event codes"
        return [Fault(problem, file=file, column=column, allowed="0 and 1")]
    codes = sorted(few)
    if limits.event_code is not None:
        problem = f"no row has the event code '{limits.event_code}'"
        return [Fault(problem, file=file, column=column, allowed=", ".join(codes))]
    remedy = "say which value is the event (--event-code VALUE)"
    if codes == ["1", "2"]:
        remedy += "; where 2 is the event, as in R: --event-code 2"
    elif len(codes) > 2 and all(code.isdigit() for code in codes):
        remedy += ", or give the kinds of event in a column of their own (--cause)"
    return [
        Fault(
            f"event codes are {', '.join(codes[:SHOWN])}, not 0 and 1",
            file=file,
            column=column,
            allowed="0/1, false/true, no/yes",
            remedy=remedy,
        )
    ]


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

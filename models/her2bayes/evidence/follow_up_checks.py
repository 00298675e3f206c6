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

MOST_LEVELS = 40
MANY_LEVELS = 5000
KNOWN_ORDER = ("zero", "ultralow", "low", "positive")
SHOWN = 5


@dataclass(frozen=True)
class Limits:
    """What the caller allows (see ``read_follow_up``)."""

    nonpositive: bool
    longest: float
    time_unit: str
    event_code: str | None
    many_levels: tuple[str, ...]


def scan(table: ir.Table, factors: Sequence[str]) -> dict[str, Any]:
    """Count, in one pass, everything the checks need to know."""
    t = table
    measures: dict[str, ir.Value] = {
        "rows": t.count(),
        "longest": t.time.max(),
        "median": t.time.approx_median(),
        "fractions": _count(t.time != t.time.floor()),
        "not_a_time": _count(t.time_bad),
        "not_an_entry": _count(t.entry_bad),
        "not_an_event": _count(t.event.isnull() & t.event_text.notnull()),
        "negative": _count((t.time < 0) | (t.entry < 0)),
        "backwards": _count((t.time >= 0) & (t.entry >= 0) & (t.time < t.entry)),
        "event_at_entry": _count((t.time >= 0) & (t.time == t.entry) & (t.event == 1)),
        "usable": _count(t.time.notnull() & t.event.notnull()),
        "event_codes": t.event_text.nunique(),
    }
    if "cause" in t.columns:
        measures["no_cause"] = _count((t.event == 1) & t.cause.isnull())
    for factor in factors:
        measures[f"levels_{factor}"] = t[factor].nunique()
    return t.aggregate(**measures).to_pandas().iloc[0].to_dict()


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
    if found["event_codes"] == 0:
        return [Fault("the event column is empty", file=file, column=column)]
    if found["event_codes"] > SHOWN * 4:
        problem = f"holds {found['event_codes']} different values, too many for event codes"
        return [Fault(problem, file=file, column=column, allowed="0 and 1")]
    codes = sorted(t.event_text.as_table().distinct().to_pandas()["event_text"].dropna())
    if limits.event_code is not None:
        if limits.event_code.lower() in {code.lower() for code in codes}:
            return []
        problem = f"no row has the event code '{limits.event_code}'"
        return [Fault(problem, file=file, column=column, allowed=", ".join(codes))]
    if not found["not_an_event"]:
        return []
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
    longest, median = found["longest"], found["median"]
    if limits.time_unit != "months" or not found["usable"] or longest is None:
        return []
    whole_and_long = not found["fractions"] and median is not None and median > limits.longest * 0.4
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
        number = found[f"levels_{factor}"]
        most = MANY_LEVELS if factor in limits.many_levels else MOST_LEVELS
        if number == 0:
            rows.append(Fault("the column is empty", file=file, column=title))
        elif number > most:
            rows.append(
                Fault(
                    f"{number} different values are too many for groups",
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
        numbered = t.mutate(row=ibis.row_number() + 2)  # the header is row 1
        bad = numbered.filter(where).select("row", shown).order_by("row").limit(SHOWN).to_pandas()
    else:  # a distributed table has no order
        bad = t.filter(where).select(shown).limit(SHOWN).to_pandas().assign(row=None)
    faults_ = [
        Fault(problem, file=file, row=None if row is None else int(row), column=column,
              value=value, allowed=allowed, remedy=remedy)
        for row, value in zip(bad["row"], bad[shown], strict=True)
    ]  # fmt: skip
    if number > len(faults_):
        faults_.append(Fault(f"and {number - len(faults_)} rows more: {problem}", column=column))
    return faults_


def levels(
    table: ir.Table, factor: str, given: Sequence[str] | None, file: str | None
) -> tuple[str, ...]:
    """Levels of a factor in order: as given, or known order (zero, low, positive), or sorted."""
    seen = set(table[factor].as_table().distinct().to_pandas()[factor].dropna())
    if given:
        absent = [level for level in given if level not in seen]
        if absent:
            raise BadInput(
                Fault(
                    f"no row has the level '{absent[0]}'",
                    file=file,
                    column=factor,
                    allowed=", ".join(sorted(seen)),
                )
            )
        return tuple(given)
    reserved = [level for level in seen if set(level) & set("=,;|[]@")]
    if reserved:
        raise BadInput(
            Fault(
                "a level holds one of = , ; | [ ] @",
                file=file,
                column=factor,
                value=reserved[0],
                remedy="rename the level",
            )
        )
    return tuple(sorted(seen, key=_level_order))


def _level_order(level: str) -> tuple[int, float, str]:
    if level in KNOWN_ORDER:
        return 0, KNOWN_ORDER.index(level), level
    number = pd.to_numeric(level, errors="coerce")
    return (1, float(number), level) if pd.notna(number) else (2, 0.0, level)


def causes(kept: ir.Table) -> tuple[str, ...]:
    """Causes among the events kept, sorted."""
    events = kept.filter(kept.event == 1)
    return tuple(sorted(events.cause.as_table().distinct().to_pandas()["cause"].dropna()))


def counts(
    table: ir.Table,
    complete: ir.Value,
    named: ir.Value,
    at_risk: ir.Value,
    kept: ir.Table,
    has_patient: bool,
) -> dict[str, Any]:
    """Rows kept and left out by reason, events, patients, longest time."""
    out = (
        table.aggregate(
            missing=_count(~complete),
            level=_count(complete & ~named),
            not_at_risk=_count(complete & named & ~at_risk),
        )
        .to_pandas()
        .iloc[0]
    )
    measures = {"rows": kept.count(), "events": kept.event.sum(), "last_time": kept.time.max()}
    if has_patient:
        measures["patients"] = kept.patient.nunique()
    inside = kept.aggregate(**measures).to_pandas().iloc[0]
    if not inside["rows"]:
        raise BadInput(
            Fault("no row is left to analyse", value=dict(out), remedy="see the counts by reason")
        )
    reasons = {
        "time or event missing": out["missing"],
        "factor missing or level not asked for": out["level"],
        "time not after entry": out["not_at_risk"],
    }
    return {
        "rows": int(inside["rows"]),
        "patients": int(inside["patients" if has_patient else "rows"]),
        "events": int(inside["events"]),
        "last_time": float(inside["last_time"]),
        "left_out": {reason: int(number) for reason, number in reasons.items() if number},
    }


def _count(condition: ir.Value) -> ir.Value:
    return condition.fill_null(False).cast("int64").sum()

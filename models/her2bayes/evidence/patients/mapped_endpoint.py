"""An endpoint that a column map declares is used whole: time, event, entry, cause, rounding.

Who wants it otherwise says so (entry left out), and what else the map declares is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.patients.cohort import ENDS, Cohort
from her2bayes.evidence.patients.cohort_columns import MONTHS
from her2bayes.evidence.patients.maps import ColumnMap, EndpointMap


@dataclass(frozen=True)
class Wanted:
    """What the caller names: columns of the mapped cohort, or the endpoint itself as ``time``."""

    time: str
    event: str = ""
    entry: str = ""
    cause: str = ""
    ignore_entry: bool = False
    time_unit: str = "months"
    event_code: str = ""


def mapped_columns(
    cohort: Cohort, mapped: ColumnMap, wanted: Wanted, by: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Columns for ``read_follow_up``, and lines that say what of the map is used and what not.

    Raises ``BadInput`` for a time that is of no endpoint, and for options that the map has decided.
    """
    own = [e for e in mapped.endpoints if wanted.time in (e.name, f"{e.name}_months")]
    by_column = [e for e in mapped.endpoints if e.time == wanted.time]
    endpoint = own[0] if own else by_column[0] if len(by_column) == 1 else None
    raise_if(_faults(endpoint, mapped, wanted))
    assert endpoint is not None  # a fault otherwise
    name = endpoint.name
    entry = f"{name}_entry_months" if endpoint.entry and not wanted.ignore_entry else None
    columns = {
        "time": f"{name}_months",
        "event": f"{name}_event",
        "entry": entry,
        "cause": f"{name}_cause" if endpoint.cause else None,
        "tolerance": float(mapped.rules["time_tolerance"]) * MONTHS[endpoint.unit],
    }
    return columns, [_said(endpoint, columns, wanted), *_codes(cohort, endpoint),
                     *_unused(mapped, endpoint, by)]  # fmt: skip


def _faults(endpoint: EndpointMap | None, mapped: ColumnMap, wanted: Wanted) -> list[Fault]:
    names = [f"{e.name}_months" for e in mapped.endpoints]
    if endpoint is None:
        return [
            Fault("the map declares no endpoint with this time", file=mapped.path, column="--time",
                  value=wanted.time, allowed=", ".join(names) or "the map has no [endpoints]",
                  remedy="name one of them, or declare it under [endpoints.NAME]")
        ]  # fmt: skip
    name = endpoint.name
    given = {
        "--event": (wanted.event, ("", f"{name}_event", endpoint.event)),
        "--entry": (wanted.entry, _either(f"{name}_entry_months", endpoint.entry)),
        "--cause": (wanted.cause, _either(f"{name}_cause", endpoint.cause)),
        "--time-unit": (wanted.time_unit, ("months",)),
        "--event-code": (wanted.event_code, ("",)),
    }
    faults = [
        Fault(f"the map decides this: [endpoints.{name}]", file=mapped.path, column=option,
              value=value, allowed=" or ".join(filter(None, allowed)) or "leave the option out",
              remedy=f"leave {option} out, or change the map")
        for option, (value, allowed) in given.items()
        if value not in allowed
    ]  # fmt: skip
    if wanted.ignore_entry and not endpoint.entry:
        faults.append(
            Fault("the endpoint has no entry to ignore", file=mapped.path, column="--ignore-entry",
                  remedy="leave the option out")
        )  # fmt: skip
    return faults


def _either(own: str, column: str | None) -> tuple[str, ...]:
    return ("", own, column) if column else ("",)


def _said(endpoint: EndpointMap, columns: dict[str, Any], wanted: Wanted) -> str:
    text = f"endpoint {endpoint.name} of the map: time {endpoint.time}, event {endpoint.event}"
    if columns["entry"]:
        text += f", patients counted from {endpoint.entry} on (delayed entry)"
    elif wanted.ignore_entry:
        text += f"; --ignore-entry: the entry {endpoint.entry} that the map declares is NOT used"
    if endpoint.cause:
        text += f", cause {endpoint.cause}"
    if columns["tolerance"] and columns["entry"]:
        text += f"; times and entries are rounded, to {columns['tolerance']:g} months"
    return text


def _codes(cohort: Cohort, endpoint: EndpointMap) -> Iterable[str]:
    codes = cohort.event_codes.get(endpoint.name)
    if codes is not None:
        yield from codes.lines(endpoint.event)


def _unused(mapped: ColumnMap, endpoint: EndpointMap, by: Sequence[str]) -> Iterable[str]:
    """Name what the map declares and this analysis does not use."""
    others = [e.name for e in mapped.endpoints if e is not endpoint]
    factors = [f.name for f in mapped.factors if f.name not in by]
    ends = {"primary": "her2_primary", "recurrence": "her2"}
    readings = [f"{end} readings" for end in ENDS if end in mapped.blocks or "sample" in
                mapped.blocks if ends[end] not in by]  # fmt: skip
    parts = [
        f"endpoints {', '.join(others)}" if others else "",
        f"factors {', '.join(factors)}" if factors else "",
        ", ".join(readings),
    ]
    told = [part for part in parts if part]
    if told:
        yield f"the map also declares, not used here: {'; '.join(told)}"

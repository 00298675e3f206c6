"""Levels of factors and causes of events in follow-up rows, in an order people expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ibis.expr.types as ir
import pandas as pd

from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.collect import collect

KNOWN_ORDER = ("zero", "ultralow", "low", "positive")


def levels(
    table: ir.Table, given: Mapping[str, Sequence[str]], file: str | None
) -> dict[str, tuple[str, ...]]:
    """Levels of each factor in order: as given, or known (zero, low, positive), or sorted."""
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
        found[factor] = tuple(wanted) or tuple(sorted(seen, key=_level_order))
    raise_if(wrong)
    return found


def _level_order(level: str) -> tuple[int, float, str]:
    if level in KNOWN_ORDER:
        return 0, KNOWN_ORDER.index(level), level
    number = pd.to_numeric(level, errors="coerce")
    return (1, float(number), level) if pd.notna(number) else (2, 0.0, level)


def causes(kept: ir.Table) -> tuple[str, ...]:
    """Causes among the events kept, sorted."""
    events = kept.filter(kept.event == 1)
    return tuple(sorted(collect(events.select("cause").distinct())["cause"].dropna()))

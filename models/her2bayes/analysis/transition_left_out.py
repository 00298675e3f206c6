"""Printed facts on pairs without the patients of one level: exact where both are printed.

A number printed for all patients and for the level is subtracted; of one printed for all patients
alone, the patients left have at most that many, and at least that many less the level's patients.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import pandas as pd

ALL, DISCORDANT = "*->*", "off_diagonal"


def levels(facts: pd.DataFrame) -> tuple[str, ...]:
    """Levels, as ``factor=level``, whose patients and discordant pairs are printed.

    Of factors with three levels at least: of two, to leave one out is to report the other.
    """
    found = []
    for (factor, level), part in facts[facts["factor"].fillna("") != ""].groupby(
        ["factor", "level"], sort=False
    ):
        exact = set(part.loc[part["relation"] == "=", "cells"])
        if {ALL, DISCORDANT} <= exact:
            found.append((str(factor), str(level)))
    counted = [factor for factor, _ in found]
    return tuple(f"{f}={level}" for f, level in found if counted.count(f) > 2)


def without(facts: pd.DataFrame, level: str) -> pd.DataFrame:
    """Facts on all patients but those of ``factor=level``; facts by other factors are dropped."""
    factor, _, name = level.partition("=")
    plain = facts.assign(**{c: facts[c].fillna("") for c in ("factor", "level", "reading")})
    part = plain[(plain["factor"] == factor) & (plain["level"] == name)]
    known = {
        (row["cells"], row["reading"]): int(float(row["value"]))
        for row in part[part["relation"] == "="].to_dict("records")
    }
    patients = known[ALL, ""]
    rows = [
        new
        for row in plain[plain["factor"] == ""].to_dict("records")
        for new in _left(row, known.get((row["cells"], row["reading"])), patients)
    ]
    return pd.DataFrame(rows, columns=facts.columns)


def _left(
    row: dict[Hashable, Any], known: int | None, patients: int
) -> Iterator[dict[Hashable, Any]]:
    value = int(float(str(row["value"])))
    name = f"{row['fact_id']} without them"
    if known is not None and row["relation"] == "=":
        yield {**row, "fact_id": name, "value": value - known}
        return
    if row["relation"] in ("=", "<=", "<"):
        relation = "<" if row["relation"] == "<" else "<="
        yield {**row, "fact_id": name, "relation": relation, "value": value}
    if row["relation"] in ("=", ">=", ">"):
        relation = ">" if row["relation"] == ">" else ">="
        yield {**row, "fact_id": f"{name}, at least", "relation": relation,
               "value": max(0, value - patients)}  # fmt: skip

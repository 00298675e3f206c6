"""Classical numbers of a survival analysis as lines of the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from her2bayes.estimand import parse
from her2bayes.reports.numbers import interval, p_value

KINDS = ("median", "association", "hazard_ratio")


def classical_lines(classical: pd.DataFrame) -> Iterator[str]:
    """Medians, tests of all groups and ratios of all patients, each with its P and its note."""
    rows = [row for row in classical.to_dict("records") if _told(str(row["estimand"]))]
    if rows:
        yield "Classical (Kaplan-Meier, tests of all groups, Cox); all variants in classical.csv:"
    for row in rows:
        yield f"  {row['estimand']} {_text(row)}"


def _told(estimand: str) -> bool:
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

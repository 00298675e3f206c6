"""Predictive checks of a fit in words: rows for its card, and a sentence for each that is rare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from her2bayes.posterior.predictive import GROUPS, RARE
from her2bayes.reports.numbers import number

if TYPE_CHECKING:
    import pandas as pd

_WORDS = {
    "distance": "distance from the mean table",
    "farthest cell": "farthest cell",
    "empty cells": "number of empty cells",
    "total": "total of the counts",
}
_MEANS = {
    "prior": "the priors and the data disagree",
    "posterior": "the model does not make data like these",
}


def check_rows(checks: pd.DataFrame) -> list[dict[str, str]]:
    """One row a statistic: what it is, observed value and replicates before and after the data."""
    rows = []
    for row in checks.to_dict("records"):
        cell = f" ({row['cell']})" if row["cell"] else ""
        found = {"statistic": _WORDS[row["statistic"]] + cell}
        for group in GROUPS:
            observed, lower, upper = (row[f"{group}_{k}"] for k in ("observed", "lower", "upper"))
            found[group] = f"{_short(observed)}; {_short(lower)}–{_short(upper)}"
            found[f"{group}_tail"] = _tail(row, group)
        rows.append(found)
    return rows


def check_warnings(checks: pd.DataFrame, title: str, fit_id: str) -> list[str]:
    """One sentence for each statistic whose predictive probability is below ``RARE``."""
    return [
        f"{title} (fit {fit_id}): {_MEANS[group]}: {_WORDS[row['statistic']]} "
        f"{_short(row[f'{group}_observed'])}, replicates {_short(row[f'{group}_lower'])} to "
        f"{_short(row[f'{group}_upper'])} (95 %), {group} predictive P {_tail(row, group)}."
        for row in checks.to_dict("records")
        for group in GROUPS
        if row[f"{group}_tail"] < RARE
    ]


def _tail(row: Mapping[Any, Any], group: str) -> str:
    tail = float(row[f"{group}_tail"])
    return "<0.001" if tail < 0.001 else number(tail, 3)


def _short(value: float) -> str:
    return number(value, 0 if float(value).is_integer() or abs(value) >= 100 else 1)

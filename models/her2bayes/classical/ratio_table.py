"""Tables of hazard ratios by level of a factor, and the 0/1 columns behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = [
    "factor", "level", "reference", "log_hazard_ratio", "std_error", "hazard_ratio", "lower",
    "upper", "p_value", "note", "interval",
]  # fmt: skip


def design_of(rows: pd.DataFrame, factors: Mapping[str, str]) -> pd.DataFrame:
    """Columns 0 or 1 of the levels that patients have, without the reference (where it has any)."""
    columns = {}
    for name, reference in factors.items():
        present = set(rows[name].astype(str))
        levels = [level for level in map(str, rows[name].cat.categories) if level in present]
        base = reference if reference in present else levels[0] if levels else ""
        for level in levels:
            if level != base:
                columns[f"{name}={level}"] = (rows[name] == level).to_numpy(float)
    return pd.DataFrame(columns, index=rows.index)


def row(
    value: float,
    error: float,
    limits: tuple[float, float],
    p_value: float,
    note: str,
    interval: str,
) -> dict[str, Any]:
    """One log hazard ratio on both scales; ``interval`` names how its limits were made."""
    return {
        "log_hazard_ratio": value,
        "std_error": error,
        "hazard_ratio": float(np.exp(value)),
        "lower": float(np.exp(limits[0])),
        "upper": float(np.exp(limits[1])),
        "p_value": p_value,
        "note": note,
        "interval": interval,
    }


def missing(reason: str) -> dict[str, Any]:
    """A ratio that the data do not give, with the reason."""
    return row(np.nan, np.nan, (np.nan, np.nan), np.nan, f"not available: {reason}", "")


def table_of(
    counts: pd.DataFrame, factors: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """One row for every level against its reference, also of those without patients."""
    found = []
    for name, reference in factors.items():
        present = set(counts[name].astype(str))
        for level in map(str, counts[name].cat.categories):
            if level == reference:
                continue
            empty = level if level not in present else reference
            one = rows.get(f"{name}={level}") if reference in present else None
            one = one or missing(f"no patients in {name}={empty}")
            found.append({"factor": name, "level": level, "reference": reference, **one})
    return pd.DataFrame(found, columns=COLUMNS)


def absent(counts: pd.DataFrame, factors: Mapping[str, str], why: str) -> pd.DataFrame:
    """Table without a ratio, each with the reason ``why``."""
    terms = design_of(counts, factors).columns
    return table_of(counts, factors, dict.fromkeys(terms, missing(why)))


def quietly(made: Callable[[], pd.DataFrame]) -> pd.DataFrame | None:
    """A table of greenwood, without warnings; None where a matrix has no inverse."""
    try:
        with np.errstate(all="ignore"):
            return made()
    except np.linalg.LinAlgError:
        return None

"""The Monte-Carlo errors of a report's numbers, for whoever computes them again (``replay``)."""

from __future__ import annotations

import pandas as pd

from her2bayes.inference.monte_carlo import MCSE_COLUMNS
from her2bayes.reports.csv_file import csv_text

FILE = "monte_carlo.csv"


def monte_carlo_file(estimates: pd.DataFrame) -> dict[str, str]:
    """Name and text of the table of errors; nothing where no estimate carries any.

    One row for each estimand and reading, on the scale of the table of estimates.
    """
    if estimates.empty or not set(MCSE_COLUMNS) <= set(estimates.columns):
        return {}
    known = estimates[list(MCSE_COLUMNS)].notna().any(axis=1)
    names = ["estimand", "reading", "fit_id", *MCSE_COLUMNS]
    return {FILE: csv_text(estimates.loc[known, names])} if known.any() else {}

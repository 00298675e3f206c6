"""The Monte-Carlo errors of a report's numbers, for whoever computes them again (``replay``)."""

from __future__ import annotations

import pandas as pd

from her2bayes.estimand import KINDS, parse
from her2bayes.inference.monte_carlo import MCSE_COLUMNS
from her2bayes.reports.csv_file import csv_text

FILE = "monte_carlo.csv"


def monte_carlo_file(estimates: pd.DataFrame) -> dict[str, str]:
    """Name and text of the table of errors; nothing where no estimate carries any.

    One row for each estimand and reading, on the ``scale`` of its kind: those on the identity are
    in the unit of the table of estimates; probabilities of events are as they are.
    """
    if estimates.empty or not set(MCSE_COLUMNS) <= set(estimates.columns):
        return {}
    known = estimates[list(MCSE_COLUMNS)].notna().any(axis=1)
    table = estimates.loc[known]
    scales = [KINDS[parse(text).kind].scale for text in table["estimand"]]
    names = ["estimand", "reading", "fit_id", "scale", *MCSE_COLUMNS]
    return {FILE: csv_text(table.assign(scale=scales)[names])} if known.any() else {}

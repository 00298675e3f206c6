"""What a user is told of numbers that did not converge: which they are, and why."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from her2bayes.inference.convergence import failed

_NAMED = 5  # quantities of one reason that are named before the rest is counted


def failures(estimates: pd.DataFrame) -> tuple[str, ...]:
    """Give one line a reason, naming the quantities (columns ``estimand``, ``convergence``)."""
    bad = _failed(estimates)
    return tuple(
        f"Not converged: {len(rows)} of {len(estimates)} quantities, "
        f"{str(verdict).partition(': ')[2]}: "
        f"{named(rows['estimand'])}"
        for verdict, rows in bad.groupby("convergence", sort=False)
    )


def failed_fits(estimates: pd.DataFrame) -> list[str]:
    """Give one line a fit and reason (columns ``fit_id`` and ``model`` too)."""
    bad = _failed(estimates)
    return [
        f"{model} (fit {fit_id}) {verdict}: {named(rows['estimand'])}"
        for (fit_id, model, verdict), rows in bad.groupby(
            ["fit_id", "model", "convergence"], sort=False
        )
    ]


def _failed(estimates: pd.DataFrame) -> pd.DataFrame:
    return estimates[estimates["convergence"].map(lambda text: failed(str(text))).astype(bool)]


def named(estimands: Sequence[str] | pd.Series) -> str:
    """Name the first quantities and count the others."""
    names = list(dict.fromkeys(map(str, estimands)))
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")

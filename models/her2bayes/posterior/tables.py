"""What printed facts say of each transition share: determined, bounded or left to the prior.

The share ``T_ij / T_i.`` of the cohort itself (not the probability behind it) has logical bounds.
Contraction within the bounds compares its posterior with its prior cut to these bounds:

    contraction = 1 - Var(share | all facts) / Var(share | share within its bounds)

so that knowing the bounds counts for nothing, and what remains is what the facts add to them.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

DETERMINED, BOUNDED, PRIOR_DRIVEN = "determined", "bounded", "prior_driven"
PRIOR_DRIVEN_BELOW = 0.1
_REPLICATES = 20
_FEWEST = 200


def cohort_share(table: xr.DataArray) -> xr.DataArray:
    """Share of each class at recurrence by class at the primary; NaN for a row without patients."""
    row = table.sum("her2")
    return table / row.where(row > 0)


def prior_share(
    prior: xr.Dataset,
    patients: np.ndarray,
    rows: np.ndarray | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Prior draws of the cohort's shares (draw, stratum, her2_primary, her2), NaN for empty rows.

    Tables are drawn with ``patients`` (stratum) in each stratum, split over the primary classes by
    ``primary_share``, or with the row totals ``rows`` (stratum, her2_primary) where not negative.
    """
    dims = ("chain", "draw", "stratum", "her2_primary")
    share = prior["primary_share"].transpose(*dims).values
    transition = prior["transition"].transpose(*dims, "her2").values
    share = share.reshape(-1, *share.shape[2:]).repeat(_REPLICATES, axis=0)
    transition = transition.reshape(-1, *transition.shape[2:]).repeat(_REPLICATES, axis=0)
    total = rng.multinomial(patients, share / share.sum(-1, keepdims=True))
    if rows is not None:
        total = np.where(rows >= 0, rows, total)
    table = rng.multinomial(total, transition / transition.sum(-1, keepdims=True))
    return np.asarray(np.divide(table, total[..., None], where=total[..., None] > 0,
                                out=np.full(table.shape, np.nan)))  # fmt: skip


def contraction_within(
    posterior: np.ndarray, prior: np.ndarray, lower: float, upper: float
) -> float:
    """Contraction of one share within its bounds; NaN where they leave nothing to learn.

    Where fewer than 200 prior draws fall within the bounds, these are narrow against the prior,
    which is flat there: the variance of a uniform takes its place.
    """
    if not upper > lower:
        return float("nan")
    inside = prior[(prior >= lower - 1e-12) & (prior <= upper + 1e-12)]
    before = inside.var() if len(inside) >= _FEWEST else (upper - lower) ** 2 / 12
    return float(1 - np.nanvar(posterior) / before)


def label(lower: float, upper: float, contraction: float) -> str:
    """Name what the facts do to a share: width 0, bounds with information inside, bounds alone."""
    if upper == lower:
        return DETERMINED
    return PRIOR_DRIVEN if contraction < PRIOR_DRIVEN_BELOW else BOUNDED

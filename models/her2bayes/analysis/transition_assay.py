"""Tipping analysis of a paper: true change behind observed flows, under a series of known assays.

Patients have the model of true classes (``assay_error``); a paper's latent tables have draws of the
observed flow F only. For an assay M taken as known, F = M' G M is solved for the true flow G draw
by draw; where the solution leaves the simplex the assay is too poor for what was observed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.analysis.assay_error import scaled_reads
from her2bayes.analysis.transition_matrix import Matrix
from her2bayes.bayes.assay import DEFAULT_PRIORS
from her2bayes.estimand import Estimand
from her2bayes.posterior import transitions as tr
from her2bayes.posterior.estimates import INTERVAL, estimate

SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
EXCEEDS = (0.1, 0.2, 0.3)


def has_prior(classes: Sequence[str]) -> bool:
    """Whether the assay's default prior covers these classes."""
    rows = [DEFAULT_PRIORS.get(f"reads_{name}") for name in classes]
    return all(row is not None and len(row["a"]) == len(classes) for row in rows)


def known_assay(classes: Sequence[str], scale: float) -> xr.DataArray:
    """Misclassification (her2, read): mean of the default prior, error rates times ``scale``."""
    rows: Mapping[str, Any] = scaled_reads(list(classes), scale)
    matrix = np.array([np.asarray(rows[name]) / np.sum(rows[name]) for name in classes])
    coords = {"her2": list(classes), "read": list(classes)}
    return xr.DataArray(matrix, dims=("her2", "read"), coords=coords)


def solved_tipping(matrix: Matrix) -> pd.DataFrame:
    """One row an assay: accuracy, true discordance, P(it exceeds a share), draws explained.

    Columns as ``assay_error.AssayResult.tipping``, and ``possible``: the share of the draws of the
    observed flow that such an assay can have produced.
    """
    return pd.DataFrame([_row(matrix, scale) for scale in SCALES])


def _row(matrix: Matrix, scale: float) -> dict[str, float]:
    known = known_assay(matrix.classes, scale)
    flow = tr.true_flow(matrix.flow, known)
    true = tr.discordance(flow)
    tail = (1 - INTERVAL) / 2
    lower, median, upper = np.quantile(true.to_numpy(), [tail, 0.5, 1 - tail])
    return {
        "error_scale": scale,
        "accuracy": float(_accuracy(flow, known).median()),
        "true_discordance_median": median,
        "true_discordance_lower": lower,
        "true_discordance_upper": upper,
        **{f"P(true discordance > {x:g})": float((true > x).mean()) for x in EXCEEDS},
        "possible": float(tr.possible(matrix.flow, known).mean()),
    }


def _accuracy(flow: xr.DataArray, known: xr.DataArray) -> xr.DataArray:
    """Probability that a sample of the cohort is read right, over true classes of both ends."""
    right = xr.DataArray(
        np.diag(known.to_numpy()), dims="her2", coords={"her2": known["her2"].to_numpy()}
    )
    first = flow.sum("her2").rename(her2_primary="her2")
    return (right * (first + tr.recurrence_share(flow))).sum("her2") / 2


def solved_row(matrix: Matrix, scale: float = 1.0) -> dict[str, Any]:
    """Row of the true discordance if the assay were known as the mean of its default prior."""
    known = known_assay(matrix.classes, scale)
    after, before = (
        tr.discordance(tr.true_flow(tr.flows(part, matrix.observed), known))
        for part in (matrix.transition, matrix.prior)
    )
    return estimate(
        Estimand("true_discordance", "her2", matrix.given), after, before, matrix.fit,
        note="observed flows solved for the true ones, assay known: mean of its default prior",
        reading=matrix.reading,
    )  # fmt: skip

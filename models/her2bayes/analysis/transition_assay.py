"""Tipping analysis of a paper: true change behind its facts, under a series of known assays.

Patients have the model of true classes (``assay_error``); a paper has facts on tables of readings.
For an assay M taken as known the posterior of the true flow sums over all tables of readings that
agree with the facts (``inference.assay_fit``), with the row prior of the paper's own analysis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.analysis.assay_error import scaled_reads
from her2bayes.analysis.latent_transition import RowPrior, TableAnalysis, row_priors
from her2bayes.bayes.assay import DEFAULT_PRIORS
from her2bayes.estimand import Estimand
from her2bayes.inference.assay_fit import fit_true_rows
from her2bayes.inference.convergence import verdict
from her2bayes.inference.sampling import Sampling
from her2bayes.posterior import assay as of
from her2bayes.posterior import transitions as tr
from her2bayes.posterior.estimates import INTERVAL, estimate

if TYPE_CHECKING:
    from her2bayes.inference.store import Store
    from her2bayes.inference.table_fit import TableFit
    from her2bayes.reconstruction.table_facts import TableSet

SCALES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
EXCEEDS = (0.1, 0.2, 0.3)
KNOWN_NOTE = "true classes behind the readings, assay known: mean of its default prior"


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


def fit_known(
    tables: TableSet, choice: RowPrior, scale: float, sampling: Sampling, store: Store | None
) -> TableFit:
    """Fit true classes behind the tables of readings for an assay known at ``scale``."""
    return fit_true_rows(
        tables, known_assay(tables.her2, scale), dict(choice.priors), rows=choice.rows,
        sampling=sampling, store=store,
    )  # fmt: skip


def tipping(
    analysis: TableAnalysis,
    sampling: Sampling,
    store: Store | None,
    scales: Sequence[float] = SCALES,
) -> pd.DataFrame:
    """One row an assay: accuracy, true discordance, P(it exceeds a share), convergence.

    Columns as ``assay_error.AssayResult.tipping``; ``analysis`` holds all patients as one stratum.
    """
    found = []
    for scale in scales:
        fitted = known_fit(analysis, sampling, store, scale)
        known = known_assay(analysis.tables.her2, scale)
        found.append({"error_scale": scale, **_row(fitted, known)})
    return pd.DataFrame(found)


def known_fit(
    analysis: TableAnalysis, sampling: Sampling, store: Store | None, scale: float = 1.0
) -> TableFit:
    """Fit true classes with the row prior of ``analysis``."""
    choice = row_priors(len(analysis.tables.her2))[analysis.row_prior]
    return fit_known(analysis.tables, choice, scale, sampling, store)


def _row(fitted: TableFit, known: xr.DataArray) -> dict[str, Any]:
    draws = fitted.posterior.isel(stratum=0, drop=True)
    true = _discordance(fitted.posterior)
    tail = (1 - INTERVAL) / 2
    lower, median, upper = np.quantile(true.to_numpy(), [tail, 0.5, 1 - tail])
    return {
        "accuracy": float(of.accuracy(draws.assign(misclassification=known)).median()),
        "true_discordance_median": median,
        "true_discordance_lower": lower,
        "true_discordance_upper": upper,
        **{f"P(true discordance > {x:g})": float((true > x).mean()) for x in EXCEEDS},
        "convergence": str(verdict(true, fitted.diagnostics)),
    }


def _discordance(draws: xr.Dataset) -> xr.DataArray:
    flow = tr.flows(draws["transition"], draws["primary_share"])
    return tr.discordance(flow.isel(stratum=0, drop=True)).transpose("chain", "draw")


def true_row(fitted: TableFit) -> dict[str, Any]:
    """Row of the true discordance under a fit of all patients as one stratum."""
    after, before = (_discordance(group) for group in (fitted.posterior, fitted.prior))
    return estimate(Estimand("true_discordance", "her2"), after, before, fitted, note=KNOWN_NOTE)

"""Maximum likelihood of the piecewise-exponential model, as a Poisson model (Holford 1980)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.classical.cox_likelihood import FLAT
from her2bayes.classical.hazard_regression import kind, raised
from her2bayes.errors import BadInput, Fault


def piecewise_exponential(
    cells: xr.Dataset, factors: Mapping[str, str]
) -> tuple[pd.DataFrame, float]:
    """Maximum likelihood of log hazards by interval and log hazard ratios, from SurvivalCells.

    Poisson regression with log person-months as offset. Returns the table (term, estimate,
    std_error, method, note) and the log likelihood d log(h) - h T, whose value does not depend on
    how cells are split. An interval or a level without events has the estimate minus infinity, and
    what the events do not determine is NA; the others are those of the limit.
    """
    summed = [dim for dim in cells["person_months"].dims if dim not in {*factors, "interval"}]
    frame = cells[["events", "person_months"]].sum(summed).to_dataframe().reset_index()
    frame = frame[frame["person_months"] > 0]
    columns = {f"interval {j}": (frame["interval"] == j) for j in frame["interval"].unique()}
    for name, reference in factors.items():
        for level in cells[name].to_numpy():
            if level != reference:
                columns[f"{name}={level}"] = frame[name] == level
    design = pd.DataFrame(columns).to_numpy(float)
    events, months = frame["events"].to_numpy(float), frame["person_months"].to_numpy()
    some = events > 0
    apart = np.vstack([-design[~some], design[some], -design[some]])
    up = raised(apart)
    kinds = np.array([kind(apart, apart[~up], j) for j in range(len(columns))])
    kept = np.ones(len(events), bool)
    kept[~some] = ~up[: (~some).sum()]
    beta, covariance = _poisson(design[kept], events[kept], months[kept])
    error = np.sqrt(np.clip(np.diag(covariance), 0.0, None))
    log_hazard = design[kept] @ beta
    table = pd.DataFrame(
        {
            "term": list(columns),
            "estimate": np.where(kinds == 0, beta, kinds),
            "std_error": np.where(kinds == 0, error, np.nan),
            "note": [_note(value) for value in kinds],
        }
    ).assign(method="piecewise exponential, maximum likelihood")
    return table, float(events[kept] @ log_hazard - months[kept] @ np.exp(log_hazard))


def _note(value: float) -> str:
    if np.isnan(value):
        return "not available: the events do not determine it"
    return "infinite: no events on one side" if value else ""


def _poisson(
    design: np.ndarray, events: np.ndarray, months: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method from the crude rate; the log likelihood is concave."""
    size = design.shape[1]
    if not len(events):
        return np.zeros(size), np.zeros((size, size))
    crude = np.log(events.sum() / months.sum())
    beta = np.linalg.lstsq(design, np.full(len(events), crude), rcond=None)[0]
    for _ in range(100):
        mean = months * np.exp(design @ beta)
        inverse = np.linalg.pinv(design.T @ (design * mean[:, None]), rcond=FLAT, hermitian=True)
        step = inverse @ (design.T @ (events - mean))
        beta += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-12:
            return beta, inverse
    raise BadInput(
        Fault("no finite maximum-likelihood estimate", remedy="merge levels without events")
    )

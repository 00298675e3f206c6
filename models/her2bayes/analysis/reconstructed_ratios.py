"""Unadjusted hazard ratios of a model with many cells: what a Cox regression on one factor finds.

A printed univariate ratio leaves other factors out, so its counterpart in the reference model is
not a coefficient but the value that Cox's estimate tends to in endlessly many such patients:

    sum_t [ D_g(t) - D(t) exp(b_g) R_g(t) / sum_k exp(b_k) R_k(t) ] = 0     for every group g
    R_g(t) = sum over cells m in g of n_m S_m(t) C(t),    D_g(t) = sum n_m h_m S_m(t) C(t)

over a grid of midpoints, n_m patients, h_m and S_m hazard and survival of a cell, C the censoring
distribution (Struthers & Kalbfleisch 1986).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

STEPS = 6  # of the grid in each interval
NEWTON = 25
LARGEST_STEP, LEAST = 2.0, 1e-12
FEW = 1e-3  # patients in an empty cell: a group that is empty in one cohort still has a ratio


@dataclass(frozen=True)
class Part:
    """Log rates per month and patients of some draws.

    ``log_hazard`` (chain, draw, cell, interval), ``log_leave`` (chain, draw, interval),
    ``patients`` (chain, draw, cell).
    """

    log_hazard: xr.DataArray
    log_leave: xr.DataArray
    patients: xr.DataArray

    @cached_property
    def at_risk(self) -> tuple[np.ndarray, np.ndarray]:
        """Patients at risk and deaths (chain, draw, time, cell) at the midpoints of a grid."""
        order = ("chain", "draw", "interval", "cell")
        log_hazard = self.log_hazard.transpose(*order).to_numpy()
        leave = np.exp(self.log_leave.transpose(*order[:3]).to_numpy())[..., None]
        start, end = (self.log_hazard[f"interval_{side}"].to_numpy() for side in ("start", "end"))
        width = (end - start) / STEPS
        hazard = np.repeat(np.exp(log_hazard), STEPS, axis=2)
        rate = hazard + np.repeat(leave, STEPS, axis=2)
        spent = rate * np.repeat(width, STEPS)[:, None]
        before = np.cumsum(spent, axis=2) - spent / 2
        number = self.patients.transpose("chain", "draw", "cell").to_numpy()[:, :, None, :]
        risk = np.maximum(number, FEW) * np.exp(-before)
        return risk, risk * hazard * np.repeat(width, STEPS)[:, None]


def log_ratios(part: Part, groups: Sequence[np.ndarray]) -> np.ndarray:
    """Log hazard ratios (chain, draw, group) against the first group; ``groups`` hold cells."""
    risk, dead = (np.stack([x[..., g].sum(-1) for g in groups], axis=-1) for x in part.at_risk)
    risk, dead = np.maximum(risk, LEAST), dead
    all_dead = dead.sum(-1, keepdims=True)
    beta = np.zeros((*risk.shape[:2], len(groups)))
    for _ in range(NEWTON):
        weight = risk * np.exp(beta)[:, :, None, :]
        share = weight / weight.sum(-1, keepdims=True)
        score = (dead - all_dead * share).sum(2)[..., 1:]
        spread = np.einsum("cdtg,cdth->cdgh", all_dead * share, share)
        information = -spread[..., 1:, 1:]
        place = np.arange(len(groups) - 1)
        information[..., place, place] += (all_dead * share).sum(2)[..., 1:] + LEAST
        step = np.linalg.solve(information, score[..., None])[..., 0]
        step = np.clip(step, -LARGEST_STEP, LARGEST_STEP)
        beta[..., 1:] += step
        if np.abs(step).max() < 1e-8:
            break
    return beta

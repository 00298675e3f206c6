"""When two sets of draws agree: within 4 Monte-Carlo standard errors, none of them loose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from scipy import stats

from her2bayes.inference.convergence import AGREE_TIMES, MCSE_LOOSE
from her2bayes.inference.estimates import on_scale

STATISTICS = ("mean", "sd", "lower", "upper")


def summary(draws: xr.DataArray | np.ndarray, kind: str = "") -> dict[str, float]:
    """Mean, SD and 2.5/97.5 % quantiles of draws (chain, draw), each with its MCSE.

    Of a ``kind`` of estimand they are taken on its scale: a ratio agrees as its inverse does.
    """
    if isinstance(draws, xr.DataArray):
        draws = draws.transpose("chain", "draw").to_numpy()
    values = on_scale(draws, kind) if kind else np.asarray(draws, dtype=float)
    result = {
        "mean": values.mean(),
        "sd": values.std(ddof=1),
        "lower": np.quantile(values, 0.025),
        "upper": np.quantile(values, 0.975),
        "mcse_mean": array_stats.mcse(values, method="mean"),
        "mcse_sd": array_stats.mcse(values, method="sd"),
        "mcse_lower": array_stats.mcse(values, method="quantile", prob=0.025),
        "mcse_upper": array_stats.mcse(values, method="quantile", prob=0.975),
    }
    return {name: float(value) for name, value in result.items()}


def exact(distribution: Any) -> dict[str, float]:
    """Same summary of a frozen scipy distribution, without Monte-Carlo error."""
    return {
        "mean": float(distribution.mean()),
        "sd": float(distribution.std()),
        "lower": float(distribution.ppf(0.025)),
        "upper": float(distribution.ppf(0.975)),
        **{f"mcse_{name}": 0.0 for name in STATISTICS},
    }


def dirichlet_margin(concentration: np.ndarray, category: int) -> Any:
    """One share of a Dirichlet: Beta(a, sum - a)."""
    return stats.beta(concentration[category], concentration.sum() - concentration[category])


def disagreements(one: Mapping[str, Any], other: Mapping[str, Any], label: str = "") -> list[str]:
    """Say where two summaries differ, and which Monte-Carlo error is too large to tell."""
    found = []
    for name in STATISTICS:
        errors = (one[f"mcse_{name}"], other[f"mcse_{name}"])
        for error, sd in zip(errors, (one["sd"], other["sd"]), strict=True):
            if error > MCSE_LOOSE * sd:
                found.append(f"{label} {name}: MCSE {error:.2g} is above 3 % of the SD {sd:.2g}")
        if abs(one[name] - other[name]) > AGREE_TIMES * float(np.hypot(*errors)):
            found.append(
                f"{label} {name}: {one[name]:.6g} against {other[name]:.6g}, MCSE {errors}"
            )
    return found

"""From draws to one row of numbers: the only place where draws are summarised.

Median and 95 % equal-tailed interval, the probability of a named event, the same for the prior,
and contraction = 1 - Var(posterior) / Var(prior): 0 where the data say nothing, 1 where they say
everything, below 0 where the posterior is wider than the prior. Contraction and Monte-Carlo errors
are taken on the scale of the kind (``estimand.KINDS``): that of a hazard ratio is the log, so that
its inverse has the same.

Comparisons of levels from draws: differences by pair, the largest of them, Cramer's V.

Draws on the scale of their kind (``estimand.KINDS``): identity, log or logit.

How far a reported number may be off because the number of draws is finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import xarray as xr
from scipy import special

from her2bayes.estimand import KINDS, Estimand
from her2bayes.inference.convergence import (
    MCSE_COLUMNS,
    Diagnostics,
    probability_error,
    quantile_errors,
    verdict,
)

if TYPE_CHECKING:
    import pandas as pd


def pairs(draws: xr.DataArray, dim: str) -> list[tuple[str, str]]:
    """Return every pair of levels along ``dim``, in their order: the first against a later one."""
    return list(combinations(map(str, draws[dim].to_numpy()), 2))


def difference(draws: xr.DataArray, dim: str, a: str, b: str) -> xr.DataArray:
    """Return level ``a`` minus level ``b``."""
    return draws.sel({dim: a}, drop=True) - draws.sel({dim: b}, drop=True)


def largest_difference(share: xr.DataArray, dim: str) -> xr.DataArray:
    """Return the largest absolute difference of any category's share between any two levels.

    It cannot be zero, so that its posterior means something only beside its prior.
    """
    return (share.max(dim) - share.min(dim)).max("her2")


def cramers_v(share: xr.DataArray, patients: xr.DataArray, dim: str) -> xr.DataArray:
    """Return Cramer's V of the shares; levels along ``dim`` weigh as their ``patients``.

    V = sqrt(phi^2 / min(levels - 1, categories - 1)) with phi^2 = sum over levels and categories of
    weight * (share - average)^2 / average (Cramer 1946, ch. 21). It cannot be zero, so that its
    posterior means something only beside its prior. NaN for a single level.
    """
    size = min(share.sizes[dim], share.sizes["her2"]) - 1
    if size < 1:
        return share.isel({dim: 0, "her2": 0}, drop=True) * np.nan
    weight = xr.DataArray(
        patients.to_numpy() / patients.to_numpy().sum(), {dim: share[dim].to_numpy()}, dim
    )
    average = share.dot(weight, dim=dim)
    squared = (weight * (share - average) ** 2 / average).sum([dim, "her2"]) / size
    return squared**0.5


def on_scale(values: Any, kind: str) -> np.ndarray:
    """Transform values of a kind, shares between 0 and 1; infinite at the edge of the scale.

    NaN where a value has no place on the scale (a negative ratio).
    """
    array = np.asarray(values, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        match KINDS[kind].scale:
            case "log":
                return np.log(array)
            case "logit":
                return np.asarray(special.logit(array))
    return array


INTERVAL = 0.95

ESTIMATE_COLUMNS = (
    "estimand",
    "posterior_median",
    "posterior_lower",
    "posterior_upper",
    "posterior_probability",
    "prior_median",
    "prior_lower",
    "prior_upper",
    "prior_probability",
    "contraction",
    "note",
    "unit",
    "reading",
    "model",
    "fit_id",
    "convergence",
    *MCSE_COLUMNS,
)


class FitLike(Protocol):
    """What a summary needs to know of a fit."""

    @property
    def fit_id(self) -> str:
        """Name of the fit."""

    @property
    def model(self) -> str:
        """Name of the model."""

    @property
    def diagnostics(self) -> Diagnostics:
        """What the run says of itself."""


Event = Callable[[xr.DataArray], xr.DataArray]


def estimate(
    estimand: Estimand,
    posterior: xr.DataArray,
    prior: xr.DataArray,
    fit: FitLike,
    *,
    event: Event | None = None,
    note: str = "",
    unit: str | None = None,
    reading: str = "",
) -> dict[str, Any]:
    """Summarise one quantity: a row with the names of ``ESTIMATE_COLUMNS``.

    ``posterior`` and ``prior`` are draws (dims ``chain``, ``draw``) on the natural scale (a share
    between 0 and 1), printed in the unit of its kind (``estimand.KINDS``). ``event`` maps draws to
    true/false, its probability is reported between 0 and 1, and ``note`` must name it.
    ``unit`` is that of a kind which takes its outcome's (months, say). Raises ``ValueError`` for a
    nameless event, a wrong shape or a unit that is not the kind's.
    """
    if event is not None and not note:
        raise ValueError(f"{estimand}: the note must name the event whose probability is given")
    for draws in (posterior, prior):
        if set(draws.dims) != {"chain", "draw"}:
            raise ValueError(f"{estimand}: draws have dims {draws.dims}, not chain and draw")
    if unit is None:
        unit = KINDS[estimand.kind].unit or ""
    estimand.check_unit(unit)
    scale = 100.0 if unit == "%" else 1.0
    return {
        "estimand": str(estimand),
        **_summary("posterior", posterior, scale, event),
        **_summary("prior", prior, scale, event),
        "contraction": contraction(estimand.kind, posterior, prior),
        "note": note,
        "unit": unit,
        "reading": reading,
        "model": fit.model,
        "fit_id": fit.fit_id,
        "convergence": str(verdict(posterior, fit.diagnostics)),
        **_errors("posterior", estimand.kind, posterior, scale, event),
        **_errors("prior", estimand.kind, prior, scale, event),
    }


def _summary(name: str, draws: xr.DataArray, scale: float, event: Event | None) -> dict[str, float]:
    tail = (1 - INTERVAL) / 2
    values = draws.to_numpy().astype(float).ravel()
    lower, median, upper = np.quantile(values, [tail, 0.5, 1 - tail]) * scale
    probability = float(event(draws).mean()) if event is not None else np.nan
    return {
        f"{name}_median": float(median),
        f"{name}_lower": float(lower),
        f"{name}_upper": float(upper),
        f"{name}_probability": probability,
    }


def _errors(
    name: str, kind: str, draws: xr.DataArray, factor: float, event: Event | None
) -> dict[str, float]:
    """Errors on the scale of the kind; on the identity they are in the unit that is printed."""
    tail = (1 - INTERVAL) / 2
    values = on_scale(draws.transpose("chain", "draw").to_numpy(), kind)
    factor = factor if KINDS[kind].scale == "identity" else 1.0
    errors = [factor * error for error in quantile_errors(values, [0.5, tail, 1 - tail])]
    true = event(draws).transpose("chain", "draw").to_numpy() if event is not None else None
    errors.append(float("nan") if true is None else probability_error(true))
    parts = ("median", "lower", "upper", "probability")
    return {f"mcse_{name}_{part}": error for part, error in zip(parts, errors, strict=True)}


def contraction(kind: str, posterior: Any, prior: Any) -> float:
    """Return 1 - Var(posterior) / Var(prior) on the scale of the kind.

    NaN where the prior is a constant, or where draws are not finite there (a share of exactly 0).
    """
    before, after = (on_scale(draws, kind) for draws in (prior, posterior))
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return float("nan")
    if before.var() <= 1e-24 * max(1.0, float(np.square(before).max())):
        return float("nan")
    return float(1.0 - after.var() / before.var())


def estimates_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Put rows of ``estimate`` (with any further columns they carry) into one table."""
    import pandas as pd

    extra = list(dict.fromkeys(name for row in rows for name in row))
    columns = [*ESTIMATE_COLUMNS, *(name for name in extra if name not in ESTIMATE_COLUMNS)]
    return pd.DataFrame([dict(row) for row in rows], columns=columns)

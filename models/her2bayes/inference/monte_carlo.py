"""How far a reported number may be off because the number of draws is finite."""

from __future__ import annotations

import numpy as np

MCSE_COLUMNS = tuple(
    f"mcse_{source}_{name}"
    for source in ("posterior", "prior")
    for name in ("median", "lower", "upper", "probability")
)

_EDGE = 1e30


def quantile_errors(draws: np.ndarray, probabilities: list[float]) -> list[float]:
    """Monte-Carlo standard errors of quantiles of ``draws`` (chain, draw), on their scale.

    Order statistics under the effective sample size of each quantile (Vehtari et al. 2021,
    section 4.4, by ArviZ). A quantity that is the same in every draw has no error; where a chain
    stands still or a draw is no number, the error is not known (NaN). Draws at the edge of a scale
    (the log of 0) are very large numbers there.
    """
    from arviz_stats.base import array_stats

    if np.isnan(draws).any():
        return [float("nan")] * len(probabilities)
    edged = np.clip(draws, -_EDGE, _EDGE)
    if np.ptp(edged) <= 1e-12 * max(
        1.0, float(np.abs(edged[np.abs(edged) < _EDGE]).max(initial=0))
    ):
        return [0.0] * len(probabilities)
    if edged.shape[1] < 4 or not np.ptp(edged, axis=1).all():
        return [float("nan")] * len(probabilities)
    errors = [float(array_stats.mcse(edged, method="quantile", prob=p)) for p in probabilities]
    return [error if error < _EDGE / 1e9 else float("nan") for error in errors]


def probability_error(true: np.ndarray) -> float:
    """Monte-Carlo standard error of the share of draws (chain, draw) in which something is true.

    Where all draws agree, 1/n stands in: the most that one draw more could change.
    """
    from arviz_stats.base import array_stats

    share = float(true.mean())
    if share in (0.0, 1.0):
        return 1.0 / true.size
    effective = float(array_stats.ess(true.astype(float), method="mean"))
    return float(np.sqrt(share * (1 - share) / effective)) if effective > 0 else float("nan")

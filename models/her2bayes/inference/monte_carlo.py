"""How far a reported number may be off because the number of draws is finite."""

from __future__ import annotations

import numpy as np

MCSE_COLUMNS = tuple(
    f"mcse_{source}_{name}"
    for source in ("posterior", "prior")
    for name in ("median", "lower", "upper", "probability")
)


def quantile_errors(draws: np.ndarray, probabilities: list[float]) -> list[float]:
    """Monte-Carlo standard errors of quantiles of ``draws`` (chain, draw), on their scale.

    Order statistics under the effective sample size of each quantile (Vehtari et al. 2021,
    section 4.4, by ArviZ). A quantity that is the same in every draw has no error; where a chain
    stands still or a draw is not finite, the error is not known (NaN).
    """
    from arviz_stats.base import array_stats

    if not np.isfinite(draws).all():
        return [float("nan")] * len(probabilities)
    if np.ptp(draws) <= 1e-12 * max(1.0, float(np.abs(draws).max())):
        return [0.0] * len(probabilities)
    if draws.shape[1] < 4 or not np.ptp(draws, axis=1).all():
        return [float("nan")] * len(probabilities)
    return [float(array_stats.mcse(draws, method="quantile", prob=p)) for p in probabilities]


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

"""Rows of estimates for distributions that are computed, not sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from her2bayes.estimand import Estimand, is_percent
from her2bayes.inference.convergence import CONVERGED, MCSE_COLUMNS
from her2bayes.inference.estimates import INTERVAL
from her2bayes.inference.fit import ExactFit
from her2bayes.rates.lattice import Rate
from her2bayes.rates.rate_exact import RateDifference

Computed = Rate | RateDifference

EXACT = "computed by quadrature, without sampling"


def exact_row(
    asked: Estimand,
    posterior: Computed,
    prior: Computed,
    fit: ExactFit,
    *,
    event: Callable[[Any], float] | None = None,
    note: str = "",
    reading: str = "",
) -> dict[str, Any]:
    """Summarise a computed rate or difference: the columns of ``posterior.estimates.estimate``.

    ``event`` maps a distribution to the probability that ``note`` names.
    """
    after, before = _variance(posterior), _variance(prior)
    scale = 100.0 if is_percent(asked.kind) else 1.0
    return {
        "estimand": str(asked),
        **_summary("posterior", posterior, scale, event),
        **_summary("prior", prior, scale, event),
        "contraction": 1 - after / before if before else float("nan"),
        "note": "; ".join(part for part in (note, EXACT) if part),
        "unit": "%" if scale > 1 else "",
        "reading": reading,
        "model": fit.model,
        "fit_id": fit.fit_id,
        "convergence": CONVERGED,
        **dict.fromkeys(MCSE_COLUMNS, 0.0),
    }


def _variance(computed: Computed) -> float:
    """Variance on the scale of the kind: of the log odds of a rate, of a difference as it is."""
    if isinstance(computed, Rate):
        mean = computed.mass @ computed.log_odds
        return float(computed.mass @ (computed.log_odds - mean) ** 2)
    return computed.std() ** 2


def _summary(
    name: str, rate: Computed, scale: float, event: Callable[[Any], float] | None
) -> dict[str, float]:
    tail = (1 - INTERVAL) / 2
    lower, median, upper = rate.ppf(np.array([tail, 0.5, 1 - tail])) * scale
    return {
        f"{name}_median": float(median),
        f"{name}_lower": float(lower),
        f"{name}_upper": float(upper),
        f"{name}_probability": float(event(rate)) if event else float("nan"),
    }

"""How much a quantity moves when its prior, or its likelihood, is raised to a power near 1.

Sensitivity is the gradient of the cumulative Jensen-Shannon distance between the posterior and
the power-scaled one (Kallioinen, Paananen, Buerkner and Vehtari 2024, Statistics and Computing
34:57), by ArviZ. Above 0.05 for the prior and for the likelihood at once: the two disagree; above
0.05 for the prior alone: the prior is strong or the likelihood weak. Only priors of top-level
parameters are scaled: scaling effects of groups would change how much they are pooled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

THRESHOLD = 0.05
CONFLICT = "prior and data disagree"
STRONG = "strong prior or weak data"
CLEAN = ""


def power_scaling(
    quantities: Mapping[str, xr.DataArray],
    likelihood: xr.Dataset,
    log_prior: xr.Dataset,
    top_level: Sequence[str],
) -> dict[str, tuple[float, float]]:
    """Sensitivity of each quantity (chain, draw) to prior and to likelihood.

    A flat prior is the same whatever its power: sensitivity 0.
    """
    from arviz_stats import psense

    # names of data variables may not hold a slash; a position is safe
    names = {f"q{place}": name for place, name in enumerate(quantities)}
    posterior = xr.Dataset({short: quantities[name] for short, name in names.items()})
    chosen = log_prior[[name for name in top_level if name in log_prior]]
    tree = xr.DataTree.from_dict(
        {"posterior": posterior, "log_likelihood": likelihood, "log_prior": chosen}
    )
    flat = bool(chosen.data_vars) and _is_flat(chosen)
    by_prior = psense(tree, group="prior") if chosen.data_vars and not flat else None
    by_likelihood = psense(tree, group="likelihood")
    return {
        name: (
            (0.0 if flat else float("nan")) if by_prior is None else float(by_prior[short]),
            float(by_likelihood[short]),
        )
        for short, name in names.items()
    }


def _is_flat(log_prior: xr.Dataset) -> bool:
    """Whether the log density is the same in all draws."""
    terms = (array.sum([d for d in array.dims if d not in ("chain", "draw")])
             for array in log_prior.values())  # fmt: skip
    total = np.asarray(sum(terms))
    return bool(np.ptp(total) < 1e-9)


def diagnosis(prior: float, likelihood: float) -> str:
    """What the two sensitivities say together; empty where nothing is wrong."""
    if not prior > THRESHOLD:
        return CLEAN
    return CONFLICT if likelihood > THRESHOLD else STRONG

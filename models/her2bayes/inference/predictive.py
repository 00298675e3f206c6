"""Data a model expects, before and after it saw the data, beside the data observed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from her2bayes.inference.estimates import INTERVAL

if TYPE_CHECKING:
    import pandas as pd

RARE = 0.005
"""A predictive probability below this is a finding; a report shows some hundred of them."""

UNINFORMATIVE = {
    "partial": "readings that leave several classes open are a condition of the likelihood",
    "events": "intervals cut where the events are hold as many by construction",
}
"""Observed variables whose replicates must differ from them, whatever the model: not checked here.

``events`` of a survival model are checked by Kaplan–Meier curves (``predictive_survival``).
"""

SELECTED = {"pairs": "partial", "observed_counts": "partial"}
"""Counts not checked beside others: readings of single classes are those not read as sets of
classes, and how often that happens differs by class (never for positive), which no model here says.
"""

INFORMATIVE = 0.5
"""A statistic that has one value in this share of the replicates, or more, tells nothing."""

GROUPS = ("prior", "posterior")
DISTANCE, FARTHEST, EMPTY, TOTAL = "distance", "farthest cell", "empty cells", "total"
Pair = tuple[float, np.ndarray]


def predictive_checks(tree: xr.DataTree) -> pd.DataFrame:
    """Summarise replicated data by test statistics that no parameter enters: a row each.

    ``distance``: the sum over cells of (count - mean)^2 / variance, both over the replicates;
    ``farthest cell``: its largest term; ``empty cells`` and, where it varies, ``total``: of the
    counts. Columns: ``data`` (variable), ``statistic``, ``cell`` (labels of the farthest one), and
    for the prior and the posterior the observed value, the median and 95 % interval of replicates
    and the ``tail``: probability of a replicate at least as large (ties count half), for the last
    two statistics twice the smaller of both sides. Replicates of the posterior are made at one of
    its draws, so that tails are uniform where the model holds (``densities.replicates``).
    Statistics that hardly vary, and variables of ``UNINFORMATIVE``, are left out.
    """
    import pandas as pd

    names = ("prior_predictive", "replicates", "observed_data")
    if any(name not in tree.children for name in names):
        return pd.DataFrame()
    prior, posterior, seen = (tree[name].to_dataset() for name in names)
    rows: list[dict[str, object]] = []
    for name, observed in seen.items():
        if name in UNINFORMATIVE or name not in prior or name not in posterior:
            continue
        if SELECTED.get(str(name)) in seen and int(seen[SELECTED[str(name)]].sum()):
            continue
        if observed.size < 2:
            continue  # a single number is no table: an indicator that facts are met
        found = [_statistics(observed, group[name]) for group in (prior, posterior)]
        for statistic, (_, drawn) in found[1].items():
            if commonest(drawn) >= INFORMATIVE:
                continue
            one_sided = statistic in (DISTANCE, FARTHEST)
            row: dict[str, object] = {"data": str(name), "statistic": statistic}
            row["cell"] = _farthest(observed, posterior[name]) if statistic == FARTHEST else ""
            for group, values in zip(GROUPS, found, strict=True):
                row |= {f"{group}_{k}": v for k, v in _tail(*values[statistic], one_sided).items()}
            rows.append(row)
    return pd.DataFrame(rows)


def _statistics(observed: xr.DataArray, replicates: xr.DataArray) -> dict[str, Pair]:
    """Observed value and replicates of each statistic."""
    terms, replicated = _terms(observed, replicates)
    seen, drawn = _flat(observed, replicates)
    found: dict[str, Pair] = {
        DISTANCE: (float(terms.sum()), replicated.sum(axis=1)),
        FARTHEST: (float(terms.max()), replicated.max(axis=1)),
        EMPTY: (float((seen == 0).sum()), (drawn == 0).sum(axis=1)),
        TOTAL: (float(seen.sum()), drawn.sum(axis=1)),
    }
    return found


def commonest(values: np.ndarray) -> float:
    """Share of the replicates that have the commonest value."""
    return float(np.unique(np.round(values, 9), return_counts=True)[1].max() / len(values))


def _terms(observed: xr.DataArray, replicates: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance of each cell from its mean over replicates, in units of their variance.

    Half an event is added to the variance: a cell that is empty in all replicates, and so known to
    hold next to nothing, must not be infinitely far when it holds one.
    """
    seen, drawn = _flat(observed, replicates)
    mean, variance = drawn.mean(axis=0), drawn.var(axis=0) + 0.5
    return (seen - mean) ** 2 / variance, (drawn - mean) ** 2 / variance


def _flat(observed: xr.DataArray, replicates: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    dims = observed.dims
    drawn = replicates.transpose("chain", "draw", *dims).to_numpy().astype(float)
    return observed.to_numpy().astype(float).ravel(), drawn.reshape(-1, observed.size)


def _farthest(observed: xr.DataArray, replicates: xr.DataArray) -> str:
    place = np.unravel_index(int(np.argmax(_terms(observed, replicates)[0])), observed.shape)
    labels = (
        str(observed[dim].values[i]) if dim in observed.coords else f"{dim} {i}"
        for dim, i in zip(observed.dims, place, strict=True)
    )
    return ", ".join(labels)


def _tail(observed: float, replicates: np.ndarray, one_sided: bool) -> dict[str, float]:
    half = (1 - INTERVAL) / 2
    lower, median, upper = np.quantile(replicates, [half, 0.5, 1 - half])
    return {
        "observed": observed, "median": float(median), "lower": float(lower),
        "upper": float(upper), "tail": tail(observed, replicates, one_sided),
    }  # fmt: skip


def tail(observed: float, replicates: np.ndarray, one_sided: bool = False) -> float:
    """Probability of a replicate at least as large, ties by half, the data as one more replicate.

    Two-sided: twice the smaller of both sides. Uniform where data and replicates are alike.
    """
    same = np.isclose(replicates, observed, rtol=1e-9, atol=1e-9)
    above = ((1 + same.sum()) / 2 + (~same & (replicates > observed)).sum()) / (1 + len(replicates))
    return float(above if one_sided else 2 * min(above, 1 - above))

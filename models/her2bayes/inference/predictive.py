"""Data a model expects, before and after it saw the data, beside the data observed.

How well it predicts a patient who is left out. Equal patients are one row with their number, so
that cost does not grow with the patients. Of a sampled model by Pareto-smoothed importance sampling
(Vehtari, Gelman & Gabry 2017), its weights by ArviZ; of counts with conjugate priors exactly.
Stacking weights by Yao, Vehtari, Simpson & Gelman 2018. Leaving out a cell of counts is another
question: it leaves out all patients of a subgroup, and smoothing rarely answers it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from her2bayes.errors import BadInput, Fault
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


BAD_PARETO_K = 0.7


@dataclass(frozen=True)
class PatientElpd:
    """Expected log predictive density of patients left out one at a time.

    ``elpd`` and ``std_error`` are sums over patients, ``effective`` the effective number of
    parameters, ``pareto_k`` the largest k (both NaN where nothing was smoothed), ``unreliable`` the
    patients whose k exceeds 0.7; ``by_row`` the value of each row of equal patients and
    ``patients`` its number.
    """

    elpd: float
    std_error: float
    effective: float
    pareto_k: float
    unreliable: float
    by_row: np.ndarray
    patients: np.ndarray


def leave_one_out(density: np.ndarray, patients: np.ndarray) -> PatientElpd:
    """Smooth log densities (draw, row) of one patient of each row, given all the others."""
    from arviz_stats.base import array_stats
    from scipy.special import logsumexp

    weight, pareto_k = array_stats.psislw(density.T)
    by_row = logsumexp(weight + density.T, axis=1)
    plain = logsumexp(density, axis=0) - np.log(len(density))
    elpd, error = total(by_row, patients)
    return PatientElpd(
        elpd=elpd,
        std_error=error,
        effective=float(patients @ (plain - by_row)),
        pareto_k=float(np.max(pareto_k)),
        unreliable=float(patients[pareto_k > BAD_PARETO_K].sum()),
        by_row=by_row,
        patients=patients,
    )


def left_out_exactly(by_row: np.ndarray, patients: np.ndarray) -> PatientElpd:
    """Score of a model whose log predictive densities are known without draws."""
    elpd, error = total(by_row, patients)
    return PatientElpd(elpd, error, np.nan, np.nan, 0.0, by_row, patients)


def conjugate(counts: np.ndarray) -> np.ndarray:
    """Log predictive probability of the class of one patient given the others, exactly.

    ``counts`` has dims (subgroup, class); every subgroup has shares of its own, any shares equally
    likely before (Dirichlet(1, ..., 1)). NaN where nobody can be left out.
    """
    everybody = counts.sum(axis=1, keepdims=True)
    found = np.full(counts.shape, np.nan)
    np.log(counts / (everybody - 1.0 + counts.shape[1]), out=found, where=counts > 0)
    return found


def total(by_row: np.ndarray, patients: np.ndarray) -> tuple[float, float]:
    """Sum over patients and its standard error."""
    number = float(patients.sum())
    mean = float(patients @ by_row) / number
    variance = max(float(patients @ (by_row - mean) ** 2) / number, 0.0)
    return mean * number, float(np.sqrt(number * variance))


def compare(models: Mapping[str, PatientElpd]) -> pd.DataFrame:
    """Table of models, best first: elpd, its difference to the best with error, stacking weight.

    All must have been scored on the same patients.
    """
    import pandas as pd

    sizes = {name: len(score.by_row) for name, score in models.items()}
    if len(set(sizes.values())) != 1:
        raise BadInput(Fault("models scored on different patients cannot be compared", value=sizes))
    best = max(models, key=lambda name: models[name].elpd)
    weights = stacking_weights(list(models.values()))
    rows = []
    for (name, score), weight in zip(models.items(), weights, strict=True):
        difference, error = total(score.by_row - models[best].by_row, score.patients)
        rows.append(
            {
                "model": name,
                "elpd": score.elpd,
                "elpd_std_error": score.std_error,
                "difference": difference,
                "difference_std_error": error,
                "effective_parameters": score.effective,
                "stacking_weight": float(weight),
                "pareto_k": score.pareto_k,
                "unreliable_patients": score.unreliable,
            }
        )
    return pd.DataFrame(rows).sort_values("elpd", ascending=False, ignore_index=True)


def stacking_weights(scores: Sequence[PatientElpd]) -> np.ndarray:
    """Weights of the mixture of predictive densities that predicts left-out patients best."""
    from scipy.optimize import minimize

    density = np.stack([score.by_row for score in scores], axis=1)
    ratio = np.exp(density - density.max(axis=1, keepdims=True))
    share, number = scores[0].patients / scores[0].patients.sum(), len(scores)
    if number == 1:
        return np.ones(1)

    def loss(weight: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.maximum(ratio @ weight, 1e-300)
        return -float(share @ np.log(mixed)), -(share / mixed) @ ratio

    found = minimize(
        loss, np.full(number, 1 / number), jac=True, method="SLSQP", bounds=[(0, 1)] * number,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12},
    )  # type: ignore[call-overload]  # fmt: skip
    weight = np.clip(found.x, 0, 1)
    return np.asarray(weight / weight.sum())

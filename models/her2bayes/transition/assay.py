"""True HER2 classes behind two fallible readings: change of the tumour against error of the assay.

    transition, primary_share          of the true classes, as in ``transition_rows``
    accuracy[t]   ~ Beta(a_tt, sum_{o != t} a_to) truncated to (1/2, 1)
    error[t,.]    ~ Dirichlet(a_to, o != t)              how the errors of class t split
    misclassification M[t,t] = accuracy[t],   M[t,o] = (1 - accuracy[t]) error[t,o]
    reads[t1,t2,o1,o2] = (1 - c) M[t1,o1] M[t2,o2] + c comonotone(M[t1,.], M[t2,.])[o1,o2]
    observed_flow[s,o1,o2] = sum_{t1,t2} primary_share[s,t1] transition[s,t1,t2] reads[t1,t2,o1,o2]
    pairs[s]      ~ Multinomial(n[s], observed_flow[s]),  sets of classes binomial as elsewhere
    agreement[a]  ~ Multinomial(n[a], sum_t agreement_share[a,t] reads[t,t,o1,o2]),
    agreement_share[a,.] ~ Dirichlet(1, ..., 1)

A Dirichlet row is a Beta diagonal and an independent Dirichlet split, so truncating the Beta
enforces M[t,t] > 1/2 and leaves the rest of the row's prior as it is. Agreement of two fallible
readings of one tumour enters as such and never as accuracy. ``c`` is the share of pairs in which
both readings err together (same laboratory, same habit): the classes are ordered, and the pair
with the same rank in both rows is read; c = 0 is independence. Without the prior of M, change and
error are not both identified: every M close enough to the identity explains any table of pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.errors import Fault, raise_if
from her2bayes.transition.rows import (
    ROW_PRIORS,
    coordinates,
    logistic_rows,
    observe_pairs,
    parameters,
    primary_shares,
    split_readings,
    strata_design,
)

DEFAULT_PRIORS = {
    **ROW_PRIORS,
    "reads_zero": prior(
        "Dirichlet",
        a=(17.0, 2.8, 0.2),
        means="twenty readings' worth of experience a class: zero read right in 85 % (67 to 97), "
        "else nearly always low",
    ),
    "reads_low": prior(
        "Dirichlet",
        a=(2.5, 17.0, 0.5),
        means="low read right in 85 %, else five times as often zero as positive",
    ),
    "reads_positive": prior(
        "Dirichlet",
        a=(0.2, 0.8, 19.0),
        means="positive read right in 95 % (82 to 100), else four times as often low as zero",
    ),
}


def build(
    data: xr.Dataset,
    priors: Mapping[str, Prior] | None = None,
    reads: Mapping[str, tuple[float, ...]] | None = None,
) -> Any:
    """Model of TransitionCounts read by a fallible assay.

    ``data`` may further hold ``misclassification`` (her2, read), which fixes M; ``agreement``
    (agreement_study, first, second), counts of two readings of the same tumours; the scalars
    ``error_correlation`` and ``agreement_correlation`` (c, default 0). ``reads`` gives the
    Dirichlet rows of classes for which there is no default prior. Posterior variables
    ``transition`` and ``primary_share`` (true), ``misclassification`` (her2, read),
    ``observed_flow`` and ``unchanged_flow`` (stratum, read_primary, read). Raises ``BadInput``.
    """
    import pymc as pm
    import pymc.dims as pmd

    priors = complete(priors, DEFAULT_PRIORS)
    her2 = [str(name) for name in data["her2"].values]
    readings = split_readings(data)
    strata = strata_design(data, readings["pairs"].values)
    labels = coordinates(strata, her2) | label_reads(data, readings)
    fixed = "misclassification" in data
    concentration = None if fixed else read_rows(her2, priors, reads or {})
    k, dims = len(her2), ("stratum", "read_primary", "read")
    with pm.Model(coords=labels, check_bounds=False) as model:
        flow = primary_shares(priors) * logistic_rows(strata, her2, priors)
        matrix = fixed_reads(data) if concentration is None else uncertain_reads(concentration)
        first = matrix.rename(OF_PRIMARY)
        reads_of = read_twice(first, matrix, data.get("error_correlation"), "error_correlation")
        observed = (flow * reads_of).sum(("her2_primary", "her2")).transpose(*dims)
        observed = pmd.Deterministic("observed_flow", observed)
        same = on_diagonal(reads_of, k)
        unchanged = (on_diagonal(flow, k) * same).sum("her2").transpose(*dims)
        pmd.Deterministic("unchanged_flow", unchanged)
        observe_pairs(readings, strata["stratum"].values, observed)
        if "agreement" in data:
            c = data.get("agreement_correlation")
            same = on_diagonal(read_twice(first, matrix, c, "agreement_correlation"), k)
            observe_agreement(data, same)
    return model


def read_rows(
    her2: list[str], priors: Mapping[str, Prior], reads: Mapping[str, tuple[float, ...]]
) -> np.ndarray:
    """Dirichlet row of each true class (her2, read), from ``reads`` or the prior ``reads_<class>``.

    Raises ``BadInput`` where a class has none, or a row of another length.
    """
    rows = {name: tuple(row) for name, row in reads.items()}
    for name in her2:
        if name not in rows and f"reads_{name}" in priors:
            rows[name] = tuple(parameters(priors, f"reads_{name}", "Dirichlet")["a"])
    raise_if(
        [
            Fault(
                f"no prior for how class '{name}' is read",
                value=rows.get(name),
                allowed=f"{len(her2)} positive numbers, one for each of {', '.join(her2)}",
                remedy="give it in 'reads'",
            )
            for name in her2
            if len(rows.get(name, ())) != len(her2) or min(rows[name]) <= 0
        ]
    )
    return np.array([rows[name] for name in her2])


def label_reads(data: xr.Dataset, readings: xr.Dataset) -> dict[str, list[str]]:
    """Coordinates of readings: of one sample, of a pair, of agreement studies."""
    her2 = [str(name) for name in data["her2"].values]
    labels = {
        "read": her2,
        "read_primary": her2,
        "error": [str(place) for place in range(len(her2) - 1)],
        "pair": [str(name) for name in readings["pair"].values],
    }
    if "agreement" in data:
        labels["agreement_study"] = [str(name) for name in data["agreement_study"].values]
    return labels


def fixed_reads(data: xr.Dataset) -> Any:
    """Misclassification matrix (her2, read) given as data."""
    import pymc.dims as pmd

    given = data["misclassification"].transpose("her2", "read").astype(float)
    raise_if(
        [
            Fault("a row of 'misclassification' is no distribution", value=row.tolist())
            for row in given.values
            if (row < 0).any() or abs(row.sum() - 1) > 1e-9
        ]
    )
    bare = given.drop_vars(list(given.coords))
    return pmd.Deterministic("misclassification", pmd.Data("fixed_misclassification", bare))


def uncertain_reads(concentration: np.ndarray, lead: tuple[str, ...] = ()) -> Any:
    """Misclassification matrix (her2, read): Dirichlet rows with the diagonal above one half.

    ``concentration`` and the matrix may have the dims ``lead`` before these two.
    """
    import pymc as pm
    import pymc.dims as pmd

    k, dims = concentration.shape[-1], (*lead, "her2")
    right = np.diagonal(concentration, axis1=-2, axis2=-1)
    wrong = concentration[..., ~np.eye(k, dtype=bool)].reshape(*right.shape, k - 1)
    beta = pm.Beta.dist(pm.Data("right", right), pm.Data("wrong", wrong.sum(axis=-1)))
    accuracy = pm.Truncated("accuracy", beta, lower=0.5, upper=1.0, dims=dims)
    accuracy = pmd.math.as_xtensor(accuracy, dims=dims)
    split = xr.DataArray(wrong, dims=(*dims, "error"))
    wrong_by_class = pmd.Data("wrong_by_class", split)
    error = pmd.Dirichlet("error_split", a=wrong_by_class, core_dims="error", dims=(*dims, "error"))
    place = np.zeros((k, k - 1, k))  # error number e of class t is the class place[t, e, .]
    for t in range(k):
        place[t, np.arange(k - 1), [o for o in range(k) if o != t]] = 1.0
    place = pmd.math.as_xtensor(place, dims=("her2", "error", "read"))
    identity = pmd.math.as_xtensor(np.eye(k), dims=("her2", "read"))
    wrong_reads = (error * place).sum("error")
    matrix = accuracy * identity + (1.0 - accuracy) * wrong_reads
    return pmd.Deterministic("misclassification", matrix.transpose(*dims, "read"))


OF_PRIMARY = {"her2": "her2_primary", "read": "read_primary"}
"""Dims of the misclassification of the recurrence -> of the primary tumour."""


def read_twice(first: Any, second: Any, correlation: Any, name: str) -> Any:
    """Probability of two readings given two true classes (her2_primary, her2, read_primary, read).

    ``first`` (her2_primary, read_primary) and ``second`` (her2, read) are the misclassification of
    the two samples, with further dims where they have some. ``correlation`` is c, kept as data
    variable ``name``; None leaves its term out of the graph.
    """
    import pymc as pm
    import pymc.dims as pmd

    from her2bayes.bayes.levels import number

    apart = first * second
    if correlation is None:
        return apart
    k = len(pm.modelcontext(None).coords["read"])
    c = number(name, float(correlation))
    up_to = np.triu(np.ones((k, k)))  # sums a row up to and including each class
    tops = [
        (row * pmd.math.as_xtensor(up_to, dims=(dim, "up_to"))).sum(dim).rename({"up_to": dim})
        for row, dim in ((first, "read_primary"), (second, "read"))
    ]
    bottom = pmd.math.maximum(tops[0] - first, tops[1] - second)
    together = pmd.math.maximum(pmd.math.minimum(*tops) - bottom, 0.0)
    return (1.0 - c) * apart + c * together


def observe_agreement(data: xr.Dataset, same: Any) -> None:
    """Observe two readings of the same tumours, whose true class does not change between them.

    ``same`` (her2, read_primary, read) are the probabilities of the readings given the true class.
    """
    import pymc.dims as pmd

    from her2bayes.bayes.levels import multinomial

    a = pmd.Data("agreement_concentration", xr.DataArray(np.ones(data.sizes["her2"]), dims="her2"))
    share = pmd.Dirichlet(
        "agreement_share", a=a, core_dims="her2", dims=("agreement_study", "her2")
    )
    counts = data["agreement"].transpose("agreement_study", "first", "second")
    counts = counts.drop_vars(list(counts.coords)).stack(
        read_pair=("first", "second"), create_index=False
    )
    flow = (share * same.stack({"read_pair": ("read_primary", "read")})).sum("her2")
    multinomial("agreement", pmd.Data("agreement_counts", counts), flow)


def on_diagonal(values: Any, k: int) -> Any:
    """Entries of ``values`` (her2_primary, her2, ...) with equal classes, along ``her2``."""
    import pymc.dims as pmd

    identity = pmd.math.as_xtensor(np.eye(k), dims=("her2_primary", "her2"))
    return (values * identity).sum("her2_primary")

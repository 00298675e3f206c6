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

import xarray as xr

from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.transition.assay_reads import (
    fixed_reads,
    label_reads,
    observe_agreement,
    on_diagonal,
    read_rows,
    read_twice,
    uncertain_reads,
)
from her2bayes.transition.design import design, split_readings
from her2bayes.transition.rows import (
    ROW_PRIORS,
    coordinates,
    logistic_rows,
    observe_pairs,
    primary_shares,
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
    strata = design(data, readings["pairs"].values)
    labels = coordinates(strata, her2) | label_reads(data, readings)
    fixed = "misclassification" in data
    concentration = None if fixed else read_rows(her2, priors, reads or {})
    k, dims = len(her2), ("stratum", "read_primary", "read")
    with pm.Model(coords=labels) as model:
        flow = primary_shares(priors) * logistic_rows(strata, her2, priors)
        matrix = fixed_reads(data) if concentration is None else uncertain_reads(concentration)
        reads_of = read_twice(matrix, k, data.get("error_correlation"), "error_correlation")
        observed = flow.dot(reads_of, dim=("her2_primary", "her2")).transpose(*dims)
        observed = pmd.Deterministic("observed_flow", observed)
        same = on_diagonal(reads_of, k)
        unchanged = on_diagonal(flow, k).dot(same, dim="her2").transpose(*dims)
        pmd.Deterministic("unchanged_flow", unchanged)
        observe_pairs(readings, strata["stratum"].values, observed)
        if "agreement" in data:
            c = data.get("agreement_correlation")
            same = on_diagonal(read_twice(matrix, k, c, "agreement_correlation"), k)
            observe_agreement(data, same)
    return model

"""HER2 classes over an ordered factor, such as the year or an age band: a linear trend of logits.

For the cell s, a step x[s] of the factor from its middle level, and the HER2 class h:

    counts[s, .]  ~ Multinomial(patients[s], share[s, .])
    share[s, .]   = softmax over h of alpha[h] + slope[h] * x[s]
    alpha         ~ ZeroSumNormal                              over h
    slope         ~ ZeroSumNormal                              over h

``slope[h] - slope[k]`` is the log odds ratio of class h against k for one step up. The first
factor is the ordered one; other factors take no part. Readings of one class are used. Source:
Agresti 2013, Categorical Data Analysis, section 8.1 (baseline-category logits).
"""

import her2bayes as hb

DEFAULT_PRIORS = {
    "alpha": hb.prior(
        "ZeroSumNormal",
        sigma=1.5,
        means="with three classes any one share: median 25 %, 95 % between 0.8 and 93 %",
    ),
    "slope": hb.prior(
        "ZeroSumNormal",
        sigma=0.25,
        means="odds ratio of two classes for one step 1, 95 % between 0.50 and 2.0",
    ),
}


def counts_of(data):
    """Patients by cell and HER2 class, and the step of each cell from the middle level."""
    import xarray as xr

    factor = data.attrs["factors"][0]
    levels = list(data.attrs.get("levels", {}).get(factor) or dict.fromkeys(data[factor].values))
    step = xr.DataArray(
        [levels.index(level) - (len(levels) - 1) / 2 for level in data[factor].values],
        dims="subgroup",
    )
    one = data["incidence"].sum("her2") == 1
    counts = (data["counts"].where(one, 0) * data["incidence"]).sum("reading")
    return counts.transpose("subgroup", "her2").astype(int), step


def build(data, priors):
    """Model of StatusCells: ``counts`` (subgroup, reading) and ``incidence`` (reading, her2)."""
    import pymc as pm

    counts, step = counts_of(data)
    coords = {"subgroup": list(data["subgroup"].values), "her2": list(data["her2"].values)}
    with pm.Model(coords=coords) as model:
        alpha = pm.ZeroSumNormal("alpha", sigma=priors["alpha"]["sigma"], dims="her2")
        slope = pm.ZeroSumNormal("slope", sigma=priors["slope"]["sigma"], dims="her2")
        logit = alpha[None, :] + slope[None, :] * step.values[:, None]
        share = pm.Deterministic("share", pm.math.softmax(logit, axis=1), dims=("subgroup", "her2"))
        patients = counts.sum("her2").values
        pm.Multinomial("observed", patients, share, observed=counts.values, dims=list(coords))
    return model


def draws(posterior, data, estimands):
    """Answer ``share[her2=h | factor=level]`` and ``share_difference[her2=h ; factor: a vs b]``."""
    factor = data.attrs["factors"][0]
    first = {}
    for cell, level in zip(data["subgroup"].values, data[factor].values, strict=True):
        first.setdefault(str(level), cell)

    def share(estimand, level):
        her2 = estimand.outcome.removeprefix("her2=")
        return posterior["share"].sel(subgroup=first[level], her2=her2, drop=True)

    found = {}
    for estimand in estimands:
        if estimand.kind == "share" and set(estimand.conditions) == {factor}:
            found[estimand] = share(estimand, estimand.conditions[factor])
        elif estimand.kind == "share_difference" and estimand.contrast.factor == factor:
            a, b = estimand.contrast.a, estimand.contrast.b
            found[estimand] = share(estimand, a) - share(estimand, b)
    return found

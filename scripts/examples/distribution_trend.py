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
    """Patients by cell and HER2 class, the level of each cell, its steps from the middle level."""
    import xarray as xr

    if isinstance(data, xr.DataArray):  # a table by one factor
        counts, levels = data, [str(level) for level in data["level"].values]
        order = levels
    else:  # crossed cells: the first factor is the ordered one
        factor = data.attrs["factors"][0]
        levels = [str(level) for level in data[factor].values]
        order = list(data.attrs.get("levels", {}).get(factor) or dict.fromkeys(levels))
        one = data["incidence"].sum("her2") == 1
        counts = (data["counts"].where(one, 0) * data["incidence"]).sum("reading")
    step = [order.index(level) - (len(order) - 1) / 2 for level in levels]
    return counts.transpose("subgroup", "her2").astype(int), levels, xr.DataArray(step)


def build(data, priors):
    """Model of StatusCounts (subgroup, her2), or of StatusCells with the readings of one class."""
    import pymc as pm

    counts, _, step = counts_of(data)
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
    _, levels, _ = counts_of(data)

    def share(estimand, level):
        cell = data["subgroup"].values[levels.index(level)]
        her2 = estimand.outcome.removeprefix("her2=")
        return posterior["share"].sel(subgroup=cell, her2=her2, drop=True)

    found = {}
    for estimand in estimands:
        named = list(estimand.conditions.values())
        if estimand.kind == "share" and len(named) == 1 and named[0] in levels:
            found[estimand] = share(estimand, named[0])
        elif estimand.kind == "share_difference" and {estimand.contrast.a} <= set(levels):
            a, b = estimand.contrast.a, estimand.contrast.b
            found[estimand] = share(estimand, a) - share(estimand, b)
    return found

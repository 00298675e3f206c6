"""Survival with a log-normal baseline and proportional hazards, on SurvivalCells.

For the group g of patients (a level of each factor) and the interval j from a to b months:

    events[g, j]     ~ Poisson(person_months[g, j] * exp(log_hazard[g, j]))
    log_hazard[g, j] = log((H0(b) - H0(a)) / (b - a)) + sum over factors f of effect[f, level of g]
    H0(t)            = -log(1 - Phi((log t - location) / scale))       log-normal, Phi: normal CDF
    location         ~ Normal                                          log of the median, in months
    log(scale)       ~ Normal
    effect[f, .]     ~ ZeroSumNormal                                   log hazard against the mean

The hazard of a log-normal time rises, then falls: two parameters in place of the forty of a
piecewise baseline (Collett 2015, Modelling Survival Data in Medical Research, section 6.1).
``log_hazard`` over the cells is all that the survival family needs to answer every estimand.
"""

import her2bayes as hb

DEFAULT_PRIORS = {
    "location": hb.prior(
        "Normal", mu=3.7, sigma=1.0, means="median survival 40 months, 95 % between 6 and 287"
    ),
    "log_scale": hb.prior(
        "Normal",
        mu=0.0,
        sigma=0.5,
        means="scale 1, 95 % between 0.38 and 2.7: a quarter of patients die before half the "
        "median time",
    ),
    "effect": hb.prior(
        "ZeroSumNormal",
        sigma=0.5,
        means="hazard ratio of two levels 1, 95 % between 0.25 and 4.0",
    ),
}


def build(cells, priors):
    """Model of ``events`` and ``person_months`` (groups..., interval)."""
    import numpy as np
    import pymc as pm
    import pymc.dims as pmd
    from pytensor.xtensor import as_xtensor

    groups = [str(dim) for dim in cells["person_months"].dims]
    edges = np.append(cells["interval_start"].values, cells["interval_end"].values[-1])
    with pm.Model(coords={dim: cells[dim].values.tolist() for dim in groups}) as model:
        location = pm.Normal("location", priors["location"]["mu"], priors["location"]["sigma"])
        log_scale = pm.Normal("log_scale", priors["log_scale"]["mu"], priors["log_scale"]["sigma"])
        z = (np.log(np.maximum(edges, 1e-3)) - location) / pm.math.exp(log_scale)
        cumulative = -pm.logcdf(pm.Normal.dist(0, 1), -z)
        hazard = (cumulative[1:] - cumulative[:-1] + 1e-12) / np.diff(edges)
        log_hazard = as_xtensor(pm.math.log(hazard), dims=("interval",))
        for factor in groups[:-1]:
            sigma = priors["effect"]["sigma"]
            log_hazard = log_hazard + pmd.ZeroSumNormal(factor + "_effect", sigma, core_dims=factor)
        log_hazard = pmd.Deterministic("log_hazard", log_hazard.transpose(*groups))
        months = np.maximum(cells["person_months"].values, 1e-100)  # a cell nobody entered
        rate = as_xtensor(months, dims=groups) * pmd.math.exp(log_hazard)
        pmd.Poisson("events", rate, observed=as_xtensor(cells["events"].values, dims=groups))
    return model

"""Shares of ordered categories: a baseline, and one shift of the log odds for each subgroup.

Shared by the models with ordered categories; the equations stand in their files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from her2bayes.bayes.crossing import cumulative_logit_share, multinomial, number
from her2bayes.bayes.levels import design
from her2bayes.bayes.prior import Prior

if TYPE_CHECKING:
    import pymc as pm
    import xarray as xr


def ordered_shares(
    counts: xr.DataArray, priors: Mapping[str, Prior], category: str, pooling: str
) -> pm.Model:
    """Return the model of ``counts`` with dims ``subgroup`` and ``category``, in their order.

    ``priors`` are complete: ``baseline``, ``tau``, ``fixed_tau``. Variables ``baseline``, ``tau``,
    ``beta`` (shift of each subgroup) and ``share``.
    """
    import pymc as pm
    import pymc.dims as pmd

    data = design(counts, pooling)
    with pm.Model(coords={dim: data[dim].values for dim in data.dims}) as model:
        y, contrast, member, learned, information = (
            pmd.Data(name, data[name], dims=data[name].dims)
            for name in ("counts", "contrast", "member", "learned", "information")
        )
        flat = data["counts"].isel(subgroup=0) * 0 + priors["baseline"]["concentration"]
        baseline_prior = pmd.Data("baseline_prior", flat, dims=category)
        tau_scale = number("tau_scale", priors["tau"]["sigma"])
        fixed_tau = number("fixed_tau", priors["fixed_tau"]["value"])

        baseline = pmd.Dirichlet("baseline", baseline_prior, core_dims=category)
        tau = pmd.HalfNormal("tau", sigma=tau_scale, dims="family")
        scale = learned * member.dot(tau, dim="family") + (1 - learned) * fixed_tau
        stretch = pmd.math.sqrt(1 + information * scale**2)
        raw = pmd.Normal("raw", mu=0, sigma=stretch, dims="effect")
        effect = raw * scale / stretch
        beta = pmd.Deterministic("beta", contrast.dot(effect, dim="effect"))
        share = pmd.Deterministic("share", cumulative_logit_share(baseline, beta))
        multinomial("observed_counts", y, share)
    return model

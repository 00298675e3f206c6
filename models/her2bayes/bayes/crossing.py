"""Where labelled (``pymc.dims``) and core PyMC meet: what ``pymc.dims`` does not have.

Shares of ordered categories: a baseline, and one shift of the log odds for each subgroup.

Shared by the models with ordered categories; the equations stand in their files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from her2bayes.bayes.levels import design
from her2bayes.bayes.prior import Prior

if TYPE_CHECKING:
    import pymc as pm
    import xarray as xr


def number(name: str, value: float) -> Any:
    """Hold one number as a data variable of double precision.

    ``pymc.dims.Data`` keeps a Python number in single precision where it is exact there: its type
    would depend on its value, and so would the graph.
    """
    import pymc.dims as pmd

    return pmd.Data(name, np.asarray(value, dtype=np.float64))


def multinomial(name: str, counts: Any, share: Any) -> Any:
    """Observe ``counts`` as multinomial over the last dimension of ``counts``, one per row.

    ``counts`` (data variable, dims ``(row, category)``) holds the observed numbers; ``share`` (the
    same dims in any order) the probabilities. A row without patients contributes nothing.
    """
    import pymc as pm

    observed = counts.values
    return pm.Multinomial(
        name,
        n=observed.sum(axis=-1),
        p=share.transpose(*counts.type.dims).values,
        observed=observed,
        dims=counts.type.dims,
    )


def cumulative_logit_share(baseline: Any, shift: Any) -> Any:
    """Return shares (row, category): the cumulated ``baseline`` (category), its logits moved down.

    ``shift`` (row) is a log odds ratio of a higher category, the same at every cut.
    """
    import pytensor.tensor as pt
    from pytensor.xtensor import as_xtensor

    below = pt.cumsum(baseline.values)[:-1]
    cut = pt.log(below) - pt.log1p(-below)
    cumulative = pt.sigmoid(cut[None, :] - shift.values[:, None])
    ends = pt.zeros_like(cumulative[:, :1])
    share = pt.diff(pt.concatenate([ends, cumulative, ends + 1], axis=1), axis=1)
    return as_xtensor(share, dims=(*shift.type.dims, *baseline.type.dims))


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
    with pm.Model(coords={dim: data[dim].values for dim in data.dims}, check_bounds=False) as model:
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
        scale = learned * (member * tau).sum("family") + (1 - learned) * fixed_tau
        stretch = pmd.math.sqrt(1 + information * scale**2)
        raw = pmd.Normal("raw", mu=0, sigma=stretch, dims="effect")
        effect = raw * scale / stretch
        beta = pmd.Deterministic("beta", (contrast * effect).sum("effect"))
        share = pmd.Deterministic("share", cumulative_logit_share(baseline, beta))
        multinomial("observed_counts", y, share)
    return model

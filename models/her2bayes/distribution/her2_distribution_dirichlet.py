"""HER2 status across subgroups, alternative: hierarchical Dirichlet-multinomial.

For subgroup s (of parent p where subgroups are nested) and HER2 category h:

    counts[s, .]    ~ Multinomial(patients[s], share[s, .])
    share[s, .]     ~ Dirichlet(concentration * centre[s, .])
    centre[s, .]    = parent_share[p, .] where nested, else mean
    parent_share[p] ~ Dirichlet(parent_concentration * mean)
    concentration, parent_concentration ~ LogNormal
    mean            ~ Dirichlet

``concentration`` counts patients: a subgroup's own counts weigh against that many patients with the
common shares. As in ``her2_distribution`` one or two levels cannot teach it: it then stays at its
prior median. Given concentration k and mean m the posterior of a subgroup is exactly
Dirichlet(k m + counts); the options of ``build`` make that the whole model. Gelman et al., Bayesian
Data Analysis, 3rd ed., ch. 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from her2bayes.bayes.levels import is_padding, multinomial, number, parent_rows, parents
from her2bayes.bayes.prior import Prior, complete, prior

if TYPE_CHECKING:
    import pymc as pm
    import xarray as xr

DEFAULT_PRIORS = {
    "mean": prior("Dirichlet", concentration=1.0, means="any overall shares equally likely"),
    "concentration": prior(
        "LogNormal",
        mu=3.0,
        sigma=1.15,
        means="the common shares weigh as much as 20 patients (median), 95 % between 2 and 190",
    ),
    "parent_concentration": prior(
        "LogNormal",
        mu=3.0,
        sigma=1.15,
        means="the same between the levels of a coarser factor: 20 patients (median), 95 % between "
        "2 and 190",
    ),
}


def build(
    counts: xr.DataArray,
    priors: Mapping[str, Prior] | None = None,
    *,
    concentration: float | None = None,
    mean: Sequence[float] | None = None,
) -> pm.Model:
    """Return the model of StatusCounts (dims ``subgroup``, ``her2``; coord ``parent`` if nested).

    ``concentration`` (for levels and parents) and ``mean`` (one share a category), where given,
    take the place of their priors. Raises ``BadInput`` for an unknown prior name or for counts
    that are none.
    """
    import pymc as pm
    import pymc.dims as pmd

    priors = complete(priors, DEFAULT_PRIORS, same_family=True)
    data = parent_rows(counts)

    def amount(name: str, levels: int) -> Any:
        if concentration is not None:
            return number(name, concentration)
        mu, sigma = (number(f"{name}_{part}", priors[name][part]) for part in ("mu", "sigma"))
        learned = number(f"{name}_learned", float(levels > 2))
        fixed = number(f"{name}_fixed", np.exp(priors[name]["mu"]))
        return learned * pmd.LogNormal(name, mu=mu, sigma=sigma) + (1 - learned) * fixed

    with pm.Model(coords={dim: data[dim].values for dim in data.dims}, check_bounds=False) as model:
        y = pmd.Data("counts", data["counts"], dims=data["counts"].dims)
        if mean is None:
            flat = data["one"] * priors["mean"]["concentration"]
            m = pmd.Dirichlet("mean", pmd.Data("mean_prior", flat, dims="her2"), core_dims="her2")
        else:
            m = pmd.Data("mean", np.asarray(mean, dtype=float), dims="her2")
        centre = m
        if "parent" in data:
            known = len(set(parents(counts)))
            member = pmd.Data("member", data["member"], dims=data["member"].dims)
            weight = _known(data["parent"], amount("parent_concentration", known) * m)
            dims = ("parent", "her2")
            parent_share = pmd.Dirichlet("parent_share", weight, core_dims="her2", dims=dims)
            centre = (member * parent_share).sum("parent")
        levels = counts.sizes["subgroup"]
        weight = _known(data["subgroup"], amount("concentration", levels) * centre)
        share = pmd.Dirichlet("share", weight, core_dims="her2", dims=("subgroup", "her2"))
        multinomial("observed_counts", y, share)
    return model


def _known(labels: xr.DataArray, weight: Any) -> Any:
    """Keep places without data apart: uniform shares, lest they drag the concentration along."""
    import pymc.dims as pmd

    dim = str(labels.dims[0])
    real = np.array([float(not is_padding(label)) for label in labels.values])
    known = pmd.Data(f"known_{dim}", real, dims=dim)
    return known * weight + (1 - known)

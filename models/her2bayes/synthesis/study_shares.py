"""Shares of classes in several studies and centres: multinomial logits with correlated effects.

For row r (a study, at one level of a moderator, in one centre) and class h of K:

    share[r, .]   = softmax over h of sum over c of basis[h, c] * z[r, c]         c = 1 .. K - 1
    z[r, c]       = study[s(r), c] + contrast[r] . slope[s(r), ., c] + centre[r, c]
    study[s, c]   ~ Normal(mu[c] + x[s] . beta[., c] + sum over j < c of
                           lean[c, j] * (study[s, j] - its mean), study_sd[c])
    slope[s, m, c]~ Normal(within[m, c], slope_sd[c])      studies that print the moderator's levels
    centre[g, c]  ~ Normal(0, centre_sd[c])                studies that print their centres
    mu            ~ Normal(0, sigma)
    beta, within  ~ Normal(0, moderator)
    study_sd, slope_sd, centre_sd ~ HalfNormal
    lean          ~ Normal(0, lean)

``basis`` is orthonormal (Helmert) and sums to zero over classes, so that a ``mu`` of scale sigma is
``her2_distribution``'s ZeroSumNormal. ``lean`` makes the effects of a study correlated across
classes: one regression for each coordinate on those before it is any covariance there is.

Every study enters with the partition that it prints. An observation is

    y ~ Binomial(n, sum over ``inside`` of share / sum over ``rest`` of share)

and the counts of a partition are the product of such binomials, one class after another. A study
that excludes a class by design has it in no ``rest`` and a reading of several classes is n of
n inside.

Effects are partially non-centred by what their data know of them (Papaspiliopoulos et al. 2007),
their means by what the effects know of these: with 200 000 patients an effect is sampled as its
distance from the observed logit, with twenty in units of its spread. Priors are not touched by it.

Not identified: spreads with two or three studies; ``centre_sd`` apart from ``study_sd`` where no
study prints its centres; a study-level moderator that all studies share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr

from her2bayes.bayes.levels import number
from her2bayes.bayes.prior import Prior, complete, prior

if TYPE_CHECKING:
    import pymc as pm

DEFAULT_PRIORS = {
    "mu": prior(
        "Normal", mu=0.0, sigma=1.5,
        means="average study, three classes: any one share has median 25 %, 95 % between 0.8 and "
        "93 %",
    ),
    "moderator": prior(
        "Normal", mu=0.0, sigma=0.75,
        means="two levels of a moderator: where one has 50 %, the other has 95 % between 5 and "
        "91 %",
    ),
    "study_sd": prior(
        "HalfNormal", sigma=0.5,
        means="spread between studies: median 0.34, 95 % below 0.98 on the logit scale",
    ),
    "lean": prior(
        "Normal", mu=0.0, sigma=0.5,
        means="correlation of a study's effects across classes: 0, 95 % within 0.7 either way at "
        "equal spreads",
    ),
    "slope_sd": prior(
        "HalfNormal", sigma=0.25,
        means="spread between studies of what a moderator does: median 0.17, 95 % below 0.49 on "
        "the logit scale",
    ),
    "centre_sd": prior(
        "HalfNormal", sigma=0.5,
        means="spread between centres of a study: median 0.34, 95 % below 0.98 on the logit scale",
    ),
}  # fmt: skip


def build(data: xr.Dataset, priors: Mapping[str, Prior] | None = None) -> pm.Model:
    """Return the model of StudyCells as ``cells.design`` writes them.

    Variables ``mu``, ``lean``, spreads, ``beta``, ``within``, ``at_study`` (study, axis) and
    ``share`` (row, her2). Raises ``BadInput`` for an unknown prior.
    """
    import pymc as pm
    import pymc.dims as pmd

    priors = complete(priors, DEFAULT_PRIORS, same_family=True)
    axes = [str(name) for name in data["axis"].values]
    # a dim without places has no effects and no variable
    coords = {dim: data[dim].values for dim in data.dims if data.sizes[dim]}
    with pm.Model(coords=coords) as model:
        scale = {name: number(f"{name}_scale", one["sigma"]) for name, one in priors.items()}
        given = {
            str(name): pmd.Data(f"{name}_data", data[name].drop_vars(list(data[name].coords)))
            for name in data.data_vars
            if data[name].size
        }
        study_sd = pmd.HalfNormal("study_sd", scale["study_sd"], dims="axis")
        if "between" in given:
            beta = pmd.Normal("beta", 0.0, scale["moderator"], dims=("between_term", "axis"))
            moved = (given["between"] * beta).sum("between_term")
        slopes = _slopes(given, scale, axes) if "contrast" in given else {}
        centres = {}
        if "centre_of" in given:
            centre_sd = pmd.HalfNormal("centre_sd", scale["centre_sd"], dims="axis")
            known = given["centre_information"]
            centres = {
                name: _effect(
                    f"centre_{name}", "centre", 0.0, centre_sd.isel(axis=c), known.isel(axis=c)
                )
                for c, name in enumerate(axes)
            }
        z, studies, off, mu = [], [], list[Any](), []
        for c, name in enumerate(axes):
            spread, known, seen = (
                one.isel(axis=c) for one in (study_sd, given["information"], given["seen"])
            )
            shift = moved.isel(axis=c) if "between" in given else 0.0
            leant = shift
            if c:
                lean = pmd.Normal(f"lean_{name}", 0.0, scale["lean"], dims=f"before_{name}")
                for j, one in enumerate(off):
                    leant = leant + lean.isel({f"before_{name}": j}) * one
            jointly = _jointly(known, seen - leant, spread, "study")
            mu.append(_effect(f"mu_{name}", (), 0.0, scale["mu"], *jointly))
            effect = _effect(f"study_{name}", "study", mu[-1] + leant, spread, known, seen)
            off.append(effect - mu[-1] - shift)
            studies.append(effect)
            at = effect.isel(study=given["study_of"])
            if name in slopes:
                here = slopes[name].isel(slope_study=given["slope_of"])
                at = at + (given["contrast"] * here).sum("within_term")
            if name in centres:
                at = at + centres[name].isel(centre=given["centre_of"]) * given["has_centre"]
            z.append(at)
        pmd.Deterministic("mu", pmd.concat(mu, dim="axis"))
        pmd.Deterministic("at_study", pmd.concat(studies, dim="axis").transpose("study", "axis"))
        basis = given["basis"]
        logits = sum(basis.isel(axis=c) * one for c, one in enumerate(z))
        share = pmd.math.softmax(logits, dim="her2").transpose("row", "her2")
        share = pmd.Deterministic("share", share)
        here = share.isel(row=given["row_of"])
        chance = (here * given["inside"]).sum("her2") / (here * given["rest"]).sum("her2")
        pmd.Binomial("counted", n=given["n"], p=chance, observed=given["y"])
    return model


def _effect(
    name: str, dims: str | tuple[str, ...], mean: Any, sd: Any, information: Any, seen: Any = 0.0
) -> Any:
    """Normal(mean, sd) effects, sampled from where they were ``seen`` the more is known of them.

    Neither ``information`` nor ``seen`` changes the distribution, which is Normal(mean, sd).
    """
    import pymc.dims as pmd

    stretch = pmd.math.sqrt(1 + information * sd**2)
    weight = 1 - 1 / stretch**2
    at = (mean - seen) * information * sd / stretch
    raw = pmd.Normal(f"{name}_raw", at, stretch, dims=(dims,) if isinstance(dims, str) else dims)
    return mean * (1 - weight) + seen * weight + raw * sd / stretch


def _jointly(information: Any, seen: Any, sd: Any, dim: str) -> tuple[Any, Any]:
    """What effects with this spread tell of their mean, and where: weights 1 / (sd^2 + 1/info)."""
    weight = information / (1 + information * sd**2)
    total = weight.sum(dim)
    return total, (weight * seen).sum(dim) / total


def _slopes(given: Mapping[str, Any], scale: Mapping[str, Any], axes: list[str]) -> dict[str, Any]:
    """What the moderator does in each study that prints its levels, by axis."""
    import pymc.dims as pmd

    slope_sd = pmd.HalfNormal("slope_sd", scale["slope_sd"], dims="axis")
    known = given["slope_information"]
    jointly, seen = _jointly(known, given["slope_seen"], slope_sd, "slope_study")
    within = _effect("within", ("within_term", "axis"), 0.0, scale["moderator"], jointly, seen)
    within = pmd.Deterministic("within", within.transpose("within_term", "axis"))
    return {
        name: _effect(f"slope_{name}", ("slope_study", "within_term"), within.isel(axis=c),
                      slope_sd.isel(axis=c), known.isel(axis=c), given["slope_seen"].isel(axis=c))
        for c, name in enumerate(axes)
    }  # fmt: skip

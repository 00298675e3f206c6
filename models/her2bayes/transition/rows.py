"""Rows of the transition matrix and shares of the primary: the part all transition models share.

    log(P[s,i,j] / P[s,i,i]) = mean[i,j] + sum_f deviation_f[level of s in f, i, j]        j != i
    mean[i,j]         ~ Normal(-1.5 - log((k - 1) / 2), 1)         k classes
    deviation_f[l,.]  ~ Normal(0, sd_f)                            one for each level of a factor
    sd_f              ~ HalfNormal(0.5)
    primary_share[s,] ~ Dirichlet(1, ..., 1)

Factors are crossed (effects add up) or nested (levels of the child within one level of the parent:
the child's deviations then are deviations from the parent's). Written in the graph as

    log odds = centre + contrast effect,    effect ~ Normal(0, sd),
    centre   ~ Normal(prior mean, sqrt(1 + sum_f sd_f^2 / L_f))         L_f levels of factor f

A factor's L independent deviations are their mean over the levels, which joins the common centre,
and L - 1 orthonormal contrasts that sum to zero, which are independent of it. So the prior is the
same, without a ridge along which centre and deviations trade places; ``mean`` given ``centre`` is
normal and drawn where a new stratum asks for it.

What is observed: pairs of readings (``split_readings``, ``observe_pairs``), or that tables agree
with printed facts (``facts_agree``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.bayes.levels import padded, places
from her2bayes.bayes.prior import Prior, prior
from her2bayes.errors import BadInput, Fault, raise_if

STUDY = "study"  # the factor whose spread is the variation between studies
# what one pair in a level tells of one log odds, in units of 1 / variance: about 6 % of the pairs
# change into a given class
_INFORMATION_OF_A_PAIR = 0.06


def factors_of(data: xr.Dataset) -> dict[str, list[str]]:
    """Level of each stratum by factor, for the factors with at least two levels.

    Factors are the names in ``attrs["factors"]``, else all further coordinates on ``stratum``,
    else, where there are several strata without any, the strata themselves.
    """
    named = data.attrs.get("factors")
    if named is None:
        named = [str(c) for c in data.coords if data[c].dims == ("stratum",) and c != "stratum"]
    known = {name: [str(level) for level in data[name].values] for name in named}
    known = {name: levels for name, levels in known.items() if len(set(levels)) > 1}
    if not known and data.sizes["stratum"] > 1:
        return {"stratum": [str(name) for name in data["stratum"].values]}
    return known


def strata_design(data: xr.Dataset, pairs: np.ndarray) -> xr.Dataset:
    """Describe the factors of the strata; ``pairs`` (stratum,) decide how effects are sampled.

    Returns ``contrast`` (stratum, effect), ``member`` (effect, factor) 0/1, ``mean_share``
    (factor) = 1 / number of levels, ``information`` (effect), about 1 / variance of what the data
    say of it; strata, effects and factors padded.
    """
    factors = factors_of(data)
    strata = padded(data["stratum"].values, places(data.sizes["stratum"]))
    blocks = [_contrasts(levels, pairs) for levels in factors.values()]
    width = sum(block.shape[1] for block, _ in blocks)
    effects, names = places(width), padded(factors, places(len(factors), 2))
    contrast, information = np.zeros((len(strata), effects)), np.zeros(effects)
    member, mean_share = np.zeros((effects, len(names))), np.zeros(len(names))
    labels: list[str] = []
    for number, (factor, (block, informed)) in enumerate(zip(factors, blocks, strict=True)):
        span = slice(len(labels), len(labels) + block.shape[1])
        contrast[: len(block), span] = block
        information[span] = _INFORMATION_OF_A_PAIR * informed
        member[span, number] = 1.0
        mean_share[number] = 1.0 / (block.shape[1] + 1)
        labels += [f"{factor} {place + 1}" for place in range(block.shape[1])]
    return xr.Dataset(
        {
            "contrast": (("stratum", "effect"), contrast),
            "member": (("effect", "factor"), member),
            "mean_share": ("factor", mean_share),
            "information": ("effect", information),
        },
        coords={"stratum": strata, "effect": padded(labels, effects), "factor": names},
    )


def changes(her2: list[str]) -> xr.DataArray:
    """Place of each change 'a->b' in the matrix, 0/1 (change, her2_primary, her2)."""
    k = len(her2)
    pairs = [(i, j) for i in range(k) for j in range(k) if i != j]
    place = np.zeros((len(pairs), k, k))
    for number, pair in enumerate(pairs):
        place[number][pair] = 1.0
    return xr.DataArray(
        place,
        dims=("change", "her2_primary", "her2"),
        coords={
            "change": [f"{her2[i]}->{her2[j]}" for i, j in pairs],
            "her2_primary": her2,
            "her2": her2,
        },
    )


def pad_strata(array: xr.DataArray, strata: Any) -> xr.DataArray:
    """Extend an array to the padded strata with zeros."""
    return array.assign_coords(stratum=[str(s) for s in array["stratum"].values]).reindex(
        stratum=list(strata), fill_value=0
    )


def parameters(priors: Mapping[str, Prior], name: str, distribution: str) -> dict[str, Any]:
    """Parameters of the prior ``name``, which must be of the family ``distribution``."""
    if priors[name].distribution != distribution:
        raise BadInput(
            Fault(
                f"prior '{name}' has another family",
                value=str(priors[name]),
                allowed=distribution,
            )
        )
    return dict(priors[name].parameters)


def _contrasts(levels: list[str], pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Helmert contrasts of each stratum, levels by falling size, and the pairs behind each.

    The n-th contrast sets one level against the larger ones before it, so that what is known of it
    is what the data say of that level.
    """
    size = dict.fromkeys(levels, 0.0)
    for level, number in zip(levels, pairs, strict=True):
        size[level] += float(number)
    order = sorted(size, key=lambda level: -size[level])
    number = len(order)
    basis = np.zeros((number, number - 1))
    for e in range(1, number):
        basis[:e, e - 1] = 1.0 / np.sqrt(e * (e + 1))
        basis[e, e - 1] = -e / np.sqrt(e * (e + 1))
    rows = np.array([order.index(level) for level in levels])
    return basis[rows], np.array([size[level] for level in order[1:]])


def split_readings(data: xr.Dataset) -> xr.Dataset:
    """Exact pairs as tables, all others as distinct pairs of sets of classes.

    Returns ``exact`` (stratum, her2_primary, her2) and ``primary`` (stratum, her2_primary) int64;
    ``patients`` (pair) int64 and ``holds`` (pair, stratum, her2_primary, her2) float 0/1, padded;
    ``pairs`` (stratum) int64, all pairs of which something is known. Raises ``BadInput``.
    """
    raise_if(_faults(data))
    her2 = [str(name) for name in data["her2"].values]
    strata = [str(name) for name in data["stratum"].values]
    counts = data["counts"].transpose("stratum", "primary_reading", "recurrence_reading").values
    first, second = (
        data["incidence"].sel(reading=data[end].values).transpose("reading", "her2").values
        for end in ("primary_reading", "recurrence_reading")
    )
    k = len(her2)
    exact = np.zeros((len(strata), k, k), dtype=np.int64)
    partial: dict[tuple[int, bytes, bytes], int] = {}
    for s, a, b in zip(*np.nonzero(counts), strict=True):
        if first[a].sum() == 1 and second[b].sum() == 1:
            exact[s, first[a].argmax(), second[b].argmax()] += counts[s, a, b]
        elif not (first[a].all() and second[b].all()):
            place = (int(s), first[a].tobytes(), second[b].tobytes())
            partial[place] = partial.get(place, 0) + int(counts[s, a, b])
    pairs = exact.sum(axis=(1, 2))
    size = places(len(partial), least=64)  # one shape for nearly all tables of three classes
    holds, patients = np.zeros((size, len(strata), k, k)), np.zeros(size, dtype=np.int64)
    names = []
    for number, ((s, a, b), patients_here) in enumerate(partial.items()):
        one, other = (np.frombuffer(text, dtype=bool) for text in (a, b))
        holds[number, s] = np.outer(one, other)
        patients[number] = patients_here
        pairs[s] += patients_here
        names.append(f"{strata[s]}: {_set_name(one, her2)} -> {_set_name(other, her2)}")
    matrix = ("her2_primary", "her2")
    return xr.Dataset(
        {
            "exact": (("stratum", *matrix), exact),
            "primary": (("stratum", "her2_primary"), exact.sum(axis=2)),
            "holds": (("pair", "stratum", *matrix), holds),
            "patients": ("pair", patients),
            "pairs": ("stratum", pairs),
        },
        coords={"stratum": strata, "her2_primary": her2, "her2": her2, "pair": padded(names, size)},
    )


def _faults(data: xr.Dataset) -> list[Fault]:
    faults = []
    if (data["counts"] < 0).any():
        faults.append(Fault("a count of pairs is negative", value=int(data["counts"].min())))
    empty = ~data["incidence"].any("her2")
    for reading in data["reading"].values[empty.values]:
        faults.append(Fault("a reading holds no class", column="reading", value=str(reading)))
    if data.sizes["her2"] < 2:
        faults.append(Fault("fewer than two classes", value=list(data["her2"].values)))
    return faults


def _set_name(inside: np.ndarray, her2: list[str]) -> str:
    return "/".join(name for name, holds in zip(her2, inside, strict=True) if holds)


_MATRIX = ("her2_primary", "her2")

ROW_PRIORS = {
    "log_odds": prior(
        "Normal",
        mu=-1.5,
        sigma=1.0,
        means="odds of one change against staying 0.22 (95 % 0.03 to 1.6) with three classes: a "
        "row changes class with median 35 % (11 to 71), three such rows on "
        "average with 37 % (20 to 56)",
    ),
    "stratum_sd": prior(
        "HalfNormal",
        sigma=0.5,
        means="odds of a change differ between levels of a factor 1.3 times (median), 95 % below "
        "4.7",
    ),
    "study_sd": prior(
        "HalfNormal",
        sigma=0.5,
        means="odds of a change differ between studies 1.3 times (median), 95 % below 4.7",
    ),
    "primary_share": prior("Dirichlet", a=1.0, means="primary classes: any composition alike"),
}


def log_odds_mean(priors: Mapping[str, Prior], k: int) -> float:
    """Prior mean of log(P_ij / P_ii): fewer odds each the more classes there are to change to."""
    return float(parameters(priors, "log_odds", "Normal")["mu"] - np.log((k - 1) / 2))


def sd_scales(priors: Mapping[str, Prior], factors: list[str]) -> list[float]:
    """Scale of the half-normal prior of each factor's spread."""
    name = {STUDY: "study_sd"}
    return [
        float(parameters(priors, name.get(factor, "stratum_sd"), "HalfNormal")["sigma"])
        for factor in factors
    ]


def coordinates(design: xr.Dataset, her2: list[str]) -> dict[str, list[str]]:
    """Labelled dims of the rows; factors without a spread to learn are padding."""
    place = changes(her2)
    known = {str(dim): list(place[dim].values) for dim in place.dims}
    known["read_pair"] = [f"{first}->{second}" for first in her2 for second in her2]
    known["cell"] = list(range(design.sizes["stratum"] * len(her2) ** 2))
    return known | {dim: list(design[dim].values) for dim in ("stratum", "effect", "factor")}


def logistic_rows(design: xr.Dataset, her2: list[str], priors: Mapping[str, Prior]) -> Any:
    """Transition probabilities (stratum, her2_primary, her2) in the model at hand."""
    import pymc.dims as pmd

    from her2bayes.bayes.levels import number as data_number

    mu = data_number("log_odds_mu", log_odds_mean(priors, len(her2)))
    sigma = data_number("log_odds_sigma", priors["log_odds"]["sigma"])
    factors = [str(name) for name in design["factor"].values]
    scale = pmd.Data("sd_scale", xr.DataArray(sd_scales(priors, factors), dims="factor"))
    contrast, member, mean_share, information = (
        pmd.Data(name, design[name].drop_vars(list(design[name].coords)))
        for name in ("contrast", "member", "mean_share", "information")
    )
    place = changes(her2)
    place = pmd.math.as_xtensor(place.values, dims=place.dims)

    sd = pmd.HalfNormal("deviation_sd", sigma=scale, dims="factor")
    spread = pmd.math.sqrt(sigma**2 + (mean_share * sd**2).sum("factor"))
    centre = pmd.Normal("centre", mu, spread, dims="change")
    effect_sd = (member * sd).sum("factor")
    # the more is known of an effect, the more it is sampled as it is and not in units of its sd
    stretch = pmd.math.sqrt(1 + information * effect_sd**2)
    raw = pmd.Normal("effect_raw", 0.0, stretch, dims=("effect", "change"))
    effect = raw * (effect_sd / stretch)
    log_odds = centre + (contrast * effect).sum("effect")
    logits = (log_odds * place).sum("change")
    transition = pmd.math.softmax(logits, dim="her2")
    return pmd.Deterministic("transition", transition.transpose("stratum", *_MATRIX))


def primary_shares(priors: Mapping[str, Prior]) -> Any:
    """Shares of the primary classes (stratum, her2_primary) in the model at hand."""
    import pymc.dims as pmd
    from pymc import modelcontext

    k = len(modelcontext(None).coords["her2_primary"])
    each = float(parameters(priors, "primary_share", "Dirichlet")["a"])
    a = pmd.Data("share_concentration", xr.DataArray(np.full(k, each), dims="her2_primary"))
    return pmd.Dirichlet(
        "primary_share", a=a, core_dims="her2_primary", dims=("stratum", "her2_primary")
    )


def observe_pairs(readings: xr.Dataset, strata: Any, flow: Any) -> None:
    """Observe pairs of readings, exact and of sets, as ``pair_readings`` splits them.

    ``flow`` (stratum, two dims of classes) holds probabilities of pairs of classes. ``pairs`` is
    multinomial, ``partial`` binomial: n of n patients within the sets.
    """
    import pymc.dims as pmd

    from her2bayes.bayes.levels import multinomial

    bare = readings.drop_vars("pairs").reindex(stratum=list(strata), fill_value=0)
    bare = bare.drop_vars(list(bare.coords))
    exact = bare["exact"].stack(read_pair=_MATRIX, create_index=False)
    share = flow.stack({"read_pair": [dim for dim in flow.type.dims if dim != "stratum"]})
    multinomial("pairs", pmd.Data("pair_counts", exact), share)
    holds = bare["holds"].stack(cell=("stratum", *_MATRIX), create_index=False)
    patients = pmd.Data("patients", bare["patients"])
    inside = pmd.Data("holds", holds, dims=("pair", "cell"))
    inside = (inside * share.stack({"cell": ("stratum", "read_pair")})).sum("cell")
    pmd.Binomial("partial", n=patients, p=inside, observed=patients)


def facts_agree(data: xr.Dataset, strata: Any, theta: Any) -> None:
    """Observe that the tables agree with the facts of every block, in the model at hand.

    Each block sums over its own tables of its own groups only: what one study leaves open costs
    nothing in another. Blocks are padded with tables of weight 0, so that nearly all share a graph.
    """
    import pymc.dims as pmd
    from pymc import modelcontext

    member = pad_strata(data["member"].astype(float), strata)
    blocks = list(dict.fromkeys(data["block"].values.tolist()))
    found = []
    for number in blocks:
        here = data["home"].values == number
        own = data.isel(candidate=data["block"].values == number, group=here)
        room = places(own.sizes["candidate"], least=64)
        room = 3 * room // 4 if own.sizes["candidate"] <= 3 * room // 4 else room
        empty = room - own.sizes["candidate"]
        tables = np.pad(own["tables"].values.astype(float), ((0, empty), (0, 0)))
        weight = np.pad(own["coefficient"].values, (0, empty), constant_values=-1e9)
        candidate, group = f"candidate_{number}", f"group_{number}"
        modelcontext(None).add_coords(
            {candidate: list(range(len(weight))), group: list(range(tables.shape[1]))}
        )
        inside = member.isel(group=here).rename(group=group)
        share = pmd.Data(f"cells_of_group_{number}", inside.drop_vars(list(inside.coords))) * theta
        share = share.sum(("stratum", *_MATRIX))
        tables = pmd.Data(f"tables_{number}", xr.DataArray(tables, dims=(candidate, group)))
        log_table = (tables * pmd.math.log(share)).sum(group)
        weight = pmd.Data(f"log_coefficient_{number}", xr.DataArray(weight, dims=candidate))
        log_table = log_table + weight
        # logsumexp would take two exponentials a table: PyTensor shifts its sum once more
        most = log_table.max(candidate)
        rest = pmd.math.exp(log_table - most).sum(candidate) - 1  # 0 or more
        found.append(most + pmd.math.log1p(rest))
    modelcontext(None).add_coords({"block": blocks})
    log_facts = pmd.math.minimum(pmd.concat(found, dim="block"), -1e-12)  # facts that always hold
    pmd.Bernoulli(
        "agrees",
        logit_p=log_facts - pmd.math.log1mexp(log_facts),
        observed=xr.DataArray(np.ones(len(blocks), dtype=int), dims="block"),
        dims=("block",),
    )

"""Strata of paired HER2 classes as data of the transition models: contrasts of factors, padded.

A factor with L levels acts on the log odds through L deviations, independent N(0, sd). Their mean
over the levels and their L - 1 contrasts (orthonormal, summing to zero) are independent; the mean
joins the common centre, the contrasts are the effects. The two descriptions give the same prior,
and the second has no direction in which centre and deviations can trade places.

TransitionCounts as the likelihood needs them: exact tables and distinct pairs of sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.bayes.levels import padded, places
from her2bayes.bayes.prior import Prior
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


def design(data: xr.Dataset, pairs: np.ndarray) -> xr.Dataset:
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

"""TransitionCounts as the likelihood needs them: exact tables and distinct pairs of sets."""

from __future__ import annotations

import numpy as np
import xarray as xr

from her2bayes.bayes.padding import padded, places
from her2bayes.errors import Fault, raise_if


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

"""What the model of shares reads of StudyCells: binomial observations, and the effects of each row.

Also a first look at the data, from which effects that much is known of are sampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy.linalg import helmert

from her2bayes.errors import BadInput, Fault
from her2bayes.synthesis.studies import DECADE


def axes_of(k: int) -> np.ndarray:
    """Orthonormal basis (class, axis) of what sums to zero over ``k`` classes."""
    return np.asarray(helmert(k).T)


def design(cells: xr.Dataset) -> xr.Dataset:
    """Data of ``study_shares.build`` of StudyCells (``studies.status_cells``).

    Raises ``BadInput`` where the studies tell no two classes apart.
    """
    her2 = [str(name) for name in cells["her2"].values]
    k, names = len(her2), studies_of(cells)
    if k < 2:
        raise BadInput(Fault("the studies tell no two HER2 classes apart", value=", ".join(her2)))
    look = _Look(cells, axes_of(k))
    seen = np.array([look.logits[look.study_of == s].mean(0) for s in range(len(names))])
    data: dict[str, Any] = {
        "basis": (("her2", "axis"), axes_of(k)),
        "study_of": ("row", look.study_of),
        "information": (("study", "axis"), _added(look.study_of, look.known, len(names))),
        "seen": (("study", "axis"), seen),
        **_observed(cells),
        **_between(cells, names),
        **_within(cells, look),
        **_centres(cells, look),
    }
    labels = [str(c + 1) for c in range(k - 1)]
    coords: dict[str, Any] = {"her2": her2, "axis": labels, "study": names}
    coords["row"] = [str(name) for name in cells["row"].values]
    coords |= {f"before_{name}": labels[:c] for c, name in enumerate(labels) if c}
    found = xr.Dataset(data, coords)
    if "contrast" in found:
        own = found["contrast"].any("within_term").values
        found = found.assign_coords(slope_study=[names[s] for s in np.unique(look.study_of[own])])
    numbered = {
        dim: np.arange(size) for dim, size in found.sizes.items() if dim not in found.coords
    }
    return found.assign_coords(numbered)


def studies_of(cells: xr.Dataset) -> list[str]:
    """Names of the studies in the order of their first rows."""
    return list(dict.fromkeys(map(str, cells["study"].values)))


def levels_of(cells: xr.Dataset) -> list[str]:
    """Levels of the moderator within studies, in the order in which they occur."""
    return list(dict.fromkeys(filter(None, map(str, cells["level"].values))))


def settings_of(cells: xr.Dataset) -> list[str]:
    """Settings of the studies, in the order in which they occur."""
    return list(dict.fromkeys(map(str, cells["setting"].values)))


def contrasts(levels: Sequence[str]) -> np.ndarray:
    """Helmert contrasts (level, term): orthonormal, summing to zero."""
    return axes_of(len(levels)) if len(levels) > 1 else np.zeros((len(levels), 0))


def between_design(
    cells: xr.Dataset, settings: Sequence[str], years: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Terms of moderators of studies for places with these settings and years, and their names.

    ``year`` is in decades from the mean of the studies at hand.
    """
    columns, names = [np.zeros((len(settings), 0))], []
    if "setting" in cells.attrs["between"]:
        known = settings_of(cells)
        columns.append(contrasts(known)[[known.index(one) for one in settings]])
        names += [f"setting {c + 1}" for c in range(len(known) - 1)]
    if "year" in cells.attrs["between"]:
        of = dict(zip(map(str, cells["study"].values), cells["year"].values, strict=True))
        columns.append(((years - np.mean(list(of.values()))) / DECADE)[:, None])
        names.append("year")
    return np.hstack(columns), names


def at_average(cells: xr.Dataset, setting: str = "") -> np.ndarray:
    """Terms of moderators of studies at the mean year, and at a setting or midway between all."""
    x, names = between_design(cells, [setting or settings_of(cells)[0]], np.zeros(1))
    of_setting = np.array([name.startswith("setting") for name in names], dtype=bool)
    return np.where(of_setting & bool(setting), x[0], 0.0)


def without(data: xr.Dataset, study: str) -> xr.Dataset:
    """``design`` without the patients of a study, which keeps its place: nothing is known of it."""
    place = data["study"].values.tolist().index(study)
    gone = (data["study_of"] == place).values[data["row_of"].values]
    nothing = {"n": data["n"] * ~gone, "y": data["y"] * ~gone}
    for name, dim in (("information", "study"), ("slope_information", "slope_study")):
        if name in data:
            nothing[name] = data[name].where(data[dim] != study, 1e-9)
    return data.assign(nothing)


def _between(cells: xr.Dataset, names: Sequence[str]) -> dict[str, Any]:
    first = {n: cells.isel(row=cells["study"].values.tolist().index(n)) for n in names}
    settings = [str(one["setting"].item()) for one in first.values()]
    years = np.array([float(one["year"].item()) for one in first.values()])
    x, terms = between_design(cells, settings, years)
    return {"between": (("study", "between_term"), x)} if terms else {}


class _Look:
    """First look at each row: logits along the axes, Fisher information on each (row, axis)."""

    def __init__(self, cells: xr.Dataset, axes: np.ndarray) -> None:
        names = studies_of(cells)
        self.study_of = np.array([names.index(str(s)) for s in cells["study"].values])
        counts = cells["counts"].values.astype(float)
        holds = cells["incidence"].transpose("reading", "her2").values.astype(float)
        pooled = np.full(len(axes), 1 / len(axes))
        for _ in range(50):  # shares of sets by expectation and maximisation
            inside = np.maximum(holds @ pooled, 1e-300)
            pooled = ((counts.sum(0) / inside) @ holds) * pooled + 0.5
            pooled = pooled / pooled.sum()
        split = (counts / np.maximum(holds @ pooled, 1e-300)) @ holds * pooled
        covered = (cells["printed"].values @ holds) > 0
        share = np.where(covered, split, split.sum(1, keepdims=True) * pooled) + 0.5 * pooled
        self.logits = np.log(share / share.sum(1, keepdims=True)) @ axes
        row, n, _, inside, rest = (
            np.array(column) for column in zip(*_binomials(cells), strict=True)
        )
        at = (share / share.sum(1, keepdims=True))[row]
        first, second = (at * part for part in (inside, rest))
        q = np.clip(first.sum(1) / second.sum(1), 1e-6, 1 - 1e-6)[:, None]
        moves = _mean(first, axes) - _mean(second, axes)  # of log q along each axis
        self.known = _added(row, n[:, None] * moves**2 * q / (1 - q), len(counts))


def _mean(weight: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return np.asarray(weight @ axes / weight.sum(1, keepdims=True))


def _added(of: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Rows of ``values`` added up by their number ``of``."""
    found = np.zeros((size, values.shape[1]))
    np.add.at(found, of, values)
    return found


def _observed(cells: xr.Dataset) -> dict[str, Any]:
    row, n, y, inside, rest = (np.array(column) for column in zip(*_binomials(cells), strict=True))
    return {
        "row_of": ("entry", row), "n": ("entry", n), "y": ("entry", y),
        "inside": (("entry", "her2"), inside.astype(float)),
        "rest": (("entry", "her2"), rest.astype(float)),
    }  # fmt: skip


def _binomials(cells: xr.Dataset) -> Iterator[tuple[int, int, int, np.ndarray, np.ndarray]]:
    """Binomials of each row: its place, n, y, classes that count, classes of n."""
    holds = cells["incidence"].transpose("reading", "her2").values.astype(bool)
    counts, asked = cells["counts"].values, cells["printed"].values
    for at in range(cells.sizes["row"]):
        printed = np.flatnonzero(asked[at])
        part = _partition(holds, printed)
        covered = holds[part].any(0)
        left, rest = int(counts[at, part].sum()), covered.copy()
        for reading in part[:-1]:
            yield at, left, int(counts[at, reading]), holds[reading], rest.copy()
            left -= int(counts[at, reading])
            rest &= ~holds[reading]
        for reading in set(printed.tolist()) - set(part.tolist()):
            if not holds[reading].all():
                n = int(counts[at, reading])
                yield at, n, n, holds[reading], np.ones_like(covered)


def _partition(holds: np.ndarray, printed: np.ndarray) -> np.ndarray:
    """Readings that share no class: all of them, or those of one class where others overlap."""
    if (holds[printed].sum(0) <= 1).all():
        return printed
    return np.asarray(printed[holds[printed].sum(1) == 1])


def _within(cells: xr.Dataset, look: _Look) -> dict[str, Any]:
    """What rows have of the moderator within studies, and what their studies tell of it."""
    levels = levels_of(cells)
    if len(levels) < 2:
        return {}
    basis = contrasts(levels)
    none = np.zeros(basis.shape[1])
    x = np.array([basis[levels.index(v)] if v else none for v in map(str, cells["level"].values)])
    studies = [s for s in range(look.study_of.max() + 1) if x[look.study_of == s].any()]
    seen, known = [], []
    for s in studies:
        rows = look.study_of == s
        weight = look.known[rows] + 1e-9
        middle = weight.T @ x[rows] / weight.sum(0)[:, None]  # axis, term
        away = np.square(x[rows][:, :, None] - middle.T)
        known.append((weight[:, None, :] * away).sum(0) + 1e-9)
        centred = look.logits[rows] - look.logits[rows].mean(0)
        seen.append(np.linalg.lstsq(x[rows] - x[rows].mean(0), centred, rcond=None)[0])
    at = np.searchsorted(studies, look.study_of).clip(0, len(studies) - 1)
    return {
        "contrast": (("row", "within_term"), x),
        "slope_of": ("row", at),
        "slope_information": (("slope_study", "within_term", "axis"), np.array(known)),
        "slope_seen": (("slope_study", "within_term", "axis"), np.array(seen)),
    }


def _centres(cells: xr.Dataset, look: _Look) -> dict[str, Any]:
    """Which centre of its study each row is of."""
    pairs = zip(look.study_of.tolist(), map(str, cells["centre"].values), strict=True)
    named = [pair if pair[1] else None for pair in pairs]
    known = [pair for pair in dict.fromkeys(named) if pair]
    if not known:
        return {}
    at = np.array([known.index(pair) if pair else 0 for pair in named])
    has = np.array([float(pair is not None) for pair in named])
    return {
        "centre_of": ("row", at), "has_centre": ("row", has),
        "centre_information": (
            ("centre", "axis"), _added(at, look.known * has[:, None], len(known))
        ),
    }  # fmt: skip

"""Calibration of the models over studies: studies from each stated prior, patients counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.linalg import helmert

from her2bayes.calibration.designs import Design, Draws, Kind, Simulated, Truth, softmax
from her2bayes.synthesis.cells import contrasts
from her2bayes.synthesis.cells import design as design_of
from her2bayes.synthesis.shares import deviations, shares_at
from her2bayes.synthesis.studies import of_table, sources, status_cells

HER2 = ("zero", "low", "positive")
LIBRARY = ("shi2023", "agmt2021", "lacruz2025_women", "lacruz2025_men")
"""Studies that print HER2 status by hormone receptor."""

AT = " at "


def library(model: str, _study: str, by: str) -> Design:
    """Patients of the studies in the library that print HER2 status by a factor."""
    cells = status_cells(sources(LIBRARY), by)
    sizes = cells["counts"].sum("reading").values
    names = zip(map(str, cells["study"].values), map(str, cells["level"].values), strict=True)
    patients = {AT.join(pair): int(n) for pair, n in zip(names, sizes, strict=True)}
    return Design(model, f"library-{by}", patients, factor=by)


def draw_shares(rng: np.random.Generator, design: Design) -> Simulated:
    """``study_shares``: coordinates of the logits along Helmert's contrasts of the classes.

    mu N(1.5), between studies |N(0.5)| with regressions N(0.5) of one coordinate on those before,
    the moderator N(0.75) on average and |N(0.25)| between studies.
    """
    axes = helmert(len(HER2)).T
    k = axes.shape[1]
    rows = [name.split(AT) for name in design.patients]
    studies, levels = (list(dict.fromkeys(part)) for part in zip(*rows, strict=True))
    contrast = helmert(len(levels)).T[:, 0]
    mu, sd = rng.normal(0.0, 1.5, k), np.abs(rng.normal(0.0, 0.5, k))
    within, slope_sd = rng.normal(0.0, 0.75, k), np.abs(rng.normal(0.0, 0.25, k))
    lean = rng.normal(0.0, 0.5)
    off = sd * rng.standard_normal((len(studies), k))
    off[:, 1] += lean * off[:, 0]
    slope = within + slope_sd * rng.standard_normal((len(studies), k))
    truth: Truth = {"lean": float(lean)}
    for c in range(k):
        named = {"mu": mu, "study_sd": sd, "within": within, "slope_sd": slope_sd}
        truth |= {f"{name}[{c + 1}]": float(values[c]) for name, values in named.items()}
    table, log_likelihood = [], 0.0
    for (study, level), patients in zip(rows, design.patients.values(), strict=True):
        s, x = studies.index(study), contrast[levels.index(level)]
        share = softmax(axes @ (mu + off[s] + x * slope[s]))
        counts = rng.multinomial(patients, share)
        log_likelihood += float(counts @ np.log(np.maximum(share, 1e-300)))
        truth |= {f"share[{h} | {study} {level}]": float(p)
                  for h, p in zip(HER2, share, strict=True)}  # fmt: skip
        table += [(study, level, h, int(n)) for h, n in zip(HER2, counts, strict=True)]
    off = sd * rng.standard_normal(k)
    off[1] += lean * off[0]
    slope_new = within + slope_sd * rng.standard_normal(k)
    for level, x in zip(levels, contrast, strict=True):
        share = softmax(axes @ (mu + off + x * slope_new))
        truth |= {f"share[{h} | new {level}]": float(p) for h, p in zip(HER2, share, strict=True)}
    truth["log_likelihood"] = log_likelihood
    frame = pd.DataFrame(table, columns=["study", "level", "her2", "n"])
    return Simulated(design_of(of_table(frame)), truth)


def shares_of(design: Design, data: Any, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of the model, ``log_likelihood`` of the data last."""
    found: Draws = {"lean": posterior["lean_2"].isel(before_2=0)}
    for name in ("mu", "study_sd", "within", "slope_sd"):
        values = posterior[name].isel(within_term=0) if name == "within" else posterior[name]
        found |= {f"{name}[{c}]": values.sel(axis=c) for c in map(str, values["axis"].values)}
    share, total = posterior["share"], xr.zeros_like(posterior["share"].isel(row=0, her2=0))
    counts = _counts(data)
    for name in design.patients:
        row = name.replace(AT, " ")
        for h in HER2:
            here = share.sel(row=row, her2=h)
            found[f"share[{h} | {row}]"] = here
            total = total + counts[row, h] * np.log(np.maximum(here, 1e-300))
    levels = list(dict.fromkeys(name.split(AT)[1] for name in design.patients))
    drawn = posterior.assign(deviations(posterior, 1))
    for level, x in zip(levels, contrasts(levels), strict=True):
        new = (
            drawn["mu"]
            + drawn["off"]
            + ((drawn["within"] + drawn["off_slope"]) * x[0]).sum("within_term")
        )
        share = shares_at(new, HER2)
        found |= {f"share[{h} | new {level}]": share.sel(her2=h) for h in HER2}
    return found | {"log_likelihood": total}


def _counts(data: xr.Dataset) -> Mapping[tuple[str, str], int]:
    """Patients of each class from the binomials of rows that print all classes."""
    found: dict[tuple[str, str], int] = {}
    for at, name in enumerate(map(str, data["row"].values)):
        entries = np.flatnonzero(data["row_of"].values == at)
        inside = data["inside"].values[entries].argmax(1)
        for place, entry in zip(inside, entries, strict=True):
            found[name, HER2[place]] = int(data["y"].values[entry])
        left = set(range(len(HER2))) - set(inside.tolist())
        last = entries[-1]
        found[name, HER2[left.pop()]] = int(data["n"].values[last] - data["y"].values[last])
    return found


KINDS = {
    "study_shares": Kind(draw_shares, shares_of, library, "library", "hr_status", draws=1000),
}

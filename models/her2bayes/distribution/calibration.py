"""Calibration of the models of HER2 status: shares from each stated prior, patients counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.calibration.designs import (
    Design,
    Draws,
    Kind,
    Simulated,
    Truth,
    by_factor,
    centred,
    dirichlet,
    effects,
    softmax,
)
from her2bayes.distribution.draws import Crossed, draws
from her2bayes.estimand import parse
from her2bayes.evidence.simulate import HER2, status_counts


def draw_multinomial(rng: np.random.Generator, design: Design) -> Simulated:
    """``her2_distribution``: alpha ~ zero-sum N(1.5), effects zero-sum over levels, categories."""
    alpha = centred(rng.normal(0.0, 1.5, len(HER2)), 0)
    beta, truth = effects(rng, design, len(HER2))
    truth |= {f"alpha[{h}]": float(a) for h, a in zip(HER2, alpha, strict=True)}
    return _counted(rng, design, softmax(alpha + beta), truth)


def draw_dirichlet(rng: np.random.Generator, design: Design) -> Simulated:
    """``her2_distribution_dirichlet``: common shares uniform, concentration log-normal(3, 1.15)."""
    mean = rng.dirichlet(np.ones(len(HER2)))
    truth = {f"mean[{h}]": float(m) for h, m in zip(HER2, mean, strict=True)}

    def amount(name: str, levels: int) -> float:
        if levels < 3:
            return float(np.exp(3.0))
        truth[name] = float(rng.lognormal(3.0, 1.15))
        return truth[name]

    centre = {"": mean}
    if design.parent:
        known = dict.fromkeys(design.parent)
        weight = amount("parent_concentration", len(known))
        centre = {name: dirichlet(rng, weight * mean) for name in known}
    weight = amount("concentration", len(design.levels))
    parent = design.parent or ("",) * len(design.levels)
    share = np.stack([dirichlet(rng, weight * centre[name]) for name in parent])
    return _counted(rng, design, share, truth)


def draw_ordered(rng: np.random.Generator, design: Design) -> Simulated:
    """``her2_distribution_ordered``: uniform baseline shares, one shift of the log odds a level."""
    baseline = rng.dirichlet(np.ones(len(HER2)))
    beta, truth = effects(rng, design, 1)
    below = np.cumsum(baseline)[:-1]
    cumulated = 1.0 / (1.0 + np.exp(-(np.log(below / (1.0 - below)) - beta)))
    ends = np.concatenate([np.zeros_like(beta), cumulated, np.ones_like(beta)], axis=1)
    truth |= {f"baseline[{h}]": float(b) for h, b in zip(HER2, baseline, strict=True)}
    return _counted(rng, design, np.diff(ends, axis=1), truth)


def _counted(
    rng: np.random.Generator, design: Design, share: np.ndarray, truth: Truth
) -> Simulated:
    counts = status_counts(
        rng, list(design.patients.values()), share, levels=design.levels,
        factor=design.factor, parent=design.parent or None,
    )  # fmt: skip
    for s, level in enumerate(design.levels):
        truth |= {f"share[{h} | {level}]": float(share[s, j]) for j, h in enumerate(HER2)}
    truth["log_likelihood"] = float((counts.values * np.log(np.maximum(share, 1e-300))).sum())
    return Simulated(counts, truth)


def shares_of(design: Design, data: Any, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of a distribution model, ``log_likelihood`` of the data last."""
    found: Draws = {}
    for name in ("alpha", "mean", "baseline"):
        if name in posterior:
            found |= {f"{name}[{h}]": posterior[name].sel(her2=h) for h in HER2}
    if "tau" in posterior:
        found |= {f"tau[{f}]": posterior["tau"].sel(family=f) for f in ("parent", "level")}
    found |= {n: posterior[n] for n in ("concentration", "parent_concentration") if n in posterior}
    share = posterior["share"]
    for level in design.levels:
        found |= {f"share[{h} | {level}]": share.sel(subgroup=level, her2=h) for h in HER2}
    terms = data.drop_vars(["factor", "level", "parent"]) * np.log(np.maximum(share, 1e-300))
    return found | {"log_likelihood": terms.sum(("subgroup", "her2"))}


GROUP = "centre"
CELLS = {
    f"hr_status={hr}, stage={stage}, centre={centre}": patients
    for (hr, part) in (("positive", 2), ("negative", 1))
    for stage, times in (("I", 3), ("II", 4), ("III", 2))
    for centre, patients in (("A", 3 * part * times), ("B", part * times), ("C", times),
                             ("D", part))
}  # fmt: skip
"""Patients by receptor status, stage and centre: 24 cells of 1 to 24."""

COARSE = {"zero": 0.15, "low": 0.15, "positive": 0.0}
"""How often a reading of a class is told as "zero or low"."""
LOST = 0.1
"""How often nothing is told."""


def draw_crossed(rng: np.random.Generator, design: Design) -> Simulated:
    """``her2_distribution_crossed``: two factors and their pair, centres, some readings as sets.

    Logits: common N(1.5); receptor status sd 0.75 (two levels, zero-sum); stage |N(0.5)|; their
    pair |N(0.25)|, zero-sum both ways; centres |N(0.5)|, which do not sum to zero.
    """
    rows = [dict(part.split("=") for part in name.split(", ")) for name in design.patients]
    levels = {f: list(dict.fromkeys(row[f] for row in rows)) for f in rows[0]}
    k, truth = len(HER2), Truth()

    def learned(name: str, scale: float) -> float:
        truth[f"tau[{name}]"] = abs(rng.normal(0.0, scale))
        return truth[f"tau[{name}]"]

    def zero_sum(*shape: int) -> np.ndarray:
        values = rng.normal(size=shape)
        for axis in range(len(shape)):
            values = centred(values, axis)
        return values

    common = centred(rng.normal(0.0, 1.5, k), 0)
    hr = 0.75 * zero_sum(2, k)
    stage = learned("stage", 0.5) * zero_sum(3, k)
    pair = learned("hr_status_x_stage", 0.25) * zero_sum(2, 3, k)
    tau = learned(GROUP, 0.5)
    centre, new = (tau * centred(rng.normal(size=(n, k)), 1) for n in (4, 1))

    def share(one: str, two: str, group: np.ndarray) -> np.ndarray:
        i, j = levels["hr_status"].index(one), levels["stage"].index(two)
        return softmax(common + hr[i] + stage[j] + pair[i, j] + group)

    of = [share(r["hr_status"], r["stage"], centre[levels[GROUP].index(r[GROUP])]) for r in rows]
    n = np.array(list(design.patients.values()))
    shares = np.array(of)
    ahead = np.array([share(r["hr_status"], r["stage"], new[0]) for r in rows])
    truth |= {
        f"alpha[{h}]": float(a) for h, a in zip(HER2, common + centre.mean(axis=0), strict=True)
    }
    hr_positive = np.array([row["hr_status"] == "positive" for row in rows])
    for j, her2 in enumerate(HER2):
        truth[f"share[{her2}]"] = float(n @ shares[:, j] / n.sum())
        weight = n * hr_positive
        truth[f"share[{her2} | positive]"] = float(weight @ shares[:, j] / weight.sum())
        truth[f"share[{her2} | new centre]"] = float(n @ ahead[:, j] / n.sum())
        at = sum(
            n[c] * share("negative", row["stage"], centre[levels[GROUP].index(row[GROUP])])[j]
            for c, row in enumerate(rows)
        )
        truth[f"standardised[{her2} | negative]"] = float(at / n.sum())
    data = _read(rng, rows, n, shares)
    inside = np.hstack([shares, shares[:, :2].sum(axis=1, keepdims=True), np.ones((len(rows), 1))])
    truth["log_likelihood"] = float((data["counts"].values * np.log(inside)).sum())
    return Simulated(data, truth)


def _read(
    rng: np.random.Generator, rows: list[dict[str, str]], n: np.ndarray, shares: np.ndarray
) -> xr.Dataset:
    """Patient by patient: a class, then what is told of it."""
    told = [*HER2, "zero/low", "unknown"]
    counts = np.zeros((len(rows), len(told)), dtype=np.int64)
    for cell, patients in enumerate(n):
        for _ in range(patients):
            her2 = int((rng.random() >= np.cumsum(shares[cell])[:-1]).sum())
            coarse, lost = rng.random(2)
            at = 3 if coarse < COARSE[HER2[her2]] else her2
            counts[cell, 4 if lost < LOST else at] += 1
    holds = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]], dtype=bool)
    return xr.Dataset(
        {"counts": (("subgroup", "reading"), counts), "incidence": (("reading", "her2"), holds)},
        coords={
            "subgroup": [", ".join(f"{f}={v}" for f, v in row.items()) for row in rows],
            "reading": told, "her2": list(HER2),
            **{f: ("subgroup", [row[f] for row in rows]) for f in rows[0]},
        },
        attrs={"factors": list(rows[0])},
    )  # fmt: skip


def crossed_of(design: Design, data: xr.Dataset, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of the crossed model, as everyone asks for them."""
    table = Crossed(data, (GROUP,))
    names = {f"tau[{t}]": f"heterogeneity[her2 logit ; {t}]" for t in ("stage", "hr_status_x_stage",
             GROUP)}  # fmt: skip
    for h in HER2:
        names[f"share[{h}]"] = f"share[her2={h}]"
        names[f"share[{h} | positive]"] = f"share[her2={h} | hr_status=positive]"
        names[f"share[{h} | new centre]"] = f"share[her2={h} | centre=new centre]"
        names[f"standardised[{h} | negative]"] = (
            f"standardised_share[her2={h} | hr_status=negative]"
        )
    asked = {name: parse(text) for name, text in names.items()}
    drawn = draws(posterior, table, list(asked.values()))
    found = {name: drawn[estimand] for name, estimand in asked.items()}
    found |= {f"alpha[{h}]": posterior["alpha"].sel(her2=h) for h in HER2}
    share = posterior["share"].sel(subgroup=data["subgroup"].values)
    inside = (share * data["incidence"]).sum("her2")
    counts = data["counts"].drop_vars(list(data.attrs["factors"]))
    return found | {"log_likelihood": (counts * np.log(inside)).sum(("subgroup", "reading"))}


def cells(model: str, _study: str, _by: str) -> Design:
    """Twenty-four cells of receptor status, stage and centre."""
    return Design(model, "hr_status-stage-centre", CELLS, factor=GROUP)


KINDS: Mapping[str, Kind] = {
    "her2_distribution": Kind(draw_multinomial, shares_of, by_factor),
    "her2_distribution_dirichlet": Kind(draw_dirichlet, shares_of, by_factor, draws=1000),
    "her2_distribution_ordered": Kind(draw_ordered, shares_of, by_factor),
    "her2_distribution_crossed": Kind(
        draw_crossed, crossed_of, cells, options={"exchangeable": (GROUP,)}
    ),
}

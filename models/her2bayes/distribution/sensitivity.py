"""Conclusions on shares of HER2 classes: a model for each table, other priors, models, counts.

Moving a fraction of one class to its neighbour in every subgroup stands for another reading of the
boundary between them (IHC 0 against 1+, IHC 2+ against ISH).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from her2bayes.bayes.levels import design, parents
from her2bayes.bayes.prior import Prior, prior
from her2bayes.distribution.draws import combined
from her2bayes.distribution.estimates import MODELS
from her2bayes.estimand import Estimand
from her2bayes.evidence.printed.conclusions import Conclusion
from her2bayes.inference.refit import Specification
from her2bayes.sensitivity.scenarios import BASE, DATA, PRIOR, STRUCTURE, Axis, Scenario
from her2bayes.sensitivity.target import Target

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study

KINDS = ("share", "share_difference", "share_ratio")
SCALES = (0.25, 0.5, 2.0, 4.0)
MOVED = (-0.2, -0.1, 0.1, 0.2)
OVERALL, SPREAD = "prior scale of overall shares", "prior scale of differences between levels"
MODEL, POOLING, OUT = "model", "pooling", "left out"
ORDERED = "ordered"
RECEPTORS = {"hr", "er", "pr", "hormone", "receptor", "oestrogen", "estrogen", "progesterone"}
"""Parts of the names of factors that ``her2_distribution_ordered`` says it is wrong for."""

_WORDS = {
    "her2_distribution": "logistic-normal",
    "her2_distribution_dirichlet": "Dirichlet",
    "her2_distribution_ordered": ORDERED,
}
_MODELS = {words: name for name, words in _WORDS.items()}


def targets(study: Study, conclusions: Sequence[Conclusion]) -> list[Target]:
    """One target for each printed table that answers some of the conclusions."""
    tables = study.status_counts()
    nested = {parent: n for n in tables if n and (parent := study.factors[n].parent)}
    found: dict[str, list[Conclusion]] = {}
    for conclusion in conclusions:
        factor = factor_of(conclusion.estimand)
        table = nested.get(factor or "", factor)
        if factor is not None and table in tables and _answers(conclusion, tables[table], factor):
            found.setdefault(table, []).append(conclusion)
    return [
        Target(
            "distribution",
            f"HER2 status by {table.replace('_', ' ')}" if table else "HER2 status, all patients",
            tuple(asked),
            axes(tables, table),
            {
                "factor": table,
                "parent": study.factors[table].parent if table else "",
                "counts": tables[table],
                "others": {} if table else {n: t for n, t in tables.items() if n},
            },
        )
        for table, asked in found.items()
    ]


def factor_of(estimand: Estimand) -> str | None:
    """Factor whose table holds the estimand: empty for all patients, None for another kind."""
    named = [factor for factor, _ in estimand.given]
    if estimand.kind == "share" and estimand.contrast is None and len(named) < 2:
        return named[0] if named else ""
    if estimand.kind in KINDS[1:] and estimand.contrast and estimand.contrast.a and not named:
        return estimand.contrast.factor
    return None


def available(study: Study) -> Iterator[str]:
    """What this family could answer, in words."""
    for name in study.status_counts():
        yield f"share[her2=... | {name}=...]" if name else "share[her2=...]"
        if name:
            yield f"share_difference[her2=... ; {name}: a vs b]"


def axes(tables: Mapping[str, xr.DataArray], table: str) -> tuple[Axis, ...]:
    """Axes of the model of one table."""
    counts = tables[table]
    found = [
        Axis(OVERALL, PRIOR, 1.0, SCALES, "scale of the prior of the overall shares, times"),
    ]
    if table:
        found.append(
            Axis(SPREAD, PRIOR, 1.0, SCALES, "scale of the prior of how levels differ, times")
        )
    classes = [str(name) for name in counts["her2"].to_numpy()]
    for below, above in pairwise(classes):
        found.append(
            Axis(
                boundary(below, above),
                DATA,
                0.0,
                MOVED,
                f"share of the patients read as {below} counted as {above}; "
                f"below 0, of those read as {above} counted as {below}",
            )
        )
    left = _can_leave(tables, table)
    if left:
        found.append(Axis(OUT, DATA, "nobody", left, "patients left out"))
    first, *others = (_WORDS[name] for name in MODELS)
    found.append(Axis(MODEL, STRUCTURE, first, tuple(others), "family of the model"))
    if counts.sizes["subgroup"] > 2:
        found.append(
            Axis(POOLING, STRUCTURE, "partial", ("fixed",), "fixed: spread of levels not learned")
        )
    return tuple(found)


def boundary(below: str, above: str) -> str:
    """Name of the axis that moves patients between two neighbouring classes."""
    return f"{below} counted as {above}"


def _can_leave(tables: Mapping[str, xr.DataArray], table: str) -> tuple[str, ...]:
    if table:
        levels = [str(v) for v in tables[table]["level"].to_numpy()]
        return tuple(f"{table}={level}" for level in levels) if len(levels) > 2 else ()
    return tuple(
        f"{name}={level}"
        for name, counts in tables.items()
        if name and counts.sizes["subgroup"] > 2  # of two, to leave one out is to report the other
        for level in counts["level"].to_numpy()
    )


def _answers(conclusion: Conclusion, counts: xr.DataArray, factor: str) -> bool:
    estimand = conclusion.estimand
    if estimand.outcome.partition("=")[0] != "her2":
        return False
    own = {str(v) for v in counts["level"].to_numpy()} | set(parents(counts))
    asked = [level for _, level in estimand.given]
    if estimand.contrast:
        asked += [estimand.contrast.a, estimand.contrast.b]
    return _class(estimand) in counts["her2"].to_numpy() and set(asked) <= own


def _class(estimand: Estimand) -> str:
    return estimand.outcome.partition("=")[2]


def specification(target: Target, of: Scenario) -> Specification:
    """Model and data of a scenario."""
    name = _MODELS[of.get(MODEL, _WORDS[MODELS[0]])]
    build: Callable[..., Any] = import_module(f"her2bayes.distribution.{name}").build
    pooling = str(of.get(POOLING, "partial"))
    # left at its default as on the page, so that the reported analysis is the same fit
    options = {"pooling": pooling} if POOLING in dict(of.changes) else {}
    if name.endswith("dirichlet"):
        options = {}
    counts = scenario_counts(target, of)
    defaults: dict[str, Prior] = build.__globals__["DEFAULT_PRIORS"]
    priors = _priors(defaults, of.get(OVERALL, 1.0), of.get(SPREAD, 1.0))
    learned = {}
    if not name.endswith("dirichlet"):
        data = design(counts, pooling)
        learned = {
            "information": data["information"].to_numpy(),
            "learned": data["learned"].to_numpy(),
            "families": (data["member"] * data["learned"]).sum("effect").to_numpy(),
        }
    has_spread = bool(learned) and bool(learned["learned"].any())
    top = ("alpha", "baseline", "mean", "concentration", *(("tau",) if has_spread else ("raw",)))

    def transport(draws: xr.Dataset, other: Specification) -> xr.Dataset:
        return _transported(draws, priors, other.priors, learned)

    labels = [f"{v}" for v in counts["subgroup"].to_numpy()], parents(counts)
    return Specification(
        build,
        counts,
        priors,
        options,
        top,
        transport if name == MODELS[0] else None,
        prior_key=repr((name, sorted(priors.items()), options, labels)),
    )


def _priors(defaults: Mapping[str, Prior], overall: float, spread: float) -> dict[str, Prior]:
    """Default priors with scales multiplied; a concentration shrinks where a spread grows."""
    found = dict(defaults)
    for name in ("alpha",):
        if name in found:
            found[name] = found[name].scaled(overall)
    for name in ("mean", "baseline"):
        if name in found:
            found[name] = prior("Dirichlet", concentration=found[name]["concentration"] / overall)
    if "tau" in found:
        found["tau"] = found["tau"].scaled(spread)
        found["fixed_tau"] = prior("Constant", value=found["fixed_tau"]["value"] * spread)
    for name in ("concentration", "parent_concentration"):
        if name in found:
            mu = found[name]["mu"] - 2 * float(np.log(spread))
            found[name] = prior("LogNormal", mu=mu, sigma=found[name]["sigma"])
    return found


def _transported(
    draws: xr.Dataset,
    priors: Mapping[str, Prior],
    other: Mapping[str, Prior],
    learned: Mapping[str, np.ndarray],
) -> xr.Dataset:
    """Draws under ``other`` priors where they mean the same effects under ``priors``.

    ``raw`` is an effect in units that follow from a fixed spread; a spread that no data inform is
    only its prior, and moves with it.
    """
    scale, before = (float(p["fixed_tau"]["value"]) for p in (priors, other))
    information = learned["information"]
    fixed = (learned["learned"] == 0) & (information > 0)
    stretch = [np.sqrt(1 + information * value**2) for value in (scale, before)]
    factor = np.where(fixed, before / stretch[1] * stretch[0] / scale, 1.0)
    raw = draws["raw"] * xr.DataArray(factor, dims="effect")
    unused = learned["families"] == 0
    ratio = float(priors["tau"]["sigma"]) / float(other["tau"]["sigma"])
    tau = draws["tau"] * xr.DataArray(np.where(unused, ratio, 1.0), dims="family")
    return draws.assign(raw=raw.transpose(*draws["raw"].dims), tau=tau)


def scenario_counts(target: Target, of: Scenario) -> xr.DataArray:
    """Counts of a scenario: some patients left out, some counted in the neighbouring class."""
    counts: xr.DataArray = target.data["counts"]
    out = str(of.get(OUT, "nobody"))
    if out != "nobody":
        factor, _, level = out.partition("=")
        if factor == target.data["factor"]:
            counts = counts.isel(subgroup=np.flatnonzero(counts["level"].to_numpy() != level))
        else:
            other = target.data["others"][factor]
            at = int(np.flatnonzero(other["level"].to_numpy() == level)[0])
            counts = counts - other.isel(subgroup=at, drop=True).reset_coords(drop=True)
    values = counts.to_numpy().copy()
    classes = [str(name) for name in counts["her2"].to_numpy()]
    moves = np.zeros_like(values)
    for place, (below, above) in enumerate(pairwise(classes)):
        share = float(of.get(boundary(below, above), 0.0))
        source, to = (place, place + 1) if share > 0 else (place + 1, place)
        moved = np.floor(abs(share) * values[:, source] + 0.5).astype(values.dtype)
        moves[:, source] -= moved
        moves[:, to] += moved
    return counts.copy(data=values + moves)


def apart(target: Target, of: Scenario, estimand: Estimand) -> str:
    """Why a scenario is no answer to a question on an estimand; empty where it is one."""
    factor = target.data["factor"]
    if of.get(MODEL, "") == ORDERED and RECEPTORS & set(factor.split("_")):
        return "ordered logits do not fit receptors, where one group gathers in the middle"
    contrast = estimand.contrast
    if contrast is None or OUT not in dict(of.changes):
        return ""
    before, after = (
        _patients(scenario_counts(target, s), contrast.factor, factor) for s in (BASE, of)
    )
    halved = [
        level for level in (contrast.a, contrast.b)
        if 2 * after.get(level, 0) <= before[level]
    ]  # fmt: skip
    return f"leaves out half or more of {contrast.factor}={', '.join(halved)}" if halved else ""


def _patients(counts: xr.DataArray, factor: str, table: str) -> dict[str, int]:
    """Patients by level of the table's factor, or of the one it is nested in."""
    number = counts.sum("her2").to_numpy()
    levels = counts["level"].to_numpy() if factor == table else counts["parent"].to_numpy()
    return {str(level): int(number[levels == level].sum()) for level in levels}


def quantities(target: Target, of: Scenario, draws: xr.Dataset) -> dict[str, xr.DataArray]:
    """Draws (chain, draw) of each estimand; those whose level was left out are missing."""
    counts = scenario_counts(target, of)
    share = draws["share"].transpose("chain", "draw", "subgroup", "her2")
    by = {target.data["factor"]: share.rename(subgroup="level")}
    if target.data["parent"]:
        both = combined(share, counts.sum("her2"), parents(counts))
        by[target.data["parent"]] = both.rename(group="level")
    found = {}
    for text, conclusion in {str(c.estimand): c for c in target.conclusions}.items():
        value = _quantity(conclusion.estimand, by)
        if value is not None:
            found[text] = value
    return found


def _quantity(estimand: Estimand, by: Mapping[str, xr.DataArray]) -> xr.DataArray | None:
    share = by[factor_of(estimand) or ""].sel(her2=_class(estimand), drop=True)
    known = set(map(str, share["level"].to_numpy()))
    if estimand.contrast is None:
        level = next((level for _, level in estimand.given), "all")
        return share.sel(level=level, drop=True) if level in known else None
    a, b = estimand.contrast.a, estimand.contrast.b
    if not {a, b} <= known:
        return None
    one, other = (share.sel(level=level, drop=True) for level in (a, b))
    return one / other if estimand.kind == "share_ratio" else one - other

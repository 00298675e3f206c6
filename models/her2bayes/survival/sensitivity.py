"""Conclusions on survival of a patient cohort: priors, cut points, proportional hazards, subgroups.

Cells of every cut-point scheme are made before the run; patients left out are removed from the
cells, whose shape stays, so that the compiled model does too. With patients of other studies the
weight they count with is an axis (power prior), and each of those studies can be left out; with
another definition of a class its patients are counted anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Estimand
from her2bayes.evidence.patients.external_survival import external_cells
from her2bayes.evidence.patients.survival_cells import cut_points, survival_cells
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.inference import fit
from her2bayes.sensitivity.target import BASE, DATA, PRIOR, STRUCTURE, Axis, Drawn, Scenario, Target
from her2bayes.survival import survival_borrowing
from her2bayes.survival.draws import draws as draws_of
from her2bayes.survival.draws import faults
from her2bayes.survival.survival import DEFAULT_PRIORS, TOP_LEVEL, build

if TYPE_CHECKING:
    from her2bayes.evidence.patients.follow_up import FollowUp
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store
    from her2bayes.survival.doors import Specification

KINDS = ("hazard_ratio", "survival", "survival_difference", "rmst", "rmst_difference", "rmst_ratio",
         "hazard", "cumulative_hazard")  # fmt: skip
RATIO, SMOOTHING, INTERACTION, REFERENCE = (
    "prior scale of log hazard ratios",
    "prior scale of smoothing",
    "prior scale of interactions",
    "prior scale of the hazard",
)
CUTS, MODEL, CROSSED, OUT = "cut points", "hazards", "interactions", "left out"
BORROWED, STUDIES, DEFINED = "borrowing weight", "external patients", "definition"
WEIGHTS = (0.1, 0.25, 0.5, 0.75, 1.0)
MOST_LEFT_OUT = 20  # levels of a factor left out one at a time: those with most events
SCALES = (0.25, 0.5, 2.0, 4.0)
SCHEMES: dict[str, tuple[str, int]] = {
    "10 of equal events": ("quantile", 10),
    "40 of equal events": ("quantile", 40),
    "20 of equal length": ("equal", 20),
}
AS_ASKED = "as asked"
_SCALED = {
    RATIO: ("log_hazard_ratio", "spread"),
    SMOOTHING: ("smoothing",),
    INTERACTION: ("interaction",),
    REFERENCE: ("reference_log_hazard",),
}


def target(
    follow_up: FollowUp,
    asked: Specification,
    conclusions: Sequence[Conclusion],
    *,
    elsewhere: Mapping[str, FollowUp] | None = None,
    definitions: Mapping[str, FollowUp] | None = None,
) -> Target:
    """The cohort's model with its axes; ``BadInput`` for what it cannot answer, all together.

    ``elsewhere``: patients of other studies by name. ``definitions``: the same patients under
    another definition of their classes.
    """
    schemes = {AS_ASKED: (asked.cuts, asked.intervals), **SCHEMES}
    cells: dict[str, xr.Dataset] = {}
    for name, (cuts, number) in schemes.items():
        points = cut_points(follow_up, cuts, number, 0.0)
        made = survival_cells(follow_up, points, asked.nested)
        if not any(made.equals(other) for other in cells.values()):
            cells[name] = made
    first = next(iter(cells.values()))
    raise_if([
        Fault("this cohort's model does not answer the conclusion", None, None, c.id, str(c),
              ", ".join(available(follow_up)))
        for c in conclusions if not _answerable(c.estimand, first)
    ])  # fmt: skip
    data = {
        "cells": cells,
        "external": {
            name: external_cells(elsewhere, made, asked.nested).cells
            for name, made in cells.items()
            if elsewhere
        },
        "defined": _defined(cells, definitions or {}, asked),
        "frailty": tuple(asked.frailty),
        "options": {
            (model, crossed): _changed(asked, model, crossed).options(follow_up)
            for model in ("ph", "nonph")
            for crossed in ("yes", "no")
        },
        "model": asked.model,
        "crossed": "yes" if asked.interactions else "no",
        "priors": {**DEFAULT_PRIORS, **asked.priors},
        "factors": {n: list(map(str, v)) for n, v in follow_up.factors.items()},
    }
    return Target("survival", f"survival: {asked.title}", tuple(conclusions), _axes(data), data)


def _changed(asked: Specification, model: str, crossed: str) -> Specification:
    return replace(asked, model=model, interactions=crossed == "yes")


def _axes(data: Mapping[str, Any]) -> tuple[Axis, ...]:
    found = [
        Axis(name, PRIOR, 1.0, SCALES, f"scales of {' and '.join(_SCALED[name])}, times")
        for name in (RATIO, SMOOTHING, REFERENCE)
    ]
    options = data["options"]
    asked = (data["model"], data["crossed"])
    if "interactions" in options[asked]:
        found.append(Axis(INTERACTION, PRIOR, 1.0, SCALES, "scale of interactions, times"))
    left = _can_leave(data)
    if left:
        found.append(Axis(OUT, DATA, "nobody", left, "patients left out"))
    found += _outside_axes(data)
    first, *others = data["cells"]
    if others:
        found.append(Axis(CUTS, STRUCTURE, first, tuple(others), "intervals of the hazard"))
    if options["ph", data["crossed"]] != options["nonph", data["crossed"]]:
        other = "nonph" if data["model"] == "ph" else "ph"
        meaning = "ph: ratios constant in time; nonph: they change"
        found.append(Axis(MODEL, STRUCTURE, data["model"], (other,), meaning))
    if options[data["model"], "yes"] != options[data["model"], "no"]:
        other = "no" if data["crossed"] == "yes" else "yes"
        meaning = "whether effects of the first factor differ between levels of the others"
        found.append(Axis(CROSSED, STRUCTURE, data["crossed"], (other,), meaning))
    return tuple(found)


def _can_leave(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Levels that can be left out, one at a time; of many centres those with most events."""
    cells = next(iter(data["cells"].values()))
    found = []
    for name, levels in data["factors"].items():
        if len(levels) < 2:
            continue
        dim = str(cells[name].dims[0])
        events = cells["events"].sum([d for d in cells["events"].dims if d != dim]).to_numpy()
        own = cells[name].to_numpy().astype(str)
        by = {level: int(events[own == level].sum()) for level in levels}
        kept = set(sorted(levels, key=lambda level, by=by: -by[level])[:MOST_LEFT_OUT])  # type: ignore[misc]
        found += [f"{name}={level}" for level in levels if level in kept]
    return tuple(found)


def _outside_axes(data: Mapping[str, Any]) -> Iterator[Axis]:
    """Axes of patients elsewhere, and of other definitions."""
    if data["external"]:
        meaning = "weight of each patient of another study (power prior); 1: pooled"
        yield Axis(BORROWED, DATA, 0.0, WEIGHTS, meaning)
        studies = next(iter(data["external"].values()))["study"].to_numpy()
        if len(studies) > 1:
            left = tuple(f"all but {name}" for name in studies)
            meaning = "studies pooled with the own patients, one left out at a time"
            yield Axis(STUDIES, DATA, "none", ("all", *left), meaning)
    if data["defined"]:
        yield Axis(DEFINED, DATA, "as asked", tuple(data["defined"]), "which patients a class has")


def _defined(
    cells: Mapping[str, xr.Dataset], others: Mapping[str, FollowUp], asked: Specification
) -> dict[str, dict[str, xr.Dataset]]:
    """Cells of every scheme under each definition that changes some."""
    found = {}
    for text, other in others.items():
        made = {}
        for name, own in cells.items():
            edges = [*own["interval_start"].to_numpy(), max(float(own["interval_end"][-1]),
                                                            other.last_time)]  # fmt: skip
            made[name] = survival_cells(other, edges, asked.nested)
        if any(not made[name].equals(own) for name, own in cells.items()):
            found[text] = made
    return found


def available(follow_up: FollowUp) -> Iterator[str]:
    """What the cohort's model answers, in words."""
    end = follow_up.endpoint
    yield f"survival[{end} @ 24 months]"
    for name, levels in follow_up.factors.items():
        if len(levels) > 1:
            a, b = levels[:2]
            yield f"hazard_ratio[{end} ; {name}: {a} vs {b}]"
            yield f"survival_difference[{end} ; {name}: {a} vs {b} @ 24 months]"
            yield f"rmst_difference[{end} ; {name}: {a} vs {b} @ 24 months]"


def _answerable(estimand: Estimand, cells: xr.Dataset) -> bool:
    known = estimand.kind in KINDS and "cause" not in cells.dims
    return known and not faults(estimand, cells, xr.Dataset())


def specification(target: Target, of: Scenario) -> fit.Specification:
    """Model and data of a scenario."""
    data = target.data
    priors = dict(data["priors"])
    for axis, names in _SCALED.items():
        for name in names:
            priors[name] = priors[name].scaled(float(of.get(axis, 1.0)))
    options = data["options"][
        str(of.get(MODEL, data["model"])), str(of.get(CROSSED, data["crossed"]))
    ]
    cells = scenario_cells(target, of)
    scales = tuple(n for n in _names(cells, data["factors"]) if n.startswith(TOP_LEVEL))
    scales += tuple(f"frailty_{name}" for name in data["frailty"])
    weight, external = _borrowed(target, of)
    if not weight:
        return fit.Specification(build, cells, priors, options, (*TOP_LEVEL, *scales))
    both = {"own": cells, "external": external}
    chosen = {**options, "power": weight}
    return fit.Specification(survival_borrowing.build, both, priors, chosen, (*TOP_LEVEL, *scales))


def _borrowed(target: Target, of: Scenario) -> tuple[float, xr.Dataset]:
    """Weight of the patients elsewhere and their cells, without whom a scenario leaves out."""
    studies = str(of.get(STUDIES, "none"))
    weight = float(of.get(BORROWED, 0.0))
    if not target.data["external"] or (studies == "none" and not weight):
        return 0.0, xr.Dataset()
    external: xr.Dataset = target.data["external"][_scheme(target, of)]
    kept = external["study"] != studies.removeprefix("all but ")
    factor, _, level = str(of.get(OUT, "nobody")).partition("=")
    if level:
        own = scenario_cells(target, of)
        kept = kept & (own[factor].astype(str) != level)
    changed = {n: external[n].where(kept, 0.0).transpose(*external[n].dims) for n in external}
    return weight or 1.0, external.assign(changed)


def _scheme(target: Target, of: Scenario) -> str:
    return str(of.get(CUTS, next(iter(target.data["cells"]))))


def _names(cells: xr.Dataset, factors: Mapping[str, Sequence[str]]) -> list[str]:
    """Names that scales of the model may have: by factor and by pair of factors."""
    pairs = [f"{a}_{b}" for a in factors for b in factors if a != b]
    return [
        f"{scale}_{name}"
        for scale in ("smoothing", "spread", "log_hazard_ratio", "interaction")
        for name in ("baseline", *factors, *pairs)
    ]


def scenario_cells(target: Target, of: Scenario) -> xr.Dataset:
    """Cells of a scenario; who is left out has no events and no person-months."""
    data = target.data
    defined = data["defined"].get(str(of.get(DEFINED, "")), data["cells"])
    cells: xr.Dataset = defined[_scheme(target, of)]
    out = str(of.get(OUT, "nobody"))
    if out == "nobody":
        return cells
    factor, _, level = out.partition("=")
    kept = cells[factor].astype(str) != level
    emptied = {
        name: cells[name].where(kept, 0).astype(cells[name].dtype).transpose(*cells[name].dims)
        for name in ("events", "person_months", "rows")
    }
    return cells.assign(emptied)


def baseline(target: Target, sampling: Sampling, store: Store | None) -> Drawn:
    """Analysis as ``fit_survival`` reports it: the same fit."""
    from her2bayes.sensitivity.worker import of_fit

    spec = specification(target, BASE)
    fitted = spec.fit(sampling, store, 1)
    return of_fit(target, spec, fitted)


def apart(target: Target, of: Scenario, estimand: Estimand) -> str:
    """Why a scenario is no answer to a question on an estimand; empty where it is one."""
    contrast = estimand.contrast
    if contrast is None or OUT not in dict(of.changes):
        return ""
    before, after = (_patients(scenario_cells(target, s), contrast.factor) for s in (BASE, of))
    halved = [level for level in (contrast.a, contrast.b) if 2 * after[level] <= before[level]]
    return f"leaves out half or more of {contrast.factor}={', '.join(halved)}" if halved else ""


def _patients(cells: xr.Dataset, factor: str) -> dict[str, int]:
    rows, own = cells["rows"], cells[factor].astype(str)
    return {str(v): int(rows.where(own == v, 0).sum()) for v in np.unique(own.to_numpy())}


def quantities(target: Target, of: Scenario, draws: xr.Dataset) -> dict[str, xr.DataArray]:
    """Draws (chain, draw) of each estimand; those that need a level left out are missing."""
    factor, _, level = str(of.get(OUT, "nobody")).partition("=")
    asked = dict.fromkeys(c.estimand for c in target.conclusions)
    kept = [one for one in asked if (factor, level) not in _levels(one)]
    found = draws_of(draws, scenario_cells(target, of), kept)
    return {str(one): value for one, value in found.items()}


def _levels(estimand: Estimand) -> set[tuple[str, str]]:
    named = set(estimand.given)
    if estimand.contrast:
        named |= {(estimand.contrast.factor, v) for v in (estimand.contrast.a, estimand.contrast.b)}
    return named

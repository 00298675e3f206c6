"""Conclusions on survival of a patient cohort: priors, cut points, proportional hazards, subgroups.

Cells of every cut-point scheme are made before the run; patients left out are removed from the
cells, whose shape stays, so that the compiled model does too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from her2bayes.analysis import survival
from her2bayes.analysis.conclusion_target import Target
from her2bayes.analysis.scenarios import DATA, PRIOR, STRUCTURE, Axis, Scenario
from her2bayes.analysis.survival_quantity import quantity
from her2bayes.bayes.survival import DEFAULT_PRIORS, build
from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Estimand
from her2bayes.evidence.conclusions import Conclusion
from her2bayes.evidence.survival_cells import cut_points, survival_cells
from her2bayes.inference.refit import Specification

if TYPE_CHECKING:
    from her2bayes.analysis.survival import Question
    from her2bayes.evidence.follow_up import FollowUp

KINDS = ("hazard_ratio", "survival", "survival_difference", "rmst", "rmst_difference", "rmst_ratio")
RATIO, SMOOTHING, INTERACTION, REFERENCE = (
    "prior scale of log hazard ratios",
    "prior scale of smoothing",
    "prior scale of interactions",
    "prior scale of the hazard",
)
CUTS, MODEL, CROSSED, OUT = "cut points", "hazards", "interactions", "left out"
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


def target(follow_up: FollowUp, question: Question, conclusions: Sequence[Conclusion]) -> Target:
    """The cohort's model with its axes; ``BadInput`` for what it cannot answer, all together."""
    raise_if(
        [
            Fault(
                "this cohort's model does not answer the conclusion", None, None, c.id, str(c),
                ", ".join(available(follow_up)),
            )
            for c in conclusions if not _answerable(c.estimand, follow_up)
        ]
    )  # fmt: skip
    schemes = {AS_ASKED: (question.cuts, question.intervals), **SCHEMES}
    cells: dict[str, xr.Dataset] = {}
    for name, (cuts, number) in schemes.items():
        points = cut_points(follow_up, cuts, number, 0.0)
        made = survival_cells(follow_up, points, question.nested)
        if not any(made.equals(other) for other in cells.values()):
            cells[name] = made
    data = {
        "cells": cells,
        "options": {
            (model, crossed): survival.model_options(follow_up, _changed(question, model, crossed))
            for model in ("ph", "nonph")
            for crossed in ("yes", "no")
        },
        "model": question.model,
        "crossed": "yes" if question.interactions else "no",
        "priors": {**DEFAULT_PRIORS, **question.priors},
        "factors": {n: list(map(str, v)) for n, v in follow_up.factors.items()},
    }
    return Target("survival", f"survival: {question.title}", tuple(conclusions), _axes(data), data)


def _changed(question: Question, model: str, crossed: str) -> Question:
    from dataclasses import replace

    return replace(question, model=model, interactions=crossed == "yes")


def _axes(data: Mapping[str, Any]) -> tuple[Axis, ...]:
    found = [
        Axis(name, PRIOR, 1.0, SCALES, f"scales of {' and '.join(_SCALED[name])}, times")
        for name in (RATIO, SMOOTHING, REFERENCE)
    ]
    options = data["options"]
    asked = (data["model"], data["crossed"])
    if "interactions" in options[asked]:
        found.append(Axis(INTERACTION, PRIOR, 1.0, SCALES, "scale of interactions, times"))
    left = tuple(
        f"{name}={level}"
        for name, levels in data["factors"].items()
        for level in levels
        if len(levels) > 1
    )
    if left:
        found.append(Axis(OUT, DATA, "nobody", left, "patients left out"))
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


def _answerable(estimand: Estimand, follow_up: FollowUp) -> bool:
    if estimand.kind not in KINDS or estimand.outcome != follow_up.endpoint or follow_up.causes:
        return False
    if estimand.kind != "hazard_ratio":
        timed = estimand.time is not None and estimand.time_unit == "months"
        if not timed or (estimand.contrast and estimand.given) or len(estimand.given) > 1:
            return False
    contrasted = estimand.kind not in ("survival", "rmst")
    return contrasted == bool(estimand.contrast and estimand.contrast.a)


def specification(target: Target, of: Scenario) -> Specification:
    """Model and data of a scenario."""
    data = target.data
    priors = dict(data["priors"])
    for axis, names in _SCALED.items():
        for name in names:
            priors[name] = priors[name].scaled(float(of.get(axis, 1.0)))
    options = data["options"][
        str(of.get(MODEL, data["model"])), str(of.get(CROSSED, data["crossed"]))
    ]
    top = ("reference_log_hazard", "smoothing", "spread", "log_hazard_ratio", "interaction")
    cells = scenario_cells(target, of)
    scales = tuple(n for n in _names(cells, data["factors"]) if n.startswith(top))
    return Specification(build, cells, priors, options, (*top, *scales))


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
    cells: xr.Dataset = data["cells"][str(of.get(CUTS, next(iter(data["cells"]))))]
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


def quantities(target: Target, of: Scenario, draws: xr.Dataset) -> dict[str, xr.DataArray]:
    """Draws (chain, draw) of each estimand; those that need a level left out are missing."""
    cells = scenario_cells(target, of)
    out = str(of.get(OUT, "nobody")).partition("=")
    found = {}
    for text, conclusion in {str(c.estimand): c for c in target.conclusions}.items():
        estimand = conclusion.estimand
        if out[0] != "nobody" and (out[0], out[2]) in _levels(estimand):
            continue
        value = quantity(estimand, draws, cells)
        found[text] = value.reset_coords(drop=True).transpose("chain", "draw")
    return found


def _levels(estimand: Estimand) -> set[tuple[str, str]]:
    named = set(estimand.given)
    if estimand.contrast:
        named |= {(estimand.contrast.factor, v) for v in (estimand.contrast.a, estimand.contrast.b)}
    return named

"""Which models can be calibrated, and at which designs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.analysis import calibration_designs as designs
from her2bayes.analysis import calibration_events as events
from her2bayes.analysis import calibration_rates as rates
from her2bayes.analysis.calibration_designs import Design, Draws, Simulated
from her2bayes.analysis.calibration_survival import draw_survival, survival_of
from her2bayes.errors import BadInput, Fault
from her2bayes.evidence.study import Study, load_study, study_folder

MSK_PAIRS = {"positive": 482, "negative": 89}
"""Pairs with one class at both ends by receptor status of the primary (MSK 2018, 571 pairs)."""


def chosen(model: str, study: str = "", by: str = "") -> Design:
    """Design of a model: patients of a study's printed tables, or the pairs of MSK 2018.

    ``study`` and ``by`` (a factor) have a default for each model. Raises ``BadInput`` for a model
    without a simulator and for a study or factor without a table.
    """
    if model not in KINDS:
        raise BadInput(Fault("no simulator for this model", value=model, allowed=", ".join(KINDS)))
    kind = KINDS[model]
    return kind.design(model, study or kind.study, by or kind.by)


def fitting(design: Design) -> Design:
    """The design, if its model can be simulated at it; ``BadInput`` otherwise."""
    if KINDS[design.model].design is _by_event and not design.parent:
        remedy = "[parent] with the body system of every event"
        raise BadInput(Fault("adverse events need body systems", column="parent", remedy=remedy))
    return design


def _by_factor(model: str, study: str, by: str) -> Design:
    """Patients of a printed HER2 table by a factor."""
    tables = load_study(study_folder(study)).status_counts()
    _known(by, (name for name in tables if name), "HER2 table")
    table = tables[by]
    patients = _patients(table["subgroup"].values, table.sum("her2").values)
    parent = tuple(str(v) for v in table["parent"].values) if "parent" in table.coords else ()
    return Design(model, f"{study}-{by}", patients, parent if len(set(parent)) > 1 else (), by)


def _by_class(model: str, study: str, _by: str) -> Design:
    """Patients of a study by HER2 class."""
    tables = load_study(study_folder(study)).status_counts()
    if "" not in tables:
        raise BadInput(Fault("the study prints no table of HER2 status", value=study))
    whole = tables[""].sum("subgroup")
    patients = _patients(whole["her2"].values, whole.values)
    return Design(model, f"{study}-her2", patients, factor="her2")


def _pairs(model: str, _study: str, _by: str) -> Design:
    return Design(model, "msk2018-hr_status", MSK_PAIRS, factor="hr_status")


def _by_response(model: str, study: str, by: str) -> Design:
    """Patients of a study's printed response rates by a factor."""
    from her2bayes.evidence.responses import read_responses

    printed = read_responses(load_study(study_folder(study)))
    tables = {factor: table for (_, factor), table in printed.counts.items()} if printed else {}
    _known(by, (name for name in tables if name), "response rate")
    table = tables[by]
    patients = _patients(table["subgroup"].values, table["patients"].values)
    return Design(model, f"{study}-{by}", patients, factor=by)


def _by_event(model: str, study: str, _by: str) -> Design:
    """Events, body systems and patients of a study's table of adverse events."""
    from her2bayes.evidence.adverse_events import read_adverse_events

    found: Study = load_study(study_folder(study))
    if found.adverse_events.empty:
        raise BadInput(Fault("the study prints no adverse events", value=study))
    table = read_adverse_events(found.adverse_events, "adverse_events.csv").counts
    names = [str(event) for event in table["event"].values]
    graded = tuple(n for n, k in zip(names, table["severe_known"].values, strict=True) if k)
    systems = tuple(str(system) for system in table["body_system"].values)
    patients = _patients(names, table["patients"].values)
    return Design(model, f"{study}-events", patients, systems, "event", graded)


def _patients(names: Any, numbers: Any) -> dict[str, int]:
    return {str(name): int(number) for name, number in zip(names, np.asarray(numbers), strict=True)}


def _known(by: str, tables: Any, what: str) -> None:
    allowed = list(dict.fromkeys(tables))
    if by not in allowed:
        fault = Fault(f"no {what} by this factor", value=by, allowed=", ".join(allowed) or "none")
        raise BadInput(fault)


@dataclass(frozen=True)
class Kind:
    """How a model is calibrated: simulator, answers, design, size of steps, draws a chain."""

    draw: Callable[[np.random.Generator, Design], Simulated]
    answers: Callable[[Design, Any, xr.Dataset], Draws]
    design: Callable[[str, str, str], Design]
    target_accept: float = 0.9
    study: str = "shi2023"
    by: str = "site"
    draws: int = 1000


KINDS: Mapping[str, Kind] = {
    "her2_distribution": Kind(designs.draw_multinomial, designs.shares_of, _by_factor),
    "her2_distribution_dirichlet": Kind(designs.draw_dirichlet, designs.shares_of, _by_factor),
    "her2_distribution_ordered": Kind(designs.draw_ordered, designs.shares_of, _by_factor),
    "her2_transition": Kind(designs.draw_transition, designs.transitions_of, _pairs, draws=500),
    "her2_transition_dirichlet": Kind(
        designs.draw_transition_dirichlet, designs.transitions_of, _pairs, draws=500
    ),
    "survival": Kind(draw_survival, survival_of, _by_class, 0.97),
    "response": Kind(
        rates.draw_response, rates.response_of, _by_response, 0.98, "ni2025", "prior_trop2"
    ),
    "best_response": Kind(
        rates.draw_best_response, rates.best_response_of, _by_response, 0.9, "ni2025", "ihc"
    ),
    "adverse_events": Kind(
        events.draw_events, events.events_of, _by_event, 0.95, "ni2025", draws=500
    ),
    "adverse_events_two_arms": Kind(
        events.draw_two_arms, events.two_arms_of, _by_event, 0.95, "ni2025", draws=500
    ),
}

"""Which models can be calibrated, and at which designs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.analysis import calibration_designs as designs
from her2bayes.analysis.calibration_designs import Design, Draws, Simulated
from her2bayes.analysis.calibration_survival import draw_survival, survival_of
from her2bayes.errors import BadInput, Fault


@dataclass(frozen=True)
class Kind:
    """How a model is calibrated: its simulator, its answers, and how small the steps must be."""

    draw: Callable[[np.random.Generator, Design], Simulated]
    answers: Callable[[Design, Any, xr.Dataset], Draws]
    target_accept: float = 0.9


KINDS: Mapping[str, Kind] = {
    "her2_distribution": Kind(designs.draw_multinomial, designs.shares_of),
    "her2_distribution_dirichlet": Kind(designs.draw_dirichlet, designs.shares_of),
    "her2_distribution_ordered": Kind(designs.draw_ordered, designs.shares_of),
    "her2_transition": Kind(designs.draw_transition, designs.transitions_of),
    "her2_transition_dirichlet": Kind(designs.draw_transition_dirichlet, designs.transitions_of),
    "survival": Kind(draw_survival, survival_of, target_accept=0.97),
}

MSK_PAIRS = {"positive": 482, "negative": 89}
"""Pairs with one class at both ends by receptor status of the primary (MSK 2018, 571 pairs)."""


def chosen(model: str, study: str, by: str) -> Design:
    """Design of a model: a study's printed table by a factor, or the pairs of MSK 2018.

    Raises ``BadInput`` for a model without a simulator and for a factor without a table.
    """
    from her2bayes.evidence.study import load_study, study_folder

    if model not in KINDS:
        raise BadInput(Fault("no simulator for this model", value=model, allowed=", ".join(KINDS)))
    if KINDS[model].answers is designs.transitions_of:
        return Design(model, "msk2018-hr_status", MSK_PAIRS, factor="hr_status")
    if model == "survival":
        return _by_class(model, study)
    tables = load_study(study_folder(study)).status_counts()
    if by not in tables or not by:
        allowed = ", ".join(name for name in tables if name) or "none"
        raise BadInput(Fault("no HER2 table by this factor", value=by, allowed=allowed))
    table = tables[by]
    patients = {
        str(name): int(number)
        for name, number in zip(table["subgroup"].values, table.sum("her2").values, strict=True)
    }
    parent = tuple(str(v) for v in table["parent"].values) if "parent" in table.coords else ()
    return Design(model, f"{study}-{by}", patients, parent if len(set(parent)) > 1 else (), by)


def _by_class(model: str, study: str) -> Design:
    """Patients of a study by HER2 class."""
    from her2bayes.evidence.study import load_study, study_folder

    tables = load_study(study_folder(study)).status_counts()
    if "" not in tables:
        raise BadInput(Fault("the study prints no table of HER2 status", value=study))
    whole = tables[""].sum("subgroup")
    patients = {str(h): int(n) for h, n in zip(whole["her2"].values, whole.values, strict=True)}
    return Design(model, f"{study}-her2", patients, factor="her2")

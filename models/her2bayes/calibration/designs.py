"""Designs of calibration: models, and their patients (printed tables, or a TOML file like this).

    name = "my-trial"
    factor = "centre"               # optional, a word
    [patients]
    "centre A" = 40
    "centre B" = 25
    [parent]                        # optional: levels nested in others, or events in body systems
    "centre A" = "north"
    "centre B" = "south"

``graded = ["nausea"]`` lists the adverse events whose severity is reported.

Parameters come from the stated priors and patients from them, by NumPy alone: a model that
simulated its own data would look calibrated whatever its graph. Each ``draw_...`` of a family
states the prior of one model file again, from its docstring; patients are drawn one by one and
counted by the code that counts real ones.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.printed.study import Study, load_study, study_folder
from her2bayes.inference.own_model import module_of

Truth = dict[str, float]
Draws = dict[str, xr.DataArray]


@dataclass(frozen=True)
class Design:
    """Who is counted: model, name, patients by level, and the parent of each level if nested.

    ``graded`` lists the adverse events whose severity is printed.
    """

    model: str
    name: str
    patients: Mapping[str, int]
    parent: tuple[str, ...] = ()
    factor: str = "subgroup"
    graded: tuple[str, ...] = ()

    @property
    def levels(self) -> list[str]:
        """Levels of the factor."""
        return list(self.patients)

    @property
    def build(self) -> Callable[..., Any]:
        """Function that builds the model's graph."""
        return import_module(str(module_of(self.model))).build


@dataclass(frozen=True)
class Simulated:
    """One simulated study: its data as the model takes them, and the truth behind each answer."""

    data: Any
    truth: Truth


@dataclass(frozen=True)
class Kind:
    """How a model is calibrated: simulator, answers, design, options.

    ``options`` are those of the model's ``build``. A thousand draws a study are enough unless few
    of them are effective, as of a mean that the data hardly tell: then their intervals cover too
    little, and ``draws`` of a chain are more.
    """

    draw: Callable[[np.random.Generator, Design], Simulated]
    answers: Callable[[Design, Any, xr.Dataset], Draws]
    design: Callable[[str, str, str], Design]
    study: str = "shi2023"
    by: str = "site"
    draws: int = 500
    options: Mapping[str, Any] = field(default_factory=dict)


ROOMS = ("distribution", "transition", "survival", "joint", "rates", "synthesis")
"""Families whose ``calibration.py`` has a table ``KINDS`` of their models."""


@cache
def kinds() -> Mapping[str, Kind]:
    """How each model is calibrated, by the model's name; each family says it of its own."""
    found: dict[str, Kind] = {}
    for room in ROOMS:
        found |= import_module(f"her2bayes.{room}.calibration").KINDS
    return found


def chosen(model: str, study: str = "", by: str = "") -> Design:
    """Design of a model: patients of a study's printed tables, or the pairs of MSK 2018.

    ``study`` and ``by`` (a factor) have a default for each model. Raises ``BadInput`` for a model
    without a simulator and for a study or factor without a table.
    """
    known = kinds()
    if model not in known:
        raise BadInput(Fault("no simulator for this model", value=model, allowed=", ".join(known)))
    kind = known[model]
    return kind.design(model, study or kind.study, by or kind.by)


def fitting(design: Design) -> Design:
    """The design, if its model can be simulated at it; ``BadInput`` otherwise."""
    if kinds()[design.model].design is by_event and not design.parent:
        remedy = "[parent] with the body system of every event"
        raise BadInput(Fault("adverse events need body systems", column="parent", remedy=remedy))
    return design


def by_factor(model: str, study: str, by: str) -> Design:
    """Patients of a printed HER2 table by a factor."""
    tables = load_study(study_folder(study)).status_counts()
    _known(by, (name for name in tables if name), "HER2 table")
    table = tables[by]
    patients = _patients(table["subgroup"].values, table.sum("her2").values)
    parent = tuple(str(v) for v in table["parent"].values) if "parent" in table.coords else ()
    return Design(model, f"{study}-{by}", patients, parent if len(set(parent)) > 1 else (), by)


def by_class(model: str, study: str, _by: str) -> Design:
    """Patients of a study by HER2 class."""
    tables = load_study(study_folder(study)).status_counts()
    if "" not in tables:
        raise BadInput(Fault("the study prints no table of HER2 status", value=study))
    whole = tables[""].sum("subgroup")
    patients = _patients(whole["her2"].values, whole.values)
    return Design(model, f"{study}-her2", patients, factor="her2")


def by_response(model: str, study: str, by: str) -> Design:
    """Patients of a study's printed response rates by a factor."""
    from her2bayes.evidence.printed.responses import read_responses

    printed = read_responses(load_study(study_folder(study)))
    tables = {factor: table for (_, factor), table in printed.counts.items()} if printed else {}
    _known(by, (name for name in tables if name), "response rate")
    table = tables[by]
    patients = _patients(table["subgroup"].values, table["patients"].values)
    return Design(model, f"{study}-{by}", patients, factor=by)


def by_event(model: str, study: str, _by: str) -> Design:
    """Events, body systems and patients of a study's table of adverse events."""
    from her2bayes.evidence.printed.adverse_events import read_adverse_events

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


KEYS = ("name", "factor", "patients", "parent", "graded")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FACTOR = re.compile(r"[a-z][a-z0-9_]*")
MOST = 1_000_000


def read_design(file: Path, model: str) -> Design:
    """Read a design; raises ``BadInput`` with every fault of the file."""
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(Fault(f"the file cannot be read: {error}", file)) from error
    raise_if(list(_faults(content, file)))
    patients = {str(level): int(number) for level, number in content["patients"].items()}
    parent = content.get("parent", {})
    return Design(
        model,
        content["name"],
        patients,
        tuple(parent[level] for level in patients) if parent else (),
        content.get("factor", "subgroup"),
        tuple(content.get("graded", ())),
    )


def _faults(content: Mapping[str, Any], file: Path) -> Iterator[Fault]:
    for key in sorted(set(content) - set(KEYS)):
        yield Fault("unknown key", file, column=key, allowed=", ".join(KEYS))
    if not _NAME.fullmatch(str(content.get("name", ""))):
        remedy = "letters, digits, - and _: it names the passport's files"
        yield Fault("no usable name", file, column="name", value=content.get("name"), remedy=remedy)
    factor = content.get("factor", "subgroup")
    if not (isinstance(factor, str) and _FACTOR.fullmatch(factor)):
        yield Fault(
            "a factor is one word", file, column="factor", value=factor, allowed="a-z, 0-9, _"
        )
    patients = content.get("patients")
    if not isinstance(patients, dict) or not patients:
        yield Fault(
            "no patients", file, column="patients", remedy='[patients] with "level" = number'
        )
        return
    for level, number in patients.items():
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST:
            yield Fault(f"patients of {level}", file, None, "patients", number, f"1 to {MOST}")
    parent = content.get("parent", {})
    if not isinstance(parent, dict) or (parent and set(parent) != set(patients)):
        remedy = "name the parent of every level once, and of no other"
        yield Fault("parents are not those of the levels", file, column="parent", remedy=remedy)
    elif not all(isinstance(name, str) and name for name in parent.values()):
        yield Fault("a parent is a text", file, column="parent", value=list(parent.values()))
    graded = content.get("graded", [])
    if not isinstance(graded, list) or not set(map(str, graded)) <= set(patients):
        yield Fault("graded events", file, None, "graded", graded, ", ".join(patients))


def centred(values: np.ndarray, axis: int) -> np.ndarray:
    """Values made to sum to zero along an axis: the zero-sum normal of independent normals."""
    return np.asarray(values - values.mean(axis=axis, keepdims=True))


def effects(
    rng: np.random.Generator, design: Design, categories: int, spread: float = 0.5
) -> tuple[np.ndarray, Truth]:
    """Zero-sum effects (level, category) with their scales: |N(0, spread)| where learned, or 0.75.

    A family of one effect (two levels) has the fixed scale 0.75 and no scale among the answers.
    With one ``category`` effects are single numbers, as in the ordered model.
    """
    parent = np.array(design.parent or [""] * len(design.levels))
    known = list(dict.fromkeys(parent))
    found, truth = np.zeros((len(parent), categories)), Truth()

    def scale(name: str, number: int) -> float:
        if number < 2:
            return 0.75
        truth[f"tau[{name}]"] = abs(rng.normal(0.0, spread))
        return truth[f"tau[{name}]"]

    def normal(size: int) -> np.ndarray:
        values = rng.normal(size=(size, categories))
        return centred(values, 1) if categories > 1 else values

    if len(known) > 1:
        of_parent = scale("parent", len(known) - 1) * centred(normal(len(known)), 0)
        found += of_parent[[known.index(name) for name in parent]]
    of_level = scale("level", len(parent) - len(known))
    for name in known:
        inside = np.flatnonzero(parent == name)
        found[inside] += of_level * centred(normal(len(inside)), 0)
    return found, truth


def softmax(values: np.ndarray) -> np.ndarray:
    """Shares (level, category) of logits."""
    weight = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True))


def dirichlet(rng: np.random.Generator, weight: np.ndarray) -> np.ndarray:
    """Shares from a Dirichlet whose weights may be as good as zero."""
    return rng.dirichlet(np.maximum(weight, 1e-8))

"""Calibration passports that come with the package, and their line on the page."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from her2bayes.bayes.named import module_of
from her2bayes.evidence.printed.study import published_folder

SCHEMA = 1
LEVEL = 0.05
"""Of the bands for ranks, over all answers of a design."""


def sentence(record: Mapping[str, Any]) -> str:
    """What a passport says, for the terminal and the page."""
    last = record["runs"][-1]
    low, high = (100 * last[f"coverage_{end}"] for end in ("lowest", "highest"))
    level = 100 * LEVEL / len(last["answers"])
    ranks = "all ranks within" if last["uniform"] else "ranks of some answers outside"
    text = (
        f"{'calibrated' if record['passed'] else 'NOT calibrated'} at {record['design']} "
        f"({_patients(record)} patients): {last['simulations']} simulated studies, "
        f"{ranks} their band (level {level:.2g} % each), 95 % intervals cover {low:.1f} to "
        f"{high:.1f} %, {last['failed_fits']} fits with warnings"
    )
    return text + ("" if len(record["runs"]) == 1 else "; second run, a first one failed")


@cache
def passports() -> tuple[Mapping[str, Any], ...]:
    """Passports that come with the package."""
    folder = published_folder().parent / "passports"
    return tuple(json.loads(p.read_text("utf-8")) for p in sorted(folder.glob("*.json")))


def passport_line(model: str, made: Mapping[str, Any]) -> str:
    """Sentence on the record of a fit's own model, computation, priors and design, or "none".

    ``made`` is what the fit was made from (its provenance). A record of another design, of other
    priors or of another way to compute the posterior says nothing on this fit.
    """
    known = [record for record in passports() if record["model"] == model]
    if not known:
        return "none: this model has not been calibrated by simulation"
    misses = {record["design"]: _differs(record, made) for record in known}
    own = [sentence(record) for record in known if not misses[record["design"]]]
    if own:
        return ". ".join(own)
    said = "; ".join(f"{design} has {', '.join(what)}" for design, what in misses.items())
    return f"none for this fit: the record of {said}"


def _differs(record: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """In what a fit is not what a record is of."""
    found = []
    if "method" in made:  # tables behind printed facts have samplers of their own
        found.append("another computation")
    elif record["source"] != made.get("source"):
        found.append("an earlier text of the model")
    if dict(record["patients"]) != dict(made.get("patients") or {}):
        found.append("another design")
    if made.get("priors", {}) != _default_priors(str(record["model"])):
        found.append("other priors")
    return found


def _default_priors(model: str) -> dict[str, str]:
    module = importlib.import_module(str(module_of(model)))
    return {name: str(value) for name, value in sorted(module.DEFAULT_PRIORS.items())}


def _patients(record: Mapping[str, Any]) -> int:
    """Patients of a design: those of its groups together, but every event has the same patients."""
    numbers = record["patients"].values()
    return max(numbers) if record["model"].startswith("adverse_events") else sum(numbers)

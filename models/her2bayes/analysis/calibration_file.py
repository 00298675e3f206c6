"""A calibration design of the user's own: levels and patients, from a short TOML file.

    name = "my-trial"
    factor = "centre"               # optional, a word
    [patients]
    "centre A" = 40
    "centre B" = 25
    [parent]                        # optional: levels nested in others, or events in body systems
    "centre A" = "north"
    "centre B" = "south"

``graded = ["nausea"]`` lists the adverse events whose severity is reported.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from her2bayes.analysis.calibration_designs import Design
from her2bayes.errors import BadInput, Fault, raise_if

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

"""Scenarios: what is changed against the analysis as reported, axis by axis, and plans of them."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from her2bayes.errors import Fault, raise_if, suggestion

Value = str | float

DATA, PRIOR, STRUCTURE, READING = "data", "prior", "structure", "reading"
KINDS = {
    DATA: "other counts, same model",
    PRIOR: "other scale or centre of a prior, same model",
    STRUCTURE: "another model",
    READING: "another reading of what is printed",
}

AS_REPORTED = "as reported"


@dataclass(frozen=True)
class Axis:
    """One choice: its ``base`` value is that of the reported analysis, ``values`` the others.

    ``kind`` is one of ``KINDS``; ``meaning`` says in words what the values are. ``surface`` says
    whether the axis may span a tipping surface: numbers in an order.
    """

    name: str
    kind: str
    base: Value
    values: tuple[Value, ...]
    meaning: str = ""

    @property
    def surface(self) -> bool:
        """Whether the values are numbers, which can be put in order."""
        return all(isinstance(value, float) for value in (self.base, *self.values))

    @property
    def ordered(self) -> tuple[Value, ...]:
        """All values, numbers in ascending order, else the base first."""
        known = tuple(dict.fromkeys((self.base, *self.values)))
        return tuple(sorted(known)) if self.surface else known


@dataclass(frozen=True)
class Scenario:
    """An ordered mapping axis -> value; axes not named keep their base value."""

    changes: tuple[tuple[str, Value], ...] = ()

    @property
    def canonical(self) -> str:
        """Canonical JSON."""
        return json.dumps(list(map(list, self.changes)), ensure_ascii=False)

    @property
    def id(self) -> str:
        """Ten hexadecimal digits of the canonical JSON."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:10]

    def __str__(self) -> str:
        """What changed, in words."""
        return ", ".join(f"{name} {_shown(value)}" for name, value in self.changes) or AS_REPORTED

    def get(self, axis: str, base: Any) -> Any:
        """Value of an axis, ``base`` where it is unchanged."""
        return dict(self.changes).get(axis, base)


BASE = Scenario()


def scenario(axes: Sequence[Axis], changes: Mapping[str, Value]) -> Scenario:
    """Scenario with the changes in the order of the axes, base values left out."""
    kept = ((a.name, changes[a.name]) for a in axes if a.name in changes)
    base = {axis.name: axis.base for axis in axes}
    return Scenario(tuple((name, value) for name, value in kept if value != base[name]))


def kinds(axes: Sequence[Axis], of: Scenario) -> tuple[str, ...]:
    """Kinds of the axes that a scenario changes, each once."""
    known = {axis.name: axis.kind for axis in axes}
    return tuple(dict.fromkeys(known[name] for name, _ in of.changes))


def one_at_a_time(axes: Sequence[Axis]) -> list[Scenario]:
    """The reported analysis, then each other value of each axis alone."""
    found = [BASE]
    found += [scenario(axes, {axis.name: value}) for axis in axes for value in axis.values]
    return list(dict.fromkeys(found))


def crossed(axes: Sequence[Axis], names: Iterable[str]) -> list[Scenario]:
    """Every combination of the values of the axes named."""
    chosen = [axis for axis in axes if axis.name in set(names)]
    combinations = product(*(axis.ordered for axis in chosen))
    named = [axis.name for axis in chosen]
    return [scenario(axes, dict(zip(named, values, strict=True))) for values in combinations]


@dataclass(frozen=True)
class Grid:
    """What a user asks for: values of axes in place of the defaults, and axes to cross."""

    values: Mapping[str, tuple[Value, ...]]
    cross: tuple[tuple[str, ...], ...] = ()

    def applied(self, axes: Sequence[Axis]) -> tuple[Axis, ...]:
        """Axes with the values asked for."""
        return tuple(
            replace(a, values=tuple(v for v in self.values[a.name] if v != a.base))
            if a.name in self.values
            else a
            for a in axes
        )


def read_grid(file: Path, axes: Sequence[Axis]) -> Grid:
    """Read a grid file (TOML): ``[axes]`` name = [values], ``cross = [["axis", "axis"], ...]``.

    Raises ``BadInput`` with everything wrong: names of axes that do not exist, values that an
    axis does not take (axes of numbers take any number, others those listed).
    """
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        remedy = 'write e.g. [axes] and "spread of levels" = [0.5, 2.0]'
        raise_if([Fault(f"the grid cannot be read: {error}", file=file, remedy=remedy)])
    known: dict[str, list[Axis]] = {}
    for axis in axes:
        known.setdefault(axis.name, []).append(axis)
    raise_if(_shape(file, content))
    values = content.get("axes", {})
    cross = [tuple(map(str, names)) for names in content.get("cross", [])]
    faults = [
        Fault("unknown entry", file, None, name, allowed="axes, cross")
        for name in content
        if name not in ("axes", "cross")
    ]
    for name in [*values, *(name for names in cross for name in names)]:
        if name not in known:
            allowed = ", ".join(known)
            remedy = suggestion(name, known)
            faults.append(Fault("no such axis", file, None, None, name, allowed, remedy))
    found = {}
    for name, listed in values.items():
        if name in known:
            found[name], wrong = _values(file, name, listed, known[name])
            faults += wrong
    raise_if(faults)
    return Grid(found, tuple(cross))


def _shape(file: Path, content: Mapping[str, Any]) -> list[Fault]:
    faults: list[Fault] = []
    if not isinstance(content.get("axes", {}), dict):
        faults.append(Fault("not a table of axes", file, None, "axes", allowed="[axes]"))
    cross = content.get("cross", [])
    lists = cross if isinstance(cross, list) else [None]
    for names in lists:
        if not (isinstance(names, list) and names and len(set(map(str, names))) == len(names)):
            allowed = 'lists of different names: cross = [["choice", "choice"]]'
            faults.append(Fault("not names of axes to cross", file, None, "cross", allowed=allowed))
    return faults


def _values(
    file: Path, name: str, listed: Any, axes: Sequence[Axis]
) -> tuple[tuple[Value, ...], list[Fault]]:
    if not isinstance(listed, list) or not listed:
        return (), [Fault("not a list of values", file, None, name, listed)]
    if axes[0].surface:
        faults = [Fault("not a number", file, None, name, v) for v in listed if not _finite(v)]
        return tuple(float(v) for v in listed if _finite(v)), faults
    allowed = list(dict.fromkeys(v for axis in axes for v in axis.ordered))
    faults = [
        Fault("no such value", file, None, name, v, ", ".join(map(str, allowed)))
        for v in listed
        if v not in allowed
    ]
    return tuple(v for v in listed if v in allowed), faults


def _finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300


def _shown(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

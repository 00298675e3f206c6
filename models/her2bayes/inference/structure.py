"""Which models share what was compiled: those with equal graphs, whatever their data and labels.

What "the same graph" means is decided by walking it (``structure``), so a model that bakes a value
into its graph is compiled anew and never answered with another's.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from her2bayes.inference.meaning import meaning

# fastmath off: draws then do not depend on whether numba's cache was warm. No C compiler and no
# BLAS search: nothing here needs them, and a machine without a compiler gives the same numbers.
FLAGS: dict[str, Any] = {"numba__fastmath": False, "cxx": ""}


@contextmanager
def compiler_flags() -> Iterator[None]:
    """Set the compiler flags every model of this package is built, compiled and run under.

    PyMC tells of each variable it samples; that is kept from the user's terminal.
    """
    import pymc  # noqa: F401 (its import sets the level of its own logger)
    import pytensor

    speaker = logging.getLogger("pymc")
    level = speaker.level
    speaker.setLevel(logging.WARNING)
    try:
        # the source of compiled functions: without a folder PyTensor leaves a file tmp???????? each
        source = str(pytensor.config.base_compiledir / "source")
        # where in the code each variable was made costs a sixth of a model's time, and changes none
        with pytensor.config.change_flags(**FLAGS, generated_src_dir=source, traceback__limit=0):
            yield
    finally:
        speaker.setLevel(level)


@dataclass
class Shared:
    """First model of a structure, holding the data of the one at hand, and what was made of it."""

    name: str
    model: Any
    made: dict[str, Any] = field(default_factory=dict)
    copies: list[Any] = field(default_factory=list)

    def once(self, what: str, make: Callable[[Shared], Any]) -> Any:
        """Return ``make(self)``, made once a structure; data are read at each use."""
        if what not in self.made:
            self.made[what] = make(self)
        return self.made[what]

    def copy(self, model: Any) -> Any:
        """Keep the data of a transformed copy of the model, which has its own, as those of it."""
        self.copies.append(model)
        return model

    def hold(self, model: Any) -> None:
        """Take the data of a model of the same structure.

        Data that are a deterministic variable as they stand go by its name in a copy.
        """
        values = {data.name: data.get_value() for data in model.data_vars}
        for one in (self.model, *self.copies):
            for data in one.data_vars:
                known = data.name in values
                data.set_value(values[data.name] if known else value_of(model[data.name]))


_KNOWN: dict[str, Shared] = {}


def shared(model: Any) -> Shared:
    """First model with the structure of ``model``, its data variables set to those of ``model``.

    A structure of its own has no other: nothing is kept of it.
    """
    name = structure(model)
    if name.startswith(ALONE):
        return Shared(name, model)
    known = _KNOWN.setdefault(name, Shared(name, model))
    known.hold(model)
    return known


def structure(model: Any) -> str:
    """Hash a model's graph: operations, constants, names, sizes, but no value of a data variable.

    Two models with equal structure differ at most in data values and in coordinate labels. A model
    whose graph does not say all (``alone``) has a structure of its own each time.
    """
    lines = [f"{dim} {value_of(length)}" for dim, length in sorted(model.dim_lengths.items())]
    lines.append(f"bounds {model.check_bounds}")
    for rv in [*model.basic_RVs, *model.deterministics, *model.potentials]:
        value = model.rvs_to_values.get(rv)
        lines.append(f"{rv.name} {model.named_vars_to_dims.get(rv.name)} {rv.type}")
        lines.append(f"{type(model.rvs_to_transforms.get(rv)).__name__} {rv in model.observed_RVs}")
        lines += _graph([rv, value] if rv in model.observed_RVs else [rv])
    alone = ALONE if any(ALONE in line for line in lines) else ""
    return alone + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def value_of(variable: Any) -> Any:
    """Value of a variable without free inputs; data and constants need no compilation."""
    from pytensor.compile.sharedvalue import SharedVariable
    from pytensor.graph.basic import Constant

    if isinstance(variable, SharedVariable):
        return variable.get_value(borrow=True)
    return variable.data if isinstance(variable, Constant) else variable.eval(mode="FAST_COMPILE")


def inline(graph: Any) -> None:
    """Put in place of each operation that stands for a graph that graph."""
    from pytensor.compile.builders import OpFromGraph
    from pytensor.compile.rewriting import inline_ofg_node

    while found := [node for node in graph.apply_nodes if isinstance(node.op, OpFromGraph)]:
        for node in found:
            pairs = zip(node.outputs, inline_ofg_node(node), strict=True)
            graph.replace_all(list(pairs), import_missing=True)


ALONE = "alone-"
"""Begins the structure of a model with a density that cannot be told from another by its graph."""
_numbers = count()


def _graph(outputs: list[Any]) -> list[str]:
    """Describe a graph in topological order; every variable is referred to by its position."""
    from pytensor.compile.sharedvalue import SharedVariable
    from pytensor.graph.basic import Constant
    from pytensor.graph.traversal import toposort

    seen: dict[Any, str] = {}

    def describe(variable: Any) -> str:
        if variable in seen:
            return seen[variable]
        if isinstance(variable, Constant):
            data = getattr(variable.data, "tobytes", lambda: repr(variable.data).encode())()
            return f"constant {variable.type} {hashlib.sha256(data).hexdigest()}"
        if isinstance(variable, SharedVariable):
            shape = getattr(variable.get_value(borrow=True), "shape", "")
            return f"shared {variable.name} {variable.type} {shape}"
        return f"input {variable.name} {variable.type}"

    lines = []
    for position, node in enumerate(toposort(outputs)):
        op = node.op
        inner = _graph(list(op.fgraph.outputs)) if hasattr(op, "fgraph") else []
        props = op._props() if hasattr(op, "_props") else ""
        kind = type(op).__qualname__ + _own_density(op)
        lines.append(f"{kind} {op} {props} {[describe(i) for i in node.inputs]}")
        lines += inner
        seen |= {out: f"{position}.{index}" for index, out in enumerate(node.outputs)}
    return lines + [describe(out) for out in outputs]


def _own_density(op: Any) -> str:
    """Meaning of the functions behind a distribution made on the spot (``CustomDist``).

    Its class is made when the model is built, under its variable's name: neither tells one density
    from another.
    """
    kind = type(op)
    if getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind:
        return ""
    from pymc.logprob.abstract import _logprob

    density = _logprob.registry.get(kind)
    told = [kind.__dict__.get("_random_fn")]
    told += [cell.cell_contents for cell in getattr(density, "__closure__", None) or ()]
    if density is None and not hasattr(op, "fgraph"):
        return f" {ALONE}{next(_numbers)}"
    return "".join(f" {_told(one)}" for one in told)


def _told(value: Any) -> str:
    """What a function means, with the plain values it closes over; ``ALONE`` where that fails."""
    if value is None or isinstance(value, (str, int, float)):
        return repr(value)
    if getattr(value, "__module__", "").startswith("pymc."):
        return str(value.__qualname__)
    try:
        if "<" in value.__qualname__:  # of a function: its source is that of the whole
            raise ValueError
        inside = [_told(cell.cell_contents) for cell in value.__closure__ or ()]
        return f"{meaning(value)} {inside}"
    except Exception:  # no function, or one whose source cannot be read
        return f"{ALONE}{next(_numbers)}"

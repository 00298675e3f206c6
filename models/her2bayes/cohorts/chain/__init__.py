"""Markov chain over cohorts of patients that meet the printed numbers, and how it is compiled.

``fast`` leaves reference counting out, which costs many times the arithmetic where a hundred arrays
are handed on: a function so compiled may not allocate. ``outer`` is for those that do. ``summing``
may sum several rows at once. ``referred`` puts the named tuple that it is given into memory and
hands on where it stands, with the same attributes: one pointer in place of its hundred arrays, by
value, through every call, which took the compiler three times as long.

Compiled functions are kept in a folder named by the sources of this one, all of which stand here:
numba looks only at the file of a function, and would go on with old code of those that it calls.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    models,
    register_model,
)

_config: Any = numba.config


def _folder() -> str:
    here = Path(__file__).parent
    sources = b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))
    if _config.CACHE_DIR:  # of the environment variable NUMBA_CACHE_DIR
        base = Path(_config.CACHE_DIR)
    elif os.access(here, os.W_OK):
        base = here / "__pycache__"
    else:
        base = Path("~/.cache/her2bayes").expanduser()
    return str(base / f"her2bayes-{sha256(sources).hexdigest()[:12]}")


FOLDER = _folder()


def _compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    def compile_later(function: Callable[..., Any]) -> Any:
        before = _config.CACHE_DIR
        _config.CACHE_DIR = FOLDER
        try:
            return numba.njit(cache=True, nogil=True, **options)(function)
        finally:
            _config.CACHE_DIR = before

    return compile_later


outer: Any = _compiled()
fast: Any = _compiled(error_model="numpy", _nrt=False)
summing: Any = _compiled(error_model="numpy", _nrt=False, fastmath={"reassoc", "contract", "nsz"})


class Referred(numba.types.Type):
    """A named tuple of arrays, by where it stands in memory. Its attributes are not assigned."""

    def __init__(self, whole: Any) -> None:
        self.whole = whole
        super().__init__(name=f"Referred({whole.name})")

    def field(self, name: str) -> tuple[int, Any]:
        """Place and type of an attribute."""
        place = self.whole.fields.index(name)
        return place, self.whole.types[place]


@register_model(Referred)
class _Pointer(models.PointerModel):
    def __init__(self, manager: Any, kind: Referred) -> None:
        super().__init__(manager, numba.types.CPointer(kind.whole))


@infer_getattr
class _Attributes(AttributeTemplate):
    key = Referred

    def generic_resolve(self, value: Any, attr: str) -> Any:  # type: ignore[override]
        if attr not in value.whole.fields:
            return None
        _, field = value.field(attr)
        return Referred(field) if isinstance(field, numba.types.BaseNamedTuple) else field


@lower_getattr_generic(Referred)
def _attribute(context: Any, builder: Any, kind: Referred, value: Any, name: str) -> Any:
    for argument in builder.function.args:  # so that it may be loaded once, before a loop
        if argument.type == value.type:
            argument.attributes.dereferenceable = context.get_abi_sizeof(value.type.pointee)
            argument.attributes.add("noalias")
    place, field = kind.field(name)
    at = cgutils.gep_inbounds(builder, value, 0, place)
    if isinstance(field, numba.types.BaseNamedTuple):
        return at
    return impl_ret_borrowed(context, builder, field, _unchanging(builder, at))


def _unchanging(builder: Any, at: Any) -> Any:
    """Load what never changes, number by number."""
    whole = at.type.pointee
    if isinstance(whole, ir.Aggregate):
        loaded = ir.Constant(whole, ir.Undefined)
        for k in range(len(whole)):
            part = _unchanging(builder, cgutils.gep_inbounds(builder, at, 0, k))
            loaded = builder.insert_value(loaded, part, k)
        return loaded
    loaded = builder.load(at)
    loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
    return loaded


def _referred(typing_context: Any, whole: Any) -> Any:
    """Where a named tuple stands in this function's memory."""
    kind = Referred(whole)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        at = cgutils.alloca_once(builder, context.get_data_type(whole))
        context.pack_value(builder, whole, arguments[0], at)
        # Empty code that seems to write memory: no load can be moved to before the tuple is there.
        same = ir.FunctionType(at.type, [at.type])
        return builder.asm(same, "", "=r,0,~{memory}", [at], side_effect=True)

    return kind(whole), generate


referred: Any = intrinsic(_referred)

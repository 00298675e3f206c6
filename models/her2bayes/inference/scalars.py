"""PyTensor's operations on numbers as LLVM instructions: what one element of an array becomes.

Numbers are registers of the type their array has (``TYPES``); a truth value is one byte, 0 or 1.
Special functions are those of the C library and of SciPy (``special``), called by address.
"""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Callable, Sequence
from ctypes.util import find_library
from functools import cache
from typing import Any, Protocol

import numpy as np

TYPES = {
    "float64": "double", "float32": "float", "bool": "i8",
    **{f"{sign}int{bits}": f"i{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
"""LLVM's type by NumPy's."""


class NotLoweredError(NotImplementedError):
    """The graph has an operation that is not lowered: PyTensor's own backends compile it."""


class Block(Protocol):
    """Where instructions are written, one after the other."""

    def do(self, instruction: str) -> str:
        """Write an instruction; return the register of its result."""

    def call(self, name: str, *arguments: str) -> str:
        """Write a call of a function of doubles by its symbol; return the register."""


Number = tuple[str, str]
"""A register or literal, and the NumPy type it has."""


def literal(value: Any, kind: str) -> str:
    """Text of a constant."""
    if kind.startswith("float"):
        shown = float(np.float32(value)) if kind == "float32" else float(value)
        return f"0x{struct.pack('>d', shown).hex().upper()}"
    return str(int(value))


def cast(block: Block, number: Number, kind: str) -> str:
    """Return a number as another type, as NumPy casts."""
    register, known = number
    if known == kind:
        return register
    have, want = TYPES[known], TYPES[kind]
    real, signed = known.startswith("float"), not known.startswith(("u", "b"))
    if kind == "bool":
        nothing = "fcmp une" if real else "icmp ne"
        zero = literal(0, known)
        return _truth(block, block.do(f"{nothing} {have} {register}, {zero}"))
    if kind.startswith("float"):
        change = ("fpext" if want == "double" else "fptrunc") if real else ""
        change = change or ("sitofp" if signed else "uitofp")
        return block.do(f"{change} {have} {register} to {want}")
    if real:
        sign, bits = "u" if kind.startswith("u") else "s", "f64" if have == "double" else "f32"
        return block.do(f"call {want} @llvm.fpto{sign}i.sat.{want}.{bits}({have} {register})")
    if have == want:
        return register
    change = "trunc" if int(have[1:]) > int(want[1:]) else "sext" if signed else "zext"
    return block.do(f"{change} {have} {register} to {want}")


def condition(block: Block, number: Number) -> str:
    """Return a number as LLVM's ``i1``: whether it is not zero."""
    return block.do(f"icmp ne i8 {cast(block, number, 'bool')}, 0")


def _truth(block: Block, bit: str) -> str:
    return block.do(f"zext i1 {bit} to i8")


def scalar(block: Block, op: Any, numbers: Sequence[Number], kind: str) -> str:
    """Write what a scalar operation of PyTensor does; ``kind`` is the type of its result."""
    name = type(op).__name__
    if name == "Composite":
        return _composite(block, op, numbers, kind)
    if name in _COMPARISONS:
        return _compared(block, *_COMPARISONS[name], numbers)
    rule = _RULES.get(name)
    if rule is not None:
        return rule(block, numbers, kind)
    known = getattr(op, "nfunc_spec", None) or ("", 0, 0)
    return _called(block, known[0].rpartition(".")[2] or name, numbers, kind)


def _composite(block: Block, op: Any, numbers: Sequence[Number], kind: str) -> str:
    graph = op.fgraph
    if len(graph.outputs) != 1:
        raise NotLoweredError("a composite of several results")
    known = dict(zip(graph.inputs, numbers, strict=True))

    def of(variable: Any) -> Number:
        if variable not in known:
            dtype = variable.type.dtype
            known[variable] = literal(variable.data, dtype), dtype
        return known[variable]

    for node in graph.toposort():
        out = node.outputs[0]
        given = [of(variable) for variable in node.inputs]
        known[out] = scalar(block, node.op, given, out.type.dtype), out.type.dtype
    return cast(block, of(graph.outputs[0]), kind)


def folded(block: Block, name: str, numbers: Sequence[Number], kind: str) -> str:
    """Write an operation by the name PyTensor gives its class."""
    return _RULES[name](block, numbers, kind)


_COMPARISONS = {
    "EQ": ("oeq", "eq", "eq"), "NEQ": ("une", "ne", "ne"),
    "LT": ("olt", "slt", "ult"), "LE": ("ole", "sle", "ule"),
    "GT": ("ogt", "sgt", "ugt"), "GE": ("oge", "sge", "uge"),
}  # fmt: skip


def _compared(block: Block, real: str, signed: str, plain: str, numbers: Sequence[Number]) -> str:
    kind = np.result_type(*(known for _, known in numbers)).name
    one, other = (cast(block, number, kind) for number in numbers)
    if kind.startswith("float"):
        bit = block.do(f"fcmp {real} {TYPES[kind]} {one}, {other}")
    else:
        how = signed if kind.startswith("int") else plain
        bit = block.do(f"icmp {how} {TYPES[kind]} {one}, {other}")
    return _truth(block, bit)


def _folded(real: str, whole: str) -> Callable[[Block, Sequence[Number], str], str]:
    """Rule of an operation on any number of arguments, from the left."""

    def rule(block: Block, numbers: Sequence[Number], kind: str) -> str:
        how = real if kind.startswith("float") else whole
        if not how or (kind == "bool" and whole == "sub"):
            raise NotLoweredError(f"{real} of {kind}")
        if kind == "bool":
            how = {"add": "or", "mul": "and"}.get(how, how)
        total, *others = (cast(block, number, kind) for number in numbers)
        for other in others:
            total = block.do(f"{how} {TYPES[kind]} {total}, {other}")
        return total

    return rule


def _extreme(real: str, signed: str, plain: str) -> Callable[[Block, Sequence[Number], str], str]:
    """Rule of a maximum or minimum, which is NaN where an argument is."""

    def rule(block: Block, numbers: Sequence[Number], kind: str) -> str:
        typed = TYPES[kind]
        total, *others = (cast(block, number, kind) for number in numbers)
        for other in others:
            if kind.startswith("float"):
                more = block.do(f"fcmp {real} {typed} {total}, {other}")
                nan = block.do(f"fcmp uno {typed} {total}, {total}")
                first = block.do(f"or i1 {more}, {nan}")
            else:
                how = signed if kind.startswith("int") else plain
                first = block.do(f"icmp {how} {typed} {total}, {other}")
            total = block.do(f"select i1 {first}, {typed} {total}, {typed} {other}")
        return total

    return rule


def _switch(block: Block, numbers: Sequence[Number], kind: str) -> str:
    first = condition(block, numbers[0])
    one, other = (cast(block, number, kind) for number in numbers[1:])
    return block.do(f"select i1 {first}, {TYPES[kind]} {one}, {TYPES[kind]} {other}")


def _nonzero_product(block: Block, numbers: Sequence[Number], kind: str) -> str:
    zero = literal(0, kind), kind
    x, y = ((cast(block, number, kind), kind) for number in numbers)
    product = _folded("fmul", "mul")(block, [x, y], kind), kind
    none_x, none_y = (_compared(block, *_COMPARISONS["EQ"], [one, zero]) for one in (x, y))
    other = _switch(block, [(none_y, "bool"), x, product], kind), kind
    return _switch(block, [(none_x, "bool"), y, other], kind)


def _clip(block: Block, numbers: Sequence[Number], kind: str) -> str:
    x, low, high = ((cast(block, number, kind), kind) for number in numbers)
    below = _compared(block, *_COMPARISONS["LT"], [x, low])
    above = _compared(block, *_COMPARISONS["GT"], [x, high])
    inside = _switch(block, [(above, "bool"), high, x], kind)
    return _switch(block, [(below, "bool"), low, (inside, kind)], kind)


def _negative(block: Block, numbers: Sequence[Number], kind: str) -> str:
    x = cast(block, numbers[0], kind)
    if kind.startswith("float"):
        return block.do(f"fneg {TYPES[kind]} {x}")
    return block.do(f"sub {TYPES[kind]} 0, {x}")


def _absolute(block: Block, numbers: Sequence[Number], kind: str) -> str:
    if kind.startswith("float"):
        return _intrinsic("fabs")(block, numbers, kind)
    x = cast(block, numbers[0], kind)
    if not kind.startswith("int"):
        return x
    minus = block.do(f"sub {TYPES[kind]} 0, {x}")
    below = block.do(f"icmp slt {TYPES[kind]} {x}, 0")
    return block.do(f"select i1 {below}, {TYPES[kind]} {minus}, {TYPES[kind]} {x}")


def _sign(block: Block, numbers: Sequence[Number], kind: str) -> str:
    zero = literal(0, kind), kind
    x = cast(block, numbers[0], kind), kind
    above = _compared(block, *_COMPARISONS["GT"], [x, zero]), "bool"
    below = _compared(block, *_COMPARISONS["LT"], [x, zero]), "bool"
    high, low = (cast(block, bit, kind) for bit in (above, below))
    how = "fsub" if kind.startswith("float") else "sub"
    found = block.do(f"{how} {TYPES[kind]} {high}, {low}")
    if not kind.startswith("float"):
        return found
    nan = block.do(f"fcmp uno {TYPES[kind]} {x[0]}, {x[0]}")
    return block.do(f"select i1 {nan}, {TYPES[kind]} {x[0]}, {TYPES[kind]} {found}")


def _square(block: Block, numbers: Sequence[Number], kind: str) -> str:
    x = cast(block, numbers[0], kind), kind
    return _folded("fmul", "mul")(block, [x, x], kind)


def _inverse(block: Block, numbers: Sequence[Number], kind: str) -> str:
    return _folded("fdiv", "")(block, [(literal(1, kind), kind), numbers[0]], kind)


def _divided(block: Block, numbers: Sequence[Number], kind: str) -> str:
    """Quotient rounded down, as Python does; of whole numbers by zero it is zero, as NumPy's."""
    if kind.startswith("float"):
        real = _folded("fdiv", "")(block, numbers, kind), kind
        return _intrinsic("floor")(block, [real], kind)
    typed, signed = TYPES[kind], kind.startswith("int")
    x, y = (cast(block, number, kind) for number in numbers)
    none = block.do(f"icmp eq {typed} {y}, 0")
    safe = block.do(f"select i1 {none}, {typed} 1, {typed} {y}")
    quotient = block.do(f"{'sdiv' if signed else 'udiv'} {typed} {x}, {safe}")
    if signed:
        product = block.do(f"mul {typed} {quotient}, {safe}")
        rest = block.do(f"sub {typed} {x}, {product}")
        some = block.do(f"icmp ne {typed} {rest}, 0")
        signs = block.do(f"xor {typed} {rest}, {safe}")
        apart = block.do(f"icmp slt {typed} {signs}, 0")
        lower = block.do(f"and i1 {some}, {apart}")
        less = block.do(f"sub {typed} {quotient}, 1")
        quotient = block.do(f"select i1 {lower}, {typed} {less}, {typed} {quotient}")
    return block.do(f"select i1 {none}, {typed} 0, {typed} {quotient}")


def _remainder(block: Block, numbers: Sequence[Number], kind: str) -> str:
    """Remainder with the sign of the divisor, as Python's."""
    if not kind.startswith("float"):
        whole = _divided(block, numbers, kind), kind
        back = _folded("fmul", "mul")(block, [whole, numbers[1]], kind), kind
        return _folded("fsub", "sub")(block, [numbers[0], back], kind)
    x, y = (cast(block, number, kind) for number in numbers)
    rest = block.do(f"frem {TYPES[kind]} {x}, {y}")
    zero = literal(0, kind)
    some = block.do(f"fcmp one {TYPES[kind]} {rest}, {zero}")
    low = block.do(f"fcmp olt {TYPES[kind]} {rest}, {zero}")
    negative = block.do(f"fcmp olt {TYPES[kind]} {y}, {zero}")
    apart = block.do(f"xor i1 {low}, {negative}")
    more = block.do(f"fadd {TYPES[kind]} {rest}, {y}")
    moved = block.do(f"and i1 {some}, {apart}")
    return block.do(f"select i1 {moved}, {TYPES[kind]} {more}, {TYPES[kind]} {rest}")


def _inverted(block: Block, numbers: Sequence[Number], kind: str) -> str:
    x = cast(block, numbers[0], kind)
    return block.do(f"xor {TYPES[kind]} {x}, {1 if kind == 'bool' else -1}")


def _is_nan(block: Block, numbers: Sequence[Number], _kind: str) -> str:
    x, known = numbers[0]
    if not known.startswith("float"):
        return "0"
    return _truth(block, block.do(f"fcmp uno {TYPES[known]} {x}, {x}"))


def _is_infinite(block: Block, numbers: Sequence[Number], _kind: str) -> str:
    known = numbers[0][1]
    if not known.startswith("float"):
        return "0"
    size = _intrinsic("fabs")(block, numbers, known), known
    return _compared(block, *_COMPARISONS["EQ"], [size, (literal(np.inf, known), known)])


def _intrinsic(name: str) -> Callable[[Block, Sequence[Number], str], str]:
    def rule(block: Block, numbers: Sequence[Number], kind: str) -> str:
        if not kind.startswith("float"):
            return cast(block, numbers[0], kind)
        typed, x = TYPES[kind], cast(block, numbers[0], kind)
        bits = "f64" if typed == "double" else "f32"
        return block.do(f"call {typed} @llvm.{name}.{bits}({typed} {x})")

    return rule


def _double(block: Block, name: str, *values: str) -> str:
    """Write an operation on doubles by LLVM's name of it, or a call."""
    if name in ("fadd", "fsub", "fmul", "fdiv"):
        return block.do(f"{name} double {values[0]}, {values[1]}")
    return block.call(name, *values)


def _sigmoid(block: Block, numbers: Sequence[Number], kind: str) -> str:
    one = literal(1, "float64")
    minus = _negative(block, numbers, "float64")
    total = _double(block, "fadd", one, _double(block, "exp", minus))
    return cast(block, (_double(block, "fdiv", one, total), "float64"), kind)


def _softplus(block: Block, numbers: Sequence[Number], kind: str) -> str:
    """log(1 + exp(x)) in the ranges of Mächler (2012), as PyTensor has it."""
    x = cast(block, numbers[0], "float64")
    raised = _double(block, "exp", x)
    middle = _double(block, "log1p", raised)
    minus = _negative(block, [(x, "float64")], "float64")
    high = _double(block, "fadd", x, _double(block, "exp", minus))
    found = x
    for end, value in ((33.3, high), (18.0, middle), (-37.0, raised)):
        below = block.do(f"fcmp olt double {x}, {literal(end, 'float64')}")
        found = block.do(f"select i1 {below}, double {value}, double {found}")
    return cast(block, (found, "float64"), kind)


def _log1mexp(block: Block, numbers: Sequence[Number], kind: str) -> str:
    x = cast(block, numbers[0], "float64")
    minus = _negative(block, [(_double(block, "exp", x), "float64")], "float64")
    far = _double(block, "log1p", minus)
    gap = _negative(block, [(_double(block, "expm1", x), "float64")], "float64")
    near = _double(block, "log", gap)
    low = block.do(f"fcmp olt double {x}, {literal(np.log(0.5), 'float64')}")
    found = block.do(f"select i1 {low}, double {far}, double {near}")
    return cast(block, (found, "float64"), kind)


def _power(block: Block, numbers: Sequence[Number], kind: str) -> str:
    if not kind.startswith("float"):
        raise NotLoweredError(f"a power of {kind}")
    return _called(block, "pow", numbers, kind)


def _last(block: Block, numbers: Sequence[Number], kind: str) -> str:
    return cast(block, numbers[-1], kind)


_RULES: dict[str, Callable[[Block, Sequence[Number], str], str]] = {
    "Add": _folded("fadd", "add"), "Sub": _folded("fsub", "sub"), "Mul": _folded("fmul", "mul"),
    "TrueDiv": _folded("fdiv", ""), "AND": _folded("", "and"), "OR": _folded("", "or"),
    "XOR": _folded("", "xor"), "Invert": _inverted, "Maximum": _extreme("ogt", "sgt", "ugt"),
    "Minimum": _extreme("olt", "slt", "ult"), "ScalarMaximum": _extreme("ogt", "sgt", "ugt"),
    "ScalarMinimum": _extreme("olt", "slt", "ult"), "Switch": _switch, "Clip": _clip,
    "MulWithoutZeros": _nonzero_product,
    "Neg": _negative, "Abs": _absolute, "Sign": _sign, "Sqr": _square, "Reciprocal": _inverse,
    "IntDiv": _divided, "Mod": _remainder, "IsNan": _is_nan, "IsInf": _is_infinite,
    "Sqrt": _intrinsic("sqrt"), "Floor": _intrinsic("floor"), "Ceil": _intrinsic("ceil"),
    "Trunc": _intrinsic("trunc"), "RoundHalfToEven": _intrinsic("roundeven"),
    "Sigmoid": _sigmoid, "Softplus": _softplus, "Log1mexp": _log1mexp, "Pow": _power,
    "Identity": _last, "Cast": _last, "Second": _last,
}  # fmt: skip


def _called(block: Block, name: str, numbers: Sequence[Number], kind: str) -> str:
    """Write a call of a function of doubles: the C library's, else SciPy's."""
    if not kind.startswith("float") or address(name) is None:
        raise NotLoweredError(f"{name} of {kind}")
    given = [cast(block, number, "float64") for number in numbers]
    return cast(block, (block.call(name, *given), "float64"), kind)


_IN_C = {
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh", "cosh",
    "tanh", "asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2", "pow", "erf", "erfc",
}  # fmt: skip
_NAMES_IN_C = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh", "power": "pow",
}  # fmt: skip


def declaration(name: str, number: int) -> str:
    """LLVM's declaration of a function of doubles; SciPy's take a flag at the end (``last``)."""
    return f"declare double @{name}({', '.join(['double'] * number)}{last(name, '')})"


def last(name: str, value: str = " 1") -> str:
    """Text of the argument that SciPy's functions take after the numbers: do not dispatch again."""
    return "" if _NAMES_IN_C.get(name, name) in _IN_C else f", i32{value}"


@cache
def address(name: str) -> int | None:
    """Address of a function of doubles by the name NumPy, SciPy or C gives it; None without."""
    name = _NAMES_IN_C.get(name, name)
    if name in (*_IN_C, "malloc", "free"):
        library = ctypes.CDLL(find_library("m") if name in _IN_C else None)
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    import scipy.special.cython_special as special

    entries = special.__pyx_capi__
    told = re.compile(rf"{re.escape(name)}|__pyx_fuse_\d+{re.escape(name)}")
    ctypes.pythonapi.PyCapsule_GetName.restype = ctypes.c_char_p
    ctypes.pythonapi.PyCapsule_GetName.argtypes = [ctypes.py_object]
    ctypes.pythonapi.PyCapsule_GetPointer.restype = ctypes.c_void_p
    ctypes.pythonapi.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    for entry, capsule in entries.items():
        signature = ctypes.pythonapi.PyCapsule_GetName(capsule)
        if told.fullmatch(entry) and re.fullmatch(
            rb"double \((double, )+int __pyx_skip_dispatch\)", signature
        ):
            found = ctypes.pythonapi.PyCapsule_GetPointer(capsule, signature)
            return None if found is None else int(found)
    return None

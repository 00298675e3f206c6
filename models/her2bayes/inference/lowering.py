"""A log density and its gradient as LLVM text: PyTensor's graph, every shape of it known, as loops.

PyTensor makes the graph, derives the gradient and simplifies both; what is left are some 200 simple
operations on small arrays. Here each becomes a nest of loops with fixed bounds, which LLVM compiles
in a fraction of a second; numba, which must find out types and layouts first, takes 20 to 90 s.

Shapes are part of a model's structure, so a view (a transposition, a slice, a broadcast) is another
way to count through the same memory and costs nothing. An elementwise operation with one reader is
computed inside its reader's loop. What is not known here raises ``NotLoweredError``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise, zip_longest
from typing import Any

import numpy as np

from her2bayes.inference.scalars import (
    TYPES,
    NotLoweredError,
    Number,
    address,
    cast,
    condition,
    declaration,
    folded,
    last,
    literal,
    scalar,
)

_ON_STACK, _STACK = 4096, 131_072  # bytes of an array, and of all, that need no allocation
_DEEPEST = 64  # operations computed inside one loop, each in the next
_RECOVERABLE = {"range": 1, "check": 2, "gradient": 3, "value": 4}
"""What the function returns where there is no density: the sampler takes a smaller step."""


@dataclass(frozen=True)
class Lowered:
    """Text of the functions ``density`` and ``expansion``, and the functions they call by name."""

    text: str
    calls: tuple[str, ...]


@dataclass(frozen=True)
class _Array:
    """A way to count through memory: start and strides are numbers of elements."""

    memory: str
    kind: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int = 0

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def with_axes(self, axes: Sequence[int | None]) -> _Array:
        """Axes in another order, new ones of length 1, the others left out (of length 1)."""
        shape = tuple(1 if axis is None else self.shape[axis] for axis in axes)
        strides = tuple(0 if axis is None else self.strides[axis] for axis in axes)
        return _Array(self.memory, self.kind, shape, strides, self.start)

    def spread(self, shape: Sequence[int]) -> _Array:
        """Repeat axes of length 1, and the whole along new axes at the front."""
        new = len(shape) - len(self.shape)
        known = [(1, 0)] * new + list(zip(self.shape, self.strides, strict=True))
        if any(have not in (1, want) for (have, _), want in zip(known, shape, strict=True)):
            raise NotLoweredError("arrays that do not fit each other")
        strides = tuple(0 if have == 1 else step for have, step in known)
        return _Array(self.memory, self.kind, tuple(shape), strides, self.start)

    def part(self, index: Sequence[slice | int]) -> _Array:
        """Part that a basic index selects."""
        shape, strides, start = [], [], self.start
        for length, step, chosen in zip_longest(self.shape, self.strides, index):
            if isinstance(chosen, int | np.integer):
                start += step * range(length)[int(chosen)]
                continue
            places = range(length)[slice(None) if chosen is None else chosen]
            start += step * places.start if places else 0
            shape.append(len(places))
            strides.append(step * places.step)
        return _Array(self.memory, self.kind, tuple(shape), tuple(strides), start)

    def reshaped(self, shape: Sequence[int]) -> _Array:
        """Other axes over the same elements; only of an array laid out row by row."""
        return _Array(self.memory, self.kind, tuple(shape), _rows(shape), self.start)

    @property
    def by_rows(self) -> bool:
        """Whether elements follow each other in memory."""
        pairs = zip(self.shape, self.strides, _rows(self.shape), strict=True)
        return all(have == want for length, have, want in pairs if length != 1)


def _rows(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))


def lowered(graph: Any, point: Any, data: Sequence[Any], known: Mapping[Any, Any]) -> Lowered:
    """Lower a graph with two outputs, a number and a vector, both functions of a vector ``point``.

    ``data`` are the shared variables in the order of nutpie's record of them, ``known`` those that
    are as fixed as shapes are, with their values. Raises ``NotLoweredError`` where the graph has an
    operation or an index that cannot be lowered.
    """
    text = _Text()
    writer = _Writer(graph, text, known)
    writer.arrays[point] = _Array("%x", "float64", point.type.shape, (1,))
    for place, variable in enumerate(data):
        value = variable.get_value(borrow=True)
        if not isinstance(value, np.ndarray) or value.dtype.name not in TYPES:
            raise NotLoweredError("data that are no array of numbers")
        entry = text.do(f"getelementptr i64, ptr %user, i64 {place}")
        memory = text.do(f"load ptr, ptr {entry}")
        writer.arrays[variable] = _Array(memory, value.dtype.name, value.shape, _rows(value.shape))
    for node in graph.toposort():
        writer.node(node)
    value, gradient = (writer.array(output) for output in graph.outputs)
    found = _Array("%logp", "float64", (), ())
    slope = _Array("%out", "float64", gradient.shape, (1,))
    writer.copy(gradient, slope)
    writer.copy(value, found)
    with text.loops(slope.shape) as counters:
        text.require_finite(text.load(slope, counters), "gradient")
    text.require_finite(text.load(found, []), "value")
    return Lowered(text.function(), tuple(sorted(text.calls)))


_FUNCTIONS = """{constants}
{declared}
define i64 @expansion(i64 %dim, i64 %expanded, ptr %x, ptr %out, ptr %user) {{
  %bytes = mul i64 %dim, 8
  call void @llvm.memcpy.p0.p0.i64(ptr %out, ptr %x, i64 %bytes, i1 false)
  ret i64 0
}}
define i64 @density(i64 %dim, ptr noalias %x, ptr noalias %out, ptr noalias %logp, ptr %user) {{
entry:
{stack}
  br label %start
start:
{body}
{free}
  ret i64 0
{failures}
}}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""


@dataclass
class _Text:
    """Instructions of the function, one after the other, and what they need beside them."""

    lines: list[str] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    declared: dict[str, str] = field(default_factory=dict)
    on_stack: int = 0
    on_heap: int = 0
    numbers: Iterator[int] = field(default_factory=count)

    def do(self, instruction: str) -> str:
        register = f"%r{next(self.numbers)}"
        self.lines.append(f"  {register} = {instruction}")
        _, intrinsic, rest = instruction.partition("@llvm.")
        if intrinsic:
            name, given = rest.split("(", 1)
            types = ", ".join(one.split(" ")[0] for one in given[:-1].split(", "))
            made = instruction.split(" ")[1]
            self.declared[name] = f"declare {made} @llvm.{name}({types})"
        return register

    def call(self, name: str, *arguments: str) -> str:
        if address(name) is None:
            raise NotLoweredError(f"the function {name}")
        self.calls.add(name)
        self.declared[name] = declaration(name, len(arguments))
        given = ", ".join(f"double {argument}" for argument in arguments)
        return self.do(f"call double @{name}({given}{last(name)})")

    def load(self, array: _Array, place: Sequence[str]) -> str:
        """Element of an array; ``place`` holds a register for each axis."""
        return self.do(f"load {TYPES[array.kind]}, ptr {self.element(array, place)}")

    def store(self, number: Number, array: _Array, place: Sequence[str]) -> None:
        """Put a number into an array, as the type that has."""
        value = cast(self, number, array.kind)
        where = self.element(array, place)
        self.lines.append(f"  store {TYPES[array.kind]} {value}, ptr {where}")

    def element(self, array: _Array, place: Sequence[str]) -> str:
        """Address of an element."""
        at = str(array.start)
        for register, stride in zip(place, array.strides, strict=True):
            if stride and register != "0":
                step = register if stride == 1 else self.do(f"mul i64 {register}, {stride}")
                at = step if at == "0" else self.do(f"add i64 {at}, {step}")
        if at == "0":
            return array.memory
        return self.do(f"getelementptr {TYPES[array.kind]}, ptr {array.memory}, i64 {at}")

    def new(self, kind: str, shape: Sequence[int]) -> _Array:
        """Memory for an array."""
        name = f"%a{next(self.numbers)}"
        size = max(1, int(np.prod(shape))) * np.dtype(kind).itemsize
        if size <= _ON_STACK and self.on_stack + size <= _STACK:
            self.on_stack += size
            self.stack.append(f"  {name} = alloca [{size} x i8], align 16")
        else:
            self.lines.append(f"  {name} = getelementptr i8, ptr %work, i64 {self.on_heap}")
            self.on_heap += -(-size // 64) * 64
        return _Array(name, kind, tuple(shape), _rows(shape))

    def constant(self, value: np.ndarray) -> _Array:
        """Array of known values."""
        name = f"@c{next(self.numbers)}"
        content = "".join(f"\\{byte:02X}" for byte in np.ascontiguousarray(value).tobytes())
        size = max(1, value.nbytes)
        text = f'c"{content}"' if content else "zeroinitializer"
        self.constants.append(f"{name} = private constant [{size} x i8] {text}, align 16")
        return _Array(name, value.dtype.name, value.shape, _rows(value.shape))

    @contextmanager
    def loops(self, shape: Sequence[int]) -> Iterator[list[str]]:
        """Nested loops; yields the register of each counter, "0" where there is one round."""
        opened, place = [], []
        for length in shape:
            if length == 1:
                place.append("0")
                continue
            number = next(self.numbers)
            self.stack.append(f"  %i{number} = alloca i64")
            self.lines += [
                f"  store i64 0, ptr %i{number}", f"  br label %head{number}", f"head{number}:",
            ]  # fmt: skip
            if length == 0:  # no round at all
                self.lines += [f"  br i1 false, label %in{number}, label %end{number}"]
                self.lines += [f"in{number}:"]
            place.append(self.do(f"load i64, ptr %i{number}"))
            opened.append((number, length, place[-1]))
        yield place
        for number, length, register in reversed(opened):
            after = self.do(f"add nuw nsw i64 {register}, 1")
            self.lines.append(f"  store i64 {after}, ptr %i{number}")
            more = self.do(f"icmp ult i64 {after}, {length}")
            self.lines += [
                f"  br i1 {more}, label %head{number}, label %end{number}", f"end{number}:",
            ]  # fmt: skip

    def require(self, bit: str, why: str) -> None:
        """Return without a density unless this is so."""
        number = next(self.numbers)
        self.lines += [f"  br i1 {bit}, label %go{number}, label %{why}", f"go{number}:"]

    def require_finite(self, register: str, why: str) -> None:
        """Return without a density unless a double is finite."""
        gap = self.do(f"fsub double {register}, {register}")
        self.require(self.do(f"fcmp oeq double {gap}, {literal(0, 'float64')}"), why)

    def function(self) -> str:
        """Text of the whole."""
        free = "  call void @free(ptr %work)" if self.on_heap else ""
        if self.on_heap:
            self.calls |= {"malloc", "free"}
            self.declared["malloc"] = "declare noalias ptr @malloc(i64)"
            self.declared["free"] = "declare void @free(ptr)"
            self.stack.append(f"  %work = call ptr @malloc(i64 {self.on_heap})")
        failures = [f"{why}:\n{free}\n  ret i64 {code}" for why, code in _RECOVERABLE.items()]
        return _FUNCTIONS.format(
            constants="\n".join(self.constants),
            declared="\n".join(self.declared.values()),
            stack="\n".join(self.stack),
            body="\n".join(self.lines),
            free=free,
            failures="\n".join(failures),
        )


@dataclass(frozen=True)
class _Lazy:
    """An elementwise operation computed where its one reader needs it."""

    node: Any
    kind: str
    shape: tuple[int, ...]
    depth: int


class _Writer:
    """Writes a graph node by node; ``arrays`` holds what each variable has become."""

    def __init__(self, graph: Any, text: _Text, known: Mapping[Any, Any]) -> None:
        self.text = text
        self.arrays: dict[Any, _Array | _Lazy] = {}
        self.fixed: dict[Any, Any] = {var: np.asarray(value) for var, value in known.items()}
        self.readers = {var: [node for node, _ in graph.clients[var]] for var in graph.clients}

    def node(self, node: Any) -> None:
        """Write what a node does, unless its result is known already."""
        if not self._fold(node):
            names = (kind.__name__ for kind in type(node.op).mro())
            rule = next((_NODES[name] for name in names if name in _NODES), None)
            if rule is None:
                raise NotLoweredError(f"the operation {type(node.op).__name__}")
            rule(self, node)

    def _fold(self, node: Any) -> bool:
        """Compute what depends on shapes and constants alone; tell whether it does."""
        if type(node.op).__name__ == "Shape_i":
            self.fixed[node.outputs[0]] = np.asarray(self.shape(node.inputs[0])[node.op.i])
        elif type(node.op).__name__ == "Shape":
            self.fixed[node.outputs[0]] = np.asarray(self.shape(node.inputs[0]), "int64")
        elif all(self.value(var) is not None or _nothing(var) for var in node.inputs):
            results: list[list[Any]] = [[None] for _ in node.outputs]
            node.op.perform(node, [self.value(var) for var in node.inputs], results)
            self.fixed |= {o: np.asarray(r[0]) for o, r in zip(node.outputs, results, strict=True)}
        else:
            return False
        return True

    def value(self, variable: Any) -> Any:
        """Value of what is the same at every point; None of what is not."""
        from pytensor.graph.basic import Constant

        if isinstance(variable, Constant):
            return variable.data
        return self.fixed.get(variable)

    def whole(self, variable: Any) -> int:
        """Value of a whole number that must be known."""
        value = self.value(variable)
        if value is None:
            raise NotLoweredError("a length or index that depends on data")
        return int(value)

    def shape(self, variable: Any) -> tuple[int, ...]:
        """Lengths of the axes of a variable."""
        if variable in self.arrays:
            return self.arrays[variable].shape
        return tuple(np.shape(self.value(variable)))

    def array(self, variable: Any) -> _Array:
        """Memory of a variable: computed here at last, or a constant's."""
        found = self.arrays.get(variable)
        if found is None:
            value = self.value(variable)
            if value is None:
                raise NotLoweredError(f"the input {variable}")
            value = np.asarray(value)
            if value.dtype.name not in TYPES:
                raise NotLoweredError("a constant that is no array of numbers")
            found = self.arrays[variable] = self.text.constant(value)
        if isinstance(found, _Lazy):
            made = self.text.new(found.kind, found.shape)
            self.fill(made, variable)
            found = self.arrays[variable] = made
        return found

    def copy(self, source: _Array, target: _Array) -> None:
        """Put one array into another of the same shape."""
        shape, (one, other) = _joined(target.shape, [source, target])
        with self.text.loops(shape) as place:
            self.text.store((self.text.load(one, place), one.kind), other, place)

    def set_all(self, target: _Array, value: Any) -> None:
        """Put one number everywhere into memory, as the type that has."""
        self.copy(self.text.constant(np.array(value, target.kind)).spread(target.shape), target)

    def put(self, variable: Any, target: _Array) -> None:
        """Put a variable into memory, repeated where that is longer."""
        if isinstance(self.arrays.get(variable), _Lazy):
            self.fill(target, variable)
        else:
            self.copy(self.array(variable).spread(target.shape), target)

    def fill(self, target: _Array, variable: Any) -> None:
        """Compute an elementwise result into memory."""
        with self.elements(target.shape, variable, [target]) as (number, place, (made,)):
            self.text.store(number, made, place)

    @contextmanager
    def elements(
        self, shape: Sequence[int], variable: Any, beside: Sequence[_Array]
    ) -> Iterator[tuple[Number, list[str], list[_Array]]]:
        """Loop over the elements of a result that is computed as it is read.

        ``beside`` are arrays that are written at the same places: yielded with the axes joined.
        """
        leaves: dict[Any, _Array] = {}
        self._leaves(variable, shape, leaves, set())
        joined, arrays = _joined(shape, [*leaves.values(), *beside])
        found = dict(zip(leaves, arrays, strict=False))
        with self.text.loops(joined) as place:
            number = self._element(variable, found, place, {})
            yield number, place, arrays[len(leaves) :]

    def _leaves(
        self, variable: Any, shape: Sequence[int], leaves: dict[Any, _Array], seen: set[Any]
    ) -> None:
        if variable in seen:
            return
        seen.add(variable)
        found = self.arrays.get(variable)
        if isinstance(found, _Lazy) and found.shape == tuple(shape):
            for part in found.node.inputs:
                self._leaves(part, shape, leaves, seen)
        elif found is not None or np.size(self.value(variable)) != 1:
            leaves[variable] = self.array(variable).spread(shape)

    def _element(
        self, variable: Any, leaves: Mapping[Any, _Array], place: list[str], done: dict[Any, Number]
    ) -> Number:
        if variable in done:
            return done[variable]
        found = self.arrays.get(variable)
        if variable in leaves:
            number = self.text.load(leaves[variable], place), leaves[variable].kind
        elif isinstance(found, _Lazy):
            given = [self._element(part, leaves, place, done) for part in found.node.inputs]
            op = getattr(found.node.op, "scalar_op", found.node.op)
            number = scalar(self.text, op, given, found.kind), found.kind
        else:
            value = np.asarray(self.value(variable))
            number = literal(value.reshape(-1)[0], value.dtype.name), value.dtype.name
        done[variable] = number
        return number


def _nothing(variable: Any) -> bool:
    return type(variable.type).__name__ == "NoneTypeT"


def _joined(shape: Sequence[int], arrays: Sequence[_Array]) -> tuple[list[int], list[_Array]]:
    """Join axes that all arrays count through in one go: fewer and longer loops."""
    axes = [axis for axis, length in enumerate(shape) if length != 1]
    groups: list[list[int]] = []
    for axis in axes:
        last_axis = groups[-1][-1] if groups else None
        if last_axis is not None and all(
            array.strides[last_axis] == array.strides[axis] * shape[axis] for array in arrays
        ):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    lengths = [int(np.prod([shape[axis] for axis in group])) for group in groups]
    return lengths, [
        _Array(a.memory, a.kind, tuple(lengths), tuple(a.strides[g[-1]] for g in groups), a.start)
        for a in arrays
    ]


def _elementwise(writer: _Writer, node: Any) -> None:
    """Compute it where it is read if that is one place, else now."""
    if len(node.outputs) != 1:
        raise NotLoweredError("an operation with several results")
    out = node.outputs[0]
    kind = out.type.dtype
    if kind not in TYPES:
        raise NotLoweredError(f"numbers of type {kind}")
    shape = np.broadcast_shapes(*(writer.shape(var) for var in node.inputs))
    inside = [writer.arrays.get(var) for var in node.inputs]
    depth = 1 + max((one.depth for one in inside if isinstance(one, _Lazy)), default=0)
    writer.arrays[out] = _Lazy(node, kind, shape, depth)
    readers = writer.readers.get(out, [])
    if len(set(readers)) != 1 or type(readers[0].op).__name__ == "Output" or depth > _DEEPEST:
        writer.array(out)


def _view(make: Callable[[_Writer, Any, _Array], _Array]) -> Callable[[_Writer, Any], None]:
    """Rule of an operation whose result is its first argument, counted through differently."""

    def rule(writer: _Writer, node: Any) -> None:
        writer.arrays[node.outputs[0]] = make(writer, node, writer.array(node.inputs[0]))

    return rule


def _transposed(_writer: _Writer, node: Any, x: _Array) -> _Array:
    return x.with_axes([None if axis == "x" else axis for axis in node.op.new_order])


def _allocated(writer: _Writer, node: Any, x: _Array) -> _Array:
    return x.spread([writer.whole(length) for length in node.inputs[1:]])


def _reshaped(writer: _Writer, node: Any, x: _Array) -> _Array:
    wanted = writer.value(node.inputs[1])
    if wanted is None:
        raise NotLoweredError("a shape that depends on data")
    shape = [int(length) for length in wanted]
    if -1 in shape:
        rest = int(np.prod([length for length in shape if length != -1]))
        shape[shape.index(-1)] = x.size // rest if rest else 0
    if not x.by_rows:
        rows = writer.text.new(x.kind, x.shape)
        writer.copy(x, rows)
        x = rows
    return x.reshaped(shape)


def _basic(writer: _Writer, op: Any, given: Sequence[Any]) -> list[slice | int]:
    """Basic index of a subtensor, its numbers known."""
    return [
        _slice(writer, e, given) if isinstance(e, slice) else writer.whole(given[e])
        for e in op.idx_list
    ]


def _slice(writer: _Writer, entry: slice, given: Sequence[Any]) -> slice:
    ends = (entry.start, entry.stop, entry.step)
    return slice(*(None if end is None else writer.whole(given[end]) for end in ends))


def _part(writer: _Writer, node: Any, x: _Array) -> _Array:
    return x.part(_basic(writer, node.op, node.inputs[1:]))


def _checked(writer: _Writer, node: Any) -> None:
    for bit in node.inputs[1:]:
        value = writer.value(bit)
        if value is None:
            array = writer.array(bit)
            number = writer.text.load(array, []), array.kind
            writer.text.require(condition(writer.text, number), "check")
        elif not np.all(value):
            writer.text.require("false", "check")
    writer.arrays[node.outputs[0]] = writer.array(node.inputs[0])


def _axes(chosen: Any, number: int) -> list[int]:
    if chosen is None:
        return list(range(number))
    return [axis % number for axis in np.atleast_1d(chosen).tolist()]


def _reduced(writer: _Writer, node: Any) -> None:
    op, (x,), (out,) = node.op, node.inputs, node.outputs
    shape, kind = writer.shape(x), out.type.dtype
    inner = getattr(op, "acc_dtype", None) or kind
    axes = _axes(op.axis, len(shape))
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    total = writer.text.new(inner, [shape[axis] for axis in kept])
    first = _IDENTITIES.get(type(op.scalar_op).__name__)
    if first is None or not {kind, inner} <= set(TYPES):
        raise NotLoweredError(f"a reduction by {op.scalar_op}")
    writer.set_all(total, first(np.dtype(inner)))
    places = iter(range(len(kept)))
    wide = total.with_axes([next(places) if axis in kept else None for axis in range(len(shape))])
    with writer.elements(shape, x, [wide.spread(shape)]) as (number, place, (sums,)):
        before = writer.text.load(sums, place), inner
        after = scalar(writer.text, op.scalar_op, [before, number], inner)
        writer.text.store((after, inner), sums, place)
    writer.arrays[out] = total if kind == inner else _changed(writer, total, kind)


def _lowest(dtype: np.dtype) -> Any:
    return -np.inf if dtype.kind == "f" else 0 if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype: np.dtype) -> Any:
    return np.inf if dtype.kind == "f" else 1 if dtype.kind == "b" else np.iinfo(dtype).max


_IDENTITIES: dict[str, Callable[[np.dtype], Any]] = {
    "Add": lambda dtype: dtype.type(0), "Mul": lambda dtype: dtype.type(1),
    "MulWithoutZeros": lambda dtype: dtype.type(0),  # as PyTensor: of zeros alone it is zero
    "AND": lambda dtype: dtype.type(_highest(dtype) if dtype.kind == "b" else -1),
    "OR": lambda dtype: dtype.type(0), "XOR": lambda dtype: dtype.type(0),
    "Maximum": lambda dtype: dtype.type(_lowest(dtype)),
    "Minimum": lambda dtype: dtype.type(_highest(dtype)),
    "ScalarMaximum": lambda dtype: dtype.type(_lowest(dtype)),
    "ScalarMinimum": lambda dtype: dtype.type(_highest(dtype)),
}  # fmt: skip


def _changed(writer: _Writer, array: _Array, kind: str) -> _Array:
    made = writer.text.new(kind, array.shape)
    writer.copy(array, made)
    return made


def _joined_up(writer: _Writer, node: Any) -> None:
    out, axis = node.outputs[0], node.op.axis
    shapes = [writer.shape(var) for var in node.inputs]
    axis %= len(shapes[0])
    ends = np.cumsum([0, *(shape[axis] for shape in shapes)]).tolist()
    shape = [*shapes[0][:axis], ends[-1], *shapes[0][axis + 1 :]]
    made = writer.text.new(out.type.dtype, shape)
    for (first, end), var in zip(pairwise(ends), node.inputs, strict=True):
        writer.put(var, made.part([slice(None)] * axis + [slice(first, end)]))
    writer.arrays[out] = made


def _split(writer: _Writer, node: Any) -> None:
    x, axis = writer.array(node.inputs[0]), node.op.axis
    lengths = writer.value(node.inputs[1])
    if lengths is None:
        raise NotLoweredError("a split that depends on data")
    for (first, end), out in zip(pairwise(np.cumsum([0, *lengths])), node.outputs, strict=True):
        writer.arrays[out] = x.part([slice(None)] * axis + [slice(int(first), int(end))])


def _vector(writer: _Writer, node: Any) -> None:
    made = writer.text.new(node.outputs[0].type.dtype, [len(node.inputs)])
    for place, var in enumerate(node.inputs):
        writer.put(var, made.part([place]))
    writer.arrays[node.outputs[0]] = made


def _increased(writer: _Writer, node: Any) -> None:
    x, y, *given = node.inputs
    made = writer.text.new(node.outputs[0].type.dtype, writer.shape(x))
    writer.put(x, made)
    part = made.part(_basic(writer, node.op, given))
    if node.op.set_instead_of_inc:
        writer.put(y, part)
    else:
        with writer.elements(part.shape, y, [part]) as (number, place, (changed,)):
            _add(writer.text, number, changed, place)
    writer.arrays[node.outputs[0]] = made


def _add(text: _Text, number: Number, array: _Array, place: Sequence[str]) -> None:
    before = text.load(array, place)
    how = "fadd" if array.kind.startswith("float") else "add"
    after = text.do(f"{how} {TYPES[array.kind]} {before}, {cast(text, number, array.kind)}")
    text.store((after, array.kind), array, place)


@dataclass(frozen=True)
class _Chosen:
    """Elements that index arrays choose: ``indices`` by axis, over ``shape`` beside whole axes."""

    array: _Array
    indices: dict[int, _Array]
    shape: tuple[int, ...]
    first: int
    number: int

    def place(self, text: _Text, place: list[str]) -> list[str]:
        """Where the element at a place of the result stands in the array."""
        chosen = place[self.first : self.first + self.number]
        others = iter(place[: self.first] + place[self.first + self.number :])
        return [
            _inside(text, (text.load(self.indices[axis], chosen), self.indices[axis].kind), length)
            if axis in self.indices
            else next(others)
            for axis, length in enumerate(self.array.shape)
        ]


def _inside(text: _Text, number: Number, length: int) -> str:
    """Index counted from the front; no density where it is outside."""
    index = cast(text, number, "int64")
    back = text.do(f"add i64 {index}, {length}")
    below = text.do(f"icmp slt i64 {index}, 0")
    found = text.do(f"select i1 {below}, i64 {back}, i64 {index}")
    text.require(text.do(f"icmp ult i64 {found}, {length}"), "range")
    return found


def _chosen(writer: _Writer, op: Any, x: _Array, given: Sequence[Any]) -> _Chosen:
    arrays = {
        axis: writer.array(given[entry])
        for axis, entry in enumerate(op.idx_list)
        if isinstance(entry, int)
    }
    if any(array.kind == "bool" for array in arrays.values()):
        raise NotLoweredError("a mask as index")
    x = x.part(
        [_slice(writer, e, given) if isinstance(e, slice) else slice(None) for e in op.idx_list]
    )
    shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    axes = sorted(arrays)
    together = axes == list(range(axes[0], axes[-1] + 1))
    first = axes[0] if together else 0
    rest = [length for axis, length in enumerate(x.shape) if axis not in arrays]
    whole = (*rest[:first], *shape, *rest[first:])
    spread = {axis: array.spread(shape) for axis, array in arrays.items()}
    return _Chosen(x, spread, whole, first, len(shape))


def _taken(writer: _Writer, node: Any) -> None:
    chosen = _chosen(writer, node.op, writer.array(node.inputs[0]), node.inputs[1:])
    made = writer.text.new(chosen.array.kind, chosen.shape)
    with writer.text.loops(chosen.shape) as place:
        number = writer.text.load(chosen.array, chosen.place(writer.text, place))
        writer.text.store((number, made.kind), made, place)
    writer.arrays[node.outputs[0]] = made


def _scattered(writer: _Writer, node: Any) -> None:
    x, y, *given = node.inputs
    if node.op.ignore_duplicates and not node.op.set_instead_of_inc:
        raise NotLoweredError("increments that ignore duplicates")
    made = writer.text.new(node.outputs[0].type.dtype, writer.shape(x))
    writer.put(x, made)
    chosen = _chosen(writer, node.op, made, given)
    values = writer.array(y).spread(chosen.shape)
    with writer.text.loops(chosen.shape) as place:
        number = writer.text.load(values, place), values.kind
        where = chosen.place(writer.text, place)
        if node.op.set_instead_of_inc:
            writer.text.store(number, chosen.array, where)
        else:
            _add(writer.text, number, chosen.array, where)
    writer.arrays[node.outputs[0]] = made


def _accumulated(writer: _Writer, node: Any) -> None:
    op, x, kind = node.op, writer.array(node.inputs[0]), node.outputs[0].type.dtype
    if op.axis is None and len(x.shape) != 1:
        raise NotLoweredError("a running sum over several axes")
    axis, text = (op.axis or 0) % len(x.shape), writer.text
    made = text.new(kind, x.shape)
    full = [slice(None)] * axis
    writer.copy(x.part([*full, slice(0, 1)]), made.part([*full, slice(0, 1)]))
    length = x.shape[axis]
    before, after = made.part([*full, slice(0, length - 1)]), made.part([*full, slice(1, length)])
    new = x.part([*full, slice(1, length)])
    how = "Add" if op.mode == "add" else "Mul"
    if length > 1:
        with text.loops(new.shape) as place:
            numbers = [(text.load(before, place), kind), (text.load(new, place), x.kind)]
            text.store((folded(text, how, numbers, kind), kind), after, place)
    writer.arrays[node.outputs[0]] = made


def _softmax(writer: _Writer, node: Any) -> None:
    """exp(x) over its sum, or its logarithm, along an axis; the largest is taken away first."""
    op, x, text = node.op, writer.array(node.inputs[0]), writer.text
    axes = _axes(op.axis, len(x.shape))
    made = text.new("float64", x.shape)
    kept = [length for axis, length in enumerate(x.shape) if axis not in axes]
    places = iter(range(len(kept)))
    order = [None if axis in axes else next(places) for axis in range(len(x.shape))]
    largest, total = (text.new("float64", kept) for _ in range(2))
    for array, first in ((largest, -np.inf), (total, 0.0)):
        writer.set_all(array, first)
    top, sums = (array.with_axes(order).spread(x.shape) for array in (largest, total))
    log = type(op).__name__ == "LogSoftmax"
    real = "float64"
    with text.loops(x.shape) as place:
        numbers = [(text.load(top, place), real), (text.load(x, place), x.kind)]
        text.store((folded(text, "Maximum", numbers, real), real), top, place)
    with text.loops(x.shape) as place:
        numbers = [(text.load(x, place), x.kind), (text.load(top, place), real)]
        gap = folded(text, "Sub", numbers, real)
        raised = text.call("exp", gap)
        _add(text, (raised, real), sums, place)
        text.store((gap if log else raised, real), made, place)
    with text.loops(x.shape) as place:
        whole, value = text.load(sums, place), text.load(made, place)
        other = text.call("log", whole) if log else whole
        numbers = [(value, real), (other, real)]
        text.store((folded(text, "Sub" if log else "TrueDiv", numbers, real), real), made, place)
    kind = node.outputs[0].type.dtype
    writer.arrays[node.outputs[0]] = made if kind == real else _changed(writer, made, kind)


def _product(writer: _Writer, node: Any) -> None:
    """Matrix product of the last axes, of each pair along the others."""
    core = getattr(node.op, "core_op", node.op)
    if type(core).__name__ not in ("Dot", "BatchedDot"):
        raise NotLoweredError(f"the operation {core}")
    a, b = (writer.array(var) for var in node.inputs)
    rows, columns = len(a.shape) > 1, len(b.shape) > 1
    a, b = a if rows else a.with_axes([None, 0]), b if columns else b.with_axes([0, None])
    many = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    (n, inner), m = a.shape[-2:], b.shape[-1]
    a, b = a.spread((*many, n, inner)), b.spread((*many, inner, m))
    made = writer.text.new(node.outputs[0].type.dtype, (*many, n, m))
    writer.set_all(made, 0)
    axes, k, shape = list(range(len(many))), len(many), (*many, n, inner, m)
    one = a.with_axes([*axes, k, k + 1, None]).spread(shape)
    other = b.with_axes([*axes, None, k, k + 1]).spread(shape)
    sums = made.with_axes([*axes, k, None, k + 1]).spread(shape)
    lengths, (one, other, sums) = _joined(shape, [one, other, sums])
    with writer.text.loops(lengths) as place:
        numbers = [(writer.text.load(part, place), part.kind) for part in (one, other)]
        _add(writer.text, (folded(writer.text, "Mul", numbers, made.kind), made.kind), sums, place)
    kept = [*range(k), *([k] if rows else []), *([k + 1] if columns else [])]
    writer.arrays[node.outputs[0]] = made.with_axes(kept)


_NODES: dict[str, Callable[[_Writer, Any], None]] = {
    "Elemwise": _elementwise, "ScalarOp": _elementwise, "CAReduce": _reduced,
    "DimShuffle": _view(_transposed), "Alloc": _view(_allocated), "Reshape": _view(_reshaped),
    "Subtensor": _view(_part), "CheckAndRaise": _checked, "Join": _joined_up, "Split": _split,
    "MakeVector": _vector, "IncSubtensor": _increased, "AdvancedSubtensor": _taken,
    "AdvancedIncSubtensor": _scattered, "CumOp": _accumulated, "Softmax": _softmax,
    "LogSoftmax": _softmax, "Dot": _product, "BatchedDot": _product, "Blockwise": _product,
    **dict.fromkeys(
        ["ScalarFromTensor", "TensorFromScalar", "TypeCastingOp", "SpecifyShape", "DeepCopyOp"],
        _view(lambda _writer, _node, x: x),
    ),
}  # fmt: skip

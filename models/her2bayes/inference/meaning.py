"""What code means, as a hash: equal for code that is moved, renamed, explained or laid out anew.

From the functions asked for, every definition of this package that they use is followed (functions,
classes, constants, through imports of any form). Each is taken as Python reads it, without
docstrings, comments, imports, annotations, the text of exceptions and its own name. A definition of
the package stands in another as the hash of what it says, one of a library as its full name, so
that neither files nor aliases matter. Names of arguments and attributes do: callers may use them.
What a prior ``means`` in clinical units explains it, and is left out like a comment; so is what the
user is told while waiting (``progress``).

Nothing is imported or run: a fit's key must be known before PyMC is loaded.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).resolve().parents[1]

_BINDS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
_ASSIGNS = (ast.Assign, ast.AnnAssign)
_PLACE = re.compile(r"own <(\d+)>")
_WORDS = "means"  # what a prior assumes, in words
_TOLD = ROOT / "inference" / "progress.py"  # talks to the user: no draw depends on it


def meaning(*roots: Callable[..., Any] | str) -> str:
    """SHA-256 of what functions mean; a root is a function or ``module.of.this.package:name``.

    A function of a file outside the package (a user's model) is followed through its own file and
    the files beside it as well. One that has no source (typed into a prompt) is taken as bytecode.
    """
    _OTHER_FILES.clear()
    followed: set[_Definition] = set()
    loose = []
    for root in roots:
        start = _named(root) if isinstance(root, str) else _of_function(root)
        if isinstance(start, str):
            loose.append(start)
        else:
            _follow(start, followed)
    texts = sorted({definition.text for definition in followed})
    return sha256("\n".join([*texts, *loose]).encode()).hexdigest()


def _follow(start: _Definition, followed: set[_Definition]) -> None:
    waiting = [start]
    while waiting:
        here = waiting.pop()
        if here not in followed:
            followed.add(here)
            waiting += here.uses


def _named(root: str) -> _Definition:
    module, _, name = root.partition(":")
    found = _file(_path_in_package(module)).look_up(name)
    if not isinstance(found, _Definition):
        raise ValueError(f"there is no {root}")
    return found


def _of_function(function: Callable[..., Any]) -> _Definition | str:
    function = inspect.unwrap(function)
    code = function.__code__
    try:
        path = Path(inspect.getsourcefile(function) or "")
        file = _file(path.resolve()) if path.is_file() else _File(path, inspect.getsource(function))
    except (OSError, TypeError, IndentationError):
        return f"{code.co_code.hex()} {code.co_consts} {code.co_names}"
    found = file.at_line(code.co_firstlineno) if path.is_file() else file.first
    return found or f"{code.co_code.hex()} {code.co_consts} {code.co_names}"


class _Definition:
    """One statement of a file that binds names (a function, a class, a constant)."""

    def __init__(self, file: _File, statements: list[ast.stmt]) -> None:
        self.file, self.statements = file, statements

    @cached_property
    def said(self) -> str:
        """Hash of what the statement says by itself, whatever the definitions that it uses say."""
        text, _ = self._read
        return sha256(_PLACE.sub("own ", text).encode()).hexdigest()

    @cached_property
    def text(self) -> str:
        """What the statement says, each definition it uses by the hash of what that one says."""
        text, own = self._read
        return _PLACE.sub(lambda place: f"own {own[int(place[1])].said}", text)

    @cached_property
    def _read(self) -> tuple[str, list[_Definition]]:
        """What the statement says, and the definitions it uses, by their places in the text."""
        reader = _Reader(self.file)
        said = "".join(ast.dump(reader.plain(statement)) for statement in self.statements)
        return said, reader.own

    @cached_property
    def uses(self) -> list[_Definition]:
        """Definitions of the package that stand in it, annotations included."""
        found, waiting = [], list[ast.AST](self.statements)
        while waiting:
            node = waiting.pop()
            target = self.file.target(node)
            if isinstance(target, _Definition):
                found.append(target)
            elif not isinstance(node, ast.Raise):
                waiting += ast.iter_child_nodes(self.file.without_words(node))
        return found


class _File:
    """A file's definitions and imports by name."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.ours = path.is_relative_to(ROOT)
        self.tree = ast.parse(text)
        _mark_locals(self.tree, frozenset())
        self.definitions: dict[str, _Definition] = {}
        self.imports: dict[str, tuple[str, str]] = {}  # name -> module, name in it ("": itself)
        self.resolved: dict[str, _Definition | _File | str] = {}  # imports that were looked up
        for statement in self.tree.body:
            for name in _bound(statement):
                known = self.definitions.setdefault(name, _Definition(self, []))
                known.statements.append(statement)
        for node in ast.walk(self.tree):
            if isinstance(node, _IMPORTS):
                self._note(node)

    def _note(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if isinstance(node, ast.Import):
                name = alias.asname or alias.name.partition(".")[0]
                self.imports[name] = (alias.name if alias.asname else name, "")
            else:
                self.imports[alias.asname or alias.name] = (self._absolute(node), alias.name)

    def _absolute(self, node: ast.ImportFrom) -> str:
        module = node.module or ""
        if not node.level or not self.ours:
            return module
        parts = [PACKAGE, *self.path.relative_to(ROOT).parts[: -node.level]]
        return ".".join([*parts, module] if module else parts)

    @property
    def first(self) -> _Definition | None:
        """The first definition."""
        return next(iter(self.definitions.values()), None)

    def at_line(self, line: int) -> _Definition | None:
        """Definition in whose lines, decorators included, a line stands."""
        for definition in self.definitions.values():
            for statement in definition.statements:
                above = [d.lineno for d in getattr(statement, "decorator_list", [])]
                if min([statement.lineno, *above]) <= line <= (statement.end_lineno or 0):
                    return definition
        return None

    def look_up(self, name: str) -> _Definition | _File | str | None:
        """What a name means here: a definition, a file of the package, a library's name, None."""
        if name in self.definitions:
            return self.definitions[name]
        if name in self.imports and name not in self.resolved:
            self.resolved[name] = _resolve(self, *self.imports[name])
        return self.resolved.get(name)

    def without_words(self, node: ast.AST) -> ast.AST:
        """Leave the words on what a prior means out of a call, of ``prior`` and of ``Prior``."""
        if isinstance(node, ast.Call) and self._is_prior(node.func):
            said = [keyword for keyword in node.keywords if keyword.arg != _WORDS]
            return ast.Call(node.func, node.args, said)
        if isinstance(node, ast.arguments) and self.ours:
            named = zip(node.kwonlyargs, node.kw_defaults, strict=True)
            kept = [(arg, value) for arg, value in named if arg.arg != _WORDS]
            values = [value for _, value in kept]
            args = [arg for arg, _ in kept]
            return ast.arguments(
                node.posonlyargs, node.args, node.vararg, args, values, node.kwarg, node.defaults
            )
        if isinstance(node, ast.AnnAssign) and self.ours:
            return ast.Pass() if getattr(node.target, "id", "") == _WORDS else node
        return node

    def _is_prior(self, function: ast.AST) -> bool:
        found = self.target(function)
        if not isinstance(found, _Definition) or not found.file.ours:
            return False
        return getattr(found.statements[0], "name", "").casefold() == "prior"

    def target(self, node: ast.AST) -> _Definition | _File | str | None:
        """What a name, or an attribute of a module, stands for."""
        if isinstance(node, ast.Name):
            return None if getattr(node, "local", False) else self.look_up(node.id)
        if isinstance(node, ast.Attribute):
            inside = self.target(node.value)
            if isinstance(inside, _File):
                return inside.look_up(node.attr) or _submodule(inside, node.attr)
            if isinstance(inside, str):
                return f"{inside}.{node.attr}"
        return None


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _mark_locals(node: ast.AST, names: frozenset[str]) -> None:
    """Mark the names that a function binds itself: one that is also of the file is not that one.

    Names of imports inside a function are not marked: they are the file's for every reader.
    """
    if isinstance(node, _FUNCTIONS):
        given = node.args
        own = {a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
        own |= {a.arg for a in (given.vararg, given.kwarg) if a}
        body = node.body if isinstance(node.body, list) else []
        own |= {name for statement in body for name in _bound(statement)}
        names = names | own
    elif isinstance(node, _COMPREHENSIONS):
        names = names | {name for part in node.generators for name in _bound(part.target)}
    elif isinstance(node, ast.Name) and node.id in names:
        node.local = True  # type: ignore[attr-defined]
    for inside in ast.iter_child_nodes(node):
        _mark_locals(inside, names)


def _bound(statement: ast.AST) -> Iterator[str]:
    """Names that a statement binds in its file, those of the statements inside it too."""
    if isinstance(statement, _BINDS):
        yield statement.name
    elif isinstance(statement, ast.Name) and isinstance(statement.ctx, ast.Store):
        yield statement.id
    elif not isinstance(statement, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        for inside in ast.iter_child_nodes(statement):
            yield from _bound(inside)


def _resolve(file: _File, module: str, name: str) -> _Definition | _File | str:
    path = _path_in_package(module) if module.partition(".")[0] == PACKAGE else None
    beside = file.path.parent / f"{module}.py"
    if path is None and not file.ours and beside.is_file():
        path = beside  # a module beside a user's model
    if path is None or path == _TOLD or not path.is_file():
        return f"{module}.{name}" if name else module
    found = _file(path)
    return (found.look_up(name) or _submodule(found, name) or f"{module}.{name}") if name else found


def _path_in_package(module: str) -> Path:
    place = ROOT.joinpath(*module.split(".")[1:])
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _submodule(file: _File, name: str) -> _File | None:
    if file.path.name != "__init__.py":
        return None
    inside = file.path.parent / name
    path = inside / "__init__.py" if inside.is_dir() else inside.with_suffix(".py")
    return _file(path) if path.is_file() else None


_PACKAGE_FILES: dict[Path, _File] = {}  # what a process has imported of them does not change
_OTHER_FILES: dict[Path, _File] = {}  # a user may edit and load again: read anew at each call


def _file(path: Path) -> _File:
    files = _PACKAGE_FILES if path.is_relative_to(ROOT) else _OTHER_FILES
    if path not in files:
        files[path] = _File(path, path.read_text(encoding="utf-8"))
    return files[path]


def _copy(part: Any) -> Any:
    """Copy of a statement without its place in the file."""
    if isinstance(part, ast.AST):
        made = type(part)(**{name: _copy(getattr(part, name, None)) for name in part._fields})
        if hasattr(part, "local"):
            made.local = part.local  # type: ignore[attr-defined]
        return made
    return [_copy(one) for one in part] if isinstance(part, list) else part


class _Reader(ast.NodeTransformer):
    """Copies of statements without what carries no meaning; see the head of this file."""

    def __init__(self, file: _File) -> None:
        self.file = file
        self.own: list[_Definition] = []

    def plain(self, statement: ast.stmt) -> ast.AST:
        """Copy without names of definitions, docstrings, annotations, imports."""
        copy: ast.AST = self.visit(_copy(statement))
        if isinstance(copy, _BINDS):
            copy.name = ""
        return getattr(copy, "value", copy) if isinstance(copy, _ASSIGNS) else copy

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Write a definition by its hash, a library by its name; a name bound here stays."""
        return self._written(node) if isinstance(node.ctx, ast.Load) else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """Write ``np.exp`` as ``exp`` of ``from numpy import exp`` is written."""
        written = self._written(node)
        return self.generic_visit(node) if written is node else written

    def _written(self, node: ast.Name | ast.Attribute) -> ast.AST:
        target = self.file.target(node)
        if isinstance(target, _Definition):
            self.own.append(target)
            return ast.Constant(f"own <{len(self.own) - 1}>")
        return ast.Constant(f"library {target}") if isinstance(target, str) else node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Leave out an annotation."""
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Leave out an annotation; a field without a value keeps its name."""
        node.annotation = ast.Constant(None)
        return self.generic_visit(self.file.without_words(node))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Leave out the words on a prior."""
        return self.generic_visit(self.file.without_words(node))

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        """Leave out the words on a prior."""
        return self.generic_visit(self.file.without_words(node))

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Leave out what an exception says."""
        return ast.Raise()

    def visit_Import(self, node: ast.Import) -> ast.AST:
        """Leave out: what is imported is written where it is used."""
        return ast.Pass()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        """Leave out: what is imported is written where it is used."""
        return ast.Pass()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Leave out docstring and return annotation."""
        node.returns = None
        return self._without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Leave out the docstring."""
        return self._without_docstring(node)

    def _without_docstring(self, node: Any) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        self.generic_visit(node)
        node.body = [line for line in node.body if not isinstance(line, ast.Pass)]
        return node

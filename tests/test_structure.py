"""No import circles, folders and package of a size to keep in one's head, inputs that have names.

Every import statement counts wherever it stands: late ones and those for types are read too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "her2bayes"
MOST_MODULES = 248
MOST_IN_A_FOLDER = 25
MOST_POSITIONAL = 6
MOST_LONG = 12  # functions above it
COMPILED = ("jit", "fast", "outer", "compiled", "overload", "vectorize")
"""Decorators of functions that numba compiles: their arrays are arguments one by one."""


def modules(root: Path) -> dict[str, Path]:
    """Path of each module by its dotted name; a package is the name of its folder."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """Modules of the package that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)


def file_graph(root: Path) -> dict[str, set[str]]:
    """Imports between files; the lazy table at the top of the package is nobody's dependence."""
    known = modules(root)
    graph = {name: set(imported(path, known)) for name, path in known.items() if name != PACKAGE}
    return {name: targets - {PACKAGE, name} for name, targets in graph.items()}


def folder_graph(root: Path) -> dict[str, set[str]]:
    """Imports between folders, subfolders being folders of their own."""
    known = modules(root)

    def folder(name: str) -> str:
        return name if known[name].name == "__init__.py" else name.rpartition(".")[0]

    graph: dict[str, set[str]] = {}
    for name, targets in file_graph(root).items():
        own = graph.setdefault(folder(name), set())
        own.update({folder(target) for target in targets} - {folder(name), PACKAGE})
    graph.pop(PACKAGE, None)
    return graph


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Strongly connected components of two members and more (Kosaraju)."""
    back: dict[str, list[str]] = {name: [] for name in graph}
    for name, targets in graph.items():
        for target in set(targets) & set(graph):
            back[target].append(name)
    found, placed = [], set[str]()
    for start in reversed(_finished(graph)):
        group = list(_reached(back, start, placed))
        if len(group) > 1:
            found.append(sorted(group))
    return found


def _finished(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Members in the order in which a search in depth leaves them."""
    order: list[str] = []
    seen: set[str] = set()
    for start in graph:
        stack = [(start, False)]
        while stack:
            name, done = stack.pop()
            if done:
                order.append(name)
            elif name not in seen:
                seen.add(name)
                stack += [(name, True), *((t, False) for t in graph[name] if t in graph)]
    return order


def _reached(back: Mapping[str, list[str]], start: str, placed: set[str]) -> Iterator[str]:
    """Members that reach ``start`` and have no group yet."""
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in placed:
            placed.add(name)
            yield name
            waiting += back[name]


def long_signatures(root: Path) -> list[str]:
    """Functions that take more positional arguments than anyone keeps in order."""
    found = []
    for path in sorted((root / PACKAGE).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and not _compiled(node):
                names = [a.arg for a in [*node.args.posonlyargs, *node.args.args]]
                names = [name for name in names if name not in ("self", "cls")]
                if len(names) > MOST_POSITIONAL:
                    found.append(f"{path.relative_to(root)}:{node.lineno} {node.name}")
    return found


def _compiled(node: ast.FunctionDef) -> bool:
    return any(mark in ast.unparse(d) for d in node.decorator_list for mark in COMPILED)


def test_files_do_not_import_each_other_in_circles() -> None:
    assert circles(file_graph(ROOT / "models")) == []


def test_folders_do_not_import_each_other_in_circles() -> None:
    assert circles(folder_graph(ROOT / "models")) == []


def test_sizes() -> None:
    found = modules(ROOT / "models")
    assert len(found) <= MOST_MODULES
    folders = {path.parent for path in found.values()}
    sizes = {str(f.relative_to(ROOT)): len(list(f.glob("[!_]*.py"))) for f in folders}
    assert {name: size for name, size in sizes.items() if size > MOST_IN_A_FOLDER} == {}


def test_inputs_have_names() -> None:
    sources = (ROOT / "models").rglob("*.py")
    bags = [str(path) for path in sources if "SimpleNamespace" in path.read_text("utf-8")]
    assert bags == []
    assert len(long_signatures(ROOT / "models")) <= MOST_LONG


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package of two folders without a circle."""
    texts = {
        "__init__": "from her2bayes.a.one import x\n",
        "a/__init__": "",
        "a/one": "from her2bayes.b import two\n",
        "a/other": "from her2bayes.a import one\n",
        "b/__init__": "",
        "b/two": "x = 1\n",
        "b/three": "from her2bayes.b.two import x\n",
    }
    for name, text in texts.items():
        path = tmp_path / PACKAGE / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert circles(file_graph(tmp_path)) == circles(folder_graph(tmp_path)) == []
    return tmp_path


def test_a_planted_circle_of_files_is_found(tree: Path) -> None:
    (tree / PACKAGE / "a/one.py").write_text("def late():\n    from her2bayes.a import other\n")
    assert circles(file_graph(tree)) == [["her2bayes.a.one", "her2bayes.a.other"]]
    assert circles(folder_graph(tree)) == []


def test_a_planted_circle_of_folders_is_found(tree: Path) -> None:
    (tree / PACKAGE / "b/three.py").write_text("import her2bayes.a.other\n")
    assert circles(file_graph(tree)) == []
    assert circles(folder_graph(tree)) == [["her2bayes.a", "her2bayes.b"]]


def test_a_planted_bag_of_arguments_is_found(tree: Path) -> None:
    arguments = ", ".join("abcdefg")
    text = f"def plain({arguments}): ...\n\n@njit\ndef fast({arguments}): ...\n"
    (tree / PACKAGE / "b/two.py").write_text(text)
    assert long_signatures(tree) == ["her2bayes/b/two.py:1 plain"]

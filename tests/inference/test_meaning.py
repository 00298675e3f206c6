"""Code that is moved, renamed or explained means the same; what computes otherwise does not."""

from __future__ import annotations

import ast
import importlib.util
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from her2bayes.distribution import her2_distribution, her2_distribution_ordered
from her2bayes.inference import meaning as module
from her2bayes.inference.meaning import meaning
from her2bayes.survival import survival

MODEL = '''
"""A user's model."""
import numpy as np
from her2bayes.bayes.levels import design
from own_parts import Scale, slope

LIMIT = 3.0


def build(data, priors=None, *, times=2):
    """Build it."""
    if data is None:
        raise ValueError("no data")
    inner = Scale(LIMIT)
    return np.exp(inner.value * slope(data)) * times, design
'''

PARTS = '''
from dataclasses import dataclass


@dataclass
class Scale:
    """A scale."""

    value: float


def slope(data):
    return data + 1
'''


def told(folder: Path, model: str = MODEL, parts: str = PARTS, name: str = "build") -> str:
    """What a model says whose two files stand in a folder of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own_parts.py").write_text(parts, encoding="utf-8")
    path = folder / "own_model.py"
    path.write_text(model, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("own_model", path)
    assert spec is not None
    assert spec.loader is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.delitem(__import__("sys").modules, "own_parts", raising=False)
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return meaning(getattr(loaded, name))


EQUAL = {
    "a comment": (lambda m: m.replace("inner =", "# why\n    inner ="), None),
    "a docstring": (lambda m: m.replace("Build it.", "Build it, at length.\n\n    So."), None),
    "no docstring": (lambda m: m.replace('    """Build it."""\n', ""), None),
    "layout": (lambda m: ast.unparse(ast.parse(m)), None),
    "an annotation": (lambda m: m.replace("(data, ", "(data: object, "), None),
    "another alias": (lambda m: m.replace("numpy as np", "numpy").replace("np.", "numpy."), None),
    "a name instead of its module": (
        lambda m: m.replace("import numpy as np", "from numpy import exp").replace("np.exp", "exp"),
        None,
    ),
    "another error message": (lambda m: m.replace('"no data"', '"give data"'), None),
    "a constant's name": (lambda m: m.replace("LIMIT", "MOST"), None),
    "a helper's name": (
        lambda m: m.replace("slope", "raised"),
        lambda p: p.replace("slope", "raised"),
    ),
    "a late import": (
        lambda m: m.replace("import numpy as np\n", "").replace(
            "    inner =", "    import numpy as np\n    inner ="
        ),
        None,
    ),
    "a helper moved": (
        lambda m: (
            m.replace("import Scale, slope", "import Scale")
            + "\n\ndef slope(data):\n    return data + 1\n"
        ),
        lambda p: p.partition("\n\ndef slope")[0],
    ),
    "code that nothing uses": (lambda m: m + "\n\ndef other():\n    return 1\n", None),
}

OTHER = {
    "an operator": (lambda m: m.replace("value *", "value /"), None),
    "a constant": (lambda m: m.replace("LIMIT = 3.0", "LIMIT = 4.0"), None),
    "a default": (lambda m: m.replace("times=2", "times=3"), None),
    "a library's function": (lambda m: m.replace("np.exp", "np.expm1"), None),
    "a helper's body": (None, lambda p: p.replace("data + 1", "data + 2")),
    "a field": (lambda m: m.replace("inner.value", "inner.size"),
                lambda p: p.replace("value:", "size:")),
    "whether it raises": (lambda m: m.replace("data is None", "data is False"), None),
    "an argument's name": (lambda m: m.replace("times", "number"), None),
}  # fmt: skip


@pytest.fixture(scope="module")
def before(tmp_path_factory: Any) -> str:
    return told(tmp_path_factory.mktemp("before"))


@pytest.mark.parametrize("change", EQUAL)
def test_moved_renamed_or_explained_code_means_the_same(
    change: str, before: str, tmp_path: Path
) -> None:
    model, parts = (f or (lambda text: text) for f in EQUAL[change])
    assert model(MODEL) != MODEL or parts(PARTS) != PARTS
    assert told(tmp_path, model(MODEL), parts(PARTS)) == before


@pytest.mark.parametrize("change", OTHER)
def test_code_that_computes_otherwise_means_something_else(
    change: str, before: str, tmp_path: Path
) -> None:
    model, parts = (f or (lambda text: text) for f in OTHER[change])
    assert told(tmp_path, model(MODEL), parts(PARTS)) != before


def test_a_users_file_changed_within_a_session_is_read_anew(before: str, tmp_path: Path) -> None:
    assert told(tmp_path) == before
    assert told(tmp_path, parts=PARTS.replace("+ 1", "- 1")) != before  # as many characters


def test_models_are_told_apart() -> None:
    builds = (her2_distribution.build, her2_distribution_ordered.build, survival.build)
    assert len({meaning(build) for build in builds}) == 3


def test_a_function_within_a_function_is_known_by_what_stands_around_it(before: str) -> None:
    def inner() -> int:
        return 1

    assert meaning(inner) == meaning(inner) != before


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: Any) -> Path:
    """A copy of the package, read instead of the package itself."""
    root = tmp_path / "her2bayes"
    shutil.copytree(module.ROOT, root, ignore=shutil.ignore_patterns("__pycache__", "templates"))
    monkeypatch.setattr(module, "ROOT", root)
    monkeypatch.setattr(module, "_PACKAGE_FILES", {})
    return root


ROOTS = ("her2bayes.survival.survival:build", "her2bayes.cohorts.chain.tempering:chains")


@pytest.mark.slow
def test_the_package_laid_out_anew_means_the_same(copied: Path) -> None:
    before = [meaning(root) for root in ROOTS]
    for path in copied.rglob("*.py"):
        edited(path, lambda text: f"# explained\n{ast.unparse(ast.parse(text))}\n")
    assert [meaning(root) for root in ROOTS] == before


def test_a_file_moved_within_the_package_means_the_same(copied: Path) -> None:
    before = meaning(ROOTS[0])
    (copied / "house").mkdir()
    (copied / "house" / "__init__.py").touch()
    (copied / "survival" / "parts.py").rename(copied / "house" / "pieces.py")
    for path in copied.rglob("*.py"):
        edited(path, lambda text: text.replace("survival.parts", "house.pieces"))
    assert meaning(ROOTS[0]) == before


def edited(path: Path, change: Callable[[str], str] = str) -> None:
    """Change a file as an editor does; the process that reads it next is a new one."""
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    module._PACKAGE_FILES.clear()


def test_a_change_far_down_in_the_package_is_seen(copied: Path) -> None:
    before = [meaning(root) for root in ROOTS]
    path = copied / "survival" / "parts.py"
    edited(path, lambda text: text.replace(" / ", " * "))
    after = [meaning(root) for root in ROOTS]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing_here"):
        meaning("her2bayes.errors:nothing_here")


def test_a_name_bound_in_a_function_is_not_the_one_of_the_file(tmp_path: Path) -> None:
    """Moving a function into a file where its local names are taken changes nothing."""
    function = "def build(data):\n    size = len(data)\n    return [size for log in range(size)]\n"
    taken = "from math import log as data\n\n\ndef size():\n    return 1\n\n\n" + function
    (tmp_path / "alone.py").write_text(function)
    (tmp_path / "among.py").write_text(taken)
    alone, among = (runpy.run_path(str(tmp_path / f"{n}.py"))["build"] for n in ("alone", "among"))
    assert meaning(alone) == meaning(among)

"""Imports point one way, model files do not know each other, and no file names a package registry.

The walk reads every import statement wherever it stands (a late import is an import); each rule is
also tried on a small tree with a planted violation, so that a rule that finds nothing does look.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "her2bayes"

LAYERS = (
    ("version", "errors", "estimand", "files"),
    ("evidence",),
    ("bayes", "classical"),
    ("inference", "audit"),
    ("page",),
    ("calibration", "sensitivity"),
    ("results",),
    ("distribution", "transition", "survival", "rates"),
    ("cohorts", "synthesis", "joint"),
    ("reproduce",),
    ("cli", "flags"),
    ("scripts",),
)
"""Lowest first: a file may import its own layer and those below."""

FAMILIES = ("distribution", "transition", "survival", "rates")
"""Rooms that do not know each other."""

RANK = {area: rank for rank, areas in enumerate(LAYERS) for area in areas}

ADDRESSED = ("models", "scripts", "tests", "requirements", ".ci", "data")
"""Folders read for names of registries, beside the files at the top."""

REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "ana" + "conda.org", "npmjs" + ".")


def imports(path: Path, root: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line and module path below the package of each import of this package in a file."""
    package = path.relative_to(root / "models").parts[:-1] if "models" in path.parts else ()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = list(package[: len(package) - node.level + 1]) if node.level else []
            module = above + (node.module.split(".") if node.module else [])
            found = [[*module, alias.name] for alias in node.names]
        else:
            continue
        yield from ((node.lineno, tuple(name[1:])) for name in found if name[0] == PACKAGE)


def files(root: Path) -> Iterator[tuple[str, Path]]:
    """Area and path of every Python file of the package and of the scripts."""
    for path in sorted((root / "models" / PACKAGE).rglob("*.py")):
        yield path.relative_to(root / "models" / PACKAGE).parts[0].removesuffix(".py"), path
    for path in sorted((root / "scripts").rglob("*.py")):
        yield "scripts", path


def violations(root: Path) -> list[str]:
    """Every import that breaks a rule, as ``file:line: what``."""
    faults, areas = [], dict[str, set[str]]()
    models = model_files(root)
    for area, path in files(root):
        if area == "__init__":
            continue
        if area not in RANK:
            faults.append(
                f"{path.relative_to(root)}: '{area}' has no layer in tests/test_layers.py"
            )
            continue
        for line, target in imports(path, root):
            # ``from her2bayes import __version__`` names no file.
            if target and target[0] in RANK:
                areas.setdefault(area, set()).add(target[0])
                if problem := forbidden(area, path.stem, target, models):
                    faults.append(f"{path.relative_to(root)}:{line}: {problem}")
    return faults + circles(areas)


def model_files(root: Path) -> set[str]:
    """Names of the files that build a model."""
    return {
        path.stem
        for path in (root / "models" / PACKAGE).rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == "build"
    }


def forbidden(area: str, name: str, target: tuple[str, ...], models: set[str]) -> str | None:
    """What is wrong with one import, if anything."""
    if RANK[target[0]] > RANK[area]:
        return f"'{area}' imports '{target[0]}', which is above it"
    if target[0] == "cli" and area != "scripts":
        return "only scripts import 'cli'"
    if area in FAMILIES and target[0] in FAMILIES and area != target[0]:
        return f"the family '{area}' imports the family '{target[0]}'"
    above = area not in FAMILIES and target[0] in FAMILIES  # a model made of the families'
    if name in models and models.intersection(target[1:]) and not above:
        return f"the model '{area}/{name}.py' imports the model '{target[-1]}'"
    return None


def circles(areas: dict[str, set[str]]) -> list[str]:
    """Areas of one layer that import each other both ways."""
    try:
        TopologicalSorter({area: found - {area} for area, found in areas.items()}).prepare()
    except CycleError as circle:
        return [f"areas import each other: {' <- '.join(circle.args[1])}"]
    return []


def named_registries(root: Path) -> list[str]:
    """Text files that name the host of a package registry."""
    candidates = [path for path in root.iterdir() if path.is_file()]
    for folder in ADDRESSED:
        candidates += [path for path in (root / folder).rglob("*") if path.is_file()]
    found = []
    for path in sorted(candidates):
        content = path.read_bytes()
        if "__pycache__" not in path.parts and any(host.encode() in content for host in REGISTRIES):
            found.append(str(path.relative_to(root)))
    return found


def test_imports_point_one_way() -> None:
    assert violations(ROOT) == []


def test_the_walk_sees_the_package() -> None:
    seen = {area for area, path in files(ROOT) if list(imports(path, ROOT))}
    assert {"evidence", "classical", "inference", "scripts"} <= seen


def test_no_file_names_a_package_registry() -> None:
    assert named_registries(ROOT) == []


BUILD = "from her2bayes.bayes.prior import Prior\n\ndef build(data): ...\n\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project that keeps the rules."""
    for area in (*RANK, "evidence"):
        if area not in ("errors", "estimand", "files", "cli", "scripts"):
            plant(tmp_path, f"models/{PACKAGE}/{area}/__init__.py", "")
    plant(tmp_path, f"models/{PACKAGE}/bayes/prior.py", "from her2bayes.errors import Fault\n")
    plant(tmp_path, f"models/{PACKAGE}/distribution/one.py", BUILD)
    plant(tmp_path, f"models/{PACKAGE}/audit/rows.py", "from her2bayes.classical import tests\n")
    plant(tmp_path, "scripts/audit.py", "from her2bayes import __version__, cli\n")
    assert violations(tmp_path) == []
    return tmp_path


def plant(root: Path, path: str, text: str) -> None:
    """Write one file of a tree."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("evidence/study.py", "from her2bayes.inference.fit import fit\n"),
        ("evidence/study.py", "import her2bayes.page.page\n"),
        ("evidence/study.py", "from ..audit import rows\n"),
        ("evidence/study.py", "from .. import page\n"),
        ("evidence/study.py", "def late():\n    from her2bayes.inference import estimates\n"),
        ("errors.py", "from her2bayes.evidence import study\n"),
        ("distribution/two.py", BUILD + "from her2bayes.distribution.one import build\n"),
        ("distribution/two.py", BUILD + "from her2bayes.distribution import one\n"),
        ("distribution/two.py", BUILD + "from . import one\n"),
        ("distribution/two.py", BUILD + "from .one import build\n"),
        ("page/page.py", "from her2bayes.cli import out\n"),
        ("classical/back.py", "from her2bayes.inference import fit\n"),
        ("novel/thing.py", ""),
        ("survival/draws.py", "from her2bayes.transition import draws\n"),
    ],
)
def test_a_planted_violation_is_found(tree: Path, path: str, text: str) -> None:
    plant(tree, f"models/{PACKAGE}/{path}", text)
    assert len(violations(tree)) == 1


def test_a_planted_registry_is_found(tree: Path) -> None:
    plant(tree, "scripts/install.sh", f"pip install --index-url https://{REGISTRIES[0]}/simple x\n")
    assert named_registries(tree) == ["scripts/install.sh"]

"""Every remedy of the code is walked once: files, columns, scripts and options it names exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from her2bayes.evidence.printed.schema import TABLES
from her2bayes.evidence.printed.tables import RECONSTRUCTION as FILE

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(ROOT / "models").rglob("*.py"), *(ROOT / "scripts").glob("*.py")])
FILES = {*TABLES, "study.toml", FILE, "README.md"}
# files of a user or of a portal that remedies speak of
OTHERS = {"map.toml", "patients.csv", "other.csv", "outside.csv", "pyproject.toml"}


def remedies() -> Iterator[tuple[str, str]]:
    """Place and text of each string that is, or is put together into, a remedy."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for part in _remedy_parts(node):
                for text in _texts(part):
                    yield f"{path.relative_to(ROOT)}:{part.lineno}", text


def _remedy_parts(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Assign):
        names = [t.id for t in node.targets if isinstance(t, ast.Name)]
        if "remedy" in names:
            yield node.value
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Fault":
        yield from (keyword.value for keyword in node.keywords if keyword.arg == "remedy")
        yield from node.args[6:7]


def _texts(node: ast.expr) -> Iterator[str]:
    """Text constants of an expression; a value put into an f-string is a blank."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(v.value if isinstance(v, ast.Constant) else "\0" for v in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif not isinstance(node, ast.Constant):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                yield from _texts(child)


def options() -> set[str]:
    """Options of all scripts: written out, or by the name of a parameter."""
    found = {"--help", "--json", "--version"}
    for path in [*(ROOT / "scripts").glob("*.py"), ROOT / "models" / "her2bayes" / "cli.py"]:
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"--[a-z][a-z-]*[a-z]", text))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                found |= {f"--{arg.arg.replace('_', '-')}" for arg in node.args.args}
    return found


def test_there_are_remedies_to_walk():
    found = list(remedies())
    assert len(found) > 200


def test_files_named_exist():
    named = [
        (place, file)
        for place, text in remedies()
        for file in re.findall(r"(?<![\w./\0-])[a-z_]+\.(?:csv|toml|md)\b", text)
    ]
    assert named
    assert not [x for x in named if x[1] not in FILES | OTHERS]


def test_options_and_scripts_named_exist():
    known = options()
    wrong = [
        (place, option)
        for place, text in remedies()
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text)
        if option not in known
    ]
    assert not wrong
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")} | {"test"}
    called = [x for _, text in remedies() for x in re.findall(r"scripts/run ([a-z_]+)", text)]
    assert called
    assert set(called) <= scripts


def test_columns_named_exist_in_the_evidence():
    columns = {column.name for table in TABLES.values() for column in table}
    for place, text in remedies():
        if "/evidence/" in place and "cohort" not in place and "map" not in place:
            for name in re.findall(r"\binto column ([a-z_]+)\b", text):
                assert name in columns, (place, text)

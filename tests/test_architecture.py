"""docs/ARCHITECTURE.md names the rooms that are there, in one page."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs" / "ARCHITECTURE.md"
TEXT = FILE.read_text("utf-8")


def tree() -> set[str]:
    """Paths below the package that the first block draws by indentation."""
    block = TEXT.partition("```\nmodels/her2bayes/\n")[2].partition("data/")[0]
    found, above = set(), list[str]()
    for line in block.splitlines():
        indent, name = re.match(r"( +)(\S+)", line).groups()  # type: ignore[union-attr]
        above = [*above[: len(indent) // 2 - 1], name.rstrip("/")]
        found.add("/".join(above))
    return found


def test_the_tree_is_that_of_the_code() -> None:
    package = ROOT / "models" / "her2bayes"
    folders = {p.parent.relative_to(package) for p in package.rglob("__init__.py")} - {Path()}
    there = {str(folder) for folder in folders} | {path.name for path in package.glob("*.py")}
    assert tree() == there


def test_files_named_are_there() -> None:
    named = re.findall(r"`((?:[\w/]+/)+\w+\.(?:py|md))`", TEXT)
    assert len(named) > 3
    places = (ROOT, ROOT / "models" / "her2bayes")
    assert [n for n in named if not any((place / n).exists() for place in places)] == []


def test_it_is_one_page() -> None:
    assert len(TEXT.splitlines()) <= 120

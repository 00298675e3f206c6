"""The lock files hold what pyproject.toml asks for, exactly, hashed, and agree with one another."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WANTED = {
    "base": PROJECT["project"]["dependencies"],
    **PROJECT["project"]["optional-dependencies"],
    **PROJECT["dependency-groups"],
}

OWN = {"her2bayes", "agreement", "benchmarks", "documents", "reference"}
"""The package, what tests share, what stands beside the scripts."""

OPTIONAL = {"pyspark"}
"""Imported only where the user brings it."""


def pins(name: str) -> dict[str, str]:
    """Package -> version of a lock file; fails on a line that is neither pin nor hash."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    found = {}
    for entry in text.replace("\\\n", " ").splitlines():
        pin, *hashes = entry.split(" --hash=")
        assert hashes, f"{name}.txt: no hash in {entry!r}"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64} *", value) for value in hashes), entry
        match = re.match(r"([a-z0-9-]+)==([^ ;]+)", pin)
        assert match, f"{name}.txt: {pin!r} is no exact version"
        found[match[1]] = match[2]
    return found


@pytest.mark.parametrize("name", sorted(WANTED))
def test_everything_wanted_is_pinned_to_a_version_allowed(name: str) -> None:
    held = pins("base") | pins(name)
    for line in WANTED[name]:
        requirement = Requirement(line)
        version = held[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{line} is locked at {version}"


def test_each_lock_belongs_to_something() -> None:
    assert {path.stem for path in (ROOT / "requirements").glob("*.txt")} == set(WANTED)


def test_locks_agree() -> None:
    seen: dict[str, set[str]] = {}
    for name in WANTED:
        for package, version in pins(name).items():
            seen.setdefault(package, set()).add(version)
    assert {package for package, versions in seen.items() if len(versions) > 1} == set()


def third_party(*folders: str) -> set[str]:
    """Distributions that the Python files of some folders import."""
    providers = packages_distributions()
    found: set[str] = set()
    for path in (file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            tops = {module.split(".")[0] for module in modules} - sys.stdlib_module_names
            found |= {canonicalize_name(name) for top in tops for name in providers.get(top, [top])}
    return found - OWN


@pytest.mark.parametrize(
    ("folders", "places"),
    [(("models", "scripts"), ("base",)), (("tests",), ("base", "test", "browser"))],
)
def test_every_import_is_declared(folders: tuple[str, ...], places: tuple[str, ...]) -> None:
    declared = {
        canonicalize_name(Requirement(line).name) for name in places for line in WANTED[name]
    }
    assert third_party(*folders) - declared - OPTIONAL == set()

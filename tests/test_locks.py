"""The lock files hold what pyproject.toml asks for, exactly, hashed, and agree with one another."""

from __future__ import annotations

import re
import tomllib
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

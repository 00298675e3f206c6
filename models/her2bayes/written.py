"""What a script has written for its user: every writer notes it, the command line tells it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_paths: dict[Path, None] = {}


def note(paths: Iterable[Path]) -> None:
    """Remember files that stand complete under their final names."""
    _paths.update(dict.fromkeys(paths))


def peek() -> list[Path]:
    """Files noted since the last ``take``, in the order they were first noted."""
    return list(_paths)


def take() -> list[Path]:
    """Give what ``peek`` gives, and start anew."""
    found = peek()
    _paths.clear()
    return found

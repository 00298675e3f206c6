"""The name a user most likely meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(given: str, known: Iterable[str]) -> str | None:
    """Return the known name most like the given one, upper and lower case alike, if any is."""
    folded = {name.casefold(): name for name in known if name}
    near = get_close_matches(given.casefold(), list(folded), n=1, cutoff=0.5)
    return folded[near[0]] if near else None


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return a remedy: the nearest known name, or to use one of those listed."""
    name = nearest(given, known)
    return f"did you mean '{name}'?" if name else "use one of those listed"

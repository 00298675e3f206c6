"""The name a user most likely meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return a remedy: the nearest known name, or to use one of those listed."""
    names = [name for name in known if name]
    folded = {name.casefold(): name for name in names}
    near = get_close_matches(given.casefold(), list(folded), n=1, cutoff=0.5)
    return f"did you mean '{folded[near[0]]}'?" if near else "use one of those listed"

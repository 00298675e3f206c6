"""Places without data that give tables of different size one shape, hence one compiled model.

A place is marked by its label. It carries no patients and no effect of its own, hence changes no
other draw's distribution; ``inference`` drops it from everything a fit returns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_MARK = "(no data) "


def places(needed: int, least: int = 8) -> int:
    """Return the size to pad to: the first of ``least``, twice it, four times it, ... that fits."""
    size = least
    while size < needed:
        size *= 2
    return size


def padded(labels: Iterable[Any], size: int) -> list[str]:
    """Extend labels to ``size`` with marked places."""
    known = [str(label) for label in labels]
    return known + [f"{_MARK}{place}" for place in range(len(known) + 1, size + 1)]


def is_padding(label: Any) -> bool:
    """Tell whether a label marks a place without data."""
    return isinstance(label, str) and label.startswith(_MARK)

"""Texts of a script's flags as the values that the functions of the interface take."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

from her2bayes.errors import BadInput, Fault


def choice(value: str, option: str, allowed: Sequence[str]) -> Any:
    """One of the values an option allows."""
    if value not in allowed:
        raise BadInput(Fault(f"{option} cannot be read", value=value, allowed=", ".join(allowed)))
    return value


def numbers(text: str, option: str) -> list[float]:
    """Numbers separated by commas."""
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise BadInput(Fault(f"{option} cannot be read", value=text, allowed="12,24,60")) from error


def factors(texts: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
    """Read ``her2`` or ``her2=zero,low,positive`` (levels in that order, others left out).

    A level that holds a comma stands in double quotes.
    """
    found: dict[str, tuple[str, ...] | None] = {}
    for text in texts:
        name, mark, levels = text.partition("=")
        names = _listed(levels) if levels.strip() else ()
        if not name or (mark and not names) or name in found:
            raise BadInput(
                Fault(
                    "--by cannot be read", value=text, allowed="column or column=level,level; once"
                )
            )
        found[name.strip()] = names or None
    return found


def several(texts: Sequence[str], option: str) -> dict[str, tuple[str, ...]]:
    """Read ``column=code,code`` options into a mapping; a code with a comma stands in quotes."""
    return {name: _listed(value) for name, value in assigned(texts, option).items()}


def assigned(texts: Sequence[str], option: str) -> dict[str, str]:
    """Read ``a=b`` options into a mapping."""
    found = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not (mark and name.strip() and value.strip()):
            raise BadInput(Fault(f"{option} cannot be read", value=text, allowed="name=value"))
        found[name.strip()] = value.strip()
    return found


def _listed(text: str) -> tuple[str, ...]:
    (row,) = csv.reader([text], skipinitialspace=True)
    return tuple(part.strip() for part in row if part.strip())

"""Dates of a column: written year first, or in the one order that the whole column allows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

from her2bayes.errors import Fault

LOOKS_LIKE = r"^\d{1,4}[-./]\d{1,2}[-./]\d{1,4}( |T|$)"
DAY_FIRST, MONTH_FIRST = "day first", "month first"
_YEAR_LAST = re.compile(r"(\d{1,2})([-./])(\d{1,2})\2(\d{4})")
_YEAR_FIRST = re.compile(r"(\d{4})([-./])(\d{1,2})\2(\d{1,2})([ T].*)?")


def date_reader(
    texts: Iterable[str], said: str, place: dict[str, Any]
) -> tuple[Callable[[str], date | None], list[Fault]]:
    """Return a reader of the dates of one column, and one fault where their order is not decided.

    ``said`` is "day first", "month first" or empty; ``place`` holds file and column of faults. The
    order is decided where some number above 12 can only be a day.
    """
    found = [m for text in texts if (m := _YEAR_LAST.fullmatch(text.strip()))]
    day_first = any(int(m[1]) > 12 for m in found)
    month_first = any(int(m[3]) > 12 for m in found)
    faults = []
    if said:
        day_first = said == DAY_FIRST
    elif found and day_first == month_first:
        both = "some dates have the day first, some the month" if day_first else (
            "every date can be read with the day or the month first"
        )  # fmt: skip
        remedy = f'say so in the map: [dates] "{place["column"]}" = "day first" or "month first"'
        faults = [Fault(both, **place, value=found[0][0], remedy=remedy)]

    def read(text: str) -> date | None:
        plain = text.strip()
        last, first = _YEAR_LAST.fullmatch(plain), _YEAR_FIRST.fullmatch(plain)
        if last:
            a, b, year = int(last[1]), int(last[3]), int(last[4])
            return _date(year, *((b, a) if day_first else (a, b)))
        return _date(int(first[1]), int(first[3]), int(first[4])) if first else None

    return read, faults


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None

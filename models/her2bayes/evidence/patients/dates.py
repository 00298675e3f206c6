"""Dates of a column: written year first, or in the one order that the whole column allows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from her2bayes.errors import Fault

LOOKS_LIKE = r"^(\d{1,4}[-./]\d{1,2}[-./]\d{1,4}|\d{1,2}[-./ ]?[A-Za-z]{3,9}[-./, ]*\d{4})([ T:]|$)"
DAY_FIRST, MONTH_FIRST = "day first", "month first"
_TIME = r"(?:[ T:]\d{1,2}:\d{2}.*)?"
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([-./])(\d{{1,2}})\2(\d{{4}}){_TIME}")
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-./])(\d{{1,2}})\2(\d{{1,2}}){_TIME}")
_NAMED = re.compile(rf"(\d{{1,2}})[-./ ]?([a-z]{{3}})[a-z]*[-./, ]*(\d{{4}}){_TIME}")  # 03-JAN-2015
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class Reader:
    """Reads the dates of one column; ``order`` is empty where no date needs one."""

    order: str

    def __call__(self, text: str) -> date | None:
        """The date of a cell; None where it is none."""
        plain = text.strip()
        if last := _YEAR_LAST.fullmatch(plain):
            a, b, year = int(last[1]), int(last[3]), int(last[4])
            return _date(year, *((b, a) if self.order == DAY_FIRST else (a, b)))
        if first := _YEAR_FIRST.fullmatch(plain):
            return _date(int(first[1]), int(first[3]), int(first[4]))
        named = _NAMED.fullmatch(plain.lower())
        if named and named[2] in _MONTHS:
            return _date(int(named[3]), _MONTHS.index(named[2]) + 1, int(named[1]))
        return None


def date_reader(
    texts: Iterable[str], said: str, place: dict[str, Any]
) -> tuple[Reader, list[Fault]]:
    """Return a reader of the dates of one column, and one fault where their order is not decided.

    ``said`` is "day first", "month first" or empty; ``place`` holds file and column of faults. The
    order is decided where some number above 12 can only be a day.
    """
    found = [m for text in texts if (m := _YEAR_LAST.fullmatch(text.strip()))]
    if said or not found:
        return Reader(said if found else ""), []
    day_first = any(int(m[1]) > 12 for m in found)
    month_first = any(int(m[3]) > 12 for m in found)
    if day_first != month_first:
        return Reader(DAY_FIRST if day_first else MONTH_FIRST), []
    both = (
        "some dates have the day first, some the month"
        if day_first
        else "every date can be read with the day or the month first"
    )
    remedy = f'say so in the map: [dates] "{place["column"]}" = "day first" or "month first"'
    return Reader(""), [Fault(both, **place, value=found[0][0], remedy=remedy)]


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None

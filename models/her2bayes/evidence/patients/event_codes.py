"""What codes of events and dates of a column mean; what is unclear is asked.

Nothing is taken as censored only because it is not the event: a third code may be "unknown", and
the column CNSR of clinical-trial files (CDISC ADaM) is 0 where the event happened. A date has its
year first, or the one order that the whole column allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from her2bayes.errors import Fault

EVENT, CENSORED, MISSING = "event", "censored", "missing"
# cBioPortal writes "1:DECEASED"
WORDS = {
    **dict.fromkeys(("0", "0.0", "false", "no"), CENSORED),
    **dict.fromkeys(("1", "1.0", "true", "yes"), EVENT),
}
_UNKNOWN = re.compile(r"(-1|8|9|88|99|888|999|9999|u|unk|unknown|missing|not known|[?.])")
_CENSORING = re.compile(r"(.*[ _.])?(is_?)?(cnsr|cens(or(ed|ing)?)?)([ _.].*|code|status|flag)?")
MOST_CODES = 20


@dataclass(frozen=True)
class Asked:
    """What the caller says of the codes, all as text; ``causes``: the codes are causes as well."""

    event: str | None = None
    censored: tuple[str, ...] = ()
    causes: bool = False


@dataclass(frozen=True)
class Codes:
    """Meaning and number of rows of each code in the order of their numbers, and the faults."""

    meaning: Mapping[str, str]
    count: Mapping[str, int]
    faults: tuple[Fault, ...] = field(default=())

    def lines(self, column: str) -> list[str]:
        """One line for the user: every code, what it is taken as, in how many rows."""
        parts = [f"{code or 'empty'} = {self.meaning[code]} ({n:,})" for code, n in self.sorted]
        return [f"event column '{column}': {', '.join(parts)}"] if parts else []

    @property
    def sorted(self) -> list[tuple[str, int]]:
        """Codes with their numbers, the commonest first within events, censored, missing."""
        order = (EVENT, CENSORED, MISSING)
        return sorted(
            self.count.items(), key=lambda item: (order.index(self.meaning[item[0]]), -item[1])
        )


def decide(
    count: Mapping[str, int], missing: frozenset[str], asked: Asked, column: str, file: str | None
) -> Codes:
    """Say what the codes of a column mean; ``count`` holds the rows of each (text, as written)."""
    known = sorted((c for c in count if c.lower() not in missing), key=lambda c: (len(c), c))
    place: dict[str, Any] = {"file": file, "column": column}
    if len(known) > MOST_CODES:
        problem = f"holds {len(known)} different values, too many for event codes"
        return Codes({}, count, (Fault(problem, **place, allowed="0 and 1"),))
    meaning, faults = _meaning(known, asked, column, place)
    unclear = [code for code in known if code not in meaning]
    if unclear and not faults:
        faults = [_unclear(unclear, known, asked, place)]
    meaning |= dict.fromkeys(set(count) - set(known), MISSING)
    return Codes(meaning, count, tuple(faults))


def _meaning(
    known: Sequence[str], asked: Asked, column: str, place: Mapping[str, Any]
) -> tuple[dict[str, str], list[Fault]]:
    """Meaning of the codes that have only one, and what is wrong with what was asked."""
    lower = {code.lower(): code for code in known}
    said = {"event": (asked.event,) if asked.event is not None else (), "censored": asked.censored}
    faults = [
        Fault(
            f"no row has the {kind} code '{code}'", **place, allowed=", ".join(known[:MOST_CODES])
        )
        for kind, codes in said.items()
        for code in codes
        if code.lower() not in lower
    ]
    named = {lower[c.lower()]: CENSORED for c in asked.censored if c.lower() in lower}
    if asked.causes and asked.event is None:
        named = named or {code: CENSORED for code in known if WORDS.get(code.lower()) == CENSORED}
        return (dict.fromkeys(known, EVENT) | named if named else {}), faults
    if asked.event is None:
        if is_censoring(column) and not asked.censored:
            return {}, [_named_censoring(known, place)]
        return {c: WORDS[_word(c)] for c in known if _word(c) in WORDS} | named, faults
    event = {lower[asked.event.lower()]: EVENT} if asked.event.lower() in lower else {}
    others = [code for code in known if code not in event]
    told = column.lower() == "cnsr" and asked.event == "0"  # CDISC: all above 0 are censored
    if not asked.censored and (told or len(others) == 1):
        named = {c: CENSORED for c in others if told or not _UNKNOWN.fullmatch(c.lower())}
    return named | event, faults


def is_censoring(column: str) -> bool:
    """Whether a column's name says censoring, where 1 (in CDISC) means that nothing happened."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column)
    return bool(_CENSORING.fullmatch(spaced.lower()))


def _word(code: str) -> str:
    return re.sub(r"^([01]):.*$", r"\1", code.lower())


def _named_censoring(known: Sequence[str], place: Mapping[str, Any]) -> Fault:
    zero = next((code for code in known if WORDS.get(code.lower()) == CENSORED), known[0])
    others = [f"--event-code {code} where it is {code}" for code in known[:4] if code != zero]
    return Fault(
        "the column's name says censoring: which code is the event?",
        **place,
        value=", ".join(known[:MOST_CODES]),
        remedy="; ".join(
            [f"--event-code {zero} where {zero} is the event (as in CNSR of CDISC)", *others]
        ),
    )


def _unclear(
    unclear: Sequence[str], known: Sequence[str], asked: Asked, place: Mapping[str, Any]
) -> Fault:
    """Fault that names the codes without a meaning and how to give them one."""
    column = place["column"]
    odd = [code for code in unclear if _UNKNOWN.fullmatch(code.lower())]
    plain = [code for code in unclear if code not in odd]
    parts = []
    if asked.causes and asked.event is None:
        parts.append(f"say which code is censored (--censored-code {known[0]})")
    elif asked.event is None and not asked.censored:
        parts.append("say which value is the event (--event-code VALUE)")
        if sorted(known) == ["1", "2"]:
            parts.append("where 2 is the event, as in R: --event-code 2")
        elif all(code.isdigit() for code in known) and not odd:
            parts.append(f"or, where they are kinds of event: --cause {column}")
    if len(known) > 2 and not (asked.causes and asked.event is None):
        said = " ".join(f"--censored-code {code}" for code in plain or odd)
        parts.append(said if plain else f"where censored: {said}")
    if odd:
        parts.append(f"what is not known: --missing {column}={','.join(odd)}")
    return Fault(
        f"event codes are {', '.join(known)}; nothing says what {', '.join(unclear)} mean",
        **place,
        allowed="0/1, false/true, no/yes, or codes that are named",
        remedy="; ".join(parts),
    )


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

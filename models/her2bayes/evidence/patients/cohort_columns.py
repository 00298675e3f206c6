"""Columns of a patient file as canonical values: HER2, receptors, roles, events, levels, times."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from her2bayes.errors import Fault
from her2bayes.evidence.classify import (
    is_missing,
    parse_receptor,
    parse_score,
    parse_verdict,
    without_notes,
)
from her2bayes.evidence.patients.cohort_sources import Sources, texts
from her2bayes.evidence.patients.event_codes import (
    CENSORED,
    EVENT,
    LOOKS_LIKE,
    MISSING,
    Codes,
    Reader,
    date_reader,
    is_censoring,
)
from her2bayes.evidence.patients.maps_schema import EndpointMap, FactorMap

MAX_LEVELS = 60
MONTHS = {"days": 12 / 365.25, "months": 1.0, "years": 12.0}
ROLES: Mapping[str, str] = {
    **dict.fromkeys(("primary", "primary tumor", "primary tumour"), "primary"),
    "primary solid tumor": "primary",
    **dict.fromkeys(
        (
            "metastasis", "metastatic", "met", "distant metastasis", "recurrence", "recurrent",
            "recurrent tumor", "local recurrence", "locoregional recurrence", "relapse",
        ),
        "recurrence",
    ),
    **dict.fromkeys(("normal", "solid tissue normal", "blood", "blood derived normal"), "other"),
}  # fmt: skip
EVENTS: Mapping[str, int] = {
    **dict.fromkeys(
        ("1", "1.0", "yes", "true", "event", "deceased", "dead", "died", "progressed", "recurred",
         "recurred/progressed", "progression", "recurrence", "relapse"), 1,
    ),
    **dict.fromkeys(
        ("0", "0.0", "no", "false", "censored", "living", "alive", "diseasefree", "disease free",
         "disease-free", "not recurred"), 0,
    ),
}  # fmt: skip
_MIXED = "numbers and dates in one column"


def scores(sources: Sources, name: str) -> np.ndarray:
    """IHC scores as ``2`` or ``0 1`` (a range), empty where missing."""
    known = {score for score, _ in sources.map.scheme.scores} | {"3"}
    words = sources.map.words.get("ihc", {})

    def understand(text: str) -> str | None:
        word = words.get(_plain(text), text)
        if is_missing(word):
            return ""
        parsed = parse_score(word)
        return None if parsed is None or not set(parsed) <= known else " ".join(parsed)

    allowed = "0, 1+, 2+, 3+, ranges such as 0-1+, notes in brackets"
    if "ultralow" in known:
        allowed += ", ultralow"
    return texts(sources, name, understand, allowed, _translate("ihc", "2+"))


def verdicts(sources: Sources, name: str, kind: str) -> np.ndarray:
    """``positive``, ``negative`` or empty of a column of kind ish, overall, er, pr or hr."""
    words = sources.map.words.get(kind, {})
    threshold = float(sources.map.rules["hr_threshold"])
    receptor = kind in ("er", "pr")

    def understand(text: str) -> str | None:
        word = words.get(_plain(text)) or words.get(without_notes(text))
        if word:
            return "" if word in ("equivocal", "missing") else word
        return parse_receptor(text, threshold) if receptor else parse_verdict(text)

    allowed = "positive, negative, equivocal" + (", per cent 0 to 100" if receptor else "")
    return texts(sources, name, understand, allowed, _translate(kind, "positive"))


def roles(sources: Sources) -> np.ndarray:
    """Kind of tissue of each row: ``primary``, ``recurrence``, ``other`` or empty."""
    words = {**ROLES, **sources.map.words.get("sample_type", {})}
    remedy = _translate("sample_type", "recurrence")
    return texts(
        sources, sources.map.columns["sample_type"], lambda text: words.get(_plain(text)),
        "primary, metastasis, recurrence, local recurrence, normal", remedy,
    )  # fmt: skip


def events(sources: Sources, endpoint: EndpointMap) -> np.ndarray:
    """1 event, 0 censored, NaN where missing."""

    def understand(text: str) -> str | None:
        return _event(text, endpoint)

    place = f"[endpoints.{endpoint.name}]"
    if is_censoring(endpoint.event) and not endpoint.events:
        problem = "the column's name says censoring: which code is the event? (CNSR of CDISC: 0)"
        say = f'say under {place} events = ["0"] and censored = ["1"], or the other way round'
        sources.faults.append(
            Fault(problem, file=sources.map.path, column=endpoint.event, remedy=say)
        )
    remedy = f'say under {place} events = ["…"] and censored = ["…"]'
    found = texts(sources, endpoint.event, understand, "1 or 0, deceased or living", remedy)
    return np.array([float(text) if text else math.nan for text in found])


def _event(text: str, endpoint: EndpointMap) -> str | None:
    words: dict[str, int] = dict(EVENTS)
    if endpoint.events or endpoint.censored:
        words = dict.fromkeys(map(_plain, endpoint.events), 1)
        words |= dict.fromkeys(map(_plain, endpoint.censored), 0)
    plain = _plain(text)
    coded = re.match(r"([01]):", plain)
    if plain in words:
        return str(words[plain])
    return coded[1] if coded and not endpoint.events else None


def event_codes(sources: Sources, endpoint: EndpointMap) -> Codes:
    """What each code of an endpoint's event column was taken as, and in how many rows it stands."""
    found = sources.find(endpoint.event)
    if found is None:
        return Codes({}, {})
    table, bare, _ = found
    numbers_ = table.frame[bare].str.strip().value_counts()
    count = {str(text): int(n) for text, n in numbers_.items()}
    meant = {"1": EVENT, "0": CENSORED}
    missing = sources.map.missing_in(endpoint.event)
    meaning = {
        text: MISSING if is_missing(text, missing) else meant.get(str(_event(text, endpoint)), "")
        for text in count
    }
    return Codes(meaning, count)


def plain_texts(sources: Sources, name: str) -> np.ndarray:
    """Text of a column as written, empty where missing."""
    return texts(sources, name, lambda text: " ".join(text.split()), "text", "")


def levels(sources: Sources, factor: FactorMap) -> np.ndarray:
    """Level of a factor for each row, empty where missing."""
    if factor.cut:
        return _cut(numbers(sources, factor.column), factor)

    def understand(text: str) -> str | None:
        if factor.words:
            return factor.words.get(_plain(text), factor.other)
        return " ".join(text.split())

    place = f"[factors.{factor.name}]"
    known = ", ".join(sorted(set(factor.words.values()))) or "text"
    remedy = (
        f'translate it under [factors.{factor.name}.values], or set other = "others" in {place}'
    )
    found = texts(sources, factor.column, understand, known, remedy, level=True)
    count = len(set(found) - {""})
    if count > MAX_LEVELS:
        remedy = f"give cut = [...] for a number, or group the values under {place}"
        sources.faults.append(
            Fault(f"factor '{factor.name}' has {count} levels", file=sources.map.path,
                  column=f"factors.{factor.name}", allowed=f"up to {MAX_LEVELS}", remedy=remedy)
        )  # fmt: skip
    return found


def cut_names(points: tuple[float, ...]) -> tuple[str, ...]:
    """Names of intervals between cut points, closed on the right: ``<=50``, ``50-70``, ``>70``."""
    texts_ = [f"{point:g}" for point in points]
    between = ["-".join(pair) for pair in pairwise(texts_)]
    return (f"<={texts_[0]}", *between, f">{texts_[-1]}")


def _cut(values: np.ndarray, factor: FactorMap) -> np.ndarray:
    named = np.array(factor.labels or cut_names(factor.cut), dtype=object)
    index = np.searchsorted(factor.cut, np.nan_to_num(values), side="left")
    return np.where(np.isnan(values), "", named[index])


def numbers(sources: Sources, name: str) -> np.ndarray:
    """Float of each row, NaN missing: numbers, dates as days, ``derived`` names as differences."""
    if name in sources.map.derived:
        terms = sources.map.derived[name]
        first, second = (numbers(sources, term) for term in terms)
        kinds = {sources.kinds.get(term, "") for term in terms} - {""}
        if len(kinds) > 1:
            _once(sources, "a difference of a date and a number", f"derived.{name}",
                  "name two columns of dates, or two of numbers")  # fmt: skip
        sources.kinds[name] = "days" if "date" in kinds else next(iter(kinds), "")
        return first - second
    sources.read_decimal_commas(name)
    seen: set[str] = set()
    known = sources.find(name)
    written = list(known[0].frame[known[1]].unique()) if known else []
    place = {"file": str(known[0].path) if known else "", "column": known[1] if known else name}
    read, faults = date_reader(written, sources.map.dates.get(place["column"], ""), place)
    sources.faults += [fault for fault in faults if fault not in sources.faults]
    if read.order:
        sources.remarks.append(f"dates of {place['column']} read with the {read.order}")

    def understand(text: str) -> str | None:
        value, kind = _number_or_date(text.strip(), read)
        seen.add(kind)
        return "" if value is None and faults and re.match(LOOKS_LIKE, text.strip()) else value

    remedy = f'correct it, or list it in the map: [missing_in] "{place["column"]}" = ["…"]'
    found = texts(
        sources,
        name,
        understand,
        "a number or a date like 2015-03-31 or 31/3/2015",
        remedy,
        number=True,
    )
    sources.kinds[name] = next(iter(seen - {""}), "")
    if {"number", "date"} <= seen:
        table, bare, _ = sources.find(name) or (sources.table, name, False)
        sources.faults.append(Fault(_MIXED, file=table.path, column=bare, remedy="use one of them"))
    return np.array([float(text) if text else math.nan for text in found])


def months(sources: Sources, endpoint: EndpointMap, name: str) -> np.ndarray:
    """Months of an endpoint's time or entry; dates, or days taken for another unit, are faults."""
    values = numbers(sources, name)
    kind, place = sources.kinds.get(name, ""), f"endpoints.{endpoint.name}"
    if kind == "date":
        remedy = 'take the difference of two dates: [derived] os_days = ["LAST", "FIRST"]'
        _once(sources, f"'{name}' holds dates, not the time between two of them", place, remedy)
    elif kind == "days" and endpoint.unit != "days":
        remedy = f'say unit = "days" under [{place}]'
        problem = f"'{name}' is a difference of dates, in days, not in {endpoint.unit}"
        _once(sources, problem, f"{place}.unit", remedy)
    return values * MONTHS[endpoint.unit]


def _once(sources: Sources, problem: str, place: str, remedy: str) -> None:
    fault = Fault(problem, file=sources.map.path, column=place, remedy=remedy)
    if fault not in sources.faults:
        sources.faults.append(fault)


def _number_or_date(text: str, read: Reader) -> tuple[str | None, str]:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and "_" not in text:
        return repr(value), "number"
    found = read(text)
    return (None, "") if found is None else (repr(float(found.toordinal())), "date")


def _plain(text: str) -> str:
    return " ".join(text.strip().lower().split())


def _translate(kind: str, example: str) -> str:
    return f'correct it, or translate it in the map: [values.{kind}] "as written" = "{example}"'

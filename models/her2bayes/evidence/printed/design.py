"""``study.toml``: what was studied, and the names its tables and estimands may use."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from her2bayes.errors import Fault, suggestion
from her2bayes.evidence.printed.csv_rows import read_text
from her2bayes.evidence.printed.schema import SCHEMA_VERSION

DESIGN = "study.toml"
"""The file that names the study, its factors, measures and endpoints."""

STUDY_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""A study's id is a folder name on every system."""

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED_IN_LEVELS = ("=", ",", ";", "|", "[", "]", "@", " vs ", "->", "\n")
_REQUIRED = {"schema": int, "id": str, "title": str, "citation": str, "patients": int}
_OPTIONAL: dict[str, type] = {
    "doi": str, "licence": str, "design": str, "time_unit": str, "alpha": float,
    "setting": str, "pairs": str, "assay": str, "years": tuple, "centres": int,
}  # fmt: skip
SETTINGS = ("early", "metastatic", "any stage")
"""Patients a study is of, as far as its HER2 shares depend on it."""

PAIRS = (
    "primary to recurrence",
    "before to after neoadjuvant",
    "primary to node",
    "biopsy to surgery",
    "local to central",
)
"""What the two HER2 readings of a patient are of; studies of different pairs are never pooled."""

CLASSES = {
    "null": ("null",),
    "ultralow": ("ultralow",),
    "zero": ("null", "ultralow"),
    "low": ("low",),
    "positive": ("positive",),
    "negative": ("null", "ultralow", "low"),
}
"""HER2 classes that have one meaning in all studies, as sets of the finest."""

_TEXTS = ("methods", "headline")
_NESTED = ("factors", "measures", "endpoints")
_SECTIONS = (*_TEXTS, *_NESTED)
_KEYS: dict[str, dict[str, type]] = {
    "factors": {"label": str, "levels": list},
    "measures": {"label": str, "unit": str},
    "endpoints": {"label": str, "unit": str, "origin": str},
}
_EXTRA_KEYS: dict[str, dict[str, type]] = {
    "factors": {"parent": str, "within": dict, "unknown": list, "groups": dict, "means": dict},
    "measures": {},
    "endpoints": {"event": str},
}
_NO_NUMBERS = ("p_value", "significant")
_TYPES = {
    str: "text in quotes",
    int: "a whole number",
    float: "a number",
    list: 'a list of texts, ["a", "b"]',
    tuple: "the first and the last year, [2009, 2018]",
    dict: "a table, { name = value }",
}


@dataclass(frozen=True)
class Factor:
    """A characteristic of patients and the levels a table prints for it.

    ``parent`` and ``within`` (level -> level of the parent) describe nesting, ``unknown`` the
    levels outside the tables, ``groups`` named unions of levels, ``means`` what HER2 classes of
    names of the study's own are in all studies (``CLASSES``). ``open`` says that faults of
    study.toml leave the levels unknown: any may be meant.
    """

    name: str
    label: str
    levels: tuple[str, ...]
    parent: str = ""
    within: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    means: dict[str, tuple[str, ...]] = field(default_factory=dict)
    open: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Everything a condition on the factor may name: levels, unknown ones, groups."""
        return (*self.levels, *self.unknown, *self.groups)


@dataclass(frozen=True)
class Design:
    """The whole ``study.toml`` as ``meta``, and its parts by name."""

    meta: dict[str, Any]
    factors: dict[str, Factor]
    measures: dict[str, dict[str, str]]
    endpoints: dict[str, dict[str, str]]


def read_design(folder: Path) -> tuple[Design | None, list[Fault]]:
    """Read ``study.toml``; the design is None where its faults leave nothing to go on.

    With faults the design holds what can be read, so that the other files are checked against it.
    """
    file = folder / DESIGN
    text = read_text(file)
    if isinstance(text, Fault):
        return None, [text]
    try:
        meta = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        row = int(line.group(1)) if line else None
        remedy = 'write name = "text" or name = number; lists in [ ]'
        return None, [Fault(f"not a TOML file: {error}", file=file, row=row, remedy=remedy)]
    faults = [*_top_faults(meta, file)]
    for section in _NESTED:
        faults += _section_faults(meta, section, file)
    sections = {name: _entries(meta, name) for name in _NESTED}
    factors = {name: _factor(name, given) for name, given in sections["factors"].items()}
    for factor in factors.values():
        if not factor.open:
            faults += _factor_faults(factor, factors, file)
    endpoints = sections["endpoints"]
    faults += _event_faults(endpoints, factors, file)
    if any(name in meta and not isinstance(meta[name], dict) for name in _NESTED):
        return None, faults
    return Design(meta, factors, sections["measures"], endpoints), faults


def _entries(meta: Mapping[str, Any], section: str) -> dict[str, dict[str, Any]]:
    """Entries of a section that are sections themselves."""
    given = meta.get(section, {})
    if not isinstance(given, dict):
        return {}
    return {name: entry for name, entry in given.items() if isinstance(entry, dict)}


def _top_faults(meta: Mapping[str, Any], file: Path) -> Iterator[Fault]:
    known = {**_REQUIRED, **_OPTIONAL}
    for name, value in meta.items():
        if name in _SECTIONS:
            if not isinstance(value, dict):
                yield Fault("not a section", file, None, name, remedy=f"write [{name}.some_name]")
        elif name not in known:
            allowed = ", ".join((*known, *_SECTIONS))
            remedy = suggestion(name, (*known, *_SECTIONS))
            yield Fault("no such entry", file, None, name, allowed=allowed, remedy=remedy)
    for section in _TEXTS:
        yield from _text_faults(meta.get(section, {}), section, file)
    yield from _type_faults(meta, "", _REQUIRED, _OPTIONAL, file)
    yield from _value_faults(meta, file)


def _text_faults(entries: Any, section: str, file: Path) -> Iterator[Fault]:
    for name, value in entries.items() if isinstance(entries, dict) else ():
        if not isinstance(value, str):
            remedy = f"write {_TYPES[str]}; a name with a dot stands in quotes"
            place = f"{section}.{name}"
            yield Fault("wrong kind of entry", file, None, place, value, remedy=remedy)


def headline_faults(design: Design, folder: Path, ledger: Mapping[str, str]) -> Iterator[Fault]:
    """Entries of ``[headline]`` that name no number; ``ledger`` maps claim ids to statistics."""
    entries = design.meta.get("headline", {})
    for name, words in entries.items() if isinstance(entries, dict) else ():
        place, file = f"headline.{name}", folder / DESIGN
        if name not in ledger:
            remedy = suggestion(name, ledger) or "name a claim_id of estimates.csv"
            yield Fault("no such row in estimates.csv", file, None, place, name, remedy=remedy)
        elif ledger[name] in _NO_NUMBERS:
            remedy = "name the row that prints the number itself"
            yield Fault("a row without a number", file, None, place, ledger[name], remedy=remedy)
        if isinstance(words, str) and not words.strip():
            remedy = 'write the quantity so that it reads after "the"'
            yield Fault("no words for the quantity", file, None, place, remedy=remedy)


def _value_faults(meta: Mapping[str, Any], file: Path) -> Iterator[Fault]:
    version, name, alpha = meta.get("schema"), meta.get("id"), meta.get("alpha", 0.05)
    if isinstance(version, int) and version != SCHEMA_VERSION:
        allowed = str(SCHEMA_VERSION)
        remedy = "write the folder in the version allowed"
        yield Fault("unknown version of the format", file, None, "schema", version, allowed, remedy)
    if isinstance(name, str) and not STUDY_ID.fullmatch(name):
        allowed = "lower-case letters, digits, _ and -, starting with a letter or digit"
        remedy = "choose an id such as shi2023"
        yield Fault("not a study id", file, None, "id", name[:80], allowed, remedy)
    if isinstance(meta.get("patients"), int) and meta["patients"] < 1:
        remedy = "write the number of patients analysed"
        yield Fault("no patients", file, None, "patients", meta["patients"], "1 or more", remedy)
    for key, known in (("setting", SETTINGS), ("pairs", PAIRS)):
        if isinstance(meta.get(key), str) and meta[key] not in known:
            remedy = suggestion(meta[key], known)
            yield Fault("not known", file, None, key, meta[key], ", ".join(known), remedy)
    if isinstance(meta.get("centres"), int) and meta["centres"] < 1:
        remedy = "write the number of hospitals the patients come from"
        yield Fault("no centres", file, None, "centres", meta["centres"], "1 or more", remedy)
    if isinstance(alpha, float) and not 0 < alpha < 1:
        remedy = "write the significance level of the paper, e.g. 0.05"
        yield Fault("not a probability", file, None, "alpha", alpha, "between 0 and 1", remedy)


def _section_faults(meta: Mapping[str, Any], section: str, file: Path) -> Iterator[Fault]:
    entries = meta.get(section, {})
    for name, given in entries.items() if isinstance(entries, dict) else ():
        place = f"{section}.{name}"
        if not isinstance(given, dict):
            yield Fault("not a section", file, None, place, given, remedy=f"write [{place}]")
            continue
        if not _IDENTIFIER.fullmatch(name):
            allowed = "lower-case letters, digits and _, starting with a letter"
            remedy = "rename it; the label may hold any text"
            yield Fault("not a plain name", file, None, place, name, allowed, remedy)
        required, optional = _KEYS[section], _EXTRA_KEYS[section]
        for key in given:
            if key not in required and key not in optional:
                known = (*required, *optional)
                allowed, remedy = ", ".join(known), suggestion(key, known)
                yield Fault("no such entry", file, None, f"{place}.{key}", None, allowed, remedy)
        yield from _type_faults(given, f"{place}.", required, optional, file)


def _type_faults(
    given: Mapping[str, Any],
    place: str,
    required: Mapping[str, type],
    optional: Mapping[str, type],
    file: Path,
) -> Iterator[Fault]:
    for name, kind in {**required, **optional}.items():
        if name not in given:
            if name in required:
                remedy = f"write {name} = {_TYPES[kind]}"
                yield Fault("entry is missing", file, None, place + name, remedy=remedy)
        elif not _is(given[name], kind):
            remedy = f"write {_TYPES[kind]}"
            yield Fault("wrong kind of entry", file, None, place + name, given[name], remedy=remedy)


def _is(value: Any, kind: type) -> bool:
    if kind is list:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind is tuple:
        years = isinstance(value, list) and len(value) == 2 and all(_is(y, int) for y in value)
        return years and 1900 <= value[0] <= value[1] <= 2100
    if kind is dict:
        texts = (list, str)
        return isinstance(value, dict) and all(isinstance(item, texts) for item in value.values())
    return isinstance(value, kind) and not isinstance(value, bool)


def _factor(name: str, given: Mapping[str, Any]) -> Factor:
    required, optional = _KEYS["factors"], _EXTRA_KEYS["factors"]
    good = all(_is(given[k], kind) for k, kind in {**required, **optional}.items() if k in given)
    if not good or "levels" not in given:
        return Factor(name, str(given.get("label", name)), (), open=True)
    return Factor(
        name,
        given.get("label", name),
        tuple(given["levels"]),
        given.get("parent", ""),
        {level: str(above) for level, above in given.get("within", {}).items()},
        tuple(given.get("unknown", ())),
        _unions(given.get("groups", {})),
        _unions(given.get("means", {})),
    )


def _unions(given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: (x,) if isinstance(x, str) else tuple(map(str, x)) for name, x in given.items()}


def _factor_faults(factor: Factor, factors: Mapping[str, Factor], file: Path) -> Iterator[Fault]:
    place = f"factors.{factor.name}"
    if not factor.levels:
        yield Fault("no levels", file, None, f"{place}.levels", remedy="list at least one level")
    for name in dict.fromkeys(factor.names):
        reserved = [sign.strip() for sign in _RESERVED_IN_LEVELS if sign in name]
        if not name.strip() or name != name.strip() or reserved:
            allowed = "text without = , ; | [ ] @ -> and ' vs ', no space at either end"
            remedy = "e.g. write ≤50 for <=50"
            yield Fault("a level cannot be named so", file, None, place, name, allowed, remedy)
        if factor.names.count(name) > 1:
            remedy = "give each level, unknown level and group its own name"
            yield Fault("name stands twice", file, None, place, name, remedy=remedy)
    for group, members in factor.groups.items():
        for level in members:
            if level not in (*factor.levels, *factor.unknown):
                remedy = suggestion(level, factor.levels)
                where = f"{place}.groups.{group}"
                allowed = ", ".join(factor.levels)
                yield Fault("no such level", file, None, where, level, allowed, remedy)
    yield from _meaning_faults(factor, file)
    yield from _nesting_faults(factor, factors, file)


def _meaning_faults(factor: Factor, file: Path) -> Iterator[Fault]:
    for level, classes in factor.means.items():
        where = f"factors.{factor.name}.means"
        if level not in factor.names:
            remedy = suggestion(level, factor.names)
            allowed = ", ".join(factor.names)
            yield Fault("no such level", file, None, where, level, allowed, remedy)
        for name in classes:
            if name not in CLASSES:
                allowed, remedy = ", ".join(CLASSES), suggestion(name, CLASSES)
                yield Fault("no such HER2 class", file, None, where, name, allowed, remedy)


def _nesting_faults(factor: Factor, factors: Mapping[str, Factor], file: Path) -> Iterator[Fault]:
    place = f"factors.{factor.name}"
    if not factor.parent:
        if factor.within:
            remedy = "name the factor it is nested in: parent = ..."
            yield Fault("within without parent", file, None, f"{place}.parent", remedy=remedy)
        return
    above = factors.get(factor.parent)
    if above is None or above.name == factor.name:
        allowed = ", ".join(name for name in factors if name != factor.name)
        remedy = suggestion(factor.parent, factors)
        yield Fault(
            "parent is not a factor", file, None, f"{place}.parent", factor.parent, allowed, remedy
        )
        return
    if _circular(factor, factors):
        remedy = "a factor is nested in a coarser one, never the other way round too"
        yield Fault("nested in itself", file, None, f"{place}.parent", factor.parent, None, remedy)
    yield from _within_faults(factor, above, file) if not above.open else ()


def _within_faults(factor: Factor, above: Factor, file: Path) -> Iterator[Fault]:
    place = f"factors.{factor.name}"
    for level in factor.levels:
        if level not in factor.within:
            remedy = f'write "{level}" = a level of {factor.parent}'
            where = f"{place}.within"
            yield Fault("level has no parent level", file, None, where, level, remedy=remedy)
    for level, parent_level in factor.within.items():
        if level not in factor.levels or parent_level not in above.levels:
            allowed = f"{', '.join(factor.levels)} = {', '.join(above.levels)}"
            shown = f"{level} = {parent_level}"
            remedy = suggestion(level, factor.levels)
            if level in factor.levels:
                remedy = suggestion(parent_level, above.levels)
            yield Fault("no such level", file, None, f"{place}.within", shown, allowed, remedy)


def _circular(factor: Factor, factors: Mapping[str, Factor]) -> bool:
    seen, name = {factor.name}, factor.parent
    while name in factors and name not in seen:
        seen.add(name)
        name = factors[name].parent
    return name in seen


def _event_faults(
    endpoints: Mapping[str, Mapping[str, str]], factors: Mapping[str, Factor], file: Path
) -> Iterator[Fault]:
    for name, given in endpoints.items():
        event = given.get("event", "")
        factor, _, level = event.partition("=") if isinstance(event, str) else ("", "", "")
        known = factors.get(factor)
        if factor and (known is None or not (known.open or level in known.levels)):
            remedy = "name a factor and its level, e.g. death=yes, or leave it out"
            place = f"endpoints.{name}.event"
            yield Fault("no such event", file, None, place, given["event"], remedy=remedy)

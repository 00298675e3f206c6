"""``reconstruction.toml``: how patients are made again from printed survival, checked at the door.

What the entries mean stands in data/README.md; ``reconstruction`` reads the file again when it
makes cohorts.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from her2bayes.errors import Fault, suggestion
from her2bayes.evidence.printed.csv_rows import read_text
from her2bayes.evidence.printed.vocabulary import Vocabulary, read_estimand

FILE = "reconstruction.toml"

LEFT_OUT = ("used", "left_out")
READINGS: Mapping[str, tuple[str, ...]] = {
    "transition": (),
    "duplicates": (),
    "follow_up": ("observed", "reverse", "survivors", "left_out"),
    "cox": ("joint", "pairwise"),
    "hazard_ratio": ("cox", "compatible", "shared"),
    "p_zeros": ("printed", "padded"),
    "words": LEFT_OUT,
    "implied": LEFT_OUT,
    "contradictory": LEFT_OUT,
}
"""Readings and what each may be; any text where nothing is listed."""

CHAINS = ("chains", "replicas", "softest", "warm", "sweeps", "moves", "soft_moves", "ridges",
          "reheats")  # fmt: skip
ENTRIES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "better": (("estimand", "level"), ("locator",)),
    "implied": (("claim", "endpoint", "relation", "why"), ()),
    "contradictory": (("claim", "why"), ("parts", "under")),
}
"""Lists of tables: what each table must hold, and what it may."""

_TOP = ("endpoints", "reported", "longest", "readings", "chains", *ENTRIES)


def choice_faults(
    folder: Path, words: Vocabulary | None, claims: Collection[str] | None
) -> list[Fault]:
    """Faults of the file, where there is one; ``claims`` are the ids of the ledger, if known."""
    file = folder / FILE
    if not file.exists():
        return []
    text = read_text(file)
    if isinstance(text, Fault):
        return [replace(text, remedy="mend it, or take it out: reproduce then shows no survival")]
    try:
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        remedy = 'write name = "text" or name = number; lists in [ ]'
        return [Fault(f"not a TOML file: {error}", file=file, remedy=remedy)]
    found = [*_top(given), *_endpoints(given, words), *_readings(given), *_chains(given)]
    for name in ENTRIES:
        found += _tables(name, given.get(name, []), words, claims)
    return [replace(fault, file=file) for fault in found]


def _top(given: Mapping[str, Any]) -> Iterator[Fault]:
    for name in given:
        if name not in _TOP:
            yield _unknown(name, name, _TOP)
    longest = given.get("longest", 1.0)
    if isinstance(longest, bool) or not isinstance(longest, int | float) or longest <= 0:
        remedy = "write the longest follow-up possible in months, e.g. 60.0"
        yield Fault("not a time", None, None, "longest", longest, "above 0", remedy)


def _endpoints(given: Mapping[str, Any], words: Vocabulary | None) -> Iterator[Fault]:
    for name in ("endpoints", "reported"):
        listed = given.get(name, [])
        if not isinstance(listed, list) or not all(isinstance(x, str) for x in listed):
            remedy = f'write {name} = ["os"]'
            yield Fault("not a list of endpoints", None, None, name, listed, None, remedy)
            continue
        known = list(words.design.endpoints) if words else listed
        for endpoint in listed:
            if endpoint not in known:
                allowed = ", ".join(known) or "none is declared in study.toml"
                remedy = f"{suggestion(endpoint, known)} or declare it in study.toml"
                yield Fault("unknown endpoint", None, None, name, endpoint, allowed, remedy)


def _readings(given: Mapping[str, Any]) -> Iterator[Fault]:
    chosen = given.get("readings", {})
    if not isinstance(chosen, dict):
        yield Fault("not a section", None, None, "readings", chosen, None, "write [readings]")
        return
    for name, value in chosen.items():
        place = f"readings.{name}"
        if name not in READINGS:
            yield _unknown(place, name, READINGS)
        elif not isinstance(value, str) or (READINGS[name] and value not in READINGS[name]):
            allowed = ", ".join(READINGS[name]) or "text in quotes"
            remedy = suggestion(str(value), READINGS[name])
            yield Fault("no such reading", None, None, place, value, allowed, remedy)


def _chains(given: Mapping[str, Any]) -> Iterator[Fault]:
    chosen = given.get("chains", {})
    if not isinstance(chosen, dict):
        yield Fault("not a section", None, None, "chains", chosen, None, "write [chains]")
        return
    for name in chosen:  # the numbers are judged where the chains are run
        if name not in CHAINS:
            yield _unknown(f"chains.{name}", name, CHAINS)


def _tables(
    name: str, listed: Any, words: Vocabulary | None, claims: Collection[str] | None
) -> Iterator[Fault]:
    if not isinstance(listed, list) or not all(isinstance(x, dict) for x in listed):
        yield Fault("not a list of tables", None, None, name, listed, None, f"write [[{name}]]")
        return
    required, optional = ENTRIES[name]
    for entry in listed:
        for key in entry:
            if key not in (*required, *optional):
                yield _unknown(f"{name}.{key}", key, (*required, *optional))
        for key in required:
            if not isinstance(entry.get(key), str):
                remedy = f"write {key} = text in quotes"
                yield Fault("entry is missing", None, None, f"{name}.{key}", remedy=remedy)
        yield from _names(name, entry, words, claims)


def _names(
    name: str, entry: Mapping[str, Any], words: Vocabulary | None, claims: Collection[str] | None
) -> Iterator[Fault]:
    claim, relation = entry.get("claim"), entry.get("relation", "=")
    if isinstance(claim, str) and claims is not None and claim not in claims:
        remedy = f"{suggestion(claim, claims)} (ids of estimates.csv)"
        yield Fault("no such claim", None, None, f"{name}.claim", claim, None, remedy)
    if relation not in (">=", "<=", "="):
        remedy = "say how the printed count bounds the events"
        yield Fault("no such relation", None, None, f"{name}.relation", relation, ">=, <=, =",
                    remedy)  # fmt: skip
    if isinstance(entry.get("estimand"), str):
        _, faults = read_estimand(entry["estimand"], words)
        yield from (replace(fault, column=f"{name}.estimand") for fault in faults)


def _unknown(place: str, name: str, known: Collection[str] | Sequence[str]) -> Fault:
    remedy = suggestion(name, known)
    return Fault("no such entry", None, None, place, name, ", ".join(known), remedy)

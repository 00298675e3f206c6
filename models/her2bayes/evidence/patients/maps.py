"""Column maps: a TOML file that says which columns of a study hold what, instead of code.

``data/maps/README.md`` documents every key with examples. ``load_map`` reports all faults of a map
together: unknown keys with the nearest known one, wrong types, values outside the allowed ones.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.classify import PAPERS, Scheme
from her2bayes.evidence.patients.maps_schema import (
    READING_KEYS,
    SCHEMA,
    ColumnMap,
    EndpointMap,
    FactorMap,
    check_keys,
    check_meaning,
)

DEFAULT_RULES: Mapping[str, Any] = {
    "choose": "earliest",
    "hr_status": "primary",
    "hr_threshold": 1.0,
    "reversed_times": "stop",
    "time_tolerance": 0.0,
    "two_plus_without_ish": "stop",
}


def load_map(path: Path | str) -> ColumnMap:
    """Read and check a column map; ``BadInput`` holds every fault found in it."""
    path = Path(path)
    text = _text(path)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        remedy = "text stands in quotes, tables in [brackets]; see data/maps/README.md"
        raise BadInput(Fault(f"not TOML: {error}", file=path, remedy=remedy)) from error
    raise_if(check_keys(raw, SCHEMA, path))
    mapped = _build(raw, path, hashlib.sha256(text.encode()).hexdigest())
    raise_if(check_meaning(mapped, raw, path))
    return mapped


def packaged_maps() -> Path:
    """Folder of the maps that come with the package (checkout or wheel)."""
    package = Path(__file__).resolve().parents[2]
    checkout = package.parents[1] / "data" / "maps"
    return checkout if checkout.is_dir() else package / "_data" / "maps"


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like ``name``, whatever the letter case; empty where none is like it."""
    by_case = {other.lower(): other for other in known}
    found = difflib.get_close_matches(name.lower(), list(by_case), n=1, cutoff=0.6)
    return by_case[found[0]] if found else ""


def _text(path: Path) -> str:
    remedy = "give the path of a .toml file, or the name of one in data/maps"
    if not path.is_file():
        raise BadInput(Fault("column map is not a file", file=path, remedy=remedy))
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            Fault(f"not UTF-8 (byte {error.start})", file=path, remedy="save the map as UTF-8")
        ) from error


def _build(raw: Mapping[str, Any], path: Path, digest: str) -> ColumnMap:
    return ColumnMap(
        id=raw["id"],
        title=raw.get("title", raw["id"]),
        rows=raw["rows"],
        files=raw.get("files", {}),
        columns=raw["columns"],
        blocks={
            name: {key: raw[name][key] for key in READING_KEYS if key in raw[name]}
            for name in ("primary", "recurrence", "sample")
            if name in raw
        },
        words={
            key: {_plain(text): meaning for text, meaning in table.items()}
            for key, table in raw.get("values", {}).items()
        },
        missing=frozenset(_plain(text) for text in raw.get("missing", [])),
        missing_by={
            column: frozenset(map(_plain, texts))
            for column, texts in raw.get("missing_in", {}).items()
        },
        dates=raw.get("dates", {}),
        keep={column: tuple(values) for column, values in raw.get("keep", {}).items()},
        derived={name: (a, b) for name, (a, b) in _pairs(raw.get("derived", {}))},
        factors=tuple(_factor(name, spec) for name, spec in raw.get("factors", {}).items()),
        endpoints=tuple(
            EndpointMap(name=name, **{k: _frozen(v) for k, v in spec.items()})
            for name, spec in raw.get("endpoints", {}).items()
        ),
        scheme=_scheme(raw.get("her2", {})),
        rules={**DEFAULT_RULES, **raw.get("rules", {})},
        source={key: str(value) for key, value in raw.get("source", {}).items()},
        path=path,
        digest=digest,
    )


def _pairs(derived: Mapping[str, Any]) -> list[tuple[str, tuple[str, str]]]:
    return [(name, (terms[0], terms[-1])) for name, terms in derived.items() if terms]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(text: str) -> str:
    return " ".join(text.strip().lower().split())


def _factor(name: str, spec: Mapping[str, Any]) -> FactorMap:
    words = {_plain(text): level for text, level in spec.get("values", {}).items()}
    rest = {key: _frozen(value) for key, value in spec.items() if key != "values"}
    return FactorMap(name=name, words=words, **rest)


def _scheme(raw: Mapping[str, Any]) -> Scheme:
    """Scheme of the file; scores that need no saying keep the meaning they have in the papers."""
    categories = tuple(raw.get("categories", PAPERS.categories))
    positive = raw.get("positive", PAPERS.positive)
    negative = tuple(c for c in categories if c != positive)
    given = {_plain(k).rstrip("+"): tuple(v) for k, v in raw.get("scores", {}).items()}
    scores = dict(PAPERS.scores)
    if "ultralow" in categories:
        scores["ultralow"] = ("ultralow",)
    if len(negative) == 1:
        scores = dict.fromkeys(scores, negative)
    return Scheme(categories, tuple(sorted({**scores, **given}.items())), positive)


def map_path(name: str) -> Path:
    """Path of a map: a file, or the name of one that comes with the package."""
    path = Path(name)
    if path.exists() or path.suffix:
        return path
    known = sorted(p.stem for p in packaged_maps().glob("*.toml"))
    if name not in known:
        remedy = "give the path of a .toml file"
        raise BadInput(Fault("no such map", value=name, allowed=", ".join(known), remedy=remedy))
    return packaged_maps() / f"{name}.toml"

"""What a column map is and may hold: keys, types, values, the checks that name every fault."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from her2bayes.errors import Fault
from her2bayes.evidence.classify import Scheme, is_missing, parse_score

READING_KEYS = ("ihc", "ish", "overall", "er", "pr", "hr", "time")
TEXTS = "list of texts"
RESERVED_LEVEL = set(",;|[]@")
_BLOCK = dict.fromkeys(READING_KEYS, str)
_TRANSLATION = {"*": str}
# key -> type, nested tables as dicts, "*" for names that the user chooses
SCHEMA: Mapping[str, Any] = {
    "schema": int,
    "id": str,
    "title": str,
    "rows": str,
    "source": {"*": str},
    "files": dict.fromkeys(("table", "patients", "separator", "encoding", "comment"), str)
    | {"header_rows": int},
    "columns": dict.fromkeys(("patient_id", "sample_id", "sample_type"), str),
    "primary": _BLOCK,
    "recurrence": _BLOCK,
    "sample": _BLOCK,
    "values": dict.fromkeys(
        ("ihc", "ish", "overall", "er", "pr", "hr", "sample_type"), _TRANSLATION
    ),
    "missing": TEXTS,
    "missing_in": {"*": TEXTS},
    "dates": {"*": str},
    "keep": {"*": TEXTS},
    "derived": {"*": TEXTS},
    "factors": {
        "*": {
            "column": str,
            "of": str,
            "values": _TRANSLATION,
            "other": str,
            "cut": "list of numbers",
            "labels": TEXTS,
        }
    },
    "endpoints": {
        "*": {
            "time": str,
            "event": str,
            "entry": str,
            "cause": str,
            "unit": str,
            "events": TEXTS,
            "censored": TEXTS,
        }
    },
    "her2": {"categories": TEXTS, "positive": str, "scores": {"*": TEXTS}},
    "rules": {
        "choose": str,
        "hr_status": str,
        "hr_threshold": float,
        "reversed_times": str,
        "time_tolerance": float,
        "two_plus_without_ish": str,
    },
}
REQUIRED = ("schema", "id", "rows", "columns")
ALLOWED: Mapping[str, tuple[str | int, ...]] = {
    "files.header_rows": (0, 1, 2, 3, 4, 5),
    "rows": ("patient", "sample"),
    "dates.*": ("day first", "month first"),
    "rules.choose": ("earliest", "latest"),
    "rules.hr_status": ("primary", "recurrence"),
    "rules.reversed_times": ("stop", "set aside"),
    "rules.two_plus_without_ish": ("stop", "accept"),
    "factors.*.of": ("primary", "recurrence"),
    "endpoints.*.unit": ("days", "months", "years"),
    "values.sample_type.*": ("primary", "recurrence", "other"),
    **{
        f"values.{key}.*": ("positive", "negative", "equivocal", "missing")
        for key in ("ish", "overall", "er", "pr", "hr")
    },
}
OWN_COLUMNS = frozenset(
    {"patient_id", "her2", "study", "stratum", "reading", "counts", "incidence", "pair", "cause"}
    | {
        f"{end}_{name}"
        for end in ("primary", "recurrence")
        for name in ("reading", "rule", "score", "ish", "overall", "time", "sampled")
    }
    | {"her2_primary", "hr_status", "hr_status_primary", "hr_status_recurrence", "reversed_times"}
)


@dataclass(frozen=True)
class FactorMap:
    """A factor: its column, how values become levels, and whose row it is read from.

    ``of`` empty is the row of the recurrence where there is one, otherwise that of the primary.
    """

    name: str
    column: str
    of: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    other: str | None = None
    cut: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class EndpointMap:
    """A time-to-event endpoint: its columns, the unit of its times, what counts as an event."""

    name: str
    time: str
    event: str
    entry: str | None = None
    cause: str | None = None
    unit: str = "months"
    events: tuple[str, ...] = ()
    censored: tuple[str, ...] = ()


@dataclass(frozen=True)
class ColumnMap:
    """A checked map; ``blocks`` (primary, recurrence, sample) map a kind of reading to a column."""

    id: str
    title: str
    rows: str
    files: Mapping[str, Any]
    columns: Mapping[str, str]
    blocks: Mapping[str, Mapping[str, str]]
    words: Mapping[str, Mapping[str, str]]
    missing: frozenset[str]
    missing_by: Mapping[str, frozenset[str]]
    dates: Mapping[str, str]
    keep: Mapping[str, tuple[str, ...]]
    derived: Mapping[str, tuple[str, str]]
    factors: tuple[FactorMap, ...]
    endpoints: tuple[EndpointMap, ...]
    scheme: Scheme
    rules: Mapping[str, Any]
    source: Mapping[str, str]
    path: Path
    digest: str

    def missing_in(self, column: str, *, number: bool = False) -> frozenset[str]:
        """Texts that say "not known" in a column, beside the usual words.

        A code of the whole file that is itself a number (``9``) says so in columns of codes only:
        where times and ages are read, 9 is 9 unless ``[missing_in]`` names the column.
        """
        return (self.missing - self.codes if number else self.missing) | self.missing_by.get(
            column, frozenset()
        )

    @property
    def codes(self) -> frozenset[str]:
        """Those of ``missing`` that are numbers."""
        return frozenset(text for text in self.missing if is_number(text))

    def used_columns(self) -> dict[str, str]:
        """Every file column that the map names, with the key that names it (first naming wins)."""
        named: dict[str, str] = {}
        for place, column in self._named():
            if column not in self.derived:
                named.setdefault(column, place)
        return named

    def _named(self) -> Iterable[tuple[str, str]]:
        yield from ((f"columns.{key}", column) for key, column in self.columns.items())
        for block, keys in self.blocks.items():
            yield from ((f"{block}.{key}", column) for key, column in keys.items())
        yield from ((f"keep.{column}", column) for column in self.keep)
        yield from ((f"missing_in.{column}", column) for column in self.missing_by)
        yield from ((f"dates.{column}", column) for column in self.dates)
        for name, terms in self.derived.items():
            yield from ((f"derived.{name}", column) for column in terms)
        yield from ((f"factors.{f.name}.column", f.column) for f in self.factors)
        for e in self.endpoints:
            parts = {"time": e.time, "event": e.event, "entry": e.entry, "cause": e.cause}
            yield from ((f"endpoints.{e.name}.{k}", c) for k, c in parts.items() if c)


def is_number(text: str) -> bool:
    """Whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_keys(raw: Mapping[str, Any], schema: Mapping[str, Any], path: Path) -> list[Fault]:
    """Faults of keys, types and closed lists, the whole map walked once."""
    faults = _walk(raw, schema, "", path)
    faults += [
        Fault(f"'{key}' is missing", file=path, column=key, remedy=_MISSING_REMEDY[key])
        for key in REQUIRED
        if key not in raw
    ]
    faults += _missing_columns(raw, path)
    if isinstance(raw.get("columns"), dict) and "patient_id" not in raw["columns"]:
        faults.append(
            Fault(
                "no column of patient ids",
                file=path,
                column="columns.patient_id",
                remedy='add patient_id = "…" under [columns]',
            )
        )
    if raw.get("schema", 1) != 1:
        faults.append(
            Fault("unknown schema", file=path, column="schema", value=raw["schema"], allowed="1")
        )
    return faults


def _missing_columns(raw: Mapping[str, Any], path: Path) -> list[Fault]:
    """Factors and endpoints that do not say where they are read."""
    return [
        Fault(f"'{key}' is missing", file=path, column=f"{table}.{name}.{key}",
              remedy="name the column of the file")
        for table, keys in (("factors", ("column",)), ("endpoints", ("time", "event")))
        for name, spec in (raw[table].items() if isinstance(raw.get(table), dict) else ())
        for key in keys
        if isinstance(spec, dict) and key not in spec
    ]  # fmt: skip


_MISSING_REMEDY = {
    "schema": "write schema = 1 in the first line",
    "id": 'write a short name of the study, e.g. id = "tcga"',
    "rows": 'write rows = "patient" or rows = "sample": what one row of the table is',
    "columns": "add a table [columns] with at least patient_id",
}


def _walk(raw: Mapping[str, Any], schema: Mapping[str, Any], place: str, path: Path) -> list[Fault]:
    faults: list[Fault] = []
    for key, value in raw.items():
        where = f"{place}.{key}" if place else key
        expected = schema.get(key, schema.get("*"))
        if expected is None:
            close = difflib.get_close_matches(key, list(schema), n=1)
            faults.append(
                Fault(
                    f"unknown key '{key}'",
                    file=path,
                    column=where,
                    allowed=", ".join(schema),
                    remedy=f"did you mean '{close[0]}'?" if close else "remove it",
                )
            )
        elif isinstance(expected, dict):
            if isinstance(value, dict):
                faults += _walk(value, expected, where, path)
            else:
                faults.append(_wrong_type(where, value, f"a table [{where}]", path))
        else:
            faults += _leaf(where, value, expected, path)
    return faults


def _leaf(where: str, value: Any, expected: Any, path: Path) -> list[Fault]:
    kinds: dict[Any, tuple[str, bool]] = {
        str: ("text in quotes", isinstance(value, str) and bool(value.strip())),
        int: ("a whole number", isinstance(value, int) and not isinstance(value, bool)),
        float: ("a number", _is_number(value)),
        TEXTS: (TEXTS, isinstance(value, list) and all(isinstance(v, str) for v in value)),
        "list of numbers": (
            "list of numbers",
            isinstance(value, list) and all(_is_number(v) for v in value),
        ),
    }
    name, good = kinds[expected]
    if not good:
        return [_wrong_type(where, value, name, path)]
    allowed = next((a for pattern, a in ALLOWED.items() if _matches(pattern, where)), None)
    if allowed and value not in allowed:
        fault = Fault(
            "value is not one of those allowed",
            file=path,
            column=where,
            value=value,
            allowed=", ".join(map(str, allowed)),
        )
        return [fault]
    return []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _matches(pattern: str, where: str) -> bool:
    if pattern.endswith(".*"):
        return where.startswith(pattern[:-1])
    head, star, tail = pattern.partition(".*.")
    if star:
        return where.startswith(f"{head}.") and where.endswith(f".{tail}")
    return pattern == where


def _wrong_type(where: str, value: Any, expected: str, path: Path) -> Fault:
    return Fault("wrong type", file=path, column=where, value=value, allowed=expected)


def check_meaning(mapped: ColumnMap, raw: Mapping[str, Any], path: Path) -> list[Fault]:
    """Faults that need more than one key: no readings, sample without type, categories, levels."""

    def fault(problem: str, column: str, **more: Any) -> Fault:
        return Fault(problem, file=path, column=column, **more)

    faults: list[Fault] = []
    readings = {k for block in mapped.blocks.values() for k in block} & {"ihc", "ish", "overall"}
    if not readings:
        remedy = "add a table [primary], [recurrence] or [sample] with ihc, ish or overall"
        faults.append(fault("no column of HER2 readings", "primary", remedy=remedy))
    if "sample" in mapped.blocks and "sample_type" not in mapped.columns:
        remedy = "name the column that says primary or metastasis, or use [primary] / [recurrence]"
        faults.append(fault("[sample] needs sample_type", "columns.sample_type", remedy=remedy))
    if "sample" in mapped.blocks and mapped.rows == "patient":
        faults.append(fault('[sample] goes with rows = "sample"', "rows", value="patient"))
    faults += _scheme_faults(mapped, path)
    faults += [
        fault(
            "not an IHC score",
            f"values.ihc.{text}",
            value=score,
            allowed="0, 1+, 2+, 3+, 0-1+, missing",
        )
        for text, score in mapped.words.get("ihc", {}).items()
        if not is_missing(score) and parse_score(score) is None
    ]
    faults += _factor_faults(mapped, path)
    return faults + _derived_faults(raw.get("derived", {}), path)


def _derived_faults(derived: Mapping[str, list[str]], path: Path) -> list[Fault]:
    faults = []
    names = list(derived)
    for place, (name, terms) in enumerate(derived.items()):
        if len(terms) != 2:
            problem, remedy = "a difference needs two columns", 'write name = ["A", "B"]'
        elif set(terms) & set(names[place:]):
            problem, remedy = "a difference of something not yet defined", "define it further up"
        else:
            continue
        faults.append(
            Fault(problem, file=path, column=f"derived.{name}", value=terms, remedy=remedy)
        )
    return faults


def _scheme_faults(mapped: ColumnMap, path: Path) -> list[Fault]:
    scheme = mapped.scheme
    known = ", ".join(scheme.categories)
    faults = []
    if scheme.positive not in scheme.categories or len(set(scheme.categories)) < 2:
        faults.append(
            Fault(
                "categories need at least two names, one of them the positive class",
                file=path,
                column="her2.categories",
                value=list(scheme.categories),
                remedy='name it with positive = "…" under [her2]',
            )
        )
    for score, classes in scheme.scores:
        if not re.fullmatch("[012]|ultralow|[0-2]-[1-3]", score):
            faults.append(
                Fault(
                    "not an IHC score",
                    file=path,
                    column="her2.scores",
                    value=score,
                    allowed="0, ultralow, 1, 2, ranges such as 0-1",
                )
            )
        elif not classes or not set(classes) <= set(scheme.categories):
            faults.append(
                Fault(
                    f"score {score} means {', '.join(classes) or 'nothing'}, which is no category",
                    file=path,
                    column=f"her2.scores.{score}",
                    allowed=known,
                    remedy="say under [her2.scores] which categories this score means",
                )
            )
    return faults + [
        Fault(
            "name may not hold / or , or be 'unknown'",
            file=path,
            column="her2.categories",
            value=name,
        )
        for name in scheme.categories
        if set(name) & (RESERVED_LEVEL | {"/"}) or name == "unknown" or not name.strip()
    ]


def _factor_faults(mapped: ColumnMap, path: Path) -> list[Fault]:
    faults = []
    for f in mapped.factors:
        place = f"factors.{f.name}"
        if not f.name.isidentifier() or f.name != f.name.lower() or f.name in OWN_COLUMNS:
            faults.append(
                Fault("not a factor name that is free", file=path, column=place, value=f.name,
                      allowed="small letters, digits, _; not a name of ours such as hr_status")
            )  # fmt: skip
        if list(f.cut) != sorted(set(f.cut)):
            faults.append(
                Fault(
                    "cut points must increase", file=path, column=f"{place}.cut", value=list(f.cut)
                )
            )
        if f.labels and len(f.labels) != len(f.cut) + 1:
            problem = "one label more than cut points is needed"
            labels = list(f.labels)
            faults.append(Fault(problem, file=path, column=f"{place}.labels", value=labels))
        levels = {*f.words.values(), *f.labels, *([f.other] if f.other else [])}
        faults += [
            Fault("level holds one of , ; | [ ] @", file=path, column=place, value=level)
            for level in sorted(levels)
            if RESERVED_LEVEL & set(level)
        ]
    return faults

"""Canonical columns, closed lists and limits of the evidence files and of the evidence table."""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA_VERSION = 1
"""Version of the study folder and of ``evidence.csv``; a folder names the version it follows."""

_EVIDENCE: dict[str, type] = {
    "claim_id": str,
    "study": str,
    "locator": str,
    "estimand": str,
    "statistic": str,
    "published": float,
    "published_lower": float,
    "published_upper": float,
    "published_p": float,
    "reproduced": float,
    "reproduced_lower": float,
    "reproduced_upper": float,
    "reproduced_p": float,
    "method": str,
    "posterior_median": float,
    "posterior_lower": float,
    "posterior_upper": float,
    "posterior_probability": float,
    "prior_median": float,
    "prior_lower": float,
    "prior_upper": float,
    "prior_probability": float,
    "contraction": float,
    "verdict": str,
    "note": str,
    "unit": str,
    "reading": str,
    "model": str,
    "fit_id": str,
    "convergence": str,
    "published_relation": str,
    "published_text": str,
    "evidence_kind": str,
}

EVIDENCE_COLUMNS = tuple(_EVIDENCE)
"""Columns of ``evidence.csv``, in order."""

TEXT_COLUMNS = frozenset(name for name, kind in _EVIDENCE.items() if kind is str)
"""Those of them that hold text."""

VERDICTS = ("reproduces", "rounding", "method", "differs", "inconsistent", "not_checkable")
"""Outcome of the comparison of a printed number with arithmetic."""

EVIDENCE_KINDS = ("printed", "recomputed", "patients", "by_construction", "implied")
"""Origin of the reproduced and posterior columns."""

STATISTICS = {
    "count": "number of patients, samples or events",
    "percentage": "percentage, with or without the count beside it",
    "median": "median alone",
    "median_range": "median with smallest and largest value",
    "median_ci": "median with its confidence interval",
    "hazard_ratio": "hazard ratio with confidence interval and P",
    "p_value": "P value alone",
    "significant": "statement in words: value 1 = said to differ, 0 = said not to",
}
"""What a ledger row prints."""

EXTERNAL_STATISTICS = (*STATISTICS, "range")
"""What a row of ``external.csv`` prints; ``range`` is two numbers, 'from lower to upper'."""

RELATIONS = ("=", "<", ">")
"""How a printed number bounds its quantity."""

FACT_RELATIONS = ("=", "<=", ">=", "<", ">")
"""How a printed number bounds a sum of cells."""

MAX_BYTES = 5_000_000
"""Largest file read; a ledger of thirty thousand rows is smaller."""

MAX_DECIMALS = 10
"""Most printed decimals of a number."""

MAX_FAULTS = 1000
"""Faults listed for one file; further ones are counted."""


@dataclass(frozen=True)
class Column:
    """One column of a file.

    ``kind`` is text, name, whole (number), number, p (value), time (a number, or not reached),
    count (``46``, ``46 (71.9)``, ``<11``) or part (a count that is one number).
    """

    name: str
    kind: str
    meaning: str
    required: bool = False
    allowed: tuple[str, ...] = ()


_LOCATOR = Column(
    "locator", "text", "where it is printed: Abstract, Table 2, Results: safety", True
)
_FACTOR = Column("factor", "name", "factor of study.toml; empty = all patients")
_LEVEL = Column("level", "text", "level of that factor; empty = all patients")
_COUNT = Column("count", "count", "patients in the cell", True)
_CLAIM = Column("claim_id", "name", "id of the row, unique in the file", True)
_VALUES = (
    Column("text", "text", "the string as printed; the other numbers of the row stand in it"),
    Column("value", "number", "the printed number, also <11 or NR; empty in p_value rows"),
    Column("lower", "number", "lower limit of the interval or range"),
    Column("upper", "number", "upper limit of the interval or range, also NE or >36"),
    Column("relation", "text", "= < >; empty is =", allowed=("", *RELATIONS)),
    Column("p_value", "p", "P as printed: 0.024, <0.001, 5.8e-48"),
    Column("unit", "text", "%, months, years, patients; empty for ratios, P values and statements"),
    Column("decimals", "whole", "printed decimals of value, or of a lone P; empty = as written"),
    Column("numerator", "part", "count behind the number, where printed or implied"),
    Column("denominator", "whole", "number it is a part of, where printed or implied"),
)
_READING = Column("reading", "name", "empty, or the name of a reading (below)")
_NOTE = Column("note", "text", "anything a reader of the row must know")

LEDGER = "estimates.csv"
"""The one table every study has."""

TABLES: dict[str, tuple[Column, ...]] = {
    LEDGER: (
        _CLAIM,
        _LOCATOR,
        Column("estimand", "text", "what the number is, in the grammar below", True),
        Column("statistic", "text", "what is printed", True, tuple(STATISTICS)),
        *_VALUES,
        _READING,
        _NOTE,
    ),
    "status_counts.csv": (
        _FACTOR,
        _LEVEL,
        Column("her2", "text", "HER2 class, a level of the factor her2", True),
        _COUNT,
        _LOCATOR,
    ),
    "transition_facts.csv": (
        Column("fact_id", "name", "id of the fact, unique in the file", True),
        _FACTOR,
        _LEVEL,
        Column("cells", "text", "cells added up: a->b, a->*, *->b, *->*, diagonal", True),
        Column("relation", "text", "how value bounds the sum", True, FACT_RELATIONS),
        Column("value", "count", "number of patients", True),
        _READING,
        _LOCATOR,
        Column("claim_id", "name", "row of estimates.csv that prints it"),
    ),
    "survival.csv": (
        Column("endpoint", "name", "endpoint of study.toml", True),
        _FACTOR,
        _LEVEL,
        Column("patients", "count", "patients in the group"),
        Column("events", "count", "events in the group"),
        Column("median", "time", "median time in the unit of the endpoint; NR = not reached"),
        Column("median_lower", "time", "lower limit of its interval"),
        Column("median_upper", "time", "upper limit of its interval; NE = not reached"),
        _LOCATOR,
    ),
    "responses.csv": (
        _FACTOR,
        _LEVEL,
        Column("category", "text", "level or group of a response factor: CR, PR, orr", True),
        _COUNT,
        Column("patients", "part", "patients in the group", True),
        _LOCATOR,
    ),
    "adverse_events.csv": (
        Column("event", "text", "adverse event; any = any event", True),
        Column("body_system", "text", "organ system it belongs to"),
        Column("severity", "text", "any, or the grades: grade 3-4", True),
        _COUNT,
        Column("patients", "part", "patients at risk", True),
        _LOCATOR,
    ),
    "external.csv": (
        _CLAIM,
        _LOCATOR,
        Column("source", "text", "publication the number comes from", True),
        Column("population", "text", "whom it describes", True),
        Column("estimand", "text", "what the number is; empty where the grammar has no word"),
        Column("statistic", "text", "what is printed", True, EXTERNAL_STATISTICS),
        *_VALUES,
        _NOTE,
    ),
    "conclusions.csv": (
        Column("conclusion_id", "name", "id of the conclusion, unique in the file", True),
        Column("conclusion", "text", "estimand, > or <, number; shares between 0 and 1", True),
        Column("locator", "text", "where the paper draws it: Abstract, Conclusion", True),
        Column("note", "text", "how the words of the paper were read"),
    ),
}
"""Columns of every file of a study folder, in the order in which they are written."""

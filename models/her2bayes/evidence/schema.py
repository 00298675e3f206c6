"""Canonical columns, closed lists and limits of the evidence files and of the evidence table."""

from __future__ import annotations

SCHEMA_VERSION = 1
"""Version of the study folder and of ``evidence.csv``; a folder names the version it follows."""

EVIDENCE_COLUMNS = (
    "claim_id",
    "study",
    "locator",
    "estimand",
    "statistic",
    "published",
    "published_lower",
    "published_upper",
    "published_p",
    "reproduced",
    "reproduced_lower",
    "reproduced_upper",
    "reproduced_p",
    "method",
    "posterior_median",
    "posterior_lower",
    "posterior_upper",
    "posterior_probability",
    "prior_median",
    "prior_lower",
    "prior_upper",
    "prior_probability",
    "contraction",
    "verdict",
    "note",
    "unit",
    "reading",
    "model",
    "fit_id",
    "convergence",
    "published_relation",
    "published_text",
    "evidence_kind",
)
"""Columns of ``evidence.csv``, in order."""

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
    "p_value": "P value",
    "significant": "statement in words; value 1 = claimed to differ, 0 = claimed not to",
}
"""What kind of number a ledger row prints."""

RELATIONS = ("=", "<", ">")
"""How the printed number bounds the quantity."""

LEDGER = "estimates.csv"
"""The one table every study has."""

TABLES: dict[str, tuple[str, ...]] = {
    LEDGER: (
        "claim_id",
        "locator",
        "estimand",
        "statistic",
        "text",
        "value",
        "lower",
        "upper",
        "relation",
        "p_value",
        "unit",
        "decimals",
        "numerator",
        "denominator",
        "reading",
        "note",
    ),
    "status_counts.csv": ("factor", "level", "her2", "count", "locator"),
    "transition_facts.csv": (
        "fact_id",
        "factor",
        "level",
        "cells",
        "relation",
        "value",
        "reading",
        "locator",
        "claim_id",
    ),
    "survival.csv": (
        "endpoint",
        "factor",
        "level",
        "patients",
        "events",
        "median",
        "median_lower",
        "median_upper",
        "locator",
    ),
    "responses.csv": ("factor", "level", "category", "count", "patients", "locator"),
    "adverse_events.csv": ("event", "body_system", "severity", "count", "patients", "locator"),
    "external.csv": (
        "claim_id",
        "locator",
        "source",
        "population",
        "estimand",
        "statistic",
        "text",
        "value",
        "lower",
        "upper",
        "relation",
        "p_value",
        "unit",
        "decimals",
        "numerator",
        "denominator",
        "note",
    ),
}
"""Columns of every file of a study folder, in the order in which they are written."""

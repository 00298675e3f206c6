"""Estimands in plain words for findings."""

from __future__ import annotations

from her2bayes.audit.claims import join
from her2bayes.estimand import KINDS, Contrast, Estimand
from her2bayes.evidence.printed.study import Study

_PLAIN = {
    "count": "the number of patients",
    "share": "the share",
    "discordance": "discordance",
    "response_rate": "the response rate",
    "event_rate": "the rate of",
    "transition": "the transition",
    "flow": "the flow",
    "gain": "the change to",
    "loss": "the change from",
    "median": "the median",
    "follow_up": "median follow-up",
    "association": "the association of",
    "survival_difference": "the comparison of",
    "hazard_ratio": "the hazard ratio of",
    "survival": "the survival",
    "cumulative_incidence": "the cumulative incidence",
    "response_rate_difference": "the difference in response rate",
    "share_difference": "the difference in the share",
    "discordance_difference": "the difference in discordance",
}


def describe(estimand: Estimand, study: Study, reading: str = "") -> str:
    """Say what an estimand is: 'the transition zero -> low among Type of first relapse LRR'."""
    words = _PLAIN.get(estimand.kind, KINDS[estimand.kind].words)
    if estimand.outcome:
        words += f" {_outcome(estimand.outcome, study)}"
    if estimand.time is not None:
        words += f" at {estimand.time:g} {estimand.time_unit}"
    if estimand.contrast:
        words += _contrast(estimand.contrast, study)
    groups = [_condition(factor, level, study) for factor, level in estimand.given]
    if groups:
        words += f" among {join(groups)}"
    return f"{words} ({reading})" if reading else words


def _outcome(outcome: str, study: Study) -> str:
    factor, mark, level = outcome.partition("=")
    if mark:
        return _condition(factor.strip(), level.strip(), study)
    endpoint = study.meta.get("endpoints", {}).get(outcome)
    measure = study.meta.get("measures", {}).get(outcome)
    if endpoint or measure:
        return str((endpoint or measure)["label"])
    if any(outcome in factor.groups for factor in study.factors.values()):
        return outcome.upper()
    return _label(outcome, study) if outcome in study.factors else outcome


def _contrast(contrast: Contrast, study: Study) -> str:
    label = _label(contrast.factor, study)
    return f", {label} {contrast.a} against {contrast.b}" if contrast.a else f" by {label}"


def _condition(factor: str, level: str, study: Study) -> str:
    return f"severity {level}" if factor == "severity" else f"'{_label(factor, study)}: {level}'"


def _label(factor: str, study: Study) -> str:
    known = study.factors.get(factor)
    return known.label if known else factor

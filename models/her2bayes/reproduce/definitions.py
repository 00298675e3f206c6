"""The same patients under other definitions of HER2 class and receptor status (mapped files)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from her2bayes.evidence.patients.cohort import Cohort, read_cohort, reclassified
from her2bayes.evidence.patients.follow_up import FollowUp, read_follow_up
from her2bayes.evidence.patients.maps import load_map, map_path
from her2bayes.evidence.patients.patients import single_classes

PERCENT = (1.0, 10.0)


def definitions(cohort: Cohort, where: Path, map_name: str) -> dict[str, Cohort]:
    """IHC 2+ without amplification as zero; ER and PR positive from the other usual percentage.

    Those that change no patient are left out.
    """
    found: dict[str, Cohort] = {}
    if "zero" in cohort.categories:
        other = reclassified(cohort, cohort.scheme.counting("2", "zero"))
        if _differ(cohort, other, "primary_reading", "recurrence_reading"):
            found["IHC 2+/ISH− counted as zero"] = other
    mapped = load_map(map_path(map_name))
    if not any({"er", "pr"} & set(block) for block in mapped.blocks.values()):
        return found
    now = float(mapped.rules["hr_threshold"])
    percent = next(p for p in PERCENT if p != now)
    other = read_cohort(replace(mapped, rules={**mapped.rules, "hr_threshold": percent}), where)
    if _differ(cohort, other, "hr_status"):
        found[f"ER and PR positive from {percent:g} %"] = other
    return found


def follow_ups(
    cohorts: Mapping[str, Cohort], own: FollowUp, by: Mapping[str, Any], **columns: Any
) -> dict[str, FollowUp]:
    """Follow-up of the patients under each definition that keeps every level."""
    found = {}
    for name, cohort in cohorts.items():
        frame = single_classes(cohort)
        levels = dict(zip(by, own.factors.values(), strict=True))
        known = {factor: set(frame[factor].astype(str)) for factor in levels}
        if all(set(wanted) <= known[factor] for factor, wanted in levels.items()):
            found[name] = read_follow_up(frame, by=levels, **columns)
    return found


def _differ(one: Cohort, other: Cohort, *columns: str) -> bool:
    names = list(columns)
    return not one.patients[names].equals(other.patients[names])

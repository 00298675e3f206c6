"""How many patients of a study have no known level of a factor, as its printed numbers say.

A gene is known of the tumours that were sequenced (a factor nested in one that not all patients
have), PD-L1 of those who were tested. Everybody else has no level: they are not "without".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pandas as pd

from her2bayes.estimand import Estimand, parse

if TYPE_CHECKING:
    from her2bayes.evidence.design import Factor
    from her2bayes.evidence.study import Study


UNKNOWN_NAMES = frozenset(
    ("unknown", "not known", "missing", "not tested", "untested", "not available", "not reported",
     "not evaluable", "not assessed")
)  # fmt: skip
"""Levels that say that nobody knows the level, in whatever list they stand."""


def is_unknown(level: str) -> bool:
    """Tell whether a level is the absence of one."""
    return level.strip().lower() in UNKNOWN_NAMES


def patients_unknown(study: Study, factor: Factor) -> int | None:
    """Patients without a known level of ``factor``; None where nothing printed counts them.

    In this order: those outside the parent's levels that the factor is nested in; those whom its
    levels leave over, where all are printed; its unknown levels; those outside the smallest
    denominator of its printed shares.
    """
    everyone = int(study.meta["patients"])
    above = study.factors.get(factor.parent)
    if above is not None:
        covered = set(factor.within.values())
        if covered >= set(above.levels):
            return patients_unknown(study, above)
        known = _sum(study, above, covered)
        return None if known is None else max(0, everyone - known)
    known = _sum(study, factor, [level for level in factor.levels if not is_unknown(level)])
    if known is not None:
        return max(0, everyone - known)
    if unknown := unknown_levels(factor):
        return _sum(study, factor, unknown)
    of = [of for asked, _, of in _counted(study) if of and not asked.given
          and asked.outcome.partition("=")[0] == factor.name]  # fmt: skip
    return everyone - min([*of, everyone])


def unknown_levels(factor: Factor) -> list[str]:
    """Levels declared unknown, and those whose name says so."""
    return [*factor.unknown, *(level for level in factor.levels if is_unknown(level))]


def _sum(study: Study, factor: Factor, levels: Iterable[str]) -> int | None:
    total = 0
    for level in levels:
        patients = _patients_of(study, factor.name, level)
        if patients is None:
            return None
        total += patients
    return total


def _patients_of(study: Study, factor: str, level: str) -> int | None:
    """Patients of a level where one count of them is printed; else a denominator, if only one."""
    counts, denominators = set[int](), set[int]()
    for asked, count, of in _counted(study):
        if asked.given == ((factor, level),):
            if asked.kind == "count" and not asked.outcome:
                counts.add(count)
            elif of:
                denominators.add(of)
        elif not asked.given and asked.outcome == f"{factor}={level}":
            counts.add(count)
    rows = study.responses
    here = (rows["factor"] == factor) & (rows["level"] == level)
    found = counts or denominators | set(rows.loc[here, "patients"])
    return int(next(iter(found))) if len(found) == 1 else None


def _counted(study: Study) -> Iterator[tuple[Estimand, int, int]]:
    """Estimand, numerator and denominator (0: none) of every printed count and percentage."""
    for row in study.ledger.to_dict("records"):
        if pd.isna(row["numerator"]) or row["reading"]:
            continue
        share = row["statistic"] == "percentage" and not pd.isna(row["denominator"])
        yield (
            parse(str(row["estimand"])),
            int(row["numerator"]),
            (int(row["denominator"]) if share else 0),
        )

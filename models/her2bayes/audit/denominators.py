"""Denominators smaller than the group: patients in whom a characteristic is not known.

Where the counts of all levels of a factor add up to one common denominator that is smaller than the
group, the paper counts the patients with a known value, and nothing contradicts anything. The rest
is taken as not known, and a finding says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from her2bayes.audit.claims import Claim
from her2bayes.evidence.printed.study import Study


def incomplete(study: Study, claims: Sequence[Claim]) -> dict[str, tuple[Claim, ...]]:
    """Factors without unknown levels that are known in part of the patients, and what shows it."""
    found: dict[str, tuple[Claim, ...]] = {}
    for (factor, given), rows in _shares(study, claims).items():
        whole = _whole(study, claims, given)
        if whole is None or factor in found or study.factors[factor].unknown:
            continue
        known = {row.denominator for row in rows.values()}
        total = sum(row.numerator or 0 for row in rows.values())
        if len(rows) == len(study.factors[factor].levels) and known == {total} and total < whole:
            found[factor] = tuple(rows.values())
    return found


Group = tuple[str, tuple[tuple[str, str], ...]]


def _shares(study: Study, claims: Sequence[Claim]) -> dict[Group, dict[str, Claim]]:
    """Rows with count and denominator by factor and condition, the first of each level."""
    found: dict[Group, dict[str, Claim]] = defaultdict(dict)
    for claim in claims:
        factor, _, level = claim.estimand.outcome.partition("=")
        plain = claim.estimand.kind in ("share", "count") and not claim.reading
        counted = claim.numerator is not None and claim.denominator is not None
        known = study.factors.get(factor)
        if plain and counted and known and not known.parent and level in known.levels:
            found[factor, claim.estimand.given].setdefault(level, claim)
    return found


def _whole(study: Study, claims: Sequence[Claim], given: tuple[tuple[str, str], ...]) -> int | None:
    """Patients of a group as printed; of everyone those of study.toml where no row counts them."""
    counts = {
        int(c.value)
        for c in claims
        if c.estimand.kind == "count" and not c.estimand.outcome and c.estimand.given == given
        and c.value is not None and c.relation == "="
    }  # fmt: skip
    if not given and not counts:
        return int(study.meta["patients"])
    return counts.pop() if len(counts) == 1 else None

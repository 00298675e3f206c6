"""Printed survival as chains over cohorts can take it: numbers in months, open ends apart.

Medians that are not reached, limits that are open and bounds such as ``>36`` have no rounding cell,
and a median in years is no number of months. Here they are told from the rest: what can be said in
the words of a ``Summary`` is added to it, what cannot is left out with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from her2bayes.audit.claims import Claim, read_claims
from her2bayes.audit.rounding import cell, in_months, unit_of
from her2bayes.cohorts.chain import statistics as kernel
from her2bayes.cohorts.chain.summary import CountFact, Statistic, Summary, Target
from her2bayes.cohorts.constraints import summary

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study

TENTHS = 10.0  # of a month
SLACK = 1e-6


def read_summary(
    study: Study, endpoint: str | None = None, readings: Mapping[str, str] | None = None
) -> Summary:
    """All constraints of one endpoint; raises ``BadInput`` where nothing can be reconstructed."""
    apart = [claim for claim in read_claims(study) if _stands_apart(study, claim)]
    names = {claim.id for claim in apart}
    kept = study.ledger[~study.ledger["claim_id"].isin(names)].reset_index(drop=True)
    found = summary(replace(study, ledger=kept) if names else study, endpoint, readings)
    for claim in apart:
        if claim.estimand.outcome == found.endpoint:
            found = _with(found, claim)
    return found


def _stands_apart(study: Study, claim: Claim) -> bool:
    """Tell whether a row of survival has a part that is no number of months, or of a ratio."""
    kind, endpoints = claim.estimand.kind, study.meta.get("endpoints", {})
    if claim.reading or claim.estimand.outcome not in endpoints:
        return False
    if claim.statistic == "hazard_ratio":
        return claim.value is None or claim.lower is None or claim.upper is None
    if kind not in ("median", "follow_up") or claim.statistic == "significant":
        return False
    unit = claim.unit or str(endpoints[claim.estimand.outcome].get("unit", ""))
    ends = claim.statistic != "median" and None in (claim.lower, claim.upper)
    return claim.value is None or claim.relation != "=" or ends or unit_of(unit) != "months"


def _with(found: Summary, claim: Claim) -> Summary:
    """A summary with what a row says that is no plain number."""
    if claim.statistic == "hazard_ratio":
        return _left_out(found, claim, "a ratio without both limits: which estimator it is is open")
    if claim.estimand.kind == "follow_up":
        return _left_out(found, claim, "follow-up that is not printed as a number of months")
    if claim.not_reached:
        return _not_reached(found, claim)
    window = _months(claim)
    if window is None:
        return _left_out(found, claim, f"'{claim.unit}' is no unit of time")
    if claim.relation != "=":
        return _left_out(found, claim, "a bound of the median, not a number")
    if claim.statistic == "median_ci":
        found = _left_out(found, claim, "interval of the median: method not stated")
    return _median(found, claim, *window)


def _left_out(found: Summary, claim: Claim, why: str) -> Summary:
    return replace(found, left_out=(*found.left_out, (claim.id, why)))


def _not_reached(found: Summary, claim: Claim) -> Summary:
    """At most half of the patients of the group had the event, where their number is printed.

    Kaplan-Meier survival at the end is at most the share of patients without the event, so this is
    what a median not reached says of counts; that the curve stays above one half needs more.
    """
    factors = {name for name, _ in claim.estimand.given}
    patients = _patients(found, claim) if all(found.cells.knows(f) for f in factors) else None
    if patients is None:
        return _left_out(found, claim, "median not reached, of a group whose size is not printed")
    mask = found.cells.where(dict(claim.estimand.given)).astype(np.int64)
    most = (patients - 1) // 2
    what = f"events, {claim.estimand}: median not reached"
    fact = CountFact(claim.id, what, mask, True, 0, most)
    why = f"median not reached: used as at most {most} events of {patients} patients"
    return _left_out(replace(found, facts=(*found.facts, fact)), claim, why)


def _patients(found: Summary, claim: Claim) -> int | None:
    if not claim.estimand.given:
        return found.patients
    mask = found.cells.where(dict(claim.estimand.given)).astype(np.int64)
    for fact in found.facts:
        if not fact.event and fact.low == fact.high and np.array_equal(fact.cells, mask):
            return fact.low
    return None


def _months(claim: Claim) -> tuple[float, float] | None:
    assert claim.value is not None  # the caller has looked
    window = in_months(cell(claim.value), claim.unit or "months")
    return None if window is None else (window.lower, window.upper)


def _median(found: Summary, claim: Claim, low: float, high: float) -> Summary:
    """The median of another unit as a window in months."""
    name = str(claim.estimand)
    text = f"{claim.value} {claim.unit}"
    target = Target(
        claim.id, "median", text, 0, TENTHS * low - SLACK, TENTHS * high + SLACK, "months"
    )
    statistics = list(_joined(found.statistics, name, target))
    if len(statistics) == len(found.statistics) and statistics == list(found.statistics):
        one = Statistic(name, kernel.MEDIAN, dict(claim.estimand.given), "", (), (target,))
        statistics.append(one)
    return replace(found, statistics=tuple(statistics))


def _joined(statistics: tuple[Statistic, ...], name: str, target: Target) -> Iterator[Any]:
    for one in statistics:
        if one.kind == kernel.MEDIAN and one.estimand == name:
            yield replace(one, targets=(*one.targets, target))
        else:
            yield one

"""P values of hazard ratios and of curves printed apart from ratio and interval."""

from __future__ import annotations

from her2bayes.audit import hazard_ratios as hr
from her2bayes.audit import rounding
from her2bayes.audit.claims import (
    DIFFERS,
    INCONSISTENT,
    METHOD,
    NOT_CHECKABLE,
    REPRODUCES,
    Claim,
    Mark,
    p_text,
)


def check(claim: Claim, rows: list[Claim]) -> list[Mark]:
    """Judge a P row by the hazard-ratio rows; nothing where it is of another kind."""
    if claim.estimand.kind == "hazard_ratio":
        return [_p_row(claim, rows)]
    return _curve_row(claim, rows) if claim.estimand.kind == "survival_difference" else []


def _triplet(row: Claim) -> hr.Triplet | None:
    if row.value is None or row.lower is None or row.upper is None or row.value <= 0:
        return None
    return hr.Triplet(row.value, row.lower, row.upper, row.p, row.p_relation)


def _p_row(claim: Claim, rows: list[Claim]) -> Mark:
    """Judge a P printed apart from its hazard ratio by the interval printed elsewhere."""
    same = [r for r in rows if r.estimand == claim.estimand and r.reading == claim.reading]
    if claim.p is None or not same:
        missing = "missing: hazard ratio with interval, or the times of the patients"
        return Mark(claim.id, NOT_CHECKABLE, missing)
    row = same[0]
    found = _triplet(row)
    if found is None:
        return Mark(claim.id, NOT_CHECKABLE, "missing: the interval of the hazard ratio")
    p = hr.wald_p(found)
    value = (p.lower + p.upper) / 2
    note = f"hazard ratio and interval in {row.locator} imply P {span(p)}"
    if p.meets(rounding.p_cell(claim.p, claim.p_relation)):
        return Mark(claim.id, REPRODUCES, note, hr.WALD, p=value)
    if row.p == claim.p:
        return Mark(claim.id, METHOD, f"{note}; printed alike beside the ratio", "", p=value)
    return Mark(claim.id, DIFFERS, note, hr.WALD, p=value, contradicts=(row.id,))


def _curve_row(claim: Claim, rows: list[Claim]) -> list[Mark]:
    """Compare the P of two curves with the interval of the hazard ratio of the same two groups."""
    asked = claim.estimand
    same = [
        r
        for r in rows
        if (r.estimand.outcome, r.estimand.given, r.estimand.contrast, r.reading)
        == (asked.outcome, asked.given, asked.contrast, claim.reading)
    ]
    row = same[0] if same else None
    found = _triplet(row) if row else None
    if claim.p is None or row is None or found is None:
        return []
    p = hr.wald_p(found)
    wald = p.meets(found.p_cell) and hr.is_symmetric(found)
    note = f"the interval of the hazard ratio in {row.locator} implies P {span(p)} by Wald's test"
    if not wald or hr.curves_agree(p, rounding.p_cell(claim.p, claim.p_relation)):
        missing = f"missing: the patients' event times; {note}"
        return [Mark(claim.id, NOT_CHECKABLE, missing)]
    note += f", too far from {claim.shown_p.removeprefix('P = ')} for a test of the same two curves"
    return [Mark(claim.id, INCONSISTENT, note, hr.WALD, p=p.upper, contradicts=(row.id,))]


def span(p: rounding.Interval) -> str:
    """P value over its rounding: one number where both ends read alike."""
    low, high = p_text(p.lower), p_text(p.upper)
    return low if low == high else f"{low} to {high}"

"""Confidence intervals printed beside a percentage: which named interval prints them."""

from __future__ import annotations

from her2bayes.audit import rounding
from her2bayes.audit.claims import DIFFERS, METHOD, NOT_CHECKABLE, REPRODUCES, Claim, Mark, number
from her2bayes.classical.proportions import INTERVALS, interval
from her2bayes.evidence.printed.study import Study

LEVEL = 0.95


def check(study: Study, claim: Claim) -> Mark | None:
    """Judge the interval of a percentage row; None where the row prints no interval."""
    if claim.statistic != "percentage" or claim.lower is None or claim.upper is None:
        return None
    if claim.numerator is None or not claim.denominator:
        return Mark(claim.id, NOT_CHECKABLE, "missing: the count behind the interval")
    stated = stated_interval(study)
    names = [*([stated] if stated else []), *(name for name in INTERVALS if name != stated)]
    share = 100 * claim.numerator / claim.denominator
    tried = {}
    for name in names:
        low, high = (
            100 * bound for bound in interval(claim.numerator, claim.denominator, name, LEVEL)
        )
        tried[name] = (low, high)
        if rounding.cell(claim.lower).holds(low) and rounding.cell(claim.upper).holds(high):
            verdict = METHOD if stated and name != stated else REPRODUCES
            note = f"the 95 % interval {claim.lower} to {claim.upper} is that of {name}"
            return Mark(claim.id, verdict, note, name, share, low, high)
    nearest = min(tried, key=lambda n: _gap(claim, tried[n]))
    low, high = tried[nearest]
    because = (
        f"no named 95 % interval of {claim.numerator}/{claim.denominator} is {claim.lower} to "
        f"{claim.upper}; the nearest, {nearest}, is {number(low)} to {number(high)}"
    )
    return Mark(claim.id, DIFFERS, because, stated or nearest, share, low, high, because=because)


def stated_interval(study: Study) -> str:
    """Name of the interval in the paper's methods, as ``INTERVALS`` calls it; empty if none."""
    text = str(study.meta.get("methods", {}).get("proportion_interval", "")).lower()
    known = {"clopper": "Clopper-Pearson", "exact": "Clopper-Pearson", "normal": "Wald"}
    for name in sorted(INTERVALS, key=len, reverse=True):
        if name.lower() in text:
            return name
    return next((name for word, name in known.items() if word in text), "")


def _gap(claim: Claim, bounds: tuple[float, float]) -> float:
    return abs(float(claim.lower or 0) - bounds[0]) + abs(float(claim.upper or 0) - bounds[1])

"""Hazard-ratio rows: verdict by compatible estimators, and intervals that deny their P."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from her2bayes.audit import hazard_ratios as hr
from her2bayes.audit import rounding
from her2bayes.audit.claims import (
    DIFFERS,
    INCONSISTENT,
    METHOD,
    NOT_CHECKABLE,
    REPRODUCES,
    Claim,
    Finding,
    Mark,
    Report,
    describe,
    number,
    p_text,
    places,
)
from her2bayes.audit.known import Known, Sum
from her2bayes.audit.space import NotACount, both, everyone_in, plainest
from her2bayes.estimand import Contrast, Estimand

KIND = "CI–P inconsistency"
RANK = 2
METHOD_RANK = 5

# Adjusting for other factors rarely narrows the interval of a hazard ratio by more than this
NARROWER = 0.9

_STATED = {
    "peto": hr.PETO,
    "observed": hr.EXPECTED,
    "mantel": hr.PETO,
    "log-rank": hr.EXPECTED,
    "logrank": hr.EXPECTED,
}


def check(known: Known) -> Report:
    """Mark every hazard-ratio row and every P value of a hazard ratio."""
    report = Report()
    rows = [c for c in known.claims if c.statistic == "hazard_ratio"]
    for claim in rows:
        mark = _row(known, claim)
        report.marks.append(mark)
        if interval_denies_p(known, claim):
            report.findings.append(_denial(known, claim, mark))
    for claim in known.claims:
        if claim.statistic == "p_value":
            report.marks += check_alone(claim, rows)
    report.findings += _other_estimator(known, report.marks)
    return report


def triplet(known: Known, claim: Claim) -> hr.Triplet | None:
    """Read a row as a triplet with the patients and events of its groups where they are known."""
    if claim.value is None or claim.lower is None or claim.upper is None or claim.value <= 0:
        return None
    if claim.upper <= 0 or claim.lower < 0:
        return None
    patients, events, total = _groups(known, claim.estimand)
    if claim.reading:  # an adjusted hazard ratio is no observed/expected of the raw groups
        patients = None
    return hr.Triplet(
        claim.value, claim.lower, claim.upper, claim.p, claim.p_relation, patients, events, total
    )


def interval_denies_p(known: Known, claim: Claim) -> bool:
    """Tell whether the interval holds 1 while P is significant, or the other way round."""
    if claim.p is None or claim.lower is None or claim.upper is None:
        return False
    p = rounding.p_cell(claim.p, claim.p_relation)
    level = alpha(known)
    low, high = rounding.cell(claim.lower), rounding.cell(claim.upper)
    holds_one = low.upper < 1 < high.lower
    leaves_one = low.lower > 1 or high.upper < 1
    return (holds_one and p.upper < level) or (leaves_one and p.lower > level)


def alpha(known: Known) -> float:
    """Level of significance that the paper states, 0.05 where it states none."""
    return float(known.study.meta.get("alpha", 0.05))


def stated_estimator(known: Known) -> str:
    """Estimator that the paper's methods name; Cox where they name none."""
    text = str(known.study.meta.get("methods", {}).get("hazard_ratio", "")).lower()
    if "cox" in text:
        return hr.WALD
    return next((name for word, name in _STATED.items() if word in text), hr.WALD)


def _groups(
    known: Known, estimand: Estimand
) -> tuple[tuple[int, int] | None, tuple[int | None, int | None], int | None]:
    contrast, space = estimand.contrast, known.space
    if contrast is None or not contrast.a:
        return None, (None, None), None
    patients = [_counted(known, estimand, contrast, x, False) for x in (contrast.a, contrast.b)]
    events = [_counted(known, estimand, contrast, x, True) for x in (contrast.a, contrast.b)]
    total = None
    if set(space.levels.get(contrast.factor, ())) == {contrast.a, contrast.b}:
        total = _counted(known, estimand, None, "", True)
    first, second = (getattr(p, "value", None) for p in patients)
    return (
        (first, second) if first and second else None,
        (getattr(events[0], "value", None), getattr(events[1], "value", None)),
        getattr(total, "value", None),
    )


def _counted(
    known: Known, estimand: Estimand, contrast: Contrast | None, level: str, events: bool
) -> Sum | None:
    """Patients, or events, in one group of a comparison."""
    given = [*estimand.given, *([(contrast.factor, level)] if contrast else [])]
    try:
        quantity = everyone_in(given, known.space)
        if events:
            factor, mark, value = known.space.endpoint_events.get(estimand.outcome, "").partition(
                "="
            )
            if not mark:
                return None
            quantity = both(quantity, known.space.condition(factor.strip(), value.strip()))
    except NotACount:
        return None
    return known.value(plainest(quantity, known.space))


def _row(known: Known, claim: Claim) -> Mark:
    found = triplet(known, claim)
    if found is None:
        return Mark(claim.id, NOT_CHECKABLE, "missing: a confidence interval above 0")
    middle, low, high = hr.implied(found)
    p = hr.wald_p(found)
    p_value = (p.lower + p.upper) / 2
    error = hr.standard_error(found)
    shown = f"SE {number((error.lower + error.upper) / 2, 3)}, P from the interval {span(p)}"
    if not hr.is_symmetric(found):
        return _asymmetric(claim, found, middle, low, high, p_value)
    fits = hr.compatible(found)
    names = [fit.estimator for fit in fits]
    stated = stated_estimator(known)
    found_mark = Mark(claim.id, METHOD, "", stated, middle, low, high, p_value)
    if stated in names or (claim.p is None and fits):
        extra = "" if claim.p is not None else "; no P printed, only the symmetry is checked"
        note = f"{shown}{_events_note(found)}{extra}"
        return replace(found_mark, verdict=REPRODUCES, note=note)
    because = f"the interval's own P is {span(p)}"
    if fits:
        listed = " or ".join(names)
        note = f"{shown}; not {stated}; compatible with {listed}{_example(fits)}"
        note += _narrower(known, claim, error)
        return replace(found_mark, note=note, method=listed, because=because)
    note, ids = _conflict(known, claim, found, shown)
    return replace(found_mark, verdict=INCONSISTENT, note=note, contradicts=ids, because=because)


def _asymmetric(
    claim: Claim, found: hr.Triplet, middle: float, low: float, high: float, p: float
) -> Mark:
    odd = hr.odd_part(found)
    remedy = f"; without the {odd} the other parts agree" if odd else ""
    because = (
        f"the interval {claim.lower} to {claim.upper} is not symmetric around it on the log scale: "
        f"its middle is {number(middle, 3)}{remedy}"
    )
    bounds = f"{number(low, 3)} and {number(high, 3)}"
    note = f"{because}; given the ratio, the bounds imply each other as {bounds}"
    return Mark(
        claim.id, DIFFERS, note, "log-scale symmetry", middle, low, high, p, because=because
    )


def _conflict(
    known: Known, claim: Claim, found: hr.Triplet, shown: str
) -> tuple[str, tuple[str, ...]]:
    least = hr.least_cox_error(found)
    if least is not None and hr.standard_error(found).upper < least * (1 - 1e-6):
        contrast = claim.estimand.contrast
        levels = (contrast.a, contrast.b) if contrast else ()
        events = [_counted(known, claim.estimand, contrast, level, True) for level in levels]
        ids = tuple(i for e in events if e for i in e.claim_ids)
        first, second = found.events
        note = f"{shown}; with {first} and {second} events Cox's SE is at least {number(least, 3)}"
        return note, ids
    odd = hr.odd_part(found)
    remedy = f"; without the {odd} the other parts agree" if odd else ""
    printed = claim.shown_p.removeprefix("P ").removeprefix("= ")
    return f"{shown}, printed {printed}: no estimator gives both{remedy}", ()


def _events_note(found: hr.Triplet) -> str:
    least = hr.least_cox_error(found)
    if least is None:
        return ""
    first, second = found.events
    return f"; {first} and {second} events need an SE of at least {number(least, 3)}"


def _example(fits: list[hr.Fit]) -> str:
    example = next((fit.example for fit in fits if fit.example), "")
    return f", {example}" if example else ""


def _narrower(known: Known, claim: Claim, error: rounding.Interval) -> str:
    """Say that an adjusted interval of the same hazard ratio is narrower than this one."""
    for other in known.claims:
        same = other.statistic == "hazard_ratio" and other.estimand == claim.estimand
        if not same or not other.reading or claim.reading:
            continue
        adjusted = triplet(known, other)
        if adjusted and hr.standard_error(adjusted).upper < NARROWER * error.lower:
            middle = hr.standard_error(adjusted).upper
            return (
                f"; the {other.reading} interval of the same hazard ratio ({other.locator}) "
                f"is narrower (SE {number(middle, 3)}), which adjustment rarely brings about"
            )
    return ""


def _denial(known: Known, claim: Claim, mark: Mark) -> Finding:
    about = describe(claim.estimand, known.study, claim.reading)
    printed = rounding.p_cell(claim.p or Decimal(1), claim.p_relation)
    significant = printed.upper < alpha(known)
    text = (
        f"{claim.locator} prints {claim.shown_p} for {about}, but its 95 % CI {claim.lower} "
        f"to {claim.upper} {'includes' if significant else 'excludes'} 1 and implies "
        f"P = {p_text(mark.p or 0)}"
    )
    if mark.verdict == METHOD:
        text += f" (together compatible with {mark.method}, not with {stated_estimator(known)})"
    words = [
        c.id
        for c in known.claims
        if c.statistic == "significant"
        and (c.estimand, c.reading) == (claim.estimand, claim.reading)
        and bool(c.value) == significant
    ]
    return Finding(KIND, (claim.id, *words), f"{text}.", RANK)


def _other_estimator(known: Known, marks: list[Mark]) -> list[Finding]:
    """Name the estimators compatible with every hazard ratio that the stated one misses."""
    rows = {c.id: c for c in known.claims}
    chosen = [
        m for m in marks if m.verdict == METHOD and rows[m.claim_id].statistic == "hazard_ratio"
    ]
    if not chosen:
        return []
    shared = set.intersection(*(set(m.method.split(" or ")) for m in chosen))
    claims = [rows[m.claim_id] for m in chosen]
    stated = stated_estimator(known)
    listed = " or ".join(name for name in hr.ESTIMATORS if name in shared)
    several = len(chosen) > 1
    start = (
        f"In {places(claims)} the P values of {len(chosen)} hazard ratios do not follow"
        if several
        else f"In {claims[0].locator} {claims[0].shown_p} of "
        f"{describe(claims[0].estimand, known.study, claims[0].reading)} does not follow"
    )
    text = f"{start} from {'their intervals' if several else 'its interval'} as under {stated}"
    text += f"; {'all are' if several else 'it is'} compatible with {listed}." if listed else "."
    return [Finding("method", tuple(m.claim_id for m in chosen), text, METHOD_RANK)]


def check_alone(claim: Claim, rows: list[Claim]) -> list[Mark]:
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

"""Count and percentage rows: percentage against count and denominator, counts against sums."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

from her2bayes.audit import rounding
from her2bayes.audit.claims import (
    DIFFERS,
    INCONSISTENT,
    METHOD,
    NOT_CHECKABLE,
    REPRODUCES,
    ROUNDING,
    Claim,
    Mark,
    number,
)
from her2bayes.audit.known import Known
from her2bayes.audit.prints import how_printed
from her2bayes.audit.space import Quantity
from her2bayes.classical.proportions import INTERVALS, interval
from her2bayes.evidence.printed.study import Study

# A denominator is suggested only where a random percentage would fit one of those tried this rarely
RARE = 0.05

DIVISION = "count / denominator"
ADDITION = "sum of printed counts"
BACK = "percentage x denominator"


def check(known: Known, claim: Claim) -> Mark:
    """Judge a count or percentage row that stands in no conflict with other rows."""
    reason = known.printed.reasons.get(claim.id, "")
    if claim.statistic == "count":
        if reason:
            missing = f"missing: anything else printed that determines it ({reason})"
            return Mark(claim.id, NOT_CHECKABLE, missing)
        return _count(known, claim)
    if claim.value is None:
        return Mark(claim.id, NOT_CHECKABLE, "no percentage is printed")
    if claim.numerator is not None and claim.denominator:
        return _divided(known, claim, claim.numerator, claim.denominator)
    if reason:
        return Mark(claim.id, NOT_CHECKABLE, f"missing: count and denominator ({reason})")
    exact = bool(claim.denominator) and claim.relation == "="
    if exact and not rounding.counts_that_fit(claim.value, claim.denominator or 0):
        return _no_count_fits(known, claim, claim.value, claim.denominator or 0)
    if claim.reading:
        return Mark(claim.id, NOT_CHECKABLE, f"missing: the count under reading {claim.reading}")
    return _from_others(known, claim, claim.value)


def suggestion(known: Known, claim: Claim) -> str:
    """Name printed denominators that print the percentage, unless that is a likely accident."""
    printed = claim.value
    tried = {c.denominator for c in known.claims if c.denominator} - {claim.denominator}
    tried = {d for d in tried if d >= (claim.numerator or 1)}
    if printed is None or not tried:
        return ""
    fits = [d for d in sorted(tried) if _fits(claim, printed, d)]
    chance = _chance(claim, printed, tried)
    if not fits or chance >= RARE:
        return ""
    shown = " or ".join(str(d) for d in fits)
    return (
        f"over {shown}, printed elsewhere as a denominator, it would be right "
        f"(chance of such a fit among the {len(tried)} denominators tried: {100 * chance:.1f} %)"
    )


def _divided(known: Known, claim: Claim, count: int, total: int) -> Mark:
    share = 100 * count / total
    rule = how_printed(claim)
    chance = 100 * rounding.chance_of_fit(total, max(0, _decimals(claim)))
    fit = f"GRIM: {_percent(chance)} consistent with n = {total} by chance"
    if rule is None:
        return _wrong_percentage(known, claim, count, total)
    if rule == rounding.TRUNCATED:
        note = f"{count}/{total} = {number(share, 4)} %, truncated instead of rounded"
        return Mark(claim.id, ROUNDING, note, DIVISION, share, share, share)
    note = f"{count}/{total} = {number(share, 3)} %"
    if rule != rounding.EXACT:
        note += f", exactly halfway, printed as {rule} gives it"
    return Mark(claim.id, REPRODUCES, f"{note}; {fit}", DIVISION, share, share, share)


def _wrong_percentage(known: Known, claim: Claim, count: int, total: int) -> Mark:
    """Explain a percentage that its own count and denominator do not print."""
    share = 100 * count / total
    found = None if claim.reading else known.printed.ratios.get(claim.id)
    of_count, of_total = "", ""
    count_ids: tuple[str, ...] = ()
    total_ids: tuple[str, ...] = ()
    if found is not None:
        whole = found.denominators[0]
        of_count, count_ids = _told_elsewhere(known, claim, "count", count, found.numerator)
        of_total, total_ids = _told_elsewhere(known, claim, "denominator", total, whole)
    fits = _counts_instead(claim, total)
    other_total = suggestion(known, claim)
    chance = 100 * rounding.chance_of_fit(total, max(0, _decimals(claim)))
    parts = [
        f"{count}/{total} = {number(share, 2)} %, not {claim.value} %",
        of_count,
        of_total,
        f"{fits} (GRIM: {_percent(chance)} consistent by chance)" if fits else "",
        other_total,
    ]
    shorter = [f"{count} of {total} is {number(share, 1)} %", of_count, fits, other_total]
    return Mark(
        claim.id,
        DIFFERS,
        "; ".join(part for part in parts if part),
        DIVISION,
        share,
        share,
        share,
        contradicts=count_ids + total_ids,
        because="; ".join(part for part in shorter if part),
    )


def _counts_instead(claim: Claim, total: int) -> str:
    fits = rounding.counts_that_fit(claim.value or Decimal(0), total)
    listed = " or ".join(str(k) for k in fits)
    return f"{claim.value} % would be {listed} of {total}" if fits else ""


def _told_elsewhere(
    known: Known, claim: Claim, what: str, printed: int, quantity: Quantity
) -> tuple[str, tuple[str, ...]]:
    elsewhere = known.forced(quantity, claim.id) or known.value(quantity)
    if elsewhere is None:
        return "", ()
    if elsewhere.value == printed:
        return f"the {what} {printed} agrees with other rows ({elsewhere.equation})", ()
    ids = tuple(i for i in elsewhere.claim_ids if i != claim.id)
    return f"other rows give {elsewhere.equation} for the {what}, not {printed}", ids


def _no_count_fits(known: Known, claim: Claim, printed: Decimal, total: int) -> Mark:
    below = int(Fraction(printed) * total / 100)
    near = " and ".join(f"{k} is {number(100 * k / total, 2)} %" for k in (below, below + 1))
    chance = 100 * rounding.chance_of_fit(total, _decimals(claim))
    because = (
        f"no whole number of {total} is {printed} % ({near}; "
        f"GRIM: {_percent(chance)} consistent by chance)"
    )
    note = because
    found = known.printed.ratios[claim.id]
    span = known.bounds(found.numerator, claim.id)
    if span and span[1] is not None:
        note += f"; other printed counts allow {_span(span)}"
    other_total = suggestion(known, claim)
    note += f"; {other_total}" if other_total else ""
    return Mark(
        claim.id,
        INCONSISTENT,
        note,
        DIVISION,
        lower=100 * below / total,
        upper=100 * (below + 1) / total,
        contradicts=ids_that_state(known, found.denominators[0], total, claim.id),
        because=because,
    )


def _from_others(known: Known, claim: Claim, printed: Decimal) -> Mark:
    """Compare a percentage without its own count with what other rows say about the count."""
    found = known.printed.ratios[claim.id]
    counted = known.value(found.numerator)
    total = claim.denominator or getattr(known.value(found.denominators[0]), "value", None)
    if not total:
        return Mark(claim.id, NOT_CHECKABLE, "neither count nor denominator is printed")
    span = (counted.value, counted.value) if counted else known.bounds(found.numerator, claim.id)
    if span is None or span[1] is None:
        return Mark(claim.id, NOT_CHECKABLE, "the count is printed nowhere")
    low, high = 100 * span[0] / total, 100 * span[1] / total
    inside = _allowed(claim, printed)
    source = counted.equation if counted else f"other printed counts allow {_span(span)}"
    note = f"{source} of {total}: {number(low)} %" + (f" to {number(high)} %" if high > low else "")
    if inside.lower <= low + 1e-9 and high <= inside.upper + 1e-9:
        return Mark(claim.id, REPRODUCES, note, DIVISION, low if low == high else None, low, high)
    if rounding.Interval(low, high).meets(inside):
        missing = f"{note}; the count itself is printed nowhere"
        return Mark(claim.id, NOT_CHECKABLE, missing, lower=low, upper=high)
    ids = tuple(i for i in counted.claim_ids if i != claim.id) if counted else ()
    return Mark(claim.id, DIFFERS, note, DIVISION, low, low, high, contradicts=ids)


def _count(known: Known, claim: Claim) -> Mark:
    quantity = known.printed.ratios[claim.id].numerator
    if claim.span is not None and claim.span[0] != claim.span[1] and not claim.reading:
        return _bounded_count(known, claim, claim.span, quantity)
    value = int(claim.value if claim.value is not None else claim.numerator or 0)
    if claim.numerator is not None and claim.numerator != value:
        note = f"value {value} and numerator {claim.numerator} of the same row differ"
        return Mark(claim.id, DIFFERS, note)
    if claim.reading:
        return Mark(claim.id, NOT_CHECKABLE, f"missing: other counts under {claim.reading}")
    forced = known.forced(quantity, claim.id)
    summed = forced.equation if forced is not None and forced.value == value else ""
    shares = _shares_that_fix(known, claim, quantity)
    if value in shares and not (forced is not None and summed and forced.in_ledger):
        return Mark(claim.id, REPRODUCES, shares[value], BACK, value, value, value)
    if summed:
        return Mark(claim.id, REPRODUCES, summed, ADDITION, value, value, value)
    span = known.bounds(quantity, claim.id)
    allowed = f"; other printed counts allow {_span(span)}" if span and span[1] is not None else ""
    again = [i for i in ids_that_state(known, quantity, value, claim.id) if i != claim.id]
    repeated = f"printed alike in {len(again)} other rows; " if again else ""
    note = f"{repeated}no other printed number determines it{allowed}"
    low, high = (span or (None, None)) if allowed else (None, None)
    return Mark(claim.id, NOT_CHECKABLE, note, lower=low, upper=high)


def _bounded_count(
    known: Known, claim: Claim, span: tuple[int, int | None], quantity: Quantity
) -> Mark:
    """Judge a count of which only a bound is printed: ``<11``."""
    low, high = span
    forced = known.forced(quantity, claim.id) or known.value(quantity)
    if forced is not None:
        inside = low <= forced.value and (high is None or forced.value <= high)
        verdict = REPRODUCES if inside else DIFFERS
        ids = () if inside else tuple(i for i in forced.claim_ids if i != claim.id)
        value = forced.value
        return Mark(
            claim.id, verdict, forced.equation, ADDITION, value, value, value, contradicts=ids
        )
    allowed = known.bounds(quantity, claim.id)
    note = "no other printed number determines it"
    if allowed is None or allowed[1] is None:
        return Mark(claim.id, NOT_CHECKABLE, note)
    note += f"; other printed counts allow {_span(allowed)}"
    inside = low <= allowed[0] and (high is None or allowed[1] <= high)
    verdict = REPRODUCES if inside else NOT_CHECKABLE
    return Mark(claim.id, verdict, note, lower=allowed[0], upper=allowed[1])


def _shares_that_fix(known: Known, claim: Claim, quantity: Quantity) -> dict[int, str]:
    """Counts that a printed percentage of the same patients leaves as the only possibility."""
    found: dict[int, str] = {}
    for other in known.claims:
        same = other.id in known.printed.ratios and other.id != claim.id
        if not same or known.printed.ratios[other.id].numerator != quantity:
            continue
        if other.statistic == "percentage" and other.value and other.denominator:
            fits = rounding.counts_that_fit(other.value, other.denominator)
            if len(fits) == 1:
                share = f"{other.value} % of {other.denominator} ({other.locator})"
                found.setdefault(fits[0], f"{share} can only be {fits[0]}")
    return found


def ids_that_state(known: Known, quantity: Quantity, value: int, but: str) -> tuple[str, ...]:
    """Ledger rows whose own count is this one, the row itself left out."""
    return tuple(
        place.claim.id
        for constraint in known.printed.of(quantity)
        if constraint.lower == value
        for place in constraint.prints
        if place.claim
        and place.claim.id != but
        and getattr(known.printed.ratios.get(place.claim.id), "numerator", None) == quantity
    )


def _allowed(claim: Claim, printed: Decimal) -> rounding.Interval:
    if claim.relation == ">":
        return rounding.Interval(float(printed), 100.0)
    if claim.relation == "<":
        return rounding.Interval(0.0, float(printed))
    return rounding.cell(printed)


def _fits(claim: Claim, printed: Decimal, total: int) -> bool:
    if claim.numerator is None:
        return bool(rounding.counts_that_fit(printed, total))
    return rounding.rule_that_prints(Fraction(100 * claim.numerator, total), printed) in {
        rounding.EXACT,
        rounding.HALF_UP,
        rounding.HALF_EVEN,
        rounding.EITHER_HALF,
    }


def _chance(claim: Claim, printed: Decimal, tried: Iterable[int]) -> float:
    """Chance that a random percentage of so many decimals fits one of the denominators tried."""
    decimals = rounding.decimals_of(printed)
    if claim.numerator is None:
        missed = 1.0
        for total in tried:
            missed *= 1 - rounding.chance_of_fit(total, decimals)
        return 1 - missed
    shown = {
        rounding.rounded(Fraction(100 * claim.numerator, d), decimals, rounding.HALF_UP)
        for d in tried
    }
    return len(shown) / float(100 * Fraction(10) ** decimals + 1)


def _decimals(claim: Claim) -> int:
    return rounding.decimals_of(claim.value) if claim.value is not None else 0


def _percent(chance: float) -> str:
    """Chance given in percent, with two digits: '6.5 %', '25 %', '100 %'."""
    return f"{chance:.0f} %" if chance >= 9.95 else f"{chance:.1f} %"


def _span(span: tuple[int, int | None]) -> str:
    return str(span[0]) if span[0] == span[1] else f"{span[0]} to {span[1]}"


LEVEL = 0.95


def check_interval(study: Study, claim: Claim) -> Mark | None:
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
            note = f"the 95 % CI {claim.lower} to {claim.upper} is that of {name}"
            return Mark(claim.id, verdict, note, name, share, low, high)
    nearest = min(tried, key=lambda n: _gap(claim, tried[n]))
    low, high = tried[nearest]
    because = (
        f"no named 95 % CI of {claim.numerator}/{claim.denominator} is {claim.lower} to "
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

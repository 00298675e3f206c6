"""Conclusions of a paper against its own printed numbers: agreed with, denied, or not told.

Only the printed point counts here; what other priors, models and readings make of a conclusion is
asked by ``sensitivity``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from her2bayes.audit import rounding
from her2bayes.audit.claims import Claim, Finding, join
from her2bayes.audit.known import Known
from her2bayes.audit.phrases import describe
from her2bayes.estimand import Estimand
from her2bayes.evidence.printed.conclusions import Conclusion

KIND = "conclusion"
RANK = 3

DIFFERENCES = {
    "share_difference": "share",
    "response_rate_difference": "response_rate",
    "event_rate_difference": "event_rate",
    "discordance_difference": "discordance",
}


@dataclass(frozen=True)
class Answer:
    """What printed numbers say of a conclusion: what they stand for, on its scale, and where."""

    low: float
    high: float
    shown: str
    claim_ids: tuple[str, ...]

    def denies(self, conclusion: Conclusion) -> bool:
        """Tell whether nothing that the printed numbers stand for meets the conclusion."""
        return not (conclusion.holds(self.low) or conclusion.holds(self.high))


def answers(known: Known, conclusion: Conclusion) -> list[Answer]:
    """Printed values of the estimand of a conclusion; differences from the two shares printed."""
    asked = conclusion.estimand
    direct = [_answer(claim) for claim in _rows(known, asked)]
    if direct or asked.contrast is None or asked.kind not in DIFFERENCES:
        return direct
    contrast = asked.contrast
    pair = [
        _rows(known, replace(asked, kind=DIFFERENCES[asked.kind], contrast=None,
                             given=(*asked.given, (contrast.factor, level))))
        for level in (contrast.a, contrast.b)
    ]  # fmt: skip
    return [_difference(_answer(a[0]), _answer(b[0])) for a, b in [pair] if a and b]


def _rows(known: Known, asked: Estimand) -> list[Claim]:
    return [
        claim
        for claim in known.claims
        if claim.estimand == asked
        and claim.value is not None
        and claim.relation == "="
        and not claim.reading
        and claim.statistic not in ("p_value", "significant")
    ]


def _answer(claim: Claim) -> Answer:
    scale = 100 if claim.unit == "%" else 1
    span = rounding.cell(claim.value or Decimal(0))
    low, high = span.lower / scale, span.upper / scale
    if claim.unit == "%" and claim.numerator is not None and claim.denominator:
        low = high = claim.numerator / claim.denominator
    return Answer(low, high, f"'{claim.shown}' ({claim.locator})", (claim.id,))


def _difference(a: Answer, b: Answer) -> Answer:
    shown, ids = f"{a.shown} and {b.shown}", a.claim_ids + b.claim_ids
    return Answer(a.low - b.high, a.high - b.low, shown, ids)


def _denied(known: Known, conclusion: Conclusion) -> list[Answer]:
    """Printed values where each of them denies the conclusion; places that differ are elsewhere."""
    found = answers(known, conclusion)
    return found if all(answer.denies(conclusion) for answer in found) else []


def findings(known: Known) -> Iterator[Finding]:
    """One finding for each conclusion that a printed number denies."""
    for conclusion in known.study.conclusions:
        denied = _denied(known, conclusion)
        if denied:
            about = describe(conclusion.estimand, known.study)
            shown = join(dict.fromkeys(a.shown for a in denied))
            text = (
                f"{conclusion.locator} concludes '{conclusion}' on {about}, but the printed "
                f"numbers are {shown}."
            )
            ids = tuple(dict.fromkeys(i for a in denied for i in a.claim_ids))
            yield Finding(KIND, ids, text, RANK)


def told(known: Known) -> str:
    """Say how many conclusions were read and what the printed numbers say of them; '' for none."""
    read = known.study.conclusions
    if not read:
        return ""
    told_of = [conclusion for conclusion in read if answers(known, conclusion)]
    denied = sum(bool(_denied(known, conclusion)) for conclusion in told_of)
    agreed, open_ = len(told_of) - denied, len(read) - len(told_of)
    return (
        f"{len(read)} conclusions: printed numbers agree with {agreed}, deny {denied}, "
        f"do not tell of {open_}"
    )

"""Check every printed number of a study against its others: one verdict for each ledger row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from her2bayes.audit import findings, identities, medians, percentages, tests, triplets, words
from her2bayes.audit.claims import (
    DIFFERS,
    GRAVITY,
    INCONSISTENT,
    NOT_CHECKABLE,
    Claim,
    Finding,
    Mark,
    Report,
    places,
    read_claims,
)
from her2bayes.audit.known import Known, read_known
from her2bayes.evidence.printed.number import p_values_in
from her2bayes.evidence.printed.schema import EVIDENCE_COLUMNS, TEXT_COLUMNS
from her2bayes.evidence.printed.study import load_study

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.evidence.printed.study import Study


def _printed(claim: Claim) -> str:
    """Everything that a row prints, as printed and once; P beside a text that lacks it."""
    text = claim.text
    if claim.p is None or claim.p in p_values_in(text):
        return text
    return f"{text}; {claim.shown_p}" if text else claim.shown_p


def evidence_rows(study: Study, result: AuditResult) -> pd.DataFrame:
    """One row for each ledger id with ``EVIDENCE_COLUMNS``; prior and posterior columns empty."""
    ledger = study.ledger.reset_index(drop=True)
    audited = result.rows.set_index("claim_id").loc[ledger["claim_id"]].reset_index()
    printed: dict[str, Any] = {
        "claim_id": ledger["claim_id"],
        "study": study.id,
        "locator": ledger["locator"],
        "estimand": ledger["estimand"],
        "statistic": ledger["statistic"],
        "published": ledger["value_number"],
        "published_lower": ledger["lower_number"],
        "published_upper": ledger["upper_number"],
        "published_p": ledger["p_number"],
        "unit": ledger["unit"],
        "reading": ledger["reading"],
        "published_relation": ledger["relation"],
        "published_text": [_printed(claim) for claim in read_claims(study)],
    }
    checked: dict[str, Any] = {
        name: audited[name]
        for name in audited.columns
        if name in EVIDENCE_COLUMNS and name not in printed
    }
    frame = ledger[["claim_id"]].assign(**{**printed, **checked})
    empty = {
        name: "" if name in TEXT_COLUMNS else float("nan")
        for name in EVIDENCE_COLUMNS
        if name not in frame
    }
    return frame.assign(**empty)[list(EVIDENCE_COLUMNS)]


__all__ = ["AuditResult", "audit", "evidence_rows"]

ROW_COLUMNS = (
    "claim_id",
    "verdict",
    "reproduced",
    "reproduced_lower",
    "reproduced_upper",
    "reproduced_p",
    "method",
    "note",
    "evidence_kind",
    "contradicts",
)
FINDING_COLUMNS = ("finding_id", "claim_ids", "kind", "sentence")


@dataclass(frozen=True, repr=False)
class AuditResult:
    """What arithmetic makes of printed numbers; ``print`` it for the findings.

    ``rows``: one for each ledger id in ledger order; ``findings``: contradictions first.
    ``contradicts`` and ``claim_ids`` are ids joined by spaces; numbers are in printed units
    (percentages in percent), NaN where nothing was recomputed. ``conclusions`` says in a sentence
    what the printed numbers make of conclusions.csv.
    """

    study: Study
    rows: pd.DataFrame
    findings: pd.DataFrame
    conclusions: str = ""

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row a printed number, columns of ``evidence.csv``: printed, reproduced, verdict."""
        return evidence_rows(self.study, self)

    def __str__(self) -> str:
        """Verdicts counted, what the conclusions rest on, the findings one by one."""
        counts = Counter(self.rows["verdict"])
        verdicts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.most_common())
        lines = [f"{self.study.id}, {len(self.rows)} printed numbers: {verdicts}"]
        lines += [self.conclusions] if self.conclusions else []
        sentences = self.findings["sentence"]
        found = [f"{number}. {sentence}" for number, sentence in enumerate(sentences, 1)]
        return "\n".join([*lines, *(found or ["No findings."])])

    def __repr__(self) -> str:
        """One line."""
        return f"<Audit of {self.study.id}: {len(self.rows)} rows, {len(self.findings)} findings>"


def audit(study: Study | str | Path) -> AuditResult:
    """Check every printed number of a study against its others; nothing is fitted.

    ``study`` is loaded, or named as ``load_study`` takes it. The result prints its findings,
    contradictions first; ``frame`` has one row a printed number with the columns of
    ``evidence.csv``, in printed units (percentages in per cent). Well under a second for a paper
    of 300 rows. Raises ``BadInput`` where the study cannot be read.

    >>> checked = audit("shi2023")
    >>> checked
    <Audit of shi2023: 230 rows, 10 findings>
    >>> checked.frame.loc[checked.frame["verdict"] == "inconsistent", "locator"].iloc[0]
    'Abstract'
    """
    if isinstance(study, str | Path):
        study = load_study(study)
    claims = read_claims(study)
    known = read_known(study, claims)
    report = identities.check(known)
    single = list(_single_rows(known, {mark.claim_id for mark in report.marks}))
    report.marks += single
    report.findings += findings.of_marks(known, single)
    for part in (triplets.check(known), medians.check(known)):
        report.add(part)
    report.add(identities.check_repeats(study, claims, report.marks))
    suspected = {m.claim_id for m in report.marks if m.verdict in {INCONSISTENT, DIFFERS}}
    report.add(words.check(known, suspected))
    report.findings += [*words.of_conclusions(known), *findings.of_study(known)]
    said = words.told(known)
    return AuditResult(study, _rows(claims, report), _findings(study, report.findings), said)


def _single_rows(known: Known, done: set[str]) -> Iterable[Mark]:
    """Rows that are judged one by one; those in a conflict of counts have their verdict."""
    for claim in known.claims:
        if claim.statistic in {"count", "percentage"} and claim.id not in done:
            yield percentages.check(known, claim)
            interval = percentages.check_interval(known.study, claim)
            if interval is not None:
                yield interval
        elif claim.statistic == "p_value" and tests.is_tested_on_counts(claim.estimand):
            yield tests.check(known, claim)


def _rows(claims: tuple[Claim, ...], report: Report) -> pd.DataFrame:
    import pandas as pd

    by_claim: dict[str, list[Mark]] = {claim.id: [] for claim in claims}
    for mark in report.marks:
        by_claim[mark.claim_id].append(mark)
    denied = identities.contradicted_by(report.marks)
    words = {claim.id: claim.estimand for claim in claims if claim.statistic == "significant"}
    for claim in claims:
        if not by_claim[claim.id]:
            by_claim[claim.id].append(Mark(claim.id, NOT_CHECKABLE, _missing(claim, claims)))
    merged = []
    for claim in claims:  # words that numbers refute do not contradict counts behind the numbers
        by = [d for d in denied.get(claim.id, ()) if words.get(d, claim.estimand) == claim.estimand]
        merged.append(_merged(by_claim[claim.id], tuple(by)))
    rows = [
        (
            mark.claim_id,
            mark.verdict,
            mark.reproduced,
            mark.lower,
            mark.upper,
            mark.p,
            mark.method,
            mark.note,
            mark.evidence_kind,
            " ".join(mark.contradicts),
        )
        for mark in merged
    ]
    frame = pd.DataFrame(rows, columns=list(ROW_COLUMNS))
    numbers = dict.fromkeys(ROW_COLUMNS[2:6], float)
    return frame.astype(numbers)


def _merged(marks: list[Mark], denied_by: tuple[str, ...]) -> Mark:
    """Keep the gravest verdict; its numbers and method lead, the notes of all rules follow."""
    ordered = sorted(marks, key=lambda mark: GRAVITY.index(mark.verdict))
    first = ordered[0]
    notes = [mark.note for mark in ordered]
    if first.verdict != INCONSISTENT and denied_by:
        notes.append(f"contradicted by {', '.join(dict.fromkeys(denied_by))}")
    return replace(
        first,
        note="; ".join(dict.fromkeys(note for note in notes if note)),
        method=first.method or next((m.method for m in ordered if m.method), ""),
        contradicts=tuple(dict.fromkeys(i for m in ordered for i in m.contradicts)),
        reproduced=_first(mark.reproduced for mark in ordered),
        lower=_first(mark.lower for mark in ordered),
        upper=_first(mark.upper for mark in ordered),
        p=_first(mark.p for mark in ordered),
    )


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def _missing(claim: Claim, claims: tuple[Claim, ...]) -> str:
    """Say what a row that no rule reaches would need, and where it is printed alike."""
    needed = f"what determines the {claim.statistic} of {claim.estimand}"
    if claim.estimand.kind == "survival_difference":
        needed = "the patients' event times, from which the test is computed"
    same = [c for c in claims if c.estimand == claim.estimand and c.reading == claim.reading]
    alike = places(c for c in same if c.p is not None and c.p == claim.p and c.id != claim.id)
    return f"missing: {needed}" + (f"; printed alike in {alike}" if alike else "")


def _findings(study: Study, found: list[Finding]) -> pd.DataFrame:
    import pandas as pd

    unique = {finding.sentence: finding for finding in found}
    ordered = sorted(unique.values(), key=lambda finding: finding.rank)
    rows = [
        (f"{study.id}.{i:02d}", " ".join(dict.fromkeys(f.claim_ids)), f.kind, f.sentence)
        for i, f in enumerate(ordered, start=1)
    ]
    return pd.DataFrame(rows, columns=list(FINDING_COLUMNS)).astype(str)

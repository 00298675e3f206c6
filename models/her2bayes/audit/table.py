"""Evidence rows of an audit: what is printed beside what arithmetic gives, no posterior yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from her2bayes.audit.claims import Claim, read_claims
from her2bayes.evidence.printed_number import p_values_in
from her2bayes.evidence.schema import EVIDENCE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.audit.audit import AuditResult
    from her2bayes.evidence.study import Study

TEXT_COLUMNS = frozenset(
    {
        "claim_id",
        "study",
        "locator",
        "estimand",
        "statistic",
        "method",
        "verdict",
        "note",
        "unit",
        "reading",
        "model",
        "fit_id",
        "convergence",
        "published_relation",
        "published_text",
        "evidence_kind",
    }
)


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

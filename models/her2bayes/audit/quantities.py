"""Distinct quantities among the printed numbers: what a count of verdicts is a count of.

A paper prints one number in several places. Counted are quantities (an estimand under a reading,
its P apart), each with the gravest verdict of its places, leaving out what confirms nothing: those
that agree by construction, and statements in words, which are checked against the paper's own P.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from her2bayes.audit.claims import GRAVITY

if TYPE_CHECKING:
    import pandas as pd

WORDS = "significant"
CONSTRUCTED = "by_construction"


def quantities(evidence: pd.DataFrame) -> pd.DataFrame:
    """One row of an evidence table for each distinct quantity, with its gravest verdict."""
    kept = evidence[(evidence["claim_id"] != "") & (evidence["statistic"] != WORDS)]
    kept = kept[kept["evidence_kind"] != CONSTRUCTED]
    gravity = kept["verdict"].map({verdict: n for n, verdict in enumerate(GRAVITY)})
    ordered = kept.assign(_gravity=gravity, _p=kept["statistic"] == "p_value")
    ordered = ordered.sort_values("_gravity", kind="stable")
    first = ordered.drop_duplicates(["estimand", "reading", "_p"])
    return first.sort_index().drop(columns=["_gravity", "_p"])


def counted(evidence: pd.DataFrame) -> str:
    """Say how many printed numbers there are, how many quantities, and what is left out."""
    printed = evidence[evidence["claim_id"] != ""]
    words = int((printed["statistic"] == WORDS).sum())
    constructed = int(
        ((printed["evidence_kind"] == CONSTRUCTED) & (printed["statistic"] != WORDS)).sum()
    )
    parts = [
        f"{_many(words, 'statement')} in words, checked against the paper's own P" * bool(words),
        f"{constructed} that agree by construction" if constructed else "",
    ]
    apart = " and ".join(part for part in parts if part)
    numbers, distinct = len(printed), len(quantities(evidence))
    text = f"{_many(numbers, 'printed number')}, {_many(distinct, 'distinct quantity')}"
    return f"{text} (without {apart})" if apart else text


def _many(number: int, what: str) -> str:
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number} {what if number == 1 else plural}"

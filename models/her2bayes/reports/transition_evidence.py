"""The ledger rows of a study that speak of transitions, joined with their estimates."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.estimand import parse
from her2bayes.reports.evidence_table import join

if TYPE_CHECKING:
    from her2bayes.analysis.transition import Result
    from her2bayes.evidence.study import Study

KINDS = frozenset(
    {"transition", "flow", "flow_difference", "discordance", "discordance_difference", "gain",
     "loss", "agreement", "symmetry", "marginal_homogeneity"}
)  # fmt: skip


def study_evidence(study: Study, result: Result) -> pd.DataFrame:
    """Evidence table of the study's claims on transitions, audited, and of what is not printed."""
    from her2bayes.audit.audit import audit, evidence_rows

    audited = evidence_rows(study, audit(study))
    wanted = {
        row["claim_id"]
        for row in study.ledger.to_dict("records")
        if _of_transitions(str(row["estimand"]))
    }
    part: Any = SimpleNamespace(
        id=study.id, ledger=study.ledger[study.ledger["claim_id"].isin(wanted)]
    )
    return join(part, audited[audited["claim_id"].isin(wanted)], result.estimates, result.classical)


def _of_transitions(text: str) -> bool:
    asked = parse(text)
    return asked.kind in KINDS or (asked.kind == "association" and asked.outcome == "discordance")

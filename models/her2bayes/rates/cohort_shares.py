"""Posterior of every printed share of patients that no model covers: one binomial each, exact.

    patients with the characteristic ~ Binomial(patients, share),  share ~ Beta(1, 1)

so that share | data ~ Beta(1 + count, 1 + patients - count): what a larger sample of such patients
would show. Shares of HER2 status, of responses and of patients with an event of an endpoint (which
depend on follow-up) are left to their own analyses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.classical.proportions import wilson_row
from her2bayes.estimand import Estimand, parse
from her2bayes.inference.fit import ExactFit
from her2bayes.rates.exact_rows import exact_row
from her2bayes.rates.lattice import beta, lattice

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study

_ELSEWHERE = ("her2", "her2_primary")


def printed_shares(study: Study) -> dict[Estimand, tuple[int, int]]:
    """Count and patients of each share of ``study.ledger`` that a binomial answers."""
    left = {*_ELSEWHERE, *(f.name for f in study.factors.values() if "orr" in f.groups)}
    for endpoint in study.meta.get("endpoints", {}).values():
        left.add(str(endpoint.get("event", "")).partition("=")[0])
    found: dict[Estimand, tuple[int, int]] = {}
    for row in study.ledger.to_dict("records"):
        counted = not (pd.isna(row["numerator"]) or pd.isna(row["denominator"]))
        if row["statistic"] != "percentage" or not counted or row["reading"]:
            continue
        asked = parse(row["estimand"])
        if asked.kind == "share" and asked.outcome.partition("=")[0] not in left:
            found.setdefault(asked, (int(row["numerator"]), int(row["denominator"])))
    return found


def shares_fit(shares: Mapping[Any, tuple[int, int]]) -> ExactFit:
    """Name of the computation that answers all these counts of patients."""
    return ExactFit("cohort_shares", {str(name): f"{a} of {b}" for name, (a, b) in shares.items()})


def share_rows(shares: Mapping[Estimand, tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Estimates of shares and rates from their counts and patients."""
    fit = shares_fit(shares)
    for asked, (count, patients) in shares.items():
        places = lattice(patients)
        prior = beta(1, 1, places)
        note = f"{count} of {patients}; Beta(1, 1) prior"
        yield exact_row(asked, prior.updated(count, patients), prior, fit, note=note)


def classical_share_rows(study: Study) -> Iterator[dict[str, Any]]:
    """Wilson intervals of those shares."""
    for asked, (count, patients) in printed_shares(study).items():
        yield wilson_row(asked, count, patients)

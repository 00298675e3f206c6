"""Posterior of every share of patients that no model covers: one binomial each, exact.

    patients with the characteristic ~ Binomial(patients, share),  share ~ Beta(1, 1)

so that share | data ~ Beta(1 + count, 1 + patients - count): what a larger sample of such patients
would show. Shares of HER2 status, of responses and of patients with an event of an endpoint (which
depend on follow-up) are left to their own analyses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from her2bayes.estimand import Estimand, parse
from her2bayes.inference.fit import ExactFit
from her2bayes.rates.draws import POSTERIOR, Cell, Drawn, Part, of_distributions
from her2bayes.rates.rate_exact import Rate, beta, lattice

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Sampling

_ELSEWHERE = ("her2", "her2_primary")


def printed_shares(study: Study) -> dict[Estimand, Cell]:
    """Count and patients of each share of ``study.ledger`` that a binomial answers."""
    left = {*_ELSEWHERE, *(f.name for f in study.factors.values() if "orr" in f.groups)}
    for endpoint in study.meta.get("endpoints", {}).values():
        left.add(str(endpoint.get("event", "")).partition("=")[0])
    found: dict[Estimand, Cell] = {}
    for row in study.ledger.to_dict("records"):
        counted = not (pd.isna(row["numerator"]) or pd.isna(row["denominator"]))
        if row["statistic"] != "percentage" or not counted or row["reading"]:
            continue
        asked = parse(row["estimand"])
        if asked.kind == "share" and asked.outcome.partition("=")[0] not in left:
            found.setdefault(asked, (int(row["numerator"]), int(row["denominator"])))
    return found


def shares_fit(names: Mapping[str, Cell]) -> ExactFit:
    """Name of the computation that answers all these counts of patients, by what they are of."""
    return ExactFit("cohort_shares", {name: f"{a} of {b}" for name, (a, b) in names.items()})


def fit_of(cells: Mapping[Estimand, Cell]) -> ExactFit:
    """Name of the computation that answers these estimands."""
    return shares_fit({str(asked): cell for asked, cell in cells.items()})


def uniform(cells: Mapping[Estimand, Cell]) -> dict[Estimand, tuple[Rate, Rate]]:
    """Distribution of each rate after and before its counts, under a uniform prior."""
    before = {patients: beta(1, 1, lattice(patients)) for _, patients in cells.values()}
    return {
        asked: (before[patients].updated(count, patients), before[patients])
        for asked, (count, patients) in cells.items()
    }


def binomials(
    cells: Mapping[Estimand, Cell], sampling: Sampling, fit: ExactFit | None = None
) -> Part:
    """Rates with one binomial each; ``fit`` names the computation where it has another name."""
    exact = uniform(cells)

    def made(group: str) -> Drawn:
        rates = {asked: pair[group != POSTERIOR] for asked, pair in exact.items()}
        return of_distributions(rates, sampling, group)

    return Part(fit or fit_of(cells), tuple(cells), made, exact, cells)


def counted(cell: Cell) -> str:
    """Note of a row: its counts and prior."""
    return f"{cell[0]} of {cell[1]}; Beta(1, 1) prior"

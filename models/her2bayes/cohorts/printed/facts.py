"""A study folder's printed counts as linear facts about the cells of patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from her2bayes.cohorts.printed.design import PAIR, Cells, CountFact
from her2bayes.errors import BadInput, Fault
from her2bayes.transition.facts import cell_mask

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study


def facts_of(study: Study, endpoint: str, cells: Cells, reading: str) -> tuple[CountFact, ...]:
    """All printed counts, each distinct one once."""
    found = _survival_facts(study, endpoint, cells) + _status_facts(study, cells)
    if cells.pair:
        found += _transition_facts(study, cells, reading)
    distinct: dict[tuple[bytes, bool, int], CountFact] = {}
    for fact in found:
        distinct.setdefault((fact.cells.tobytes(), fact.event, fact.low), fact)
    return tuple(distinct.values())


def implied_fact(study: Study, cells: Cells, given: Mapping[str, str]) -> CountFact:
    """Events among all patients that a printed count implies; raises ``BadInput`` if unknown."""
    row = study.ledger[study.ledger["claim_id"] == given["claim"]]
    if row.empty or given["relation"] not in (">=", "<=", "="):
        raise BadInput(
            Fault("no such claim, or relation other than >=, <=, =", file=study.folder,
                  value=f"{given['claim']} {given['relation']}")
        )  # fmt: skip
    number = int(row["value_number"].iloc[0])
    low = 0 if given["relation"] == "<=" else number
    high = int(study.meta["patients"]) if given["relation"] == ">=" else number
    mask = np.ones(len(cells.combinations), np.int64)
    what = f"events, all patients: implied, as {given['why']}"
    return CountFact(given["claim"], what, mask, True, low, high)


def _survival_facts(study: Study, endpoint: str, cells: Cells) -> list[CountFact]:
    found = []
    row: Any
    for row in study.survival[study.survival["endpoint"] == endpoint].itertuples():
        if row.factor and not cells.knows(row.factor):
            continue
        mask = cells.where({row.factor: row.level} if row.factor else {}).astype(np.int64)
        where = f"{row.factor}={row.level}" if row.factor else "all patients"
        for name, number in (("patients", row.patients), ("events", row.events)):
            if pd.notna(number):
                claim, count = f"survival.csv {where} {name}", int(number)
                event = name == "events"
                found.append(CountFact(claim, f"{name}, {where}", mask, event, count, count))
    return found


def _status_facts(study: Study, cells: Cells) -> list[CountFact]:
    found = []
    for factor, counts in study.status_counts().items():
        if "her2" not in cells.factors or (factor and factor not in cells.factors):
            continue
        for level in counts["subgroup"].to_numpy():
            for her2 in counts["her2"].to_numpy():
                given = {"her2": str(her2), **({factor: str(level)} if factor else {})}
                number = int(counts.sel(subgroup=level, her2=her2))
                what = " ".join(given.values())
                mask = cells.where(given).astype(np.int64)
                claim = f"status_counts.csv {what}"
                found.append(CountFact(claim, what, mask, False, number, number))
    return found


def _transition_facts(study: Study, cells: Cells, reading: str) -> list[CountFact]:
    found = []
    her2 = cells.factors["her2"]
    fact: Any
    for fact in study.transition_facts.fillna("").itertuples():
        if fact.reading not in ("", reading) or (fact.factor and fact.factor not in cells.factors):
            continue
        coefficient = cell_mask(str(fact.cells), her2)
        mask = np.zeros(len(cells.combinations), np.int64)
        for position, levels in enumerate(cells.combinations):
            if not fact.factor or levels[fact.factor] == fact.level:
                primary, recurrence = (her2.index(levels[name]) for name in PAIR)
                mask[position] = coefficient[primary, recurrence]
        value = int(fact.value)
        least = {"=": value, ">=": value, ">": value + 1}.get(fact.relation, 0)
        most = {"=": value, "<=": value, "<": value - 1}.get(fact.relation, 10**9)
        found.append(CountFact(fact.claim_id, f"fact {fact.fact_id}", mask, False, least, most))
    return found


def table_moves(study: Study, cells: Cells, reading: str) -> np.ndarray | None:
    """Short moves between paired tables that keep the classes at recurrence."""
    if cells.pair is None or study.transition_facts.empty:
        return None
    from her2bayes.transition.facts import table_set
    from her2bayes.transition.table_sampler import lattice_basis, short_moves

    her2 = cells.factors["her2"]
    try:
        basis = lattice_basis(table_set(study.transition_facts, her2, (), reading))
    except ValueError:  # no table agrees with the facts: said where a start is sought
        return None
    moves = short_moves(basis, limit=24).reshape(-1, len(her2), len(her2))
    return moves[(moves.sum(axis=1) == 0).all(axis=1)]

"""Everything a study prints that bounds its tables of primary by recurrence.

Beside ``transition_facts.csv`` that are the counts of ``status_counts.csv``: the classes at
recurrence of a group are the recurrence margin of its table. Where they add up to the number of
pairs they are the same patients and hold exactly; where more patients have a status than have two
readings they are upper limits. Counts of a factor that no fact speaks of say nothing on its tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.evidence.printed.vocabulary import PRIMARY, STATUS
from her2bayes.transition.tables.facts import cell_mask, readings, table_set
from her2bayes.transition.tables.polytope import one_table

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study

COUNTS = "status_counts.csv"


@dataclass(frozen=True)
class PairFacts:
    """Facts of all sources in the columns of ``transition_facts.csv``, and what is said of them."""

    facts: pd.DataFrame
    notes: tuple[str, ...] = ()


def pair_facts(study: Study) -> PairFacts:
    """Join the printed facts of a study with the counts that bound the same tables."""
    printed = study.transition_facts
    if printed.empty:
        return PairFacts(printed)
    her2 = tuple(study.factors[STATUS].names)
    facts, notes = printed, []
    for factor in ("", *dict.fromkeys(name for name in printed["factor"].fillna("") if name)):
        rows = _counted(study, factor)
        alone = _joined(facts, list(_other_levels(study, printed, factor, ())))
        facts = _joined(facts, list(_other_levels(study, printed, factor, rows)))
        more, note = _of_factor(study, printed, factor, rows)
        joined = _joined(facts, more)
        if more and _contradict(alone, joined, factor, her2):
            note = f"{_named(factor)} in {COUNTS} contradict the printed facts and are not used"
            facts = alone
        elif more:
            facts = joined
        notes += [note] if note else []
    return PairFacts(facts, tuple(notes))


def _joined(facts: pd.DataFrame, more: Sequence[dict[str, Any]]) -> pd.DataFrame:
    return pd.concat([facts, pd.DataFrame(more)], ignore_index=True) if more else facts


def _counted(study: Study, factor: str) -> list[dict[Any, Any]]:
    """Rows of the counts by a factor; those by the class of the primary are of all patients."""
    table = study.tables[COUNTS]
    rows = table[table["factor"] == factor].to_dict("records")
    return rows if factor else rows + table[table["factor"] == PRIMARY].to_dict("records")


def _of_factor(
    study: Study, printed: pd.DataFrame, factor: str, rows: Sequence[dict[Any, Any]]
) -> tuple[list[dict[str, Any]], str]:
    """New facts from the counts of one factor, and a sentence on them."""
    her2 = tuple(study.factors[STATUS].names)
    if any(one.file == COUNTS and one.cells["factor"] == factor for one in study.bounded):
        return [], f"{_named(factor)} in {COUNTS} are partly bounds only and are not used"
    pairs, counted = _pairs(printed), sum(int(row["count"]) for row in rows if not _is_pair(row))
    facts = [_fact(row, "=" if pairs is not None and counted <= pairs else "<=") for row in rows]
    if pairs is not None and 0 < counted < pairs:
        unknown = study.factors[factor].unknown if factor else ()
        if not unknown:
            text = f"{_named(factor)} in {COUNTS} cover {counted} of {pairs} pairs and are not used"
            return [], text
        facts.append(_size(factor, unknown[0], "=", pairs - counted, COUNTS))
    known = {_form(row, her2) for row in printed.to_dict("records") if not row["reading"]}
    facts = [fact for fact in facts if _form(fact, her2) not in known]
    if not facts:
        return [], ""
    how = "hold exactly" if facts[0]["relation"] == "=" else "are upper limits"
    text = f"{_named(factor)} in {COUNTS} bound the tables too ({len(facts)} of them, which {how})"
    return facts, text


def _named(factor: str) -> str:
    return f"the counts by {factor}" if factor else "the counts of all patients"


def _is_pair(row: dict[Any, Any]) -> bool:
    return bool(row["factor"] == PRIMARY)


def _fact(row: dict[Any, Any], relation: str) -> dict[str, Any]:
    factor, level = str(row["factor"]), str(row["level"])
    cells = f"{level}->{row['her2']}" if _is_pair(row) else f"*->{row['her2']}"
    return {
        "fact_id": ".".join(filter(None, ("status_counts", factor, level, str(row["her2"])))),
        "factor": "" if _is_pair(row) else factor,
        "level": "" if _is_pair(row) else level,
        "cells": cells,
        "relation": "=" if _is_pair(row) else relation,
        "value": int(row["count"]),
        "reading": "",
        "locator": row["locator"],
        "claim_id": "",
    }


def _other_levels(
    study: Study, printed: pd.DataFrame, factor: str, rows: Sequence[dict[Any, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield empty facts for levels nobody counts: without them the others would be all patients."""
    if not factor or study.factors[factor].open:
        return
    named = {row["level"] for row in rows} | set(printed.loc[printed["factor"] == factor, "level"])
    for level in study.factors[factor].levels:
        if level not in named:
            yield _size(factor, level, ">=", 0, "study.toml")


def _size(factor: str, level: str, relation: str, patients: int, locator: str) -> dict[str, Any]:
    return {
        "fact_id": f"size.{factor}.{level}", "factor": factor, "level": level, "cells": "*->*",
        "relation": relation, "value": patients, "reading": "", "locator": locator, "claim_id": "",
    }  # fmt: skip


def _form(fact: dict[Any, Any], her2: Sequence[str]) -> tuple[Any, ...]:
    cells = tuple(cell_mask(str(fact["cells"]), her2).ravel())
    return fact["factor"], fact["level"], cells, fact["relation"], int(fact["value"])


def _pairs(printed: pd.DataFrame) -> int | None:
    """Patients with two readings, where it is printed, or a whole margin of theirs."""
    rows = printed[(printed["factor"] == "") & (printed["relation"] == "=")]
    for pattern in (r"\*->\*", r"[^*+]+->\*", r"\*->[^*+]+"):
        margin = rows[rows["cells"].str.replace(" ", "").str.fullmatch(pattern)]
        if not margin.empty and margin["cells"].is_unique:
            return int(margin["value"].sum())
    return None


def _contradict(
    without: pd.DataFrame, joined: pd.DataFrame, factor: str, her2: Sequence[str]
) -> bool:
    """Tell whether every reading that had a table loses it by the facts that are added."""
    names = (factor,) if factor else ()
    possible = [
        [one_table(table_set(some, her2, names, reading)) is not None for some in (without, joined)]
        for reading in readings(joined)
    ]
    return any(before for before, _ in possible) and not any(after for _, after in possible)

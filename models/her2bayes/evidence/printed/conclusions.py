"""Conclusions as data: ``<estimand> <relation> <number>``, such as ``discordance[] > 0.3``.

Shares, rates and probabilities are numbers between 0 and 1, times are in the unit of the estimand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import KINDS, OWN, Estimand
from her2bayes.evidence.printed.vocabulary import Vocabulary, read_estimand

FILE = "conclusions.csv"
COLUMNS = ("conclusion_id", "conclusion", "locator", "note")

_FORM = re.compile(r"(?P<estimand>.*\])\s*(?P<relation>[<>])\s*(?P<number>\S+)", re.DOTALL)
_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)")
_SHAPE = "<estimand> > <number> or <estimand> < <number>, e.g. discordance[] > 0.3"


@dataclass(frozen=True)
class Conclusion:
    """A statement on one estimand: it lies above or below a number, on its natural scale."""

    id: str
    estimand: Estimand
    relation: str
    number: float
    locator: str = ""
    note: str = ""

    def __str__(self) -> str:
        """Print as in the file."""
        return f"{self.estimand} {self.relation} {self.number:g}"

    def holds(self, draws: Any) -> Any:
        """Tell for each draw of the estimand whether the statement is true."""
        return draws > self.number if self.relation == ">" else draws < self.number


def read_conclusion(text: str, words: Vocabulary | None) -> tuple[Conclusion | None, list[Fault]]:
    """Parse one conclusion and check its names; the faults lack file, row and column.

    Without ``words`` only the grammar is checked.
    """
    match = _FORM.fullmatch(text.strip())
    if not match:
        remedy = "write the estimand, > or <, and a number"
        return None, [Fault("not a conclusion", None, None, None, text[:120], _SHAPE, remedy)]
    estimand, faults = read_estimand(match["estimand"], words)
    if not _NUMBER.fullmatch(match["number"]):
        remedy = "a plain number; 30 % is 0.3"
        faults.append(Fault("not a number", value=match["number"], allowed=_SHAPE, remedy=remedy))
    if estimand is None or not _NUMBER.fullmatch(match["number"]):
        return None, faults
    number = float(match["number"])
    faults += _out_of_range(estimand, number)
    return Conclusion("", estimand, match["relation"], number), faults


def _out_of_range(estimand: Estimand, number: float) -> list[Fault]:
    """Refuse a number that the kind cannot have: below 0, a share above 1, beyond the horizon."""
    kind = KINDS[estimand.kind]
    low, high = kind.limits
    if estimand.kind.startswith("rmst") and kind.unit is OWN and estimand.time is not None:
        low, high = max(low, -estimand.time), min(high, estimand.time)
    if low <= number <= high:
        return []
    allowed = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
    remedy = "percentages are written as shares: 30 % is 0.3" if kind.unit == "%" else None
    problem = f"no {estimand.kind} can be {number:g}"
    return [Fault(problem, value=number, allowed=allowed, remedy=remedy)]


def conclusions_of(rows: Sequence[Mapping[Any, Any]]) -> tuple[Conclusion, ...]:
    """Conclusions of checked rows of ``conclusions.csv``."""
    found = []
    for row in rows:
        read, faults = read_conclusion(str(row["conclusion"]), None)
        raise_if(faults)
        assert read is not None  # without a conclusion there is at least one fault
        found.append(
            replace(
                read,
                id=str(row["conclusion_id"]),
                locator=str(row["locator"]),
                note=str(row["note"]),
            )
        )
    return tuple(found)

"""HER2 conversion in a cohort chosen for being HER2-low, beside what printed transitions predict.

Patients of such a cohort are those whose last sample is low, so that the share converted from zero
is the probability of a zero primary given a low recurrence: a column of the transition table, not a
row. With zero->low and low->low counts z and l of another study (patients positive at the primary
left out, as such a cohort has none) that share has a Beta(1 + z, 1 + l) posterior, and the number
among n new patients is beta-binomial. Selection by site, therapy and assay may differ: the
prediction judges whether the two studies look alike, not which is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from her2bayes.errors import BadInput

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study

_ZERO, _LOW = "zero->low", "low->low"


@dataclass(frozen=True)
class Prediction:
    """Converted patients seen and predicted (95 % interval of the number)."""

    source: str
    converted: int
    patients: int
    from_zero: int
    from_low: int
    expected: float
    lower: int
    upper: int
    tail: float


def predict(
    converted: int, patients: int, from_zero: int, from_low: int, source: str
) -> Prediction:
    """Beta-binomial prediction of the number converted; ``tail`` is its two-sided probability."""
    law = stats.betabinom(patients, 1 + from_zero, 1 + from_low)
    counts = np.arange(patients + 1)
    chance = law.pmf(counts)
    tail = float(chance[chance <= law.pmf(converted) * (1 + 1e-9)].sum())
    return Prediction(
        source, converted, patients, from_zero, from_low, float(law.mean()),
        int(law.ppf(0.025)), int(law.ppf(0.975)), min(1.0, tail),
    )  # fmt: skip


def conversion(study: Study) -> tuple[Prediction, ...]:
    """Predictions for ``her2_origin=converted`` of ``study`` from shipped studies with pairs.

    Studies whose printed pairs leave the two cells open are passed over.
    """
    from her2bayes.evidence.printed.study import load_study, published_folder

    row = study.ledger[study.ledger["estimand"] == "share[her2_origin=converted]"]
    row = row[row["numerator"].notna() & row["denominator"].notna()]
    if row.empty:
        return ()
    converted, patients = int(row["numerator"].iloc[0]), int(row["denominator"].iloc[0])
    found = []
    for folder in sorted(published_folder().iterdir()):
        if folder.resolve() == study.folder.resolve() or not (folder / "study.toml").exists():
            continue
        try:
            other = load_study(folder)
        except BadInput:
            continue  # another study's faults are told where that study is reported
        cells = _cells(other)
        if cells:
            found.append(predict(converted, patients, *cells, other.meta["citation"]))
    return tuple(found)


def _cells(study: Study) -> tuple[int, int] | None:
    """Zero->low and low->low of all patients, where both are printed.

    Of two printed numbers the one that fits the margin *->low is taken.
    """
    facts = study.transition_facts
    facts = facts[(facts["factor"] == "") & (facts["relation"] == "=")]
    values = {cell: sorted({int(v) for v in facts.loc[facts["cells"] == cell, "value"]})
              for cell in (_ZERO, _LOW, "positive->low", "*->low")}  # fmt: skip
    if not values[_ZERO] or not values[_LOW]:
        return None
    total, rest = values["*->low"], values["positive->low"]
    for zero in values[_ZERO]:
        for low in values[_LOW]:
            if total and rest and zero + low + rest[0] == total[0]:
                return zero, low
    return (
        None
        if len(values[_ZERO]) > 1 or len(values[_LOW]) > 1
        else (values[_ZERO][0], values[_LOW][0])
    )

"""Choices that a sensitivity analysis should ask, and why these data do not let it ask some."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from her2bayes.sensitivity.scenarios import Axis
from her2bayes.sensitivity.target import Target

if TYPE_CHECKING:
    import pandas as pd

PRINTED = ("distribution", "transition", "rates", "printed")


@dataclass(frozen=True)
class Wanted:
    """A choice: whether an axis asks it, and why not, by family ("" for any other)."""

    choice: str
    asks: Callable[[Axis], bool]
    reasons: Mapping[str, str]


def _named(*names: str) -> Callable[[Axis], bool]:
    return lambda axis: axis.name in names


def _level(*parts: str) -> Callable[[Axis], bool]:
    def asks(axis: Axis) -> bool:
        values = [str(value).lower() for value in axis.values]
        return axis.name == "left out" and any(p in v for p in parts for v in values)

    return asks


def _definition(*words: str) -> Callable[[Axis], bool]:
    return lambda axis: (
        axis.name == "definition" and any(w in str(v) for w in words for v in axis.values)
    )


COHORT_READINGS = "another reading of the numbers behind reconstructed cohorts"
_CLASSES = "classes are printed, not IHC scores with their ISH"
_RECEPTORS = "receptor status is printed, not percentages of stained cells"
_COUNTS = dict.fromkeys(PRINTED, "printed numbers only")
WANTED = (
    Wanted(
        "IHC 2+ and ISH negative counted with zero",
        _definition("2+"),
        {**dict.fromkeys(PRINTED, _CLASSES), "pairs": "no reading has IHC 2+",
         "survival": "the file has classes; with --map, the scores of the samples are used"},
    ),
    Wanted(
        "ER and PR positive from 1 % or from 10 %",
        _definition("ER"),
        {**dict.fromkeys(PRINTED, _RECEPTORS),
         "pairs": "no conclusion is by HR status, or no percentages of stained cells are given",
         "survival": "the file has a receptor status; with --map and percentages it is counted "
         "again"},
    ),
    Wanted(
        "relapse without contralateral cancers",
        _level("cbc", "contralateral"),
        {"": "no factor tells contralateral cancers from relapses",
         **dict.fromkeys(("rates", "printed"), "the numbers are not printed without them"),
         "distribution": "tables by other factors are not printed without them"},
    ),
    Wanted(
        "cut points and shape of the hazard, proportional hazards or not",
        _named("cut points", "hazards"),
        {"": "no follow-up of patients among the data", "survival": "every scheme gives one set "
         "of intervals, and there is no factor whose ratio could change"},
    ),
    Wanted(
        "printed numbers that contradict each other",
        _named("reading", "printed row"),
        {"": "these conclusions rest on numbers printed once, or without contradiction",
         "pairs": "patients, not printed numbers", "survival": "patients, not printed numbers"},
    ),
    Wanted(
        COHORT_READINGS,
        _named("reading of the cohorts"),
        {"": "no conclusion rests on reconstructed cohorts",
         "printed": "each reading needs chains of its own: reconstruct summary makes them"},
    ),
    Wanted(
        "Cox or observed/expected hazard ratio",
        _named("standard error"),
        {"": "no hazard ratio among the conclusions", "printed": "no exact P value is printed",
         "survival": "patients: the ratio is estimated, not taken from print"},
    ),
    Wanted(
        "set-valued readings at their extremes",
        _named("partial readings"),
        {**_COUNTS, "pairs": "every reading is a single class", "survival": "each patient has one "
         "class; others are left out and counted"},
    ),
    Wanted(
        "assay quality",
        _named("assay errors"),
        {"": "no conclusion is on pairs of readings"},
    ),
    Wanted(
        "weight of other studies (borrowing)",
        _named("borrowing weight"),
        {"": "no other study's patients with the same quantity", "survival": "no --external file",
         **dict.fromkeys(("rates", "printed"),
                         "no other study's counts of the same quantity are quoted")},
    ),
    Wanted(
        "one level, site or study left out",
        _named("left out", "external patients", "external study left out"),
        {"": "no factor", **dict.fromkeys(("rates", "printed"),
                                          "the numbers are not printed without them")},
    ),
)  # fmt: skip


def not_asked(targets: Sequence[Target]) -> pd.DataFrame:
    """Choices that no target asks: columns ``choice``, ``reason``."""
    import pandas as pd

    axes = [axis for target in targets for axis in target.axes]
    families = list(dict.fromkeys(target.family for target in targets))
    rows = []
    for wanted in WANTED:
        if any(wanted.asks(axis) for axis in axes):
            continue
        reasons = [wanted.reasons.get(name, wanted.reasons.get("", "")) for name in families]
        if wanted.choice == COHORT_READINGS:
            reasons += list(dict.fromkeys(_chosen(target) for target in targets))
        rows.append({"choice": wanted.choice,
                     "reason": "; ".join(dict.fromkeys(r for r in reasons if r))})  # fmt: skip
    return pd.DataFrame(rows, columns=["choice", "reason"])


def _chosen(target: Target) -> str:
    """Readings that the study's ``reconstruction.toml`` takes, in words; empty without any."""
    readings = target.data.get("readings") if target.family == "printed" else None
    if not readings:
        return ""
    listed = ", ".join(f"{name} {value}" for name, value in readings.items())
    return f"those of reconstruction.toml are used: {listed}"

"""Rows of scenarios to one row and one sentence for each conclusion: what moves it, what breaks it.

A conclusion *holds* in a scenario at P >= 0.975, *fails* at P <= 0.5 and is *uncertain* between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from her2bayes.analysis.scenarios import BASE, Axis, one_at_a_time
from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.conclusions import Conclusion
from her2bayes.inference.power_scaling import diagnosis
from her2bayes.inference.standards import failed

HOLDS, UNCERTAIN, FAILS, NO_ANSWER = "holds", "uncertain", "fails", "impossible"


@dataclass(frozen=True)
class Limits:
    """Probability from which a conclusion holds, and up to which it fails."""

    holds: float = 0.975
    fails: float = 0.5

    def __post_init__(self) -> None:
        """Refuse limits in the wrong order."""
        if not 0 <= self.fails < self.holds <= 1:
            allowed = "0 <= fails < holds <= 1"
            raise_if([Fault("limits of the stances", value=(self.fails, self.holds),
                            allowed=allowed)])  # fmt: skip

    def stance(self, probability: float) -> str:
        """Stance of a conclusion with this probability."""
        if np.isnan(probability):
            return NO_ANSWER
        if probability >= self.holds:
            return HOLDS
        return FAILS if probability <= self.fails else UNCERTAIN


def influence(table: pd.DataFrame, axes: Sequence[Axis], conclusion: str) -> pd.DataFrame:
    """How far each axis alone moves a conclusion: columns axis, kind, least and most P, shift.

    ``shift`` is the range of the estimate's median; axes are ordered by the range of P, then by
    it. Includes the reported analysis.
    """
    rows = table[table["conclusion"] == conclusion].set_index("scenario")
    found = []
    for axis in axes:
        ids = [s.id for s in one_at_a_time([axis])]
        here = rows.loc[[i for i in ids if i in rows.index]].dropna(subset=["probability"])
        if len(here) > 1:
            found.append(
                {
                    "axis": axis.name,
                    "kind": axis.kind,
                    "least": here["probability"].min(),
                    "most": here["probability"].max(),
                    "shift": here["median"].max() - here["median"].min(),
                }
            )
    columns = ["axis", "kind", "least", "most", "shift"]
    frame = pd.DataFrame(found, columns=columns)
    order = (frame["most"] - frame["least"]).round(3)
    return (
        frame.assign(order=order)
        .sort_values(["order", "shift"], ascending=False, kind="stable")
        .drop(columns="order")
        .reset_index(drop=True)
    )


def summary(conclusions: Sequence[Conclusion], table: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """One row a conclusion: stance as reported, range of P, whether it is robust, what breaks it.

    *robust*: the same stance in every scenario that gives one; *fragile* otherwise.
    """
    return pd.DataFrame([_summed(c, table[table["conclusion"] == c.id], limits)
                         for c in conclusions])  # fmt: skip


def _summed(conclusion: Conclusion, rows: pd.DataFrame, limits: Limits) -> dict[str, Any]:
    base = rows[rows["scenario"] == BASE.id].iloc[0]
    known = rows.dropna(subset=["probability"])
    broken = known[known["stance"] != base["stance"]]
    power = base["power"] or (np.nan, np.nan)
    bad = known[known["convergence"].map(failed).astype(bool)]
    said = {
        "conclusion": conclusion.id,
        "statement": str(conclusion),
        "locator": conclusion.locator,
        "stance": base["stance"],
        "probability": base["probability"],
        "prior_probability": base["prior_probability"],
        "least": known["probability"].min(),
        "most": known["probability"].max(),
        "robust": "robust" if broken.empty else "fragile",
        "prior_sensitivity": power[0],
        "likelihood_sensitivity": power[1],
        "power_scaling": diagnosis(*power),
        "impossible": "; ".join(rows.loc[rows["stance"] == NO_ANSWER, "changed"]),
        "not_converged": "; ".join(bad["changed"]),
    }
    return {**said, "sentence": _sentence(said, broken, limits), "note": conclusion.note}


def _sentence(said: Mapping[str, Any], broken: pd.DataFrame, limits: Limits) -> str:
    words = {HOLDS: "holds", UNCERTAIN: "is uncertain", FAILS: "fails"}
    start = f"{said['statement']} {words.get(said['stance'], 'has no answer')} as reported"
    parts = [
        f"{start} (P {_percent(said['probability'])}, under the prior "
        f"{_percent(said['prior_probability'])}); over the scenarios P goes from "
        f"{_percent(said['least'])} to {_percent(said['most'])}."
    ]
    if broken.empty:
        parts.append("No scenario tried changes that.")
    else:
        parts += _breaking(broken, words)
    if said["impossible"]:
        parts.append(f"Impossible, as the facts contradict each other: {said['impossible']}.")
    if said["power_scaling"]:
        parts.append(f"Power-scaling: {said['power_scaling']}.")
    if said["not_converged"]:
        parts.append("Some scenarios did not converge; the table names them.")
    return " ".join(parts)


def _breaking(broken: pd.DataFrame, words: Mapping[str, str], most: int = 3) -> Iterator[str]:
    """Which scenarios change the stance: those with one change before those with two."""
    for stance in (HOLDS, UNCERTAIN, FAILS):
        rows = broken[broken["stance"] == stance]
        if rows.empty:
            continue
        single = rows[~rows["changed"].str.contains(", ")]
        pool = single if len(single) else rows
        pool = pool.sort_values("probability", ascending=stance != HOLDS)
        named = "; ".join(pool["changed"].iloc[:most])
        more = " and others" if len(rows) > min(most, len(pool)) else ""
        yield f"It {words[stance]} with {named}{more}."


def _percent(value: float) -> str:
    if np.isnan(value):
        return "unknown"
    if value > 0.999:
        return ">99.9\N{NO-BREAK SPACE}%"
    text = "<0.1" if value < 0.001 else f"{100 * value:.1f}"
    return f"{text}\N{NO-BREAK SPACE}%"

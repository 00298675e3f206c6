"""Rows of scenarios to one row and one sentence for each conclusion: what moves it, what breaks it.

One rule, the same for a statement and for its opposite, with L = 0.975 unless asked otherwise:

    holds      P(statement) >= L
    fails      P(opposite)  >= L, that is P(statement) <= 1 - L
    uncertain  neither

    robust     the same stance in every scenario that counts;  fragile  another stance in some;
    not varied no scenario counts

A scenario shown apart does not count: its model fails its predictive check or is said not to fit
what is asked, or it leaves out half of the contrast that is asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.inference.convergence import failed
from her2bayes.inference.reweight import diagnosis
from her2bayes.sensitivity.scenarios import BASE, Axis, one_at_a_time
from her2bayes.sensitivity.target import REWEIGHTED

HOLDS, UNCERTAIN, FAILS, NO_ANSWER = "holds", "uncertain", "fails", "impossible"


ROBUST, FRAGILE, NOT_VARIED = "robust", "fragile", "not varied"


@dataclass(frozen=True)
class Limits:
    """Probability from which a conclusion holds; of its opposite, from which it fails."""

    holds: float = 0.975

    def __post_init__(self) -> None:
        """Refuse a limit at which a statement and its opposite could both hold."""
        if not 0.5 < self.holds < 1:
            remedy = "0.975 is a two-sided 95 % statement"
            raise_if([Fault("probability from which a conclusion holds", None, None, "--holds",
                            self.holds, "above 0.5 and below 1", remedy)])  # fmt: skip

    def stance(self, probability: float) -> str:
        """Stance of a conclusion with this probability."""
        if np.isnan(probability):
            return NO_ANSWER
        if probability >= self.holds:
            return HOLDS
        return FAILS if 1 - probability >= self.holds else UNCERTAIN


def counting(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of scenarios that count: not those shown apart."""
    return table[table["apart"] == ""]


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
    """One row a conclusion: stance as reported, range of P, verdict, what breaks it."""
    return pd.DataFrame([_summed(c, table[table["conclusion"] == c.id], limits)
                         for c in conclusions])  # fmt: skip


def _summed(conclusion: Conclusion, rows: pd.DataFrame, limits: Limits) -> dict[str, Any]:
    base = rows[rows["scenario"] == BASE.id].iloc[0]
    known = counting(rows).dropna(subset=["probability"])
    apart = rows[rows["apart"] != ""].dropna(subset=["probability"])
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
        "robust": _verdict(len(known), len(broken)),
        "prior_sensitivity": power[0],
        "likelihood_sensitivity": power[1],
        "power_scaling": diagnosis(*power),
        "impossible": "; ".join(rows.loc[rows["stance"] == NO_ANSWER, "changed"]),
        "not_converged": "; ".join(bad["changed"]),
        "apart": "; ".join(f"{r['changed']} (P {_percent(r['probability'])}): {r['apart']}"
                           for r in apart.to_dict("records")),
    }  # fmt: skip
    return {**said, "sentence": _sentence(said, broken, limits), "note": conclusion.note}


def _verdict(known: int, broken: int) -> str:
    if known < 2:  # the reported analysis is one of them
        return NOT_VARIED
    return FRAGILE if broken else ROBUST


def _sentence(said: Mapping[str, Any], broken: pd.DataFrame, limits: Limits) -> str:
    words = {HOLDS: "holds", UNCERTAIN: "is uncertain", FAILS: "fails"}
    start = f"{said['statement']} {words.get(said['stance'], 'has no answer')} as reported"
    parts = [
        f"{start} (P {_percent(said['probability'])}, under the prior "
        f"{_percent(said['prior_probability'])}); over the scenarios P goes from "
        f"{_percent(said['least'])} to {_percent(said['most'])}."
    ]
    if said["robust"] == NOT_VARIED:
        parts.append("Nothing was varied.")
    elif broken.empty:
        parts.append("No scenario tried changes that.")
    else:
        parts += _breaking(broken, words)
    if said["impossible"]:
        parts.append(f"Impossible, as the facts contradict each other: {said['impossible']}.")
    if said["apart"]:
        parts.append(f"Shown apart, as no answer to this: {said['apart']}.")
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


def methods_used(table: pd.DataFrame) -> dict[str, int]:
    """Scenarios of targets by how they were computed; refused re-weightings count as refits."""
    each = table.drop_duplicates(["analysis", "scenario"])
    counted = each["method"].value_counts().to_dict()
    refused = each["k_hat"].notna() & (each["method"] != REWEIGHTED)
    return {**{str(k): int(v) for k, v in counted.items()}, "refused": int(refused.sum())}

"""The classical side of survival: one named variant an estimand, keyed as the posterior is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from her2bayes.classical import competing
from her2bayes.classical import hazard_regression as regression
from her2bayes.classical import survival as km
from her2bayes.estimand import Contrast, Estimand

if TYPE_CHECKING:
    from her2bayes.evidence.patients.follow_up import FollowUp

COLUMNS = (
    "estimand", "statistic", "reproduced", "reproduced_lower", "reproduced_upper", "reproduced_p",
    "method", "unit", "note",
)  # fmt: skip
Given = tuple[tuple[str, str], ...]


def classical_rows(
    counts: pd.DataFrame,
    follow_up: FollowUp,
    factors: Sequence[str],
    reference: Mapping[str, str],
    horizon: float,
    times: Sequence[float],
) -> pd.DataFrame:
    """Rows keyed by estimand: Kaplan–Meier, medians, RMST, log-rank, Cox with Efron's ties.

    With causes also Aalen–Johansen, Gray's test and cause-specific ratios. What the data do not
    give has a row without a number and with the reason.
    """
    endpoint = follow_up.endpoint
    rows: list[dict[str, Any]] = []
    for factor in ("", *factors):
        by = [factor] if factor else []
        rows += _levels(counts, endpoint, by, horizon, times)
        if factor and len(follow_up.factors[factor]) > 1:
            rows += _contrasts(counts, endpoint, factor, reference[factor], horizon)
    rows += _hazard_ratios(counts, endpoint, factors, reference, follow_up.causes)
    return pd.DataFrame(rows, columns=COLUMNS)


def from_entry(counts: pd.DataFrame) -> str:
    """What a curve is conditional on where all patients enter late; empty where they do not."""
    first = float(counts["entry"].min())
    if first <= 0:
        return ""
    return f"given no event before the first entry at {first:.1f} months"


def group_notes(counts: pd.DataFrame, by: Sequence[str]) -> dict[str, str]:
    """Note of each group on its first entry."""
    labels = km.label(counts, by)
    return {str(group): from_entry(counts[labels == group]) for group in pd.unique(labels)}


def _levels(
    counts: pd.DataFrame, endpoint: str, by: list[str], horizon: float, times: Sequence[float]
) -> Iterator[dict[str, Any]]:
    notes = group_notes(counts, by)

    def given(group: str) -> Given:
        return ((by[0], group),) if by else ()

    def result(
        asked: Estimand, statistic: str, row: Mapping[Any, Any], unit: str = "", scale: float = 1.0
    ) -> dict[str, Any]:
        note = joined(notes[row["group"]], row.get("note", ""))
        return _result(asked, statistic, {**row, "note": note}, unit, scale)

    for row in km.survival_at(counts, times, by).to_dict("records"):
        asked = Estimand("survival", endpoint, given(row["group"]), None, row["time"], "months")
        yield result(asked, "percentage", row, unit="%", scale=100)
    for row in competing.cumulative_incidence(counts, times, by).to_dict("records"):
        if row["cause"]:
            outcome = f"{endpoint}={row['cause']}"
            where = given(row["group"])
            asked = Estimand("cumulative_incidence", outcome, where, None, row["time"], "months")
            yield result(asked, "percentage", row, unit="%", scale=100)
    for row in km.quantile(counts, by).to_dict("records"):
        yield result(Estimand("median", endpoint, given(row["group"])), "median", row, "months")
    for row in km.rmst(counts, horizon, by).to_dict("records"):
        asked = Estimand("rmst", endpoint, given(row["group"]), None, horizon, "months")
        yield result(asked, "rmst", row, "months")
    for row in km.quantile(counts, by, reverse=True).to_dict("records"):
        asked = Estimand("follow_up", endpoint, given(row["group"]))
        yield _result(asked, "median", row, "months")
    labels = km.label(counts, by)
    for group in pd.unique(labels):
        events, number = km.size(counts[labels == group])
        asked = Estimand("events", endpoint, given(str(group)))
        row = {"estimate": events, "method": f"{events} events in {number} patients"}
        yield _result(asked, "count", row)


def _contrasts(
    counts: pd.DataFrame, endpoint: str, factor: str, reference: str, horizon: float
) -> Iterator[dict[str, Any]]:
    from her2bayes.survival.estimates import pairs

    table = km.rmst(counts, horizon, [factor])
    for a, b in pairs(list(table["group"]), reference):
        for ratio, kind in ((False, "rmst_difference"), (True, "rmst_ratio")):
            row = km.rmst_contrast(table, a, b, ratio)
            asked = Estimand(kind, endpoint, (), Contrast(factor, a, b), horizon, "months")
            yield _result(asked, kind, row, "" if ratio else "months")
    asked = Estimand("association", endpoint, (), Contrast(factor))
    yield _result(asked, "p_value", tested(km.logrank(counts, [factor])))
    for cause in filter(None, competing.causes_of(counts)):
        asked = Estimand("association", f"{endpoint}={cause}", (), Contrast(factor))
        yield _result(asked, "p_value", tested(competing.gray(counts, factor, cause)))


def tested(test: Mapping[str, Any]) -> dict[str, Any]:
    """Row of a test of all groups: P, and chi-square with its degrees of freedom in the method."""
    method = str(test["method"])
    if test["df"]:
        method += f", chi-square {test['statistic']:.4g} on {test['df']} df, all groups"
    return {"p_value": test["p_value"], "method": method, "note": test["note"]}


def _hazard_ratios(
    counts: pd.DataFrame,
    endpoint: str,
    factors: Sequence[str],
    reference: Mapping[str, str],
    causes: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """Cox model of all factors together, refitted for each reference to give every pair."""
    from her2bayes.survival.estimates import pairs

    several = [name for name in factors if len(set(counts[name])) > 1]
    for cause in causes or [""]:
        of_cause = counts.assign(event=counts["event"] * (counts["cause"] == cause))
        outcome = f"{endpoint}={cause}" if cause else endpoint
        for factor in several:
            wanted = pairs([str(v) for v in counts[factor].cat.categories], reference[factor])
            for base in dict.fromkeys(b for _, b in wanted):
                asked = {**{f: reference[f] for f in several}, factor: base}
                for row in _cox(of_cause, asked):
                    if row["factor"] == factor and (row["level"], base) in wanted:
                        contrast = Contrast(factor, row["level"], base)
                        ratio = Estimand("hazard_ratio", outcome, (), contrast)
                        yield _result(ratio, "hazard_ratio", row)
    if len(several) > 1 and not causes:
        yield from _within(counts, endpoint, several, reference)


def _within(
    counts: pd.DataFrame, endpoint: str, several: list[str], reference: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Cox model of the first factor within each level of the others: the raw forest."""
    first, base = several[0], reference[several[0]]
    for other in several[1:]:
        for level in counts[other].cat.categories:
            for row in _cox(counts[counts[other] == level], {first: base}):
                contrast = Contrast(first, row["level"], base)
                asked = Estimand("hazard_ratio", endpoint, ((other, str(level)),), contrast)
                yield _result(asked, "hazard_ratio", row)


def _cox(counts: pd.DataFrame, references: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of a Cox model, each with the method of its interval."""
    found = regression.cox(counts, references)
    return [
        {str(k): v for k, v in row.items()}
        | {"method": joined(found.method, row["interval"], ", ")}
        for row in found.table.to_dict("records")
    ]


def joined(first: str, second: str, between: str = "; ") -> str:
    """Texts that are not empty, joined."""
    return between.join(text for text in (first, second) if text)


def _result(
    asked: Estimand, statistic: str, row: Mapping[Any, Any], unit: str = "", scale: float = 1.0
) -> dict[str, Any]:
    value = row.get("hazard_ratio", row.get("estimate", np.nan))
    return {
        "estimand": str(asked),
        "statistic": statistic,
        "reproduced": float(value) * scale,
        "reproduced_lower": float(row.get("lower", np.nan)) * scale,
        "reproduced_upper": float(row.get("upper", np.nan)) * scale,
        "reproduced_p": float(row.get("p_value", np.nan)),
        "method": row["method"],
        "unit": unit,
        "note": row.get("note", ""),
    }

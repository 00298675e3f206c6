"""The classical side of survival: one named variant an estimand, and the table of all variants.

``classical_rows`` are keyed as the posterior is; ``variants`` is what classical.csv and the page
list beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import stats

from her2bayes.classical import competing, survival
from her2bayes.classical import hazard_regression as regression
from her2bayes.classical import survival as km
from her2bayes.estimand import Contrast, Estimand
from her2bayes.survival.draws import Given
from her2bayes.survival.estimates import given_of, pairs

COLUMNS = (
    "estimand", "statistic", "reproduced", "reproduced_lower", "reproduced_upper", "reproduced_p",
    "method", "unit", "note",
)  # fmt: skip

VARIANTS = ["factor", "level", "what", "estimate", "lower", "upper", "p_value", "method", "note"]
NUMBERS = ("estimate", "lower", "upper", "p_value")
MOST_SUBDISTRIBUTION = 1000  # greenwood's Fine-Gray takes time with the square of the patients
MOST_PATIENTS = 200_000  # the residuals of proportional hazards need one row a patient
Row = dict[str, Any]


class Followed(Protocol):
    """What is read of a follow-up beside its counts."""

    @property
    def endpoint(self) -> str:
        """Name of the outcome."""

    @property
    def factors(self) -> Mapping[str, tuple[str, ...]]:
        """Levels of each factor."""

    @property
    def causes(self) -> tuple[str, ...]:
        """Competing causes; empty with one kind of event."""


def classical_rows(
    counts: pd.DataFrame,
    follow_up: Followed,
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
        return given_of(by[0] if by else "", group)

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


def variants(
    counts: pd.DataFrame,
    follow_up: Followed,
    factors: Sequence[str],
    reference: Mapping[str, str],
    times: Sequence[float],
) -> pd.DataFrame:
    """Table of ``VARIANTS``: curves of all patients and of every level, then tests and ratios.

    Intervals of three kinds, the weights of the log-rank family, two rules of ties, tests of
    proportional hazards; with causes, cumulative incidence, Gray's test, cause-specific ratios and,
    of a thousand patients at most, those of the subdistribution (Fine and Gray).
    """
    rows: list[Row] = list(_curves(counts, "", times))
    for factor in factors:
        rows += _curves(counts, factor, times)
        if len(follow_up.factors[factor]) < 2:
            continue
        others = [name for name in factors if name != factor]
        rows += _tests(counts, factor, others)
        for cause in follow_up.causes or ("",):
            of_cause = counts.assign(event=counts["event"] * (counts["cause"] == cause))
            rows += _ratios(of_cause, factor, reference[factor], others, cause)
            rows += _subdistribution(counts, factor, reference[factor], cause)
    return pd.DataFrame(rows, columns=VARIANTS)


def _curves(counts: pd.DataFrame, factor: str, times: Sequence[float]) -> Iterator[Row]:
    """Events, medians, survival and cumulative incidence of all patients or by level."""
    by = [factor] if factor else []
    notes, labels = group_notes(counts, by), km.label(counts, by)

    def level(group: str) -> str:
        return group if factor else ""

    def of(row: Mapping[Any, Any], what: str) -> Row:
        note = joined(notes[row["group"]], row["note"])
        return _row(factor, level(row["group"]), what, {**row, "note": note})

    for group in pd.unique(labels):
        events, number = km.size(counts[labels == group])
        for what, value in (("patients", number), ("events", events)):
            yield _row(factor, level(group), what, {"estimate": value, "method": "count"})
    for kind in km.CONFIDENCE:
        for row in km.quantile(counts, by, conf_type=kind).to_dict("records"):
            yield of(row, "median, months")
    for row in km.survival_at(counts, times, by).to_dict("records"):
        yield of(row, f"survival at {row['time']:g} months")
    for row in competing.cumulative_incidence(counts, times, by).to_dict("records"):
        if row["cause"]:
            what = f"cumulative incidence of {row['cause']} by {row['time']:g} months"
            yield of(row, what)


def _tests(counts: pd.DataFrame, factor: str, others: Sequence[str]) -> Iterator[Row]:
    for rho, gamma in ((0, 0), (1, 0), (0, 1), (1, 1)):
        yield _test(factor, km.logrank(counts, [factor], rho=rho, gamma=gamma))
    if others:
        yield _test(factor, km.logrank(counts, [factor], strata=others))
    if len(counts[factor].cat.categories) > 2:  # of two levels it is the log-rank test itself
        yield _test(factor, survival.trend(counts, factor))
    for cause in filter(None, competing.causes_of(counts)):
        yield _test(factor, competing.gray(counts, factor, cause), f"{cause}: ")


def _ratios(
    counts: pd.DataFrame, factor: str, base: str, others: Sequence[str], cause: str
) -> Iterator[Row]:
    """Cox models of the factor alone, by rule of ties and strata, with their tests."""
    of = f"{cause}: " if cause else ""
    for ties in regression.TIES:
        for strata in ([], list(others)) if others else ([],):
            found = regression.cox(counts, {factor: base}, strata, ties)
            for row in found.table.to_dict("records"):
                what = f"{of}hazard ratio vs {base}"
                method = joined(found.method, row["interval"], ", ")
                ratio = {**row, "estimate": row["hazard_ratio"], "method": method}
                yield _row(factor, row["level"], what, ratio)
            yield from _model_tests(factor, found, of)
    if counts["patients"].sum() <= MOST_PATIENTS:
        for row in regression.proportional_hazards(counts, {factor: base}).to_dict("records"):
            what = f"{of}proportional hazards, chi-square"
            yield _row(factor, row["term"], what, {**row, "estimate": row["statistic"]})


def _subdistribution(counts: pd.DataFrame, factor: str, base: str, cause: str) -> Iterator[Row]:
    """Fine and Gray's ratios of one of several causes."""
    if not cause or counts["patients"].sum() > MOST_SUBDISTRIBUTION:
        return
    for row in competing.fine_gray(counts, {factor: base}, cause).to_dict("records"):
        what = f"{cause}: subdistribution hazard ratio vs {base}"
        yield _row(factor, row["level"], what, {**row, "estimate": row["hazard_ratio"]})


def _model_tests(factor: str, found: regression.CoxFit, of: str) -> Iterator[Row]:
    df = found.tests["df"]
    for name in ("wald", "score", "likelihood_ratio"):
        value = found.tests[name]
        known = bool(np.isfinite(value))
        row = {
            "estimate": value,
            "p_value": float(stats.chi2.sf(value, df)) if known else np.nan,
            "method": found.method,
            "note": "" if known else f"not available: {found.note or 'nothing to compare'}",
        }
        degrees = f", {df:g} df" if np.isfinite(df) else ""
        yield _row(factor, "", f"{of}{name.replace('_', ' ')} chi-square{degrees}", row)


def _row(factor: str, level: str, what: str, row: Mapping[Any, Any]) -> Row:
    numbers = {name: row.get(name, np.nan) for name in NUMBERS}
    return {
        "factor": factor, "level": level, "what": what, **numbers, "method": row["method"],
        "note": row.get("note", ""),
    }  # fmt: skip


def _test(factor: str, test: Mapping[str, Any], of: str = "") -> Row:
    what = f"{of}chi-square" + (f", {test['df']} df" if test["df"] else "")
    return _row(factor, "", what, {**test, "estimate": test["statistic"]})

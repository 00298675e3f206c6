"""Every classical variant of survival in one table: what classical.csv and the page list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from her2bayes.classical import competing, logrank
from her2bayes.classical import hazard_regression as regression
from her2bayes.classical import survival as km
from her2bayes.survival.classical import group_notes, joined

if TYPE_CHECKING:
    from her2bayes.evidence.patients.follow_up import FollowUp

COLUMNS = ["factor", "level", "what", "estimate", "lower", "upper", "p_value", "method", "note"]
NUMBERS = ("estimate", "lower", "upper", "p_value")
MOST_PATIENTS = 200_000  # the residuals of proportional hazards need one row a patient
Row = dict[str, Any]


def variants(
    counts: pd.DataFrame,
    follow_up: FollowUp,
    factors: Sequence[str],
    reference: Mapping[str, str],
    times: Sequence[float],
) -> pd.DataFrame:
    """Table of ``COLUMNS``: curves of all patients and of every level, then tests and ratios.

    Intervals of three kinds, the weights of the log-rank family, two rules of ties, tests of
    proportional hazards; with causes, cumulative incidence, Gray's test and cause-specific ratios.
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
    return pd.DataFrame(rows, columns=COLUMNS)


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
        yield _test(factor, logrank.trend(counts, factor))
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
                what = f"{of}hazard ratio against {base}"
                method = joined(found.method, row["interval"], ", ")
                ratio = {**row, "estimate": row["hazard_ratio"], "method": method}
                yield _row(factor, row["level"], what, ratio)
            yield from _model_tests(factor, found, of)
    if counts["patients"].sum() <= MOST_PATIENTS:
        for row in regression.proportional_hazards(counts, {factor: base}).to_dict("records"):
            what = f"{of}proportional hazards, chi-square"
            yield _row(factor, row["term"], what, {**row, "estimate": row["statistic"]})


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

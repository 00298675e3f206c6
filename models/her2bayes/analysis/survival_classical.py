"""The classical side of survival: one named variant an estimand, and a table of all variants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.classical import hazard_regression as regression
from her2bayes.classical import survival as km
from her2bayes.errors import BadInput
from her2bayes.estimand import Contrast, Estimand

if TYPE_CHECKING:
    from her2bayes.evidence.follow_up import FollowUp

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
    """Rows keyed by estimand: Kaplan–Meier, medians, RMST, log-rank, Cox with Efron's ties."""
    endpoint = follow_up.endpoint
    rows: list[dict[str, Any]] = []
    for factor in ("", *factors):
        by = [factor] if factor else []
        rows += _levels(counts, endpoint, by, horizon, times)
        if factor and len(follow_up.factors[factor]) > 1:
            rows += _contrasts(counts, endpoint, factor, reference[factor], horizon)
    if follow_up.events:
        rows += _hazard_ratios(counts, endpoint, factors, reference)
    return pd.DataFrame(rows, columns=COLUMNS)


def _levels(
    counts: pd.DataFrame, endpoint: str, by: list[str], horizon: float, times: Sequence[float]
) -> Iterator[dict[str, Any]]:
    def given(group: str) -> Given:
        return ((by[0], group),) if by else ()

    for row in km.survival_at(counts, times, by).to_dict("records"):
        asked = Estimand("survival", endpoint, given(row["group"]), None, row["time"], "months")
        if np.isfinite(row["estimate"]):
            yield _result(asked, "percentage", row, unit="%", scale=100)
    for row in km.quantile(counts, by).to_dict("records"):
        yield _result(Estimand("median", endpoint, given(row["group"])), "median", row, "months")
    for row in km.rmst(counts, horizon, by).to_dict("records"):
        asked = Estimand("rmst", endpoint, given(row["group"]), None, horizon, "months")
        yield _result(asked, "rmst", row, "months")
    for row in km.quantile(counts, by, reverse=True).to_dict("records"):
        asked = Estimand("follow_up", endpoint, given(row["group"]))
        yield _result(asked, "median", row, "months")
    labels = km.label(counts, by)
    for group in pd.unique(labels):
        inside = counts[labels == group]
        events = int(inside.loc[inside["event"] == 1, "patients"].sum())
        number = int(inside["patients"].sum())
        asked = Estimand("events", endpoint, given(str(group)))
        row = {"estimate": events, "method": f"{events} events in {number} patients"}
        yield _result(asked, "count", row)


def _contrasts(
    counts: pd.DataFrame, endpoint: str, factor: str, reference: str, horizon: float
) -> Iterator[dict[str, Any]]:
    from her2bayes.analysis.survival_estimates import pairs

    table = km.rmst(counts, horizon, [factor])
    for a, b in pairs(list(table["group"]), reference):
        for ratio, kind in ((False, "rmst_difference"), (True, "rmst_ratio")):
            row = km.rmst_contrast(table, a, b, ratio)
            asked = Estimand(kind, endpoint, (), Contrast(factor, a, b), horizon, "months")
            yield _result(asked, kind, row, "" if ratio else "months")
    if counts["event"].any():
        test = km.logrank(counts, [factor])
        asked = Estimand("association", endpoint, (), Contrast(factor))
        yield _result(asked, "p_value", {"p_value": test["p_value"], "method": test["method"]})


def _hazard_ratios(
    counts: pd.DataFrame, endpoint: str, factors: Sequence[str], reference: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Cox model of all factors together, refitted for each reference to give every pair."""
    from her2bayes.analysis.survival_estimates import pairs

    several = [name for name in factors if len(set(counts[name])) > 1]
    causes = sorted(set(counts["cause"]) - {""}) or [""]
    for cause in causes:
        of_cause = counts.assign(event=counts["event"] * (counts["cause"] == cause))
        outcome = f"{endpoint}={cause}" if cause else endpoint
        for factor in several:
            wanted = pairs([str(v) for v in counts[factor].cat.categories], reference[factor])
            for base in dict.fromkeys(b for _, b in wanted):
                found = _cox(
                    of_cause,
                    {**{f: _safe(of_cause, f, reference[f]) for f in several}, factor: base},
                )
                for row in found:
                    if row["factor"] == factor and (row["level"], base) in wanted:
                        asked = Estimand(
                            "hazard_ratio", outcome, (), Contrast(factor, row["level"], base)
                        )
                        yield _result(asked, "hazard_ratio", row)
    if len(several) > 1 and causes == [""]:
        yield from _within(counts, endpoint, several, reference)


def _within(
    counts: pd.DataFrame, endpoint: str, several: list[str], reference: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Cox model of the first factor within each level of the others: the raw forest."""
    first, base = several[0], reference[several[0]]
    for other in several[1:]:
        for level in counts[other].cat.categories:
            inside = counts[counts[other] == level]
            for row in _cox(inside, {first: base}):
                asked = Estimand(
                    "hazard_ratio",
                    endpoint,
                    ((other, str(level)),),
                    Contrast(first, row["level"], base),
                )
                yield _result(asked, "hazard_ratio", row)


def _safe(counts: pd.DataFrame, factor: str, wanted: str) -> str:
    """Reference with events: a level without any cannot be one in a Cox model."""
    events = counts[counts["event"] == 1].groupby(factor, observed=True)["patients"].sum()
    return wanted if wanted in events.index or events.empty else str(events.idxmax())


def _cox(counts: pd.DataFrame, references: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of a Cox model; none where it has no finite estimate (no events, one level)."""
    usable = {
        name: base
        for name, base in references.items()
        if len(set(counts.loc[counts["event"] == 1, name])) > 1
        and base in set(counts.loc[counts["event"] == 1, name].astype(str))
    }
    if not usable:
        return []
    try:
        found = regression.cox(counts, usable)
    except (BadInput, np.linalg.LinAlgError):
        return []  # monotone likelihood: the row stays empty, the posterior stands alone
    return [
        {str(k): v for k, v in row.items()} | {"method": found.method}
        for row in found.table.to_dict("records")
    ]


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
    cells: xr.Dataset,
    follow_up: FollowUp,
    factors: Sequence[str],
    reference: Mapping[str, str],
    horizon: float,
) -> pd.DataFrame:
    """Every classical variant: intervals, weights of the log-rank family, ties, tests of PH."""
    rows: list[dict[str, Any]] = []
    for factor in factors:
        if len(follow_up.factors[factor]) < 2 or not follow_up.events:
            continue
        for kind in ("log", "log-log", "plain"):
            found = km.quantile(counts, [factor], conf_type=kind)
            rows += [_variant(factor, r["group"], "median", r) for r in found.to_dict("records")]
        others = [name for name in factors if name != factor]
        for rho, gamma in ((0, 0), (1, 0), (0, 1), (1, 1)):
            rows.append(_test(factor, km.logrank(counts, [factor], rho=rho, gamma=gamma)))
        if others:
            rows.append(_test(factor, km.logrank(counts, [factor], strata=others)))
        rows += _cox_variants(counts, factor, _safe(counts, factor, reference[factor]), others)
    return pd.DataFrame(rows)


def _cox_variants(
    counts: pd.DataFrame, factor: str, base: str, others: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for ties in regression.TIES:
        for strata in ([], list(others)) if others else ([],):
            try:
                found = regression.cox(counts, {factor: base}, strata, ties)
            except (BadInput, np.linalg.LinAlgError):
                continue  # no finite estimate under this variant
            for row in found.table.to_dict("records"):
                what = f"hazard ratio against {base}"
                yield _variant(
                    factor,
                    row["level"],
                    what,
                    {**row, "estimate": row["hazard_ratio"], "method": found.method},
                )
            for name, value in found.tests.items():
                if name != "df":
                    yield {
                        "factor": factor,
                        "level": "",
                        "what": f"{name} chi-square",
                        "estimate": value,
                        "method": found.method,
                    }
    if counts["patients"].sum() <= 200_000:
        for row in regression.proportional_hazards(counts, {factor: base}).to_dict("records"):
            yield {
                "factor": factor,
                "level": row["term"],
                "what": "proportional hazards, chi-square",
                "estimate": row["statistic"],
                "p_value": row["p_value"],
                "method": row["method"],
            }


def _variant(factor: str, level: str, what: str, row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "factor": factor,
        "level": level,
        "what": what,
        **{name: row.get(name, np.nan) for name in ("estimate", "lower", "upper", "p_value")},
        "method": row["method"],
    }


def _test(factor: str, test: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "factor": factor,
        "level": "",
        "what": f"chi-square, {test['df']} df",
        "estimate": test["statistic"],
        "p_value": test["p_value"],
        "method": test["method"],
    }

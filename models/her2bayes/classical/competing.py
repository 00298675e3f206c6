"""Competing causes on TimeCounts: cumulative incidence, Gray's test, Fine and Gray's ratios.

Aalen & Johansen 1978, the variance by the delta method (Marubini & Valsecchi 1995), which R's
``survfit`` gives as well; delayed entry counts (greenwood's estimator takes none). Gray 1988,
by greenwood as ``cmprsk::cuminc`` has it, which is not defined for delayed entry.
Subdistribution hazard ratios of one of several causes: Fine & Gray 1999.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import greenwood as gw
import numpy as np
import pandas as pd
from scipy import stats

from her2bayes.classical.cox_likelihood import risk_table
from her2bayes.classical.hazard_regression import (
    absent,
    cox,
    design_of,
    missing,
    quietly,
    row,
    table_of,
)
from her2bayes.classical.survival import Z, cause_of_exit, expand, label
from her2bayes.errors import BadInput, Fault

CONFIDENCE = ("log", "plain")
COLUMNS = ["estimate", "std_error", "lower", "upper"]
MOST_PATIENTS = 50_000  # Gray's test is a loop over event times and patients
DELAYED = "Gray's test is not defined for delayed entry"


def causes_of(counts: pd.DataFrame) -> list[str]:
    """Causes that events have, in alphabetical order."""
    return sorted(set(counts.loc[counts["event"] == 1, "cause"].astype(str)))


def cumulative_incidence(
    counts: pd.DataFrame, times: Sequence[float], by: Sequence[str] = (), conf_type: str = "log"
) -> pd.DataFrame:
    """Aalen–Johansen cumulative incidence of each cause at given months, by group.

    Columns group, cause, time, estimate, std_error, lower, upper, method, note; missing beyond the
    last time of a group. A logarithmic interval does not exist where nobody has had the event.
    """
    if conf_type not in CONFIDENCE:
        raise BadInput(Fault("interval type", value=conf_type, allowed=", ".join(CONFIDENCE)))
    labels, parts = label(counts, by), []
    for group in pd.unique(labels):
        inside = counts[labels == group]
        last = float(inside["time"].max())
        for cause in causes_of(counts):
            steps = incidence(inside, cause)
            part = _at(steps, np.asarray(times, float), last, conf_type)
            parts.append(part.assign(group=group, cause=cause))
    method = f"Aalen-Johansen, {conf_type} interval"
    if not parts:
        return pd.DataFrame(columns=[*COLUMNS, "time", "note", "group", "cause", "method"])
    return pd.concat(parts, ignore_index=True).assign(method=method)


def incidence(rows: pd.DataFrame, cause: str) -> pd.DataFrame:
    """Steps of one group's cumulative incidence of a cause: time, estimate, std_error."""
    entry, time, event, patients = rows[["entry", "time", "event", "patients"]].to_numpy(float).T
    nothing = np.zeros(len(rows))
    table = risk_table(entry, time, event, patients, nothing, nothing[:, None])
    times = np.unique(time[event == 1])
    number, dead = table.at_risk.sum(axis=1), table.events.sum(axis=1)
    of_cause = np.zeros(len(times))
    chosen = (event == 1) & (rows["cause"].astype(str) == cause).to_numpy()
    np.add.at(of_cause, np.searchsorted(times, time[chosen]), patients[chosen])
    survival = np.cumprod(1 - dead / number)
    before = np.concatenate([[1.0], survival])[: len(times)]
    value = np.cumsum(before * of_cause / number)
    return pd.DataFrame(
        {
            "time": times,
            "estimate": value,
            "std_error": _error(value, before, number, dead, of_cause),
        }
    )


def _error(
    value: np.ndarray,
    before: np.ndarray,
    number: np.ndarray,
    dead: np.ndarray,
    of_cause: np.ndarray,
) -> np.ndarray:
    """Delta method: the sum over times u of the variance of hazards there, times what they move.

    All of them lower survival after u, and with it the later incidence F(t) - F(u); those of the
    cause raise F by S(u-). Sums over u are cumulative sums of products of F at t and F at u.
    """
    left = number - dead
    lost = np.divide(dead, number * left, out=np.zeros_like(dead), where=left > 0)
    gained = before**2 * (number - of_cause) * of_cause / number**3
    both = before * of_cause / number**2
    variance = (
        value**2 * np.cumsum(lost)
        - 2 * value * np.cumsum(lost * value)
        + np.cumsum(lost * value**2)
        + np.cumsum(gained)
        - 2 * value * np.cumsum(both)
        + 2 * np.cumsum(both * value)
    )
    return np.sqrt(np.clip(variance, 0.0, None))


def _at(steps: pd.DataFrame, times: np.ndarray, last: float, conf_type: str) -> pd.DataFrame:
    place = np.searchsorted(steps["time"].to_numpy(), times, side="right")
    value, error = (
        np.append(0.0, steps[name].to_numpy())[place] for name in ("estimate", "std_error")
    )
    if conf_type == "log":
        some = value > 0
        factor = np.exp(Z * np.divide(error, value, out=np.zeros_like(value), where=some))
        lower, upper = (
            np.where(some, value / factor, np.nan),
            np.where(some, value * factor, np.nan),
        )
    else:
        lower, upper = value - Z * error, value + Z * error
    part = pd.DataFrame(
        {
            "time": times,
            "estimate": value,
            "std_error": error,
            "lower": np.clip(lower, 0.0, 1.0),
            "upper": np.clip(upper, 0.0, 1.0),
            "note": np.where(value > 0, "", "no events of this cause by then: no interval"),
        }
    )
    part.loc[times > last, COLUMNS] = np.nan
    part.loc[times > last, "note"] = f"not available: the last follow-up is at {last:.1f} months"
    return part


def gray(counts: pd.DataFrame, factor: str, cause: str) -> dict[str, Any]:
    """Gray's test of equal cumulative incidence: statistic, df, p_value, method, note."""
    reason = _no_gray(counts, factor, cause)
    if not reason:
        rows = expand(counts)
        try:
            with np.errstate(divide="ignore", invalid="ignore"):  # a group of which nobody is left
                found = gw.grays_test(cause_of_exit(rows), label(rows, [factor]), cause=cause)
        except np.linalg.LinAlgError:
            found = None
        if found is None or not np.isfinite(found.statistic):
            reason = "the groups cannot be told apart: no variance"
        else:
            return {
                "statistic": float(found.statistic), "df": int(found.df),
                "p_value": float(found.p_value), "method": "Gray's test", "note": "",
            }  # fmt: skip
    return {
        "statistic": np.nan, "df": 0, "p_value": np.nan, "method": "Gray's test",
        "note": f"not available: {reason}",
    }  # fmt: skip


def _no_gray(counts: pd.DataFrame, factor: str, cause: str) -> str:
    """Why Gray's test cannot be made; empty where it can."""
    if (counts["entry"] > 0).any():
        return DELAYED
    if counts["patients"].sum() > MOST_PATIENTS:
        return f"more than {MOST_PATIENTS:,} patients"
    if counts[factor].astype(str).nunique() < 2:
        return "one group only"
    return "" if cause in causes_of(counts) else "no events of this cause"


def fine_gray(counts: pd.DataFrame, factors: Mapping[str, str], cause: str) -> pd.DataFrame:
    """Subdistribution hazard ratios of one cause: factor, level, reference, ratio, Wald interval.

    NA with the reason for delayed entry, and for a level that has no events of the cause or whose
    reference has none (the ratio is 0 or infinite).
    """
    reason = _no_subdistribution(counts, cause)
    method = f"Fine-Gray, subdistribution of {cause}, Wald interval"
    design = design_of(counts, factors)
    if reason or design.empty:
        return absent(counts, factors, reason or "one level only").assign(method=method)
    if (counts["event"] == 1).all():
        return _uncensored(counts, factors, cause).assign(method=method)
    rows = expand(counts)
    terms = design_of(rows, factors)
    frame = quietly(
        lambda: gw.FineGray(cause=cause).fit(cause_of_exit(rows), terms).to_frame(format="pandas")
    )
    numbers = ["estimate", "std_error"]
    if frame is None or not (
        np.isfinite(frame[numbers]).all(axis=None) and frame["std_error"].all()
    ):
        return absent(counts, factors, "no finite maximum").assign(method=method)
    found = {}
    for term, estimate, error in zip(
        terms.columns, frame["estimate"], frame["std_error"], strict=True
    ):
        name, level = term.split("=", 1)
        silent = _without(counts, name, (level, factors[name]), cause)
        limits = (estimate - Z * error, estimate + Z * error)
        found[term] = (
            missing(f"no events of {cause} in {name}={silent}: the ratio is 0 or infinite")
            if silent
            else row(
                estimate, error, limits, float(2 * stats.norm.sf(abs(estimate) / error)), "",
                "Wald interval",
            )
        )  # fmt: skip
    return table_of(counts, factors, found).assign(method=method)


def _uncensored(counts: pd.DataFrame, factors: Mapping[str, str], cause: str) -> pd.DataFrame:
    """Without censoring patients with another cause stay at risk to the end: a Cox model."""
    own = counts["cause"] == cause
    stay = float(counts["time"].max()) + 1
    return cox(
        counts.assign(time=counts["time"].where(own, stay), event=own.astype(int)),
        factors, ties="breslow",
    ).table  # fmt: skip


def _no_subdistribution(counts: pd.DataFrame, cause: str) -> str:
    if (counts["entry"] > 0).any():
        return "Fine and Gray's model is not defined here for delayed entry"
    happened = (counts["event"] == 1) & (counts["cause"] == cause)
    return "" if happened.any() else f"no events of {cause}"


def _without(counts: pd.DataFrame, name: str, levels: Sequence[str], cause: str) -> str:
    """First of some levels whose patients have no event of the cause; empty if each has one."""
    happened = counts[(counts["event"] == 1) & (counts["cause"] == cause)]
    present = set(happened[name].astype(str))
    return next((level for level in levels if level not in present), "")

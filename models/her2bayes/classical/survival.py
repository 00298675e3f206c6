"""Classical survival methods on TimeCounts, thin over greenwood, each result naming its variant.

Kaplan & Meier 1958 with Greenwood's variance; medians by R's rule (the midpoint where the curve is
flat at one half); Mantel 1966 and Fleming & Harrington 1981; Cox 1972 with ties by Efron 1977 or
Breslow 1974; Grambsch & Therneau 1994; Royston & Parmar 2013 (RMST). Times are months. Every result
agrees with R's survival package (tests/reference/survival.R).

Log-rank tests of groups and of a trend over ordered groups, on counts of patients.

Mantel 1966; Fleming & Harrington 1981 (weights S(t-)^rho (1 - S(t-))^gamma of the pooled curve);
Tarone 1975 (trend). With d events of n at risk at a time, n_j of them in group j, the expected
events are d n_j / n and the covariance d (n - d) / (n - 1) (n_j delta_jk / n - n_j n_k / n^2).
Greenwood's function ends in an error where that matrix has no inverse; here its rank is the df.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import greenwood as gw
import numpy as np
import pandas as pd
from scipy import stats

from her2bayes.classical.cox_likelihood import risk_table
from her2bayes.errors import BadInput, Fault

FLAT = 1e-9  # singular values below this share of the largest are rounding error


class Moments(NamedTuple):
    """Weighted events observed and expected by group (groups,), and their covariance."""

    observed: np.ndarray
    expected: np.ndarray
    covariance: np.ndarray


def moments(
    counts: pd.DataFrame,
    code: np.ndarray,
    groups: int,
    stratum: np.ndarray,
    rho: float,
    gamma: float,
) -> Moments:
    """Sums over strata; ``code`` (rows,) is the number of each row's group."""
    total = Moments(np.zeros(groups), np.zeros(groups), np.zeros((groups, groups)))
    for value in np.unique(stratum):
        inside = stratum == value
        one = _of_stratum(counts[inside], code[inside], groups, rho, gamma)
        total = Moments(*(a + b for a, b in zip(total, one, strict=True)))
    return total


def _of_stratum(
    counts: pd.DataFrame, code: np.ndarray, groups: int, rho: float, gamma: float
) -> Moments:
    entry, time, event, patients = counts[["entry", "time", "event", "patients"]].to_numpy(float).T
    design = code[:, None].astype(float)
    table = risk_table(entry, time, event, patients, np.zeros(len(code)), design)
    present = table.patterns[:, 0].astype(int)
    events, at_risk = (np.zeros((len(table.events), groups)) for _ in range(2))
    events[:, present], at_risk[:, present] = table.events, table.at_risk
    dead, number = events.sum(axis=1), at_risk.sum(axis=1)
    after = np.cumprod(1 - dead / number)
    before = np.concatenate([[1.0], after])[: len(after)]
    weight = before**rho * (1 - before) ** gamma
    share = at_risk / number[:, None]
    spread = np.where(number > 1, dead * (number - dead) / np.maximum(number - 1, 1), 0.0)
    spread = spread * weight**2
    covariance = np.diag(spread @ share) - (share.T * spread) @ share
    return Moments(weight @ events, (weight * dead) @ share, covariance)


def quadratic(found: Moments) -> tuple[float, int]:
    """Chi-square of observed minus expected, and its degrees of freedom (0: no test)."""
    scale = float(np.abs(found.covariance).max(initial=0.0))
    if scale <= 1e-12:
        return float("nan"), 0
    df = int(np.linalg.matrix_rank(found.covariance, tol=FLAT * scale, hermitian=True))
    away = found.observed - found.expected
    inverse = np.linalg.pinv(found.covariance, rcond=FLAT, hermitian=True)
    return float(away @ inverse @ away), df


def trend(counts: pd.DataFrame, factor: str) -> dict[str, Any]:
    """Log-rank test of a trend over the levels of a factor in their order (scores 0, 1, 2, …)."""
    levels = list(counts[factor].cat.categories)
    code = counts[factor].cat.codes.to_numpy()
    found = moments(counts, code, len(levels), np.zeros(len(counts)), 0.0, 0.0)
    scores = np.arange(len(levels), dtype=float)
    variance = float(scores @ found.covariance @ scores)
    method = f"log-rank trend (Tarone), scores 0 to {len(levels) - 1} in the order of the levels"
    if variance <= 1e-12:
        return absent(method, counts)
    statistic = float(scores @ (found.observed - found.expected)) ** 2 / variance
    p_value = float(stats.chi2.sf(statistic, 1))
    return {"statistic": statistic, "df": 1, "p_value": p_value, "method": method, "note": ""}


def absent(method: str, counts: pd.DataFrame) -> dict[str, Any]:
    """A test that the data do not give, with the reason."""
    why = (
        "at no event time were patients of two groups at risk and not all of them had the event"
        if counts["event"].any()
        else "no events"
    )
    return {
        "statistic": np.nan,
        "df": 0,
        "p_value": np.nan,
        "method": method,
        "note": f"not available: {why}",
    }


def names(labels: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Distinct group names in order, and the number of each row's group."""
    found, code = np.unique(labels.astype(str), return_inverse=True)
    return [str(name) for name in found], code


CONFIDENCE = {"log": "log", "log-log": "log-log", "plain": "plain"}
TIE_TOLERANCE = 1.490116119384766e-08  # R: sqrt(.Machine$double.eps)
Z = float(stats.norm.ppf(0.975))


def label(counts: pd.DataFrame, by: Sequence[str]) -> np.ndarray:
    """Group of each row as text: the level, or ``factor=level`` joined by commas for several."""
    if not by:
        return np.full(len(counts), "all", dtype=object)
    if len(by) == 1:
        return counts[by[0]].astype(str).to_numpy(object)
    parts = [name + "=" + counts[name].astype(str) for name in by]
    return np.asarray([", ".join(row) for row in zip(*parts, strict=True)], dtype=object)


def kaplan_meier(
    counts: pd.DataFrame, by: Sequence[str] = (), conf_type: str = "log", reverse: bool = False
) -> gw.KaplanMeier:
    """Fitted Kaplan–Meier curves by group; ``reverse`` makes censoring the event."""
    if conf_type not in CONFIDENCE:
        raise BadInput(Fault("interval type", value=conf_type, allowed=", ".join(CONFIDENCE)))
    event = 1 - counts["event"] if reverse else counts["event"]
    return gw.KaplanMeier(conf_type=conf_type).fit(
        surv(counts, event), by=label(counts, by), weights=_weights(counts)
    )


def curve(
    counts: pd.DataFrame, by: Sequence[str] = (), conf_type: str = "log", reverse: bool = False
) -> pd.DataFrame:
    """Kaplan–Meier steps: group, time, n_risk, n_event, estimate, std_error, lower, upper."""
    frame = kaplan_meier(counts, by, conf_type, reverse).to_frame(format="pandas")
    frame = frame.rename(columns={"strata": "group", "conf_low": "lower", "conf_high": "upper"})
    if conf_type == "log-log":  # log(-log S) does not exist at S = 1; R leaves the interval open
        frame.loc[frame["estimate"] == 1, ["lower", "upper"]] = np.nan
    frame["method"] = f"Kaplan-Meier, {conf_type} interval"
    return frame


def survival_at(
    counts: pd.DataFrame,
    times: Sequence[float],
    by: Sequence[str] = (),
    conf_type: str = "log",
) -> pd.DataFrame:
    """Kaplan–Meier estimate at given months; missing beyond the last time of a group."""
    steps = curve(counts, by, conf_type)
    parts = []
    for group, step in steps.groupby("group", sort=False):
        last = step["time"].to_numpy()[-1]
        place = np.searchsorted(step["time"].to_numpy(), times, side="right") - 1
        columns = {"estimate": 1.0, "std_error": 0.0, "lower": 1.0, "upper": 1.0}
        values = {
            name: np.where(place < 0, start, step[name].to_numpy()[np.maximum(place, 0)])
            for name, start in columns.items()
        }
        part = pd.DataFrame(
            {"group": group, "time": np.asarray(times, float), **values, "note": ""}
        )
        part.loc[part["time"] > last, list(columns)] = np.nan
        beyond = f"not available: the last follow-up is at {last:.1f} months"
        part.loc[part["time"] > last, "note"] = beyond
        parts.append(part)
    return pd.concat(parts, ignore_index=True).assign(method=steps["method"].iloc[0])


def quantile(
    counts: pd.DataFrame,
    by: Sequence[str] = (),
    p: float = 0.5,
    conf_type: str = "log",
    reverse: bool = False,
) -> pd.DataFrame:
    """Time by which a share ``p`` has had the event; ``nan`` where the curve does not get there.

    With ``reverse`` the quantile of follow-up (reverse Kaplan–Meier, Schemper & Smith 1996).
    """
    what = "reverse Kaplan-Meier" if reverse else "Kaplan-Meier"
    rows = []
    for group, step in curve(counts, by, conf_type, reverse).groupby("group", sort=False):
        time = step["time"].to_numpy()
        found = {
            name: _reached(time, step[column].to_numpy(), p)
            for name, column in (("estimate", "estimate"), ("lower", "lower"), ("upper", "upper"))
        }
        note = "" if np.isfinite(found["estimate"]) else "not reached"
        rows.append({"group": group, **found, "note": note})
    return pd.DataFrame(rows).assign(method=f"{what} quantile {p:g}, {conf_type} interval")


def _reached(time: np.ndarray, survival: np.ndarray, p: float) -> float:
    """Time at which 1 - survival reaches p, as R does it (survival:::findq), quirks included.

    The midpoint of the step where the curve is flat at p; steps of a limit that is not monotone
    (delayed entry) are sorted first.
    """
    times, share = np.append(0.0, time), np.append(0.0, 1 - survival)
    if np.isnan(share).all() or np.nanmax(share) < p:
        return np.nan
    _, first = np.unique(share, return_index=True)
    first = np.sort(first)
    times_kept, share = times[first], share[first]
    order = np.argsort(share, kind="stable")
    order = order[~np.isnan(share[order])]

    def at(shift: float) -> float:
        place = np.searchsorted(share[order] + shift, p, side="left")
        return times_kept[order[place]] if place < len(order) else np.nan

    if abs(p - share[-1]) < TIE_TOLERANCE:
        return float((at(TIE_TOLERANCE) + times[-1]) / 2)
    return float((at(TIE_TOLERANCE) + at(-TIE_TOLERANCE)) / 2)


def logrank(
    counts: pd.DataFrame,
    by: Sequence[str],
    strata: Sequence[str] = (),
    rho: float = 0.0,
    gamma: float = 0.0,
) -> dict[str, Any]:
    """Log-rank or Fleming–Harrington test: statistic, df, p_value, observed, expected, method.

    All groups with patients count, those without events too. Where the data give no test the
    numbers are NA and ``note`` has the reason.
    """
    name = f"Fleming-Harrington test (rho={rho:g}, gamma={gamma:g})" if rho or gamma else "log-rank"
    name += f", stratified by {', '.join(strata)}" if strata else ""
    groups, code = names(label(counts, by))
    found = moments(counts, code, len(groups), label(counts, strata), rho, gamma)
    sums = {
        "observed": dict(zip(groups, found.observed.tolist(), strict=True)),
        "expected": dict(zip(groups, found.expected.tolist(), strict=True)),
    }
    statistic, df = quadratic(found)
    if not df:
        return {**absent(name, counts), **sums}
    p_value = float(stats.chi2.sf(statistic, df))
    return {
        "statistic": statistic, "df": df, "p_value": p_value, "method": name, "note": "", **sums,
    }  # fmt: skip


def rmst(counts: pd.DataFrame, horizon: float, by: Sequence[str] = ()) -> pd.DataFrame:
    """Area under the Kaplan–Meier curve to ``horizon`` months, with its Greenwood interval."""
    found = kaplan_meier(counts, by).rmst(horizon, ci=True)
    found = found if isinstance(found, dict) else {"all": found}
    rows = [
        {
            "group": group,
            "estimate": value,
            "std_error": (high - value) / Z,
            "lower": low,
            "upper": high,
        }
        for group, (value, low, high) in found.items()
    ]
    method = f"area under Kaplan-Meier to {horizon:g} months, Greenwood variance"
    return pd.DataFrame(rows).assign(method=method)


def rmst_contrast(table: pd.DataFrame, a: str, b: str, ratio: bool = False) -> dict[str, Any]:
    """Difference (or ratio, on the log scale) of two rows of ``rmst``; Wald interval and P."""
    first, second = (table.set_index("group").loc[name] for name in (a, b))
    if ratio:
        value = np.log(first["estimate"] / second["estimate"])
        errors, values = table["std_error"].to_numpy(), table["estimate"].to_numpy()
        chosen = [list(table["group"]).index(name) for name in (a, b)]
        error = float(np.sqrt(np.square(errors[chosen] / values[chosen]).sum()))
    else:
        value = first["estimate"] - second["estimate"]
        error = float(np.hypot(first["std_error"], second["std_error"]))
    back = np.exp if ratio else float
    return {
        "estimate": float(back(value)),
        "lower": float(back(value - Z * error)),
        "upper": float(back(value + Z * error)),
        "p_value": float(2 * stats.norm.sf(abs(value) / error)) if error > 0 else np.nan,
        "method": f"RMST {'ratio' if ratio else 'difference'}, Wald; {table['method'].iloc[0]}",
    }


def size(counts: pd.DataFrame) -> tuple[int, int]:
    """Events and patients."""
    events = counts.loc[counts["event"] == 1, "patients"].sum()
    return int(events), int(counts["patients"].sum())


def expand(counts: pd.DataFrame) -> pd.DataFrame:
    """One row a patient again, for methods that take no counts."""
    return counts.loc[counts.index.repeat(counts["patients"])].reset_index(drop=True)


def surv(counts: pd.DataFrame, event: pd.Series | None = None) -> gw.Surv:
    """Response of greenwood: right-censored, or counting process with delayed entry."""
    happened = (counts["event"] if event is None else event).to_numpy()
    time, entry = counts["time"].to_numpy(), counts["entry"].to_numpy()
    if (entry > 0).any():
        return gw.Surv(entry, time, happened)
    return gw.Surv(time, event=happened)


def cause_of_exit(rows: pd.DataFrame) -> gw.Surv:
    """Response of greenwood with competing causes, one row a patient."""
    causes = sorted(set(rows.loc[rows["event"] == 1, "cause"]))
    state = np.where(rows["event"] == 1, rows["cause"], "censored")
    kind = pd.Categorical(state, categories=["censored", *causes])
    return gw.Surv(rows["time"].to_numpy(), event=kind, type="mstate")


def _weights(counts: pd.DataFrame) -> np.ndarray:
    return counts["patients"].to_numpy(float)

"""Regression of hazards on groups: Cox, its tests, Fine–Gray, piecewise-exponential likelihood.

Cox 1972; Efron 1977 and Breslow 1974 (ties); Grambsch & Therneau 1994 (proportional hazards);
Fine & Gray 1999; Holford 1980 (piecewise exponential as a Poisson model). Agrees with R's survival
package (tests/reference/survival.R).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import greenwood as gw
import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats
from scipy.linalg import cho_factor, cho_solve

from her2bayes.classical.cox_likelihood import Maximum, maximise, risk_table
from her2bayes.classical.survival import Z, cause_of_exit, expand, label, surv
from her2bayes.errors import BadInput, Fault

TIES = ("efron", "breslow")
# more events than this and ties are taken by Breslow's rule, whose cost does not grow with them
MOST_EVENTS = 200_000


@dataclass(frozen=True)
class CoxFit:
    """Log hazard ratios against the reference levels, with the tests of the whole model.

    ``table``: factor, level, reference, log_hazard_ratio, std_error, hazard_ratio, lower, upper,
    p_value, note. ``tests``: Wald, score and likelihood-ratio chi-square of all terms.
    """

    table: pd.DataFrame
    tests: Mapping[str, float]
    loglik: tuple[float, float]
    method: str


def cox(
    counts: pd.DataFrame,
    factors: Mapping[str, str],
    strata: Sequence[str] = (),
    ties: str = "efron",
) -> CoxFit:
    """Cox model of ``factors`` (factor -> reference level); Wald intervals at 95 %.

    Levels without an event have a hazard ratio of 0 with no standard error: the likelihood rises
    without bound as it falls, and its limit is the model without those patients. Raises
    ``BadInput`` where there is nothing to compare.
    """
    if ties not in TIES:
        raise BadInput(Fault("ties", value=ties, allowed=", ".join(TIES)))
    kept, silent = _with_events(counts, factors)
    design = _design(kept, factors)
    happened = kept["event"] == 1
    if design.empty or not happened.any():
        raise BadInput(
            Fault(
                "nothing to compare",
                value={name: list(counts[name].astype(str).unique()) for name in factors},
                allowed="at least two levels with events",
            )
        )
    if kept.loc[happened, "patients"].sum() > MOST_EVENTS:
        ties = "breslow"
    entry, time, event, patients = kept[["entry", "time", "event", "patients"]].to_numpy().T
    table = risk_table(entry, time, event, patients, label(kept, strata), design.to_numpy())
    found = maximise(table, ties)
    wald = found.estimate @ np.linalg.solve(found.covariance, found.estimate)
    rows = _hazard_ratios(found, list(design.columns), factors)
    return CoxFit(
        table=pd.concat([rows, *_no_events(silent, factors)], ignore_index=True),
        tests={
            "wald": float(wald),
            "score": found.score,
            "likelihood_ratio": 2 * (found.loglik[1] - found.loglik[0]),
            "df": float(design.shape[1]),
        },
        loglik=found.loglik,
        method=f"Cox, {ties.capitalize()} ties, Wald interval"
        + (f", stratified by {', '.join(strata)}" if strata else ""),
    )


def proportional_hazards(
    counts: pd.DataFrame, factors: Mapping[str, str], strata: Sequence[str] = ()
) -> pd.DataFrame:
    """Grambsch–Therneau test by term and overall, time as 1 - Kaplan–Meier (R's cox.zph default).

    Columns term, statistic, df, p_value, method.
    """
    kept, _ = _with_events(counts, factors)
    rows = expand(kept)
    fit = gw.CoxPH(ties="efron").fit(
        surv(rows), _design(rows, factors), strata=label(rows, strata) if strata else None
    )
    frame = fit.cox_zph(transform="km").to_frame(format="pandas")
    frame = frame.rename(columns={"chisq": "statistic", "p": "p_value"})
    return frame.assign(method="Grambsch-Therneau, Kaplan-Meier time")


def _with_events(
    counts: pd.DataFrame, factors: Mapping[str, str]
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    kept, silent = counts, []
    for name, reference in factors.items():
        events = counts[counts["event"] == 1].groupby(name, observed=False)["patients"].sum()
        none = [str(level) for level in events.index[events == 0]]
        present = set(counts[name].astype(str))
        if reference not in present:
            raise BadInput(
                Fault(
                    f"no patient has the reference level of '{name}'",
                    value=reference,
                    allowed=", ".join(sorted(present)),
                )
            )
        if reference in none and len(none) < len(events):
            best = str(events.idxmax())
            raise BadInput(
                Fault(
                    f"the reference level of '{name}' has no events",
                    value=reference,
                    remedy=f"choose another, e.g. {best}",
                )
            )
        silent += [(name, level) for level in none if level in present]
        kept = kept[~kept[name].astype(str).isin(none)]
    return kept, silent


def _design(rows: pd.DataFrame, factors: Mapping[str, str]) -> pd.DataFrame:
    columns = {}
    for name, reference in factors.items():
        levels = [level for level in rows[name].cat.categories if level in set(rows[name])]
        for level in levels:
            if level != reference:
                columns[f"{name}={level}"] = (rows[name] == level).to_numpy(float)
    return pd.DataFrame(columns)


def _hazard_ratios(found: Maximum, terms: list[str], factors: Mapping[str, str]) -> pd.DataFrame:
    coef, error = found.estimate, np.sqrt(np.diag(found.covariance))
    split = [term.split("=", 1) for term in terms]
    return pd.DataFrame(
        {
            "factor": [name for name, _ in split],
            "level": [level for _, level in split],
            "reference": [factors[name] for name, _ in split],
            "log_hazard_ratio": coef,
            "std_error": error,
            "hazard_ratio": np.exp(coef),
            "lower": np.exp(coef - Z * error),
            "upper": np.exp(coef + Z * error),
            "p_value": 2 * stats.norm.sf(np.abs(coef) / error),
            "note": "",
        }
    )


def _no_events(silent: list[tuple[str, str]], factors: Mapping[str, str]) -> list[pd.DataFrame]:
    rows = [
        {
            "factor": name,
            "level": level,
            "reference": factors[name],
            "log_hazard_ratio": -np.inf,
            "std_error": np.nan,
            "hazard_ratio": 0.0,
            "lower": np.nan,
            "upper": np.nan,
            "p_value": np.nan,
            "note": "no events: the maximum-likelihood hazard ratio is 0, without interval",
        }
        for name, level in silent
    ]
    return [pd.DataFrame(rows)] if rows else []


def fine_gray(counts: pd.DataFrame, factors: Mapping[str, str], cause: str) -> pd.DataFrame:
    """Subdistribution hazard ratios of one cause (table as in ``cox``)."""
    rows = expand(counts)
    design = _design(rows, factors)
    fit = gw.FineGray(cause=cause).fit(cause_of_exit(rows), design)
    frame = fit.to_frame(format="pandas")
    split = [term.split("=", 1) for term in design.columns]
    estimate, error = frame["estimate"], frame["std_error"]
    return pd.DataFrame(
        {
            "factor": [name for name, _ in split],
            "level": [level for _, level in split],
            "reference": [factors[name] for name, _ in split],
            "hazard_ratio": np.exp(estimate),
            "lower": np.exp(estimate - Z * error),
            "upper": np.exp(estimate + Z * error),
            "p_value": frame["p_value"],
            "method": f"Fine-Gray, subdistribution of {cause}, Wald interval",
        }
    )


def piecewise_exponential(
    cells: xr.Dataset, factors: Mapping[str, str]
) -> tuple[pd.DataFrame, float]:
    """Maximum likelihood of log hazards by interval and log hazard ratios, from SurvivalCells.

    Poisson regression with log person-months as offset. Returns the table (term, estimate,
    std_error) and the log likelihood d log(h) - h T, whose value does not depend on how cells are
    split. Intervals without events have no finite estimate and are refused.
    """
    summed = [dim for dim in cells["person_months"].dims if dim not in {*factors, "interval"}]
    frame = cells[["events", "person_months"]].sum(summed).to_dataframe().reset_index()
    frame = frame[frame["person_months"] > 0]
    totals = frame.groupby("interval")["events"].sum()
    if (totals == 0).any():
        raise BadInput(
            Fault(
                "an interval without events has no maximum-likelihood hazard",
                value=[int(i) for i in totals.index[totals == 0]],
                remedy="wider intervals (event quantiles)",
            )
        )
    columns = {f"interval {j}": (frame["interval"] == j) for j in totals.index}
    for name, reference in factors.items():
        for level in cells[name].to_numpy():
            if level != reference:
                columns[f"{name}={level}"] = frame[name] == level
    design = pd.DataFrame(columns).to_numpy(float)
    events, months = frame["events"].to_numpy(float), frame["person_months"].to_numpy()
    beta, covariance = _poisson(design, events, months)
    log_hazard = design @ beta
    table = pd.DataFrame(
        {"term": list(columns), "estimate": beta, "std_error": np.sqrt(np.diag(covariance))}
    ).assign(method="piecewise exponential, maximum likelihood")
    return table, float(events @ log_hazard - months @ np.exp(log_hazard))


def _poisson(
    design: np.ndarray, events: np.ndarray, months: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method from the crude rate; the log likelihood is concave."""
    crude = np.log(events.sum() / months.sum())
    beta = np.linalg.lstsq(design, np.full(len(events), crude), rcond=None)[0]
    for _ in range(100):
        mean = months * np.exp(design @ beta)
        factor = cho_factor(design.T @ (design * mean[:, None]))
        step = cho_solve(factor, design.T @ (events - mean))
        beta += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-12:
            return beta, cho_solve(factor, np.eye(len(beta)))
    raise BadInput(
        Fault("no finite maximum-likelihood estimate", remedy="merge levels without events")
    )

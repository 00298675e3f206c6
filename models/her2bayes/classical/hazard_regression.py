"""Regression of hazards on groups: Cox and its tests.

Cox 1972; Efron 1977 and Breslow 1974 (ties); Grambsch & Therneau 1994 (proportional hazards).
Agrees with R's survival package (tests/reference/survival.R, few_events.R).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import greenwood as gw
import numpy as np
import pandas as pd
from scipy import stats

from her2bayes.classical.cox_likelihood import (
    FLAT,
    Maximum,
    RiskTable,
    maximise,
    risk_table,
    score_test,
)
from her2bayes.classical.monotone import Separation, profile_limits, separation
from her2bayes.classical.ratio_table import absent, design_of, missing, quietly, row, table_of
from her2bayes.classical.survival import Z, expand, label, surv
from her2bayes.errors import BadInput, Fault, raise_if

TIES = ("efron", "breslow")
# more events than this and ties are taken by Breslow's rule, whose cost does not grow with them
MOST_EVENTS = 200_000
NO_TESTS = dict.fromkeys(("wald", "score", "likelihood_ratio", "df"), float("nan"))
PROPORTIONAL = "Grambsch-Therneau, Kaplan-Meier time"


@dataclass(frozen=True)
class CoxFit:
    """Log hazard ratios against the reference levels, with the tests of the whole model.

    ``table``: columns ``COLUMNS``. ``tests``: Wald, score and likelihood-ratio chi-square of all
    terms with their ``df``. ``note`` says why a test is NA.
    """

    table: pd.DataFrame
    tests: Mapping[str, float]
    loglik: tuple[float, float]
    method: str
    note: str = ""


def cox(
    counts: pd.DataFrame,
    factors: Mapping[str, str],
    strata: Sequence[str] = (),
    ties: str = "efron",
) -> CoxFit:
    """Cox model of ``factors`` (factor -> reference level) with 95 % intervals.

    Wald intervals and P; where the likelihood rises without end (a level without events, say) the
    ratio is 0 or infinite as it stands, with its profile-likelihood interval and the
    likelihood-ratio P, and the note says so. Every level of a factor has a row; one that the data
    do not determine is NA with the reason. All patients count in all tests. Raises ``BadInput``
    for a word that is no level or no rule of ties only.
    """
    if ties not in TIES:
        raise BadInput(Fault("ties", value=ties, allowed=", ".join(TIES)))
    raise_if(_unknown_references(counts, factors))
    happened = counts["event"] == 1
    if counts.loc[happened, "patients"].sum() > MOST_EVENTS:
        ties = "breslow"
    design = design_of(counts, factors)
    method = f"Cox, {ties.capitalize()} ties" + (
        f", stratified by {', '.join(strata)}" if strata else ""
    )
    if design.empty or not happened.any():
        why = "no events" if len(design.columns) else "one level only"
        return CoxFit(absent(counts, factors, why), NO_TESTS, (0.0, 0.0), method, why)
    entry, time, event, patients = counts[["entry", "time", "event", "patients"]].to_numpy().T
    table = risk_table(entry, time, event, patients, label(counts, strata), design.to_numpy())
    split = separation(table)
    found = maximise(split.limit, ties)
    null = maximise(table._replace(patterns=table.patterns[:, :0]), ties).loglik[1]
    rows = {term: _ratio(found, split, table, ties, j) for j, term in enumerate(design.columns)}
    infinite = bool(np.isinf(split.kinds).any())
    return CoxFit(
        table=table_of(counts, factors, rows),
        tests=_tests(table, ties, found, null, split),
        loglik=(null, found.loglik[1]),
        method=method,
        note="a ratio is infinite, so that there is no Wald test" if infinite else "",
    )


def _tests(
    table: RiskTable, ties: str, found: Maximum, null: float, split: Separation
) -> dict[str, float]:
    """Chi-square of the whole model, all groups in it, with its degrees of freedom."""
    if not split.rank:
        return NO_TESTS
    infinite = np.isinf(split.kinds).any()
    return {
        "wald": np.nan if infinite else float(found.estimate @ found.information @ found.estimate),
        "score": score_test(table, ties),
        "likelihood_ratio": 2 * (found.loglik[1] - null),
        "df": float(split.rank),
    }


def _ratio(
    found: Maximum, split: Separation, table: RiskTable, ties: str, j: int
) -> dict[str, Any]:
    """Log hazard ratio j with its interval, P, and a note where it is not an ordinary one."""
    kind = split.kinds[j]
    if np.isnan(kind):
        return missing("the events do not determine it: no such patients at risk together")
    if np.isinf(kind):
        low, high, statistic = profile_limits(table, ties, j, found.loglik[1], kind)
        word = "infinite upwards" if kind > 0 else "0 (its logarithm infinite downwards)"
        note = (
            f"hazard ratio {word}, as the likelihood rises without end: profile-likelihood "
            "interval, P of the likelihood-ratio test"
        )
        p_value = float(stats.chi2.sf(statistic, 1))
        return row(kind, np.nan, (low, high), p_value, note, "profile-likelihood interval")
    covariance = np.linalg.pinv(found.information, rcond=FLAT, hermitian=True)
    value, error = float(found.estimate[j]), float(np.sqrt(covariance[j, j]))
    p_value = float(2 * stats.norm.sf(abs(value) / error))
    return row(value, error, (value - Z * error, value + Z * error), p_value, "", "Wald interval")


def _unknown_references(counts: pd.DataFrame, factors: Mapping[str, str]) -> list[Fault]:
    return [
        Fault(
            f"'{name}' has no such reference level",
            value=reference,
            allowed=", ".join(map(str, counts[name].cat.categories)),
        )
        for name, reference in factors.items()
        if reference not in set(map(str, counts[name].cat.categories))
    ]


def proportional_hazards(
    counts: pd.DataFrame, factors: Mapping[str, str], strata: Sequence[str] = ()
) -> pd.DataFrame:
    """Grambsch–Therneau test by term and overall, time as 1 - Kaplan–Meier (R's cox.zph default).

    Columns term, statistic, df, p_value, method, note. NA with the reason where a ratio is
    infinite or there are not two event times.
    """
    fit = cox(counts, factors, strata)
    reason = _no_residuals(counts, fit)
    if not reason:
        rows = expand(counts)
        stratum = label(rows, strata) if strata else None
        frame = quietly(
            lambda: (
                gw.CoxPH(ties="efron")
                .fit(surv(rows), design_of(rows, factors), strata=stratum)
                .cox_zph(transform="km")
                .to_frame(format="pandas")
                .rename(columns={"chisq": "statistic", "p": "p_value"})
            )
        )
        if frame is not None and np.isfinite(frame["statistic"]).all():
            return frame.assign(method=PROPORTIONAL, note="")
        reason = "the residuals have no variance"
    terms = [*design_of(counts, factors).columns, "GLOBAL"]
    return pd.DataFrame({"term": terms}).assign(
        statistic=np.nan, df=np.nan, p_value=np.nan, method=PROPORTIONAL,
        note=f"not available: {reason}",
    )  # fmt: skip


def _no_residuals(counts: pd.DataFrame, fit: CoxFit) -> str:
    """Why there is no test of proportional hazards; empty where there is one."""
    if fit.note and not np.isfinite(fit.tests["df"]):
        return fit.note
    if not np.isfinite(fit.table["log_hazard_ratio"]).all():
        return "a hazard ratio is infinite or not determined"
    times = counts.loc[counts["event"] == 1, "time"].nunique()
    return "" if times > fit.tests["df"] else f"only {times} event time{'s' * (times != 1)}"

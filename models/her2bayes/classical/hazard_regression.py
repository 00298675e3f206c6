"""Regression of hazards on groups: Cox and its tests.

Cox 1972; Efron 1977 and Breslow 1974 (ties); Grambsch & Therneau 1994 (proportional hazards).
Agrees with R's survival package (tests/reference/survival.R, few_events.R). Holford 1980: the
piecewise-exponential model as a Poisson model.

Tables of hazard ratios by level of a factor, and the 0/1 columns behind them.

Where Cox's partial likelihood rises without end: which log hazard ratios are infinite.

A direction d never lowers the likelihood if at every event time the patterns that have events have
the largest x d of all at risk; it raises it if some pattern at risk has less (Bryson & Johnson
1981; Jacobsen 1989). Along the d that raises the most, those patterns drop out of the risk sets:
what is left is the limit of the likelihood, and finite ratios are its ratios. All of this is
linear programming over pairs (pattern with an event, pattern at risk at that time).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import greenwood as gw
import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats
from scipy.optimize import brentq, linprog
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from her2bayes.classical.cox_likelihood import (
    FLAT,
    Maximum,
    RiskTable,
    maximise,
    risk_table,
    score_test,
)
from her2bayes.classical.survival import Z, expand, label, surv
from her2bayes.errors import BadInput, Fault, raise_if

COLUMNS = [
    "factor", "level", "reference", "log_hazard_ratio", "std_error", "hazard_ratio", "lower",
    "upper", "p_value", "note", "interval",
]  # fmt: skip


def design_of(rows: pd.DataFrame, factors: Mapping[str, str]) -> pd.DataFrame:
    """Columns 0 or 1 of the levels that patients have, without the reference (where it has any)."""
    columns = {}
    for name, reference in factors.items():
        present = set(rows[name].astype(str))
        levels = [level for level in map(str, rows[name].cat.categories) if level in present]
        base = reference if reference in present else levels[0] if levels else ""
        for level in levels:
            if level != base:
                columns[f"{name}={level}"] = (rows[name] == level).to_numpy(float)
    return pd.DataFrame(columns, index=rows.index)


def row(
    value: float,
    error: float,
    limits: tuple[float, float],
    p_value: float,
    note: str,
    interval: str,
) -> dict[str, Any]:
    """One log hazard ratio on both scales; ``interval`` names how its limits were made."""
    return {
        "log_hazard_ratio": value,
        "std_error": error,
        "hazard_ratio": float(np.exp(value)),
        "lower": float(np.exp(limits[0])),
        "upper": float(np.exp(limits[1])),
        "p_value": p_value,
        "note": note,
        "interval": interval,
    }


def missing(reason: str) -> dict[str, Any]:
    """A ratio that the data do not give, with the reason."""
    return row(np.nan, np.nan, (np.nan, np.nan), np.nan, f"not available: {reason}", "")


def table_of(
    counts: pd.DataFrame, factors: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """One row for every level against its reference, also of those without patients."""
    found = []
    for name, reference in factors.items():
        present = set(counts[name].astype(str))
        for level in map(str, counts[name].cat.categories):
            if level == reference:
                continue
            empty = level if level not in present else reference
            one = rows.get(f"{name}={level}") if reference in present else None
            one = one or missing(f"no patients in {name}={empty}")
            found.append({"factor": name, "level": level, "reference": reference, **one})
    return pd.DataFrame(found, columns=COLUMNS)


def absent(counts: pd.DataFrame, factors: Mapping[str, str], why: str) -> pd.DataFrame:
    """Table without a ratio, each with the reason ``why``."""
    terms = design_of(counts, factors).columns
    return table_of(counts, factors, dict.fromkeys(terms, missing(why)))


def quietly(made: Callable[[], pd.DataFrame]) -> pd.DataFrame | None:
    """A table of greenwood, without warnings; None where a matrix has no inverse."""
    try:
        with np.errstate(all="ignore"):
            return made()
    except np.linalg.LinAlgError:
        return None


CLOSE = 1e-7
CHI2_95 = 3.841458820694124  # 0.95 quantile of the chi-square distribution with 1 df
FARTHEST = 60.0  # log ratios beyond this are not looked at


class Separation(NamedTuple):
    """``limit``: the risk table that is left in the limit; ``kinds`` (p,) of each coefficient.

    A kind is 0 (finite), +inf or -inf (the estimate) or nan (the data do not determine it).
    ``rank`` is the number of independent coefficients that the data say something about.
    """

    limit: RiskTable
    kinds: np.ndarray
    rank: int


def separation(table: RiskTable) -> Separation:
    """What of a Cox model has a finite maximum-likelihood estimate."""
    pairs = _pairs(table)
    apart = table.patterns[pairs[:, 0]] - table.patterns[pairs[:, 1]]  # (pairs, p)
    up = np.zeros(len(pairs), bool)
    if _ends_apart(table, pairs):
        up = raised(apart)
    rising = np.zeros((len(table.patterns),) * 2, bool)
    rising[tuple(pairs[up].T)] = True
    # a pattern at risk leaves the risk set of a time where the events there outgrow it
    outgrown = ((table.events > 0).astype(float) @ rising) > 0
    limit = table._replace(at_risk=np.where(outgrown, 0.0, table.at_risk))
    kinds = np.array([kind(apart, apart[~up], j) for j in range(apart.shape[1])])
    return Separation(limit, kinds, rank(apart))


def _pairs(table: RiskTable) -> np.ndarray:
    """Distinct pairs (pattern with an event, other pattern at risk then), (pairs, 2)."""
    met = (table.events > 0).astype(float).T @ (table.at_risk > 0)
    np.fill_diagonal(met, 0)
    return np.argwhere(met > 0)


def _ends_apart(table: RiskTable, pairs: np.ndarray) -> bool:
    """Whether some pair is in no circle of pairs; within a circle all x d must be equal."""
    size = len(table.patterns)
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(size, size))
    _, circle = connected_components(graph, connection="strong")
    return bool((circle[pairs[:, 0]] != circle[pairs[:, 1]]).any())


def raised(apart: np.ndarray) -> np.ndarray:
    """Of differences (rows, p), none of which may fall: those that some direction raises.

    The direction that raises all of them at once has the largest sum of min(1, x d).
    """
    number, size = apart.shape
    if not number:
        return np.zeros(0, bool)
    found = linprog(
        np.concatenate([np.zeros(size), -np.ones(number)]),
        A_ub=np.hstack([-apart, np.eye(number)]),
        b_ub=np.zeros(number),
        bounds=[(None, None)] * size + [(0, 1)] * number,
    )
    return np.asarray(found.x)[size:] > 0.5


def kind(apart: np.ndarray, left: np.ndarray, j: int) -> float:
    """Kind of coefficient j as in ``Separation``; ``left`` are the differences not raised."""
    unit = np.zeros(apart.shape[1])
    unit[j] = 1.0
    if rank(np.vstack([left, unit])) == rank(left):
        return 0.0
    ends = [_farthest(apart, sign * unit) for sign in (1, -1)]
    if ends[0] == ends[1]:
        return np.nan
    return np.inf if ends[0] else -np.inf


def _farthest(apart: np.ndarray, way: np.ndarray) -> bool:
    """Whether a direction of no fall goes this way."""
    found = linprog(
        -way,
        A_ub=np.vstack([-apart, way]),
        b_ub=np.append(np.zeros(len(apart)), 1.0),
        bounds=(None, None),
    )
    return bool(way @ np.asarray(found.x) > 0.5)


def rank(rows: np.ndarray) -> int:
    """Independent rows."""
    return int(np.linalg.matrix_rank(rows, tol=CLOSE)) if rows.size else 0


def profile_limits(
    table: RiskTable, ties: str, j: int, best: float, direction: float
) -> tuple[float, float, float]:
    """Profile-likelihood interval of an infinite coefficient j, and P of the ratio 1 (1 df).

    ``best`` is the supremum of the log likelihood, ``direction`` +inf or -inf. Returns the limits
    of the log ratio and the likelihood-ratio statistic at 0. Venzon & Moolgavkar 1988.
    """
    column = table.patterns[:, j]
    rest = table._replace(patterns=np.delete(table.patterns, j, axis=1))

    def loss(value: float) -> float:
        return 2 * (best - maximise(rest, ties, value * column).loglik[1])

    sign = float(np.sign(direction))
    bound = sign * _crossing(lambda value: loss(sign * value) - CHI2_95)
    limits = (bound, np.inf) if sign > 0 else (-np.inf, bound)
    return (*limits, max(0.0, loss(0.0)))


def _crossing(excess: Callable[[float], float]) -> float:
    """Where a falling function meets 0; -inf where it does not within ``FARTHEST``."""
    way = 1.0 if excess(0.0) > 0 else -1.0
    near, far = 0.0, way
    while excess(far) * way > 0:
        near, far = far, 2 * far
        if abs(far) > FARTHEST:
            return way * np.inf
    return float(brentq(excess, near, far, xtol=1e-10))


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


def piecewise_exponential(
    cells: xr.Dataset, factors: Mapping[str, str]
) -> tuple[pd.DataFrame, float]:
    """Maximum likelihood of log hazards by interval and log hazard ratios, from SurvivalCells.

    Poisson regression with log person-months as offset. Returns the table (term, estimate,
    std_error, method, note) and the log likelihood d log(h) - h T, whose value does not depend on
    how cells are split. An interval or a level without events has the estimate minus infinity, and
    what the events do not determine is NA; the others are those of the limit.
    """
    summed = [dim for dim in cells["person_months"].dims if dim not in {*factors, "interval"}]
    frame = cells[["events", "person_months"]].sum(summed).to_dataframe().reset_index()
    frame = frame[frame["person_months"] > 0]
    columns = {f"interval {j}": (frame["interval"] == j) for j in frame["interval"].unique()}
    for name, reference in factors.items():
        for level in cells[name].to_numpy():
            if level != reference:
                columns[f"{name}={level}"] = frame[name] == level
    design = pd.DataFrame(columns).to_numpy(float)
    events, months = frame["events"].to_numpy(float), frame["person_months"].to_numpy()
    some = events > 0
    apart = np.vstack([-design[~some], design[some], -design[some]])
    up = raised(apart)
    kinds = np.array([kind(apart, apart[~up], j) for j in range(len(columns))])
    kept = np.ones(len(events), bool)
    kept[~some] = ~up[: (~some).sum()]
    beta, covariance = _poisson(design[kept], events[kept], months[kept])
    error = np.sqrt(np.clip(np.diag(covariance), 0.0, None))
    log_hazard = design[kept] @ beta
    table = pd.DataFrame(
        {
            "term": list(columns),
            "estimate": np.where(kinds == 0, beta, kinds),
            "std_error": np.where(kinds == 0, error, np.nan),
            "note": [_note(value) for value in kinds],
        }
    ).assign(method="piecewise exponential, maximum likelihood")
    return table, float(events[kept] @ log_hazard - months[kept] @ np.exp(log_hazard))


def _note(value: float) -> str:
    if np.isnan(value):
        return "not available: the events do not determine it"
    return "infinite: no events on one side" if value else ""


def _poisson(
    design: np.ndarray, events: np.ndarray, months: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method from the crude rate; the log likelihood is concave."""
    size = design.shape[1]
    if not len(events):
        return np.zeros(size), np.zeros((size, size))
    crude = np.log(events.sum() / months.sum())
    beta = np.linalg.lstsq(design, np.full(len(events), crude), rcond=None)[0]
    for _ in range(100):
        mean = months * np.exp(design @ beta)
        inverse = np.linalg.pinv(design.T @ (design * mean[:, None]), rcond=FLAT, hermitian=True)
        step = inverse @ (design.T @ (events - mean))
        beta += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-12:
            return beta, inverse
    raise BadInput(
        Fault("no finite maximum-likelihood estimate", remedy="merge levels without events")
    )

"""Estimands of a survival fit, by level of each factor and by contrast, each with its prior.

Draws of survival curves and mean survival times by level of a factor, posterior and prior.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from operator import sub, truediv
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from her2bayes.estimand import Contrast, Estimand
from her2bayes.inference.estimates import Event, estimate
from her2bayes.inference.fit import Fit
from her2bayes.survival import draws as hazard_ratios
from her2bayes.survival import draws as post
from her2bayes.survival.draws import Quantity, crossing, standardised

if TYPE_CHECKING:
    from her2bayes.survival.analysis import Question


CURVE_POINTS = 121
NAMES = ("posterior", "prior")


@dataclass(frozen=True)
class Levels:
    """Draws by level of one factor (or of all patients, factor ""): ``draws[level][name]``.

    Names: ``survival`` (time on the grid of ``grid``), ``rmst``, ``incidence`` (cause, time);
    the first index is posterior or prior. ``last_time`` is the longest time of a level,
    ``first_time`` the start of the first interval in which one of its patients is observed.
    """

    factor: str
    levels: tuple[str, ...]
    grid: np.ndarray
    draws: Mapping[str, Mapping[str, Mapping[str, xr.DataArray]]]
    last_time: Mapping[str, float]
    first_time: Mapping[str, float]


def levels_of(
    fit: Fit,
    cells: xr.Dataset,
    factor: str,
    horizon: float,
    times: Sequence[float],
    frailty: Sequence[str] = (),
) -> Levels:
    """Survival and RMST of the patients at each level, on a grid that holds the landmarks."""
    last, first = float(cells["last_time"].max()), float(cells["interval_start"][0])
    grid = np.unique(np.concatenate([np.linspace(first, last, CURVE_POINTS), times, [horizon]]))
    targets = _targets(cells, factor)
    quantities: dict[str, Quantity] = {
        "survival": partial(post.survival, times=grid),
        "rmst": partial(post.rmst, horizon=horizon),
    }
    if "cause" in cells["events"].dims:
        quantities["incidence"] = partial(post.cumulative_incidence, times=grid)
    draws = {
        name: standardised(data, cells, targets, quantities)
        for name, data in zip(NAMES, (fit.posterior, fit.prior), strict=True)
    }
    return Levels(
        factor,
        tuple(targets),
        grid,
        draws,
        {name: float(cells["last_time"].where(share > 0).max()) for name, share in targets.items()},
        {name: _first(cells, share) for name, share in targets.items()},
    )


def _first(cells: xr.Dataset, share: xr.DataArray) -> float:
    spent = cells["person_months"].where(share > 0, 0.0)
    months = spent.sum([dim for dim in spent.dims if dim != "interval"])
    return float(cells["interval_start"][int((months > 0).argmax("interval"))])


def _targets(cells: xr.Dataset, factor: str) -> dict[str, xr.DataArray]:
    rows = cells["rows"].astype(float)
    if not factor:
        return {"all": rows / float(rows.sum())}
    targets = {}
    for level in dict.fromkeys(str(v) for v in cells[factor].to_numpy()):
        inside = rows.where(cells[factor].astype(str) == level, 0.0)
        if float(inside.sum()):
            targets[level] = inside / float(inside.sum())
    return targets


ORDER = ("zero", "ultralow", "low", "positive")  # from worse to better, as HER2-directed drugs act
Given = tuple[tuple[str, str], ...]
EVENT = "P(HR < 1)"
CONDITIONAL = ("survival", "survival_difference", "cumulative_incidence", "rmst", "rmst_difference",
               "rmst_ratio", "median", "not_reached")  # fmt: skip
Pair = tuple[xr.DataArray, xr.DataArray]  # posterior, prior


def estimate_rows(
    fit: Fit,
    cells: xr.Dataset,
    levels: Mapping[str, Levels],
    reference: Mapping[str, str],
    question: Question,
    horizon: float,
    times: Sequence[float],
) -> Iterator[dict[str, Any]]:
    """Yield all rows: by level, contrasts of levels, hazard ratios, ordering, spread.

    With delayed entry each row that is conditional on no event by the first entry says so.
    """
    given = given_entry(float(cells["interval_start"][0]))
    for row in _all_rows(fit, cells, levels, reference, question, horizon, times):
        kind = row["estimand"].partition("[")[0]
        yield {**row, "note": _sentences(row["note"], given)} if kind in CONDITIONAL else row


def given_entry(first: float) -> str:
    """What survival is conditional on, in words; nothing where all patients count from 0."""
    return f"given alive and event-free at the first entry, {first:.5g} months" if first > 0 else ""


def _all_rows(
    fit: Fit,
    cells: xr.Dataset,
    levels: Mapping[str, Levels],
    reference: Mapping[str, str],
    question: Question,
    horizon: float,
    times: Sequence[float],
) -> Iterator[dict[str, Any]]:
    endpoint = str(cells.attrs["endpoint"])
    for factor, found in levels.items():
        for level in found.levels:
            given = ((factor, level),) if factor else ()
            yield from _level_rows(fit, endpoint, given, found, level, horizon, times)
        if factor:
            for a, b in pairs(found.levels, reference[factor]):
                yield from _contrast_rows(fit, endpoint, found, a, b, horizon, times)
                yield from _ratio_rows(fit, cells, endpoint, factor, a, b, question, times)
            yield from _ordering_rows(fit, endpoint, found, horizon)
    yield from _spread_rows(fit, endpoint)


def pairs(levels: Sequence[str], reference: str) -> list[tuple[str, str]]:
    """Every level against the reference, then the other pairs."""
    others = [level for level in levels if level != reference]
    first = [(level, reference) for level in others] if reference in levels else []
    return first + [(b, a) for a, b in combinations(others, 2)]


def _both(found: Levels, level: str, name: str) -> Pair:
    return found.draws["posterior"][level][name], found.draws["prior"][level][name]


def _map(function: Callable[..., Any], *pairs_: tuple[Any, Any]) -> Pair:
    """Apply a function to the posterior's draws and to the prior's."""
    return function(*(p[0] for p in pairs_)), function(*(p[1] for p in pairs_))


def _level_rows(
    fit: Fit,
    endpoint: str,
    given: Given,
    found: Levels,
    level: str,
    horizon: float,
    times: Sequence[float],
) -> Iterator[dict[str, Any]]:
    survival = _both(found, level, "survival")
    for t in times:
        note = _beyond(t, found, level)
        asked = Estimand("survival", endpoint, given, None, t, "months")
        yield _row(asked, _map(lambda s, t=t: s.sel(time=t), survival), fit, note=note)
        for cause in _causes(found, level):
            both = _map(
                lambda f, t=t, c=cause: f.sel(time=t, cause=c), _both(found, level, "incidence")
            )
            outcome = f"{endpoint}={cause}"
            asked = Estimand("cumulative_incidence", outcome, given, None, t, "months")
            yield _row(asked, both, fit, note=note)
    asked = Estimand("rmst", endpoint, given, None, horizon, "months")
    note = _sentences(f"horizon {horizon:.1f} months", _beyond(horizon, found, level))
    yield _row(asked, _both(found, level, "rmst"), fit, note=note, unit="months")
    yield from _median_rows(fit, endpoint, given, survival, found.last_time[level])


def _median_rows(
    fit: Fit, endpoint: str, given: Given, survival: Pair, last: float
) -> Iterator[dict[str, Any]]:
    """Median, with "not reached by the last time observed" as a probability of its own."""
    both = _map(crossing, survival)
    capped = _map(lambda draws: draws.clip(max=last), both)
    row = _row(Estimand("median", endpoint, given), capped, fit, unit="months")
    for name in NAMES:
        for part in ("median", "lower", "upper"):
            if row[f"{name}_{part}"] >= last * (1 - 1e-9):
                row[f"{name}_{part}"] = np.nan
    open_ended = np.isnan([row[f"posterior_{p}"] for p in ("median", "lower", "upper")]).any()
    note = f"not reached by {last:.1f} months where empty" if open_ended else ""
    yield {**row, "contraction": np.nan, "note": note}
    never = _map(lambda draws: (draws >= last).astype(float), both)
    asked = Estimand("not_reached", endpoint, given, None, round(last, 1), "months")
    yield _chance(asked, never, fit, "P(median beyond the last time observed)")


def _contrast_rows(
    fit: Fit,
    endpoint: str,
    found: Levels,
    a: str,
    b: str,
    horizon: float,
    times: Sequence[float],
) -> Iterator[dict[str, Any]]:
    contrast = Contrast(found.factor, a, b)
    both = [_both(found, level, "rmst") for level in (a, b)]
    text = f"horizon {horizon:.1f} months"
    asked = Estimand("rmst_difference", endpoint, (), contrast, horizon, "months")
    note = f"{text}; P(difference > 0)"
    yield _row(asked, _map(sub, *both), fit, note=note, unit="months", above=0.0)
    asked = Estimand("rmst_ratio", endpoint, (), contrast, horizon, "months")
    yield _row(asked, _map(truediv, *both), fit, note=f"{text}; P(ratio > 1)", above=1.0)
    survival = [_both(found, level, "survival") for level in (a, b)]
    for t in times:
        values = _map(lambda x, y, t=t: x.sel(time=t) - y.sel(time=t), *survival)
        asked = Estimand("survival_difference", endpoint, (), contrast, t, "months")
        note = _sentences("P(difference > 0)", _beyond(t, found, a) or _beyond(t, found, b))
        yield _row(asked, values, fit, note=note, above=0.0)


def _ratio_rows(
    fit: Fit,
    cells: xr.Dataset,
    endpoint: str,
    factor: str,
    a: str,
    b: str,
    question: Question,
    times: Sequence[float],
) -> Iterator[dict[str, Any]]:
    """Hazard ratios: average over time, by subgroup where effects may differ, and over time."""
    contrast, draws = Contrast(factor, a, b), (fit.posterior, fit.prior)
    both = _map(lambda d: hazard_ratios.ratio(d, cells, factor, a, b), draws)
    note = _sentences(_ratio_note(question, cells), EVENT)
    if "cause" in cells["events"].dims:
        for cause in cells["cause"].to_numpy():
            asked = Estimand("hazard_ratio", f"{endpoint}={cause}", (), contrast)
            of_cause = _map(lambda r, c=cause: r.sel(cause=c), both)
            yield _row(asked, of_cause, fit, note=note, below=1.0)
        return
    yield _row(Estimand("hazard_ratio", endpoint, (), contrast), both, fit, note=note, below=1.0)
    for other in hazard_ratios.partners(fit.posterior, factor):
        within = _map(
            lambda d, o=other: hazard_ratios.ratio_within(d, cells, factor, a, b, o), draws
        )
        for level in cells[other].to_numpy():
            asked = Estimand("hazard_ratio", endpoint, ((other, str(level)),), contrast)
            chosen = _map(lambda r, o=other, v=level: r.sel({o: v}), within)
            yield _row(asked, chosen, fit, note=EVENT, below=1.0)
    if f"{post.TERM}{factor}_drift" in fit.posterior:
        over_time = _map(lambda d: hazard_ratios.ratio_at(d, cells, factor, a, b, times), draws)
        for k, t in enumerate(times):
            asked = Estimand("hazard_ratio", endpoint, (), contrast, t, "months")
            yield _row(
                asked, _map(lambda r, k=k: r.isel(time=k), over_time), fit, note=EVENT, below=1.0
            )


def _ordering_rows(
    fit: Fit, endpoint: str, found: Levels, horizon: float
) -> Iterator[dict[str, Any]]:
    """Probability that mean survival time orders the classes, beside its prior probability."""
    levels = [level for level in reversed(ORDER) if level in found.levels]
    if len(levels) < 3 or len(levels) < len(found.levels):
        return
    both = _map(lambda *values: post.ordered(values), *(_both(found, k, "rmst") for k in levels))
    name = " > ".join(levels)
    asked = Estimand(
        "ordering", f"{endpoint} {name}", (), Contrast(found.factor), horizon, "months"
    )
    yield _chance(asked, both, fit, f"P(RMST {name})")


def _spread_rows(fit: Fit, endpoint: str) -> Iterator[dict[str, Any]]:
    """Scales the model learned: spread between levels, of interactions, drift, between centres."""
    for prefix, what in (
        ("spread", "sd of log hazards of levels"),
        ("interaction", "sd of interactions"),
        ("drift", "sd of the log hazard ratio's change over follow-up"),
        ("frailty", "sd of log hazards between groups"),
    ):
        for name in fit.posterior.data_vars:
            if str(name).startswith(f"{prefix}_") and fit.posterior[name].ndim == 2:
                factor = str(name).removeprefix(f"{prefix}_")
                asked = Estimand("heterogeneity", f"{endpoint} {prefix}", (), Contrast(factor))
                yield _row(asked, (fit.posterior[name], fit.prior[name]), fit, note=what)


def _row(
    asked: Estimand,
    both: Pair,
    fit: Fit,
    *,
    note: str = "",
    unit: str | None = None,
    above: float | None = None,
    below: float | None = None,
) -> dict[str, Any]:
    event: Event | None = None
    if above is not None or below is not None:
        low, high = (-np.inf if above is None else above), (np.inf if below is None else below)
        event = lambda draws: (draws > low) & (draws < high)  # noqa: E731
    posterior, prior = (d.reset_coords(drop=True).transpose("chain", "draw") for d in both)
    row = estimate(asked, posterior, prior, fit, event=event, note=note, unit=unit)
    return {**row, "evidence_kind": "patients"}


def _chance(asked: Estimand, both: Pair, fit: Fit, note: str) -> dict[str, Any]:
    """Row of a probability: no interval, its Monte-Carlo error is below 2 points at 4000 draws."""
    row = _row(asked, both, fit, note=note, above=0.5)
    empty = {f"{name}_{part}": np.nan for name in NAMES for part in ("median", "lower", "upper")}
    return {**row, **empty, "contraction": np.nan}


def _ratio_note(question: Question, cells: xr.Dataset) -> str:
    parts = []
    if question.model == "nonph":
        parts.append("average log hazard ratio over the events")
    if len(cells["rows"].dims) > 1:
        parts.append("given the other factors")
    if question.frailty:
        parts.append(f"within the same {', '.join(question.frailty)} (conditional)")
    return ", ".join(parts)


def _beyond(time: float, found: Levels, level: str) -> str:
    """What of survival to ``time`` is the model's alone: after the last time, before the first."""
    first, last = found.first_time[level], found.last_time[level]
    late = f"extrapolated beyond {last:.1f} months of follow-up" if time > last else ""
    return _sentences(late, _unseen(found, level, first))


def _unseen(found: Levels, level: str, first: float) -> str:
    if first <= found.grid[0]:
        return ""
    return f"extrapolated before {first:.5g} months, where no patient of {level} is observed"


def _causes(found: Levels, level: str) -> list[str]:
    known = found.draws["posterior"][level].get("incidence")
    return [] if known is None else [str(c) for c in known["cause"].to_numpy()]


def _sentences(*texts: str) -> str:
    return "; ".join(text for text in texts if text)

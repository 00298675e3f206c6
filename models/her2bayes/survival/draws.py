"""Draws of every estimand of survival, from draws of the terms of a piecewise-constant log hazard.

``draws`` answers a whole table of estimands in one pass over the groups of the cells.

Survival of a set of patients is the mean of S_i(t) over them, never S at their mean hazard; so are
their restricted mean and incidences. Their median is where that mean crosses a half, their hazard
its f(t) / S(t). A hazard ratio is that of the model: given all other factors, averaged over the
events where it changes with time.

Time runs from the start of the first interval, which is the first entry: with delayed entry
survival, incidences and medians are conditional on no event by then, and a restricted mean is that
of min(T, t*) given that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from operator import sub, truediv

import numpy as np
import xarray as xr
from xarray.ufuncs import exp, log

from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import FITTED_BY, Contrast, Estimand, quoted
from her2bayes.estimand import KINDS as KNOWN
from her2bayes.survival.parts import event_weights
from her2bayes.survival.piecewise import (
    OWN,
    TERM,
    crossing,
    cumulative_incidence,
    hazard,
    log_hazard,
    ordered,
    rmst,
    survival,
)

CURVE_POINTS = 121
Given = tuple[tuple[str, str], ...]
Curves = Mapping[str, xr.DataArray]
"""Means over a set of patients by name: ``survival`` over the grid, ``rmst 60``, ..."""

UNITS = {"days": 12 / 365.25, "weeks": 84 / 365.25, "months": 1.0, "years": 12.0}
CURVE_KINDS = ("survival", "rmst", "cumulative_incidence", "hazard", "cumulative_hazard")
CONTRASTS = {
    "survival_difference": ("survival", sub),
    "rmst_difference": ("rmst", sub),
    "rmst_ratio": ("rmst", truediv),
    "median_difference": ("median", sub),
}
RATIOS = ("hazard_ratio", "hazard_ratio_ratio")
OF_CAUSE = (*RATIOS, "cumulative_incidence", "hazard")
SPREADS = ("spread", "interaction", "drift", "frailty")
KINDS = (*CURVE_KINDS, "median", "not_reached", *CONTRASTS, *RATIOS, "ordering",
         "heterogeneity")  # fmt: skip
TIMED = (*CURVE_KINDS, "not_reached", "ordering", "survival_difference", "rmst_difference",
         "rmst_ratio")  # fmt: skip


def curve_grid(cells: xr.Dataset, times: Sequence[float] = ()) -> np.ndarray:
    """Months at which curves are drawn and between which medians are read; holds ``times``."""
    last, first = float(cells["last_time"].max()), float(cells["interval_start"][0])
    return np.unique(np.concatenate([np.linspace(first, last, CURVE_POINTS), list(times)]))


def draws(
    posterior: xr.Dataset,
    cells: xr.Dataset,
    asked: Iterable[Estimand],
    *,
    grid: np.ndarray | None = None,
    known: Mapping[Given, Curves] | None = None,
) -> dict[Estimand, xr.DataArray]:
    """Draws (chain, draw) of each estimand, on the natural scale of its kind, in one pass.

    ``posterior`` holds draws of the model's terms (or of its prior), ``cells`` the SurvivalCells it
    was fitted to. Shares are between 0 and 1, times in months, hazards per month. A median that is
    not reached within the cells is infinite (a difference of two such ones is NaN);
    ``not_reached`` and ``ordering`` are 1 or 0. Medians are read between the points of ``grid``
    (``curve_grid``); ``known`` are means over patients that need not be computed again. Raises
    ``BadInput`` with every estimand that has no answer here.
    """
    wanted = list(dict.fromkeys(asked))
    raise_if([fault for one in wanted for fault in faults(one, cells, posterior)])
    points = curve_grid(cells) if grid is None else grid
    needed = _needed(wanted, cells, points)
    found = {given: dict(curves) for given, curves in (known or {}).items()}
    missing = {
        given: {name: f for name, f in of.items() if name not in found.get(given, {})}
        for given, of in needed.items()
    }
    for given, curves in mean_curves(posterior, cells, missing).items():
        found[given] = {**found.get(given, {}), **curves}
    of = _Answers(posterior, cells, points, found)
    return {
        one: of(one).reset_coords(drop=True).transpose("chain", "draw").astype(float)
        for one in wanted
    }


Quantity = Callable[[xr.DataArray], xr.DataArray]


def mean_curves(
    posterior: xr.Dataset,
    cells: xr.Dataset,
    wanted: Mapping[Given, Mapping[str, Quantity]],
    without: Sequence[str] = (),
) -> dict[Given, dict[str, xr.DataArray]]:
    """Means over sets of patients of quantities of their log hazard: ``result[given][name]``.

    A quantity maps the log hazard of one group (chain, draw, interval) to draws; it is computed
    once a group, one group at a time, so that memory stays small.
    """
    functions = {name: f for of in wanted.values() for name, f in of.items()}
    share = {given: members(cells, given) for given, of in wanted.items() if of}
    found: dict[Given, dict[str, xr.DataArray]] = {given: {} for given in share}
    dims = [str(dim) for dim in cells["rows"].dims]
    for place in np.ndindex(*(cells.sizes[dim] for dim in dims)):
        where = {dim: cells[dim].values[k] for dim, k in zip(dims, place, strict=True)}
        weight = {given: float(of.sel(where)) for given, of in share.items()}
        if not any(weight.values()):
            continue
        rates = log_hazard(posterior, cells, where, without)
        for name, function in functions.items():
            inside = [given for given, w in weight.items() if w and name in wanted[given]]
            if not inside:
                continue
            value = function(rates).drop_vars(dims, errors="ignore")
            for given in inside:
                part = weight[given] * value
                before = found[given].get(name)
                found[given][name] = part if before is None else before + part
    return found


def members(cells: xr.Dataset, given: Given) -> xr.DataArray:
    """Share of each group of the cells among the patients of a condition, summing to 1."""
    rows = _inside(cells, given)
    return rows / float(rows.sum())


def _inside(cells: xr.Dataset, given: Given) -> xr.DataArray:
    rows = cells["rows"].astype(float)
    for factor, level in given:
        rows = rows.where(cells[factor].astype(str) == level, 0.0)
    return rows


def levels_of(cells: xr.Dataset, factor: str) -> tuple[str, ...]:
    """Levels of a factor that have patients, in their order; ("all",) for no factor."""
    if not factor:
        return ("all",)
    (dim,), rows = cells[factor].dims, cells["rows"]
    number = rows.sum([d for d in rows.dims if d != dim]).to_numpy()
    names = np.array([str(v) for v in cells[factor].to_numpy()])
    return tuple(v for v in dict.fromkeys(names.tolist()) if number[names == v].sum() > 0)


def last_time(cells: xr.Dataset, given: Given) -> float:
    """Longest follow-up, in months, of the patients of a condition."""
    return float(cells["last_time"].where(members(cells, given) > 0).max())


def first_time(cells: xr.Dataset, given: Given) -> float:
    """Start of the first interval in which one of the patients of a condition is observed."""
    spent = cells["person_months"].where(members(cells, given) > 0, 0.0)
    months = spent.sum([dim for dim in spent.dims if dim != "interval"])
    return float(cells["interval_start"][int((months > 0).argmax("interval"))])


def months(estimand: Estimand) -> float:
    """Time of an estimand in months."""
    return float(estimand.time or 0.0) * UNITS.get(estimand.time_unit, 1.0)


def cause_of(estimand: Estimand) -> str:
    """Cause that an outcome names (``os=cancer``); empty for an event of any cause."""
    return estimand.outcome.partition("=")[2]


def factors_of(cells: xr.Dataset) -> dict[str, tuple[str, ...]]:
    """Levels of every factor of the cells, coarser factors that others are nested in too."""
    dims = [str(dim) for dim in cells["rows"].dims]
    names = [name for dim in dims for name in (*parents(cells, dim), dim)]
    return {name: levels_of(cells, name) for name in names}


def answered(cells: xr.Dataset, posterior: xr.Dataset) -> str:
    """What the fit answers, in words: kinds, outcome, factors with their levels."""
    endpoint = str(cells.attrs["endpoint"])
    causes = [str(c) for c in cells["cause"].to_numpy()] if "cause" in cells.dims else []
    outcomes = [endpoint, *(f"{endpoint}={cause}" for cause in causes)]
    parts = [f"{n}: {', '.join(map(quoted, of))}" for n, of in factors_of(cells).items()]
    kinds = [k for k in KINDS if k != "cumulative_incidence" or causes]
    return "; ".join([f"kinds {', '.join(kinds)}", f"outcome {' or '.join(outcomes)}", *parts])


def faults(one: Estimand, cells: xr.Dataset, posterior: xr.Dataset) -> list[Fault]:
    """Why an estimand has no answer here: kind, outcome, factors and levels, time; all of them."""
    problems = [
        *_kind_problems(one, cells),
        *_level_problems(one, cells),
        *_time_problems(one, cells),
    ]
    if not problems and one.kind == "heterogeneity" and _scale(one) not in posterior:
        known = [n for n in posterior.data_vars if str(n).startswith(SPREADS)]
        problems.append((f"no {_scale(one)} is learned; there is {', '.join(map(str, known))}", ""))
    allowed = answered(cells, posterior) if problems else ""
    return [
        Fault(f"the survival model does not answer it: {problem}", value=str(one), allowed=allowed,
              remedy=remedy or None)
        for problem, remedy in problems
    ]  # fmt: skip


Problem = tuple[str, str]


def _kind_problems(one: Estimand, cells: xr.Dataset) -> Iterator[Problem]:
    if one.kind not in KINDS:
        others = ", ".join(FITTED_BY[name] for name in KNOWN[one.kind].families)
        yield f"kind {one.kind}", f"it is answered by {others}" if others else ""
        return
    endpoint = str(cells.attrs["endpoint"])
    name = one.outcome.split(" ")[0].partition("=")[0].removesuffix(",")
    causes = [str(c) for c in cells["cause"].to_numpy()] if "cause" in cells.dims else []
    if name != endpoint:
        yield f"outcome '{name}'", f"did you mean '{endpoint}'?"
    elif one.kind in OF_CAUSE:
        if bool(causes) != bool(cause_of(one)) or (causes and cause_of(one) not in causes):
            wanted = " or ".join(f"{endpoint}={cause}" for cause in causes) or endpoint
            yield f"outcome '{one.outcome}'", f"with this endpoint it is {wanted}"
    elif cause_of(one):
        yield f"{one.kind} of one cause", "ask for its cumulative_incidence"
    contrasted = one.kind in (*CONTRASTS, *RATIOS)
    if contrasted != bool(one.contrast and one.contrast.a) and one.kind not in (
        "ordering", "heterogeneity",
    ):  # fmt: skip
        yield ("it needs a contrast" if contrasted else "it takes no contrast",
               "; factor: a vs b" if contrasted else "")  # fmt: skip


def _level_problems(one: Estimand, cells: xr.Dataset) -> Iterator[Problem]:
    known = factors_of(cells)
    levels = _ordered_levels(one) if one.kind == "ordering" else ()
    if one.kind == "ordering" and len(levels) < 2:
        yield "an ordering names two levels at least", "outcome a > b ; factor @ 60 months"
    named = list(one.given)
    if one.kind == "hazard_ratio_ratio":
        inner = _inner(one)
        if inner is None:
            yield "it names no ratio", "outcome, factor: a vs b ; other: x vs y"
            return
        named += [(inner.factor, inner.a), (inner.factor, inner.b)]
    if one.contrast and one.kind != "heterogeneity":
        levels = levels or (one.contrast.a, one.contrast.b)
        named += [(one.contrast.factor, level) for level in levels if level]
    wrong = [pair for pair in named if pair[1] not in known.get(pair[0], ())]
    for factor, level in wrong:
        if factor not in known:
            yield f"factor '{factor}'", _near(factor, known)
        else:
            yield f"no patient has {factor}={level}", _near(level, known[factor])
    if not wrong and not float(_inside(cells, one.given).sum()):
        yield "no patient has all these levels", ""


def _near(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else ""


def _time_problems(one: Estimand, cells: xr.Dataset) -> Iterator[Problem]:
    if one.time is None:
        if one.kind in TIMED:
            yield f"{one.kind} needs a time", "@ 60 months"
        return
    first = float(cells["interval_start"][0])
    if one.time_unit not in UNITS:
        yield f"time in '{one.time_unit}'", ", ".join(UNITS)
    elif one.kind not in (*TIMED, "hazard_ratio"):
        yield f"{one.kind} takes no time", ""
    elif months(one) <= first and (first > 0 or one.kind.startswith("rmst") or months(one) < 0):
        # whoever is observed has had no event by then
        yield f"a time not after the first entry, {first:g} months", "ask for a later time"


def _scale(one: Estimand) -> str:
    """Parameter that a heterogeneity names: ``heterogeneity[os spread ; her2]``."""
    kind = one.outcome.partition(" ")[2] or "spread"
    return f"{kind}_{one.contrast.factor}" if one.contrast else kind


def _ordered_levels(one: Estimand) -> tuple[str, ...]:
    """Levels from longest to shortest: ``ordering[os positive > low ; her2 @ 60 months]``."""
    return tuple(part.strip() for part in one.outcome.partition(" ")[2].split(" > ") if part)


def _inner(one: Estimand) -> Contrast | None:
    """Contrast whose ratios are compared: ``hazard_ratio_ratio[os, her2: a vs b ; hr: x vs y]``."""
    factor, colon, levels = one.outcome.partition(", ")[2].partition(": ")
    a, versus, b = levels.partition(" vs ")
    return Contrast(factor, a, b) if colon and versus else None


def sets(one: Estimand) -> list[Given]:
    """Sets of patients whose curves an estimand is made of."""
    if one.kind in (*RATIOS, "heterogeneity"):
        return []
    if one.contrast is None:
        return [one.given]
    levels = _ordered_levels(one) if one.kind == "ordering" else (one.contrast.a, one.contrast.b)
    return [_with(one.given, one.contrast.factor, level) for level in levels]


def _with(given: Given, factor: str, level: str) -> Given:
    return tuple(sorted((*given, (factor, level))))


def _needed(
    wanted: Sequence[Estimand], cells: xr.Dataset, grid: np.ndarray
) -> dict[Given, dict[str, Quantity]]:
    """Quantities of each set of patients that a table of estimands takes."""
    found: dict[Given, dict[str, Quantity]] = {}
    on_grid = set(grid.tolist())
    for one in wanted:
        kind = CONTRASTS.get(one.kind, (one.kind, None))[0]
        names = quantities(kind, months(one), grid, months(one) in on_grid)
        for given in sets(one):
            found[given] = {**found.get(given, {}), **names}
    return found


def quantities(kind: str, time: float, grid: np.ndarray, on_grid: bool) -> dict[str, Quantity]:
    """Quantities that a kind takes, by name; at a time of the grid the whole curve."""
    at = {} if on_grid else {f"survival {time!r}": lambda h: survival(h, [time])}
    curve: dict[str, Quantity] = {"survival": lambda h: survival(h, grid)}
    match kind:
        case "survival":
            return at or curve
        case "rmst" | "ordering":
            return {f"rmst {time!r}": lambda h: rmst(h, time)}
        case "cumulative_incidence" if on_grid:
            return {"incidence": lambda h: cumulative_incidence(h, grid)}
        case "cumulative_incidence":
            return {f"incidence {time!r}": lambda h: cumulative_incidence(h, [time])}
        case "hazard" | "cumulative_hazard":
            alive: Quantity = lambda h: survival(h, [time])  # noqa: E731
            density: Quantity = lambda h: hazard(h, [time]) * survival(h, [time])  # noqa: E731
            extra = {f"density {time!r}": density} if kind == "hazard" else {}
            return {f"survival {time!r}": alive, **extra}
    return curve


@dataclass(frozen=True)
class _Answers:
    """Answers from the terms' draws and from the curves of the sets of patients."""

    posterior: xr.Dataset
    cells: xr.Dataset
    grid: np.ndarray
    curves: Mapping[Given, Curves] = field(repr=False)

    def __call__(self, one: Estimand) -> xr.DataArray:
        """Draws of one estimand, whose faults are none."""
        if one.kind == "hazard_ratio":
            return self._ratio(one)
        if one.kind == "hazard_ratio_ratio":
            return self._ratio_of_ratios(one)
        if one.kind == "heterogeneity":
            return self.posterior[_scale(one)]
        parts = [self._of(CONTRASTS.get(one.kind, (one.kind, None))[0], one, g) for g in sets(one)]
        if one.kind == "ordering":
            return ordered(parts)
        if one.kind in CONTRASTS:
            return CONTRASTS[one.kind][1](*parts)
        return parts[0]

    def _of(self, kind: str, one: Estimand, given: Given) -> xr.DataArray:
        time, curves = months(one), self.curves[given]
        match kind:
            case "rmst" | "ordering":
                return curves[f"rmst {time!r}"]
            case "median":
                return crossing(curves["survival"])
            case "not_reached":
                last = last_time(self.cells, given)
                # the last time observed is printed to a tenth of a month
                end = last if round(last, 1) == time else time
                return (crossing(curves["survival"]) >= end).astype(float)
            case "cumulative_incidence":
                return self._at("incidence", curves, time).sel(cause=cause_of(one))
            case "cumulative_hazard":
                return -log(self._at("survival", curves, time, exact=True))
            case "hazard":
                alive = self._at("survival", curves, time, exact=True)
                rate = self._at("density", curves, time, exact=True) / alive
                return self._of_cause(rate, one)
        return self._at("survival", curves, time)

    def _at(self, name: str, curves: Curves, time: float, exact: bool = False) -> xr.DataArray:
        if name in curves and time in self.grid and not exact:
            return curves[name].sel(time=time)
        return curves[f"{name} {time!r}"].isel(time=0, drop=True)

    def _ratio_of_ratios(self, one: Estimand) -> xr.DataArray:
        """Hazard ratio at one level of a factor over that at another."""
        outer, outcome = one.contrast, one.outcome.partition(", ")[0]
        assert outer is not None  # no estimand without one passes ``faults``
        first, second = (
            self._ratio(Estimand("hazard_ratio", outcome, _with(one.given, outer.factor, level),
                                 _inner(one)))
            for level in (outer.a, outer.b)
        )  # fmt: skip
        return first / second

    def _ratio(self, one: Estimand) -> xr.DataArray:
        """Hazard ratio: averaged over the events, within levels it differs in, or at a time."""
        contrast = one.contrast
        assert contrast is not None  # no estimand without one passes ``faults``
        a, b = contrast.a, contrast.b
        if OWN in self.posterior:
            return self._ratio_of_whole(one, contrast)
        levels = effect(self.posterior, self.cells, contrast.factor)
        log_ratio = levels.sel(level=a, drop=True) - levels.sel(level=b, drop=True)
        terms = partners(self.posterior, contrast.factor)
        for other, level in one.given:
            if other in terms:
                term = self.posterior[terms[other]].sel({other: level}, drop=True)
                log_ratio = log_ratio + _between(term, contrast.factor, a, b)
        drift = self.posterior.get(f"{TERM}{contrast.factor}_drift")
        if one.time is not None and drift is not None:
            edges = {
                name: ("interval", self.cells[name].to_numpy())
                for name in ("interval_start", "interval_end")
            }
            moved = (log_ratio + _between(drift, contrast.factor, a, b)).assign_coords(edges)
            return self._of_cause(hazard(moved, [months(one)]).isel(time=0, drop=True), one)
        return self._of_cause(exp(log_ratio), one)

    def _ratio_of_whole(self, one: Estimand, contrast: Contrast) -> xr.DataArray:
        """Ratio of a log hazard given as a whole, evenly over the levels of other factors."""
        total = log_hazard(self.posterior, self.cells, dict(one.given))
        ratio = _between(total, contrast.factor, contrast.a, contrast.b)
        others = [str(dim) for dim in self.cells["rows"].dims if dim in ratio.dims]
        ratio = ratio.mean(others)
        if one.time is not None:
            return self._of_cause(hazard(ratio, [months(one)]).isel(time=0, drop=True), one)
        return self._of_cause(exp(xr.dot(ratio, event_weights(self.cells), dim="interval")), one)

    def _of_cause(self, value: xr.DataArray, one: Estimand) -> xr.DataArray:
        return value.sel(cause=cause_of(one)) if "cause" in value.dims else value


def _between(term: xr.DataArray, factor: str, a: str, b: str) -> xr.DataArray:
    return term.sel({factor: a}, drop=True) - term.sel({factor: b}, drop=True)


def effect(draws: xr.Dataset, cells: xr.Dataset, factor: str) -> xr.DataArray:
    """Log hazard of each level of a factor (dim ``level``) up to a constant.

    Averaged over the events where it changes with time, and evenly over the levels of factors it
    interacts with. A nested level also carries the effect of the level it refines.
    """
    dim = str(cells[factor].dims[0])
    names = [str(v) for v in cells[factor].to_numpy()]
    found = [factor] + (parents(cells, dim) if dim == factor else [])
    terms = [draws[TERM + name] for name in found if TERM + name in draws]
    zero = xr.zeros_like(draws["reference_log_hazard"]).expand_dims({dim: len(names)}, axis=-1)
    total = sum(terms, start=zero)
    first = [names.index(name) for name in dict.fromkeys(names)]
    levels = total.isel({dim: first}).rename({dim: "level"})
    return levels.drop_vars("level", errors="ignore").assign_coords(
        level=list(dict.fromkeys(names))
    )


def parents(cells: xr.Dataset, dim: str) -> list[str]:
    """Factors that the factor of a dim is nested in."""
    return [str(name) for name, c in cells.coords.items() if c.dims == (dim,) and name != dim]


def partners(draws: xr.Dataset, factor: str) -> dict[str, str]:
    """Factors a factor interacts with, and the term that says how."""
    found = {}
    for name, term in draws.data_vars.items():
        others = [str(d) for d in term.dims if d not in ("chain", "draw", "cause", factor)]
        if str(name).startswith(TERM) and factor in term.dims and others not in ([], ["interval"]):
            found[others[0]] = str(name)
    return found

"""Rows of a survival fit: which estimands its report holds, and what is said of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Contrast, Estimand
from her2bayes.inference.estimates import Event, estimate
from her2bayes.inference.fit import Fit
from her2bayes.survival.doors import Specification
from her2bayes.survival.draws import (
    SPREADS,
    Curves,
    Given,
    curve_grid,
    draws,
    first_time,
    last_time,
    levels_of,
    mean_curves,
    months,
    partners,
    quantities,
    sets,
)
from her2bayes.survival.piecewise import OWN, TERM

ORDER = ("zero", "ultralow", "low", "positive")  # from worse to better, as HER2-directed drugs act
EVENT = "P(HR < 1)"
CONDITIONAL = ("survival", "survival_difference", "cumulative_incidence", "rmst", "rmst_difference",
               "rmst_ratio", "median", "median_difference", "not_reached", "hazard",
               "cumulative_hazard")  # fmt: skip
GROUPS = ("posterior", "prior")
WHAT = {
    "spread": "sd of log hazards of levels",
    "interaction": "sd of interactions",
    "drift": "sd of the log hazard ratio's change over follow-up",
    "frailty": "sd of log hazards between groups",
}
UNITS = {"rmst": "months", "rmst_difference": "months", "median": "months",
         "median_difference": "months", "hazard": "per month"}  # fmt: skip
Draws = tuple[xr.DataArray, xr.DataArray]  # posterior, prior


@dataclass(frozen=True)
class Answers:
    """A fit, and what may be asked of it.

    ``horizon`` is that of the RMST in months, ``times`` are the landmarks, ``reference`` the level
    of each factor that others are compared with.
    """

    specification: Specification
    cells: xr.Dataset
    fit: Fit
    horizon: float
    times: tuple[float, ...]
    reference: Mapping[str, str]

    @property
    def endpoint(self) -> str:
        """Name of the outcome."""
        return str(self.cells.attrs["endpoint"])

    @cached_property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """Levels of each factor that is reported, after those of no factor: all patients."""
        frailty = self.specification.frailty
        reported = [name for name in self.reference if name not in frailty]
        return {name: levels_of(self.cells, name) for name in ("", *reported)}

    @cached_property
    def grid(self) -> np.ndarray:
        """Months at which curves are drawn."""
        return curve_grid(self.cells, (*self.times, self.horizon))

    @cached_property
    def curves(self) -> dict[str, dict[Given, Curves]]:
        """Mean curves of every level that is reported, by group of the fit: one pass each."""
        wanted = quantities("survival", self.horizon, self.grid, on_grid=True)
        wanted |= quantities("rmst", self.horizon, self.grid, on_grid=True)
        if "cause" in self.cells.dims:
            wanted |= quantities("cumulative_incidence", self.horizon, self.grid, on_grid=True)
        everyone = {
            given_of(name, level): wanted for name, of in self.levels.items() for level in of
        }
        if not self.piecewise:
            return {name: self._own_curves(list(everyone), name) for name in GROUPS}
        return {
            name: {given: dict(found) for given, found in made.items()}
            for name, made in (
                (group, mean_curves(self.group(group), self.cells, everyone)) for group in GROUPS
            )
        }

    def _own_curves(self, who: list[Given], group: str) -> dict[Given, Curves]:
        """Survival over the grid as a model of the user's answers it."""
        times = pd.Index(self.grid, name="time")
        asked = {
            given: [Estimand("survival", self.endpoint, given, None, float(t), "months")
                    for t in self.grid]
            for given in who
        }  # fmt: skip
        found = self.draws([one for of in asked.values() for one in of], group)
        return {given: {"survival": xr.concat([found[one] for one in of], times)}
                for given, of in asked.items()}  # fmt: skip

    def group(self, name: str) -> xr.Dataset:
        """Draws of the model's parameters: "posterior" or "prior"."""
        return self.fit.posterior if name == "posterior" else self.fit.prior

    @property
    def piecewise(self) -> bool:
        """Whether the log hazard of every cell can be had; a model of the user's may keep it."""
        return self.specification.own is None or OWN in self.fit.posterior

    def draws(
        self, asked: Iterable[Estimand], group: str = "posterior"
    ) -> dict[Estimand, xr.DataArray]:
        """Draws of estimands by estimand, see ``draws.draws``.

        A model of the user's answers first; the rest follows from its ``log_hazard``, if it has
        one. Raises ``BadInput`` for what is not answered.
        """
        wanted = list(asked)
        found = self._by_own(wanted, group)
        rest = [one for one in wanted if one not in found]
        if self.piecewise and rest:
            known = self.curves[group]
            found |= draws(self.group(group), self.cells, rest, grid=self.grid, known=known)
        elif rest:
            remedy = f"answer it in draws(), or give the model a variable {OWN}"
            problem = "the model does not answer it"
            raise_if([Fault(problem, value=str(one), remedy=remedy) for one in rest])
        return found

    def _by_own(self, asked: list[Estimand], group: str) -> dict[Estimand, xr.DataArray]:
        """What a model of the user's answers itself."""
        own = self.specification.own
        if own is None or own.draws is None:
            return {}
        given = own.draws(self.group(group), self.cells, asked)
        return {one: given[one].transpose("chain", "draw") for one in asked if one in given}

    def rows(self, asked: Iterable[Estimand] | None = None) -> Iterator[dict[str, Any]]:
        """Yield a row for each estimand; without any, everything that the report holds."""
        wanted = list(self.estimands() if asked is None else asked)
        if asked is None and not self.piecewise:
            wanted = list(self._by_own(wanted, "posterior"))
        both = [self.draws(wanted, group) for group in GROUPS]
        for one in wanted:
            yield _row(one, (both[0][one], both[1][one]), self)

    def estimands(self) -> Iterator[Estimand]:
        """By level of each factor, then contrasts, hazard ratios, orderings; spreads last."""
        for factor, levels in self.levels.items():
            for level in levels:
                yield from self._of_level(given_of(factor, level))
            if factor:
                for a, b in pairs(levels, self.reference[factor]):
                    yield from self._of_contrast(Contrast(factor, a, b))
                    yield from self._ratios(Contrast(factor, a, b))
                yield from self._ordering(factor, levels)
        yield from self._spreads()

    @property
    def _causes(self) -> list[str]:
        return (
            [str(c) for c in self.cells["cause"].to_numpy()] if "cause" in self.cells.dims else []
        )

    def _of_level(self, given: Given) -> Iterator[Estimand]:
        for t in self.times:
            yield Estimand("survival", self.endpoint, given, None, t, "months")
            for cause in self._causes:
                outcome = f"{self.endpoint}={cause}"
                yield Estimand("cumulative_incidence", outcome, given, None, t, "months")
        yield Estimand("rmst", self.endpoint, given, None, self.horizon, "months")
        yield Estimand("median", self.endpoint, given)
        last = round(last_time(self.cells, given), 1)
        yield Estimand("not_reached", self.endpoint, given, None, last, "months")

    def _of_contrast(self, contrast: Contrast) -> Iterator[Estimand]:
        for kind in ("rmst_difference", "rmst_ratio"):
            yield Estimand(kind, self.endpoint, (), contrast, self.horizon, "months")
        for t in self.times:
            yield Estimand("survival_difference", self.endpoint, (), contrast, t, "months")

    def _ratios(self, contrast: Contrast) -> Iterator[Estimand]:
        """Hazard ratios: average over time, by subgroup where effects may differ, and over time."""
        if self._causes:
            for cause in self._causes:
                yield Estimand("hazard_ratio", f"{self.endpoint}={cause}", (), contrast)
            return
        yield Estimand("hazard_ratio", self.endpoint, (), contrast)
        for other in partners(self.fit.posterior, contrast.factor):
            for level in self.cells[other].to_numpy():
                yield Estimand("hazard_ratio", self.endpoint, ((other, str(level)),), contrast)
        if f"{TERM}{contrast.factor}_drift" in self.fit.posterior:
            for t in self.times:
                yield Estimand("hazard_ratio", self.endpoint, (), contrast, t, "months")

    def _ordering(self, factor: str, levels: Sequence[str]) -> Iterator[Estimand]:
        """Probability that mean survival time orders the classes, beside its prior probability."""
        known = [level for level in reversed(ORDER) if level in levels]
        if len(known) >= 3 and len(known) >= len(levels):
            outcome = f"{self.endpoint} {' > '.join(known)}"
            yield Estimand("ordering", outcome, (), Contrast(factor), self.horizon, "months")

    def _spreads(self) -> Iterator[Estimand]:
        """Scales the model learned: between levels, of interactions, drift, between centres."""
        for prefix in SPREADS:
            for name in self.fit.posterior.data_vars:
                if str(name).startswith(f"{prefix}_") and self.fit.posterior[name].ndim == 2:
                    factor = str(name).removeprefix(f"{prefix}_")
                    outcome = f"{self.endpoint} {prefix}"
                    yield Estimand("heterogeneity", outcome, (), Contrast(factor))


def given_of(factor: str, level: str) -> Given:
    """Condition of one level; of all patients where there is no factor."""
    return ((factor, level),) if factor else ()


def pairs(levels: Sequence[str], reference: str) -> list[tuple[str, str]]:
    """Every level against the reference, then the other pairs."""
    others = [level for level in levels if level != reference]
    first = [(level, reference) for level in others] if reference in levels else []
    return first + [(b, a) for a, b in combinations(others, 2)]


def given_entry(first: float) -> str:
    """What survival is conditional on, in words; nothing where all patients count from 0."""
    return f"given alive and event-free at the first entry, {first:.5g} months" if first > 0 else ""


def _row(one: Estimand, both: Draws, of: Answers) -> dict[str, Any]:
    """Row of an estimand; with delayed entry it says what it is conditional on."""
    match one.kind:
        case "median":
            row = _median(one, both, of)
        case "median_difference":
            row = _median_difference(one, of)
        case "not_reached":
            row = _chance(one, both, of, "P(median beyond the last time observed)")
        case "ordering":
            row = _chance(one, both, of, f"P(RMST {one.outcome.partition(' ')[2]})")
        case _:
            row = _summary(one, both, of, _note(one, of))
    entry = given_entry(float(of.cells["interval_start"][0]))
    return {**row, "note": _sentences(row["note"], entry)} if one.kind in CONDITIONAL else row


EVENTS: Mapping[str, tuple[str, float, float]] = {
    "hazard_ratio": (EVENT, -np.inf, 1.0),
    "rmst_difference": ("P(difference > 0)", 0.0, np.inf),
    "rmst_ratio": ("P(ratio > 1)", 1.0, np.inf),
    "survival_difference": ("P(difference > 0)", 0.0, np.inf),
    "median_difference": ("P(difference > 0)", 0.0, np.inf),
    "hazard_ratio_ratio": ("P(ratio < 1)", -np.inf, 1.0),
    "not_reached": ("", 0.5, np.inf),
    "ordering": ("", 0.5, np.inf),
}
"""Event of a kind whose probability is reported: its name, and between which values it happens."""


def _note(one: Estimand, of: Answers) -> str:
    event = EVENTS.get(one.kind, ("",))[0]
    match one.kind:
        case "heterogeneity":
            return WHAT.get(one.outcome.partition(" ")[2], "")
        case "hazard_ratio":
            about = "" if one.given or one.time is not None else _ratio_note(of)
            return _sentences(about, event)
        case "rmst" | "rmst_difference" | "rmst_ratio":
            beyond = _beyond(one, of) if one.kind == "rmst" else ""
            return _sentences(f"horizon {months(one):.1f} months", event, beyond)
    return _sentences(event, _beyond(one, of))


def _median(one: Estimand, both: Draws, of: Answers) -> dict[str, Any]:
    """Median, empty where it is not reached by the last time observed."""
    last = last_time(of.cells, one.given)
    row = _summary(one, (both[0].clip(max=last), both[1].clip(max=last)), of, "")
    for name in GROUPS:
        for part in ("median", "lower", "upper"):
            if row[f"{name}_{part}"] >= last * (1 - 1e-9):
                row[f"{name}_{part}"] = np.nan
    open_ended = np.isnan([row[f"posterior_{p}"] for p in ("median", "lower", "upper")]).any()
    note = f"not reached by {last:.1f} months where empty" if open_ended else ""
    return {**row, "contraction": np.nan, "note": note}


def _median_difference(one: Estimand, of: Answers) -> dict[str, Any]:
    """Difference of medians, each cut off at the last time observed where it is not reached."""
    last = max(last_time(of.cells, given) for given in sets(one))
    medians = [Estimand("median", one.outcome, given) for given in sets(one)]
    both = []
    for group in GROUPS:
        found = of.draws(medians, group)
        a, b = (found[median].clip(max=last) for median in medians)
        both.append(a - b)
    note = f"P(difference > 0); medians beyond {last:.1f} months count as that"
    return _summary(one, (both[0], both[1]), of, note)


def _chance(one: Estimand, both: Draws, of: Answers, note: str) -> dict[str, Any]:
    """Row of a probability: no interval, its Monte-Carlo error is below 2 points at 4000 draws."""
    row = _summary(one, both, of, note)
    empty = {f"{name}_{part}": np.nan for name in GROUPS for part in ("median", "lower", "upper")}
    return {**row, **empty, "contraction": np.nan}


def _summary(one: Estimand, both: Draws, of: Answers, note: str) -> dict[str, Any]:
    event: Event | None = None
    if one.kind in EVENTS:
        _, low, high = EVENTS[one.kind]
        event = lambda draws: (draws > low) & (draws < high)  # noqa: E731
    unit = UNITS.get(one.kind)
    row = estimate(one, *both, of.fit, event=event, note=note, unit=unit)
    return {**row, "evidence_kind": "patients"}


def _ratio_note(of: Answers) -> str:
    parts, asked = [], of.specification
    if asked.model == "nonph":
        parts.append("average log hazard ratio over the events")
    if len(of.cells["rows"].dims) > 1:
        parts.append("given the other factors")
    if asked.frailty:
        parts.append(f"within the same {', '.join(asked.frailty)} (conditional)")
    return ", ".join(parts)


def _beyond(one: Estimand, of: Answers) -> str:
    """What of a curve to a time is the model's alone: after the last time, before the first."""
    if one.time is None:
        return ""
    said = (_beyond_of(months(one), given, of) for given in sets(one))
    return next(filter(None, said), "")


def _beyond_of(time: float, given: Given, of: Answers) -> str:
    first, last = first_time(of.cells, given), last_time(of.cells, given)
    late = f"extrapolated beyond {last:.1f} months of follow-up" if time > last else ""
    if first <= of.grid[0]:
        return late
    who = ", ".join(level for _, level in given)
    early = f"extrapolated before {first:.5g} months, where no patient of {who} is observed"
    return _sentences(late, early)


def _sentences(*parts: str) -> str:
    return "; ".join(part for part in parts if part)

"""Draws of every estimand of the joint model: true classes, readings, and survival by either.

All follows from the probability of a patient's stratum, true classes and readings,

    joint[s,t0,t1,r0,r1] = (n[s] / n) share[s,t0] P[s,t0,t1] reads[t0,t1,r0,r1]

``reads`` averaged over the assays of the patients, and from survival by true class. Conditions are
factors, true classes (``her2_primary``, ``her2``), readings (``read_primary``, ``read``), and
whether they differ (``her2_change``, ``read_change``: changed or same):

    true_class[her2=low | read_primary=zero, read=low]      joint of both over joint of the readings
    survival[os | read=low @ 24 months]                     mean over the true classes behind it
    hazard_ratio[os ; read: positive vs low]                of their mean hazards f / S, the log
                                                            averaged over the events
    dilution[os ; her2: positive vs low]                    log ratio by reading / by true class

Those of ``transition`` and of ``survival`` are answered there, of true classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import logsumexp
from xarray.ufuncs import exp, log

from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Estimand, not_answered
from her2bayes.survival import draws as of_survival
from her2bayes.survival.draws import CONTRASTS, months
from her2bayes.survival.parts import event_weights
from her2bayes.survival.piecewise import hazard, log_hazard, rmst, survival
from her2bayes.transition import draws as of_transition
from her2bayes.transition.draws import Rows, strata_of

Given = tuple[tuple[str, str], ...]
Place = tuple[str, ...]
TRUE = ("her2_primary", "her2")
READ = ("read_primary", "read")
CHANGE = {"her2_change": TRUE, "read_change": READ}
CHANGED, SAME = "changed", "same"
OF_READINGS = (*READ, *CHANGE, "her2_primary")
"""Conditions that hold for a mixture of true classes."""
MIXED = ("survival", "survival_difference", "rmst", "rmst_difference", "rmst_ratio",
         "hazard_ratio")  # fmt: skip
"""Kinds of survival that are answered by reading."""
OWN_KINDS = ("true_class", "read_as", "read_discordance", "dilution")


@dataclass(frozen=True)
class Answers:
    """Draws of one group of a fit, with the counts it was fitted to."""

    group: xr.Dataset
    data: Mapping[str, xr.Dataset]

    @property
    def classes(self) -> list[str]:
        """HER2 classes in order."""
        return [str(name) for name in self.data["readings"]["her2"].to_numpy()]

    @property
    def factors(self) -> list[str]:
        """Factors of strata and hazards."""
        return [str(name) for name in self.data["readings"].attrs["factors"]]

    @cached_property
    def weights(self) -> xr.DataArray:
        """Share of the patients in each stratum, as counted."""
        of = self.data["readings"]
        number = np.bincount(of["place"], weights=of["patients"], minlength=of.sizes["stratum"])
        return xr.DataArray(number / number.sum(), dims="stratum", coords={
            name: of[name] for name in ("stratum", *self.factors)})  # fmt: skip

    @cached_property
    def joint(self) -> xr.DataArray:
        """Probability (chain, draw, stratum, true classes, readings)."""
        strata = self.weights["stratum"].to_numpy()
        here = self.group[["primary_share", "transition"]].sel(stratum=strata)
        flow = here["primary_share"] * here["transition"] * self.weights
        return flow * self._reads

    @cached_property
    def _reads(self) -> xr.DataArray:
        """Probability of both readings given both true classes, mean over the patients."""
        matrix, of = self.group["misclassification"], self.data["readings"]
        c = float(self.data["assay"].get("error_correlation", 0.0))
        if "assay" not in matrix.dims:
            return read_twice(matrix, matrix, c)
        pairs = np.stack([of[f"assay_{end}"].to_numpy() for end in ("primary", "recurrence")], 1)
        kinds, place = np.unique(pairs, axis=0, return_inverse=True)
        number = np.bincount(place.ravel(), weights=of["patients"]) / float(of["patients"].sum())
        parts = [share * read_twice(matrix.isel(assay=a, drop=True),
                                    matrix.isel(assay=b, drop=True), c)
                 for (a, b), share in zip(kinds, number, strict=True)]  # fmt: skip
        return sum(parts[1:], start=parts[0])

    @cached_property
    def cells(self) -> xr.Dataset:
        """SurvivalCells whose ``rows`` are the patients expected in each true class."""
        cells, of = self.data["cells"], self.data["readings"]
        number = float(of["patients"].sum())
        share = self.joint.sum(READ).mean(("chain", "draw")) * number
        share = share.sum([dim for dim in TRUE if dim not in cells["rows"].dims])
        rows = xr.zeros_like(cells["rows"], dtype=float)
        for place, stratum in enumerate(share["stratum"].to_numpy()):
            where = {name: str(of[name].to_numpy()[place]) for name in self.factors}
            one = share.sel(stratum=stratum, drop=True).drop_vars(self.factors, errors="ignore")
            rows.loc[where] = one.transpose(*rows.loc[where].dims)
        return cells.assign(rows=rows).assign_attrs(cells.attrs)

    def rows(self, given: Given) -> Rows:
        """Transitions of true classes among the patients of some strata."""
        inside = self.inside(given)
        total = float(inside.isel(chain=0, draw=0).sum())
        share, read = inside.sum((*READ, "stratum")), inside.sum("stratum")
        primary = share.sum("her2")
        first, second = TRUE
        same = read.where(read[first] == read[second], 0.0).sum(TRUE) / total
        flows = xr.Dataset({"observed_flow": read.sum(TRUE) / total, "unchanged_flow": same})
        return Rows(share / primary, primary / total, primary / total, flows)

    @cached_property
    def _everyone(self) -> Rows:
        return self.rows(())

    def inside(self, given: Given) -> xr.DataArray:
        """``joint`` where the conditions hold, 0 elsewhere."""
        found = self.joint
        for factor, level in given:
            found = found.where(self._holds(factor, level), 0.0)
        return found

    def _holds(self, factor: str, level: str) -> xr.DataArray:
        if factor in CHANGE:
            first, second = (self.joint[dim] for dim in CHANGE[factor])
            return (first != second) if level == CHANGED else (first == second)
        return self.joint[factor].astype(str) == level

    def __call__(self, asked: Iterable[Estimand]) -> dict[Estimand, xr.DataArray]:
        """Draws (chain, draw) of each estimand; ``BadInput`` with all that has no answer here."""
        wanted = list(asked)
        raise_if([fault for one in wanted for fault in self.faults(one)])
        kinds = {one: self._family(one) for one in wanted}
        transitions = [one for one in wanted if kinds[one] == "transition"]
        found: dict[Estimand, xr.DataArray] = {}
        if transitions:
            given = {g for one in transitions for g in strata_of(one)}
            found |= of_transition.draws({g: self.rows(g) for g in given}, transitions)
        curves = [one for one in wanted if kinds[one] == "survival"]
        if curves:
            found |= of_survival.draws(self.group, self.cells, curves)
        own = {one: self._own(one) for one in wanted if kinds[one] == "joint"}
        return {one: value.transpose("chain", "draw") for one, value in (found | own).items()}

    def _family(self, one: Estimand) -> str:
        if one.kind in OWN_KINDS or (one.kind in MIXED and self._of_readings(one)):
            return "joint"
        return "transition" if one.kind in of_transition.ANSWERED else "survival"

    def _of_readings(self, one: Estimand) -> bool:
        named = [*one.conditions, *([one.contrast.factor] if one.contrast else [])]
        mixed = [name for name in OF_READINGS if name not in self.data["cells"].dims]
        return bool(set(named) & set(mixed))

    def _own(self, one: Estimand) -> xr.DataArray:
        match one.kind:
            case "read_discordance":
                return self._share((("read_change", CHANGED),), one.given)
            case "true_class":
                return self._share(_outcome(one), one.given)
            case "read_as":
                return self._read_as(one)
            case "dilution":
                ratios = self([replace(one, kind="hazard_ratio"), _by_reading(one)])
                true, read = ratios.values()
                return log(read) / log(true)
        return self._mixed(one)

    def _share(self, event: Given, given: Given) -> xr.DataArray:
        """Probability of an event among the patients of the conditions."""
        everyone = [dim for dim in self.joint.dims if dim not in ("chain", "draw")]
        return self.inside((*given, *event)).sum(everyone) / self.inside(given).sum(everyone)

    def _read_as(self, one: Estimand) -> xr.DataArray:
        start, _, end = (part.strip() for part in one.outcome.partition("->"))
        matrix = self.group["misclassification"].sel(her2=start, read=end, drop=True)
        if "assay" not in matrix.dims:
            return matrix
        return matrix.sel(
            assay=one.conditions.get("assay", matrix["assay"].to_numpy()[0]), drop=True
        )

    def _mixed(self, one: Estimand) -> xr.DataArray:
        """Survival of patients whose true class is one of several."""
        if one.contrast is None:
            return self._curve(one.kind, one.given, months(one))
        given = [(*one.given, (one.contrast.factor, level))
                 for level in (one.contrast.a, one.contrast.b)]  # fmt: skip
        if one.kind == "hazard_ratio":
            return self._ratio(one, *given)
        kind, combine = CONTRASTS[one.kind]
        first, second = (self._curve(kind, where, months(one)) for where in given)
        return combine(first, second)

    def _curve(self, kind: str, given: Given, time: float) -> xr.DataArray:
        """Mean over the patients of the conditions of survival to ``time``, or of months lived."""
        if kind == "rmst":
            return self._mean(given, {k: rmst(h, time) for k, h in self._rates.items()})
        alive = {k: survival(h, [time]).isel(time=0, drop=True) for k, h in self._rates.items()}
        return self._mean(given, alive)

    @cached_property
    def _rates(self) -> dict[Place, xr.DataArray]:
        """Log hazard (chain, draw, interval) by place: levels of the factors, true classes."""
        cells = self.data["cells"]
        dims = [str(dim) for dim in cells["rows"].dims]
        return {
            place: log_hazard(self.group, cells, dict(zip(dims, place, strict=True)))
            for place in product(*(map(str, cells[dim].to_numpy()) for dim in dims))
        }

    @cached_property
    def _in_the_middle(self) -> tuple[dict[Place, xr.DataArray], dict[Place, xr.DataArray]]:
        """Survival to the middle of each interval (``time``), and the hazard there, by place."""
        cells = self.data["cells"]
        middle = (cells["interval_start"] + cells["interval_end"]).to_numpy() / 2
        alive = {place: survival(rates, middle) for place, rates in self._rates.items()}
        return alive, {place: hazard(rates, middle) for place, rates in self._rates.items()}

    def _mean(self, given: Given, of: Mapping[Place, xr.DataArray]) -> xr.DataArray:
        """Mean over the patients of the conditions of what is known by place."""
        dims = [str(dim) for dim in self.data["cells"]["rows"].dims]
        share = self.inside(given).sum([d for d in (*TRUE, *READ) if d not in dims])
        share = share / share.sum([d for d in share.dims if d not in ("chain", "draw")])
        total: Any = 0.0
        for stratum in range(share.sizes["stratum"]):
            here = share.isel(stratum=stratum)
            if not float(here.isel(chain=0, draw=0).sum()):
                continue
            levels = {name: str(here[name].item()) for name in self.factors}
            here = here.drop_vars(["stratum", *self.factors])
            classes = [dim for dim in dims if dim in TRUE]
            for names in product(self.classes, repeat=len(classes)):
                where = dict(zip(classes, names, strict=True))
                place = tuple({**levels, **where}[dim] for dim in dims)
                value = of[place].drop_vars([*dims, "interval"], errors="ignore")
                total = total + here.sel(where, drop=True) * value
        return total

    def _ratio(self, one: Estimand, first: Given, second: Given) -> xr.DataArray:
        """Ratio of mean hazards in the middle of each interval, its log averaged over events."""
        alive, rates = self._in_the_middle
        cause = one.outcome.partition("=")[2]
        of_cause = {k: rate.sel(cause=cause, drop=True) if "cause" in rate.dims else rate
                    for k, rate in rates.items()}  # fmt: skip
        density = {place: rate * alive[place] for place, rate in of_cause.items()}
        logs = [log(self._mean(where, density)) - log(self._mean(where, alive))
                for where in (first, second)]  # fmt: skip
        weight = xr.DataArray(event_weights(self.data["cells"]).to_numpy(), dims="time")
        return exp(((logs[0] - logs[1]) * weight).sum("time"))

    def faults(self, one: Estimand) -> list[Fault]:
        """Why an estimand has no answer here."""
        family = self._family(one)
        if family == "transition":
            unknown = [fault for given in strata_of(one) for fault in self._conditions(one, given)]
            rows = dict.fromkeys(strata_of(one), self._everyone)
            return unknown or of_transition.faults(rows, one)
        if family == "survival":
            return of_survival.faults(one, self.cells, self.group)
        if one.kind in ("survival", "rmst") and one.time is None:
            return [Fault(f"{one.kind} needs a time", value=str(one), allowed="@ 60 months")]
        if one.kind in ("dilution", "hazard_ratio") and not (one.contrast and one.contrast.a):
            return [Fault("no levels to compare", value=str(one), allowed="; her2: a vs b")]
        if one.kind == "dilution" and one.contrast and one.contrast.factor != "her2":
            return [Fault("dilution is between true classes", value=str(one),
                          allowed="; her2: a vs b")]  # fmt: skip
        return self._conditions(one, (*one.given, *_levels(one)))

    def _conditions(self, one: Estimand, given: Given) -> list[Fault]:
        allowed = dict.fromkeys((*TRUE, *READ), self.classes)
        allowed |= {name: [CHANGED, SAME] for name in CHANGE}
        allowed |= {name: sorted(set(map(str, self.weights[name].to_numpy())))
                    for name in self.factors}  # fmt: skip
        if "assay" in self.group["misclassification"].dims and one.kind == "read_as":
            allowed["assay"] = [str(name) for name in self.data["assay"]["assay"].to_numpy()]
        faults = []
        for factor, level in given:
            if factor not in allowed:
                faults.append(not_answered(one, "joint", [f"conditions {', '.join(allowed)}"]))
            elif level not in allowed[factor]:
                faults.append(Fault(f"no {factor} '{level}'", value=str(one),
                                    allowed=", ".join(allowed[factor])))  # fmt: skip
        return faults


def _levels(one: Estimand) -> Given:
    """Levels in the outcome and the contrast of an estimand of this family, as conditions."""
    if one.kind == "true_class":
        return _outcome(one)
    if one.kind == "read_as":
        start, _, end = (part.strip() for part in one.outcome.partition("->"))
        return (("her2", start), ("read", end))
    if one.contrast is None:
        return ()
    return tuple((one.contrast.factor, level) for level in (one.contrast.a, one.contrast.b))


def _outcome(one: Estimand) -> Given:
    """Condition that the outcome of ``true_class`` is: ``her2=low``, or ``change``."""
    if one.outcome == "change":
        return (("her2_change", CHANGED),)
    factor, _, level = (part.strip() for part in one.outcome.partition("="))
    return ((factor, level),)


def _by_reading(one: Estimand) -> Estimand:
    """Hazard ratio between the readings that a ratio between true classes corresponds to."""
    assert one.contrast is not None  # a fault otherwise
    return replace(one, kind="hazard_ratio", contrast=replace(one.contrast, factor="read"))


def chained(draws: Sequence[xr.DataArray]) -> xr.DataArray:
    """Draws (chain, draw) of several fits, chain after chain."""
    return xr.concat([one.drop_vars("chain", errors="ignore") for one in draws], "chain")


def read_twice(first: xr.DataArray, second: xr.DataArray, c: float) -> xr.DataArray:
    """Probability of two readings given two true classes, a share ``c`` of errors made together.

    ``first`` and ``second`` (..., her2, read); dims (..., her2_primary, her2, read_primary, read).
    The pair with the same rank in both rows is read where errors are made together.
    """
    one = first.rename(her2="her2_primary", read="read_primary")
    apart = one * second
    if not c:
        return apart
    tops = [row.cumsum(dim) for row, dim in ((one, "read_primary"), (second, "read"))]
    high = np.minimum(tops[0], tops[1])
    low = np.maximum(tops[0] - one, tops[1] - second)
    return (1 - c) * apart + c * (high - low).clip(min=0)


def log_density(group: xr.Dataset, data: Mapping[str, xr.Dataset]) -> np.ndarray:
    """Log density of each row of patients in each draw, (draw, row): NumPy, not the model's graph.

    A row counts ``rows.patients`` times; leave-one-patient-out and the check of the graph read it.
    """
    readings, rows, cells = (data[name] for name in ("readings", "rows", "cells"))
    of = Answers(group, data)
    share = _cell_shares(of)
    classes = [dim for dim in TRUE if dim in cells["rows"].dims]
    share = share.sum([dim for dim in TRUE if dim not in classes])
    values = share.transpose("chain", "draw", "reading_cell", *classes).to_numpy()
    chance = values.reshape(-1, readings.sizes["reading_cell"], int(np.prod(values.shape[3:])))
    lead = [dim for dim in ("cause",) if dim in cells["events"].dims]
    places = [str(dim) for dim in cells["person_months"].dims if dim not in classes]
    labelled = log_hazard(group, cells) + xr.zeros_like(cells["events"], dtype=float)
    every = labelled.transpose("chain", "draw", *classes, *lead, *places).to_numpy()
    every = every.reshape(chance.shape[0], chance.shape[2], *every.shape[2 + len(classes) :])
    rate = np.exp(every).sum(axis=2) if lead else np.exp(every)
    width = (cells["interval_end"] - cells["interval_start"]).to_numpy()
    until = np.cumsum(rate * width, axis=-1) - rate * width
    flat = (*rate.shape[:2], -1)

    def cumulative(end: str) -> np.ndarray:
        place, spent = rows[f"{end}_place"].to_numpy(), rows[f"{end}_months"].to_numpy()
        return until.reshape(flat)[..., place] + rate.reshape(flat)[..., place] * spent

    log_of = every.reshape(flat)[..., rows["event_place"].to_numpy()] * rows["event"].to_numpy()
    log_of -= cumulative("exit")
    if "entry_place" in rows:
        log_of += cumulative("entry")
    inside = chance[:, rows["reading_cell"].to_numpy()].transpose(0, 2, 1)
    return np.asarray(logsumexp(log_of, axis=1, b=inside))


def _cell_shares(of: Answers) -> xr.DataArray:
    """Probability (chain, draw, reading_cell, true classes) of classes and readings of a cell."""
    readings, matrix = of.data["readings"], of.group["misclassification"]
    c = float(of.data["assay"].get("error_correlation", 0.0))
    flow = of.group["primary_share"] * of.group["transition"]
    strata = readings["stratum"].to_numpy()
    parts = []
    for cell in range(readings.sizes["reading_cell"]):
        one = readings.isel(reading_cell=cell)
        once, twice = (
            matrix.isel(assay=int(one[f"assay_{end}"]), drop=True)
            if "assay" in matrix.dims
            else matrix
            for end in ("primary", "recurrence")
        )
        first, second = (
            one[f"holds_{end}"].drop_vars(list(one[f"holds_{end}"].coords))
            for end in ("primary", "recurrence")
        )
        read = (read_twice(once, twice, c) * first * second).sum(READ)
        parts.append(flow.sel(stratum=strata[int(one["place"])], drop=True) * read)
    return xr.concat(parts, "reading_cell")

"""Conclusions on the change of HER2 class in a cohort of patients with paired readings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from her2bayes.analysis import sensitivity_transition as paper
from her2bayes.analysis.conclusion_target import Target
from her2bayes.analysis.scenarios import DATA, PRIOR, READING, Axis, Scenario
from her2bayes.analysis.transition_assay import has_prior
from her2bayes.analysis.transition_cohort import ALL, exact_counts, scenarios
from her2bayes.bayes import her2_transition
from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.aggregate import transition_counts
from her2bayes.evidence.conclusions import Conclusion
from her2bayes.inference.refit import Specification

if TYPE_CHECKING:
    from her2bayes.evidence.cohort import Cohort

READ, OUT, DEFINED = "partial readings", "left out", "definition"
ALL_READINGS, AS_MAPPED = "all readings", "as mapped"
MOST_LEVELS = 8


def targets(
    cohort: Cohort,
    conclusions: Sequence[Conclusion],
    definitions: Mapping[str, Cohort] | None = None,
) -> list[Target]:
    """One target for all patients, one for each factor asked for; ``BadInput`` for the rest.

    ``definitions``: the same patients under other definitions of classes or factors.
    """
    found: dict[tuple[str, ...], list[Conclusion]] = {}
    faults = []
    for conclusion in conclusions:
        names = paper.factors_of(conclusion.estimand)
        if names is None or len(names) > 1:
            allowed = ", ".join(available(cohort))
            problem = "pairs of readings do not answer the conclusion"
            faults.append(Fault(problem, None, None, conclusion.id, str(conclusion), allowed))
        else:
            found.setdefault(names, []).append(conclusion)
    raise_if(faults)
    return [
        _target(cohort, names, tuple(asked), definitions or {}) for names, asked in found.items()
    ]


def available(cohort: Cohort) -> Iterator[str]:
    """What pairs of readings answer, in words."""
    yield from ("discordance[]", "transition[a -> b]", "gain[...]", "loss[...]")
    yield "flow_difference[a -> b]"
    for name in cohort.factors:
        yield f"discordance[| {name}=...]"
        yield f"discordance_difference[; {name}: a vs b]"


def _target(
    cohort: Cohort,
    factors: tuple[str, ...],
    asked: tuple[Conclusion, ...],
    definitions: Mapping[str, Cohort],
) -> Target:
    overall = transition_counts(cohort, factors)
    counted = {name: transition_counts(other, factors) for name, other in definitions.items()}
    defined = {name: counts for name, counts in counted.items() if not counts.equals(overall)}
    read = {ALL_READINGS: overall}
    if not factors:
        for name, part in scenarios(cohort, overall).items():
            if name != ALL and not part.equals(overall):
                read[name] = part
    out = {} if factors else _without(cohort, overall)
    axes = [
        Axis(paper.CENTRE, PRIOR, 0.0, (-1.0, -0.5, 0.5, 1.0), "added to the prior mean"),
        Axis(paper.SCALE, PRIOR, 1.0, paper.SCALES, "scale of the prior of log odds, times"),
    ]
    if factors:
        meaning = "scale of the prior of how levels differ, times"
        axes.append(Axis(paper.SPREAD, PRIOR, 1.0, paper.SCALES, meaning))
    if len(read) > 1:
        others = tuple(read)[1:]
        axes.append(Axis(READ, READING, ALL_READINGS, others, "sets of classes at their extremes"))
    if out:
        axes.append(Axis(OUT, DATA, "nobody", tuple(out), "patients left out"))
    if defined:
        meaning = "what a class or a receptor status means"
        axes.append(Axis(DEFINED, DATA, AS_MAPPED, tuple(defined), meaning))
    if has_prior(cohort.categories):
        meaning = "error rates, times the default"
        axes.append(Axis(paper.ASSAY, READING, 0.0, (0.25, 0.5, 0.75, 1.0), meaning))
    name = f"change of HER2 status by {factors[0]}" if factors else "change of HER2 status"
    classes = tuple(cohort.categories)
    data = {"read": read, "out": out, "defined": defined, "classes": classes}
    return Target("pairs", f"{cohort.id}: {name}", asked, tuple(axes), data)


def _without(cohort: Cohort, overall: xr.Dataset) -> dict[str, xr.Dataset]:
    """Counts without the patients of one level, for factors of a few levels."""
    found = {}
    for factor, levels in cohort.factors.items():
        if not 1 < len(levels) <= MOST_LEVELS:
            continue
        counts = transition_counts(cohort, [factor])
        for place, level in enumerate(counts[factor].to_numpy()):
            part = counts["counts"].isel(stratum=place, drop=True).reset_coords(drop=True)
            part = part.reindex(
                primary_reading=overall["primary_reading"],
                recurrence_reading=overall["recurrence_reading"],
                fill_value=0,
            )
            if 0 < int(part.sum()) < int(overall["counts"].sum()):
                found[f"{factor}={level}"] = overall.assign(counts=overall["counts"] - part)
    return found


def scenario_data(target: Target, of: Scenario) -> xr.Dataset:
    """Counts of pairs of a scenario; of definition, left out and readings the first one changed."""
    other = str(of.get(DEFINED, AS_MAPPED))
    if other != AS_MAPPED:
        recounted: xr.Dataset = target.data["defined"][other]
        return recounted
    out = str(of.get(OUT, "nobody"))
    if out != "nobody":
        found: xr.Dataset = target.data["out"][out]
        return found
    read: xr.Dataset = target.data["read"][str(of.get(READ, ALL_READINGS))]
    return read


def specification(target: Target, of: Scenario) -> Specification:
    """Model and data of a scenario."""
    return Specification(
        her2_transition.build,
        scenario_data(target, of),
        paper.row_prior_values(of),
        {},
        ("centre", "deviation_sd", "primary_share"),
    )


def quantities(target: Target, of: Scenario, draws: xr.Dataset) -> dict[str, xr.DataArray]:
    """Draws (chain, draw) of each estimand."""
    data = scenario_data(target, of)
    by = {given: _matrix(data, draws, name) for given, name in _strata(data).items()}
    scale = float(of.get(paper.ASSAY, 0.0))
    classes = target.data["classes"]
    return {
        str(c.estimand): paper.quantity(c.estimand, by, "transition", classes, scale)
        for c in target.conclusions
    }


def _strata(data: xr.Dataset) -> dict[tuple[str, ...], str]:
    factors = data.attrs["factors"]
    return {
        tuple(str(data[f].sel(stratum=name).item()) for f in factors): str(name)
        for name in data["stratum"].to_numpy()
    }


def _matrix(data: xr.Dataset, draws: xr.Dataset, stratum: str) -> Any:
    here = exact_counts(data).sel(stratum=stratum, drop=True).reset_coords(drop=True)
    known = float(here.sum())
    size = here.sizes["her2_primary"]
    observed = here / known if known else xr.full_like(here, 1 / size, dtype=np.float64)
    rows: Mapping[str, Any] = {
        "transition": draws["transition"].sel(stratum=stratum, drop=True),
        "observed": observed,
    }
    return SimpleNamespace(**rows)

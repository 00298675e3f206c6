"""Conclusions on the change of HER2 class in a cohort of patients with paired readings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr

from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.patients.aggregate import transition_counts
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.inference.fit import Specification
from her2bayes.sensitivity.target import DATA, PRIOR, READING, Axis, Scenario, Target
from her2bayes.transition import assay, assay_error, her2_transition
from her2bayes.transition import sensitivity as paper
from her2bayes.transition.assay_error import has_prior, known_assay
from her2bayes.transition.cohort import ALL, level_rows, pairs_of
from her2bayes.transition.draws import draws as drawn_of

if TYPE_CHECKING:
    from her2bayes.evidence.patients.cohort import Cohort
    from her2bayes.inference.sampling import Sampling
    from her2bayes.transition.cohort import Pairs

READ, OUT, DEFINED = "partial readings", "left out", "definition"
KNOWLEDGE, TOGETHER = "knowledge of the assay", "errors made together"
ALL_READINGS, AS_MAPPED = "all readings", "as mapped"
MOST_LEVELS = 8


@dataclass(frozen=True)
class _Source:
    """Counts of pairs of a cohort, or of a fit: of all, by one factor, and with scores settled."""

    id: str
    classes: tuple[str, ...]
    factors: Mapping[str, Sequence[str]]
    counts: Callable[[tuple[str, ...]], xr.Dataset]
    scenarios: Callable[[], Mapping[str, xr.Dataset]]


def targets(
    cohort: Cohort,
    conclusions: Sequence[Conclusion],
    definitions: Mapping[str, Cohort] | None = None,
) -> list[Target]:
    """One target for all patients, one for each factor asked for; ``BadInput`` for the rest.

    Conclusions on true classes have a target of their own, that of the model of the assay.
    ``definitions``: the same patients under other definitions of classes or factors.
    """
    of = _Source(
        cohort.id, tuple(cohort.categories), cohort.factors,
        lambda names: transition_counts(cohort, names), lambda: pairs_of(cohort).scenarios,
    )  # fmt: skip
    return _targets(of, conclusions, definitions or {})


def targets_of_pairs(pairs: Pairs, conclusions: Sequence[Conclusion]) -> list[Target]:
    """The same of counts as they were fitted, by the factors they were fitted by."""
    levels = {name: [str(x) for x in data[name].values] for name, data in pairs.alone.items()}
    of = _Source(
        pairs.id or pairs.title, pairs.classes, levels,
        lambda names: pairs.alone[names[0]] if names else pairs.overall,
        lambda: pairs.scenarios,
    )  # fmt: skip
    return _targets(of, conclusions, {})


def _targets(
    of: _Source, conclusions: Sequence[Conclusion], definitions: Mapping[str, Cohort]
) -> list[Target]:
    found: dict[tuple[tuple[str, ...], bool], list[Conclusion]] = {}
    faults = []
    for conclusion in conclusions:
        names = paper.factors_of(conclusion.estimand)
        true = conclusion.estimand.kind == "true_discordance"
        readable = not true or (names == () and has_prior(of.classes))
        known = names is not None and len(names) < 2 and set(names) <= set(of.factors)
        if names is None or not known or not readable:
            allowed = ", ".join(_available(of.factors))
            problem = "pairs of readings do not answer the conclusion"
            faults.append(Fault(problem, None, None, conclusion.id, str(conclusion), allowed))
        else:
            found.setdefault((names, true), []).append(conclusion)
    raise_if(faults)
    return [
        _target(of, names, tuple(asked), definitions, true)
        for (names, true), asked in found.items()
    ]


def available(cohort: Cohort) -> Iterator[str]:
    """What pairs of readings answer, in words."""
    yield from _available(cohort.factors)


def _available(factors: Iterable[str]) -> Iterator[str]:
    yield from ("discordance[]", "transition[a -> b]", "gain[...]", "loss[...]")
    yield "flow_difference[a -> b]"
    for name in factors:
        yield f"discordance[| {name}=...]"
        yield f"discordance_difference[; {name}: a vs b]"


def _target(
    of: _Source,
    factors: tuple[str, ...],
    asked: tuple[Conclusion, ...],
    definitions: Mapping[str, Cohort],
    true: bool,
) -> Target:
    overall = of.counts(factors)
    counted = {name: transition_counts(other, factors) for name, other in definitions.items()}
    defined = {name: counts for name, counts in counted.items() if not counts.equals(overall)}
    read = {ALL_READINGS: overall}
    if not factors:
        for name, part in of.scenarios().items():
            if name != ALL and not part.equals(overall):
                read[name] = part
    out = {} if factors else _without(of, overall)
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
    axes += _assay_axes(of.classes, true)
    name = f"change of HER2 status by {factors[0]}" if factors else "change of HER2 status"
    name = "change of the true HER2 class" if true else name
    data = {"read": read, "out": out, "defined": defined, "classes": of.classes, "true": true}
    return Target("pairs", f"{of.id}: {name}", asked, tuple(axes), data)


def _assay_axes(classes: tuple[str, ...], true: bool) -> Iterator[Axis]:
    """Axes of what is believed of the assay, where its prior covers the classes."""
    if true:
        meaning = "readings' worth of knowledge of the assay, times the default"
        yield Axis(KNOWLEDGE, READING, 1.0, (0.25, 4.0), meaning)
        yield Axis(TOGETHER, READING, 0.0, (0.5,), "share of pairs whose errors are made together")
    elif has_prior(classes):
        meaning = "error rates of an assay taken as known, times the default"
        yield Axis(paper.ASSAY, READING, 0.0, (0.25, 0.5, 0.75, 1.0), meaning)


def _without(of: _Source, overall: xr.Dataset) -> dict[str, xr.Dataset]:
    """Counts without the patients of one level, for factors of a few levels."""
    found = {}
    for factor, levels in of.factors.items():
        if not 1 < len(levels) <= MOST_LEVELS:
            continue
        counts = of.counts((factor,))
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
    data, scale = scenario_data(target, of), float(of.get(paper.ASSAY, 0.0))
    build: Callable[..., Any] = her2_transition.build
    priors, options = paper.row_prior_values(of), dict[str, Any]()
    if target.data["true"]:
        believed = assay_error.Scenario(
            "", float(of.get(KNOWLEDGE, 1.0)), float(of.get(TOGETHER, 0.0))
        )
        data, options = assay_error.described(data, believed)
    elif scale:
        data = data.assign(misclassification=known_assay(target.data["classes"], scale))
    if target.data["true"] or scale:
        build = assay.build
    return Specification(build, data, priors, options, ("centre", "deviation_sd", "primary_share"))


def sampling_of(target: Target, sampling: Sampling) -> Sampling:
    """Longer chains of small steps where the assay is learned."""
    return assay_error.longer(sampling) if target.data["true"] else sampling


def quantities(target: Target, of: Scenario, draws: xr.Dataset) -> dict[str, xr.DataArray]:
    """Draws (chain, draw) of each estimand."""
    new = target.data["true"] or float(of.get(paper.ASSAY, 0.0)) > 0
    by = level_rows(draws, scenario_data(target, of))
    found = drawn_of(by, [c.estimand for c in target.conclusions], new_cohort=new)
    return {str(asked): values for asked, values in found.items()}

"""A rate by itself: one binomial with a beta prior, in closed form, beside the model of the page.

    responders ~ Binomial(patients, rate),   rate ~ Beta(m/2, m/2)       m prior patients

Where the study quotes the same rate of other studies with their patients, these can count with a
weight: of each patient (power prior), or of the informed part of a robust prior (MAP). Below, the
counts of the page's models of rates with a few outcomes misclassified.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy import stats

from her2bayes.estimand import Estimand
from her2bayes.inference.convergence import Diagnostics
from her2bayes.rates import borrowing as priors
from her2bayes.rates.borrowed_rates import outside_of
from her2bayes.rates.borrowing import Outside
from her2bayes.rates.cohort_shares import binomials
from her2bayes.rates.draws import rate_row
from her2bayes.rates.rate_exact import Rate
from her2bayes.sensitivity.scenarios import DATA, PRIOR, READING, STRUCTURE, Axis, Scenario
from her2bayes.sensitivity.target import EXACT, Drawn, Target, independent

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Sampling

POWER, ROBUST, STUDY = "borrowing weight", "robust prior weight", "external study left out"
WEIGHTS = (0.1, 0.25, 0.5, 0.75, 1.0)

ALONE, ROW = "binomial alone with prior patients", "printed row"
MOVED = "outcome misclassified"
CLOSED = (ALONE, ROW, POWER, ROBUST, STUDY)
"""Axes that put a binomial of its own in the place of the page's model."""
PRIOR_PATIENTS = 2.0  # Beta(1, 1), where the page has a binomial too


def outside(study: Study, estimand: Estimand) -> Outside | None:
    """Responders and patients of other studies for a rate of all patients, where quoted."""
    if estimand.kind != "response_rate" or estimand.given:
        return None
    found = outside_of(study, estimand.outcome)
    return found[0] if found else None


def borrowed_axes(outside: Outside | None) -> tuple[Axis, ...]:
    """Weights of the patients elsewhere, and each of several studies left out."""
    if outside is None:
        return ()
    y, n = outside.total
    found = [
        Axis(POWER, PRIOR, 0.0, WEIGHTS, f"weight of each of {n} patients elsewhere, {y} with the "
             "outcome (power prior)"),
        Axis(ROBUST, PRIOR, 0.0, WEIGHTS, "weight of the informed part of a robust prior (MAP)"),
    ]  # fmt: skip
    if len(outside.patients) > 1:
        left = tuple(f"number {k}, {count} patients" for k, count in enumerate(outside.patients, 1))
        meaning = "of the other studies with weight 1; the others are pooled"
        found.append(Axis(STUDY, DATA, "no pooling", left, meaning))
    return tuple(found)


def borrowed(outside: Outside | None, of: Scenario, patients: int, half: float) -> Rate | None:
    """Prior of the rate that a scenario borrows, None where it borrows nothing.

    ``half`` is half the patients that the own prior weighs. Both weights at once: the informed
    part is that of the discounted patients.
    """
    power, robust = float(of.get(POWER, 0.0)), float(of.get(ROBUST, 0.0))
    left = str(of.get(STUDY, ""))
    if outside is None or not (power or robust or left):
        return None
    if left:
        out = int(left.split()[1].rstrip(",")) - 1
        pairs = [p for k, p in enumerate(zip(outside.responders, outside.patients, strict=True))
                 if k != out]  # fmt: skip
        outside = Outside(*(tuple(part) for part in zip(*pairs, strict=True)))
    places = priors.places(patients, outside.total[1])
    own = (half, half)
    if robust and not power:
        informed = priors.predictive(outside, places)
    else:
        informed = priors.power(outside, power or 1.0, places, own)
    return priors.robust(informed, robust, priors.none(places, own)) if robust else informed


def axes(
    rows: Mapping[str, Mapping[str, tuple[int, int]]], alone: bool, outside: Outside | None
) -> Iterator[Axis]:
    """Axes of a rate, or of a difference, whatever its model; ``alone``: the page has a binomial.

    ``rows`` holds printed counts by level and claim.
    """
    base = PRIOR_PATIENTS if alone else 0.0
    values = tuple(v for v in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0) if v != base)
    meaning = "patients the prior of one binomial weighs, at 1/2"
    yield Axis(ALONE, STRUCTURE, base, values,
               meaning if alone else f"{meaning}; 0: the model of the page")  # fmt: skip
    yield moved()
    first = tuple(next(iter(rows.values()), {}))
    if len(first) > 1:
        yield Axis(ROW, READING, first[0], first[1:], "printed row of the ledger")
    yield from borrowed_axes(outside)


def moved() -> Axis:
    """A few outcomes misclassified."""
    meaning = "patients more (or fewer) with the outcome; of a difference, in its first group"
    return Axis(MOVED, DATA, 0.0, (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0), meaning)


def drawn(target: Target, of: Scenario, sampling: Sampling) -> Drawn:
    """Draw from the closed-form posterior and prior of a scenario."""
    rng = np.random.default_rng([sampling.seed, 7])
    size = sampling.chains * sampling.draws
    rows = target.data["rows"]
    shifts = [int(of.get(MOVED, 0.0)), *[0] * (len(rows) - 1)]
    pairs = [
        _rate(counts, of, shift, rng, size, target.data.get("outside"))
        for counts, shift in zip(rows.values(), shifts, strict=True)
    ]
    posterior, prior = pairs[0]
    if len(pairs) == 2:
        posterior, prior = (one - other for one, other in zip(*pairs, strict=True))
    text = str(target.conclusions[0].estimand)
    draws = {text: (independent(posterior, sampling.chains), independent(prior, sampling.chains))}
    run = Diagnostics(sampling.chains, sampling.draws, 0, np.inf)
    return Drawn("closed form", EXACT, draws, run)


def exact(target: Target, sampling: Sampling) -> dict[str, dict[str, float]]:
    """Numbers of one rate under Beta(1, 1), by conclusion: the row of the page."""
    (counts,) = target.data["rows"].values()
    cell = next(iter(counts.values()))
    found = {}
    for conclusion in target.conclusions:
        part = binomials({conclusion.estimand: cell}, sampling)
        limit, above = conclusion.number, conclusion.relation == ">"
        row = rate_row(
            part,
            conclusion.estimand,
            above=limit if above else None,
            below=None if above else limit,
        )
        names = ("median", "lower", "upper", "probability")
        found[conclusion.id] = {name: row[f"posterior_{name}"] for name in names}
        found[conclusion.id]["prior_probability"] = row["prior_probability"]
    return found


def _rate(
    rows: Mapping[str, tuple[int, int]],
    of: Scenario,
    shift: int,
    rng: np.random.Generator,
    size: int,
    outside: Outside | None,
) -> tuple[Any, Any]:
    count, patients = rows[str(of.get(ROW, next(iter(rows))))]
    count = min(patients, max(0, count + shift))
    half = (float(of.get(ALONE, 0.0)) or PRIOR_PATIENTS) / 2
    uniform = (np.arange(size) + 0.5) / size
    if prior := borrowed(outside, of, patients, half):
        places = [rng.permutation(uniform) for _ in range(2)]
        return prior.updated(count, patients).ppf(places[0]), prior.ppf(places[1])
    after = stats.beta(half + count, half + patients - count).ppf(rng.permutation(uniform))
    return after, stats.beta(half, half).ppf(rng.permutation(uniform))


def best(target: Target, of: Scenario, counts: xr.DataArray) -> xr.DataArray:
    """Patients moved over the border of the group, of a difference in its first level."""
    moved = int(of.get(MOVED, 0.0))
    categories = [str(c) for c in counts["category"].to_numpy()]
    inside = [c in target.data["members"] for c in categories]
    last = max(k for k, member in enumerate(inside) if member)
    after = [k for k in range(last, len(inside)) if not inside[k]]
    border = after[0] if after else max(k for k, member in enumerate(inside) if not member)
    source, to = (border, last) if moved > 0 else (last, border)
    row = _place(target, counts)
    values = counts.to_numpy().copy()
    number = min(abs(moved), int(values[row, source]))
    values[row, source] -= number
    values[row, to] += number
    return counts.copy(data=values)


def _place(target: Target, counts: xr.DataArray | xr.Dataset) -> int:
    """Row of the (first) level asked about; the only one of all patients."""
    asked = target.conclusions[0].estimand
    named = asked.contrast.a if asked.contrast else next((v for _, v in asked.given), "")
    return [str(v) for v in counts["level"].to_numpy()].index(named) if named else 0


def level(target: Target, of: Scenario) -> xr.Dataset:
    """Responders of the (first) level asked about."""
    counts: xr.Dataset = target.data["counts"]
    values, row = counts["responders"].to_numpy().copy(), _place(target, counts)
    patients = int(counts["patients"].to_numpy()[row])
    values[row] = np.clip(values[row] + int(of.get(MOVED, 0.0)), 0, patients)
    return counts.assign(responders=counts["responders"].copy(data=values))


def event(target: Target, of: Scenario) -> xr.Dataset:
    """Patients with the event asked about, at its severity; the other severity keeps its own."""
    counts: xr.Dataset = target.data["counts"]
    row = [str(v) for v in counts["event"].to_numpy()].index(target.conclusions[0].estimand.outcome)
    severe = target.data["members"] == ("severe",)
    name, low, high = ("severe", "", "any") if severe else ("any", "severe", "patients")
    least = int(counts[low].to_numpy()[row]) if low else 0
    values = counts[name].to_numpy().copy()
    most = int(counts[high].to_numpy()[row])
    values[row] = np.clip(values[row] + int(of.get(MOVED, 0.0)), least, most)
    changed = counts.assign({name: counts[name].copy(data=values)})
    if name == "any":
        graded = counts["severe_known"].to_numpy() & ~counts["by_definition"].to_numpy()
        changed = changed.assign(severe_of=("event", np.where(graded, values, 0)))
    return changed

"""Weight of other studies' patients as a choice of a printed rate: power prior and robust prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

from her2bayes.estimand import Estimand
from her2bayes.rates import borrowing as priors
from her2bayes.rates.borrowed_rates import outside_of
from her2bayes.rates.borrowing import Outside
from her2bayes.rates.lattice import Rate
from her2bayes.sensitivity.scenarios import DATA, PRIOR, Axis, Scenario

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study

POWER, ROBUST, STUDY = "borrowing weight", "robust prior weight", "external study left out"
WEIGHTS = (0.1, 0.25, 0.5, 0.75, 1.0)


def outside(study: Study, estimand: Estimand) -> Outside | None:
    """Responders and patients of other studies for a rate of all patients, where quoted."""
    if estimand.kind != "response_rate" or estimand.given:
        return None
    found = outside_of(study, estimand.outcome)
    return found[0] if found else None


def axes(outside: Outside | None) -> tuple[Axis, ...]:
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


def prior(outside: Outside | None, of: Scenario, patients: int, half: float) -> Rate | None:
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

"""What other studies say of a response rate, under every choice of borrowing, and of conversion.

Only external numbers that carry their own weight are used: responders of patients. A median without
interval or number of events says nothing of its precision; it is shown and refused with the reason.
No single choice is recommended: the weight of a robust prior is a judgement, and the whole range of
weights is reported.

HER2 conversion in a cohort chosen for being HER2-low stands beside what printed transitions
predict. Patients of such a cohort are those whose last sample is low, so that the share converted
from zero is the probability of a zero primary given a low recurrence: a column of the transition
table, not a row. With zero->low and low->low counts z and l of another study (patients positive at
the primary left out, as such a cohort has none) that share has a Beta(1 + z, 1 + l) posterior, and
the number among n new patients is beta-binomial. Selection by site, therapy and assay may differ:
the prediction judges whether the two studies look alike, not which is right.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Estimand, parse
from her2bayes.inference.fit import ExactFit
from her2bayes.rates import borrowing as priors
from her2bayes.rates.borrowing import Outside, performance
from her2bayes.rates.draws import POSTERIOR, Drawn, Part, of_distributions, rate_row
from her2bayes.rates.rate_exact import Rate, effective_sample_size

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Sampling

READING = "borrowing_"
WEIGHTS = np.linspace(0, 1, 41)
SHOWN_WEIGHTS = (0.2, 0.5, 0.8)
SHOWN_DISCOUNTS = (0.25, 0.5)
DISTANCES = (-0.2, -0.1, 0.0, 0.1, 0.2)


@dataclass(frozen=True)
class Choice:
    """One prior from outside data and what it does to the answer."""

    name: str
    label: str
    prior: Rate
    posterior: Rate
    patients_worth: float
    conflict: float
    learned: str = ""


@dataclass(frozen=True)
class Refused:
    """An external number that cannot be borrowed, and why."""

    quantity: str
    printed: str
    source: str
    reason: str


@dataclass(frozen=True)
class Borrowing:
    """A rate under every choice.

    ``threshold`` is the rate the probability of which is traced over the weight in ``tipping``;
    ``table`` holds operating characteristics by choice and true rate (fractions).
    """

    group: str
    outside: Outside
    source: str
    responders: int
    patients: int
    choices: tuple[Choice, ...]
    threshold: float
    tipping: Mapping[str, np.ndarray]
    table: pd.DataFrame
    fit: ExactFit


def outside_of(study: Study, group: str) -> tuple[Outside, str] | None:
    """External responders of the same group of responses among ``study.external``, with source."""
    found = []
    for row in study.external.to_dict("records"):
        asked = _estimand(row)
        if asked and asked.kind == "response_rate" and asked.outcome == group and not asked.given:
            counts = _counts(row)
            if counts:
                found.append((*counts, str(row["population"] or row["source"])))
    if not found:
        return None
    responders, patients, names = zip(*found, strict=True)
    return Outside(responders, patients), "; ".join(dict.fromkeys(names))


def _counts(row: Mapping[Hashable, Any]) -> tuple[int, int] | None:
    """Responders and patients of a printed percentage; None where more than one count fits."""
    patients = row["denominator"]
    if _missing(patients):
        return None
    if not _missing(row["numerator"]):
        return int(row["numerator"]), int(patients)
    half = 0.5 * 10.0 ** -int(0 if _missing(row["decimals"]) else row["decimals"])
    shares = 100 * np.arange(int(patients) + 1) / int(patients)
    fits = np.flatnonzero(np.abs(shares - row["value_number"]) <= half + 1e-9)
    return (int(fits[0]), int(patients)) if len(fits) == 1 else None


def refusals(study: Study) -> tuple[Refused, ...]:
    """External medians and rates that carry no weight of their own."""
    found = []
    for row in study.external.to_dict("records"):
        asked = _estimand(row)
        if asked is None or asked.kind not in {"median", "response_rate"}:
            continue
        reason = _reason(asked, row)
        if reason:
            where = ", ".join(f"{k} {v}" for k, v in asked.given)
            quantity = f"{asked.kind.replace('_', ' ')} {asked.outcome}" + (
                f", {where}" * bool(where)
            )
            found.append(Refused(quantity, str(row["text"]), str(row["population"]), reason))
    return tuple(found)


def _reason(asked: Estimand, row: Mapping[Hashable, Any]) -> str:
    if asked.kind == "response_rate":
        return "" if _counts(row) else "no number of patients: its precision is unknown"
    if not _missing(row["lower_number"]) and not _missing(row["upper_number"]):
        return "a median is borrowed through survival curves or events, which are not printed"
    return (
        "a median without interval or number of events: nothing says how precise it is, so it "
        "has no weight"
    )


def _estimand(row: Mapping[Hashable, Any]) -> Estimand | None:
    return parse(row["estimand"]) if row["estimand"] else None


def _missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value)) or value == ""


def borrow(
    group: str,
    cell: tuple[int, int],
    outside: Outside,
    source: str,
    *,
    threshold: float | None = None,
    weights: tuple[float, ...] = SHOWN_WEIGHTS,
) -> Borrowing:
    """Analyse ``cell``, responders and patients, under every choice.

    ``threshold`` (default: the outside rate, which the new patients may or may not reach) is a
    fraction. ``weights`` are those of the informative part of the robust priors shown.
    """
    responders, patients = cell
    if not 0 <= responders <= patients or patients < 1:
        raise BadInput(Fault("more responders than patients", value=cell))
    y, n = outside.total
    threshold = y / n if threshold is None else threshold
    places = priors.places(patients, n)
    vague = priors.none(places)
    informative = priors.predictive(outside, places)
    learned = priors.normalised_power(outside, places)
    mean_discount = learned.discount_mean(responders, patients)
    built = [("none", "none", vague, "")]
    for weight in weights:
        after = priors.weight_after(informative, weight, vague, responders, patients)
        built.append(
            (f"robust_map_{weight:g}", f"robust MAP, weight {weight:g}",
             priors.robust(informative, weight, vague), f"weight after the data {after:.2f}")
        )  # fmt: skip
    built.append(("map", "MAP", informative, ""))
    built += [
        ("commensurate", "commensurate", priors.commensurate(outside, places), ""),
        ("normalised_power", "normalised power", learned.prior,
         f"discount after the data {mean_discount:.2f}"),
    ]  # fmt: skip
    built += [
        (f"power_{d:g}", f"power, discount {d:g}", priors.power(outside, d, places), "")
        for d in SHOWN_DISCOUNTS
    ]
    built.append(("full", "full (pooled)", priors.full(outside, places), ""))
    choices = tuple(
        Choice(
            name,
            label,
            prior,
            prior.updated(responders, patients),
            effective_sample_size(prior),
            priors.conflict(prior, responders, patients),
            words,
        )
        for name, label, prior, words in built
    )
    traced = priors.tipping(informative, vague, responders, patients, threshold, WEIGHTS)
    inputs = {
        "inside": (responders, patients),
        "outside": (outside.responders, outside.patients),
        "hyper": priors.MAP,
        "commensurate": priors.COMMENSURATE_SPREAD,
        "weights": weights,
    }
    return Borrowing(group, outside, source, responders, patients, choices, threshold, traced,
                     operating_characteristics(choices, patients, y / n),
                     ExactFit("borrowing", inputs))  # fmt: skip


def operating_characteristics(
    choices: tuple[Choice, ...], patients: int, outside_rate: float
) -> pd.DataFrame:
    """Every choice over repeated trials of ``patients``, from agreement to conflict with outside.

    Rows by choice and by the true rate's distance from the outside rate; columns ``claims`` (share
    of trials that claim, with 97.5 % certainty, a rate above the true one: the type-I error at the
    edge of the null hypothesis, nominally 2.5 %), bias, rmse, coverage and width.
    """
    import pandas as pd

    distances = [d for d in DISTANCES if 0.02 < outside_rate + d < 0.98]
    tables = []
    for choice in choices:
        found = performance(choice.prior, patients, [outside_rate + d for d in distances])
        tables.append(pd.DataFrame({"choice": choice.label, "distance": distances, **found}))
    return pd.concat(tables, ignore_index=True)


def part(borrowing: Borrowing, choice: Choice, sampling: Sampling) -> Part:
    """Rate under one choice, with a reading of its own."""
    asked = Estimand("response_rate", borrowing.group)
    pair = choice.posterior, choice.prior

    def made(group: str) -> Drawn:
        return of_distributions({asked: pair[group != POSTERIOR]}, sampling, group)

    reading = f"{READING}{choice.name}"
    return Part(borrowing.fit, (asked,), made, {asked: pair}, reading=reading)


def rows(borrowing: Borrowing, sampling: Sampling) -> Iterator[dict[str, Any]]:
    """Estimates by choice: the rate, and the probability that it is below the threshold."""
    limit = borrowing.threshold
    y, n = borrowing.outside.total
    for choice in borrowing.choices:
        note = (
            f"{choice.label}: {y} of {n} outside ({borrowing.source}); P(rate < {100 * limit:.3g} "
            f"%); prior effective sample size {choice.patients_worth:.0f} patients"
        )
        one = part(borrowing, choice, sampling)
        said = "; ".join(text for text in (note, choice.learned) if text)
        yield rate_row(one, one.asked[0], below=limit, note=said)


_ZERO, _LOW = "zero->low", "low->low"


@dataclass(frozen=True)
class Prediction:
    """Converted patients seen and predicted (95 % interval of the number)."""

    source: str
    converted: int
    patients: int
    from_zero: int
    from_low: int
    expected: float
    lower: int
    upper: int
    tail: float


def predict(
    converted: int, patients: int, from_zero: int, from_low: int, source: str
) -> Prediction:
    """Beta-binomial prediction of the number converted; ``tail`` is its two-sided probability."""
    law = stats.betabinom(patients, 1 + from_zero, 1 + from_low)
    counts = np.arange(patients + 1)
    chance = law.pmf(counts)
    tail = float(chance[chance <= law.pmf(converted) * (1 + 1e-9)].sum())
    return Prediction(
        source, converted, patients, from_zero, from_low, float(law.mean()),
        int(law.ppf(0.025)), int(law.ppf(0.975)), min(1.0, tail),
    )  # fmt: skip


def conversion(study: Study) -> tuple[Prediction, ...]:
    """Predictions for ``her2_origin=converted`` of ``study`` from shipped studies with pairs.

    Studies whose pairs are not of a primary tumour and its recurrence, and those whose printed
    pairs leave the two cells open, are passed over.
    """
    from her2bayes.evidence.printed.design import PAIRS, read_design
    from her2bayes.evidence.printed.study import load_study, published_folder

    row = study.ledger[study.ledger["estimand"] == "share[her2_origin=converted]"]
    row = row[row["numerator"].notna() & row["denominator"].notna()]
    if row.empty:
        return ()
    converted, patients = int(row["numerator"].iloc[0]), int(row["denominator"].iloc[0])
    found = []
    for folder in sorted(published_folder().iterdir()):
        if folder.resolve() == study.folder.resolve() or not (folder / "study.toml").exists():
            continue
        design, _ = read_design(folder)
        if design is None or design.meta.get("pairs") != PAIRS[0]:
            continue
        try:
            other = load_study(folder)
        except BadInput:
            continue  # another study's faults are told where that study is reported
        cells = _cells(other)
        if cells:
            found.append(predict(converted, patients, *cells, other.meta["citation"]))
    return tuple(found)


def _cells(study: Study) -> tuple[int, int] | None:
    """Zero->low and low->low of all patients, where both are printed.

    Of two printed numbers the one that fits the margin *->low is taken.
    """
    facts = study.transition_facts
    facts = facts[(facts["factor"] == "") & (facts["relation"] == "=")]
    values = {cell: sorted({int(v) for v in facts.loc[facts["cells"] == cell, "value"]})
              for cell in (_ZERO, _LOW, "positive->low", "*->low")}  # fmt: skip
    if not values[_ZERO] or not values[_LOW]:
        return None
    total, rest = values["*->low"], values["positive->low"]
    for zero in values[_ZERO]:
        for low in values[_LOW]:
            if total and rest and zero + low + rest[0] == total[0]:
                return zero, low
    return (
        None
        if len(values[_ZERO]) > 1 or len(values[_LOW]) > 1
        else (values[_ZERO][0], values[_LOW][0])
    )

"""Conclusions on rates of response and of adverse events: the models of the page, varied.

The reported analysis is the model of the page: ordered categories of best response for all
patients, robust exchangeability between the levels of a factor, nested severities of adverse
events, and one binomial for any event at all and for other shares of patients. One binomial of the
rate alone, with a beta prior and in closed form, is a choice beside the first three:

    responders ~ Binomial(patients, rate),   rate ~ Beta(m/2, m/2)       m prior patients

Where the study quotes the same rate of other studies with their patients, these can count with a
weight: of each patient (power prior), or of the informed part of a robust prior (MAP). The counts
of the page's models of rates can have a few outcomes misclassified.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from her2bayes.bayes.prior import prior
from her2bayes.estimand import Estimand
from her2bayes.evidence.printed.adverse_events import ANY, AdverseEvents, read_adverse_events
from her2bayes.evidence.printed.responses import read_responses
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.inference.convergence import Diagnostics
from her2bayes.inference.fit import Specification
from her2bayes.rates import adverse_events as events_model
from her2bayes.rates import best_response, borrowing, cohort_shares, events, responses
from her2bayes.rates import response as response_model
from her2bayes.rates.borrowed_rates import outside_of
from her2bayes.rates.borrowing import Outside
from her2bayes.rates.cohort_shares import binomials
from her2bayes.rates.draws import (
    POSTERIOR,
    combined,
    of_categories,
    of_events,
    of_levels,
    rate_row,
    rates,
)
from her2bayes.rates.draws import PRIOR as BEFORE
from her2bayes.rates.draws import Drawn as Rates
from her2bayes.rates.draws import drawn as of_parts
from her2bayes.rates.rate_exact import Rate
from her2bayes.rates.responses import Levels
from her2bayes.sensitivity.target import (
    BASE,
    DATA,
    EXACT,
    PRIOR,
    READING,
    STRUCTURE,
    Axis,
    Drawn,
    Scenario,
    Target,
    independent,
)

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store

POWER, ROBUST, STUDY = "borrowing weight", "robust prior weight", "external study left out"
WEIGHTS = (0.1, 0.25, 0.5, 0.75, 1.0)

ALONE, ROW = "binomial alone with prior patients", "printed row"
MOVED = "outcome misclassified"
CLOSED = (ALONE, ROW, POWER, ROBUST, STUDY)
"""Axes that put a binomial of its own in the place of the page's model."""
PRIOR_PATIENTS = 2.0  # Beta(1, 1), where the page has a binomial too


def quoted_outside(study: Study, estimand: Estimand) -> Outside | None:
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
    places = borrowing.places(patients, outside.total[1])
    own = (half, half)
    if robust and not power:
        informed = borrowing.predictive(outside, places)
    else:
        informed = borrowing.power(outside, power or 1.0, places, own)
    return borrowing.robust(informed, robust, borrowing.none(places, own)) if robust else informed


def binomial_axes(
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


def drawn_alone(target: Target, of: Scenario, sampling: Sampling) -> Drawn:
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


def moved_best(target: Target, of: Scenario, counts: xr.DataArray) -> xr.DataArray:
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


def moved_level(target: Target, of: Scenario) -> xr.Dataset:
    """Responders of the (first) level asked about."""
    counts: xr.Dataset = target.data["counts"]
    values, row = counts["responders"].to_numpy().copy(), _place(target, counts)
    patients = int(counts["patients"].to_numpy()[row])
    values[row] = np.clip(values[row] + int(of.get(MOVED, 0.0)), 0, patients)
    return counts.assign(responders=counts["responders"].copy(data=values))


def moved_event(target: Target, of: Scenario) -> xr.Dataset:
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


BEST, LEVELS, EVENTS, BINOMIAL = "ordered categories", "exchangeable levels", "events", "binomial"
LEVEL, SPREAD, POOLING, MODEL = (
    "prior scale of the typical rate",
    "prior scale of differences",
    "pooling",
    "model",
)
EXNEX = "exnex"
SCALES = (0.25, 0.5, 2.0, 4.0)
DIFFERENCES = ("response_rate_difference", "event_rate_difference")
KINDS = ("response_rate", "event_rate", "share", *DIFFERENCES)


@dataclass(frozen=True)
class _Page:
    """What the page models: ``model`` and its counts; ``fit_id`` where it is computed."""

    model: str
    counts: Any = None
    members: tuple[str, ...] = ()
    ordered: Any = None
    fit_id: str = ""
    note: str = ""


def targets(study: Study, conclusions: Sequence[Conclusion]) -> list[Target]:
    """One target for each rate or difference that printed counts answer."""
    by: dict[str, list[Conclusion]] = {}
    for conclusion in conclusions:
        if conclusion.estimand.kind in KINDS:
            by.setdefault(str(conclusion.estimand), []).append(conclusion)
    found = (_target(study, asked[0].estimand, tuple(asked)) for asked in by.values())
    return [target for target in found if target is not None]


def available(study: Study) -> Iterator[str]:
    """Rates with printed counts."""
    ledger = study.ledger
    counted = ledger["numerator"].notna() & ledger["denominator"].notna()
    rated = ledger["estimand"].str.startswith(("response_rate", "event_rate"))
    yield from dict.fromkeys(ledger.loc[counted & rated, "estimand"])


def _target(study: Study, estimand: Estimand, asked: tuple[Conclusion, ...]) -> Target | None:
    page = _page(study, estimand)
    rows = {"": _counts(study.ledger, estimand)}
    if estimand.kind in DIFFERENCES:
        rows = {part.given[-1][1]: _counts(study.ledger, part) for part in _parts(estimand)}
    printed = bool(rows) and all(rows.values())
    if page is None and not printed:
        return None
    page = page or _Page(BINOMIAL, note="the page has no posterior for it")
    if page.model == BINOMIAL and not printed:
        return None
    outside = quoted_outside(study, estimand) if printed else None
    data = {
        "model": page.model,
        "counts": page.counts,
        "members": page.members,
        "ordered": page.ordered,
        "fit_id": page.fit_id,
        "note": page.note,
        "estimand": str(estimand),
        "rows": rows if printed else {},
        "outside": outside,
    }
    axes = tuple(_axes(data, estimand))
    return Target("rates", f"rate: {estimand}", asked, axes, data, page.model == BINOMIAL)


def _parts(estimand: Estimand) -> list[Estimand]:
    """The two rates that a difference compares."""
    if estimand.contrast is None or not estimand.contrast.a:
        return []
    kind = estimand.kind.removesuffix("_difference")
    return [
        Estimand(kind, estimand.outcome, (*estimand.given, (estimand.contrast.factor, level)))
        for level in (estimand.contrast.a, estimand.contrast.b)
    ]


def _counts(ledger: pd.DataFrame, estimand: Estimand) -> dict[str, tuple[int, int]]:
    """Printed counts of a rate: distinct (numerator, denominator) by claim."""
    rows = ledger[
        (ledger["estimand"] == str(estimand))
        & ledger["numerator"].notna()
        & ledger["denominator"].notna()
    ]
    found: dict[str, tuple[int, int]] = {}
    for row in rows.to_dict("records"):
        pair = (int(row["numerator"]), int(row["denominator"]))
        if pair not in found.values():
            found[str(row["claim_id"])] = pair
    return found


def _page(study: Study, estimand: Estimand) -> _Page | None:
    """Model that answers an estimand on the page, None where there is none."""
    if estimand.kind == "share":
        return _share_page(study, estimand)
    if estimand.kind.startswith("event_rate"):
        return _events_page(study, estimand)
    printed = read_responses(study)
    if printed is None or len(estimand.given) > 1:
        return None
    members = tuple(printed.response.groups.get(estimand.outcome, ()))
    if not estimand.given and estimand.contrast is None:
        counts = printed.best.get("")
        return None if counts is None or not members else _Page(BEST, counts, members)
    factor = estimand.contrast.factor if estimand.contrast else estimand.given[0][0]
    table = printed.counts.get((estimand.outcome, factor))
    if table is None or not _named(estimand) <= set(map(str, table["level"].to_numpy())):
        return None
    if table.sizes["subgroup"] == 1:
        single = responses.alone(printed.counts)
        levels = {asked: cell for asked, cell in single.items() if asked.given}
        return _Page(BINOMIAL, fit_id=cohort_shares.fit_of(levels).fit_id)
    if table.sizes["subgroup"] > responses.MOST_SAMPLED:
        return None  # computed by quadrature on the page; single rates rest on their counts here
    return _Page(LEVELS, table, members, printed.best.get(factor))


def _share_page(study: Study, estimand: Estimand) -> _Page | None:
    """A category of best response, or any other share that one binomial answers."""
    shares = cohort_shares.printed_shares(study)
    if estimand in shares:
        return _Page(BINOMIAL, fit_id=cohort_shares.fit_of(shares).fit_id)
    printed = read_responses(study)
    factor, _, category = estimand.outcome.partition("=")
    if printed is None or factor != printed.response.name or estimand.given or estimand.contrast:
        return None
    counts = printed.best.get("")
    return None if counts is None else _Page(BEST, counts, (category,))


def _named(estimand: Estimand) -> set[str]:
    named = {level for _, level in estimand.given}
    return named | ({estimand.contrast.a, estimand.contrast.b} if estimand.contrast else set())


def _events_page(study: Study, estimand: Estimand) -> _Page | None:
    if study.adverse_events.empty or estimand.contrast or len(estimand.given) != 1:
        return None
    found = read_adverse_events(study.adverse_events, "adverse_events.csv")
    severity = dict(estimand.given).get("severity", "")
    if estimand.outcome == ANY:
        made = events.whole_fit(found)
        return _Page(BINOMIAL, fit_id=made.fit_id) if severity in found.whole else None
    first = severity == found.severities[0]
    event = estimand.outcome
    if severity not in found.severities or event not in found.names:
        return None
    if not first and not found.graded(event):
        return None
    # of an event that is severe by definition both severities are one rate
    one = first or event in found.by_definition
    return _Page(EVENTS, events.modelled(found), ("",) if one else ("severe",))


def _axes(data: Mapping[str, Any], estimand: Estimand) -> Iterator[Axis]:
    model = data["model"]
    if model != BINOMIAL:
        yield Axis(LEVEL, PRIOR, 1.0, SCALES, _SCALED[model])
    if model in (LEVELS, EVENTS):
        of = "levels" if model == LEVELS else "events and body systems"
        yield Axis(SPREAD, PRIOR, 1.0, SCALES, f"scale of the prior of how {of} differ, times")
    if model == LEVELS:
        others = tuple(name for name in response_model.POOLING if name != EXNEX)
        meaning = "exnex: each level exchangeable with probability 1/2; none: each on its own"
        yield Axis(POOLING, STRUCTURE, EXNEX, others, meaning)
        if data["ordered"] is not None and data["members"]:
            yield Axis(MODEL, STRUCTURE, LEVELS, (BEST,), "family of the model")
    if data["rows"]:
        yield from binomial_axes(data["rows"], model == BINOMIAL, data["outside"])
    elif model != BINOMIAL:
        yield moved()


_SCALED = {
    BEST: "Dirichlet prior of the categories, its concentration divided by",
    LEVELS: "scale of the prior of log odds, typical and of a level by itself, times",
    EVENTS: "scale of the prior of log odds of a typical event, times",
}


def baseline(target: Target, sampling: Sampling, store: Store | None) -> Drawn:
    """Analysis as the page reports it, from its own fits in ``store`` or computed as there."""
    from her2bayes.sensitivity.worker import of_fit

    data = target.data
    if data["model"] == BINOMIAL:
        found = drawn_alone(target, BASE, sampling)
        numbers = exact(target, sampling) if len(data["rows"]) == 1 else {}
        return replace(found, numbers=numbers, fit_id=data["fit_id"], reason=data["note"])
    spec = specification(target, BASE)
    assert spec is not None  # the page's model
    fitted = spec.fit(sampling, store, 1)
    found = of_fit(target, spec, fitted)
    if data["model"] != LEVELS:
        return found
    asked = target.conclusions[0].estimand
    group, factor = asked.outcome, str(data["counts"]["factor"].values[0])
    part = Levels(group, factor, data["counts"], fitted, spec.priors, sampling).part
    after, before = (of_parts([part], [asked], name)[asked] for name in (POSTERIOR, BEFORE))
    return replace(found, draws={str(asked): (after, before)})


def specification(target: Target, of: Scenario) -> Specification | None:
    """Model and data of a scenario; None where one binomial answers it."""
    data, changed = target.data, dict(of.changes)
    if data["model"] == BINOMIAL or any(name in changed for name in CLOSED):
        return None
    level, spread = float(of.get(LEVEL, 1.0)), float(of.get(SPREAD, 1.0))
    if data["model"] == BEST or of.get(MODEL, "") == BEST:
        priors = dict(best_response.DEFAULT_PRIORS)
        each = priors["baseline"]["concentration"]
        priors["baseline"] = prior("Dirichlet", concentration=each / level)
        priors["tau"] = priors["tau"].scaled(spread)
        counts = data["counts"] if data["model"] == BEST else data["ordered"]
        return Specification(
            best_response.build, moved_best(target, of, counts), priors, {}, ("baseline",)
        )
    if data["model"] == LEVELS:
        names = {"mu": level, "rate_alone": level, "tau": spread}
        priors = _scaled(response_model.DEFAULT_PRIORS, names)
        options = {"pooling": str(changed[POOLING])} if POOLING in changed else {}
        counts = moved_level(target, of)
        return Specification(response_model.build, counts, priors, options, ("mu", "tau"))
    names = {"mu": level, "tau_system": spread, "tau_event": spread}
    priors = _scaled(events_model.DEFAULT_PRIORS, names)
    return Specification(
        events_model.build, moved_event(target, of), priors, {}, ("mu", "tau_system", "tau_event")
    )


def _scaled(priors: Mapping[str, Any], factors: Mapping[str, float]) -> dict[str, Any]:
    return {name: p.scaled(factors.get(name, 1.0)) for name, p in priors.items()}


def drawn(target: Target, of: Scenario, sampling: Sampling) -> Drawn:
    """One binomial of the rate."""
    return drawn_alone(target, of, sampling)


def quantities(target: Target, of: Scenario, draws: xr.Dataset) -> dict[str, xr.DataArray]:
    """Draws (chain, draw) of the rate or difference."""
    asked = target.conclusions[0].estimand
    known = _rates(target, of, draws, asked)
    return {str(asked): combined(known, [asked], known.__getitem__)[asked]}


def _rates(target: Target, of: Scenario, draws: xr.Dataset, asked: Estimand) -> Rates:
    """Rates of the model of a scenario."""
    data, model = target.data, target.data["model"]
    if model == EVENTS:
        severity, second = asked.conditions["severity"], data["members"] == ("severe",)
        named = ("not asked", severity) if second else (severity,)
        counts = AdverseEvents(data["counts"], named, {})
        return of_events(draws, counts)
    if model == BEST or of.get(MODEL, "") == BEST:
        counts = data["counts"] if model == BEST else data["ordered"]
        factor = "" if model == BEST else str(data["counts"]["factor"].values[0])
        levels = map(str, counts["level"].values)
        given = [((factor, level),) if factor else () for level in levels]
        response = asked.outcome.partition("=")[0]
        return of_categories(draws["share"], response, {asked.outcome: data["members"]}, given)
    weight = None
    if draws.sizes["chain"] == 1:  # prior draws have seen no data
        pooling = str(of.get(POOLING, EXNEX))
        weight = response_model.exchangeable_weight(response_model.DEFAULT_PRIORS, pooling)
    return of_levels(rates(draws, 0, weight), asked.outcome, data["counts"])

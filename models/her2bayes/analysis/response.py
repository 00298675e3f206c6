"""Response of a study: best response, rates across subgroups, borrowing; counts in, estimates out.

Splits of the same patients by different factors are separate analyses: their counts are not
independent, so that they never share a likelihood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from her2bayes.analysis import borrowing as borrowed
from her2bayes.analysis.borrowing import Borrowing, Refused
from her2bayes.analysis.cohort_shares import (
    classical_share_rows,
    printed_shares,
    share_rows,
    shares_fit,
)
from her2bayes.analysis.conversion import Prediction, conversion
from her2bayes.analysis.exact_rows import ExactFit, exact_row
from her2bayes.analysis.response_classical import MOST_COMPARED, classical_rows, tests
from her2bayes.bayes import best_response
from her2bayes.bayes import response as model
from her2bayes.bayes.prior import Prior, complete
from her2bayes.bayes.rate_exact import Hierarchy, Hyper, hierarchical
from her2bayes.bayes.rate_lattice import Rate, beta, lattice
from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.responses import OTHERS, Responses, read_responses
from her2bayes.inference.fit import Fit, fit
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.posterior import contrasts
from her2bayes.posterior.estimates import estimate, estimates_table
from her2bayes.posterior.response import group_rate, rates

if TYPE_CHECKING:
    from her2bayes.evidence.study import Study

ORDERED = "ordered"
"""Reading of rates that follow from the model of all response categories."""

MOST_SAMPLED = 24
"""Levels up to which rates are sampled: beyond, quadrature gives the same posterior in seconds."""

CAREFUL = 0.98
"""Acceptance asked of the sampler: with two levels the spread between them is wide open."""


@dataclass(frozen=True)
class Analysis:
    """One group of responses by one factor: its counts, its fit, draws of the rates by level.

    ``exact`` holds the same posterior by quadrature under each pooling ("exnex", "exchangeable",
    "none"), which alone answers a factor with more than ``MOST_SAMPLED`` levels.
    """

    group: str
    factor: str
    counts: xr.Dataset
    fit: Fit | ExactFit
    posterior: xr.DataArray | None
    prior: xr.DataArray | None
    exact: Mapping[str, Hierarchy]
    prior_rate: Rate


@dataclass(frozen=True)
class Best:
    """Categories of best response by one factor (empty: all patients) and their fit."""

    factor: str
    counts: xr.DataArray
    fit: Fit


@dataclass(frozen=True)
class Result:
    """What the printed responses of a study give.

    ``groups`` maps a group of responses (orr) to its categories, ``labels`` factors to words.
    """

    study: str
    labels: Mapping[str, str]
    groups: Mapping[str, tuple[str, ...]]
    counts: Mapping[tuple[str, str], xr.Dataset]
    analyses: tuple[Analysis, ...]
    best: tuple[Best, ...]
    borrowings: tuple[Borrowing, ...]
    refused: tuple[Refused, ...]
    conversions: tuple[Prediction, ...]
    tests: tuple[Mapping[str, Any], ...]
    shares: ExactFit
    estimates: pd.DataFrame
    classical: pd.DataFrame


def applies(study: Study) -> bool:
    """Whether the study prints responses."""
    return read_responses(study) is not None


def run(
    study: Study,
    store: Store | None,
    sampling: Sampling,
    say: Callable[[str], None] = lambda _: None,
    *,
    priors: Mapping[str, Prior] | None = None,
) -> Result:
    """Fit every partition; estimate rates, differences, best response and every borrowing choice.

    ``priors`` are those of ``bayes.response``. Raises ``BadInput`` before the first draw for
    counts that do not fit together and for a prior the model does not know.
    """
    printed = read_responses(study)
    assert printed is not None  # ``applies`` says so
    complete(priors, model.DEFAULT_PRIORS, same_family=True)
    labels = {name: factor.label for name, factor in study.factors.items()}
    tables = {key: table for key, table in printed.counts.items() if key[1]}
    analyses = fit_rates(tables, store, sampling, say, labels=labels, priors=priors)
    best = fit_best(printed.best, store, sampling, say, labels)
    borrowings = tuple(_borrowings(study, printed))
    groups = {name: tuple(members) for name, members in printed.response.groups.items()}
    rows = [row for analysis in analyses for row in rate_rows(analysis, sampling.seed)]
    rows += [row for one in best for row in best_rows(one, printed.response.name, groups)]
    rows += [row for one in borrowings for row in borrowed.rows(one)]
    rows += list(share_rows(study))
    classical = [*classical_rows(printed.counts), *classical_share_rows(study)]
    return Result(
        study.id,
        labels,
        groups,
        printed.counts,
        analyses,
        best,
        borrowings,
        borrowed.refusals(study),
        conversion(study),
        tuple(tests(printed.counts, labels)),
        shares_fit(printed_shares(study)),
        estimates_table(rows),
        pd.DataFrame(classical),
    )


def run_counts(
    name: str,
    tables: Mapping[tuple[str, str], xr.Dataset],
    borrowings: Sequence[Borrowing],
    store: Store | None,
    sampling: Sampling,
    say: Callable[[str], None] = lambda _: None,
    *,
    priors: Mapping[str, Prior] | None = None,
) -> Result:
    """Analyse ResponseCounts of a user by (group of responses, factor), factor empty for all."""
    labels = {factor: factor for _, factor in tables}
    split = {key: table for key, table in tables.items() if key[1]}
    analyses = fit_rates(split, store, sampling, say, labels=labels, priors=priors)
    rows = [row for analysis in analyses for row in rate_rows(analysis, sampling.seed)]
    whole = {group: table for (group, factor), table in tables.items() if not factor}
    cells = {group: (int(t["responders"][0]), int(t["patients"][0])) for group, t in whole.items()}
    shares = shares_fit({f"response_rate[{group}]": cell for group, cell in cells.items()})
    rows += [rate_row(group, cell, shares) for group, cell in cells.items()]
    rows += [row for one in borrowings for row in borrowed.rows(one)]
    return Result(
        name,
        labels,
        {},
        tables,
        analyses,
        (),
        tuple(borrowings),
        (),
        (),
        tuple(tests(tables, labels)),
        shares,
        estimates_table(rows),
        pd.DataFrame(list(classical_rows(tables))),
    )


def rate_row(group: str, cell: tuple[int, int], shares: ExactFit) -> dict[str, Any]:
    """Rate of all patients: one binomial with a uniform prior."""
    count, patients = cell
    before = beta(1, 1, lattice(patients))
    note = f"{count} of {patients}; Beta(1, 1) prior"
    asked = Estimand("response_rate", group)
    return exact_row(asked, before.updated(count, patients), before, shares, note=note)


def fit_rates(
    tables: Mapping[tuple[str, str], xr.Dataset],
    store: Store | None,
    sampling: Sampling,
    say: Callable[[str], None],
    *,
    labels: Mapping[str, str],
    priors: Mapping[str, Prior] | None = None,
) -> tuple[Analysis, ...]:
    """Fit ResponseCounts by (group of responses, factor) with robust exchangeability."""
    careful = replace(sampling, target_accept=max(sampling.target_accept, CAREFUL))
    weight = model.exchangeable_weight(complete(priors, model.DEFAULT_PRIORS), "exnex")
    found = []
    for (group, factor), counts in tables.items():
        say(f"response rates: {group} by {labels.get(factor, factor)}")
        if counts.sizes["subgroup"] > MOST_SAMPLED:
            found.append(_computed(group, factor, counts, priors))
            continue
        done = fit(model.build, counts, priors=priors, sampling=careful, store=store)
        found.append(
            Analysis(
                group,
                factor,
                counts,
                done,
                rates(done.posterior, sampling.seed),
                rates(done.prior, sampling.seed + 1, weight),
                *_exact(counts, priors),
            )
        )
    return tuple(found)


def _computed(
    group: str, factor: str, counts: xr.Dataset, priors: Mapping[str, Prior] | None
) -> Analysis:
    model.design(counts)  # refuses impossible counts
    inputs = {
        "responders": counts["responders"].values.tolist(),
        "patients": counts["patients"].values.tolist(),
        **{name: str(value) for name, value in complete(priors, model.DEFAULT_PRIORS).items()},
    }
    done = ExactFit("rate_exact", inputs)
    return Analysis(group, factor, counts, done, None, None, *_exact(counts, priors))


def _exact(
    counts: xr.Dataset, priors: Mapping[str, Prior] | None
) -> tuple[dict[str, Hierarchy], Rate]:
    """Posterior by quadrature under each pooling, and the prior of a level under EXNEX."""
    known = complete(priors, model.DEFAULT_PRIORS)
    hyper = {
        pooling: Hyper(
            known["mu"]["mu"],
            known["mu"]["sigma"],
            known["tau"]["sigma"],
            model.exchangeable_weight(known, pooling),
            known["rate_alone"]["mu"],
            known["rate_alone"]["sigma"],
        )
        for pooling in model.POOLING
    }
    y, n = counts["responders"].values, counts["patients"].values
    found = {pooling: hierarchical(y, n, numbers) for pooling, numbers in hyper.items()}
    return found, hierarchical([0], [0], hyper["exnex"]).arms[0]


def fit_best(
    tables: Mapping[str, xr.DataArray],
    store: Store | None,
    sampling: Sampling,
    say: Callable[[str], None],
    labels: Mapping[str, str],
) -> tuple[Best, ...]:
    """Fit the ordered categories of best response, all patients and by factor."""
    found = []
    for factor, counts in tables.items():
        say(f"best response: {labels.get(factor, 'all patients')}")
        done = fit(best_response.build, counts, sampling=sampling, store=store)
        found.append(Best(factor, counts, done))
    return tuple(found)


def _borrowings(study: Study, printed: Responses) -> Iterator[Borrowing]:
    for (group, factor), counts in printed.counts.items():
        outside = None if factor else borrowed.outside_of(study, group)
        if outside:
            responders, patients = int(counts["responders"][0]), int(counts["patients"][0])
            yield borrowed.borrow(group, responders, patients, *outside)


def rate_rows(analysis: Analysis, seed: int) -> Iterator[dict[str, Any]]:
    """Rates by level and their differences."""
    if isinstance(analysis.fit, ExactFit):
        yield from _computed_rows(analysis, analysis.fit)
        return
    assert analysis.posterior is not None  # a sampled fit has draws
    assert analysis.prior is not None
    posterior, prior = (
        draws.rename(subgroup="level") for draws in (analysis.posterior, analysis.prior)
    )
    together = analysis.exact["exnex"].exchangeable
    for place, level in enumerate(map(str, posterior["level"].to_numpy())):
        asked = Estimand("response_rate", analysis.group, ((analysis.factor, level),))
        note = f"probability of being exchangeable {together[place]:.2f}"
        if level == OTHERS:
            note += "; counted by taking the printed levels from all patients"
        yield _row(asked, posterior.sel(level=level), prior.sel(level=level), analysis.fit, note)
    few = posterior.sizes["level"] <= MOST_COMPARED
    for a, b in contrasts.pairs(posterior, "level") if few else ():
        after, before = (contrasts.difference(d, "level", a, b) for d in (posterior, prior))
        contrast = Contrast(analysis.factor, a, b)
        asked = Estimand("response_rate_difference", analysis.group, contrast=contrast)
        yield _row(asked, after, before, analysis.fit, "P(difference > 0)", positive=True)


def _computed_rows(analysis: Analysis, done: ExactFit) -> Iterator[dict[str, Any]]:
    exact = analysis.exact["exnex"]
    before = analysis.prior_rate
    for place, level in enumerate(map(str, analysis.counts["level"].to_numpy())):
        asked = Estimand("response_rate", analysis.group, ((analysis.factor, level),))
        note = f"probability of being exchangeable {exact.exchangeable[place]:.2f}"
        yield exact_row(asked, exact.arms[place], before, done, note=note)


def best_rows(
    best: Best, response: str, groups: Mapping[str, tuple[str, ...]]
) -> Iterator[dict[str, Any]]:
    """Shares of the categories for all patients; rates of their groups everywhere."""
    after, before = best.fit.posterior["share"], best.fit.prior["share"]
    for place, level in enumerate(map(str, best.counts["level"].to_numpy())):
        one, other = (d.isel(subgroup=place, drop=True) for d in (after, before))
        given = ((best.factor, level),) if best.factor else ()
        reading = ORDERED if best.factor else ""
        for category in map(str, one["category"].to_numpy() if not best.factor else ()):
            asked = Estimand("share", f"{response}={category}")
            yield _row(asked, one.sel(category=category), other.sel(category=category), best.fit)
        for group, members in groups.items():
            asked = Estimand("response_rate", group, given)
            rate, rate_before = (group_rate(d, members) for d in (one, other))
            yield _row(asked, rate, rate_before, best.fit, reading=reading)


def _row(
    asked: Estimand,
    posterior: xr.DataArray,
    prior: xr.DataArray,
    result: Fit,
    note: str = "",
    *,
    positive: bool = False,
    reading: str = "",
) -> dict[str, Any]:
    def bare(draws: xr.DataArray) -> xr.DataArray:
        return draws.drop_vars([n for n in draws.coords if n not in ("chain", "draw")])

    event = (lambda draws: draws > 0) if positive else None
    return estimate(
        asked, bare(posterior), bare(prior), result, event=event, note=note, reading=reading
    )

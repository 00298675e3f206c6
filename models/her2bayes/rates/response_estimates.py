"""Response of a study: best response, rates across subgroups, borrowing; counts in, estimates out.

Splits of the same patients by different factors are separate analyses: their counts are not
independent, so that they never share a likelihood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior, complete
from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Estimand
from her2bayes.evidence.printed.responses import Responses, Rest, is_unknown, read_responses
from her2bayes.inference.estimates import estimates_table
from her2bayes.inference.fit import ExactFit, Fit, fit
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.rates import best_response
from her2bayes.rates import borrowed_rates as borrowed
from her2bayes.rates import response as model
from her2bayes.rates.borrowed_rates import Borrowing, Refused
from her2bayes.rates.classical import classical_rows, tests
from her2bayes.rates.cohort_shares import (
    classical_share_rows,
    printed_shares,
    share_rows,
    shares_fit,
)
from her2bayes.rates.conversion import Prediction, conversion
from her2bayes.rates.response_rates import Analysis, estimated, fit_rates, group_rate, rate_rows

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study

ORDERED = "ordered"
"""Reading of rates that follow from the model of all response categories."""


@dataclass(frozen=True)
class Best:
    """Categories of best response by one factor (empty: all patients) and their fit."""

    factor: str
    counts: xr.DataArray
    fit: Fit


@dataclass(frozen=True)
class Result:
    """What the printed responses of a study give.

    ``groups`` maps a group of responses (orr) to its categories, ``labels`` factors to words;
    ``shares`` name the binomials behind single shares and rates; ``rests`` are patients that the
    counts of a factor leave out, by (group, factor).
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
    shares: tuple[ExactFit, ...]
    estimates: pd.DataFrame
    classical: pd.DataFrame
    rests: Mapping[tuple[str, str], Rest]


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
    analyses = fit_rates(
        compared(printed.counts), store, sampling, say, labels=labels, priors=priors
    )
    best = fit_best(printed.best, store, sampling, say, labels)
    borrowings = tuple(_borrowings(study, printed))
    groups = {name: tuple(members) for name, members in printed.response.groups.items()}
    rows = [row for analysis in analyses for row in rate_rows(analysis, sampling.seed)]
    rows += [row for one in best for row in best_rows(one, printed.response.name, groups)]
    rows += [row for one in borrowings for row in borrowed.rows(one)]
    answered = {str(row["estimand"]) for row in rows}
    levels = levels_alone(printed.counts)
    left = {k: v for k, v in alone(printed.counts).items() if str(k) not in answered}
    whole = {k: v for k, v in left.items() if k not in levels}
    # apart, so that the name of one fit does not depend on what else is printed
    binomials = [shares for shares in (printed_shares(study), levels, whole) if shares]
    rows += [row for shares in binomials for row in share_rows(shares)]
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
        tuple(map(shares_fit, binomials)),
        estimates_table(rows),
        pd.DataFrame(classical),
        printed.rests,
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
    """Analyse ResponseCounts of a user by (group of responses, factor), factor empty for all.

    A level named unknown or the like is no level to be compared: its patients are left out.
    """
    rests, tables = left_out(tables), known(tables)
    if not tables:
        remedy = "add a group whose level is known, or all patients"
        raise_if([Fault("every group is of unknown level", remedy=remedy)])
    labels = {factor: factor for _, factor in tables}
    analyses = fit_rates(compared(tables), store, sampling, say, labels=labels, priors=priors)
    rows = [row for analysis in analyses for row in rate_rows(analysis, sampling.seed)]
    shares = alone(tables)
    rows += list(share_rows(shares))
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
        (shares_fit(shares),) if shares else (),
        estimates_table(rows),
        pd.DataFrame(list(classical_rows(tables))),
        rests,
    )


Counts = Mapping[tuple[str, str], xr.Dataset]


def compared(counts: Counts) -> dict[tuple[str, str], xr.Dataset]:
    """Factors with two or more counted levels."""
    return {key: table for key, table in counts.items() if key[1] and table.sizes["subgroup"] > 1}


def alone(counts: Counts) -> dict[Estimand, tuple[int, int]]:
    """Responders and patients of rates with nothing to be compared with: one binomial each."""
    found = {}
    for (group, factor), table in counts.items():
        if factor and table.sizes["subgroup"] > 1:
            continue
        given = ((factor, str(table["level"].values[0])),) if factor else ()
        cell = int(table["responders"][0]), int(table["patients"][0])
        found[Estimand("response_rate", group, given)] = cell
    return found


def levels_alone(counts: Counts) -> dict[Estimand, tuple[int, int]]:
    """Those of ``alone`` that are the only known level of a factor."""
    return {asked: cell for asked, cell in alone(counts).items() if asked.given}


def known(counts: Counts) -> dict[tuple[str, str], xr.Dataset]:
    """Tables without levels that say that the level is unknown."""
    found = {}
    for key, table in counts.items():
        names = [not is_unknown(str(level)) for level in table["level"].values]
        if any(names):
            found[key] = table.isel(subgroup=names)
    return found


def left_out(counts: Counts) -> dict[tuple[str, str], Rest]:
    """Patients without a known level of a factor, in a user's tables."""
    found = {}
    kept = known(counts)
    for (group, factor), table in counts.items():
        if factor:
            whole = counts.get((group, ""), table)
            some = kept.get((group, factor))
            rest = int(whole["patients"].sum()) - (
                0 if some is None else int(some["patients"].sum())
            )
            if rest > 0:
                found[group, factor] = Rest("", 0, 0, 0, rest)
    return found


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
            yield estimated(
                asked, one.sel(category=category), other.sel(category=category), best.fit
            )
        for group, members in groups.items():
            asked = Estimand("response_rate", group, given)
            rate, rate_before = (group_rate(d, members) for d in (one, other))
            yield estimated(asked, rate, rate_before, best.fit, reading=reading)

"""Responses: what is counted, its fits (rates by level, best response) and their rows.

Splits of the same patients by different factors are separate analyses: their counts are not
independent, so that they never share a likelihood.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import xarray as xr

from her2bayes.bayes.prior import Prior, complete
from her2bayes.errors import Fault, raise_if, suggestion
from her2bayes.estimand import Contrast, Estimand, parse
from her2bayes.evidence.printed.responses import OTHERS, Rest, is_unknown, read_responses
from her2bayes.inference.fit import ExactFit, Fit
from her2bayes.rates import best_response, borrowed_rates
from her2bayes.rates import response as model
from her2bayes.rates.borrowed_rates import Prediction, Refused, conversion
from her2bayes.rates.borrowing import Outside
from her2bayes.rates.classical import MOST_COMPARED
from her2bayes.rates.cohort_shares import printed_shares
from her2bayes.rates.draws import (
    POSTERIOR,
    Cell,
    Drawn,
    Make,
    Part,
    Say,
    chained,
    of_categories,
    of_levels,
    rate_row,
    rates,
)
from her2bayes.rates.rate_exact import Hierarchy, Hyper, hierarchical, joint_draws

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Sampling
    from her2bayes.rates.rate_exact import Rate

ORDERED = "ordered"
"""Reading of rates that follow from the model of all response categories."""

MOST_SAMPLED = 24
"""Levels up to which rates are sampled: beyond, quadrature gives the same posterior in seconds."""

Counts = Mapping[tuple[str, str], xr.Dataset]
"""ResponseCounts by group of responses and factor, factor empty for all patients."""


@dataclass(frozen=True)
class ResponseData:
    """What is counted: ``counts`` of levels that are known, ``best`` responses by factor.

    ``labels`` maps factors to words, ``groups`` a group of responses (orr) to its categories of the
    factor ``response``. ``rests`` are patients that the counts of a factor leave out, ``outside``
    studies with their source by group. ``shares`` are rates and shares with nothing to be compared
    with, one binomial each, in sets that are one fit.
    """

    name: str
    counts: Counts
    shares: tuple[Mapping[Estimand, Cell], ...]
    rests: Mapping[tuple[str, str], Rest]
    labels: Mapping[str, str]
    outside: Mapping[str, tuple[Outside, str]] = field(default_factory=dict)
    response: str = ""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    best: Mapping[str, xr.DataArray] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()
    conversions: tuple[Prediction, ...] = ()

    @property
    def text(self) -> str:
        """As one line of JSON."""
        tables = [[*key, table.to_dict()] for key, table in self.counts.items()]
        shares = [{str(k): v for k, v in cells.items()} for cells in self.shares]
        return json.dumps({
            "name": self.name, "labels": self.labels, "response": self.response,
            "groups": self.groups, "counts": tables, "shares": shares,
            "rests": [[*key, asdict(rest)] for key, rest in self.rests.items()],
            "outside": {k: [asdict(one), source] for k, (one, source) in self.outside.items()},
            "best": {factor: table.to_dict() for factor, table in self.best.items()},
            "refused": [asdict(one) for one in self.refused],
            "conversions": [asdict(one) for one in self.conversions],
        })  # fmt: skip

    @classmethod
    def read(cls, text: str) -> ResponseData:
        """Read ``text``."""
        said = json.loads(text)
        return cls(
            said["name"],
            {(group, factor): xr.Dataset.from_dict(one) for group, factor, one in said["counts"]},
            tuple({parse(k): (int(a), int(b)) for k, (a, b) in cells.items()}
                  for cells in said["shares"]),
            {(group, factor): Rest(**rest) for group, factor, rest in said["rests"]},
            said["labels"],
            {group: (Outside(tuple(one["responders"]), tuple(one["patients"])), source)
             for group, (one, source) in said["outside"].items()},
            said["response"],
            {name: tuple(members) for name, members in said["groups"].items()},
            {factor: xr.DataArray.from_dict(one) for factor, one in said["best"].items()},
            tuple(Refused(**one) for one in said["refused"]),
            tuple(Prediction(**one) for one in said["conversions"]),
        )  # fmt: skip

    def cell(self, group: str) -> Cell:
        """Responders and patients of all patients."""
        whole = self.counts[group, ""]
        return int(whole["responders"][0]), int(whole["patients"][0])

    def only(self, factors: Sequence[str]) -> ResponseData:
        """The same without the factors that are not named."""
        kept = {"", *factors}
        return replace(
            self,
            counts={key: table for key, table in self.counts.items() if key[1] in kept},
            rests={key: rest for key, rest in self.rests.items() if key[1] in kept},
            best={name: table for name, table in self.best.items() if name in kept},
            shares=tuple(
                cells
                for whole in self.shares
                if (cells := {k: v for k, v in whole.items() if {f for f, _ in k.given} <= kept})
            ),
        )


def printed(study: Study) -> ResponseData:
    """What a study prints on responses; raises ``BadInput`` where there is nothing or it clashes.

    Shares of patients that no other analysis models stand beside them.
    """
    found = read_responses(study)
    if found is None:
        raise_if([Fault("the study prints no responses", value=study.id,
                        remedy="add responses.csv, or give a table of counts")])  # fmt: skip
    assert found is not None
    answered = [*found.response.groups] if "" in found.best else []
    single = alone(found.counts)
    levels = {asked: cell for asked, cell in single.items() if asked.given}
    whole = {asked: cell for asked, cell in single.items()
             if not asked.given and asked.outcome not in answered}  # fmt: skip
    outside = {
        group: borrowed
        for group, factor in found.counts
        if not factor and (borrowed := borrowed_rates.outside_of(study, group))
    }
    return ResponseData(
        study.id,
        found.counts,
        # apart, so that the name of one fit does not depend on what else is printed
        tuple(cells for cells in (printed_shares(study), levels, whole) if cells),
        found.rests,
        {name: factor.label for name, factor in study.factors.items()},
        outside,
        found.response.name,
        {name: tuple(members) for name, members in found.response.groups.items()},
        found.best,
        borrowed_rates.refusals(study),
        conversion(study),
    )


def tabulated(
    name: str, tables: Counts, outside: Mapping[str, tuple[Outside, str]] | None = None
) -> ResponseData:
    """ResponseCounts of a user: a level named unknown is no level to be compared, it is left out.

    Raises ``BadInput`` where every level is of that kind.
    """
    rests, counts = left_out(tables), known(tables)
    if not counts:
        remedy = "add a group whose level is known, or all patients"
        raise_if([Fault("every group is of unknown level", remedy=remedy)])
    labels = {factor: factor for _, factor in counts}
    shares = alone(counts)
    return ResponseData(name, counts, (shares,) if shares else (), rests, labels, outside or {})


By = str | Sequence[str] | Mapping[str, Sequence[str] | None] | None


def chosen(data: ResponseData, by: By) -> ResponseData:
    """The same by the factors named, in the order of the levels named; None: all, as found.

    Raises ``BadInput`` for a factor or a level without counts.
    """
    if by is None:
        return data
    wanted = {by: None} if isinstance(by, str) else by
    order = dict(wanted) if isinstance(wanted, Mapping) else dict.fromkeys(wanted)
    factors = [name for name in dict.fromkeys(factor for _, factor in data.counts) if name]
    faults = [
        Fault("no counts by this factor", column="by", value=name, allowed=", ".join(factors),
              remedy=suggestion(name, factors))
        for name in order if name not in factors
    ]  # fmt: skip
    counts = dict(data.only([*order]).counts)
    for (group, factor), table in counts.items():
        levels = order.get(factor)
        if levels is not None:
            found = [str(level) for level in table["level"].values]
            faults += [
                Fault(f"no counts of this level of '{factor}'", column="by", value=level,
                      allowed=", ".join(found), remedy=suggestion(level, found))
                for level in levels if level not in found
            ]  # fmt: skip
            places = [found.index(level) for level in levels if level in found]
            counts[group, factor] = table.isel(subgroup=places)
    raise_if(faults)
    kept = replace(data.only([*order]), counts=counts)
    known = {asked for cells in kept.shares for asked in cells}
    left = {asked: cell for asked, cell in alone(counts).items()
            if asked.given and asked not in known}  # fmt: skip
    return replace(kept, shares=(*kept.shares, left)) if left else kept


def compared(counts: Counts) -> dict[tuple[str, str], xr.Dataset]:
    """Factors with two or more counted levels."""
    return {key: table for key, table in counts.items() if key[1] and table.sizes["subgroup"] > 1}


def alone(counts: Counts) -> dict[Estimand, Cell]:
    """Responders and patients of rates with nothing to be compared with: one binomial each."""
    found = {}
    for (group, factor), table in counts.items():
        if factor and table.sizes["subgroup"] > 1:
            continue
        given = ((factor, str(table["level"].values[0])),) if factor else ()
        cell = int(table["responders"][0]), int(table["patients"][0])
        found[Estimand("response_rate", group, given)] = cell
    return found


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


@dataclass(frozen=True)
class Levels:
    """Rates of one group of responses by one factor: counts, fit and the same by quadrature."""

    group: str
    factor: str
    counts: xr.Dataset
    fit: Fit | ExactFit
    priors: Mapping[str, Prior]
    sampling: Sampling

    def hyper(self, pooling: str) -> Hyper:
        """Numbers of the model as quadrature takes them, under a pooling."""
        given = self.priors
        return Hyper(
            given["mu"]["mu"],
            given["mu"]["sigma"],
            given["tau"]["sigma"],
            model.exchangeable_weight(given, pooling),
            given["rate_alone"]["mu"],
            given["rate_alone"]["sigma"],
        )

    @cached_property
    def exact(self) -> Mapping[str, Hierarchy]:
        """The posterior by quadrature under each pooling ("exnex", "exchangeable", "none")."""
        y, n = self.counts["responders"].values, self.counts["patients"].values
        return {name: hierarchical(y, n, self.hyper(name)) for name in model.POOLING}

    @cached_property
    def prior_rate(self) -> Rate:
        """Rate of a level before the data."""
        return hierarchical([0], [0], self.hyper("exnex")).arms[0]

    @property
    def asked(self) -> tuple[Estimand, ...]:
        """Rates by level."""
        return tuple(
            Estimand("response_rate", self.group, ((self.factor, str(level)),))
            for level in self.counts["level"].values
        )

    def drawn(self, group: str) -> Drawn:
        """Draws of the rates by level, joint over the levels."""
        before = group != POSTERIOR
        seed = self.sampling.seed + before
        if isinstance(self.fit, Fit):
            weight = model.exchangeable_weight(self.priors, "exnex") if before else None
            draws = self.fit.prior if before else self.fit.posterior
            return of_levels(rates(draws, seed, weight), self.group, self.counts)
        y, n = ((0 if before else 1) * self.counts[name].values
                for name in ("responders", "patients"))  # fmt: skip
        size = self.sampling.chains * self.sampling.draws
        joint = joint_draws(y, n, self.hyper("exnex"), size, seed)
        return {
            asked: chained(values, self.sampling)
            for asked, values in zip(self.asked, joint, strict=True)
        }

    @cached_property
    def part(self) -> Part:
        """What it answers."""
        if isinstance(self.fit, Fit):
            return Part(self.fit, self.asked, self.drawn)
        arms = self.exact["exnex"].arms
        exact = {a: (rate, self.prior_rate) for a, rate in zip(self.asked, arms, strict=True)}
        y, n = (self.counts[name].values.tolist() for name in ("responders", "patients"))
        cells = dict(zip(self.asked, zip(y, n, strict=True), strict=True))
        return Part(self.fit, self.asked, self.drawn, exact, cells)


def fit_levels(
    data: ResponseData, make: Make, sampling: Sampling, say: Say, priors: Mapping[str, Prior]
) -> tuple[Levels, ...]:
    """Rates of every factor that is compared, with robust exchangeability."""
    found = []
    for (group, factor), counts in compared(data.counts).items():
        say(f"response rates: {group} by {data.labels.get(factor, factor)}")
        done: Fit | ExactFit
        if counts.sizes["subgroup"] > MOST_SAMPLED:
            model.design(counts)  # refuses impossible counts
            inputs = {name: counts[name].values.tolist() for name in ("responders", "patients")}
            written = {name: str(value) for name, value in priors.items()}
            done = ExactFit("rate_exact", {**inputs, **written})
        else:
            done = make(model.build, counts, priors=priors, sampling=sampling)
        found.append(Levels(group, factor, counts, done, priors, sampling))
    return tuple(found)


def level_rows(levels: Levels) -> Iterator[dict[str, Any]]:
    """Rates by level and, of a factor with few of them, their differences."""
    part, together = levels.part, levels.exact["exnex"].exchangeable
    for place, asked in enumerate(part.asked):
        note = f"probability of being exchangeable {together[place]:.2f}"
        if asked.given[0][1] == OTHERS:
            note += "; counted by taking the printed levels from all patients"
        yield rate_row(part, asked, note=note)
    if len(part.asked) <= MOST_COMPARED:
        names = [asked.given[0][1] for asked in part.asked]
        for a, b in combinations(names, 2):
            contrast = Contrast(levels.factor, a, b)
            asked = Estimand("response_rate_difference", levels.group, contrast=contrast)
            yield rate_row(part, asked, above=0.0, note="P(difference > 0)")


@dataclass(frozen=True)
class Best:
    """Categories of best response by one factor (empty: all patients) and their fit."""

    factor: str
    counts: xr.DataArray
    fit: Fit
    response: str
    groups: Mapping[str, tuple[str, ...]]

    def drawn(self, group: str) -> Drawn:
        """Draws of shares and of rates of their groups."""
        draws = self.fit.posterior if group == POSTERIOR else self.fit.prior
        return of_categories(draws["share"], self.response, self.groups, self.given)

    @property
    def given(self) -> list[tuple[tuple[str, str], ...]]:
        """Conditions by row of the counts."""
        levels = map(str, self.counts["level"].values)
        return [((self.factor, level),) if self.factor else () for level in levels]

    @cached_property
    def part(self) -> Part:
        """What it answers; rates by level are a second reading of those by ``Levels``."""
        categories = map(str, () if self.factor else self.counts["category"].values)
        asked = [Estimand("share", f"{self.response}={category}") for category in categories]
        asked += [
            Estimand("response_rate", group, given) for given in self.given for group in self.groups
        ]
        return Part(self.fit, tuple(asked), self.drawn, reading=ORDERED if self.factor else "")


def fit_best(
    data: ResponseData, make: Make, sampling: Sampling, say: Say, priors: Mapping[str, Prior]
) -> tuple[Best, ...]:
    """Ordered categories of best response, all patients and by factor."""
    found = []
    for factor, counts in data.best.items():
        say(f"best response: {data.labels.get(factor, 'all patients')}")
        done = make(best_response.build, counts, priors=priors, sampling=sampling)
        found.append(Best(factor, counts, done, data.response, data.groups))
    return tuple(found)


def split(
    priors: Mapping[str, Prior] | None,
) -> tuple[dict[str, Prior], dict[str, Prior]]:
    """Priors of ``response`` and of ``best_response``, the latter named ``best_response.tau``.

    Raises ``BadInput`` for a name that neither knows.
    """
    mark = "best_response."
    given = priors or {}
    own = {name: value for name, value in given.items() if not name.startswith(mark)}
    other = {name.removeprefix(mark): v for name, v in given.items() if name.startswith(mark)}
    return (
        complete(own, model.DEFAULT_PRIORS, same_family=True),
        complete(other, best_response.DEFAULT_PRIORS, same_family=True),
    )


def applies(study: Study) -> bool:
    """Whether the study prints responses."""
    return read_responses(study) is not None

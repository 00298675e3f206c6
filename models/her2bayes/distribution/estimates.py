"""HER2 status across subgroups: tables in, one fit a table, rows of estimates out.

Tables of the same patients by different factors are separate analyses: their counts are not
independent, so they never share a likelihood. Only nested factors (site within type of relapse) do,
at the lowest level; the coarser table is then answered from that fit. Crossed factors are one table
of cells, and one fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import xarray as xr

from her2bayes.bayes.prior import Prior
from her2bayes.distribution.draws import Crossed, Partition, Table, some_draws
from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import Contrast, Estimand
from her2bayes.inference.estimates import estimate, estimates_table
from her2bayes.inference.fit import Fit, fit
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.own_model import Draws, Model

MODELS = ("her2_distribution", "her2_distribution_dirichlet", "her2_distribution_ordered")
CROSSED = "her2_distribution_crossed"
NOTABLE = 0.10
"""The largest difference of shares is reported with its probability to exceed this one."""
MOST_PAIRED = 8
"""A crossed factor with more levels is compared with its largest level only."""
MOST_CELLS = 60
"""Crossed cells are rows of their own up to this number; all can be asked for."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Analysis:
    """One table of the patients and its fit; ``note`` says which patients the table holds.

    ``own`` gives draws of estimands from a user's model, before ours are asked.
    """

    table: Table
    fit: Fit
    note: str = ""
    own: Draws | None = None

    @property
    def factor(self) -> str:
        """Factor of a partition, or all crossed ones; empty for all patients together."""
        return (
            self.table.factor
            if isinstance(self.table, Partition)
            else " x ".join(self.table.levels)
        )

    @property
    def parent(self) -> str:
        """Factor in whose levels those of ``factor`` are nested, else empty."""
        return self.table.parent if isinstance(self.table, Partition) else ""

    def group(self, name: str) -> xr.Dataset:
        """Draws of the posterior or of the prior."""
        return self.fit.posterior if name == "posterior" else self.fit.prior

    def drawn(self, asked: Sequence[Estimand], group: str) -> dict[Estimand, xr.DataArray]:
        """Draws of those estimands that this fit answers."""
        data = self.group(group)
        table = self.table
        contract = table.counts if isinstance(table, Partition) else table.cells
        found = {
            one: draws.drop_vars([c for c in draws.coords if c not in draws.dims])
            for one, draws in (self.own(data, contract, list(asked)) if self.own else {}).items()
        }
        return found | some_draws(data, table, [one for one in asked if one not in found])


@dataclass(frozen=True)
class Result:
    """What the counts of a study give.

    ``counts`` holds every printed table and ``labels`` the factors in words; ``fits`` holds one fit
    a partition, by factor (a parent factor is answered by the fit of the factor nested in it).
    """

    study: str
    labels: Mapping[str, str]
    counts: Mapping[str, xr.DataArray]
    analyses: tuple[Analysis, ...]
    estimates: pd.DataFrame

    @property
    def fits(self) -> dict[str, Fit]:
        """Fits by factor."""
        return {analysis.factor: analysis.fit for analysis in self.analyses}


@dataclass(frozen=True)
class How:
    """How tables are fitted: a model by name or one's own, priors, options, sampler, kept where."""

    model: str = MODELS[0]
    own: Model | None = None
    priors: Mapping[str, Prior] | None = None
    options: Mapping[str, Any] | None = None
    sampling: Sampling = Sampling()  # noqa: RUF009 (frozen)
    store: Store | None = None
    cores: int | None = None


def applies(study: Study) -> bool:
    """Whether the study prints counts of HER2 status."""
    return bool(study.status_counts())


def run(
    study: Study,
    store: Store | None,
    sampling: Sampling,
    say: Say = lambda _: None,
    *,
    how: How | None = None,
    by: Sequence[str] | None = None,
) -> Result:
    """Fit every partition of ``study``; estimate shares, their differences, heterogeneity.

    ``by`` keeps the factors named, and all patients together. Raises ``BadInput`` before the first
    draw for an unknown model, prior or factor and for counts that no model takes.
    """
    how = how or How(sampling=sampling, store=store)
    tables = study.status_counts()
    partitions = _partitions(study, tables, by)
    known = {name: partial(_note, study, partitions) for name in partitions}
    labels = {name: study.factors[name].label if name else "All patients" for name in tables}
    parent = {name: study.factors[name].parent if name else "" for name in partitions}
    listed = [Partition(name, parent[name], counts) for name, counts in partitions.items()]
    analyses = fit_partitions(listed, how, lambda name: say(f"HER2 status: {labels[name]}"))
    analyses = [replace(a, note=known[a.factor](partitions[a.factor])) for a in analyses]
    shown = {
        n: t for n, t in tables.items() if by is None or n in partitions or n in parent.values()
    }
    return Result(study.id, labels, shown, tuple(analyses), estimates_of(analyses))


def fit_partitions(
    tables: Sequence[Partition], how: How, say: Say = lambda _: None
) -> list[Analysis]:
    """Fit tables of one factor each; ``BadInput`` for all that no model takes, before any draw."""
    build = how.own.build if how.own else model_build(how.model)
    _check(build, tables, how)
    found = []
    for table in tables:
        say(table.factor)
        fitted = fit(
            build, table.counts, priors=how.priors, options=how.options, sampling=how.sampling,
            store=how.store, cores=how.cores,
        )  # fmt: skip
        found.append(Analysis(table, fitted, own=how.own.draws if how.own else None))
    return found


def fit_crossed(table: Crossed, how: How, note: str = "") -> Analysis:
    """Fit crossed cells; ``BadInput`` for an unknown prior and for what are no cells."""
    from her2bayes.distribution import her2_distribution_crossed as model

    options: dict[str, Any] = {"exchangeable": table.exchangeable} if table.exchangeable else {}
    options |= {} if table.interactions else {"interactions": False}
    build = how.own.build if how.own else model.build
    options = {} if how.own else options
    fitted = fit(
        build, table.cells, priors=how.priors, options=options, sampling=how.sampling,
        store=how.store, cores=how.cores,
    )  # fmt: skip
    return Analysis(table, fitted, note, how.own.draws if how.own else None)


def model_build(model: str) -> Callable[..., Any]:
    """``build`` of a model of one factor; ``BadInput`` for an unknown name."""
    if model not in MODELS:
        allowed = ", ".join(MODELS)
        raise BadInput(Fault("no such model of HER2 status", value=model, allowed=allowed))
    build: Callable[..., Any] = import_module(f"her2bayes.distribution.{model}").build
    return build


def _partitions(
    study: Study, tables: Mapping[str, xr.DataArray], by: Sequence[str] | None
) -> dict[str, xr.DataArray]:
    """Tables to fit, all patients first; a factor whose nested factor is there too is left out.

    With ``by`` the factors named come first: the first of them is what a user asked for.
    """
    asked = [name for name in tables if by is None or name in by or not name]
    answered = {study.factors[name].parent for name in asked if name} - {""}
    names = [name for name in asked if name not in answered]
    order = by or ()
    names.sort(key=lambda name: bool(name) if by is None else order.index(name) if name else 1e9)
    return {name: tables[name] for name in names}


def _check(build: Callable[..., Any], tables: Sequence[Partition], how: How) -> None:
    from her2bayes.bayes.levels import design
    from her2bayes.bayes.prior import complete

    faults: list[Fault] = []
    defaults = build.__globals__["DEFAULT_PRIORS"]
    pooling = str((how.options or {}).get("pooling", "partial"))
    checks: list[Callable[[], object]] = [lambda: complete(how.priors, defaults, same_family=True)]
    checks += [partial(design, table.counts, pooling) for table in tables]
    for check in checks:
        try:
            check()
        except BadInput as bad:
            faults += [fault for fault in bad.faults if fault not in faults]
    raise_if(faults)


def _note(study: Study, partitions: Mapping[str, Any], counts: xr.DataArray) -> str:
    patients, everyone = int(counts.sum()), int(study.meta["patients"])
    if patients < everyone:
        return f"{patients} of the {everyone} patients"
    return f"the same {patients} patients in each table" if len(partitions) > 2 else ""


def questions(table: Table) -> list[Estimand]:
    """What a report holds of a table, in order."""
    if isinstance(table, Crossed):
        return list(_crossed_questions(table))
    if not table.factor:
        return [Estimand("share", f"her2={h}") for h in table.classes]
    found: list[Estimand] = []
    for factor, levels in table.levels.items():
        found += _shares(table, factor, levels)
        found += _differences(table, factor, combinations(levels, 2))
        found += _associations(factor, levels)
        found.append(Estimand("heterogeneity", "her2 logit", contrast=Contrast(factor)))
    return found


def _shares(
    table: Table, factor: str, levels: Iterable[str], kind: str = "share"
) -> list[Estimand]:
    each = product(levels, table.classes)
    return [Estimand(kind, f"her2={her2}", ((factor, level),)) for level, her2 in each]


def _differences(
    table: Table, factor: str, pairs: Iterable[tuple[str, str]], kind: str = "share_difference"
) -> list[Estimand]:
    each = product(pairs, table.classes)
    return [Estimand(kind, f"her2={her2}", contrast=Contrast(factor, *pair)) for pair, her2 in each]


def _associations(factor: str, levels: Sequence[str]) -> list[Estimand]:
    if len(levels) < 2:
        return []
    contrast = Contrast(factor)
    outcomes = (("heterogeneity", "her2 share"), ("association", "her2"))
    return [Estimand(kind, outcome, contrast=contrast) for kind, outcome in outcomes]


def _crossed_questions(table: Crossed) -> Iterator[Estimand]:
    yield from (Estimand("share", f"her2={h}") for h in table.classes)
    several = len(table.levels) > 1
    for factor, levels in table.levels.items():
        yield from _shares(table, factor, levels)
        if several:
            yield from _shares(table, factor, levels, "standardised_share")
        if factor in table.exchangeable:
            yield from _shares(table, factor, [table.new(factor)])
            continue
        pairs = _pairs(table, factor, levels)
        yield from _differences(table, factor, pairs)
        if several:
            yield from _differences(table, factor, pairs, "standardised_difference")
        yield from _associations(factor, levels)
    for name in table.terms:
        yield Estimand("heterogeneity", "her2 logit", contrast=Contrast(name))
    fixed = [name for name in table.levels if name not in table.exchangeable]
    at = [table.level_of[name] for name in fixed]
    cells = list(dict.fromkeys(zip(*at, strict=True)))
    if len(fixed) > 1 and len(cells) <= MOST_CELLS:
        for cell, her2 in product(cells, table.classes):
            yield Estimand("share", f"her2={her2}", tuple(zip(fixed, cell, strict=True)))


def _pairs(table: Crossed, factor: str, levels: Sequence[str]) -> list[tuple[str, str]]:
    if len(levels) <= MOST_PAIRED:
        return list(combinations(levels, 2))
    at, size = table.level_of[factor], table.patients
    patients = {
        level: sum(n for a, n in zip(at, size, strict=True) if a == level) for level in levels
    }
    largest = max(levels, key=lambda level: patients[level])
    return [(level, largest) for level in levels if level != largest]


def estimates_of(analyses: Iterable[Analysis]) -> pd.DataFrame:
    """Table of everything a report holds of some analyses."""
    return estimates_table([row for one in analyses for row in estimates(one)])


def estimates(analysis: Analysis, asked: Sequence[Estimand] | None = None) -> list[dict[str, Any]]:
    """Rows of one analysis: what is asked, or everything the report holds; one pass of draws."""
    if asked is None:
        asked = [one for one in questions(analysis.table) if _learned(analysis, one)]
    after, before = (analysis.drawn(asked, group) for group in ("posterior", "prior"))
    asked = [one for one in asked if one in after]
    return [_row(one, after[one], before[one], analysis) for one in asked]


def _learned(analysis: Analysis, asked: Estimand) -> bool:
    """Whether the fit learned a spread that is asked for: of two or more effects."""
    if asked.outcome != "her2 logit" or not asked.contrast:
        return True
    result, table = analysis.fit, analysis.table
    if "tau" not in result.posterior or "own_model" in result.provenance:
        return False
    place = table.terms[asked.contrast.factor]
    if isinstance(table, Crossed):
        term = next(t for t in table.places if t.name == place)
        return term.size > 1 or term.kind == "exchangeable"
    if "effect" not in result.posterior.dims:
        return False
    effects = [str(effect) for effect in result.posterior["effect"].to_numpy()]
    pooled = result.provenance["options"].get("pooling", "'partial'") == "'partial'"
    return pooled and sum(effect.startswith(f"{place} ") for effect in effects) > 1


Words = tuple[str, Callable[[xr.DataArray], xr.DataArray] | None, str | None]


def _words(asked: Estimand, table: Table) -> Words:
    """Note of a row, the event whose probability it gives, its unit where the kind has none."""
    if asked.kind.endswith("_difference"):
        note = "P(difference > 0)" + _standard(asked, table)
        return note, lambda draws: draws > 0, None
    if asked.outcome == "her2 share":
        percent = f"P(above {100 * NOTABLE:.0f} percentage points)"
        note = "largest absolute difference of any share between two levels, which cannot be 0: "
        return f"{note}to be read beside its prior; {percent}", lambda d: d > NOTABLE, "%"
    if asked.kind == "association":
        note = "Cramér's V of the shares, which cannot be 0: to be read beside its prior"
        return note, None, None
    if asked.outcome == "her2 logit":
        return _spread_words(asked, table), None, None
    return _standard(asked, table).removeprefix("; "), None, None


def _spread_words(asked: Estimand, table: Table) -> str:
    note = "tau, spread of logits between levels"
    name = asked.contrast.factor if asked.contrast else ""
    if isinstance(table, Partition):
        own = name == table.factor and table.parent
        return f"{note} within a level of {table.parent}" if own else note
    if name in table.exchangeable:
        return "tau, spread of logits between groups taken as a sample"
    return note if name in table.levels else "tau, departure from additive logits"


def _standard(asked: Estimand, table: Table) -> str:
    """Say to which population a number is standardised, or which group it predicts."""
    if not isinstance(table, Crossed):
        return ""
    who = "the population given" if table.standard else f"all {int(table.patients.sum())} patients"
    new = [f for f, level in asked.given if f in table.exchangeable and level == table.new(f)]
    if new:
        seen = len(table.levels[new[0]])
        return f"; predictive: a group not among the {seen} seen, as mixed as {who}"
    return f"; everything else as in {who}" if asked.kind.startswith("standardised") else ""


def _row(
    asked: Estimand, posterior: xr.DataArray, prior: xr.DataArray, analysis: Analysis
) -> dict[str, Any]:
    words, event, unit = _words(asked, analysis.table)
    note = "; ".join(part for part in (words, analysis.note) if part)
    return estimate(asked, posterior, prior, analysis.fit, event=event, note=note, unit=unit)

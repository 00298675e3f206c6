"""HER2 status across subgroups of a study: counts in, one fit a partition, estimates out.

Tables of the same patients by different factors are separate analyses: their counts are not
independent, so they never share a likelihood. Only nested factors (site within type of relapse) do,
at the lowest level; the coarser table is then answered from that fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import xarray as xr

from her2bayes.bayes.prior import Prior
from her2bayes.distribution.draws import combined
from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import Contrast, Estimand
from her2bayes.inference import estimates as contrasts
from her2bayes.inference.estimates import estimate, estimates_table
from her2bayes.inference.fit import Fit, fit
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.evidence.printed.study import Study

MODELS = ("her2_distribution", "her2_distribution_dirichlet", "her2_distribution_ordered")
NOTABLE = 0.10
"""The largest difference of shares is reported with its probability to exceed this one."""


@dataclass(frozen=True)
class Analysis:
    """One partition of the patients and its fit; ``factor`` is empty for all patients together.

    ``parent`` names the factor in whose levels those of ``factor`` are nested, else it is empty.
    ``note`` says which patients the table holds.
    """

    factor: str
    parent: str
    counts: xr.DataArray
    fit: Fit
    note: str


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
class _Levels:
    """Draws of shares by level of one factor: posterior and prior, dims (..., level, her2)."""

    factor: str
    posterior: xr.DataArray
    prior: xr.DataArray
    patients: xr.DataArray
    spread: str


def applies(study: Study) -> bool:
    """Whether the study prints counts of HER2 status."""
    return bool(study.status_counts())


def run(
    study: Study,
    store: Store | None,
    sampling: Sampling,
    say: Callable[[str], None] = lambda _: None,
    *,
    model: str = "her2_distribution",
    priors: Mapping[str, Prior] | None = None,
    options: Mapping[str, Any] | None = None,
    cores: int | None = None,
) -> Result:
    """Fit every partition of ``study``; estimate shares, their differences, heterogeneity.

    Raises ``BadInput`` before the first draw for an unknown model or prior and for counts that no
    model takes.
    """
    build = _build(model)
    tables = study.status_counts()
    partitions = _partitions(study, tables)
    _check(build, partitions, priors, options)
    labels = {name: study.factors[name].label if name else "All patients" for name in tables}
    analyses = []
    for factor, counts in partitions.items():
        say(f"HER2 status: {labels[factor]}")
        result = fit(
            build,
            counts,
            priors=priors,
            options=options,
            sampling=sampling,
            store=store,
            cores=cores,
        )
        parent = study.factors[factor].parent if factor else ""
        analyses.append(Analysis(factor, parent, counts, result, _note(study, partitions, counts)))
    rows = [row for analysis in analyses for row in estimates(analysis)]
    return Result(study.id, labels, tables, tuple(analyses), estimates_table(rows))


def estimates(analysis: Analysis) -> Iterator[dict[str, Any]]:
    """Yield the rows of one analysis: by level of its factor and, where nested, of the parent."""
    if not analysis.factor:
        share, before = _shares(analysis)
        for her2 in share["her2"].to_numpy():
            asked = Estimand("share", f"her2={her2}")
            yield _row(asked, share.sel(her2=her2)[..., 0], before.sel(her2=her2)[..., 0], analysis)
        return
    for levels in _factors(analysis):
        yield from _share_rows(levels, analysis)
        yield from _difference_rows(levels, analysis)
        yield from _association_rows(levels, analysis)


def _build(model: str) -> Callable[..., Any]:
    if model not in MODELS:
        allowed = ", ".join(MODELS)
        raise BadInput(Fault("no such model of HER2 status", value=model, allowed=allowed))
    build: Callable[..., Any] = import_module(f"her2bayes.distribution.{model}").build
    return build


def _partitions(study: Study, tables: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Tables to fit, all patients first; a factor whose nested factor is there too is left out."""
    answered = {study.factors[name].parent for name in tables if name} - {""}
    names = sorted((name for name in tables if name not in answered), key=bool)
    return {name: tables[name] for name in names}


def _check(
    build: Callable[..., Any],
    partitions: Mapping[str, xr.DataArray],
    priors: Mapping[str, Prior] | None,
    options: Mapping[str, Any] | None,
) -> None:
    from her2bayes.bayes.levels import design
    from her2bayes.bayes.prior import complete

    faults: list[Fault] = []
    defaults = build.__globals__["DEFAULT_PRIORS"]
    pooling = str((options or {}).get("pooling", "partial"))
    checks: list[Callable[[], object]] = [lambda: complete(priors, defaults, same_family=True)]
    checks += [partial(design, counts, pooling) for counts in partitions.values()]
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


def _shares(analysis: Analysis) -> tuple[xr.DataArray, xr.DataArray]:
    order = ("chain", "draw", "subgroup", "her2")
    posterior, prior = analysis.fit.posterior["share"], analysis.fit.prior["share"]
    return posterior.transpose(*order), prior.transpose(*order)


def _factors(analysis: Analysis) -> Iterator[_Levels]:
    posterior, prior = (draws.rename(subgroup="level") for draws in _shares(analysis))
    patients = analysis.counts.sum("her2")
    yield _Levels(analysis.factor, posterior, prior, patients, "level")
    if analysis.parent:
        of = [str(parent) for parent in analysis.counts["parent"].to_numpy()]
        both = [combined(d, patients, of).rename(group="level") for d in _shares(analysis)]
        numbers = patients.groupby("parent").sum().sel(parent=both[0]["level"].to_numpy())
        yield _Levels(analysis.parent, both[0], both[1], numbers, "parent")


def _share_rows(levels: _Levels, analysis: Analysis) -> Iterator[dict[str, Any]]:
    for level in levels.posterior["level"].to_numpy():
        for her2 in levels.posterior["her2"].to_numpy():
            asked = Estimand("share", f"her2={her2}", ((levels.factor, str(level)),))
            place = {"level": level, "her2": her2}
            yield _row(asked, levels.posterior.sel(place), levels.prior.sel(place), analysis)


def _difference_rows(levels: _Levels, analysis: Analysis) -> Iterator[dict[str, Any]]:
    for a, b in contrasts.pairs(levels.posterior, "level"):
        after, before = (
            contrasts.difference(draws, "level", a, b) for draws in (levels.posterior, levels.prior)
        )
        contrast = Contrast(levels.factor, a, b)
        for her2 in after["her2"].to_numpy():
            asked = Estimand("share_difference", f"her2={her2}", contrast=contrast)
            yield _row(
                asked,
                after.sel(her2=her2),
                before.sel(her2=her2),
                analysis,
                "P(difference > 0)",
                lambda draws: draws > 0,
            )


def _association_rows(levels: _Levels, analysis: Analysis) -> Iterator[dict[str, Any]]:
    if levels.posterior.sizes["level"] < 2:
        return
    contrast = Contrast(levels.factor)
    draws = (levels.posterior, levels.prior)
    after, before = (contrasts.largest_difference(d, "level") for d in draws)
    yield _row(
        Estimand("heterogeneity", "her2 share", contrast=contrast),
        after,
        before,
        analysis,
        "largest absolute difference of any share between two levels, which cannot be 0: to be "
        f"read beside its prior; P(above {100 * NOTABLE:.0f} percentage points)",
        lambda largest: largest > NOTABLE,
        "%",
    )
    after, before = (contrasts.cramers_v(d, levels.patients, "level") for d in draws)
    note = "Cramér's V of the shares, which cannot be 0: to be read beside its prior"
    yield _row(Estimand("association", "her2", contrast=contrast), after, before, analysis, note)
    if _learned(analysis.fit, levels.spread):
        after, before = (
            group["tau"].sel(family=levels.spread)
            for group in (analysis.fit.posterior, analysis.fit.prior)
        )
        note = "tau, spread of logits between levels"
        if levels.spread == "level" and analysis.parent:
            note += f" within a level of {analysis.parent}"
        asked = Estimand("heterogeneity", "her2 logit", contrast=contrast)
        yield _row(asked, after, before, analysis, note)


def _learned(result: Fit, family: str) -> bool:
    """Tell whether the fit learned a spread: the model has one, for two or more effects."""
    if "tau" not in result.posterior or "effect" not in result.posterior.dims:
        return False
    effects = [str(effect) for effect in result.posterior["effect"].to_numpy()]
    pooled = result.provenance["options"].get("pooling", "'partial'") == "'partial'"
    return pooled and sum(effect.startswith(f"{family} ") for effect in effects) > 1


def _row(
    asked: Estimand,
    posterior: xr.DataArray,
    prior: xr.DataArray,
    analysis: Analysis,
    note: str = "",
    event: Callable[[xr.DataArray], xr.DataArray] | None = None,
    unit: str | None = None,
) -> dict[str, Any]:
    drop = [name for name in posterior.coords if name not in ("chain", "draw")]
    note = "; ".join(part for part in (note, analysis.note) if part)
    return estimate(
        asked,
        posterior.drop_vars(drop),
        prior.drop_vars(drop, errors="ignore"),
        analysis.fit,
        event=event,
        note=note,
        unit=unit,
    )

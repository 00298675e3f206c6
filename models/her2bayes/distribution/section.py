"""The section on HER2 status: raw next to pooled shares, one factor at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from her2bayes.bayes.levels import design
from her2bayes.classical.proportions import goodman
from her2bayes.classical.proportions import interval as share_interval
from her2bayes.distribution import figures
from her2bayes.distribution.classical import association_table
from her2bayes.estimand import Contrast, Estimand
from her2bayes.inference.convergence import CONVERGED
from her2bayes.page.fit_card import Judged, fit_card, judged_counts, worst
from her2bayes.page.numbers import count, interval
from her2bayes.page.section import Figure, Section, Table

if TYPE_CHECKING:
    from her2bayes.distribution.estimates import Analysis, Result
    from her2bayes.inference.fit import Fit

Known = Mapping[str, Mapping[str, Any]]
ALL = "All patients"


def section(result: Result, source: str = "printed") -> Section:
    """Report the shares of HER2 classes in all patients and by each factor.

    ``source`` says what became of the counts: printed in a paper, or counted.
    """
    known = by_estimand(result.estimates)
    counts = result.counts
    labels = {**result.labels, "": ALL}
    patients = max(int(table.sum()) for table in counts.values())
    overall = overall_of(counts)
    drawn = [*_prior_to_posterior(result, patients)]
    tables = []
    for name, table in counts.items():
        if name:
            drawn.append(_partition(name, labels[name], table, known, overall, patients))
        tables.append(table_of(name, labels[name], table, known))
    if len(counts) > 1:
        tables.insert(0, association_table(counts, labels, result.estimates))
    return Section(
        id="distribution",
        title="HER2 status: distribution across subgroups",
        paragraphs=_paragraphs(counts, source),
        figures=tuple(drawn),
        tables=tuple(tables),
        fits=tuple(
            fit_card(analysis.fit, _title(analysis, labels), result.estimates, judged(analysis.fit))
            for analysis in result.analyses
        ),
        main=_most_different([name for name in counts if name], known),
    )


def judged(fit: Fit, spread: str = "") -> Judged:
    """What a model of shares is judged by: each patient's class left out, given the subgroup.

    ``spread`` is the parameter of how much subgroups differ; without it that of one factor.
    """
    seen = fit.tree.children.get("observed_data", xr.DataTree()).to_dataset()
    counts = seen.get("observed_counts")
    share = fit.posterior.get("share")
    if counts is None or share is None or {*share.dims} != {"chain", "draw", *counts.dims}:
        return Judged(unit="nothing: the model has no share of every class in every subgroup")
    spread = spread or ("tau" if design(counts)["learned"].any() else "raw")
    top_level = ("alpha", "baseline", "mean", "concentration", spread)
    several = int(seen["partial"].sum()) if "partial" in seen else 0
    unit = "patient with a reading of one class" if several else "patient"
    return judged_counts(share, counts, top_level, unit)


def _most_different(factors: Sequence[str], known: Known) -> tuple[str, ...]:
    """Figure of the factor whose levels differ most for certain, of the first where none does."""

    def least(name: str) -> float:
        asked = Estimand("heterogeneity", "her2 share", contrast=Contrast(name))
        return float(known.get(str(asked), {}).get("posterior_lower", 0.0))

    return (_figure_id(max(factors, key=least)),) if factors else ()


def _figure_id(factor: str) -> str:
    return f"figure-distribution-{factor.replace('_', '-')}"


def by_estimand(estimates: pd.DataFrame) -> Known:
    """Rows of estimates by their estimand."""
    return {
        str(row["estimand"]): {str(name): value for name, value in row.items()}
        for row in estimates.to_dict("records")
    }


def _title(analysis: Analysis, labels: Mapping[str, str]) -> str:
    own = labels.get(analysis.factor, analysis.factor)
    parent = labels.get(analysis.parent, analysis.parent)
    return f"{own}, nested in {lower(parent)}" if parent and analysis.parent else own


def _paragraphs(counts: Mapping[str, xr.DataArray], source: str) -> tuple[str, ...]:
    sizes = [int(table.sum()) for name, table in counts.items() if name]
    patients = max(int(table.sum()) for table in counts.values())
    if not sizes:
        return (f"HER2 status of all {patients} patients is {source}, and by no factor.",)
    words = count(len(sizes), "factor")
    whole = min(sizes) == patients
    shown = f"the same {patients}" if whole else f"{min(sizes)} to {patients}"
    return (
        f"HER2 status of {shown} patients is {source} by {words}. Each factor is "
        "analysed separately. The analyses share the same patients, so they are not independent "
        f"evidence. Combinations of factors are not {source} and not analysed.",
        "The model uses partial pooling: levels with few patients shrink towards the others, "
        "levels with many hardly move. With three or more levels the data estimate the amount of "
        "shrinkage; with two levels the prior fixes it.",
    )


def overall_of(counts: Mapping[str, xr.DataArray]) -> dict[str, float]:
    """Share of each class among all patients, in percent."""
    table = counts.get("")
    if table is None:
        return {}
    total = table.to_numpy().sum()
    return {str(c): 100 * float(table.sel(her2=c).sum() / total) for c in table["her2"].to_numpy()}


def estimand_of(factor: str, level: str, her2: str) -> str:
    """Share of a class in a level; of all patients without a factor."""
    given = ((factor, level),) if factor else ()
    return str(Estimand("share", f"her2={her2}", given))


def cells_of(table: xr.DataArray) -> Iterator[tuple[str, str, int, int]]:
    """Level, class, patients in the cell, patients of the level."""
    for row, level in enumerate(table["level"].to_numpy()):
        values = table.to_numpy()[row]
        for column, her2 in enumerate(table["her2"].to_numpy()):
            yield str(level), str(her2), int(values[column]), int(values.sum())


def panels_of(
    name: str, table: xr.DataArray, known: Known
) -> tuple[dict[str, list[figures.Row]], list[str]]:
    """Rows of each class, and the verdicts of their fits."""
    panels: dict[str, list[figures.Row]] = {}
    verdicts = []
    for level, her2, cell, total in cells_of(table):
        row = known.get(estimand_of(name, level, her2))
        if row is None:
            continue
        raw = (float("nan"),) * 3
        if total:
            low, high = share_interval(cell, total, "Wilson")
            raw = (100 * cell / total, 100 * low, 100 * high)
        panels.setdefault(her2, []).append(figures.Row(level, total, raw, pooled(row)))
        verdicts.append(str(row["convergence"]))
    return panels, verdicts


def pooled(row: Mapping[str, Any]) -> figures.Three:
    """Posterior median with its interval."""
    return row["posterior_median"], row["posterior_lower"], row["posterior_upper"]


def _partition(
    name: str,
    label: str,
    table: xr.DataArray,
    known: Known,
    overall: Mapping[str, float],
    patients: int,
) -> Figure:
    panels, verdicts = panels_of(name, table, known)
    counted = int(table.sum())
    who = f"the same {patients} patients" if counted == patients else f"{counted} of {patients}"
    verdict = worst(verdicts)
    warning = "" if verdict == CONVERGED else f" This fit is {verdict}."
    return Figure(
        id=_figure_id(name),
        title=f"HER2 status by {lower(label)}",
        svg=figures.partition(panels, overall),
        caption=(
            "Open circles: observed proportion with 95 % CI (Wilson). Filled circles: posterior "
            "median of the hierarchical model with 95 % CrI; the arrow shows shrinkage. "
            f"Dotted: proportion of all patients. {upper(who)}.{warning}"
        ),
        alt=_alt(label, panels),
    )


def _alt(label: str, panels: Mapping[str, list[figures.Row]]) -> str:
    parts = [
        f"HER2-{her2}: "
        + "; ".join(
            f"{r.level} {r.raw[0]:.1f} % observed, {r.pooled[0]:.1f} % pooled" for r in rows
        )
        for her2, rows in panels.items()
    ]
    return f"Proportions by {lower(label)}. {'. '.join(parts)}."


def _prior_to_posterior(result: Result, patients: int) -> Iterator[Figure]:
    fit = result.fits.get("")
    if fit is None or "share" not in fit.posterior or "share" not in fit.prior:
        return
    after, before = (_first_row(group["share"]) for group in (fit.posterior, fit.prior))
    draws = {
        str(c): (
            100 * before.sel(her2=c).to_numpy().ravel(),
            100 * after.sel(her2=c).to_numpy().ravel(),
        )
        for c in after["her2"].to_numpy()
    }
    yield Figure(
        id="figure-distribution-prior",
        title="Prior and posterior: HER2 status of all patients",
        svg=figures.densities(draws),
        caption=(
            "Grey: prior density of the proportion in each class. Colour: posterior density given "
            f"{patients} patients. Each curve is scaled to its own height."
        ),
        alt="The prior is spread over all proportions, the posterior a peak near the observed one.",
    )


def _first_row(shares: xr.DataArray) -> xr.DataArray:
    return shares.isel(subgroup=0) if "subgroup" in shares.dims else shares


def table_of(name: str, label: str, table: xr.DataArray, known: Known) -> Table:
    """Observed proportions, posterior and prior with their intervals, a row a level and class."""
    rows = []
    simultaneous = {
        str(level): goodman(values) if values.sum() else None
        for level, values in zip(table["level"].to_numpy(), table.to_numpy(), strict=True)
    }
    classes = [str(c) for c in table["her2"].to_numpy()]
    for level, her2, cell, total in cells_of(table):
        if not total:
            continue
        bounds = simultaneous[level]
        joint = bounds[classes.index(her2)] if bounds is not None else (float("nan"),) * 2
        exact = share_interval(cell, total, "Clopper-Pearson")
        row = known.get(estimand_of(name, level, her2), {})
        rows.append(
            {
                "Level": level or ALL,
                "HER2": her2,
                "Observed": f"{cell} of {total}",
                "Wilson": _percent(cell / total, share_interval(cell, total, "Wilson")),
                "Clopper-Pearson": _bounds(*exact),
                "Goodman": _bounds(*joint),
                "Posterior": percent_of(row, "posterior"),
                "Prior": percent_of(row, "prior"),
                "fit_id": str(row.get("fit_id", "")),
            }
        )
    caption = (
        "Percent. Observed proportions with 95 % CI: Wilson and Clopper-Pearson for one "
        "proportion, Goodman simultaneous over the classes of a level. Posterior and prior: median "
        "with 95 % CrI."
    )
    title = "HER2 status of all patients" if not name else f"HER2 status by {lower(label)}"
    return Table(title, pd.DataFrame(rows), caption)


def percent_of(row: Mapping[str, Any], which: str) -> str:
    """Text of a posterior or prior share."""
    middle, low, high = (row.get(f"{which}_{part}") for part in ("median", "lower", "upper"))
    return interval(middle, low, high, unit="%")


def _percent(share: float, bounds: tuple[float, float]) -> str:
    return interval(100 * share, 100 * bounds[0], 100 * bounds[1], unit="%")


def _bounds(low: float, high: float) -> str:
    return interval(100 * low, 100 * low, 100 * high, unit="%").partition(" ")[2].strip("()")


def lower(label: str) -> str:
    """A label within a sentence."""
    first = label.partition(" ")[0].replace("-", "")
    return label[:1].lower() + label[1:] if first.isalpha() and not first.isupper() else label


def upper(text: str) -> str:
    """A text at the start of a sentence."""
    return text[:1].upper() + text[1:]

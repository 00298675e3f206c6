"""The section and figures of own data: shares of crossed cells, groups, unknown status."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.distribution import figures
from her2bayes.distribution.cells import split
from her2bayes.distribution.classical import BIASED, association_table
from her2bayes.distribution.draws import Crossed
from her2bayes.distribution.section import (
    ALL,
    Known,
    by_estimand,
    cells_of,
    estimand_of,
    judged,
    lower,
    panels_of,
    percent_of,
    pooled,
    table_of,
    upper,
)
from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Estimand
from her2bayes.inference.convergence import CONVERGED
from her2bayes.page import style
from her2bayes.page.cohort import flow_figure, table_one
from her2bayes.page.fit_card import Judged, fit_card, worst
from her2bayes.page.numbers import interval
from her2bayes.page.section import Figure, Section, Table
from her2bayes.page.shared import SHARED, conceal_flow

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from her2bayes.distribution.estimates import Analysis
    from her2bayes.results.fitted import Asked, Figures


class Shares(Protocol):
    """What is reported and drawn of fitted shares."""

    @property
    def title(self) -> str:
        """What was fitted, of whom."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Factors in words."""

    @property
    def counts(self) -> Mapping[str, xr.DataArray]:
        """Readings of one class by factor."""

    @property
    def analyses(self) -> tuple[Analysis, ...]:
        """One table and fit each."""

    @property
    def facts(self) -> tuple[str, ...]:
        """Who was counted."""

    @property
    def described(self) -> Mapping[str, pd.DataFrame]:
        """Numbers of Table 1 by name."""

    @property
    def flow(self) -> pd.DataFrame | None:
        """What became of every row of a mapped file."""

    @property
    def figures(self) -> Figures:
        """Figures by name."""

    def unknown(self) -> pd.DataFrame:
        """Shares of all patients if those of unknown status are not missing at random."""

    def estimates(self, estimands: Iterable[Asked] | None = None) -> pd.DataFrame:
        """One row an estimand, everything the report holds where none is named."""

    def draws(self, estimand: Sequence[Asked], *, group: str = "posterior") -> xr.Dataset:
        """Draws of what is asked."""


def shares_figure(fit: Shares, factor: str = "") -> Drawing:
    """Shares by level of a factor (the first): counted with Wilson interval, posterior."""
    factor = factor or next((name for name in fit.counts if name), "")
    table = _counts_of(fit, factor)
    panels, _ = panels_of(factor, table, by_estimand(fit.estimates()))
    return figures.shares(panels, _reference(fit))


def groups_figure(fit: Shares, factor: str = "") -> Drawing:
    """Groups of an exchangeable factor from low to high, and what is predicted for a new one."""
    table = _crossed(fit)
    factor = factor or table.exchangeable[0]
    if factor not in table.exchangeable:
        allowed = ", ".join(table.exchangeable)
        raise BadInput(Fault("not an exchangeable factor", value=factor, allowed=allowed))
    known = by_estimand(fit.estimates())
    panels, _ = panels_of(factor, _counts_of(fit, factor), known)
    order = np.argsort([row.pooled[0] for row in panels[table.classes[0]]])
    nothing = (float("nan"),) * 3
    drawn: dict[str, list[figures.Row | None]] = {}
    for her2, rows in panels.items():
        row = known[estimand_of(factor, table.new(factor), her2)]
        new = figures.Row(table.new(factor), 0, nothing, pooled(row))
        drawn[her2] = [*(rows[k] for k in order), None, new]
    return figures.forest(drawn, _reference(fit))


def grid_figure(fit: Shares, rows: str = "", columns: str = "") -> Drawing:
    """Shares at every combination of levels of two factors, other factors as observed."""
    table = _crossed(fit)
    fixed = [f for f in table.levels if f not in table.exchangeable] or list(table.levels)
    rows, columns = rows or fixed[0], columns or (fixed[1] if len(fixed) > 1 else "")
    pairs = [
        (a, b)
        for a in _levels(table.levels, rows)
        for b in _levels(table.levels, columns)
        if (a, b) in set(zip(table.level_of[rows], table.level_of[columns], strict=True))
    ]
    exact = split(table.cells)["exact"].to_numpy()
    asked = {
        (pair, her2): Estimand(
            "share", f"her2={her2}", tuple(zip((rows, columns), pair, strict=True))
        )
        for pair in pairs
        for her2 in table.classes
    }
    known = by_estimand(fit.estimates(list(asked.values())))
    drawn: dict[str, list[figures.Row | None]] = {her2: [] for her2 in table.classes}
    last = pairs[0][0]
    at = [table.level_of[name] for name in (rows, columns)]
    for pair in pairs:
        inside = [k for k, found in enumerate(zip(*at, strict=True)) if found == pair]
        counted = exact[inside].sum(axis=0)
        for k, her2 in enumerate(table.classes):
            if pair[0] != last:
                drawn[her2].append(None)
            n = int(counted.sum())
            raw = (100 * counted[k] / n if n else float("nan"),) * 3
            row = known[str(asked[pair, her2])]
            drawn[her2].append(figures.Row(f"{pair[0]}, {pair[1]}", n, raw, pooled(row)))
        last = pair[0]
    return figures.forest(drawn, _reference(fit))


def _reference(fit: Shares) -> dict[str, float]:
    """Posterior median of each class among all patients, in percent.

    Counted shares are no reference where readings of several classes are left out of them.
    """
    if "" not in fit.counts:
        return {}
    known = by_estimand(fit.estimates([f"share[her2={h}]" for h in fit.analyses[0].table.classes]))
    shares = {h: known.get(estimand_of("", "", h)) for h in fit.analyses[0].table.classes}
    return {h: row["posterior_median"] for h, row in shares.items() if row}


def prior_figure(fit: Shares) -> Drawing:
    """Shares of all patients before and after the data."""
    return figures.prior_to_posterior(_before_after(fit))


def unknown_table(analyses: Sequence[Analysis], odds: Sequence[float]) -> pd.DataFrame:
    """Shares of all patients where the odds of a class among the unknown are a multiple."""
    rows = []
    for analysis in analyses:
        table = analysis.table
        if not isinstance(table, Crossed):
            continue
        unknown = split(table.cells)["unknown"].to_numpy() / np.maximum(table.patients, 1)
        if not unknown.any():
            continue
        share = analysis.fit.posterior["share"]
        weight = xr.DataArray(table.patients / table.patients.sum(), dims="subgroup")
        missing = xr.DataArray(unknown, dims="subgroup")
        for her2 in table.classes:
            own = share.sel(her2=her2, drop=True)
            row = {"HER2": her2}
            for times in odds:
                tilted = own * 0 + 1 if np.isinf(times) else times * own / (1 - own + times * own)
                whole = (weight * ((1 - missing) * own + missing * tilted)).sum("subgroup")
                low, middle, high = 100 * np.quantile(whole, (0.025, 0.5, 0.975))
                row[_ODDS.get(times, f"odds times {times:g}")] = interval(
                    middle, low, high, unit="%"
                )
            rows.append(row)
    return pd.DataFrame(rows)


_ODDS = {0.0: "none of them", 1.0: "missing at random", float("inf"): "all of them"}


def crossed_section(fit: Shares, *, shared: bool = False) -> Section:
    """Report shares from crossed cells; ``shared``: nothing that is counted, models only."""
    table, analysis = _crossed(fit), fit.analyses[0]
    estimates = fit.estimates()
    known = by_estimand(estimates)
    drawn = [_drawing_of(fit, "prior", "Prior and posterior: HER2 status of all patients")]
    tables = [_shares_table(fit, factor, known, shared=shared) for factor in ("", *table.levels)]
    for factor in table.levels:
        title = f"HER2 status by {lower(fit.labels[factor])}"
        which = "groups" if factor in table.exchangeable else "shares"
        if not shared:
            drawn.append(_drawing_of(fit, which, title, factor))
    fixed = [f for f in table.levels if f not in table.exchangeable]
    if len(fixed) > 1 and not shared:
        title = f"HER2 status by {' and '.join(lower(fit.labels[f]) for f in fixed[:2])}"
        drawn.append(_drawing_of(fit, "grid", title, *fixed[:2]))
    if not shared:
        counts = {f: fit.counts[f] for f in ("", *fixed)}
        if fixed:
            tables.insert(0, association_table(counts, fit.labels, estimates))
        unknown = fit.unknown()
        if len(unknown):
            tables.append(Table("If unknown status is not missing at random", unknown, _MNAR))
    tables += _spread_tables(estimates)
    return Section(
        id="distribution",
        title="HER2 status: distribution across subgroups",
        paragraphs=_crossed_paragraphs(fit, shared),
        figures=tuple(drawn),
        tables=tuple(tables),
        fits=(
            fit_card(
                analysis.fit,
                fit.title if not shared else "HER2 status",
                estimates,
                Judged() if shared else judged(analysis.fit, "tau"),
            ),
        ),
    )


_MNAR = (
    "Proportions of all patients, percent with 95 % CrI, if in each cell the odds of the class "
    "among patients of unknown status are a multiple of those among the others."
)


def _crossed_paragraphs(fit: Shares, shared: bool) -> tuple[str, ...]:
    table = _crossed(fit)
    lines = [] if shared else [". ".join(upper(fact) for fact in fit.facts) + "."]
    several = len(table.levels) > 1
    lines.append(
        "One model for all patients: the logits of the proportions are an intercept plus effects "
        "of "
        + ("factors and of their pairs" if several and table.interactions else "each factor")
        + ", with shrinkage estimated from the data. A reading of several classes counts "
        "as one of them (coarsened at random); an unknown reading says nothing of the class, and "
        "its patient still weighs in the cell."
    )
    if several:
        lines.append(
            "A proportion in a level is crude. A standardised proportion sets the whole population "
            "to that level and keeps the other factors as they are: it is adjusted for these "
            "factors only."
        )
    for factor in table.exchangeable:
        lines.append(
            f"Levels of {factor.replace('_', ' ')} are taken as a sample of groups. A "
            f"{table.new(factor)} is predicted: the mean of groups and a deviation drawn anew."
        )
    return tuple(lines)


def _shares_table(fit: Shares, factor: str, known: Known, *, shared: bool) -> Table:
    table = _counts_of(fit, factor)
    label = fit.labels[factor]
    if not shared:
        made = table_of(factor, label, table, known)
        frame = made.frame
    else:
        made = None
        frame = pd.DataFrame(
            [{"Level": level or ALL, "HER2": her2} for level, her2, _, _ in cells_of(table)]
        )
    levels = ["" if level == ALL else level for level in frame["Level"]] if len(frame) else []
    crossed = _crossed(fit)
    if shared:
        for which in ("posterior", "prior"):
            frame[upper(which)] = [
                percent_of(known.get(estimand_of(factor, level, her2), {}), which)
                for level, her2 in zip(levels, frame["HER2"], strict=True)
            ]
    if factor and len(crossed.levels) > 1:
        standard = [
            percent_of(known.get(_standard(factor, level, her2), {}), "posterior")
            for level, her2 in zip(levels, frame["HER2"], strict=True)
        ]
        frame.insert(len(frame.columns) - (0 if shared else 2), "Standardised", standard)
    if factor in crossed.exchangeable:
        new = crossed.new(factor)
        more = [
            {"Level": new, "HER2": her2, "Posterior": percent_of(known[text], "posterior"),
             "Prior": percent_of(known[text], "prior")}
            for her2 in crossed.classes
            if (text := estimand_of(factor, new, her2)) in known
        ]  # fmt: skip
        frame = pd.concat([frame, pd.DataFrame(more)], ignore_index=True).fillna("")
    caption = made.caption if made else "Percent with 95 % CrI."
    if not shared and table.attrs.get("partial"):
        caption += f" {_biased(table)}"
    title = "HER2 status of all patients" if not factor else f"HER2 status by {lower(label)}"
    return Table(title, frame, caption)


def _biased(table: xr.DataArray) -> str:
    return upper(BIASED.format(partial=table.attrs["partial"])) + "."


def _spread_tables(estimates: pd.DataFrame) -> list[Table]:
    mine = estimates[estimates["estimand"].str.startswith("heterogeneity[her2 logit")]
    rows = [
        {
            "Term": row["estimand"].partition("; ")[2].rstrip("]").replace("_x_", " x "),
            "Posterior": interval(*(row[f"posterior_{k}"] for k in ("median", "lower", "upper"))),
            "Prior": interval(*(row[f"prior_{k}"] for k in ("median", "lower", "upper"))),
            "Contraction": row["contraction"],
            "Convergence": row["convergence"],
        }
        for row in mine.to_dict("records")
    ]
    caption = "tau: standard deviation of effects on logits, where the data can teach it."
    return [Table("Spread of effects", pd.DataFrame(rows), caption)] if rows else []


def _drawing_of(fit: Shares, which: str, title: str, *factors: str) -> Figure:
    drawing = getattr(fit.figures, which)(*factors)
    name = "-".join([which, *factors]).replace("_", "-")
    verdict = worst(fit.estimates()["convergence"])
    warning = "" if verdict == CONVERGED else f" This fit is {verdict}."
    return Figure(f"figure-distribution-{name}", title, style.svg(drawing),
                  _CAPTIONS[which] + warning, title)  # fmt: skip


_CAPTIONS = {
    "prior": "Grey: prior density. Colour: posterior density. Each curve is scaled to its "
    "own height.",
    "shares": "Open circles: proportion of readings of one class, 95 % CI (Wilson). Filled: "
    "posterior median with 95 % CrI; the arrow is the effect of pooling and of readings of "
    "several classes. Dotted: posterior of all patients.",
    "groups": "Posterior median and 95 % CrI of each group in the order of the first class; "
    "rings: observed. Dashed: a group without readings of one class, or not seen "
    "(predicted). Dotted: posterior of all patients.",
    "grid": "Posterior median and 95 % CrI at each combination of levels; rings: observed.",
}


def _standard(factor: str, level: str, her2: str) -> str:
    return str(Estimand("standardised_share", f"her2={her2}", ((factor, level),)))


def _before_after(fit: Shares) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    table = fit.analyses[0].table
    texts = [f"share[her2={her2}]" for her2 in table.classes]
    after, before = (fit.draws(texts, group=group) for group in ("posterior", "prior"))
    return {
        her2: (100 * before[text].to_numpy().ravel(), 100 * after[text].to_numpy().ravel())
        for her2, text in zip(table.classes, texts, strict=True)
    }


def _counts_of(fit: Shares, factor: str) -> xr.DataArray:
    if factor not in fit.counts:
        allowed = ", ".join(name for name in fit.counts if name)
        raise BadInput(Fault("no such factor", value=factor, allowed=allowed))
    return fit.counts[factor]


def _levels(levels: Mapping[str, Sequence[str]], factor: str) -> Sequence[str]:
    if factor not in levels:
        raise BadInput(Fault("no such factor", value=factor, allowed=", ".join(levels)))
    return levels[factor]


def _crossed(fit: Shares) -> Crossed:
    table = fit.analyses[0].table
    if not isinstance(table, Crossed):
        raise BadInput(Fault("factors are not crossed here", remedy="give patients, or cells"))
    return table


METHODS = (
    "Posterior numbers come from a Bayesian model of the counts; they are medians with 95 % "
    "equal-tailed credible intervals (CrI), with the prior of the same quantity beside them. "
    "Contraction is one minus the ratio of posterior to prior variance: 0 where the data carry no "
    "information on it, 1 where they determine it.",
    "Observed proportions have Wilson 95 % CI and count readings of one class only; the table of "
    "classical numbers adds Clopper-Pearson and Jeffreys intervals, tests and directly "
    "standardised shares. Differences of shares carry Newcombe's interval (method 10).",
)


def cohort_section(fit: Shares, below: int = 0) -> Section:
    """Who was counted; to share, only what became of the rows, small counts hidden."""
    flow = fit.flow
    facts = [f"{upper(fact)}." for fact in fit.facts] or [f"{fit.title}."]
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    if flow is not None:
        shown = conceal_flow(flow, below) if below else flow
        tables = (Table("Flow", shown.rename(columns=str.capitalize), "What every rule did."),)
        figures = () if below else (flow_figure(flow),)
    if not below and (any(fit.counts) or fit.described):
        note = " Readings that leave several classes open are in the model and not counted here."
        labels = {**fit.labels, **{name: _label(name) for name in fit.described}}
        tables = (table_one(fit.counts, labels, note, fit.described), *tables)
    text = (SHARED,) if below else (" ".join(facts),)
    return Section("cohort", "Cohort", text, figures, tables)


def _label(column: str) -> str:
    return upper(column.replace("_", " "))


def bare(estimates: pd.DataFrame) -> pd.DataFrame:
    """Rows whose notes say no number of patients."""

    def without(note: str) -> str:
        parts = [
            part
            for part in note.split("; ")
            if not re.search(r"[0-9].*patients|unknown|left out", part)
        ]
        return "; ".join(parts)

    return estimates.assign(note=estimates["note"].map(without))

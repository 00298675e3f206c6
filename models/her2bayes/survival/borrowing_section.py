"""Survival with patients from elsewhere on the page: every choice beside the others.

Forest of choices, curves over the weight, tables, and what each choice does over repeated trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from her2bayes.estimand import Estimand, parse
from her2bayes.page import style
from her2bayes.page.fit_card import worst
from her2bayes.page.numbers import count, interval, number, probability, survival_time
from her2bayes.page.section import Figure, FitCard, Section, Table
from her2bayes.survival import survival_borrowing
from her2bayes.survival.borrowing import Borrowed
from her2bayes.survival.borrowing_exact import Design
from her2bayes.survival.borrowing_sweep import POWER, ROBUST
from her2bayes.survival.figures import endpoint_name

_WIDTH, _ROW, _HEAD, _FOOT = 400, 34, 34, 40  # px
MOST_PANELS = 4
CHANCES = (0.5, 0.975)  # probabilities whose crossing is told


def section(borrowed: Borrowed) -> Section:
    """Forest of choices, tipping curves, tables of every estimand and of simulated trials."""
    further = [] if borrowed.trials is None else [_trials(borrowed.trials, borrowed.design)]
    return Section(
        id="borrowing",
        title="Borrowing from patients elsewhere",
        paragraphs=tuple(_paragraphs(borrowed)),
        figures=(_forest(borrowed), _tipping(borrowed)),
        tables=(_choices(borrowed), _estimates(borrowed), _studies(borrowed), *further),
        fits=(_card(borrowed),),
    )


def _card(one: Borrowed) -> FitCard:
    """All runs of the sweep as one card."""
    priors = dict(pair.split(" ", 1) for pair in one.about["priors"].split("; "))
    return FitCard(
        fit_id=one.fit_id,
        title="Borrowing: every choice",
        model="survival_borrowing",
        equations=(survival_borrowing.__doc__ or "").strip(),
        priors=priors,
        diagnostics={
            "Runs of one compiled model": one.about["runs"],
            "Divergences, all runs": one.about["divergences"],
            "Monte-Carlo error of the learned weight's log density": number(one.weight.error, 2),
        },
        convergence=worst(one.table["convergence"]),
        provenance={"Sampling": one.about["sampling"], "Data, SHA-256": one.about["data"]},
    )


def _paragraphs(one: Borrowed) -> Iterator[str]:
    own, external = one.result.follow_up, one.external
    names = ", ".join(external.follow_ups)
    yield (
        f"{count(own.events, 'event')} here and {external.events:g} elsewhere ({names}), within "
        f"the longest own follow-up of {own.last_time:.1f} months; external follow-up after it is "
        "not used. Every choice of borrowing is shown, none is recommended: a judgement that the "
        "studies are alike is not in the data. “None” is the analysis above."
    )
    yield (
        "With a power prior an external patient counts as a part of a patient, in the level of "
        "the hazard, its shape and the hazard ratios alike. The normalised power prior learns the "
        "part, uniform between 0 and 1 before the data. With the commensurate prior the level and "
        "the hazard ratios elsewhere may differ from those here, by a factor whose size is "
        "learned (tau half-normal, 0.5), and the shape over time is common. The robust prior "
        "mixes it with a vague part (effective sample size: one event)."
    )
    for text in (*one.missing, *_tips(one)):
        yield text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _tips(one: Borrowed) -> Iterator[str]:
    """Where over the weight the probability of a hazard ratio below 1 crosses a limit."""
    for estimand in _ratios(one):
        rows = _trace_rows(one, estimand, POWER)
        weight, chance = rows["weight"].to_numpy(), rows["posterior_probability"].to_numpy()
        found = []
        for limit in CHANCES:
            gap = chance - limit
            for i in np.flatnonzero(np.sign(gap[:-1]) * np.sign(gap[1:]) < 0):
                at = weight[i] + (weight[i + 1] - weight[i]) * gap[i] / (gap[i] - gap[i + 1])
                found.append(f"{probability(limit)} at weight {at:.2f}")
        crossing = f"; it crosses {' and '.join(found)}" if found else ""
        yield (
            f"{_title(estimand)}: P(HR < 1) goes from {probability(chance[0])} with weight 0 to "
            f"{probability(chance[-1])} with weight 1{crossing}."
        )


def _ratios(one: Borrowed) -> list[Estimand]:
    return [estimand for estimand in one.asked if estimand.kind == "hazard_ratio"]


def _title(estimand: Estimand) -> str:
    if estimand.contrast:
        return f"{estimand.contrast.a} vs {estimand.contrast.b}"
    who = ", ".join(level for _, level in estimand.given) or "all patients"
    return f"{who} at {estimand.time:g} months"


def _panels(one: Borrowed) -> list[Estimand]:
    """First hazard ratio, and survival by level at the landmark where it is nearest to a half."""
    table = one.table[one.table["choice"] == "none"].set_index("estimand")["posterior_median"]
    survival = [e for e in one.asked if e.kind == "survival"]
    times = sorted({float(e.time or 0) for e in survival})
    at = {
        t: float(np.mean([abs(table[str(e)] - 50) for e in survival if e.time == t])) for t in times
    }
    best = min(at, key=lambda t: at[t])
    chosen = [e for e in survival if e.time == best]
    return [*_ratios(one)[:1], *chosen][:MOST_PANELS]


def _forest(one: Borrowed) -> Figure:
    worth = {choice.name: choice.worth for choice in one.choices}
    panels: dict[str, list[Bar]] = {}
    for estimand in _panels(one):
        rows = one.table[one.table["estimand"] == str(estimand)].to_dict("records")
        panels[_title(estimand)] = [
            Bar(
                str(row["label"]),
                f"adds {number(max(worth[str(row['choice'])], 0.0), 0)}",
                _three(row),
            )
            for row in rows
        ]
    ratios = [_title(e) for e in _ratios(one)]
    end = endpoint_name(one.result.follow_up.endpoint)
    return Figure(
        "figure-borrowing-survival",
        f"{end} under every choice of borrowing",
        draw_forest(panels, ratios, f"{end}, %"),
        "Posterior median with 95 % CrI. ESS: what the choice adds to the prior of the "
        "level of the hazard, in events.",
        "; ".join(f"{row.label} {number(row.values[0], 2)}" for row in next(iter(panels.values()))),
    )


def _three(row: Mapping[Any, Any]) -> tuple[float, float, float]:
    return row["posterior_median"], row["posterior_lower"], row["posterior_upper"]


def _tipping(one: Borrowed) -> Figure:
    panels = {}
    for estimand in _panels(one):
        power, robust = (_trace(_trace_rows(one, estimand, name)) for name in (POWER, ROBUST))
        panels[_title(estimand)] = (power, robust)
    ratios = [_title(e) for e in _ratios(one)]
    first, (power, _) = next(iter(panels.items()))
    end = endpoint_name(one.result.follow_up.endpoint)
    names = (
        "power prior: weight of each external patient",
        "robust prior: weight of the commensurate part",
    )
    return Figure(
        "figure-tipping-survival",
        "How the answer depends on the weight of the external patients",
        draw_tipping(panels, ratios, f"{end} %", names),
        "Posterior median with 95 % CrI over the weight: of the power prior (band) and of the "
        "commensurate part of the robust prior (dashed limits). At its weight 0 the shape of the "
        "hazard over time is still common, and the prior of the level has an effective sample "
        "size of one event.",
        f"{first}: {number(power.median[0], 2)} at weight 0, {number(power.median[-1], 2)} at 1.",
    )


def _trace_rows(one: Borrowed, estimand: Estimand, prior: str) -> pd.DataFrame:
    table = one.tipping
    chosen = table[(table["estimand"] == str(estimand)) & (table["prior"] == prior)]
    return chosen.sort_values("weight")


def _trace(rows: pd.DataFrame) -> Trace:
    names = ("weight", "posterior_median", "posterior_lower", "posterior_upper")
    return Trace(*(rows[name].to_numpy(float) for name in names))


def _choices(one: Borrowed) -> Table:
    asked = [str(estimand) for estimand in _panels(one)]
    shown = {(row["choice"], row["estimand"]): row for row in one.table.to_dict("records")}
    found = []
    for choice in one.choices:
        row: dict[str, str] = {
            "Choice": choice.label,
            "ESS, events": number(choice.worth, 1),
            "Conflict": probability(choice.conflict),
        }
        for text in asked:
            values = shown[choice.name, text]
            unit, title = str(values["unit"]), _title(parse(text))
            row[f"{title}{', %' if unit == '%' else ''}"] = _shown(values, "posterior")
        row["Learned"] = choice.learned
        row["fit_id"] = one.fit_id
        found.append(row)
    caption = (
        "Medians with 95 % CrI. ESS: expected local-information ratio, less that of the "
        "prior alone; a power prior with weight a adds about a times the external events. "
        "Conflict: two-sided predictive probability of the own events, given their person-months, "
        "before they were seen; small means that the choice did not expect these patients."
    )
    error = one.weight.error
    if error > 0.5:
        caption += (
            f" The weight of the normalised power prior is rough: its log density has a "
            f"Monte-Carlo error of {error:.1f}."
        )
    return Table("Choices of borrowing", pd.DataFrame(found), caption)


def _estimates(one: Borrowed) -> Table:
    found = []
    for row in one.table.to_dict("records"):
        chance = probability(row["posterior_probability"])
        found.append(
            {
                "Estimand": row["estimand"],
                "Choice": row["label"],
                "Posterior (95 % CrI)": _shown(row, "posterior") or "not reached",
                "P(HR < 1)": chance,
                "Before the own patients": _shown(row, "before"),
                "Convergence": row["convergence"],
            }
        )
    caption = "Every estimand under every choice; the file borrowing.csv has the same rows."
    return Table("Estimates by choice", pd.DataFrame(found), caption)


def _shown(row: Mapping[Any, Any], name: str) -> str:
    median, low, high = (row[f"{name}_{part}"] for part in ("median", "lower", "upper"))
    unit = str(row["unit"])
    if unit == "months":
        return survival_time(median, low, high, unit)
    return interval(median, low, high, None if unit else 2, unit=unit)


def _studies(one: Borrowed) -> Table:
    found = []
    for name, follow_up in one.external.follow_ups.items():
        cells = one.external.cells.sel(study=name)
        left = "; ".join(f"{reason}: {n}" for reason, n in follow_up.left_out.items())
        found.append(
            {
                "Study": name,
                "Patients": follow_up.patients,
                "Events used": int(cells["events"].sum()),
                "Person-months used": number(float(cells["person_months"].sum()), 0),
                "Left out": left or "none",
            }
        )
    return Table("External studies", pd.DataFrame(found), "Within the own follow-up.")


def _trials(trials: pd.DataFrame, of: Design) -> Table:
    rows = [
        {
            "Choice": row["choice"],
            "True hazard, times external": number(row["ratio"], 2),
            "Type-I error": number(100 * row["type_1_error"], 1),
            "Bias": number(row["bias"], 3),
            "RMSE": number(row["rmse"], 3),
            "Coverage": number(100 * row["coverage"], 1),
            "Width": number(row["width"], 2),
        }
        for row in trials.to_dict("records")
    ]
    number_of = int(trials["trials"].iloc[0])
    caption = (
        f"{number_of:,} simulated trials a row of {of.patients} patients followed for "
        f"{of.months:.1f} months, with one constant hazard; external patients as given. Every "
        "posterior is computed, none sampled. Type-I error: percent of trials that claim, with "
        "97.5 % certainty, a hazard below the true one (nominally 2.5 %; standard error up to "
        f"{100 * 0.5 / number_of**0.5:.1f} points). Bias, RMSE and width of the 95 % CrI on "
        "the log hazard; coverage in percent."
    )
    return Table("What each choice does over repeated trials", pd.DataFrame(rows), caption)


@dataclass(frozen=True)
class Bar:
    """One choice: label, what it is worth, and median with limits (NaN where not reached)."""

    label: str
    detail: str
    values: tuple[float, float, float]


@dataclass(frozen=True)
class Trace:
    """An estimate over the weight: ``weight``, ``median``, ``lower`` and ``upper``."""

    weight: np.ndarray
    median: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def draw_forest(panels: Mapping[str, Sequence[Bar]], ratios: Sequence[str], axis: str) -> str:
    """Draw one panel an estimand; those of ``ratios`` on a logarithmic axis with a line at 1."""
    with style.drawing():
        return style.svg(*(_forest_panel(n, rows, n in ratios, axis) for n, rows in panels.items()))


def _forest_panel(name: str, rows: Sequence[Bar], ratio: bool, axis: str) -> Any:
    total = _ROW * len(rows)
    height = _HEAD + total + _FOOT
    figure, axes = style.new_figure(_WIDTH, height)
    figure.set_layout_engine("none")
    axes.set_position((14 / _WIDTH, _FOOT / height, 1 - 28 / _WIDTH, total / height))
    known = np.array([row.values for row in rows])
    low, high = float(np.nanmin(known)), float(np.nanmax(known))
    if ratio:
        axes.set_xscale("log")
        low, high = min(low, 0.9) / 1.1, max(high, 1.1) * 1.1
        axes.axvline(1, color=style.MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=0)
        ticks = [t for t in (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10) if low <= t <= high]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
    else:
        low, high = 0.0, 100.0
    axes.set(xlim=(low, high), ylim=(total, 0), yticks=())
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("hazard ratio" if ratio else axis)
    figure.text(8 / _WIDTH, 1 - 14 / height, name, weight="bold", size=12, va="center")
    decimals = 2 if ratio else 1
    for place, row in enumerate(rows):
        top = _ROW * place
        middle, lower, upper = row.values
        text = axes.get_yaxis_transform()  # x in the axes, y in rows
        axes.text(0, top + 10, row.label, va="center", size=10.5, transform=text)
        shown = f"{row.detail} · {number(middle, decimals)}"
        axes.text(1, top + 10, shown, va="center", ha="right", size=10, color=style.MUTED,
                  transform=text)  # fmt: skip
        axes.plot((lower, upper), (top + 24, top + 24), color=style.GREEN, linewidth=3)
        axes.plot(middle, top + 24, "o", markersize=6.5, color=style.GREEN,
                  markeredgecolor=style.PAPER, markeredgewidth=1.2, clip_on=False)  # fmt: skip
    return figure


def draw_tipping(
    panels: Mapping[str, tuple[Trace, Trace]],
    ratios: Sequence[str],
    axis: str,
    names: Sequence[str],
) -> str:
    """Draw each estimand over the weight of two priors: a band and a line, and dashed lines."""
    with style.drawing():
        figures = []
        for name, (power, robust) in panels.items():
            figure, axes = style.new_figure(_WIDTH, 240)
            axes.fill_between(power.weight, power.lower, power.upper, color=style.BLUE,
                              alpha=0.25, linewidth=0)  # fmt: skip
            axes.plot(power.weight, power.median, color=style.BLUE, linewidth=2)
            axes.plot(robust.weight, robust.median, color=style.ORANGE, linewidth=1.8)
            for edge in (robust.lower, robust.upper):
                axes.plot(robust.weight, edge, color=style.ORANGE, linewidth=1,
                          linestyle=(0, (3, 2)))  # fmt: skip
            if name in ratios:
                axes.axhline(1, color=style.MUTED, linewidth=1, linestyle=(0, (2, 2)))
            else:
                axes.set_ylim(0, 100)
            axes.set(xlim=(0, 1))
            axes.set_xlabel("weight")
            axes.set_title(name if name in ratios else f"{name}, {axis}")
            figures.append(figure)
        return style.svg(*figures, key=_tipping_key(names))


def _tipping_key(names: Sequence[str]) -> Any:
    figure, axes = style.new_figure(style.PANEL_WIDTH, 20 * len(names))
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, style.PANEL_WIDTH), ylim=(20 * len(names), 0))
    axes.set_axis_off()
    for place, (name, colour) in enumerate(zip(names, (style.BLUE, style.ORANGE), strict=True)):
        y = 20 * place + 10
        axes.plot((8, 32), (y, y), color=colour, linewidth=3)
        axes.text(40, y, name, va="center", size=10.5)
    return figure

"""Figure of the validation of reconstructed cohorts: ranks, coverage, and widths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from her2bayes.calibration.run import LEVEL, band
from her2bayes.cohorts.validation import run as validation
from her2bayes.cohorts.validation.exercise import LEVEL as INTERVAL
from her2bayes.cohorts.validation.exercise import QUANTITIES
from her2bayes.page.section import Figure
from her2bayes.page.section_view import standalone

COLUMNS = 3
SHORT = {"log hazard ratio": "log HR", "restricted mean": "RMST"}


def short(quantity: str) -> str:
    """Name of a quantity that fits beside a drawing."""
    for long, brief in SHORT.items():
        quantity = quantity.replace(long, brief)
    return quantity


def figure(exercises: pd.DataFrame, judged: pd.DataFrame) -> Figure:
    """Ranks by quantity, then coverage and widths of the ensemble and of both controls."""
    from her2bayes.page import style

    lines = -(-len(QUANTITIES) // COLUMNS)
    with style.drawing():
        canvas, _ = style.new_figure(900, 110 * lines + 460)
        canvas.clear()
        parts: Any = canvas.subfigures(2, 1, height_ratios=[110 * lines + 40, 420])
        above, below = parts
        for part in (above, below):
            part.set_facecolor("none")
        _ranks(above, exercises, judged)
        coverage, widths = below.subplots(1, 2, sharey=True, width_ratios=[2.0, 1.0])
        _coverage(coverage, judged)
        _widths(widths, judged)
        below.legend(*coverage.get_legend_handles_labels(), loc="outside lower center", ncols=4)
        drawing = style.svg(canvas)
    return Figure("validation", "Cohorts from printed numbers, and the truth", drawing, _caption())


def _caption() -> str:
    return (
        "Above, parameters from the reference prior: distribution of the rank of the truth among "
        "19 members, minus the uniform one; the grey band holds all points of all panels with "
        "probability 95 %. Below left, share of exercises whose 90 % interval holds the truth, "
        "with 95 % Wilson intervals; dashed 90 %, dotted the 80 % wanted on real cohorts. An "
        "annealed cohort counts as right within half a unit of what would be quoted of it. Below "
        "right, median width of the interval relative to cohorts made from patients and deaths "
        "alone (log scale)."
    )


def _ranks(place: Any, exercises: pd.DataFrame, judged: pd.DataFrame) -> None:
    from her2bayes.page import style

    mine = exercises[exercises["source"] == validation.PRIOR]
    good = judged[judged["origin"] == "prior"].set_index("quantity")["uniform"]
    lines = -(-len(QUANTITIES) // COLUMNS)
    place.suptitle(
        "Truth from the reference prior: distribution of its rank among 19 cohorts, minus uniform",
        x=0.01, ha="left", fontsize=11, fontweight="bold",
    )  # fmt: skip
    panels = place.subplots(lines, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for panel, name in zip(panels.flat, QUANTITIES, strict=False):
        panel.set_title(short(name), fontsize=9, loc="left", fontweight="normal")
        panel.set_xticks([0, 0.5, 1])
        ranks = np.sort(mine.loc[mine["quantity"] == name, "rank"].dropna().to_numpy(float))
        if not ranks.size:
            continue
        grid, lower, upper = band(ranks.size, LEVEL / len(QUANTITIES))
        spread = np.sort(validation.uniform_ranks(ranks))
        share = np.searchsorted(spread, grid, side="right") / ranks.size
        panel.fill_between(grid, lower - grid, upper - grid, color=style.FAINT, linewidth=0)
        colour = style.BLUE if good.get(name, False) else style.VERMILLION
        panel.plot(grid, share - grid, color=colour, linewidth=1.2)


def _coverage(panel: Any, judged: pd.DataFrame) -> None:
    from her2bayes.page import style

    series = (
        ("prior", "covered", "truth from the prior", style.BLUE, "o"),
        ("real", "covered", "real patients", style.GREEN, "s"),
        ("real", "restarts_covered", "real: 19 annealed cohorts", style.ORANGE, "^"),
        ("real", "annealed_covered", "real: one annealed cohort", style.VERMILLION, "x"),
    )
    for place, (origin, column, label, colour, marker) in enumerate(series):
        rows = judged[judged["origin"] == origin].set_index("quantity").reindex(QUANTITIES)
        at = np.arange(len(QUANTITIES)) + 0.18 * (place - 1.5)
        share = 100 * rows[column].to_numpy(float)
        ends = [100 * rows[f"{column}_{end}"].to_numpy(float) for end in ("lower", "upper")]
        panel.hlines(at, *ends, color=colour, linewidth=1.2)
        panel.plot(share, at, marker, color=colour, markersize=5, label=label, linestyle="none")
    panel.axvline(100 * INTERVAL, color=style.MUTED, linewidth=0.8, linestyle="--")
    panel.axvline(100 * validation.WANTED, color=style.MUTED, linewidth=0.8, linestyle=":")
    panel.set_yticks(np.arange(len(QUANTITIES)), [short(name) for name in QUANTITIES])
    panel.set_ylim(len(QUANTITIES) - 0.5, -0.5)
    panel.set_xlim(-2, 102)
    panel.set_title("Exercises whose 90 % interval holds the truth", fontsize=11)
    panel.set_xlabel("%")


def _widths(panel: Any, judged: pd.DataFrame) -> None:
    from her2bayes.page import style

    for place, (origin, colour, marker) in enumerate(
        (("prior", style.BLUE, "o"), ("real", style.GREEN, "s"))
    ):
        rows = judged[judged["origin"] == origin].set_index("quantity").reindex(QUANTITIES)
        at = np.arange(len(QUANTITIES)) + 0.2 * (place - 0.5)
        panel.plot(rows["width_of_counts"], at, marker, color=colour, markersize=5)
    panel.axvline(1, color=style.MUTED, linewidth=0.8, linestyle="--")
    panel.set_xscale("log")
    ticks = [0.001, 0.01, 0.1, 0.5, 1]
    panel.set_xticks(ticks, [f"{t:g}" for t in ticks])
    panel.set_xlim(0.0007, 1.5)
    panel.minorticks_off()
    panel.set_title("Width over width from counts", fontsize=11)
    panel.set_xlabel("patients and deaths alone = 1")


def files(exercises: pd.DataFrame, judged: pd.DataFrame) -> dict[str, str]:
    """Tables and the figure by name."""
    return {
        "exercises.csv": exercises.to_csv(index=False),
        "verdict.csv": judged.to_csv(index=False),
        "validation.svg": standalone(figure(exercises, judged).svg),
    }

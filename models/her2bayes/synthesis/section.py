"""What the sections on several studies share: the forest, influence, answers in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from her2bayes.estimand import Estimand
from her2bayes.page import style
from her2bayes.page.numbers import interval, p_value
from her2bayes.page.section import Table
from her2bayes.synthesis.base import AVERAGE, NEW, STUDY, Synthesis, at, coverage_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


Three = tuple[float, float, float]

_WIDTH, _ROW, _FOOT, _LABEL = 640, 26, 44, 190
SURPRISING = 0.05
"""Predictive P below which a study is named as in conflict with the others."""


@dataclass(frozen=True)
class Line:
    """One row of a forest: as printed and as fitted, each (value, lower, upper)."""

    label: str
    raw: Three | None
    fitted: Three
    whole: bool = False


def forest(lines: Sequence[Line], axis: str, *, ratio: bool = False) -> Canvas:
    """Draw rows with the printed number hollow, the fitted one filled; wholes below a rule."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    height = _ROW * len(lines) + _FOOT
    with style.drawing():
        figure, axes = style.new_figure(_WIDTH, height)
        figure.set_layout_engine("none")
        axes.set_position((_LABEL / _WIDTH, _FOOT / height, 1 - (_LABEL + 16) / _WIDTH,
                           1 - (_FOOT + 4) / height))  # fmt: skip
        axes.set(ylim=(len(lines), 0), yticks=())
        axes.set_xlabel(axis)
        ends = [x for line in lines for three in (line.raw, line.fitted) if three for x in three]
        if ratio:
            axes.set_xscale("log")
            low, high = max(0.05, min(ends)), min(20.0, max(ends))
            axes.set_xlim(low / 1.1, high * 1.1)
            known = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20)
            axes.set_xticks([x for x in known if low / 1.1 <= x <= high * 1.1])
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.axvline(1, color=style.MUTED, linewidth=1, zorder=0)
        else:
            axes.set_xlim(0, min(100.0, 10 * np.ceil((max(ends) + 2) / 10)))
        for k, line in enumerate(lines):
            colour = style.VERMILLION if line.whole else style.BLUE
            if line.whole and not lines[k - 1].whole:
                axes.axhline(k, color=style.MUTED, linewidth=0.8)
            figure.text(8 / _WIDTH, 1 - (4 + _ROW * (k + 0.5)) / height, line.label, va="center",
                        size=10.5, weight="bold" if line.whole else "normal")  # fmt: skip
            if line.raw:
                axes.plot(line.raw[1:], (k + 0.3, k + 0.3), color=style.MUTED, linewidth=1.1)
                axes.plot(line.raw[0], k + 0.3, "o", markersize=5.5, markerfacecolor=style.PAPER,
                          markeredgecolor=style.MUTED)  # fmt: skip
            axes.plot(line.fitted[1:], (k + 0.62, k + 0.62), color=colour, linewidth=2.6)
            axes.plot(line.fitted[0], k + 0.62, "D" if line.whole else "o", markersize=6,
                      color=colour, markeredgecolor=style.PAPER)  # fmt: skip
    return figure


KEY = (
    "Hollow: as printed, where it is, with its 95 % confidence interval. Filled: posterior median "
    "with 95 % credible interval, drawn towards the other studies. Red: the average of the "
    "studies, and what a new study may expect."
)


def three(row: Any, name: str = "posterior") -> Three:
    """Median and 95 % limits of a row of estimates."""
    median, low, high = (float(row[f"{name}_{end}"]) for end in ("median", "lower", "upper"))
    return median, low, high


def wholes(fit: Synthesis, asked: Estimand) -> Iterator[tuple[str, Estimand]]:
    """Labels and estimands of the average and of a new study."""
    for study in (AVERAGE, NEW):
        for where in fit.places():
            yield (
                ", ".join(filter(None, (f"{study} study", *where.values()))),
                at(asked, study, **where),
            )


def lines_of(fit: Synthesis, rows: Sequence[tuple[str, Estimand]]) -> list[Line]:
    """Rows of a forest, by label and estimand."""
    table = fit.estimates().set_index("estimand")
    classical = fit.classical()
    known = classical.drop_duplicates("estimand").set_index("estimand") if len(classical) else None
    found = []
    for label, one in rows:
        raw = None
        if known is not None and str(one) in known.index:
            row: Any = known.loc[str(one)]
            raw = (float(row["reproduced"]), float(row["reproduced_lower"]),
                   float(row["reproduced_upper"]))  # fmt: skip
        whole = dict(one.given).get(STUDY) in (AVERAGE, NEW)
        found.append(Line(label, raw, three(table.loc[str(one)]), whole))
    return found


def said(fit: Synthesis, asked: Estimand) -> str:
    """Posterior median and 95 % interval of an estimand, in words."""
    row = fit.estimates([asked]).iloc[0]
    unit = "%" if row["unit"] == "%" else row["unit"]
    median, low, high = three(row)
    return f"{interval(median, low, high, unit=unit)} {unit}".strip()


def svg(figure: Canvas) -> str:
    """Drawing of a page."""
    with style.drawing():
        return style.svg(figure)


def conflicts(influence: pd.DataFrame) -> Iterator[str]:
    """Sentences on studies that the others do not predict, and on what moves the average."""
    bad = influence[influence["p"] < SURPRISING]
    expected = SURPRISING * len(influence)
    if len(bad):
        names = "; ".join(
            " ".join(filter(None, (r["study"], r["level"], r.get("her2", r.get("transition", "")))))
            + f" (predictive P {p_value(r['p'])})"
            for r in bad.to_dict("records")
        )
        yield (
            f"In conflict with the others at predictive P below {SURPRISING:g}: {names}. Of "
            f"{len(influence)} predictions {expected:.1f} would be so by chance."
        )
    else:
        yield f"No study is in conflict with the others (predictive P {SURPRISING:g} or more each)."


def refitted(fit: Synthesis) -> tuple[str, ...]:
    """Sentences on studies left out, where that was asked for."""
    if not fit.refitted:
        return ()
    return (*conflicts(fit.refitted["influence"]), coverage_text(fit.coverage()))


def refitted_tables(fit: Synthesis, unit: str) -> tuple[Table, ...]:
    """Tables of studies left out and of other priors, where they were asked for."""
    if not fit.refitted:
        return ()
    varied = Table("Other priors on the spread between studies", fit.refitted["prior_sensitivity"])
    return influence_table(fit.refitted["influence"], unit), varied


def influence_table(influence: pd.DataFrame, unit: str) -> Table:
    """Each study as the others predict it; ``unit`` follows the words."""
    frame = influence.rename(columns={
        "study": "Study", "level": "Level", "her2": "HER2", "transition": "Transition",
        "observed": f"Observed{unit}", "predicted": f"Predicted by the others{unit}",
        "lower": "95 % from", "upper": "to", "p": "Predictive P",
        "average": "Average", "average_without": "Average without it",
    })  # fmt: skip
    return Table("Each study predicted by the others", frame,
                 "95 % equal-tailed predictive intervals; P is two-sided.")  # fmt: skip


def answers(fit: Synthesis) -> Table:
    """Average and new study, as a table."""
    rows = []
    for row in fit.estimates().to_dict("records"):
        if f"{STUDY}={AVERAGE}" in row["estimand"] or f"{STUDY}={NEW}" in row["estimand"]:
            unit = row["unit"]
            rows.append({
                "Quantity": row["estimand"],
                "Posterior (95 % CrI)": interval(*three(row), unit=unit) + f" {unit}",
                "Prior": interval(*three(row, "prior"), unit=unit) + f" {unit}",
                "Note": row["note"],
            })  # fmt: skip
    return Table("Average and new study", pd.DataFrame(rows))

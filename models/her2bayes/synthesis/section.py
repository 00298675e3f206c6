"""The section on several studies: forest of studies, average and new; influence; decisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from her2bayes.estimand import Estimand
from her2bayes.inference.convergence import CONVERGED
from her2bayes.page import style
from her2bayes.page.fit_card import exact_card, fit_card
from her2bayes.page.numbers import interval, p_value
from her2bayes.page.section import Figure, Section, Table
from her2bayes.synthesis.base import AVERAGE, NEW, STUDY, at

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from her2bayes.synthesis.base import Synthesis
    from her2bayes.synthesis.effects import EffectsFit
    from her2bayes.synthesis.shares import SharesFit
    from her2bayes.synthesis.transitions import StudyTransitionsFit

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


_KEY = (
    "Hollow: as printed, with its 95 % confidence interval. Filled: posterior median with 95 % "
    "credible interval, drawn towards the other studies. Red: the average of the studies, and what "
    "a new study may expect."
)


def _three(row: Any, name: str = "posterior") -> Three:
    median, low, high = (float(row[f"{name}_{end}"]) for end in ("median", "lower", "upper"))
    return median, low, high


def _wholes(fit: Synthesis, asked: Estimand) -> Iterator[tuple[str, Estimand]]:
    """Labels and estimands of the average and of a new study."""
    for study in (AVERAGE, NEW):
        for where in fit.places():
            yield (
                ", ".join(filter(None, (f"{study} study", *where.values()))),
                at(asked, study, **where),
            )


def _lines(fit: Synthesis, rows: Sequence[tuple[str, Estimand]]) -> list[Line]:
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
        found.append(Line(label, raw, _three(table.loc[str(one)]), whole))
    return found


def shares_forest(fit: SharesFit, her2: str) -> Canvas:
    """Forest of the share of one class, by study and level."""
    return forest(_share_lines(fit, her2), f"HER2-{her2}, % of patients")


def _share_lines(fit: SharesFit, her2: str) -> list[Line]:
    asked = Estimand("share", f"her2={her2}")
    rows = [(one["row"], at(asked, one["study"], **fit.level(one["level"])))
            for one in fit._study_rows()]  # fmt: skip
    return _lines(fit, [*rows, *_wholes(fit, asked)])


def transitions_forest(fit: StudyTransitionsFit, transition: str) -> Canvas:
    """Forest of one transition, by study and level."""
    asked, within = Estimand("transition", transition), fit.about.within
    rows = []
    for name in map(str, fit.strata["stratum"].values):
        here = fit.strata.sel(stratum=name)
        level = fit.level(str(here[within].item())) if within else {}
        rows.append((name, at(asked, str(here[STUDY].item()), **level)))
    lines = _lines(fit, [*rows, *_wholes(fit, asked)])
    return forest(lines, f"{transition}, % of the primary class")


def effects_forest(fit: EffectsFit) -> Canvas:
    """Forest of an effect, by study and level."""
    asked = fit.question
    names, studies, levels = (map(str, fit.data[c].values) for c in ("row", "study", "level"))
    rows = [(name, at(asked, study, **fit.level(level)))
            for name, study, level in zip(names, studies, levels, strict=True)]  # fmt: skip
    lines = _lines(fit, [*rows, *_wholes(fit, asked)])
    return forest(lines, _axis(fit), ratio=fit.unit(asked) is None)


def _axis(fit: EffectsFit) -> str:
    asked = fit.question
    words = asked.kind.replace("_", " ")
    if asked.contrast and asked.contrast.a:
        words += f", {asked.contrast.a} vs {asked.contrast.b}"
    return f"{words[:1].upper()}{words[1:]} ({asked.outcome})" if asked.outcome else words


def funnel(fit: EffectsFit) -> Canvas:
    """Estimates against their standard errors, with what the average and no spread would give."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    with style.drawing():
        figure, axes = style.new_figure(420, 300)
        y, e = np.exp(fit.data["estimate"].values), fit.data["error"].values
        middle = float(np.median(fit.fit.posterior["beta"].isel(term=0)))
        ends = np.array([0.0, e.max() * 1.1])
        for side in (-1.96, 1.96):
            axes.plot(np.exp(middle + side * ends), ends, color=style.MUTED, linewidth=1)
        axes.axvline(np.exp(middle), color=style.VERMILLION, linewidth=1)
        axes.plot(y, e, "o", color=style.BLUE)
        axes.set(xscale="log", ylim=(ends[1], 0), xlabel=_axis(fit),
                 ylabel="standard error of the logarithm")  # fmt: skip
        low, high = axes.get_xlim()
        known = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100)
        axes.set_xticks([x for x in known if low <= x <= high])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    return figure


# sections


def _said(fit: Synthesis, asked: Estimand) -> str:
    row = fit.estimates([asked]).iloc[0]
    unit = "%" if row["unit"] == "%" else row["unit"]
    median, low, high = _three(row)
    return f"{interval(median, low, high, unit=unit)} {unit}".strip()


def _svg(figure: Canvas) -> str:
    with style.drawing():
        return style.svg(figure)


def _conflicts(influence: pd.DataFrame) -> Iterator[str]:
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


_DECISIONS = (
    "Per 100 re-biopsied: newly eligible (a higher class) and lost (a lower one). needed: number "
    "to re-biopsy for one newly eligible. net_benefit: true positives per 100 at a threshold "
    "probability, against re-biopsying nobody. tilt: how many times the odds of being re-biopsied "
    "were higher for patients who changed (1: at random); tipping_tilt: where re-biopsy stops "
    "being worth it in the median. Readings count as true: assay error is not allowed for."
)


def _refitted(fit: Synthesis) -> tuple[str, ...]:
    return () if fit.refitted is None else tuple(_conflicts(fit.refitted))


def _refitted_tables(fit: Synthesis, unit: str) -> tuple[Table, ...]:
    return () if fit.refitted is None else (_influence_table(fit.refitted, unit),)


def _influence_table(influence: pd.DataFrame, unit: str) -> Table:
    frame = influence.rename(columns={
        "study": "Study", "level": "Level", "her2": "HER2", "transition": "Transition",
        "observed": f"Observed{unit}", "predicted": f"Predicted by the others{unit}",
        "lower": "95 % from", "upper": "to", "p": "Predictive P",
        "average": "Average", "average_without": "Average without it",
    })  # fmt: skip
    return Table("Each study predicted by the others", frame,
                 "95 % equal-tailed predictive intervals; P is two-sided.")  # fmt: skip


_POOLING = (
    "95 % confidence and prediction intervals, with the quantile of the method (t with "
    "Hartung-Knapp, else normal)."
)


def effects(fit: EffectsFit) -> Section:
    """Report an effect over studies."""
    asked = fit.question
    where = {fit.about.within: fit.levels[0]} if fit.about.within else {}
    average, new = (_said(fit, at(asked, study, **where)) for study in (AVERAGE, NEW))
    level = f" at {fit.about.within} {fit.levels[0]}" if where else ""
    t, p = fit.small_studies()
    first = (
        f"In the average of {len(fit.names)} studies{level} it is {average}; a new study may "
        f"expect {new} (95 % credible and predictive intervals)."
    )
    k = len(fit.names)
    few = "" if k > 4 else (
        f" With {k} studies the spread between them rests mostly on its prior: read the table of "
        "priors."
    )  # fmt: skip
    small = "" if np.isnan(t) else f" Small studies: Egger's regression P {p_value(p)}."
    assert fit.refitted is not None
    lines = [first + few, " ".join(_conflicts(fit.refitted)) + small]
    key = ("The posterior is computed by quadrature over the spreads, without sampling.",)
    card = exact_card(ExactOf(fit), fit.title,
                      {n: f"{p}: {w}" for n, (p, w) in fit.priors().items()})  # fmt: skip
    card["diagnostics"] = {"Method": "quadrature over the spreads; independent draws"}
    return Section(
        id="synthesis", title=f"{len(fit.names)} studies: {_axis(fit)}",
        paragraphs=(*lines, *key),
        figures=(Figure("figure-synthesis", "Studies, their average and a new study",
                        _svg(effects_forest(fit)), _KEY),
                 Figure("figure-funnel", "Estimates by standard error", _svg(funnel(fit)),
                        "Grey: 95 % limits around the average if studies did not differ.")),
        tables=(Table("Classical pooling", fit.pooling(), _POOLING),
                _influence_table(fit.refitted, ""),
                Table("Under other priors on the spread", fit.prior_sensitivity())),
        fits=(card,),
    )  # fmt: skip


def ExactOf(fit: EffectsFit) -> Any:  # noqa: N802
    """Name of a computed posterior, for its card."""
    from her2bayes.inference.fit import ExactFit

    return ExactFit("random_effects", fit.inputs)


def shares(fit: SharesFit) -> Section:
    """Report shares over studies."""
    within, classes = fit.about.within, fit.classes
    lines = []
    for level in fit.levels:
        where = {within: level} if within else {}
        said = "; ".join(
            f"{name} {_said(fit, at(Estimand('share', f'her2={name}'), NEW, **where))}"
            for name in classes
        )
        lines.append(f"{within.replace('_', ' ')} {level}: {said}" if within else said)
    first = "What a new study and centre may expect (95 % predictive intervals): " + ". ".join(
        lines
    )
    spread = "; ".join(
        f"{name} {_said(fit, Estimand('heterogeneity', f'her2={name}', contrast=_by_study()))}"
        for name in classes
    )
    second = f"Standard deviation between studies of the log odds of a class: {spread}."
    figures = tuple(
        Figure(
            f"figure-synthesis-{k}", f"HER2-{name} by study", _svg(shares_forest(fit, name)), _KEY
        )
        for k, name in enumerate(classes)
    )
    middle = figures[min(1, len(figures) - 1)]
    return Section(
        id="synthesis", title=f"HER2 status in {len(fit.names)} studies",
        paragraphs=(f"{first}.", second, *_refitted(fit)),
        figures=(middle, *(f for f in figures if f is not middle)),
        tables=(_answers(fit), *_refitted_tables(fit, ", %")),
        fits=(fit_card(fit.fit, fit.title, fit.estimates()),),
    )  # fmt: skip


def _by_study() -> Any:
    from her2bayes.estimand import Contrast

    return Contrast(STUDY)


def _answers(fit: Synthesis) -> Table:
    """Average and new study, as a table."""
    rows = []
    for row in fit.estimates().to_dict("records"):
        if f"{STUDY}={AVERAGE}" in row["estimand"] or f"{STUDY}={NEW}" in row["estimand"]:
            unit = row["unit"]
            rows.append({
                "Quantity": row["estimand"],
                "Posterior (95 %)": interval(*_three(row), unit=unit) + f" {unit}",
                "Prior": interval(*_three(row, "prior"), unit=unit) + f" {unit}",
                "Note": row["note"],
            })  # fmt: skip
    return Table("Average and new study", pd.DataFrame(rows))


def transitions(fit: StudyTransitionsFit) -> Section:
    """Report transitions over studies."""
    first, second = fit.classes[0], fit.classes[1]
    where = {fit.about.within: fit.levels[0]} if fit.about.within else {}
    level = f" ({fit.about.within} {fit.levels[0]})" if where else ""
    change = _said(fit, at(Estimand("transition", f"{first} -> {second}"), NEW, **where))
    needed = _said(fit, at(Estimand("number_to_rebiopsy", first), NEW, **where))
    text = (
        f"In a new study{level} {change} of HER2-{first} tumours would be HER2-{second}. To find "
        f"one patient newly eligible one would re-biopsy {needed} patients with a {first} primary "
        "(95 % predictive intervals)."
    )
    figures = tuple(
        Figure(f"figure-synthesis-{a}-{b}", f"{a} to {b} by study",
               _svg(transitions_forest(fit, f"{a} -> {b}")), _KEY)
        for a in fit.classes for b in fit.classes if a != b
    )  # fmt: skip
    verdict = fit.estimates()["convergence"]
    bad = "" if (verdict == CONVERGED).all() else " Some rows did not converge."
    return Section(
        id="synthesis", title=f"{fit.about.question}: {len(fit.about.studies)} studies",
        paragraphs=(text + bad, *_refitted(fit)), figures=figures,
        tables=(_answers(fit), Table("Whom to re-biopsy, in a new study", fit.decisions(),
                                     _DECISIONS), *_refitted_tables(fit, ", %")),
        fits=(fit_card(fit.fit, fit.title, fit.estimates()),),
    )  # fmt: skip

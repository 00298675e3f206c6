"""The section on sensitivity: one sentence a conclusion, then what moves it and how far.

``Sensitivity`` is what is returned: its numbers, and this section of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from her2bayes.errors import BadInput, Fault
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.files import csv_text, digests, publish
from her2bayes.inference.convergence import failed
from her2bayes.inference.sampling import Settings
from her2bayes.page import style
from her2bayes.page.numbers import count, interval, number, probability
from her2bayes.page.page import AnalysisPage
from her2bayes.page.report import QUICK, analysis_files, record_text, run_record
from her2bayes.page.section import Figure, Section, Table
from her2bayes.page.style import Figures
from her2bayes.sensitivity.summary import (
    Cell,
    Limits,
    counting,
    influence,
    methods_used,
    stability_map,
)
from her2bayes.sensitivity.summary import surface as surface_figure
from her2bayes.sensitivity.summary import tornado as tornado_figure
from her2bayes.sensitivity.target import (
    AS_REPORTED,
    BASE,
    Axis,
    Target,
    crossed,
    not_asked,
    one_at_a_time,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

_FAMILIES = {
    "distribution": "shares of HER2 classes",
    "transition": "change of HER2 class",
    "pairs": "change of HER2 class",
    "survival": "survival",
    "rates": "rates of response and of adverse events",
    "printed": "hazard ratios",
    "joint": "true classes and survival by them",
}


def section(result: Sensitivity) -> Section:
    """Report all conclusions of a sensitivity analysis."""
    drawn = [*_maps(result), *(_conclusion_figure(result, c) for c in result.conclusions)]
    return Section(
        id="sensitivity",
        title="Does the conclusion survive?",
        paragraphs=tuple(_paragraphs(result)),
        figures=tuple(drawn),
        tables=(
            _conclusions_table(result),
            _scenario_table(result),
            _power_table(result),
            _axes_table(result),
            _not_asked_table(result),
        ),
    )


def _paragraphs(result: Sensitivity) -> list[str]:
    limits = result.limits
    used = methods_used(result.table)
    parts = [f"{used[name]} {words}" for name, words in (
        ("exact", "in closed form"), ("refit", "refitted in full"),
        ("re-weighted", "re-weighted from the widest prior"), ("impossible", "impossible"),
    ) if used.get(name)]  # fmt: skip
    text = [
        f"One rule for a statement and its opposite: a conclusion holds where its probability is "
        f"{number(limits.holds, 3)} or more, fails where that of its opposite is (its own is "
        f"{number(1 - limits.holds, 3)} or less), and is uncertain between. It is robust where "
        "every scenario that counts gives the stance of the reported analysis, else fragile. The "
        "reported analysis is that of the report: the same fit, the same draws. A scenario does "
        "not count, and is shown apart, where its model fails its predictive check or is said not "
        "to fit what is asked, or where it leaves out half of the contrast asked about. Scenarios "
        "are choices that could have been made, not draws from anything: how many of them keep a "
        "conclusion is no probability.",
        f"{count(int(result.table.drop_duplicates(['analysis', 'scenario']).shape[0]), 'scenario')}"
        f": {', '.join(parts)}. Re-weighting counts only where Pareto k-hat and the effective "
        "sample size of the weighted draws allow it"
        + (f" ({used['refused']} were refused and refitted)." if used.get("refused") else "."),
    ]
    return text + [f"{k}. {s}" for k, s in enumerate(result.summary["sentence"], 1)]


def _numbered(result: Sensitivity) -> dict[str, str]:
    return {c.id: str(k) for k, c in enumerate(result.conclusions, 1)}


def _maps(result: Sensitivity) -> list[Figure]:
    """A stability map for each family: scenarios with one change, all conclusions beside them."""
    names = _numbered(result)
    found = []
    for family in dict.fromkeys(t.family for t in result.targets):
        targets = [t for t in result.targets if t.family == family]
        scenarios, _ = _cells(targets, result, names)
        asked = [names[c.id] for t in targets for c in t.conclusions]
        found.append(
            Figure(
                id=f"figure-stability-{family}",
                title=f"Stability map: {_FAMILIES[family]}",
                svg=style.svg(stability(result, family)),
                caption=(
                    "Each cell: probability of the conclusion in percent when one choice is made "
                    "otherwise. Blue: holds; grey: uncertain; red: fails; none: the facts "
                    "contradict each other; *: the fit did not converge; †, without colour: shown "
                    "apart, it says nothing on the conclusion. Columns are the numbered "
                    "conclusions above. Empty: the choice does not exist for that conclusion."
                ),
                alt=f"Probabilities of {count(len(asked), 'conclusion')} under "
                f"{count(len(scenarios), 'scenario')}.",
            )
        )
    return found


def _cells(
    targets: Sequence[Target], result: Sensitivity, names: Mapping[str, str]
) -> tuple[list[tuple[str, str]], dict[tuple[str, str], Cell]]:
    groups: dict[str, dict[str, None]] = {}
    ids: dict[str, str] = {}
    for target in targets:
        for axis in (None, *target.axes):
            scenarios = one_at_a_time([axis])[1:] if axis else [BASE]
            group = axis.kind if axis else "analysis"
            for found in scenarios:
                groups.setdefault(group, {})[str(found)] = None
                ids[str(found)] = found.id
    table = result.table
    cells = {}
    for row in table[table["scenario"].isin(ids.values())].to_dict("records"):
        if row["conclusion"] in {c.id for t in targets for c in t.conclusions}:
            mark = "*" if failed(row["convergence"]) else ""
            mark += "†" if row["apart"] else ""
            cells[row["changed"], names[row["conclusion"]]] = Cell(
                row["probability"], "" if row["apart"] else row["stance"], mark
            )
    return [(group, text) for group, texts in groups.items() for text in texts], cells


def _conclusion_figure(result: Sensitivity, conclusion: Conclusion) -> Figure:
    target = result.target(conclusion.id)
    moved = influence(counting(result.table), target.axes, conclusion.id)
    rows = [(str(r["axis"]), r["least"], r["most"]) for r in moved.to_dict("records")]
    base = _base(result, conclusion.id)
    panels = [tornado(result, conclusion.id)]
    if conclusion.id in result.surfaces:
        panels.append(surface(result, conclusion.id))
    most = f" {rows[0][0][:1].upper()}{rows[0][0][1:]} moves it most." if rows else ""
    return Figure(
        id=f"figure-sensitivity-{conclusion.id.replace('.', '-').replace('_', '-')}",
        title=f"{_numbered(result)[conclusion.id]}. {conclusion}",
        svg=style.svg(*panels),
        caption=(
            f"Left: range of the probability along each choice alone; solid line as reported "
            f"({probability(base['probability'])}), dotted lines where it holds and fails.{most}"
            + (" Right: probability in percent over the two numeric choices that move it most; "
               "the border between colours is where the conclusion tips."
               if len(panels) > 1 else "")
        ),
        alt=str(result.summary.set_index("conclusion").loc[conclusion.id, "sentence"]),
    )  # fmt: skip


def _base(result: Sensitivity, conclusion: str) -> pd.Series:
    table = result.table
    return table[(table["conclusion"] == conclusion) & (table["scenario"] == BASE.id)].iloc[0]


def stability(result: Sensitivity, family: str = "") -> MatplotlibFigure:
    """Draw every scenario with one change (rows) beside the conclusions of a family (columns)."""
    family = family or result.targets[0].family
    targets = [t for t in result.targets if t.family == family]
    if not targets:
        allowed = ", ".join(dict.fromkeys(t.family for t in result.targets))
        raise BadInput(Fault("no such family of conclusions", value=family, allowed=allowed))
    names = _numbered(result)
    scenarios, cells = _cells(targets, result, names)
    with style.drawing():
        asked = [names[c.id] for t in targets for c in t.conclusions]
        return stability_map(scenarios, asked, cells)


def tornado(result: Sensitivity, conclusion: str = "") -> MatplotlibFigure:
    """Draw the range of the probability of a conclusion (the first, or by id) along each choice."""
    asked = result.conclusion(conclusion)
    moved = influence(counting(result.table), result.target(asked.id).axes, asked.id)
    rows = [(str(r["axis"]), r["least"], r["most"]) for r in moved.to_dict("records")]
    base = float(_base(result, asked.id)["probability"])
    with style.drawing():
        return tornado_figure(rows, base, result.limits.holds)


def surface(result: Sensitivity, conclusion: str = "") -> MatplotlibFigure:
    """Draw the probability over the two numeric choices that move a conclusion most."""
    asked = result.conclusion(conclusion)
    if asked.id not in result.surfaces:
        allowed = ", ".join(result.surfaces) or "none"
        problem = "no two numeric choices were crossed for this conclusion"
        raise BadInput(Fault(problem, value=asked.id, allowed=allowed))
    target, names = result.target(asked.id), result.surfaces[asked.id]
    axes = {axis.name: axis for axis in target.axes}
    first, second = (axes[name] for name in names)
    rows = result.table[result.table["conclusion"] == asked.id].set_index("scenario")
    shape = (len(first.ordered), len(second.ordered))
    grid, stances = np.full(shape, np.nan), np.full(shape, "", dtype=object)
    for place, of in enumerate(crossed(target.axes, names)):
        # the product runs over the axes in the order of the target, the first one slowest
        at = np.unravel_index(place, shape)
        if of.id in rows.index:
            grid[at], stances[at] = rows.loc[of.id, "probability"], rows.loc[of.id, "stance"]
    with style.drawing():
        return surface_figure(names, _texts(first), _texts(second), grid, stances)


def _texts(axis: Axis) -> list[str]:
    return [f"{value:g}" for value in axis.ordered]


def _conclusions_table(result: Sensitivity) -> Table:
    rows = []
    for place, said in enumerate(result.summary.to_dict("records"), 1):
        base = _base(result, str(said["conclusion"]))
        values = (base["median"], base["lower"], base["upper"])
        rows.append(
            {
                "Conclusion": f"{place}. {said['statement']}",
                "Where": said["locator"],
                "Estimate": interval(*values, unit=base["unit"])
                + (" %" if base["unit"] == "%" else ""),
                "Stance": said["stance"],
                "P": probability(said["probability"]),
                "P under the prior": probability(said["prior_probability"]),
                "Least P": probability(said["least"]),
                "Most P": probability(said["most"]),
                "Verdict": said["robust"],
                "Note": said["note"],
            }
        )
    caption = (
        "As reported, with the range over all scenarios that count. Robust: one stance in all. "
        "The file sensitivity.csv has every scenario."
    )
    return Table("Conclusions", pd.DataFrame(rows), caption)


def _scenario_table(result: Sensitivity) -> Table:
    """Every scenario of every conclusion, to be looked up by the choice and its value."""
    base = {c.id: _base(result, c.id)["probability"] for c in result.conclusions}
    names = _numbered(result)
    axes = {t.name: [axis.name for axis in t.axes] for t in result.targets}
    rows = []
    for row in result.table.to_dict("records"):
        choice, value = _changed(row["changed"], axes.get(row["analysis"], []))
        said = row["convergence"]
        rows.append(
            {
                "Choice": choice,
                "Made otherwise": value,
                "Conclusion": f"{names[row['conclusion']]}. {row['statement']}",
                "P": probability(row["probability"]),
                "P as reported": probability(base[row["conclusion"]]),
                "Stance": row["stance"] + (f" ({said})" if failed(said) else ""),
                "Shown apart": row["apart"],
                "Estimate": interval(row["median"], row["lower"], row["upper"], unit=row["unit"])
                + (" %" if row["unit"] == "%" else ""),
                "P under the prior": probability(row["prior_probability"]),
                "Method": row["method"],
            }
        )
    frame = pd.DataFrame(rows).sort_values("Choice", kind="stable", key=_reported_first)
    caption = "Choose what to change, and how: the probability of every conclusion it touches."
    return Table("Scenarios", frame, caption, choose=("Choice", "Made otherwise"))


def _reported_first(choices: pd.Series) -> pd.Series:
    """Sort key: the analysis as reported, then single choices, then pairs, each as they come."""
    order = {name: k for k, name in enumerate(dict.fromkeys(choices))}
    return choices.map(
        lambda name: (
            (0 if name == AS_REPORTED else 1 + name.count(" and ")) * len(order) + order[name]
        )
    )


def _changed(words: str, axes: Sequence[str]) -> tuple[str, str]:
    """Split what a scenario changes into the names of its axes and their values."""
    if words == AS_REPORTED:
        return AS_REPORTED, ""
    found: list[tuple[str, str]] = []
    for part in words.split(", "):
        name = max((axis for axis in axes if part.startswith(f"{axis} ")), key=len, default="")
        if name:
            found.append((name, part.removeprefix(f"{name} ")))
        elif found:  # a value that holds a comma
            found[-1] = (found[-1][0], f"{found[-1][1]}, {part}")
    if not found:
        return words, ""
    return " and ".join(n for n, _ in found), "; ".join(v for _, v in found)


def _power_table(result: Sensitivity) -> Table:
    rows = [
        {
            "Conclusion": said["statement"],
            "Prior": number(said["prior_sensitivity"], 3),
            "Likelihood": number(said["likelihood_sensitivity"], 3),
            "Diagnosis": said["power_scaling"]
            or ("none" if np.isfinite(said["likelihood_sensitivity"]) else "not available"),
        }
        for said in result.summary.to_dict("records")
    ]
    caption = (
        "Sensitivity of the estimate to raising the priors of top-level parameters (never effects "
        "of groups), or the likelihood, to a power near 1. Above 0.05 for both: prior and data "
        "disagree; for the prior alone: strong prior or weak data. Available where the model was "
        "sampled and has log densities."
    )
    return Table("Power-scaling", pd.DataFrame(rows), caption)


def _not_asked_table(result: Sensitivity) -> Table:
    frame = not_asked(result.targets).rename(columns=str.capitalize)
    caption = "Choices that a reader may expect and that these data do not let anybody make."
    return Table("Not asked, and why", frame, caption)


def _axes_table(result: Sensitivity) -> Table:
    rows = []
    for target in result.targets:
        for axis in target.axes:
            values = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in axis.values)
            rows.append(
                {
                    "Choice": axis.name,
                    "Kind": axis.kind,
                    AS_REPORTED.capitalize(): f"{axis.base:g}"
                    if isinstance(axis.base, float)
                    else str(axis.base),
                    "Tried": values if len(values) < 200 else f"{len(axis.values)} values",
                    "Meaning": axis.meaning,
                }
            )
    frame = pd.DataFrame(rows).drop_duplicates().reset_index(drop=True)
    return Table("Choices", frame, "What was changed, and the values tried.")


METHODS = (
    "The reported analysis is the one of the report, read from its fits. "
    "Each choice is changed alone, and the two numeric choices that move a conclusion most are "
    "then crossed. Scenarios that change only scales of priors start from draws under the widest "
    "of them: importance weights, the ratio of the joint densities, are Pareto-smoothed and used "
    "if k-hat is below min(0.7, 1 - 1/log10 S) and the effective sample size of the weighted "
    "draws is at least 400; otherwise the model is fitted again. All others are fitted again. "
    "The probability of a conclusion under the prior of each scenario stands beside it in the "
    "table: where the two are alike, the data said little.",
    "Hazard ratios of a paper come from its reconstructed cohorts where the report has them. "
    "Otherwise, and as a choice beside them, the printed interval stands alone: a normal "
    "likelihood of the log hazard ratio times a normal prior, which takes the paper's model and "
    "estimator as they are. Rates have the models of the report; one binomial with a beta prior "
    "is a choice beside them.",
    "Power-scaling raises the prior of top-level parameters, or the likelihood, to a power near 1 "
    "and asks how far the estimate moves (Kallioinen et al. 2024).",
)


def write(result: Sensitivity, folder: Path) -> Path:
    """Write the tables of scenarios, conclusions and what is not asked, the page and its record."""
    about, settings = dict(result.about), result.settings
    run = run_record(about, settings) | {
        "limits": asdict(result.limits),
        "scenarios": methods_used(result.table),
        "seconds": {name: round(value, 1) for name, value in result.seconds.items()},
        "minutes": round(result.minutes, 2),
    }
    notices = [QUICK] if settings.quick else []
    notices += [f"Not converged: {line}" for line in result.failed]
    page = AnalysisPage(
        about,
        "sensitivity analysis",
        f"{count(len(result.conclusions), 'conclusion')}: {_counted(result.summary)}.",
        (section(result),),
        METHODS,
        tuple(notices),
        {name: value for name, value in run.items() if name != "study"},
        "report.html" if (folder / "report.html").exists() else "",
    )
    files: dict[str, str | bytes] = {
        "sensitivity.csv": csv_text(result.table),
        "sensitivity_not_asked.csv": csv_text(result.not_asked),
        "sensitivity_summary.csv": csv_text(result.summary),
        **analysis_files(page, "sensitivity"),
    }
    record = record_text({**run, "files": digests(files)})
    publish(folder, {**files, "sensitivity.json": record})
    return folder / "sensitivity.html"


def _counted(summary: pd.DataFrame) -> str:
    """How many conclusions have each stance as reported, and how many of them are robust."""
    parts = []
    for stance, rows in summary.groupby("stance", sort=False):
        robust = int((rows["robust"] == "robust").sum())
        parts.append(f"{len(rows)} {stance} as reported ({robust} in every scenario tried)")
    return ", ".join(parts)


@dataclass(frozen=True, repr=False, eq=False)
class Sensitivity:
    """What the scenarios say of each conclusion; printing it says so in a line each.

    ``table`` (also ``frame``) has one row a conclusion and scenario, ``summary`` one row a
    conclusion, ``surfaces`` its two crossed axes, ``seconds`` what the workers spent. ``about``
    says whose conclusions they are; ``settings`` and ``minutes`` how they were asked.
    """

    conclusions: tuple[Conclusion, ...]
    targets: tuple[Target, ...]
    table: pd.DataFrame
    summary: pd.DataFrame
    surfaces: Mapping[str, tuple[str, str]]
    limits: Limits
    seconds: Mapping[str, float]
    about: Mapping[str, str] = field(default_factory=dict)
    settings: Settings = Settings()  # noqa: RUF009 (frozen)
    minutes: float = 0.0

    def target(self, conclusion: str) -> Target:
        """Target that answers a conclusion."""
        return next(t for t in self.targets if conclusion in {c.id for c in t.conclusions})

    def conclusion(self, name: str = "") -> Conclusion:
        """Conclusion by id or statement, the first where none is named; ``BadInput`` otherwise."""
        for one in self.conclusions:
            if name in ("", one.id, str(one)):
                return one
        allowed = ", ".join(one.id for one in self.conclusions)
        raise BadInput(Fault("no such conclusion", value=name, allowed=allowed))

    @property
    def frame(self) -> pd.DataFrame:
        """One row a conclusion and scenario, as in ``sensitivity.csv``."""
        return self.table

    @property
    def not_asked(self) -> pd.DataFrame:
        """Choices that a reader may expect and that these data do not let anybody make."""
        return not_asked(self.targets)

    @property
    def failed(self) -> tuple[str, ...]:
        """Scenarios that did not converge, a line a conclusion."""
        return tuple(
            f"{row['conclusion']}: {row['not_converged']}"
            for row in self.summary.to_dict("records")
            if row["not_converged"]
        )

    @property
    def figures(self) -> Figures:
        """``stability(family)``, ``tornado(conclusion)``, ``surface(conclusion)``."""
        drawings = (stability, tornado, surface)
        return Figures({draw.__name__: partial(draw, self) for draw in drawings})

    def section(self) -> Section:
        """All conclusions as a section of a report."""
        return section(self)

    def write(self, out: str | Path) -> Path:
        """Write sensitivity.csv, _summary.csv, _not_asked.csv, the page and its record into a
        folder, and return the page; raises ``BadInput`` where that cannot be.
        """
        return write(self, Path(out))

    @property
    def lines(self) -> tuple[str, ...]:
        """One line a conclusion: stance, whether it is robust, probability and its range."""
        return tuple(
            f"{row['stance']:<9} {row['robust']:<8} P {probability(row['probability'])} "
            f"({probability(row['least'])} to {probability(row['most'])})  {row['statement']}"
            for row in self.summary.to_dict("records")
        )

    def __str__(self) -> str:
        """One line a conclusion, then what did not converge."""
        return "\n".join((*self.lines, *(f"Not converged: {line}" for line in self.failed)))

    def __repr__(self) -> str:
        """One line."""
        return f"<Sensitivity: {len(self.conclusions)} conclusions, {len(self.table)} rows>"

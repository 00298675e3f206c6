"""The section on transitions: parts of every one, and that on a paper's printed facts.

Of a paper it says what the facts determine, bound, or leave open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from her2bayes.estimand import parse
from her2bayes.page import style
from her2bayes.page.fit_card import Judged, fit_card
from her2bayes.page.numbers import count, interval, number, p_value, probability
from her2bayes.page.section import Figure, Section, Table
from her2bayes.transition import figures
from her2bayes.transition.assay_error import NOT_IDENTIFIED, tipping_point
from her2bayes.transition.paper import (
    DESCRIPTIVE,
    IDENTIFIED,
    identified,
    is_fixed,
    with_patients,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from her2bayes.transition.draws import Matrix
    from her2bayes.transition.paper import Result, TableAnalysis

CORE = "The dark core of a band ends where the 95 % CrI of its flow begins, the light rim where"


def svg(*drawn: Canvas, key: Canvas | None = None) -> str:
    """Drawings as the page takes them."""
    with style.drawing():
        return style.svg(*drawn, key=key)


def alluvial_figure(matrix: Matrix, who: str, key: str, pairs: str = "") -> Figure:
    """Flows of one matrix in this cohort; ``pairs`` says which readings they are of."""
    flow = figures.flow_square(matrix, pairs)
    observed = "primary" if flow.readings == figures.READINGS else "first"
    start, end = figures.largest_change(flow)
    return Figure(
        id=f"transition-alluvial-{key}",
        title=f"From {' to '.join(flow.readings)}",
        svg=svg(figures.alluvial(flow, matrix.pairs)),
        caption=f"{who}. Heights are posterior medians in percent of all patients"
        f"{f', with the {observed} classes as observed' if matrix.pairs else ''}. {CORE} it ends.",
        alt=f"Flows between HER2 classes. Largest change: {start} to {end}, "
        f"{interval(*figures.at(flow, start, end), unit='%')} % of patients. Each band tells its "
        "numbers.",
    )


def matrix_figure(matrices: Sequence[Matrix], who: str, key: str, title: str) -> Figure:
    """Transition probabilities with intervals, one panel a matrix."""
    return Figure(
        id=f"transition-matrix-{key}",
        title=title,
        svg=svg(*[figures.heat(figures.matrix_square(m)) for m in matrices]),
        caption=f"{who}. Probability of each class at recurrence given the class of the primary: "
        "posterior median and 95 % CrI, in percent; every row sums to 100. Blue: the class "
        "changes; grey: it stays.",
        alt="Transition matrices as a table of medians with intervals; the numbers are in the "
        "table of estimates.",
    )


def contraction_figure(matrix: Matrix, estimates: pd.DataFrame, who: str, key: str) -> Figure:
    """Prior and posterior of each cell with the contraction."""
    lines = figures.contraction_lines(matrix, estimates)
    drawn = figures.intervals(lines, label=figures.PERCENT, remark="contraction")
    return Figure(
        id=f"transition-contraction-{key}",
        title="Transition probabilities: prior and posterior",
        svg=svg(drawn, key=figures.key(lines)),
        caption=f"{who}. 95 % CrI. Contraction is 1 minus the ratio of posterior to prior "
        "variance: near 1 the data determine the estimate, near 0 the prior does.",
        alt="Prior and posterior credible intervals of all transition probabilities.",
    )


def scenario_figure(
    matrices: Mapping[str, Matrix], who: str, key: str, title: str, caption: str
) -> Figure:
    """The same cells under several scenarios or priors."""
    lines = figures.scenario_lines(matrices)
    drawn = figures.intervals(lines, label=figures.PERCENT)
    return Figure(
        id=f"transition-scenarios-{key}",
        title=title,
        svg=svg(drawn, key=figures.key(lines)),
        caption=f"{who}. {caption}",
        alt="Credible intervals of all transition probabilities under each scenario.",
    )


def tipping_figure(tipping: pd.DataFrame, observed: Matrix, who: str, how: str) -> Figure:
    """True discordance of all patients by the accuracy of the assay, beside that of readings."""
    return Figure(
        id="transition-tipping-all",
        title="True change by accuracy of the assay",
        svg=svg(figures.tipping_curve(tipping, observed)),
        caption=f"{who}. {how} {tipping_words(tipping)}",
        alt="Median and 95 % CrI of the proportion of patients whose true class changes, rising "
        "with the accuracy of the assay up to the share whose readings differ.",
    )


def tipping_words(tipping: pd.DataFrame) -> str:
    """From which accuracy on true change exceeds a proportion, in one sentence."""
    texts = []
    least = float(tipping["accuracy"].min())
    for name in (c for c in tipping.columns if c.startswith("P(true discordance > ")):
        share = float(name.removeprefix("P(true discordance > ").removesuffix(")"))
        point = tipping_point(tipping, share)
        percent = f"{number(100 * share, 0)} %"
        texts.append(
            f"{percent}: not reached at any accuracy shown"
            if point is None
            else f"{percent}: exceeded at every accuracy shown, from {number(100 * least, 0)} % on"
            if point <= least
            else f"{percent}: {number(100 * point, 0)} %"
        )
    return (
        "Accuracy needed for true change to exceed a given proportion of patients with "
        "probability 0.95: "
        f"{'; '.join(texts)}."
    )


KINDS = ("transition", "discordance", "agreement", "gain", "loss", "flow_difference")


def estimate_table(
    estimates: pd.DataFrame, title: str, caption: str, kinds: Iterable[str] = KINDS
) -> Table:
    """Estimates of one reading and stratum as readable rows."""
    wanted = set(kinds)
    rows = []
    for row in estimates.to_dict("records"):
        asked = parse(row["estimand"])
        if asked.kind in wanted:
            rows.append(
                {
                    "Quantity": _words(asked.kind, asked.outcome),
                    "Posterior (95 % CrI)": three(row, "posterior"),
                    "Prior (95 % CrI)": three(row, "prior"),
                    "Contraction": number(row["contraction"], 2),
                    "P(event)": probability(row["posterior_probability"]),
                    "Convergence": row["convergence"],
                }
            )
    return Table(title, pd.DataFrame(rows), caption)


def three(row: Mapping[Any, Any], part: str) -> str:
    """Estimate with its interval and unit; ``part`` is posterior or prior."""
    median, lower, upper = (row[f"{part}_{name}"] for name in ("median", "lower", "upper"))
    unit = str(row["unit"])
    return interval(median, lower, upper, unit=unit) + (f" {unit}" if unit else "")


def words(estimand: str) -> str:
    """An estimand in words."""
    asked = parse(estimand)
    return _words(asked.kind, asked.outcome)


def _words(kind: str, outcome: str) -> str:
    flow = outcome.replace("->", "→")
    return {
        "transition": f"P({flow})",
        "discordance": "discordance",
        "true_discordance": "true discordance",
        "unchanged_given_observed_change": "true class unchanged where the readings differ",
        "agreement": "Cohen's kappa",
        "gain": f"gain of {outcome}, of all patients",
        "loss": f"loss of {outcome}, of all patients",
        "flow_difference": f"net switching {flow}",
        "discordance_difference": "difference in discordance",
        "symmetry": "symmetry",
        "marginal_homogeneity": "marginal homogeneity",
    }.get(kind, f"{kind} {flow}".strip())


def classical_table(rows: pd.DataFrame, title: str, caption: str) -> Table:
    """Finite counts and tests, each with its method."""
    lines = []
    for row in rows.to_dict("records"):
        asked = parse(row["estimand"])
        value, low, high = (row[f"reproduced{end}"] for end in ("", "_lower", "_upper"))
        unit = str(row["unit"])
        where = ", ".join(f"{f} {level}" for f, level in asked.given)
        by = f" by {asked.contrast}" if asked.contrast else ""
        lines.append(
            {
                "Quantity": _words(asked.kind, asked.outcome)
                + by
                + (f", {where}" if where else ""),
                "Estimate (95 % CI)": ""
                if np.isnan(value)
                else interval(value, low, high, unit=unit) + (f" {unit}" if unit else ""),
                "P": p_value(row["reproduced_p"]),
                "Method": row["method"],
                "Note": row["note"],
            }
        )
    return Table(title, pd.DataFrame(lines), caption)


def section(result: Result) -> Section:
    """Report the transitions of a study."""
    drawn: list[Figure] = []
    tables: list[Table] = []
    for analysis in result.main:
        drawn += _figures(result, analysis)
        tables += _tables(result, analysis)
    overall = [m for m in result.matrices if not m.given and not m.reading]
    if result.tipping is not None and overall:
        how = (
            "Posterior of true discordance with the accuracy of the assay taken as known: the mean "
            "of its default prior, error rates scaled, errors of the two readings independent, "
            "summed over all tables consistent with the reported counts."
        )
        who = f"{overall[0].pairs} patients of the paper"
        drawn.append(tipping_figure(result.tipping, overall[0], who, how))
    if not result.tests.empty:
        caption = "Discordant patients are reported for every level; each row names its method."
        tables.append(classical_table(result.tests, "Discordance by subgroup", caption))
    return Section(
        id="transition",
        title=f"HER2 status: {result.pairs or 'from primary tumour to recurrence'}",
        paragraphs=tuple(paragraphs(result)),
        figures=tuple(drawn),
        tables=tuple(tables),
        fits=tuple(
            fit_card(fit, title, result.estimates, Judged(unit=_NOBODY))
            for title, fit in result.fits.items()
        ),
    )


_NOBODY = (
    "nothing: the paper prints sums over patients, which every draw meets, and no patient's pair"
)


def _where(result: Result, analysis: TableAnalysis) -> str:
    named = [result.labels.get(f, f) for f in analysis.factors]
    return "by " + " and ".join(named) if named else "all patients"


def _key(analysis: TableAnalysis) -> str:
    return "-".join(analysis.factors).replace("_", "-") or "all"


def paragraphs(result: Result) -> Iterator[str]:
    """Say what the facts are, which readings are impossible, and what stays open."""
    if result.pairs:
        yield (
            f"The pairs are {result.pairs}: primary and recurrence stand in the tables for the "
            "first and the second reading."
        )
    if all(map(is_fixed, result.main)):
        yield f"{_reported(result.main[:1])} No other table is consistent with them."
    else:
        yield (
            f"{_reported(result.main[:1])} The likelihood sums over every table of whole numbers "
            "consistent with the reported counts, each with its multinomial weight. An in-sample "
            "proportion that is the same in all these tables is point-identified. One with logical "
            "bounds is partially identified. Where the counts add little to the prior within the "
            "bounds it is weakly identified, and with bounds of 0 and 100 % it is not identified."
        )
    for note in result.notes:
        yield f"{note[0].upper()}{note[1:]}."
    for item in result.latent.impossible:
        if not item.factors:
            yield (
                f"Not fitted: the interpretation '{item.reading}'. No table exists under it, "
                "because these reported counts contradict each other: "
                f"{_facts(result, item.facts)}."
            )
    overall = next((a for a in result.main if not a.factors), None)
    if overall is not None:
        yield f"All patients: {_table_count(overall)}"
    if any(a.factors for a in result.main):
        yield (
            f"{_of_subgroups(result)} They are {DESCRIPTIVE}. The subgroup tables contain the same "
            "patients and are analysed separately."
        )
    yield f"Misclassification is not modelled here. {NOT_IDENTIFIED}"


def _reported(analyses: Sequence[TableAnalysis]) -> str:
    """Whether the reported counts leave anything of the tables open."""
    if analyses and all(map(is_fixed, analyses)):
        return "The reported counts fix the whole table of primary by recurrence."
    return (
        "The paper reports no complete table of primary by recurrence, only some of its cells and "
        "sums."
    )


def _of_subgroups(result: Result) -> str:
    """What is reported of the tables of subgroups."""
    analyses = [a for a in result.main if a.factors]
    cells = set(result.facts.loc[result.facts["factor"] != "", "cells"])
    if all(map(is_fixed, analyses)):
        return "The reported counts fix the tables of subgroups too."
    if all(cell.startswith("*->") or cell == "off_diagonal" for cell in cells):
        return (
            "For subgroups the paper reports only the margin at recurrence and the number of "
            "discordant patients."
        )
    return "For subgroups the paper reports some cells and sums."


def _facts(result: Result, ids: Iterable[str]) -> str:
    """Facts in words: cells, relation, number and where they stand."""
    known = result.facts.set_index("fact_id")
    texts = []
    for name in ids:
        row = known.loc[name]
        cells = str(row["cells"]).replace("->", " → ").replace("*", "any")
        level = f", {row['factor']} {row['level']}" if row["factor"] else ""
        texts.append(f"{cells} {row['relation']} {row['value']}{level} ({row['locator']})")
    return "; ".join(texts)


def _table_count(analysis: TableAnalysis) -> str:
    known = with_patients(analysis)
    labels = known.apply(identified, axis="columns").value_counts()
    named = ", ".join(f"{labels[key]} {key}" for key in IDENTIFIED if key in labels)
    return (
        f"{count(int(np.sum(analysis.patients)), 'patient')}, {analysis.fit.method}; of the "
        f"{len(known)} in-sample proportions {named}."
    )


def _figures(result: Result, analysis: TableAnalysis) -> list[Figure]:
    matrices = [m for m in result.matrices if m.fit is analysis.fit]
    who = f"{int(np.sum(analysis.patients))} patients of the paper, {_where(result, analysis)}"
    key = _key(analysis)
    found = []
    if not analysis.factors:
        found.append(alluvial_figure(matrices[0], who, key, result.pairs))
    found.append(_labelled_matrices(result, analysis, matrices, who))
    if not analysis.factors:
        found.append(contraction_figure(matrices[0], result.estimates, who, key))
    for place, matrix in enumerate(matrices):
        others = _by_row_prior(result, analysis, matrix)
        if len(others) > 1:
            found.append(
                scenario_figure(
                    others, who, f"{key}-{place}" if analysis.factors else key,
                    f"Prior sensitivity of the transition rows: {matrix.label}",
                    "Posterior 95 % CrI. Where they differ, the reported counts leave the "
                    "estimate to the prior.",
                )
            )  # fmt: skip
    return found


def _labelled_matrices(
    result: Result, analysis: TableAnalysis, matrices: list[Matrix], who: str
) -> Figure:
    labels = analysis.labels.set_index(["stratum", "her2_primary", "her2"]).apply(
        identified, axis="columns"
    )
    squares = []
    for name, matrix in zip(analysis.tables.names, matrices, strict=True):
        words = [[labels[name, a, b] for b in matrix.classes] for a in matrix.classes]
        squares.append(figures.matrix_square(matrix, np.array(words), result.pairs))
    return Figure(
        id=f"transition-matrix-{_key(analysis)}",
        title=f"Transition matrix, {_where(result, analysis)}",
        svg=svg(*[figures.heat(square) for square in squares]),
        caption=f"{who}. Posterior median and 95 % CrI of the population probability, in percent, "
        "and whether the reported counts identify the in-sample proportion. Blue: the class "
        "changes; grey: it stays.",
        alt="Transition matrices with credible intervals and labels; the numbers are in the tables "
        "below.",
    )


def _by_row_prior(result: Result, analysis: TableAnalysis, matrix: Matrix) -> dict[str, Matrix]:
    """The same stratum under all row priors of the same reading of the facts."""
    same = [
        a
        for a in result.latent.analyses
        if a.factors == analysis.factors and a.reading == analysis.reading
    ]
    found = {}
    for other in same:
        twin = [m for m in result.matrices if m.fit is other.fit and m.given == matrix.given]
        found[other.row_prior] = twin[0]
    return found


def _tables(result: Result, analysis: TableAnalysis) -> list[Table]:
    labels = with_patients(analysis)
    rows = [
        {
            **({"Stratum": row["stratum"]} if analysis.factors else {}),
            "Transition": f"{row['her2_primary']} → {row['her2']}",
            "Bounds, %": _range(row["lower_bound"], row["upper_bound"]),
            "In-sample proportion, % (95 % CrI)": number(100 * row["cohort_median"], 1)
            if row["lower_bound"] == row["upper_bound"]
            else f"{number(100 * row['cohort_median'], 1)} "
            f"({_range(row['cohort_lower'], row['cohort_upper'])})",
            "Contraction within bounds": number(row["contraction_within"], 2),
            "Identification": identified(row),
        }
        for row in labels.to_dict("records")
    ]
    where = _where(result, analysis)
    tables = [
        Table(
            f"Bounds from the reported counts, {where}",
            pd.DataFrame(rows),
            f"Prior of the rows: {analysis.row_prior}.",
        )
    ]
    if not analysis.factors:
        mine = result.estimates[
            (result.estimates["reading"] == "") & ~result.estimates["estimand"].str.contains("[|;]")
        ]
        caption = "Population probabilities; primary proportions as in this cohort."
        tables.append(estimate_table(mine, "All patients: posterior and prior", caption))
        plain = result.classical[~result.classical["estimand"].str.contains("[|;]")]
        caption = (
            "Counts that are the same in every table consistent with the report; ranges of tests."
        )
        tables.append(classical_table(plain, "Counts and tests", caption))
    return tables


def _range(lower: float, upper: float) -> str:
    low, high = number(100 * lower, 1), number(100 * upper, 1)
    return low if low == high else f"{low}–{high}"

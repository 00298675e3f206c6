"""The section on transitions in a paper: what the printed facts determine, bound, or leave open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from her2bayes.page.fit_card import fit_card
from her2bayes.page.numbers import count, number
from her2bayes.page.section import Figure, Section, Table
from her2bayes.transition import figures
from her2bayes.transition import section_parts as parts
from her2bayes.transition.assay_error import NOT_IDENTIFIED
from her2bayes.transition.tables.estimates import DESCRIPTIVE

if TYPE_CHECKING:
    from her2bayes.transition.draws import Matrix
    from her2bayes.transition.paper import Result
    from her2bayes.transition.tables.estimates import TableAnalysis

WORDS = {
    "determined": "determined",
    "bounded": "bounded",
    "prior_driven": "prior driven",
}


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
            "Posterior of the true flow under assays taken as known: the mean of the assay's "
            "default prior with its error rates scaled, both readings independent, summed over "
            "all tables of readings that agree with the printed facts."
        )
        who = f"{overall[0].pairs} patients of the paper"
        drawn.append(parts.tipping_figure(result.tipping, overall[0], who, "all", how))
    if not result.tests.empty:
        caption = "Discordant patients of all levels are printed; methods by name."
        tables.append(parts.classical_table(result.tests, "Discordance by subgroup", caption))
    return Section(
        id="transition",
        title="HER2 status: from primary tumour to recurrence",
        paragraphs=tuple(paragraphs(result)),
        figures=tuple(drawn),
        tables=tuple(tables),
        fits=tuple(fit_card(fit, title, result.estimates) for title, fit in result.fits.items()),
    )


def _where(result: Result, analysis: TableAnalysis) -> str:
    named = [result.labels.get(f, f) for f in analysis.factors]
    return "by " + " and ".join(named) if named else "all patients"


def _key(analysis: TableAnalysis) -> str:
    return "-".join(analysis.factors).replace("_", "-") or "all"


def paragraphs(result: Result) -> Iterator[str]:
    """Say what the facts are, which readings are impossible, and what stays open."""
    yield (
        "The paper prints no complete table of primary by recurrence, only some of its cells and "
        "sums. The analysis sums over every whole-number table that agrees with all printed "
        "facts, each with its multinomial weight. A share of this cohort that is the same in all "
        "these tables is called determined; one with logical bounds is bounded; where the facts "
        "add next to nothing to the prior within these bounds it is prior driven."
    )
    for note in result.notes:
        yield f"{note[0].upper()}{note[1:]}."
    for item in result.latent.impossible:
        if not item.factors:
            yield (
                f"Not fitted: the reading '{item.reading}', under which no table exists, because "
                f"these printed facts cannot all hold: {_facts(result, item.facts)}."
            )
    overall = next((a for a in result.main if not a.factors), None)
    if overall is not None:
        yield f"All patients: {_table_count(overall)}"
    if any(a.factors for a in result.main):
        yield (
            "Subgroups are printed as the margin at recurrence and the number of discordant "
            f"patients only. They are {DESCRIPTIVE}. The partitions count the same patients and "
            "are never multiplied."
        )
    yield f"The readings are taken as they are. {NOT_IDENTIFIED}"


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
    labels = analysis.labels["label"].value_counts()
    named = ", ".join(f"{labels[key]} {WORDS[key]}" for key in WORDS if key in labels)
    return (
        f"{count(int(np.sum(analysis.patients)), 'patient')}, {analysis.fit.method}; of the "
        f"{len(analysis.labels)} transition shares {named}."
    )


def _figures(result: Result, analysis: TableAnalysis) -> list[Figure]:
    matrices = [m for m in result.matrices if m.fit is analysis.fit]
    who = f"{int(np.sum(analysis.patients))} patients of the paper, {_where(result, analysis)}"
    key, reading = _key(analysis), matrices[0].reading
    found = []
    if not analysis.factors:
        found.append(parts.alluvial_figure(matrices[0], who, key))
    found.append(_labelled_matrices(analysis, matrices, who, key, _where(result, analysis)))
    if not analysis.factors:
        found.append(parts.contraction_figure(matrices[0], result.estimates, who, key))
    for place, matrix in enumerate(matrices):
        others = _by_row_prior(result, analysis, matrix)
        if len(others) > 1:
            found.append(
                parts.scenario_figure(
                    others, who, f"{key}-{place}" if analysis.factors else key,
                    f"Row priors side by side: {matrix.label}",
                    "Where the series differ the facts leave the answer to the prior.",
                )
            )  # fmt: skip
    assert not reading
    return found


def _labelled_matrices(
    analysis: TableAnalysis, matrices: list[Matrix], who: str, key: str, where: str
) -> Figure:
    labels = analysis.labels.set_index(["stratum", "her2_primary", "her2"])["label"]
    squares = []
    for name, matrix in zip(analysis.tables.names, matrices, strict=True):
        words = [[WORDS[labels[name, a, b]] for b in matrix.classes] for a in matrix.classes]
        title = f"{matrix.label}, n = {matrix.pairs}"
        squares.append(parts.square(matrix.transition, title, np.array(words)))
    return Figure(
        id=f"transition-matrix-{key}",
        title=f"Transition matrix, {where}",
        svg=figures.matrices(squares),
        caption=f"{who}. Posterior median and 95 % interval of the probability behind the cohort, "
        "in percent, and what the facts say of the share in the cohort itself. Blue: the class "
        "changes; grey: it stays.",
        alt="Transition matrices with intervals and labels; the numbers are in the tables below.",
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
    labels = analysis.labels
    rows = [
        {
            **({"Stratum": row["stratum"]} if analysis.factors else {}),
            "Transition": f"{row['her2_primary']} → {row['her2']}",
            "Bounds, %": _range(row["lower_bound"], row["upper_bound"]),
            "Cohort's share, % (95 %)": number(100 * row["cohort_median"], 1)
            if row["lower_bound"] == row["upper_bound"]
            else f"{number(100 * row['cohort_median'], 1)} "
            f"({_range(row['cohort_lower'], row['cohort_upper'])})",
            "Contraction within bounds": number(row["contraction_within"], 2),
            "The facts": WORDS[row["label"]],
        }
        for row in labels.to_dict("records")
    ]
    where = _where(result, analysis)
    tables = [
        Table(
            f"What the facts say, {where}", pd.DataFrame(rows), f"Row prior: {analysis.row_prior}."
        )
    ]
    if not analysis.factors:
        mine = result.estimates[
            (result.estimates["reading"] == "") & ~result.estimates["estimand"].str.contains("[|;]")
        ]
        caption = "The probability behind the cohort; primary shares as in this cohort."
        tables.append(parts.estimate_table(mine, "All patients: posterior and prior", caption))
        plain = result.classical[~result.classical["estimand"].str.contains("[|;]")]
        caption = "Finite counts that are the same in every admissible table, and ranges of tests."
        tables.append(parts.classical_table(plain, "Counts and tests", caption))
    return tables


def _range(lower: float, upper: float) -> str:
    low, high = number(100 * lower, 1), number(100 * upper, 1)
    return low if low == high else f"{low}–{high}"

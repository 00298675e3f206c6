"""All files of a page: HTML, the same in Markdown, its tables for LaTeX, its figures as SVG.

The Monte-Carlo errors of a report's numbers, for whoever computes them again (``replay``).
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from her2bayes.estimand import KINDS, parse
from her2bayes.files import csv_text
from her2bayes.inference.convergence import MCSE_COLUMNS
from her2bayes.page.latex import latex_files
from her2bayes.page.markdown import analysis_markdown, study_markdown
from her2bayes.page.page import (
    AnalysisPage,
    StudyPage,
    analysis_values,
    render_analysis,
    render_study,
    study_values,
)
from her2bayes.page.section_view import figure_files

FILE = "monte_carlo.csv"


def monte_carlo_file(estimates: pd.DataFrame) -> dict[str, str]:
    """Name and text of the table of errors; nothing where no estimate carries any.

    One row for each estimand and reading, on the ``scale`` of its kind: those on the identity are
    in the unit of the table of estimates; probabilities of events are as they are.
    """
    if estimates.empty or not set(MCSE_COLUMNS) <= set(estimates.columns):
        return {}
    known = estimates[list(MCSE_COLUMNS)].notna().any(axis=1)
    table = estimates.loc[known]
    scales = [KINDS[parse(text).kind].scale for text in table["estimand"]]
    names = ["estimand", "reading", "fit_id", "scale", *MCSE_COLUMNS]
    return {FILE: csv_text(table.assign(scale=scales)[names])} if known.any() else {}


def study_files(page: StudyPage) -> dict[str, str]:
    """Name -> text of ``report.html``, ``report.md``, ``tables/`` and ``figures/``."""
    page = replace(page, beside=True)
    figures = [f for s in (page.cohort, *page.sections) for f in s.figures]
    return {
        **figure_files(figures),
        **latex_files(study_values(page)),
        "report.md": study_markdown(page),
        "report.html": render_study(page),
    }


def analysis_files(page: AnalysisPage, name: str) -> dict[str, str]:
    """Name -> text of ``<name>.html``, ``<name>.md``, ``tables/`` and ``figures/``."""
    page = replace(page, beside=name)
    figures = [figure for section in page.sections for figure in section.figures]
    return {
        **figure_files(figures),
        **latex_files(analysis_values(page)),
        f"{name}.md": analysis_markdown(page),
        f"{name}.html": render_analysis(page),
    }

"""All files of a page: HTML, the same in Markdown, its tables for LaTeX, its figures as SVG."""

from __future__ import annotations

from dataclasses import replace

from her2bayes.reports.figure_files import figure_files
from her2bayes.reports.latex import latex_files
from her2bayes.reports.markdown import analysis_markdown, study_markdown
from her2bayes.reports.page import (
    AnalysisPage,
    StudyPage,
    analysis_values,
    render_analysis,
    render_study,
    study_values,
)


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

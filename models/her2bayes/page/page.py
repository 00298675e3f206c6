"""Sections, findings and evidence table as one self-contained HTML file, and the index of a run.

Nothing is loaded from elsewhere: one style element and one script, both allowed by their hash in
the content policy, figures inline. Every text is escaped by Jinja; only SVG made by
``page.style`` is inserted as it is.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from her2bayes.audit.claims import counted, quantities
from her2bayes.inference import convergence
from her2bayes.page import evidence_view
from her2bayes.page.numbers import count
from her2bayes.page.section import Section
from her2bayes.page.section_view import all_tables, flat, models_view, section_view
from her2bayes.page.style import css_variables
from her2bayes.version import __version__

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("page.js", "tables.js", "figures.js", "evidence.js")
_PROVENANCE = (
    "package_version",
    "schema_version",
    "seed",
    "quick",
    "sampling",
    "versions",
    "study",
)
_SHOWN_ON_INDEX = 4  # findings quoted for each study on the index


@dataclass(frozen=True)
class StudyPage:
    """All that the page of one study shows.

    ``study`` holds id, title, citation, doi and design; ``evidence`` the columns of the evidence
    table; ``findings`` finding_id, claim_ids (joined by spaces), kind, sentence, most important
    first; ``absent`` one sentence for each analysis the printed evidence does not allow;
    ``notices`` warnings that stand above everything; ``run`` what the run recorded of itself;
    ``table_file`` the evidence table beside the page; ``index`` whether the page of all studies
    lies one folder up; ``beside`` whether the files of the page (Markdown, LaTeX tables, figures)
    stand beside it.
    """

    study: Mapping[str, str]
    evidence: pd.DataFrame
    findings: pd.DataFrame
    cohort: Section
    sections: tuple[Section, ...]
    absent: tuple[str, ...]
    methods: tuple[str, ...]
    notices: tuple[str, ...]
    run: Mapping[str, Any]
    table_file: str = "evidence.csv"
    index: bool = True
    beside: bool = False


def render_study(page: StudyPage) -> str:
    """Render the report of one study."""
    return _render("study.html.j2", **study_values(page))


def study_values(page: StudyPage) -> dict[str, Any]:
    """Everything a renderer prints of a study: texts and cells, no numbers left to format."""
    everything = (page.cohort, *page.sections)
    rows = evidence_view.rows(
        page.evidence,
        doi=page.study.get("doi", ""),
        findings=page.findings,
        fits={str(f.get("fit_id")): s.id for s in reversed(everything) for f in s.fits},
    )
    sections = [section_view(s) for s in everything]
    printed = bool((page.evidence["claim_id"] != "").any())
    # a paper's findings hold the warnings of its fits already
    rare = (
        ()
        if printed
        else tuple(w for s in everything for f in s.fits for w in f.get("warnings", ()))
    )
    return {
        "study": page.study,
        "table_file": page.table_file,
        "index": page.index,
        "beside": page.beside,
        "summary": summary(page.evidence),
        "printed": printed,
        "verdicts": evidence_view.verdict_counts(page.evidence),
        "quantities": evidence_view.quantity_counts(page.evidence),
        "notices": (*page.notices, *dict.fromkeys(rare)),
        "findings": evidence_view.findings(page.findings, rows),
        "cohort": sections[0],
        "sections": sections[1:],
        "absent": page.absent,
        "models": models_view(everything, rows),
        "methods": page.methods,
        "standards": convergence.sentence(),
        "verdict_words": evidence_view.verdict_words(),
        "kind_words": evidence_view.kind_words(),
        "rows": rows,
        "kinds": sorted({row["evidence_kind"] for row in rows} - {""}),
        "places": list(dict.fromkeys(row["locator"] for row in rows if row["claim_id"])),
        "topics": [s.id for s in everything if any(row["topic"] == s.id for row in rows)],
        "titles": {s.id: s.title for s in everything},
        "provenance": flat({k: page.run[k] for k in _PROVENANCE if k in page.run}),
        "tables": all_tables(sections),
    }


def render_index(records: Sequence[Mapping[str, Any]]) -> str:
    """Render the index over the studies of an output folder, from their ``run.json`` records."""
    cards = [
        {
            **record["study"],
            "summary": record["summary"],
            "verdicts": evidence_view.bar(record["verdicts"]),
            "notices": _failures(record),
            "beside": "report.md" in record.get("files", {}),
            "top_findings": record["findings"][:_SHOWN_ON_INDEX],
            "more_findings": _more(len(record["findings"]) - _SHOWN_ON_INDEX),
        }
        for record in records
    ]
    return _render("index.html.j2", studies=cards)


@dataclass(frozen=True)
class AnalysisPage:
    """One analysis as a page of its own; ``report`` links to the study's report.

    ``beside`` is the name of the page's files where the others (Markdown, LaTeX tables, figures)
    stand beside it.
    """

    study: Mapping[str, str]
    heading: str
    summary: str
    sections: tuple[Section, ...]
    methods: tuple[str, ...]
    notices: tuple[str, ...]
    run: Mapping[str, Any]
    report: str = ""
    beside: str = ""


def render_analysis(page: AnalysisPage) -> str:
    """Render one analysis as a page of its own."""
    return _render("analysis.html.j2", **analysis_values(page))


def analysis_values(page: AnalysisPage) -> dict[str, Any]:
    """Everything a renderer prints of an analysis."""
    sections = [section_view(s) for s in page.sections]
    return {
        "study": page.study,
        "heading": page.heading,
        "summary": page.summary,
        "sections": sections,
        "methods": page.methods,
        "notices": page.notices,
        "provenance": flat(page.run),
        "report": page.report,
        "beside": page.beside,
        "tables": all_tables(sections),
    }


def _failures(record: Mapping[str, Any]) -> list[str]:
    notices = [f"Not converged: {line}" for line in record["failed_fits"]]
    if record["quick"]:
        notices.insert(0, "Quick run: do not quote its numbers.")
    if record.get("changed"):
        notices.append(f"Written again since this report: {', '.join(record['changed'])}.")
    return notices


def summary(evidence: pd.DataFrame) -> str:
    """Say in one sentence how many printed numbers there are and what became of them."""
    claims = evidence["claim_id"] != ""
    if not claims.any():
        return f"{count(len(evidence), 'quantity', 'quantities')} estimated from patients."
    distinct = quantities(evidence)
    with_posterior = int(distinct["posterior_median"].notna().sum())
    beyond = int((~claims).sum())
    text = counted(evidence)
    if with_posterior:
        text += f"; {with_posterior} quantities stand beside a posterior"
    if beyond:
        text += f"; {count(beyond, 'further quantity', 'further quantities')} not printed"
    return text + "."


def _more(left: int) -> str:
    return f"{count(left, 'more finding')}" if left > 0 else ""


@cache
def _assets() -> tuple[str, str]:
    css = (_TEMPLATES / "page.css").read_text("utf-8")
    for theme, dark in (("LIGHT", False), ("DARK", True)):
        css = css.replace(f"/* PALETTE-{theme} */", css_variables(dark))
    scripts = [(_TEMPLATES / name).read_text("utf-8") for name in _SCRIPTS]
    return css, '"use strict";\n' + "".join(scripts)


def _policy(css: str, script: str) -> str:
    def allowed(text: str) -> str:
        return "'sha256-" + b64encode(sha256(text.encode()).digest()).decode() + "'"

    return (
        f"default-src 'none'; style-src {allowed(css)}; script-src {allowed(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _render(template: str, **values: Any) -> str:
    css, script = _assets()
    return (
        _environment()
        .get_template(template)
        .render(
            package_version=__version__,
            css=Markup(css),
            script=Markup(script),
            policy=Markup(_policy(css, script)),
            **values,
        )
    )

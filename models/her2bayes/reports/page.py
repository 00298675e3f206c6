"""Sections, findings and evidence table as one self-contained HTML file, and the index of a run.

Nothing is loaded from elsewhere: one style element and one script, both allowed by their hash in
the content policy, figures inline. Every text is escaped by Jinja; only SVG made by
``reports.style`` is inserted as it is.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from her2bayes import __version__
from her2bayes.reports import evidence_view
from her2bayes.reports.numbers import count, number
from her2bayes.reports.section import Figure, Section, Table
from her2bayes.reports.style import css_variables

_TEMPLATES = Path(__file__).parent / "templates"
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
    lies one folder up.
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


def render_study(page: StudyPage) -> str:
    """Render the report of one study."""
    fits = _unique_fits(page.sections)
    rows = evidence_view.rows(page.evidence)
    printed = bool((page.evidence["claim_id"] != "").any())
    # a paper's findings hold the warnings of its fits already
    rare = () if printed else tuple(w for fit in fits for w in fit.get("warnings", ()))
    return _render(
        "study.html.j2",
        study=page.study,
        table_file=page.table_file,
        index=page.index,
        summary=summary(page.evidence),
        printed=printed,
        verdicts=evidence_view.verdict_counts(page.evidence),
        notices=(*page.notices, *rare),
        findings=_findings(page.findings, rows),
        cohort=_section(page.cohort),
        sections=[_section(s) for s in page.sections],
        absent=page.absent,
        fits=[_fit(f) for f in fits],
        methods=page.methods,
        verdict_words=evidence_view.verdict_words(),
        kind_words=evidence_view.kind_words(),
        rows=rows,
        kinds=sorted({row["evidence_kind"] for row in rows} - {""}),
        provenance=_flat({k: v for k, v in page.run.items() if k in _PROVENANCE}),
    )


def render_index(records: Sequence[Mapping[str, Any]]) -> str:
    """Render the index over the studies of an output folder, from their ``run.json`` records."""
    cards = [
        {
            **record["study"],
            "summary": record["summary"],
            "verdicts": evidence_view.bar(record["verdicts"]),
            "notices": _failures(record),
            "top_findings": record["findings"][:_SHOWN_ON_INDEX],
            "more_findings": _more(len(record["findings"]) - _SHOWN_ON_INDEX),
        }
        for record in records
    ]
    return _render("index.html.j2", studies=cards)


def render_analysis(
    study: Mapping[str, str],
    heading: str,
    summary: str,
    sections: Sequence[Section],
    methods: Sequence[str],
    notices: Sequence[str],
    run: Mapping[str, Any],
    report: str = "",
) -> str:
    """Render one analysis as a page of its own; ``report`` links to the study's report."""
    return _render(
        "analysis.html.j2",
        study=study,
        heading=heading,
        summary=summary,
        sections=[_section(s) for s in sections],
        methods=methods,
        notices=notices,
        provenance=_flat(run),
        report=report,
    )


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
    with_posterior = int((claims & evidence["posterior_median"].notna()).sum())
    beyond = int((~claims).sum())
    text = f"{count(int(claims.sum()), 'printed number')} audited"
    if with_posterior:
        text += f"; {with_posterior} of them stand beside a posterior"
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
    return css, (_TEMPLATES / "page.js").read_text("utf-8")


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


def _findings(findings: pd.DataFrame, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    known = {row["claim_id"]: row for row in rows if row["claim_id"]}

    def cited(claim_ids: Iterable[str]) -> list[dict[str, Any]]:
        places: dict[str, list[dict[str, str]]] = {}
        for claim_id in claim_ids:
            row = known.get(claim_id, {})
            link = {"claim_id": claim_id, "anchor": row.get("anchor", "")}
            places.setdefault(row.get("locator", ""), []).append(link)
        return [{"locator": locator, "links": links} for locator, links in places.items()]

    return [
        {
            "finding_id": finding["finding_id"],
            "kind": str(finding["kind"]).replace("_", " "),
            "contradiction": any(
                known.get(c, {}).get("verdict") in {"inconsistent", "differs"}
                for c in str(finding["claim_ids"]).split()
            ),
            "sentence": finding["sentence"],
            "places": cited(str(finding["claim_ids"]).split()),
        }
        for finding in findings.to_dict(orient="records")
    ]


def _section(section: Section) -> dict[str, Any]:
    failed = [str(f.get("title", "")) for f in section.fits if not _converged(f)]
    behind = {table.title: table for table in section.tables}
    titles = {figure.title for figure in section.figures}
    return {
        "id": section.id,
        "title": section.title,
        "paragraphs": section.paragraphs,
        "figures": [_figure(f, behind.get(f.title)) for f in section.figures],
        "tables": [_table(t) for t in section.tables if t.title not in titles],
        "fits": section.fits,
        "failed": f"Not converged, do not rely on: {', '.join(failed)}." if failed else "",
    }


def _figure(figure: Figure, behind: Table | None) -> dict[str, Any]:
    return {
        "id": figure.id,
        "title": figure.title,
        "svg": Markup(figure.svg),  # drawn by reports.style, which keeps its text escaped
        "caption": figure.caption,
        "alt": figure.alt or figure.title,
        "panels": 'class="wide"' not in figure.svg,
        "table": _table(behind) if behind is not None else None,
    }


def _table(table: Table) -> dict[str, Any]:
    frame = table.frame
    numeric = {str(c): pd.api.types.is_numeric_dtype(frame[c]) for c in frame.columns}
    columns = [
        {"label": str(c).replace("_", " ") if c in _LINKED else str(c), "numeric": numeric[str(c)]}
        for c in frame.columns
    ]
    rows = [
        [_cell(column, value, numeric[str(column)]) for column, value in record.items()]
        for record in frame.to_dict(orient="records")
    ]
    return {"title": table.title, "caption": table.caption, "columns": columns, "rows": rows}


_NUMBERS = re.compile(r"[\d.,<>=%()–−\s]{1,30}|[\d.,−]+ \([\d.,−]+ to [\d.,−]+\)|\d+ of \d+")
_LINKED = {"fit_id": lambda text: f"fit-{text}", "claim_id": evidence_view.anchor}


def _cell(column: object, value: Any, numeric: bool) -> dict[str, Any]:
    text = number(value) if numeric else ("" if pd.isna(value) else str(value))
    link = _LINKED[str(column)](text) if column in _LINKED and text else ""
    short = bool(_NUMBERS.fullmatch(text))
    return {"text": text, "link": link, "numeric": numeric, "unbroken": short}


def _unique_fits(sections: Iterable[Section]) -> list[Mapping[str, Any]]:
    fits: dict[str, Mapping[str, Any]] = {}
    for section in sections:
        for fit in section.fits:
            fits.setdefault(str(fit.get("fit_id", "")), fit)
    return list(fits.values())


def _converged(fit: Mapping[str, Any]) -> bool:
    return str(fit.get("convergence", "")) == "converged"


def _fit(fit: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "fit_id": fit.get("fit_id", ""),
        "title": fit.get("title", "Fit"),
        "model": fit.get("model", ""),
        "equations": str(fit.get("equations", "")).strip(),
        "convergence": str(fit.get("convergence") or "no convergence verdict"),
        "converged": _converged(fit),
        **{
            name: list(fit.get(name, {}).items())
            for name in ("priors", "diagnostics", "provenance")
        },
        **{name: list(fit.get(name, ())) for name in ("checks", "warnings")},
    }


def _flat(record: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for name, value in record.items():
        label = f"{above}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            lines += _flat(value, f"{label}: ")
        elif isinstance(value, list | tuple):
            lines.append((label, ", ".join(map(str, value))))
        else:
            lines.append((label, str(value)))
    return lines

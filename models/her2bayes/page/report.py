"""One writer for every report: page, tables, figures and record of a run, published together.

A family says what one of its analyses gives (``Part``) and calls ``write``::

    part = Part(
        family="survival",
        about={"id": "trial", "title": "Trial", "citation": "trial.csv", "digest": digest},
        sections=(section(result),),
        estimates=result.estimates,
        classical=result.classical,
        cohort=cohort_section(result),
        tables={"classical": result.variants},
        evidence_kind="patients",
    )
    outcome = write([part], out, Settings(seed, quick), command={"by": by})

and tells its user what it wants of the numbers, then ``outcome.lines``. A study's report, which
also holds printed numbers and findings, is made of the same parts in ``reproduce/build.py``.

The Word document holds what a paper takes over: key results with their forest, Table 1, methods;
numbers as on the page, the figure at column width, tables as tables.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.estimand import KINDS, parse
from her2bayes.evidence.printed.schema import SCHEMA_VERSION
from her2bayes.files import csv_text, digests, publish
from her2bayes.inference.convergence import MCSE_COLUMNS
from her2bayes.page.evidence_table import join_unprinted, together
from her2bayes.page.fit_card import failures
from her2bayes.page.key_results import FILE as KEY_RESULTS
from her2bayes.page.key_results import forest
from her2bayes.page.markdown import (
    TYPST,
    analysis_markdown,
    latex_files,
    study_markdown,
    typst,
)
from her2bayes.page.page import (
    AnalysisPage,
    StudyPage,
    analysis_values,
    render_analysis,
    render_study,
    study_values,
)
from her2bayes.page.section import Section
from her2bayes.page.section_view import figure_files
from her2bayes.page.shared import shared_page
from her2bayes.version import __version__, versions

if TYPE_CHECKING:
    from her2bayes.inference.sampling import Settings

WORD = "report.docx"
WIDTH = 152.0
"""Text of a Word page, mm."""

_EPOCH = (1980, 1, 1, 0, 0, 0)

MONTE_CARLO = "monte_carlo.csv"
ESTIMATES = "estimates.csv"
RECORD = "run.json"
ABOUT = ("id", "title", "citation", "doi", "design", "digest")
FINDING_COLUMNS = ("finding_id", "claim_ids", "kind", "sentence")

QUICK = (
    "Quick run: fewer draws and chains than the standard run. The numbers show that everything "
    "works; do not quote them."
)

_COMMON = (
    "Published numbers are kept as printed. Reproduced numbers follow from other printed numbers "
    "by arithmetic or by the named classical method. Posterior numbers come from a Bayesian model "
    "of printed counts; they are medians with 95 % equal-tailed credible intervals (CrI), with the "
    "prior of the same quantity beside them. Contraction is one minus the ratio of posterior to "
    "prior variance: 0 where the data carry no information on it, 1 where they determine it.",
    "A posterior is not a check of the paper. Where it rests on the very counts a published "
    "number was computed from, agreement is expected; the difference between the two is the "
    "effect of pooling and of the prior.",
    "Printed margins do not determine how characteristics combine in the same patient, and a "
    "printed test does not determine the patients behind it. Such rows are not checkable, and "
    "their notes say what would be needed. A match of method or estimator means that the printed "
    "digits are compatible with it, not that it was used.",
)

_OF_FAMILY = {
    "distribution": (
        "Observed proportions have Wilson 95 % CI; the tables of the section add Clopper-Pearson "
        "and Goodman (simultaneous) CI. Differences of proportions have Newcombe's CI (method 10). "
        "Beside a printed P value of an association stand posterior differences of proportions "
        "with the probability of their sign, not a second P. Cramér's V is shown with its "
        "interval; it cannot be below 0 and is biased upwards, so a small V is no evidence of "
        "association."
    ),
    "transition": (
        "Tables of primary by recurrence are reported in part. The analysis of transitions sums "
        "over every table of whole numbers consistent with the reported counts. What all these "
        "tables have in common is point-identified; the rest is partially identified, depends on "
        "the prior within its bounds, and its rows are marked implied."
    ),
    "response": (
        "Response rates of subgroups come from a hierarchical model with robust exchangeability "
        "(EXNEX), single proportions from one binomial each with a uniform prior. Rates "
        "with external data are computed by quadrature under each named choice of borrowing, as "
        "readings of the same rate; their operating characteristics are exact sums over all "
        "outcomes."
    ),
    "adverse_events": (
        "Rates of adverse events shrink within body systems, the severe ones as a proportion of "
        "all; the rate of any event at all is a binomial of its own, because counts by event do "
        "not say which events meet in one patient."
    ),
}


@dataclass(frozen=True)
class Part:
    """What one analysis gives to a report: rows keyed by estimand, and its sections of the page.

    ``about`` says whose data they are: id, title, citation, doi, design, digest. ``tables`` are
    further files by name (without ``.csv``), an empty one is not written; ``evidence`` is the
    table of estimates where it is more than estimates and classical rows joined (a paper's own
    claims); ``evidence_kind`` is that of all its rows, where it is one; ``methods`` replace the
    paragraphs of the family; ``stances`` say of an estimand what other choices make of it.
    """

    family: str
    sections: tuple[Section, ...]
    estimates: pd.DataFrame
    classical: pd.DataFrame = field(default_factory=pd.DataFrame)
    about: Mapping[str, str] = field(default_factory=dict)
    cohort: Section | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    evidence: pd.DataFrame | None = None
    evidence_kind: str = ""
    methods: tuple[str, ...] = ()
    stances: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came out: the folder, its record, and what did not converge, in words."""

    folder: Path
    record: Mapping[str, Any]
    failed: tuple[str, ...] = ()

    @property
    def page(self) -> Path:
        """The report as one HTML file."""
        return self.folder / "report.html"

    @property
    def lines(self) -> tuple[str, ...]:
        """What every user is told: rows that did not converge, and where the page is."""
        return (*self.failed, str(self.page))

    def __str__(self) -> str:
        """Say where the report is, and what in it did not converge."""
        return "\n".join(self.lines)


def write(
    parts: Sequence[Part],
    out: Path,
    settings: Settings,
    *,
    command: Mapping[str, Any] | None = None,
    below: int = 0,
    beside: Mapping[str, bytes] | None = None,
) -> Outcome:
    """Write a report of one's own data: estimates.csv, further tables, page, figures.

    ``beside`` are files of another kind by name (fits).

    ``command`` is what a script was asked; it enters the record on the page, and the record beside
    the page is then that of the script (``provenance.json``), else ``run.json``. With ``below``
    the report is to be shared: smaller counts are hidden (each part has hidden its own), and what
    identifies the data is left out. Raises ``BadInput`` where ``out`` cannot be written.
    """
    page = page_of(parts, settings, command or {})
    page = shared_page(page, below) if below else page
    estimates = pd.concat([part.estimates for part in parts], ignore_index=True)
    files: dict[str, str | bytes] = {ESTIMATES: csv_text(page.evidence)}
    for name, table in _tables(parts).items():
        files[f"{name}.csv"] = csv_text(table)
    files |= {} if below else monte_carlo_file(estimates)
    files |= {**study_files(page), **(beside or {})}
    record = dict(page.run)
    if command is None:
        record |= {"failed": list(failures(estimates)), "files": digests(files)}
        files[RECORD] = record_text(record)
    publish(out, files)
    return Outcome(out, record, failures(estimates))


def page_of(parts: Sequence[Part], settings: Settings, command: Mapping[str, Any]) -> StudyPage:
    """The page of a report of one's own data."""
    about = {**parts[0].about}
    about |= {name: "" for name in ABOUT if name not in about}
    cohorts = [part.cohort for part in parts if part.cohort is not None]
    others = tuple(replace(one, id=f"{one.id}-{k}") for k, one in enumerate(cohorts[1:], 2))
    return StudyPage(
        study=about,
        evidence=evidence(about["id"], parts),
        findings=no_findings(),
        cohort=cohorts[0] if cohorts else Section("cohort", "Data", (about["citation"],)),
        sections=(*others, *sections(parts)),
        absent=(),
        methods=_methods(parts, settings.quick),
        notices=(QUICK,) if settings.quick else (),
        run=run_record(about, settings, command),
        stances=stances(parts),
        table_file=ESTIMATES,
        index=False,
    )


def stances(parts: Sequence[Part], tested: Mapping[str, str] | None = None) -> dict[str, str]:
    """What is said of each estimand: by a sensitivity analysis (``tested``), then by the parts."""
    said: dict[str, list[str]] = {}
    for known in (tested or {}, *(part.stances for part in parts)):
        for estimand, text in known.items():
            said.setdefault(estimand, []).append(text)
    return {estimand: "; ".join(texts) for estimand, texts in said.items()}


def _methods(parts: Sequence[Part], quick: bool) -> tuple[str, ...]:
    own = [text for part in parts for text in part.methods]
    common = methods([part.family for part in parts if not part.methods], False)
    found = own if all(part.methods for part in parts) else [*common, *own]
    return (*dict.fromkeys(found), *((QUICK,) if quick else ()))


def sections(parts: Sequence[Part]) -> tuple[Section, ...]:
    """Sections of all parts; the second of an id is numbered, so that links lead to one place."""
    found: list[Section] = []
    for section in (one for part in parts for one in part.sections):
        same = sum(re.sub(r"-\d+$", "", other.id) == section.id for other in found)
        found.append(replace(section, id=f"{section.id}-{same + 1}") if same else section)
    return tuple(found)


def evidence(name: str, parts: Sequence[Part]) -> pd.DataFrame:
    """Rows of all parts in the columns of the evidence table (``together`` says how)."""
    tables = []
    for part in parts:
        table = part.evidence
        if table is None:
            table = join_unprinted(name, part.estimates, part.classical)
        kind = {"evidence_kind": part.evidence_kind} if part.evidence_kind else {}
        tables.append(table.assign(**kind))
    return tables[0] if len(tables) == 1 else together(tables)


def _tables(parts: Sequence[Part]) -> dict[str, pd.DataFrame]:
    """Further tables that are not empty; those of one name stand in one file, one after another."""
    found: dict[str, list[pd.DataFrame]] = {}
    for part in parts:
        for name, table in part.tables.items():
            if len(table):
                found.setdefault(name, []).append(table)
    return {n: t[0] if len(t) == 1 else pd.concat(t, ignore_index=True) for n, t in found.items()}


def no_findings() -> pd.DataFrame:
    """Findings of an analysis without a paper: none."""
    return pd.DataFrame(columns=list(FINDING_COLUMNS), dtype=str)


def run_record(
    about: Mapping[str, str], settings: Settings, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a run says of itself: versions, seed, sampling, whose data, and ``more``."""
    return {
        "package_version": __version__,
        "schema_version": SCHEMA_VERSION,
        "seed": settings.seed,
        "quick": settings.quick,
        "sampling": asdict(settings.sampling),
        "versions": versions(),
        "study": dict(about),
        **(more or {}),
    }


def record_text(record: Mapping[str, Any]) -> str:
    """Give the record as the text of its file."""
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def methods(families: Sequence[str], quick: bool) -> tuple[str, ...]:
    """Paragraphs on what was done to the printed numbers, for a report of these families."""
    own = tuple(_OF_FAMILY[name] for name in families if name in _OF_FAMILY)
    return (*_COMMON, *own, *((QUICK,) if quick else ()))


def slug(text: str, otherwise: str = "cohort") -> str:
    """Name of an analysis from a title or the name of a file: lower-case words and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or otherwise


def monte_carlo_file(estimates: pd.DataFrame) -> dict[str, str]:
    """Name and text of the table of Monte-Carlo errors; nothing where no estimate carries any.

    One row for each estimand and reading, on the ``scale`` of its kind: those on the identity are
    in the unit of the table of estimates; probabilities of events are as they are. ``replay``
    judges its differences by them.
    """
    if estimates.empty or not set(MCSE_COLUMNS) <= set(estimates.columns):
        return {}
    known = estimates[list(MCSE_COLUMNS)].notna().any(axis=1)
    table = estimates.loc[known]
    scales = [KINDS[parse(text).kind].scale for text in table["estimand"]]
    names = ["estimand", "reading", "fit_id", "scale", *MCSE_COLUMNS]
    return {MONTE_CARLO: csv_text(table.assign(scale=scales)[names])} if known.any() else {}


def study_files(page: StudyPage) -> dict[str, str | bytes]:
    """Name -> content of the page, ``report.md``, ``report.docx``, ``key_results.csv``,
    ``tables.typ``, ``tables/``, ``figures/``.
    """
    page = replace(page, beside=True)
    figures = [f for s in (page.cohort, *page.sections) for f in s.figures]
    found, values = page.key_results, study_values(page)
    return {
        **({KEY_RESULTS: csv_text(found.frame)} if len(found) else {}),
        **figure_files(figures),
        **latex_files(values),
        TYPST: typst(values),
        "report.md": study_markdown(page),
        WORD: word(page),
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


def word(page: StudyPage) -> bytes:
    """Give the document: the same bytes for the same page."""
    from docx import Document
    from docx.shared import Mm, Pt

    made, found = Document(), page.key_results
    made.styles["Normal"].font.size = Pt(10)
    made.add_heading(page.study["title"] or page.study["id"], 0)
    for line in filter(None, (page.study["citation"], *page.notices)):
        made.add_paragraph(line)
    if len(found):
        made.add_heading("Key results", 1)
        _table(made, found.short)
        for topic, sentence in (*found.topics(), *page.judgements):
            paragraph = made.add_paragraph()
            paragraph.add_run(f"{topic}. ").bold = True
            paragraph.add_run(sentence)
        drawn = io.BytesIO()
        figure = forest(found)
        figure.savefig(drawn, format="png", dpi=300, facecolor="white")
        drawn.seek(0)
        made.add_picture(drawn, width=Mm(WIDTH))
        made.add_paragraph("Marks as named above the figure; grey: 95 % of the prior.")
    if not page.findings.empty:
        made.add_heading("Findings", 1)
        for sentence in page.findings["sentence"]:
            made.add_paragraph(sentence, style="List Number")
    for table in page.cohort.tables[:1]:
        made.add_heading(table.title, 1)
        _table(made, table.frame)
        made.add_paragraph(table.caption)
    made.add_heading("Methods", 1)
    paragraph_, *cited = page.methods_to_paste
    made.add_paragraph(paragraph_)
    made.add_heading("References", 2)
    for place, line in enumerate(cited, 1):
        made.add_paragraph(f"[{place}] {line}")
    properties = made.core_properties
    properties.title, properties.author = page.study["title"], ""
    properties.created = properties.modified = datetime(*_EPOCH, tzinfo=UTC)
    written = io.BytesIO()
    made.save(written)
    return _undated(written.getvalue())


def _table(made: Any, frame: pd.DataFrame) -> None:
    """Table of a frame at the width of the page, its first column twice as wide as the others."""
    from docx.shared import Mm

    table = made.add_table(rows=1, cols=len(frame.columns), style="Table Grid")
    table.autofit = False
    widths = [Mm(WIDTH * part / (len(frame.columns) + 1)) for part in (2, *[1] * 20)]
    _fill(table.rows[0].cells, frame.columns, widths, bold=True)
    for row in frame.itertuples(index=False):
        _fill(table.add_row().cells, row, widths)
    made.add_paragraph()


def _fill(
    cells: Iterable[Any], values: Iterable[Any], widths: Iterable[Any], bold: bool = False
) -> None:
    from docx.shared import Pt

    for cell, value, width in zip(cells, values, widths, strict=False):
        run = cell.paragraphs[0].add_run("" if pd.isna(value) else str(value))
        run.font.size, run.bold, cell.width = Pt(8), bold, width


def _undated(archive: bytes) -> bytes:
    """The same archive without the time it was written at."""
    written = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as read,
        zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as made,
    ):
        for name in read.namelist():
            made.writestr(zipfile.ZipInfo(name, _EPOCH), read.read(name), zipfile.ZIP_DEFLATED)
    return written.getvalue()

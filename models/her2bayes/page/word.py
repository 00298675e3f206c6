"""The page's answers as a Word document: key results with their forest, Table 1, methods.

What a paper takes over: numbers as on the page, the figure at column width, tables as tables.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.page.key_results import forest

if TYPE_CHECKING:
    from her2bayes.page.page import StudyPage

FILE = "report.docx"
WIDTH = 152.0
"""Text of a page, mm."""


_EPOCH = (1980, 1, 1, 0, 0, 0)


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

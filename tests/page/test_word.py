"""The Word document: what the page says, in a file that Word's own format reads back."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from docx import Document

from her2bayes.page.key_results import forest
from her2bayes.page.page import StudyPage
from her2bayes.page.report import word


def test_numbers_table_one_and_methods_are_those_of_the_page(headed: StudyPage) -> None:
    made = Document(io.BytesIO(word(headed)))
    texts = [paragraph.text for paragraph in made.paragraphs]
    for topic, sentence in headed.key_results.topics():
        assert f"{topic}. {sentence}" in texts
    assert set(headed.findings["sentence"]) <= set(texts)
    assert headed.methods_to_paste[0] in texts
    key, *others = made.tables
    assert [cell.text for cell in key.rows[0].cells] == list(headed.key_results.short)
    assert len(key.rows) == len(headed.key_results) + 1
    titles = [table.title for table in headed.cohort.tables[:1]]
    assert set(titles) <= set(texts)
    assert len(others) == len(titles)
    assert len(made.inline_shapes) == 1


def test_the_same_page_gives_the_same_bytes(headed: StudyPage) -> None:
    assert word(headed) == word(headed)


def test_forest_shows_every_number_at_a_readable_size(headed: StudyPage) -> None:
    figure = forest(headed.key_results)
    figure.draw_without_rendering()
    rows = headed.key_results.frame
    shown = sum(len(axes.get_yticks()) for axes in figure.axes)
    assert shown == len(rows)
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(170)
    sizes = [text.get_fontsize() for axes in figure.axes for text in axes.get_yticklabels()]
    assert min(sizes) >= 7
    points = [line for axes in figure.axes for line in axes.lines if line.get_marker() != "None"]
    numbers = rows[["published", "reproduced", "posterior_median"]].notna().sum().sum()
    assert len(points) == numbers


@pytest.mark.skipif(not shutil.which("soffice"), reason="no LibreOffice: the file is not opened")
def test_libreoffice_opens_it(headed: StudyPage, tmp_path: Path) -> None:
    (tmp_path / "report.docx").write_bytes(word(headed))
    command = ["soffice", "--headless", "--convert-to", "pdf", "--outdir", str(tmp_path)]
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    subprocess.run([*command, profile, str(tmp_path / "report.docx")], check=True,
                   capture_output=True, timeout=120)  # fmt: skip
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")

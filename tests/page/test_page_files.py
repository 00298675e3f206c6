"""What stands beside a page: the same numbers in Markdown and LaTeX, and text that stays text."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from her2bayes.files import publish
from her2bayes.page.markdown import escaped, text
from her2bayes.page.page import StudyPage, render_study, study_values
from her2bayes.page.report import study_files
from her2bayes.page.section import Figure, Section, Table, plain_name

ESCAPE = "../../etc/<b>passwd</b>"


@pytest.fixture
def files(page: StudyPage) -> dict[str, str]:
    drawn = page.sections[0].figures[0].svg
    table = pd.DataFrame({"a|b": ["=1+1", "x_y & 5 % of $3 #1 {z}", "[0, 1] ~ ^ \\ | `c`"]})
    hostile = Section(
        "more",
        "More",
        figures=(
            Figure(f"forest-{ESCAPE}", "One", drawn, ""),
            Figure("forest-her2->50", "Two", drawn, ""),
            Figure("forest-her2-<50", "Three", drawn, ""),
        ),
        tables=(Table(ESCAPE, table), Table(ESCAPE, table), Table("Empty", pd.DataFrame())),
    )
    return study_files(replace(page, sections=(*page.sections, hostile)))


def test_no_name_leads_out_of_the_folder(files: dict[str, str], tmp_path: Path) -> None:
    assert len([n for n in files if n.startswith("figures/forest")]) == 3
    for name in files:
        path = PurePosixPath(name)
        assert ".." not in path.parts
        assert re.fullmatch(r"[\w./-]+", name)
        assert len(path.parts) <= 2
    publish(tmp_path / "out", files)
    out = tmp_path / "out"
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == set(files)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "printed"}


@pytest.mark.parametrize(("one", "other"), [(">50", "<50"), ("a b", "a-b"), ("é", "è")])
def test_two_names_never_become_one(one: str, other: str) -> None:
    assert plain_name(one) != plain_name(other)
    assert plain_name("plain-name_1") == "plain-name_1"


def test_markdown_holds_the_tables_of_the_page_and_no_html(
    files: dict[str, str], page: StudyPage
) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(files["report.md"])
    inline = [child for token in tokens for child in token.children or ()]
    assert not [t for t in tokens if t.type == "html_block"]
    assert not [t for t in inline if t.type in {"html_inline", "link_open"}]
    images = [t.attrs["src"] for t in inline if t.type == "image"]
    assert images
    assert set(images) <= set(files)
    # every table has as many cells in each row as headings
    widths: list[set[int]] = []
    for token in tokens:
        if token.type == "table_open":
            widths.append(set())
        elif token.type == "tr_open":
            cells = 0
        elif token.type in {"th_open", "td_open"}:
            cells += 1
        elif token.type == "tr_close":
            widths[-1].add(cells)
    assert all(len(width) == 1 for width in widths)
    assert len(widths) == 1 + len(study_values(page)["tables"]) + 2 + 1  # evidence, more, fits


def test_numbers_are_those_of_the_page_with_interval_and_fit(
    files: dict[str, str], page: StudyPage
) -> None:
    for row in study_values(page)["rows"]:
        if row["posterior"]:
            assert row["posterior"] in render_study(page)
            in_words = text(row["posterior"])
            lines = [line for line in files["report.md"].splitlines() if in_words in line]
            assert any(row["fit_id"] in line for line in lines)
            assert escaped(row["posterior"]) in files["tables/evidence.tex"]


def test_latex_is_balanced_and_nothing_in_it_is_a_command_of_the_data(
    files: dict[str, str],
) -> None:
    for name, tex in files.items():
        if not name.endswith(".tex"):
            continue
        plain = re.sub(r"\\[{}$&#%_\\]", "", tex)
        assert plain.count("{") == plain.count("}")
        commands = set(re.findall(r"\\([A-Za-z]+)", tex))
        assert commands <= {
            "usepackage", "begin", "end", "caption", "label", "textbf", "toprule", "midrule",
            "bottomrule", "endfirsthead", "endhead", "endlastfoot", "linewidth", "textbackslash",
            "textless", "textgreater", "textbar", "textquotedbl", "textasciicircum",
            "textasciitilde", "rightarrow", "leq", "geq", "times", "infty", "pm", "chi", "kappa",
            "alpha", "beta", "small",
        }, name  # fmt: skip
    body = files["tables/more-etc-b-passwd-b.tex"]
    assert r"x\_y \& 5 \% of \$3 \#1 \{z\}" in body
    assert r"{[0, 1] \textasciitilde{} \textasciicircum{} \textbackslash{} \textbar{} `c`}" in body
    assert "tables/more-etc-b-passwd-b_2.tex" in files
    assert escaped("give --by, −1 to 2–3\N{NO-BREAK SPACE}%") == "give -{}-by, $-$1 to 2--3~\\%"


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("a | b", "a \\| b"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("*not bold* _x_", "\\*not bold\\* \\_x\\_"),
        ("- no list", "\\- no list"),
        ("1. no list", "1\\. no list"),
        ("two\nlines", "two lines"),
        ("[x](javascript:1)", "\\[x\\](javascript:1)"),
        ("# no heading", "\\# no heading"),
        ("give --cohort", "give \\-\\-cohort"),
        ("50 (44–55) %", "50 (44–55) %"),
    ],
)
def test_text_in_markdown_is_text(words: str, printed: str) -> None:
    assert text(words) == printed


STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def test_typst_holds_every_table_and_no_text_is_a_command(files: dict[str, str]) -> None:
    typst = files["tables.typ"]
    figures = typst.count("#figure(")
    assert figures == sum(name.endswith(".tex") for name in files)  # this page has no key results
    outside = STRING.sub('""', typst)
    assert "<script" not in outside
    assert "$" not in outside
    labels = re.findall(r"^\) <([A-Za-z0-9_-]+)>$", outside, re.MULTILINE)
    assert len(set(labels)) == len(labels) == figures
    for part in typst.split("#figure(")[1:]:
        columns = len(re.search(r"columns: \((.*),\)", part)[1].split(","))
        cells = STRING.findall(part.partition("table.header(")[2])
        assert len(cells) % columns == 0  # the headings, then whole rows


def test_typst_compiles_the_tables(files: dict[str, str], tmp_path: Path) -> None:
    program = shutil.which("typst")
    if not program:
        pytest.skip("Typst is not installed: the file is not compiled")
    (tmp_path / "tables.typ").write_text(files["tables.typ"], encoding="utf-8")
    subprocess.run([program, "compile", "tables.typ"], cwd=tmp_path, check=True)
    assert (tmp_path / "tables.pdf").read_bytes().startswith(b"%PDF")

"""Every kind of page under axe: no fault that keeps a reader out, in both themes and on a phone.

Needs Chromium, playwright and the axe package; skipped without, and the skip says what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from her2bayes.evidence.printed.study import load_studies
from her2bayes.inference.sampling import Settings
from her2bayes.page.page import StudyPage, render_study
from her2bayes.page.section import Section, Table
from her2bayes.reproduce import build
from her2bayes.transition import section_cohort as report
from her2bayes.transition.cohort import CohortTransitions

GRAVE = {"serious", "critical"}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
OPEN_ALL = "document.querySelectorAll('details').forEach(d => { d.open = true; })"
RUN = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations.map(
    v => [v.impact, v.id, v.nodes.map(n => n.html.slice(0, 200))])"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, from the package that ships it."""
    package = pytest.importorskip("axe_playwright_python", reason="axe is not installed")
    return (Path(package.__file__).parent / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the index and the pages of both papers, audited, without fits."""
    out = tmp_path_factory.mktemp("out")
    for study in load_studies(["shi2023", "ni2025"]):
        build.write_study(study, [], out / study.id, Settings(), lambda _: None)
    build.write_index(out)
    return out


@pytest.fixture(scope="module")
def cohort_page(result: CohortTransitions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a cohort of patients, with every figure and a table to choose from."""
    table = pd.DataFrame(
        {"Choice": ["a", "a", "b"], "Value": ["1", "2", "3"], "P": [0.1, 0.2, 0.3]}
    )
    chooser = Section("choose", "Choose", tables=(Table("Rows", table, "", ("Choice", "Value")),))
    page = StudyPage(
        study={"id": "c", "title": "Cohort", "citation": "", "doi": "", "design": "patients"},
        evidence=report.evidence(result),
        findings=pd.DataFrame(columns=["finding_id", "claim_ids", "kind", "sentence"], dtype=str),
        cohort=report.cohort_section(result.pairs),
        sections=(report.pairs_section(result), chooser),
        absent=(),
        methods=("Methods.",),
        notices=(),
        run={},
    )
    path = tmp_path_factory.mktemp("cohort") / "report.html"
    path.write_text(render_study(page), encoding="utf-8")
    return path


def tabs(browser: Any, path: Path) -> Iterator[tuple[str, Any, list[str]]]:
    """The page in both themes, dark on a phone, everything folded opened; and what it said."""
    for theme, width in (("light", 1280), ("dark", 375)):
        # axe itself is a script the page's policy would rightly refuse
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, bypass_csp=True
        )
        tab = context.new_page()
        heard: list[str] = []
        tab.on("console", lambda message, heard=heard: heard.append(message.text))
        tab.on("pageerror", lambda error, heard=heard: heard.append(str(error)))
        tab.goto(path.as_uri())
        tab.evaluate(OPEN_ALL)
        yield theme, tab, heard
        context.close()


@pytest.mark.parametrize("name", ["shi2023/report", "ni2025/report", "index", "cohort", "hostile"])
def test_no_grave_fault(
    browser: Any, axe: str, shipped: Path, cohort_page: Path, page: StudyPage, tmp_path: Path,
    name: str,
) -> None:  # fmt: skip
    hostile = tmp_path / "hostile.html"
    hostile.write_text(render_study(page), encoding="utf-8")
    path = {"cohort": cohort_page, "hostile": hostile}.get(name, shipped / f"{name}.html")
    for theme, tab, heard in tabs(browser, path):
        assert tab.evaluate(OVERFLOW) <= 0, theme
        tab.evaluate(axe)
        faults = [fault for fault in tab.evaluate(RUN) if fault[0] in GRAVE]
        assert not faults, theme
        assert not heard, theme


def test_axe_finds_a_fault_where_there_is_one(browser: Any, axe: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text("<html lang='en'><title>t</title><main><input><img src='data:,'></main></html>")
    for _, tab, _ in tabs(browser, path):
        tab.evaluate(axe)
        assert {"image-alt", "label"} <= {fault[1] for fault in tab.evaluate(RUN)}


def test_marks_tell_their_numbers_to_pointer_and_keyboard(browser: Any, cohort_page: Path) -> None:
    tab = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    tab.goto(cohort_page.as_uri())
    marks = tab.locator("#transition-alluvial-all [data-tip][tabindex]")
    assert marks.count() == 9
    marks.nth(4).focus()
    assert tab.locator(".tooltip").is_visible()
    words = tab.inner_text(".tooltip")
    assert words == marks.nth(4).get_attribute("aria-label")
    assert "% of all patients (95 % CrI" in words
    assert "of 550" in words
    tab.keyboard.press("Escape")
    assert not tab.locator(".tooltip").is_visible()
    core = tab.locator("#transition-alluvial-all .tip.again").first
    core.hover()
    assert tab.inner_text(".tooltip") == core.get_attribute("data-tip")


def test_a_table_to_choose_from_shows_the_rows_chosen(browser: Any, cohort_page: Path) -> None:
    tab = browser.new_context().new_page()
    tab.goto(cohort_page.as_uri())
    rows = "[...document.querySelectorAll('.chooser tbody tr')]"
    shown = f"{rows}.filter(r => !r.hidden).map(r => r.textContent)"
    first, second = (tab.locator("#choose .filters select").nth(k) for k in (0, 1))
    assert tab.evaluate(shown) == ["a10.100"]
    second.select_option("2")
    assert tab.evaluate(shown) == ["a20.200"]
    first.select_option("b")
    assert tab.evaluate(shown) == ["b30.300"]
    assert not second.is_visible()  # only one value is left
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto(cohort_page.as_uri())
    assert plain.locator(".chooser tbody tr").count() == 3
    assert plain.locator(".chooser tbody tr").last.is_visible()

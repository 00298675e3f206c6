"""The page in a browser: no request, no console message, no overflow; filter, sort, print, keys.

Needs Chromium on PATH (or in ``HER2_CHROMIUM``) and the playwright package; skipped without, and
the skip says which one is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from her2bayes.page.page import StudyPage, render_study

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SHOWN = "[...document.querySelectorAll('table.evidence tbody tr')].filter(r => !r.hidden).length"


@pytest.fixture
def file(page: StudyPage, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(render_study(page), encoding="utf-8")
    return path


def opened(browser: Any, file: Path, width: int = 1280, **context: Any) -> tuple[Any, list[str]]:
    """A tab with the page, and everything it complained of or asked for."""
    tab = browser.new_context(viewport={"width": width, "height": 900}, **context).new_page()
    heard: list[str] = []
    tab.on("console", lambda message: heard.append(message.text))
    tab.on("pageerror", lambda error: heard.append(str(error)))
    tab.on("dialog", lambda dialog: heard.append(dialog.message))
    tab.on("request", lambda r: heard.append(r.url) if r.url != file.as_uri() else None)
    tab.goto(file.as_uri())
    return tab, heard


@pytest.mark.parametrize("width", [1280, 768, 375])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_opens_quietly_and_fits_its_window(
    browser: Any, file: Path, width: int, theme: str
) -> None:
    tab, heard = opened(browser, file, width, color_scheme=theme)
    assert heard == []
    assert tab.evaluate(OVERFLOW) <= 0
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if theme == "light" else "rgb(21, 25, 30)")


def test_filters_narrow_the_table_and_say_how_many_rows_are_left(browser: Any, file: Path) -> None:
    tab, _ = opened(browser, file)
    rows = tab.evaluate(SHOWN)
    assert tab.inner_text("#shown") == f"All {rows} rows"
    tab.fill("[data-filter=search]", "low hr_status=POSITIVE")
    assert 0 < tab.evaluate(SHOWN) < rows
    assert f"of {rows} rows" in tab.inner_text("#shown")
    tab.click("[data-filter=clear]")
    tab.select_option("[data-filter=verdict]", "not_checkable")
    assert tab.evaluate(SHOWN) == 2
    tab.click("[data-filter=clear]")
    tab.select_option("[data-filter=kind]", "printed")
    assert tab.evaluate(SHOWN) == 1
    tab.click("[data-filter=clear]")
    tab.select_option("[data-filter=rows]", "printed")
    assert tab.evaluate(SHOWN) == 5
    tab.select_option("[data-filter=rows]", "beyond")
    assert tab.evaluate(SHOWN) == rows - 5
    tab.click("[data-filter=clear]")
    tab.check("[data-filter=posterior]")
    assert tab.evaluate(SHOWN) == 6
    tab.click("a[data-show='verdict=reproduces']")
    assert tab.evaluate(SHOWN) == 3


def test_a_click_on_a_header_sorts_by_value_and_a_third_restores_the_order(
    browser: Any, file: Path
) -> None:
    tab, _ = opened(browser, file)
    header = tab.locator("table.evidence thead th", has_text="Posterior")
    ids = "[...document.querySelectorAll('table.evidence tbody tr')].map(r => r.id)"
    values = "[...document.querySelectorAll('.evidence td:nth-child(5)')].map(c => c.dataset.sort)"
    before = tab.evaluate(ids)
    header.locator("button").press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    known = [float(v) for v in tab.evaluate(values) if v]
    assert known == sorted(known)
    assert tab.evaluate(values)[: len(known)] == [v for v in tab.evaluate(values) if v]
    header.locator("button").press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    header.locator("button").press("Enter")
    assert header.get_attribute("aria-sort") is None
    assert tab.evaluate(ids) == before


def test_a_link_to_a_row_that_is_filtered_out_shows_it(browser: Any, file: Path) -> None:
    tab, _ = opened(browser, file)
    tab.fill("[data-filter=search]", "nothing holds these words")
    assert tab.evaluate(SHOWN) == 0
    tab.locator("#finding-F1 a").first.click()
    tab.wait_for_function(f"{SHOWN} > 0")
    assert tab.locator("[id='claim-h.low']").is_visible()


def test_a_link_to_a_fit_opens_its_card(browser: Any, file: Path) -> None:
    tab, _ = opened(browser, file)
    tab.locator("table.evidence a.value").first.click()
    tab.wait_for_function("document.querySelector('.fit details').open")


def test_without_scripts_it_is_a_plain_table(browser: Any, file: Path) -> None:
    tab, heard = opened(browser, file, java_script_enabled=False)
    assert heard == []
    assert not tab.locator("[data-filter=search]").is_visible()
    assert tab.locator("table.evidence tbody tr").first.is_visible()
    assert tab.locator("table.evidence button").count() == 0


def test_the_keyboard_reaches_the_text_the_filters_and_the_table(browser: Any, file: Path) -> None:
    tab, _ = opened(browser, file)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(80):
        tab.keyboard.press("Tab")
        reached.add(
            tab.evaluate(
                "document.activeElement.dataset.filter || document.activeElement.className"
            )
        )
    assert {"search", "verdict", "kind", "rows", "posterior", "clear"} <= reached
    assert "scroll evidence-scroll" in reached


def test_prints_in_light_colours_without_controls(browser: Any, file: Path) -> None:
    tab, _ = opened(browser, file, color_scheme="dark")
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not tab.locator(".filters").is_visible()
    assert not tab.locator(".contents").is_visible()
    assert len(tab.pdf()) > 10_000


def test_filters_stand_in_the_address_and_an_address_sets_them(browser: Any, file: Path) -> None:
    tab, heard = opened(browser, file)
    tab.select_option("[data-filter=verdict]", "not_checkable")
    tab.fill("[data-filter=search]", "association hr_status")
    left = tab.evaluate(SHOWN)
    address = tab.url
    assert address.endswith("#evidence?search=association+hr_status&verdict=not_checkable")
    again, _ = opened(browser, file)
    again.goto(address)
    again.reload()
    assert again.evaluate(SHOWN) == left
    assert again.input_value("[data-filter=search]") == "association hr_status"
    again.press("[data-filter=search]", "Escape")
    assert again.input_value("[data-filter=search]") == ""
    assert again.evaluate(SHOWN) == 2
    again.goto(f"{file.as_uri()}#evidence?verdict=<script>&nothing=1&search=%E0%A4%A")
    again.reload()
    assert heard == []


def test_a_fit_leads_to_its_rows_and_a_row_to_its_finding(browser: Any, file: Path) -> None:
    tab, _ = opened(browser, file)
    tab.click("a[data-show^='fit=']")
    assert 0 < tab.evaluate(SHOWN) < len(tab.query_selector_all("table.evidence tbody tr"))
    tab.click("[data-filter=clear]")
    tab.click("[id='claim-h.low'] .cited a")
    assert tab.url.endswith("#finding-F1")
    assert tab.locator("[id='claim-h.low'] .locator a").get_attribute("href") == (
        "https://doi.org/10.1000/x%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"
        "#:~:text=20%20%2850.0%25%29"
    )


def test_a_table_is_copied_for_documents_and_for_spreadsheets(browser: Any, file: Path) -> None:
    tab, heard = opened(browser, file)
    tab.evaluate("""() => { const set = DataTransfer.prototype.setData; window.got = {};
        DataTransfer.prototype.setData = function (type, text) { window.got[type] = text;
        return set.call(this, type, text); }; }""")
    tab.select_option("[data-filter=rows]", "printed")
    tab.click("#evidence .tools button")
    assert "Copied" in tab.inner_text("#evidence .tools")
    got = tab.evaluate("window.got")
    lines = got["text/plain"].split("\n")
    assert len(lines) == 1 + 5
    assert lines[0].startswith("Claim\tQuantity\tPublished")
    assert got["text/html"].count("<tr>") == 6
    assert "<script" not in got["text/html"]
    assert not [cell for line in lines for cell in line.split("\t") if cell[:1] in "=@" and cell]
    assert heard == []


def test_the_contents_fold_on_a_phone(browser: Any, file: Path) -> None:
    tab, _ = opened(browser, file, 375)
    assert not tab.locator(".contents ul").is_visible()
    tab.click(".contents summary")
    tab.keyboard.press("Escape")
    assert not tab.locator(".contents ul").is_visible()
    tab.click(".contents summary")
    tab.click(".contents a[href='#methods']")
    assert not tab.locator(".contents ul").is_visible()

"""The page: whole, escaped, alone, and the same for the same input."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from her2bayes.page import section_view as evidence_view
from her2bayes.page.page import StudyPage, render_index, render_study

VOID = {"meta", "link", "wbr", "input", "col", "br", "img", "hr"}


class Reader(HTMLParser):
    """Elements of a page with their attributes, and whether every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def values(self, name: str) -> list[str]:
        return [str(a[name]) for _, a in self.elements if name in a]

    def count(self, tag: str) -> int:
        return sum(t == tag for t, _ in self.elements)


@pytest.fixture
def html(page: StudyPage) -> str:
    return render_study(page)


@pytest.fixture
def read(html: str) -> Reader:
    return Reader(html)


def record(page: StudyPage) -> dict[str, object]:
    return {
        "study": page.study,
        "summary": "5 printed numbers.",
        "verdicts": {"reproduces": 3, "not_checkable": 2},
        "findings": list(page.findings["sentence"]) * 4,
        "quick": True,
        "failed_fits": ["<script>alert(1)</script>"],
    }


def test_every_element_is_closed(read: Reader) -> None:
    assert not read.faults
    assert not read.open


def test_hostile_text_stays_text(html: str, read: Reader) -> None:
    assert read.count("script") == 1
    assert read.count("img") == 0
    assert read.count("b") == 0
    assert not [name for _, a in read.elements for name in a if name.startswith("on")]
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_nothing_is_loaded_from_elsewhere(read: Reader) -> None:
    assert not read.values("src")
    loads = [a.get("href") for t, a in read.elements if t in {"link", "use", "image"}]
    assert all(str(link).startswith(("data:,", "#")) for link in loads)
    outside = [link for link in read.values("href") if link.startswith(("http", "//"))]
    assert outside
    assert all(link.startswith("https://doi.org/10.1000/x") for link in outside)
    assert not read.values("style")


def test_the_policy_allows_exactly_the_style_and_the_script_of_the_page(
    html: str, read: Reader
) -> None:
    policy = next(a["content"] for t, a in read.elements if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        content = re.findall(rf"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL)
        assert len(content) == 1
        digest = b64encode(sha256(content[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_ids_are_unique_and_every_link_within_the_page_arrives(read: Reader) -> None:
    ids = read.values("id")
    assert len(ids) == len(set(ids))
    targets = {link[1:] for link in read.values("href") if link.startswith("#")}
    assert targets <= set(ids)
    labels = {name for text in read.values("aria-labelledby") for name in text.split()}
    assert labels <= set(ids)


def test_every_ledger_row_is_on_the_page_once(page: StudyPage, read: Reader) -> None:
    rows = [a.get("id") for t, a in read.elements if t == "tr" and "data-verdict" in a]
    assert len(rows) == len(page.evidence)
    for claim_id in page.evidence["claim_id"]:
        assert not claim_id or rows.count(evidence_view.anchor(claim_id)) == 1


def test_a_posterior_links_to_its_fit_and_the_fit_says_that_it_failed(html: str) -> None:
    assert (
        '<a class="value" href="#fit-0123456789ab">49.5 (44.5–54.5)\N{NO-BREAK SPACE}%</a>' in html
    )
    assert '<p class="failed">not converged: R-hat 1.03' in html
    assert "Not converged, do not rely on" in html


def test_a_finding_links_to_its_rows_with_their_locators(html: str) -> None:
    assert '<span>Abstract: <a href="#claim-h.low">h.<wbr>low</a></span>' in html
    assert "h.lost" in html


def test_same_input_same_page(page: StudyPage, html: str) -> None:
    assert render_study(page) == html


def test_the_index_is_whole_escaped_and_alone(page: StudyPage) -> None:
    text = render_index([record(page), record(page)])
    read = Reader(text)
    assert not read.faults
    assert read.count("script") == 1
    assert read.values("href").count("hostile/report.html") >= 2
    assert "4 more findings" in text
    assert "Quick run" in text
    ids = read.values("id")
    assert len(ids) == len(set(ids))


def test_an_empty_report_is_still_a_page(page: StudyPage) -> None:
    from dataclasses import replace

    bare = replace(
        page, evidence=page.evidence.iloc[:0], findings=page.findings.iloc[:0], sections=()
    )
    read = Reader(render_study(bare))
    assert not read.faults
    assert "diagnostics" not in read.values("id")


@pytest.mark.parametrize("claim_id", ["a b", 'x"y', "ä<b>", "a.b-c_d"])
def test_anchors_are_plain(claim_id: str) -> None:
    assert re.fullmatch(r"claim-[\w.-]+", evidence_view.anchor(claim_id))


def test_a_methods_paragraph_names_what_was_run_once(page: StudyPage, html: str) -> None:
    paragraph, *references = page.methods_to_paste
    cards = [card for section in page.sections for card in section.fits]
    for card in cards:
        first = str(card["equations"]).partition("\n\n")[0].replace("\n", " ").rstrip(".")
        assert paragraph.count(f") {first}") == 1
        for name, text in card["priors"].items():
            assert f"{name} ~ {text.partition(': ')[0]}" in paragraph
    assert "2 chains of 100 draws" in paragraph
    cited = {int(n) for group in re.findall(r"\[([\d, ]+)\]", paragraph) for n in group.split(",")}
    assert cited == set(range(1, len(references) + 1))
    assert 'id="to-paste"' in html

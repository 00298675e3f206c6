"""Key results: one row a headline with three numbers, sentences from them, first on the page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence.printed.schema import EVIDENCE_COLUMNS, TEXT_COLUMNS
from her2bayes.evidence.printed.study import Study, load_study
from her2bayes.page.evidence_table import join_unprinted
from her2bayes.page.key_results import COLUMNS, Axis, KeyResults, axis, key_results, marks, sentence
from her2bayes.page.markdown import study_markdown
from her2bayes.page.page import StudyPage, render_study
from her2bayes.page.report import study_files
from her2bayes.page.section import Figure, Section, Table
from her2bayes.page.section_view import section_view


def test_one_row_a_headline_in_its_order_with_the_three_numbers(headed: StudyPage) -> None:
    frame = headed.key_results.frame
    assert list(frame["claim_id"]) == list(headed.headline)
    assert tuple(frame.columns) == COLUMNS
    assert frame["published"].tolist() == [60.0, 50.0]
    assert frame["reproduced"].tolist() == [60.0, 50.0]
    assert frame["posterior_median"].tolist() == [57.0, 49.5]
    assert frame["posterior_upper"].tolist() == [62.0, 54.5]


def test_the_csv_beside_the_page_is_the_same_table(headed: StudyPage, tmp_path: Path) -> None:
    (tmp_path / "key.csv").write_text(study_files(headed)["key_results.csv"], encoding="utf-8")
    read = pd.read_csv(tmp_path / "key.csv")
    assert len(read) == len(headed.headline)
    names = ["published", "reproduced", "posterior_median", "prior_lower"]
    assert np.allclose(read[names], headed.key_results.frame[names])
    assert headed.key_results.to_csv(tmp_path / "own.csv").read_text("utf-8") == (
        tmp_path / "key.csv"
    ).read_text("utf-8")


def test_a_paper_without_a_headline_has_no_key_results(page: StudyPage) -> None:
    assert len(page.key_results) == 0
    assert "key_results.csv" not in study_files(page)
    assert 'id="key-results"' not in render_study(page)


def test_a_sentence_a_topic_is_made_of_its_numbers(headed: StudyPage) -> None:
    said = headed.key_results.sentences
    assert said == (
        "The share of HR-positive patients that are HER2-low is estimated at 57\xa0% (95 % "
        "credible interval 52 to 62\xa0%); the share of patients that are HER2-low at 50\xa0% (45 "
        "to 55\xa0%).",
    )
    moved = headed.key_results.frame.assign(posterior_median=[11.0, 12.0])
    assert "estimated at 11\xa0%" in KeyResults("h", moved).sentences[0]


def row(**other: object) -> dict[str, Any]:
    blank = dict.fromkeys(COLUMNS, "") | {
        name: np.nan for name in COLUMNS if name.split("_")[-1] in {"lower", "upper", "median"}
    }
    return {
        **blank,
        "quantity": "hazard ratio of death",
        "estimand": "hazard_ratio[os ; her2: positive vs low]",
        "published": 0.422,
        "published_lower": 0.199,
        "published_upper": 0.892,
        "reproduced": np.nan,
        **other,
    }


@pytest.mark.parametrize(
    ("upper", "said"),
    [(1.05, "which includes 1; the published interval, 0.199 to 0.892, does not"), (0.95, "")],
)
def test_a_ratio_says_where_its_interval_and_the_published_one_disagree_on_1(
    upper: float, said: str
) -> None:
    text = sentence([row(posterior_median=0.56, posterior_lower=0.26, posterior_upper=upper)])
    assert (said in text) if said else ("which" not in text)
    assert "0.56 (95 % credible interval 0.26 to" in text


def test_what_has_no_posterior_is_quoted_as_published(headed: StudyPage) -> None:
    text = sentence([row(verdict="not_checkable")])
    assert text.endswith("0.42 (95 % confidence interval 0.20 to 0.89), which cannot be checked.")


def test_a_fit_that_failed_says_so_in_sentence_and_table(headed: StudyPage) -> None:
    evidence = headed.evidence.assign(convergence="not converged: R-hat 1.03")
    broken = replace(headed, evidence=evidence)
    assert "did not converge" in broken.key_results.sentences[0]
    first = render_study(broken).split('id="findings"')[0]
    assert first.count("not converged: R-hat 1.03") == len(headed.headline)


def test_marks_stand_in_the_order_of_their_numbers_on_one_axis() -> None:
    one = row(posterior_median=0.56, posterior_lower=0.26, posterior_upper=1.05, prior_lower=0.01)
    one["prior_upper"] = 300.0
    on = axis([one], "")
    assert on.log
    assert on.low == pytest.approx(1 / on.high)
    assert on.low <= 0.199
    found = marks(one, on)
    places = [float(found["published"][end]) for end in ("low", "at", "high")]
    assert places == sorted(places)
    assert float(found["posterior"]["at"]) > float(found["published"]["at"])
    assert float(found["one"]) == pytest.approx(on.at(1.0), abs=0.1)
    assert (on.at(0.01), on.at(300.0)) == (on.at(on.low), on.at(on.high))
    assert found["reproduced"]["at"] is None
    assert Axis(0.0, 100.0, False).at(50.0) == pytest.approx(120.0)


def test_numbers_to_rebiopsy_begin_at_one_and_patients_are_whole() -> None:
    one = row(posterior_median=1.6, posterior_lower=1.3, posterior_upper=14.0)
    one |= {"estimand": "number_to_rebiopsy[zero]", "published": np.nan}
    one |= {"published_lower": np.nan, "published_upper": np.nan}
    assert (axis([one], "").low, axis([one], "").ticks[0]) == (1.0, 1.0)
    counted = row(published=97.0, posterior_median=np.nan)
    counted |= {"unit": "patients", "published_lower": np.nan, "quantity": "number of tumours"}
    assert sentence([counted]).startswith("The number of tumours is published as 97\u00a0patients")


def test_key_results_stand_before_findings_with_links_to_section_and_row(
    headed: StudyPage,
) -> None:
    text = render_study(headed)
    key = text[text.index('id="key-results"') : text.index('id="findings"')]
    assert key.count("<tr>") == 1 + len(headed.headline)
    assert key.count('href="#distribution"') == len(headed.headline)
    assert 'href="#claim-h.low_pos"' in key
    for number in ("57.0 %", "(52.0–62.0)", "60.0 %", "60.0"):
        assert number in key
    assert key.count("<svg") == len(headed.headline) * 2 + 4
    assert "## Key results" in study_markdown(headed)


def test_what_a_sensitivity_analysis_found_stands_in_a_column_of_its_own(
    headed: StudyPage,
) -> None:
    said = "> 45 %: holds, robust"
    tested = replace(headed, stances={"share[her2=low]": said})
    assert list(tested.key_results.frame["sensitivity"]) == ["", said]
    assert ">Sensitivity</th>" in render_study(tested)
    assert ">Sensitivity</th>" not in render_study(headed)


def test_the_key_results_of_a_cohort_are_its_first_answers(estimates: pd.DataFrame) -> None:
    found = key_results("cohort", join_unprinted("cohort", estimates)).frame
    assert list(found["quantity"]) == ["share, her2 low", "share, her2 zero"]
    short = key_results("cohort", join_unprinted("cohort", estimates)).short
    assert list(short) == ["Quantity", "Posterior"]  # no paper: nothing published or judged


@pytest.mark.parametrize("name", ["shi2023", "ni2025"])
def test_both_papers_declare_a_headline_that_their_ledger_prints(name: str) -> None:
    paper = load_study(name)
    ledger = paper.ledger.set_index("claim_id")
    assert 7 <= len(paper.headline) <= 10
    assert ledger.loc[list(paper.headline), "value_number"].notna().all()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('"h.lowe" = "share"', "no such row in estimates.csv"),
        ('"h.p" = "P"', "a row without a number"),
        ('"h.low" = " "', "no words for the quantity"),
        ("h.low = 3", "wrong kind of entry"),
    ],
)
def test_a_headline_that_names_no_number_is_refused(study: Study, entry: str, said: str) -> None:
    design = study.folder / "study.toml"
    text = design.read_text("utf-8").replace(
        "[factors.her2]", f"[headline]\n{entry}\n[factors.her2]"
    )
    design.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=re.escape(said)):
        load_study(study.folder)


def test_a_section_shows_three_sentences_one_figure_one_table_and_folds_the_rest() -> None:
    said = "One is first. Two is next. Three ends it. Four is folded."
    figures = tuple(Figure(name, name.upper(), "<svg/>", "") for name in ("a", "b"))
    tables = tuple(Table(name, pd.DataFrame({"x": [1]})) for name in ("s", "t"))
    part = Section("id", "Title", (said, "Second."), figures, tables, main=("b", "t"))
    view = section_view(part)
    assert view["first"]["paragraphs"] == ["One is first. Two is next. Three ends it."]
    assert [f["id"] for f in view["first"]["figures"]] == ["b"]
    assert [t["title"] for t in view["first"]["tables"]] == ["t"]
    assert view["more"]["paragraphs"] == ["Four is folded.", "Second."]
    assert [f["id"] for f in view["more"]["figures"]] == ["a"]
    assert view["more"]["words"] == "1 figure, 1 table, how it was done"
    assert section_view(replace(part, main=()))["first"]["figures"][0]["id"] == "a"


@pytest.mark.parametrize("name", ["shi2023", "ni2025"])
def test_the_first_screen_holds_every_headline_number(
    browser: Any, name: str, tmp_path: Path
) -> None:
    """A page of 1280 by 900 px, before anything is touched."""
    paper = load_study(name)
    ledger = paper.ledger.set_index("claim_id", drop=False)
    rows = ledger.loc[list(paper.headline)]
    evidence = pd.DataFrame(
        {
            **{column: rows[column].to_numpy() for column in ("claim_id", "estimand", "locator")},
            "published_text": rows["text"].to_numpy(),
            "published": rows["value_number"].to_numpy(),
            "published_lower": rows["lower_number"].to_numpy(),
            "published_upper": rows["upper_number"].to_numpy(),
            "unit": rows["unit"].to_numpy(),
            "reproduced": rows["value_number"].to_numpy(),
            "posterior_median": rows["value_number"].to_numpy(),
            "verdict": "reproduces",
        }
    ).reindex(columns=EVIDENCE_COLUMNS)
    blank = {name: "" for name in TEXT_COLUMNS if evidence[name].isna().all()}
    evidence = evidence.assign(**blank)
    about = {key: str(paper.meta.get(key, "")) for key in ("citation", "doi", "design")}
    page = StudyPage(
        study={"id": name, "title": paper.title, **about},
        evidence=evidence,
        findings=pd.DataFrame(columns=["finding_id", "claim_ids", "kind", "sentence"], dtype=str),
        cohort=Section("cohort", "Cohort"),
        sections=(),
        absent=(),
        methods=(),
        notices=(),
        run={},
        headline=paper.headline,
    )
    (tmp_path / "page.html").write_text(render_study(page), encoding="utf-8")
    tab = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    tab.goto((tmp_path / "page.html").as_uri())
    ends = tab.evaluate(
        "[...document.querySelectorAll('.keys tbody tr')].map(r =>"
        " r.getBoundingClientRect().bottom)"
    )
    assert len(ends) == len(paper.headline)
    assert max(ends) <= 900
    assert tab.locator(".keys svg.forest .posterior .point").count() == len(paper.headline)
    tab.set_viewport_size({"width": 375, "height": 812})
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert tab.evaluate(wide) <= 0
    assert tab.locator(".keys .answer, .answer").first.is_visible()


def test_a_long_page_is_short_until_it_is_unfolded(
    browser: Any, headed: StudyPage, tmp_path: Path
) -> None:
    """Ten sections of eight figures: under twelve screens, and what is folded opens by address."""
    drawing = '<svg width="400" height="400" viewBox="0 0 400 400" class="panel"></svg>'
    sections = tuple(
        Section(
            f"part-{k}",
            f"Part {k}",
            ("One. Two.",),
            tuple(Figure(f"figure-{k}-{n}", f"Figure {k} {n}", drawing, "words") for n in range(8)),
        )
        for k in range(10)
    )
    path = tmp_path / "page.html"
    path.write_text(render_study(replace(headed, sections=sections)), encoding="utf-8")
    tab = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    tab.goto(path.as_uri())
    height = "document.documentElement.scrollHeight / 900"
    folded = tab.evaluate(height)
    assert folded <= 12
    assert not tab.locator("#figure-3-5").is_visible()
    tab.goto(path.as_uri() + "#figure-3-5")
    assert tab.locator("#figure-3-5").is_visible()
    tab.click("[data-unfold]")
    assert tab.evaluate(height) > 3 * folded
    tab.emulate_media(media="print")
    assert tab.locator("#figure-7-7").is_visible()

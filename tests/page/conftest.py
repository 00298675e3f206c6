"""A small study with hostile text in every label, its audit and its estimates, without sampling."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from her2bayes.distribution.classical import classical_rows
from her2bayes.evidence.printed.study import Study, load_study
from her2bayes.inference.estimates import ESTIMATE_COLUMNS
from her2bayes.page import style
from her2bayes.page.cohort import cohort_section
from her2bayes.page.evidence_table import join
from her2bayes.page.page import StudyPage
from her2bayes.page.section import Figure, FitCard, Section, Table

if TYPE_CHECKING:
    from her2bayes.transition.cohort import CohortTransitions

HOSTILE = "<script>alert('x')</script> & \"quotes\" $\\frac{1}$"

DESIGN = """
schema = 1
id = "hostile"
title = '''<script>alert('x')</script> & "quotes" $\\\\frac{1}$'''
citation = "=cmd()|' /C calc'!A0"
doi = "10.1000/x\\"><img src=x onerror=alert(1)>"
licence = "CC BY 4.0"
design = "<b>bold</b> cohort"
patients = 40
time_unit = "months"
alpha = 0.05

[methods]
association = "chi-square test"
proportion_interval = "none printed"
hazard_ratio = "none"
survival_comparison = "none"

[factors.her2]
label = "HER2 <i>status</i>"
levels = ["zero", "low", "positive"]

[factors.hr_status]
label = "<img src=x onerror=alert(1)>"
levels = ["positive", "negative"]
"""

LEDGER = [
    "claim_id,locator,estimand,statistic,text,value,lower,upper,relation,p_value,unit,decimals,"
    "numerator,denominator,reading,note",
    "h.n,Abstract,count[],count,40,40,,,=,,patients,0,40,,,",
    "h.low,Abstract,share[her2=low],percentage,20 (50.0%),50.0,,,=,,%,1,20,40,,"
    "<script>alert(2)</script>",
    "h.low2,=Table 1,share[her2=low],percentage,20 (50.0%),50.0,,,=,,%,1,20,40,,",
    "h.low_pos,Table 1,share[her2=low | hr_status=positive],percentage,15 (60.0),60.0,,,=,,%,1,15,"
    "25,,",
    "h.p,Table 1,association[her2 ; hr_status],p_value,P = 0.04,,,,=,0.04,,2,,,,",
]

COUNTS = {("", ""): (10, 20, 10), ("hr_status", "positive"): (5, 15, 5)}
COUNTS["hr_status", "negative"] = (5, 5, 5)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """The hostile study, read from a folder as any other."""
    folder = tmp_path / "printed" / "hostile"
    folder.mkdir(parents=True)
    rows = ["factor,level,her2,count,locator"]
    for (factor, level), counts in COUNTS.items():
        classes = zip(("zero", "low", "positive"), counts, strict=True)
        rows += [f"{factor},{level},{name},{count},Table 1" for name, count in classes]
    (folder / "study.toml").write_text(DESIGN, encoding="utf-8")
    (folder / "estimates.csv").write_text("\n".join(LEDGER) + "\n", encoding="utf-8")
    (folder / "status_counts.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return load_study(folder)


@pytest.fixture
def audited(study: Study) -> pd.DataFrame:
    """What an audit says of each ledger row: a verdict, and the value from the counts."""
    rows = []
    for row in study.ledger.to_dict(orient="records"):
        counted = pd.notna(row["numerator"]) and pd.notna(row["denominator"])
        rows.append(
            {
                **{name: row[name] for name in ("claim_id", "locator", "estimand", "statistic")},
                **{name: row[name] for name in ("unit", "reading", "note")},
                "published": row["value_number"],
                "published_p": row["p_number"],
                "published_relation": row["relation"],
                "published_text": row["text"],
                "reproduced": 100 * row["numerator"] / row["denominator"] if counted else np.nan,
                "method": "count / denominator" if counted else "",
                "verdict": "reproduces" if counted else "not_checkable",
                "evidence_kind": "recomputed" if counted else "printed",
            }
        )
    return pd.DataFrame(rows)


def estimate(estimand: str, median: float, **other: object) -> dict[str, object]:
    """One row as ``posterior.estimates.estimate`` gives it."""
    return {
        **dict.fromkeys(ESTIMATE_COLUMNS, ""),
        "estimand": estimand,
        "posterior_median": median,
        "posterior_lower": median - 5,
        "posterior_upper": median + 5,
        "posterior_probability": 0.9,
        "prior_median": 33.0,
        "prior_lower": 3.0,
        "prior_upper": 80.0,
        "prior_probability": 0.5,
        "contraction": 0.9,
        "note": "probability: above 40 %",
        "unit": "%",
        "model": "her2_distribution",
        "fit_id": "0123456789ab",
        "convergence": "converged",
        **other,
    }


@pytest.fixture
def estimates() -> pd.DataFrame:
    """Estimates of two printed shares, one that is not printed, and a difference of shares."""
    return pd.DataFrame(
        [
            estimate("share[her2=low]", 49.5),
            estimate("share[her2=low | hr_status=positive]", 57.0),
            estimate("share[her2=zero]", 26.0),
            estimate("share_difference[her2=low ; hr_status: positive vs negative]", 22.0),
        ]
    )


@pytest.fixture
def page(study: Study, audited: pd.DataFrame, estimates: pd.DataFrame) -> StudyPage:
    """The page of the hostile study, with hostile text in every place a text can come from."""
    classical = classical_rows(study.status_counts(), estimates["estimand"])
    with style.drawing():
        figure, axes = style.new_figure(300, 120)
        axes.plot([0, 1], [0, 1], color=style.BLUE, label=HOSTILE)
        axes.set_title(HOSTILE)
        drawn = style.svg(figure)
    card = FitCard(
        fit_id="0123456789ab",
        title=HOSTILE,
        model="her2_distribution",
        equations="count ~ Multinomial(n, share)\n" + HOSTILE,
        priors={"alpha": HOSTILE},
        diagnostics={"Max R-hat": "1.001"},
        convergence="not converged: R-hat 1.03",
        provenance={"versions": HOSTILE},
    )
    section = Section(
        "distribution",
        f"Shares {HOSTILE}",
        (HOSTILE,),
        (Figure("figure-shares", HOSTILE, drawn, HOSTILE, HOSTILE),),
        (
            Table(
                HOSTILE,
                pd.DataFrame({HOSTILE: [HOSTILE], "claim_id": ["h.low"], "n": [2.5]}),
                HOSTILE,
            ),
        ),
        (card,),
    )
    findings = pd.DataFrame(
        [("F1", "h.low h.low2", "contradiction", HOSTILE), ("F2", "h.lost", "note", "plain")],
        columns=["finding_id", "claim_ids", "kind", "sentence"],
    )
    return StudyPage(
        study={
            "id": study.id,
            "title": study.title,
            **{name: study.meta[name] for name in ("citation", "doi", "design")},
        },
        evidence=join(study, audited, estimates, classical),
        findings=findings,
        cohort=cohort_section(study),
        sections=(section,),
        absent=(HOSTILE,),
        methods=(HOSTILE,),
        notices=(HOSTILE,),
        run={
            "package_version": "0.1.0",
            "seed": 1,
            "quick": False,
            "sampling": {"draws": 100, "tune": 200, "chains": 2, "target_accept": 0.9},
            "versions": {"python": "3.13", "pymc": "6", "nutpie": "0", "x": HOSTILE},
        },
    )


FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; skipped without, and the skip says what is missing."""
    found = os.environ.get("HER2_CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if not found:
        pytest.skip("no Chromium on PATH (set HER2_CHROMIUM): the page is not tried in a browser")
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: no test in a browser"
    )
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def helpers() -> ModuleType:
    """The cohort and the exact fit of the analysis tests."""
    path = Path(__file__).parents[1] / "transition" / "test_cohort.py"
    spec = importlib.util.spec_from_file_location("transition_cohort_helpers", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def patched(helpers: ModuleType) -> Iterator[Any]:
    """Exact conjugate draws in place of the sampler, for one module of tests."""
    from her2bayes.transition import cohort as tc

    def fit(data: Any, *rest: Any) -> Any:
        found = helpers.exact_fit(data, *rest)
        found.provenance = {"priors": {"log_odds": "Normal(mu=-1.5, sigma=1.0)"}}
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tc, "_fit", fit)
        yield patch


@pytest.fixture(scope="module")
def result(helpers: ModuleType, patched: Any) -> CohortTransitions:
    """Transitions of the invented cohort of 550 pairs, from exact draws."""
    from her2bayes.transition import cohort as tc

    cohort = helpers.make_cohort()
    return tc.run_pairs(tc.pairs_of(cohort, ["hr_status"]), tc.Specification(assay=False))


HEADLINE = {
    "h.low_pos": "share of HR-positive patients that are HER2-low",
    "h.low": "share of patients that are HER2-low",
}


@pytest.fixture
def headed(page: StudyPage) -> StudyPage:
    """The page with two key results."""
    return replace(page, headline=HEADLINE)

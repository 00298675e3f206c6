"""Page, tables and evidence rows of a cohort's transitions, from exact conjugate draws."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from her2bayes.analysis import transition_cohort as tc
from her2bayes.evidence.schema import EVIDENCE_COLUMNS
from her2bayes.reports import transition_cohort as report
from her2bayes.reports.build import Settings
from her2bayes.reports.transition_files import flow_text, write_cohort


def test_section_names_pairs_scenarios_and_levels(result: tc.CohortTransitions) -> None:
    section = report.section(result)
    text = " ".join(section.paragraphs)
    single = int(tc.single(result.counts)["counts"].sum())
    assert f"Of 550 pairs {single} have one class at both ends" in text
    assert "coarsening at random" in text
    assert "IHC 0-1+ read as zero" in text
    titles = [figure.title for figure in section.figures]
    assert titles == [
        "From primary tumour to recurrence",
        "Transition matrix",
        "Transition matrix by hr_status",
        "With and without partial readings",
        "What the data taught: prior to posterior",
    ]
    assert "hr_status positive, n = 400" in section.figures[2].svg
    assert len({figure.id for figure in section.figures}) == len(section.figures)
    counts = next(t for t in section.tables if t.title == "Counts and tests")
    assert "Bowker" in set(counts.frame["Method"])


def test_evidence_rows_have_the_columns_of_the_table(result: tc.CohortTransitions) -> None:
    table = report.evidence(result)
    assert tuple(table.columns) == EVIDENCE_COLUMNS
    assert set(table["evidence_kind"]) == {"patients"}
    assert set(table["claim_id"]) == {""}
    assert not table[["estimand", "reading"]].duplicated().any()
    row = table[(table["estimand"] == "discordance[]") & (table["reading"] == tc.SINGLE)].iloc[0]
    assert row["reproduced"] == pytest.approx(row["posterior_median"], abs=3)
    assert "Clopper-Pearson" in row["method"]


def test_folder_of_results(helpers: ModuleType, patched: Any, tmp_path: Path) -> None:
    said: list[str] = []
    out = tmp_path / "out"
    written = write_cohort(helpers.make_cohort(), [], out, Settings(), said.append, assay=False)
    names = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")}
    assert {
        "estimates.csv",
        "flow.csv",
        "report.html",
        "figures/transition-alluvial-all.svg",
    } <= names
    assert written.summary[0].startswith("discordance[] ")
    assert said[0] == "all patients, all readings"
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Simulated pairs" in page


def test_flow_in_the_terminal(helpers: ModuleType) -> None:
    assert "rows (550)\n     550  one row a patient" in flow_text(helpers.make_cohort())

"""Page, tables and evidence rows of a cohort's transitions, from exact conjugate draws."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from documents import text_of
from her2bayes.errors import BadInput
from her2bayes.evidence.patients.cohort import Cohort
from her2bayes.evidence.printed.schema import EVIDENCE_COLUMNS
from her2bayes.inference.sampling import Settings
from her2bayes.page.report import write
from her2bayes.page.shared import check_shared
from her2bayes.transition import cohort as tc
from her2bayes.transition import section_cohort as report
from her2bayes.transition.fitted import fit_transitions


def test_section_names_pairs_scenarios_and_levels(result: tc.CohortTransitions) -> None:
    section = report.pairs_section(result)
    text = " ".join(section.paragraphs)
    single = int(tc.single(result.pairs.overall)["counts"].sum())
    assert f"Of 550 pairs {single} have one class at both ends" in text
    assert "coarsening at random" in text
    assert "IHC 0-1+ read as zero" in text
    titles = [figure.title for figure in section.figures]
    assert titles == [
        "From primary tumour to recurrence",
        "Transition matrix",
        "Transition matrix by hr_status",
        "With and without partial readings",
        "Transition probabilities: prior and posterior",
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


def write_cohort(cohort: Cohort, by: list[str], out: Path, below: int = 0) -> list[str]:
    said: list[str] = []
    fit = fit_transitions(cohort, by=by, assay=False, say=said.append)
    write([fit.part(suppress_below=below)], out, Settings(), command={"by": by}, below=below)
    return [*said, *fit.told()]


def test_folder_of_results(helpers: ModuleType, patched: Any, tmp_path: Path) -> None:
    said = write_cohort(helpers.make_cohort(), [], tmp_path / "out")
    names = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")}
    assert {
        "estimates.csv",
        "flow.csv",
        "report.html",
        "figures/transition-alluvial-all.svg",
    } <= names
    assert said[0] == "all patients, all readings"
    assert said[-2].startswith("discordance[] ")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Simulated pairs" in page


def test_flow_in_the_terminal(helpers: ModuleType) -> None:
    assert "rows (550)\n     550  one row a patient" in tc.flow_text(helpers.make_cohort())


def planted(helpers: ModuleType) -> Cohort:
    """The cohort with three patients of a third receptor status, and the flow that says so."""
    cohort = helpers.make_cohort()
    patients = cohort.patients.copy()
    patients.loc[patients.index[:3], "hr_status"] = "rare"
    left = patients["hr_status"].value_counts()
    lines = [
        ("factor hr_status", "patients", name, name, "kept", int(n), 550)
        for name, n in left.items()
    ]
    flow = pd.concat([cohort.flow, pd.DataFrame(lines, columns=cohort.flow.columns)])
    factors = {**cohort.factors, "hr_status": ("positive", "negative", "rare")}
    return replace(
        cohort,
        patients=patients,
        flow=flow.reset_index(drop=True),
        factors=factors,
        digest="d1g3st",
    )


@pytest.mark.slow
def test_a_small_cell_is_in_no_file_of_a_report_to_share(
    helpers: ModuleType, patched: Any, tmp_path: Path
) -> None:
    def write(below: int) -> dict[str, str]:
        out = tmp_path / str(below)
        write_cohort(planted(helpers), ["hr_status"], out, below)
        files = [path for path in out.rglob("*") if path.is_file()]
        return {str(path.relative_to(out)): text_of(path) for path in files}

    # a count of three as this report writes it: a share of three, the size of a panel, a flow line
    tells = re.compile(
        r"\b\d/3\b|n = 3\b|of 3\b|about \d+ of \d|\b3(?:,| [|&] )550|\b3 patients|\b547\b"
    )
    open_report, shared = write(0), write(5)
    assert {name for name, text in open_report.items() if tells.search(text)} >= {
        "report.html", "report.md", "flow.csv", "tables/cohort-flow.tex",
        "figures/transition-matrix-hr-status-3.svg", "figures/transition-alluvial-all.svg",
    }  # fmt: skip
    assert not {name: tells.findall(text) for name, text in shared.items() if tells.search(text)}
    assert not [name for name in shared if name.startswith("fits")]
    flow = pd.read_csv(tmp_path / "5" / "flow.csv").set_index("rule")
    assert flow.loc["rare", "count"] == "<5"
    assert "withheld" in set(flow["count"])
    assert "Counts from 1 to 4 are hidden" in shared["report.html"]
    rows = pd.read_csv(tmp_path / "5" / "estimates.csv")
    assert rows[["reproduced", "reproduced_p", "method"]].isna().all(axis=None)
    # hashes of the counts would let who knows the others try the few values of this one
    hashed = set(pd.read_csv(tmp_path / "0" / "estimates.csv")["fit_id"].dropna()) | {"d1g3st"}
    assert not [h for h in hashed if any(str(h) in text for text in shared.values())]


def test_a_report_to_share_takes_a_new_folder(tmp_path: Path) -> None:
    (tmp_path / "classical.csv").write_text("from a run without the flag")
    with pytest.raises(BadInput, match="not empty"):
        check_shared(tmp_path, 5)
    check_shared(tmp_path, 0)
    check_shared(tmp_path / "new", 5)

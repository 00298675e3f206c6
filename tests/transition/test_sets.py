"""Pairs of which every reading leaves several classes open are fitted, without classical rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from her2bayes.evidence.patients.aggregate import transition_counts
from her2bayes.evidence.patients.cohort import Cohort, read_cohort
from her2bayes.inference.sampling import Sampling
from her2bayes.transition import section_cohort as report
from her2bayes.transition.cohort import (
    ALL,
    SINGLE,
    Specification,
    pairs_of,
    run_pairs,
    unused,
    with_single,
)

MAP = """schema = 1
id = "sets"
rows = "patient"
[files]
table = "p.csv"
[columns]
patient_id = "id"
[primary]
ihc = "a"
[recurrence]
ihc = "b"
[factors.site]
column = "site"
[rules]
two_plus_without_ish = "accept"
"""


def cohort(folder: Path, more: str = "") -> Cohort:
    rows = [f"P{k},{'0-1+' if k % 3 else '2+'},{'2+' if k % 4 else '0-1+'},x" for k in range(24)]
    text = "id,a,b,site\n" + "\n".join(rows) + "\n" + more
    (folder / "p.csv").write_text(text, encoding="utf-8")
    (folder / "map.toml").write_text(MAP, encoding="utf-8")
    return read_cohort(folder / "map.toml", folder)


def test_pairs_of_single_classes_are_fitted_where_there_are_any(tmp_path: Path) -> None:
    none = transition_counts(cohort(tmp_path))
    assert list(with_single(none)) == [ALL]
    one = transition_counts(cohort(tmp_path, "P99,3+,1+,x\n"))
    assert list(with_single(one)) == [ALL, SINGLE]
    assert int(with_single(one)[SINGLE]["counts"].sum()) == 1


def test_what_transitions_do_not_use_is_named(tmp_path: Path) -> None:
    found = cohort(tmp_path)
    assert unused(found, []) == ("declared in the map, not used here: factors site",)
    assert unused(replace(found, factors={"site": ("x",)}), ["site"]) == ()


@pytest.mark.slow
def test_a_cohort_of_sets_alone_has_a_report(tmp_path: Path) -> None:
    short = Sampling(draws=100, tune=150, chains=2)
    result = run_pairs(
        pairs_of(cohort(tmp_path), ["site"]), Specification(assay=False, sampling=short)
    )
    assert result.classical.empty
    assert report.pairs_section(result).tables
    assert "24 have tissue of the primary" in " ".join(
        report.cohort_section(result.pairs).paragraphs
    )
    assert report.evidence(result)["posterior_median"].notna().all()

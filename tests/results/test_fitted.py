"""What every fit answers: it prints in ten lines, is saved and read, compares, is reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import her2bayes as hb
from her2bayes.errors import BadInput
from her2bayes.results.fitted import LINES, WIDTH

SHARE = "share[her2=low | hr_status=positive]"


def test_ten_lines_say_model_priors_and_convergence(fit: Any) -> None:
    lines = str(fit).splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= WIDTH
    assert any(line.startswith("Convergence: ") for line in lines)
    assert "Priors:" in lines
    assert len(repr(fit)) < 200


def test_a_saved_fit_gives_the_same_draws(fit: Any, tmp_path: Path) -> None:
    again = hb.load_fit(fit.save(tmp_path / "fit.nc"))
    assert again.fit_id == fit.fit_id
    np.testing.assert_array_equal(again.draws(SHARE), fit.draws(SHARE))


def changed(content: bytes, path: Path) -> Path:
    """The file with one draw changed."""
    import h5py

    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        found: list[Any] = []
        file.visititems(
            lambda _, item: (
                found.append(item)
                if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and item.ndim > 1
                else None
            )
        )
        values = found[0][...]
        values.flat[0] += 0.5
        found[0][...] = values
    return path


def test_a_changed_file_is_refused(fit: Any, tmp_path: Path) -> None:
    content = fit.save(tmp_path / "fit.nc").read_bytes()
    with pytest.raises(BadInput, match="changed"):
        hb.load_fit(changed(content, tmp_path / "changed.nc"))


def test_another_file_is_no_fit(tmp_path: Path) -> None:
    (tmp_path / "notes.nc").write_text("no fit")
    with pytest.raises(BadInput, match="no saved fit"):
        hb.load_fit(tmp_path / "notes.nc")


def test_a_study_stands_beside_the_fit(fit: Any, tmp_path: Path) -> None:
    paper = hb.load_study("shi2023")
    found = hb.compare(paper, fit)
    assert list(found.frame["claim_id"][: len(paper.ledger)]) == list(paper.ledger["claim_id"])
    assert set(found.short.columns) == {
        "Estimand", "Published", "Reproduced", "Posterior", "Verdict",
    }  # fmt: skip
    assert "Published" in str(found)
    assert "<table" in found._repr_html_()
    assert found.to_csv(tmp_path / "rows.csv").read_text("utf-8").count("\n") > len(paper.ledger)


def test_estimands_as_coefficients(fit: Any) -> None:
    table = fit.__maketables_coef_table__
    assert table.index.name == "Coefficient"
    assert list(table.columns) == ["b", "se", "t", "p", "ci95l", "ci95u"]
    spread = 100 * float(fit.draws(SHARE).std())
    assert table.loc[SHARE, "se"] == pytest.approx(spread)


def test_a_report_holds_page_tables_fits_and_record(fit: Any, tmp_path: Path) -> None:
    out = hb.report([fit], out=tmp_path / "results", title="Shares")
    names = {str(p.relative_to(out.folder)) for p in out.folder.rglob("*") if p.is_file()}
    assert {"report.html", "report.md", "estimates.csv", "classical.csv", "checks.csv",
            "run.json", f"fits/distribution-{fit.fit_id}.nc"} <= names  # fmt: skip
    assert any(name.startswith("figures/") for name in names)
    record = json.loads((out.folder / "run.json").read_text("utf-8"))
    assert record["study"]["title"] == "Shares"
    assert record["seed"] == 7
    assert set(record["files"]) == names - {"run.json"}
    assert str(out).splitlines()[-1] == str(out.page)


def test_two_fits_in_one_report_name_the_model_of_the_second(fit: Any, tmp_path: Path) -> None:
    from her2bayes.page.report import evidence

    rows = evidence("two", [fit.part(), fit.part()])
    assert not rows.duplicated(["estimand", "reading"]).any()


def test_nothing_to_report_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing to report"):
        hb.report([], out=tmp_path)


@pytest.mark.parametrize(
    "door", ["fit_distribution", "fit_transitions", "fit_response", "fit_adverse_events"]
)
def test_the_id_of_a_study_where_a_file_is_wanted_is_told_how_to_be_one(door: str) -> None:
    with pytest.raises(hb.BadInput, match=r"load_study\('shi2023'\)"):
        getattr(hb, door)("shi2023")

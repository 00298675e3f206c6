"""A report is left alone only where it is whole and nothing it depends on has changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from her2bayes.evidence.printed.study import load_study, published_folder
from her2bayes.files import digests, take
from her2bayes.inference.sampling import Sampling
from her2bayes.reproduce.provenance import basis, unchanged

SAMPLING = Sampling()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A study of one's own and a report that stands beside it."""
    shutil.copytree(published_folder() / "ni2025", tmp_path / "study")
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("page", encoding="utf-8")
    kept = basis(load_study(tmp_path / "study"), out, SAMPLING, "families")
    record = {"files": digests({"report.html": "page"}), "basis": kept}
    (out / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return tmp_path


def known(place: Path, sampling: Sampling = SAMPLING, families: str = "families") -> bool:
    study = load_study(place / "study")
    return unchanged(study, place / "out", sampling, families) is not None


def test_what_is_whole_and_current_is_known_and_its_files_are_told(place: Path) -> None:
    take()
    assert known(place)
    assert [path.name for path in take()] == ["report.html", "run.json"]


def test_other_settings_or_analyses_are_another_report(place: Path) -> None:
    assert not known(place, Sampling(seed=1))
    assert not known(place, families="more families")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("out/report.html", "changed"),
        ("out/report.html", None),
        ("out/run.json", "{"),
        ("out/run.json", "[]"),
        ("out/run.json", '{"files": {}}'),
        ("out/sensitivity_summary.csv", "new"),
        ("study/notes.txt", "new"),
    ],
)
def test_any_change_is_seen(place: Path, file: str, text: str | None) -> None:
    if text is None:
        (place / file).unlink()
    else:
        (place / file).write_text(text, encoding="utf-8")
    assert not known(place)


def test_another_text_of_the_package_is_seen(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("her2bayes.reproduce.provenance.environment", lambda: {"code": "other"})
    assert not known(place)

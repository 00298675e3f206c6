"""The shipped studies: each loads, says what it is, and is in the list."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import her2bayes
from her2bayes.errors import BadInput
from her2bayes.evidence.printed.design import CLASSES
from her2bayes.evidence.printed.study import load_study, published_folder

FOLDERS = sorted(path.parent for path in published_folder().glob("*/study.toml"))


@pytest.fixture(scope="module")
def listed():
    return her2bayes.studies().set_index("id")


def test_every_folder_is_listed_under_its_name(listed):
    assert list(listed.index) == [folder.name for folder in FOLDERS]
    assert (listed["patients"] > 0).all()
    assert (listed["citation"] != "").all()
    assert (listed["printed_numbers"] > 0).all()


def test_what_a_study_holds(listed):
    row = listed.loc["shi2023"]
    assert row["status_counts"].startswith("all 3, age 6")
    assert row["transition_facts"] == 37
    assert row["printed_numbers"] == 230
    assert row["pairs"] == "primary to recurrence"
    assert listed.loc["kim2024", "years"] == "2022"
    assert listed.loc["kim2024", "status_counts"] == ""
    assert listed.loc["ni2025", "responses"] == 16


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_headlines_locators_and_meanings(folder):
    study = load_study(folder)
    assert study.headline
    assert (study.ledger["locator"] != "").all()
    assert not study.remarks
    for name in ("her2", "her2_primary"):
        factor = study.factors.get(name)
        own = [x for x in factor.levels if x not in CLASSES] if factor else []
        if own and study.id not in ("local_central2013",) and "not low" not in own:
            assert set(own) - {"positive"} <= set(factor.means)


def test_a_folder_of_ones_own(tmp_path):
    shutil.copytree(published_folder() / "ma2025", tmp_path / "ma2025")
    (tmp_path / "no_study").mkdir()
    assert list(her2bayes.studies(tmp_path)["id"]) == ["ma2025"]
    ledger = tmp_path / "ma2025" / "estimates.csv"
    ledger.write_text(ledger.read_text("utf-8").replace("percentage", "percent", 1), "utf-8")
    with pytest.raises(BadInput, match="not in the list"):
        her2bayes.studies(tmp_path)


@pytest.mark.parametrize("name", ["empty", "nowhere"])
def test_a_folder_without_studies(tmp_path: Path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"no such study folder|no study in this folder"):
        her2bayes.studies(tmp_path / name)

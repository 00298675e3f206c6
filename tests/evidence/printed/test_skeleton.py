"""A new study is valid as written, and nothing is ever overwritten or written elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy import stats

from her2bayes.errors import BadInput
from her2bayes.evidence.printed.schema import LEDGER, STATISTICS, TABLES
from her2bayes.evidence.printed.study import load_study, skeleton_folder, write_skeleton
from her2bayes.evidence.printed.tables import RECONSTRUCTION as FILE


def test_the_skeleton_is_a_valid_study(tmp_path):
    written = write_skeleton("smith2024", tmp_path / "new" / "folder")
    study = load_study(written)
    assert study.id == "smith2024"
    assert study.remarks == ()
    assert {file.name for file in written.iterdir()} == {*TABLES, "study.toml", FILE}
    assert [p.name for p in written.parent.iterdir()] == ["smith2024"]


def test_the_skeleton_shows_every_statistic():
    shown = set(load_study(skeleton_folder()).ledger["statistic"])
    assert shown == set(STATISTICS) - {"median"}  # as median_range without the range


def test_the_invented_numbers_agree_with_each_other():
    study = load_study(skeleton_folder())
    table = study.status_counts()["hr_status"]
    p = study.ledger.set_index("claim_id").loc["table1.hr.p", "p_number"]
    assert round(stats.chi2_contingency(table, correction=False).pvalue, 3) == p
    assert (table.sum("subgroup").values == study.status_counts()[""].values).all()
    shares = study.ledger[study.ledger["statistic"] == "percentage"]
    exact = 100 * shares["numerator"] / shares["denominator"]
    assert ((exact - shares["value_number"]).abs() <= 0.5 * 0.1 ** shares["decimals"]).all()


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/tmp/x", "a/b", "a\\b", "A", "a b", "-a", "a\n", "ä", "x" * 65, "a\0"],
)
def test_odd_names_are_refused(tmp_path, name):
    with pytest.raises(BadInput, match="not a study name"):
        write_skeleton(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / LEDGER).write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("mine", "link"):
        with pytest.raises(BadInput, match="nothing is overwritten"):
            write_skeleton(name, tmp_path)
    assert (tmp_path / "mine" / LEDGER).read_text() == "mine"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("a\0b")):
        with pytest.raises(BadInput, match="cannot be written"):
            write_skeleton("smith2024", place)

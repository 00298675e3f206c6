"""The door for tables of counts: one factor at a time, or crossed; every fault is named."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr

import her2bayes as hb
from her2bayes.errors import BadInput
from her2bayes.evidence.patients.aggregate import status_counts

CROSSED = pd.DataFrame(
    {
        "HR status": ["positive"] * 3 + ["negative"] * 3,
        "her2": ["zero", "low", "positive"] * 2,
        "n": [23, 92, 20, 30, 35, 47],
    }
)
LONG = pd.DataFrame(
    {
        "factor": ["", "", "", "stage", "stage", "stage"],
        "level": ["", "", "", "II", "I", "I"],
        "her2": ["zero", "low", "positive", "zero", "low", "zero/low"],
        "n": [10, 20, 5, 4, 18, 6],
    }
)


def test_crossed_cells_are_one_contract() -> None:
    counts = hb.read_counts(CROSSED)
    (table,) = counts.tables.values()
    assert list(counts.tables) == ["hr_status"]
    assert table["counts"].to_numpy().tolist() == [[23, 92, 20], [30, 35, 47]]
    assert table.attrs["levels"] == {"hr_status": ["positive", "negative"]}
    rows = CROSSED.loc[CROSSED.index.repeat(CROSSED["n"]), ["HR status", "her2"]]
    xr.testing.assert_equal(status_counts(rows, "HR status"), table)


def test_each_factor_is_a_table_of_the_same_patients() -> None:
    counts = hb.read_counts(LONG)
    assert list(counts.tables) == ["", "stage"]
    stage = counts.tables["stage"]
    assert list(stage["stage"].to_numpy()) == ["II", "I"]
    assert list(stage["reading"]) == ["zero", "low", "positive", "zero/low"]
    assert stage["counts"].to_numpy().tolist() == [[4, 0, 0, 0], [0, 18, 0, 6]]
    assert "stage: 7 of 35 patients have no level here" in str(counts)
    assert repr(counts) == "<Counts of data frame: all, stage>"


def test_tables_of_a_study_read_as_the_study_reads_them() -> None:
    paper = hb.load_study("shi2023")
    counts = hb.read_counts(paper.folder / "status_counts.csv")
    for factor, table in paper.status_counts().items():
        if factor != "relapse_type":
            assert counts.tables[factor]["counts"].to_numpy().tolist() == table.to_numpy().tolist()


def test_files_and_frames_agree(tmp_path: Path) -> None:
    CROSSED.to_csv(tmp_path / "counts.csv", index=False, sep=";")
    expected = hb.read_counts(CROSSED).tables["hr_status"]
    for source in (tmp_path / "counts.csv", pa.Table.from_pandas(CROSSED)):
        xr.testing.assert_identical(hb.read_counts(source).tables["hr_status"], expected)
    polars = pytest.importorskip("polars", reason="Polars is not installed")
    xr.testing.assert_identical(
        hb.read_counts(polars.from_pandas(CROSSED)).tables["hr_status"], expected
    )


@pytest.mark.parametrize(
    ("changed", "row", "problem"),
    [
        ({"n": [23, -1, 20, 30, 35, 47]}, 3, "not a number of patients .found '-1'"),
        ({"n": [23, 9.5, 20, 30, 35, 47]}, 3, "not a number of patients .found '9.5'"),
        ({"n": [23, "<11", 20, 30, 35, 47]}, 3, "a bound such as <11 is none"),
        ({"n": [23, 9, 20, 30, 35, None]}, 7, "not a number of patients"),
        ({"her2": ["zero", "lo", "positive"] * 2}, 3, "not a set of HER2 classes.*mean 'low'"),
        ({"her2": ["zero", "low", "low"] * 2}, 4, "the cell stands in row 3 already"),
        ({"HR status": ["positive"] * 3 + ["", "negative", "negative"]}, 5, "no level"),
        ({"level": "II"}, 1, "'level' alone"),
        ({"count": 1}, 1, "two columns of numbers"),
    ],
)
def test_faults_of_frame_and_file(
    changed: dict[str, object], row: int, problem: str, tmp_path: Path
) -> None:
    bad = CROSSED.assign(**changed)  # type: ignore[arg-type]
    bad.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(BadInput, match=problem) as of_file:
        hb.read_counts(tmp_path / "bad.csv")
    with pytest.raises(BadInput, match=problem) as of_frame:
        hb.read_counts(bad)
    assert of_frame.value.faults[0].row == of_file.value.faults[0].row == row
    assert len(of_frame.value.faults) == len(of_file.value.faults)


def test_more_patients_than_there_are() -> None:
    with pytest.raises(BadInput, match="38 patients by stage, of 35 in all"):
        hb.read_counts(LONG.assign(n=[10, 20, 5, 4, 18, 16]))
    with pytest.raises(BadInput, match="factor and level go together"):
        hb.read_counts(LONG.assign(level=["", "", "", "II", "I", ""]))


def test_classes_of_ones_own() -> None:
    frame = pd.DataFrame({"her2": ["null", "ultralow", "1+", "2+", "3+"], "n": [4, 3, 2, 1, 9]})
    table = hb.read_counts(frame, classes=list(frame["her2"])).tables[""]
    assert table["counts"].to_numpy().tolist() == [[4, 3, 2, 1, 9]]
    with pytest.raises(BadInput, match=r"not a set of HER2 classes .found 'ultralow'"):
        hb.read_counts(frame)

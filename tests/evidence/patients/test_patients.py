"""The door for patients: files, folders, frames and mapped studies give the same patients."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr

import her2bayes as hb
from her2bayes.errors import BadInput
from her2bayes.evidence.patients.aggregate import status_counts, transition_counts
from her2bayes.evidence.patients.patients import Patients, Wanted, follow_up
from her2bayes.evidence.patients.survival_cells import time_counts
from her2bayes.evidence.simulate import MAP, example_patients

OS = Wanted(time="os_months", event="os_event")


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return example_patients(120, seed=3)


@pytest.fixture(scope="module")
def folder(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same patients as CSV, TSV, Parquet, a folder of Parquet files, with a map."""
    place = tmp_path_factory.mktemp("patients")
    frame.to_csv(place / "patients.csv", index=False)
    frame.to_csv(place / "patients.tsv", index=False, sep="\t")
    frame.to_parquet(place / "patients.parquet")
    (place / "parts").mkdir()
    frame[:50].to_parquet(place / "parts" / "a.parquet")
    frame[50:].to_parquet(place / "parts" / "b.parquet")
    (place / "map.toml").write_text(MAP)
    return place


def polars(frame: pd.DataFrame) -> object:
    return pytest.importorskip("polars", reason="Polars is not installed").from_pandas(frame)


class Exporting:
    """A frame of a library of its own that exports Arrow, as Polars and DuckDB do."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


SOURCES = {
    "CSV": lambda frame, folder: folder / "patients.csv",
    "text path": lambda frame, folder: str(folder / "patients.tsv"),
    "Parquet": lambda frame, folder: folder / "patients.parquet",
    "folder of Parquet": lambda frame, folder: folder / "parts",
    "Arrow table": lambda frame, folder: pa.Table.from_pandas(frame, preserve_index=False),
    "Arrow batch": lambda frame, folder: pa.RecordBatch.from_pandas(frame, preserve_index=False),
    "Arrow stream": lambda frame, folder: Exporting(pa.Table.from_pandas(frame)),
    "Polars": lambda frame, folder: polars(frame),
    "Polars, lazy": lambda frame, folder: polars(frame).lazy(),  # type: ignore[attr-defined]
    "odd index": lambda frame, folder: frame.set_axis(range(900, 900 + len(frame))),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_the_same_contracts(
    name: str, frame: pd.DataFrame, folder: Path
) -> None:
    patients = hb.read_patients(SOURCES[name](frame, folder))
    assert patients.size == 120
    xr.testing.assert_identical(
        status_counts(patients, "hr_status"), status_counts(frame, "hr_status")
    )
    expected = time_counts(follow_up(frame, OS, ["her2", "hr_status"]))
    found = time_counts(follow_up(patients, OS, ["her2", "hr_status"]))
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("name", ["CSV", "Arrow table", "odd index", "Polars"])
def test_a_map_reads_frames_as_it_reads_files(name: str, frame: pd.DataFrame, folder: Path) -> None:
    expected = hb.read_patients(folder, map=folder / "map.toml")
    patients = hb.read_patients(SOURCES[name](frame, folder), map=folder / "map.toml")
    xr.testing.assert_identical(
        transition_counts(patients, ["hr_status"]), transition_counts(expected, ["hr_status"])
    )
    xr.testing.assert_identical(
        status_counts(patients, "hr_status", her2="primary"),
        status_counts(expected, "hr_status", her2="primary"),
    )
    assert patients.her2 == {"primary": "primary_reading", "recurrence": "recurrence_reading"}


def test_faults_of_a_frame_are_those_of_the_file(
    frame: pd.DataFrame, folder: Path, tmp_path: Path
) -> None:
    bad = frame.astype({"os_months": object, "primary_ihc": object})
    bad.loc[4, "os_months"] = "soon"
    bad.loc[9, "os_months"] = -3
    bad.loc[6, "her2"] = "high"
    bad.loc[7, "primary_ihc"] = "5+"
    bad.to_csv(tmp_path / "bad.csv", index=False)

    doors: dict[str, Callable[[object], object]] = {
        "follow-up": lambda source: follow_up(source, OS, ["hr_status"]),
        "counts": lambda source: status_counts(source, "hr_status"),
        "map": lambda source: hb.read_patients(source, map=folder / "map.toml"),
    }

    def faults(source: object, kind: str) -> list[tuple[object, ...]]:
        with pytest.raises(BadInput) as caught:
            doors[kind](source)
        return [(f.problem, f.row, f.column, f.value, f.allowed) for f in caught.value.faults]

    for kind, row in (("follow-up", 6), ("counts", 8), ("map", 9)):
        found = faults(bad, kind)
        assert found == faults(tmp_path / "bad.csv", kind)
        assert found[0][1] == row
    with pytest.raises(BadInput, match=r"^data frame, row 6, column 'os_months': is not a number"):
        follow_up(bad, OS)


def test_types_of_a_frame_are_used() -> None:
    frame = pd.DataFrame(
        {
            "her2": ["low", "zero", "low", None],
            "stage": pd.Categorical(["II", "I", "II", "III"], categories=["III", "II", "I"]),
            "line": [1.0, 2.0, None, 10.0],
            "months": [1.5, 2.0, 3.0, np.nan],
            "dead": [True, False, True, False],
        }
    )
    data = status_counts(frame, ["stage"])
    assert list(data["stage"].to_numpy()) == ["III", "II", "I"]
    assert list(status_counts(frame, "line")["line"].to_numpy()) == ["1", "2", "10"]
    rows = follow_up(frame, Wanted(time="months", event="dead"), ["stage"])
    assert rows.factors["stage"] == ("III", "II", "I")
    assert (rows.rows, rows.events, rows.left_out) == (3, 2, {"time missing": 1})


def test_print_says_who_is_there_and_what_is_missing(frame: pd.DataFrame, folder: Path) -> None:
    few = frame.assign(os_months=frame["os_months"].where(frame.index > 4))
    text = str(hb.read_patients(few))
    assert text.startswith("data frame: 120 rows, 11 columns\nHER2 readings: her2 (one tumour)")
    assert "os_months 5" in text
    mapped = str(hb.read_patients(folder, map=folder / "map.toml"))
    assert "set aside" in mapped
    assert mapped.startswith("Invented cohort: 120 patients")
    assert len(repr(hb.read_patients(frame))) < 80


@pytest.mark.parametrize(
    ("source", "told", "problem"),
    [
        (7, {}, "no table of patients or counts .found 'int'"),
        ("nobody.csv", {}, "no such file"),
        (pd.DataFrame({"a": []}), {}, "no rows"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, "column name stands twice"),
        (pd.DataFrame({"a": [1]}), {"her2": "b"}, "there is no column 'b'"),
        (pd.DataFrame({"a": [1]}), {"her2": {"left": "a"}}, "no such tumour .found 'left'"),
        (pd.DataFrame({"a": [1]}), {"map": "msk2019"}, "no such map"),
    ],
)
def test_what_is_no_table_of_patients(
    source: object, told: dict[str, object], problem: str
) -> None:
    with pytest.raises(BadInput, match=problem):
        hb.read_patients(source, **told)  # type: ignore[arg-type]


def test_a_folder_of_a_portal_asks_for_its_map(tmp_path: Path) -> None:
    (tmp_path / "data_clinical_patient.txt").write_text("PATIENT_ID\n1\n")
    with pytest.raises(BadInput, match="read a study folder through its map: map="):
        hb.read_patients(tmp_path)


def test_the_digest_is_of_what_was_read(frame: pd.DataFrame, folder: Path) -> None:
    one = hb.read_patients(frame)
    chunks = pa.concat_tables([pa.Table.from_pandas(frame[:7]), pa.Table.from_pandas(frame[7:])])
    assert hb.read_patients(chunks.drop_columns([])).digest == one.digest
    assert hb.read_patients(frame.assign(her2="low")).digest != one.digest
    assert len(hb.read_patients(folder / "parts").digest) == 64
    assert isinstance(hb.read_patients(one), Patients)
    assert hb.read_patients(one) is one

"""The MSK 2018 export through its map arrives at the counts agreed for it (HER2_REALDATA)."""

from pathlib import Path

import pandas as pd
import pytest

from her2bayes.evidence.patients.aggregate import status_counts, transition_counts
from her2bayes.evidence.patients.cohort import Cohort, exact, read_cohort
from her2bayes.evidence.patients.maps import packaged_maps

CLASSES = ["zero", "low", "positive"]


@pytest.fixture(scope="module")
def msk(realdata: Path) -> Cohort:
    return read_cohort(packaged_maps() / "msk2018.toml", realdata / "breast_msk_2018")


def test_pairs(msk: Cohort) -> None:
    assert len(msk.patients) == 1756
    assert msk.patients["pair"].sum() == 905
    assert exact(msk).sum() == 571


def test_table_of_exact_readings(msk: Cohort) -> None:
    cells = transition_counts(msk)["counts"].sel(stratum="all")
    table = cells.sel(primary_reading=CLASSES, recurrence_reading=CLASSES)
    assert table.to_numpy().tolist() == [[124, 48, 3], [116, 162, 13], [7, 19, 79]]


def test_every_pair_is_counted_with_what_is_known(msk: Cohort) -> None:
    cells = transition_counts(msk)["counts"].sel(stratum="all")
    # independently: pandas on the raw files with the rule of SOURCE.md, see the cross table there
    assert cells.sum("recurrence_reading").to_series().to_dict() == {
        "zero": 215, "low": 329, "positive": 119, "zero/low": 147, "low/positive": 13,
        "unknown": 82,
    }  # fmt: skip
    assert cells.sum("primary_reading").to_series().to_dict() == {
        "zero": 333, "low": 332, "positive": 114, "zero/low": 53, "low/positive": 5, "unknown": 68,
    }  # fmt: skip


def test_by_hormone_receptor_of_the_primary(msk: Cohort) -> None:
    counts = transition_counts(msk, ["hr_status"])
    table = counts["counts"].sel(stratum="hr_status=positive")
    table = table.sel(primary_reading=CLASSES, recurrence_reading=CLASSES)
    assert table.to_numpy().tolist() == [[103, 43, 3], [100, 149, 12], [6, 16, 50]]
    assert counts.attrs["level_not_known"] == 27


def test_survival_from_the_biopsy(msk: Cohort) -> None:
    rows = msk.patients[msk.patients["recurrence_reading"].isin(CLASSES)]
    rows = rows[rows["os_biopsy_months"] > 0]
    assert (len(rows), int(rows["os_biopsy_event"].sum())) == (775, 221)


def test_flow_adds_up_and_names_what_is_odd(msk: Cohort) -> None:
    flow = msk.flow[msk.flow["stage"] != "notes"]
    for stage, lines in flow.groupby("stage"):
        assert lines["count"].sum() == lines["of"].iloc[0], stage
    rows = flow[flow["stage"] == "rows"]
    assert rows["count"].sum() == 1918
    notes = msk.flow[msk.flow["stage"] == "notes"].set_index("rule")["count"]
    assert notes["primary: sources contradict each other, the rule decides"] == 1


def test_order_of_rows_does_not_matter(msk: Cohort, realdata: Path, tmp_path: Path) -> None:
    for name in ("data_clinical_sample.txt", "data_clinical_patient.txt"):
        lines = (realdata / "breast_msk_2018" / name).read_text().splitlines()
        (tmp_path / name).write_text("\n".join([*lines[:5], *reversed(lines[5:])]) + "\n")
    shuffled = read_cohort(packaged_maps() / "msk2018.toml", tmp_path)
    pd.testing.assert_frame_equal(
        shuffled.patients.sort_values("patient_id", ignore_index=True),
        msk.patients.sort_values("patient_id", ignore_index=True),
    )


def test_status_counts_of_the_primary(msk: Cohort) -> None:
    data = status_counts(msk, her2="primary")
    assert int(data["counts"].sum()) == 1756
    assert list(data["reading"]) == [
        "zero", "low", "positive", "zero/low", "low/positive", "unknown",
    ]  # fmt: skip

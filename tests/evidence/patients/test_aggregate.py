"""Patients to counts: every pair is in one cell, the order is stable, a registry costs one pass."""

from pathlib import Path
from time import perf_counter

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr

from her2bayes.errors import BadInput
from her2bayes.evidence.patients.aggregate import status_counts, transition_counts

PAIRS = pd.DataFrame(
    {
        "primary_reading": ["zero", "low", "low", "zero/low", "unknown", "positive", ""],
        "recurrence_reading": ["low", "low", "positive", "low", "zero", "low/positive", "low"],
        "hr_status": ["positive", "positive", "negative", "", "positive", "negative", "positive"],
        "site": ["liver", "bone", "bone", "liver", "liver", "bone", "bone"],
    }
)


def test_all_pairs_in_one_stratum() -> None:
    data = transition_counts(PAIRS)
    assert data["counts"].dtype == np.int64
    assert list(data["stratum"].to_numpy()) == ["all"]
    assert list(data["reading"].to_numpy()) == [
        "zero", "low", "positive", "zero/low", "low/positive", "unknown",
    ]  # fmt: skip
    assert int(data["counts"].sum()) == data.attrs["pairs"] == 6
    cells = data["counts"].sel(stratum="all")
    assert int(cells.sel(primary_reading="unknown", recurrence_reading="zero")) == 1
    incidence = data["incidence"]
    assert incidence.sel(reading="zero/low").to_numpy().tolist() == [True, True, False]
    assert incidence.sel(reading="unknown").to_numpy().all()


def test_strata_in_the_order_of_their_levels() -> None:
    data = transition_counts(
        PAIRS, ["hr_status", "site"], levels={"hr_status": ("positive", "negative")}
    )
    assert list(data["stratum"].to_numpy()) == [
        "hr_status=positive, site=bone",
        "hr_status=positive, site=liver",
        "hr_status=negative, site=bone",
    ]
    assert list(data["site"].to_numpy()) == ["bone", "liver", "bone"]
    assert (data.attrs["pairs"], data.attrs["level_not_known"]) == (6, 1)
    assert int(data["counts"].sum()) == 5


def test_status_counts_keep_sets_and_say_what_they_leave_out() -> None:
    data = status_counts(PAIRS, "hr_status", her2="primary")
    assert data["counts"].dims == ("subgroup", "reading")
    assert data["counts"].dtype == np.int64
    assert list(data["reading"]) == ["zero", "low", "positive", "unknown"]
    assert data["counts"].sel(subgroup="hr_status=positive").to_numpy().tolist() == [1, 1, 0, 2]
    assert data["incidence"].sel(reading="unknown").all()
    assert list(data["hr_status"].to_numpy()) == ["positive", "negative"]
    assert (data.attrs["patients"], data.attrs["level_not_known"]) == (6, 1)
    everyone = status_counts(PAIRS, her2="recurrence_reading")
    assert everyone["counts"].to_numpy().tolist() == [[1, 4, 1, 1]]
    assert list(everyone["subgroup"].to_numpy()) == ["all"]


def test_crossed_factors_are_coordinates_and_levels_are_chosen() -> None:
    data = status_counts(
        PAIRS, {"site": ["liver", "bone"], "hr_status": ["positive"]}, her2="recurrence"
    )
    assert list(data["site"].to_numpy()) == ["liver", "bone"]
    assert list(data["hr_status"].to_numpy()) == ["positive", "positive"]
    assert (data.attrs["level_not_known"], data.attrs["level_not_asked"]) == (1, 2)
    assert int(data["counts"].sum()) == data.attrs["patients"] == 4


def test_any_list_of_classes() -> None:
    classes = ["null", "ultralow", "1+", "2+", "3+"]
    frame = pd.DataFrame({"her2": ["null", "Ultralow", "1+", "2+", "3+", "null/ultralow", None]})
    data = status_counts(frame, classes=classes)
    assert list(data["her2"]) == classes
    assert data["counts"].to_numpy().tolist() == [[1, 1, 1, 1, 1, 1, 1]]
    with pytest.raises(BadInput, match=r"row 3, column 'her2': not a set .*'Ultralow'") as caught:
        status_counts(frame)
    assert [fault.row for fault in caught.value.faults] == [3, 4, 5, 6, 7]


def test_questions_that_are_refused() -> None:
    with pytest.raises(BadInput, match="readings of several tumours; allowed: primary, recurrence"):
        status_counts(PAIRS)
    with pytest.raises(BadInput, match="no column of HER2 readings"):
        status_counts(PAIRS[["site"]])
    with pytest.raises(BadInput, match="no row has the level 'brain'; allowed: bone, liver"):
        status_counts(PAIRS, {"site": ["brain"]}, her2="primary")
    with pytest.raises(BadInput, match="no readings of the primary"):
        transition_counts(pd.DataFrame({"her2": ["zero"]}))


def test_unknown_column_and_foreign_reading() -> None:
    with pytest.raises(BadInput, match=r"no column 'sites'.*did you mean 'site'"):
        transition_counts(PAIRS, ["sites"])
    with pytest.raises(BadInput, match="not a set of HER2 classes"):
        transition_counts(PAIRS.replace("zero", "nil"))


def test_parquet_ibis_and_pandas_agree(tmp_path: Path) -> None:
    PAIRS.to_parquet(tmp_path / "pairs.parquet")
    table = ibis.memtable(pa.Table.from_pandas(PAIRS, preserve_index=False))
    expected = transition_counts(PAIRS, ["site"])
    for source in (tmp_path / "pairs.parquet", tmp_path, table):
        xr.testing.assert_identical(transition_counts(source, ["site"]), expected)


def test_a_registry_is_one_pass(tmp_path: Path, rng: np.random.Generator) -> None:
    count = 1_000_000
    classes = np.array(["zero", "low", "positive", "zero/low"])
    table = pd.DataFrame(
        {
            "primary_reading": classes[rng.integers(4, size=count)],
            "recurrence_reading": classes[rng.integers(4, size=count)],
            "hr_status": np.array(["positive", "negative"])[rng.integers(2, size=count)],
        }
    )
    table.to_parquet(tmp_path / "registry.parquet")
    start = perf_counter()
    data = transition_counts(tmp_path / "registry.parquet", ["hr_status"])
    assert perf_counter() - start < 20
    expected = pd.crosstab(
        [table["hr_status"], table["primary_reading"]], table["recurrence_reading"]
    )
    for level in ("positive", "negative"):
        cells = data["counts"].sel(stratum=f"hr_status={level}").to_pandas()
        order = list(cells.index)
        assert (cells.to_numpy() == expected.loc[level].loc[order, order].to_numpy()).all()

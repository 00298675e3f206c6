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


def test_status_counts_say_what_they_leave_out() -> None:
    counts = status_counts(PAIRS, "hr_status", end="primary")
    assert counts.dims == ("subgroup", "her2")
    assert counts.sel(subgroup="positive").to_numpy().tolist() == [1, 1, 0]
    assert counts.attrs == {"set_aside": 1, "level_not_known": 1}
    everyone = status_counts(PAIRS)
    assert everyone.to_numpy().tolist() == [[1, 4, 1]]
    assert list(everyone["factor"].to_numpy()) == [""]


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

"""The same expressions on Spark in local mode give the same cells (needs Java and pyspark)."""

from __future__ import annotations

import shutil
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from her2bayes.evidence.patients.follow_up import read_follow_up
from her2bayes.evidence.patients.survival_cells import cut_points, survival_cells

pytestmark = pytest.mark.filterwarnings("ignore::Warning")  # what Spark says of itself


@pytest.fixture(scope="module")
def spark():
    pyspark = pytest.importorskip("pyspark.sql", reason="needs requirements/spark.txt")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    session = (
        pyspark.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "4")
        .getOrCreate()
    )
    yield ibis.pyspark.connect(session)
    session.stop()


def patients(number: int, seed: int = 3) -> pd.DataFrame:
    """Delayed entry, two factors, two causes, ties."""
    rng = np.random.default_rng(seed)
    entry = np.round(rng.exponential(3, number), 1)
    return pd.DataFrame(
        {
            "her2": rng.choice(["zero", "low", "positive"], number),
            "hr_status": rng.choice(["positive", "negative"], number),
            "start": entry,
            "months": np.round(entry + 0.1 + rng.exponential(30, number), 1),
            "dead": rng.integers(0, 2, number),
        }
    )


def cells(source: object, connection: object = None) -> tuple[xr.Dataset, np.ndarray]:
    found = read_follow_up(
        source, time="months", event="dead", entry="start",
        by={"her2": None, "hr_status": None}, connection=connection,
    )  # fmt: skip
    cuts = cut_points(found, "equal", 12)
    return survival_cells(found, cuts), cut_points(found)


def test_spark_gives_the_cells_of_duckdb(spark: object, tmp_path: Path) -> None:
    """Events to the integer, person-months to 1e-12 relative, cut points alike."""
    file = tmp_path / "patients.parquet"
    patients(20_000).to_parquet(file)
    here, cuts = cells(file)
    there, other = cells(file, spark)
    np.testing.assert_array_equal(there["events"], here["events"])
    np.testing.assert_allclose(there["person_months"], here["person_months"], rtol=1e-12)
    np.testing.assert_allclose(other, cuts, rtol=1e-12)
    assert int(here["events"].sum()) == int(patients(20_000)["dead"].sum())

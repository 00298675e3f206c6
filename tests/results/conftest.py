"""A tiny real fit: shares of HER2 classes by receptor status, few draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import her2bayes as hb
from her2bayes.inference.sampling import Sampling


@pytest.fixture(scope="session")
def counts() -> pd.DataFrame:
    rows = [("hr_status", level, her2, n)
            for level, cells in {"positive": (20, 60, 15), "negative": (30, 25, 10)}.items()
            for her2, n in zip(("zero", "low", "positive"), cells, strict=True)]  # fmt: skip
    return pd.DataFrame(rows, columns=["factor", "level", "her2", "n"])


@pytest.fixture(scope="session")
def fit(counts: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Any:
    file: Path = tmp_path_factory.mktemp("counts") / "counts.csv"
    counts.to_csv(file, index=False)
    sampling = Sampling(draws=100, tune=200, chains=2, seed=7)
    return hb.fit_distribution(hb.read_counts(file), sampling=sampling)

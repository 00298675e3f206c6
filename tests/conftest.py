"""Fixtures shared by all tests: one seed, no windows, and the open data where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--quick`` and ``--fuzz``."""
    parser.addoption("--fuzz", metavar="N", help="damage each input about N times (tests/fuzz)")
    parser.addoption("--quick", action="store_true", help="leave out the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip slow tests where ``--quick`` asks for it."""
    if config.getoption("--quick"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow, and --quick was given"))


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run of every test."""
    return np.random.default_rng(20230221)


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder with the open cohorts (``HER2_REALDATA``); tests that need it are skipped without."""
    folder = os.environ.get("HER2_REALDATA", "")
    if not folder:
        pytest.skip("HER2_REALDATA is not set: it names the folder with the open cohorts")
    path = Path(folder)
    assert path.is_dir(), f"HER2_REALDATA={folder} is no folder"
    return path

"""Fixtures shared by all tests: one seed, no windows, and the open data where they are at hand."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

# The source of what PyTensor compiles lies beside its compiled code; unless told so PyTensor writes
# one file tmp???????? for each function and leaves it. Processes that tests start inherit this.
os.environ["PYTENSOR_FLAGS"] = ",".join(
    filter(None, ["generated_src_dir=~/.pytensor/source", os.environ.get("PYTENSOR_FLAGS")])
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--quick`` and ``--fuzz``."""
    parser.addoption("--fuzz", metavar="N", help="damage each input about N times (tests/fuzz)")
    parser.addoption("--quick", action="store_true", help="leave out the tests marked slow")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of a room on one worker; skip slow tests where ``--quick`` asks for it.

    One worker compiles a room's models and makes its fits once. Rooms with most slow tests come
    first, so that what is left at the end is short and both workers end together.
    """
    slow: Counter[str] = Counter()
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_room(item)))
        if item.get_closest_marker("slow"):
            slow[_room(item)] += 1
            if config.getoption("--quick"):
                item.add_marker(pytest.mark.skip(reason="slow, and --quick was given"))
    items.sort(key=lambda item: -slow[_room(item)])


def _room(item: pytest.Item) -> str:
    """Folder of a test below tests/, or its file where it stands in none."""
    return item.path.relative_to(Path(__file__).parent).parts[0]


@pytest.fixture(scope="session", autouse=True)
def every_model_is_lowered() -> Iterator[None]:
    """Fail where a model is handed to nutpie's compiler, which takes half a minute more."""
    from her2bayes.inference import engine

    by_nutpie = engine._by_nutpie

    @wraps(by_nutpie)
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("an operation of this model is not lowered")

    engine._by_nutpie = refused
    yield
    engine._by_nutpie = by_nutpie


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

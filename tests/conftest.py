"""Fixtures shared by all tests: one seed, no windows, and the open data where they are at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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


# Rooms in the order of their work. The first two compile what chains and tables are sampled with;
# others find that in the cache. Those that start processes of their own come before those of one.
LONGEST_FIRST = (
    "cohorts",
    "transition",
    "test_readme.py",
    "scripts",
    "sensitivity",
    "joint",
    "test_examples.py",
    "calibration",
    "synthesis",
    "survival",
    "distribution",
    "inference",
    "rates",
    "page",
)
APART = (
    "scripts",
    "sensitivity",
    "joint",
    "survival",
    "distribution",
    "inference",
    "rates",
    "page",
)
"""Rooms whose files share no fit: each goes to the worker that is free."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--quick`` and ``--fuzz``."""
    parser.addoption("--fuzz", metavar="N", help="damage each input about N times (tests/fuzz)")
    parser.addoption("--quick", action="store_true", help="leave out the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest rooms first; skip slow tests where ``--quick`` asks for it.

    In a room the files with most slow tests come first, so that what is left at the end is short
    and both workers end together.
    """
    slow: Counter[str] = Counter()
    for item in items:
        if item.get_closest_marker("slow"):
            slow[_group(item.nodeid)] += 1
            if config.getoption("--quick"):
                item.add_marker(pytest.mark.skip(reason="slow, and --quick was given"))
    items.sort(key=lambda item: (_place(_room(item.nodeid)), -slow[_group(item.nodeid)]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a room on one worker, which compiles its models and makes its fits once.

    Groups of xdist 3.8 are lost on pytest 9.2, which keeps names of tests in another place.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByRoom(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return ByRoom(config, log)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of this run that all workers share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(autouse=True)
def one_worker_a_room(request: pytest.FixtureRequest, shared: Path) -> None:
    """Fail where another worker has tests of the same room: its fits would be made twice."""
    room = shared / "rooms" / _group(request.node.nodeid).replace("/", ".")
    room.mkdir(parents=True, exist_ok=True)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    (room / worker).touch()
    assert [one.name for one in room.iterdir()] == [worker]


def _room(nodeid: str) -> str:
    """Folder of a test below tests/, or its file where it stands in none."""
    return nodeid.partition("::")[0].removeprefix("tests/").split("/")[0]


def _group(nodeid: str) -> str:
    """Room of a test, or its file in a room whose files are apart."""
    return nodeid.partition("::")[0] if _room(nodeid) in APART else _room(nodeid)


def _place(room: str) -> int:
    """Place of a room in the order of work; the others come last."""
    return LONGEST_FIRST.index(room) if room in LONGEST_FIRST else len(LONGEST_FIRST)


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
def reproduced(shared: Path) -> Path:
    """Folder of one ``reproduce --quick`` of both papers, which all workers share.

    ``out`` holds the reports, and ``done.json`` how the script ended: code, stdout, stderr. It was
    started with an empty store. Tests that change a report, or add fits to it, do so in a copy.
    """
    from her2bayes.inference.store import Store

    folder = shared / "reproduced"
    script = Path(__file__).resolve().parents[1] / "scripts" / "reproduce.py"
    with Store(folder).lock("run"):
        if not (folder / "done.json").exists():
            command = [sys.executable, str(script), "--out", str(folder / "out"), "--quick"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
            told = {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
            (folder / "done.json").write_text(json.dumps(told), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder with the open cohorts (``HER2_REALDATA``); tests that need it are skipped without."""
    folder = os.environ.get("HER2_REALDATA", "")
    if not folder:
        pytest.skip("HER2_REALDATA is not set: it names the folder with the open cohorts")
    path = Path(folder)
    assert path.is_dir(), f"HER2_REALDATA={folder} is no folder"
    return path

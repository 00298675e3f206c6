"""The stored numbers of R are those R gives, and the comparison finds a planted difference."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "regenerate", Path(__file__).parent / "regenerate.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


regenerate = load()


def survival_is_there() -> bool:
    if shutil.which("Rscript") is None or "HER2_REALDATA" not in os.environ:
        return False
    call = ["Rscript", "-e", "library(survival); library(jsonlite)"]
    return subprocess.run(call, capture_output=True).returncode == 0


@pytest.mark.skipif(not survival_is_there(), reason="no R with survival here, or no real data")
def test_the_numbers_of_survival_are_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert regenerate.main(["survival_r"]) == 0
    assert "largest relative difference" in capsys.readouterr().out


def test_a_changed_a_lost_and_a_new_number_are_found() -> None:
    old = json.loads((regenerate.HERE / "survival_r.json").read_text("utf-8"))
    assert max(regenerate.differences(old, copy.deepcopy(old)).values()) == 0
    changed = copy.deepcopy(old)
    changed["new"] = 1
    del changed["lung"]
    found = regenerate.differences(old, changed)
    assert found["/new"] == float("inf")
    assert any(v == float("inf") for k, v in found.items() if k.startswith("/lung"))
    assert regenerate.differences({"a": [1.0, 2.0]}, {"a": [1.0, 2.2]})["/a/1"] == pytest.approx(
        0.1
    )


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert regenerate.main(["horoscope"]) == 2
    assert "survival_r" in capsys.readouterr().out

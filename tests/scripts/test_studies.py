"""The list of studies: on the terminal, as a table, as JSON; and faults."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from her2bayes.cli import app
from her2bayes.evidence.printed.study import published_folder

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "studies.py"


@pytest.fixture
def call(tmp_path):
    script = app(runpy.run_path(str(SCRIPT))["main"])
    return lambda *words: CliRunner().invoke(script, [*words, "--out", str(tmp_path / "out")])


def test_it_lists_and_writes_every_study(call, tmp_path):
    done = call()
    assert done.exit_code == 0
    folders = sorted(path.parent.name for path in published_folder().glob("*/study.toml"))
    assert all(name in done.stdout for name in folders)
    written = pd.read_csv(tmp_path / "out" / "studies.csv")
    assert list(written["id"]) == folders
    assert f"{len(folders)} studies" in done.stdout


def test_as_json(call):
    done = call("--json")
    document = json.loads(done.stdout)
    assert document["exit_code"] == 0
    assert any(path.endswith("studies.csv") for path in document["files"])


def test_a_folder_without_studies_writes_nothing(call, tmp_path):
    done = call("--folder", str(tmp_path))
    assert done.exit_code == 2
    assert "no study in this folder" in done.stderr
    assert not (tmp_path / "out").exists()

"""``scripts/audit.py``: what it writes, and that faults write nothing."""

import importlib.util
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from her2bayes.cli import app
from her2bayes.errors import EXIT_BAD_INPUT
from her2bayes.evidence.printed.schema import EVIDENCE_COLUMNS
from her2bayes.evidence.printed.study import published_folder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("audit_script", ROOT / "scripts" / "audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return app(module.main)


def test_writes_both_tables(script, tmp_path):
    result = CliRunner().invoke(script, ["--study", "ni2025", "--out", str(tmp_path)])
    assert result.exit_code == 0
    assert sorted(p.name for p in (tmp_path / "ni2025").iterdir()) == [
        "evidence.csv",
        "findings.csv",
        "provenance.json",
    ]
    evidence = pd.read_csv(tmp_path / "ni2025" / "evidence.csv")
    assert tuple(evidence.columns) == EVIDENCE_COLUMNS
    assert "CI–P inconsistency" in result.stdout


def test_faults_of_all_files_at_once_and_nothing_written(script, tmp_path):
    study = tmp_path / "study"
    shutil.copytree(published_folder() / "ni2025", study)
    ledger = (study / "estimates.csv").read_text(encoding="utf-8")
    (study / "estimates.csv").write_text(ledger.replace(",35.9,", ",135.9,"), encoding="utf-8")
    responses = (study / "responses.csv").read_text(encoding="utf-8")
    (study / "responses.csv").write_text(responses.replace("CR,0", "CR,none"), encoding="utf-8")
    out = tmp_path / "out"
    result = CliRunner().invoke(script, ["--study", str(study), "--out", str(out)])
    assert result.exit_code == EXIT_BAD_INPUT
    assert "estimates.csv" in result.stderr
    assert "responses.csv" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize("name", ["../nowhere", "no_such_study"])
def test_unknown_study(script, tmp_path, name):
    result = CliRunner().invoke(script, ["--study", name, "--out", str(tmp_path / "out")])
    assert result.exit_code == EXIT_BAD_INPUT
    assert not (tmp_path / "out").exists()

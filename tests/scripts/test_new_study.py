"""The command that starts a study: its messages and exit codes."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from typer.testing import CliRunner

from her2bayes.cli import app
from her2bayes.evidence.printed.study import load_study

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "new_study.py"


@pytest.fixture
def call(tmp_path):
    script = app(runpy.run_path(str(SCRIPT))["main"])
    return lambda *words: CliRunner().invoke(script, [*words, "--out", str(tmp_path)])


def test_it_writes_and_says_what_is_next(call, tmp_path):
    done = call("smith2024")
    assert done.exit_code == 0
    assert str(tmp_path / "smith2024") in done.stdout
    assert "audit --study" in done.stdout
    assert load_study(tmp_path / "smith2024").id == "smith2024"


def test_bad_names_and_second_calls_write_nothing(call, tmp_path):
    assert call("../evil").exit_code == 2
    assert not list(tmp_path.iterdir())
    assert call("smith2024").exit_code == 0
    again = call("smith2024")
    assert again.exit_code == 2
    assert "nothing is overwritten" in again.stderr


def test_it_begins_with_a_table_1(call, tmp_path):
    table = tmp_path / "table1.csv"
    table.write_text("factor,level,zero,low\n,,50,90\nhr_status,positive,20,70\n,negative,30,20\n")
    done = call("smith2024", "--from", str(table), "--locator", "Table S2")
    assert done.exit_code == 0
    assert "complete study.toml" in done.stdout
    assert "sum over" not in done.stdout
    study = load_study(tmp_path / "smith2024")
    assert study.status_counts()["hr_status"].values.tolist() == [[20, 70], [30, 20]]
    assert set(study.ledger["locator"]) == {"Table S2"}
    table.write_text("factor,level,zero,low\n,,50,many\n")
    again = call("jones2024", "--from", str(table))
    assert again.exit_code == 2
    assert "not a count" in again.stderr
    assert not (tmp_path / "jones2024").exists()


def test_it_says_where_the_total_is_a_sum(call, tmp_path):
    table = tmp_path / "table1.csv"
    table.write_text("factor,level,zero,low\nhr_status,positive,20,70\n,negative,30,20\n")
    done = call("smith2024", "--from", str(table))
    assert "No row for all patients: 140 is the sum over hr_status" in done.stdout

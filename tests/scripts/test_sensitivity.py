"""The sensitivity script: messages before any sampling, the files it writes, the page."""

from __future__ import annotations

import csv
import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from her2bayes.cli import app
from her2bayes.sensitivity.run import COLUMNS

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "sensitivity.py"
HEADER = "conclusion_id,conclusion,locator,note\n"


def call(*arguments: object) -> Result:
    spec = spec_from_file_location("sensitivity_script", SCRIPT)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules["sensitivity_script"] = module
    spec.loader.exec_module(module)
    return CliRunner().invoke(app(module.main), [str(a) for a in arguments])


@pytest.fixture
def conclusions(tmp_path: Path):
    def write(*rows: str) -> Path:
        file = tmp_path / "mine.csv"
        file.write_text(HEADER + "".join(f"c{k},{row},Abstract,\n" for k, row in enumerate(rows)))
        return file

    return write


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ("share[her2=lo] > 0.5", ("unknown level of 'her2'", "zero, low, positive")),
        ("sharing[her2=low] > 0.5", ("unknown kind 'sharing'", "did you mean 'share'")),
        ("median[bcss] > 20", ("does not answer", "discordance[]", "share[her2=...]")),
        ("share[her2=low] > 51.4", ("30 % is 0.3",)),
    ],
)
def test_unknown_names_are_told_before_any_sampling(row, parts, conclusions, tmp_path):
    out = tmp_path / "out"
    done = call("--study", "shi2023", "--conclusions", conclusions(row), "--out", out)
    assert done.exit_code == 2
    for part in parts:
        assert part in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either --study or --cohort"),
        (("--study", "shi2023", "--cohort", "x.csv"), "either --study or --cohort"),
        (("--cohort", "x.csv"), "give --conclusions FILE"),
        (
            ("--study", "ni2025", "--conclusions", "x.csv", "--statement", "a > 1"),
            "either --conclusions or --statement",
        ),
        (("--study", "ni2025", "--statement", "sharing[x] > 1"), "unknown kind 'sharing'"),
        (("--study", "ni2025", "--holds", "0.4"), "above 0.5 and below 1"),
        (("--study", "nowhere"), "no such study folder"),
    ],
)
def test_bad_arguments_write_nothing(arguments, message, tmp_path):
    done = call(*arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_grid_with_an_unknown_choice_lists_those_there_are(tmp_path):
    grid = tmp_path / "grid.toml"
    grid.write_text('[axes]\n"binomial alone with prior patient" = [1]\n')
    done = call("--study", "ni2025", "--grid", grid, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "did you mean 'binomial alone with prior patients'" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_conclusions_from_printed_numbers_end_to_end(conclusions, tmp_path):
    file = conclusions(
        "event_rate[any | severity=any] > 0.9", "hazard_ratio[rwpfs ; ihc: 2+ vs 1+] < 1"
    )
    grid = tmp_path / "grid.toml"
    grid.write_text('[axes]\n"binomial alone with prior patients" = [1, 50]\n')
    out = tmp_path / "out"
    arguments = ("--study", "ni2025", "--conclusions", file, "--grid", grid, "--out", out)
    done = call(*arguments)
    assert done.exit_code == 0, done.stderr
    folder = out / "ni2025"
    assert {p.name for p in folder.iterdir()} == {
        "sensitivity.csv",
        "sensitivity_not_asked.csv",
        "sensitivity_summary.csv",
        "sensitivity.html",
        "sensitivity.md",
        "sensitivity.json",
        "provenance.json",
        "scenarios",
        "figures",
        "tables",
    }
    with (folder / "sensitivity.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert tuple(rows[0]) == COLUMNS
    changed = [row["changed"] for row in rows if row["conclusion"] == "c0"]
    patients = "binomial alone with prior patients"
    assert f"{patients} 50" in changed
    assert f"{patients} 16" not in changed
    assert f"{patients} 50, outcome misclassified -3" in changed  # the tipping surface
    assert {row["stance"] for row in rows} >= {"holds", "uncertain"}
    assert all(row["probability"] and row["prior_probability"] for row in rows)
    page = (folder / "sensitivity.html").read_text("utf-8")
    for part in (
        "Does the conclusion survive?",
        "is no probability",
        "event_rate[any | severity=any] &gt; 0.9",
        "figure-stability-rates",
        "figure-stability-printed",
        "One rule for a statement and its opposite",
        'data-choose="0,1"',
        "prior patients and outcome misclassified",
        "likelihood of the log hazard ratio",
    ):
        assert part in page
    record = json.loads((folder / "sensitivity.json").read_text("utf-8"))
    counted = record["scenarios"]
    # from reconstructed cohorts: as reported, and weighted for other priors
    assert counted["refit"] == 5
    assert counted["re-weighted"] == 20
    assert sum(counted[name] for name in ("exact", "refit", "re-weighted")) == len(rows)
    first = (folder / "sensitivity.csv").read_bytes()
    assert call(*arguments, "--resume").exit_code == 0
    assert (folder / "sensitivity.csv").read_bytes() == first

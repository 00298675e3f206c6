"""A report replayed: identical here, within Monte-Carlo error elsewhere, refused on other data."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from her2bayes.evidence.printed.study import published_folder
from her2bayes.reproduce import replay

Told = tuple[int, dict[str, Any], str]


@pytest.fixture(scope="module")
def told(call: Callable[..., Result]) -> Callable[..., Told]:
    """Run a script: exit code, what it says as JSON, its log."""

    def run(script: str, *arguments: object) -> Told:
        done = call(script, *arguments, "--json")
        return done.exit_code, json.loads(done.stdout), done.stderr

    return run


@pytest.fixture
def audited(tmp_path: Path, told: Callable[..., Told]) -> Path:
    """Folder of an audit of a study of one's own."""
    study = Path(shutil.copytree(published_folder() / "ni2025", tmp_path / "study"))
    assert told("audit", "--study", study, "--out", tmp_path / "out")[0] == 0
    return tmp_path / "out" / "ni2025"


@pytest.mark.parametrize("name", ["", "evidence.csv"])
def test_a_replay_on_the_same_machine_is_identical(
    audited: Path, name: str, told: Callable[..., Told]
) -> None:
    code, said, _ = told("replay", audited / name)
    assert code == 0
    assert "0 differ" in said["lines"][-1]
    assert "numbers compared" in said["lines"][-1]


def test_one_changed_digit_is_found(
    audited: Path, tmp_path: Path, told: Callable[..., Told]
) -> None:
    file = audited / "evidence.csv"
    file.write_text(file.read_text("utf-8").replace(",35.9,", ",35.8,", 1), encoding="utf-8")
    code, said, _ = told("replay", audited, "--out", tmp_path / "kept")
    assert code == 3
    assert said["warnings"] == ["Look again: evidence.csv is not what audit wrote"]
    with (tmp_path / "kept" / "differences.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["recorded"], row["replayed"]) for row in rows] == [("35.8", "35.9")]


def test_other_data_are_refused(audited: Path, tmp_path: Path, told: Callable[..., Told]) -> None:
    study = tmp_path / "study"
    with (study / "estimates.csv").open("a", encoding="utf-8") as file:
        file.write("# a remark\n")
    code, said, err = told("replay", audited)
    assert code == 2
    assert "data changed since the report was written" in said["faults"][0]["message"]
    study.rename(tmp_path / "moved")
    code, said, err = told("replay", audited)
    assert "not here" in err
    assert "--input" in said["faults"][0]["remedy"]


def test_moved_data_are_named(audited: Path, tmp_path: Path, told: Callable[..., Told]) -> None:
    (tmp_path / "study").rename(tmp_path / "moved")
    moved = f"{tmp_path / 'study'}={tmp_path / 'moved'}"
    assert told("replay", audited, "--input", moved)[0] == 0


def test_a_folder_without_a_record_is_told(tmp_path: Path, told: Callable[..., Told]) -> None:
    code, said, _ = told("replay", tmp_path)
    assert code == 2
    assert "provenance.json" in said["faults"][0]["message"]
    (tmp_path / "provenance.json").write_text('{"schema": 1, "runs": []}', encoding="utf-8")
    assert told("replay", tmp_path)[0] == 2


HEADER = "estimand,reading,posterior_median,posterior_lower,posterior_upper,reproduced,contraction"
ERRORS = "estimand,reading,scale,mcse_posterior_median"


@pytest.mark.parametrize(
    ("estimand", "scale", "median", "agreement"),
    [
        # hazard ratios 2 and 2.5 lie 0.223 apart on the log, as 1/2 and 1/2.5 do
        ("hazard_ratio[os]", "log", ("2", "2.5"), replay.WITHIN),
        ("hazard_ratio[os]", "log", ("0.5", "0.4"), replay.WITHIN),
        ("hazard_ratio[os]", "log", ("2", "3.6"), replay.DIFFERS),
        # logit(90.3 %) - logit(85 %) is 0.496, logit(95 %) - logit(85 %) 1.21; complements alike
        ("share[her2=low]", "logit", ("85", "90.3"), replay.WITHIN),
        ("share[her2=low]", "logit", ("15", "9.7"), replay.WITHIN),
        ("share[her2=low]", "logit", ("15", "5"), replay.DIFFERS),
        ("share_difference[her2=low ; a: x vs y]", "identity", ("15", "15.5"), replay.WITHIN),
        ("share_difference[her2=low ; a: x vs y]", "identity", ("15", "15.6"), replay.DIFFERS),
    ],
)
def test_runs_are_compared_on_the_scale_of_the_kind(
    tmp_path: Path, estimand: str, scale: str, median: tuple[str, str], agreement: str
) -> None:
    """4 sqrt(0.1^2 + 0.1^2) is 0.566."""
    entry = {"environment": {}, "files": {"estimates.csv": ""}}
    for name, value in zip(("old", "new"), median, strict=True):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "estimates.csv").write_text(f'estimand,posterior_median\n"{estimand}",{value}\n')
        (folder / "monte_carlo.csv").write_text(
            f'estimand,reading,scale,mcse_posterior_median\n"{estimand}",,{scale},0.1\n'
        )
    (row,) = replay.compare(tmp_path / "old", tmp_path / "new", "fit", entry).rows
    assert row["agreement"] == agreement


@pytest.mark.parametrize(
    ("median", "reproduced", "agreement"),
    [("50", "50", None), ("60", "50", replay.WITHIN), ("85", "50", replay.DIFFERS),
     ("50", "50.00001", replay.WITHIN), ("50", "50.01", replay.DIFFERS)],
)  # fmt: skip
def test_elsewhere_within_monte_carlo_error(
    tmp_path: Path, median: str, reproduced: str, agreement: str | None
) -> None:
    """4 sqrt(0.1^2 + 0.1^2) is 0.566; logit of 60 % is 0.405, of 85 % 1.73."""
    entry = {"environment": {}, "files": {"estimates.csv": ""}}
    for name, values in (("old", "50,40,60,50"), ("new", f"{median},40,60,{reproduced}")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "estimates.csv").write_text(f"{HEADER}\nshare[her2=low],,{values},0.5\n")
        (folder / "monte_carlo.csv").write_text(f"{ERRORS}\nshare[her2=low],,logit,0.1\n")
    found = replay.compare(tmp_path / "old", tmp_path / "new", "fit", entry)
    assert [row["agreement"] for row in found.rows] == ([agreement] if agreement else [])
    assert found.compared == 5


@pytest.mark.slow
def test_a_fit_is_sampled_again_and_identical(tmp_path: Path, told: Callable[..., Told]) -> None:
    """From an empty store, although the report's own holds the fit."""
    table = tmp_path / "events.csv"
    table.write_text(
        "event,severity,count,patients,body_system\nnausea,any,20,64,gut\n"
        "nausea,grade 3-4,3,64,gut\nfever,any,9,64,body\nfever,grade 3-4,1,64,body\n"
    )
    out = tmp_path / "out"
    assert told("fit_adverse_events", "--table", table, "--out", out, "--quick")[0] in (0, 3)
    code, said, err = told("replay", out / "report.html", "--out", tmp_path / "kept")
    assert code == 0, err
    assert list((tmp_path / "kept").rglob("fits/*.nc"))
    assert said["lines"][-1].endswith("0 within Monte-Carlo error, 0 differ")

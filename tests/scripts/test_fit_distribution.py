"""The distribution script: bad input writes nothing; patients and counts end to end."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from her2bayes.evidence.printed.schema import EVIDENCE_COLUMNS

Call = Callable[..., Result]


def patients(folder: Path, number: int = 200) -> Path:
    """A cohort in which every third reading is a set or unknown."""
    rng = np.random.default_rng(3)
    file = folder / "patients.csv"
    lines = ["her2,hr_status,centre"]
    for _ in range(number):
        hr = ("positive", "negative")[int(rng.random() < 0.3)]
        read = ("zero", "low", "positive")[int(rng.choice(3, p=(0.35, 0.5, 0.15)))]
        told = "zero/low" if read != "positive" and rng.random() < 0.2 else read
        told = "" if rng.random() < 0.1 else told
        lines.append(f"{told},{hr},{'ABCDE'[int(rng.integers(5))]}")
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give one of --cohort, --counts and --study"),
        (("--study", "shi2023", "--counts", "x.csv"), "give one of"),
        (("--study", "shi2023", "--suppress-below", "5"), "--suppress-below is for patients"),
        (("--study", "shi2023", "--by", "hr"), "no table of HER2 status by this factor"),
        (("--study", "ni2025"), "no table of HER2 status is printed"),
        (("--study", "shi2023", "--model", "dirichle"), "did you mean 'dirichlet'?"),
        (("--cohort", "nowhere.csv"), "nowhere.csv"),
    ],
)
def test_bad_input_writes_nothing(
    arguments: tuple[str, ...], message: str, tmp_path: Path, call: Call
) -> None:
    done = call("fit_distribution", *arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_patients_end_to_end_and_to_share(tmp_path: Path, call: Call) -> None:
    file, out = patients(tmp_path), tmp_path / "out"
    flags = ("--by", "hr_status", "--by", "centre", "--exchangeable", "centre", "--quick")
    done = call("fit_distribution", "--cohort", file, *flags, "--out", out)
    assert done.exit_code in (0, 3), done.stderr
    with (out / "estimates.csv").open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    assert tuple(rows[0]) == EVIDENCE_COLUMNS
    found = {row["estimand"]: row for row in rows}
    assert "share[her2=low | centre=new centre]" in found
    low = found["share[her2=low]"]
    assert float(low["posterior_lower"]) < 50 < float(low["posterior_upper"])
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Quick run" in page
    assert "missing at random" in page
    assert (out / "classical.csv").exists()
    assert len(list((out / "figures").glob("*.svg"))) >= 3
    shared = tmp_path / "shared"
    done = call(
        "fit_distribution", "--cohort", file, *flags, "--suppress-below", 5, "--out", shared
    )
    assert done.exit_code in (0, 3), done.stderr
    assert not (shared / "classical.csv").exists()
    assert not (shared / "fits").exists()
    assert "with a reading of one class" not in (shared / "report.html").read_text(encoding="utf-8")

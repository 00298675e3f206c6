"""The transitions script: bad input writes nothing; a small cohort and the documented flags."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from her2bayes.evidence.patients.maps import packaged_maps
from her2bayes.evidence.printed.schema import EVIDENCE_COLUMNS
from her2bayes.evidence.simulate import known_truth, simulate_pairs

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fit_transitions.py"
Call = Callable[..., Result]
MAP = """
schema = 1
id = "small"
rows = "patient"
[files]
table = "pairs.csv"
[columns]
patient_id = "id"
[primary]
ihc = "primary"
hr = "hr"
[recurrence]
ihc = "recurrence"
[rules]
two_plus_without_ish = "accept"
"""


def fit(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)


def small_cohort(folder: Path, patients: int = 120) -> Path:
    rng = np.random.default_rng(3)
    sizes = {"positive": 2 * patients // 3, "negative": patients // 3}
    pairs = simulate_pairs(rng, sizes, **known_truth(), factor="hr", coarsening={"zero/low": 0.2})
    words = {"zero": "0", "low": "1+", "positive": "3+", "zero/low": "0-1+"}
    lines = [
        f"p{k},{words[row.primary_reading]},{words[row.recurrence_reading]},{row.hr}"
        for k, row in enumerate(pairs.itertuples())
    ]
    (folder / "pairs.csv").write_text("\n".join(["id,primary,recurrence,hr", *lines]) + "\n")
    (folder / "map.toml").write_text(MAP)
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either --cohort with --map, or --study"),
        (("--cohort", ".", "--study", "shi2023"), "give either"),
        (("--cohort", "."), "1 cohorts and 0 maps"),
        (("--cohort", ".", "--map", "nomap"), "no such map (found 'nomap'); allowed: msk2018"),
        (("--cohort", "nowhere", "--map", "msk2018"), "cohort does not exist"),
        (("--study", "nostudy"), "nostudy"),
        (("--study", "ni2025"), "the study prints no facts on pairs"),
    ],
)
def test_bad_input_writes_nothing(
    arguments: tuple[str, ...], message: str, tmp_path: Path, call: Call
) -> None:
    done = call("fit_transitions", *arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_faults_of_the_file_and_of_the_flags(tmp_path: Path, call: Call) -> None:
    small_cohort(tmp_path)
    common = ("--cohort", tmp_path, "--map", tmp_path / "map.toml", "--out", tmp_path / "out")
    unknown = call("fit_transitions", *common, "--by", "hr_statsu")
    assert unknown.exit_code == 2
    assert "did you mean 'hr_status'?" in unknown.stderr
    text = (tmp_path / "pairs.csv").read_text()
    (tmp_path / "pairs.csv").write_text(text.replace("p3,", "p4,").replace("3+", "4+"))
    faulty = call("fit_transitions", *common)
    assert faulty.exit_code == 2
    assert "found '4+'" in faulty.stderr
    assert "patient id repeats (found 'p4')" in faulty.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_small_cohort_end_to_end(tmp_path: Path) -> None:
    small_cohort(tmp_path)
    out = tmp_path / "out"
    flags = ("--by", "hr_status", "--quick", "--no-assay")
    done = fit("--cohort", tmp_path, "--map", tmp_path / "map.toml", "--out", out, *flags)
    assert done.returncode in (0, 3), done.stderr
    assert "leaked" not in done.stderr
    assert "primary reading (120)" in done.stderr  # the cohort before anything is fitted
    assert "discordance[]" in done.stdout
    with (out / "estimates.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == EVIDENCE_COLUMNS
    found = {(row["estimand"], row["reading"]): row for row in rows}
    with_sets = found["transition[low -> zero]", ""]
    without = found["transition[low -> zero]", "one class at both ends"]
    assert with_sets["fit_id"] != without["fit_id"]
    assert ("transition[low -> zero]", "IHC 0-1+ read as low") in found
    assert ("discordance[| hr_status=positive]", "") in found
    truth = 36.0
    assert float(with_sets["posterior_lower"]) < truth < float(with_sets["posterior_upper"])
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Quick run" in page
    # the pairs are drawn from such a model, one in five with a set of classes
    misfits = page.partition('id="glossary"')[0].count("predictive misfit")
    assert misfits == 0
    assert "Prior and posterior predictive checks" in page
    assert len(list((out / "figures").glob("*.svg"))) >= 5
    assert len(list((out / "fits").glob("her2_transition-*.nc"))) == 6
    before = (out / "estimates.csv").read_bytes()
    again = fit("--cohort", tmp_path, "--map", tmp_path / "map.toml", "--out", out, *flags)
    assert again.returncode == done.returncode
    assert (out / "estimates.csv").read_bytes() == before


@pytest.mark.skipif(not os.environ.get("HER2_REALDATA"), reason="HER2_REALDATA is not set")
def test_the_packaged_map_reads_its_study(realdata: Path, tmp_path: Path, call: Call) -> None:
    assert (packaged_maps() / "msk2018.toml").is_file()
    done = call("fit_transitions", "--cohort", realdata / "breast_msk_2018", "--map", "msk2018",
                "--by", "colour", "--out", tmp_path / "out")  # fmt: skip
    assert done.exit_code == 2
    assert "allowed: hr_status, site, age, menopausal_status" in done.stderr
    assert "905  primary and recurrence" in done.stderr

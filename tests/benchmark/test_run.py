"""The benchmark: ratios by hand, a measurement that fails says so, and one real measurement."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import first, report, run


def table() -> pd.DataFrame:
    rows = [
        {"part": "sampling", "subject": "m", "engine": run.OURS, "seconds_to_400": 10.0,
         "ess_per_second": 900.0},
        {"part": "sampling", "subject": "m", "engine": "NumPyro", "note": "not installed"},
        {"part": "sampling", "subject": "m", "engine": "other", "seconds_to_400": 25.0},
        {"part": "survival", "subject": "s", "engine": run.OURS, "patients": 1000,
         "seconds": 4.0},
        {"part": "survival", "subject": "s", "engine": "Cox, R", "patients": 1000, "seconds": 1.0},
        {"part": "sweep", "subject": "m", "engine": "compiled model re-used", "seconds": 0.5},
        {"part": "sweep", "subject": "m", "engine": "compiled for each scenario", "seconds": 10.0},
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(run.COLUMNS))


def test_ratios_are_to_our_own_seconds_of_the_same_part_and_size() -> None:
    found = run._with_ratios(table())["ratio"]
    assert found.fillna(-1).tolist() == [1.0, -1, 2.5, 1.0, 0.25, 1.0, 20.0]


def test_first_posteriors_are_cold_then_warm_in_a_folder_of_their_own() -> None:
    """Every engine, with the ratio of wall and of CPU seconds to ours of the same part."""
    folders: list[str] = []

    def python(job: str, environment: dict[str, str], **arguments: str) -> dict[str, float]:
        assert job == "first_posterior"
        folders.append(environment["NUMBA_CACHE_DIR"])
        return {} if arguments["sampler"] == "numpyro" else {"ess": 400.0}

    rows = [*first.rows(run.PYTHON_ENGINES, python, lambda *_: {"ess": 400.0})]
    measured = pd.DataFrame(rows, columns=list(run.COLUMNS))
    engines = len(run.PYTHON_ENGINES) + 1
    assert len(measured) == 2 * len(first.DESIGNS) * (engines + len(first.R_LABELS))
    assert folders[::2] == folders[1::2]
    assert len(set(folders)) == engines * len(first.DESIGNS)
    assert measured["part"].tolist() == [*first.PARTS] * (len(measured) // 2)
    none = measured["note"].notna()
    assert measured.loc[none, "note"].tolist() == [first.ABSENT] * 2
    assert measured.loc[measured["engine"] == "NumPyro", "seconds"].isna().all()
    measured["seconds"] = range(1, len(measured) + 1)
    measured["cpu_seconds"] = 2.0
    found = run._with_ratios(measured)
    assert found["ratio"].tolist()[:4] == [1.0, 1.0, 3.0, 2.0]
    assert (found["ratio_cpu"] == 1.0).all()


def test_seconds_of_a_measurement_are_those_of_its_process() -> None:
    """Of those that a job starts; a measurement that failed has none."""
    import subprocess
    import sys

    def job() -> dict[str, float]:
        subprocess.run([sys.executable, "-c", "sum(range(10**6))"], check=True)
        return {"ess": 1.0}

    found = first.timed(job)
    assert found["seconds"] > 0
    assert found["cpu_seconds"] > 0
    assert first.timed(lambda: {"note": "failed"}) == {"note": "failed"}


def test_files_and_words(tmp_path: Path) -> None:
    measured = run._with_ratios(table())
    paths = report.write(measured, report.machine(), tmp_path)
    assert [path.name for path in paths] == ["benchmark.csv", "benchmark.json", "benchmark.svg"]
    assert paths[2].read_text("utf-8").startswith("<?xml")
    words = report.lines(measured)
    assert words[0].endswith("900 effective draws/s, 10.0 s to 400, ratio 1.00")
    assert words[1].endswith("NumPyro: not installed")


@pytest.mark.parametrize(
    ("command", "note"),
    [("raise SystemExit('no luck')", "failed: no luck"), ("import time; time.sleep(9)", "stopped")],
)
def test_a_measurement_that_fails_says_so(command: str, note: str) -> None:
    import sys

    found = run._called([sys.executable, "-c", command], 1.5, None)
    assert found["note"].startswith(note)


def test_one_real_measurement(tmp_path: Path) -> None:
    from benchmarks.designs import survival_rows
    from benchmarks.jobs import cox_greenwood

    survival_rows(500).to_parquet(tmp_path / "rows.parquet", index=False)
    assert cox_greenwood(str(tmp_path / "rows.parquet"))["seconds"] > 0

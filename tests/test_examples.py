"""Examples to copy are short, use the public interface only, and run."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import her2bayes

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "scripts" / "examples"
MODELS = {"distribution_trend", "lognormal_survival"}
EXAMPLES = sorted(path for path in FOLDER.glob("*.py") if path.stem not in MODELS)
RUN = """
import runpy, sys, time
import matplotlib
matplotlib.use("agg")
for file in sys.argv[1:]:
    start = time.perf_counter()
    print("===", file, flush=True)
    runpy.run_path(file, run_name="__main__")
    print(f"--- {time.perf_counter() - start:.0f} s", flush=True)
"""


def test_there_are_eight() -> None:
    assert len(EXAMPLES) == 8


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_uses_public_names(path: Path) -> None:
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    code = [
        line for line in ast.unparse(ast.Module(tree.body[1:], [])).splitlines() if line.strip()
    ]
    assert 10 <= len(code) <= 40
    assert text.count("\n# %% ") >= 3
    modules = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    assert [name for name in modules if str(name).startswith("her2bayes.")] == []
    assert set(re.findall(r"\bhb\.(\w+)", text)) <= set(her2bayes.__all__)


@pytest.mark.slow
def test_examples_run_one_after_the_other(tmp_path: Path) -> None:
    """In one process, as cells of one session, so that a model is compiled once."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "models")}
    make = [sys.executable, str(ROOT / "scripts" / "example_cohort.py"), "--out", "example"]
    subprocess.run(make, cwd=tmp_path, env=environment, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, EXAMPLES)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert done.stdout.count("===") == len(EXAMPLES)
    assert (tmp_path / "supplement" / "report.html").is_file()
    assert (tmp_path / "survival.png").stat().st_size > 10_000

"""Every script says what it is for, and says it fast."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "scripts"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if not path.name.startswith("_"))
SLOW = {"arviz", "greenwood", "ibis", "matplotlib", "numpy", "pandas", "pymc", "scipy", "xarray"}

HELP = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("LOADED", *sorted(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_first_line_fits_the_list(script: Path) -> None:
    lines = (ast.get_docstring(ast.parse(script.read_text())) or "").splitlines()
    assert lines
    assert lines[0].endswith(".")
    assert len(lines[0]) <= 95


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_comes_without_loading_what_is_slow(script: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", HELP, str(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"bash scripts/run {script.stem}" in done.stdout
    assert not SLOW & set(done.stderr.rpartition("LOADED")[2].split())

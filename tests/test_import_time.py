"""The package opens at once: nothing heavy is imported before it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("pandas", "pymc", "arviz", "numpy", "xarray", "matplotlib", "greenwood", "ibis", "scipy")
SCRIPTS = sorted((Path(__file__).resolve().parents[1] / "scripts").glob("[a-z]*.py"))

LOADED = """
import resource, sys
before = resource.getrusage(resource.RUSAGE_SELF)
import her2bayes
dir(her2bayes)
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
print(*sorted(set(sys.modules)))
"""

HELP = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
print(*sorted(set(sys.modules)), file=sys.stderr)
"""


def test_importing_the_package_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True,
                          check=True)  # fmt: skip
    seconds, modules = done.stdout.splitlines()
    assert float(seconds) < 0.1
    assert not set(HEAVY) & set(modules.split())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_loads_nothing_heavy(script: Path) -> None:
    done = subprocess.run([sys.executable, "-c", HELP, str(script)], capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert "Usage" in done.stdout
    assert not set(HEAVY) & set(done.stderr.split())

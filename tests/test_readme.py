"""What the documentation tells a reader to type works, and what it links to is there.

A fenced block of README.md that opens with

    ```bash run

is run here, whole and in order, from the top of the checkout; it must end with exit code 0. A block
that opens with ```bash alone is shown only: what needs a network, or starts these tests again. The
commands use the checkout's own environment, so they are left out where the tests run in another.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```bash run\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("[dr]*/**/README.md"))]
IN_OWN_ENVIRONMENT = Path(sys.prefix).resolve() == (ROOT / ".venv").resolve()


@pytest.mark.slow
@pytest.mark.skipif(not IN_OWN_ENVIRONMENT, reason="not under 'bash scripts/run test'")
@pytest.mark.parametrize("commands", BLOCK.findall(README))
def test_commands_work(commands: str) -> None:
    # CI must not decide how our commands behave.
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


PYTHON = re.search(
    r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", README, re.MULTILINE | re.DOTALL
)
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.mark.slow
def test_the_first_lines_print_what_stands_below_them() -> None:
    """Words as they stand, numbers to 1 (percentage points; Monte-Carlo error of a quick run)."""
    assert PYTHON
    done = subprocess.run(
        [sys.executable, "-c", PYTHON[1]], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "models")}, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    for said, printed in zip(PYTHON[2].splitlines()[:-1], done.stdout.splitlines(), strict=False):
        assert NUMBER.sub("#", said).split() == NUMBER.sub("#", printed).split()
        for one, other in zip(NUMBER.findall(said), NUMBER.findall(printed), strict=True):
            assert float(one) == pytest.approx(float(other), abs=1.0)


def test_some_commands_are_run() -> None:
    assert BLOCK.findall(README)


def test_scripts_named_are_there() -> None:
    named = {
        name for path in DOCUMENTS for name in re.findall(r"scripts/run (\w+)", path.read_text())
    }
    there = {path.stem for path in (ROOT / "scripts").glob("*.py")} | {"completion", "lint", "test"}
    assert named - there - {"NAME"} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in local if not (document.parent / link).exists()] == []

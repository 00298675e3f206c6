"""Ctrl-C while worker processes compute: exit code 130, one word, nobody left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "reproduce.py"


@pytest.mark.slow
def test_ctrl_c_stops_a_run_in_workers(tmp_path: Path) -> None:
    """As a terminal sends it: to every process of the group."""
    command = [sys.executable, "-P", str(SCRIPT), "--study", "shi2023", "--quick", "--json"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as run:  # fmt: skip
        assert run.stderr is not None
        assert any("shi2023" in line for line in run.stderr)  # workers are at work
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=120)
    assert run.returncode == 130
    assert json.loads(out)["exit_code"] == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "Interrupted."
    assert not (tmp_path / "shi2023" / "report.html").exists()
    until = time.monotonic() + 30
    while _alive(run.pid) and time.monotonic() < until:
        time.sleep(0.2)
    assert _alive(run.pid) == []


def _alive(group: int) -> list[str]:
    """Processes of a group; those that have ended and wait to be collected do not count."""
    listed = subprocess.run(
        ["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    return [row[-1] for row in rows if row[0] == str(group) and not row[1].startswith("Z")]

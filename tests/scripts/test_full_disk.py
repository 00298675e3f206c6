"""A full disk and a place that cannot be written end with one message, exit code 2, no traceback.

The limit on the size of a file stands in for a full disk: the write that crosses it fails the same
way. A path below a file stands in for a folder without permission, which root does not heed.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
CURVE = "time,survival\n0,1\n5,0.9\n10,0.7\n20,0.45\n30,0.4\n"
RISK = "arm,time,n_at_risk\narm,0,50\narm,10,33\narm,20,20\n"
EVENTS = "event,severity,count,patients\nnausea,any,20,64\nnausea,grade 3-4,3,64\n"
ANY = "any,event_rate[any | severity=any] > 0.5,Abstract,"  # in closed form
ASKED = f"conclusion_id,conclusion,locator,note\n{ANY}\n"
ROWS = "months,event,her2\n" + "".join(
    f"{k},{k % 2},{['low', 'zero'][k % 2]}\n" for k in range(1, 40)
)

CALLS = {
    "audit": ("--study", "ni2025"),
    "example_cohort": (),
    "new_study": ("mine",),
    "reproduce": ("--study", "ni2025", "--quick"),
    "sensitivity": ("--study", "ni2025", "--conclusions", "asked.csv"),
    "reconstruct": ("curve", "--coords", "arm=curve.csv", "--at-risk", "risk.csv"),
    "calibrate": ("her2_distribution", "--simulations", "20"),
    "fit_adverse_events": ("--table", "events.csv", "--quick"),
    "fit_survival": (
        "--cohort", "rows.csv", "--time", "months", "--event", "event", "--by", "her2", "--quick"
    ),
    "replay": ("report",),
}  # fmt: skip
FULL = ("audit", "example_cohort", "new_study", "sensitivity", "reconstruct")
"""Those that come to their first file without sampling."""


def tables(folder: Path) -> None:
    """What the calls read."""
    texts = {"curve": CURVE, "risk": RISK, "events": EVENTS, "rows": ROWS, "asked": ASKED}
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")


def limited(
    script: str, folder: Path, *arguments: object, limit: int
) -> subprocess.CompletedProcess[str]:
    """A process that may write files of so many bytes."""
    tables(folder)

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-P", str(SCRIPTS / f"{script}.py"), *map(str, arguments)]
    # Python 3.13.0 keeps a module's compiled file that the limit has cut short: none is written
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, cwd=folder,
        preexec_fn=small, env=environment,
    )  # fmt: skip


def told(code: int, stderr: str) -> None:
    assert code == 2, stderr[-2000:]
    assert "Traceback" not in stderr
    assert "remedy" in stderr


@pytest.mark.parametrize("script", sorted(set(CALLS) - {"replay"}))
def test_a_place_that_cannot_be_written(
    script: str, tmp_path: Path, call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    tables(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    more = ("--kept", tmp_path / "file" / "kept") if script == "calibrate" else ()
    done = call(script, *CALLS[script], "--out", tmp_path / "file" / "out", *more)
    told(done.exit_code, done.stderr)
    assert "file" in done.stderr
    assert (tmp_path / "file").read_text("utf-8") == "in the way"


@pytest.mark.slow
@pytest.mark.parametrize("script", FULL)
def test_a_full_disk(script: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = limited(script, tmp_path, *CALLS[script], "--out", out, limit=700)
    told(done.returncode, done.stderr)
    left = [path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert not [path for path in left if path.suffix in (".csv", ".html", ".parquet")]
    assert not list(out.rglob(".writing-*"))


def test_the_fault_of_a_full_disk_as_json(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = limited("audit", tmp_path, *CALLS["audit"], "--out", out, "--json", limit=700)
    content = json.loads(done.stdout)
    assert content["exit_code"] == 2
    assert "cannot be written" in content["faults"][0]["message"]

"""A writer killed at any moment leaves whole files, and a mixture that is recognised as one."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from her2bayes.errors import BadInput
from her2bayes.files import changed_files

WRITER = """
import itertools, json, sys
from pathlib import Path
from her2bayes.files import digests, publish
folder = Path(sys.argv[1])
for n in itertools.count():
    files = {"evidence.csv": f"{n}\\n" * 20000, "report.html": f"{n}\\n" * 60000}
    publish(folder, {**files, "run.json": json.dumps({"n": n, "files": digests(files)})})
    if n == 0:
        print("ready", flush=True)
"""


@pytest.mark.parametrize("seed", range(6))
def test_no_half_written_report_is_trusted(seed: int, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(random.Random(seed).uniform(0, 0.2))
        writer.kill()
    written = {}
    for name, count in (("evidence.csv", 20000), ("report.html", 60000)):
        lines = (tmp_path / name).read_text("utf-8").split()
        assert len(lines) == count, f"{name} is not whole"
        assert len(set(lines)) == 1
        written[name] = int(lines[0])
    record = json.loads((tmp_path / "run.json").read_text("utf-8"))
    changed = changed_files(tmp_path, record["files"])
    assert set(changed) == {name for name, n in written.items() if n != record["n"]}


HALF = """
import os, signal, sys
from pathlib import Path
import her2bayes.files as files
from her2bayes.reproduce import provenance
count, moment = [0], int(sys.argv[2])
real = os.fsync
def fsync(handle):
    count[0] += 1
    if count[0] == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)
os.fsync = fsync
sys.argv = ["audit.py", "--study", "ni2025", "--out", sys.argv[1]]
import runpy
runpy.run_path(os.environ["SCRIPT"], run_name="__main__")
"""


SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "audit.py"


@pytest.fixture(scope="module")
def whole_audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a whole audit; its tests work on copies."""
    folder = tmp_path_factory.mktemp("audit")
    first = [sys.executable, "-P", str(SCRIPT), "--study", "ni2025", "--out", str(folder)]
    subprocess.run(first, check=True, capture_output=True)
    return folder / "ni2025"


@pytest.mark.slow
@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_script_killed_while_it_writes_is_noticed_by_replay(
    moment: int, whole_audit: Path, tmp_path: Path
) -> None:
    """First a whole audit, then another killed at its first, second or third file."""
    from her2bayes.reproduce import replay

    folder = Path(shutil.copytree(whole_audit, tmp_path / "ni2025"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "findings.csv").write_text("an older one\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", HALF, str(tmp_path), str(moment)],
        env={"SCRIPT": str(SCRIPT), "PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    _, runs = replay.entries(folder)
    compared = replay.compare(folder, folder, "audit", runs["audit"])
    whole = (folder / "findings.csv").read_bytes() == before["findings.csv"]
    assert bool(compared.notices) is not whole
    assert whole == (moment == 3)
    try:
        replay.check(folder, runs, {})
    except BadInput as bad:
        pytest.fail(str(bad))

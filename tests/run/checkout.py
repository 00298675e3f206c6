"""A checkout whose Python is a stub, so that each step of a set-up takes milliseconds.

The stub is a shell script that answers the probe, stands in for venv, pip and compileall by writing
a line to a journal, and hands everything else to the real interpreter; it can be held and broken.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("awk", "basename", "bash", "cat", "chmod", "cmp", "dirname", "env", "grep", "mkdir")
TOOLS += ("readlink", "sed", "sh", "sleep", "sort", "tail", "touch", "tr")

PATIENCE = 120
"""Seconds, on a machine with much else to do."""

STUB = """#!/bin/sh
# A stand-in for Python {version}.
case "$*" in
  *ensurepip*) [ "{version}" = old ] && {{ echo "is 3.11.7" >&2; exit 1; }}; echo "$0"; exit 0 ;;
  *"-m venv "*)
    echo venv >> "{journal}"
    for target; do :; done
    mkdir -p "$target/bin" "$target/lib/python3.99/site-packages"
    cat "$0" > "$target/bin/python"; chmod +x "$target/bin/python"; exit 0 ;;
  *"-m pip "*)
    for target; do :; done
    echo "pip $(basename "$target")" >> "{journal}"
    touch "{control}/reached"; waited=0
    while [ -e "{control}/hold" ] && [ $waited -lt 1200 ]; do
      sleep 0.1; waited=$((waited + 1))
    done
    if [ -e "{control}/broken" ]; then echo "ERROR: no route to anywhere" >&2; exit 1; fi
    echo "pip done" >> "{journal}"
    exit 0 ;;
  *"-m compileall "*) echo compile >> "{journal}"; exit 0 ;;
  *_environment.py*)
    echo $$ > "{control}/pid"
    shift; exec "{real}" -I -c "
import runpy, sys
sys._base_executable = '$0'
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')" "$@" ;;
esac
STUB_VERSION={version} exec "{real}" "$@"
"""

SHIM = '#!/bin/sh\necho "pyenv: $(basename $0): command not found" >&2\nexit 127\n'


def _heed_interrupts() -> None:
    """A caller in the background may hand down an ignored Ctrl-C, which bash cannot undo."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Checkout:
    """A small checkout with its own PATH, home and stubs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "check out"
        self.bin, self.home, self.control = folder / "bin", folder / "home", folder / "control"
        self.journal = folder / "journal"
        for part in (self.root / "scripts", self.root / "requirements", self.bin, self.home):
            part.mkdir(parents=True)
        self.control.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        for name in ("run", "_environment.py"):
            shutil.copy(ROOT / "scripts" / name, self.root / "scripts" / name)
        for name in ("base", "build", "test"):
            (self.root / "requirements" / f"{name}.txt").write_text(f"{name}==1 --hash=sha256:0\n")
        self.script(
            "show", '"""Show what arrives.\n\nMore."""\nimport os, sys\nprint(os.environ)\n'
        )

    def script(self, name: str, text: str) -> None:
        """Add a script."""
        (self.root / "scripts" / f"{name}.py").write_text(text)

    def python(self, path: Path, version: str = "3.13.0") -> Path:
        """Add a stub interpreter."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            STUB.format(
                version=version, journal=self.journal, control=self.control, real=sys.executable
            )
        )
        path.chmod(0o755)
        return path

    def pyenv(self, version: str, stub: str | None = None) -> Path:
        """Add a stub interpreter to pyenv's versions folder."""
        folder = self.home / ".pyenv" / "versions" / version
        return self.python(folder / "bin" / "python", stub or version)

    def shim(self, path: Path) -> None:
        """Add a program that is there and fails, as a pyenv shim does."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SHIM)
        path.chmod(0o755)

    def environ(self, **extra: str) -> dict[str, str]:
        """Environment of a call."""
        return {"PATH": str(self.bin), "HOME": str(self.home), "LC_ALL": "C", **extra}

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        """Start a call in a process group of its own."""
        return subprocess.Popen(
            [str(self.bin / "bash"), str(self.root / "scripts" / "run"), *arguments],
            env=self.environ(**extra),
            cwd=self.folder,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_heed_interrupts,
        )

    def run(self, *arguments: str, **extra: str) -> tuple[int, str, str]:
        """Call to the end: exit code, stdout, stderr."""
        call = self.start(*arguments, **extra)
        out, err = call.communicate(timeout=PATIENCE)
        return call.returncode, out, err

    def steps(self) -> list[str]:
        """What was installed since the last time this was asked."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        self.journal.write_text("")
        return lines

    def hold(self) -> None:
        """Make pip wait until ``release``."""
        (self.control / "reached").unlink(missing_ok=True)
        (self.control / "hold").touch()

    def release(self) -> None:
        """Let pip go on."""
        (self.control / "hold").unlink(missing_ok=True)

    def wait_until_installing(self) -> None:
        """Wait until pip is at work."""
        until = time.monotonic() + PATIENCE
        while not (self.control / "reached").exists():
            assert time.monotonic() < until
            time.sleep(0.01)


FULL = ["venv", "pip base.txt", "pip done", "pip build.txt", "pip done"]
FULL += ["pip check out", "pip done", "compile"]

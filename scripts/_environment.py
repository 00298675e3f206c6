"""Make or repair the project's environment from its lock files, for ``run`` (standard library).

The environment is ``.venv`` in the checkout. ``.venv/.her2`` says what it holds: a copy of every
lock file installed, the checkout's path and the Python it was made with, each written after the
step it vouches for. Whatever is not vouched for is made again from nothing, so a set-up that was
killed leaves no half-installed package behind. One set-up at a time: the lock is the kernel's
(``flock``), so it ends with its holder; installers inherit it, so that an orphan of a killed
set-up is waited for too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

REBUILT_FOR = ("base", "build")
"""Lock files whose change makes a new environment; others are added to the one that is there."""

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

STARTED = time.monotonic()

Environment = dict[str, str]


class SetUpError(Exception):
    """A step failed; the message says which, why and what to do."""


def main(arguments: Sequence[str]) -> int:
    """Bring ``.venv`` of the checkout ``arguments[0]`` to the lock files named after it."""
    root, wanted = Path(arguments[0]), list(arguments[1:])
    try:
        with locked(root / ".venv.lock") as lock:
            prepare(root, wanted, lock)
    except SetUpError as failure:
        tell(str(failure))
        return EXIT_FAILED
    except OSError as failure:
        tell(f"Set-up failed: {failure}. The checkout must be writable and its disk not full.")
        return EXIT_FAILED
    except KeyboardInterrupt:
        tell("Set-up interrupted; the next call starts it again.")
        return EXIT_INTERRUPTED
    return 0


def prepare(root: Path, wanted: Sequence[str], lock: int) -> None:
    """Make the environment where it is not the right one, then add the lock files it lacks."""
    environment = root / ".venv"
    stamps = environment / ".her2"
    locks = {name: lock_file(root, name) for name in wanted}
    lacking = [name for name, content in locks.items() if not holds(stamps, name, content)]
    if not is_ours(root, environment) or any(name in REBUILT_FOR for name in lacking):
        tell(f"Setting up .venv with Python {sys.version.split()[0]} (once; about a minute)")
        lacking = list(wanted)
        make(root, lacking, lock)
    elif lacking:
        tell(f"Adding to .venv: {', '.join(lacking)}")
        add(root, lacking, lock)
    for name in lacking:
        write(stamps / f"{name}.txt", locks[name])
    write(stamps / "python", this_python().encode())
    write(stamps / "root", str(root).encode())
    tell(f"  {time.monotonic() - STARTED:3.0f} s  ready")


def make(root: Path, names: Sequence[str], lock: int) -> None:
    """Make the environment anew."""
    environment = root / ".venv"
    discard(environment)
    (environment / ".her2").mkdir(parents=True)
    create(environment, lock)
    for name in names:
        install(root, name, lock)
    install_project(root, lock)
    compile_bytecode(root, lock)


def add(root: Path, names: Sequence[str], lock: int) -> None:
    """Add lock files to a finished environment, which vouches for nothing meanwhile."""
    finished = root / ".venv" / ".her2" / "root"
    finished.unlink()
    try:
        for name in names:
            install(root, name, lock)
    except SetUpError:
        # Unlike a killed installer, one that gives up has changed nothing.
        write(finished, str(root).encode())
        raise
    compile_bytecode(root, lock)


def is_ours(root: Path, environment: Path) -> bool:
    """Whether the environment was finished, in this very place, with a Python that is still there.

    With ``HER2_SAME_PYTHON`` set (the user named a Python) it must be the one that now runs.
    """
    stamps = environment / ".her2"
    python = this_python().encode()
    return (
        os.access(environment / "bin" / "python", os.X_OK)
        and read(stamps / "root") == str(root).encode()
        and (not os.environ.get("HER2_SAME_PYTHON") or read(stamps / "python") == python)
    )


def holds(stamps: Path, name: str, content: bytes) -> bool:
    """Whether the environment holds a lock file as it is now."""
    return read(stamps / f"{name}.txt") == content


def lock_file(root: Path, name: str) -> bytes:
    """Content of a lock file."""
    content = read(root / "requirements" / f"{name}.txt")
    if content is None:
        raise SetUpError(f"Set-up failed: requirements/{name}.txt is missing from this checkout.")
    return content


def discard(environment: Path) -> None:
    """Delete the environment; one that this script did not make is moved aside instead."""
    trash = environment.with_name(".venv.trash")
    if trash.exists():
        shutil.rmtree(trash)
    if environment.is_symlink():
        environment.unlink()
    elif (environment / ".her2").is_dir():
        environment.rename(trash)
        shutil.rmtree(trash)
    elif environment.exists() and (not environment.is_dir() or any(environment.iterdir())):
        aside = environment.with_name(f".venv.aside-{time.strftime('%Y%m%d-%H%M%S')}")
        environment.rename(aside)
        tell(f"  .venv was not made by scripts/run; it is now {aside.name}")


def create(environment: Path, lock: int) -> None:
    """Make an empty environment with pip in it."""
    command = [this_python(), "-I", "-m", "venv", str(environment)]
    step("environment", command, environment, lock)


def install(root: Path, name: str, lock: int) -> None:
    """Install one lock file: exact versions, every file checked against its hash."""
    count = len(re.findall(rb"^[A-Za-z0-9][^=\n]*==", lock_file(root, name), flags=re.MULTILINE))
    requirements = str(root / "requirements" / f"{name}.txt")
    options = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile"]
    pip(f"packages: {name} ({count})", root, [*options, "--requirement", requirements], lock)


def install_project(root: Path, lock: int) -> None:
    """Install the checkout itself, editable."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--editable", str(root)]
    pip("this project", root, options, lock)


def pip(title: str, root: Path, options: Sequence[str], lock: int) -> None:
    """Run the environment's pip, with the user's mirrors and certificates but not their targets."""
    environment = root / ".venv"
    command = [str(environment / "bin" / "python"), "-I", "-m", "pip", "install", "--no-input"]
    quiet = ["--disable-pip-version-check", "--progress-bar", "off"]
    step(title, [*command, *quiet, *options], environment, lock)


def compile_bytecode(root: Path, lock: int) -> None:
    """Compile all packages on all cores; their own tests are never imported."""
    environment = root / ".venv"
    packages = next((environment / "lib").glob("python3*/site-packages"))
    skipped = r"[/\\]tests?[/\\]"
    options = ["-m", "compileall", "-q", "-q", "-j", "0", "-x", skipped, str(packages)]
    command = [str(environment / "bin" / "python"), "-I", *options]
    # A package may ship files for other Python versions, which do not compile: no fault of ours.
    step("bytecode", command, environment, lock, check=False)


def step(
    title: str, command: Sequence[str], environment: Path, lock: int, *, check: bool = True
) -> None:
    """Run one command of the set-up, its output kept in ``.venv/.her2/setup.log``."""
    tell(f"  {time.monotonic() - STARTED:3.0f} s  {title}")
    log = environment / ".her2" / "setup.log"
    with log.open("ab") as file:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=clean_environment(),
            pass_fds=[lock],
            check=False,
        )
    if check and done.returncode:
        lines = log.read_text(errors="replace").splitlines()
        tail = "\n".join(f"    {line}" for line in lines[-8:])
        raise SetUpError(
            f"Set-up failed at '{title}' (exit {done.returncode}):\n{tail}\n"
            f"  whole log: {log}\n"
            "  remedy: check the network, proxy and disk, then call again; it starts anew by itself"
        )


def clean_environment() -> Environment:
    """Process environment without the settings that would install somewhere else."""
    dropped = {"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_HASHES", "PIP_CONSTRAINT"}
    dropped |= {"PIP_NO_BUILD_ISOLATION", "PIP_DRY_RUN", "PIP_NO_BINARY", "PYTHONDONTWRITEBYTECODE"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"PIP_USER": "0"}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the lock of this checkout; yields its file descriptor, for children to inherit."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("Waiting for another set-up of this checkout ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as failure:
            tell(f"This disk has no locks ({failure.strerror}): start one set-up at a time.")
        yield file.fileno()


def this_python() -> str:
    """Path of the interpreter itself, free of the links that an upgrade would turn."""
    return str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())


def read(path: Path) -> bytes | None:
    """Content of a file, or None where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_bytes(content)
    draft.replace(path)


def tell(message: str) -> None:
    """Tell the user, on stderr."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

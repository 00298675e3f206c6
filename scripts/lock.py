"""Resolve the dependencies and write requirements/*.txt (needs uv).

One file for the package itself and one for each group and extra, each universal (Linux and macOS,
every supported Python), with the hashes of all published files and without any address.
Versions already locked are kept where pyproject.toml still allows them, unless --upgrade.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from her2bayes.cli import log, out, run
from her2bayes.errors import BadInput, Fault, raise_if

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
OLDEST_PYTHON = "3.12"

LOCKS = {
    "base": (("project", "dependencies"), ()),
    "build": (("dependency-groups", "build"), ("base",)),
    "test": (("dependency-groups", "test"), ("base", "build")),
    "browser": (("dependency-groups", "browser"), ("base", "build", "test")),
    "lint": (("dependency-groups", "lint"), ("base", "build", "test")),
    "spark": (("project", "optional-dependencies", "spark"), ("base",)),
}
"""Lock file -> its place in pyproject.toml, and the locks whose versions it keeps."""


def main(
    upgrade: Annotated[bool, typer.Option(help="Take the newest versions allowed.")] = False,
) -> None:
    uv = shutil.which("uv")
    if uv is None:
        raise BadInput(Fault("uv is not on PATH", remedy="install uv, then call again"))
    FOLDER.mkdir(exist_ok=True)
    for name, (place, keeps) in LOCKS.items():
        log.print(f"Resolving {name} ...")
        resolve(uv, name, requirements(place), keeps, upgrade)
        raise_if(addresses(FOLDER / f"{name}.txt"))
        out.print(f"requirements/{name}.txt")


def requirements(place: Sequence[str]) -> list[str]:
    """Read the requirements that pyproject.toml lists at one place."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        table: Any = tomllib.load(file)
    for key in place:
        table = table[key]
    return list(table)


def resolve(uv: str, name: str, wanted: Sequence[str], keeps: Sequence[str], upgrade: bool) -> None:
    """Write one lock file; the versions it has are kept unless ``upgrade``."""
    command = [uv, "pip", "compile", "-", "--no-config", "--quiet"]
    command += ["--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate"]
    command += ["--output-file", f"requirements/{name}.txt"]
    for kept in keeps:
        command += ["--constraint", f"requirements/{kept}.txt"]
    if upgrade:
        command.append("--upgrade")
    # Hashes must be those of the published files, so a machine's own mirrors and folders stay out.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("UV_")}
    done = subprocess.run(
        command, input="\n".join(wanted), text=True, cwd=ROOT, env=environment, check=False
    )
    if done.returncode:
        remedy = "read uv's message above, mend pyproject.toml"
        raise BadInput(Fault(f"no resolution for {name}", remedy=remedy))


def addresses(path: Path) -> list[Fault]:
    """Lines of a lock file that hold an address."""
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    remedy = "depend on a released version"
    return [
        Fault("an address in a lock file", file=path, row=row, value=line, remedy=remedy)
        for row, line in lines
        if "://" in line
        or line.startswith(("--index", "--extra-index", "--find-links", "-i ", "-f "))
    ]


if __name__ == "__main__":
    run(main)

"""What ``scripts/run`` lists, refuses, and hands to a script."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .checkout import Checkout


def test_lists_scripts_without_an_environment(checkout: Checkout) -> None:
    checkout.script("one", '#!/usr/bin/env python3\n# comment\n\n"""One line."""\n')
    checkout.script("raw", "r'''\n\n  Opens late.\n\nRest.'''\n")
    checkout.script("bare", "import os\n")
    checkout.script("_hidden", '"""Hidden."""\n')
    code, out, err = checkout.run()
    lines = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  ")]
    assert (code, err) == (0, "")
    assert lines == [
        ["bare"],
        ["completion", "Print Tab completion for bash and zsh."],
        ["lint", "Check style and types."],
        ["one", "One line."],
        ["raw", "Opens late."],
        ["show", "Show what arrives."],
        ["test", "Run the tests; ARGS go to pytest."],
    ]
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize("name", ["nix", "../show", "sub/show", "show.py", "_environment", "run"])
def test_unknown_names_are_refused_with_the_known_ones(checkout: Checkout, name: str) -> None:
    checkout.pyenv("3.13.0")
    code, out, err = checkout.run(name)
    assert (code, out) == (2, "")
    known = "completion lint show test "
    assert err.splitlines() == [f"There is no script named '{name}'. There are: {known}"]
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize("arguments", [("--python",), ("--nix", "show")])
def test_bad_options_are_refused(checkout: Checkout, arguments: tuple[str, ...]) -> None:
    assert checkout.run(*arguments)[0] == 2


@pytest.mark.parametrize("code", [0, 1, 2, 3, 130])
def test_exit_codes_and_arguments_pass_through(ready: Checkout, code: int) -> None:
    ready.script("end", "import sys\nprint(sys.argv[2:])\nsys.exit(int(sys.argv[1]))\n")
    answer = ready.run("end", str(code), "two words", "", "--python", "*", "--")
    assert answer == (code, "['two words', '', '--python', '*', '--']\n", "")


def test_a_script_keeps_the_callers_folder_and_input(ready: Checkout) -> None:
    ready.script("here", "import os, sys\nprint(os.getcwd(), sys.path[0], sys.stdin.read())\n")
    done = subprocess.run(
        [str(ready.bin / "bash"), "scripts/run", "here"],
        env=ready.environ(),
        cwd=ready.root,
        input="typed",
        text=True,
        capture_output=True,
        check=True,
    )
    folder, first, typed = done.stdout.replace(str(ready.root), "ROOT").split()
    assert (folder, typed) == ("ROOT", "typed")
    assert first != "ROOT/scripts"  # so that no file of ours or theirs shadows a package


def test_bytecode_is_kept_and_foreign_paths_are_not(ready: Checkout) -> None:
    extra = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": "/nix", "PYTHONHOME": "/nix"}
    code, out, _ = ready.run("show", **extra)
    assert code == 0
    assert not [name for name in extra if name in out]


@pytest.mark.parametrize("home", ["", "/nonexistent/home"])
def test_works_without_a_home(ready: Checkout, home: str) -> None:
    code, out, _ = ready.run("show", HOME=home)
    assert code == 0
    assert f"'HOME': '{ready.root}/.venv/home'" in out
    assert (ready.root / ".venv" / "home").is_dir()


def test_reached_through_a_link(ready: Checkout) -> None:
    link = ready.folder / "link"
    link.symlink_to(Path("check out") / "scripts" / "run")
    done = subprocess.run([ready.bin / "bash", link, "show"], env=ready.environ(), check=False)
    assert done.returncode == 0
    assert ready.steps() == []

"""When ``scripts/run`` makes, adds to, repairs and re-uses its environment."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .checkout import FULL, PATIENCE, Checkout


def test_a_second_call_installs_nothing_and_costs_little(ready: Checkout) -> None:
    ready.script("nothing", "")
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ready.run("nothing") == (0, "", "")
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ready.steps() == []
    # Processor time: the clock's would measure what else the machine is doing.
    assert ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime < 0.5


def test_a_changed_lock_makes_the_environment_anew(ready: Checkout) -> None:
    stale = ready.root / ".venv" / "lib" / "stale"
    stale.touch()
    (ready.root / "requirements" / "build.txt").write_text("build==2 --hash=sha256:0\r\n")
    assert ready.run("show")[0] == 0
    assert ready.steps() == FULL
    assert not stale.exists()
    assert ready.run("show")[0] == 0
    assert ready.steps() == []


def test_the_tests_packages_are_added_on_demand(ready: Checkout) -> None:
    added = ["pip test.txt", "pip done", "compile"]
    (ready.root / "pytest.py").write_text("raise SystemExit(9)\n")  # must not be what runs
    code, out, _ = ready.run("test", "--version")
    assert (code, out[:7]) == (0, "pytest ")
    assert ready.steps() == added
    assert ready.run("test", "--version")[0] == 0
    assert ready.run("show")[0] == 0
    assert ready.steps() == []
    (ready.root / "requirements" / "test.txt").write_text("test==2 --hash=sha256:0\n")
    assert ready.run("show")[0] == 0
    assert ready.steps() == []
    assert ready.run("test", "--version")[0] == 0
    assert ready.steps() == added


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_a_moved_or_copied_checkout_makes_its_own(
    ready: Checkout, move: Callable[[Path, Path], object]
) -> None:
    there = ready.folder / "there"
    move(ready.root, there)
    ready.root = there
    assert ready.run("show")[0] == 0
    assert ready.steps()[0] == "venv"
    assert (there / ".venv" / ".her2" / "root").read_text() == str(there)


def test_an_environment_whose_python_has_gone_is_made_anew(ready: Checkout) -> None:
    (ready.root / ".venv" / "bin" / "python").unlink()
    assert ready.run("show")[0] == 0
    assert ready.steps() == FULL


def test_a_foreign_environment_is_moved_aside_not_deleted(checkout: Checkout) -> None:
    checkout.pyenv("3.13.0")
    (checkout.root / ".venv").mkdir()
    (checkout.root / ".venv" / "mine").touch()
    code, _, err = checkout.run("show")
    assert code == 0
    assert "was not made by scripts/run" in err
    assert len(list(checkout.root.glob(".venv.aside-*/mine"))) == 1


def test_a_failed_installation_says_so_and_is_tried_again(checkout: Checkout) -> None:
    checkout.pyenv("3.13.0")
    (checkout.control / "broken").touch()
    code, out, err = checkout.run("show")
    assert (code, out) == (1, "")
    assert "Set-up failed at 'packages: base (1)' (exit 1)" in err
    assert "no route to anywhere" in err
    assert "setup.log" in err
    (checkout.control / "broken").unlink()
    checkout.steps()
    assert checkout.run("show")[0] == 0
    assert checkout.steps() == FULL


def test_an_addition_that_fails_leaves_the_environment_usable(ready: Checkout) -> None:
    (ready.control / "broken").touch()
    assert ready.run("test", "--version")[0] == 1
    ready.steps()
    assert ready.run("show")[0] == 0
    assert ready.steps() == []


def test_a_missing_lock_file_is_named(checkout: Checkout) -> None:
    checkout.pyenv("3.13.0")
    (checkout.root / "requirements" / "build.txt").unlink()
    code, _, err = checkout.run("show")
    assert code == 1
    assert "requirements/build.txt is missing" in err


def kill(call: subprocess.Popen[str], how: signal.Signals) -> str:
    """Send a signal to a call and all it started; returns its stderr."""
    os.killpg(call.pid, how)
    return call.communicate(timeout=PATIENCE)[1]


def test_a_killed_set_up_repairs_itself(held: Checkout) -> None:
    call = held.start("show")
    held.wait_until_installing()
    kill(call, signal.SIGKILL)
    half = held.root / ".venv" / "lib" / "half"
    half.touch()
    held.release()
    held.steps()
    code, _, err = held.run("show")
    assert code == 0, err
    assert held.steps() == FULL
    assert not half.exists()


def test_a_killed_addition_repairs_itself(ready: Checkout) -> None:
    ready.hold()
    call = ready.start("test", "--version")
    ready.wait_until_installing()
    kill(call, signal.SIGKILL)
    ready.release()
    ready.steps()
    assert ready.run("show")[0] == 0
    assert ready.steps() == FULL


def test_ctrl_c_ends_a_set_up_cleanly(held: Checkout) -> None:
    call = held.start("show")
    held.wait_until_installing()
    err = kill(call, signal.SIGINT)
    assert call.returncode == 130
    assert err.splitlines()[-1] == "Set-up interrupted; the next call starts it again."
    held.release()
    assert held.run("show")[0] == 0


WAITING = "Waiting for another set-up of this checkout ...\n"


def first_line(call: subprocess.Popen[str]) -> str:
    """Wait for the first line a call tells the user."""
    assert call.stderr is not None
    return call.stderr.readline()


def test_calls_at_once_make_one_environment(held: Checkout) -> None:
    calls = [held.start("show")]
    held.wait_until_installing()
    calls += [held.start("show"), held.start("show")]
    assert [first_line(call) for call in calls[1:]] == [WAITING, WAITING]
    held.release()
    for call in calls:
        call.communicate(timeout=PATIENCE)
    assert [call.returncode for call in calls] == [0, 0, 0]
    assert held.steps() == FULL


def test_an_orphan_of_a_killed_set_up_is_waited_for(held: Checkout) -> None:
    call = held.start("show")
    held.wait_until_installing()
    os.kill(int((held.control / "pid").read_text()), signal.SIGKILL)
    call.communicate(timeout=PATIENCE)
    second = held.start("show")
    assert first_line(second) == WAITING
    held.release()
    second.communicate(timeout=PATIENCE)
    assert second.returncode == 0
    assert held.steps() == ["venv", "pip base.txt", "pip done", *FULL]

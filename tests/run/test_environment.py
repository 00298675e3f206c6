"""When ``scripts/run`` makes, adds to, repairs and re-uses its environment."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .checkout import FULL, Checkout


def test_a_second_call_installs_nothing_and_costs_little(ready: Checkout) -> None:
    ready.script("nothing", "")
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        assert ready.run("nothing") == (0, "", "")
        took.append(time.perf_counter() - begun)
    assert ready.steps() == []
    assert min(took) < 1


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


def test_a_killed_set_up_repairs_itself(slow: Checkout) -> None:
    call = slow.start("show")
    slow.wait_until_installing()
    os.killpg(call.pid, signal.SIGKILL)
    call.communicate(timeout=20)
    half = slow.root / ".venv" / "lib" / "half"
    half.touch()
    slow.slow(0)
    slow.steps()
    code, _, err = slow.run("show")
    assert code == 0, err
    assert slow.steps() == FULL
    assert not half.exists()


def test_a_killed_addition_repairs_itself(ready: Checkout) -> None:
    ready.slow(20)
    call = ready.start("test", "--version")
    ready.wait_until_installing()
    os.killpg(call.pid, signal.SIGKILL)
    call.communicate(timeout=20)
    ready.slow(0)
    ready.steps()
    assert ready.run("show")[0] == 0
    assert ready.steps() == FULL


def test_ctrl_c_ends_a_set_up_cleanly(slow: Checkout) -> None:
    call = slow.start("show")
    slow.wait_until_installing()
    os.killpg(call.pid, signal.SIGINT)
    _, err = call.communicate(timeout=20)
    assert call.returncode == 130
    assert err.splitlines()[-1] == "Set-up interrupted; the next call starts it again."
    slow.slow(0)
    assert slow.run("show")[0] == 0


def test_two_calls_at_once_make_one_environment(checkout: Checkout) -> None:
    checkout.pyenv("3.13.0")
    checkout.slow(0.3)
    calls = [checkout.start("show") for _ in range(3)]
    answers = [call.communicate(timeout=60) for call in calls]
    assert [call.returncode for call in calls] == [0, 0, 0]
    assert checkout.steps() == FULL
    assert sum("Waiting for another set-up" in err for _, err in answers) == 2


def test_an_orphan_of_a_killed_set_up_is_waited_for(slow: Checkout) -> None:
    slow.slow(2)
    call = slow.start("show")
    slow.wait_until_installing()
    os.kill(int((slow.control / "pid").read_text()), signal.SIGKILL)
    call.communicate(timeout=20)
    slow.slow(0)
    code, _, err = slow.run("show")
    assert code == 0
    assert "Waiting for another set-up" in err
    assert slow.steps() == ["venv", "pip base.txt", "pip done", *FULL]

"""What is waited for: words at the right time, durations kept whole, silence without a listener.

Time is the test's: a listener's ``tick`` is called with invented clocks, and no test waits.
"""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from her2bayes.inference import progress
from her2bayes.inference.progress import QUIET, SOON, _Ear, _keep, durations, expected, waiting


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTENSOR_FLAGS", f"floatX=float64,base_compiledir={tmp_path / 'cache'}")
    return tmp_path / "cache"


@pytest.fixture
def ear() -> Iterator[tuple[_Ear, list[str]]]:
    """A listener without the thread that ticks."""
    said: list[str] = []
    one = _Ear(said.append)
    progress._ears.append(one)
    yield one, said
    progress._ears.remove(one)


def test_a_step_is_named_soon_and_again_before_a_silence_is_long(
    ear: tuple[_Ear, list[str]],
) -> None:
    one, said = ear
    with waiting("compiling", "a_model") as step:
        for second in range(40):
            one.tick(step.start + second)
    assert SOON <= 3
    assert QUIET < 10
    assert said == [
        "compiling a_model", "still compiling a_model, 11 s", "still compiling a_model, 20 s",
        "still compiling a_model, 29 s", "still compiling a_model, 38 s", "",
    ]  # fmt: skip


def test_a_step_known_to_be_long_is_named_at_once_with_its_time(
    ear: tuple[_Ear, list[str]],
) -> None:
    one, said = ear
    _keep("compiling a_model", 14.2)
    with waiting("compiling", "a_model") as step:
        assert said == ["compiling a_model, about 14 s"]
        one.tick(step.start + 11)
        one.tick(step.start + 25)
    assert said[1:] == [
        "still compiling a_model, 11 s of about 14 s", "still compiling a_model, 25 s", ""
    ]  # fmt: skip


def test_a_short_step_is_not_named_and_the_one_around_it_goes_on(
    ear: tuple[_Ear, list[str]],
) -> None:
    one, said = ear
    with waiting("fitting", "a_study") as outer:
        one.tick(outer.start + 2)
        with waiting("sampling", "a_model") as inner:
            one.tick(inner.start + 1)
        one.tick(outer.start + 13)
    assert said == ["fitting a_study", "still fitting a_study, 13 s", ""]


def test_nothing_is_said_soon_after_the_user_heard_something_else(
    ear: tuple[_Ear, list[str]],
) -> None:
    one, said = ear
    with waiting("running", "a_script") as step:
        one.last = step.start + 1.5  # as ``spoke`` sets it
        one.tick(step.start + 3)
        assert said == []
        one.tick(step.start + 11.6)
    assert said == ["running a_script", ""]


def test_the_time_expected_is_that_of_the_runs_that_lasted_longer() -> None:
    warm_and_cold = [1.0, 1.2, 14.0, 1.1, 16.0]
    assert expected(warm_and_cold, 0.0) == 1.2
    assert expected(warm_and_cold, 2.0) == 14.0
    assert expected(warm_and_cold, 20.0) is None
    assert expected([], 0.0) is None


def test_only_the_last_durations_are_kept_and_short_steps_leave_none(folder: Path) -> None:
    for spent in range(20):
        _keep("sampling a_model", float(spent))
    assert durations()["sampling a_model"] == [float(s) for s in range(20 - progress.KEPT, 20)]
    with waiting("sampling", "another"):
        pass
    assert "sampling another" not in durations()
    assert [path.name for path in folder.iterdir()] == [progress.FILE]


def test_a_step_that_fails_or_is_not_to_be_remembered_leaves_no_duration(
    ear: tuple[_Ear, list[str]],
) -> None:
    one, _ = ear

    def fail() -> None:
        with waiting("sampling", "a") as step:
            one.tick(step.start + 5)
            raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        fail()
    with waiting("running", "b", remember=False) as step:
        one.tick(step.start + 5)
    assert durations() == {}
    assert progress._steps == []


@pytest.mark.parametrize(
    "content", [b"{", b"\xff\xfe", b"[1]", b'{"a": 3}', b'{"a": ["x"]}', b'{"a": [null]}', b""]
)
def test_a_file_that_cannot_be_read_is_ignored_and_replaced(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / progress.FILE).write_bytes(content)
    assert durations() == {}
    _keep("sampling a", 3.0)
    assert durations() == {"sampling a": [3.0]}


def test_a_folder_that_cannot_be_written_is_not_missed(folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    _keep("sampling a", 3.0)
    assert durations() == {}


def test_writers_at_once_leave_a_whole_file(folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda k: _keep(f"sampling {k % 4}", float(k)), range(80)))
    found = json.loads((folder / progress.FILE).read_text("utf-8"))
    assert found
    assert set(found) <= {f"sampling {k}" for k in range(4)}
    assert [path.name for path in folder.iterdir()] == [progress.FILE]


def test_without_a_listener_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    _keep("compiling a", 14.0)
    with waiting("compiling", "a"):
        pass
    assert capfd.readouterr() == ("", "")


def test_lines_where_no_terminal_is_and_a_moving_line_where_one_is() -> None:
    plain = Console(file=io.StringIO(), width=200)
    terminal = Console(file=io.StringIO(), width=200, force_terminal=True)
    for console in (plain, terminal):
        for _ in range(progress.KEPT):
            _keep("compiling [a]", 14.0)
        with progress.shown(console), waiting("compiling", "[a]"):
            pass
    assert plain.file.getvalue() == "   0 s  compiling [a], about 14 s\n"  # type: ignore[attr-defined]
    assert "compiling [a], about 14 s" in terminal.file.getvalue()  # type: ignore[attr-defined]
    assert terminal.file.getvalue().endswith("\x1b[2K")  # type: ignore[attr-defined]


def test_progress_true_speaks_on_stderr_and_keeps_the_signature(
    capfd: pytest.CaptureFixture[str],
) -> None:
    @progress.told
    def fit(data: int, *, progress: bool = False) -> int:
        with waiting("compiling", "a"):
            return data

    _keep("compiling a", 14.0)
    assert fit(3) == 3
    assert capfd.readouterr() == ("", "")
    assert fit(4, progress=True) == 4
    out, err = capfd.readouterr()
    assert out == ""
    assert "compiling a, about 14 s" in err
    assert list(inspect.signature(fit).parameters) == ["data", "progress"]


def test_the_inner_listener_hears_alone_and_the_outer_one_again_afterwards() -> None:
    for _ in range(3):
        _keep("compiling a", 14.0)
    outer: list[str] = []
    inner: list[str] = []
    with progress.hearing(outer.append):
        with progress.hearing(inner.append), waiting("compiling", "a"):
            pass
        assert outer == []
        with waiting("compiling", "a"):
            pass
    assert inner == outer == ["compiling a, about 14 s", ""]


def test_what_is_said_while_waiting_is_no_part_of_what_code_means() -> None:
    from her2bayes.inference.meaning import _named

    start = _named("her2bayes.inference.progress:waiting")  # a definition if asked for by name
    assert start.uses
    user = _named("her2bayes.reproduce.parallel:_work")
    assert not any(used.file.path.name == "progress.py" for used in user.uses)

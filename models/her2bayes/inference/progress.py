"""What is being waited for, in words, with the time that it took before.

``with waiting("compiling", "her2_distribution"):`` names a step. Whoever wants to hear of steps
stands around them with ``hearing(say)``: a script, a worker that passes words on, a notebook.
Without a listener nothing is said. Durations are kept in a small file in the folder of the compile
cache; a file that cannot be read is ignored, and one that cannot be written is not missed.
"""

from __future__ import annotations

import functools
import json
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low
from time import monotonic
from typing import Any

Say = Callable[[str], object]

SOON = 2.0  # a step that lasts longer is named
QUIET = 9.0  # the longest silence, seconds: below ten with what it takes to say it
KEPT = 8  # durations kept of a step
FILE = "her2bayes_durations.json"


@dataclass(eq=False)
class Step:
    """Something that takes time; its ``text`` may be changed while it lasts."""

    text: str
    known: list[float] = field(default_factory=list)
    start: float = field(default_factory=monotonic)
    said: bool = False

    def words(self, now: float) -> str:
        """What is done, for how long, and how long it took before."""
        spent = now - self.start
        left = expected(self.known, spent)
        if not self.said:
            return self.text + (f", about {left:.0f} s" if left else "")
        return f"still {self.text}, {spent:.0f} s" + (f" of about {left:.0f} s" if left else "")


class _Ear:
    """A listener; ``tick`` tells it of the innermost step: soon, then before a silence is long."""

    def __init__(self, say: Say) -> None:
        self.say, self.last, self.lock = say, monotonic(), threading.Lock()

    def tick(self, now: float, *, at_once: bool = False) -> None:
        with self.lock:
            if not (steps := _steps[-1:]):
                return
            step = steps[0]
            first = not step.said and (
                at_once or (now - step.start >= SOON and self.last <= step.start)
            )
            if first or now - self.last >= QUIET:
                self.last = now
                self.say(step.words(now))
                step.said = True


_steps: list[Step] = []
_ears: list[_Ear] = []


@contextmanager
def hearing(say: Say) -> Iterator[None]:
    """Tell ``say`` of steps in words, and with "" that one is over; an inner listener takes over.

    ``say`` is called from another thread too.
    """
    ear, over = _Ear(say), threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            if _ears[-1:] == [ear]:
                ear.tick(monotonic())

    watcher = threading.Thread(target=watch, daemon=True)
    _ears.append(ear)
    watcher.start()
    try:
        yield
    finally:
        _ears.remove(ear)
        over.set()
        watcher.join()


@contextmanager
def waiting(doing: str, of: str, *, remember: bool = True) -> Iterator[Step]:
    """Name a step while it lasts; how long it took is kept for the next time."""
    name = f"{doing} {of}".strip()
    step = Step(name, durations().get(name, []) if remember and _ears else [])
    _steps.append(step)
    if _ears and (expected(step.known, 0.0) or 0.0) > SOON:
        _ears[-1].tick(monotonic(), at_once=True)
    try:
        yield step
    finally:
        _steps.remove(step)
        if _ears and step.said:
            _ears[-1].say("")
    spent = monotonic() - step.start
    if remember and (step.said or spent > SOON / 4):
        _keep(name, spent)


def spoke() -> None:
    """Note that the listener's user has just been told something else."""
    for ear in _ears:
        ear.last = monotonic()


def expected(known: list[float], spent: float) -> float | None:
    """Middle one of the earlier durations that are not over yet.

    A step takes a second with a full compile cache and fourteen without: after two seconds only the
    fourteen are left.
    """
    longer = [value for value in known if value > spent]
    return median_low(longer) if longer else None


def durations() -> dict[str, list[float]]:
    """Durations of earlier steps, the last one last."""
    try:
        found = json.loads((_folder() / FILE).read_text("utf-8"))
        return {str(name): [float(v) for v in values][-KEPT:] for name, values in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(name: str, spent: float) -> None:
    """Add a duration; of two processes at once the later one's file stays, whole."""
    known = durations()
    known[name] = [*known.get(name, []), round(spent, 2)][-KEPT:]
    try:
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix=FILE, delete=False) as file:
            file.write(json.dumps(known, indent=1))
        os.replace(file.name, folder / FILE)
    except OSError:
        return


def _folder() -> Path:
    """Folder of PyTensor's compile cache, known without importing PyTensor."""
    given = re.search(r"\bbase_compiledir=([^,]+)", os.environ.get("PYTENSOR_FLAGS", ""))
    return Path(given[1].strip()).expanduser() if given else Path.home() / ".pytensor"


@contextmanager
def shown(console: Any) -> Iterator[None]:
    """Show steps on a rich console: one moving line on a terminal, else lines."""
    if not console.is_terminal:
        start = monotonic()

        def line(text: str) -> None:
            if text:
                console.print(f"{monotonic() - start:4.0f} s  {text}", markup=False, soft_wrap=True)

        with hearing(line):
            yield
        return
    moving = _MovingLine(console)
    try:
        with hearing(moving):
            yield
    finally:
        moving("")


class _MovingLine:
    """A line of a terminal that moves while a step lasts and then goes away."""

    def __init__(self, console: Any) -> None:
        self.console, self.lock = console, threading.Lock()
        self.display: Any = None

    def __call__(self, text: str) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        with self.lock:
            if self.display and text:
                self.display.update(self.display.task_ids[0], description=text)
            elif self.display:
                self.display.stop()
                self.display = None
            elif text:
                words = TextColumn("{task.description}", markup=False)
                columns = (SpinnerColumn(), words, TimeElapsedColumn())
                self.display = Progress(*columns, console=self.console, transient=True)
                self.display.add_task(text, total=None)
                self.display.start()


def told[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Let ``progress=True`` show, on stderr, what the function waits for."""

    @functools.wraps(function)
    def heard(*args: P.args, **kwargs: P.kwargs) -> R:
        if not kwargs.get("progress") or _ears:
            return function(*args, **kwargs)
        from rich.console import Console

        console, name = Console(stderr=True, highlight=False), function.__name__
        with shown(console), waiting("running", name, remember=False):
            return function(*args, **kwargs)

    return heard

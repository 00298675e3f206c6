"""All analyses of all studies in two processes, with messages while they run."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from her2bayes.errors import BadInput
from her2bayes.inference.progress import hearing, spoke, waiting
from her2bayes.inference.sampling import Settings
from her2bayes.page.report import Outcome, Part
from her2bayes.reproduce import build
from her2bayes.reproduce.provenance import unchanged

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.reproduce.build import Family

Watch = Callable[[str, str], None]
Job = tuple["Study", "Family"]
WORKERS = 2
LONGEST_FIRST = (
    "transition",
    "distribution",
    "response",
    "adverse_events",
    "reconstructed_survival",
)
"""Families by the time they take, so that both workers end together."""


def build_studies(
    studies: Sequence[Study], out: Path, settings: Settings, watch: Watch
) -> list[Outcome]:
    """Write the report of every study; ``watch(study id, text)`` is told what is being done.

    A single analysis runs in this process, several in ``WORKERS`` others, which end with this one.
    No number depends on the number of processes. A report that is there and would come out the same
    (``unchanged``) is left alone. Raises ``BadInput`` before the first draw for
    folders that cannot take a report.
    """
    build.check_folders(studies, out)
    known = {s.id: unchanged(s, out / s.id, settings.sampling, build.FAMILIES) for s in studies}
    for name, record in known.items():
        if record is not None:
            watch(name, build.UNCHANGED)
    fresh = [s for s in studies if known[s.id] is None]
    made = {outcome.folder.name: outcome for outcome in _built(fresh, out, settings, watch)}
    return [
        made[s.id] if record is None else build.outcome(out / s.id, record)
        for s, record in zip(studies, known.values(), strict=True)
    ]


def _built(studies: Sequence[Study], out: Path, settings: Settings, watch: Watch) -> list[Outcome]:
    jobs = [(s, family) for s in studies for family in build.FAMILIES if family.applies(s)]
    if len(jobs) > 1:
        parts = _in_workers(jobs, out, settings, watch)
    else:
        parts = [_work(job, out, settings, watch) for job in jobs]
    done = list(zip(jobs, parts, strict=True))
    outcomes = []
    for study in studies:
        parts = [part for (of, _), part in done if of is study]
        absent = build.absent([part.family for part in parts])
        say = partial(watch, study.id)
        outcomes.append(
            build.write_study(study, parts, out / study.id, settings, say, absent=absent)
        )
    return outcomes


def _in_workers(jobs: Sequence[Job], out: Path, settings: Settings, watch: Watch) -> list[Part]:
    context = multiprocessing.get_context("spawn")
    inbox = context.Queue()
    pool = ProcessPoolExecutor(WORKERS, context, initializer=_start, initargs=(inbox,))
    order = sorted(range(len(jobs)), key=lambda k: LONGEST_FIRST.index(jobs[k][1].name))
    try:
        with _listening(inbox, watch):
            with _without_interrupts():
                futures = {k: pool.submit(_remote, jobs[k], out, settings) for k in order}
            return [_result(futures[k]) for k in range(len(jobs))]
    except BaseException:
        # also on Ctrl-C: nobody waits for a fit that nobody wants any more
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start workers that ignore Ctrl-C from their first line on, before they can say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _result(future: Future[Any]) -> Part:
    try:
        kind, content = future.result()
    except BrokenProcessPool as error:
        raise RuntimeError("a worker process ended unexpectedly (out of memory?)") from error
    if kind == "bad input":
        raise BadInput(content)
    if kind == "fault":
        raise RuntimeError(f"in a worker process: {content}")
    part: Part = content
    return part


@contextmanager
def _listening(inbox: Any, watch: Watch) -> Iterator[None]:
    def listen() -> None:
        while (message := inbox.get()) is not None:
            watch(*message)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        inbox.put(None)
        listener.join()


_inbox: Any = None  # where the messages of a worker go; set once, when it starts


def _start(inbox: Any) -> None:
    global _inbox
    _inbox = inbox
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is gone, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _remote(job: Job, out: Path, settings: Settings) -> tuple[str, Any]:
    """Run in a worker; faults travel as plain values, since not every exception can be pickled."""
    try:
        return "done", _work(job, out, settings, lambda name, text: _inbox.put((name, text)))
    except BadInput as fault:
        return "bad input", fault.faults
    except Exception:  # the parent raises it again with this text
        return "fault", traceback.format_exc()


def _work(job: Job, out: Path, settings: Settings, watch: Watch) -> Part:
    study, family = job
    # PyMC names the variables of every prior draw on stderr
    logging.getLogger("pymc.sampling.forward").setLevel(logging.WARNING)

    def say(text: str) -> None:
        spoke()
        watch(study.id, text)

    with (
        hearing(lambda text: watch(study.id, text) if text else None),
        waiting(family.label, ""),
    ):
        return build.analyse(study, family, out, settings, say)

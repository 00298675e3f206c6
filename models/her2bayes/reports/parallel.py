"""Reports of several studies at once, each in its own process, with messages while they run."""

from __future__ import annotations

import logging
import multiprocessing
import queue
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from her2bayes.errors import BadInput
from her2bayes.reports.build import Outcome, Settings, build_study

if TYPE_CHECKING:
    from her2bayes.evidence.study import Study

Watch = Callable[[str, str], None]
WORKERS = 2


def build_studies(
    studies: Sequence[Study], out: Path, settings: Settings, watch: Watch
) -> list[Outcome]:
    """Build the report of every study; ``watch(study id, text)`` is told what is being done.

    One study is built in this process, several in up to ``WORKERS`` others, which end with this
    one. The numbers do not depend on the number of processes. The first failure is raised after
    the other studies are finished: ``BadInput`` as it is, anything else as ``RuntimeError`` with
    the worker's traceback.
    """
    if len(studies) == 1:
        return [_build(studies[0], out, settings, watch)]
    context = multiprocessing.get_context("spawn")
    inbox = context.Queue()
    waiting, running, results = list(studies), dict[str, BaseProcess](), dict[str, Any]()
    try:
        while waiting or running:
            while waiting and len(running) < WORKERS:
                study = waiting.pop(0)
                arguments = (study, out, settings, inbox)
                running[study.id] = context.Process(target=_work, args=arguments, daemon=True)
                running[study.id].start()
            _listen(inbox, running, results, watch)
    finally:
        for process in running.values():
            process.terminate()
            process.join()
    return [_result(results[study.id]) for study in studies]


def _listen(
    inbox: Any, running: dict[str, BaseProcess], results: dict[str, Any], watch: Watch
) -> None:
    """Take one message, or notice a worker that ended without a last word."""
    try:
        name, kind, content = inbox.get(timeout=1)
    except queue.Empty:
        for name, process in list(running.items()):
            if process.exitcode is not None:
                results[name] = ("fault", f"the process of {name} ended with {process.exitcode}")
                del running[name]
        return
    if kind == "say":
        watch(name, content)
        return
    results[name] = (kind, content)
    running.pop(name).join()


def _result(result: tuple[str, Any]) -> Outcome:
    kind, content = result
    if kind == "bad input":
        raise BadInput(content)
    if kind == "fault":
        raise RuntimeError(content)
    outcome: Outcome = content
    return outcome


def _work(study: Study, out: Path, settings: Settings, inbox: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this one

    def say(name: str, text: str) -> None:
        inbox.put((name, "say", text))

    try:
        inbox.put((study.id, "done", _build(study, out, settings, say)))
    except BadInput as fault:
        inbox.put((study.id, "bad input", fault.faults))
    except Exception:  # the parent raises it again with this text
        inbox.put((study.id, "fault", traceback.format_exc()))


def _build(study: Study, out: Path, settings: Settings, watch: Watch) -> Outcome:
    counter = _FitCounter(study.id, watch)
    # PyMC names the variables of every prior draw on stderr
    logging.getLogger("pymc.sampling.forward").setLevel(logging.WARNING)
    logger = logging.getLogger("her2bayes.inference.fit")
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(counter)
    try:
        return build_study(study, out, settings, counter.say)
    finally:
        logger.removeHandler(counter)
        logger.setLevel(before)


class _FitCounter(logging.Handler):
    """Pass on what is being done, with the number of fits that are ready."""

    def __init__(self, study: str, watch: Watch) -> None:
        super().__init__(logging.INFO)
        self.study, self.watch, self.doing, self.ready = study, watch, "", 0

    def say(self, doing: str) -> None:
        self.doing, self.ready = doing, 0
        self.watch(self.study, doing)

    def emit(self, record: logging.LogRecord) -> None:
        self.ready += 1
        self.watch(self.study, f"{self.doing}, fits ready: {self.ready}")

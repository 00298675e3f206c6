"""Many scenarios at once: worker processes of one thread each, here or on a cluster's scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from her2bayes.errors import BadInput
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.sensitivity import worker
from her2bayes.sensitivity.scenarios import STRUCTURE, Scenario
from her2bayes.sensitivity.target import Target
from her2bayes.sensitivity.worker import Job

Progress = Callable[[int, int, str], None]
"""Told of scenarios done, of all, and of what was done last."""


def jobs(
    targets: Sequence[Target],
    scenarios: Sequence[Sequence[Scenario]],
    sampling: Sampling,
    *,
    reweight: bool = True,
) -> list[Job]:
    """Jobs of every target, the reported analyses first."""
    found = []
    for place, (target, planned) in enumerate(zip(targets, scenarios, strict=True)):
        about = worker.identity(target, sampling)
        again = reweight and worker.specification(target, target.widest) is not None
        wide = worker.key(about, target.widest, "wide") if again else ""
        part = "reweight" if again else "refit"
        for of in dict.fromkeys(planned):
            here = wide if of.changes and target.scales_only(of) else ""
            found.append(Job(place, of, worker.key(about, of, part if here else "refit"), here))
    return sorted(found, key=lambda job: bool(job.scenario.changes))


def run(
    targets: Sequence[Target],
    planned: Sequence[Job],
    sampling: Sampling,
    folder: Path,
    client: Callable[[], Any],
    progress: Progress = lambda *_: None,
    fits: Store | None = None,
) -> Mapping[str, float]:
    """Do what is not stored yet; return seconds summed over workers (compile, sample, all).

    Closed forms are left to the caller. ``fits`` holds the fits of the page. ``client`` is asked
    for only where something is to do.
    Raises ``BadInput`` where a scenario's input is bad, ``RuntimeError`` with the worker's
    traceback for an internal fault.
    """
    store = Store(folder.resolve())
    with store.lock("run"):  # makes the folder, or says why it cannot be
        pass
    planned = [job for job in planned if not targets[job.target].closed_form]
    todo = [job for job in planned if not worker.is_stored(store, targets[job.target], job.key)]
    done = len(planned) - len(todo)
    seconds = dict.fromkeys(("compile", "sample", "all", "cpu", "scenarios"), 0.0)
    progress(done, len(planned), f"{done} found in the store" if done else "starting")
    if todo:
        for job, result in _remote(targets, todo, sampling, store, client(), fits):
            _told(result, seconds)
            done += 1
            progress(done, len(planned), f"{targets[job.target].name}: {job.scenario}")
    return seconds


def _remote(
    targets: Sequence[Target],
    todo: Sequence[Job],
    sampling: Sampling,
    store: Store,
    client: Any,
    fits: Store | None = None,
) -> Iterator[tuple[Job, tuple[str, Any]]]:
    from distributed import as_completed

    data = {place: client.scatter(targets[place], broadcast=True, hash=False)
            for place in dict.fromkeys(job.target for job in todo)}  # fmt: skip
    addresses = sorted(client.scheduler_info(n_workers=-1)["workers"])
    futures = {
        client.submit(
            worker.remote, job, data[job.target], sampling, store, fits, pure=False, retries=1,
            priority=-place, workers=_workers(targets[job.target], job.scenario, addresses),
        ): job
        for place, job in enumerate(todo)
    }  # fmt: skip
    for future in as_completed(list(futures)):
        yield futures[future], future.result()
        future.release()


def _workers(target: Target, of: Scenario, addresses: Sequence[str]) -> list[str] | None:
    """One worker for all scenarios of another model, so that it is compiled once; any, else."""
    kind = {axis.name: axis.kind for axis in target.axes}
    changed = [f"{name}={value}" for name, value in of.changes if kind[name] == STRUCTURE]
    if not changed or not addresses:
        return None
    return [addresses[int(sha256(repr(changed).encode()).hexdigest(), 16) % len(addresses)]]


def _told(result: tuple[str, Any], seconds: dict[str, float]) -> None:
    kind, content = result
    if kind == "bad input":
        raise BadInput(content)
    if kind == "fault":
        raise RuntimeError(f"in a worker process: {content}")
    for name in ("compile", "sample", "all", "cpu"):
        seconds[name] += float(content[name])
    seconds["scenarios"] += 1

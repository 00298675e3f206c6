"""Fits on a cluster whose scheduler and workers are processes of their own, started by command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.jobs import sample_model
from her2bayes.inference.sampling import cluster


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As docs/README.md says, on this machine: one scheduler, two workers of one thread."""
    space = tmp_path_factory.mktemp("cluster")
    file = space / "scheduler.json"
    common = [sys.executable, "-m", "dask"]
    calls = [
        [*common, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
         "--scheduler-file", str(file)],
        [*common, "worker", "--scheduler-file", str(file), "--nworkers", "2", "--nthreads", "1",
         "--memory-limit", "0", "--no-dashboard", "--local-directory", str(space)],
    ]  # fmt: skip
    scripts = Path(__file__).resolve().parents[2] / "scripts"  # the work stands there
    paths = [str(scripts), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with ExitStack() as stack:
        for call in calls:
            process = stack.enter_context(
                subprocess.Popen(
                    call, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            )
            stack.callback(process.terminate)
            until = time.monotonic() + 60
            while not file.exists():
                assert time.monotonic() < until, "the scheduler does not start"
                time.sleep(0.1)
        yield _address(file)


def _address(file: Path) -> str:
    import json

    return str(json.loads(file.read_text("utf-8"))["address"])


@pytest.mark.slow
def test_work_is_done_by_the_processes_of_the_cluster(address: str) -> None:
    with cluster(address) as client:
        client.wait_for_workers(2, timeout=60)
        done = set(client.gather(client.map(_where, range(20), pure=False)))
        assert os.getpid() not in done
        assert len(done) <= 2
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert [worker["nthreads"] for worker in workers] == [1, 1]


def _where(_: int) -> int:
    return os.getpid()


@pytest.mark.slow
def test_a_fit_on_the_cluster(address: str) -> None:
    with cluster(address) as client:
        found = client.submit(sample_model, "response", "nutpie", 100, 200).result(timeout=300)
    assert found["ess"] > 50

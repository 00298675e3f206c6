"""Worker processes of one thread each: here, or those of a cluster's scheduler."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from her2bayes.errors import BadInput, Fault

WORKERS = 2


@contextmanager
def cluster(scheduler: str = "", workers: int = WORKERS) -> Iterator[Any]:
    """Client of the scheduler at an address, or of local processes that end with this one.

    Raises ``BadInput`` where nothing answers at the address.
    """
    import dask
    from distributed import Client, LocalCluster

    if scheduler:
        try:
            client = Client(scheduler, timeout="10s")
        except (OSError, ValueError) as error:
            remedy = "start it with: dask scheduler; and workers that see the same --out folder"
            fault = Fault(f"no scheduler answers: {error}", value=scheduler, remedy=remedy)
            raise BadInput(fault) from error
        with client:
            yield client
        return
    with (
        tempfile.TemporaryDirectory(prefix="her2bayes-") as space,
        dask.config.set({"distributed.worker.daemon": True, "distributed.admin.log-length": 0}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # None still takes the default port
            local_directory=space,
            silence_logs="CRITICAL",  # a worker that is closed complains of its scheduler
            memory_limit=0,
        ) as local,
        Client(local) as client,
    ):
        yield client

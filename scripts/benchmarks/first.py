"""The time to the first posterior of a fresh process: compile cache empty, then full.

Wall and CPU seconds are those of the whole process: interpreter, imports, building, compiling and
drawing, one core each. What is compiled is looked for in a folder that is new for each sampler.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

PARTS = ("first posterior, cold", "first posterior, warm")
DESIGNS = ("survival of 1,000", "her2_distribution")
WHOLE = "workbench, predictions and densities too"
R_LABELS = {"brms": "brms (Stan)", "rstanarm": "rstanarm (Stan, compiled before)"}
ABSENT = "rstanarm has no model of several unordered classes"

Measure = Callable[[str, str, Path], dict[str, Any]]


def rows(
    engines: Mapping[str, str], python: Callable[..., dict[str, Any]], r: Measure | None
) -> Iterator[dict[str, Any]]:
    """Rows of each design and engine, cold and warm; ``python`` and ``r`` run one measurement."""
    for design in DESIGNS:
        for sampler, label in {**engines, "whole": WHOLE}.items():

            def job(space: Path, design: str = design, sampler: str = sampler) -> dict[str, Any]:
                arguments = {"design": design, "sampler": sampler}
                return python("first_posterior", environment=caches(space), **arguments)

            yield from _both(design, label, job)
        for name, label in R_LABELS.items() if r is not None else ():
            if name == "rstanarm" and design == "her2_distribution":
                for part in PARTS:
                    yield {"part": part, "subject": design, "engine": label, "note": ABSENT}
                continue

            def other(space: Path, name: str = name, design: str = design) -> dict[str, Any]:
                assert r is not None
                return r(name, design, space)

            yield from _both(design, label, other)


def _both(
    design: str, label: str, job: Callable[[Path], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="her2-benchmark-") as folder:
        for part in PARTS:
            found = timed(lambda: job(Path(folder)))
            yield {"part": part, "subject": design, "engine": label, **found}


def timed(job: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Add wall and CPU seconds of the processes that ``job`` starts and waits for."""
    start, before = perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    found = job()
    wall, after = perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if "ess" not in found:
        return found
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**found, "seconds": wall, "cpu_seconds": cpu}


def caches(space: Path) -> dict[str, str]:
    """Environment in which everything that is compiled is kept in ``space``."""
    flags = [os.environ.get("PYTENSOR_FLAGS", ""), f"base_compiledir={space / 'pytensor'}"]
    return {
        "PYTENSOR_FLAGS": ",".join(filter(None, flags)),
        "NUMBA_CACHE_DIR": str(space / "numba"),
        "JAX_COMPILATION_CACHE_DIR": str(space / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }

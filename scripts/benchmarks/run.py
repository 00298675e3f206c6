"""Side-by-side measurements in one run: samplers, survival at growing size, sweeps.

Every measurement runs in a process of its own, one at a time, so that compilation, time and memory
are its own. Numbers of different runs, or of a busy machine, are not to be compared: what counts
are the ratios within one run, and the load of the machine is recorded with them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import designs, first
from her2bayes.inference.convergence import ESS_MIN

COLUMNS = (
    "part", "subject", "engine", "patients", "seconds", "cpu_seconds", "seconds_aggregate",
    "seconds_compile", "seconds_sample", "ess", "divergences", "ess_per_second", "seconds_to_400",
    "peak_mb", "ratio", "ratio_cpu", "note",
)  # fmt: skip
OURS = "workbench (nutpie)"
PYTHON_ENGINES = {"nutpie": OURS, "pymc": "PyMC's own sampler", "numpyro": "NumPyro"}
IN_STAN = ("her2_distribution", "survival")
LARGEST_IN_R, LARGEST_GLM, LARGEST_ROW_BY_ROW = 1_000_000, 100_000, 1_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is measured: sizes of survival data, draws, seconds allowed for one measurement."""

    sizes: tuple[int, ...]
    draws: int
    tune: int
    scenarios: int
    limit: float
    script: Path
    with_r: bool = True
    only_first: bool = False


def run(plan: Plan, say: Say) -> pd.DataFrame:
    """Measure everything; one row a measurement, in ``COLUMNS``.

    ``ratio`` is the seconds to 400 effective draws (samplers) or the seconds (else) over those of
    this package in the same part, ``ratio_cpu`` that of CPU seconds: above 1, this package is
    faster.
    """
    with tempfile.TemporaryDirectory(prefix="her2-benchmark-") as name:
        space = Path(name)
        rows = [*_first(plan, space, say)]
        if not plan.only_first:
            rows += [*_samplers(plan, space, say), *_sizes(plan, space, say), *_sweeps(plan, say)]
    return _with_ratios(pd.DataFrame(rows, columns=list(COLUMNS)))


def _samplers(plan: Plan, space: Path, say: Say) -> Iterator[dict[str, Any]]:
    for name in designs.NAMES:
        for sampler, label in PYTHON_ENGINES.items():
            say(f"{name}: {label}")
            found = _python(plan, "sample_model", design=name, sampler=sampler, **_length(plan))
            yield {"part": "sampling", "subject": name, "engine": label, **found}
        for job in _r_jobs(name) if plan.with_r else ():
            label = "brms (Stan)" if job == "brms" else "rstan, same model"
            say(f"{name}: {label}")
            one = designs.design(name)
            task = {"design": name, "plain": one.plain, "target_accept": one.target_accept}
            found = _r(plan, job, {**task, **_length(plan)}, space)
            if "ess" in found:
                rate = found["ess"] / found["seconds_sample"]
                found["ess_per_second"] = rate
                found["seconds_to_400"] = found["seconds_compile"] + ESS_MIN / rate
            yield {"part": "sampling", "subject": name, "engine": label, **found}


def _first(plan: Plan, space: Path, say: Say) -> Iterator[dict[str, Any]]:
    def python(job: str, environment: Mapping[str, str], **arguments: Any) -> dict[str, Any]:
        say(f"first posterior, {arguments['design']}: {arguments['sampler']}")
        return _python(plan, job, environment, **arguments, **_length(plan))

    def r(job: str, design: str, cache: Path) -> dict[str, Any]:
        say(f"first posterior, {design}: {job}")
        one = designs.design(design)
        task: dict[str, Any] = {"design": design, "package": job, "plain": one.plain}
        task |= {"target_accept": one.target_accept, "cache": str(cache / "model")}
        return _r(plan, "first", {**task, **_length(plan)}, space)

    for row in first.rows(PYTHON_ENGINES, python, r if plan.with_r else None):
        spent = f"{row['cpu_seconds']:.1f} CPU s" if "cpu_seconds" in row else row.get("note", "")
        say(f"{row['part']}, {row['subject']}: {row['engine']}: {spent}")
        yield row


def _r_jobs(name: str) -> tuple[str, ...]:
    if name in IN_STAN:
        return ("stan",)
    return ("brms",) if name == "response" else ()


def _sizes(plan: Plan, space: Path, say: Say) -> Iterator[dict[str, Any]]:
    for patients in plan.sizes:
        frame = designs.survival_rows(patients)
        file = space / f"{patients}.parquet"
        frame.to_parquet(file, index=False)
        about = {"part": "survival", "subject": "survival", "patients": patients}
        jobs: dict[str, Callable[[], dict[str, Any]]] = {
            OURS: lambda f=file: _python(plan, "fit_rows", file=str(f), **_length(plan)),  # type: ignore[misc]
            "Cox, greenwood": lambda f=file: _python(plan, "cox_greenwood", file=str(f)),  # type: ignore[misc]
        }
        if patients <= LARGEST_ROW_BY_ROW:
            jobs["PyMC, row by row"] = lambda f=file: _python(  # type: ignore[misc]
                plan, "fit_row_by_row", file=str(f), **_length(plan)
            )
        jobs |= _r_sizes(plan, space, frame, file) if plan.with_r else {}
        for label, job in jobs.items():
            say(f"survival of {patients:,} patients: {label}")
            yield {**about, "engine": label, **job()}
        file.unlink()


def _r_sizes(
    plan: Plan, space: Path, frame: pd.DataFrame, file: Path
) -> dict[str, Callable[[], dict[str, Any]]]:
    if len(frame) > LARGEST_IN_R:
        return {}
    rows = space / "rows.csv"
    frame.to_csv(rows, index=False)
    cuts = designs.cells_of(str(file))["interval_start"].to_numpy()[1:].tolist()
    task = {"file": str(rows), "cuts": cuts}
    jobs: dict[str, Callable[[], dict[str, Any]]] = {"Cox, R": lambda: _r(plan, "cox", task, space)}
    if len(frame) <= LARGEST_GLM:
        jobs["survSplit + glm, R"] = lambda: _r(plan, "glm", task, space)
    return jobs


def _sweeps(plan: Plan, say: Say) -> Iterator[dict[str, Any]]:
    say(f"sweep of {plan.scenarios} scenarios")
    found = _python(plan, "sweep", scenarios=plan.scenarios, **_length(plan))
    about = {"part": "sweep", "subject": "her2_distribution"}
    again = {"seconds": found.pop("seconds_recompiled", None), "peak_mb": found.get("peak_mb")}
    first = found.pop("seconds_first", None)
    note = found.get("note") or f"the first scenario, with compilation: {first:.1f} s"
    yield {**about, **found, "engine": "compiled model re-used", "note": note}
    yield {**about, **again, "engine": "compiled for each scenario"}


def _length(plan: Plan) -> dict[str, Any]:
    return {"draws": plan.draws, "tune": plan.tune}


def _python(
    plan: Plan, job: str, environment: Mapping[str, str] | None = None, **arguments: Any
) -> dict[str, Any]:
    command = [sys.executable, "-P", str(Path(__file__).with_name("jobs.py"))]
    task = json.dumps({"job": job, **arguments})
    return _called([*command, task], plan.limit, None, environment)


def _r(plan: Plan, job: str, task: Mapping[str, Any], space: Path) -> dict[str, Any]:
    program = shutil.which("Rscript")
    if program is None:
        return {"note": "R is not installed"}
    given, answer = space / "in.json", space / "out.json"
    given.write_text(json.dumps(task), encoding="utf-8")
    answer.unlink(missing_ok=True)
    return _called([program, str(plan.script), job, str(given), str(answer)], plan.limit, answer)


def _called(
    command: list[str],
    limit: float,
    answer: Path | None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run one measurement; what it found, or in ``note`` why there is nothing."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, **(environment or {})},
    ) as process:  # fmt: skip
        try:
            said, faults = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the compiler that R started, too
            return {"note": f"stopped after {limit:.0f} s"}
    if process.returncode:
        lines = faults.strip().splitlines() or ["no message"]
        return {"note": f"failed: {lines[-1][:120]}"}
    text = said if answer is None else answer.read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _with_ratios(table: pd.DataFrame) -> pd.DataFrame:
    measure = table["seconds_to_400"].where(table["part"] == "sampling", table["seconds"])
    measure = pd.to_numeric(measure)
    base = {OURS, "compiled model re-used"}
    triples = zip(table["part"], table["subject"], table["patients"], strict=True)
    keys = pd.Series([" ".join(map(str, triple)) for triple in triples], index=table.index)
    ours = measure[table["engine"].isin(base)].groupby(keys).first()
    table["ratio"] = measure / keys.map(ours)
    cpu = pd.to_numeric(table["cpu_seconds"])
    table["ratio_cpu"] = cpu / keys.map(cpu[table["engine"].isin(base)].groupby(keys).first())
    return table

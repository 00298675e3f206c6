"""Measure this package beside others in one run: first posterior, samplers, sizes, sweeps.

The time to the first posterior of a fresh process, with an empty and with a full compile cache,
wall and CPU seconds, imports and compilation included (--first: that alone).
Least effective draws a second, and the time to 400 of them with compilation, of each main model
against PyMC's own sampler, NumPyro (where installed), and Stan through rstan and brms (where R is)
on the same model and data; aggregation and fit of 1,000 to 1,000,000 patients against Cox
regression, survSplit with glm, and PyMC row by row; the cost of a scenario with a compiled model
re-used. Writes benchmark.csv, benchmark.json (with the machine and its load) and benchmark.svg.
Takes about 20 minutes on two quiet cores, with --quick about five. Only the ratios of one run mean
anything.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import log, out, plain, run


def main(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path(
        "reports/out/benchmark"
    ),
    largest: Annotated[int, typer.Option(min=1000, help="Most patients: up to 10000000.")] = 10**6,
    r: Annotated[bool, typer.Option("--r/--no-r", help="Measure R too, where it is.")] = True,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer draws, sizes to 10,000, no R.")
    ] = False,
    first: Annotated[
        bool, typer.Option("--first", help="Only the time to the first posterior.")
    ] = False,
) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    from benchmarks import report
    from benchmarks import run as benchmark

    top = min(largest, 10_000) if quick else largest
    plan = benchmark.Plan(
        sizes=tuple(n for n in (10**3, 10**4, 10**5, 10**6, 10**7) if n <= top),
        draws=300 if quick else 1000,
        tune=300 if quick else 1000,
        scenarios=3 if quick else 8,
        limit=120 if quick else 900,
        script=Path(__file__).with_name("_benchmark.R"),
        with_r=r and not quick,
        only_first=first,
    )
    before = report.machine()
    table = benchmark.run(plan, lambda text: log.print(plain(text)))
    machine = {**before, "load_after": report.machine()["load"]}
    for path in report.write(table, machine, out_folder):
        log.print(plain(path), soft_wrap=True)
    for line in report.lines(table):
        out.print(plain(line), soft_wrap=True)


if __name__ == "__main__":
    run(main)

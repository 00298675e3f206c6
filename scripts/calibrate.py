"""Calibrate a model by simulation at a real design: ranks, coverage, and a passport that says so.

Parameters are drawn from the model's stated priors and patients by NumPy alone; then the model is
fitted to each simulated study. --study and --by give the design, the patients of a study's printed
tables: without them the sites of Shi 2023 for models of HER2 status, its classes for survival, the
responses and adverse events of Ni 2025 (twice its patients where there are two arms). Transition
models have the 571 pairs of MSK 2018 by receptor status. --design names a TOML file with a design
of your own (models/her2bayes/analysis/calibration_file.py shows one). Every finished simulation is
kept, so a run that was stopped goes on where it was. A run whose ranks leave their band is repeated
once with another seed, and the passport shows both.
Exit code 3: the passport is written and says that the model is not calibrated.
"""

from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import log, out, plain, run, watching
from her2bayes.errors import EXIT_NOT_CONVERGED


def main(
    model: Annotated[str, typer.Argument(help="Model file, for example her2_distribution.")],
    study: Annotated[str, typer.Option(help="Study that gives the design.")] = "",
    by: Annotated[str, typer.Option(help="Factor of its tables.")] = "",
    design_file: Annotated[
        Path | None, typer.Option("--design", help="TOML file with a design of your own.")
    ] = None,
    simulations: Annotated[int, typer.Option(min=20, help="Simulated studies.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
    scheduler: Annotated[str, typer.Option(help="Address of a Dask scheduler.")] = "",
    workers: Annotated[int, typer.Option(min=1, help="Local processes of one core each.")] = 2,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of passports.")] = Path(
        "reports/out/calibration"
    ),
    kept: Annotated[Path, typer.Option(help="Folder of finished simulations.")] = Path(
        "reports/out/calibration/simulations"
    ),
) -> int | None:
    from contextlib import ExitStack
    from functools import cache
    from time import monotonic

    from her2bayes.calibration import run as calibration
    from her2bayes.calibration.kinds import chosen, fitting, read_design
    from her2bayes.inference.workers import cluster
    from her2bayes.page import passport as report

    design = chosen(model, study, by)
    if design_file:
        design = fitting(read_design(design_file, model))
    options = {"--study": study, "--by": by, "--design": str(design_file or "")}
    asked = [part for option in options.items() if option[1] for part in option]
    command = " ".join(["bash scripts/run calibrate", model, *asked])
    command += f" --simulations {simulations} --seed {seed}"
    runs = []
    start = monotonic()
    with ExitStack() as stack:
        client = cache(lambda: stack.enter_context(cluster(scheduler, workers)))
        for attempt in range(2):
            used = seed + attempt
            file = kept / f"{model}-{design.name}-{used}.jsonl"
            plan = calibration.Plan(design, used, simulations, file)
            with watching() as tell:
                said = f"{model}, seed {used}"
                rows = calibration.run(plan, client, lambda d, n, say=tell, s=said: say(d, n, s))  # type: ignore[misc]
            runs.append((used, rows))
            record = report.passport(plan, command, runs)
            if record["passed"]:
                break
    title = f"{model} at {design.name}"
    written = report.write(out_folder, record, report.figure(runs[-1][1], title))
    log.print(plain(f"{monotonic() - start:.0f} s"))
    out.print(plain(f"{model}: {report.sentence(record)}"), soft_wrap=True)
    out.print(plain(written), soft_wrap=True)
    return None if record["passed"] else EXIT_NOT_CONVERGED


if __name__ == "__main__":
    run(main)

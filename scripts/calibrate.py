"""Calibrate a model by simulation at a real design: ranks, coverage, and a passport that says so.

Parameters are drawn from the model's stated priors and patients by NumPy alone; then the model is
fitted to each simulated study. --study and --by give the design, the patients of a study's printed
tables: without them the sites of Shi 2023 for models of HER2 status, its classes for survival, the
responses and adverse events of Ni 2025 (twice its patients where there are two arms). Transition
models have the 571 pairs of MSK 2018 by receptor status. --design names a TOML file with a design
of your own (models/her2bayes/calibration/designs.py shows one). Every finished simulation is
kept, so a run that was stopped goes on where it was. Where ranks leave their band, as many studies
again are added once: all of them decide, and the passport shows both looks.
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
    from time import monotonic

    from her2bayes.calibration.run import calibrate

    start = monotonic()
    with watching() as progress:
        found = calibrate(
            model, study=study, by=by, design=design_file, simulations=simulations, seed=seed,
            scheduler=scheduler, workers=workers, store=kept, progress=progress,
        )  # fmt: skip
    written = found.write(out_folder)
    log.print(plain(f"{monotonic() - start:.0f} s"))
    out.print(plain(found), soft_wrap=True)
    out.print(plain(written), soft_wrap=True)
    return None if found.passed else EXIT_NOT_CONVERGED


if __name__ == "__main__":
    run(main)

"""Are cohorts made from printed survival numbers calibrated? Ranks and coverage of known truths.

Cohorts are simulated from the reference prior, or sub-sampled from real patients (GBSG, Rotterdam,
MSK 2018 in the folder HER2_REALDATA); their numbers are printed as a paper would, cohorts are made
from these, and the truth is ranked among them. Beside them stand cohorts made from patients and
deaths alone, and cohorts that were annealed to the printed numbers once. Every finished exercise is
kept, so a run that was stopped goes on where it was. Writes exercises.csv, verdict.csv, a figure
and validation.json; what was measured last is in tests/reference/reconstruction_validation.json.
Exit code 3: one of the conclusions does not hold.
"""

from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import log, out, plain, run, watching
from her2bayes.errors import EXIT_NOT_CONVERGED, BadInput, Fault


def main(
    exercises: Annotated[int, typer.Option(min=0, help="From the reference prior.")] = 150,
    real: Annotated[int, typer.Option(min=0, help="From real cohorts, in equal parts.")] = 210,
    patients: Annotated[int, typer.Option(min=20, help="Patients of each exercise.")] = 60,
    realdata: Annotated[
        Path | None, typer.Option(envvar="HER2_REALDATA", help="Folder of the real cohorts.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
    workers: Annotated[int, typer.Option(min=1, help="Local processes of one core each.")] = 2,
    scheduler: Annotated[str, typer.Option(help="Address of a Dask scheduler.")] = "",
    curves: Annotated[
        bool, typer.Option(help="Instead: curves of real patients, drawn and read, and the truth.")
    ] = False,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path(
        "reports/out/validate_reconstruction"
    ),
) -> int | None:
    import json
    from contextlib import ExitStack
    from functools import cache

    import pandas as pd

    from her2bayes.cohorts import validation
    from her2bayes.files import publish
    from her2bayes.inference.sampling import cluster

    if curves:
        if realdata is None:
            remedy = "name it with HER2_REALDATA or --realdata"
            raise BadInput(Fault("the folder of the real curves is not known", remedy=remedy))
        read = validation.of_curves(realdata / "km_truth", seed=seed)
        drawn = validation.of_real_arms(realdata, seed=seed)
        text = validation.curves_text(pd.concat([read, drawn], ignore_index=True))
        publish(out_folder, {"curves.md": text})
        out.print(plain(text), soft_wrap=True)
        return None
    if exercises + real == 0:
        raise BadInput(Fault("nothing to do", remedy="give --exercises or --real a number"))
    if real and realdata is None:
        remedy = "name it with HER2_REALDATA or --realdata, or give --real 0"
        raise BadInput(Fault("the folder of the real cohorts is not known", remedy=remedy))
    plans = validation.plans(exercises, real, patients, seed, out_folder / "exercises")
    tables = []
    with ExitStack() as stack:
        client = cache(lambda: stack.enter_context(cluster(scheduler, workers)))
        for plan in plans:
            with watching() as tell:
                said = plan.source
                tables.append(
                    validation.run(plan, realdata, client, lambda d, n, s=said: tell(d, n, s))  # type: ignore[misc]
                )
    table = pd.concat(tables, ignore_index=True)
    judged = validation.verdict(table)
    call = f"bash scripts/run validate_reconstruction --exercises {exercises} --real {real}"
    found = validation.record(
        table, judged, plans[0], f"{call} --patients {patients} --seed {seed}"
    )
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    publish(out_folder, {**validation.files(table, judged), "validation.json": text})
    shown = ["origin", "quantity", "exercises", "failed", "p_value", "covered", "covered_lower",
             "covered_upper", "annealed_covered", "restarts_covered", "width_of_counts",
             "ess_median", "ess_lowest"]  # fmt: skip
    log.print(plain(judged[shown].round(3).to_string(index=False)), soft_wrap=True)
    for name, holds in found["conclusions"].items():
        out.print(plain(f"{'yes' if holds else 'NO '}  {name}"))
    out.print(plain(out_folder / "validation.svg"), soft_wrap=True)
    return None if all(found["conclusions"].values()) else EXIT_NOT_CONVERGED


if __name__ == "__main__":
    run(main)

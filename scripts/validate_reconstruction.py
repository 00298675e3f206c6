"""Are cohorts made from printed survival numbers calibrated? Ranks and coverage of known truths.

Cohorts are simulated from the reference prior, or sub-sampled from a file of real patients, their
numbers are printed as a paper would, patients are reconstructed, and the truth is ranked among
them. `--control` reconstructs from counts and deaths alone, which must give wider intervals.
"""

from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import log, out, plain, run
from her2bayes.errors import BadInput, Fault


def main(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the results.")],
    exercises: Annotated[int, typer.Option(min=2, help="Number of exercises.")] = 100,
    patients: Annotated[int, typer.Option(min=20, help="Patients of each.")] = 80,
    cohort: Annotated[
        Path | None,
        typer.Option(help="Real patients: CSV with time (months), event, her2, hr_status."),
    ] = None,
    control: Annotated[bool, typer.Option(help="Leave the survival numbers out.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
) -> None:
    import numpy as np

    from her2bayes.reconstruction import calibration
    from her2bayes.reconstruction.ensemble import write_tables

    if cohort is None:

        def source(rng: np.random.Generator) -> calibration.Cohort:
            return calibration.prior_cohort(rng, patients)

    else:
        everyone = _read(cohort)

        def source(rng: np.random.Generator) -> calibration.Cohort:
            chosen = rng.choice(everyone[0].size, patients, replace=False)
            time, event, cell = (column[chosen] for column in everyone)
            return time, event, cell

    table = calibration.run(
        source, exercises, seed, survival=not control, say=lambda text: log.print(plain(text))
    )
    verdict = calibration.verdict(table)
    out.print(plain(verdict.to_string(index=False)))
    for path in write_tables({"exercises.csv": table, "verdict.csv": verdict}, out_folder):
        out.print(plain(path), soft_wrap=True)


def _read(path: Path):  # type: ignore[no-untyped-def]
    """Times in whole month tenths, events and cells of a file of patients."""
    import numpy as np

    from her2bayes.evidence.read_table import read_table
    from her2bayes.reconstruction.calibration import CELLS

    frame = read_table(path).frame
    missing = [n for n in ("time", "event", *CELLS.factors) if n not in frame.columns]
    if missing:
        raise BadInput(Fault(f"column(s) missing: {', '.join(missing)}", file=path))
    combos = [tuple(c.values()) for c in CELLS.combinations]
    rows = list(frame[list(CELLS.factors)].itertuples(index=False, name=None))
    unknown = sorted({str(row) for row in rows if row not in combos})
    if unknown:
        allowed = "; ".join(f"{n}: {', '.join(v)}" for n, v in CELLS.factors.items())
        raise BadInput(Fault("unknown levels", file=path, value=unknown[:3], allowed=allowed))
    cell = np.array([combos.index(row) for row in rows])
    time = np.ceil(frame["time"].astype(float).to_numpy() * 10).astype(np.int64)
    return np.maximum(time, 1), frame["event"].astype(int).to_numpy(), cell


if __name__ == "__main__":
    run(main)

"""Write an invented patient file and its column map, to try the scripts on.

The patients are simulated with a known truth: HER2 readings of the primary and the recurrence as
pathologists write them, receptors, and survival from the recurrence.
"""

from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import out, plain, run


def main(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder to write into.")],
    patients: Annotated[int, typer.Option(min=10, max=1_000_000, help="Number of patients.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
) -> None:
    from her2bayes.evidence.simulate import MAP, example_patients
    from her2bayes.files import csv_text, publish

    table = csv_text(example_patients(patients, seed))
    publish(out_folder, {"patients.csv": table, "map.toml": MAP})
    for name in ("patients.csv", "map.toml"):
        out.print(plain(out_folder / name), soft_wrap=True)


if __name__ == "__main__":
    run(main)

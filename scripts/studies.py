"""List the published studies: patients, setting, pairs of readings, and what each prints.

Writes the list as studies.csv; all faults of all studies are reported at once.
"""

from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import out, plain, run


def main(
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder of study folders.", show_default="data/published"),
    ] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the list.")] = Path(
        "reports/out/studies"
    ),
) -> None:
    from rich.table import Table

    from her2bayes.evidence.printed.study import studies
    from her2bayes.files import csv_text, publish

    listed = studies(folder)
    publish(out_folder, {"studies.csv": csv_text(listed)})
    tables = ("transition_facts", "survival", "responses", "adverse_events")
    names = ("Patients", "Setting", "HER2 counts", "Also", "Numbers")
    table = Table(box=None, pad_edge=False)
    table.add_column("Study", no_wrap=True)
    for name in names:
        table.add_column(name)
    for row in listed.to_dict("records"):
        also = [f"{row[name]} {name.replace('_', ' ')}" for name in tables if row[name]]
        setting = ", ".join(filter(None, (row["setting"], row["pairs"], row["years"])))
        numbers = (row["printed_numbers"],)
        counts = ", ".join(one.split()[0] for one in filter(None, row["status_counts"].split(", ")))
        cells = (row["id"], row["patients"], setting, counts, ", ".join(also))
        table.add_row(*(plain(str(cell)) for cell in (*cells, *numbers)))
    out.print(table)
    out.print(plain(f"{len(listed)} studies; all columns:"))
    out.print(plain(out_folder / "studies.csv"), soft_wrap=True)


if __name__ == "__main__":
    run(main)

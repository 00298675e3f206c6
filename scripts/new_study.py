"""Write the folder of a new paper, filled with a commented example to replace.

With ``--from`` the study begins with a Table 1: HER2 counts by characteristics as printed. The
folder can be checked at once with ``bash scripts/run audit --study FOLDER``; the format of each
file is described in data/README.md. An existing folder is never overwritten.
"""

from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import out, plain, run
from her2bayes.evidence.printed.study import published_folder, write_skeleton


def main(
    name: Annotated[str, typer.Argument(help="Id of the study: a-z, 0-9, _ and -.")],
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to write it into.", show_default="data/published"),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="CSV file of a Table 1: factor, level, a column a HER2 class."),
    ] = None,
    locator: Annotated[
        str,
        typer.Option(help="Where rows of --from are printed that do not say it (column locator)."),
    ] = "Table 1",
) -> None:
    """Write the study and say what to do next."""
    table, texts, remains = None, None, "replace the invented rows"
    if from_:
        from her2bayes.evidence.printed.count_tables import TableOne

        table = TableOne.read(from_, locator)
        texts, remains = table.files(name), "complete study.toml"
    written = write_skeleton(name, out_folder or published_folder(), texts)
    if table and table.summed:
        out.print(
            plain(f"No row for all patients: {table.patients} is the sum over {table.summed}.")
        )
    files = ", ".join(sorted(file.name for file in written.iterdir()))
    out.print(plain(f"Wrote {written}: {files}"), soft_wrap=True)
    out.print(
        plain(f"Next: {remains} (data/README.md), then: bash scripts/run audit --study {written}"),
        soft_wrap=True,
    )


if __name__ == "__main__":
    run(main)

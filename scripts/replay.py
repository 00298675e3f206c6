"""Compute a report again from what it records, and compare every number.

REPORT is a folder that a script wrote, or a file in it (report.html, evidence.csv). Its
provenance.json names the command, seed, versions and digests of the data; the command runs again
with an empty store of fits. On the same machine and versions every number must be identical;
elsewhere within Monte-Carlo error. Data that changed are refused (exit code 2).
Exit code 3: some number differs, and the table says which.
"""

from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import log, out, plain, run
from her2bayes.errors import EXIT_NOT_CONVERGED, BadInput, Fault


def main(
    report: Annotated[Path, typer.Argument(help="Folder of a report, or a file in it.")],
    input_: Annotated[
        list[str] | None,
        typer.Option("--input", help="NAME=PATH: where an input stands now; repeat."),
    ] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="Keep the replay and differences.csv here (else thrown away)."),
    ] = None,
) -> int | None:
    import tempfile

    from her2bayes.inference.progress import hearing
    from her2bayes.reproduce import replay

    given = dict(_moved(text) for text in input_ or [])
    folder, runs = replay.entries(report)
    replay.check(folder, runs, given)
    found = []
    with tempfile.TemporaryDirectory(prefix="her2-replay-") as name:
        for script, entry in runs.items():
            command = " ".join([script, *entry["arguments"]])
            log.print(plain(f"replaying: bash scripts/run {command}"), soft_wrap=True)
            space = (out_folder or Path(name)) / script
            with hearing(lambda _: None):  # the other process says what it waits for
                again = replay.run(Path(__file__).with_name(f"{script}.py"), entry, given, space)
            found.append(replay.compare(folder, again, script, entry))
    for one in found:
        _tell(one)
    if out_folder is not None:
        _keep(found, out_folder)
    return EXIT_NOT_CONVERGED if any(one.count(replay.DIFFERS) for one in found) else None


def _moved(text: str) -> tuple[str, str]:
    name, mark, path = text.rpartition("=")
    if not (mark and name and path):
        raise BadInput(Fault("--input cannot be read", value=text, allowed="NAME=PATH"))
    return name, path


def _tell(one):  # type: ignore[no-untyped-def]
    """Print the verdict on one script's files, and the numbers that are not identical."""
    from rich.table import Table

    from her2bayes.reproduce import replay

    for notice in one.notices:
        out.print(plain(notice), soft_wrap=True)
    counts = [f"{one.count(kind)} {kind}" for kind in (replay.IDENTICAL, replay.WITHIN)]
    counts.append(f"{one.count(replay.DIFFERS)} differ")
    text = f"{one.script}: {one.compared} numbers compared: {', '.join(counts)}"
    out.print(plain(text), style="bold", soft_wrap=True)
    shown = [row for row in one.rows if row["agreement"] == replay.DIFFERS]
    if shown:
        table = Table(*replay.COLUMNS[1:-1], box=None, pad_edge=False)
        for row in shown[:50]:
            table.add_row(*(plain(row[name]) for name in replay.COLUMNS[1:-1]))
        out.print(table)
        if len(shown) > 50:
            out.print(f"... and {len(shown) - 50} more (--out keeps all)")


def _keep(found, folder: Path) -> None:  # type: ignore[no-untyped-def]
    """Write the table of all numbers that are not identical."""
    import pandas as pd

    from her2bayes.files import csv_text, publish
    from her2bayes.reproduce.replay import COLUMNS

    rows = [row for one in found for row in one.rows]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    publish(folder, {"differences.csv": csv_text(table)})


if __name__ == "__main__":
    run(main)

"""Fit rates of adverse events at two severities, or differences between two arms.

--table is a CSV file with the columns event, severity, count, patients and, optionally, body_system
and arm. Severity is "any" or one cut of the grades ("grade 3-4"), counted among the patients of the
same row; the event "any" is any event at all. With two arms (the first one named is the control)
each severity is compared by the three-level mixture of Berry and Berry, which gives every event a
probability of no difference. --external names a table of one arm of another study (same columns):
each rate is compared with the one there, both uncertain, in external.csv.
Writes estimates.csv (columns of the evidence table), with two arms differences.csv, report.html,
figures/ and fits/. Exit code 3: everything is written, but a fit did not converge.
"""

from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import log, out, plain, run
from her2bayes.errors import EXIT_NOT_CONVERGED


def main(
    table: Annotated[Path, typer.Option(help="CSV of adverse events.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path(
        "reports/out/adverse_events"
    ),
    threshold: Annotated[
        float, typer.Option(help="Rate of any severity that matters, percent.")
    ] = 20.0,
    severe_threshold: Annotated[
        float, typer.Option(help="Rate of severe events that matters, percent.")
    ] = 5.0,
    external: Annotated[
        list[Path] | None, typer.Option(help="Adverse events of another study, one arm.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer draws and chains; labelled as such.")
    ] = False,
) -> int | None:
    from her2bayes.page.report import write
    from her2bayes.rates.fitted import fit_adverse_events

    fit = fit_adverse_events(
        table,
        threshold=threshold,
        severe_threshold=severe_threshold,
        external=external or (),
        quick=quick,
        seed=seed,
        store=out_folder / "fits",
        say=lambda text: log.print(plain(f"fitting: {text}")),
    )
    outcome = write([fit.part()], out_folder, fit.settings, command={})
    for line in (*fit.notes, *fit.told(), *outcome.lines):
        out.print(plain(line), soft_wrap=True)
    return EXIT_NOT_CONVERGED if outcome.failed else None


if __name__ == "__main__":
    run(main)

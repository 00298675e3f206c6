"""Fit true HER2 class, its change and survival by it, behind fallible readings, in one model.

--cohort is a CSV, TSV or Parquet file with one row a patient and two readings (--primary,
--recurrence name their columns), or with --map the folder of a study. --time and --event name
follow-up from recurrence; --entry delayed entry; --cause competing causes. --by names factors of
transitions and hazards. --assay names the column with the laboratory or era of a reading.
--agreement NAME=FILE is a table of two readings of the same tumours: one row and one column a
class, rows the first reading. --error-correlation is the share of patients in whom both readings
err together. Instead of patients, --study names a paper and --time its endpoint: the model is
fitted to --ensemble cohorts reconstructed from the printed numbers, multiple imputation and said to
be; determined.csv has the share of each variance that is reconstruction uncertainty.
Writes estimates.csv, classical.csv (by class as read), assays.csv (the answers over the accuracy
of the assay), identified.csv (what tells error from change), report.html, figures/ and fits/;
--no-grid leaves the refits of assays.csv and identified.csv out.
Exit code 3: everything is written, but a fit did not converge.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from her2bayes.cli import log, out, plain, run
from her2bayes.errors import EXIT_NOT_CONVERGED, BadInput, Fault


def main(
    time: Annotated[str, typer.Option(help="Column of follow-up time, or endpoint of a map.")],
    cohort: Annotated[
        Path | None, typer.Option(help="File with the patients, or folder of a study.")
    ] = None,
    study: Annotated[str, typer.Option(help="Paper whose cohorts are reconstructed.")] = "",
    ensemble: Annotated[int, typer.Option(min=4, help="Reconstructed cohorts.")] = 20,
    event: Annotated[str, typer.Option(help="Column of the event, 0 or 1.")] = "",
    map_: Annotated[str, typer.Option("--map", help="Column map of a study folder.")] = "",
    primary: Annotated[str, typer.Option(help="Column of readings of the primary.")] = "",
    recurrence: Annotated[str, typer.Option(help="Column of readings of the recurrence.")] = "",
    by: Annotated[list[str] | None, typer.Option(help="Factor, or factor=level,level.")] = None,
    entry: Annotated[str, typer.Option(help="Column of the time of entry.")] = "",
    cause: Annotated[str, typer.Option(help="Column of the cause of each event.")] = "",
    assay: Annotated[str, typer.Option(help="Column of the laboratory or era.")] = "",
    agreement: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE: table of two readings; repeat.")
    ] = None,
    error_correlation: Annotated[
        float | None, typer.Option(help="Share of patients in whom both readings err together.")
    ] = None,
    hazards_by_primary: Annotated[
        bool, typer.Option("--hazards-by-primary", help="Hazards by the primary's class too.")
    ] = False,
    cuts: Annotated[str, typer.Option(help="10, equal:10, or months: 6,12,24.")] = "10",
    nonpositive: Annotated[
        str, typer.Option(help="refuse, or drop follow-up that does not end after entry.")
    ] = "refuse",
    grid: Annotated[bool, typer.Option(help="Refit over the accuracy of the assay.")] = True,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path(
        "reports/out/joint"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer draws and chains; labelled as such.")
    ] = False,
) -> int | None:
    import her2bayes as hb
    from her2bayes import cli
    from her2bayes.joint.counts import read_agreement

    def say(text: str) -> None:
        log.print(plain(text))

    named = {"primary": primary, "recurrence": recurrence}
    columns = {end: column for end, column in named.items() if column}
    tables = cli.assigned(agreement or [], "--agreement")
    if (cohort is None) == (not study):
        remedy = "--cohort FILE, or --study NAME"
        raise BadInput(Fault("patients, or a paper", value=study or None, remedy=remedy))
    data: Any = hb.reconstruct(hb.load_study(study), ensemble=ensemble) if study else cohort
    fit = hb.fit_joint(
        data, time=time, event=event, map=map_, her2=columns or None,
        by=cli.factors(by or []), entry=entry, cause=cause, assay=assay,
        agreement={name: read_agreement(Path(file)) for name, file in tables.items()},
        error_correlation=error_correlation, hazards_by_primary=hazards_by_primary, cuts=cuts,
        nonpositive=nonpositive, seed=seed, quick=quick, store=out_folder / "fits", say=say,
    )  # fmt: skip
    if grid and not study:
        log.print(plain("fitting over the accuracy of the assay"))
        fit = fit.checked()
    command = {"by": by or [], "time": time, "event": event, "cuts": cuts}
    written = hb.report(fit, out=out_folder, command=command)
    for line in (fit.title, *fit.told(), *written.lines):
        out.print(plain(line), soft_wrap=True)
    return EXIT_NOT_CONVERGED if written.failed else None


if __name__ == "__main__":
    run(main)

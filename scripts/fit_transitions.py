"""Fit transition probabilities of HER2 status, from patients or a paper's printed tables.

From patients: --cohort names the folder with the files (or one file) and --map the column map
(data/maps/README.md); repeat both for several studies. --by names factors of the map; crossed where
several. From a paper: --study names a shipped study (shi2023) or a study folder.
Writes estimates.csv (columns of the evidence table), flow.csv, report.html, figures/ and fits/.
With --suppress-below N, for a report of patients that is shared: counts from 1 to N - 1 are hidden,
and neither classical estimates nor fits are written.
Exit code 3: everything is written, but a fit did not converge and says so wherever it is quoted.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from her2bayes.cli import log, out, plain, run
from her2bayes.errors import EXIT_NOT_CONVERGED, BadInput, Fault


def main(
    cohort: Annotated[
        list[Path] | None, typer.Option(help="Folder with the patient files, or one file.")
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", help="Column map, a path or a name in data/maps; one each cohort."),
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option(help="Factor of the map to stratify by; repeat to cross.")
    ] = None,
    study: Annotated[
        str, typer.Option(help="Instead of patients: a shipped study, or a study folder.")
    ] = "",
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path(
        "reports/out/transitions"
    ),
    assay: Annotated[
        bool, typer.Option(help="Also model true classes behind fallible readings (patients).")
    ] = True,
    suppress_below: Annotated[
        int, typer.Option(min=0, help="Hide counts below this in a report that is shared.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer draws and chains; labelled as such.")
    ] = False,
) -> int | None:
    from her2bayes.evidence.printed.study import load_study
    from her2bayes.inference.sampling import Settings
    from her2bayes.page.report import write
    from her2bayes.page.shared import check_shared
    from her2bayes.transition.cohort import flow_text, read_cohorts
    from her2bayes.transition.fitted import fit_transitions

    def say(text: str) -> None:
        log.print(plain(f"fitting: {text}"))

    if bool(study) == bool(cohort):
        raise BadInput(Fault("give either --cohort with --map, or --study", allowed="one of them"))
    if study and suppress_below:
        raise BadInput(Fault("--suppress-below is for patients", remedy="leave it out for a study"))
    check_shared(out_folder, suppress_below)
    store = None if suppress_below else out_folder / "fits"
    run_with: dict[str, Any] = {"seed": seed, "quick": quick, "store": store, "say": say}
    if study:
        fit = fit_transitions(load_study(study), **run_with)
    else:
        pooled = read_cohorts(cohort or [], map_ or [])
        log.print(plain(flow_text(pooled, by or [])))
        fit = fit_transitions(pooled, by=by, assay=assay, **run_with)
    outcome = write(
        [fit.part(suppress_below=suppress_below)],
        out_folder,
        Settings(seed, quick),
        command={} if study else {"by": by or []},
        below=suppress_below,
    )
    for line in (*fit.told(), *outcome.lines):
        out.print(plain(line), soft_wrap=True)
    return EXIT_NOT_CONVERGED if outcome.failed else None


if __name__ == "__main__":
    run(main)

"""Fit the distribution of HER2 status across subgroups, from patients, counts or a paper.

From patients: --cohort names a file, or the folder of --map (a column map, data/maps/README.md).
--by names factors, crossed where several; --exchangeable those whose levels are a sample of groups
(centres, years). From counts: --counts names a file with factor, level, her2, n, or with one column
a factor, her2 and n. From a paper: --study names a shipped study (shi2023) or a study folder.
A reading may be a set of classes (zero/low) or unknown. --classes names the classes in order.
Writes estimates.csv (columns of the evidence table), classical.csv, report.html, figures/, fits/.
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
        Path | None, typer.Option(help="File of patients, or the folder of --map.")
    ] = None,
    counts: Annotated[Path | None, typer.Option(help="File of counts.")] = None,
    study: Annotated[str, typer.Option(help="A shipped study, or a study folder.")] = "",
    map_: Annotated[
        str, typer.Option("--map", help="Column map, a path or a name in data/maps.")
    ] = "",
    by: Annotated[list[str] | None, typer.Option(help="Factor; repeat to cross.")] = None,
    exchangeable: Annotated[
        list[str] | None, typer.Option(help="Factor of --by whose levels are a sample of groups.")
    ] = None,
    classes: Annotated[
        str, typer.Option(help="HER2 classes in order, with commas: zero,low,positive.")
    ] = "",
    end: Annotated[
        str, typer.Option(help="primary or recurrence, where patients have readings of both.")
    ] = "",
    model: Annotated[str, typer.Option(help="multinomial, dirichlet, ordered.")] = "multinomial",
    interactions: Annotated[bool, typer.Option(help="Effects of pairs of crossed factors.")] = True,
    partial: Annotated[bool, typer.Option(help="Use readings of several classes.")] = True,
    describe: Annotated[
        list[str] | None, typer.Option(help="Column of numbers (age) for Table 1; repeat.")
    ] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path(
        "reports/out/distribution"
    ),
    suppress_below: Annotated[
        int, typer.Option(min=0, help="Hide counts below this in a report that is shared.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer draws and chains; labelled as such.")
    ] = False,
) -> int | None:
    import her2bayes as hb
    from her2bayes.page.shared import check_shared

    if sum(map(bool, (cohort, counts, study))) != 1:
        raise BadInput(Fault("give one of --cohort, --counts and --study", allowed="one of them"))
    if study and suppress_below:
        raise BadInput(Fault("--suppress-below is for patients", remedy="leave it out for a study"))
    check_shared(out_folder, suppress_below)
    known = classes.split(",") if classes else None
    source: Any = hb.load_study(study) if study else None
    if cohort:
        source = hb.read_patients(cohort, map=map_ or None, classes=known)
    elif counts:
        source = hb.read_counts(counts, classes=known)
    log.print(plain(f"{source}\nfitting: HER2 status" if not study else "fitting: HER2 status"))
    fit = hb.fit_distribution(
        source, by=by, classes=known, end=end,
        exchangeable=exchangeable or (), interactions=interactions, partial=partial, model=model,
        describe=describe or (), quick=quick, seed=seed,
        store=None if suppress_below else out_folder / "fits",
    )  # fmt: skip
    command = {"by": by or [], "exchangeable": exchangeable or [], "classes": classes}
    written = hb.report(fit, out=out_folder, suppress_below=suppress_below, command=command)
    for line in (fit.title, *fit.facts[1:], *written.lines):
        out.print(plain(line), soft_wrap=True)
    return EXIT_NOT_CONVERGED if written.failed else None


if __name__ == "__main__":
    run(main)

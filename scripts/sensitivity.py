"""Ask whether conclusions survive other priors, models, counts and readings of a study or cohort.

A paper: --study names a shipped study or a study folder, whose conclusions.csv is tested unless
--conclusions names another file or each --statement is one. Patients: one of the two, and --cohort
with --time, --event and --by (survival, as fit_survival) or --map (change of HER2 status, as
fit_transitions).
With --external the weight of other studies' patients is a choice; with --map definitions of classes
and of receptor status are; sensitivity_not_asked.csv says what these data cannot be asked, and why.
The analysis as reported is that of the report, read from its fits in OUT/STUDY/fits or added there.
Writes sensitivity.csv (a row for each conclusion and scenario), sensitivity_summary.csv and
sensitivity.html into OUT/STUDY. Every finished scenario is kept in OUT/STUDY/scenarios, and a
restarted run continues there. --grid is a TOML file: [axes] with lists of values by name of the
choice, and cross = [["choice", "choice"]]. Exit code 3: all is written, but a scenario did not
converge and says so.
"""

from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from her2bayes.cli import log, out, plain, run, watching
from her2bayes.errors import EXIT_NOT_CONVERGED, BadInput, Fault


def main(
    study: Annotated[str, typer.Option(help="A shipped study, or a study folder.")] = "",
    cohort: Annotated[
        Path | None, typer.Option(help="Instead: file with patients, or folder of a study.")
    ] = None,
    conclusions: Annotated[
        Path | None, typer.Option(help="CSV of conclusions (data/README.md).")
    ] = None,
    statement: Annotated[
        list[str] | None, typer.Option(help='Instead: a conclusion, "share[her2=low] > 0.45".')
    ] = None,
    grid: Annotated[Path | None, typer.Option(help="TOML file of choices and values.")] = None,
    scheduler: Annotated[
        str, typer.Option(help="Address of a dask scheduler; its workers must see OUT.")
    ] = "",
    workers: Annotated[int, typer.Option(min=1, help="Local worker processes.")] = 2,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Keep finished scenarios, or start anew.")
    ] = True,
    reweight: Annotated[
        bool, typer.Option("--reweight/--refit", help="Allow re-weighting, or refit everything.")
    ] = True,
    surfaces: Annotated[
        bool, typer.Option("--surfaces/--no-surfaces", help="Cross the two strongest choices.")
    ] = True,
    holds: Annotated[
        float,
        typer.Option(help="A conclusion holds from this P, and fails from it for its opposite."),
    ] = 0.975,
    time: Annotated[str, typer.Option(help="Column of follow-up time (--cohort).")] = "",
    event: Annotated[str, typer.Option(help="Column of the event, 0 or 1.")] = "",
    by: Annotated[list[str] | None, typer.Option(help="Factor, or factor=level,level.")] = None,
    map_: Annotated[str, typer.Option("--map", help="Column map of paired readings.")] = "",
    frailty: Annotated[
        list[str] | None, typer.Option(help="Factor of exchangeable groups (centre, study).")
    ] = None,
    external: Annotated[
        list[Path] | None, typer.Option(help="File with patients of another study (survival).")
    ] = None,
    entry: Annotated[str, typer.Option(help="Column of the time of entry (survival).")] = "",
    ignore_entry: Annotated[
        bool, typer.Option("--ignore-entry", help="Leave out the entry that the map declares.")
    ] = False,
    event_code: Annotated[str, typer.Option(help="Value that means an event.")] = "",
    censored_code: Annotated[
        list[str] | None, typer.Option(help="Value that means censored, where there are several.")
    ] = None,
    missing: Annotated[
        list[str] | None, typer.Option(help="column=code,code: what is not known there.")
    ] = None,
    patient: Annotated[str, typer.Option(help="Column that joins rows of one patient.")] = "",
    member: Annotated[
        str, typer.Option(help="Which of the cohorts that `reconstruct` wrote into the file.")
    ] = "",
    time_unit: Annotated[str, typer.Option(help="days, weeks, months or years.")] = "months",
    nonpositive: Annotated[
        str, typer.Option(help="refuse, or drop rows whose time is not after entry.")
    ] = "refuse",
    longest: Annotated[float, typer.Option(help="Longest follow-up believed, months.")] = 600.0,
    nested: Annotated[
        list[str] | None, typer.Option(help="fine=coarse: a factor nested in another.")
    ] = None,
    interactions: Annotated[
        bool, typer.Option(help="Let the first factor act differently in subgroups.")
    ] = True,
    prior_median: Annotated[
        str, typer.Option(help="Median survival expected, months, with 95 % limits: 24,6,96.")
    ] = "",
    model: Annotated[str, typer.Option(help="ph, or nonph: ratios change over time.")] = "ph",
    cuts: Annotated[str, typer.Option(help="40, equal:20, or months: 6,12,24.")] = "quantile",
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path(
        "reports/out"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer draws and chains; labelled as such.")
    ] = False,
) -> int | None:
    from her2bayes import cli
    from her2bayes.evidence.printed.study import load_study, study_folder
    from her2bayes.page.report import slug
    from her2bayes.reproduce.sensitivity import about_patients, about_study, sensitivity
    from her2bayes.sensitivity.summary import Limits
    from her2bayes.survival.doors import Reading, Specification, cut_scheme, elicited

    Limits(holds)
    if bool(study) == bool(cohort):
        raise BadInput(Fault("give either --study or --cohort", allowed="one of them"))
    if statement and conclusions:
        raise BadInput(Fault("give either --conclusions or --statement", allowed="one of them"))
    stated = statement or conclusions
    if study:
        asked = about_study(load_study(study_folder(study)), stated, out_folder)
    else:
        how = Reading(
            time=time, event=event, by=cli.factors(by or []), entry=entry, patient=patient,
            time_unit=time_unit, event_code=event_code, censored_code=censored_code or (),
            missing=cli.several(missing or [], "--missing"), ignore_entry=ignore_entry,
            member=member, nonpositive=nonpositive, longest=longest, frailty=tuple(frailty or ()),
            map=map_,
        )  # fmt: skip
        scheme, intervals = cut_scheme(cuts)
        fitted = Specification(
            study=slug(cohort.stem) if cohort else "", model=model, cuts=scheme,
            intervals=intervals, frailty=tuple(frailty or ()), interactions=interactions,
            nested=cli.assigned(nested or [], "--nested"),
            priors=elicited(cli.numbers(prior_median, "--prior-median")),
        )  # fmt: skip
        asked = about_patients(
            cohort, stated, how, fitted, external or [], lambda line: log.print(plain(line))
        )
    folder = out_folder / asked.about["id"]
    start = monotonic()
    with watching() as progress:
        found = sensitivity(
            asked, grid=grid, holds=holds, reweight=reweight, surfaces=surfaces,
            scheduler=scheduler, workers=workers, resume=resume, store=folder / "scenarios",
            fits=folder / "fits", seed=seed, quick=quick, progress=progress,
        )  # fmt: skip
    spent = monotonic() - start
    page = found.write(folder)
    for line in found.lines:
        out.print(plain(line), soft_wrap=True)
    log.print(
        plain(
            f"{found.seconds['scenarios']:.0f} scenarios computed in {spent:.0f} s; the workers "
            f"spent {found.seconds['compile']:.0f} s compiling, "
            f"{found.seconds['all'] - found.seconds['compile']:.0f} s on everything else."
        )
    )
    for line in found.failed:
        out.print(plain(f"Not converged: {line}"), style="bold red", soft_wrap=True)
    out.print(plain(page), soft_wrap=True)
    return EXIT_NOT_CONVERGED if found.failed else None


if __name__ == "__main__":
    run(main)

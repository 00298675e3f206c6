"""Fit survival across subgroups of patients: hierarchical piecewise-exponential hazards.

--cohort is a CSV, TSV or Parquet file (or a folder of Parquet files) with one row a patient, or,
with --map, the folder of a study read through a column map (data/maps/README.md). --time and
--event name its columns; --by names the factors, with levels in order where given
(--by her2=zero,low,positive); the first factor may have a different effect in each level of the
others. With --entry patients count from that time on (delayed entry); with --patient several rows
of one patient are its (entry, time] periods; with --cause events have competing causes (its column
may be that of the event: 0 is censored, every other code a cause). An endpoint that the map
declares is used whole when --time names it: event, entry, cause, rounding; --ignore-entry leaves
the entry out. A code of the event that could mean more than one thing is asked about.
--external names files of patients of other studies, with the same columns: survival under every
choice of borrowing from them goes into borrowing.csv and tipping.csv, beside the own analysis.
Writes estimates.csv (columns of the evidence table), classical.csv, checks.csv, report.html,
figures/ and fits/. With --suppress-below N, for a report that is shared: counts from 1 to N - 1
are hidden, and neither classical estimates nor fits are written.
Exit code 3: everything is written, but a fit did not converge.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from her2bayes.cli import log, out, plain, run
from her2bayes.errors import EXIT_NOT_CONVERGED


def main(
    cohort: Annotated[Path, typer.Option(help="File with the patients, or folder of a study.")],
    time: Annotated[str, typer.Option(help="Column of follow-up time.")],
    event: Annotated[
        str, typer.Option(help="Column of the event, 0 or 1; not needed with an endpoint of a map.")
    ] = "",
    by: Annotated[list[str] | None, typer.Option(help="Factor, or factor=level,level.")] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path(
        "reports/out/survival"
    ),
    map_: Annotated[str, typer.Option("--map", help="Column map of a study folder.")] = "",
    entry: Annotated[str, typer.Option(help="Column of the time of entry.")] = "",
    cause: Annotated[str, typer.Option(help="Column of the cause of each event.")] = "",
    patient: Annotated[str, typer.Option(help="Column that joins rows of one patient.")] = "",
    model: Annotated[str, typer.Option(help="ph, or nonph: ratios change over time.")] = "ph",
    cuts: Annotated[str, typer.Option(help="40, equal:20, or months: 6,12,24.")] = "quantile",
    nested: Annotated[
        list[str] | None, typer.Option(help="fine=coarse: a factor nested in another.")
    ] = None,
    frailty: Annotated[
        list[str] | None, typer.Option(help="Factor of exchangeable groups (centre, study).")
    ] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="factor=level others are compared with.")
    ] = None,
    interactions: Annotated[
        bool, typer.Option(help="Let the first factor act differently in subgroups.")
    ] = True,
    times: Annotated[str, typer.Option(help="Landmarks in months: 12,24,60.")] = "",
    time_unit: Annotated[str, typer.Option(help="days, weeks, months or years.")] = "months",
    event_code: Annotated[str, typer.Option(help="Value that means an event.")] = "",
    censored_code: Annotated[
        list[str] | None, typer.Option(help="Value that means censored, where there are several.")
    ] = None,
    missing: Annotated[
        list[str] | None, typer.Option(help="column=code,code: what is not known there.")
    ] = None,
    ignore_entry: Annotated[
        bool, typer.Option("--ignore-entry", help="Leave out the entry that the map declares.")
    ] = False,
    member: Annotated[
        str, typer.Option(help="Which of the cohorts that `reconstruct` wrote into the file.")
    ] = "",
    nonpositive: Annotated[
        str, typer.Option(help="refuse, or drop rows whose time is not after entry.")
    ] = "refuse",
    longest: Annotated[float, typer.Option(help="Longest follow-up believed, months.")] = 600.0,
    prior_median: Annotated[
        str, typer.Option(help="Median survival expected, months, with 95 % limits: 24,6,96.")
    ] = "",
    landmarks: Annotated[
        Path | None, typer.Option(help="CSV of survival known from elsewhere.")
    ] = None,
    external: Annotated[
        list[Path] | None, typer.Option(help="File with patients of another study.")
    ] = None,
    external_member: Annotated[
        str, typer.Option(help="As --member, of an external file that is an ensemble.")
    ] = "",
    robust_weight: Annotated[
        float | None, typer.Option(help="Weight of the robust prior's informed part; no default.")
    ] = None,
    discount: Annotated[
        list[float] | None, typer.Option(help="Weight of a power prior shown: 0.25, 0.5.")
    ] = None,
    trials: Annotated[
        int,
        typer.Option("--operating-characteristics", min=0, help="Simulated trials a choice."),
    ] = 0,
    scheduler: Annotated[
        str, typer.Option(help="Address of a dask scheduler for the simulated trials.")
    ] = "",
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare models; leave out groups one at a time.")
    ] = False,
    suppress_below: Annotated[
        int, typer.Option(min=0, help="Hide counts below this in a report that is shared.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer draws and chains; labelled as such.")
    ] = False,
) -> int | None:
    from her2bayes import cli
    from her2bayes.inference.sampling import Settings
    from her2bayes.page.report import write
    from her2bayes.page.shared import check_shared
    from her2bayes.survival.fitted import TARGET_ACCEPT, fit_survival
    from her2bayes.survival.section import lines

    check_shared(out_folder, suppress_below, external or ())

    def say(text: str) -> None:
        log.print(plain(text))

    fit = fit_survival(
        cohort, time=time, event=event, by=cli.factors(by or []), map=map_, entry=entry,
        cause=cause, patient=patient, model=model, cuts=cuts,
        nested=cli.assigned(nested or [], "--nested"), frailty=frailty or (),
        reference=cli.assigned(reference or [], "--reference"), interactions=interactions,
        times=cli.numbers(times, "--times"), time_unit=time_unit, event_code=event_code,
        censored_code=censored_code or (), missing=cli.several(missing or [], "--missing"),
        ignore_entry=ignore_entry, member=member, nonpositive=nonpositive, longest=longest,
        prior_median=cli.numbers(prior_median, "--prior-median"), landmarks=landmarks,
        external=external or (), external_member=external_member, robust_weight=robust_weight,
        discount=discount or (), operating_characteristics=trials, scheduler=scheduler,
        seed=seed, quick=quick, store=None if suppress_below else out_folder / "fits", say=say,
    )  # fmt: skip
    tables = {}
    if compare and not suppress_below:
        tables = {"comparison": fit.compare_models(say), "left_out": fit.leave_out("", say)}
    command: dict[str, Any] = {"by": by or [], "model": model, "cuts": cuts}
    command |= {"time": time, "event": event}
    if external:
        command |= {"external": list(map(str, external)), "robust_weight": robust_weight}
    settings = Settings(seed, quick, TARGET_ACCEPT)
    part = fit.part(tables=tables, suppress_below=suppress_below)
    written = write([part], out_folder, settings, command=command, below=suppress_below)
    borrowed = fit.borrowed.lines if fit.borrowed else ()
    for line in (*borrowed, *lines(fit.analysis, bool(suppress_below)), *written.lines):
        out.print(plain(line), soft_wrap=True)
    return None if fit.converged else EXIT_NOT_CONVERGED


if __name__ == "__main__":
    run(main)

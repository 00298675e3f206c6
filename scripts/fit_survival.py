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
    from her2bayes.evidence.patients.follow_up import read_follow_up
    from her2bayes.evidence.patients.landmarks import read_landmarks
    from her2bayes.evidence.patients.mapped_endpoint import Wanted
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store
    from her2bayes.page.shared import check_shared
    from her2bayes.survival import analysis, checks
    from her2bayes.survival import report as files
    from her2bayes.survival.borrowing import section as borrowing

    check_shared(out_folder, suppress_below, external or ())

    def say(text: str) -> None:
        log.print(plain(text))

    factors = {**files.factors(by or []), **dict.fromkeys(frailty or [])}
    wanted = Wanted(time, event, entry, cause, ignore_entry, time_unit, event_code)
    opened = files.open_source(cohort, map_, wanted, list(factors))
    title = opened.title
    scheme, number = files.cuts(cuts)
    question = analysis.Question(
        study=files.slug(cohort.stem),
        title=title,
        model=model,
        interactions=interactions,
        nested=files.assigned(nested or [], "--nested"),
        frailty=tuple(frailty or ()),
        cuts=scheme,
        intervals=number or analysis.DEFAULT_INTERVALS,
        reference=files.assigned(reference or [], "--reference"),
        times=tuple(files.numbers(times, "--times")),
        priors=analysis.elicited(files.numbers(prior_median, "--prior-median")),
        landmarks=read_landmarks(landmarks) if landmarks else None,
    )
    columns: dict[str, Any] = {
        **opened.columns,
        "patient": patient or None,
        "time_unit": time_unit,
        "event_code": event_code or None,
        "censored_codes": censored_code or (),
        "missing": files.several(missing or [], "--missing"),
        "member": member,
        "nonpositive": files.choice(nonpositive, "--nonpositive", ("refuse", "drop")),
        "longest": longest,
        "many_levels": frailty or (),
    }
    follow_up = read_follow_up(opened.source, by=factors, **columns)
    asked = borrowing.Asked(robust_weight, tuple(discount or ()), trials, scheduler)
    columns["member"] = external_member
    elsewhere = borrowing.read(external or [], follow_up, factors, asked, question, columns)
    for name, read in {title: follow_up, **elsewhere}.items():
        for line in files.cohort_text(read, name):
            say(line)
    sampling = (
        Sampling(draws=600, tune=400, chains=2, seed=seed, target_accept=0.95)
        if quick
        else Sampling(seed=seed, target_accept=0.95)
    )
    store = None if suppress_below else Store(out_folder / "fits")
    result = analysis.run(follow_up, question, store, sampling, say)
    first = next((name for name in result.levels if name), "")
    tables = {}
    if not suppress_below:
        tables["checks"] = checks.predictive_check(result, first, seed)
    if compare and not suppress_below:
        tables["comparison"] = checks.compare_models(result, store, sampling, say)
        for name in [*question.frailty, *([first] if first else [])][:1]:
            tables["left_out"] = checks.leave_one_group_out(result, name, store, sampling, say)
    borrowed = borrowing.run(result, elsewhere, asked, store, sampling, say)
    tables |= borrowed.tables
    command: dict[str, Any] = {"by": by or [], "model": model, "cuts": cuts}
    command |= {"time": time, "event": event}
    if external:
        command |= {"external": list(map(str, external)), "robust_weight": robust_weight}
    written = files.write(
        result, out_folder, cohort, sampling, quick, tables, command, borrowed.sections,
        suppress_below,
    )  # fmt: skip
    for line in (*borrowed.summary, *written.summary):
        out.print(plain(line), soft_wrap=True)
    return EXIT_NOT_CONVERGED if written.failed or borrowed.failed else None


if __name__ == "__main__":
    run(main)

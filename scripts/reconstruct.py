"""Patients from what papers show: digitised curves, or printed survival numbers, to data sets.

The result is an ensemble, not one data set: its spread is what the figure leaves open. Every member
has the printed numbers of patients, at risk and (where given) events.
"""

from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import log, out, plain, run, watching
from her2bayes.errors import EXIT_NOT_CONVERGED, BadInput, Fault

Pairs = Annotated[
    list[str],
    typer.Option("--coords", help="Points of a curve: FILE, or ARM=FILE; repeat for several arms."),
]


def curve(
    coords: Pairs,
    at_risk: Annotated[
        Path, typer.Option(help="Numbers at risk: arm, time, n_at_risk, or 77 (1).")
    ],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the results.")],
    events: Annotated[
        list[str] | None, typer.Option(help="Printed total of events: ARM=NUMBER; repeat.")
    ] = None,
    ensemble: Annotated[int, typer.Option(min=1, help="Number of data sets.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
) -> None:
    """Digitised Kaplan-Meier curves and numbers at risk to patients, with the match to the figure.

    Writes patients.parquet (member, arm, time, event), match.csv (one row a member and arm) and,
    for several arms, hazard_ratios.csv (each arm against the first).
    """
    from her2bayes.cohorts.fitted import reconstruct
    from her2bayes.evidence.patients.digitised import read_curve

    files = {arm: Path(path) for arm, path in (_pair(text, "") for text in coords)}
    totals = {arm: _whole(text, number) for text in events or [] for arm, number in [_pair(text)]}
    arms = read_curve(files, at_risk, events=totals)
    for arm in arms.values():
        log.print(plain(f"{arm.name}: {arm.at_risk[0]} patients, {arm.time.size} points"))
    fit = reconstruct(arms, ensemble=ensemble, seed=seed)
    out.print(plain(fit.ensemble.summary()))
    for path in fit.write(out_folder):
        out.print(plain(path), soft_wrap=True)


def summary(
    study: Annotated[str, typer.Option(help="Study: its id, or a folder with the evidence.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the results.")],
    endpoint: Annotated[str, typer.Option(help="Endpoint; all of the study by default.")] = "",
    coords: Annotated[
        list[str] | None,
        typer.Option(help="Digitised curve: FILE of all patients, or her2=low=FILE; repeat."),
    ] = None,
    at_risk: Annotated[
        Path | None, typer.Option(help="Numbers at risk: arm, time, n_at_risk; alone they will do.")
    ] = None,
    events: Annotated[
        list[str] | None, typer.Option(help="Printed total of events: her2=low=NUMBER; repeat.")
    ] = None,
    baseline: Annotated[
        str,
        typer.Option(help="Baseline hazard: equal_intervals, equal_deaths, log_time or mixture."),
    ] = "",
    ensemble: Annotated[int, typer.Option(min=1, help="Number of cohorts.")] = 50,
    reading: Annotated[
        list[str] | None, typer.Option(help="AXIS=VALUE, e.g. follow_up=reverse; repeat.")
    ] = None,
    held_out: Annotated[
        list[str] | None, typer.Option(help="Claim that is not used but predicted; repeat.")
    ] = None,
    sweeps: Annotated[
        int | None,
        typer.Option(min=1, help="Sweeps kept of each chain; the study says how many by default."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
    keep: Annotated[
        Path | None,
        typer.Option(help="Keep the chains in this folder; reports look in data/reconstructed."),
    ] = None,
) -> int | None:
    """Printed numbers of a paper to cohorts of patients that meet every one of them.

    Digitised curves of the same paper join its numbers, or numbers at risk alone. A run that was
    stopped goes on where it was, given the same folder.
    Writes, for each endpoint, ENDPOINT_patients.parquet (member, factors, time in months, event),
    ENDPOINT_match.csv (every printed number in every cohort), ENDPOINT_diagnostics.csv (agreement
    of the chains) and ENDPOINT_chains.csv; over all of them estimates.csv and report.html.
    """
    from her2bayes.cohorts.fitted import reconstruct
    from her2bayes.evidence.printed.study import load_study
    from her2bayes.inference.progress import waiting

    log.print("where this version has not run before, it is compiled: two or three minutes")
    readings = dict(_reading(text) for text in reading or [])
    files = {arm: Path(path) for arm, path in (_last_pair(text, "all") for text in coords or [])}
    totals = {arm: _whole(text, n) for text in events or [] for arm, n in [_last_pair(text)]}
    loaded = load_study(study)
    with watching() as show, waiting("reconstructing", loaded.id):
        fit = reconstruct(
            loaded, curves=files or None, at_risk=at_risk, events=totals or None,
            endpoint=endpoint or None, reading=readings, held_out=held_out or (),
            baseline=baseline or None, ensemble=ensemble, sweeps=sweeps, seed=seed, anew=True,
            keep=keep, store=out_folder,
            tell=lambda done, total: show(done, total, "sweeps"),
        )  # fmt: skip
    for part in fit.endpoints:
        out.print(plain(part.ensemble.text()))
    for row in fit.predicted().to_dict("records"):
        out.print(plain(
            f"not used: {row['statistic']} {row['printed']}, in the cohorts {row['median']:.3g} "
            f"({row['lower']:.3g} to {row['upper']:.3g}), P {row['p_value']:.2f}"
        ))  # fmt: skip
    for path in fit.write(out_folder):
        out.print(plain(path), soft_wrap=True)
    return None if fit.converged else EXIT_NOT_CONVERGED


def _reading(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark:
        raise BadInput(Fault("not AXIS=VALUE", value=text, allowed="e.g. --reading cox=pairwise"))
    return name.strip(), value.strip()


def _pair(text: str, unnamed: str | None = None) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if mark:
        return name.strip(), value.strip()
    if unnamed is None:
        raise BadInput(Fault("not ARM=NUMBER", value=text, allowed="e.g. --events treated=94"))
    return unnamed, text


def _last_pair(text: str, unnamed: str | None = None) -> tuple[str, str]:
    """The same where the name may hold a mark: her2=low=FILE."""
    name, mark, value = text.rpartition("=")
    return (name.strip(), value.strip()) if mark else _pair(text, unnamed)


def _whole(text: str, number: str) -> int:
    if not number.isdigit():
        raise BadInput(Fault("not a number of events", value=text, allowed="ARM=NUMBER"))
    return int(number)


if __name__ == "__main__":
    run({"curve": curve, "summary": summary})

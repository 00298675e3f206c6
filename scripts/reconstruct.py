"""Patients from what papers show: a digitised survival curve back to data sets that fit it.

The result is an ensemble, not one data set: its spread is what the figure leaves open. Every member
has the printed numbers of patients, at risk and (where given) events.
"""

from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import log, out, plain, run
from her2bayes.errors import BadInput, Fault

Pairs = Annotated[
    list[str],
    typer.Option("--coords", help="Points of a curve: FILE, or ARM=FILE; repeat for several arms."),
]


def curve(
    coords: Pairs,
    at_risk: Annotated[Path, typer.Option(help="Numbers at risk: arm, time, n_at_risk.")],
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
    from her2bayes.evidence.digitised import read_digitised
    from her2bayes.reconstruction.ensemble import reconstruct_arms, write

    files = {arm: Path(path) for arm, path in (_pair(text, "") for text in coords)}
    totals = {arm: _whole(text, number) for text in events or [] for arm, number in [_pair(text)]}
    arms = read_digitised(files, at_risk, totals)
    for arm in arms.values():
        log.print(plain(f"{arm.name}: {arm.at_risk[0]} patients, {arm.time.size} points"))
    result = reconstruct_arms(arms, ensemble, seed)
    out.print(plain(result.summary()))
    for path in write(result, out_folder):
        out.print(plain(path), soft_wrap=True)


def _pair(text: str, unnamed: str | None = None) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if mark:
        return name.strip(), value.strip()
    if unnamed is None:
        raise BadInput(Fault("not ARM=NUMBER", value=text, allowed="e.g. --events treated=94"))
    return unnamed, text


def _whole(text: str, number: str) -> int:
    if not number.isdigit():
        raise BadInput(Fault("not a number of events", value=text, allowed="ARM=NUMBER"))
    return int(number)


if __name__ == "__main__":
    run({"curve": curve})

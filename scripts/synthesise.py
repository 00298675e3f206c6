"""Fit several studies as one model: what holds on average, in each study, and in a new one.

--study names a published study or a study folder; repeat it (`bash scripts/run studies` lists what
there is). --estimand is share (HER2 classes), transition (primary to recurrence) or an effect, such
as "hazard_ratio[os ; her2: low vs zero]". --by names moderators: setting and year of a study, and
one factor whose levels the studies print (hr_status). A study enters with the classes or cells that
it prints; one that says nothing on the question is left out and named.
Writes estimates.csv, studies.csv (who gives what, who is left out and why), classical.csv,
report.html, figures/ and fits/. --influence refits without each study and under other priors on
the spread between studies: influence.csv, prior_sensitivity.csv (effects have them anyway).
Exit code 3: everything is written, but a fit did not converge.
"""

from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import log, out, plain, run
from her2bayes.errors import EXIT_NOT_CONVERGED


def main(
    study: Annotated[list[str], typer.Option(help="A published study, or a folder; repeat.")],
    estimand: Annotated[str, typer.Option(help="share, transition, or an effect.")] = "share",
    by: Annotated[
        list[str] | None, typer.Option(help="Moderator: setting, year, or a factor; repeat.")
    ] = None,
    pairs: Annotated[
        str, typer.Option(help="Which two readings, for transitions: primary to recurrence, ...")
    ] = "",
    reading: Annotated[
        str, typer.Option(help="Reading of printed effects: multivariable, ...")
    ] = "",
    influence: Annotated[
        bool, typer.Option(help="Refit without each study, and under other priors.")
    ] = False,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path(
        "reports/out/synthesis"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer draws and chains; labelled as such.")
    ] = False,
) -> int | None:
    import her2bayes as hb

    log.print(plain(f"fitting: {estimand} in {len(study)} studies"))
    fit = hb.synthesise(
        study, estimand, moderators=by or (), pairs=pairs, reading=reading,
        influence=influence, quick=quick, seed=seed, store=out_folder / "fits",
    )  # fmt: skip
    command = {"studies": study, "estimand": estimand, "by": by or [], "pairs": pairs}
    written = hb.report(fit, out=out_folder, command=command)
    for name, why in fit.about.left_out.items():
        out.print(plain(f"left out: {name}: {why}"), soft_wrap=True)
    for line in (fit.title, *fit.told(), *written.lines):
        out.print(plain(line), soft_wrap=True)
    return EXIT_NOT_CONVERGED if written.failed else None


if __name__ == "__main__":
    run(main)

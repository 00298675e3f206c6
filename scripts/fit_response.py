"""Fit response rates across subgroups of patients, with or without evidence from outside.

--table is a CSV file with the columns factor, level, responders, patients (factor and level empty
for all patients) and, where there is more than one, response (orr, dcr). Each factor is an analysis
of its own: its levels must not share patients. Rates are pooled with robust exchangeability
(EXNEX); --typical sets the prior's typical rate and --exchangeable its weight.
--external is a CSV file with the columns study, responders, patients (and response): the row of all
patients is then analysed under every choice of borrowing. --weight is the weight of the outside
evidence in a robust prior: it has no default and may be given several times. A median without
interval or events is no evidence that can be borrowed.
Writes estimates.csv (columns of the evidence table), operating_characteristics.csv, report.html,
figures/ and fits/. Exit code 3: everything is written, but a fit did not converge.
"""

from pathlib import Path
from typing import Annotated

import typer

from her2bayes.cli import log, out, plain, run
from her2bayes.errors import EXIT_NOT_CONVERGED


def main(
    table: Annotated[Path, typer.Option(help="CSV of responders and patients by level.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path(
        "reports/out/response"
    ),
    external: Annotated[
        Path | None, typer.Option(help="CSV of responders and patients of other studies.")
    ] = None,
    weight: Annotated[
        list[float] | None, typer.Option(help="Weight of the outside evidence, 0 to 1; repeat.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Rate in percent to compare with (else the outside rate).")
    ] = None,
    typical: Annotated[float, typer.Option(help="Typical rate before the data, percent.")] = 50.0,
    exchangeable: Annotated[
        float, typer.Option(help="Prior probability that a level is exchangeable.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer draws and chains; labelled as such.")
    ] = False,
) -> int | None:
    from her2bayes.page.report import write
    from her2bayes.rates.fitted import fit_response

    fit = fit_response(
        table,
        external=external,
        weight=weight,
        threshold=threshold,
        typical=typical,
        exchangeable=exchangeable,
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

"""Reproduce papers: Published | Reproduced | Posterior, one page for each study.

Reads what each paper prints, audits every number, fits the models its evidence allows, and writes
for each study evidence.csv, findings.csv, report.html and run.json, and an index of all.
Fits are kept, so that an unchanged second run takes seconds.
Exit code 3: everything is written, but a fit did not converge and says so wherever it is quoted.
"""

from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from her2bayes.cli import log, out, plain, run
from her2bayes.errors import EXIT_NOT_CONVERGED


def main(
    study: Annotated[
        list[str] | None,
        typer.Option(help="Shipped study (shi2023, ni2025) or a study folder; repeat for several."),
    ] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the reports.")] = Path(
        "reports/out"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 20230221,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer draws and chains; labelled as such.")
    ] = False,
) -> int | None:
    from rich.table import Table

    from her2bayes.reports.build import Settings, load_studies, write_index
    from her2bayes.reports.parallel import build_studies

    start = monotonic()
    studies = load_studies(study or ["shi2023", "ni2025"])

    def watch(name: str, text: str) -> None:
        log.print(plain(f"{monotonic() - start:4.0f} s  {name}: {text}"))

    outcomes = build_studies(studies, out_folder, Settings(seed, quick), watch)
    index = write_index(out_folder)

    table = Table("Study", "Verdicts", "Findings", "Fits", box=None, pad_edge=False)
    for outcome in outcomes:
        record = outcome.record
        verdicts = ", ".join(
            f"{n} {v.replace('_', ' ')}" for v, n in record["verdicts"].items() if n
        )
        fits = f"{len(record['fits'])}, {len(outcome.failed)} not converged"
        table.add_row(
            plain(record["study"]["id"]), verdicts, str(len(record["findings"])), plain(fits)
        )
    out.print(table)
    for outcome in outcomes:
        for line in outcome.failed:
            out.print(plain(f"Not converged: {outcome.record['study']['id']}: {line}"))
    out.print(plain(index), soft_wrap=True)
    return EXIT_NOT_CONVERGED if any(outcome.failed for outcome in outcomes) else None


if __name__ == "__main__":
    run(main)

"""Reproduce papers: Published | Reproduced | Posterior, one page for each study.

Reads what each paper prints, audits every number, fits the models its evidence allows, and writes
for each study key_results.csv, evidence.csv, findings.csv, report.html and run.json, and an index.
Fits are kept, and a report that would come out the same is left alone.
Exit code 3: everything is written, but a fit did not converge and says so wherever it is quoted.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from her2bayes.cli import log, out, plain, run
from her2bayes.errors import EXIT_NOT_CONVERGED

if TYPE_CHECKING:
    from her2bayes.page.report import Outcome


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
    from her2bayes.evidence.printed.study import load_studies
    from her2bayes.inference.sampling import Settings
    from her2bayes.reproduce.build import write_index
    from her2bayes.reproduce.parallel import build_studies

    studies = load_studies(study or ["shi2023", "ni2025"])
    with watching() as watch:
        outcomes = build_studies(studies, out_folder, Settings(seed, quick), watch)
    index = write_index(out_folder)
    print_summary(outcomes)
    print_key_results(outcomes)
    out.print(plain(index), soft_wrap=True)
    return EXIT_NOT_CONVERGED if any(outcome.failed for outcome in outcomes) else None


@contextmanager
def watching() -> Iterator[Callable[[str, str], None]]:
    """Show what is being done: one moving line a study on a terminal, else a line for each step."""
    from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

    from her2bayes.inference.progress import hearing
    from her2bayes.reproduce.build import UNCHANGED, WRITTEN

    start = monotonic()
    if not log.is_terminal:
        yield lambda name, text: log.print(plain(f"{monotonic() - start:4.0f} s  {name}: {text}"))
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=log) as progress, hearing(lambda _: None):
        tasks: dict[str, TaskID] = {}

        def watch(name: str, text: str) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=None)
            progress.update(tasks[name], description=str(plain(f"{name}: {text}")))
            if text in (WRITTEN, UNCHANGED):
                progress.update(tasks[name], total=1, completed=1)

        yield watch


def print_summary(outcomes: "Iterable[Outcome]") -> None:
    """Print one line a study, then every fit that did not converge."""
    from rich.table import Table

    table = Table("Study", "Distinct quantities", "Findings", "Fits", box=None, pad_edge=False)
    failed = []
    for outcome in outcomes:
        record = outcome.record
        verdicts = [f"{n} {v.replace('_', ' ')}" for v, n in record["verdicts"].items() if n]
        fits = f"{len(record['fits'])}, {len(outcome.failed)} not converged"
        name = record["study"]["id"]
        table.add_row(plain(name), ", ".join(verdicts), str(len(record["findings"])), plain(fits))
        failed += [f"Not converged: {name}: {line}" for line in outcome.failed]
    out.print(table)
    for line in failed:
        out.print(plain(line), style="bold red", soft_wrap=True)


SENSITIVITY = "Sensitivity"


def print_key_results(outcomes: "Iterable[Outcome]") -> None:
    """Print the headline results of each study: published, reproduced, posterior, verdict."""
    from rich.table import Table

    for outcome in outcomes:
        rows = outcome.record.get("key_results", [])
        if not rows:
            continue
        name = outcome.record["study"]["id"]
        quantity, *numbers = (column for column in rows[0] if column != SENSITIVITY)
        table = Table(quantity, box=None, pad_edge=False, title_justify="left")
        for column in numbers:
            table.add_column(column, overflow="fold")  # a number is never cut
        table.title = f"Key results of {name}; intervals 95 %: confidence, posterior credible"
        for row in rows:
            table.add_row(*(plain(row[column]) for column in (quantity, *numbers)))
        out.print(table)
        for row in rows:
            if row.get(SENSITIVITY):
                out.print(plain(f"Sensitivity of {row[quantity]}: {row[SENSITIVITY]}"))


if __name__ == "__main__":
    run(main)

"""Check every number a paper prints against its other numbers, without fitting anything.

Reports all faults of the input at once; without faults it prints the verdicts and findings and
writes evidence.csv (prior and posterior columns empty) and findings.csv for each study.
"""

from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from her2bayes.cli import out, plain, run


def main(
    study: Annotated[
        list[str] | None,
        typer.Option(help="Shipped study (shi2023, ni2025) or a study folder; repeat for several."),
    ] = None,
    out_folder: Annotated[
        Path, typer.Option("--out", help="Folder of the tables; one folder a study in it.")
    ] = Path("reports/out"),
) -> None:
    from rich.table import Table

    from her2bayes.audit.audit import audit, evidence_rows
    from her2bayes.audit.claims import counted, quantities
    from her2bayes.evidence.printed.study import load_studies
    from her2bayes.files import csv_text, publish

    start = monotonic()
    studies = load_studies(study or ["shi2023", "ni2025"])
    results = [(item, audit(item)) for item in studies]
    for item, result in results:
        tables = {
            "evidence.csv": csv_text(evidence_rows(item, result)),
            "findings.csv": csv_text(result.findings),
        }
        publish(out_folder / item.id, tables)

    for item, result in results:
        evidence = evidence_rows(item, result)
        counts = Counter(quantities(evidence)["verdict"])
        verdicts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.most_common())
        out.print(plain(f"{item.id}: {counted(evidence)}: {verdicts}"), style="bold")
        if result.conclusions:
            out.print(plain(result.conclusions))
        table = Table("", "Kind", "Finding", box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for finding in result.findings.itertuples():
            number = str(finding.finding_id).rpartition(".")[2]
            table.add_row(number, plain(finding.kind), plain(finding.sentence))
        out.print(table if len(result.findings) else "No findings.")
        for remark in item.remarks:
            out.print(plain(f"Look again: {remark}"))
        out.print(plain(out_folder / item.id), soft_wrap=True)
    out.print(plain(f"{monotonic() - start:.1f} s"))


if __name__ == "__main__":
    run(main)

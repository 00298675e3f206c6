"""What ``fit_response`` and ``fit_adverse_events`` write: one folder of results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd

from her2bayes import __version__
from her2bayes.evidence.printed.schema import SCHEMA_VERSION
from her2bayes.files import csv_text, publish
from her2bayes.inference.digest import versions
from her2bayes.inference.sampling import Sampling
from her2bayes.page import methods
from her2bayes.page.evidence_table import join_unprinted
from her2bayes.page.failures import failures
from her2bayes.page.numbers import interval
from her2bayes.page.page import StudyPage
from her2bayes.page.page_files import monte_carlo_file, study_files
from her2bayes.page.section import Section


@dataclass(frozen=True)
class Written:
    """What the user is told: lines of the summary and what did not converge."""

    summary: tuple[str, ...]
    failed: tuple[str, ...]


def slug(path: Path) -> str:
    """Name of an analysis from that of its file."""
    return re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "table"


def write(
    family: str,
    source: Path,
    out: Path,
    section: Section,
    estimates: pd.DataFrame,
    classical: pd.DataFrame,
    sampling: Sampling,
    quick: bool,
    tables: Mapping[str, pd.DataFrame],
    first: Sequence[str] = (),
) -> Written:
    """Write estimates.csv, the further ``tables``, figures/ and report.html into ``out``.

    ``first``: what the user must know before the numbers, the first lines of the summary.
    """
    name = slug(source)
    evidence = join_unprinted(name, estimates, classical)
    about = {
        "id": name, "title": source.stem, "design": "table of counts", "doi": "",
        "citation": source.name, "digest": sha256(source.read_bytes()).hexdigest(),
    }  # fmt: skip
    run = {
        "package_version": __version__, "schema_version": SCHEMA_VERSION, "seed": sampling.seed,
        "quick": quick, "sampling": asdict(sampling), "versions": versions(), "study": about,
    }  # fmt: skip
    empty = pd.DataFrame(columns=["finding_id", "claim_ids", "kind", "sentence"], dtype=str)
    cohort = Section("cohort", "Table", (f"Counts read from {source.name}.",))
    pages = study_files(
        StudyPage(
            study=about, evidence=evidence, findings=empty, cohort=cohort, sections=(section,),
            absent=(), methods=methods.methods([family], quick),
            notices=(methods.QUICK,) if quick else (), run=run,
            table_file="estimates.csv", index=False,
        )
    )  # fmt: skip
    files = {"estimates.csv": csv_text(evidence)}
    files |= {f"{n}.csv": csv_text(table) for n, table in tables.items() if len(table)}
    files |= monte_carlo_file(estimates)
    publish(out, files | pages)
    return _told(estimates, out, first)


def _told(estimates: pd.DataFrame, out: Path, first: Sequence[str]) -> Written:
    lines = list(first)
    for row in estimates.to_dict("records"):
        median, low, high = (row[f"posterior_{part}"] for part in ("median", "lower", "upper"))
        reading = f" ({row['reading']})" if row["reading"] else ""
        lines.append(
            f"{row['estimand']}{reading} {interval(median, low, high, unit=row['unit'])} %"
        )
    failed = failures(estimates)
    return Written((*lines, *failed, str(out / "report.html")), failed)

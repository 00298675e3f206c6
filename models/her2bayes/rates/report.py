"""What ``fit_response`` and ``fit_adverse_events`` do with a user's tables: read, fit, write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from her2bayes.bayes.prior import Prior, prior
from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.printed.adverse_events import AdverseEvents, read_adverse_events
from her2bayes.evidence.printed.count_tables import (
    notes,
    read_event_table,
    read_external_table,
    read_response_table,
)
from her2bayes.inference.store import Store
from her2bayes.page.numbers import interval
from her2bayes.page.report import Part, slug
from her2bayes.page.report import write as write_report
from her2bayes.page.section import Section
from her2bayes.rates import borrowed_rates as borrowed
from her2bayes.rates import event_estimates, two_arm_estimates
from her2bayes.rates import event_estimates as compared
from her2bayes.rates import response_estimates as analysis
from her2bayes.rates import section_events as adverse_events_report
from her2bayes.rates import section_response as response_report
from her2bayes.rates import section_two_arms as two_arms_report
from her2bayes.rates.borrowing import Outside
from her2bayes.rates.rate_exact import own_sd

if TYPE_CHECKING:
    import xarray as xr

    from her2bayes.inference.sampling import Settings

Say = Callable[[str], None]


def priors(typical: float, exchangeable: float) -> dict[str, Prior]:
    """Priors of ``bayes.response`` worth one patient at the rate ``typical`` (fraction)."""
    centre, width = log(typical / (1 - typical)), own_sd(typical)
    return {
        "mu": prior("Normal", mu=centre, sigma=width),
        "rate_alone": prior("Normal", mu=centre, sigma=width),
        "weight": prior("Constant", value=exchangeable),
    }


def write_response(
    table: Path,
    out: Path,
    external: Path | None,
    weights: tuple[float, ...],
    threshold: float | None,
    given: Mapping[str, Prior],
    settings: Settings,
    say: Say,
) -> Written:
    """Analyse a table of responses; every input is checked before the first draw."""
    tables, borrowings = _inputs(table, external, weights, threshold, given)
    store = Store(out / "fits")
    result = analysis.run_counts(
        slug(table.stem, "table"), tables, borrowings, store, settings.sampling, say, priors=given
    )
    more = [one.table.assign(response=one.group) for one in borrowings]
    part = _part(
        "response", table, response_report.section(result), result,
        {"operating_characteristics": pd.concat(more) if more else pd.DataFrame()},
    )  # fmt: skip
    return _write(part, out, settings,
        [*_notes(table, external), *response_report.left_out(result)],
    )  # fmt: skip


def _inputs(
    table: Path,
    external: Path | None,
    weights: tuple[float, ...],
    threshold: float | None,
    given: Mapping[str, Prior],
) -> tuple[dict[tuple[str, str], xr.Dataset], list[borrowed.Borrowing]]:
    faults = _weight_faults(external, weights, given)
    tables: dict[tuple[str, str], xr.Dataset] = {}
    studies: dict[str, list[tuple[str, int, int]]] = {}
    for read in (
        lambda: tables.update(read_response_table(table)),
        lambda: studies.update(read_external_table(external) if external else {}),
    ):
        try:
            read()
        except BadInput as bad:
            faults += bad.faults
    faults += [
        Fault(f"no row of all patients for the response '{name}'", table,
              remedy="add a row with empty factor and level, which borrows from outside")
        for name in studies if tables and (name, "") not in tables
    ]  # fmt: skip
    raise_if(faults)
    borrowings = []
    for name, rows in studies.items():
        outside = Outside(tuple(y for _, y, _ in rows), tuple(n for _, _, n in rows))
        whole = tables[name, ""]
        cell = int(whole["responders"][0]), int(whole["patients"][0])
        source = ", ".join(study for study, _, _ in rows)
        borrowings.append(
            borrowed.borrow(name, *cell, outside, source, threshold=threshold, weights=weights)
        )
    return tables, borrowings


def _weight_faults(
    external: Path | None, weights: tuple[float, ...], given: Mapping[str, Prior]
) -> list[Fault]:
    faults = [
        Fault("weight of the outside evidence", column="--weight", value=w, allowed="0 to 1")
        for w in weights
        if not 0 <= w <= 1
    ]
    if external and not weights:
        remedy = "say how far you trust the outside evidence, e.g. --weight 0.5; repeat for several"
        faults.append(Fault("--external needs --weight, which has no default", remedy=remedy))
    if weights and not external:
        faults.append(Fault("--weight without --external", remedy="name the outside evidence"))
    share = float(given["weight"]["value"])
    if not 0 <= share <= 1:
        faults.append(Fault("--exchangeable is no probability", value=share, allowed="0 to 1"))
    return faults


def write_adverse_events(
    table: Path,
    out: Path,
    thresholds: tuple[float, float],
    settings: Settings,
    say: Say,
    external: Sequence[Path] = (),
) -> Written:
    """Analyse a table of adverse events: one arm at two severities, or two arms.

    ``external``: tables of one arm of other studies, to compare one arm with.
    """
    rows = read_event_table(table)
    store = Store(out / "fits")
    sampling = settings.sampling
    if len(set(rows["arm"])) > 1:
        if external:
            problem = "two arms are compared with each other, not with --external"
            raise_if([Fault(problem, table, remedy="give the rows of one arm")])
        arms = two_arm_estimates.read(rows, table)
        both = two_arm_estimates.run(slug(table.stem, "table"), arms, store, sampling, say)
        tables = {"differences": both.differences}
        part = _part("adverse_events", table, two_arms_report.section(both), both, tables)
        return _write(part, out, settings, _notes(table))
    events = read_adverse_events(rows, table)
    elsewhere = {file.stem: _one_arm(file) for file in external}
    compared.check(events, elsewhere)
    result = event_estimates.analyse(
        slug(table.stem, "table"), events, store, sampling, say, thresholds=thresholds
    )
    found = compared.compare(result.events, result.draws, elsewhere)
    section = adverse_events_report.section(result, found)
    part = _part("adverse_events", table, section, result, {"external": found})
    return _write(part, out, settings, [*_notes(table, *external), *events.contradictions()])


@dataclass(frozen=True)
class Written:
    """What the user is told: lines of the summary and what did not converge."""

    summary: tuple[str, ...]
    failed: tuple[str, ...]


class _Result(Protocol):
    @property
    def estimates(self) -> pd.DataFrame: ...
    @property
    def classical(self) -> pd.DataFrame: ...


def _part(
    family: str, source: Path, section: Section, result: _Result, tables: Mapping[str, pd.DataFrame]
) -> Part:
    return Part(
        family,
        (section,),
        result.estimates,
        result.classical,
        about={
            "id": slug(source.stem, "table"), "title": source.stem, "design": "table of counts",
            "doi": "", "citation": source.name, "digest": sha256(source.read_bytes()).hexdigest(),
        },
        cohort=Section("cohort", "Table", (f"Counts read from {source.name}.",)),
        tables=tables,
    )  # fmt: skip


def _write(part: Part, out: Path, settings: Settings, first: Sequence[str]) -> Written:
    """Write the report; ``first`` is what the user must know before the numbers."""
    outcome = write_report([part], out, settings, command={})
    lines = list(first)
    for row in part.estimates.to_dict("records"):
        median, low, high = (row[f"posterior_{end}"] for end in ("median", "lower", "upper"))
        reading = f" ({row['reading']})" if row["reading"] else ""
        lines.append(
            f"{row['estimand']}{reading} {interval(median, low, high, unit=row['unit'])} %"
        )
    return Written((*lines, *outcome.lines), outcome.failed)


def _notes(*files: Path | None) -> list[str]:
    """What of the files read is not used, and what was checked in them."""
    return [line for file in files if file is not None for line in notes(file)]


def _one_arm(file: Path) -> AdverseEvents:
    rows = read_event_table(file)
    arms = sorted(set(rows["arm"]))
    if len(arms) > 1:
        raise_if([Fault("an external table has one arm", file, None, "arm", ", ".join(arms),
                        remedy="keep the rows of the arm to compare with")])  # fmt: skip
    return read_adverse_events(rows, file)

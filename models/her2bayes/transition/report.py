"""What ``fit_transitions`` reads and writes: cohorts or a study in, one folder of results out.

The ledger rows of a study that speak of transitions, joined with their estimates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import parse
from her2bayes.evidence.patients.cohort import Cohort, read_cohort
from her2bayes.evidence.patients.maps import load_map, map_path
from her2bayes.inference.store import Store
from her2bayes.page.evidence_table import Claims, join
from her2bayes.page.numbers import interval
from her2bayes.page.report import Outcome, Part, write
from her2bayes.page.small_cells import conceal_flow
from her2bayes.transition.draws import ANSWERED

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Settings
    from her2bayes.transition.paper import Result


def study_evidence(study: Study, result: Result) -> pd.DataFrame:
    """Evidence table of the study's claims on transitions, audited, and of what is not printed."""
    from her2bayes.audit.audit import audit, evidence_rows

    audited = evidence_rows(study, audit(study))
    wanted = {
        row["claim_id"]
        for row in study.ledger.to_dict("records")
        if _of_transitions(str(row["estimand"]))
    }
    part = Claims(study.id, study.ledger[study.ledger["claim_id"].isin(wanted)])
    printed = audited[audited["claim_id"].isin(wanted)]
    return join(part, printed, result.estimates, result.classical)


def _of_transitions(text: str) -> bool:
    asked = parse(text)
    return asked.kind in ANSWERED or (
        asked.kind == "association" and asked.outcome == "discordance"
    )


Say = Callable[[str], None]


@dataclass(frozen=True)
class Written:
    """What the user is told: lines of the summary and the fits that did not converge."""

    summary: tuple[str, ...]
    failed: tuple[str, ...]


def read_cohorts(where: Sequence[Path], maps: Sequence[str]) -> Cohort:
    """Read each cohort through its map and pool them; all faults of all files together."""
    from her2bayes.transition.cohort import pool

    if len(where) != len(maps):
        text = f"{len(where)} cohorts and {len(maps)} maps"
        raise BadInput(Fault(text, remedy="give one --map for each --cohort, in the same order"))
    faults: list[Fault] = []
    cohorts = []
    for folder, name in zip(where, maps, strict=True):
        try:
            cohorts.append(read_cohort(load_map(map_path(name)), folder))
        except BadInput as bad:
            faults += bad.faults
    if faults:
        raise BadInput(faults)
    return pool(cohorts)


def flow_text(cohort: Cohort, by: Sequence[str] = ()) -> str:
    """The cohort before anything is fitted, one line a rule."""
    from her2bayes.transition.cohort import unused

    lines = [f"{cohort.title}: {len(cohort.patients)} patients"]
    lines += [f"  {line}" for line in (*cohort.remarks, *unused(cohort, by))]
    for stage, rows in cohort.flow.groupby("stage", sort=False):
        lines.append(f"{stage}" + (f" ({rows['of'].iloc[0]})" if stage != "notes" else ""))
        for row in rows.to_dict("records"):
            result = f" = {row['result']}" if row["result"] and row["result"] != row["rule"] else ""
            mark = "" if row["outcome"] == "kept" else "  [set aside]"
            lines.append(f"  {row['count']:>6}  {row['rule']}{result}{mark}")
    return "\n".join(lines)


def write_cohort(
    cohort: Cohort, by: Sequence[str], out: Path, settings: Settings, say: Say,
    *, assay: bool = True, below: int = 0,
) -> Written:  # fmt: skip
    """Fit the cohort and write its folder; ``assay`` adds the model of fallible readings.

    With ``below`` a report to share: counts below it hidden, no classical rows, no fits.
    """
    from her2bayes.transition import section_cohort as report
    from her2bayes.transition.cohort import Specification, pairs_of, run_pairs

    pairs = pairs_of(cohort, by)
    store = None if below else Store(out / "fits")
    how = Specification(assay=assay, sampling=settings.sampling, store=store)
    result = run_pairs(pairs, how, say)
    shown = replace(result, classical=result.classical.iloc[:0]) if below else result
    flow = conceal_flow(cohort.flow, below) if below else cohort.flow
    part = Part(
        "transition",
        (report.pairs_section(result, below),),
        result.estimates,
        shown.classical,
        about={"id": cohort.id, "title": cohort.title, "design": "patient data", "doi": "",
               "citation": cohort.source.get("citation", ""), "digest": cohort.digest},
        cohort=report.cohort_section(pairs, below),
        tables={"flow": flow},
        evidence_kind="patients",
    )  # fmt: skip
    outcome = write([part], out, settings, command={"by": list(by)}, below=below)
    return _told(result.estimates, outcome)


def _told(estimates: pd.DataFrame, outcome: Outcome) -> Written:
    lines = [_line(estimates, name) for name in ("discordance[]", "agreement[her2]")]
    return Written((*filter(None, lines), *outcome.lines), outcome.failed)


def _line(estimates: pd.DataFrame, estimand: str) -> str:
    rows = estimates[(estimates["estimand"] == estimand) & (estimates["reading"] == "")]
    if rows.empty:
        return ""
    row = rows.iloc[0]
    values = (row["posterior_median"], row["posterior_lower"], row["posterior_upper"])
    return f"{estimand} {interval(*values)}{row['unit'] and ' ' + row['unit']} (95 % interval)"


def write_study(name: str, out: Path, settings: Settings, say: Say) -> Written:
    """Analyse the printed facts of a study (shipped name or folder) and write its folder."""
    from her2bayes.evidence.printed.study import load_study, study_folder
    from her2bayes.page.cohort import cohort_section
    from her2bayes.transition import paper
    from her2bayes.transition import section as report

    study = load_study(study_folder(name))
    if not paper.applies(study):
        remedy = "add transition_facts.csv (data/README.md), or give patients with --cohort"
        raise BadInput(Fault("the study prints no facts on pairs", value=name, remedy=remedy))
    result = paper.run(study, Store(out / "fits"), settings.sampling, say)
    about = {"id": study.id, "title": study.title, "digest": study.digest} | {
        key: str(study.meta.get(key, "")) for key in ("citation", "doi", "design")
    }
    part = Part(
        "transition",
        (report.section(result),),
        result.estimates,
        about=about,
        cohort=cohort_section(study),
        tables={"flow": facts_flow(result.facts, result)},
        evidence=study_evidence(study, result),
    )
    return _told(result.estimates, write([part], out, settings, command={}))


def facts_flow(facts: pd.DataFrame, result: Any) -> pd.DataFrame:
    """Every printed fact and whether it could be used: the flow table of a paper."""
    barred: dict[str, str] = {}
    for item in result.latent.impossible:
        for fact in item.facts:
            barred.setdefault(fact, f"contradicts others under the reading '{item.reading}'")
    used = {fact for a in result.latent.analyses for fact in a.tables.fact_id}
    outcome = ["kept" if fact in used else "set aside" for fact in facts["fact_id"]]
    notes = [barred.get(fact, "") for fact in facts["fact_id"]]
    return facts.assign(outcome=outcome, note=notes)

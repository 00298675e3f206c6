"""From a study or fits to a folder of reports: audit, fits, evidence table, page, record.

The analyses a report can hold; a new one is one line here and a folder of its own.

``answers`` gives ``applies(study) -> bool`` and ``run(study, store, sampling)`` (with ``say``
where it tells of its steps; ``fits`` names another function that does this), whose result holds
``estimates`` and, where it has any, ``classical`` (both keyed by estimand); ``report`` gives
``section(result) -> Section`` with the fits behind it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import Estimand, is_percent, parse
from her2bayes.evidence.printed.schema import SCHEMA_VERSION
from her2bayes.files import changed_files, csv_text, digests, publish
from her2bayes.inference.sampling import Settings
from her2bayes.page import page
from her2bayes.page.evidence_table import join, together
from her2bayes.page.fit_card import failed_fits
from her2bayes.page.numbers import probability
from her2bayes.page.report import (
    QUICK,
    RECORD,
    Outcome,
    Part,
    methods,
    monte_carlo_file,
    record_text,
    run_record,
    stances,
    study_files,
    write,
)
from her2bayes.page.section import Section, Table
from her2bayes.page.section_view import quantity_counts
from her2bayes.page.shared import check_shared
from her2bayes.reproduce.provenance import SUMMARY, basis
from her2bayes.results.fitted import Fitted

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.evidence.printed.tables import Conclusion
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store


@dataclass(frozen=True)
class Family:
    """One analysis by its modules; ``missing`` says what a paper without it lacks."""

    name: str
    label: str
    missing: str
    answers: str
    report: str
    fits: str = ""

    def applies(self, study: Study) -> bool:
        """Tell whether the printed evidence of a study allows the analysis."""
        return bool(import_module(f"her2bayes.{self.answers}").applies(study))

    def run(
        self,
        study: Study,
        store: Store | None,
        sampling: Sampling,
        say: Callable[[str], None],
    ) -> Any:
        """Fit what the analysis fits, or read it from the store; ``say`` is told of each step."""
        module, _, name = (self.fits or f"{self.answers}.run").rpartition(".")
        run = getattr(import_module(f"her2bayes.{module}"), name)
        told = {"say": say} if "say" in signature(run).parameters else {}
        return run(study, store=store, sampling=sampling, **told)

    def section(self, result: Any) -> Section:
        """Report a result."""
        section: Section = import_module(f"her2bayes.{self.report}").section(result)
        return section


FAMILIES = (
    Family(
        "distribution",
        "HER2 status distribution",
        "no table of HER2 status (zero, low, positive) is printed, so shares are not modelled",
        "distribution.estimates",
        "distribution.section",
    ),
    Family(
        "transition",
        "HER2 status from primary to recurrence",
        "no fact on pairs of primary and recurrence is printed",
        "transition.paper",
        "transition.section",
    ),
    Family(
        "reconstructed_survival",
        "Survival from printed numbers",
        "reconstruction.toml beside it names no endpoint to report",
        "cohorts.analysis",
        "cohorts.section",
    ),
    Family(
        "response",
        "Response",
        "no responses are printed",
        "rates.responses",
        "rates.section_response",
        "rates.fitted.fit_response",
    ),
    Family(
        "adverse_events",
        "Adverse events",
        "no adverse events are printed",
        "rates.events",
        "rates.section_events",
        "rates.fitted.fit_adverse_events",
    ),
)


Say = Callable[[str], None]


WRITTEN = "report written"
UNCHANGED = "nothing has changed since the report was written"


def check_folders(studies: Sequence[Study], out: Path) -> None:
    """Refuse, before the first draw, report folders that are inputs or cannot be written."""
    faults = []
    for study in studies:
        folder = out / study.id
        if folder.resolve() == study.folder.resolve():
            problem, remedy = "the report would land among its inputs", "give another --out"
            faults.append(Fault(problem, file=folder, remedy=remedy))
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            problem = "the report cannot be written here"
            faults.append(Fault(problem, file=existing, remedy="give a folder that can be written"))
    raise_if(faults)


def analyse(study: Study, family: Family, out: Path, settings: Settings, say: Say) -> Part:
    """Fit one family to a study, or read its fits from ``<out>/<study>/fits``, and report it."""
    from her2bayes.inference.store import Store

    store = Store(out / study.id / "fits")
    result = family.run(study, store, settings.sampling, say)
    say(f"drawing: {family.label}")
    if isinstance(result, Fitted):
        return replace(result.part(), family=family.name)
    classical = getattr(result, "classical", None)
    return Part(
        family.name,
        (family.section(result),),
        result.estimates,
        pd.DataFrame() if classical is None else classical,
        stances=getattr(result, "stances", {}),
    )


def write_study(
    study: Study,
    parts: Sequence[Part],
    folder: Path,
    settings: Settings,
    say: Say = lambda _: None,
    *,
    fits: Mapping[str, bytes] | None = None,
    absent: Sequence[str] = (),
) -> Outcome:
    """Audit a study, join its parts and write ``folder``.

    ``say`` is told what is being done; ``fits`` are files of fits to keep beside the page;
    ``absent`` says what the evidence does not allow. Raises ``BadInput`` where the folder cannot be
    written.
    """
    from her2bayes.audit.audit import audit, evidence_rows

    say("auditing the printed numbers")
    audited = audit(study)
    estimates = _estimates(parts, settings.quick)
    findings = _findings(study, audited.findings, parts, estimates)
    say("writing the report")
    classical = _classical(study, estimates, parts)
    evidence = join(study, evidence_rows(study, audited), estimates, classical)
    record = _record(study, settings, evidence, findings, estimates)
    report = replace(_page(study, evidence, findings, parts, record, folder), absent=tuple(absent))
    record["key_results"] = report.key_results.short.to_dict("records")
    files: dict[str, str | bytes] = {
        "evidence.csv": csv_text(evidence),
        "findings.csv": csv_text(findings),
        **monte_carlo_file(estimates),
        **study_files(report),
        **(fits or {}),
    }
    kept = basis(study, folder, settings.sampling, FAMILIES)
    record = {**record, "files": digests(files), "basis": kept}
    publish(folder, {**files, RECORD: record_text(record)})
    say(WRITTEN)
    return outcome(folder, record)


def absent(present: Sequence[str]) -> tuple[str, ...]:
    """One sentence for each family that a paper's printed evidence does not allow."""
    return tuple(f"{f.label}: {f.missing}." for f in FAMILIES if f.name not in present)


def outcome(folder: Path, record: Mapping[str, Any]) -> Outcome:
    """What came out for a study, from the record of its run."""
    return Outcome(folder, record, tuple(record["failed_fits"]))


def write_index(out: Path) -> Path:
    """Write ``<out>/index.html`` over every study folder in ``out`` that holds a run.

    A run whose files no longer have the digests it recorded is listed with a notice.
    """
    records = []
    for path in sorted(out.glob(f"*/{RECORD}")):
        record = json.loads(path.read_text("utf-8"))
        if record.get("schema_version") == SCHEMA_VERSION and "evidence.csv" in record["files"]:
            records.append({**record, "changed": changed_files(path.parent, record["files"])})
    publish(out, {"index.html": page.render_index(records)})
    return out / "index.html"


def _findings(
    study: Study, audited: pd.DataFrame, parts: Sequence[Part], estimates: pd.DataFrame
) -> pd.DataFrame:
    """Findings of the audit, then the predictive checks of the fits that are rare.

    What the audit says of a difference between subgroups goes on with the models' answer.
    """
    from her2bayes.audit.findings import SUBGROUP
    from her2bayes.cohorts.estimates import compared_subgroups

    audited, asked = audited.copy(), study.ledger.set_index("claim_id")["estimand"]
    for place in audited.index[audited["kind"] == SUBGROUP]:
        first, *_ = str(audited.loc[place, "claim_ids"]).split()
        audited.loc[place, "sentence"] += compared_subgroups(parse(asked[first]), estimates)
    cards = {
        card["fit_id"]: card for part in parts for section in part.sections for card in section.fits
    }
    rare = [sentence for card in cards.values() for sentence in card.get("warnings", ())]
    rows = [
        (f"{study.id}.fit.{i:02d}", "", "predictive_check", sentence)
        for i, sentence in enumerate(rare, start=1)
    ]
    added = pd.DataFrame(rows, columns=audited.columns).astype(str)
    return pd.concat([audited, added], ignore_index=True) if rows else audited


def _estimates(parts: Sequence[Part], quick: bool) -> pd.DataFrame:
    from her2bayes.inference.estimates import ESTIMATE_COLUMNS

    tables = [part.estimates for part in parts if not part.estimates.empty]
    if not tables:
        return pd.DataFrame(columns=list(ESTIMATE_COLUMNS))
    table = together(tables)
    if quick:
        table["note"] = [f"{note}; quick run" if note else "quick run" for note in table["note"]]
    return table


def _classical(study: Study, estimates: pd.DataFrame, parts: Sequence[Part]) -> pd.DataFrame:
    """Classical rows of the HER2 tables, and those a family brings along."""
    from her2bayes.distribution.classical import classical_rows

    wanted = [*study.ledger["estimand"], *estimates["estimand"]]
    tables = [classical_rows(study.status_counts(), wanted)]
    tables += [part.classical for part in parts if not part.classical.empty]
    return pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]


def _record(
    study: Study,
    settings: Settings,
    evidence: pd.DataFrame,
    findings: pd.DataFrame,
    estimates: pd.DataFrame,
) -> dict[str, Any]:
    fits = estimates[["fit_id", "model"]].drop_duplicates()
    about = {"id": study.id, "title": study.title}
    about |= {key: str(study.meta.get(key, "")) for key in ("citation", "doi", "design")}
    found = {
        "summary": page.summary(evidence),
        "verdicts": {v["verdict"]: v["count"] for v in quantity_counts(evidence)},
        "findings": list(findings["sentence"]),
        "fits": dict(zip(fits["fit_id"], fits["model"], strict=True)),
        "failed_fits": failed_fits(estimates),
    }
    return run_record({**about, "digest": study.digest}, settings, found)


def _page(
    study: Study,
    evidence: pd.DataFrame,
    findings: pd.DataFrame,
    parts: Sequence[Part],
    record: Mapping[str, Any],
    folder: Path,
) -> page.StudyPage:
    from her2bayes.page.cohort import cohort_section

    present = [part.family for part in parts]
    notices = [QUICK] if record["quick"] else []
    notices += [f"Not converged: {line}" for line in record["failed_fits"]]
    return page.StudyPage(
        study=record["study"],
        evidence=evidence,
        findings=findings,
        cohort=cohort_section(study),
        sections=(
            *(section for part in parts for section in part.sections),
            *filter(None, [conclusions_section(study, folder)]),
        ),
        absent=(),
        methods=methods(present, bool(record["quick"])),
        notices=tuple(notices),
        run=record,
        headline=study.headline,
        stances=stances(parts, _said(study, folder)),
    )


def _said(study: Study, folder: Path) -> dict[str, str]:
    """What the sensitivity analysis in ``folder`` says of each estimand: conclusion and verdict."""
    tested = _tested(folder / SUMMARY)
    found: dict[str, list[str]] = {}
    for item in study.conclusions:
        row = tested.get(str(item))
        if row:
            for asked, relation, number in _both_ways(item):
                limit = f"{100 * number:g} %" if is_percent(asked.kind) else f"{number:.3g}"
                text = f"{relation} {limit}: {row['stance']}, {row['robust']}"
                found.setdefault(str(asked), []).append(text)
    return {estimand: "; ".join(texts) for estimand, texts in found.items()}


def _both_ways(item: Conclusion) -> Iterator[tuple[Estimand, str, float]]:
    """A conclusion, and where it compares hazards that on the inverse ratio, which is the same."""
    asked, versus = item.estimand, item.estimand.contrast
    yield asked, item.relation, item.number
    if asked.kind == "hazard_ratio" and versus is not None and item.number > 0:
        turned = replace(asked, contrast=replace(versus, a=versus.b, b=versus.a))
        yield turned, "<" if item.relation == ">" else ">", 1 / item.number


TITLE = "Does the conclusion survive?"
_LINKS = (("sensitivity.html", "Every scenario: which choice moves a conclusion, where it tips"),)


def conclusions_section(study: Study, folder: Path) -> Section | None:
    """Conclusions of a study, with the ranges of the analysis in ``folder`` where there is one.

    None where the study lists none. Only rows whose statement is still that of the study are shown.
    """
    if not study.conclusions:
        return None
    tested = _tested(folder / SUMMARY)
    rows = []
    for item in study.conclusions:
        found = tested.get(str(item), {})
        rows.append(
            {
                "Conclusion": str(item),
                "Where": item.locator,
                "Read from": item.note,
                **({"As reported": _stance(found), "Over all scenarios": _range(found)}
                   if tested else {}),
            }
        )  # fmt: skip
    command = f"bash scripts/run sensitivity --study {study.id}"
    text = (
        "Each conclusion was asked again under other priors, models, counts and readings, starting "
        "from the analysis of this report. It holds where its probability is 0.975 or more (or "
        "what --holds says), fails where that of its opposite is, and is robust where every "
        "scenario that fits the data and the question says the same. "
        "Scenarios are choices that could have been made, so their number is no probability."
        if tested
        else f"These statements have not been tested yet: {command} asks them again under other "
        "priors, models, counts and readings, and the answers then stand here."
    )
    return Section(
        "conclusions", TITLE, (text,), tables=(Table("Conclusions", pd.DataFrame(rows)),),
        links=_LINKS if tested else (),
    )  # fmt: skip


def _tested(file: Path) -> dict[str, dict[str, object]]:
    if not file.is_file():
        return {}
    table = pd.read_csv(file)
    return {str(row["statement"]): row for row in table.to_dict(orient="records")}  # type: ignore[misc]


def _stance(row: dict[str, object]) -> str:
    return f"{row['stance']} (P {probability(row['probability'])})" if row else "not tested"


def _range(row: dict[str, object]) -> str:
    if not row:
        return ""
    least, most = probability(row["least"]), probability(row["most"])
    return f"{row['robust']}: P {least} to {most}"


def report(
    fits: Fitted | Sequence[Fitted],
    *,
    out: str | Path,
    title: str = "",
    suppress_below: int = 0,
    study: Study | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    command: Mapping[str, Any] | None = None,
) -> Outcome:
    """Write one folder about one fit or several: what a reader needs, and what a script reads.

    ``report.html`` (and the same as ``report.md``, its answers as ``report.docx``),
    ``estimates.csv`` (columns of the evidence table), ``classical.csv``, ``checks.csv``
    (predictive checks), ``monte_carlo.csv``, ``figures/`` as SVG, ``tables/`` for LaTeX,
    ``tables.typ`` for Typst, ``fits/`` that ``load_fit`` reads, and ``run.json`` (versions, seed,
    settings, digests). All appear together or not at all.

    ``title`` heads the page; ``tables`` are further ones by the name of their file; ``command`` is
    what a script was asked, for the page's record. With ``suppress_below`` counts from 1 to one
    less are hidden, and neither classical rows nor fits are written. With ``study`` the printed
    numbers of a paper stand beside the fits, audited, as ``reproduce`` shows them: evidence.csv
    and findings.csv.

    Returns the folder, its record and what did not converge; printing it says both. Raises
    ``BadInput`` for a folder that cannot be written, or that holds files when a report to share is
    asked for.

    >>> import her2bayes as hb
    >>> hb.report([fit, os], out="results")  # doctest: +SKIP
    """
    known = list(fits) if isinstance(fits, Sequence) else [fits]
    folder = Path(out)
    if not known:
        raise BadInput(Fault("nothing to report", remedy="give one fit or several"))
    if study is not None and suppress_below:
        raise_if([Fault("suppress_below is for patients", remedy="leave it out for a study")])
    check_shared(folder, suppress_below)
    parts = [fit.part(suppress_below=suppress_below) for fit in known]
    settings = known[0].settings
    settings = replace(settings, quick=any(fit.settings.quick for fit in known))
    if study is not None:
        return write_study(study, parts, folder, settings, fits=_saved(known))
    about = {**parts[0].about, **({"title": title} if title else {})}
    parts[0] = replace(parts[0], about=about, tables={**parts[0].tables, **(tables or {})})
    if suppress_below:
        return write(parts, folder, settings, command=command, below=suppress_below)
    more = [_with_tables(part, fit) for part, fit in zip(parts, known, strict=True)]
    return write(more, folder, settings, command=command, beside=_saved(known))


def _with_tables(part: Part, fit: Fitted) -> Part:
    """The part with its classical rows and predictive checks as files."""
    from her2bayes.inference.predictive import predictive_checks

    checks = [
        predictive_checks(one.tree).assign(fit=name, fit_id=one.fit_id)
        for name, one in fit.fits.items()
        if {"replicates", "observed_data"} <= set(one.tree.children)
    ]
    found = {"classical": part.classical}
    found |= {"checks": pd.concat(checks, ignore_index=True)} if checks else {}
    return replace(part, tables={**found, **part.tables})


def _saved(fits: Sequence[Fitted]) -> dict[str, bytes]:
    from her2bayes.results.fitted import content

    return {f"fits/{fit.family}-{fit.fit_id}.nc": content(fit) for fit in fits}

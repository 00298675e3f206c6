"""What ``sensitivity`` reads and writes: conclusions in, a table and a page out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.printed.conclusions import FILE, load_conclusions, vocabulary
from her2bayes.files import csv_text, digests, publish
from her2bayes.inference.sampling import Sampling, Settings
from her2bayes.page.numbers import count, probability
from her2bayes.page.page import AnalysisPage
from her2bayes.page.report import QUICK, analysis_files, record_text, run_record
from her2bayes.sensitivity import run as analysis
from her2bayes.sensitivity.not_asked import not_asked
from her2bayes.sensitivity.section import section
from her2bayes.sensitivity.target import Target

if TYPE_CHECKING:
    from her2bayes.evidence.patients.cohort import Cohort
    from her2bayes.evidence.patients.follow_up import FollowUp
    from her2bayes.evidence.printed.study import Study
    from her2bayes.survival.analysis import Question

METHODS = (
    "The reported analysis is the one of the report, read from its fits. "
    "Each choice is changed alone, and the two numeric choices that move a conclusion most are "
    "then crossed. Scenarios that change only scales of priors start from draws under the widest "
    "of them: importance weights, the ratio of the joint densities, are Pareto-smoothed and used "
    "if k-hat is below min(0.7, 1 - 1/log10 S) and the effective sample size of the weighted "
    "draws is at least 400; otherwise the model is fitted again. All others are fitted again. "
    "The probability of a conclusion under the prior of each scenario stands beside it in the "
    "table: where the two are alike, the data said little.",
    "Hazard ratios of a paper come from its reconstructed cohorts where the report has them. "
    "Otherwise, and as a choice beside them, the printed interval stands alone: a normal "
    "likelihood of the log hazard ratio times a normal prior, which takes the paper's model and "
    "estimator as they are. Rates have the models of the report; one binomial with a beta prior "
    "is a choice beside them.",
    "Power-scaling raises the prior of top-level parameters, or the likelihood, to a power near 1 "
    "and asks how far the estimate moves (Kallioinen et al. 2024).",
)


@dataclass(frozen=True)
class Asked:
    """What is to be analysed: who it is, the targets, and the folder of the results."""

    about: Mapping[str, str]
    targets: tuple[Target, ...]
    folder: Path


def from_study(name: str, conclusions: Path | None, out: Path) -> Asked:
    """Conclusions of a shipped study or a study folder, or those of a file instead."""
    from her2bayes.evidence.printed.study import load_study, study_folder

    study = load_study(study_folder(name))
    asked = load_conclusions(conclusions, study.words) if conclusions else study.conclusions
    if not asked:
        remedy = f"write {FILE} into the folder (data/README.md), or give --conclusions FILE"
        raise BadInput(Fault("the study lists no conclusions", file=study.folder, remedy=remedy))
    _check_folder(study, out)
    return Asked(_about(study), tuple(analysis.study_targets(study, asked)), out / study.id)


def from_follow_up(
    follow_up: FollowUp,
    question: Question,
    conclusions: Path,
    source: Path,
    out: Path,
    *,
    elsewhere: Mapping[str, FollowUp] | None = None,
    definitions: Mapping[str, FollowUp] | None = None,
) -> Asked:
    """Conclusions on survival of a cohort, with other studies and other definitions."""
    from her2bayes.survival.sensitivity import target

    words = vocabulary(follow_up.factors, (follow_up.endpoint,))
    asked = load_conclusions(conclusions, words)
    about = {"id": question.study, "title": question.title, "citation": source.name, "doi": ""}
    made = target(follow_up, question, asked, elsewhere=elsewhere, definitions=definitions)
    return Asked(about, (made,), out / question.study)


def from_pairs(
    cohort: Cohort, conclusions: Path, out: Path, definitions: Mapping[str, Cohort] | None = None
) -> Asked:
    """Conclusions on the change of HER2 class in a cohort with paired readings."""
    from her2bayes.transition.sensitivity_pairs import targets

    classes = {"her2": cohort.categories, "her2_primary": cohort.categories}
    asked = load_conclusions(conclusions, vocabulary({**cohort.factors, **classes}))
    about = {
        "id": cohort.id,
        "title": cohort.title,
        "citation": cohort.source.get("citation", ""),
        "doi": "",
    }
    return Asked(about, tuple(targets(cohort, asked, definitions)), out / cohort.id)


def write(
    asked: Asked, result: analysis.Result, sampling: Sampling, quick: bool, minutes: float
) -> tuple[list[str], list[str]]:
    """Write the tables of scenarios, conclusions and what is not asked, the page and its record.

    Returns lines for the user: one a conclusion, and what did not converge.
    """
    failed = [
        f"{row['conclusion']}: {row['not_converged']}"
        for row in result.summary.to_dict("records")
        if row["not_converged"]
    ]
    about = dict(asked.about)
    run = run_record(about, Settings(sampling.seed, quick, sampling.target_accept)) | {
        "limits": asdict(result.limits),
        "scenarios": analysis.methods_used(result.table),
        "seconds": {name: round(value, 1) for name, value in result.seconds.items()},
        "minutes": round(minutes, 2),
    }
    notices = [QUICK] if quick else []
    notices += [f"Not converged: {line}" for line in failed]
    report = "report.html" if (asked.folder / "report.html").exists() else ""
    pages = analysis_files(
        AnalysisPage(
            asked.about,
            "sensitivity analysis",
            f"{count(len(result.conclusions), 'conclusion')}: {_counted(result.summary)}.",
            (section(result),),
            METHODS,
            tuple(notices),
            {name: value for name, value in run.items() if name != "study"},
            report,
        ),
        "sensitivity",
    )
    files = {
        "sensitivity.csv": csv_text(result.table),
        "sensitivity_not_asked.csv": csv_text(not_asked(result.targets)),
        "sensitivity_summary.csv": csv_text(result.summary),
        **pages,
    }
    record = record_text({**run, "files": digests(files)})
    publish(asked.folder, {**files, "sensitivity.json": record})
    return [_line(row) for row in result.summary.to_dict("records")], failed


def _line(row: Mapping[Any, Any]) -> str:
    return (
        f"{row['stance']:<9} {row['robust']:<8} P {probability(row['probability'])} "
        f"({probability(row['least'])} to {probability(row['most'])})  {row['statement']}"
    )


def _counted(summary: pd.DataFrame) -> str:
    """How many conclusions have each stance as reported, and how many of them are robust."""
    parts = []
    for stance, rows in summary.groupby("stance", sort=False):
        robust = int((rows["robust"] == "robust").sum())
        parts.append(f"{len(rows)} {stance} as reported ({robust} in every scenario tried)")
    return ", ".join(parts)


def _about(study: Study) -> dict[str, str]:
    about = {"id": study.id, "title": study.title, "digest": study.digest}
    return about | {key: str(study.meta.get(key, "")) for key in ("citation", "doi")}


def _check_folder(study: Study, out: Path) -> None:
    folder = out / study.id
    faults = []
    if folder.resolve() == study.folder.resolve():
        remedy = "give another --out"
        faults.append(Fault("the results would land among the inputs", folder, remedy=remedy))
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        remedy = "give a folder that can be written"
        faults.append(Fault("the results cannot be written here", existing, remedy=remedy))
    raise_if(faults)


def forget(folder: Path) -> None:
    """Remove stored scenarios, so that everything is computed again."""
    for path in folder.glob("*.nc"):
        path.unlink()

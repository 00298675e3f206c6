"""What ``fit_survival --external`` reads and writes: other studies in, tables and a section out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from her2bayes.analysis import survival_borrowing as analysis
from her2bayes.analysis.survival import Question, Result
from her2bayes.analysis.survival_operating import Design, operating_characteristics
from her2bayes.bayes.prior import complete
from her2bayes.bayes.survival import DEFAULT_PRIORS
from her2bayes.classical import survival as km
from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.external_survival import read_external
from her2bayes.evidence.follow_up import FollowUp
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.inference.workers import cluster
from her2bayes.reports import survival_borrowing as report
from her2bayes.reports.failures import failures
from her2bayes.reports.numbers import number
from her2bayes.reports.section import Section, Table

Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """Options of borrowing: see ``scripts/fit_survival.py``."""

    robust_weight: float | None = None
    discounts: tuple[float, ...] = ()
    trials: int = 0
    scheduler: str = ""


@dataclass(frozen=True)
class Written:
    """Tables to write, sections of the page, lines for the user."""

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()
    summary: tuple[str, ...] = ()
    failed: bool = False


def read(
    files: Sequence[Path],
    own: FollowUp,
    by: Mapping[str, Any],
    asked: Asked,
    question: Question,
    columns: Mapping[str, Any],
) -> dict[str, FollowUp]:
    """Patients of other studies; ``BadInput`` for them, and for what cannot be borrowed."""
    if not files:
        given = {
            "--robust-weight": asked.robust_weight, "--discount": asked.discounts or None,
            "--operating-characteristics": asked.trials or None,
        }  # fmt: skip
        raise_if(
            [
                Fault(f"{name} needs patients of another study", value=value,
                      remedy="give --external FILE")
                for name, value in given.items() if value is not None
            ]
        )  # fmt: skip
        return {}
    raise_if(analysis.faults(question, own, asked.robust_weight, asked.discounts))
    return read_external(files, own, by, **columns)


def run(
    result: Result,
    elsewhere: Mapping[str, FollowUp],
    asked: Asked,
    store: Store | None,
    sampling: Sampling,
    say: Say,
) -> Written:
    """Borrow, simulate trials where asked for, and put both into tables and a section."""
    if not elsewhere:
        return Written()
    found = analysis.borrow(
        result, elsewhere, store, sampling, say,
        robust_weight=asked.robust_weight, discounts=asked.discounts or analysis.DISCOUNTS,
    )  # fmt: skip
    tables = {"borrowing": found.table, "tipping": found.tipping}
    further: tuple[Table, ...] = ()
    if asked.trials:
        with cluster(asked.scheduler) as client:
            trials = operating_characteristics(
                design(found, asked), asked.trials, client, sampling.seed, say
            )
        tables["operating_characteristics"] = trials
        further = (_trials(trials, design(found, asked)),)
    failed = failures(found.table)
    lines = (*analysis.summary(found), *(f"Borrowing: {line}" for line in failed))
    return Written(tables, (report.section(found, further),), lines, bool(failed))


def design(found: analysis.Borrowed, asked: Asked) -> Design:
    """Trials like the own study, for the operating characteristics."""
    own = found.result.follow_up
    followed = km.quantile(found.result.counts, [], reverse=True)["estimate"]
    months = float(followed.iloc[0])
    prior = complete(found.result.question.priors, DEFAULT_PRIORS)["reference_log_hazard"]
    return Design(
        own.patients,
        months if months == months else own.last_time,  # NaN: hardly anybody was censored
        found.external.events,
        found.external.months,
        prior["mu"],
        prior["sigma"],
        asked.robust_weight,
        asked.discounts or analysis.DISCOUNTS,
    )


def _trials(trials: pd.DataFrame, of: Design) -> Table:
    rows = [
        {
            "Choice": row["choice"],
            "True hazard, times external": number(row["ratio"], 2),
            "Type-I error": number(100 * row["type_1_error"], 1),
            "Bias": number(row["bias"], 3),
            "RMSE": number(row["rmse"], 3),
            "Coverage": number(100 * row["coverage"], 1),
            "Width": number(row["width"], 2),
        }
        for row in trials.to_dict("records")
    ]
    number_of = int(trials["trials"].iloc[0])
    caption = (
        f"{number_of:,} simulated trials a row of {of.patients} patients followed for "
        f"{of.months:.1f} months, with one constant hazard; external patients as given. Every "
        "posterior is computed, none sampled. Type-I error: percent of trials that claim, with "
        "97.5 % certainty, a hazard below the true one (nominally 2.5 %; standard error up to "
        f"{100 * 0.5 / number_of**0.5:.1f} points). Bias, RMSE and width of the 95 % interval on "
        "the log hazard; coverage in percent."
    )
    return Table("What each choice does over repeated trials", pd.DataFrame(rows), caption)

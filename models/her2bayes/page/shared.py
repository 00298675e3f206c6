"""A report to share: small counts hidden, and nothing else that patients' records give directly.

What is left are counts (``small_cells``) and answers of the models. Answers of the models are not
protected: a posterior of a small group is itself informative, and who knows every other count, the
seed and the versions can run the model for each value a hidden count may have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from her2bayes.errors import Fault, raise_if
from her2bayes.page.evidence_table import POSTERIOR_NUMBERS
from her2bayes.page.page import StudyPage
from her2bayes.page.section import Section, Table
from her2bayes.page.small_cells import WITHHELD, conceal_tables

SHARED = (
    "This report is made to be shared. Small counts are hidden, and what follows from patients "
    "without a model is not shown: Kaplan–Meier steps, patients at risk, classical estimates and "
    "tests, predictive checks, fits. Answers of the models are not protected by this: the "
    "posterior of a small group tells something of its patients."
)
HIDDEN = (
    f"{WITHHELD.capitalize()}: a larger number, or none, that would give a hidden one away by "
    "subtraction."
)
_DIGITS = 3  # significant digits of the models' numbers


def check_shared(folder: Any, below: int, external: Sequence[Any] = ()) -> None:
    """Refuse a folder that holds something: files of an unshared run would lie beside.

    Borrowing is refused too: its tables hold what patients elsewhere and here say of each other.
    """
    full = below and folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    remedy = "give a new folder for the report that is shared"
    faults = [Fault("the folder is not empty", file=folder, remedy=remedy)] if full else []
    if below and external:
        problem = "a report to share cannot hold borrowing"
        faults.append(Fault(problem, value="--external", remedy="leave --external out"))
    raise_if(faults)


def shared_page(page: StudyPage, below: int) -> StudyPage:
    """Take from a page what identifies the data: digests, ids of fits, digits without meaning.

    The id of a fit and the digest of its data are hashes of the counts: who knows all but one
    could try its few values.
    """
    ids = dict.fromkeys(str(f.get("fit_id", "")) for s in page.sections for f in s.fits)
    names = {fit_id: f"shared-{k}" for k, fit_id in enumerate(ids, 1)}
    evidence = page.evidence.assign(fit_id=page.evidence["fit_id"].map(lambda i: names.get(i, "")))
    for column in POSTERIOR_NUMBERS:
        evidence[column] = [_rounded(value) for value in evidence[column]]
    study = {k: v for k, v in page.study.items() if k != "digest"} | {"digest": ""}
    return replace(
        page,
        study=study,
        evidence=evidence,
        sections=tuple(_shared_section(s, names) for s in page.sections),
        notices=(*page.notices, f"Counts from 1 to {below - 1} are hidden."),
        run={**page.run, "study": study, "suppress_below": below},
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else value


def _shared_section(section: Section, names: Mapping[str, str]) -> Section:
    def table(one: Table) -> Table:
        if "fit_id" not in one.frame:
            return one
        known = one.frame["fit_id"].map(lambda i: names.get(i, ""))
        return replace(one, frame=one.frame.assign(fit_id=known))

    fits = [
        {
            **fit,
            "fit_id": names[str(fit.get("fit_id", ""))],
            "provenance": {
                k: v for k, v in fit.get("provenance", {}).items() if not k.startswith("Data")
            },
            "checks": (),  # hold observed counts
            "warnings": (),
        }
        for fit in section.fits
    ]
    return replace(section, tables=tuple(map(table, section.tables)), fits=tuple(fits))


def survival_counts(
    counts: pd.DataFrame, factors: Sequence[str], below: int
) -> list[tuple[str, str, str, str]]:
    """Factor, level, patients and events as text, of all patients and of each level.

    ``counts`` are TimeCounts. A factor whose levels lie within those of another one adds up to it
    in more ways than by its own table, so that all of its counts are withheld.
    """
    events = counts["patients"] * counts["event"]
    exits = pd.DataFrame({"events": events, "others": counts["patients"] - events})
    tables = {
        factor: exits.groupby(counts[factor], observed=True).sum().astype(int)
        for factor in factors
        if not any(_within(counts, factor, other) for other in factors if other != factor)
    }
    whole = exits.sum().astype(int).to_numpy()[None, :]
    total, texts = conceal_tables([whole, *(t.to_numpy() for t in tables.values())], below)
    known = dict(zip(tables, texts[1:], strict=True))
    rows = [("all patients", "", total[2], total[0])]
    for factor in factors:
        levels = list(dict.fromkeys(counts[factor].astype(str).sort_values()))
        lines = [[WITHHELD] * 3] * len(levels)
        if factor in tables:
            levels, lines = [str(level) for level in tables[factor].index], known[factor].tolist()
        rows += [
            (factor, level, line[2], line[0]) for level, line in zip(levels, lines, strict=True)
        ]
    return rows


def _within(counts: pd.DataFrame, fine: str, coarse: str) -> bool:
    """Whether each level of a factor occurs with one level of another that has several."""
    pairs = counts[[fine, coarse]].astype(str).drop_duplicates()
    return len(set(pairs[coarse])) > 1 and not pairs[fine].duplicated().any()

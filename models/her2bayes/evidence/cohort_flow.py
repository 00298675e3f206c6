"""What became of every row and patient: a table whose counts add up within each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from her2bayes.evidence.classify import UNKNOWN
from her2bayes.evidence.cohort_rows import CHOSEN_PATIENT, CHOSEN_PRIMARY, CHOSEN_RECURRENCE

if TYPE_CHECKING:
    from her2bayes.evidence.cohort import Cohort

Line = tuple[str, str, str, str, str, int]
FLOW_COLUMNS = ("stage", "unit", "rule", "result", "outcome", "count", "of")
_CHOSEN = (CHOSEN_RECURRENCE, CHOSEN_PRIMARY, CHOSEN_PATIENT)


def flow_table(cohort: Cohort, fates: pd.Series) -> pd.DataFrame:
    """Flow of a cohort: stages rows, patients, readings of both ends, pairs, factors, endpoints.

    Within a stage the counts add up to ``of``; ``outcome`` is ``kept`` or ``set aside``. The last
    stage, ``notes``, counts what is worth knowing but changes nothing.
    """
    patients = cohort.patients
    lines = [
        _line("rows", "rows", fate, "", fate in _CHOSEN, count) for fate, count in fates.items()
    ]
    lines += [
        _line("patients", "patients", text, "", kept, chosen.sum())
        for text, kept, chosen in _tissue(patients)
        if chosen.any()
    ]
    for end in ("primary", "recurrence"):
        sampled = patients[patients[f"{end}_sampled"]]
        counts = sampled[[f"{end}_rule", f"{end}_reading"]].value_counts(sort=False).sort_index()
        for rule, reading, count in counts.reset_index().itertuples(index=False):
            known = reading != UNKNOWN
            lines.append(_line(f"{end} reading", "patients", rule, reading, known, count))
    for text, count in _pair_kinds(patients, cohort.categories).items():
        lines.append(_line("pairs", "pairs", text, "", text != "unknown at both ends", count))
    for factor in cohort.factors:
        for level, count in patients[factor].value_counts().items():
            stage, rule = f"factor {factor}", level or "not known"
            lines.append(_line(stage, "patients", rule, level, bool(level), count))
    lines += _endpoints(cohort)
    frame = pd.DataFrame(lines, columns=list(FLOW_COLUMNS[:-1]))
    frame["of"] = frame.groupby("stage")["count"].transform("sum")
    return pd.concat([frame, _notes(cohort)], ignore_index=True)


def _line(stage: str, unit: str, rule: object, result: object, kept: bool, count: float) -> Line:
    return (stage, unit, str(rule), str(result), "kept" if kept else "set aside", int(count))


def _endpoints(cohort: Cohort) -> list[Line]:
    lines = []
    for name in cohort.endpoints:
        frame = cohort.patients[[f"{name}_months", f"{name}_event"]]
        known = frame.notna().all(axis=1)
        stage = f"endpoint {name}"
        lines.append(_line(stage, "patients", "time and event known", "", True, known.sum()))
        lines.append(_line(stage, "patients", "time or event missing", "", False, (~known).sum()))
    return lines


def _tissue(patients: pd.DataFrame) -> list[tuple[str, bool, pd.Series]]:
    primary, recurrence = patients["primary_sampled"], patients["recurrence_sampled"]
    return [
        ("primary and recurrence", True, patients["pair"]),
        ("recurrence earlier than the primary", False, primary & recurrence & ~patients["pair"]),
        ("primary only", False, primary & ~recurrence),
        ("recurrence only", False, recurrence & ~primary),
    ]


def _pair_kinds(patients: pd.DataFrame, categories: tuple[str, ...]) -> pd.Series:
    pairs = patients[patients["pair"]]
    exact = pd.DataFrame(
        {end: pairs[f"{end}_reading"].isin(categories) for end in ("primary", "recurrence")}
    )
    unknown = pd.DataFrame({end: pairs[f"{end}_reading"] == UNKNOWN for end in exact})
    kind = pd.Series("a set of classes at one end or both", index=pairs.index)
    kind[unknown.any(axis=1)] = "unknown at one end"
    kind[unknown.all(axis=1)] = "unknown at both ends"
    kind[exact.all(axis=1)] = "one class at both ends"
    return kind.value_counts()


def _notes(cohort: Cohort) -> pd.DataFrame:
    notes = dict(cohort.notes)
    for end in ("primary", "recurrence"):
        rule = cohort.patients[f"{end}_rule"]
        text = f"{end}: sources contradict each other, the rule decides"
        notes[text] = int(rule.str.contains(", the other negative|, verdict negative").sum())
    lines = [("notes", "patients", text, "", "kept", n, n) for text, n in notes.items() if n]
    return pd.DataFrame(lines, columns=list(FLOW_COLUMNS))

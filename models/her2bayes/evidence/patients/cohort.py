"""A patient file through its column map: one checked line a patient, and a flow table that adds up.

``read_cohort`` is the only reader of patient rows. It reports every fault of the files and the map
together (``BadInput``), or returns the cohort; nothing is repaired and nothing left out silently.

What became of every row and patient: a table whose counts add up within each stage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.classify import UNKNOWN, Scheme, classify
from her2bayes.evidence.patients import cohort_columns as columns
from her2bayes.evidence.patients.cohort_columns import (
    CHOSEN_PATIENT,
    CHOSEN_PRIMARY,
    CHOSEN_RECURRENCE,
    READ,
    choose_rows,
    read_rows,
)
from her2bayes.evidence.patients.cohort_sources import Sources, open_sources, row_faults
from her2bayes.evidence.patients.event_codes import Codes
from her2bayes.evidence.patients.maps import load_map
from her2bayes.evidence.patients.maps_schema import ColumnMap, FactorMap
from her2bayes.evidence.read_table import TextTable

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
    return pd.concat([frame, _flow_notes(cohort)], ignore_index=True)


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


def _flow_notes(cohort: Cohort) -> pd.DataFrame:
    notes = dict(cohort.notes)
    for end in ("primary", "recurrence"):
        rule = cohort.patients[f"{end}_rule"]
        text = f"{end}: sources contradict each other, the rule decides"
        notes[text] = int(rule.str.contains(", the other negative|, verdict negative").sum())
    lines = [("notes", "patients", text, "", "kept", n, n) for text, n in notes.items() if n]
    return pd.DataFrame(lines, columns=list(FLOW_COLUMNS))


ENDS = ("primary", "recurrence")


@dataclass(frozen=True)
class Cohort:
    """Patients under canonical names.

    ``patients``: ``patient_id``; for each end ``<end>_sampled`` (bool), ``<end>_reading`` (name of
    a set of classes, empty where there is no tissue), ``<end>_rule``, ``<end>_score``,
    ``<end>_ish``, ``<end>_overall``, ``hr_status_<end>``, ``<end>_time``; ``pair`` (bool);
    ``hr_status`` and the map's factors (text, empty = not known); for each endpoint
    ``<name>_months``, ``<name>_event`` (0/1), ``<name>_entry_months`` (NaN = not known) and
    ``<name>_cause`` (text). ``event_codes`` says by endpoint what each code was taken as,
    ``remarks`` how the files were read.
    ``factors`` gives each factor's levels in order. ``flow`` says what became of every row.
    """

    id: str
    title: str
    patients: pd.DataFrame
    flow: pd.DataFrame
    factors: Mapping[str, tuple[str, ...]]
    endpoints: tuple[str, ...]
    scheme: Scheme
    source: Mapping[str, str]
    digest: str
    notes: Mapping[str, int] = field(default_factory=dict)
    event_codes: Mapping[str, Codes] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def categories(self) -> tuple[str, ...]:
        """HER2 classes in order."""
        return self.scheme.categories


def read_cohort(mapped: ColumnMap | Path | str, where: Path | str | TextTable) -> Cohort:
    """Read the files that ``mapped`` names in folder ``where`` (or one table) into a cohort.

    Raises ``BadInput`` with all faults: missing or unknown columns with the nearest name, values
    that are not understood, repeated ids, reversed times, 2+ without any ISH.
    """
    mapped = mapped if isinstance(mapped, ColumnMap) else load_map(mapped)
    place = where if isinstance(where, TextTable) else Path(where)
    sources = open_sources(mapped, place)
    rows = read_rows(sources)
    chosen, ties = choose_rows(rows, sources)
    frame = _readings(chosen, rows, mapped)
    frame["pair"] = frame["recurrence_sampled"] & frame["primary_sampled"]
    reversed_ = _check_times(sources, frame, chosen)
    factors = _add_factors(sources, frame, chosen)
    _add_endpoints(sources, frame, chosen)
    raise_if(sources.faults)
    cohort = Cohort(
        id=mapped.id,
        title=mapped.title,
        patients=_classified(frame, mapped.scheme),
        flow=pd.DataFrame(),
        factors=factors,
        endpoints=tuple(e.name for e in mapped.endpoints),
        scheme=mapped.scheme,
        source=mapped.source,
        digest=_digest(sources),
        notes=_notes(sources, rows, ties, reversed_),
        remarks=sources.told,
        event_codes={e.name: columns.event_codes(sources, e) for e in mapped.endpoints},
    )
    return replace(cohort, flow=flow_table(cohort, rows["fate"].value_counts()))


def reclassified(cohort: Cohort, scheme: Scheme) -> Cohort:
    """Return the same patients under another rule, e.g. ``scheme.counting("0-1", "zero")``."""
    fates = cohort.flow[cohort.flow["stage"] == "rows"].set_index("rule")["count"]
    patients = _classified(cohort.patients, scheme)
    changed = replace(cohort, patients=patients, scheme=scheme)
    return replace(changed, flow=flow_table(changed, fates))


def _readings(chosen: pd.DataFrame, rows: pd.DataFrame, mapped: ColumnMap) -> pd.DataFrame:
    """Parsed readings of the chosen rows, one line a patient."""
    frame = pd.DataFrame({"patient_id": chosen["patient"]})
    for end in ENDS:
        block = end if end in mapped.blocks else "sample"
        at = chosen[f"{end}_row"].to_numpy()
        sampled = at >= 0
        frame[f"{end}_sampled"] = sampled
        for name in (*READ, "time"):
            target = f"hr_status_{end}" if name == "hr" else f"{end}_{name}"
            empty: Any = np.nan if name == "time" else ""
            values = rows.get(f"{block}.{name}", pd.Series(empty, index=rows.index)).to_numpy()
            frame[target] = np.where(sampled, values[at], empty)
    frame["hr_status"] = frame[f"hr_status_{mapped.rules['hr_status']}"]
    return frame


def _classified(patients: pd.DataFrame, scheme: Scheme) -> pd.DataFrame:
    """Add ``<end>_reading`` and ``<end>_rule``; each distinct combination is classified once."""
    patients = patients.copy()
    for end in ENDS:
        parts = [f"{end}_score", f"{end}_ish", f"{end}_overall"]
        seen = patients[parts].drop_duplicates()
        results = [
            classify(tuple(score.split()), ish, overall, scheme)
            for score, ish, overall in seen.itertuples(index=False)
        ]
        seen = seen.assign(reading=[r.reading for r in results], rule=[r.rule for r in results])
        joined = patients[parts].merge(seen, on=parts, how="left")
        sampled = patients[f"{end}_sampled"].to_numpy()
        for name in ("reading", "rule"):
            patients[f"{end}_{name}"] = np.where(sampled, joined[name].to_numpy(), "")
    return patients


def _check_times(sources: Sources, frame: pd.DataFrame, chosen: pd.DataFrame) -> int:
    """Fault (or set the pair aside) where the recurrence is earlier than the primary."""
    rules = sources.map.rules
    early = frame["recurrence_time"] + float(rules["time_tolerance"]) < frame["primary_time"]
    early &= frame["pair"]
    if not early.any():
        return 0
    if rules["reversed_times"] == "set aside":
        frame.loc[early, "pair"] = False
        return int(early.sum())
    block = "recurrence" if "recurrence" in sources.map.blocks else "sample"
    name = sources.map.blocks[block]["time"]
    problem = "recurrence is earlier than the primary"
    remedy = (
        "correct the times; for rounded ones say time_tolerance = 1, to leave these pairs out "
        'reversed_times = "set aside", both under [rules]'
    )
    timed = frame.loc[frame["pair"], ["primary_time", "recurrence_time"]].notna().all(axis=1)
    if early.sum() > 0.5 * timed.sum():
        remedy = f"most pairs are reversed: are the two time columns exchanged? Else {remedy}"
    found = sources.find(name)
    if found and not found[2]:
        rows = chosen.loc[early, "recurrence_row"].to_numpy()
        sources.faults += row_faults(sources.table, rows, found[1], problem, remedy)
    else:
        text = f"{problem} in {int(early.sum())} patients"
        sources.faults.append(Fault(text, file=sources.map.path, column=name, remedy=remedy))
    return 0


def _add_factors(
    sources: Sources, frame: pd.DataFrame, chosen: pd.DataFrame
) -> dict[str, tuple[str, ...]]:
    levels: dict[str, tuple[str, ...]] = {"hr_status": ("positive", "negative")}
    for factor in sources.map.factors:
        values = columns.levels(sources, factor)
        at = _row_of(chosen, factor.of)
        frame[factor.name] = np.where(at >= 0, values[at], "")
        levels[factor.name] = _ordered(factor, set(frame[factor.name]) - {""})
    if not any({"hr", "er", "pr"} & set(block) for block in sources.map.blocks.values()):
        levels.pop("hr_status")
    return levels


def _ordered(factor: FactorMap, present: set[str]) -> tuple[str, ...]:
    if factor.cut:
        known = list(factor.labels) or list(columns.cut_names(factor.cut))
    else:
        known = [*dict.fromkeys(factor.words.values()), *([factor.other] if factor.other else [])]
    return tuple(k for k in known if k in present) + tuple(sorted(present - set(known)))


def _row_of(chosen: pd.DataFrame, of: str) -> np.ndarray:
    primary, recurrence = (chosen[f"{end}_row"].to_numpy() for end in ENDS)
    if of:
        return primary if of == "primary" else recurrence
    return np.where(recurrence >= 0, recurrence, primary)


def _add_endpoints(sources: Sources, frame: pd.DataFrame, chosen: pd.DataFrame) -> None:
    at = _row_of(chosen, "")
    for endpoint in sources.map.endpoints:
        times = columns.months(sources, endpoint, endpoint.time)
        frame[f"{endpoint.name}_months"] = times[at]
        frame[f"{endpoint.name}_event"] = columns.events(sources, endpoint)[at]
        if endpoint.entry:
            entry = columns.months(sources, endpoint, endpoint.entry)
            frame[f"{endpoint.name}_entry_months"] = entry[at]
        if endpoint.cause:
            frame[f"{endpoint.name}_cause"] = columns.plain_texts(sources, endpoint.cause)[at]


def _notes(sources: Sources, rows: pd.DataFrame, ties: int, reversed_: int) -> dict[str, int]:
    notes = {
        "several samples at one time: the first sample id is taken": ties,
        "pairs with a recurrence earlier than the primary, set aside": reversed_,
    }
    if sources.patients is not None:
        key = sources.map.columns["patient_id"]
        notes["patients without a line in the patients file"] = int(
            rows.loc[sources.position < 0, "patient"].nunique()
        )
        ids = pd.Index(sources.patients.frame[key].str.strip())
        known = pd.Index(rows["patient"].unique())
        notes["patients file: patients without a row in the table"] = int(
            (known.get_indexer(ids) < 0).sum()
        )
    return {text: count for text, count in (notes | sources.notes).items() if count}


def _digest(sources: Sources) -> str:
    """Digest of the files and the map: the identity of the data in the provenance of a fit."""
    parts = [sources.map.digest, sources.table.digest]
    if sources.patients is not None:
        parts.append(sources.patients.digest)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def exact(cohort: Cohort) -> pd.Series:
    """Whether both readings of a pair are single classes."""
    single = set(cohort.categories) - {UNKNOWN}
    pairs = cohort.patients
    return (
        pairs["pair"]
        & pairs["primary_reading"].isin(single)
        & pairs["recurrence_reading"].isin(single)
    )

"""Rows of a patient file, checked, and which of them speak for the primary and the recurrence.

Every row ends with one reason (``fate``): chosen for a patient, or set aside and why.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from her2bayes.errors import Fault
from her2bayes.evidence.classify import hr_status
from her2bayes.evidence.patients import cohort_columns as columns
from her2bayes.evidence.patients.cohort_sources import Sources, row_faults

READ = ("score", "ish", "overall", "hr")
_PARSERS: Mapping[str, str] = {"ihc": "score", "ish": "ish", "overall": "overall", "hr": "hr"}
CHOSEN_RECURRENCE, CHOSEN_PRIMARY = "recurrence sample", "primary sample"
CHOSEN_PATIENT = "one row a patient"


def read_rows(sources: Sources) -> pd.DataFrame:
    """One line a row of the table: patient, sample, role, tissue flags, fate so far, parsed blocks.

    Columns ``<block>.score``, ``.ish``, ``.overall``, ``.hr`` (text, empty = not known) and
    ``.time`` (float) for each block of the map. Faults go to ``sources.faults``.
    """
    mapped = sources.map
    rows = pd.DataFrame(index=pd.RangeIndex(len(sources.table.frame)))
    rows["patient"] = _ids(sources, "patient_id")
    rows["sample"] = _ids(sources, "sample_id")
    rows["role"] = columns.roles(sources) if "sample_type" in mapped.columns else ""
    rows["fate"] = _filtered(sources)
    for block, keys in mapped.blocks.items():
        for name, values in _block(sources, block, keys).items():
            rows[f"{block}.{name}"] = values
        _check_two_plus(sources, rows, block)
    _check_ids(sources, rows)
    return _with_tissue(rows, sources)


def _ids(sources: Sources, key: str) -> np.ndarray:
    found = sources.find(sources.map.columns.get(key, ""))
    if found is None:
        return np.full(len(sources.table.frame), "", dtype=object)
    table, bare, from_patients = found
    values = table.frame[bare].str.strip().to_numpy(dtype=object)
    return sources.aligned(values, from_patients, "")


def _filtered(sources: Sources) -> np.ndarray:
    """Fate of rows that ``[keep]`` leaves out, empty for the others."""
    fate = np.full(len(sources.table.frame), "", dtype=object)
    for name, wanted in sources.map.keep.items():
        found = sources.find(name)
        if found is None:
            continue
        table, bare, from_patients = found
        inside = table.frame[bare].str.strip().isin(wanted).to_numpy()
        if not inside.any():
            sources.faults.append(
                Fault("no row has a value that [keep] asks for", file=table.path, column=bare,
                      value=list(wanted), allowed=", ".join(sorted(set(table.frame[bare]))[:20]))
            )  # fmt: skip
        fate[(fate == "") & ~sources.aligned(inside, from_patients, False).astype(bool)] = (
            f"{bare} is not {' or '.join(wanted)}"
        )
    return fate


def _block(sources: Sources, block: str, keys: Mapping[str, str]) -> dict[str, np.ndarray]:
    count = len(sources.table.frame)
    values = {name: np.full(count, "", dtype=object) for name in READ}
    values["time"] = np.full(count, np.nan)
    for key, column in keys.items():
        if key == "ihc":
            values["score"] = columns.scores(sources, column)
        elif key == "time":
            values["time"] = columns.numbers(sources, column)
        elif key in _PARSERS:
            values[key] = columns.verdicts(sources, column, key)
    if "hr" not in keys:
        values["hr"] = _receptors(sources, keys, count)
    return values


def _receptors(sources: Sources, keys: Mapping[str, str], count: int) -> np.ndarray:
    read = {
        key: columns.verdicts(sources, keys[key], key)
        if key in keys
        else np.full(count, "", dtype=object)
        for key in ("er", "pr")
    }
    pairs = pd.Series(list(zip(read["er"], read["pr"], strict=True)))
    return pairs.map({pair: hr_status(*pair) for pair in set(pairs)}).to_numpy(dtype=object)


def _check_ids(sources: Sources, rows: pd.DataFrame) -> None:
    table, mapped = sources.table, sources.map
    names = {key: mapped.columns.get(key, "") for key in ("patient_id", "sample_id")}
    if names["patient_id"] not in table.frame:
        return
    sources.faults += row_faults(
        table, np.flatnonzero(rows["patient"] == ""), names["patient_id"], "no patient id",
        "give every row an id",
    )  # fmt: skip
    if mapped.rows == "patient":
        repeated = rows["patient"].duplicated() & (rows["patient"] != "")
        copies = int(table.frame.duplicated().sum())
        note = f" ({copies} rows are exact copies of earlier ones)" if copies else ""
        sources.faults += row_faults(
            table, np.flatnonzero(repeated), names["patient_id"], f"patient id repeats{note}",
            'keep one row a patient, or say rows = "sample" in the map and name sample_type, time',
        )  # fmt: skip
    elif names["sample_id"] in table.frame:
        repeated = rows["sample"].duplicated() & (rows["sample"] != "")
        sources.faults += row_faults(
            table, np.flatnonzero(repeated), names["sample_id"], "sample id repeats",
            "keep one row a sample",
        )  # fmt: skip


def _check_two_plus(sources: Sources, rows: pd.DataFrame, block: str) -> None:
    """No 2+ with a verdict at all is more likely a wrong column than a laboratory without ISH."""
    keys = sources.map.blocks[block]
    equivocal = rows[f"{block}.score"] == "2"
    known = (rows[f"{block}.ish"] != "") | (rows[f"{block}.overall"] != "")
    accepted = sources.map.rules["two_plus_without_ish"] == "accept"
    if accepted or equivocal.sum() < 2 or (equivocal & known).any():
        return
    column = keys.get("ish") or keys.get("overall")
    first = int(np.flatnonzero(equivocal)[0])
    sources.faults.append(
        Fault(
            f"ISH and overall verdict are missing for every one of {int(equivocal.sum())} samples "
            f"with IHC 2+ ([{block}])" + ("" if column else "; the map names no column of either"),
            file=sources.table.path,
            row=sources.table.row(first),
            column=column or keys["ihc"],
            remedy=f'name the right column: ish = "…" under [{block}]; where ISH was not done, say '
            'two_plus_without_ish = "accept" under [rules], and 2+ counts as low/positive',
        )
    )


def _with_tissue(rows: pd.DataFrame, sources: Sources) -> pd.DataFrame:
    """Add whether a row describes a primary and a recurrence, and from which block."""
    blocks, typed = sources.map.blocks, "sample_type" in sources.map.columns
    kept = rows["fate"] == ""
    if typed:
        outside = kept & ~rows["role"].isin(["primary", "recurrence"])
        empty = outside & (rows["role"] == "")
        rows.loc[outside, "fate"] = "sample is neither primary nor recurrence"
        rows.loc[empty, "fate"] = "sample type not given"
        kept = rows["fate"] == ""
    own = "sample" in blocks
    primary = (rows["role"] == "primary") & own
    recurrence = (rows["role"] == "recurrence") & own
    if "primary" in blocks:
        primary = pd.Series(True, index=rows.index)
    if "recurrence" in blocks:
        recurrence = (
            (rows["role"] == "recurrence") if typed else _anything_known(rows, "recurrence")
        )
    if "primary" in blocks and not typed:
        primary = _anything_known(rows, "primary") | recurrence
    nothing = kept & ~primary & ~recurrence
    rows.loc[nothing, "fate"] = "nothing is known of any tissue"
    rows["is_primary"] = primary & (rows["fate"] == "")
    rows["is_recurrence"] = recurrence & (rows["fate"] == "")
    return rows


def _anything_known(rows: pd.DataFrame, block: str) -> pd.Series:
    known = rows[f"{block}.time"].notna()
    for name in READ:
        known |= rows[f"{block}.{name}"] != ""
    return known


def choose_rows(rows: pd.DataFrame, sources: Sources) -> tuple[pd.DataFrame, int]:
    """One line a patient with the positions of the rows chosen, and how many choices were ties.

    Columns ``patient``, ``primary_row``, ``recurrence_row`` (-1: none). Fills in ``rows.fate``.
    """
    blocks = sources.map.blocks
    source = {role: role if role in blocks else "sample" for role in ("primary", "recurrence")}
    latest = sources.map.rules["choose"] == "latest"
    own = "sample" if "sample" in blocks else "primary"
    recurrence, ties = _first(rows[rows["is_recurrence"]], source["recurrence"], latest)
    candidates = rows[rows["is_primary"]]
    beside = "primary" in blocks
    if beside:  # the primary reading stands in the row of the recurrence
        other = recurrence.index.get_indexer(pd.Index(candidates["patient"])) < 0
        candidates = candidates[other]
    primary, more_ties = _first(candidates, own if beside else source["primary"], False)
    if beside:
        primary = pd.concat([primary, recurrence])
    patients = pd.DataFrame({"primary_row": primary, "recurrence_row": recurrence})
    patients = patients.fillna(-1).astype(int).rename_axis("patient").reset_index()
    _fates(rows, patients, sources.map.rules["choose"])
    if sources.map.rows == "patient":
        rows.loc[rows["fate"].isin([CHOSEN_PRIMARY, CHOSEN_RECURRENCE]), "fate"] = CHOSEN_PATIENT
    return patients, ties + more_ties


def _first(rows: pd.DataFrame, block: str, latest: bool) -> tuple[pd.Series, int]:
    """First row of each patient by time, then sample id; the number of patients whose time ties."""
    if rows.empty:
        return pd.Series(dtype=int), 0
    time = rows[f"{block}.time"]
    frame = pd.DataFrame(
        {
            "patient": rows["patient"],
            "time": (-time if latest else time).fillna(np.inf),
            "sample": rows["sample"],
            "row": rows.index,
        }
    ).sort_values(["patient", "time", "sample", "row"], kind="stable")
    first = frame.drop_duplicates("patient").set_index("patient")
    earliest = frame["patient"].map(first["time"])
    ties = (frame["time"] == earliest).groupby(frame["patient"]).sum().gt(1).sum()
    return first["row"], int(ties)


def _fates(rows: pd.DataFrame, patients: pd.DataFrame, choose: str) -> None:
    chosen_recurrence = patients.loc[patients["recurrence_row"] >= 0, "recurrence_row"]
    chosen_primary = patients.loc[patients["primary_row"] >= 0, "primary_row"]
    open_ = rows["fate"] == ""
    rows.loc[open_ & rows["is_recurrence"], "fate"] = f"another recurrence sample, not the {choose}"
    rows.loc[open_ & ~rows["is_recurrence"], "fate"] = "another primary sample of the patient"
    rows.loc[chosen_primary, "fate"] = CHOSEN_PRIMARY
    rows.loc[chosen_recurrence, "fate"] = CHOSEN_RECURRENCE

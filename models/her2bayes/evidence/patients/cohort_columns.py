"""A patient file read and checked: columns as canonical values, and rows with what became of each.

Columns hold HER2, receptors, roles, events, levels, times. Which rows speak for the primary and the
recurrence: every row ends with one reason (``fate``), chosen for a patient, or set aside and why.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from her2bayes.errors import Fault
from her2bayes.evidence.classify import (
    hr_status,
    is_missing,
    parse_receptor,
    parse_score,
    parse_verdict,
    without_notes,
)
from her2bayes.evidence.patients.cohort_sources import Sources, row_faults, texts
from her2bayes.evidence.patients.event_codes import (
    CENSORED,
    EVENT,
    LOOKS_LIKE,
    MISSING,
    Codes,
    Reader,
    date_reader,
    is_censoring,
)
from her2bayes.evidence.patients.maps_schema import EndpointMap, FactorMap

MAX_LEVELS = 60
MONTHS = {"days": 12 / 365.25, "months": 1.0, "years": 12.0}
ROLES: Mapping[str, str] = {
    **dict.fromkeys(("primary", "primary tumor", "primary tumour"), "primary"),
    "primary solid tumor": "primary",
    **dict.fromkeys(
        (
            "metastasis", "metastatic", "met", "distant metastasis", "recurrence", "recurrent",
            "recurrent tumor", "local recurrence", "locoregional recurrence", "relapse",
        ),
        "recurrence",
    ),
    **dict.fromkeys(("normal", "solid tissue normal", "blood", "blood derived normal"), "other"),
}  # fmt: skip
EVENTS: Mapping[str, int] = {
    **dict.fromkeys(
        ("1", "1.0", "yes", "true", "event", "deceased", "dead", "died", "progressed", "recurred",
         "recurred/progressed", "progression", "recurrence", "relapse"), 1,
    ),
    **dict.fromkeys(
        ("0", "0.0", "no", "false", "censored", "living", "alive", "diseasefree", "disease free",
         "disease-free", "not recurred"), 0,
    ),
}  # fmt: skip
_MIXED = "numbers and dates in one column"


def scores(sources: Sources, name: str) -> np.ndarray:
    """IHC scores as ``2`` or ``0 1`` (a range), empty where missing."""
    known = {score for score, _ in sources.map.scheme.scores} | {"3"}
    words = sources.map.words.get("ihc", {})

    def understand(text: str) -> str | None:
        word = words.get(_plain(text), text)
        if is_missing(word):
            return ""
        parsed = parse_score(word)
        return None if parsed is None or not set(parsed) <= known else " ".join(parsed)

    allowed = "0, 1+, 2+, 3+, ranges such as 0-1+, notes in brackets"
    if "ultralow" in known:
        allowed += ", ultralow"
    return texts(sources, name, understand, allowed, _translate("ihc", "2+"))


def verdicts(sources: Sources, name: str, kind: str) -> np.ndarray:
    """``positive``, ``negative`` or empty of a column of kind ish, overall, er, pr or hr."""
    words = sources.map.words.get(kind, {})
    threshold = float(sources.map.rules["hr_threshold"])
    receptor = kind in ("er", "pr")

    def understand(text: str) -> str | None:
        word = words.get(_plain(text)) or words.get(without_notes(text))
        if word:
            return "" if word in ("equivocal", "missing") else word
        return parse_receptor(text, threshold) if receptor else parse_verdict(text)

    allowed = "positive, negative, equivocal" + (", per cent 0 to 100" if receptor else "")
    return texts(sources, name, understand, allowed, _translate(kind, "positive"))


def roles(sources: Sources) -> np.ndarray:
    """Kind of tissue of each row: ``primary``, ``recurrence``, ``other`` or empty."""
    words = {**ROLES, **sources.map.words.get("sample_type", {})}
    remedy = _translate("sample_type", "recurrence")
    return texts(
        sources, sources.map.columns["sample_type"], lambda text: words.get(_plain(text)),
        "primary, metastasis, recurrence, local recurrence, normal", remedy,
    )  # fmt: skip


def events(sources: Sources, endpoint: EndpointMap) -> np.ndarray:
    """1 event, 0 censored, NaN where missing."""

    def understand(text: str) -> str | None:
        return _event(text, endpoint)

    place = f"[endpoints.{endpoint.name}]"
    if is_censoring(endpoint.event) and not endpoint.events:
        problem = "the column's name says censoring: which code is the event? (CNSR of CDISC: 0)"
        say = f'say under {place} events = ["0"] and censored = ["1"], or the other way round'
        sources.faults.append(
            Fault(problem, file=sources.map.path, column=endpoint.event, remedy=say)
        )
    remedy = f'say under {place} events = ["…"] and censored = ["…"]'
    found = texts(sources, endpoint.event, understand, "1 or 0, deceased or living", remedy)
    return np.array([float(text) if text else math.nan for text in found])


def _event(text: str, endpoint: EndpointMap) -> str | None:
    words: dict[str, int] = dict(EVENTS)
    if endpoint.events or endpoint.censored:
        words = dict.fromkeys(map(_plain, endpoint.events), 1)
        words |= dict.fromkeys(map(_plain, endpoint.censored), 0)
    plain = _plain(text)
    coded = re.match(r"([01]):", plain)
    if plain in words:
        return str(words[plain])
    return coded[1] if coded and not endpoint.events else None


def event_codes(sources: Sources, endpoint: EndpointMap) -> Codes:
    """What each code of an endpoint's event column was taken as, and in how many rows it stands."""
    found = sources.find(endpoint.event)
    if found is None:
        return Codes({}, {})
    table, bare, _ = found
    numbers_ = table.frame[bare].str.strip().value_counts()
    count = {str(text): int(n) for text, n in numbers_.items()}
    meant = {"1": EVENT, "0": CENSORED}
    missing = sources.map.missing_in(endpoint.event)
    meaning = {
        text: MISSING if is_missing(text, missing) else meant.get(str(_event(text, endpoint)), "")
        for text in count
    }
    return Codes(meaning, count)


def plain_texts(sources: Sources, name: str) -> np.ndarray:
    """Text of a column as written, empty where missing."""
    return texts(sources, name, lambda text: " ".join(text.split()), "text", "")


def levels(sources: Sources, factor: FactorMap) -> np.ndarray:
    """Level of a factor for each row, empty where missing."""
    if factor.cut:
        return _cut(numbers(sources, factor.column), factor)

    def understand(text: str) -> str | None:
        if factor.words:
            return factor.words.get(_plain(text), factor.other)
        return " ".join(text.split())

    place = f"[factors.{factor.name}]"
    known = ", ".join(sorted(set(factor.words.values()))) or "text"
    remedy = (
        f'translate it under [factors.{factor.name}.values], or set other = "others" in {place}'
    )
    found = texts(sources, factor.column, understand, known, remedy, level=True)
    count = len(set(found) - {""})
    if count > MAX_LEVELS:
        remedy = f"give cut = [...] for a number, or group the values under {place}"
        sources.faults.append(
            Fault(f"factor '{factor.name}' has {count} levels", file=sources.map.path,
                  column=f"factors.{factor.name}", allowed=f"up to {MAX_LEVELS}", remedy=remedy)
        )  # fmt: skip
    return found


def cut_names(points: tuple[float, ...]) -> tuple[str, ...]:
    """Names of intervals between cut points, closed on the right: ``<=50``, ``50-70``, ``>70``."""
    texts_ = [f"{point:g}" for point in points]
    between = ["-".join(pair) for pair in pairwise(texts_)]
    return (f"<={texts_[0]}", *between, f">{texts_[-1]}")


def _cut(values: np.ndarray, factor: FactorMap) -> np.ndarray:
    named = np.array(factor.labels or cut_names(factor.cut), dtype=object)
    index = np.searchsorted(factor.cut, np.nan_to_num(values), side="left")
    return np.where(np.isnan(values), "", named[index])


def numbers(sources: Sources, name: str) -> np.ndarray:
    """Float of each row, NaN missing: numbers, dates as days, ``derived`` names as differences."""
    if name in sources.map.derived:
        terms = sources.map.derived[name]
        first, second = (numbers(sources, term) for term in terms)
        kinds = {sources.kinds.get(term, "") for term in terms} - {""}
        if len(kinds) > 1:
            _once(sources, "a difference of a date and a number", f"derived.{name}",
                  "name two columns of dates, or two of numbers")  # fmt: skip
        sources.kinds[name] = "days" if "date" in kinds else next(iter(kinds), "")
        return first - second
    sources.read_decimal_commas(name)
    seen: set[str] = set()
    known = sources.find(name)
    written = list(known[0].frame[known[1]].unique()) if known else []
    place = {"file": str(known[0].path) if known else "", "column": known[1] if known else name}
    read, faults = date_reader(written, sources.map.dates.get(place["column"], ""), place)
    sources.faults += [fault for fault in faults if fault not in sources.faults]
    if read.order:
        sources.remarks.append(f"dates of {place['column']} read with the {read.order}")

    def understand(text: str) -> str | None:
        value, kind = _number_or_date(text.strip(), read)
        seen.add(kind)
        return "" if value is None and faults and re.match(LOOKS_LIKE, text.strip()) else value

    remedy = f'correct it, or list it in the map: [missing_in] "{place["column"]}" = ["…"]'
    found = texts(
        sources,
        name,
        understand,
        "a number or a date like 2015-03-31 or 31/3/2015",
        remedy,
        number=True,
    )
    sources.kinds[name] = next(iter(seen - {""}), "")
    if {"number", "date"} <= seen:
        table, bare, _ = sources.find(name) or (sources.table, name, False)
        sources.faults.append(Fault(_MIXED, file=table.path, column=bare, remedy="use one of them"))
    return np.array([float(text) if text else math.nan for text in found])


def months(sources: Sources, endpoint: EndpointMap, name: str) -> np.ndarray:
    """Months of an endpoint's time or entry; dates, or days taken for another unit, are faults."""
    values = numbers(sources, name)
    kind, place = sources.kinds.get(name, ""), f"endpoints.{endpoint.name}"
    if kind == "date":
        remedy = 'take the difference of two dates: [derived] os_days = ["LAST", "FIRST"]'
        _once(sources, f"'{name}' holds dates, not the time between two of them", place, remedy)
    elif kind == "days" and endpoint.unit != "days":
        remedy = f'say unit = "days" under [{place}]'
        problem = f"'{name}' is a difference of dates, in days, not in {endpoint.unit}"
        _once(sources, problem, f"{place}.unit", remedy)
    return values * MONTHS[endpoint.unit]


def _once(sources: Sources, problem: str, place: str, remedy: str) -> None:
    fault = Fault(problem, file=sources.map.path, column=place, remedy=remedy)
    if fault not in sources.faults:
        sources.faults.append(fault)


def _number_or_date(text: str, read: Reader) -> tuple[str | None, str]:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and "_" not in text:
        return repr(value), "number"
    found = read(text)
    return (None, "") if found is None else (repr(float(found.toordinal())), "date")


def _plain(text: str) -> str:
    return " ".join(text.strip().lower().split())


def _translate(kind: str, example: str) -> str:
    return f'correct it, or translate it in the map: [values.{kind}] "as written" = "{example}"'


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
    rows["role"] = roles(sources) if "sample_type" in mapped.columns else ""
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
            values["score"] = scores(sources, column)
        elif key == "time":
            values["time"] = numbers(sources, column)
        elif key in _PARSERS:
            values[key] = verdicts(sources, column, key)
    if "hr" not in keys:
        values["hr"] = _receptors(sources, keys, count)
    return values


def _receptors(sources: Sources, keys: Mapping[str, str], count: int) -> np.ndarray:
    read = {
        key: verdicts(sources, keys[key], key) if key in keys else np.full(count, "", dtype=object)
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

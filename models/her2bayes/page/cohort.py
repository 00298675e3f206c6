"""The cohort as the paper prints it: who is counted where, and which kinds of numbers there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.evidence.printed.number import number as number_of
from her2bayes.evidence.printed.schema import STATISTICS
from her2bayes.page.numbers import count, interval, number
from her2bayes.page.section import Section, Table

if TYPE_CHECKING:
    import xarray as xr

    from her2bayes.evidence.printed.study import Study

NOT_PRINTED = "not printed"


def cohort_section(study: Study) -> Section:
    """Describe the printed evidence of a study before anything is estimated from it."""
    counts = study.status_counts()
    patients = study.meta.get("patients")
    text = [
        f"The paper reports {count(int(patients), 'patient')}."
        if patients
        else "The paper's number of patients is not recorded.",
        "It publishes no patient data: everything on this page rests on its printed numbers.",
    ]
    tables = [_kinds(study)]
    partitions = [name for name in counts if name]
    if partitions:
        text.append(
            f"HER2 status is printed for all patients and by {count(len(partitions), 'factor')}. "
            "Each table counts the same patients again, so the tables are analysed one by one "
            "and never multiplied into one likelihood."
        )
        tables.insert(0, _partitions(study, counts))
    text += _bounded(study)
    for frame, build in ((study.survival, _survival), (study.responses, _responses)):
        if not frame.empty:
            tables.append(build(study))
    return Section("cohort", "Cohort", (" ".join(text),), tables=tuple(tables))


def _partitions(study: Study, counts: dict[str, xr.DataArray]) -> Table:
    rows = []
    whole = int(study.meta.get("patients") or 0)
    for name, table in counts.items():
        total = int(table.sum())
        factor = study.factors.get(name)
        missing = whole - total if whole else 0
        rows.append(
            {
                "Table": factor.label if factor else "All patients",
                "Levels": "" if not name else ", ".join(map(str, table["level"].to_numpy())),
                "Patients": total,
                **{f"HER2-{c}": int(table.sel(her2=c).sum()) for c in table["her2"].to_numpy()},
                "Outside the table": f"{missing} of {whole}" if missing else "none",
            }
        )
    return Table(
        "HER2 status as printed", pd.DataFrame(rows), "Sums over the levels of each table."
    )


def _bounded(study: Study) -> list[str]:
    """Say which tables are in no model because a count in them is printed as a bound."""
    files = dict.fromkeys(one.file for one in study.bounded)
    return [
        f"In {name} "
        + ", ".join(
            f"row {one.row} prints {one.printed}" for one in study.bounded if one.file == name
        )
        + ": a bound, which the audit uses; no model uses that count."
        for name in files
    ]


def _kinds(study: Study) -> Table:
    found = study.ledger["statistic"].value_counts()
    rows = [
        {"Kind": STATISTICS[name].partition(":")[0], "Rows": int(found[name])}
        for name in STATISTICS
        if name in found.index
    ]
    return Table("Printed numbers in the ledger", pd.DataFrame(rows))


def _survival(study: Study) -> Table:
    endpoints = study.meta.get("endpoints", {})
    rows = []
    printed = study.survival.attrs.get("printed", [])
    for place, row in enumerate(study.survival.to_dict(orient="records")):
        cells = printed[place] if len(printed) == len(study.survival) else {}
        entry = endpoints.get(row["endpoint"])
        unit = str(entry.get("unit", "")) if isinstance(entry, dict) else ""
        rows.append(
            {
                "Endpoint": _label(entry, row["endpoint"]),
                "Group": _group(study, row["factor"], row["level"]),
                "Patients": number(_known(row["patients"])) or cells.get("patients", ""),
                "Events": number(_known(row["events"])) or cells.get("events", "") or NOT_PRINTED,
                f"Median, {unit} (95 % CI)" if unit else "Median (95 % CI)": _median(
                    row, cells, unit
                ),
            }
        )
    frame = pd.DataFrame(rows).fillna(NOT_PRINTED)
    said = [name for name in frame if not (frame[name] == NOT_PRINTED).all()]
    return Table("Follow-up as printed", frame[said])


def _responses(study: Study) -> Table:
    rows = [
        {
            "Group": _group(study, row["factor"], row["level"]),
            "Response": str(row["category"]).upper(),
            "Patients": f"{row['count']} of {row['patients']}",
        }
        for row in study.responses.to_dict(orient="records")
    ]
    return Table("Responses as printed", pd.DataFrame(rows))


def _group(study: Study, factor: str, level: str) -> str:
    if not factor:
        return "all patients"
    known = study.factors.get(factor)
    return f"{known.label if known else factor}: {level}"


def _label(entry: object, name: str) -> str:
    return str(entry.get("label", name)) if isinstance(entry, dict) else name


def _median(row: Mapping[Any, Any], cells: Mapping[str, str], unit: str) -> str:
    """Median with its interval; as printed where a part of it is no number."""
    names = ("median", "median_lower", "median_upper")
    median, lower, upper = (cells.get(name, "") for name in names)
    open_ = [cell for cell in (median, lower, upper) if cell and number_of(cell) is None]
    if open_ or (median and bool(lower) != bool(upper)):
        return f"{median} ({lower}–{upper})" if lower or upper else median
    if pd.isna(row["median"]):
        return NOT_PRINTED
    return interval(row["median"], row["median_lower"], row["median_upper"], unit=unit)


def _known(value: object) -> object:
    return None if pd.isna(value) else int(value)  # type: ignore[call-overload]

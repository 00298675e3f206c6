"""What a paper concludes, and whether a sensitivity analysis beside the report saw it survive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from her2bayes.page.numbers import probability
from her2bayes.page.section import Section, Table

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study

SUMMARY = "sensitivity_summary.csv"
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

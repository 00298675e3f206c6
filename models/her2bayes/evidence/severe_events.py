"""Adverse events that are severe by definition: no grade below 3 exists for them.

CTCAE version 5.0 (US National Cancer Institute, 27 November 2017): terms whose cells of grade 1 and
2 hold a dash. Their count of any severity and of grade 3 or higher are one count, and a share of
severe cases among all cases is no quantity.
"""

from __future__ import annotations

import re

LEAST_GRADE = {
    "febrile neutropenia": 3,
    "anaphylaxis": 3,
    "adult respiratory distress syndrome": 3,
    "hepatic failure": 3,
    "multi-organ failure": 3,
    "sepsis": 3,
    "stevens-johnson syndrome": 3,
    "treatment related secondary malignancy": 3,
    "tumor lysis syndrome": 3,
    "cardiac arrest": 4,
    "leukemia secondary to oncology chemotherapy": 4,
    "myelodysplastic syndrome": 4,
    "respiratory failure": 4,
    "toxic epidermal necrolysis": 4,
    "ventricular fibrillation": 4,
    "death": 5,
    "death nos": 5,
    "sudden death nos": 5,
}
"""Least grade of an event in CTCAE 5.0; events that version 4 grades lower are left out."""

OTHER_NAMES = {
    "acute respiratory distress syndrome": "adult respiratory distress syndrome",
    "anaphylactic reaction": "anaphylaxis",
    "anaphylactic shock": "anaphylaxis",
    "neutropenic fever": "febrile neutropenia",
    "neutropenia febrile": "febrile neutropenia",
    "multiorgan failure": "multi-organ failure",
}
"""What papers write for a term."""

SEVERE_GRADE = 3
"""Grade that CTCAE calls severe."""


def least_grade(event: str) -> int | None:
    """Least grade that an event can have; None where all grades exist.

    Case, British spelling and word order with a comma ("Neutropaenia, febrile") do not matter.
    """
    name = re.sub(r"[\s,]+", " ", event.strip().lower())
    for british, american in (("paenia", "penia"), ("tumour", "tumor"),
                              ("leukaemia", "leukemia")):  # fmt: skip
        name = name.replace(british, american)
    return LEAST_GRADE.get(OTHER_NAMES.get(name, name))


def cut_grade(severity: str) -> int | None:
    """Least grade that a severity names: 3 for "grade 3-4", "grade ≥3" and "severe"."""
    found = re.search(r"[1-5]", severity)
    if found:
        return None if re.search(r"[<≤]", severity) else int(found.group())
    return SEVERE_GRADE if re.search(r"\bsevere\b", severity.lower()) else None


def severe_by_definition(event: str, severity: str) -> bool:
    """Tell whether every case of ``event`` is of ``severity``, whatever a table counts."""
    least, cut = least_grade(event), cut_grade(severity)
    return least is not None and cut is not None and least >= cut

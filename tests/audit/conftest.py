"""Small invented studies, written as folders and read through the same door as papers."""

import csv
from types import SimpleNamespace

import pytest

from her2bayes.evidence.printed.schema import TABLES
from her2bayes.evidence.printed.study import load_study

DESIGN = """
schema = 1
id = "invented"
title = "An invented cohort"
citation = "Nobody 2024"
patients = 100
alpha = 0.05

[methods]
association = "chi-square test"
hazard_ratio = "Cox regression"

[factors.her2]
label = "HER2"
levels = ["zero", "low", "positive"]

[factors.her2_primary]
label = "HER2 of the primary"
levels = ["zero", "low", "positive"]

[factors.sex]
label = "Sex"
levels = ["women", "men"]

[factors.kind]
label = "Kind of relapse"
levels = ["local", "distant"]

[factors.site]
label = "Site"
levels = ["breast", "liver", "bone"]
parent = "kind"
within = { "breast" = "local", "liver" = "distant", "bone" = "distant" }

[factors.age]
label = "Age group"
levels = ["≤50", ">50"]
unknown = ["unknown"]

[factors.best_response]
label = "Best response"
levels = ["CR", "PR", "SD", "PD"]
groups = { orr = ["CR", "PR"] }

[factors.death]
label = "Death"
levels = ["yes", "no"]

[measures.age]
label = "Age"
unit = "years"

[endpoints.os]
label = "Overall survival"
unit = "months"
origin = "relapse"
event = "death=yes"
"""


def row(claim_id, estimand, statistic, **columns):
    """One ledger row; a percentage row gets its unit, a P row its relation."""
    found = {"claim_id": claim_id, "estimand": estimand, "statistic": statistic}
    found |= {"locator": columns.pop("locator", "Results"), "relation": "="}
    if statistic == "percentage":
        found["unit"] = "%"
    if str(columns.get("p_value", "")).startswith("<") and statistic == "p_value":
        found["relation"] = "<"
    return found | {name: str(value) for name, value in columns.items()}


def share(claim_id, estimand, count, total, value, **columns):
    """Percentage row with its count and denominator."""
    return row(
        claim_id,
        estimand,
        "percentage",
        value=value,
        numerator=count,
        denominator=total,
        text=f"{count} ({value})",
        **columns,
    )


def count(claim_id, estimand, value, **columns):
    """Count row."""
    columns.setdefault("unit", "patients")
    return row(claim_id, estimand, "count", value=value, numerator=value, **columns)


@pytest.fixture
def make(tmp_path):
    """Write a study from ledger rows (and tables as CSV text) and load it."""

    def write(rows, patients=100, **tables):
        design = DESIGN.replace("patients = 100", f"patients = {patients}")
        (tmp_path / "study.toml").write_text(design, encoding="utf-8")
        names = [column.name for column in TABLES["estimates.csv"]]
        with (tmp_path / "estimates.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(rows)
        for name, text in tables.items():
            (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
        return load_study(tmp_path)

    return write


@pytest.fixture
def printed():
    """Makers of ledger rows: row, share, count."""

    return SimpleNamespace(row=row, share=share, count=count)

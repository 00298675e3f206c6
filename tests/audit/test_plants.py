"""Errors planted into copies of both papers: is the altered row, or its conflict, flagged?

``python tests/audit/test_plants.py 400`` measures the sensitivity by kind and prints what escapes.
"""

import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from her2bayes.audit.audit import audit
from her2bayes.evidence.printed.study import load_study, published_folder

STUDIES = ("shi2023", "ni2025")
GRAVE = {"differs", "inconsistent"}
NOTABLE = GRAVE | {"method", "rounding"}


@dataclass(frozen=True)
class Plant:
    """An altered copy, the altered rows (ledger ids, or file and row) and what was done."""

    study: object
    altered: tuple[str, ...]
    what: str


def copied(study):
    return replace(
        study,
        ledger=study.ledger.copy(),
        tables={name: frame.copy() for name, frame in study.tables.items()},
    )


def pick(rng, frame):
    return frame.index[int(rng.integers(len(frame)))]


def percentages(study):
    rows = study.ledger
    exact = (rows["statistic"] == "percentage") & (rows["relation"] == "=")
    return rows[exact & rows["numerator"].notna() & rows["denominator"].notna()]


def shown_percentage(count, total, decimals):
    places = max(0, int(decimals))
    return f"{100 * count / total + 1e-9:.{places}f}"


def step(rng, least, most, now):
    """A whole number near ``now``, different from it, within the limits."""
    choices = [now + d for d in (-4, -3, -2, -1, 1, 2, 3, 4) if least <= now + d <= most]
    return int(rng.choice(choices)) if choices else None


def plant_count(study, rng):
    new = copied(study)
    i = pick(rng, percentages(study))
    row = new.ledger.loc[i]
    count = step(rng, 0, int(row["denominator"]), int(row["numerator"]))
    new.ledger.loc[i, "numerator"] = count
    return Plant(new, (row["claim_id"],), f"count {row['numerator']} -> {count}")


def plant_denominator(study, rng):
    new = copied(study)
    i = pick(rng, percentages(study))
    row = new.ledger.loc[i]
    total = step(rng, max(1, int(row["numerator"])), 10**6, int(row["denominator"]))
    new.ledger.loc[i, "denominator"] = total
    return Plant(new, (row["claim_id"],), f"denominator {row['denominator']} -> {total}")


def plant_percentage(study, rng):
    new = copied(study)
    i = pick(rng, percentages(study))
    row = new.ledger.loc[i]
    unit = Decimal(1).scaleb(-max(0, int(row["decimals"])))
    moved = [Decimal(row["value"]) + int(k) * unit for k in (-20, -10, -3, -2, -1, 1, 2, 3, 10, 20)]
    value = str(rng.choice([str(v) for v in moved if 0 <= v <= 100]))
    new.ledger.loc[i, "value"] = value
    return Plant(new, (row["claim_id"],), f"percentage {row['value']} -> {value}")


def plant_count_and_percentage(study, rng):
    """Write one place with another count and the percentage that goes with it."""
    new = copied(study)
    i = pick(rng, percentages(study))
    row = new.ledger.loc[i]
    count = step(rng, 0, int(row["denominator"]), int(row["numerator"]))
    new.ledger.loc[i, "numerator"] = count
    new.ledger.loc[i, "value"] = shown_percentage(count, row["denominator"], row["decimals"])
    return Plant(new, (row["claim_id"],), f"count and percentage {row['numerator']} -> {count}")


def plant_margin(study, rng):
    new = copied(study)
    i = pick(rng, study.ledger[study.ledger["statistic"] == "count"])
    row = new.ledger.loc[i]
    value = step(rng, 0, 10**6, int(Decimal(row["value"])))
    new.ledger.loc[i, "value"] = str(value)
    new.ledger.loc[i, "numerator"] = value
    if not pd.isna(row["denominator"]):
        new.ledger.loc[i, "denominator"] = max(value, int(row["denominator"]))
    return Plant(new, (row["claim_id"],), f"count row {row['value']} -> {value}")


def table_rows(study):
    """Table rows of the ledger that share a denominator and a condition: candidates for a swap."""
    rows = percentages(study)
    rows = rows[rows["locator"].str.startswith("Table")]
    given = rows["estimand"].str.extract(r"\|(.*)\]")[0].fillna("")
    return [g for _, g in rows.groupby([rows["locator"], given, rows["denominator"]]) if len(g) > 1]


def plant_swap(study, rng):
    """Exchange two cells of a table, count and percentage together."""
    new = copied(study)
    groups = [g for g in table_rows(study) if len(set(g["numerator"])) > 1]
    group = groups[int(rng.integers(len(groups)))]
    first, second = rng.choice(group.index, size=2, replace=False)
    while group.loc[first, "numerator"] == group.loc[second, "numerator"]:
        first, second = rng.choice(group.index, size=2, replace=False)
    for column in ("numerator", "value"):
        a, b = new.ledger.loc[first, column], new.ledger.loc[second, column]
        new.ledger.loc[first, column], new.ledger.loc[second, column] = b, a
    ids = tuple(new.ledger.loc[[first, second], "claim_id"])
    return Plant(new, ids, "two cells exchanged")


CELLS = {
    "status_counts.csv": "count",
    "responses.csv": "count",
    "adverse_events.csv": "count",
    "transition_facts.csv": "value",
    "survival.csv": "patients",
}


def plant_table_cell(study, rng):
    """Change a cell of a table beside the ledger only."""
    files = [name for name in CELLS if len(study.tables[name])]
    name = files[int(rng.integers(len(files)))]
    column = CELLS[name]
    new = copied(study)
    i = pick(rng, new.tables[name])
    now = int(new.tables[name].loc[i, column])
    count = step(rng, 0, 10**6, now)
    new.tables[name].loc[i, column] = count
    return Plant(new, (f"{name} row {i + 2}",), f"{name} {now} -> {count}")


def plant_table_everywhere(study, rng):
    """Change a table cell in the ledger row and in the table file alike, percentage included."""
    file = "status_counts.csv" if len(study.tables["status_counts.csv"]) else "adverse_events.csv"
    new = copied(study)
    rows = percentages(study)
    rows = rows[rows["locator"].isin(set(study.tables[file]["locator"]))]
    i = pick(rng, rows)
    row = new.ledger.loc[i]
    count = step(rng, 0, int(row["denominator"]), int(row["numerator"]))
    new.ledger.loc[i, "numerator"] = count
    new.ledger.loc[i, "value"] = shown_percentage(count, row["denominator"], row["decimals"])
    table = new.tables[file]
    estimand = row["estimand"]
    for j in table.index:
        keys = ("factor", "level", "her2") if file == "status_counts.csv" else ("event", "severity")
        parts = [str(table.loc[j, key]) for key in keys]
        wanted = (
            f"share[her2={parts[2]} | {parts[0]}={parts[1]}]"
            if file == "status_counts.csv"
            else f"event_rate[{parts[0]} | severity={parts[1]}]"
        )
        if wanted == estimand:
            table.loc[j, "count"] = count
    return Plant(new, (row["claim_id"],), f"table cell everywhere {row['numerator']} -> {count}")


def altered_digit(rng, text):
    """Change one digit, or exchange two neighbouring ones, so that the number differs."""
    number = text.lstrip("<>=")
    digits = [k for k, c in enumerate(number) if c.isdigit() and not (c == "0" and k == 0)]
    while True:
        k = int(rng.choice(digits))
        if rng.random() < 0.3 and k + 1 in digits:
            new = number[:k] + number[k + 1] + number[k] + number[k + 2 :]
        else:
            new = number[:k] + str(int(rng.integers(10))) + number[k + 1 :]
        if Decimal(new) != Decimal(number):
            return text[: len(text) - len(number)] + new


def plant_text(study, rng, rows, column, what):
    new = copied(study)
    i = pick(rng, rows)
    row = new.ledger.loc[i]
    value = altered_digit(rng, row[column])
    new.ledger.loc[i, column] = value
    return Plant(new, (row["claim_id"],), f"{what} {row[column]} -> {value}")


def p_rows(study, kind):
    rows = study.ledger[study.ledger["statistic"] == "p_value"]
    return rows[rows["estimand"].str.startswith(kind)]


def plant_association_p(study, rng):
    rows = p_rows(study, "association[")
    rows = rows[~rows["estimand"].str.startswith("association[age ") & (rows["relation"] == "=")]
    return plant_text(study, rng, rows, "p_value", "P of counts") if len(rows) else None


def plant_survival_p(study, rng):
    rows = p_rows(study, "survival_difference[")
    return plant_text(study, rng, rows, "p_value", "P of curves") if len(rows) else None


def ratios(study):
    return study.ledger[study.ledger["statistic"] == "hazard_ratio"]


def plant_ratio(study, rng):
    return plant_text(study, rng, ratios(study), "value", "hazard ratio")


def plant_bound(study, rng):
    column = str(rng.choice(["lower", "upper"]))
    return plant_text(study, rng, ratios(study), column, column)


def plant_ratio_p(study, rng):
    return plant_text(study, rng, ratios(study), "p_value", "P of hazard ratio")


def plant_median(study, rng):
    rows = study.ledger[study.ledger["statistic"].str.startswith("median")]
    column = str(rng.choice(["value", "lower", "upper"]))
    return plant_text(study, rng, rows[rows[column] != ""], column, f"median {column}")


def plant_words(study, rng):
    new = copied(study)
    i = pick(rng, study.ledger[study.ledger["statistic"] == "significant"])
    row = new.ledger.loc[i]
    new.ledger.loc[i, "value"] = "0" if row["value"] == "1" else "1"
    return Plant(new, (row["claim_id"],), f"words {row['text']}")


KINDS = {
    "count": plant_count,
    "denominator": plant_denominator,
    "percentage": plant_percentage,
    "count and percentage in one place": plant_count_and_percentage,
    "count row": plant_margin,
    "two cells exchanged": plant_swap,
    "cell of a table file": plant_table_cell,
    "table cell in ledger and file": plant_table_everywhere,
    "P of a table of counts": plant_association_p,
    "P of survival curves": plant_survival_p,
    "hazard ratio": plant_ratio,
    "interval bound": plant_bound,
    "P of a hazard ratio": plant_ratio_p,
    "median or its range": plant_median,
    "words of significance": plant_words,
}


@dataclass(frozen=True)
class Outcome:
    flagged: bool
    new_grave: tuple[str, ...]
    collateral: tuple[str, ...]


def judge(before, plant):
    """Compare with the unaltered audit: flagged rows, new findings, rows flagged without cause."""
    after = audit(plant.study)
    old = before.rows.set_index("claim_id")
    new = after.rows.set_index("claim_id")
    changed = [i for i in new.index if new.loc[i, "verdict"] != old.loc[i, "verdict"]]
    fresh = after.findings[~after.findings["sentence"].isin(before.findings["sentence"])]
    told = any(
        set(plant.altered) & set(f.claim_ids.split()) or any(a in f.sentence for a in plant.altered)
        for f in fresh.itertuples()
    )
    told_anew = [i for i in new.index if new.loc[i, "note"] != old.loc[i, "note"]]
    own = any(i in plant.altered and new.loc[i, "verdict"] in NOTABLE for i in told_anew)
    shown_by = any(
        set(plant.altered) & set(new.loc[i, "contradicts"].split())
        for i in changed
        if new.loc[i, "verdict"] in GRAVE
    )
    grave = tuple(i for i in changed if new.loc[i, "verdict"] in GRAVE)
    return Outcome(
        own or told or shown_by, grave, tuple(i for i in grave if i not in plant.altered)
    )


def measure(plants, seed=20230221):
    """Plant errors of every kind in turn: kind -> outcomes with their plants."""
    rng = np.random.default_rng(seed)
    studies = {name: load_study(published_folder() / name) for name in STUDIES}
    before = {name: audit(study) for name, study in studies.items()}
    found = defaultdict(list)
    while sum(map(len, found.values())) < plants:
        for kind, make in KINDS.items():
            name = STUDIES[int(rng.integers(2))]
            plant = make(studies[name], rng)
            if plant is not None:
                found[kind].append((plant, judge(before[name], plant)))
    return found


# Kinds in which every error is against another printed number.
CERTAIN = ("count", "denominator", "two cells exchanged", "P of a table of counts")


@pytest.fixture(scope="module")
def planted():
    return measure(60)


def test_errors_against_other_numbers_are_flagged(planted):
    missed = {
        kind: [(p.altered, p.what) for p, outcome in planted[kind] if not outcome.flagged]
        for kind in CERTAIN
    }
    assert missed == {kind: [] for kind in CERTAIN}


def test_most_errors_are_flagged(planted):
    outcomes = [outcome for runs in planted.values() for _, outcome in runs]
    assert np.mean([outcome.flagged for outcome in outcomes]) > 0.75


def sensitivity(found):
    """Lines of a report: flagged by kind, what escaped, and rows flagged without being altered."""
    total = Counter()
    for kind, runs in found.items():
        flagged = sum(outcome.flagged for _, outcome in runs)
        total.update(all=len(runs), flagged=flagged)
        beside = sum(len(outcome.collateral) for _, outcome in runs)
        yield f"{kind:36} {flagged:3}/{len(runs):3}  rows flagged beside it: {beside}"
        for plant, outcome in runs:
            if not outcome.flagged:
                yield f"      escaped: {' '.join(plant.altered)} {plant.what}"
            if len(outcome.collateral) > 2:
                yield f"      beside {' '.join(plant.altered)}: {' '.join(outcome.collateral)}"
    yield f"flagged {total['flagged']} of {total['all']}"


if __name__ == "__main__":
    plants, seed = int(sys.argv[1]), int([*sys.argv, "20230221"][2])
    sys.stdout.writelines(f"{line}\n" for line in sensitivity(measure(plants, seed)))

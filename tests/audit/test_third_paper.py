"""A third paper, made by new_study and numbers: faults of all kinds, each named, each once."""

from __future__ import annotations

import pytest

from her2bayes.audit.audit import audit
from her2bayes.errors import BadInput
from her2bayes.evidence.printed.study import load_study, write_skeleton

LEDGER, COUNTS, SURVIVAL = "estimates.csv", "status_counts.csv", "survival.csv"

# what is planted: file, text as it stands, text in its place, words of the one finding
PLANTS = {
    "percentage": (LEDGER, "50 (25.0),25.0,", "50 (26.0),26.0,", "'50 (26.0)'"),
    "count": (LEDGER, "200 patients,200,,,=,,patients,0,200",
              "202 patients,202,,,=,,patients,0,202", "'202 patients'"),
    "p": (LEDGER, "p_value,0.002,,,,=,0.002,", "p_value,0.020,,,,=,0·020,", "'0.020'"),
    "interval": (LEDGER, "P = 0.011\",0.60,0.40,0.89,=,0.011", "P = 0.11\",0.60,0.40,0.89,=,0.11",
                 "includes 1|excludes 1"),
    "median": (LEDGER, "text.follow_up,Results",
               "abstract.os,Abstract,median[os],median,3.5 years,3.5,,,,,years,1,,,,\n"
               "text.follow_up,Results", "3.5 years"),
    "not reached": (LEDGER, "text.follow_up,Results",
                    "os.neg,Abstract,median[os | hr_status=negative],median,NR,NR,,,,,months,,,,,\n"
                    "text.follow_up,Results", "47 of 80 had the event"),
    "survival": (LEDGER, "text.follow_up,Results",
                 "os.a,Abstract,survival[os @ 24 months],percentage,58%,58,,,,,%,0,,,,\n"
                 "os.b,Results,survival[os @ 2 years],percentage,53%,53,,,,,%,0,,,,\n"
                 "text.follow_up,Results", "at 24 months"),
    "below": (LEDGER, "text.follow_up,Results",
              "few,Results,count[death=yes | hr_status=positive],count,<11,<11,,,,,patients,,,,,\n"
              "text.follow_up,Results", "'<11'"),
    "words": (LEDGER, "significantly longer survival,1,", "no difference in survival,0,",
              "no difference in survival"),
    "conclusion": ("conclusions.csv", "share[her2=low] > 0.4", "share[her2=low] > 0.6", "> 0.6"),
}  # fmt: skip


@pytest.fixture
def paper(tmp_path):
    return write_skeleton("third", tmp_path)


def plant(folder, name):
    file, old, new, words = PLANTS[name]
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text, name
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    return words


def naming(result, words):
    sentences = result.findings["sentence"]
    return [s for s in sentences if any(word in s for word in words.split("|"))]


def test_the_paper_has_nothing_to_be_found(paper):
    result = audit(load_study(paper))
    assert len(result.findings) == 0
    assert not {"differs", "inconsistent"} & set(result.rows["verdict"])


@pytest.mark.parametrize("name", PLANTS)
def test_a_fault_is_named_once(paper, name):
    words = plant(paper, name)
    result = audit(load_study(paper))
    assert len(naming(result, words)) == 1, "\n".join(result.findings["sentence"])


def test_all_faults_together_are_each_named_once(paper):
    # what denies the ratio's P and what the words say are one finding where both are planted
    names = [name for name in PLANTS if name != "words"]
    planted = {name: plant(paper, name) for name in names}
    result = audit(load_study(paper))
    told = {name: len(naming(result, words)) for name, words in planted.items()}
    assert told == dict.fromkeys(names, 1), "\n".join(result.findings["sentence"])


BAD = [  # file, text, replacement, column of the fault
    ("study.toml", 'levels = ["local", "distant"]', "", "factors.relapse_type.levels"),
    ("study.toml", 'unit = "years"', "", "measures.age.unit"),
    (LEDGER, "share[her2=zero],", "share[her2=zro],", "estimand"),
    (LEDGER, ",57,29,88,", ",57,88,29,", "lower"),
    (LEDGER, "=,0.31,", "=,NS,", "p_value"),
    (COUNTS, "hr_status,negative,low,24", "hr_status,neg,low,24", "level"),
    (SURVIVAL, "os,hr_status,positive,120,52", "pfs,hr_status,positive,120,52", "endpoint"),
    ("transition_facts.csv", "zero->low,=,20", "zero->lo,=,20", "cells"),
    ("responses.csv", ",,CR,8,200", ",,CR,208,200", "count"),
    ("adverse_events.csv", "grade 3-4,6,200", "grade 3-4,six,200", "count"),
    ("external.csv", "range,", "rnge,", "statistic"),
    ("conclusions.csv", "share[her2=low] > 0.4", "share[her2=low] > 40", "conclusion"),
    ("reconstruction.toml", 'cox = "joint"', 'cox = "both"', "readings.cox"),
]


def test_all_faults_of_all_files_come_in_one_go(paper):
    """Nothing is left to be found after mending what was told: faults of study.toml hide none."""
    for file, old, new, _ in BAD:
        text = (paper / file).read_text(encoding="utf-8")
        assert old in text, (file, old)
        (paper / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadInput) as bad:
        load_study(paper)
    told = [(fault.file.name, fault.column) for fault in bad.value.faults]
    for file, _, _, column in BAD:
        assert told.count((file, column)) == 1, "\n".join(map(str, bad.value.faults))
    assert all(fault.remedy for fault in bad.value.faults)
    for file, old, _, _ in BAD[:2]:
        text = (paper / file).read_text(encoding="utf-8")
        lines = text.splitlines()
        label = {"levels": 'label = "Type of relapse"', "unit": 'label = "Age"'}[old.split()[0]]
        lines.insert(lines.index(label) + 1, old)
        (paper / file).write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(BadInput) as again:
        load_study(paper)
    left = {(fault.file.name, fault.column, fault.row) for fault in again.value.faults}
    assert left <= {(fault.file.name, fault.column, fault.row) for fault in bad.value.faults}

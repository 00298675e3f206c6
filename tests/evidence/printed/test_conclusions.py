"""Conclusions as data: the grammar, the shipped files, every fault of a file at once."""

from __future__ import annotations

import numpy as np
import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence.printed.study import load_study, published_folder
from her2bayes.evidence.printed.tables import load_conclusions, read_conclusion, vocabulary

WORDS = vocabulary({"her2": ("zero", "low"), "hr_status": ("positive", "negative")}, ("os",))
HEADER = "conclusion_id,conclusion,locator,note\n"


@pytest.mark.parametrize(
    "text",
    [
        "share[her2=low | hr_status=positive] > 0.5",
        "share_difference[her2=low ; hr_status: positive vs negative] > -0.2",
        "hazard_ratio[os ; hr_status: positive vs negative] < 1",
        "rmst_difference[os ; hr_status: positive vs negative @ 24 months] > 1.5",
        "discordance[] > 0.3",
    ],
)
def test_a_conclusion_prints_as_it_is_read(text):
    conclusion, faults = read_conclusion(text, WORDS)
    assert faults == []
    assert str(conclusion) == text
    values = np.array([conclusion.number - 0.1, conclusion.number + 0.1])
    assert list(conclusion.holds(values)) == [
        conclusion.relation == "<",
        conclusion.relation == ">",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("share[her2=low]", "not a conclusion"),
        ("share[her2=low] = 0.5", "not a conclusion"),
        ("share[her2=low] > half", "not a number"),
        ("share[her2=low] > 50", "no share can be 50.*30 % is 0.3"),
        ("share[her2=lo] > 0.5", "unknown level of 'her2'.*zero, low.*did you mean 'low'"),
        ("share[her2=low | hr=positive] > 0.5", "unknown factor.*her2, hr_status"),
        ("hazard_ratio[pfs ; hr_status: positive vs negative] < 1", "unknown endpoint.*os"),
        ("hazard_ratio[os ; hr_status: positive vs negative] < -1", "no hazard_ratio can be -1"),
        ("sharing[her2=low] > 0.5", "unknown kind 'sharing'"),
        ("survival[os @ 24 months] > 78.9", "no survival can be 78.9.*30 % is 0.3"),
        ("survival[os @ 2 years] > 0.5", "time in another unit.*months"),
        ("transition[zero -> low] > 40", "no transition can be 40"),
        ("agreement[her2] > 40", "no agreement can be 40"),
        ("rmst[os @ 24 months] > 30", "no rmst can be 30.*0 to 24"),
        ("rmst_difference[os ; hr_status: positive vs negative @ 24 months] < -25", "-24 to 24"),
        ("hazard_ratio_ratio[os ; hr_status: positive vs negative] > -1", "0 or more"),
        ("flow_difference[zero -> low] > 5", "no flow_difference can be 5"),
    ],
)
def test_what_is_wrong_is_said_with_what_exists(text, message):
    _, faults = read_conclusion(text, WORDS)
    with pytest.raises(BadInput, match=f"(?s){message}"):
        raise BadInput(faults)


def test_all_faults_of_a_file_come_together(tmp_path):
    file = tmp_path / "mine.csv"
    rows = "a,share[her2=lo] > 0.5,,\na,discordance[] > 0.3,Abstract,\nb,no,Abstract,\n"
    file.write_text(HEADER + rows)
    with pytest.raises(BadInput) as caught:
        load_conclusions(file, WORDS)
    text = str(caught.value)
    for part in ("row 2", "cell is empty", "unknown level", "row 3", "row 4", "not a conclusion"):
        assert part in text


def test_a_file_is_read(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text(HEADER + "a,share[her2=low]>0.5,Abstract,why\n")
    (read,) = load_conclusions(file, WORDS)
    assert (read.id, str(read), read.locator, read.note) == (
        "a",
        "share[her2=low] > 0.5",
        "Abstract",
        "why",
    )


@pytest.mark.parametrize("name", ["shi2023", "ni2025"])
def test_the_abstracts_are_entered(name):
    conclusions = load_study(published_folder() / name).conclusions
    assert len(conclusions) >= 9
    assert any(c.locator == "Abstract" for c in conclusions)
    ratios = [c for c in conclusions if c.estimand.kind == "hazard_ratio"]
    assert ratios
    # their baseline is the row of the report, from reconstructed cohorts: the notes claim no other
    assert not any("printed interval" in c.note for c in ratios)
